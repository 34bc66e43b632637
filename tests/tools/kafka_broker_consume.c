/* Checks of the broker port on Kafka for requests: group, positions, ranges. Runs one by name;
 * without a name lists them. Run by integration-tests/test_kafka_broker.py. */
#include "lib/base/log.h"
#include "lib/token/jws.h"
#include "tests/tools/kafka_broker_rig.h"

static void check_order(struct rig *rig)
{
    struct owner o;
    int64_t next[3] = {0, 3, 0};
    rig_topics(rig, 3);
    for (int i = 0; i < 50; i++) {
        for (int32_t part = 0; part < 3; part++)
            rig_send(rig, rig->requests, part, i % 7 == 0 ? NULL : "x", NULL);
    }
    rig_flush(rig);
    owner_open(&o, rig, next);
    owner_take(&o, 147);
    CHECK(next[0] == 50 && next[1] == 50 && next[2] == 50);
    CHECK(strcmp(o.story.data, "+0,1,2 ") == 0);
    /* Bounds of one poll. */
    rig_fill(rig, rig->requests, 1, 0, 30);
    clock_sleep_ms(100);
    CHECK(owner_poll(&o, 10, 1000, true) == 10);
    owner_take(&o, 20);
    CHECK(owner_poll(&o, 10, 30, true) == 0);
    owner_close(&o);
}

static struct broker_message poll_one(struct owner *o, int32_t part)
{
    struct failure f;
    struct broker_message message;
    size_t count = 0;
    int64_t deadline = clock_mono_ms() + RIG_PATIENCE_MS;
    while (count == 0 && clock_mono_ms() < deadline)
        CHECK_OK(o->broker.ops->poll(o->broker.self, &message, 1, 1 << 20, 100, &count, &f), &f);
    CHECK(count == 1 && message.part == part);
    return message;
}

/* A value's bytes, a missing value, timestamps that are not the broker's. */
static void check_values(struct rig *rig)
{
    struct owner o;
    int64_t next[2] = {0, 0};
    const char *const settings[] = {"message.timestamp.type", "CreateTime", NULL};
    rig_topic(rig, rig->requests, 1, settings);
    rig_topic(rig, rig->events, 1, settings);
    rig_send(rig, rig->requests, 0, "a value", NULL);
    rig_send(rig, rig->requests, 0, NULL, NULL);
    rig_send(rig, rig->requests, 0, "", NULL);
    rig_flush(rig);
    owner_open(&o, rig, next);
    for (int64_t i = 0; i < 3; i++) {
        struct broker_message message = poll_one(&o, 0);
        CHECK(message.offset == i && message.append_ms == BROKER_NO_TIME);
        CHECK(message.len == (i == 0 ? 7u : 0u));
        CHECK(i > 0 || memcmp(message.value, "a value", 7) == 0);
        o.broker.ops->release(o.broker.self, &message, 1);
    }
    owner_close(&o);
}

static void check_seek(struct rig *rig)
{
    struct owner o;
    struct failure f;
    int64_t next[2] = {0, 0};
    rig_topics(rig, 2);
    rig_fill(rig, rig->requests, 0, 0, 5000);
    rig_fill(rig, rig->requests, 1, 0, 100);
    owner_open(&o, rig, next);
    CHECK(o.broker.ops->seek(o.broker.self, 0, 0, &f) == ERR_LOG_ERROR); /* not fetched yet */
    owner_take(&o, 5100);
    for (int round = 0; round < 20; round++) {
        next[0] = 4990 - 200 * round;
        CHECK_OK(o.broker.ops->seek(o.broker.self, 0, next[0], &f), &f);
        owner_take(&o, 10 + 200 * (size_t)round);
    }
    /* Directly after a start, outside a callback, with messages in flight. */
    next[0] = next[1] = 0;
    owner_start(&o);
    CHECK(owner_poll(&o, 10, 5000, true) == 10);
    next[0] = 100, next[1] = 50;
    owner_start(&o);
    next[0] = 4000;
    CHECK_OK(o.broker.ops->seek(o.broker.self, 0, next[0], &f), &f);
    owner_take(&o, 1050);
    owner_close(&o);
}

