/* The worker: one thread, one loop (docs/architecture.md). It owns partitions of the request topic,
 * decides their messages in batches, one transaction each, and publishes the decisions as events.
 *
 * It sees Kafka and the database only through the two ports, and time only through worker_env, so
 * that tests can run the same loop on simulated ones. */
#ifndef BERTH_WORKER_WORKER_H
#define BERTH_WORKER_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/arena.h"
#include "core/world.h"
#include "db/store.h"
#include "lib/base/backoff.h"
#include "worker/broker.h"
#include "worker/keyring.h"
#include "worker/part.h"
#include "worker/worker_metrics.h"

/* How often a batch is redone before it is split (per partition, then per message). */
#define WORKER_BATCH_ATTEMPTS    6
/* Pauses between these, and between attempts to reach a server. */
#define WORKER_RETRY_MIN_MS      5
#define WORKER_RETRY_MAX_MS      2000
/* A message this far ahead of our wall clock is not consumed: its partition waits. */
#define WORKER_CLOCK_AHEAD_MS    (5 * 60 * 1000)
/* How often a waiting or halted partition, or a halted farm, is looked at again. */
#define WORKER_LOOK_AGAIN_MS     2000
/* An idle session is used at least this often: the server drops it after 10 s. */
#define WORKER_PING_MS           3000
/* A revoke waits this long for outstanding deliveries, a shutdown that long. */
#define WORKER_REVOKE_FLUSH_MS   5000
#define WORKER_SHUTDOWN_FLUSH_MS 10000
/* The resume check looks this far back for the last decided message behind a hole. */
#define WORKER_HOLE_MAX          1000
/* Owners that died without progress: from so many on batches of one, from so many on a halt. */
#define WORKER_POISON_ONE_BY_ONE 3
#define WORKER_POISON_HALT       6
/* published_seq, and the group's offset (a gauge), are noted this often. */
#define WORKER_NOTE_MS           2000
/* Claims and checks of partitions may hold up polling this long. */
#define WORKER_CLAIM_SLICE_MS    2000
/* Stored events read at a time when they are published again. */
#define WORKER_OUTBOX_PAGE       1000

struct worker_settings {
    const char *name; /* for request_partition.owner and the log */
    size_t batch_max;
    size_t batch_max_bytes;
    int64_t unpublished_max;        /* per partition; > batch_max */
    struct worker_metrics *metrics; /* borrowed; NULL: the worker counts for nobody */
};

struct worker_env {
    void *arg;
    int64_t (*wall_ms)(void *arg);
    int64_t (*mono_ms)(void *arg);
    int64_t (*mono_us)(void *arg); /* the same clock, finer: for the lengths of stages */
    void (*sleep_ms)(void *arg, int64_t ms);
};

/* Open for the modules of this folder; others use the functions. */
struct worker {
    struct worker_settings settings;
    struct worker_env env;
    struct store *store;
    struct broker *broker;
    struct farm_row farm;
    struct part *parts; /* farm.partitions of them, by number */
    struct keyring *keys;
    int64_t key_generation; /* of the keys in `keys` */
    struct world *world;
    struct arena *arena;                          /* tokens and claims of the messages in hand */
    struct worker_metrics *metrics, *own_metrics; /* the second NULL if they are borrowed */
    struct broker_message *messages;

    bool session_up;
    uint64_t connection_id;   /* of the session, or of the last one */
    int64_t session_used_ms;  /* monotonic */
    int64_t session_retry_ms; /* monotonic: not before */
    struct backoff session_pause;
    bool
        session_fault_logged; /* until it has worked again: a server can let us in and refuse all */
    bool tails_due;           /* a new session: first see that the database is not an older one */
    bool tails_told;          /* why that cannot be seen yet is in the log already */
    int64_t tails_ms;         /* monotonic: not before */

    int64_t producer_retry_ms; /* monotonic: no new producer before */
    struct backoff producer_pause;
    bool producer_broken;   /* a delivery failed: make a new one, read the tails again */
    bool positions_changed; /* the set of running partitions, or a position, changed */
    bool farm_halted;
    enum halt_cause farm_cause;
    int64_t farm_look_ms;
    bool resubscribe;
    int64_t resubscribe_ms;
    struct backoff resubscribe_pause;
    int64_t noted_ms;
    bool suspects_turn;         /* the next messages of suspect partitions are tried */
    int32_t last_suspect;       /* whose message was tried last; -1: none */
    struct backoff check_pause; /* between failing claims and checks */
};

/* Connects, reads farm and keys, compares the topics with what `init` recorded and every event
 * topic partition with the database, joins the group. Borrows store, log, settings.name and
 * settings.metrics. ERR_CONFIG, ERR_DB_SCHEMA, ERR_NOT_FOUND (no farm), ERR_LOG_TOPIC: starting
 * again does not help, the text says what to do. Others can pass: try again later. Gives *out. */
enum err worker_open(const struct worker_settings *settings, const struct worker_env *env,
                     struct store *store, struct broker *broker, struct worker **out,
                     struct failure *f);
/* Only looks whether it could be opened: database, farm and topics. */
enum err worker_check(struct store *store, struct broker *broker, struct failure *f);
/* One turn: claims what was assigned, waits up to timeout_ms for messages, decides and publishes
 * what is there. Never fails: what can pass is tried again, what cannot halts its partition. */
void worker_step(struct worker *w, int timeout_ms);
/* Finishes: flushes with a deadline, notes what is published, leaves the group. */
void worker_close(struct worker *w);
void worker_free(struct worker *w);

/* --- for the modules of this folder --- */

bool worker_has_part(const struct worker *w, int32_t number);
/* Its messages are to be decided now. */
bool worker_consumes(const struct worker *w, const struct part *part);

/* Notes an error of the store: the session counts as lost, and what was read in it as unknown. */
void worker_store_failed(struct worker *w, const struct failure *f);
/* Forgets all that was read from the database, which may have become an older one: rows, machines,
 * timelines, keys. Partitions that run or wait go back to CHECKING. Not within a batch. */
void worker_forget_database(struct worker *w, const char *why);
/* The store did what it is for, so its next fault is a new one. */
void worker_store_worked(struct worker *w);
/* Halts one partition (in its row too, if that can be) or the whole farm. */
void worker_halt_part(struct worker *w, struct part *part, struct halt halt);
void worker_halt_farm(struct worker *w, struct halt halt);
/* The partition has another owner. */
void worker_lose_part(struct worker *w, struct part *part);
/* Waits a moment, and lets the consumer and the producer do their work; messages that arrive are
 * dropped and fetched again later. Partitions may be revoked in it. */
void worker_pause(struct worker *w, int64_t ms);

#endif
