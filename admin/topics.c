/* The two topics: made by `init`, checked by every command that depends on their settings. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "admin/admin_kafka.h"
#include "lib/base/clock.h"
#include "lib/kafka/topic_settings.h"

/* How long new topics may take to be known to all brokers. */
#define APPEAR_MS 30000
#define LOOK_MS   100

static rd_kafka_NewTopic_t *new_topic(const char *name, enum topic topic,
                                      const struct admin_topic_plan *plan, struct failure *f)
{
    char text[256] = "";
    rd_kafka_NewTopic_t *new = rd_kafka_NewTopic_new(name, plan->partitions,
                                                     plan->replication_factor, text, sizeof(text));
    if (!new) {
        failure_set(f, ERR_USAGE, "topic %s: %s", name, text);
        return NULL;
    }
    for (const struct topic_setting *setting = topic_settings; setting->name; setting++) {
        if (setting->topic == topic)
            rd_kafka_NewTopic_set_config(new, setting->name, setting->value);
    }
    if (plan->retention_ms >= 0) {
        char retention[24];
        snprintf(retention, sizeof(retention), "%" PRId64, plan->retention_ms);
        rd_kafka_NewTopic_set_config(new, "retention.ms", retention);
    }
    return new;
}

static enum err make_one(struct topic_reader *reader, enum topic topic,
                         const struct admin_topic_plan *plan, struct failure *f)
{
    const char *name = topic_reader_name(reader, topic);
    rd_kafka_NewTopic_t *new = new_topic(name, topic, plan, f);
    if (!new)
        return ERR_USAGE;
    rd_kafka_t *client = topic_reader_client(reader);
    int answer_ms = topic_reader_answer_ms(reader);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(client,
                                                                 RD_KAFKA_ADMIN_OP_CREATETOPICS);
    char text[256];
    rd_kafka_AdminOptions_set_request_timeout(options, answer_ms, text, sizeof(text));
    rd_kafka_AdminOptions_set_operation_timeout(options, answer_ms, text, sizeof(text));
    rd_kafka_CreateTopics(client, &new, 1, options, queue);
    rd_kafka_event_t *event = NULL;
    enum err err = topic_admin_answer(queue, 2 * answer_ms, "create the topics", &event, f);
    if (err == ERR_OK) {
        size_t count = 0;
        const rd_kafka_topic_result_t **results = rd_kafka_CreateTopics_result_topics(
            rd_kafka_event_CreateTopics_result(event), &count);
        assert(count == 1);
        rd_kafka_resp_err_t code = rd_kafka_topic_result_error(results[0]);
        if (code && code != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) {
            kafka_failure(f, code, "create it", rd_kafka_topic_result_error_string(results[0]));
            err = failure_wrap(f, "topic %s", name);
        }
        rd_kafka_event_destroy(event);
    }
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    rd_kafka_NewTopic_destroy(new);
    return err;
}

/* Waits until every partition has a leader that says where its log begins. */
static enum err wait_until_there(struct topic_reader *reader, enum topic topic, int32_t partitions,
                                 struct failure *f)
{
    int64_t deadline = clock_mono_ms() + APPEAR_MS;
    for (;;) {
        int32_t count = 0;
        enum err err = topic_reader_partitions(reader, topic, &count, f);
        if (err == ERR_OK && count == 0) {
            err = failure_set(f, ERR_LOG_TRANSPORT, "topic %s does not appear",
                              topic_reader_name(reader, topic));
        }
        struct topic_span span;
        for (int32_t part = 0; err == ERR_OK && part < partitions && part < count; part++)
            err = topic_reader_span(reader, topic, part, &span, f);
        if (err == ERR_OK || clock_mono_ms() > deadline)
            return err;
        clock_sleep_ms(LOOK_MS);
    }
}

enum err admin_topics_make(struct topic_reader *reader, const struct admin_topic_plan *plan,
                           int *made_out, struct failure *f)
{
    int made = 0;
    for (int topic = 0; topic < TOPIC_COUNT; topic++) {
        int32_t count = 0;
        enum err err = topic_reader_partitions(reader, (enum topic)topic, &count, f);
        if (err == ERR_OK && count == 0) {
            err = make_one(reader, (enum topic)topic, plan, f);
            made++;
        }
        if (err == ERR_OK)
            err = wait_until_there(reader, (enum topic)topic, plan->partitions, f);
        if (err != ERR_OK)
            return err;
    }
    *made_out = made;
    return ERR_OK;
}

static enum err check_settings(struct topic_reader *reader, enum topic topic, struct failure *f)
{
    struct topic_misfit misfit;
    enum err err = topic_settings_check(reader, topic, false, &misfit, f);
    if (err != ERR_OK || !misfit.setting)
        return err;
    return failure_set(f, ERR_LOG_TOPIC,
                       "topic %s has %s=%s and needs %s: change it (kafka-configs.sh "
                       "--alter), then run this again",
                       topic_reader_name(reader, topic), misfit.setting->name,
                       misfit.is[0] ? misfit.is : "?", misfit.setting->value);
}

enum err admin_topics_check(struct topic_reader *reader, int32_t partitions, struct failure *f)
{
    for (int topic = 0; topic < TOPIC_COUNT; topic++) {
        const char *name = topic_reader_name(reader, (enum topic)topic);
        int32_t count = 0;
        enum err err = topic_reader_partitions(reader, (enum topic)topic, &count, f);
        if (err == ERR_OK && count == 0) {
            err = failure_set(f, ERR_LOG_TOPIC,
                              "topic %s of this farm is gone, and the messages in it: see "
                              "docs/database.md, \"When topics and database differ\"",
                              name);
        }
        if (err == ERR_OK && count != partitions) {
            err = failure_set(f, ERR_LOG_TOPIC,
                              "topic %s has %" PRId32 " partitions and the farm has %" PRId32
                              ": a farm's partitions cannot be changed",
                              name, count, partitions);
        }
        if (err == ERR_OK)
            err = check_settings(reader, (enum topic)topic, f);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}