static void check_pause(struct rig *rig)
{
    struct owner o;
    struct failure f;
    int64_t next[2] = {0, 0};
    rig_topics(rig, 2);
    rig_fill(rig, rig->requests, 0, 0, 3000);
    owner_open(&o, rig, next);
    CHECK(owner_poll(&o, 100, 10000, true) > 0);
    CHECK_OK(o.broker.ops->pause(o.broker.self, 0, &f), &f);
    int64_t at = next[0];
    rig_fill(rig, rig->requests, 1, 0, 200);
    owner_take(&o, 200); /* and none of the other partition */
    CHECK(next[0] == at && next[1] == 200);
    CHECK_OK(o.broker.ops->resume(o.broker.self, 0, &f), &f);
    owner_take(&o, (size_t)(3000 - at));
    /* A seek while paused. */
    CHECK_OK(o.broker.ops->pause(o.broker.self, 0, &f), &f);
    next[0] = 2500;
    CHECK_OK(o.broker.ops->seek(o.broker.self, 0, 2500, &f), &f);
    CHECK(owner_poll(&o, 100, 200, true) == 0);
    CHECK_OK(o.broker.ops->resume(o.broker.self, 0, &f), &f);
    owner_take(&o, 500);
    /* Paused before the first message; a start ends the pause. */
    next[0] = 1000;
    owner_start(&o);
    CHECK_OK(o.broker.ops->pause(o.broker.self, 0, &f), &f);
    CHECK(owner_poll(&o, 100, 200, true) == 0);
    owner_start(&o);
    owner_take(&o, 2000);
    owner_close(&o);
}

/* Two members of a group: each message is consumed once; a member continues where the other
 * stopped. */
static void check_rebalance(struct rig *rig)
{
    struct owner a, b;
    int64_t next[4] = {0};
    rig_topics(rig, 4);
    for (int32_t part = 0; part < 4; part++)
        rig_fill(rig, rig->requests, part, 0, 100);
    owner_open(&a, rig, next);
    owner_take(&a, 400);
    owner_await(&a, "+0,1,2,3 ");
    owner_open(&b, rig, next);
    int64_t deadline = clock_mono_ms() + RIG_PATIENCE_MS;
    while (a.assigned_count != 2 || b.assigned_count != 2) {
        CHECK(clock_mono_ms() < deadline);
        owner_poll(&a, 100, 20, true);
        owner_poll(&b, 100, 20, true);
    }
    bool a_first = a.assigned[0] == 0;
    CHECK(strcmp(a.story.data, a_first ? "-0,1,2,3 +0,1 " : "-0,1,2,3 +2,3 ") == 0);
    CHECK(strcmp(b.story.data, a_first ? "+2,3 " : "+0,1 ") == 0);
    for (int32_t part = 0; part < 4; part++)
        rig_fill(rig, rig->requests, part, 0, 50);
    owner_take(&a, 100);
    owner_take(&b, 100);
    buf_clear(&a.story);
    owner_close(&b); /* leaves the group */
    owner_await(&a, a_first ? "-0,1 +0,1,2,3 " : "-2,3 +0,1,2,3 ");
    for (int32_t part = 0; part < 4; part++)
        rig_fill(rig, rig->requests, part, 0, 10);
    owner_take(&a, 40);
    buf_clear(&a.story);
    a.broker.ops->close(a.broker.self);
    CHECK(strcmp(a.story.data, "-0,1,2,3 ") == 0);
    CHECK(owner_poll(&a, 10, 0, true) == 0);
    owner_close(&a);
}

