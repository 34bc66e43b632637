#include "admin/admin_kafka.h"

#include "lib/codec/event_read.h"

/* How long a broker may take to answer one question. */
#define ANSWER_MS 15000
/* Longest wait for the next message of a log. */
#define STALL_MS  30000

static const struct kafka_setting defaults[] = {
    {"client.id", "berth-admin"},
    {"fetch.wait.max.ms", "20"},
    {"queued.max.messages.kbytes", "32768"},
    {NULL, NULL},
};

enum err admin_kafka_open(const struct config *cfg, struct admin_kafka *out, struct failure *f)
{
    char requests[KAFKA_TOPIC_LEN], events[KAFKA_TOPIC_LEN];
    const struct topic_reader_options options = {
        .names = {kafka_topic(cfg, TOPIC_REQUESTS, requests),
                  kafka_topic(cfg, TOPIC_EVENTS, events)},
        .answer_ms = ANSWER_MS,
        .stall_ms = STALL_MS,
        .tells_ends = true,
    };
    rd_kafka_conf_t *conf = NULL;
    enum err err = config_require(cfg, "kafka.bootstrap.servers", f);
    if (err == ERR_OK)
        err = kafka_conf_build(cfg, defaults, topic_reader_required, &conf, f);
    if (err == ERR_OK)
        err = topic_reader_new(conf, &options, &out->reader, f);
    /* A worker repeats at most the events that it does not know to be published. */
    out->tail_count = 2 * config_int(cfg, "worker.unpublished_max");
    return err;
}

void admin_kafka_close(struct admin_kafka *kafka)
{
    topic_reader_free(kafka->reader);
    *kafka = (struct admin_kafka){0};
}

int64_t admin_kafka_sequence(const rd_kafka_message_t *message, int32_t part)
{
    size_t id_len = 0;
    const char *id = topic_header(message, "ce_id", &id_len);
    return event_peek_seq(id, id_len, message->payload, message->len, part);
}

/* The highest sequence in a tail. */
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
    struct topic_piece piece = {.topic = TOPIC_EVENTS, .part = part};
    struct tail tail = {.part = part};
    enum err err = topic_reader_tail(kafka->reader, &piece, kafka->tail_count, f);
    if (err == ERR_OK)
        err = topic_reader_read(kafka->reader, &piece, note_sequence, &tail, f);
    if (err == ERR_OK)
        *out = tail.seq;
    return err;
}
