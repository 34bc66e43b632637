/* The two Kafka clients of a berth_client: their settings, the first contact with the brokers, and
 * the status of each error. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "core/utf8.h"
#include "lib/base/clock.h"
#include "lib/base/mem.h"
#include "producer/libberth_internal.h"

/* libberth's defaults. message.timeout.ms is below the usual wait for a decision, so that the
 * caller learns in time that nothing was published. */
static const struct kafka_setting producer_defaults[] = {
    {"linger.ms", "1"},
    {"retry.backoff.ms", "20"},
    {"reconnect.backoff.ms", "20"},
    {"log.connection.close", "false"},
    {"message.timeout.ms", "20000"},
    {"queue.buffering.max.messages", "200000"},
    {NULL, NULL},
};
static const struct kafka_setting consumer_defaults[] = {
    {"fetch.wait.max.ms", "100"},
    {"fetch.error.backoff.ms", "50"},
    {"reconnect.backoff.ms", "20"},
    {"log.connection.close", "false"},
    {NULL, NULL},
};

/* No loss, no reordering. */
static const struct kafka_setting producer_required[] = {
    {"enable.idempotence", "true"},
    {"acks", "all"},
    {NULL, NULL},
};

/* ---- errors ------------------------------------------------------------------------------ */

static enum berth_status status_of(enum err err)
{
    switch (err) {
    case ERR_OK:
        return BERTH_OK;
    case ERR_CONFIG:
        return BERTH_CONFIG;
    case ERR_LOG_TRANSPORT:
        return BERTH_UNREACHABLE;
    case ERR_LOG_DENIED:
        return BERTH_AUTH;
    case ERR_LOG_TOPIC:
        return BERTH_TOPIC;
    case ERR_LOG_TOO_LARGE:
        return BERTH_TOO_LARGE;
    case ERR_LOG_FULL:
        return BERTH_FULL;
    default:
        return BERTH_KAFKA;
    }
}

enum berth_status lb_status_of(rd_kafka_resp_err_t code)
{
    return status_of(kafka_error_class(code));
}

/* A broker chose some of the words, so the visible form is kept. */
__attribute__((format(printf, 2, 3))) static void set_trouble(struct berth_client *client,
                                                              const char *format, ...)
{
    char text[sizeof(client->trouble_text)];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    utf8_visible(client->trouble_text, sizeof(client->trouble_text), text);
}

/* Runs inside rd_kafka_poll, in the thread of the client. "All brokers down" tells less than the
 * error before it. */
static void on_error(rd_kafka_t *rk, int err, const char *reason, void *opaque)
{
    struct berth_client *client = opaque;
    char fatal[512];
    if (err == RD_KAFKA_RESP_ERR__FATAL) {
        rd_kafka_resp_err_t code = rd_kafka_fatal_error(rk, fatal, sizeof(fatal));
        client->trouble = BERTH_KAFKA;
        set_trouble(client, "%s: %s", rd_kafka_err2name(code), fatal);
        return;
    }
    if (err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN && client->trouble != BERTH_OK)
        return;
    client->trouble = lb_status_of((rd_kafka_resp_err_t)err);
    /* Not " (after 0ms in state CONNECT, 1 identical error(s) suppressed)". */
    const char *state = strstr(reason, " (after ");
    set_trouble(client, "%.*s", (int)(state ? (size_t)(state - reason) : strlen(reason)), reason);
}

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    struct berth_client *client = rd_kafka_opaque(rk);
    /* Producer and consumer get the same settings; librdkafka warns of each that is not for its
     * kind. */
    if (strcmp(facility, "CONFWARN") == 0)
        level = LOG_LEVEL_DEBUG;
    if (client && client->logger)
        client->logger(client->logger_arg, level, text);
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *report, void *opaque)
{
    (void)rk;
    lb_flight_delivered(opaque, report->_private, report);
}

/* ---- clients ----------------------------------------------------------------------------- */

/* Gives *out: the user's settings, with libberth's callbacks. */
static enum berth_status make_conf(struct berth_client *client,
                                   const struct kafka_setting *defaults,
                                   const struct kafka_setting *required, rd_kafka_conf_t **out,
                                   struct berth_error *error)
{
    struct failure f;
    struct kafka_setting *users = xcalloc(client->kafka_count + 1, sizeof(*users));
    for (size_t i = 0; i < client->kafka_count; i++)
        users[i] = (struct kafka_setting){client->kafka_names[i], client->kafka_values[i]};
    enum err err = kafka_conf_of(users, defaults, required, out, &f);
    free(users);
    if (err != ERR_OK)
        return lb_error(error, status_of(err), "%s", f.text);
    rd_kafka_conf_set_opaque(*out, client);
    rd_kafka_conf_set_error_cb(*out, on_error);
    rd_kafka_conf_set_log_cb(*out, on_log);
    return BERTH_OK;
}

