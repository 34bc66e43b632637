/* The world: what decisions depend on and change, as one worker knows it.
 *
 * It has two parts. Machines with their timelines are a cache that outlives a batch: a version
 * says which state of the machine's row they show. That holds within one database session only: after
 * a lost one the database may be an older state of itself, which gives the same versions, and even
 * names and ids, to other content. So a worker that lost its session starts with a new world. Bookings and used request ids belong to one
 * batch. The loop fills the world from the store under the rows' locks, decides message by message
 * (decide.h changes the world), hands what changed to the store, and then either keeps the cache
 * (world_batch_end with true: committed) or drops the timelines that the batch touched (false).
 *
 * One thread. Pointers to machines stay valid until world_free (a machine that was registered in a
 * batch which then failed is gone with the batch), pointers to bookings and prior answers until
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
    int64_t capacity_changed_ms; /* from here on use <= capacity holds at every instant */
    struct timeline *timeline;   /* NULL: not loaded */
    int64_t timeline_version;    /* the version that the timeline shows */
    bool is_new;                 /* registered in this batch: to be inserted */
    bool touched;                /* changed in this batch: to be written */
    uint64_t touched_by;         /* the world's own: the last decision that touched it */
    uint64_t seen_in;            /* the world's own: the last batch that put it */
};

/* One row of the booking's use of a machine. `live` rows count; a row that was replaced or
 * cancelled before it began is not live. Rows are never deleted (docs/database.md). */
struct allocation {
    int64_t machine_id;
    int64_t start_ms, end_ms;
    struct amount amount;
    bool live;
    int64_t machine_version; /* the machine's version when the row was last written */
    bool touched;            /* new or changed in this batch */
};

/* What a client may do; 0: the farm's own limit holds (core/limits.h), and for the counted ones
 * none. A client's own limit takes the place of the farm's and may be higher. */
struct client_limits {
    int64_t booking_s;       /* the longest booking */
    int64_t ahead_s;         /* the furthest start */
    int64_t allocations;     /* the most machines in one booking */
    int64_t gpus_at_once;    /* the most GPUs held at any instant, over all machines */
    int64_t gpu_hours_ahead; /* the most GPU-hours booked from now rounded up on */
};

/* Whether one of them is counted over all bookings of a client. */
static inline bool client_limits_count(const struct client_limits *limits)
{
    return limits->gpus_at_once > 0 || limits->gpu_hours_ahead > 0;
}

/* A client with a limit that is counted over its bookings (gpus_at_once, gpu_hours_ahead). Its use
 * over all machines is a timeline of its own, cached like a machine's; quota.h works on it. The
 * version must grow whenever the use may have changed without this timeline following: also when a
 * client gets its first counted limit, since nobody counts for a client that has none. */
struct client {
    char name[LIMIT_NAME_LEN + 1];
    struct client_limits limits;
    int64_t version;           /* of the row; +1 for each decision that touches its bookings */
    struct timeline *timeline; /* GPUs that it holds (no memory); NULL: not loaded */
    int64_t timeline_version;
    gpu_ms known_gpu_ms; /* the timeline's sum from known_from on */
    bool touched;
    uint64_t touched_by; /* the world's own, as a machine's */
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
    struct allocation *allocations; /* by machine id, then start: no two rows have both alike */
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
    const char *event;   /* its bytes */
    size_t event_len;
};

struct world *world_new(void);
void world_free(struct world *world);

/* Starts a batch: no bookings, no prior answers, nothing touched. */
void world_batch_begin(struct world *world);
/* Ends it and gives the arena back. committed: the timelines are what the database now shows, and
 * touched machines are clean; else every touched timeline and every new machine is dropped, to be
 * loaded again, and a touched machine has version 0 until world_machine_put says what its row
 * holds. */
void world_batch_end(struct world *world, bool committed);
/* The batch's memory: for strings of bookings, prior answers, decisions. */
struct arena *world_arena(struct world *world);

/* --- filling it (the store does, under the rows' locks) --- */

/* Sets or replaces a machine's attributes as read from its row (copies strings; the row's timeline
 * and flags are not looked at). A timeline of another version is dropped. Not for a machine that
 * this batch has touched. */
struct machine *world_machine_put(struct world *world, const struct machine *row);
/* Puts a machine that the world knows, as it is: whoever read the row found the version that the
 * world has, or an older one. */
void world_machine_confirm(struct world *world, struct machine *machine);
/* Sets or replaces a client with counted limits; a timeline of another version is dropped. Whoever
 * is not put in a batch does not count in it: all clients whose bookings the batch may make or
 * change must be, so that what is decided does not depend on the batch. */
