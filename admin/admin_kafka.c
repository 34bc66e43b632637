#include "admin/admin_kafka.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"

/* One wait for messages; between two the deadline is looked at. */
#define SLICE_MS 500
/* Without any message for so long the log is given up. */
#define STALL_MS 30000

static const struct kafka_setting defaults[] = {
    {"client.id", "berth-admin"},
    {"fetch.wait.max.ms", "20"},
    {"queued.max.messages.kbytes", "32768"},
    {NULL, NULL},
};
static const struct kafka_setting required[] = {
    {"enable.auto.commit", "false"},  {"enable.auto.offset.store", "false"},
    {"auto.offset.reset", "error"},   {"isolation.level", "read_uncommitted"},
    {"enable.partition.eof", "true"}, {NULL, NULL},
};

enum err admin_kafka_failure(struct failure *f, rd_kafka_resp_err_t code, const char *doing,
                             const char *text)
{
    bool transport = code == RD_KAFKA_RESP_ERR__TRANSPORT || code == RD_KAFKA_RESP_ERR__RESOLVE ||
                     code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN ||
                     code == RD_KAFKA_RESP_ERR__TIMED_OUT ||
                     code == RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT;
    return failure_set(f, transport ? ERR_LOG_TRANSPORT : ERR_LOG_ERROR, "%s: %s (%s)", doing,
                       text ? text : rd_kafka_err2str(code), rd_kafka_err2name(code));
}

enum err admin_kafka_open(const struct config *cfg, struct admin_kafka *out, struct failure *f)
{
    struct admin_kafka kafka = {0};
    rd_kafka_conf_t *conf = NULL;
    enum err err = config_require(cfg, "kafka.bootstrap.servers", f);
    if (err == ERR_OK)
        err = kafka_conf_build(cfg, defaults, required, &conf, f);
    if (err == ERR_OK)
        err = kafka_client_new(RD_KAFKA_CONSUMER, conf, &kafka.client, f);
    if (err != ERR_OK)
        return err;
    kafka.tail_messages = 2 * config_int(cfg, "worker.unpublished_max");
    kafka_requests_topic(cfg, kafka.names[ADMIN_REQUESTS]);
    kafka_events_topic(cfg, kafka.names[ADMIN_EVENTS]);
    for (int i = 0; i < ADMIN_TOPIC_COUNT; i++) {
        kafka.topics[i] = rd_kafka_topic_new(kafka.client, kafka.names[i], NULL);
        if (!kafka.topics[i])
            err = admin_kafka_failure(f, rd_kafka_last_error(), kafka.names[i], NULL);
    }
    if (err != ERR_OK) {
        admin_kafka_close(&kafka);
    } else {
        *out = kafka;
    }
    return err;
}

void admin_kafka_close(struct admin_kafka *kafka)
{
    for (int i = 0; i < ADMIN_TOPIC_COUNT; i++) {
        if (kafka->topics[i])
            rd_kafka_topic_destroy(kafka->topics[i]);
    }
    if (kafka->client)
        rd_kafka_destroy(kafka->client);
    *kafka = (struct admin_kafka){0};
}

enum err admin_kafka_cluster_id(struct admin_kafka *kafka, char out[ADMIN_CLUSTER_ID_LEN],
                                struct failure *f)
{
    char *id = rd_kafka_clusterid(kafka->client, ADMIN_KAFKA_TIMEOUT_MS);
    if (!id) {
        return failure_set(f, ERR_LOG_TRANSPORT,
                           "no Kafka broker answered: check kafka.bootstrap.servers");
    }
    snprintf(out, ADMIN_CLUSTER_ID_LEN, "%s", id);
    rd_kafka_mem_free(kafka->client, id);
    return ERR_OK;
}

enum err admin_kafka_partitions(struct admin_kafka *kafka, enum admin_topic topic, int32_t *out,
                                struct failure *f)
{
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_resp_err_t code = rd_kafka_metadata(kafka->client, 0, kafka->topics[topic], &metadata,
                                                 ADMIN_KAFKA_TIMEOUT_MS);
    if (code)
        return admin_kafka_failure(f, code, "look at the topics", NULL);
    enum err err = ERR_OK;
    *out = 0;
    if (metadata->topic_cnt == 1) {
        code = metadata->topics[0].err;
        if (!code) {
            *out = metadata->topics[0].partition_cnt;
        } else if (code != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
            err = admin_kafka_failure(f, code, kafka->names[topic], NULL);
        }
    }
    rd_kafka_metadata_destroy(metadata);
    return err;
}

