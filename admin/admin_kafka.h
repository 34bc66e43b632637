/* What berth-admin asks of Kafka: topics made and checked, and logs read by offset. */
#ifndef BERTH_ADMIN_ADMIN_KAFKA_H
#define BERTH_ADMIN_ADMIN_KAFKA_H

#include "lib/config/config.h"
#include "lib/kafka/topic_reader.h"

struct admin_kafka {
    struct topic_reader *reader;
    int64_t tail_count; /* how many events at a partition's end hold its highest sequence */
};

/* Zeroed structs may be closed. ERR_CONFIG: no broker is named. */
enum err admin_kafka_open(const struct config *cfg, struct admin_kafka *out, struct failure *f);
void admin_kafka_close(struct admin_kafka *kafka);

/* The sequence of an event of the partition; 0: the message is no event of it. */
int64_t admin_kafka_sequence(const rd_kafka_message_t *message, int32_t part);
/* The highest sequence among the last `tail_count` messages of the event partition; 0: none there.
 */
enum err admin_kafka_event_tail(struct admin_kafka *kafka, int32_t part, int64_t *out,
                                struct failure *f);

/* --- topics.c --- */

struct admin_topic_plan {
    int32_t partitions;
    int replication_factor; /* -1: the brokers' default */
    int64_t retention_ms;   /* -1: the brokers' default */
};
/* Makes the topics that are missing (*made_out: how many) and waits until they can be used. */
enum err admin_topics_make(struct topic_reader *reader, const struct admin_topic_plan *plan,
                           int *made_out, struct failure *f);
/* ERR_LOG_TOPIC: a topic is missing, has another number of partitions, or a setting that Berth
 * cannot work with. */
enum err admin_topics_check(struct topic_reader *reader, int32_t partitions, struct failure *f);

#endif
