/* The reader: looks things up in the logs by a consumer of its own that is in no group.
 *
 * It uses librdkafka's simple consumer (start at an offset, consume, stop), which knows no group
 * and asks no coordinator. Nothing is fetched between two calls. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/token/jws.h"
#include "worker/kafka_broker_impl.h"

static const struct kafka_setting defaults[] = {
    {"client.id", "berth-worker"},
    /* How long the end of a log takes to show when nothing follows a hole. */
    {"fetch.wait.max.ms", "5"},
    {"fetch.error.backoff.ms", "20"},
    {"retry.backoff.ms", "10"},
    {"queued.max.messages.kbytes", "16384"},
    {NULL, NULL},
};

static const struct kafka_setting required[] = {
    {"enable.auto.commit", "false"},
    {"enable.auto.offset.store", "false"},
    {"auto.offset.reset", "error"},
    {"isolation.level", "read_uncommitted"},
    {"enable.partition.eof", "true"},
    {"check.crcs", "true"},
    {NULL, NULL},
};

enum err kafka_reader_open(struct kafka_broker *broker, const struct config *cfg, struct failure *f)
{
    rd_kafka_conf_t *conf;
    enum err err = kafka_conf_build(cfg, defaults, required, &conf, f);
    if (err == ERR_OK)
        err = kafka_client_new(RD_KAFKA_CONSUMER, conf, &broker->reader, f);
    if (err != ERR_OK)
        return err;
    broker->reader_requests = rd_kafka_topic_new(broker->reader, broker->requests, NULL);
    broker->reader_events = rd_kafka_topic_new(broker->reader, broker->events, NULL);
    if (!broker->reader_requests || !broker->reader_events)
        return kafka_failure(f, rd_kafka_last_error(), "open the topics", NULL);
    return ERR_OK;
}

void kafka_reader_free(struct kafka_broker *broker)
{
    if (broker->reader_requests)
        rd_kafka_topic_destroy(broker->reader_requests);
    if (broker->reader_events)
        rd_kafka_topic_destroy(broker->reader_events);
    if (broker->reader)
        rd_kafka_destroy(broker->reader);
    broker->reader_requests = broker->reader_events = NULL;
    broker->reader = NULL;
}

/* One end of a log. RD_KAFKA_OFFSET_BEGINNING and _END are the times that Kafka's protocol has for
 * it. rd_kafka_query_watermark_offsets asks the same, but in librdkafka 2.0.2 its time limit covers
 * only the search for the leader: while that broker is away it does not return at all. */
static rd_kafka_resp_err_t ask_end(struct kafka_broker *broker, const char *topic, int32_t part,
                                   int64_t which, int64_t *out)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, part)->offset = which;
    rd_kafka_resp_err_t code = rd_kafka_offsets_for_times(broker->reader, list,
                                                          KAFKA_CALL_TIMEOUT_MS);
    if (!code)
        code = list->elems[0].err;
    if (!code && list->elems[0].offset < 0)
        code = RD_KAFKA_RESP_ERR__BAD_MSG;
    if (!code)
        *out = list->elems[0].offset;
    rd_kafka_topic_partition_list_destroy(list);
    return code;
}

/* A new topic, or a leader that moved: the next question may go to the right place. */
static bool passes_soon(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION ||
           code == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE ||
           code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
           code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC || code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
}

static enum err log_end(struct kafka_broker *broker, const struct broker_position *end,
                        const char *topic, int64_t *out, struct failure *f)
{
    int64_t deadline = clock_mono_ms() + KAFKA_NEW_TOPIC_MS;
    rd_kafka_resp_err_t code;
    while ((code = ask_end(broker, topic, end->part, end->offset, out)) != 0 && passes_soon(code) &&
           clock_mono_ms() < deadline)
        clock_sleep_ms(20);
    rd_kafka_poll(broker->reader, 0);
    if (!code)
        return ERR_OK;
    kafka_failure(f, code, "ask for the log's range", NULL);
    return failure_wrap(f, "%s [%" PRId32 "]", topic, end->part);
}

