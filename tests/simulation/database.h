/* A database server in memory: the rows of db/migrations, sessions, row locks, transactions at
 * READ COMMITTED.
 *
 * A transaction writes only in its last statements before COMMIT and does not read its own writes.
 * So its writes are kept aside until COMMIT, and plain reads see the tables. */
#ifndef BERTH_TESTS_SIMULATION_DATABASE_H
#define BERTH_TESTS_SIMULATION_DATABASE_H

#include "core/world.h"
#include "db/store.h"
#include "tests/simulation/sim.h"

struct process;

struct machine_row {
    int64_t id;
    const char *name, *labels;
    struct amount capacity;
    enum machine_state state;
    int64_t version, capacity_changed_ms;
    int64_t born; /* number of the commit that registered it */
};
struct client_version {
    const char *name;
    int64_t version;
};
struct booking_row {
    int64_t id;
    int64_t series; /* 0: none */
    const char *client, *user;
    int64_t start_ms, end_ms;
    enum booking_state state;
    int64_t version;
    int64_t born;
};
struct allocation_row {
    int64_t booking, machine;
    int64_t start_ms, end_ms;
    struct amount amount;
    bool live;
    int64_t machine_version;
};
/* Limits of a client, or of the farm, from a key generation on. */
struct limits_since {
    int64_t generation;
    int client; /* token_client(); -1: the farm's */
    struct client_limits limits;
};
/* A decision and what its batch knew, for the replay. */
struct stored_decision {
    struct decision_row row;
    const struct id_list *locked; /* machines locked by its transaction when it wrote */
    int64_t commit;               /* the number of its commit: 1, 2, 3 … */
    int64_t seen;                 /* the number of commits when its transaction began */
    int64_t key_generation;       /* as its transaction read it */
};

/* Zeroed is empty; items live in the simulation's arena. */
#define LIST_OF(type)                                                                              \
    struct {                                                                                       \
        type *items;                                                                               \
        size_t count, capacity;                                                                    \
    }
/* Adds an item at the end of a LIST_OF and returns a pointer to it. */
#define LIST_ADD(sim, list)                                                                        \
    ((list)->items = list_room((sim), (list)->items, (list)->count, &(list)->capacity,             \
                               sizeof(*(list)->items)),                                            \
     &(list)->items[(list)->count++])
void *list_room(struct sim *sim, void *items, size_t count, size_t *capacity, size_t size);

struct tables {
    struct farm_row farm;
    LIST_OF(struct partition_row) partitions;
    LIST_OF(struct client_version) clients;
    LIST_OF(struct machine_row) machines;
    LIST_OF(struct booking_row) bookings;
    LIST_OF(struct allocation_row) allocations;
    LIST_OF(struct stored_decision) decisions;
    int64_t commits;
    int64_t owners[PLAN_PARTITIONS_MAX]; /* the last claims: struct process.life */
};

/* A transaction's writes: rows as they will be. */
struct writes {
    LIST_OF(struct partition_row) partitions;
    LIST_OF(struct client_version) clients;
    LIST_OF(struct machine_row) machines;
    LIST_OF(struct booking_row) bookings;
    LIST_OF(struct allocation_row) allocations;
    LIST_OF(struct stored_decision) decisions;
};

enum lock_kind { LOCK_PARTITION, LOCK_CLIENT, LOCK_MACHINE, LOCK_BOOKING, LOCK_NAME, LOCK_REQUEST };

struct session {
    uint64_t id;
    bool alive;
    struct process *process; /* NULL: its client is gone */
    int64_t life;            /* of that process */
    int64_t used_us;         /* when its last statement ended */
    bool busy;               /* it executes a statement */
    int64_t waits_until_us;  /* for a row lock; 0: for none */
    enum lock_kind wait_kind;
    uint64_t wait_key;
    bool commit_pending;
    bool committed;         /* the COMMIT was executed */
    int64_t key_generation; /* as read with the last partition locks */
    bool saw_halt;          /* of the farm, then */
    struct writes writes;
};

struct held_lock {
    enum lock_kind kind;
    uint64_t key;
    struct session *session;
};

