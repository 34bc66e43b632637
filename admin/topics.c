/* The two topics: made by `init`, checked by everybody who depends on their settings. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/admin_kafka.h"
#include "lib/base/clock.h"

/* A setting that Berth gives a topic, and what it must be in one that exists. */
struct topic_setting {
    enum admin_topic topic;
    const char *name, *value;
    int64_t least; /* > 0: a larger number will do, too, down to this one */
};

static const struct topic_setting settings[] = {
    /* The broker's append time of a request is the decision's now. */
    {ADMIN_REQUESTS, "message.timestamp.type", "LogAppendTime", 0},
    {ADMIN_REQUESTS, "cleanup.policy", "delete", 0},
    /* The limit counts for a batch of messages, and clients fill batches of up to 1,000,000 bytes
     * by default: a topic that took no more than a token would refuse them under load. */
    {ADMIN_REQUESTS, "max.message.bytes", "1048576", 65536},
    /* Compaction would eat events. */
    {ADMIN_EVENTS, "cleanup.policy", "delete", 0},
    /* A worker whose clock is wrong must not have its events refused: brokers take no producer's
     * time that is an hour ahead of theirs. */
    {ADMIN_EVENTS, "message.timestamp.type", "LogAppendTime", 0},
    /* An event has at most 512 KiB; the worker sends batches of up to 1,000,000 bytes. */
    {ADMIN_EVENTS, "max.message.bytes", "1048576", 1000000},
};
#define SETTING_COUNT (sizeof(settings) / sizeof(settings[0]))

/* How long new topics may take to be known to all brokers. */
#define APPEAR_MS 30000

/* Waits for the answer to one admin operation; caller destroys *out. */
static enum err answer(rd_kafka_queue_t *queue, const char *doing, rd_kafka_event_t **out,
                       struct failure *f)
{
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 2 * ADMIN_KAFKA_TIMEOUT_MS);
    if (!event)
        return failure_set(f, ERR_LOG_TRANSPORT, "%s: no answer from Kafka", doing);
    rd_kafka_resp_err_t code = rd_kafka_event_error(event);
    if (!code) {
        *out = event;
        return ERR_OK;
    }
    enum err err = admin_kafka_failure(f, code, doing, rd_kafka_event_error_string(event));
    rd_kafka_event_destroy(event);
    return err;
}

/* --- making --- */

static rd_kafka_NewTopic_t *new_topic(const struct admin_kafka *kafka, enum admin_topic topic,
                                      const struct admin_topic_plan *plan, struct failure *f)
{
    char text[256] = "";
    rd_kafka_NewTopic_t *new = rd_kafka_NewTopic_new(kafka->names[topic], plan->partitions,
                                                     plan->replication_factor, text, sizeof(text));
    if (!new) {
        failure_set(f, ERR_USAGE, "topic %s: %s", kafka->names[topic], text);
        return NULL;
    }
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        if (settings[i].topic == topic)
            rd_kafka_NewTopic_set_config(new, settings[i].name, settings[i].value);
    }
    if (plan->retention_ms >= 0) {
        char retention[24];
        snprintf(retention, sizeof(retention), "%" PRId64, plan->retention_ms);
        rd_kafka_NewTopic_set_config(new, "retention.ms", retention);
    }
    return new;
}

static enum err make_one(struct admin_kafka *kafka, enum admin_topic topic,
                         const struct admin_topic_plan *plan, struct failure *f)
{
    rd_kafka_NewTopic_t *new = new_topic(kafka, topic, plan, f);
    if (!new)
        return ERR_USAGE;
    rd_kafka_queue_t *queue = rd_kafka_queue_new(kafka->client);
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(kafka->client,
                                                                 RD_KAFKA_ADMIN_OP_CREATETOPICS);
    char text[256];
    rd_kafka_AdminOptions_set_request_timeout(options, ADMIN_KAFKA_TIMEOUT_MS, text, sizeof(text));
    rd_kafka_AdminOptions_set_operation_timeout(options, ADMIN_KAFKA_TIMEOUT_MS, text,
                                                sizeof(text));
    rd_kafka_CreateTopics(kafka->client, &new, 1, options, queue);
    rd_kafka_event_t *event = NULL;
    enum err err = answer(queue, "create the topics", &event, f);
    if (err == ERR_OK) {
        size_t count = 0;
        const rd_kafka_topic_result_t **results = rd_kafka_CreateTopics_result_topics(
            rd_kafka_event_CreateTopics_result(event), &count);
        assert(count == 1);
        rd_kafka_resp_err_t code = rd_kafka_topic_result_error(results[0]);
        if (code && code != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) {
            admin_kafka_failure(f, code, "create it",
                                rd_kafka_topic_result_error_string(results[0]));
            err = failure_wrap(f, "topic %s", kafka->names[topic]);
        }
        rd_kafka_event_destroy(event);
    }
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    rd_kafka_NewTopic_destroy(new);
    return err;
}

