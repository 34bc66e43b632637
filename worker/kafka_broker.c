#include "worker/kafka_broker.h"

#include <stdlib.h>

#include "lib/base/mem.h"
#include "worker/kafka_broker_impl.h"

bool kafka_part_is_valid(int32_t part)
{
    return part >= 0 && part < LIMIT_PARTITIONS;
}

static const struct broker_ops ops = {
    .shape = kafka_shape,
    .subscribe = kafka_subscribe,
    .resubscribe = kafka_resubscribe,
    .start = kafka_start,
    .poll = kafka_poll,
    .release = kafka_release,
    .seek = kafka_seek,
    .pause = kafka_pause,
    .resume = kafka_resume,
    .publish = kafka_publish,
    .flush = kafka_flush,
    .reset_producer = kafka_reset_producer,
    .commit_offset = kafka_commit_offset,
    .request_end = kafka_request_end,
    .request_range = kafka_request_range,
    .event_range = kafka_event_range,
    .request_before = kafka_request_before,
    .event_tail = kafka_event_tail,
    .close = kafka_close,
};

static void destroy(struct kafka_broker *broker)
{
    kafka_inbox_fini(broker);
    kafka_consumer_free(broker);
    topic_reader_free(broker->reader);
    kafka_producer_free(broker);
    free(broker->parts);
    free(broker);
}

enum err kafka_broker_new(const struct config *cfg, struct broker *out, struct failure *f)
{
    struct kafka_broker *broker = xcalloc(1, sizeof(*broker));
    broker->parts = xcalloc(LIMIT_PARTITIONS, sizeof(*broker->parts));
    for (int32_t part = 0; part < LIMIT_PARTITIONS; part++)
        broker->parts[part].commit_offset = -1;
    kafka_requests_topic(cfg, broker->requests);
    kafka_events_topic(cfg, broker->events);

    enum err err = kafka_producer_open(broker, cfg, f);
    if (err == ERR_OK)
        err = kafka_reader_open(broker, cfg, f);
    if (err == ERR_OK)
        err = kafka_consumer_open(broker, cfg, f);
    if (err != ERR_OK) {
        destroy(broker);
        return err;
    }
    *out = (struct broker){.ops = &ops, .self = broker};
    return ERR_OK;
}

void kafka_broker_free(struct broker *broker)
{
    if (broker->self)
        destroy(broker->self);
    *broker = (struct broker){0};
}
