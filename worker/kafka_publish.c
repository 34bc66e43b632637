/* The producer: publishes the events of each partition in order and without a gap
 * (docs/architecture.md, Publishing).
 *
 * With message.timeout.ms=0 librdkafka never gives up on an event, so a delivery report fails only
 * when the broker refuses the event for good. enable.gapless.guarantee turns that into a fatal
 * error of the client: without it librdkafka would deliver the events after the failed one, and
 * leave a gap. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/codec/event.h"
#include "worker/kafka_broker_impl.h"

static const struct kafka_setting defaults[] = {
    {"client.id", "berth-worker"},
    /* The events of one commit are handed over together. Without this wait the first ones would be
     * sent alone, and the broker would spend a quarter of its time on small requests. */
    {"linger.ms", "1"},
    {"batch.size", "1000000"},
    {"retry.backoff.ms", "10"},
    {"queue.buffering.max.messages", "100000"},
    {"queue.buffering.max.kbytes", "131072"},
    {NULL, NULL},
};

static const struct kafka_setting required[] = {
    {"enable.idempotence", "true"},
    {"enable.gapless.guarantee", "true"},
    {"acks", "all"},
    {"message.timeout.ms", "0"},
    /* The least max.message.bytes that the check of the event topic accepts (topic_settings.c). */
    {"message.max.bytes", "1000000"},
    {NULL, NULL},
};

/* A report's opaque holds partition and sequence in one number, as a booking's id does: there is
 * nothing to free. */
_Static_assert(sizeof(uintptr_t) == 8, "an opaque holds 64 bits");

static void *opaque_of(int32_t part, int64_t seq)
{
    return (void *)(uintptr_t)((uint64_t)seq * LIMIT_PARTITIONS + (uint64_t)part);
}

static void on_report(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    struct kafka_broker *broker = opaque;
    if (rk != broker->producer)
        return; /* given up by reset */
    uint64_t number = (uintptr_t)message->_private;
    int32_t part = (int32_t)(number % LIMIT_PARTITIONS);
    int64_t seq = (int64_t)(number / LIMIT_PARTITIONS);
    broker->parts[part].outstanding--;
    broker->outstanding--;
    assert(broker->parts[part].outstanding >= 0);
    if (message->err && !broker->producer_failed) {
        /* Not rd_kafka_message_errstr: for a sent message it returns the payload. */
        struct log_quoted quoted;
        log_warn("an event was not delivered; a new producer publishes it again",
                 "part=%" PRId32 " seq=%" PRId64 " code=%s text=%s", part, seq,
                 rd_kafka_err2name(message->err),
                 log_quote(&quoted, rd_kafka_err2str(message->err)));
        broker->producer_failed = true;
    }
    if (broker->owner.delivered) {
        broker->owner.delivered(broker->owner.arg, part, seq,
                                message->err ? ERR_LOG_FATAL : ERR_OK);
    }
}

static enum err producer_new(struct kafka_broker *broker, struct failure *f)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_dup(broker->producer_conf);
    rd_kafka_conf_set_opaque(conf, broker);
    rd_kafka_conf_set_dr_msg_cb(conf, on_report);
    enum err err = kafka_client_new(RD_KAFKA_PRODUCER, conf, &broker->producer, f);
    if (err != ERR_OK)
        return err;
    broker->producer_topic = rd_kafka_topic_new(broker->producer, broker->events, NULL);
    if (!broker->producer_topic)
        return kafka_failure(f, rd_kafka_last_error(), "open the event topic", NULL);
    broker->producer_failed = false;
    return ERR_OK;
}

/* Drops the producer with all events that it has not delivered. */
static void producer_drop(struct kafka_broker *broker)
{
    rd_kafka_t *old = broker->producer;
    broker->producer = NULL; /* on_report ignores what comes from now on */
    broker->producer_failed = true;
    broker->outstanding = 0;
    for (int32_t part = 0; part < LIMIT_PARTITIONS; part++)
        broker->parts[part].outstanding = 0;
    if (broker->producer_topic)
        rd_kafka_topic_destroy(broker->producer_topic);
    broker->producer_topic = NULL;
    /* No rd_kafka_purge before: events in flight would be a gap, hence a fatal error. */
    if (old)
        rd_kafka_destroy(old);
}

void kafka_producer_free(struct kafka_broker *broker)
{
    producer_drop(broker);
    if (broker->producer_conf)
        rd_kafka_conf_destroy(broker->producer_conf);
    broker->producer_conf = NULL;
}

