#include "lib/kafka/kafka_conf.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/base/mem.h"

/* For all clients: quick answers, and quick recovery when a broker was away. */
static const struct kafka_setting common_defaults[] = {
    {"client.id", "berth"},
    {"socket.nagle.disable", "true"},
    /* Detects a peer that vanished without closing the connection. */
    {"socket.keepalive.enable", "true"},
    {"socket.timeout.ms", "10000"},
    {"socket.connection.setup.timeout.ms", "5000"},
    /* The workers' group needs these two; all other clients get them as well, because librdkafka
     * wants max.poll.interval.ms not shorter than session.timeout.ms, and a user who changes one
     * must not find another client refusing it. */
    {"session.timeout.ms", "6000"},
    {"max.poll.interval.ms", "60000"},
    /* A topic's max.message.bytes limits whole batches, and a refused batch is not split: this
     * fits the smallest limit that a worker accepts of a request topic (64 KiB; `init` sets 1
     * MiB). The events' producer has its own size. */
    {"batch.size", "60000"},
    {"reconnect.backoff.ms", "50"},
    {"reconnect.backoff.max.ms", "1000"},
    {NULL, NULL},
};

/* A topic made by a mistyped name would have neither Berth's settings nor its partitions. */
static const struct kafka_setting common_required[] = {
    {"allow.auto.create.topics", "false"},
    {NULL, NULL},
};

/* The log level of librdkafka's syslog level. librdkafka makes a lost connection again: the
 * operator should know, but nothing has failed for good. */
static enum log_level level_of(int syslog_level, const char *facility)
{
    if (strcmp(facility, "CONFWARN") == 0)
        return LOG_DEBUG; /* kafka.* keys go to producers and consumers alike */
    if (strcmp(facility, "TERMINATE") == 0)
        return LOG_INFO; /* a producer destroyed with messages in it; the caller logs why */
    if (syslog_level <= 3)
        return strcmp(facility, "FAIL") == 0 ? LOG_WARN : LOG_ERROR;
    if (syslog_level == 4)
        return LOG_WARN;
    return syslog_level <= 6 ? LOG_INFO : LOG_DEBUG;
}

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    struct log_quoted quoted;
    log_line(level_of(level, facility), "kafka client", "client=%s facility=%s text=%s",
             rk ? rd_kafka_name(rk) : "-", facility, log_quote(&quoted, text));
}

/* Connection errors come as log lines, too: they are not logged twice. */
static void on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
    (void)opaque;
    struct log_quoted quoted;
    bool said = code == RD_KAFKA_RESP_ERR__TRANSPORT || code == RD_KAFKA_RESP_ERR__RESOLVE ||
                code == RD_KAFKA_RESP_ERR__SSL;
    log_line(said ? LOG_DEBUG : LOG_WARN, "kafka error", "client=%s code=%s text=%s",
             rd_kafka_name(rk), rd_kafka_err2name((rd_kafka_resp_err_t)code),
             log_quote(&quoted, reason));
}

enum err kafka_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value,
                        struct failure *f)
{
    char text[512];
    if (rd_kafka_conf_set(conf, name, value, text, sizeof(text)) == RD_KAFKA_CONF_OK)
        return ERR_OK;
    return failure_set(f, ERR_CONFIG, "kafka.%s: %s", name, text);
}

static enum err set_all(rd_kafka_conf_t *conf, const struct kafka_setting *table, struct failure *f)
{
    enum err err = ERR_OK;
    for (; table && table->name && err == ERR_OK; table++)
        err = kafka_conf_set(conf, table->name, table->value, f);
    return err;
}

/* Sets the user's keys. A key that contradicts what Berth needs is refused, not overruled. */
static enum err set_users(rd_kafka_conf_t *conf, const struct kafka_setting *users,
                          const struct kafka_setting *required, struct failure *f)
{
    const struct kafka_setting *const tables[2] = {common_required, required};
    for (; users->name; users++) {
        for (size_t i = 0; i < 2; i++) {
            for (const struct kafka_setting *s = tables[i]; s && s->name; s++) {
                if (strcmp(s->name, users->name) == 0 && strcmp(s->value, users->value) != 0) {
                    return failure_set(f, ERR_CONFIG,
                                       "kafka.%s is %s, but Berth needs %s: remove the key",
                                       users->name, users->value, s->value);
                }
            }
        }
        enum err err = kafka_conf_set(conf, users->name, users->value, f);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

static enum err check_servers(const rd_kafka_conf_t *conf, struct failure *f)
{
    char servers[2];
    size_t size = sizeof(servers);
    /* The size tells whether the value is empty, even when the buffer is too small. */
    rd_kafka_conf_res_t res = rd_kafka_conf_get(conf, "bootstrap.servers", servers, &size);
    if (res != RD_KAFKA_CONF_OK || size <= 1) {
        return failure_set(f, ERR_CONFIG,
                           "kafka.bootstrap.servers is not set: name the brokers, HOST:PORT,…");
    }
    return ERR_OK;
}

enum err kafka_conf_of(const struct kafka_setting *users, const struct kafka_setting *defaults,
                       const struct kafka_setting *required, rd_kafka_conf_t **out,
                       struct failure *f)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, on_log);
    rd_kafka_conf_set_error_cb(conf, on_error);
    enum err err = set_all(conf, common_defaults, f);
    if (err == ERR_OK)
        err = set_all(conf, defaults, f);
    if (err == ERR_OK)
        err = set_users(conf, users, required, f);
    if (err == ERR_OK)
        err = set_all(conf, common_required, f);
    if (err == ERR_OK)
        err = set_all(conf, required, f);
    if (err == ERR_OK)
        err = check_servers(conf, f);
    if (err != ERR_OK) {
        rd_kafka_conf_destroy(conf);
        return err;
    }
    *out = conf;
    return ERR_OK;
}

/* A growing table of settings, without its last row. */
struct table {
    struct kafka_setting *rows;
    size_t count;
};

static void add_key(void *arg, const char *name, const char *value)
{
    struct table *table = arg;
    table->rows = xrealloc(table->rows, (table->count + 2) * sizeof(*table->rows));
    table->rows[table->count++] = (struct kafka_setting){name + strlen("kafka."), value};
}

enum err kafka_conf_build(const struct config *cfg, const struct kafka_setting *defaults,
                          const struct kafka_setting *required, rd_kafka_conf_t **out,
                          struct failure *f)
{
    struct table users = {.rows = xcalloc(1, sizeof(*users.rows))};
    config_each_kafka(cfg, add_key, &users);
    users.rows[users.count] = (struct kafka_setting){NULL, NULL};
    enum err err = kafka_conf_of(users.rows, defaults, required, out, f);
    free(users.rows);
    return err;
}

enum err kafka_client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, rd_kafka_t **out,
                          struct failure *f)
{
    char text[512];
    rd_kafka_t *rk = rd_kafka_new(type, conf, text, sizeof(text));
    if (!rk) {
        rd_kafka_conf_destroy(conf);
        return failure_set(f, ERR_CONFIG, "make a Kafka %s: %s",
                           type == RD_KAFKA_PRODUCER ? "producer" : "consumer", text);
    }
    *out = rk;
    return ERR_OK;
}

const char *kafka_topic(const struct config *cfg, enum topic topic, char buf[KAFKA_TOPIC_LEN])
{
    int len = snprintf(buf, KAFKA_TOPIC_LEN, "%s%s", config_string(cfg, "farm.topic_prefix"),
                       topic == TOPIC_REQUESTS ? "requests" : "events");
    assert(len > 0 && len < KAFKA_TOPIC_LEN);
    return buf;
}
