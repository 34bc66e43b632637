/* The two librdkafka clients of a berth_client: their settings, the first contact with the
 * brokers, and what librdkafka's errors mean to our callers. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "lib/base/clock.h"
#include "lib/base/mem.h"
#include "producer/libberth_internal.h"

struct setting {
    const char *name, *value;
};

/* Ours unless the user says otherwise. message.timeout.ms is below the usual wait for a decision,
 * so that "nothing was published" is known in time. A topic's max.message.bytes bounds
 * whole batches, so batch.size stays below the smallest that a worker accepts (64 KiB): else the
 * broker could refuse what a busy client sends at once. */
static const struct setting defaults[] = {
    {"client.id", "berth"},
    {"socket.nagle.disable", "true"},
    {"reconnect.backoff.ms", "20"},
    {"reconnect.backoff.max.ms", "1000"},
    {"log.connection.close", "false"},
    {NULL, NULL},
};
static const struct setting producer_defaults[] = {
    {"linger.ms", "1"},
    {"retry.backoff.ms", "20"},
    {"message.timeout.ms", "20000"},
    {"queue.buffering.max.messages", "200000"},
    {"batch.size", "60000"},
    {NULL, NULL},
};
static const struct setting consumer_defaults[] = {
    {"fetch.wait.max.ms", "100"},
    {"fetch.error.backoff.ms", "50"},
    {NULL, NULL},
};

/* What Berth's promises rest on: order and no loss from the producer; no transaction of somebody
 * else may hold events back, and no position may be moved silently. */
static const struct setting producer_required[] = {
    {"enable.idempotence", "true"},
    {"acks", "all"},
    {NULL, NULL},
};
static const struct setting consumer_required[] = {
    {"isolation.level", "read_uncommitted"},
    {"auto.offset.reset", "error"},
    {"allow.auto.create.topics", "false"},
    {NULL, NULL},
};

/* ---- errors ------------------------------------------------------------------------------ */

enum berth_status lb_status_of(rd_kafka_resp_err_t err)
{
    switch (err) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
        return BERTH_OK;
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR__SSL:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM:
    case RD_KAFKA_RESP_ERR_ILLEGAL_SASL_STATE:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
        return BERTH_AUTH;
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
        return BERTH_TOPIC;
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
        return BERTH_TOO_LARGE;
    case RD_KAFKA_RESP_ERR__QUEUE_FULL:
        return BERTH_FULL;
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__WAIT_COORD:
    case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
        return BERTH_UNREACHABLE;
    default:
        return BERTH_KAFKA;
    }
}

/* Called by rd_kafka_poll, so by the client's own thread. "All brokers down" says less than the
 * error before it. */
static void on_error(rd_kafka_t *rk, int err, const char *reason, void *opaque)
{
    struct berth_client *client = opaque;
    char fatal[512];
    if (err == RD_KAFKA_RESP_ERR__FATAL) {
        rd_kafka_resp_err_t code = rd_kafka_fatal_error(rk, fatal, sizeof(fatal));
        client->trouble = BERTH_KAFKA;
        snprintf(client->trouble_text, sizeof(client->trouble_text), "%s: %s",
                 rd_kafka_err2name(code), fatal);
        return;
    }
    if (err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN && client->trouble != BERTH_OK)
        return;
    client->trouble = lb_status_of((rd_kafka_resp_err_t)err);
    /* Not " (after 0ms in state CONNECT, 1 identical error(s) suppressed)". */
    const char *state = strstr(reason, " (after ");
    snprintf(client->trouble_text, sizeof(client->trouble_text), "%.*s",
             (int)(state ? (size_t)(state - reason) : strlen(reason)), reason);
}

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    struct berth_client *client = rd_kafka_opaque(rk);
    (void)facility;
    if (client && client->logger)
        client->logger(client->logger_arg, level, text);
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *report, void *opaque)
{
    (void)rk;
    lb_flight_delivered(opaque, report->_private, report);
}