static enum err range(struct kafka_broker *broker, const char *topic, int32_t part, int64_t *lo,
                      int64_t *hi, struct failure *f)
{
    assert(kafka_part_is_valid(part));
    int64_t first, end;
    enum err err = log_end(broker, &(struct broker_position){part, RD_KAFKA_OFFSET_BEGINNING},
                           topic, &first, f);
    if (err == ERR_OK)
        err = log_end(broker, &(struct broker_position){part, RD_KAFKA_OFFSET_END}, topic, &end, f);
    if (err != ERR_OK)
        return err;
    if (end < first) { /* it was cut or made again between the two questions */
        return failure_set(f, ERR_LOG_TRANSPORT, "%s [%" PRId32 "]: its ends do not fit", topic,
                           part);
    }
    *lo = first;
    *hi = end;
    return ERR_OK;
}

enum err kafka_request_range(void *self, int32_t part, int64_t *lo, int64_t *hi, struct failure *f)
{
    struct kafka_broker *broker = self;
    return range(broker, broker->requests, part, lo, hi, f);
}

enum err kafka_event_range(void *self, int32_t part, int64_t *lo, int64_t *hi, struct failure *f)
{
    struct kafka_broker *broker = self;
    return range(broker, broker->events, part, lo, hi, f);
}

/* One pass over a part of a log. */
struct pass {
    struct kafka_broker *broker;
    rd_kafka_topic_t *topic;
    int32_t part;
    int64_t end; /* the first offset that is not wanted */
};

/* True to go on. */
typedef bool message_fn(void *arg, const rd_kafka_message_t *message);

