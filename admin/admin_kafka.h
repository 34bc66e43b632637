/* Kafka as berth-admin sees it: topics are made and checked, logs are read by offset, by a
 * consumer that is in no group. */
#ifndef BERTH_ADMIN_ADMIN_KAFKA_H
#define BERTH_ADMIN_ADMIN_KAFKA_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/config/config.h"
#include "lib/kafka/kafka_conf.h"

/* How long a broker may take to answer one question. */
#define ADMIN_KAFKA_TIMEOUT_MS 15000

enum admin_topic { ADMIN_REQUESTS, ADMIN_EVENTS, ADMIN_TOPIC_COUNT };

struct admin_kafka {
    rd_kafka_t *client;
    rd_kafka_topic_t *topics[ADMIN_TOPIC_COUNT];
    char names[ADMIN_TOPIC_COUNT][KAFKA_TOPIC_LEN];
    int64_t tail_messages; /* twice worker.unpublished_max: how far repeats reach back */
};

/* Zeroed structs may be closed. */
enum err admin_kafka_open(const struct config *cfg, struct admin_kafka *out, struct failure *f);
void admin_kafka_close(struct admin_kafka *kafka);

#define ADMIN_CLUSTER_ID_LEN 65
enum err admin_kafka_cluster_id(struct admin_kafka *kafka, char out[ADMIN_CLUSTER_ID_LEN],
                                struct failure *f);
/* The topic's partitions; 0: there is no such topic. */
enum err admin_kafka_partitions(struct admin_kafka *kafka, enum admin_topic topic, int32_t *out,
                                struct failure *f);
/* First and one past the last offset. */
struct admin_span {
    int64_t lo, hi;
};
enum err admin_kafka_span(struct admin_kafka *kafka, enum admin_topic topic, int32_t part,
                          struct admin_span *out, struct failure *f);

/* Reads the messages of one partition in [from, to), in order; offsets may have holes. An error of
 * fn ends the reading and is returned. */
typedef enum err admin_message_fn(void *arg, const rd_kafka_message_t *message, struct failure *f);
struct admin_piece {
    enum admin_topic topic;
    int32_t part;
    int64_t from, to;
};
enum err admin_kafka_read(struct admin_kafka *kafka, const struct admin_piece *piece,
                          admin_message_fn *fn, void *arg, struct failure *f);
/* Reads the topic's first `count` partitions on and on, from the offsets given, into one queue.
 * *out is set also on failure; admin_kafka_unfollow takes it (NULL is fine). */
enum err admin_kafka_follow(struct admin_kafka *kafka, enum admin_topic topic, const int64_t *from,
                            int32_t count, rd_kafka_queue_t **out, struct failure *f);
void admin_kafka_unfollow(struct admin_kafka *kafka, enum admin_topic topic, int32_t count,
                          rd_kafka_queue_t *queue);
/* One past the last offset of each of the topic's first `count` partitions, in one question to each
 * broker. */
enum err admin_kafka_ends(struct admin_kafka *kafka, enum admin_topic topic, int32_t count,
                          int timeout_ms, int64_t *ends, struct failure *f);
/* The number in the message's header; -1: none. */
int64_t admin_kafka_header_int(const rd_kafka_message_t *message, const char *name);
/* The sequence that an event of the partition carries: the header ce_id, and the `sequence` in the
 * value says the same. 0: not an event of ours. */
int64_t admin_kafka_sequence(const rd_kafka_message_t *message, int32_t part);
/* The highest sequence among the last `tail_messages` of the event partition; 0: none there. */
enum err admin_kafka_event_tail(struct admin_kafka *kafka, int32_t part, int64_t *out,
                                struct failure *f);

/* ERR_LOG_TRANSPORT or ERR_LOG_ERROR with what was being done. */
enum err admin_kafka_failure(struct failure *f, rd_kafka_resp_err_t code, const char *doing,
                             const char *text);

/* --- admin_topics.c --- */

struct admin_topic_plan {
    int32_t partitions;
    int replication_factor; /* -1: the brokers' default */
    int64_t retention_ms;   /* -1: the brokers' default */
};
/* Makes the topics that are missing (*made_out: how many) and waits until they can be used. */
enum err admin_topics_make(struct admin_kafka *kafka, const struct admin_topic_plan *plan,
                           int *made_out, struct failure *f);
/* ERR_LOG_TOPIC: a topic is missing, has another number of partitions, or a setting that Berth
 * cannot work with. */
enum err admin_topics_check(struct admin_kafka *kafka, int32_t partitions, struct failure *f);

#endif