/* ---- settings ---------------------------------------------------------------------------- */

static enum berth_status set_one(rd_kafka_conf_t *conf, const char *name, const char *value,
                                 struct berth_error *error)
{
    char text[512];
    if (rd_kafka_conf_set(conf, name, value, text, sizeof(text)) != RD_KAFKA_CONF_OK)
        return lb_error(error, BERTH_CONFIG, "kafka.%s: %s", name, text);
    return BERTH_OK;
}

static enum berth_status set_table(rd_kafka_conf_t *conf, const struct setting *table,
                                   struct berth_error *error)
{
    enum berth_status status = BERTH_OK;
    for (; table->name && status == BERTH_OK; table++)
        status = set_one(conf, table->name, table->value, error);
    return status;
}

/* The user's settings; one that contradicts a required one is refused, not overruled. */
static enum berth_status set_users(const struct berth_client *client, rd_kafka_conf_t *conf,
                                   const struct setting *required, struct berth_error *error)
{
    for (size_t i = 0; i < client->kafka_count; i++) {
        const char *name = client->kafka_names[i];
        enum berth_status status = set_one(conf, name, client->kafka_values[i], error);
        if (status != BERTH_OK)
            return status;
    }
    for (; required->name; required++) {
        for (size_t i = 0; i < client->kafka_count; i++) {
            const char *value = client->kafka_values[i];
            if (strcmp(client->kafka_names[i], required->name) == 0 &&
                strcmp(value, required->value) != 0) {
                return lb_error(error, BERTH_CONFIG,
                                "kafka.%s = %.100s: Berth needs %s; remove the setting",
                                required->name, value, required->value);
            }
        }
    }
    return BERTH_OK;
}

static enum berth_status make_client(struct berth_client *client, rd_kafka_type_t type,
                                     rd_kafka_t **out, struct berth_error *error)
{
    bool produces = type == RD_KAFKA_PRODUCER;
    const struct setting *required = produces ? producer_required : consumer_required;
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    enum berth_status status = set_table(conf, defaults, error);
    if (status == BERTH_OK)
        status = set_table(conf, produces ? producer_defaults : consumer_defaults, error);
    if (status == BERTH_OK)
        status = set_users(client, conf, required, error);
    if (status == BERTH_OK)
        status = set_table(conf, required, error);
    if (status != BERTH_OK) {
        rd_kafka_conf_destroy(conf);
        return status;
    }
    rd_kafka_conf_set_opaque(conf, client);
    rd_kafka_conf_set_error_cb(conf, on_error);
    rd_kafka_conf_set_log_cb(conf, on_log);
    if (produces)
        rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    char text[512];
    rd_kafka_t *rk = rd_kafka_new(type, conf, text, sizeof(text));
    if (!rk) {
        rd_kafka_conf_destroy(conf);
        return lb_error(error, BERTH_CONFIG, "kafka settings: %s", text);
    }
    *out = rk;
    return BERTH_OK;
}

static const char *kafka_setting(const struct berth_client *client, const char *name)
{
    for (size_t i = client->kafka_count; i > 0; i--) {
        if (strcmp(client->kafka_names[i - 1], name) == 0)
            return client->kafka_values[i - 1];
    }
    return NULL;
}

static const char *brokers(const struct berth_client *client)
{
    const char *value = kafka_setting(client, "bootstrap.servers");
    return value ? value : kafka_setting(client, "metadata.broker.list");
}

enum berth_status lb_consumer_new(struct berth_client *client, rd_kafka_t **out,
                                  struct berth_error *error)
{
    if (!brokers(client)) {
        return lb_error(error, BERTH_CONFIG,
                        "kafka.bootstrap.servers is not set: where the farm's Kafka listens");
    }
    return make_client(client, RD_KAFKA_CONSUMER, out, error);
}

