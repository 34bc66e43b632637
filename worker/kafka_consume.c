/* The group's consumer: membership, assignments, positions (docs/architecture.md). */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "worker/kafka_broker_impl.h"

/* A seek fails while an earlier start is still under way, and is repeated for so long. */
#define SEEK_TIMEOUT_MS 5000

static const struct kafka_setting defaults[] = {
    {"client.id", "berth-worker"},
    /* A member learns of a rebalance by its next heartbeat. */
    {"heartbeat.interval.ms", "500"},
    /* Also bounds how long a partition waits for its first fetch after a start or seek. */
    {"fetch.wait.max.ms", "20"},
    {"fetch.error.backoff.ms", "50"},
    {"retry.backoff.ms", "10"},
    /* librdkafka 2.0.2 looks at a full queue again only after a second: the queue must hold more
     * than the worker decides in that time. */
    {"queued.min.messages", "100000"},
    {"queued.max.messages.kbytes", "65536"},
    {NULL, NULL},
};

/* Offsets live in the database: nothing is committed or reset by itself. Assignment is eager, all
 * or nothing, because incremental assignors move partitions while others continue, for which
 * ownership has no state. With one topic `range` and `roundrobin` give every member the same
 * number of partitions; `range` gives it neighbours. All members must name the same assignor. */
static const struct kafka_setting required[] = {
    {"enable.auto.commit", "false"},
    {"enable.auto.offset.store", "false"},
    {"auto.offset.reset", "error"},
    {"isolation.level", "read_uncommitted"},
    {"partition.assignment.strategy", "range"},
    {"enable.partition.eof", "false"},
    {"check.crcs", "true"},
    {NULL, NULL},
};

/* Notes lost connections; runs in librdkafka's threads. The errors that librdkafka reports cannot
 * serve: equal ones within 30 s are reported once, and each failed attempt to reconnect is
 * reported, too. Connections without a broker id (bootstrap) or port (the group's coordinator)
 * fetch nothing. The signature is librdkafka's. */
static rd_kafka_resp_err_t on_broker_state(rd_kafka_t *rk, int32_t broker_id, const char *protocol,
                                           const char *name, int port, const char *state,
                                           void *opaque)
{
    (void)rk, (void)protocol, (void)name;
    struct kafka_broker *broker = opaque;
    if (broker_id < 0 || port == 0)
        return RD_KAFKA_RESP_ERR_NO_ERROR;
    atomic_bool *up = &broker->broker_up[broker_id % KAFKA_BROKER_SLOTS];
    if (strcmp(state, "UP") == 0) {
        atomic_store(up, true);
    } else if (strcmp(state, "DOWN") == 0 && atomic_exchange(up, false)) {
        atomic_store(&broker->connection_lost, true);
    }
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t on_new(rd_kafka_t *rk, const rd_kafka_conf_t *conf, void *opaque,
                                  char *text, size_t text_size)
{
    (void)conf, (void)text, (void)text_size;
    return rd_kafka_interceptor_add_on_broker_state_change(rk, "berth", on_broker_state, opaque);
}

/* Replaces the assignment by these partitions. NULL gives the assignment back. */
static enum err assign(struct kafka_broker *broker, const rd_kafka_topic_partition_list_t *list,
                       struct failure *f)
{
    broker->assign_called = true;
    kafka_inbox_drop(broker, -1, NULL);
    for (int32_t part = 0; part < LIMIT_PARTITIONS; part++) {
        broker->parts[part].started = broker->parts[part].broken = false;
        broker->parts[part].commit_offset = -1;
    }
    rd_kafka_resp_err_t code = rd_kafka_assign(broker->consumer, list);
    if (code)
        return kafka_failure(f, code, "assign partitions", NULL);
    for (int i = 0; list && i < list->cnt; i++) {
        struct kafka_part *part = &broker->parts[list->elems[i].partition];
        part->started = true;
        part->unreadable = false;
        part->position = list->elems[i].offset;
    }
    return ERR_OK;
}

static enum err assign_none(struct kafka_broker *broker, struct failure *f)
{
    rd_kafka_topic_partition_list_t *none = rd_kafka_topic_partition_list_new(0);
    enum err err = assign(broker, none, f);
    rd_kafka_topic_partition_list_destroy(none);
    return err;
}

static void on_assigned(struct kafka_broker *broker, const int32_t *parts, size_t count)
{
    broker->assign_called = false;
    broker->owner.assigned(broker->owner.arg, parts, count);
    struct failure f = {0};
    /* The group waits for an answer even if the owner starts no partition. */
    if (!broker->assign_called && assign_none(broker, &f)) {
        log_error("no answer to an assignment", "text=%s",
                  log_quote(&(struct log_quoted){0}, f.text));
    }
}

static void on_revoked(struct kafka_broker *broker, const int32_t *parts, size_t count, bool lost)
{
    if (!lost)
        kafka_commit_gauge(broker, true);
    if (count > 0)
        broker->owner.revoked(broker->owner.arg, parts, count, lost);
    struct failure f = {0};
    if (assign(broker, NULL, &f)) {
        log_error("an assignment was not given back", "text=%s",
                  log_quote(&(struct log_quoted){0}, f.text));
    }
}

/* The partitions that are fetched; caller frees. */
static int32_t *started_parts(const struct kafka_broker *broker, size_t *count_out)
{
    int32_t *parts = xcalloc(LIMIT_PARTITIONS, sizeof(*parts));
    size_t count = 0;
    for (int32_t part = 0; part < LIMIT_PARTITIONS; part++) {
        if (broker->parts[part].started)
            parts[count++] = part;
    }
    *count_out = count;
    return parts;
}

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t code,
                         rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct kafka_broker *broker = opaque;
    size_t count = 0;
    int32_t *parts;
    if (code != RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS &&
        code != RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS) {
        log_error("the consumer group failed", "code=%s", rd_kafka_err2name(code));
        parts = started_parts(broker, &count);
        on_revoked(broker, parts, count, true);
        free(parts);
        return;
    }
    parts = xcalloc((size_t)list->cnt + 1, sizeof(*parts));
    for (int i = 0; i < list->cnt; i++) {
        if (kafka_part_is_valid(list->elems[i].partition))
            parts[count++] = list->elems[i].partition;
    }
    if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        on_assigned(broker, parts, count);
    } else {
        on_revoked(broker, parts, count, rd_kafka_assignment_lost(rk) == 1);
    }
    free(parts);
}

