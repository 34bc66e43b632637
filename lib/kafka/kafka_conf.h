/* What all of Berth's Kafka clients share: their librdkafka settings and the topics' names. Only
 * programs that call this need librdkafka. */
#ifndef BERTH_LIB_KAFKA_KAFKA_CONF_H
#define BERTH_LIB_KAFKA_KAFKA_CONF_H

#include <librdkafka/rdkafka.h>

#include "lib/base/err.h"
#include "lib/config/config.h"

/* A librdkafka setting, as text. A table of them ends with a NULL name. */
struct kafka_setting {
    const char *name, *value;
};

/* Settings for a client, in this order: Berth's defaults for all clients (no Nagle delay, quick
 * reconnects, no topics made by accident, client.id "berth", librdkafka's log lines and errors to
 * lib/base/log.h), then the user's kafka.* keys. Gives *out, to be taken by rd_kafka_new or given to
 * rd_kafka_conf_destroy. ERR_CONFIG: librdkafka does not take a setting; the text names it. */
enum err kafka_conf_new(const struct config *cfg, rd_kafka_conf_t **out, struct failure *f);

/* The same with the program's own tables (each may be NULL): `defaults` come before the user's
 * keys, which win over them; `required` come last, and a user's key that says something else is
 * ERR_CONFIG with both values, since Berth's promises rest on them. */
enum err kafka_conf_build(const struct config *cfg, const struct kafka_setting *defaults,
                          const struct kafka_setting *required, rd_kafka_conf_t **out,
                          struct failure *f);

/* One more setting; ERR_CONFIG names it. */
enum err kafka_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value,
                        struct failure *f);

/* rd_kafka_new that takes the conf in every case, and gives *out. ERR_CONFIG: settings that
 * contradict each other. */
enum err kafka_client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, rd_kafka_t **out,
                          struct failure *f);

/* farm.topic_prefix with "requests" or "events" behind it. A topic's name has at most 249
 * characters (Kafka); the configuration's check of the prefix leaves room. Returns buf. */
#define KAFKA_TOPIC_LEN 250
const char *kafka_requests_topic(const struct config *cfg, char buf[KAFKA_TOPIC_LEN]);
const char *kafka_events_topic(const struct config *cfg, char buf[KAFKA_TOPIC_LEN]);

#endif