void lb_topic_name(const struct berth_client *client, const char *which, char out[TOPIC_LEN])
{
    int len = snprintf(out, TOPIC_LEN, "%s%s",
                       client->topic_prefix ? client->topic_prefix : "berth.", which);
    assert(len > 0 && len < TOPIC_LEN);
}

/* ---- first contact ----------------------------------------------------------------------- */

static enum berth_status unreachable(const struct berth_client *client, struct berth_error *error)
{
    enum berth_status status = client->trouble == BERTH_AUTH ? BERTH_AUTH : BERTH_UNREACHABLE;
    return lb_error(error, status, "%s %.200s%s%s",
                    status == BERTH_AUTH ? "no access to Kafka at" : "cannot reach Kafka at",
                    brokers(client), client->trouble_text[0] ? ": " : "", client->trouble_text);
}

/* One topic of the metadata; *again: not ready, ask again. */
static enum berth_status check_topic(const struct berth_client *client,
                                     const struct rd_kafka_metadata *metadata, const char *name,
                                     int32_t *count_out, struct berth_error *error)
{
    const struct rd_kafka_metadata_topic *topic = NULL;
    for (int i = 0; i < metadata->topic_cnt; i++) {
        if (strcmp(metadata->topics[i].topic, name) == 0)
            topic = &metadata->topics[i];
    }
    rd_kafka_resp_err_t err = topic ? topic->err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    enum berth_status status = lb_status_of(err);
    if (status == BERTH_TOPIC) {
        return lb_error(error, BERTH_TOPIC,
                        "topic %s does not exist on %.200s: `berth-admin init` makes it; or "
                        "kafka.bootstrap.servers or farm.topic_prefix is wrong",
                        name, brokers(client));
    }
    if (status != BERTH_OK)
        return lb_error(error, status, "topic %s: %s", name, rd_kafka_err2str(err));
    if (topic->partition_cnt < 1 || topic->partition_cnt > LIMIT_PARTITIONS) {
        return lb_error(error, BERTH_TOPIC, "topic %s has %d partitions, Berth's have 1..%d", name,
                        topic->partition_cnt, LIMIT_PARTITIONS);
    }
    *count_out = topic->partition_cnt;
    return BERTH_OK;
}

static enum berth_status check_both(const struct berth_client *client,
                                    const struct rd_kafka_metadata *metadata, int32_t *count_out,
                                    struct berth_error *error)
{
    char requests[TOPIC_LEN], events[TOPIC_LEN];
    int32_t request_count = 0, event_count = 0;
    lb_topic_name(client, "requests", requests);
    lb_topic_name(client, "events", events);
    enum berth_status status = check_topic(client, metadata, requests, &request_count, error);
    if (status == BERTH_OK)
        status = check_topic(client, metadata, events, &event_count, error);
    if (status != BERTH_OK)
        return status;
    if (request_count != event_count) {
        return lb_error(error, BERTH_TOPIC,
                        "topic %s has %" PRId32 " partitions but %s has %" PRId32
                        ": a farm's two topics have the same number",
                        requests, request_count, events, event_count);
    }
    *count_out = event_count;
    return BERTH_OK;
}

/* Asks for metadata until it is there. A topic that was just made has no leader for a moment. */
enum berth_status lb_check_topics(struct berth_client *client, rd_kafka_t *consumer,
                                  int32_t *count_out, struct berth_error *error)
{
    int64_t deadline_ms = clock_mono_ms() + CONNECT_TIMEOUT_MS;
    client->trouble = BERTH_OK;
    client->trouble_text[0] = '\0';
    while (true) {
        const struct rd_kafka_metadata *metadata = NULL;
        rd_kafka_resp_err_t err = rd_kafka_metadata(consumer, 0, NULL, &metadata, SLICE_MS);
        rd_kafka_poll(consumer, 0);
        enum berth_status status;
        if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            status = unreachable(client, error);
        } else {
            status = check_both(client, metadata, count_out, error);
            rd_kafka_metadata_destroy(metadata);
        }
        if (lb_take_interrupt(client))
            return lb_error(error, BERTH_INTERRUPTED, "interrupted, nothing was published");
        if (status != BERTH_UNREACHABLE || clock_mono_ms() >= deadline_ms)
            return status;
    }
}

