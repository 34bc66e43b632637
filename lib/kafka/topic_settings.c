#include "lib/kafka/topic_settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct topic_setting topic_settings[] = {
    {TOPIC_REQUESTS, "message.timestamp.type", "LogAppendTime", 0, true,
     "the broker's append time is a request's now"},
    {TOPIC_REQUESTS, "cleanup.policy", "delete", 0, true, "compaction would eat requests"},
    /* The limit counts for a batch of messages, and clients fill batches of up to 1,000,000 bytes
     * by default: a topic that took no more than a token would refuse them under load. */
    {TOPIC_REQUESTS, "max.message.bytes", "1048576", 65536, true, "the longest request must fit"},
    /* The broker unpacks what clients compress, and compares the result with max.message.bytes.
     * Otherwise 4.6 kB of zstd could be a message of 150 MB, or a million messages, for every
     * reader of the topic. */
    {TOPIC_REQUESTS, "compression.type", "uncompressed", 0, true,
     "a compressed batch can grow a thousandfold in its readers"},
    {TOPIC_EVENTS, "cleanup.policy", "delete", 0, true, "compaction would eat events"},
    {TOPIC_EVENTS, "message.timestamp.type", "LogAppendTime", 0, false,
     "brokers refuse an event whose worker's clock is an hour ahead"},
    {TOPIC_EVENTS, "max.message.bytes", "1048576", 1000000, true,
     "the worker sends batches of that size"},
    {TOPIC_EVENTS, "compression.type", "uncompressed", 0, true,
     "a compressed batch can grow a thousandfold in its readers"},
    {.name = NULL},
};

enum err topic_admin_answer(rd_kafka_queue_t *queue, int timeout_ms, const char *doing,
                            rd_kafka_event_t **out, struct failure *f)
{
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, timeout_ms);
    if (!event)
        return failure_set(f, ERR_LOG_TRANSPORT, "%s: no answer from Kafka", doing);
    rd_kafka_resp_err_t code = rd_kafka_event_error(event);
    if (!code) {
        *out = event;
        return ERR_OK;
    }
    enum err err = kafka_failure(f, code, doing, rd_kafka_event_error_string(event));
    rd_kafka_event_destroy(event);
    return err;
}

static const char *value_of(const rd_kafka_ConfigResource_t *resource, const char *name)
{
    size_t count = 0;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(resource, &count);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(rd_kafka_ConfigEntry_name(entries[i]), name) == 0)
            return rd_kafka_ConfigEntry_value(entries[i]);
    }
    return NULL;
}

static bool fits(const struct topic_setting *setting, const char *is)
{
    return is && (setting->least > 0 ? strtoll(is, NULL, 10) >= setting->least
                                     : strcmp(is, setting->value) == 0);
}

static void find_misfit(const rd_kafka_ConfigResource_t *resource, enum topic topic,
                        bool only_vital, struct topic_misfit *out)
{
    *out = (struct topic_misfit){0};
    for (const struct topic_setting *setting = topic_settings; setting->name; setting++) {
        if (setting->topic != topic || (only_vital && !setting->vital))
            continue;
        const char *is = value_of(resource, setting->name);
        if (fits(setting, is))
            continue;
        out->setting = setting;
        snprintf(out->is, sizeof(out->is), "%s", is ? is : "");
        return;
    }
}

enum err topic_settings_check(struct topic_reader *reader, enum topic topic, bool only_vital,
                              struct topic_misfit *out, struct failure *f)
{
    rd_kafka_t *client = topic_reader_client(reader);
    rd_kafka_ConfigResource_t *resource = rd_kafka_ConfigResource_new(
        RD_KAFKA_RESOURCE_TOPIC, topic_reader_name(reader, topic));
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(client,
                                                                 RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    int answer_ms = topic_reader_answer_ms(reader);
    char text[256];
    rd_kafka_AdminOptions_set_request_timeout(options, answer_ms, text, sizeof(text));
    rd_kafka_DescribeConfigs(client, &resource, 1, options, queue);
    rd_kafka_event_t *event = NULL;
    /* The request has its own time limit, so an answer or an error comes in any case. */
    enum err err = topic_admin_answer(queue, 2 * answer_ms, "look at the topics' settings", &event,
                                      f);
    if (err == ERR_OK) {
        size_t count = 0;
        const rd_kafka_ConfigResource_t **answers = rd_kafka_DescribeConfigs_result_resources(
            rd_kafka_event_DescribeConfigs_result(event), &count);
        rd_kafka_resp_err_t code = count == 1 ? rd_kafka_ConfigResource_error(answers[0])
                                              : RD_KAFKA_RESP_ERR__BAD_MSG;
        if (code) {
            err = kafka_failure(f, code, topic_reader_name(reader, topic),
                                count == 1 ? rd_kafka_ConfigResource_error_string(answers[0])
                                           : NULL);
        } else {
            find_misfit(answers[0], topic, only_vital, out);
        }
        rd_kafka_event_destroy(event);
    }
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    rd_kafka_ConfigResource_destroy(resource);
    return err;
}