static enum berth_status make_producer(struct berth_client *client, struct berth_error *error)
{
    rd_kafka_conf_t *conf;
    struct failure f;
    enum berth_status status = make_conf(client, producer_defaults, producer_required, &conf,
                                         error);
    if (status != BERTH_OK)
        return status;
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    enum err err = kafka_client_new(RD_KAFKA_PRODUCER, conf, &client->producer, &f);
    return err != ERR_OK ? lb_error(error, status_of(err), "%s", f.text) : BERTH_OK;
}

static enum berth_status make_reader(struct berth_client *client, struct topic_reader **out,
                                     struct berth_error *error)
{
    const char *prefix = client->topic_prefix ? client->topic_prefix : "berth.";
    char requests[KAFKA_TOPIC_LEN], events[KAFKA_TOPIC_LEN];
    const struct topic_reader_options options = {.names = {requests, events}};
    rd_kafka_conf_t *conf;
    struct failure f;
    snprintf(requests, sizeof(requests), "%srequests", prefix);
    snprintf(events, sizeof(events), "%sevents", prefix);
    enum berth_status status = make_conf(client, consumer_defaults, topic_reader_required, &conf,
                                         error);
    if (status != BERTH_OK)
        return status;
    enum err err = topic_reader_new(conf, &options, out, &f);
    return err != ERR_OK ? lb_error(error, status_of(err), "%s", f.text) : BERTH_OK;
}

static const char *brokers(const struct berth_client *client)
{
    const char *value = "Kafka";
    for (size_t i = 0; i < client->kafka_count; i++) {
        if (strcmp(client->kafka_names[i], "bootstrap.servers") == 0 ||
            strcmp(client->kafka_names[i], "metadata.broker.list") == 0)
            value = client->kafka_values[i];
    }
    return value;
}

/* ---- first contact ----------------------------------------------------------------------- */

static enum berth_status unreachable(const struct berth_client *client, struct berth_error *error)
{
    enum berth_status status = client->trouble == BERTH_AUTH ? BERTH_AUTH : BERTH_UNREACHABLE;
    return lb_error(error, status, "%s %.200s%s%s",
                    status == BERTH_AUTH ? "no access to Kafka at" : "cannot reach Kafka at",
                    brokers(client), client->trouble_text[0] ? ": " : "", client->trouble_text);
}

/* Finds the topic and its number of partitions. */
static enum berth_status check_topic(const struct berth_client *client, struct topic_reader *reader,
                                     enum topic topic, int32_t *count_out,
                                     struct berth_error *error)
{
    struct failure f;
    const char *name = topic_reader_name(reader, topic);
    enum berth_status status = status_of(topic_reader_partitions(reader, topic, count_out, &f));
    if (status == BERTH_UNREACHABLE)
        return unreachable(client, error);
    if (status == BERTH_TOPIC || (status == BERTH_OK && *count_out == 0)) {
        return lb_error(error, BERTH_TOPIC,
                        "topic %s does not exist on %.200s: `berth-admin init` makes it; or "
                        "kafka.bootstrap.servers or farm.topic_prefix is wrong",
                        name, brokers(client));
    }
    if (status != BERTH_OK)
        return lb_error(error, status, "topic %s", f.text);
    if (*count_out > LIMIT_PARTITIONS) {
        return lb_error(error, BERTH_TOPIC,
                        "topic %s has %" PRId32 " partitions, Berth's have 1..%d", name, *count_out,
                        LIMIT_PARTITIONS);
    }
    return BERTH_OK;
}

static enum berth_status check_both(const struct berth_client *client, struct topic_reader *reader,
                                    int32_t *count_out, struct berth_error *error)
{
    int32_t requests = 0, events = 0;
    enum berth_status status = check_topic(client, reader, TOPIC_REQUESTS, &requests, error);
    if (status == BERTH_OK)
        status = check_topic(client, reader, TOPIC_EVENTS, &events, error);
    if (status != BERTH_OK)
        return status;
    if (requests != events) {
        return lb_error(error, BERTH_TOPIC,
                        "topic %s has %" PRId32 " partitions but %s has %" PRId32
                        ": a farm's two topics have the same number",
                        topic_reader_name(reader, TOPIC_REQUESTS), requests,
                        topic_reader_name(reader, TOPIC_EVENTS), events);
    }
    *count_out = events;
    return BERTH_OK;
}

