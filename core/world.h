/* The world: a worker's copy of what decisions depend on and change.
 *
 * The world has two parts. Machines and clients with their timelines are a cache over batches: a
 * version says which state of its row a timeline shows. Versions count within one database session
 * only. After a lost session the database may be an older state of itself, in which the same
 * versions, names and ids belong to other content, so a worker that lost its session starts with a
 * new world. Bookings and used request ids belong to one batch.
 *
 * The loop fills the world from the store under the rows' locks, decides message by message
 * (decide() changes the world) and hands the changes to the store. Then it keeps the cache
 * (world_batch_end with true: committed) or drops the timelines that the batch touched (false).
 *
 * One thread. Pointers to machines are valid until world_free, except those to a machine that was
 * registered in a batch that failed. Pointers to bookings and prior answers are valid until
 * world_batch_end. Out of memory aborts. */
#ifndef BERTH_CORE_WORLD_H
#define BERTH_CORE_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/amount.h"
#include "core/arena.h"
#include "core/limits.h"
#include "core/quota.h"
#include "core/reason.h"
#include "core/request.h"
#include "core/timeline.h"

struct world;

struct machine {
    int64_t id;
    char name[LIMIT_NAME_LEN + 1];
    struct amount capacity;
    struct labels labels; /* owned by the world */
    enum machine_state state;
    int64_t version;             /* of the row; +1 for each decision that touches the machine */
    int64_t capacity_changed_ms; /* from this instant on use is never above the capacity */
    struct timeline *timeline;   /* NULL: not loaded */
    int64_t timeline_version;    /* the row's version that the timeline shows */
    bool is_new;                 /* registered in this batch: to be inserted */
    bool touched;                /* changed in this batch: to be written */
    uint64_t touched_by;         /* private: the last decision that touched the machine */
    uint64_t seen_in;            /* private: the last batch that put the machine */
};

/* One row of the booking's use of a machine. Only `live` rows count: a row that was replaced or
 * cancelled before its start is not live. Rows are never deleted (docs/database.md). */
struct allocation {
    int64_t machine_id;
    int64_t start_ms, end_ms;
    struct amount amount;
    bool live;
    int64_t machine_version; /* the machine's version when the row was last written */
    bool touched;            /* new or changed in this batch */
};

/* The limits of a client. 0: the farm's limit (core/limits.h), or no limit for those that are
 * counted. A client's limit replaces the farm's, and may be higher. */
struct client_limits {
    int64_t booking_s;       /* the longest booking */
    int64_t ahead_s;         /* the furthest start */
    int64_t allocations;     /* the most machines in one booking */
    int64_t gpus_at_once;    /* counted: GPUs held at one instant on all machines */
    int64_t gpu_hours_ahead; /* counted: GPU-hours booked from now rounded up on */
};

/* Their names as members, columns and JSON, in the order of lists. */
#define CLIENT_LIMIT_TABLE(X)                                                                      \
    X(booking_s) X(ahead_s) X(allocations) X(gpus_at_once) X(gpu_hours_ahead)

/* Whether the client has a limit that is counted over all of its bookings. */
static inline bool client_limits_count(const struct client_limits *limits)
{
    return limits->gpus_at_once > 0 || limits->gpu_hours_ahead > 0;
}

/* A client with a counted limit. Its use on all machines is one more timeline, cached like a
 * machine's; quota.h works on it. The version must grow whenever the use may have changed without
 * this timeline, so also when a client gets its first counted limit: without one, nobody counts. */
struct client {
    char name[LIMIT_NAME_LEN + 1];
    struct client_limits limits;
    int64_t version;           /* of the row; +1 for each decision that touches its bookings */
    struct timeline *timeline; /* the client's GPUs, no memory; NULL: not loaded */
    int64_t timeline_version;
    gpu_ms known_gpu_ms; /* the timeline's sum from known_from on */
    bool touched;
    uint64_t touched_by; /* private, as a machine's */
    uint64_t seen_in;
};

struct booking {
    int64_t id;
    int64_t series; /* the first occurrence's id; 0: not recurring */
    const char *client;
    const char *user;
    int64_t start_ms, end_ms;
    enum booking_state state;
    int64_t version;                /* 1, 2, 3 … */
    struct allocation *allocations; /* sorted by (machine id, start), which is unique */
    size_t allocation_count, allocation_capacity;
    bool is_new;
    bool touched;
};

/* The first answer to a request id of a client (docs/messages.md, duplicates). */
struct prior {
    const char *client;
    const char *request_id;
    uint8_t content_sha256[32];
    int32_t part;
    int64_t seq;
    enum reason reason;  /* REASON_NONE: it was accepted */
    const char *subject; /* of the event; NULL: none */
    const char *event;   /* the bytes of the event */
    size_t event_len;
};

struct world *world_new(void);
void world_free(struct world *world);

/* Starts a batch, without bookings, prior answers or changes. */
void world_batch_begin(struct world *world);
/* Ends the batch and resets the arena. committed: the timelines show the database. Otherwise all
 * touched timelines and all new machines are dropped, and a touched machine has version 0 until the
 * next world_machine_put. */
void world_batch_end(struct world *world, bool committed);
/* The batch's memory, for strings of bookings, prior answers and decisions. */
struct arena *world_arena(struct world *world);

