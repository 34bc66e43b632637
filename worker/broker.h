/* The broker port: all that the worker's loop asks of Kafka (docs/architecture.md, Ports and the
 * core). kafka_broker.c implements it with librdkafka; a simulated log implements it in tests.
 *
 * One thread. Callbacks run inside poll, flush and close, in that thread. */
#ifndef BERTH_WORKER_BROKER_H
#define BERTH_WORKER_BROKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

#define BROKER_NO_TIME INT64_C(-1)

/* A request as it lies in the log. `value` belongs to the log until release. */
struct broker_message {
    int32_t part;
    int64_t offset;
    int64_t append_ms; /* BROKER_NO_TIME: its time stamp is not the broker's append time */
    const void *value;
    size_t len;
    void *handle;
};

struct broker_position {
    int32_t part;
    int64_t offset;
};

/* An event to publish. The bytes are copied. */
struct broker_event {
    int32_t part;
    int64_t epoch, seq;
    const char *key;  /* the subject; NULL: none */
    const char *type; /* "berth.request.accepted" */
    const char *value;
    size_t len;
};

struct broker_callbacks {
    void *arg;
    /* These partitions are ours now. The owner claims them and calls ops->start, from within. */
    void (*assigned)(void *arg, const int32_t *parts, size_t count);
    /* These are not ours any more when it returns. lost: another may own them already. */
    void (*revoked)(void *arg, const int32_t *parts, size_t count, bool lost);
    /* The event is in the log (ERR_OK), or will never be by this producer: then only
     * reset_producer helps. */
    void (*delivered)(void *arg, int32_t part, int64_t seq, enum err err);
};

/* What the topics are like, for the check at start. */
struct broker_shape {
    char cluster_id[65];
    int32_t request_partitions, event_partitions; /* 0: the topic is missing */
    char fault[256]; /* "" or the first setting that is wrong, with what it is and must be */
};

typedef void broker_tail_fn(void *arg, int64_t offset, int64_t seq);

struct broker_ops {
    /* Looks at metadata and topic settings. ERR_LOG_TRANSPORT: no broker answered in time. */
    enum err (*shape)(void *self, struct broker_shape *out, struct failure *f);
    /* Joins the group. Assignments come in poll. */
    enum err (*subscribe)(void *self, const struct broker_callbacks *events, struct failure *f);
    /* Leaves the group and joins again, to get an assignment from anew. */
    enum err (*resubscribe)(void *self, struct failure *f);
    /* Starts fetching exactly these partitions, from these offsets. */
    enum err (*start)(void *self, const struct broker_position *positions, size_t count,
                      struct failure *f);
    /* Waits up to timeout_ms for a first message, then takes what is there, ordered by partition
     * and offset: at most `max` messages and about max_bytes. ERR_OK with 0 messages is normal.
     * ERR_LOG_TRANSPORT: the connection was lost at some time since the last call (it is being
     * made again); ERR_LOG_ERROR with a text: something else, such as an offset out of range. */
    enum err (*poll)(void *self, struct broker_message *out, size_t max, size_t max_bytes,
                     int timeout_ms, size_t *count_out, struct failure *f);
    void (*release)(void *self, struct broker_message *messages, size_t count);
    enum err (*seek)(void *self, int32_t part, int64_t offset, struct failure *f);
    enum err (*pause)(void *self, int32_t part, struct failure *f);
    enum err (*resume)(void *self, int32_t part, struct failure *f);
    /* Hands an event to the producer. ERR_LOG_FULL: poll, then again. ERR_LOG_FATAL: reset. */
    enum err (*publish)(void *self, const struct broker_event *event, struct failure *f);
    /* Serves delivery reports until none is outstanding for the partition (-1: for any), or the
     * time is over: ERR_TIMEOUT. */
    enum err (*flush)(void *self, int32_t part, int timeout_ms, struct failure *f);
    /* Gives up what is queued and makes a new producer. Outstanding events are reported to
     * nobody: the owner re-publishes from the tail. */
    enum err (*reset_producer)(void *self, struct failure *f);
    /* A lag gauge for tools that look at the group; failures do not matter. */
    void (*commit_offset)(void *self, int32_t part, int64_t next_offset);
    /* One past the last offset of a request partition that is fetched, as the last answer of the
     * broker had it; asks nobody. -1: not known. */
    int64_t (*request_end)(void *self, int32_t part);
    /* First and one past the last offset of the request or event partition. */
    enum err (*request_range)(void *self, int32_t part, int64_t *lo, int64_t *hi,
                              struct failure *f);
    enum err (*event_range)(void *self, int32_t part, int64_t *lo, int64_t *hi, struct failure *f);
    /* The message with the highest offset below `before`, not more than `bound` offsets below it:
     * copied digest, no handle to release. ERR_NOT_FOUND: none there. */
    enum err (*request_before)(void *self, int32_t part, int64_t before, int64_t bound,
                               int64_t *offset_out, uint8_t sha256_out[32], struct failure *f);
    /* Reads the last `count` events of the event partition (offsets hi - count on) by a second,
     * group-less consumer, and calls fn for each that is a decision of that partition. Reads up to
     * the end as it was when called. */
    enum err (*event_tail)(void *self, int32_t part, int64_t count, broker_tail_fn *fn, void *arg,
                           struct failure *f);
    /* Leaves the group (revoked is called) and stops; the producer stays until free. */
    void (*close)(void *self);
};

struct broker {
    const struct broker_ops *ops;
    void *self;
};

#endif