void kafka_serve_reports(struct kafka_broker *broker, int timeout_ms)
{
    if (!broker->producer)
        return;
    broker->serving_reports = true;
    rd_kafka_poll(broker->producer, timeout_ms);
    broker->serving_reports = false;
}

static enum err failed(struct kafka_broker *broker, struct failure *f)
{
    char text[256] = "an event was not delivered";
    if (broker->producer)
        rd_kafka_fatal_error(broker->producer, text, sizeof(text));
    return failure_set(f, ERR_LOG_FATAL, "producer: %s", text);
}

static enum err publish_failure(struct kafka_broker *broker, const struct broker_event *event,
                                rd_kafka_resp_err_t code, struct failure *f)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR__QUEUE_FULL:
        return failure_set(f, ERR_LOG_FULL, "producer: %" PRId64 " events are outstanding",
                           broker->outstanding);
    case RD_KAFKA_RESP_ERR__FATAL:
    case RD_KAFKA_RESP_ERR__STATE:
        broker->producer_failed = true;
        return failed(broker, f);
    default:
        kafka_failure(f, code, "publish", NULL);
        return failure_wrap(f, "event %" PRId32 "-%" PRId64, event->part, event->seq);
    }
}

static enum err kafka_publish(void *self, const struct broker_event *event, struct failure *f)
{
    struct kafka_broker *broker = self;
    assert(kafka_part_is_valid(event->part));
    assert(event->seq > 0 && event->seq <= INT64_MAX / LIMIT_PARTITIONS);
    if (broker->producer_failed)
        return failed(broker, f);

    char id[32], epoch[24];
    int id_len = snprintf(id, sizeof(id), "%" PRId32 "-%" PRId64, event->part, event->seq);
    int epoch_len = snprintf(epoch, sizeof(epoch), "%" PRId64, event->epoch);
    rd_kafka_resp_err_t code = rd_kafka_producev(
        broker->producer, RD_KAFKA_V_RKT(broker->producer_topic), RD_KAFKA_V_PARTITION(event->part),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_KEY(event->key, event->key ? strlen(event->key) : 0),
        RD_KAFKA_V_VALUE((void *)(uintptr_t)event->value, event->len),
        RD_KAFKA_V_HEADER("content-type", EVENT_CONTENT_TYPE, sizeof(EVENT_CONTENT_TYPE) - 1),
        RD_KAFKA_V_HEADER("ce_type", event->type, (ssize_t)strlen(event->type)),
        RD_KAFKA_V_HEADER("ce_id", id, id_len), RD_KAFKA_V_HEADER("berth-epoch", epoch, epoch_len),
        RD_KAFKA_V_OPAQUE(opaque_of(event->part, event->seq)), RD_KAFKA_V_END);
    if (code)
        return publish_failure(broker, event, code, f);
    broker->parts[event->part].outstanding++;
    broker->outstanding++;
    return ERR_OK;
}

/* rd_kafka_flush would do, but it polls in steps of 10 ms. */
static enum err kafka_flush(void *self, int32_t part, int timeout_ms, struct failure *f)
{
    struct kafka_broker *broker = self;
    assert(part == -1 || kafka_part_is_valid(part));
    const int64_t *outstanding = part == -1 ? &broker->outstanding
                                            : &broker->parts[part].outstanding;
    int64_t deadline = clock_mono_ms() + timeout_ms;
    kafka_serve_reports(broker, 0);
    while (*outstanding > 0) {
        if (broker->producer_failed)
            return failed(broker, f);
        int64_t left = deadline - clock_mono_ms();
        if (left <= 0) {
            return failure_set(f, ERR_TIMEOUT,
                               "flush: %" PRId64 " events not delivered within %d ms", *outstanding,
                               timeout_ms);
        }
        kafka_serve_reports(broker, left < KAFKA_SLICE_MS ? (int)left : KAFKA_SLICE_MS);
    }
    return ERR_OK;
}

static enum err kafka_reset_producer(void *self, struct failure *f)
{
    struct kafka_broker *broker = self;
    assert(
        !broker->serving_reports); /* a client cannot be destroyed from within its own callback */
    producer_drop(broker);
    enum err err = producer_new(broker, f);
    if (err != ERR_OK)
        producer_drop(broker);
    return err;
}

enum err kafka_producer_open(struct kafka_broker *broker, const struct config *cfg,
                             struct failure *f)
{
    broker->ops.publish = kafka_publish;
    broker->ops.flush = kafka_flush;
    broker->ops.reset_producer = kafka_reset_producer;
    enum err err = kafka_conf_build(cfg, defaults, required, &broker->producer_conf, f);
    return err != ERR_OK ? err : producer_new(broker, f);
}
