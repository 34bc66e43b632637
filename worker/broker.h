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

/* A request in the log. `value` belongs to the log until release. */
struct broker_message {
    int32_t part;
    int64_t offset;
    int64_t append_ms; /* BROKER_NO_TIME: the message's timestamp is not the broker's append time */
    const void *value;
    size_t len;
    /* Not NULL: the batch that holds the message cannot be read, and why; value and time are then
     * missing, and nothing behind it comes before a seek or start. batch_offset: where it begins. */
    const char *unreadable;
    int64_t batch_offset;
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
    /* The group assigned these partitions. Nothing of them is fetched until the owner has claimed
     * them and calls ops->start. */
    void (*assigned)(void *arg, const int32_t *parts, size_t count);
    /* The group takes these partitions away when this returns. lost: another member may own them
     * already. */
    void (*revoked)(void *arg, const int32_t *parts, size_t count, bool lost);
    /* ERR_OK: the event is in the log. Else this producer will never publish it, and only
     * reset_producer helps. */
    void (*delivered)(void *arg, int32_t part, int64_t seq, enum err err);
};

/* The topics as they are, for the check at start. */
struct broker_shape {
    char cluster_id[65];
    int32_t request_partitions, event_partitions; /* 0: the topic is missing */
    char fault[256]; /* "" or the first setting that is wrong, with what it is and must be */
};

typedef void broker_tail_fn(void *arg, int64_t offset, int64_t seq);

struct broker_ops {
    /* Reads metadata and topic settings. ERR_LOG_TRANSPORT: no broker answered in time. */
    enum err (*shape)(void *self, struct broker_shape *out, struct failure *f);
    /* Joins the group. Assignments come in poll. */
    enum err (*subscribe)(void *self, const struct broker_callbacks *events, struct failure *f);
    /* Joins the group again, to be assigned partitions anew. */
    enum err (*resubscribe)(void *self, struct failure *f);
    /* Starts fetching exactly these partitions, from these offsets. */
    enum err (*start)(void *self, const struct broker_position *positions, size_t count,
                      struct failure *f);
    /* Waits up to timeout_ms for a first message, then takes what has arrived, ordered by
     * partition and offset: at most `max` messages and about max_bytes. ERR_OK with 0 messages is
     * normal. ERR_LOG_TRANSPORT: a connection was lost since the last call; librdkafka makes it
     * again. ERR_LOG_ERROR: anything else, such as an offset out of range; the text says
     * what. */
    enum err (*poll)(void *self, struct broker_message *out, size_t max, size_t max_bytes,
                     int timeout_ms, size_t *count_out, struct failure *f);
    void (*release)(void *self, struct broker_message *messages, size_t count);
    enum err (*seek)(void *self, int32_t part, int64_t offset, struct failure *f);
    enum err (*pause)(void *self, int32_t part, struct failure *f);
    enum err (*resume)(void *self, int32_t part, struct failure *f);
    /* Hands an event to the producer. ERR_LOG_FULL: poll, then again. ERR_LOG_FATAL: reset. */
    enum err (*publish)(void *self, const struct broker_event *event, struct failure *f);
    /* Serves delivery reports until none is outstanding for the partition (-1: for any).
     * ERR_TIMEOUT: some are still outstanding after timeout_ms. */
    enum err (*flush)(void *self, int32_t part, int timeout_ms, struct failure *f);
    /* Drops what is queued and makes a new producer. Dropped events are not reported: the owner
     * publishes again what its event log lacks. */
    enum err (*reset_producer)(void *self, struct failure *f);
    /* Commits the position to the group, for monitoring only. Errors are ignored. */
    void (*commit_offset)(void *self, int32_t part, int64_t next_offset);
    /* One past the last offset of a request partition that is fetched, from the last fetch; asks
     * no broker. -1: not known. */
    int64_t (*request_end)(void *self, int32_t part);
    /* First and one past the last offset of the request or event partition. */
    enum err (*request_range)(void *self, int32_t part, int64_t *lo, int64_t *hi,
                              struct failure *f);
    enum err (*event_range)(void *self, int32_t part, int64_t *lo, int64_t *hi, struct failure *f);
    /* Finds the message with the highest offset in [before - bound, before) and gives its offset
     * and SHA-256, that of no bytes if it cannot be read. ERR_NOT_FOUND: there is none. */
    enum err (*request_before)(void *self, int32_t part, int64_t before, int64_t bound,
                               int64_t *offset_out, uint8_t sha256_out[32], struct failure *f);
    /* Reads the last `count` offsets of the event partition, up to its end at the time of the
     * call, and calls fn for each event of that partition. Other messages are skipped and
     * logged. */
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