/* An owner that starts no partition stays in the group and can start all or some later. */
static void check_start_later(struct rig *rig)
{
    struct owner o;
    int64_t next[2] = {5, 0};
    rig_topics(rig, 2);
    rig_fill(rig, rig->requests, 0, 0, 20);
    rig_fill(rig, rig->requests, 1, 0, 20);
    owner_open(&o, rig, next);
    o.starts = false;
    owner_await(&o, "+0,1 ");
    for (int i = 0; i < 40; i++)
        CHECK(owner_poll(&o, 10, 50, true) == 0);
    CHECK(o.story.len == 0);
    o.assigned_count = 1;
    owner_start(&o);
    owner_take(&o, 15);
    CHECK(next[0] == 20 && next[1] == 0 && o.story.len == 0);
    o.assigned_count = 2;
    owner_start(&o);
    owner_take(&o, 20);
    /* Stop all, then start again. */
    o.assigned_count = 0;
    owner_start(&o);
    rig_fill(rig, rig->requests, 0, 0, 20);
    CHECK(owner_poll(&o, 10, 200, true) == 0);
    o.assigned_count = 2;
    owner_start(&o);
    owner_take(&o, 20);
    owner_close(&o);
}

static void check_resubscribe(struct rig *rig)
{
    struct owner a, b;
    struct failure f;
    int64_t next[2] = {0, 0};
    rig_topics(rig, 2);
    owner_open(&a, rig, next);
    owner_await(&a, "+0,1 ");
    int64_t begin = clock_mono_ms();
    CHECK_OK(a.broker.ops->resubscribe(a.broker.self, &f), &f);
    owner_await(&a, "-0,1 +0,1 ");
    printf("alone: assigned anew after %" PRId64 " ms\n", clock_mono_ms() - begin);
    rig_fill(rig, rig->requests, 0, 0, 20);
    owner_take(&a, 20);
    /* Another member keeps its partition or gets this owner's. */
    owner_open(&b, rig, next);
    int64_t deadline = clock_mono_ms() + RIG_PATIENCE_MS;
    while (a.assigned_count != 1 || b.assigned_count != 1) {
        CHECK(clock_mono_ms() < deadline);
        owner_poll(&a, 100, 20, true);
        owner_poll(&b, 100, 20, true);
    }
    struct owner *again[2] = {&a, &b};
    for (int i = 0; i < 4; i++) {
        struct owner *o = again[i % 2];
        begin = clock_mono_ms();
        buf_clear(&o->story);
        CHECK_OK(o->broker.ops->resubscribe(o->broker.self, &f), &f);
        while (!o->story.data || !strchr(o->story.data, '+') ||
               a.assigned_count + b.assigned_count != 2) {
            CHECK(clock_mono_ms() < deadline);
            owner_poll(&a, 100, 20, true);
            owner_poll(&b, 100, 20, true);
        }
        CHECK(o->story.data[0] == '-');
        printf("of two: assigned anew after %" PRId64 " ms\n", clock_mono_ms() - begin);
    }
    owner_close(&a);
    owner_close(&b);
}

/* An owner that does not poll in time loses its partitions, is told so, and gets new ones. */
static void check_lost(struct rig *rig)
{
    struct owner o;
    struct failure f;
    int64_t next[1] = {0};
    rig_set(rig, "kafka.max.poll.interval.ms", "6000");
    rig_topics(rig, 1);
    owner_open(&o, rig, next);
    owner_await(&o, "+0 ");
    clock_sleep_ms(7500);
    bool told = false;
    int64_t deadline = clock_mono_ms() + RIG_PATIENCE_MS;
    while (o.assigned_count == 0 || !strchr(o.story.data, '+')) {
        CHECK(clock_mono_ms() < deadline);
        struct broker_message message;
        size_t count;
        enum err err = o.broker.ops->poll(o.broker.self, &message, 1, 100, 50, &count, &f);
        CHECK(err == ERR_OK || err == ERR_LOG_ERROR);
        told = told || (err != ERR_OK && strstr(f.text, "MAX_POLL_EXCEEDED"));
    }
    CHECK(told && strcmp(o.story.data, "!0 +0 ") == 0);
    rig_fill(rig, rig->requests, 0, 0, 20);
    owner_take(&o, 20);
    owner_close(&o);
}

