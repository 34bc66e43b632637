/* Checks of the broker port on Kafka for events and topics: publishing, a new producer, tails,
 * settings. Runs one by name; without a name lists them. Run by
 * integration-tests/test_kafka_broker.py. */
#include "lib/base/log.h"
#include "tests/tools/kafka_broker_rig.h"

static const char *event_value(int32_t part, int64_t seq, char buf[160])
{
    snprintf(buf, 160,
             "{\"id\":\"%" PRId32 "-%" PRId64 "\",\"sequence\":\"%019" PRId64
             "\",\"data\":\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}",
             part, seq, seq);
    return buf;
}

static enum err publish(struct owner *o, int32_t part, int64_t epoch, int64_t seq,
                        struct failure *f)
{
    char value[160];
    struct broker_event event = {
        .part = part,
        .epoch = epoch,
        .seq = seq,
        .key = seq % 2 ? "booking/7" : NULL,
        .type = "berth.request.accepted",
        .value = event_value(part, seq, value),
    };
    event.len = strlen(value);
    return o->broker.ops->publish(o->broker.self, &event, f);
}

static void publish_all(struct owner *o, int32_t part, int64_t epoch, int64_t first, int64_t last)
{
    struct failure f;
    struct broker_message none;
    size_t count;
    for (int64_t seq = first; seq <= last; seq++) {
        enum err err;
        while ((err = publish(o, part, epoch, seq, &f)) == ERR_LOG_FULL)
            (void)o->broker.ops->poll(o->broker.self, &none, 1, 1, 1, &count, &f);
        CHECK_OK(err, &f);
    }
}

/* A message of the event topic, read by an independent client. */
struct seen {
    char id[40], type[40], epoch[24], content_type[64], key[24], value[160];
};

static void header(const rd_kafka_message_t *message, const char *name, char *out, size_t size)
{
    rd_kafka_headers_t *headers;
    const void *value;
    size_t len;
    out[0] = '\0';
    CHECK(!rd_kafka_message_headers(message, &headers));
    CHECK(!rd_kafka_header_get_last(headers, name, &value, &len));
    snprintf(out, size, "%.*s", (int)len, (const char *)value);
}

/* Reads the partition from its start to its current end. Caller frees. */
static struct seen *read_events(struct rig *rig, int32_t part, size_t *count_out)
{
    const struct kafka_setting settings[] = {{"enable.partition.eof", "true"}, {NULL, NULL}};
    rd_kafka_conf_t *conf;
    rd_kafka_t *client;
    CHECK_OK(kafka_conf_build(rig->cfg, settings, NULL, &conf, &rig->f), &rig->f);
    CHECK_OK(kafka_client_new(RD_KAFKA_CONSUMER, conf, &client, &rig->f), &rig->f);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(client, rig->events, NULL);
    CHECK(!rd_kafka_consume_start(topic, part, RD_KAFKA_OFFSET_BEGINNING));
    struct seen *all = NULL;
    size_t count = 0, capacity = 0;
    for (bool more = true; more;) {
        rd_kafka_message_t *message = rd_kafka_consume(topic, part, RIG_PATIENCE_MS);
        CHECK(message && (!message->err || message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF));
        more = !message->err;
        if (more && count == capacity) {
            capacity = capacity ? 2 * capacity : 1024;
            all = xrealloc(all, capacity * sizeof(*all));
        }
        if (more) {
            struct seen *seen = &all[count++];
            header(message, "ce_id", seen->id, sizeof(seen->id));
            header(message, "ce_type", seen->type, sizeof(seen->type));
            header(message, "berth-epoch", seen->epoch, sizeof(seen->epoch));
            header(message, "content-type", seen->content_type, sizeof(seen->content_type));
            snprintf(seen->key, sizeof(seen->key), "%.*s", message->key ? (int)message->key_len : 4,
                     message->key ? (const char *)message->key : "none");
            snprintf(seen->value, sizeof(seen->value), "%.*s", (int)message->len,
                     (const char *)message->payload);
        }
        rd_kafka_message_destroy(message);
    }
    rd_kafka_consume_stop(topic, part);
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(client);
    *count_out = count;
    return all;
}

