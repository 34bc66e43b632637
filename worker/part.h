/* One request partition as its owner sees it, and the states of owning it:
 *
 *                     assigned                 claimed               tail, resume check
 *        FOREIGN ----------------> CLAIMING ------------> CHECKING ---------------------> RUNNING
 *           ^                         ^  |                 ^ |  ^                          |  |
 *           |  revoked (from any)     |  | epoch taken     | |  | session or broker lost   |  |
 *           +----------------         |  v                 | |  +--------------------------+  |
 *                                     | LOST <-------------|-+------- epoch not ours ---------+
 *                                     |                    |                                  |
 *                                     |   again, later  WAITING <-- clock ahead, lock held ---+
 *                                     |                                                       |
 *                       resumed by an operator: HALTED <---- will not pass by itself ---------+
 *
 * Only RUNNING partitions are consumed. A LOST one is claimed again only on a later assignment:
 * else two workers would claim it in turns for ever (docs/architecture.md, Owning a partition). */
#ifndef BERTH_WORKER_PART_H
#define BERTH_WORKER_PART_H

#include <stdbool.h>
#include <stdint.h>

#include "db/halt.h"
#include "db/store.h"

enum part_state {
    PART_FOREIGN,  /* not ours */
    PART_CLAIMING, /* assigned; its row is to be claimed */
    PART_CHECKING, /* claimed; row, event tail and position are to be checked */
    PART_RUNNING,  /* consumed */
    PART_WAITING,  /* a fault that can pass: checked again at look_again_ms */
    PART_HALTED,   /* until an operator resumes it */
    PART_LOST,     /* another owner's epoch: until a later assignment */
    PART_STATE_COUNT
};

struct part {
    int32_t number;
    enum part_state state;
    /* The row as we last wrote or read it; row.epoch is ours unless the state is FOREIGN,
     * CLAIMING or LOST. */
    struct partition_row row;
    bool row_known;        /* row is what the database shows; false after an unknown outcome */
    bool tail_known;       /* sent_seq and acked_seq stand on a tail that was read */
    int64_t sent_seq;      /* the last event that the producer was given */
    int64_t acked_seq;     /* the last event that is in the topic; events arrive there in order */
    bool full;             /* paused: too many events are not acknowledged */
    bool seek_back;        /* messages behind row.next_offset were dropped: fetch them again */
    int64_t hole_at;       /* the offset above the expected one that a seek back was made for */
    int64_t one_by_one;    /* suspect: so many messages are taken alone, see arrival.c */
    bool wait_told;        /* why it waits is in the log already */
    enum err told;         /* the last fault of a step that was logged; ERR_OK: none since it ran */
    bool has_suspect;      /* arrival.c's own: such a message has arrived */
    bool excused;          /* progress_epoch does not count this owner, see ownership_excuse */
    int64_t look_again_ms; /* monotonic; nothing is tried before */
    int64_t published_noted; /* published_seq as stored */
    enum halt_cause cause;   /* of its last wait or halt: for the metrics */
    int64_t log_end; /* of the request partition, as last seen, for the metrics; -1: not known */
};

const char *part_state_name(enum part_state state);
/* Changes the state; asserts that the diagram has that arrow; logs it with `why` (may be NULL).
 * The same state again changes nothing and logs nothing. */
void part_set(struct part *part, enum part_state state, const char *why);
/* part_set for PART_WAITING and PART_HALTED, which have a cause. */
void part_stop(struct part *part, enum part_state state, struct halt halt);
/* Whether the partition's row carries our epoch, as far as we know. */
bool part_is_claimed(const struct part *part);
int64_t part_unpublished(const struct part *part);

#endif