/* --- filling the world: by the store, under the rows' locks --- */

/* Sets a machine's attributes as read from its row. Copies strings; ignores the row's timeline and
 * flags. Drops a timeline of another version. Not for a machine that this batch has touched
 * (asserted). */
struct machine *world_machine_put(struct world *world, const struct machine *row);
/* Puts a machine that the world knows, as it is: whoever read the row found the version that the
 * world has, or an older one. */
void world_machine_confirm(struct world *world, struct machine *machine);
/* Sets a client with counted limits; drops a timeline of another version. A client that is not put
 * in a batch has no counted limits in it. So a batch must put all clients whose bookings it may
 * make or change; otherwise decisions would depend on the batch. */
struct client *world_client_put(struct world *world, const struct client *row);
/* The same as for a machine, below. Only the GPUs of `use` count. */
void world_client_timeline_start(struct world *world, struct client *client, int64_t known_from_ms);
void world_client_timeline_add(struct world *world, struct client *client, int64_t start_ms,
                               int64_t end_ms, struct amount use);
/* Gives the machine an empty timeline, known from known_from_ms on, at the row's version. The
 * caller then adds the live allocations with world_timeline_add. */
void world_timeline_start(struct world *world, struct machine *machine, int64_t known_from_ms);
void world_timeline_add(struct world *world, struct machine *machine, int64_t start_ms,
                        int64_t end_ms, struct amount use);
/* Forgets use before `at_ms`, which is the lowest clock, cut to the second, of the partitions that
 * this world decides: a timeline that was cut too far must be loaded again. Call it between
 * batches. A call visits at most WORLD_FORGET_TIMELINES timelines and starts where the last call
 * stopped, so a call per batch is cheap on a large farm. After the last timeline a new round starts
 * when `at_ms` has grown by WORLD_FORGET_STEP_MS. */
#define WORLD_FORGET_TIMELINES 64
#define WORLD_FORGET_STEP_MS   INT64_C(60000)
void world_forget_before(struct world *world, int64_t at_ms);
/* Adds a booking as read from its row, without allocations: the caller then adds them with
 * world_allocation_add. Replaces a booking with this id, which the batch must not have touched
 * (asserted). Copies strings into the batch's arena. */
struct booking *world_booking_put(struct world *world, const struct booking *row);
/* Adds a row, live or not, at its sorted place: the store may read rows in any order. The result is
 * valid until the next row is added. */
struct allocation *world_allocation_add(struct world *world, struct booking *booking,
                                        const struct allocation *row);
/* Adds a used request id. Borrows the strings, which live in the batch's arena. A second answer to
 * the same id is ignored. */
void world_prior_put(struct world *world, const struct prior *prior);

/* --- reading --- */

struct machine *world_machine_by_name(struct world *world, const char *name); /* NULL: none */
struct machine *world_machine_by_id(struct world *world, int64_t id);         /* NULL: none */
/* NULL: this batch has put no such client, so it has no counted limit. */
struct client *world_client(struct world *world, const char *name);
/* Bookings of the series in this batch, by ascending id, in the batch's arena. */
struct booking **world_series(struct world *world, int64_t series, size_t *count_out);
/* Machines that are up and carry the labels, by name, in the batch's arena. Only machines that this
 * batch has put or registered: others are not locked and may be out of date. */
struct machine **world_machines_matching(struct world *world, const struct labels *labels,
                                         size_t *count_out);
struct booking *world_booking(struct world *world, int64_t id); /* NULL: none */
const struct prior *world_prior(struct world *world, const char *client, const char *request_id);

/* --- the batch's changes, for the store, in the order of the first touch --- */

size_t world_touched_machine_count(const struct world *world);
struct machine *world_touched_machine(struct world *world, size_t index);
size_t world_touched_client_count(const struct world *world);
struct client *world_touched_client(struct world *world, size_t index);
size_t world_touched_booking_count(const struct world *world);
struct booking *world_touched_booking(struct world *world, size_t index);

/* --- for decide.c --- */

/* Begins the next decision. */
void world_decision_begin(struct world *world);
/* Lists the machine for the store and counts its version up, once per decision. A loaded timeline
 * gets the new version, so the caller changes it in the same decision. */
void world_touch_machine(struct world *world, struct machine *machine);
/* The same for a client; NULL is fine. */
void world_touch_client(struct world *world, struct client *client);
/* Lists the booking for the store. The caller counts its version up. */
void world_touch_booking(struct world *world, struct booking *booking);
/* Registers a machine: touched, version 1, with an empty timeline known from INT64_MIN on. */
struct machine *world_machine_register(struct world *world, const struct machine *row);
/* Copies the labels into the machine. */
void world_machine_set_labels(struct machine *machine, struct labels labels);
/* The booking's row with this key; NULL: none. Valid until a row is added. */
struct allocation *world_allocation_find(const struct booking *booking, int64_t machine_id,
                                         int64_t start_ms);
/* Bookings of this batch with live use of the machine after `from_ms`, by ascending id, in the
 * batch's arena. */
struct booking **world_bookings_on(struct world *world, const struct machine *machine,
                                   int64_t from_ms, size_t *count_out);

#endif
