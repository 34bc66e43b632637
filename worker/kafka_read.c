/* Look-ups in the logs and at the topics, by a consumer that is in no group. Nothing is fetched between
 * two calls. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/codec/event_read.h"
#include "lib/kafka/topic_settings.h"
#include "lib/token/jws.h"
#include "worker/kafka_broker_impl.h"

static const struct kafka_setting defaults[] = {
    {"client.id", "berth-worker"},
    /* Bounds how long it takes to learn that a log ends in a hole. */
    {"fetch.wait.max.ms", "5"},
    {"fetch.error.backoff.ms", "20"},
    {"retry.backoff.ms", "10"},
    {"queued.max.messages.kbytes", "16384"},
    {NULL, NULL},
};

static enum err range(struct kafka_broker *broker, const struct topic_piece *of, int64_t *lo,
                      int64_t *hi, struct failure *f)
{
    struct topic_span span;
    assert(kafka_part_is_valid(of->part));
    enum err err = topic_reader_span(broker->reader, of->topic, of->part, &span, f);
    if (err != ERR_OK)
        return err;
    *lo = span.lo;
    *hi = span.hi;
    return ERR_OK;
}

static enum err kafka_request_range(void *self, int32_t part, int64_t *lo, int64_t *hi,
                                    struct failure *f)
{
    return range(self, &(struct topic_piece){TOPIC_REQUESTS, part, 0, 0}, lo, hi, f);
}

static enum err kafka_event_range(void *self, int32_t part, int64_t *lo, int64_t *hi,
                                  struct failure *f)
{
    return range(self, &(struct topic_piece){TOPIC_EVENTS, part, 0, 0}, lo, hi, f);
}

/* The last message that was read. */
struct last_message {
    int64_t offset;
    uint8_t sha256[32];
};

static enum err note_last(void *arg, const rd_kafka_message_t *message, struct failure *f)
{
    struct last_message *last = arg;
    (void)f;
    last->offset = message->offset;
    sha256(message->payload ? message->payload : "", message->payload ? message->len : 0,
           last->sha256);
    return ERR_OK;
}

static enum err kafka_request_before(void *self, int32_t part, int64_t before, int64_t bound,
                                     int64_t *offset_out, uint8_t sha256_out[32], struct failure *f)
{
    struct kafka_broker *broker = self;
    int64_t lo, hi;
    struct last_message last;
    assert(before >= 0 && bound > 0);
    enum err err = kafka_request_range(broker, part, &lo, &hi, f);
    if (err != ERR_OK)
        return err;
    struct topic_piece piece = {
        .topic = TOPIC_REQUESTS,
        .part = part,
        .from = before - bound > lo ? before - bound : lo,
        .to = before < hi ? before : hi,
    };
    err = topic_reader_last(broker->reader, &piece, note_last, &last, f);
    if (err != ERR_OK)
        return err;
    *offset_out = last.offset;
    memcpy(sha256_out, last.sha256, sizeof(last.sha256));
    return ERR_OK;
}

/* A tail being read. */
struct tail {
    int32_t part;
    broker_tail_fn *fn;
    void *arg;
    int64_t foreign, foreign_at; /* messages that are no decision, and the first one's offset */
};

static enum err note_event(void *arg, const rd_kafka_message_t *message, struct failure *f)
{
    struct tail *tail = arg;
    size_t id_len = 0;
    const char *id = topic_header(message, "ce_id", &id_len);
    int64_t seq = event_peek_seq(id, id_len, message->payload, message->len, tail->part);
    (void)f;
    if (seq > 0) {
        tail->fn(tail->arg, message->offset, seq);
    } else if (tail->foreign++ == 0) {
        tail->foreign_at = message->offset;
    }
    return ERR_OK;
}