/* The topic's contract: 1, 2, 3 … up to `last`, with only repeats in between. */
static size_t check_dense(struct rig *rig, int32_t part, int64_t last)
{
    size_t count, repeats = 0;
    int64_t seq = 0;
    struct seen *all = read_events(rig, part, &count);
    for (size_t i = 0; i < count; i++) {
        char *end, value[160];
        CHECK(strtol(all[i].id, &end, 10) == part && *end == '-');
        int64_t this = strtoll(end + 1, NULL, 10);
        CHECK(this <= seq + 1);
        CHECK(strcmp(all[i].value, event_value(part, this, value)) == 0);
        repeats += this <= seq;
        seq = this > seq ? this : seq;
    }
    CHECK(seq == last);
    free(all);
    return repeats;
}

static void check_publish(struct rig *rig)
{
    struct owner o;
    struct failure f;
    int64_t next[2] = {0, 0}, lo, hi;
    rig_topics(rig, 2);
    owner_open(&o, rig, next);
    CHECK_OK(o.broker.ops->flush(o.broker.self, -1, 0, &f), &f);
    publish_all(&o, 0, 3, 1, 5000);
    publish_all(&o, 1, 12, 1, 3);
    CHECK_OK(o.broker.ops->flush(o.broker.self, 1, 10000, &f), &f);
    CHECK(o.last_seq[1] == 3);
    CHECK_OK(o.broker.ops->flush(o.broker.self, -1, 10000, &f), &f);
    CHECK(o.delivered == 5003 && o.reports_in_order && o.refused == 0);
    CHECK_OK(o.broker.ops->event_range(o.broker.self, 0, &lo, &hi, &f), &f);
    CHECK(lo == 0 && hi == 5000);
    CHECK(check_dense(rig, 0, 5000) == 0 && check_dense(rig, 1, 3) == 0);

    size_t count;
    struct seen *all = read_events(rig, 1, &count);
    CHECK(count == 3 && strcmp(all[1].id, "1-2") == 0);
    CHECK(strcmp(all[1].type, "berth.request.accepted") == 0 && strcmp(all[1].epoch, "12") == 0);
    CHECK(strcmp(all[1].content_type, "application/cloudevents+json; charset=UTF-8") == 0);
    CHECK(strcmp(all[0].key, "booking/7") == 0 && strcmp(all[1].key, "none") == 0);
    free(all);
    /* Delivery reports arrive while the owner waits for messages. */
    int64_t begin = clock_mono_ms();
    publish_all(&o, 0, 3, 5001, 5001);
    while (o.last_seq[0] != 5001)
        CHECK(owner_poll(&o, 10, 5, true) == 0 && clock_mono_ms() < begin + 10000);
    owner_close(&o);
}

/* A producer is discarded in the middle; its owner continues after the last delivery report. */
static void check_reset(struct rig *rig)
{
    enum { ALL = 60000 };
    struct owner o;
    struct failure f;
    int64_t next[1] = {0}, longest = 0;
    rig_topics(rig, 1);
    owner_open(&o, rig, next);
    owner_await(&o, "+0 ");
    for (int64_t round = 1; round <= 5; round++) {
        publish_all(&o, 0, round, o.last_seq[0] + 1, ALL * round / 6);
        (void)o.broker.ops->flush(o.broker.self, -1, 1, &f);
        int64_t delivered = o.delivered, begin = clock_mono_ms();
        CHECK_OK(o.broker.ops->reset_producer(o.broker.self, &f), &f);
        int64_t took = clock_mono_ms() - begin;
        longest = took > longest ? took : longest;
        CHECK_OK(o.broker.ops->flush(o.broker.self, -1, 0, &f), &f);
        CHECK(o.delivered == delivered); /* no report came */
    }
    publish_all(&o, 0, 6, o.last_seq[0] + 1, ALL);
    CHECK_OK(o.broker.ops->flush(o.broker.self, -1, 30000, &f), &f);
    CHECK(o.last_seq[0] == ALL && o.refused == 0);
    size_t repeats = check_dense(rig, 0, ALL);
    printf("a new producer takes %" PRId64 " ms at worst; %zu repeats\n", longest, repeats);
    owner_close(&o);
}

