/* What the topics are like, and what is wrong with them (docs/messages.md). */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "worker/kafka_broker_impl.h"

/* A setting of a topic that Berth rests on. */
struct demand {
    bool events; /* of the event topic, else of the request topic */
    const char *name;
    const char *value; /* exactly this; NULL: a number, at least `least` */
    int64_t least;
    const char *why;
};

static const struct demand demands[] = {
    {false, "message.timestamp.type", "LogAppendTime", 0,
     "the broker's append time is a request's now"},
    {false, "cleanup.policy", "delete", 0, "compaction would eat requests"},
    {false, "max.message.bytes", NULL, 65536, "the longest request must fit"},
    {true, "cleanup.policy", "delete", 0, "compaction would eat events"},
    {true, "max.message.bytes", NULL, 1000000, "the worker sends batches of that size"},
};

static const char *config_value(const rd_kafka_ConfigResource_t *resource, const char *name)
{
    size_t count;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(resource, &count);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(rd_kafka_ConfigEntry_name(entries[i]), name) == 0)
            return rd_kafka_ConfigEntry_value(entries[i]);
    }
    return NULL;
}

static void find_fault(const struct kafka_broker *broker, const rd_kafka_ConfigResource_t *resource,
                       struct broker_shape *out)
{
    const char *topic = rd_kafka_ConfigResource_name(resource);
    bool events = strcmp(topic, broker->events) == 0;
    for (size_t i = 0; i < sizeof(demands) / sizeof(*demands) && !out->fault[0]; i++) {
        const struct demand *d = &demands[i];
        if (d->events != events)
            continue;
        const char *is = config_value(resource, d->name);
        bool fits = is &&
                    (d->value ? strcmp(is, d->value) == 0 : strtoll(is, NULL, 10) >= d->least);
        if (fits)
            continue;
        char least[32];
        snprintf(least, sizeof(least), "at least %" PRId64, d->least);
        snprintf(out->fault, sizeof(out->fault), "topic %s: %s is %s and must be %s (%s)", topic,
                 d->name, is ? is : "unknown", d->value ? d->value : least, d->why);
    }
}

/* The number of partitions; 0: no such topic. */
static enum err partitions_now(struct kafka_broker *broker, rd_kafka_topic_t *topic, int32_t *out,
                               struct failure *f)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t code = rd_kafka_metadata(broker->reader, 0, topic, &metadata,
                                                 KAFKA_CALL_TIMEOUT_MS);
    if (code)
        return kafka_failure(f, code, "ask for metadata", NULL);
    enum err err = ERR_OK;
    int32_t count = 0;
    if (metadata->topic_cnt == 1) {
        code = metadata->topics[0].err;
        if (!code) {
            count = metadata->topics[0].partition_cnt;
        } else if (code != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
            err = kafka_failure(f, code, rd_kafka_topic_name(topic), NULL);
        }
    }
    rd_kafka_metadata_destroy(metadata);
    *out = count;
    return err;
}

/* The same, patiently. */
static enum err partitions(struct kafka_broker *broker, rd_kafka_topic_t *topic, int32_t *out,
                           struct failure *f)
{
    int64_t deadline = clock_mono_ms() + KAFKA_NEW_TOPIC_MS;
    enum err err;
    while ((err = partitions_now(broker, topic, out, f)) == ERR_OK && *out == 0 &&
           clock_mono_ms() < deadline)
        clock_sleep_ms(20);
    return err;
}

static enum err check_settings(struct kafka_broker *broker, rd_kafka_event_t *event,
                               struct broker_shape *out, struct failure *f)
{
    rd_kafka_resp_err_t code = rd_kafka_event_error(event);
    if (code) {
        return kafka_failure(f, code, "ask for the topics' settings",
                             rd_kafka_event_error_string(event));
    }
    size_t count;
    const rd_kafka_ConfigResource_t **resources = rd_kafka_DescribeConfigs_result_resources(
        rd_kafka_event_DescribeConfigs_result(event), &count);
    /* The request topic's faults first. */
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < count; i++) {
            const char *topic = rd_kafka_ConfigResource_name(resources[i]);
            code = rd_kafka_ConfigResource_error(resources[i]);
            if (code) {
                return kafka_failure(f, code, topic,
                                     rd_kafka_ConfigResource_error_string(resources[i]));
            }
            if (strcmp(topic, round == 0 ? broker->requests : broker->events) == 0)
                find_fault(broker, resources[i], out);
        }
    }
    return ERR_OK;
}

static enum err settings(struct kafka_broker *broker, struct broker_shape *out, struct failure *f)
{
    rd_kafka_ConfigResource_t *resources[2] = {
        rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, broker->requests),
        rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, broker->events),
    };
    rd_kafka_queue_t *queue = rd_kafka_queue_new(broker->reader);
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(broker->reader,
                                                                 RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    char text[256];
    rd_kafka_AdminOptions_set_request_timeout(options, KAFKA_CALL_TIMEOUT_MS, text, sizeof(text));
    rd_kafka_DescribeConfigs(broker->reader, resources, 2, options, queue);
    /* The request has its own time limit, so an answer or an error comes in any case. */
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 2 * KAFKA_CALL_TIMEOUT_MS);
    enum err err = event ? check_settings(broker, event, out, f)
                         : kafka_failure(f, RD_KAFKA_RESP_ERR__TIMED_OUT,
                                         "ask for the topics' settings", NULL);
    if (event)
        rd_kafka_event_destroy(event);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    rd_kafka_ConfigResource_destroy_array(resources, 2);
    return err;
}

enum err kafka_shape(void *self, struct broker_shape *out, struct failure *f)
{
    struct kafka_broker *broker = self;
    struct broker_shape shape = {0};
    enum err err = partitions(broker, broker->reader_requests, &shape.request_partitions, f);
    if (err == ERR_OK)
        err = partitions(broker, broker->reader_events, &shape.event_partitions, f);
    if (err != ERR_OK)
        return err;
    char *id = rd_kafka_clusterid(broker->reader, KAFKA_CALL_TIMEOUT_MS);
    if (!id)
        return failure_set(f, ERR_LOG_TRANSPORT, "ask for the cluster's id: no answer");
    snprintf(shape.cluster_id, sizeof(shape.cluster_id), "%s", id);
    rd_kafka_mem_free(broker->reader, id);

    if (shape.request_partitions == 0 || shape.event_partitions == 0) {
        snprintf(shape.fault, sizeof(shape.fault),
                 "topic %.200s is missing: run `berth-admin init`",
                 shape.request_partitions == 0 ? broker->requests : broker->events);
    } else {
        err = settings(broker, &shape, f);
    }
    rd_kafka_poll(broker->reader, 0);
    if (err != ERR_OK)
        return err;
    *out = shape;
    return ERR_OK;
}
