/* What the files of the MySQL store share. */
#ifndef BERTH_DB_MYSQL_STORE_PARTS_H
#define BERTH_DB_MYSQL_STORE_PARTS_H

#include <stdbool.h>

#include "db/mysql_rows.h"
#include "db/mysql_store.h"

struct mysql_store {
    struct mysql_settings settings;
    struct mysql_session *session;
    bool in_transaction; /* between begin and commit or rollback */
    struct buf sql;      /* the statement at hand; its memory is kept */
};

/* Runs the statement in store->sql. `what` names it in the failure. The caller frees *out with
 * mysql_free_result. */
static inline enum err store_query(struct mysql_store *store, const char *what, MYSQL_RES **out,
                                   struct failure *f)
{
    return mysql_session_query(store->session, what, store->sql.data, store->sql.len, out, f);
}
static inline enum err store_exec(struct mysql_store *store, const char *what, struct failure *f)
{
    return mysql_session_exec(store->session, what, store->sql.data, store->sql.len, f);
}

/* Columns in the order in which mysql_store_row.c reads them. */
#define PARTITION_COLUMNS                                                                          \
    "part, epoch, progress_epoch, connection_id, next_offset, last_seq, published_seq, clock_ms, " \
    "last_sha256, ignore_time_until, reject_offset, halted, halt_cause"
#define FARM_COLUMNS "name, partitions, cluster_id, key_generation, halted, halt_cause"

/* --- mysql_store_session.c: each a transaction of its own --- */
enum err store_farm(void *self, struct farm_row *out, struct failure *f);
enum err store_halt_farm(void *self, struct halt halt, struct failure *f);
enum err store_keys(void *self, store_key_fn *fn, void *arg, struct failure *f);
enum err store_clients(void *self, store_client_fn *fn, void *arg, struct failure *f);
enum err store_claim(void *self, int32_t part, const char *owner, struct partition_row *out,
                     struct failure *f);
enum err store_partition(void *self, int32_t part, struct partition_row *out, struct failure *f);
enum err store_halt_partition(void *self, int32_t part, int64_t epoch, struct halt halt,
                              struct failure *f);
enum err store_set_published(void *self, int32_t part, int64_t epoch, int64_t seq,
                             struct failure *f);
enum err store_outbox(void *self, int32_t part, int64_t after_seq, size_t limit, store_event_fn *fn,
                      void *arg, struct failure *f);

/* Call it after an UPDATE … WHERE part = … AND epoch = …: ERR_EPOCH_LOST if no row matched. */
enum err store_check_epoch(struct mysql_store *store, int32_t part, int64_t epoch,
                           struct failure *f);

/* --- mysql_store_read.c: the batch's reads and locks --- */
enum err store_lock_partitions(void *self, const int32_t *parts, size_t count,
                               struct partition_row *rows_out, struct farm_row *farm_out,
                               struct failure *f);
enum err store_find_machines(void *self, const char *const *names, size_t count,
                             struct world *world, struct failure *f);
enum err store_find_machines_by_id(void *self, const int64_t *ids, size_t count,
                                   struct world *world, struct failure *f);
enum err store_machines_matching(void *self, const struct labels *labels, struct world *world,
                                 struct id_list *out, struct failure *f);
enum err store_find_clients(void *self, const struct client *clients, size_t count,
                            struct world *world, struct failure *f);
enum err store_lock_clients(void *self, const struct client *clients, size_t count,
                            struct world *world, struct failure *f);
enum err store_load_client_timelines(void *self, struct world *world, struct client *const *clients,
                                     size_t count, int64_t known_from_ms, struct failure *f);
enum err store_lock_machines(void *self, const struct id_list *ids, struct world *world,
                             struct failure *f);
enum err store_load_timelines(void *self, struct world *world, struct machine *const *machines,
                              size_t count, int64_t known_from_ms, struct failure *f);
enum err store_machines_of_bookings(void *self, const struct id_list *bookings, struct id_list *out,
                                    struct failure *f);
enum err store_bookings_on_machines(void *self, const struct id_list *machines, int64_t from_ms,
                                    struct id_list *out, struct failure *f);
enum err store_bookings_of_series(void *self, int64_t series, struct id_list *out,
                                  struct failure *f);
enum err store_clients_of_bookings(void *self, const struct id_list *bookings, store_name_fn *fn,
                                   void *arg, struct failure *f);
enum err store_lock_bookings(void *self, const struct id_list *ids, struct world *world,
                             struct failure *f);
enum err store_find_priors(void *self, const struct request_ref *refs, size_t count,
                           struct world *world, struct failure *f);

/* --- mysql_store_write.c --- */
enum err store_write(void *self, const struct store_batch *batch, struct failure *f);

/* --- mysql_store_row.c: from fields to structs; ERR_DB_ERROR for what cannot be in a row --- */
void partition_row_read(MYSQL_ROW row, const unsigned long *lens, struct partition_row *out);
/* At most max_len - 1 bytes of `text`, cut between characters; bytes that are not UTF-8 become
 * '?'. Returns out. */
const char *text_for_column(const char *text, char *out, size_t max_len);

/* The farm row, in whatever transaction there is. */
enum err farm_row_query(struct mysql_store *store, struct farm_row *out, struct failure *f);

#endif