/* The broker refuses an event: the producer stops, and no later event is appended. */
static void check_refused(struct rig *rig)
{
    struct owner o;
    struct failure f;
    int64_t next[1] = {0};
    const char *const events[] = {"max.message.bytes", "1000", NULL};
    const char *const requests[] = {NULL};
    rig_set(rig, "kafka.batch.size", "500");
    rig_topic(rig, rig->requests, 1, requests);
    rig_topic(rig, rig->events, 1, events);
    owner_open(&o, rig, next);
    owner_await(&o, "+0 ");
    publish_all(&o, 0, 1, 1, 10);
    CHECK_OK(o.broker.ops->flush(o.broker.self, -1, 10000, &f), &f);
    char big[2001] = {0};
    memset(big, 'x', 2000);
    struct broker_event event = {0, 1, 11, NULL, "berth.request.accepted", big, 2000};
    CHECK_OK(o.broker.ops->publish(o.broker.self, &event, &f), &f);
    for (int64_t seq = 12; seq <= 40; seq++)
        (void)publish(&o, 0, 1, seq, &f);
    CHECK(o.broker.ops->flush(o.broker.self, -1, 10000, &f) == ERR_LOG_FATAL);
    fprintf(stderr, "told: %s\n", f.text);
    CHECK(o.refused > 0 && o.last_seq[0] == 10);
    CHECK(publish(&o, 0, 1, 41, &f) == ERR_LOG_FATAL);
    CHECK(check_dense(rig, 0, 10) == 0);
    CHECK_OK(o.broker.ops->reset_producer(o.broker.self, &f), &f);
    publish_all(&o, 0, 2, 11, 20);
    CHECK_OK(o.broker.ops->flush(o.broker.self, -1, 10000, &f), &f);
    CHECK(check_dense(rig, 0, 20) == 0 && o.last_seq[0] == 20);
    owner_close(&o);
}

static void check_full(struct rig *rig)
{
    struct owner o;
    struct failure f;
    int64_t next[1] = {0};
    rig_set(rig, "kafka.queue.buffering.max.messages", "50");
    rig_topics(rig, 1);
    owner_open(&o, rig, next);
    int64_t seq = 0;
    enum err err;
    while ((err = publish(&o, 0, 1, seq + 1, &f)) == ERR_OK)
        CHECK(++seq <= 50);
    CHECK(err == ERR_LOG_FULL && seq == 50);
    CHECK_OK(o.broker.ops->flush(o.broker.self, -1, 10000, &f), &f);
    publish_all(&o, 0, 1, seq + 1, 1000);
    CHECK_OK(o.broker.ops->flush(o.broker.self, -1, 10000, &f), &f);
    CHECK(check_dense(rig, 0, 1000) == 0);
    owner_close(&o);
}

/* The broker is killed under load: all events arrive in order by the producer's retries. Then a new
 * producer is created while the broker is down. */
static void check_broker_killed(struct rig *rig)
{
    struct owner o;
    struct failure f;
    int64_t next[1] = {0};
    rig_topics(rig, 1);
    owner_open(&o, rig, next);
    publish_all(&o, 0, 1, 1, 30000);
    rig_shell("BERTH_CHECK_KILL_BROKER");
    publish_all(&o, 0, 1, 30001, 60000);
    CHECK(o.broker.ops->flush(o.broker.self, -1, 500, &f) == ERR_TIMEOUT);
    rig_shell("BERTH_CHECK_START_BROKER");
    CHECK_OK(o.broker.ops->flush(o.broker.self, -1, RIG_PATIENCE_MS, &f), &f);
    CHECK(o.last_seq[0] == 60000 && o.reports_in_order && o.refused == 0);
    printf("%zu repeats\n", check_dense(rig, 0, 60000));

    rig_shell("BERTH_CHECK_KILL_BROKER");
    publish_all(&o, 0, 1, 60001, 60100);
    int64_t begin = clock_mono_ms();
    CHECK_OK(o.broker.ops->reset_producer(o.broker.self, &f), &f);
    printf("a new producer without a broker: %" PRId64 " ms\n", clock_mono_ms() - begin);
    publish_all(&o, 0, 2, 60001, 60100);
    begin = clock_mono_ms();
    int64_t lo, hi;
    CHECK(o.broker.ops->event_range(o.broker.self, 0, &lo, &hi, &f) == ERR_LOG_TRANSPORT);
    printf("a range without a broker: %" PRId64 " ms: %s\n", clock_mono_ms() - begin, f.text);
    begin = clock_mono_ms();
    o.broker.ops->close(o.broker.self);
    printf("a close without a broker: %" PRId64 " ms\n", clock_mono_ms() - begin);
    rig_shell("BERTH_CHECK_START_BROKER");
    CHECK_OK(o.broker.ops->flush(o.broker.self, -1, RIG_PATIENCE_MS, &f), &f);
    CHECK(check_dense(rig, 0, 60100) == 0);
    owner_close(&o);
}

