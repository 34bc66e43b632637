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

/* Settings for a client, in this order, the later ones over the earlier:
 * - Berth's defaults for all clients: no Nagle delay, quick reconnects, client.id "berth",
 *   librdkafka's log lines and errors to lib/base/log.h;
 * - `defaults`: the program's own;
 * - the user's kafka.* keys;
 * - what Berth's promises rest on: no topics made by accident, and `required`. A user's key that
 *   says something else is ERR_CONFIG with both values.
 * Tables may be NULL. Gives *out, to be taken by kafka_client_new or rd_kafka_conf_destroy.
 * ERR_CONFIG: librdkafka does not take a setting, or no broker is named; the text says which. */
enum err kafka_conf_build(const struct config *cfg, const struct kafka_setting *defaults,
                          const struct kafka_setting *required, rd_kafka_conf_t **out,
                          struct failure *f);
/* The same with the user's keys in a table, named without "kafka." (not NULL). */
enum err kafka_conf_of(const struct kafka_setting *users, const struct kafka_setting *defaults,
                       const struct kafka_setting *required, rd_kafka_conf_t **out,
                       struct failure *f);

/* One more setting; ERR_CONFIG names it. */
enum err kafka_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value,
                        struct failure *f);

/* rd_kafka_new that takes the conf in every case, and gives *out. ERR_CONFIG: settings that
 * contradict each other. */
enum err kafka_client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, rd_kafka_t **out,
                          struct failure *f);

enum topic { TOPIC_REQUESTS, TOPIC_EVENTS, TOPIC_COUNT };

/* farm.topic_prefix with "requests" or "events" behind it. A topic's name has at most 249
 * characters (Kafka); the configuration's check of the prefix leaves room. Returns buf. */
#define KAFKA_TOPIC_LEN 250
const char *kafka_topic(const struct config *cfg, enum topic topic, char buf[KAFKA_TOPIC_LEN]);

#endif
