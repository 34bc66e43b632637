#include "worker/kafka_broker.h"

#include <stdlib.h>

#include "lib/base/mem.h"
#include "worker/kafka_broker_impl.h"

bool kafka_part_is_valid(int32_t part)
{
    return part >= 0 && part < LIMIT_PARTITIONS;
}

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
    kafka_topic(cfg, TOPIC_REQUESTS, broker->requests);
    kafka_topic(cfg, TOPIC_EVENTS, broker->events);

    enum err err = kafka_producer_open(broker, cfg, f);
    if (err == ERR_OK)
        err = kafka_reader_open(broker, cfg, f);
    if (err == ERR_OK)
        err = kafka_consumer_open(broker, cfg, f);
    if (err != ERR_OK) {
        destroy(broker);
        return err;
    }
    *out = (struct broker){.ops = &broker->ops, .self = broker};
    return ERR_OK;
}

void kafka_broker_free(struct broker *broker)
{
    if (broker->self)
        destroy(broker->self);
    *broker = (struct broker){0};
}