struct client *world_client_put(struct world *world, const struct client *row);
/* The client's timeline: as a machine's. Of `use` only the GPUs count. */
void world_client_timeline_start(struct world *world, struct client *client, int64_t known_from_ms);
void world_client_timeline_add(struct world *world, struct client *client, int64_t start_ms,
                               int64_t end_ms, struct amount use);
/* Gives the machine an empty timeline, complete from known_from_ms on, at the row's version; the
 * live allocations are then added with world_timeline_add. */
void world_timeline_start(struct world *world, struct machine *machine, int64_t known_from_ms);
void world_timeline_add(struct world *world, struct machine *machine, int64_t start_ms,
                        int64_t end_ms, struct amount use);
/* Forgets use before `at_ms`: the least of (clock cut to the second) over the partitions that this
 * world still decides for, and never more, because a timeline that was cut too far has to be loaded
 * again. Between batches. One call looks at WORLD_FORGET_TIMELINES timelines at most and goes on
 * where the last one stopped, so that a call per batch costs little however large the farm is; a
 * round ends, and nothing is done, until `at_ms` has grown by WORLD_FORGET_STEP_MS. */
#define WORLD_FORGET_TIMELINES 64
#define WORLD_FORGET_STEP_MS   INT64_C(60000)
void world_forget_before(struct world *world, int64_t at_ms);
/* Adds a booking as read from its row, without allocations: those of the row are not looked at, all
 * are then added with world_allocation_add. A booking that is there already is replaced unless this
 * batch has touched it (a bug). Strings are copied into the batch's arena. */
struct booking *world_booking_put(struct world *world, const struct booking *row);
/* Adds a row, live or not, at its place by machine id and start, so that the order in which the
 * store read them does not matter. The result is valid until the next one is added. */
struct allocation *world_allocation_add(struct world *world, struct booking *booking,
                                        const struct allocation *row);
/* Notes a used request id; the strings are not copied: they live in the batch's arena. The first
 * answer stands: a second one to the same id is ignored. */
void world_prior_put(struct world *world, const struct prior *prior);

/* --- looking --- */

struct machine *world_machine_by_name(struct world *world, const char *name); /* NULL: none */
struct machine *world_machine_by_id(struct world *world, int64_t id);         /* NULL: none */
/* NULL: the client has no counted limit, or was not put in this batch. */
struct client *world_client(struct world *world, const char *name);
/* Bookings of the series in this batch, by ascending id, in the batch's arena. */
struct booking **world_series(struct world *world, int64_t series, size_t *count_out);
/* Machines that are up and carry the labels, by name, in the batch's arena; of those that were put
 * or registered in this batch: what is only cached is under no lock and may be long out of date. */
struct machine **world_machines_matching(struct world *world, const struct labels *labels,
                                         size_t *count_out);
struct booking *world_booking(struct world *world, int64_t id); /* NULL: none */
const struct prior *world_prior(struct world *world, const char *client, const char *request_id);

/* --- what the batch changed, for the store; in the order in which it was first touched --- */

size_t world_touched_machine_count(const struct world *world);
struct machine *world_touched_machine(struct world *world, size_t index);
size_t world_touched_client_count(const struct world *world);
struct client *world_touched_client(struct world *world, size_t index);
size_t world_touched_booking_count(const struct world *world);
struct booking *world_touched_booking(struct world *world, size_t index);

/* --- for decide.c --- */

/* Begins the next decision. */
void world_decision_begin(struct world *world);
/* Lists the machine for the store; its version grows by 1, once per decision however often it is
 * called. Its timeline, if loaded, is taken to follow. */
void world_touch_machine(struct world *world, struct machine *machine);
/* The same for a client; NULL is fine. */
void world_touch_client(struct world *world, struct client *client);
/* Lists the booking for the store; the caller has counted its version up. */
void world_touch_booking(struct world *world, struct booking *booking);
/* Registers a machine (touched, version 1, with a complete empty timeline). */
struct machine *world_machine_register(struct world *world, const struct machine *row);
/* Copies them into the machine. */
void world_machine_set_labels(struct machine *machine, struct labels labels);
/* The booking's row with this key; NULL: none. Valid until a row is added. */
struct allocation *world_allocation_find(const struct booking *booking, int64_t machine_id,
                                         int64_t start_ms);
/* Bookings of this batch that hold live use of the machine after `from_ms`, by ascending id, in
 * the batch's arena; for a displacing update. */
struct booking **world_bookings_on(struct world *world, const struct machine *machine,
                                   int64_t from_ms, size_t *count_out);

#endif
