/* The store port: all that the worker's loop asks of the database (docs/architecture.md, Ports and
 * the core). mysql_store.c implements it on MySQL and MariaDB; a simulated store implements it in
 * tests.
 *
 * One session, one thread. Every call returns ERR_OK or an error with a line in *f. After any
 * error inside a transaction the caller must call rollback (or connect) and start over; the store
 * does nothing behind its back: no retry, no reconnect.
 *
 * Errors, and what the caller does: err_is_retryable (deadlock, lock time-out, duplicate key): roll
 * back, wait a little, redo. err_is_connection, and ERR_DB_SERVER (the server refuses): connect first.
 * ERR_DB_COMMIT_UNKNOWN (from commit only): connect, kill the old session, look at the partition
 * rows. ERR_DB_ERROR, ERR_DB_SCHEMA: a bug or a wrong world; report, retry slowly. */
#ifndef BERTH_DB_STORE_H
#define BERTH_DB_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/limits.h"
#include "core/reason.h"
#include "core/request.h"
#include "core/world.h"
#include "db/halt.h"
#include "db/id_list.h"
#include "lib/base/err.h"
#include "lib/token/jws.h"

#define STORE_HALT_LEN 512

/* `halted` is the sentence of a halt; "": not halted. */
struct farm_row {
    char name[LIMIT_FARM_NAME_LEN + 1];
    int32_t partitions;
    char cluster_id[65];
    int64_t key_generation;
    char halted[STORE_HALT_LEN];
    enum halt_cause halt_cause;
};

struct partition_row {
    int32_t part;
    int64_t epoch;          /* of the current owner */
    int64_t progress_epoch; /* the last epoch that committed a batch, plus the epochs whose end
                             * does not count as a death (docs/architecture.md) */
    uint64_t connection_id; /* the owner's session when it wrote the row last: a hint */
    int64_t next_offset;    /* the first request that is not decided */
    int64_t last_seq;       /* of the last decision; 0: none yet */
    int64_t published_seq;  /* known to be in the event topic; may lag behind the topic */
    int64_t clock_ms;       /* the greatest now of a decision; 0: none yet */
    bool has_last_sha256;
    uint8_t last_sha256[32];   /* of the last decided message */
    int64_t ignore_time_until; /* requests below this offset are decided whatever their time */
    int64_t reject_offset;     /* an operator has this request rejected; -1: none */
    char halted[STORE_HALT_LEN];
    enum halt_cause halt_cause;
};

struct key_row {
    const char *kid;
    const char *client;
    enum role role;
    enum jws_alg alg;
    const char *pem;
    int64_t not_before_ms, not_after_ms; /* INT64_MAX: no end */
    bool revoked;
};

/* A client with the limits that hold for it: its own where they are set, else the farm's. */
struct client_row {
    const char *name;
    enum role role;
    struct client_limits limits;
};

/* A decision as stored: the outbox row. */
struct decision_row {
    int32_t part;
    int64_t seq;
    int64_t log_offset;
    uint8_t message_sha256[32];
    const char *client;            /* NULL: not verified */
    const char *request_id;        /* NULL unless this decision uses the id up */
    const uint8_t *content_sha256; /* NULL when request_id is */
    enum reason reason;            /* REASON_NONE: accepted */
    const char *subject;           /* NULL: none */
    int64_t time_ms;
    const char *event; /* the event's bytes */
    size_t event_len;
};

struct request_ref {
    const char *client;
    const char *request_id;
};

/* What one batch writes. */
struct store_batch {
    size_t decision_count;
    const struct decision_row *decisions; /* by partition, then seq */
    size_t partition_count;
    const struct partition_row *partitions; /* written: next_offset, last_seq, published_seq,
                                             * clock_ms, last_sha256, progress_epoch, and this
                                             * session's connection id; `epoch` must still be the
                                             * row's */
    struct world *world; /* what it has touched is written: machines, clients, bookings with their
                          * allocations */
};

typedef void store_key_fn(void *arg, const struct key_row *row);
typedef void store_client_fn(void *arg, const struct client_row *row);
typedef void store_name_fn(void *arg, const char *name);
/* A stored event; type and id are derived from the row ("berth.request.accepted", "3-1042"). */
struct stored_event {
    int32_t part;
    int64_t seq;
    bool accepted;
    const char *subject; /* NULL: none */
    const char *event;
    size_t event_len;
};
/* Returns ERR_OK to go on; another error ends the reading and is returned. */
typedef enum err store_event_fn(void *arg, const struct stored_event *event, struct failure *f);

struct store_ops {
    /* --- session --- */
    /* Opens the session, or closes it and opens a new one, and prepares it (docs/architecture.md,
     * Sessions). */
    enum err (*connect)(void *self, struct failure *f);
    uint64_t (*connection_id)(void *self);
    enum err (*ping)(void *self, struct failure *f);
    /* KILLs another session of the same account; one that is gone already is ERR_OK. */
    enum err (*kill)(void *self, uint64_t connection_id, struct failure *f);

