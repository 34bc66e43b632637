/* The worker's state and the only ways to change it.
 *
 * Every module of the loop may read struct worker. worker_state.c alone writes the members of the
 * session, the producer, the farm and the group, and decides when the consumer's positions are
 * stale; the other modules call the transitions below. A partition changes its state through
 * worker_part_set and the transitions built on it, so that its positions cannot be forgotten.
 * docs/architecture.md (Ports and the core) has the order of the files above and below this one. */
#ifndef BERTH_WORKER_WORKER_STATE_H
#define BERTH_WORKER_WORKER_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/arena.h"
#include "core/world.h"
#include "db/store.h"
#include "lib/base/backoff.h"
#include "worker/broker.h"
#include "worker/keyring.h"
#include "worker/part.h"
#include "worker/worker_metrics.h"
#include "worker/worker_settings.h"

/* When a failed action is tried again. */
struct worker_retry {
    int64_t at_ms; /* monotonic: not before */
    struct backoff pause;
};

struct worker_session {
    bool up;
    bool compared;          /* this session's database is not older than the event topic */
    uint64_t connection_id; /* of this session or of the last one; 0: there was none yet */
    int64_t used_ms;        /* monotonic */
    struct worker_retry retry;
    bool fault_logged; /* cleared when a statement works, not on connect: a server may accept a
                          session and refuse every statement */
};

struct worker_producer {
    bool broken; /* a delivery failed: a new producer must be made and the tails read again */
    struct worker_retry retry;
};

struct worker_farm {
    struct farm_row row;    /* as read by worker_open */
    enum halt_cause halted; /* HALT_NONE: it is not */
    int64_t look_ms;        /* monotonic: the halt is not read again before */
};

/* Leaving the group and joining again, to get lost partitions assigned anew. */
struct worker_rejoin {
    bool due;
    struct worker_retry retry;
};

/* Of ownership.c: the comparison of a new session's database with the event topic. */
struct worker_checks {
    struct worker_retry retry; /* failing claims and checks of single partitions share its pause */
    bool fault_logged;
};

/* Of arrival.c: whose messages the next turn takes. */
struct worker_suspects {
    bool turn;    /* the next turn is a suspect's */
    int32_t last; /* the suspect that had the last turn; -1: none */
};

struct worker {
    struct worker_settings settings;
    struct worker_env env;
    struct store *store;                          /* borrowed */
    struct broker *broker;                        /* borrowed */
    struct worker_metrics *metrics, *own_metrics; /* own_metrics: NULL if metrics are borrowed */
    struct world *world;
    struct keyring *keys;
    struct broker_message *messages; /* those in hand; room for settings.batch_max */
    struct arena *arena;             /* their tokens and claims */
    struct part *parts, *parts_end;  /* by number */
    bool positions_stale; /* the consumer must be told which partitions run, and from where */
    struct worker_farm farm;
    struct worker_session session;
    struct worker_producer producer;
    struct worker_rejoin rejoin;
    struct worker_checks checks;
    struct worker_suspects suspects;
    int64_t noted_ms; /* monotonic; written by upkeep.c: the last turn of notes */
    int64_t stage_us; /* monotonic: when the stage of the batch in hand began */
};

/* All but the session, the farm and its partitions, which worker_state_farm adds. */
struct worker *worker_state_new(const struct worker_settings *settings,
                                const struct worker_env *env, struct store *store,
                                struct broker *broker);
void worker_state_free(struct worker *w); /* NULL is fine */
/* Copies the farm's row and makes its partitions, all of them FOREIGN. */
void worker_state_farm(struct worker *w, const struct farm_row *row);

int64_t worker_mono_ms(const struct worker *w);
int64_t worker_wall_ms(const struct worker *w);
/* NULL: the farm has no partition of that number. */
struct part *worker_part(const struct worker *w, int32_t number);
/* Whether the partition's messages are decided now. */
bool worker_consumes(const struct worker *w, const struct part *part);
/* Whether the retry's time has come. */
bool worker_retry_due(const struct worker *w, const struct worker_retry *retry);
/* Puts the next attempt off by the retry's next pause. */
void worker_retry_later(const struct worker *w, struct worker_retry *retry);

/* Acts on an error that says something about the farm (halts it), the session (lost), or the
 * partition (halts or loses it; NULL: such errors are left to the caller). Returns false for every
 * other error: the caller tries again or gives up. */
bool worker_failed(struct worker *w, struct part *part, const struct failure *f);

/* The store has connected: a new session, whose database is not compared yet. */
void worker_session_opened(struct worker *w);
/* The database was compared with all tails, and is not older. */
void worker_session_compared(struct worker *w);
/* The session was used just now: no ping is due for WORKER_PING_MS. */
void worker_session_used(struct worker *w);
/* A statement did its work: the next fault is logged as a new one. */
void worker_session_worked(struct worker *w);
/* The store failed. The session counts as lost, and everything that was read in it is forgotten,
 * since the database may have become an older one: rows, machines, timelines, keys. Running and
 * waiting partitions go back to CHECKING. Not within a batch. */
void worker_session_lost(struct worker *w, const struct failure *f);

/* The consumer's partitions or positions are not those that it was last told. */
void worker_positions_stale(struct worker *w);
/* The consumer was told the running partitions and their positions. */
void worker_positions_told(struct worker *w);
/* A poll failed: the broker may come back with a shorter or another log, so each running partition
 * is checked again. */
void worker_broker_failed(struct worker *w, const struct failure *f);
/* A delivery failed for good: this producer must not send another event. */
void worker_producer_broke(struct worker *w);
void worker_producer_worked(struct worker *w);
/* A new producer was made: the tails are read again before it sends. */
void worker_producer_renewed(struct worker *w);
/* The group is joined again now; should that fail, the next time after WORKER_LOOK_AGAIN_MS. */
void worker_rejoins(struct worker *w);
/* The group has assigned partitions, or accepted the request for a new assignment. */
void worker_rejoined(struct worker *w);

/* Halts the farm, in its row too if there is a session. */
void worker_halt_farm(struct worker *w, struct halt halt);
/* An operator has resumed the farm: what was read from the database and the tails is forgotten. */
void worker_farm_resumed(struct worker *w);
/* The farm's halt is read now: the next time after WORKER_LOOK_AGAIN_MS. */
void worker_farm_looked_at(struct worker *w);

/* part_set, for the states that need no cause; the positions are stale if the partition ran, or runs
 * now. */
void worker_part_set(struct worker *w, struct part *part, enum part_state state, const char *why);
/* WAITING until WORKER_LOOK_AGAIN_MS from now. */
void worker_part_waits(struct worker *w, struct part *part, struct halt halt);
/* Halts the partition, in its row too if there is a session and the row is ours. */
void worker_halt_part(struct worker *w, struct part *part, struct halt halt);
/* Another worker has claimed the partition: it is LOST until the group, which is joined again,
 * assigns it anew. */
void worker_lose_part(struct worker *w, struct part *part);

/* Starts the clock of a batch's stages. */
void worker_stage_begin(struct worker *w);
/* The stage ended: its length is counted, and the next stage begins. */
void worker_stage_end(struct worker *w, enum stage stage);
/* Copies the state into the metrics, unless that was done just before. */
void worker_show(struct worker *w);

#endif