static enum err kafka_event_tail(void *self, int32_t part, int64_t count, broker_tail_fn *fn,
                                 void *arg, struct failure *f)
{
    struct kafka_broker *broker = self;
    struct topic_piece piece = {.topic = TOPIC_EVENTS, .part = part};
    struct tail tail = {.part = part, .fn = fn, .arg = arg};
    assert(kafka_part_is_valid(part));
    enum err err = topic_reader_tail(broker->reader, &piece, count, f);
    if (err == ERR_OK)
        err = topic_reader_read(broker->reader, &piece, note_event, &tail, f);
    if (tail.foreign > 0) {
        log_warn("messages in the event topic that are no events of this farm are skipped",
                 "part=%" PRId32 " count=%" PRId64 " first_offset=%" PRId64, part, tail.foreign,
                 tail.foreign_at);
    }
    return err;
}

/* Notes the first vital setting of the topic that does not fit. */
static enum err find_fault(struct kafka_broker *broker, enum topic topic, struct broker_shape *out,
                           struct failure *f)
{
    struct topic_misfit misfit;
    char least[32];
    enum err err = topic_settings_check(broker->reader, topic, true, &misfit, f);
    if (err != ERR_OK || !misfit.setting)
        return err;
    snprintf(least, sizeof(least), "at least %" PRId64, misfit.setting->least);
    snprintf(out->fault, sizeof(out->fault), "topic %s: %s is %s and must be %s (%s)",
             topic_reader_name(broker->reader, topic), misfit.setting->name,
             misfit.is[0] ? misfit.is : "unknown",
             misfit.setting->least > 0 ? least : misfit.setting->value, misfit.setting->why);
    return ERR_OK;
}

/* What the topics are like, and what is wrong with them (docs/messages.md). */
static enum err kafka_shape(void *self, struct broker_shape *out, struct failure *f)
{
    struct kafka_broker *broker = self;
    struct broker_shape shape = {0};
    int32_t counts[TOPIC_COUNT];
    enum err err = ERR_OK;
    for (int topic = 0; err == ERR_OK && topic < TOPIC_COUNT; topic++)
        err = topic_reader_partitions(broker->reader, (enum topic)topic, &counts[topic], f);
    if (err == ERR_OK)
        err = topic_reader_cluster_id(broker->reader, shape.cluster_id, f);
    if (err != ERR_OK)
        return err;
    shape.request_partitions = counts[TOPIC_REQUESTS];
    shape.event_partitions = counts[TOPIC_EVENTS];
    for (int topic = 0; err == ERR_OK && !shape.fault[0] && topic < TOPIC_COUNT; topic++) {
        if (counts[topic] == 0) {
            snprintf(shape.fault, sizeof(shape.fault),
                     "topic %.200s is missing: run `berth-admin init`",
                     topic_reader_name(broker->reader, (enum topic)topic));
        }
    }
    for (int topic = 0; err == ERR_OK && !shape.fault[0] && topic < TOPIC_COUNT; topic++)
        err = find_fault(broker, (enum topic)topic, &shape, f);
    topic_reader_serve(broker->reader);
    if (err == ERR_OK)
        *out = shape;
    return err;
}

enum err kafka_reader_open(struct kafka_broker *broker, const struct config *cfg, struct failure *f)
{
    const struct topic_reader_options options = {
        .names = {broker->requests, broker->events},
        .answer_ms = KAFKA_CALL_TIMEOUT_MS,
        .patience_ms = KAFKA_NEW_TOPIC_MS,
        .stall_ms = KAFKA_CALL_TIMEOUT_MS,
        .tells_ends = true,
    };
    rd_kafka_conf_t *conf;
    broker->ops.shape = kafka_shape;
    broker->ops.request_range = kafka_request_range;
    broker->ops.event_range = kafka_event_range;
    broker->ops.request_before = kafka_request_before;
    broker->ops.event_tail = kafka_event_tail;
    enum err err = kafka_conf_build(cfg, defaults, topic_reader_required, &conf, f);
    return err != ERR_OK ? err : topic_reader_new(conf, &options, &broker->reader, f);
}