    /* --- each a transaction of its own --- */
    enum err (*farm)(void *self, struct farm_row *out, struct failure *f);
    /* Notes the halt, unless the farm is halted already: the first halt stays. */
    enum err (*halt_farm)(void *self, struct halt halt, struct failure *f);
    enum err (*keys)(void *self, store_key_fn *fn, void *arg, struct failure *f);
    /* Limits change only together with the farm's key_generation, and while no batch is under way.
     * So a caller that holds a partition's lock and finds the generation unchanged knows the limits
     * in force. */
    enum err (*clients)(void *self, store_client_fn *fn, void *arg, struct failure *f);
    /* Takes the partition: counts the epoch up and writes owner and connection id. *out is the row
     * afterwards. ERR_NOT_FOUND: no such row. If the row stays locked for more than 3 s, kills its
     * owner's session and tries again. */
    enum err (*claim)(void *self, int32_t part, const char *owner, struct partition_row *out,
                      struct failure *f);
    enum err (*partition)(void *self, int32_t part, struct partition_row *out, struct failure *f);
    /* Notes the halt. ERR_EPOCH_LOST: the row is at another epoch, and stays as it is. */
    enum err (*halt_partition)(void *self, int32_t part, int64_t epoch, struct halt halt,
                               struct failure *f);
    /* Raises published_seq to seq, if it is lower. ERR_EPOCH_LOST: as halt_partition. */
    enum err (*set_published)(void *self, int32_t part, int64_t epoch, int64_t seq,
                              struct failure *f);
    /* Calls fn for the partition's decisions with seq > after_seq, ascending, at most `limit`. */
    enum err (*outbox)(void *self, int32_t part, int64_t after_seq, size_t limit,
                       store_event_fn *fn, void *arg, struct failure *f);

    /* --- the batch's transaction; reads outside of begin…commit are allowed for the warm-up --- */
    enum err (*begin)(void *self, struct failure *f);
    /* Locks the rows ascending and reads the farm row in the same transaction. `parts` ascend. */
    enum err (*lock_partitions)(void *self, const int32_t *parts, size_t count,
                                struct partition_row *rows_out, struct farm_row *farm_out,
                                struct failure *f);
    /* Plain read: puts each machine that exists into the world. Names may repeat. */
    enum err (*find_machines)(void *self, const char *const *names, size_t count,
                              struct world *world, struct failure *f);
    /* Plain read, for machine.register with a chosen id. */
    enum err (*find_machines_by_id)(void *self, const int64_t *ids, size_t count,
                                    struct world *world, struct failure *f);
    /* Plain read, for `any`: puts each machine that is up and carries the labels into the world and
     * adds its id to *out. May find machines that do not carry them. */
    enum err (*machines_matching)(void *self, const struct labels *labels, struct world *world,
                                  struct id_list *out, struct failure *f);
    /* Put the clients into the world, each with the limits that are given and the version of its
     * row. find_clients is a plain read; lock_clients locks the rows in the order of their names.
     * Names ascend. */
    enum err (*find_clients)(void *self, const struct client *clients, size_t count,
                             struct world *world, struct failure *f);
    enum err (*lock_clients)(void *self, const struct client *clients, size_t count,
                             struct world *world, struct failure *f);
    /* Starts the clients' timelines at known_from_ms and adds the live allocations of their bookings
     * that end after it. */
    enum err (*load_client_timelines)(void *self, struct world *world,
                                      struct client *const *clients, size_t count,
                                      int64_t known_from_ms, struct failure *f);
    /* Locks the rows in id order and puts them into the world. */
    enum err (*lock_machines)(void *self, const struct id_list *ids, struct world *world,
                              struct failure *f);
    /* Starts the machines' timelines at known_from_ms and adds their live allocations that end
     * after it. */
    enum err (*load_timelines)(void *self, struct world *world, struct machine *const *machines,
                               size_t count, int64_t known_from_ms, struct failure *f);
    /* Plain reads that add ids to *out: of the bookings' machines; of the bookings in state booked
     * with live use of the machines that ends after from_ms; of the series' bookings. */
    enum err (*machines_of_bookings)(void *self, const struct id_list *bookings,
                                     struct id_list *out, struct failure *f);
    enum err (*bookings_on_machines)(void *self, const struct id_list *machines, int64_t from_ms,
                                     struct id_list *out, struct failure *f);
    enum err (*bookings_of_series)(void *self, int64_t series, struct id_list *out,
                                   struct failure *f);
    /* Plain read: calls fn for the client of each booking; a name may come more than once. */
    enum err (*clients_of_bookings)(void *self, const struct id_list *bookings, store_name_fn *fn,
                                    void *arg, struct failure *f);
    /* Locks the rows in id order and puts them with their allocations into the world. */
    enum err (*lock_bookings)(void *self, const struct id_list *ids, struct world *world,
                              struct failure *f);
    /* Plain read: puts the decisions that used up these request ids into the world. */
    enum err (*find_priors)(void *self, const struct request_ref *refs, size_t count,
                            struct world *world, struct failure *f);
    enum err (*write)(void *self, const struct store_batch *batch, struct failure *f);
    enum err (*commit)(void *self, struct failure *f);
    void (*rollback)(void *self);
};

struct store {
    const struct store_ops *ops;
    void *self;
};

#endif