/* A position outside the log is reported; the other partitions go on. */
static void check_out_of_range(struct rig *rig)
{
    struct owner o;
    struct failure f;
    int64_t next[2] = {1000, 0};
    rig_topics(rig, 2);
    rig_fill(rig, rig->requests, 0, 0, 20);
    rig_fill(rig, rig->requests, 1, 0, 20);
    owner_open(&o, rig, next);
    struct broker_message messages[50];
    size_t count = 0, got = 0;
    bool told = false;
    int64_t deadline = clock_mono_ms() + RIG_PATIENCE_MS;
    while (!told || got < 20) {
        CHECK(clock_mono_ms() < deadline);
        enum err err = o.broker.ops->poll(o.broker.self, messages, 50, 1 << 20, 50, &count, &f);
        CHECK(err == ERR_OK || (err == ERR_LOG_ERROR && count == 0));
        if (err != ERR_OK) {
            told = true;
            fprintf(stderr, "told: %s\n", f.text);
            CHECK(strstr(f.text, rig->requests) && strstr(f.text, "[0]"));
        }
        for (size_t i = 0; i < count; i++)
            CHECK(messages[i].part == 1);
        o.broker.ops->release(o.broker.self, messages, count);
        got += count;
    }
    /* Only a start helps. */
    CHECK(o.broker.ops->seek(o.broker.self, 0, 0, &f) == ERR_LOG_ERROR);
    next[0] = 0, next[1] = 20;
    owner_start(&o);
    owner_take(&o, 20);
    owner_close(&o);
}

static void expect_before(struct owner *o, int64_t before, int64_t offset, const char *value)
{
    struct failure f;
    int64_t found = -1;
    uint8_t digest[32], expected[32];
    int64_t begin = clock_mono_ms();
    CHECK_OK(o->broker.ops->request_before(o->broker.self, 0, before, 100, &found, digest, &f), &f);
    printf("before %" PRId64 ": %" PRId64 " in %" PRId64 " ms\n", before, found,
           clock_mono_ms() - begin);
    sha256(value, strlen(value), expected);
    CHECK(found == offset && memcmp(digest, expected, 32) == 0);
}

static void check_before(struct rig *rig)
{
    struct owner o;
    struct failure f;
    int64_t next[1] = {0}, found, lo, hi;
    uint8_t digest[32];
    rig_topics(rig, 1);
    owner_open(&o, rig, next);
    CHECK_OK(o.broker.ops->request_range(o.broker.self, 0, &lo, &hi, &f), &f);
    CHECK(lo == 0 && hi == 0);
    rig_fill(rig, rig->requests, 0, 0, 10);                     /* 0..9 */
    rig_transaction(rig, rig->requests, 0, "in a transaction"); /* 10, a hole at 11 */
    rig_send(rig, rig->requests, 0, NULL, NULL);                /* 12 */
    rig_flush(rig);
    for (int i = 0; i < 3; i++)
        rig_transaction(rig, rig->requests, 0, "more"); /* 13 15 17, holes at 14 16 18 */
    CHECK_OK(o.broker.ops->request_range(o.broker.self, 0, &lo, &hi, &f), &f);
    CHECK(lo == 0 && hi == 19);
    expect_before(&o, 1, 0, "0");
    expect_before(&o, 10, 9, "9");
    expect_before(&o, 11, 10, "in a transaction");
    expect_before(&o, 12, 10, "in a transaction"); /* across the hole */
    expect_before(&o, 13, 12, "");
    expect_before(&o, 15, 13, "more");
    expect_before(&o, 19, 17, "more"); /* a hole at the end of the log */
    for (int i = 0; i < 5; i++)
        expect_before(&o, 10 - i, 9 - i, (const char[]){(char)('9' - i), '\0'});
    CHECK(o.broker.ops->request_before(o.broker.self, 0, 0, 100, &found, digest, &f) ==
          ERR_NOT_FOUND);
    CHECK(o.broker.ops->request_before(o.broker.self, 0, 12, 1, &found, digest, &f) ==
          ERR_NOT_FOUND);
    CHECK(o.broker.ops->request_before(o.broker.self, 7, 12, 1, &found, digest, &f) ==
          ERR_LOG_TOPIC);
    owner_take(&o, 15);
    owner_close(&o);
}

/* The broker is killed and restarted: the owner is told; no message is lost or repeated. */
/* One batch of `count` messages that nobody can read: unpacked, they are larger than what
 * check_unreadable lets clients receive. */