enum err admin_kafka_span(struct admin_kafka *kafka, enum admin_topic topic, int32_t part,
                          struct admin_span *out, struct failure *f)
{
    rd_kafka_resp_err_t code = rd_kafka_query_watermark_offsets(
        kafka->client, kafka->names[topic], part, &out->lo, &out->hi, ADMIN_KAFKA_TIMEOUT_MS);
    rd_kafka_poll(kafka->client, 0);
    if (!code)
        return ERR_OK;
    admin_kafka_failure(f, code, "ask for the log's range", NULL);
    return failure_wrap(f, "%s [%" PRId32 "]", kafka->names[topic], part);
}

/* One message or the lack of it. *done: nothing that is wanted follows. */
static enum err take(const struct admin_piece *piece, const rd_kafka_message_t *message,
                     admin_message_fn *fn, void *arg, bool *done, struct failure *f)
{
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        /* Holes at the end of the range; an older end has been outgrown since. */
        *done = message->offset >= piece->to;
        return ERR_OK;
    }
    if (message->err)
        return admin_kafka_failure(f, message->err, "read", rd_kafka_message_errstr(message));
    *done = message->offset + 1 >= piece->to;
    return message->offset < piece->to ? fn(arg, message, f) : ERR_OK;
}

static enum err read_started(struct admin_kafka *kafka, const struct admin_piece *piece,
                             admin_message_fn *fn, void *arg, struct failure *f)
{
    bool done = false;
    int64_t deadline = clock_mono_ms() + STALL_MS;
    while (!done) {
        rd_kafka_message_t *message = rd_kafka_consume(kafka->topics[piece->topic], piece->part,
                                                       SLICE_MS);
        rd_kafka_poll(kafka->client, 0);
        if (!message) {
            if (clock_mono_ms() > deadline)
                return failure_set(f, ERR_LOG_TRANSPORT, "no message within %d s", STALL_MS / 1000);
            continue;
        }
        deadline = clock_mono_ms() + STALL_MS;
        enum err err = take(piece, message, fn, arg, &done, f);
        rd_kafka_message_destroy(message);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

enum err admin_kafka_read(struct admin_kafka *kafka, const struct admin_piece *piece,
                          admin_message_fn *fn, void *arg, struct failure *f)
{
    if (piece->from >= piece->to)
        return ERR_OK;
    rd_kafka_topic_t *topic = kafka->topics[piece->topic];
    enum err err;
    if (rd_kafka_consume_start(topic, piece->part, piece->from)) {
        err = admin_kafka_failure(f, rd_kafka_last_error(), "start to read", NULL);
    } else {
        err = read_started(kafka, piece, fn, arg, f);
        rd_kafka_consume_stop(topic, piece->part);
    }
    if (err == ERR_LOG_TRANSPORT || err == ERR_LOG_ERROR)
        failure_wrap(f, "%s [%" PRId32 "]", kafka->names[piece->topic], piece->part);
    return err;
}

enum err admin_kafka_follow(struct admin_kafka *kafka, enum admin_topic topic, const int64_t *from,
                            int32_t count, rd_kafka_queue_t **out, struct failure *f)
{
    *out = rd_kafka_queue_new(kafka->client);
    for (int32_t part = 0; part < count; part++) {
        if (rd_kafka_consume_start_queue(kafka->topics[topic], part, from[part], *out)) {
            admin_kafka_failure(f, rd_kafka_last_error(), "start to read", NULL);
            return failure_wrap(f, "%s [%" PRId32 "]", kafka->names[topic], part);
        }
    }
    return ERR_OK;
}

void admin_kafka_unfollow(struct admin_kafka *kafka, enum admin_topic topic, int32_t count,
                          rd_kafka_queue_t *queue)
{
    if (!queue)
        return;
    for (int32_t part = 0; part < count; part++)
        rd_kafka_consume_stop(kafka->topics[topic], part);
    rd_kafka_queue_destroy(queue);
}

enum err admin_kafka_ends(struct admin_kafka *kafka, enum admin_topic topic, int32_t count,
                          int timeout_ms, int64_t *ends, struct failure *f)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
    for (int32_t part = 0; part < count; part++) {
        rd_kafka_topic_partition_list_add(list, kafka->names[topic], part)->offset =
            RD_KAFKA_OFFSET_END;
    }
    rd_kafka_resp_err_t code = rd_kafka_offsets_for_times(kafka->client, list, timeout_ms);
    for (int i = 0; !code && i < list->cnt; i++)
        code = list->elems[i].err;
    for (int i = 0; !code && i < list->cnt; i++)
        ends[list->elems[i].partition] = list->elems[i].offset;
    rd_kafka_topic_partition_list_destroy(list);
    return code ? admin_kafka_failure(f, code, "ask where the topic ends", NULL) : ERR_OK;
}

int64_t admin_kafka_header_int(const rd_kafka_message_t *message, const char *name)
{
    rd_kafka_headers_t *headers = NULL;
    const void *value = NULL;
    size_t len = 0;
    char digits[20];
    if (rd_kafka_message_headers(message, &headers) ||
        rd_kafka_header_get_last(headers, name, &value, &len) || !value || len == 0 ||
        len >= sizeof(digits))
        return -1;
    memcpy(digits, value, len);
    digits[len] = '\0';
    return strspn(digits, "0123456789") == len ? strtoll(digits, NULL, 10) : -1;
}

/* "3-1042": 1042; 0 when it is not that partition's. */
static int64_t sequence_of_id(const char *id, size_t len, int32_t part)
{
    char head[16], digits[24];
    size_t head_len = (size_t)snprintf(head, sizeof(head), "%" PRId32 "-", part);
    if (len <= head_len || len - head_len >= 20 || memcmp(id, head, head_len) != 0)
        return 0;
    memcpy(digits, id + head_len, len - head_len);
    digits[len - head_len] = '\0';
    if (strspn(digits, "0123456789") != len - head_len || digits[0] == '0')
        return 0;
    return strtoll(digits, NULL, 10);
}

int64_t admin_kafka_sequence(const rd_kafka_message_t *message, int32_t part)
{
    rd_kafka_headers_t *headers = NULL;
    const void *id = NULL;
    size_t len = 0;
    if (rd_kafka_message_headers(message, &headers) ||
        rd_kafka_header_get_last(headers, "ce_id", &id, &len) || !id)
        return 0;
    int64_t seq = sequence_of_id(id, len, part);
    char digits[32];
    size_t digits_len = (size_t)snprintf(digits, sizeof(digits), "\"%019" PRId64 "\"", seq);
    const char *at = message->payload;
    size_t left = at ? message->len : 0;
    while (left >= digits_len) {
        const char *quote = memchr(at, '"', left - digits_len + 1);
        if (!quote)
            return 0;
        if (memcmp(quote, digits, digits_len) == 0)
            return seq;
        left -= (size_t)(quote + 1 - at);
        at = quote + 1;
    }
    return 0;
}

/* What the tail looks for. */
struct tail {
    int32_t part;
    int64_t seq;
};

static enum err note_sequence(void *arg, const rd_kafka_message_t *message, struct failure *f)
{
    struct tail *tail = arg;
    int64_t seq = admin_kafka_sequence(message, tail->part);
    (void)f;
    if (seq > tail->seq)
        tail->seq = seq;
    return ERR_OK;
}

enum err admin_kafka_event_tail(struct admin_kafka *kafka, int32_t part, int64_t *out,
                                struct failure *f)
{
    struct admin_span span;
    struct tail tail = {.part = part};
    enum err err = admin_kafka_span(kafka, ADMIN_EVENTS, part, &span, f);
    if (err == ERR_OK) {
        int64_t from = span.hi - kafka->tail_messages;
        if (from < span.lo)
            from = span.lo;
        struct admin_piece piece = {ADMIN_EVENTS, part, from, span.hi};
        err = admin_kafka_read(kafka, &piece, note_sequence, &tail, f);
    }
    if (err == ERR_OK)
        *out = tail.seq;
    return err;
}
