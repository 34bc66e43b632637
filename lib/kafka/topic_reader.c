#include "lib/kafka/topic_reader.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "lib/base/clock.h"
#include "lib/base/mem.h"

/* The longest sleep in one wait for a message: then callbacks are served. */
#define SLICE_MS 100
/* Between two questions while a topic, a partition or its leader is not known. */
#define RETRY_MS 20

const struct kafka_setting topic_reader_required[] = {
    {"enable.auto.commit", "false"}, {"enable.auto.offset.store", "false"},
    {"auto.offset.reset", "error"},  {"isolation.level", "read_uncommitted"},
    {"check.crcs", "true"},          {NULL, NULL},
};

/* A partition that is followed, or not. */
struct followed {
    bool started;     /* it is read into the queue */
    int64_t position; /* the next offset; -1: not known yet */
};

struct topic_reader {
    rd_kafka_t *client;
    rd_kafka_queue_t *queue;
    rd_kafka_topic_t *topics[TOPIC_COUNT];
    struct followed *followed[TOPIC_COUNT]; /* by partition */
    struct topic_reader_options options;
    char names[TOPIC_COUNT][KAFKA_TOPIC_LEN];
};

enum err topic_reader_new(rd_kafka_conf_t *conf, const struct topic_reader_options *options,
                          struct topic_reader **out, struct failure *f)
{
    rd_kafka_t *client = NULL;
    enum err err = kafka_conf_set(conf, "enable.partition.eof",
                                  options->tells_ends ? "true" : "false", f);
    if (err == ERR_OK) {
        err = kafka_client_new(RD_KAFKA_CONSUMER, conf, &client, f);
    } else {
        rd_kafka_conf_destroy(conf);
    }
    if (err != ERR_OK)
        return err;
    struct topic_reader *reader = xcalloc(1, sizeof(*reader));
    reader->client = client;
    reader->options = *options;
    reader->queue = rd_kafka_queue_new(client);
    for (int i = 0; err == ERR_OK && i < TOPIC_COUNT; i++) {
        snprintf(reader->names[i], sizeof(reader->names[i]), "%s", options->names[i]);
        reader->followed[i] = xcalloc(LIMIT_PARTITIONS, sizeof(*reader->followed[i]));
        reader->topics[i] = rd_kafka_topic_new(client, reader->names[i], NULL);
        if (!reader->topics[i])
            err = kafka_failure(f, rd_kafka_last_error(), reader->names[i], NULL);
    }
    if (err != ERR_OK) {
        topic_reader_free(reader);
        return err;
    }
    *out = reader;
    return ERR_OK;
}