static void send_bomb(struct rig *rig, const char *topic, int count)
{
    static char zeros[400000];
    rd_kafka_conf_t *conf;
    rd_kafka_t *client;
    static const struct kafka_setting settings[] = {{"compression.type", "zstd"},
                                                    {"linger.ms", "1000"},
                                                    {"message.max.bytes", "100000000"},
                                                    {"batch.size", "100000000"},
                                                    {"fetch.max.bytes", "100000000"},
                                                    {"receive.message.max.bytes", "100001000"},
                                                    {NULL, NULL}};
    CHECK_OK(kafka_conf_build(rig->cfg, NULL, settings, &conf, &rig->f), &rig->f);
    CHECK_OK(kafka_client_new(RD_KAFKA_PRODUCER, conf, &client, &rig->f), &rig->f);
    for (int i = 0; i < count; i++) {
        CHECK(!rd_kafka_producev(client, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(0),
                                 RD_KAFKA_V_VALUE(zeros, sizeof(zeros)), RD_KAFKA_V_END));
    }
    CHECK(!rd_kafka_flush(client, RIG_PATIENCE_MS));
    rd_kafka_destroy(client);
}

static void expect_unreadable(struct owner *o, int64_t offset, int64_t batch)
{
    struct failure f;
    struct broker_message message = poll_one(o, 0);
    CHECK(message.offset == offset && message.batch_offset == batch && message.unreadable);
    CHECK(strstr(message.unreadable, "Decompression"));
    CHECK(message.len == 0 && message.append_ms == BROKER_NO_TIME);
    o->broker.ops->release(o->broker.self, &message, 1);
    size_t count = 0;
    CHECK_OK(o->broker.ops->poll(o->broker.self, &message, 1, 1 << 20, 200, &count, &f), &f);
    CHECK(count == 0); /* nothing behind it */
}

static void note_event(void *arg, int64_t offset, int64_t seq)
{
    int64_t *sum = arg;
    *sum = *sum * 100 + offset * 10 + seq;
}

/* A batch that cannot be read: told at each of its offsets, and no end of the partition. */
static void check_unreadable(struct rig *rig)
{
    struct owner o;
    struct failure f;
    int64_t next[1] = {0}, sum = 0;
    const char *const settings[] = {"message.timestamp.type", "LogAppendTime", NULL};
    rig_topic(rig, rig->requests, 1, settings);
    rig_topic(rig, rig->events, 1, settings);
    rig_fill(rig, rig->requests, 0, 0, 3);                           /* 0..2 */
    send_bomb(rig, rig->requests, 3);                                /* 3..5 */
    rig_fill(rig, rig->requests, 0, 6, 4);                           /* 6..9 */
    rig_send(rig, rig->events, 0, "\"0000000000000000001\"", "0-1"); /* 0 */
    rig_flush(rig);
    send_bomb(rig, rig->events, 2);                                  /* 1 2 */
    rig_send(rig, rig->events, 0, "\"0000000000000000002\"", "0-2"); /* 3 */
    rig_flush(rig);
    rig_set(rig, "kafka.fetch.max.bytes", "1000000");
    rig_set(rig, "kafka.receive.message.max.bytes", "1001000");
    owner_open(&o, rig, next);
    CHECK(owner_poll(&o, 3, RIG_PATIENCE_MS, true) == 3);
    expect_unreadable(&o, 3, 3);
    CHECK_OK(o.broker.ops->seek(o.broker.self, 0, 4, &f), &f);
    expect_unreadable(&o, 4, 3);
    next[0] = 5;
    owner_start(&o);
    expect_unreadable(&o, 5, 3);
    CHECK_OK(o.broker.ops->seek(o.broker.self, 0, 6, &f), &f);
    next[0] = 6;
    owner_take(&o, 4);
    expect_before(&o, 10, 9, "9");
    expect_before(&o, 6, 5, ""); /* as if it had no bytes */
    expect_before(&o, 3, 2, "2");
    CHECK_OK(o.broker.ops->event_tail(o.broker.self, 0, 100, note_event, &sum, &f), &f);
    CHECK(sum == 132); /* sequence 1 at offset 0, sequence 2 at offset 3 */
    owner_close(&o);
}