static void kafka_close(void *self)
{
    struct kafka_broker *broker = self;
    if (broker->closed)
        return;
    broker->closed = true;
    if (broker->owner.revoked)
        rd_kafka_consumer_close(broker->consumer);
    kafka_inbox_drop(broker, -1, NULL);
}

void kafka_consumer_free(struct kafka_broker *broker)
{
    if (!broker->consumer)
        return;
    /* Without a close before, the owner is gone or ending: callbacks must not run. */
    rd_kafka_destroy_flags(broker->consumer, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    broker->consumer = NULL;
}

static enum err kafka_subscribe(void *self, const struct broker_callbacks *events,
                                struct failure *f)
{
    struct kafka_broker *broker = self;
    assert(events->assigned && events->revoked && events->delivered);
    broker->owner = *events;
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, broker->requests, RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t code = rd_kafka_subscribe(broker->consumer, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    return code ? kafka_failure(f, code, "subscribe", NULL) : ERR_OK;
}

/* Subscribing again revokes all partitions and joins as the same member. Leaving the group first
 * would do the same and make all other members stop and start as well. */
static enum err kafka_resubscribe(void *self, struct failure *f)
{
    struct kafka_broker *broker = self;
    struct broker_callbacks owner = broker->owner;
    return kafka_subscribe(broker, &owner, f);
}

static rd_kafka_topic_partition_list_t *list_of(const struct kafka_broker *broker, int32_t part,
                                                int64_t offset)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, broker->requests, part)->offset = offset;
    return list;
}

static enum err set_paused(struct kafka_broker *broker, int32_t part, bool paused,
                           struct failure *f)
{
    assert(kafka_part_is_valid(part));
    rd_kafka_topic_partition_list_t *list = list_of(broker, part, 0);
    rd_kafka_resp_err_t code = paused ? rd_kafka_pause_partitions(broker->consumer, list)
                                      : rd_kafka_resume_partitions(broker->consumer, list);
    if (!code)
        code = list->elems[0].err;
    rd_kafka_topic_partition_list_destroy(list);
    if (code)
        return kafka_failure(f, code, paused ? "pause" : "resume", NULL);
    broker->parts[part].paused = paused;
    return ERR_OK;
}

static enum err kafka_resume(void *self, int32_t part, struct failure *f)
{
    return set_paused(self, part, false, f);
}

static bool any_started(const struct kafka_broker *broker)
{
    for (int32_t part = 0; part < LIMIT_PARTITIONS; part++) {
        if (broker->parts[part].started)
            return true;
    }
    return false;
}

static enum err kafka_start(void *self, const struct broker_position *positions, size_t count,
                            struct failure *f)
{
    struct kafka_broker *broker = self;
    if (count == 0 && !any_started(broker))
        return ERR_OK; /* the group may be between two assignments: leave it alone */
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
    for (size_t i = 0; i < count; i++) {
        assert(kafka_part_is_valid(positions[i].part) && positions[i].offset >= 0);
        rd_kafka_topic_partition_list_add(list, broker->requests, positions[i].part)->offset =
            positions[i].offset;
        /* librdkafka keeps the pause of an earlier assignment. */
        if (broker->parts[positions[i].part].paused)
            (void)set_paused(broker, positions[i].part, false, NULL);
    }
    enum err err = assign(broker, list, f);
    rd_kafka_topic_partition_list_destroy(list);
    return err;
}