void topic_reader_free(struct topic_reader *reader)
{
    if (!reader)
        return;
    for (int i = 0; i < TOPIC_COUNT; i++) {
        for (int32_t part = 0; reader->followed[i] && part < LIMIT_PARTITIONS; part++)
            topic_reader_stop(reader, (enum topic)i, part);
        if (reader->topics[i])
            rd_kafka_topic_destroy(reader->topics[i]);
        free(reader->followed[i]);
    }
    rd_kafka_queue_destroy(reader->queue);
    /* There is no group to leave. */
    rd_kafka_destroy_flags(reader->client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    free(reader);
}

rd_kafka_t *topic_reader_client(const struct topic_reader *reader)
{
    return reader->client;
}

const char *topic_reader_name(const struct topic_reader *reader, enum topic topic)
{
    return reader->names[topic];
}

int topic_reader_answer_ms(const struct topic_reader *reader)
{
    return reader->options.answer_ms;
}

void topic_reader_set_answer_ms(struct topic_reader *reader, int answer_ms)
{
    reader->options.answer_ms = answer_ms;
}

void topic_reader_serve(struct topic_reader *reader)
{
    rd_kafka_poll(reader->client, 0);
}

/* Sets the failure for a code about one partition. */
static enum err part_failure(const struct topic_reader *reader, const struct topic_piece *piece,
                             rd_kafka_resp_err_t code, const char *doing, struct failure *f)
{
    kafka_failure(f, code, doing, NULL);
    return failure_wrap(f, "%s [%" PRId32 "]", reader->names[piece->topic], piece->part);
}

enum err topic_reader_cluster_id(struct topic_reader *reader, char out[TOPIC_CLUSTER_ID_LEN],
                                 struct failure *f)
{
    char *id = rd_kafka_clusterid(reader->client, reader->options.answer_ms);
    if (!id) {
        return failure_set(f, ERR_LOG_TRANSPORT,
                           "no Kafka broker answered: check kafka.bootstrap.servers");
    }
    snprintf(out, TOPIC_CLUSTER_ID_LEN, "%s", id);
    rd_kafka_mem_free(reader->client, id);
    return ERR_OK;
}

static enum err ask_partitions(struct topic_reader *reader, enum topic topic, int32_t *out,
                               struct failure *f)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t code = rd_kafka_metadata(reader->client, 0, reader->topics[topic],
                                                 &metadata, reader->options.answer_ms);
    topic_reader_serve(reader);
    if (code)
        return kafka_failure(f, code, "look at the topics", NULL);
    int32_t count = 0;
    if (metadata->topic_cnt == 1) {
        code = metadata->topics[0].err;
        count = code ? 0 : metadata->topics[0].partition_cnt;
    }
    rd_kafka_metadata_destroy(metadata);
    if (code && code != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        return kafka_failure(f, code, reader->names[topic], NULL);
    *out = count;
    return ERR_OK;
}

enum err topic_reader_partitions(struct topic_reader *reader, enum topic topic, int32_t *out,
                                 struct failure *f)
{
    int64_t deadline = clock_mono_ms() + reader->options.patience_ms;
    enum err err;
    while ((err = ask_partitions(reader, topic, out, f)) == ERR_OK && *out == 0 &&
           clock_mono_ms() < deadline)
        clock_sleep_ms(RETRY_MS);
    return err;
}

/* Asks where the topic's partitions [part, part + count) begin or end: RD_KAFKA_OFFSET_BEGINNING and
 * _END are the times that Kafka's protocol has for it (ListOffsets). rd_kafka_query_watermark_offsets
 * asks the same, but in librdkafka 2.0.2 its time limit covers only the search for the leader: while
 * that broker is away it does not return at all. -1: not known; the first error is returned. */
static rd_kafka_resp_err_t ask_offsets(const struct topic_reader *reader,
                                       rd_kafka_topic_partition_list_t *list, int timeout_ms,
                                       int32_t first_part, int64_t *offsets)
{
    rd_kafka_resp_err_t code = rd_kafka_offsets_for_times(reader->client, list, timeout_ms);
    rd_kafka_resp_err_t first = code;
    for (int i = 0; i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *at = &list->elems[i];
        rd_kafka_resp_err_t own = at->err || at->offset >= 0 ? at->err : RD_KAFKA_RESP_ERR__BAD_MSG;
        offsets[at->partition - first_part] = code || own ? -1 : at->offset;
        first = first ? first : own;
    }
    rd_kafka_topic_partition_list_destroy(list);
    return first;
}

/* A new topic, or a leader that moved: the next question may go to the right place. */
static bool passes_soon(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION ||
           code == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE ||
           code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
           code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC || code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
}

/* One end of a partition's log. */
static rd_kafka_resp_err_t ask_end(struct topic_reader *reader, const struct topic_piece *piece,
                                   int64_t which, int64_t *out)
{
    int64_t deadline = clock_mono_ms() + reader->options.patience_ms;
    for (;;) {
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_list_add(list, reader->names[piece->topic], piece->part)->offset =
            which;
        rd_kafka_resp_err_t code = ask_offsets(reader, list, reader->options.answer_ms, piece->part,
                                               out);
        if (!passes_soon(code) || clock_mono_ms() >= deadline)
            return code;
        clock_sleep_ms(RETRY_MS);
    }
}

enum err topic_reader_span(struct topic_reader *reader, enum topic topic, int32_t part,
                           struct topic_span *out, struct failure *f)
{
    struct topic_piece piece = {.topic = topic, .part = part};
    rd_kafka_resp_err_t code = ask_end(reader, &piece, RD_KAFKA_OFFSET_BEGINNING, &piece.from);
    if (!code)
        code = ask_end(reader, &piece, RD_KAFKA_OFFSET_END, &piece.to);
    topic_reader_serve(reader);
    if (code)
        return part_failure(reader, &piece, code, "ask for the log's range", f);
    if (piece.to < piece.from) { /* it was cut or made again between the two questions */
        return failure_set(f, ERR_LOG_TRANSPORT, "%s [%" PRId32 "]: its ends do not fit",
                           reader->names[topic], part);
    }
    *out = (struct topic_span){piece.from, piece.to};
    return ERR_OK;
}

enum err topic_reader_ends(const struct topic_reader *reader, enum topic topic, int32_t count,
                           int timeout_ms, int64_t *ends, struct failure *f)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
    for (int32_t part = 0; part < count; part++) {
        rd_kafka_topic_partition_list_add(list, reader->names[topic], part)->offset =
            RD_KAFKA_OFFSET_END;
    }
    rd_kafka_resp_err_t code = ask_offsets(reader, list, timeout_ms, 0, ends);
    return code ? kafka_failure(f, code, "ask where the topic ends", NULL) : ERR_OK;
}