struct tail_seen {
    int64_t count, highest, first_offset, last_offset;
};

static void note(void *arg, int64_t offset, int64_t seq)
{
    struct tail_seen *seen = arg;
    if (seen->count++ == 0)
        seen->first_offset = offset;
    CHECK(offset >= seen->last_offset);
    seen->last_offset = offset;
    seen->highest = seq > seen->highest ? seq : seen->highest;
}

static struct tail_seen tail(struct owner *o, int32_t part, int64_t count)
{
    struct failure f;
    struct tail_seen seen = {0};
    int64_t begin = clock_mono_ms();
    CHECK_OK(o->broker.ops->event_tail(o->broker.self, part, count, note, &seen, &f), &f);
    printf("tail of %" PRId64 ": %" PRId64 " events in %" PRId64 " ms\n", count, seen.count,
           clock_mono_ms() - begin);
    return seen;
}

static void check_tail(struct rig *rig)
{
    struct owner o;
    struct failure f;
    int64_t next[3] = {0};
    rig_topics(rig, 3);
    owner_open(&o, rig, next);
    CHECK(tail(&o, 0, 8000).count == 0);
    publish_all(&o, 0, 1, 1, 20000);
    CHECK_OK(o.broker.ops->flush(o.broker.self, -1, 30000, &f), &f);
    struct tail_seen seen = {0};
    for (int i = 0; i < 3; i++)
        seen = tail(&o, 0, 8000);
    CHECK(seen.count == 8000 && seen.highest == 20000 && seen.first_offset == 12000);
    for (int i = 0; i < 3; i++)
        seen = tail(&o, 0, 10);
    CHECK(seen.count == 10 && seen.highest == 20000 && seen.first_offset == 19990);
    CHECK(tail(&o, 0, 1000000).count == 20000);

    /* Foreign messages, and an end without a message. */
    publish_all(&o, 1, 1, 1, 5);
    CHECK_OK(o.broker.ops->flush(o.broker.self, -1, 30000, &f), &f);
    char value[160];
    const char *const foreign[][2] = {
        {"garbage", NULL},
        {"", "1-900"},
        {"{\"sequence\":\"0000000000000000901\"}", "2-901"},
        {"{\"sequence\":\"0000000000000000902\"}", "1-0902"},
        {"{\"sequence\":\"0000000000000000903\"}", "1-904"},
        {"{\"sequence\":\"9999999999999999999\"}", "1-9999999999999999999"},
        {"{\"sequence\":\"0000000000000000000\"}", "1-0"},
        {"{\"sequence\":\"0000000000000000905\"}", "1-905x"},
        {"{\"sequence\":\"0000000000000000905\"}", "1-"},
        {"{\"sequence\":\"0000000000000000905\"}", "-905"},
    };
    for (size_t i = 0; i < sizeof(foreign) / sizeof(*foreign); i++)
        rig_send(rig, rig->events, 1, foreign[i][0], foreign[i][1]);
    rig_send(rig, rig->events, 1, NULL, "1-906");
    rig_send(rig, rig->events, 1, event_value(1, 6, value), "1-6");
    rig_flush(rig);
    seen = tail(&o, 1, 100);
    CHECK(seen.count == 6 && seen.highest == 6);
    rig_transaction(rig, rig->events, 1, "in a transaction");
    seen = tail(&o, 1, 100);
    CHECK(seen.count == 6 && seen.highest == 6);
    CHECK(tail(&o, 1, 1).count == 0); /* only the hole */
    rig_transaction(rig, rig->events, 2, "only this");
    CHECK(tail(&o, 2, 100).count == 0);
    CHECK(o.broker.ops->event_tail(o.broker.self, 9, 10, note, &seen, &f) == ERR_LOG_TOPIC);
    owner_close(&o);
}