static rd_kafka_resp_err_t seek_once(struct kafka_broker *broker, int32_t part, int64_t offset)
{
    rd_kafka_topic_partition_list_t *list = list_of(broker, part, offset);
    rd_kafka_error_t *error = rd_kafka_seek_partitions(broker->consumer, list, SEEK_TIMEOUT_MS);
    rd_kafka_resp_err_t code = error ? rd_kafka_error_code(error) : list->elems[0].err;
    if (error)
        rd_kafka_error_destroy(error);
    rd_kafka_topic_partition_list_destroy(list);
    return code;
}

static enum err kafka_seek(void *self, int32_t part, int64_t offset, struct failure *f)
{
    struct kafka_broker *broker = self;
    assert(kafka_part_is_valid(part) && offset >= 0);
    if (!broker->parts[part].started || broker->parts[part].broken) {
        return failure_set(f, ERR_LOG_ERROR, "seek: partition %" PRId32 " is not fetched%s", part,
                           broker->parts[part].broken ? " since its position was outside" : "");
    }
    kafka_inbox_drop(broker, part, NULL);
    int64_t deadline = clock_mono_ms() + SEEK_TIMEOUT_MS;
    rd_kafka_resp_err_t code;
    while ((code = seek_once(broker, part, offset)) != 0) {
        /* Soon after a start librdkafka may not be ready (__OUTDATED: the start's own operation
         * came after the seek). */
        bool too_early = code == RD_KAFKA_RESP_ERR__STATE || code == RD_KAFKA_RESP_ERR__OUTDATED ||
                         code == RD_KAFKA_RESP_ERR__PREV_IN_PROGRESS ||
                         code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
        if (!too_early || clock_mono_ms() >= deadline)
            return kafka_failure(f, code, "seek", NULL);
        clock_sleep_ms(1);
    }
    broker->parts[part].unreadable = false;
    broker->parts[part].position = offset;
    return ERR_OK;
}

static enum err kafka_pause(void *self, int32_t part, struct failure *f)
{
    struct kafka_broker *broker = self;
    enum err err = set_paused(broker, part, true, f);
    if (err != ERR_OK)
        return err;
    /* librdkafka continues after the last message that it handed over; the owner's position is
     * before those in the inbox. */
    int64_t lowest;
    kafka_inbox_drop(broker, part, &lowest);
    return lowest >= 0 ? kafka_seek(broker, part, lowest, f) : ERR_OK;
}

static void kafka_commit_offset(void *self, int32_t part, int64_t next_offset)
{
    struct kafka_broker *broker = self;
    assert(kafka_part_is_valid(part) && next_offset >= 0);
    if (broker->parts[part].started)
        broker->parts[part].commit_offset = next_offset;
}

static int64_t kafka_request_end(void *self, int32_t part)
{
    const struct kafka_broker *broker = self;
    int64_t lo, hi;
    assert(kafka_part_is_valid(part));
    /* From the last fetch; negative before the first one. */
    if (!broker->parts[part].started ||
        rd_kafka_get_watermark_offsets(broker->consumer, broker->requests, part, &lo, &hi) != 0)
        return -1;
    return hi;
}

enum err kafka_consumer_open(struct kafka_broker *broker, const struct config *cfg,
                             struct failure *f)
{
    rd_kafka_conf_t *conf;
    broker->ops.subscribe = kafka_subscribe;
    broker->ops.resubscribe = kafka_resubscribe;
    broker->ops.start = kafka_start;
    broker->ops.poll = kafka_poll;
    broker->ops.release = kafka_release;
    broker->ops.seek = kafka_seek;
    broker->ops.pause = kafka_pause;
    broker->ops.resume = kafka_resume;
    broker->ops.commit_offset = kafka_commit_offset;
    broker->ops.request_end = kafka_request_end;
    broker->ops.close = kafka_close;
    enum err err = kafka_conf_build(cfg, defaults, required, &conf, f);
    if (err != ERR_OK)
        return err;
    err = kafka_conf_set(conf, "group.id", config_string(cfg, "worker.group"), f);
    if (err != ERR_OK) {
        rd_kafka_conf_destroy(conf);
        return err;
    }
    rd_kafka_conf_set_opaque(conf, broker);
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    rd_kafka_conf_interceptor_add_on_new(conf, "berth", on_new, broker);
    err = kafka_client_new(RD_KAFKA_CONSUMER, conf, &broker->consumer, f);
    if (err == ERR_OK)
        rd_kafka_poll_set_consumer(broker->consumer);
    return err;
}