/* Repeats until the brokers answer: a new topic has no leader for a moment. */
static enum berth_status check_topics(struct berth_client *client, struct topic_reader *reader,
                                      int32_t *count_out, struct berth_error *error)
{
    int64_t deadline_ms = clock_mono_ms() + CONNECT_TIMEOUT_MS;
    client->trouble = BERTH_OK;
    client->trouble_text[0] = '\0';
    topic_reader_set_answer_ms(reader, SLICE_MS);
    while (true) {
        enum berth_status status = check_both(client, reader, count_out, error);
        if (lb_take_interrupt(client))
            return lb_error(error, BERTH_INTERRUPTED, "interrupted, nothing was published");
        if (status != BERTH_UNREACHABLE || clock_mono_ms() >= deadline_ms)
            return status;
    }
}

enum berth_status lb_reader_open(struct berth_client *client, struct topic_reader **out,
                                 int32_t *partition_count_out, struct berth_error *error)
{
    struct topic_reader *reader = NULL;
    enum berth_status status = make_reader(client, &reader, error);
    if (status == BERTH_OK)
        status = check_topics(client, reader, partition_count_out, error);
    if (status != BERTH_OK) {
        topic_reader_free(reader);
        return status;
    }
    *out = reader;
    return BERTH_OK;
}

enum berth_status lb_event_span(struct berth_client *client, struct topic_reader *reader,
                                int32_t partition, struct topic_span *out,
                                struct berth_error *error)
{
    struct failure f;
    int64_t deadline_ms = clock_mono_ms() + CONNECT_TIMEOUT_MS;
    topic_reader_set_answer_ms(reader, SPAN_ANSWER_MS);
    while (true) {
        enum err err = topic_reader_span(reader, TOPIC_EVENTS, partition, out, &f);
        if (err == ERR_OK)
            return BERTH_OK;
        if (lb_take_interrupt(client))
            return lb_error(error, BERTH_INTERRUPTED, "interrupted, nothing was published");
        if (err != ERR_LOG_TRANSPORT || clock_mono_ms() >= deadline_ms)
            return lb_error(error, status_of(err), "%s", f.text);
    }
}

enum berth_status lb_follow(struct topic_reader *reader, int32_t partition, int64_t offset,
                            struct berth_error *error)
{
    struct failure f;
    if (topic_reader_start(reader, TOPIC_EVENTS, partition, offset, &f) == ERR_OK)
        return BERTH_OK;
    return lb_error(error, BERTH_KAFKA, "%s", f.text);
}

/* ---- connection -------------------------------------------------------------------------- */

/* All settings are checked before a broker is asked. The consumer, which never makes a topic,
 * looks for both topics before the producer, which might, names one. */
static enum berth_status connect_both(struct berth_client *client, struct berth_error *error)
{
    enum berth_status status = make_reader(client, &client->reader, error);
    if (status == BERTH_OK)
        status = make_producer(client, error);
    if (status == BERTH_OK)
        status = check_topics(client, client->reader, &client->partition_count, error);
    return status;
}

enum berth_status lb_connect(struct berth_client *client, struct berth_error *error)
{
    if (client->partition_count > 0)
        return BERTH_OK;
    enum berth_status status = connect_both(client, error);
    if (status != BERTH_OK) {
        client->partition_count = 0;
        lb_disconnect(client);
        return status;
    }
    client->requests = rd_kafka_topic_new(client->producer,
                                          topic_reader_name(client->reader, TOPIC_REQUESTS), NULL);
    assert(client->requests);
    lb_lanes_new(client, client->partition_count);
    rd_kafka_queue_io_event_enable(topic_reader_queue(client->reader), client->wake[1], "e", 1);
    rd_kafka_queue_t *reports = rd_kafka_queue_get_main(client->producer);
    rd_kafka_queue_io_event_enable(reports, client->wake[1], "d", 1);
    rd_kafka_queue_destroy(reports);
    return BERTH_OK;
}

void lb_disconnect(struct berth_client *client)
{
    if (client->producer) {
        rd_kafka_purge(client->producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT |
                                             RD_KAFKA_PURGE_F_NON_BLOCKING);
    }
    topic_reader_free(client->reader);
    if (client->requests)
        rd_kafka_topic_destroy(client->requests);
    if (client->producer)
        rd_kafka_destroy(client->producer);
    client->reader = NULL;
    client->requests = NULL;
    client->producer = NULL;
}