static void expect_fault(struct rig *rig, const char *fault)
{
    struct broker broker;
    struct broker_shape shape;
    CHECK_OK(kafka_broker_new(rig->cfg, &broker, &rig->f), &rig->f);
    int64_t begin = clock_mono_ms();
    CHECK_OK(broker.ops->shape(broker.self, &shape, &rig->f), &rig->f);
    printf("%" PRId64 " ms: %s\n", clock_mono_ms() - begin, shape.fault);
    char *id = rd_kafka_clusterid(rig->client, 10000);
    CHECK(id && strcmp(id, shape.cluster_id) == 0);
    rd_kafka_mem_free(rig->client, id);
    if (fault) {
        CHECK(strstr(shape.fault, fault));
    } else {
        CHECK(!shape.fault[0] && shape.request_partitions == 5 && shape.event_partitions == 5);
    }
    kafka_broker_free(&broker);
}

/* Switches to other topics by another prefix. The old ones stay on purpose: only topics of the last
 * prefix are deleted. */
static void rename_topics(struct rig *rig, const char *what)
{
    char prefix[128];
    snprintf(prefix, sizeof(prefix), "%s%s.", rig->prefix, what);
    rig_set(rig, "farm.topic_prefix", prefix);
    kafka_topic(rig->cfg, TOPIC_REQUESTS, rig->requests);
    kafka_topic(rig->cfg, TOPIC_EVENTS, rig->events);
}

static void check_shape(struct rig *rig)
{
    static const struct {
        const char *requests[7], *events[5], *fault;
    } cases[] = {
        {{NULL}, {NULL}, "message.timestamp.type is CreateTime and must be LogAppendTime"},
        {{"message.timestamp.type", "LogAppendTime", "cleanup.policy", "compact"},
         {NULL},
         "cleanup.policy is compact and must be delete"},
        {{"message.timestamp.type", "LogAppendTime", "max.message.bytes", "65535"},
         {NULL},
         "max.message.bytes is 65535 and must be at least 65536"},
        {{"message.timestamp.type", "LogAppendTime", "compression.type", "zstd"},
         {NULL},
         "compression.type is zstd and must be uncompressed"},
        {{"message.timestamp.type", "LogAppendTime", "compression.type", "uncompressed"},
         {NULL},
         "compression.type is producer and must be uncompressed"},
        {{"message.timestamp.type", "LogAppendTime", "compression.type", "uncompressed"},
         {"cleanup.policy", "compact,delete"},
         "cleanup.policy is compact,delete and must be delete"},
        {{"message.timestamp.type", "LogAppendTime", "compression.type", "uncompressed"},
         {"max.message.bytes", "65536"},
         "max.message.bytes is 65536 and must be at least 1000000"},
    };
    expect_fault(rig, "requests is missing: run `berth-admin init`");
    rig_topic(rig, rig->requests, 5, (const char *const[]){NULL});
    expect_fault(rig, "events is missing: run `berth-admin init`");
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char name[8];
        snprintf(name, sizeof(name), "%zu", i);
        rename_topics(rig, name);
        rig_topic(rig, rig->requests, 5, cases[i].requests);
        rig_topic(rig, rig->events, 5, cases[i].events);
        expect_fault(rig, cases[i].fault);
    }
    rename_topics(rig, "good");
    rig_topics(rig, 5);
    expect_fault(rig, NULL);
}

static void expect_config(struct rig *rig, const char *key, const char *value, const char *text)
{
    struct broker broker;
    struct config *cfg = rig->cfg;
    rig->cfg = config_new(PROGRAM_WORKER);
    rig_set(rig, "kafka.bootstrap.servers", "127.0.0.1:1");
    rig_set(rig, key, value);
    CHECK(kafka_broker_new(rig->cfg, &broker, &rig->f) == ERR_CONFIG);
    CHECK(strstr(rig->f.text, text));
    config_free(rig->cfg);
    rig->cfg = cfg;
}

