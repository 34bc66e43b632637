/* What the files of the MySQL store share. */
#ifndef BERTH_DB_MYSQL_STORE_PARTS_H
#define BERTH_DB_MYSQL_STORE_PARTS_H

#include <stdbool.h>

#include "db/mysql_rows.h"
#include "db/mysql_store.h"

/* Ids or names in one IN (…). MariaDB turns lists of 1,000 and more into joins with temporary
 * tables, which lock in an order of their own. */
#define IN_LIST_MAX 500

struct mysql_store {
    struct store_ops ops;
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

/* Columns in the order in which partition_row_read reads them. */
#define PARTITION_COLUMNS                                                                          \
    "part, epoch, progress_epoch, connection_id, next_offset, last_seq, published_seq, clock_ms, " \
    "last_sha256, ignore_time_until, reject_offset, halted, halt_cause"

/* Each of the store's files adds the operations of the port (db/store.h) that it implements. */
void store_add_session(struct store_ops *ops);
void store_add_reads(struct store_ops *ops);
void store_add_write(struct store_ops *ops);

void partition_row_read(MYSQL_ROW row, const unsigned long *lens, struct partition_row *out);
/* Reads the farm's row, in whatever transaction there is. */
enum err farm_row_query(struct mysql_store *store, struct farm_row *out, struct failure *f);
/* Call it after an UPDATE … WHERE part = … AND epoch = …: ERR_EPOCH_LOST if no row matched. */
enum err store_check_epoch(struct mysql_store *store, int32_t part, int64_t epoch,
                           struct failure *f);

#endif