/* Until every partition has a leader that says where its log begins. */
static enum err wait_until_there(struct admin_kafka *kafka, enum admin_topic topic,
                                 int32_t partitions, struct failure *f)
{
    int64_t deadline = clock_mono_ms() + APPEAR_MS;
    for (;;) {
        int32_t count = 0;
        enum err err = admin_kafka_partitions(kafka, topic, &count, f);
        if (err == ERR_OK && count == 0) {
            err = failure_set(f, ERR_LOG_TRANSPORT, "topic %s does not appear",
                              kafka->names[topic]);
        }
        struct admin_span span;
        for (int32_t part = 0; err == ERR_OK && part < partitions && part < count; part++)
            err = admin_kafka_span(kafka, topic, part, &span, f);
        if (err == ERR_OK || clock_mono_ms() > deadline)
            return err;
        clock_sleep_ms(100);
    }
}

enum err admin_topics_make(struct admin_kafka *kafka, const struct admin_topic_plan *plan,
                           int *made_out, struct failure *f)
{
    int made = 0;
    for (int topic = 0; topic < ADMIN_TOPIC_COUNT; topic++) {
        int32_t count = 0;
        enum err err = admin_kafka_partitions(kafka, (enum admin_topic)topic, &count, f);
        if (err == ERR_OK && count == 0) {
            err = make_one(kafka, (enum admin_topic)topic, plan, f);
            made++;
        }
        if (err == ERR_OK)
            err = wait_until_there(kafka, (enum admin_topic)topic, plan->partitions, f);
        if (err != ERR_OK)
            return err;
    }
    *made_out = made;
    return ERR_OK;
}

/* --- checking --- */

static const char *config_value(const rd_kafka_ConfigResource_t *resource, const char *name)
{
    size_t count = 0;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(resource, &count);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(rd_kafka_ConfigEntry_name(entries[i]), name) == 0)
            return rd_kafka_ConfigEntry_value(entries[i]);
    }
    return NULL;
}

static enum err check_resource(const rd_kafka_ConfigResource_t *resource, enum admin_topic topic,
                               struct failure *f)
{
    const char *name = rd_kafka_ConfigResource_name(resource);
    rd_kafka_resp_err_t code = rd_kafka_ConfigResource_error(resource);
    if (code)
        return admin_kafka_failure(f, code, name, rd_kafka_ConfigResource_error_string(resource));
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        const struct topic_setting *setting = &settings[i];
        if (setting->topic != topic)
            continue;
        const char *is = config_value(resource, setting->name);
        bool fits = is && (setting->least > 0 ? strtoll(is, NULL, 10) >= setting->least
                                              : strcmp(is, setting->value) == 0);
        if (!fits) {
            return failure_set(f, ERR_LOG_TOPIC,
                               "topic %s has %s=%s and needs %s: change it (kafka-configs.sh "
                               "--alter), then run this again",
                               name, setting->name, is ? is : "?", setting->value);
        }
    }
    return ERR_OK;
}

static enum err check_settings(struct admin_kafka *kafka, enum admin_topic topic, struct failure *f)
{
    rd_kafka_ConfigResource_t *resource = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC,
                                                                      kafka->names[topic]);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(kafka->client);
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(kafka->client,
                                                                 RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    char text[256];
    rd_kafka_AdminOptions_set_request_timeout(options, ADMIN_KAFKA_TIMEOUT_MS, text, sizeof(text));
    rd_kafka_DescribeConfigs(kafka->client, &resource, 1, options, queue);
    rd_kafka_event_t *event = NULL;
    enum err err = answer(queue, "look at the topics' settings", &event, f);
    if (err == ERR_OK) {
        size_t count = 0;
        const rd_kafka_ConfigResource_t **resources = rd_kafka_DescribeConfigs_result_resources(
            rd_kafka_event_DescribeConfigs_result(event), &count);
        assert(count == 1);
        err = check_resource(resources[0], topic, f);
        rd_kafka_event_destroy(event);
    }
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    rd_kafka_ConfigResource_destroy(resource);
    return err;
}

enum err admin_topics_check(struct admin_kafka *kafka, int32_t partitions, struct failure *f)
{
    for (int topic = 0; topic < ADMIN_TOPIC_COUNT; topic++) {
        int32_t count = 0;
        enum err err = admin_kafka_partitions(kafka, (enum admin_topic)topic, &count, f);
        if (err == ERR_OK && count == 0) {
            err = failure_set(f, ERR_LOG_TOPIC,
                              "topic %s of this farm is gone, and the messages in it: see "
                              "docs/database.md, \"When topics and database differ\"",
                              kafka->names[topic]);
        }
        if (err == ERR_OK && count != partitions) {
            err = failure_set(f, ERR_LOG_TOPIC,
                              "topic %s has %" PRId32 " partitions and the farm has %" PRId32
                              ": a farm's partitions cannot be changed",
                              kafka->names[topic], count, partitions);
        }
        if (err == ERR_OK)
            err = check_settings(kafka, (enum admin_topic)topic, f);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}