struct database {
    struct tables now;
    struct tables backup; /* DISASTER_RESTORED: taken in between */
    bool has_backup;
    /* DISASTER_FAILED_OVER: the tables without the last commits, which are all of one process. */
    struct tables replica;
    int64_t ahead_life; /* of that process; 0: there is none */
    LIST_OF(struct key_row) keys;
    LIST_OF(int64_t) key_since;          /* the generation from which on a key counts */
    LIST_OF(int64_t) key_revoked;        /* the generation from which on it is revoked; INT64_MAX */
    LIST_OF(struct limits_since) limits; /* in the order in which they were set */
    LIST_OF(struct session *) sessions;
    LIST_OF(struct held_lock) locks;
    /* All decisions ever committed, with those that a restored backup lacks. */
    LIST_OF(struct stored_decision) history;
    bool down;
    bool restored;
    int64_t slow_until_us;
    uint64_t last_session;
};

void database_open(struct sim *sim);
void database_close(struct sim *sim);

/* --- looking --- */

struct partition_row *database_partition(struct database *db, int32_t part); /* NULL: none */
const struct machine_row *database_machine(const struct database *db, int64_t id);
const struct machine_row *database_machine_named(const struct database *db, const char *name);
const struct booking_row *database_booking(const struct database *db, int64_t id);
bool database_has_id(const struct id_list *list, int64_t id);
const struct stored_decision *database_decision(const struct database *db, int32_t part,
                                                int64_t seq);
/* The newest decision with that number that was ever committed. */
const struct stored_decision *database_ever(const struct database *db, int32_t part, int64_t seq);

/* NULL: none. */
struct client_version *database_client(struct database *db, const char *name);
/* The clients with the limits that hold for them at that generation. */
void database_clients(const struct database *db, int64_t generation, store_client_fn *fn,
                      void *arg);
/* The limits of one of them (token_client()). */
struct client_limits database_limits(const struct database *db, int64_t generation, int client);
/* The keys as they are at that generation. */
void database_keys(const struct database *db, int64_t generation, store_key_fn *fn, void *arg);

/* --- sessions and locks; called in a process's fiber --- */

struct session *session_new(struct database *db, struct process *p);
/* Ends the session: rolls back and releases its locks. */
void session_drop(struct sim *sim, struct session *session);
struct session *database_session(struct database *db, uint64_t id);
/* Locks one row, waiting for at most 3 s: ERR_OK, ERR_DB_LOCK_TIMEOUT, ERR_DB_DEADLOCK (rolled
 * back), ERR_DB_CONNECTION (dropped while it waited). */
enum err session_lock(struct session *session, enum lock_kind kind, uint64_t key);
bool session_holds(const struct database *db, const struct session *session, enum lock_kind kind,
                   uint64_t key);
void session_rollback(struct sim *sim, struct session *session);
/* Applies the writes and releases the locks. */
void session_commit(struct sim *sim, struct session *session);
/* The keys of the rows of that kind that the session has locked. */
struct id_list *session_locked(struct sim *sim, const struct session *session, enum lock_kind kind);
size_t session_lock_count(const struct database *db, const struct session *session);

/* --- from outside --- */

/* Another client's transaction locks some row; returns its session, for the caller to drop. */
struct session *database_stranger(struct sim *sim);

/* All sessions are gone. Until up, nobody connects. */
void database_crash(struct sim *sim);
void database_up(struct sim *sim);
void database_backup(struct sim *sim);
void database_restore(struct sim *sim);
/* The replica, which lacks the last commits of one process, takes the place of the database. */
void database_fail_over(struct sim *sim);
/* Whether nobody holds the partition's row: the operator changes it only then, without waiting. */
bool database_row_is_free(const struct database *db, int32_t part);
/* Sets the limits of a client, or of the farm (-1), as berth-admin does: with new versions of the
 * clients whose counted limits change, and a new key generation. False, and nothing is done: a batch
 * holds some partition's row. */
bool database_set_limits(struct sim *sim, int client, const struct client_limits *limits);

#endif