/* Takes messages until fn has enough, the offset `end`, or the log's end. */
static enum err consume(const struct pass *pass, message_fn *fn, void *arg, struct failure *f)
{
    bool more = true;
    int64_t deadline = clock_mono_ms() + KAFKA_CALL_TIMEOUT_MS; /* for the next message */
    while (more) {
        int64_t left = deadline - clock_mono_ms();
        if (left <= 0) {
            return failure_set(f, ERR_TIMEOUT, "no answer from Kafka within %d ms",
                               KAFKA_CALL_TIMEOUT_MS);
        }
        rd_kafka_poll(pass->broker->reader, 0);
        rd_kafka_message_t *message = rd_kafka_consume(
            pass->topic, pass->part, left < KAFKA_SLICE_MS ? (int)left : KAFKA_SLICE_MS);
        if (!message)
            continue;
        deadline = clock_mono_ms() + KAFKA_CALL_TIMEOUT_MS;
        enum err err = ERR_OK;
        if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            more = message->offset < pass->end; /* an old one: the log has grown since */
        } else if (message->err) {
            err = kafka_failure(f, message->err, "consume", rd_kafka_message_errstr(message));
        } else if (message->offset >= pass->end) {
            more = false;
        } else {
            more = fn(arg, message) && message->offset + 1 < pass->end;
        }
        rd_kafka_message_destroy(message);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

static enum err read_from(const struct pass *pass, int64_t start, message_fn *fn, void *arg,
                          struct failure *f)
{
    enum err err;
    if (rd_kafka_consume_start(pass->topic, pass->part, start)) {
        err = kafka_failure(f, rd_kafka_last_error(), "start to read", NULL);
    } else {
        err = consume(pass, fn, arg, f);
        rd_kafka_consume_stop(pass->topic, pass->part);
    }
    if (err != ERR_OK) {
        failure_wrap(f, "%s [%" PRId32 "] from %" PRId64, rd_kafka_topic_name(pass->topic),
                     pass->part, start);
    }
    return err;
}

/* What the request log holds just below an offset. */
struct last_message {
    int64_t offset; /* -1: nothing yet */
    uint8_t sha256[32];
};

static bool note_last(void *arg, const rd_kafka_message_t *message)
{
    struct last_message *last = arg;
    last->offset = message->offset;
    sha256(message->payload ? message->payload : "", message->payload ? message->len : 0,
           last->sha256);
    return true;
}

enum err kafka_request_before(void *self, int32_t part, int64_t before, int64_t bound,
                              int64_t *offset_out, uint8_t sha256_out[32], struct failure *f)
{
    struct kafka_broker *broker = self;
    assert(before >= 0 && bound > 0);
    int64_t lo, hi;
    enum err err = range(broker, broker->requests, part, &lo, &hi, f);
    if (err != ERR_OK)
        return err;
    int64_t lowest = before - bound > lo ? before - bound : lo;
    struct pass pass = {
        .broker = broker,
        .topic = broker->reader_requests,
        .part = part,
        .end = before < hi ? before : hi,
    };
    struct last_message last = {.offset = -1};
    /* Nearly always it lies right there; behind holes look further and further back. */
    for (int64_t step = 1, start = pass.end; last.offset < 0 && start > lowest; step *= 16) {
        start = pass.end - step > lowest ? pass.end - step : lowest;
        err = read_from(&pass, start, note_last, &last, f);
        if (err != ERR_OK)
            return err;
    }
    if (last.offset < 0) {
        return failure_set(f, ERR_NOT_FOUND,
                           "%s [%" PRId32 "] holds no message in %" PRId64 "..%" PRId64,
                           broker->requests, part, lowest, before - 1);
    }
    *offset_out = last.offset;
    memcpy(sha256_out, last.sha256, sizeof(last.sha256));
    return ERR_OK;
}

/* What event_tail hands to its caller. */
struct tail {
    int32_t part;
    broker_tail_fn *fn;
    void *arg;
    int64_t foreign, foreign_at; /* messages that are no decision, and the first one's offset */
};

/* "3-1042" of this partition: 1042. Else 0. */
static int64_t parse_id(const char *text, size_t len, int32_t part)
{
    char head[16];
    int head_len = snprintf(head, sizeof(head), "%" PRId32 "-", part);
    if (len <= (size_t)head_len || memcmp(text, head, (size_t)head_len) != 0)
        return 0;
    int64_t seq = 0;
    for (size_t i = (size_t)head_len; i < len; i++) {
        if (text[i] < '0' || text[i] > '9' || seq > INT64_MAX / LIMIT_PARTITIONS / 10)
            return 0;
        if (seq == 0 && text[i] == '0')
            return 0;
        seq = seq * 10 + (text[i] - '0');
    }
    return seq;
}

static bool contains(const void *text, size_t len, const char *part, size_t part_len)
{
    const char *at = text, *end = at + len;
    while ((size_t)(end - at) >= part_len) {
        at = memchr(at, part[0], (size_t)(end - at) - part_len + 1);
        if (!at)
            return false;
        if (memcmp(at, part, part_len) == 0)
            return true;
        at++;
    }
    return false;
}

/* The sequence of an event, 0 for a foreign message. The header names it, since parsing the JSON
 * of thousands of events would make a claim slow, and the value must hold the same `sequence`
 * (19 digits in quotes): a message that was copied to another place or patched is not ours. */
static int64_t sequence_of(const rd_kafka_message_t *message, int32_t part)
{
    rd_kafka_headers_t *headers;
    const void *id;
    size_t id_len;
    if (rd_kafka_message_headers(message, &headers) || !message->payload ||
        rd_kafka_header_get_last(headers, "ce_id", &id, &id_len) || !id)
        return 0;
    int64_t seq = parse_id(id, id_len, part);
    char digits[24];
    int digits_len = snprintf(digits, sizeof(digits), "\"%019" PRId64 "\"", seq);
    return contains(message->payload, message->len, digits, (size_t)digits_len) ? seq : 0;
}

static bool note_event(void *arg, const rd_kafka_message_t *message)
{
    struct tail *tail = arg;
    int64_t seq = sequence_of(message, tail->part);
    if (seq > 0) {
        tail->fn(tail->arg, message->offset, seq);
    } else if (tail->foreign++ == 0) {
        tail->foreign_at = message->offset;
    }
    return true;
}

enum err kafka_event_tail(void *self, int32_t part, int64_t count, broker_tail_fn *fn, void *arg,
                          struct failure *f)
{
    struct kafka_broker *broker = self;
    assert(count > 0);
    int64_t lo, hi;
    enum err err = range(broker, broker->events, part, &lo, &hi, f);
    if (err != ERR_OK || lo == hi)
        return err;
    struct pass pass = {
        .broker = broker,
        .topic = broker->reader_events,
        .part = part,
        .end = hi,
    };
    struct tail tail = {.part = part, .fn = fn, .arg = arg};
    err = read_from(&pass, hi - count > lo ? hi - count : lo, note_event, &tail, f);
    if (tail.foreign > 0) {
        log_warn("messages in the event topic that are no events of this farm are skipped",
                 "part=%" PRId32 " count=%" PRId64 " first_offset=%" PRId64, part, tail.foreign,
                 tail.foreign_at);
    }
    return err;
}
