/* What the broker port's files share: kafka_broker.c makes and frees it, kafka_consume.c and
 * kafka_poll.c are the group's consumer, kafka_publish.c the producer, kafka_read.c the look-ups
 * in the logs and the check of the topics. Only these files include this header.
 *
 * There are three librdkafka clients: consumer, producer, and the reader of logs. All run in one thread; only `connection_lost` and `broker_up` are
 * set by librdkafka's threads. */
#ifndef BERTH_WORKER_KAFKA_BROKER_IMPL_H
#define BERTH_WORKER_KAFKA_BROKER_IMPL_H

#include <librdkafka/rdkafka.h>
#include <stdatomic.h>

#include "core/limits.h"
#include "lib/kafka/kafka_conf.h"
#include "lib/kafka/kafka_error.h"
#include "lib/kafka/topic_reader.h"
#include "worker/broker.h"

/* Longest wait for one answer of the brokers: an end of a log, the next message of a tail, the
 * settings. The worker does nothing else meanwhile, so a caller that waits for all its partitions
 * must stay below max.poll.interval.ms. */
#define KAFKA_CALL_TIMEOUT_MS 5000
/* How long a topic or partition may be unknown before it counts as missing: brokers learn of a new
 * one one after the other. */
#define KAFKA_NEW_TOPIC_MS    1000
/* Brokers told apart when connections are lost. Ids above share a slot: a loss may then be
 * reported twice or late. */
#define KAFKA_BROKER_SLOTS    1024
/* Longest sleep in one wait; then flags of other threads are looked at. */
#define KAFKA_SLICE_MS        100

struct kafka_part {
    bool started; /* it is fetched, unless it is broken */
    bool broken;  /* after an offset outside of the log; only a start helps */
    bool paused;
    bool unreadable;       /* its next message is; what comes behind it is dropped */
    int64_t position;      /* the next offset that is handed over is not lower */
    int64_t outstanding;   /* events of this producer without a delivery report */
    int64_t commit_offset; /* for the lag gauge; -1: nothing new */
};

/* Messages that librdkafka handed over and that the owner has not taken yet. */
struct kafka_inbox {
    rd_kafka_message_t **messages;
    size_t count, capacity, bytes;
};

struct kafka_broker {
    struct broker_ops ops;
    char requests[KAFKA_TOPIC_LEN], events[KAFKA_TOPIC_LEN];
    struct broker_callbacks owner;
    struct kafka_part *parts; /* LIMIT_PARTITIONS of them */

    /* The consumer. */
    rd_kafka_t *consumer;
    bool closed;
    bool assign_called; /* since the rebalance callback began */
    atomic_bool connection_lost;
    atomic_bool broker_up[KAFKA_BROKER_SLOTS]; /* by broker id; librdkafka's threads' own */
    struct kafka_inbox inbox;
    struct failure trouble; /* to be returned by poll; err ERR_OK: none */
    int64_t commit_at_ms;   /* monotonic: when the gauge is due */

    /* The producer. NULL, or failed: only a new one helps. */
    rd_kafka_conf_t *producer_conf; /* each producer gets a copy */
    rd_kafka_t *producer;
    rd_kafka_topic_t *producer_topic;
    bool producer_failed;
    bool serving_reports;
    int64_t outstanding; /* over all partitions */

    /* The look-ups. */
    struct topic_reader *reader;
};

bool kafka_part_is_valid(int32_t part);

/* kafka_consume.c, kafka_publish.c and kafka_read.c: each opens its client and adds the operations that
 * use it to broker->ops. */
enum err kafka_consumer_open(struct kafka_broker *broker, const struct config *cfg,
                             struct failure *f);
void kafka_consumer_free(struct kafka_broker *broker);
enum err kafka_producer_open(struct kafka_broker *broker, const struct config *cfg,
                             struct failure *f);
void kafka_producer_free(struct kafka_broker *broker);
/* Passes delivery reports on to the owner, waiting up to timeout_ms for the first. */
void kafka_serve_reports(struct kafka_broker *broker, int timeout_ms);
enum err kafka_reader_open(struct kafka_broker *broker, const struct config *cfg,
                           struct failure *f);

/* kafka_poll.c: the inbox and what fills it. */
enum err kafka_poll(void *self, struct broker_message *out, size_t max, size_t max_bytes,
                    int timeout_ms, size_t *count_out, struct failure *f);
void kafka_release(void *self, struct broker_message *messages, size_t count);
/* Drops what the inbox holds of a partition (-1: of all). *lowest_out (may be NULL): the lowest
 * offset dropped, -1 if none. */
void kafka_inbox_drop(struct kafka_broker *broker, int32_t part, int64_t *lowest_out);
void kafka_inbox_fini(struct kafka_broker *broker);
/* Commits positions to the group, at most once a second, or `now`. */
void kafka_commit_gauge(struct kafka_broker *broker, bool now);

#endif
