/* Look-ups in the logs, by a consumer that is in no group. Nothing is fetched between two calls. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/codec/event_read.h"
#include "lib/token/jws.h"
#include "worker/kafka_broker_impl.h"

static const struct kafka_setting defaults[] = {
    {"client.id", "berth-worker"},
    /* Bounds how long it takes to learn that a log ends in a hole. */
    {"fetch.wait.max.ms", "5"},
    {"fetch.error.backoff.ms", "20"},
    {"retry.backoff.ms", "10"},
    {"queued.max.messages.kbytes", "16384"},
    {"check.crcs", "true"},
    {NULL, NULL},
};

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
    enum err err = kafka_conf_build(cfg, defaults, topic_reader_required, &conf, f);
    return err ? err : topic_reader_new(conf, &options, &broker->reader, f);
}

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

enum err kafka_request_range(void *self, int32_t part, int64_t *lo, int64_t *hi, struct failure *f)
{
    return range(self, &(struct topic_piece){TOPIC_REQUESTS, part, 0, 0}, lo, hi, f);
}

enum err kafka_event_range(void *self, int32_t part, int64_t *lo, int64_t *hi, struct failure *f)
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

enum err kafka_request_before(void *self, int32_t part, int64_t before, int64_t bound,
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

enum err kafka_event_tail(void *self, int32_t part, int64_t count, broker_tail_fn *fn, void *arg,
                          struct failure *f)
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
