/* Shared by the checks of the broker port on Kafka: separate topics on the broker named by
 * BERTH_KAFKA_BOOTSTRAP_SERVERS, a plain producer, and an owner that records its callbacks. A
 * failed check prints its place and exits with 1. */
#ifndef BERTH_TESTS_TOOLS_KAFKA_BROKER_RIG_H
#define BERTH_TESTS_TOOLS_KAFKA_BROKER_RIG_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/limits.h"
#include "lib/base/clock.h"
#include "lib/base/mem.h"
#include "lib/config/config.h"
#include "lib/kafka/kafka_conf.h"
#include "worker/kafka_broker.h"

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s: not so: %s\n", __FILE__, __LINE__, __func__, #condition);  \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)
#define CHECK_OK(call, f)                                                                          \
    do {                                                                                           \
        enum err check_err = (call);                                                               \
        if (check_err) {                                                                           \
            fprintf(stderr, "%s:%d: %s: %s: %s: %s\n", __FILE__, __LINE__, __func__, #call,        \
                    err_name(check_err), (f)->text);                                               \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* Limit of every wait. */
#define RIG_PATIENCE_MS 60000

struct rig {
    struct config *cfg;
    struct failure f;
    char prefix[64], requests[KAFKA_TOPIC_LEN], events[KAFKA_TOPIC_LEN];
    rd_kafka_t *client; /* a plain producer, also for admin calls */
};

/* A user of the broker port. */
struct owner {
    struct broker broker;
    struct buf story;      /* "+0,1 " assigned, "-0,1 " revoked, "!0,1 " lost */
    int64_t *next;         /* by partition: the next offset; advanced by take() */
    bool starts;           /* starts assigned partitions at once */
    size_t assigned_count; /* partitions now assigned */
    int32_t assigned[64];
    int64_t delivered, refused; /* delivery reports */
    int64_t last_seq[64];
    bool reports_in_order;
};

static inline void rig_set(struct rig *rig, const char *key, const char *value)
{
    CHECK_OK(config_set(rig->cfg, key, value, "check", &rig->f), &rig->f);
}

static inline void rig_sent(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
{
    (void)client, (void)opaque;
    CHECK(!message->err);
}

static inline void rig_init(struct rig *rig)
{
    *rig = (struct rig){0};
    rig->cfg = config_new(PROGRAM_WORKER);
    CHECK_OK(config_load(rig->cfg, "/dev/null", NULL, &rig->f), &rig->f);
    snprintf(rig->prefix, sizeof(rig->prefix), "check-%ld-%" PRId64 ".", (long)getpid(),
             clock_wall_ms());
    rig_set(rig, "farm.topic_prefix", rig->prefix);
    rig_set(rig, "worker.group", rig->prefix);
    kafka_topic(rig->cfg, TOPIC_REQUESTS, rig->requests);
    kafka_topic(rig->cfg, TOPIC_EVENTS, rig->events);
    const struct kafka_setting settings[] = {{"linger.ms", "0"}, {NULL, NULL}};
    rd_kafka_conf_t *conf;
    CHECK_OK(kafka_conf_build(rig->cfg, settings, NULL, &conf, &rig->f), &rig->f);
    rd_kafka_conf_set_dr_msg_cb(conf, rig_sent);
    CHECK_OK(kafka_client_new(RD_KAFKA_PRODUCER, conf, &rig->client, &rig->f), &rig->f);
}

/* settings: name, value, …, NULL. */
static inline void rig_topic(struct rig *rig, const char *name, int parts,
                             const char *const *settings)
{
    char text[256];
    rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(name, parts, 1, text, sizeof(text));
    for (; *settings; settings += 2)
        rd_kafka_NewTopic_set_config(topic, settings[0], settings[1]);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rig->client);
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(rig->client,
                                                                 RD_KAFKA_ADMIN_OP_CREATETOPICS);
    rd_kafka_AdminOptions_set_operation_timeout(options, 10000, text, sizeof(text));
    rd_kafka_CreateTopics(rig->client, &topic, 1, options, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, RIG_PATIENCE_MS);
    CHECK(event && !rd_kafka_event_error(event));
    size_t count;
    const rd_kafka_topic_result_t **results = rd_kafka_CreateTopics_result_topics(
        rd_kafka_event_CreateTopics_result(event), &count);
    CHECK(count == 1 && !rd_kafka_topic_result_error(results[0]));
    rd_kafka_event_destroy(event);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    rd_kafka_NewTopic_destroy(topic);
}

/* Creates both topics with the settings of `berth-admin init`. */
static inline void rig_topics(struct rig *rig, int parts)
{
    const char *const requests[] = {"message.timestamp.type",
                                    "LogAppendTime",
                                    "cleanup.policy",
                                    "delete",
                                    "max.message.bytes",
                                    "65536",
                                    "compression.type",
                                    "uncompressed",
                                    NULL};
    const char *const events[] = {"cleanup.policy", "delete", "compression.type", "uncompressed",
                                  NULL};
    rig_topic(rig, rig->requests, parts, requests);
    rig_topic(rig, rig->events, parts, events);
}

/* Does not flush. ce_id NULL: no such header. */
static inline void rig_send(struct rig *rig, const char *topic, int32_t part, const char *value,
                            const char *ce_id)
{
    rd_kafka_resp_err_t code;
    rd_kafka_headers_t *headers = rd_kafka_headers_new(1);
    if (ce_id)
        rd_kafka_header_add(headers, "ce_id", -1, ce_id, -1);
    do {
        code = rd_kafka_producev(
            rig->client, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(part),
            RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
            RD_KAFKA_V_VALUE((void *)(uintptr_t)value, value ? strlen(value) : 0),
            RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
        if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL)
            rd_kafka_poll(rig->client, 10);
    } while (code == RD_KAFKA_RESP_ERR__QUEUE_FULL);
    CHECK(!code);
}

static inline void rig_flush(struct rig *rig)
{
    CHECK(!rd_kafka_flush(rig->client, RIG_PATIENCE_MS));
}

/* Numbered messages "first" … "first + count - 1". */
static inline void rig_fill(struct rig *rig, const char *topic, int32_t part, int first, int count)
{
    char value[32];
    for (int i = first; i < first + count; i++) {
        snprintf(value, sizeof(value), "%d", i);
        rig_send(rig, topic, part, value, NULL);
    }
    rig_flush(rig);
}

/* A committed transaction of one message: two offsets, the second without a message. */
static inline void rig_transaction(struct rig *rig, const char *topic, int32_t part,
                                   const char *value)
{
    rd_kafka_conf_t *conf;
    rd_kafka_t *client;
    CHECK_OK(kafka_conf_build(rig->cfg, NULL, NULL, &conf, &rig->f), &rig->f);
    CHECK_OK(kafka_conf_set(conf, "transactional.id", rig->prefix, &rig->f), &rig->f);
    CHECK_OK(kafka_client_new(RD_KAFKA_PRODUCER, conf, &client, &rig->f), &rig->f);
    int64_t lo, before, after = 0;
    CHECK(!rd_kafka_query_watermark_offsets(rig->client, topic, part, &lo, &before, 10000));
    CHECK(!rd_kafka_init_transactions(client, RIG_PATIENCE_MS));
    CHECK(!rd_kafka_begin_transaction(client));
    CHECK(!rd_kafka_producev(client, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(part),
                             RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                             RD_KAFKA_V_VALUE((void *)(uintptr_t)value, strlen(value)),
                             RD_KAFKA_V_END));
    CHECK(!rd_kafka_commit_transaction(client, RIG_PATIENCE_MS));
    rd_kafka_destroy(client);
    /* The broker writes the end marker a little later. */
    for (int64_t deadline = clock_mono_ms() + RIG_PATIENCE_MS; after < before + 2;) {
        CHECK(clock_mono_ms() < deadline);
        CHECK(!rd_kafka_query_watermark_offsets(rig->client, topic, part, &lo, &after, 10000));
    }
}

static inline void rig_fini(struct rig *rig)
{
    rd_kafka_DeleteTopic_t *topics[2] = {rd_kafka_DeleteTopic_new(rig->requests),
                                         rd_kafka_DeleteTopic_new(rig->events)};
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rig->client);
    rd_kafka_DeleteTopics(rig->client, topics, 2, NULL, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, RIG_PATIENCE_MS);
    if (event)
        rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_DeleteTopic_destroy_array(topics, 2);
    rd_kafka_destroy(rig->client);
    config_free(rig->cfg);
}

/* Runs the shell command of an environment variable, to stop or start the broker. */
static inline void rig_shell(const char *variable)
{
    const char *command = getenv(variable);
    CHECK(command);
    CHECK(system(command) == 0);
}

static inline void owner_write(struct owner *o, char sign, const int32_t *parts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        buf_printf(&o->story, "%c%" PRId32, i == 0 ? sign : ',', parts[i]);
    buf_puts(&o->story, " ");
}

static inline void owner_start(struct owner *o)
{
    struct failure f;
    struct broker_position positions[64];
    for (size_t i = 0; i < o->assigned_count; i++)
        positions[i] = (struct broker_position){o->assigned[i], o->next[o->assigned[i]]};
    CHECK_OK(o->broker.ops->start(o->broker.self, positions, o->assigned_count, &f), &f);
}

static inline void owner_assigned(void *arg, const int32_t *parts, size_t count)
{
    struct owner *o = arg;
    CHECK(count <= 64);
    owner_write(o, '+', parts, count);
    memcpy(o->assigned, parts, count * sizeof(*parts));
    o->assigned_count = count;
    if (o->starts)
        owner_start(o);
}

static inline void owner_revoked(void *arg, const int32_t *parts, size_t count, bool lost)
{
    struct owner *o = arg;
    owner_write(o, lost ? '!' : '-', parts, count);
    CHECK(count == o->assigned_count);
    o->assigned_count = 0;
}

static inline void owner_delivered(void *arg, int32_t part, int64_t seq, enum err err)
{
    struct owner *o = arg;
    if (err != ERR_OK) {
        o->refused++;
        return;
    }
    o->delivered++;
    if (seq != o->last_seq[part] + 1)
        o->reports_in_order = false;
    o->last_seq[part] = seq;
}

/* next: by partition; shared by owners that continue each other's work. */
static inline void owner_open(struct owner *o, struct rig *rig, int64_t *next)
{
    *o = (struct owner){.next = next, .starts = true, .reports_in_order = true};
    CHECK_OK(kafka_broker_new(rig->cfg, &o->broker, &rig->f), &rig->f);
    const struct broker_callbacks events = {o, owner_assigned, owner_revoked, owner_delivered};
    CHECK_OK(o->broker.ops->subscribe(o->broker.self, &events, &rig->f), &rig->f);
}

static inline void owner_close(struct owner *o)
{
    o->broker.ops->close(o->broker.self);
    kafka_broker_free(&o->broker);
    buf_fini(&o->story);
}

/* Polls once; checks the order and, if `strict`, that each message is the next of its partition,
 * apart from holes. Returns the number of messages. */
static inline size_t owner_poll(struct owner *o, size_t max, int timeout_ms, bool strict)
{
    struct failure f;
    struct broker_message *messages = xcalloc(max, sizeof(*messages));
    size_t count = 0;
    enum err err = o->broker.ops->poll(o->broker.self, messages, max, 4u << 20, timeout_ms, &count,
                                       &f);
    /* A broker may not know a new topic for a moment. */
    if (err != ERR_OK && err != ERR_LOG_TRANSPORT && err != ERR_LOG_TOPIC)
        CHECK_OK(err, &f);
    CHECK(count <= max);
    for (size_t i = 0; i < count; i++) {
        const struct broker_message *m = &messages[i];
        CHECK(i == 0 || m->part > m[-1].part ||
              (m->part == m[-1].part && m->offset > m[-1].offset));
        CHECK(m->append_ms > clock_wall_ms() - INT64_C(3600000));
        if (strict)
            CHECK(m->offset == o->next[m->part] || m->offset == o->next[m->part] + 1);
        o->next[m->part] = m->offset + 1;
    }
    o->broker.ops->release(o->broker.self, messages, count);
    free(messages);
    return count;
}

/* Polls until so many messages have arrived. */
static inline void owner_take(struct owner *o, size_t count)
{
    int64_t deadline = clock_mono_ms() + RIG_PATIENCE_MS;
    for (size_t got = 0; got < count;) {
        CHECK(clock_mono_ms() < deadline);
        got += owner_poll(o, 2000, 50, true);
        CHECK(got <= count);
    }
}

/* Polls until the recorded story equals `story`, then clears it. */
static inline void owner_await(struct owner *o, const char *story)
{
    int64_t deadline = clock_mono_ms() + RIG_PATIENCE_MS;
    while (!o->story.data || strcmp(o->story.data, story) != 0) {
        if (clock_mono_ms() >= deadline)
            fprintf(stderr, "story: %s, expected: %s\n", o->story.data ? o->story.data : "", story);
        CHECK(clock_mono_ms() < deadline);
        owner_poll(o, 2000, 20, false);
    }
    buf_clear(&o->story);
}

struct rig_check {
    const char *name;
    void (*run)(struct rig *rig);
};

/* main() of a program of checks: runs the named one, or lists all. */
static inline int rig_main(const struct rig_check *checks, size_t count, int argc, char **argv)
{
    for (size_t i = 0; i < count; i++) {
        if (argc < 2) {
            puts(checks[i].name);
        } else if (strcmp(argv[1], checks[i].name) == 0) {
            struct rig rig;
            rig_init(&rig);
            checks[i].run(&rig);
            rig_fini(&rig);
            return 0;
        }
    }
    return argc < 2 ? 0 : 2;
}

#endif
