/* One request partition as its owner sees it, and the states of owning it. Every state may also become
 * FOREIGN: the group takes the partition away.
 *
 *     FOREIGN  -> CLAIMING  the group assigns the partition
 *     CLAIMING -> CHECKING  its row is claimed
 *              -> HALTED    the row is halted already, or is missing
 *     CHECKING -> RUNNING   row, event tail and position are as they should be
 *              -> HALTED    they are not, and an operator must look
 *              -> LOST      another owner holds the epoch
 *     RUNNING  -> CHECKING  session or broker was lost, the farm was resumed, or the row was changed
 *              -> WAITING   a clock is ahead, or a row stays locked
 *              -> HALTED    an operator must look, as at a message that cannot be decided
 *              -> LOST      another owner holds the epoch
 *     WAITING  -> CHECKING  time to look again, or as RUNNING
 *              -> LOST      another owner holds the epoch
 *     HALTED   -> CLAIMING  an operator has resumed the partition
 *              -> LOST      another owner holds the epoch
 *     LOST     -> CLAIMING  the group assigns the partition again
 *
 * Only RUNNING partitions are consumed. A LOST partition is claimed again only after a later
 * assignment: otherwise two workers would claim it in turns for ever (docs/architecture.md, Owning a
 * partition). */
#ifndef BERTH_WORKER_PART_H
#define BERTH_WORKER_PART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "db/halt.h"
#include "db/store.h"

enum part_state {
    PART_FOREIGN,  /* not ours */
    PART_CLAIMING, /* assigned; the row must be claimed */
    PART_CHECKING, /* claimed; row, event tail and position must be checked */
    PART_RUNNING,  /* consumed */
    PART_WAITING,  /* stopped by a fault that can pass; checked again at look_again_ms */
    PART_HALTED,   /* until an operator resumes it */
    PART_LOST,     /* another owner holds the epoch; until a later assignment */
    PART_STATE_COUNT
};

struct part {
    int32_t number;
    enum part_state state;
    /* The row as last read or written; row.epoch is this worker's in the states after CLAIMING. */
    struct partition_row row;
    uint64_t session;  /* the last one in which this worker may have written the row */
    bool row_known;    /* row equals the stored one; false after an unknown outcome */
    bool tail_known;   /* sent_seq and acked_seq follow from a tail that was read */
    int64_t sent_seq;  /* last event handed to the producer */
    int64_t acked_seq; /* last event acknowledged; events arrive in the topic in order */
    bool full;         /* fetching is paused: too many events are unacknowledged */
    bool seek_back;    /* messages from row.next_offset on were dropped: fetch them again */
    int64_t *holes;    /* offsets behind holes for which a seek back was made, ascending */
    size_t hole_count, hole_capacity;
    int64_t one_by_one;      /* a suspect's messages that are still decided alone; 0: no suspect */
    bool has_suspect;        /* of arrival.c: a message of this suspect has arrived */
    bool excused;            /* progress_epoch does not count this owner (ownership_excuse) */
    bool wait_told;          /* the reason of the wait is in the log */
    enum err told;           /* last logged fault of a step; ERR_OK: none since it ran */
    int64_t look_again_ms;   /* monotonic: the next step not before */
    int64_t published_noted; /* published_seq as stored */
    enum halt_cause cause;   /* of the last wait or halt */
    int64_t log_end;   /* end of the request partition as last seen, for the metrics; -1: unknown */
    int64_t moved_ms;  /* monotonic: the position was set or moved */
    int64_t asked_end; /* the log's end for which ownership_skip_markers asked; -1: none */
};

const char *part_state_name(enum part_state state);
/* Changes the state and logs the change with `why` (NULL: no reason). Asserts that the list above
 * has the change. Setting the state that the partition is in does nothing. */
void part_set(struct part *part, enum part_state state, const char *why);
/* Whether the partition's row carries this worker's epoch, as far as the worker knows. */
bool part_is_claimed(const struct part *part);
/* The partition's position was set or has moved at now_ms (monotonic). */
void part_moved(struct part *part, int64_t now_ms);
/* Decisions whose events are not acknowledged. */
int64_t part_unpublished(const struct part *part);
/* failure_set for a partition whose row carries another owner's epoch. */
enum err part_epoch_lost(const struct part *part, struct failure *f);

#endif