static void check_broker_killed(struct rig *rig)
{
    struct owner o;
    struct failure f;
    int64_t next[2] = {0, 0};
    rig_topics(rig, 2);
    rig_fill(rig, rig->requests, 0, 0, 500);
    owner_open(&o, rig, next);
    owner_take(&o, 500);
    rig_shell("BERTH_CHECK_KILL_BROKER");
    struct broker_message messages[100];
    size_t count = 0;
    enum err err = ERR_OK;
    int told = 0;
    for (int64_t until = clock_mono_ms() + 3000; clock_mono_ms() < until;) {
        err = o.broker.ops->poll(o.broker.self, messages, 100, 1 << 20, 50, &count, &f);
        CHECK(count == 0 && (err == ERR_OK || err == ERR_LOG_TRANSPORT));
        told += err == ERR_LOG_TRANSPORT;
    }
    printf("told %d times while the broker was away\n", told);
    CHECK(told >= 1 && told <= 3);
    rig_shell("BERTH_CHECK_START_BROKER");
    int64_t lo, hi, begin = clock_mono_ms();
    CHECK_OK(o.broker.ops->request_range(o.broker.self, 0, &lo, &hi, &f), &f);
    CHECK(hi == 500);
    printf("a range %" PRId64 " ms after the start\n", clock_mono_ms() - begin);
    rig_fill(rig, rig->requests, 0, 0, 500);
    rig_fill(rig, rig->requests, 1, 0, 500);
    owner_take(&o, 1000);
    printf("all taken %" PRId64 " ms after the start; %s\n", clock_mono_ms() - begin, o.story.data);
    owner_close(&o);
}

/* Figures: the latency of a request on an idle farm, and the rate of reading a backlog. */
static void check_speed(struct rig *rig)
{
    enum { ROUNDS = 100, BACKLOG = 300000 };
    struct owner o;
    int64_t next[4] = {0}, sum = 0, worst = 0;
    rig_topics(rig, 4);
    owner_open(&o, rig, next);
    owner_await(&o, "+0,1,2,3 ");
    rig_fill(rig, rig->requests, 0, 0, 1); /* connects */
    owner_take(&o, 1);
    for (int i = 0; i < ROUNDS; i++) {
        CHECK(owner_poll(&o, 10, 20, true) == 0);
        rig_send(rig, rig->requests, i % 4, "x", NULL);
        int64_t begin = clock_mono_ms();
        owner_take(&o, 1);
        int64_t took = clock_mono_ms() - begin;
        sum += took;
        worst = took > worst ? took : worst;
    }
    printf("one request: %.1f ms on average, %" PRId64 " ms at worst\n", (double)sum / ROUNDS,
           worst);
    char value[601] = {0};
    memset(value, 'v', 600);
    for (int i = 0; i < BACKLOG; i++)
        rig_send(rig, rig->requests, i % 4, value, NULL);
    rig_flush(rig);
    for (int32_t part = 0; part < 4; part++)
        next[part] = 0;
    owner_start(&o);
    int64_t begin = clock_mono_ms();
    owner_take(&o, BACKLOG + ROUNDS + 1);
    int64_t took = clock_mono_ms() - begin;
    printf("backlog: %d requests of 600 bytes in %" PRId64 " ms, %" PRId64 " per second\n", BACKLOG,
           took, (int64_t)BACKLOG * 1000 / took);
    owner_close(&o);
}

int main(int argc, char **argv)
{
    static const struct rig_check checks[] = {
        {"order", check_order},
        {"values", check_values},
        {"seek", check_seek},
        {"pause", check_pause},
        {"rebalance", check_rebalance},
        {"start-later", check_start_later},
        {"resubscribe", check_resubscribe},
        {"lost", check_lost},
        {"out-of-range", check_out_of_range},
        {"before", check_before},
        {"unreadable", check_unreadable},
        {"broker-killed", check_broker_killed},
        {"speed", check_speed},
    };
    return rig_main(checks, sizeof(checks) / sizeof(*checks), argc, argv);
}
