/* What the topics are like, and what is wrong with them (docs/messages.md). */
#include <inttypes.h>
#include <stdio.h>

#include "lib/kafka/topic_settings.h"
#include "worker/kafka_broker_impl.h"

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

enum err kafka_shape(void *self, struct broker_shape *out, struct failure *f)
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