/* Unless configured otherwise. */
static void expect_default(struct rig *rig, const char *name, const char *value)
{
    char text[64];
    size_t size = sizeof(text);
    rd_kafka_conf_t *conf;
    CHECK_OK(kafka_conf_build(rig->cfg, NULL, NULL, &conf, &rig->f), &rig->f);
    CHECK(rd_kafka_conf_get(conf, name, text, &size) == RD_KAFKA_CONF_OK);
    CHECK(strcmp(text, value) == 0);
    rd_kafka_conf_destroy(conf);
}

static void check_settings(struct rig *rig)
{
    expect_default(rig, "session.timeout.ms", "6000");
    expect_default(rig, "max.poll.interval.ms", "60000");
    expect_config(rig, "kafka.enable.idempotence", "false", "needs true");
    expect_config(rig, "kafka.enable.gapless.guarantee", "false", "needs true");
    expect_config(rig, "kafka.message.timeout.ms", "300000", "needs 0");
    expect_config(rig, "kafka.auto.offset.reset", "earliest", "needs error");
    expect_config(rig, "kafka.enable.auto.commit", "true", "needs false");
    expect_config(rig, "kafka.partition.assignment.strategy", "cooperative-sticky", "needs range");
    expect_config(rig, "kafka.acks", "1", "kafka.acks is 1, but Berth needs all: remove the key");
    expect_config(rig, "kafka.isolation.level", "read_committed", "needs read_uncommitted");
    expect_config(rig, "kafka.allow.auto.create.topics", "true", "needs false");
    expect_config(rig, "kafka.no.such.key", "1", "kafka.no.such.key");
    expect_config(rig, "kafka.linger.ms", "soon", "kafka.linger.ms");
    expect_config(rig, "kafka.bootstrap.servers", "", "kafka.bootstrap.servers is not set");
    expect_config(rig, "kafka.session.timeout.ms", "3600000", "session.timeout.ms");
    /* Both settings changed: every client uses them. */
    struct broker broker;
    rig_set(rig, "kafka.session.timeout.ms", "90000");
    rig_set(rig, "kafka.max.poll.interval.ms", "90000");
    CHECK_OK(kafka_broker_new(rig->cfg, &broker, &rig->f), &rig->f);
    kafka_broker_free(&broker);
}

/* Figures: the rate of publishing, and the latency of an acknowledgement. */
static void check_speed(struct rig *rig)
{
    enum { FLOOD = 300000, ROUNDS = 200 };
    struct owner o;
    struct failure f;
    int64_t next[4] = {0};
    rig_topics(rig, 4);
    owner_open(&o, rig, next);
    publish_all(&o, 3, 1, 1, 100);
    CHECK_OK(o.broker.ops->flush(o.broker.self, -1, 30000, &f), &f);
    int64_t begin = clock_mono_ms();
    for (int64_t seq = 101; seq <= 100 + ROUNDS; seq++) {
        publish_all(&o, 3, 1, seq, seq);
        CHECK_OK(o.broker.ops->flush(o.broker.self, -1, 30000, &f), &f);
    }
    printf("one event: %.2f ms\n", (double)(clock_mono_ms() - begin) / ROUNDS);
    begin = clock_mono_ms();
    for (int64_t first = 1; first <= FLOOD / 3; first += 500) {
        for (int32_t part = 0; part < 3; part++)
            publish_all(&o, part, 1, first, first + 499);
        (void)o.broker.ops->flush(o.broker.self, -1, 0, &f);
    }
    int64_t handed = clock_mono_ms() - begin;
    CHECK_OK(o.broker.ops->flush(o.broker.self, -1, 60000, &f), &f);
    int64_t took = clock_mono_ms() - begin;
    printf("flood: %d events handed over in %" PRId64 " ms, acknowledged in %" PRId64
           " ms: %" PRId64 " per second\n",
           FLOOD, handed, took, (int64_t)FLOOD * 1000 / took);
    owner_close(&o);
}

int main(int argc, char **argv)
{
    static const struct rig_check checks[] = {
        {"publish", check_publish},   {"reset", check_reset},
        {"refused", check_refused},   {"full", check_full},
        {"tail", check_tail},         {"shape", check_shape},
        {"settings", check_settings}, {"broker-killed", check_broker_killed},
        {"speed", check_speed},
    };
    return rig_main(checks, sizeof(checks) / sizeof(*checks), argc, argv);
}