/* Turns the error into the empty message at `position`, or at its own offset if that is higher: an error
 * names the first offset of the batch, of which the messages before the position were taken already. */
static void make_empty(rd_kafka_message_t *message, int64_t position)
{
    if (message->offset < position)
        message->offset = position;
    message->err = RD_KAFKA_RESP_ERR_NO_ERROR;
    message->payload = message->key = NULL;
    message->len = message->key_len = 0;
}

/* One message or the lack of it. Moves rest->from behind what it says. *again: nothing follows it
 * unless the reading starts anew. */
static enum err take(const struct topic_reader *reader, struct topic_piece *rest,
                     rd_kafka_message_t *message, bool *again, struct failure *f)
{
    *again = kafka_error_is_unreadable(message->err);
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        /* The piece ends in a hole; below its end the log has grown since this was told. */
        if (message->offset >= rest->to)
            rest->from = rest->to;
        return ERR_OK;
    }
    if (*again)
        make_empty(message, rest->from);
    if (message->err) {
        kafka_failure(f, message->err, "read", rd_kafka_message_errstr(message));
        return failure_wrap(f, "%s [%" PRId32 "]", reader->names[rest->topic], rest->part);
    }
    rest->from = message->offset + 1;
    return ERR_OK;
}

/* Reads until the piece ends or the reading must start anew. */
static enum err read_started(struct topic_reader *reader, struct topic_piece *rest,
                             topic_message_fn *fn, void *arg, struct failure *f)
{
    bool again = false;
    int64_t deadline = clock_mono_ms() + reader->options.stall_ms;
    while (!again && rest->from < rest->to) {
        rd_kafka_message_t *message = rd_kafka_consume(reader->topics[rest->topic], rest->part,
                                                       SLICE_MS);
        topic_reader_serve(reader);
        if (!message && clock_mono_ms() >= deadline) {
            return failure_set(f, ERR_LOG_TRANSPORT, "%s [%" PRId32 "]: no message within %d s",
                               reader->names[rest->topic], rest->part,
                               reader->options.stall_ms / 1000);
        }
        if (!message)
            continue;
        deadline = clock_mono_ms() + reader->options.stall_ms;
        enum err err = take(reader, rest, message, &again, f);
        if (err == ERR_OK && !message->err && message->offset < rest->to)
            err = fn(arg, message, f);
        rd_kafka_message_destroy(message);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

enum err topic_reader_read(struct topic_reader *reader, const struct topic_piece *piece,
                           topic_message_fn *fn, void *arg, struct failure *f)
{
    rd_kafka_topic_t *topic = reader->topics[piece->topic];
    struct topic_piece rest = *piece;
    enum err err = ERR_OK;
    assert(reader->options.tells_ends);
    while (err == ERR_OK && rest.from < rest.to) {
        if (rd_kafka_consume_start(topic, rest.part, rest.from))
            return part_failure(reader, piece, rd_kafka_last_error(), "start to read", f);
        err = read_started(reader, &rest, fn, arg, f);
        rd_kafka_consume_stop(topic, rest.part);
    }
    return err;
}

enum err topic_reader_tail(struct topic_reader *reader, struct topic_piece *piece, int64_t count,
                           struct failure *f)
{
    struct topic_span span;
    assert(count > 0);
    enum err err = topic_reader_span(reader, piece->topic, piece->part, &span, f);
    if (err != ERR_OK)
        return err;
    piece->from = span.hi - count > span.lo ? span.hi - count : span.lo;
    piece->to = span.hi;
    return ERR_OK;
}

/* Passes messages on, and notes that there was one. */
struct passing {
    topic_message_fn *fn;
    void *arg;
    bool any;
};

static enum err pass_on(void *arg, const rd_kafka_message_t *message, struct failure *f)
{
    struct passing *passing = arg;
    passing->any = true;
    return passing->fn(passing->arg, message, f);
}

static enum err no_message(const struct topic_reader *reader, const struct topic_piece *piece,
                           struct failure *f)
{
    return failure_set(f, ERR_NOT_FOUND,
                       "%s [%" PRId32 "] holds no message in %" PRId64 "..%" PRId64,
                       reader->names[piece->topic], piece->part, piece->from, piece->to - 1);
}

enum err topic_reader_last(struct topic_reader *reader, const struct topic_piece *piece,
                           topic_message_fn *fn, void *arg, struct failure *f)
{
    struct passing passing = {.fn = fn, .arg = arg};
    struct topic_piece part = *piece;
    part.from = part.to;
    /* Nearly always it lies right there; behind holes look further and further back. */
    for (int64_t step = 1; !passing.any && part.from > piece->from; step *= 16) {
        part.from = piece->to - step > piece->from ? piece->to - step : piece->from;
        enum err err = topic_reader_read(reader, &part, pass_on, &passing, f);
        if (err != ERR_OK)
            return err;
    }
    return passing.any ? ERR_OK : no_message(reader, piece, f);
}

/* Ends the reading at the first message. */
static enum err note_first(void *arg, const rd_kafka_message_t *message, struct failure *f)
{
    *(int64_t *)arg = message->offset;
    return failure_set(f, ERR_TIMEOUT, "the first message is found");
}

enum err topic_reader_first(struct topic_reader *reader, const struct topic_piece *piece,
                            int64_t *offset_out, struct failure *f)
{
    int64_t first = -1;
    enum err err = topic_reader_read(reader, piece, note_first, &first, f);
    if (first < 0)
        return err != ERR_OK ? err : no_message(reader, piece, f);
    *offset_out = first;
    return ERR_OK;
}

enum err topic_reader_start(struct topic_reader *reader, enum topic topic, int32_t part,
                            int64_t offset, struct failure *f)
{
    struct topic_piece piece = {.topic = topic, .part = part};
    assert(part >= 0 && part < LIMIT_PARTITIONS && !reader->followed[topic][part].started);
    if (rd_kafka_consume_start_queue(reader->topics[topic], part, offset, reader->queue))
        return part_failure(reader, &piece, rd_kafka_last_error(), "start to read", f);
    reader->followed[topic][part] = (struct followed){true, offset >= 0 ? offset : -1};
    return ERR_OK;
}

void topic_reader_stop(struct topic_reader *reader, enum topic topic, int32_t part)
{
    if (!reader->followed[topic][part].started)
        return;
    rd_kafka_consume_stop(reader->topics[topic], part);
    reader->followed[topic][part].started = false;
}

/* Notes the position behind the message. Behind one that cannot be read the reading starts anew. */
static void follow_on(struct topic_reader *reader, rd_kafka_message_t *message)
{
    if (!message->rkt || (message->err && !kafka_error_is_unreadable(message->err)))
        return;
    bool requests = strcmp(rd_kafka_topic_name(message->rkt), reader->names[TOPIC_REQUESTS]) == 0;
    enum topic topic = requests ? TOPIC_REQUESTS : TOPIC_EVENTS;
    struct followed *followed = &reader->followed[topic][message->partition];
    if (message->err && followed->started) {
        make_empty(message, followed->position);
        topic_reader_stop(reader, topic, message->partition);
        if (topic_reader_start(reader, topic, message->partition, message->offset + 1, NULL) !=
            ERR_OK)
            message->err = rd_kafka_last_error();
    } else {
        followed->position = message->offset + 1;
    }
}

rd_kafka_message_t *topic_reader_next(struct topic_reader *reader, int timeout_ms)
{
    rd_kafka_message_t *message = rd_kafka_consume_queue(reader->queue, timeout_ms);
    topic_reader_serve(reader);
    if (message)
        follow_on(reader, message);
    return message;
}

rd_kafka_queue_t *topic_reader_queue(const struct topic_reader *reader)
{
    return reader->queue;
}

const char *topic_header(const rd_kafka_message_t *message, const char *name, size_t *len_out)
{
    rd_kafka_headers_t *headers;
    const void *value;
    size_t len;
    if (rd_kafka_message_headers(message, &headers) ||
        rd_kafka_header_get_last(headers, name, &value, &len))
        return NULL;
    *len_out = value ? len : 0;
    return value;
}

int64_t topic_header_int(const rd_kafka_message_t *message, const char *name)
{
    size_t len;
    const char *digits = topic_header(message, name, &len);
    int64_t number = 0;
    if (!digits || len == 0 || len > 18)
        return -1;
    for (size_t i = 0; i < len; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return -1;
        number = number * 10 + (digits[i] - '0');
    }
    return number;
}