enum berth_status lb_event_range(struct berth_client *client, rd_kafka_t *consumer,
                                 int32_t partition, int64_t range[2], struct berth_error *error)
{
    char topic[TOPIC_LEN];
    lb_topic_name(client, "events", topic);
    int64_t deadline_ms = clock_mono_ms() + CONNECT_TIMEOUT_MS;
    while (true) {
        rd_kafka_resp_err_t err = rd_kafka_query_watermark_offsets(
            consumer, topic, partition, &range[0], &range[1], 10 * SLICE_MS);
        enum berth_status status = lb_status_of(err);
        if (status == BERTH_OK)
            return BERTH_OK;
        rd_kafka_poll(consumer, 0);
        if (lb_take_interrupt(client))
            return lb_error(error, BERTH_INTERRUPTED, "interrupted, nothing was published");
        if (status != BERTH_UNREACHABLE || clock_mono_ms() >= deadline_ms) {
            return lb_error(error, status, "read the end of %s, partition %" PRId32 ": %s", topic,
                            partition, rd_kafka_err2str(err));
        }
    }
}

/* ---- connection -------------------------------------------------------------------------- */

static enum berth_status make_both(struct berth_client *client, struct berth_error *error)
{
    char requests[TOPIC_LEN], events[TOPIC_LEN];
    lb_topic_name(client, "requests", requests);
    lb_topic_name(client, "events", events);
    enum berth_status status = lb_consumer_new(client, &client->consumer, error);
    if (status == BERTH_OK)
        status = make_client(client, RD_KAFKA_PRODUCER, &client->producer, error);
    if (status != BERTH_OK)
        return status;
    /* The consumer, which never makes a topic, looks at both before the producer, which might. */
    client->events = rd_kafka_topic_new(client->consumer, events, NULL);
    rd_kafka_topic_t *looked_at = rd_kafka_topic_new(client->consumer, requests, NULL);
    assert(client->events && looked_at);
    status = lb_check_topics(client, client->consumer, &client->partition_count, error);
    rd_kafka_topic_destroy(looked_at);
    return status;
}

enum berth_status lb_connect(struct berth_client *client, struct berth_error *error)
{
    if (client->partition_count > 0)
        return BERTH_OK;
    enum berth_status status = make_both(client, error);
    if (status != BERTH_OK) {
        client->partition_count = 0;
        lb_disconnect(client);
        return status;
    }
    char requests[TOPIC_LEN];
    lb_topic_name(client, "requests", requests);
    client->requests = rd_kafka_topic_new(client->producer, requests, NULL);
    assert(client->requests);
    lb_lanes_new(client, client->partition_count);
    client->event_queue = rd_kafka_queue_new(client->consumer);
    rd_kafka_queue_io_event_enable(client->event_queue, client->wake[1], "e", 1);
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
    for (int32_t p = 0; client->lanes && p < client->partition_count; p++) {
        if (client->lanes[p].consuming)
            rd_kafka_consume_stop(client->events, p);
        client->lanes[p].consuming = false;
    }
    if (client->event_queue)
        rd_kafka_queue_destroy(client->event_queue);
    if (client->requests)
        rd_kafka_topic_destroy(client->requests);
    if (client->events)
        rd_kafka_topic_destroy(client->events);
    if (client->producer)
        rd_kafka_destroy(client->producer);
    if (client->consumer)
        rd_kafka_destroy_flags(client->consumer, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    client->event_queue = NULL;
    client->requests = client->events = NULL;
    client->producer = client->consumer = NULL;
}
