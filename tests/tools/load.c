/* Load for the benchmarks (dev/bench, dev/bench-start) and for test_mixed_load.py: fills the
 * request topic with signed requests, counts events, and measures the time from publishing a
 * request to consuming its event.
 *
 *     load machines M             publishes M machine.register requests
 *     load fill COUNT M SEED      publishes COUNT booking.create requests on random machines of M
 *     load mixed COUNT M SEED     the same, mixed with `any`, series, and updates that shrink
 *                                 machines and grow them again
 *     load await COUNT            reads the event topic from its start until COUNT events came
 *     load latency RATE SECONDS M publishes at RATE a second and awaits each event
 *     load first COUNT            reports when it is at the topic's end, then awaits COUNT more
 *
 * Configured like berth (client.*, farm.name, kafka.*). Each command prints one JSON object. */
#define _GNU_SOURCE /* memmem */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/base/clock.h"
#include "lib/base/mem.h"
#include "lib/base/timetext.h"
#include "lib/kafka/kafka_conf.h"
#include "lib/token/issue.h"

#define MACHINE_GPUS   8
#define MACHINE_GIB    512
#define WINDOW_DAYS    60
#define AWAIT_QUIET_MS 60000
#define LATENCY_END_MS 10000
#define PARTITIONS_MAX 64
#define OFFSETS_MAX    (1 << 22)

struct load {
    struct config *cfg;
    struct signing_key *key;
    char kid[44];
    char requests[KAFKA_TOPIC_LEN], events[KAFKA_TOPIC_LEN];
    rd_kafka_t *producer, *consumer;
    rd_kafka_topic_t *topic;
    unsigned seed;
    int64_t delivered, failed;
    int64_t in_flight;
};

/* A request in flight and its outcome, by the offset given by the broker. */
struct sent {
    int64_t at_us;
};
static int64_t *sent_at_us[PARTITIONS_MAX];

static void die(const struct failure *f)
{
    fprintf(stderr, "load: %s\n", f->text);
    exit(EXIT_CODE_FAILURE);
}

static int64_t now_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void on_report(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    struct load *load = opaque;
    struct sent *sent = message->_private;
    (void)rk;
    load->in_flight--;
    if (message->err) {
        load->failed++;
    } else {
        load->delivered++;
    }
    if (sent && !message->err && message->partition < PARTITIONS_MAX &&
        message->offset < OFFSETS_MAX)
        sent_at_us[message->partition][message->offset] = sent->at_us;
    free(sent);
}

static void open_producer(struct load *load)
{
    static const struct kafka_setting defaults[] = {{"partitioner", "murmur2_random"},
                                                    {"linger.ms", "0"},
                                                    {"enable.idempotence", "true"},
                                                    {"acks", "all"},
                                                    {"queue.buffering.max.messages", "100000"},
                                                    {NULL, NULL}};
    struct failure f;
    rd_kafka_conf_t *conf;
    if (kafka_conf_build(load->cfg, defaults, NULL, &conf, &f) != ERR_OK)
        die(&f);
    rd_kafka_conf_set_dr_msg_cb(conf, on_report);
    rd_kafka_conf_set_opaque(conf, load);
    if (kafka_client_new(RD_KAFKA_PRODUCER, conf, &load->producer, &f) != ERR_OK)
        die(&f);
    load->topic = rd_kafka_topic_new(load->producer, load->requests, NULL);
}

static int partition_count(struct load *load)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(load->consumer, load->events, NULL);
    rd_kafka_resp_err_t err = rd_kafka_metadata(load->consumer, 0, topic, &metadata, 10000);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR || metadata->topic_cnt != 1 ||
        metadata->topics[0].partition_cnt > PARTITIONS_MAX) {
        fprintf(stderr, "load: cannot look at the event topic\n");
        exit(EXIT_CODE_FAILURE);
    }
    int count = metadata->topics[0].partition_cnt;
    rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(topic);
    return count;
}

/* quick: fetch each event at once; else in large pieces, which cost the broker less. */
static int open_consumer(struct load *load, int64_t offset, bool quick)
{
    const struct kafka_setting defaults[] = {{"group.id", "load"},
                                             {"enable.auto.commit", "false"},
                                             {"isolation.level", "read_uncommitted"},
                                             {"fetch.wait.max.ms", quick ? "10" : "200"},
                                             {"fetch.min.bytes", quick ? "1" : "500000"},
                                             {NULL, NULL}};
    struct failure f;
    rd_kafka_conf_t *conf;
    if (kafka_conf_build(load->cfg, defaults, NULL, &conf, &f) != ERR_OK ||
        kafka_client_new(RD_KAFKA_CONSUMER, conf, &load->consumer, &f) != ERR_OK)
        die(&f);
    rd_kafka_poll_set_consumer(load->consumer);
    int count = partition_count(load);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
    for (int p = 0; p < count; p++)
        rd_kafka_topic_partition_list_add(list, load->events, p)->offset = offset;
    rd_kafka_assign(load->consumer, list);
    rd_kafka_topic_partition_list_destroy(list);
    return count;
}

static char *sign(struct load *load, json_t *request)
{
    static int64_t number;
    struct failure f;
    char id[40], *token;
    int64_t now_s = clock_wall_ms() / 1000;
    /* Ordered by time like UUIDv7, which keeps the index of request ids compact. */
    snprintf(id, sizeof(id), "%012" PRIx64 "-%08x-%08" PRIx64, (uint64_t)clock_wall_ms(),
             load->seed, (uint64_t)number++);
    json_t *claims = json_pack("{s:s, s:s, s:s, s:I, s:I, s:s, s:o}", "iss",
                               config_string(load->cfg, "client.name"), "sub", "bench", "aud",
                               config_string(load->cfg, "farm.name"), "iat", (json_int_t)now_s,
                               "exp", (json_int_t)now_s + 24 * 3600, "jti", id, "request", request);
    char *text = json_dumps(claims, JSON_COMPACT);
    if (issue_token_quick(load->key, load->kid, text, &token, &f) != ERR_OK)
        die(&f);
    free(text);
    json_decref(claims);
    return token;
}

static void publish(struct load *load, const char *key, json_t *request, bool timed)
{
    char *token = sign(load, request);
    struct sent *sent = NULL;
    if (timed) {
        sent = xmalloc(sizeof(*sent));
        sent->at_us = now_us();
    }
    while (rd_kafka_produce(load->topic, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, token,
                            strlen(token), key, strlen(key), sent) != 0)
        rd_kafka_poll(load->producer, 10);
    load->in_flight++;
    free(token);
    rd_kafka_poll(load->producer, 0);
}

static void machine_name(int number, char name[16])
{
    snprintf(name, 16, "gpu-%04d", number);
}

static int pick(struct load *load, int below)
{
    load->seed = load->seed * 1664525u + 1013904223u;
    return (int)((load->seed >> 8) % (unsigned)below);
}

static json_t *random_booking(struct load *load, int machines, char name[16])
{
    char start[TIMETEXT_LEN];
    int64_t from_ms = (clock_wall_ms() / 1000 + 3600 + pick(load, WINDOW_DAYS * 86400)) * 1000;
    machine_name(pick(load, machines), name);
    return json_pack("{s:s, s:s, s:i, s:[{s:s, s:i, s:i}]}", "type", "booking.create", "start",
                     timetext_format(from_ms, start), "duration_s", 3600 * (1 + pick(load, 4)),
                     "allocations", "machine", name, "gpus", 1 + pick(load, 4), "memory_gib",
                     16 * (1 + pick(load, 4)));
}

static void to_any(struct load *load, json_t *request, char key[16])
{
    json_object_del(request, "allocations");
    json_object_set_new(request, "any",
                        json_pack("{s:i, s:i, s:i}", "count", 1 + pick(load, 3), "gpus",
                                  1 + pick(load, 4), "memory_gib", 16 * (1 + pick(load, 4))));
    snprintf(key, 16, "any-%d", pick(load, 1000)); /* no machine gives its partition */
}

static void to_series(struct load *load, json_t *request)
{
    json_object_set_new(request, "repeat",
                        json_pack("{s:s, s:i, s:s}", "every", pick(load, 4) ? "day" : "week",
                                  "count", 2 + pick(load, 9), "zone", "Europe/Paris"));
    json_object_set_new(request, "skip_conflicts", json_true());
}

static json_t *random_update(struct load *load, int machines, char name[16])
{
    machine_name(pick(load, machines), name);
    return json_pack("{s:s, s:s, s:i, s:b}", "type", "machine.update", "machine", name, "gpus",
                     MACHINE_GPUS - pick(load, 3), "displace", pick(load, 2));
}

static json_t *random_request(struct load *load, int machines, char key[16])
{
    int roll = pick(load, 100);
    if (roll < 3)
        return random_update(load, machines, key);
    json_t *request = random_booking(load, machines, key);
    if (roll < 20)
        to_any(load, request, key);
    if (roll % 20 == 3)
        to_series(load, request);
    return request;
}

static void finish(struct load *load)
{
    while (load->in_flight > 0)
        rd_kafka_poll(load->producer, 10);
    printf("{\"published\": %" PRId64 ", \"failed\": %" PRId64 "}\n", load->delivered,
           load->failed);
}

static int run_machines(struct load *load, int machines)
{
    char name[16];
    open_producer(load);
    for (int i = 0; i < machines; i++) {
        machine_name(i, name);
        publish(load, name,
                json_pack("{s:s, s:s, s:i, s:i}", "type", "machine.register", "machine", name,
                          "gpus", MACHINE_GPUS, "memory_gib", MACHINE_GIB),
                false);
    }
    finish(load);
    return load->failed ? EXIT_CODE_FAILURE : EXIT_CODE_OK;
}

static int run_fill(struct load *load, int count, int machines)
{
    char name[16];
    open_producer(load);
    for (int i = 0; i < count; i++) {
        json_t *request = random_booking(load, machines, name);
        publish(load, name, request, false);
    }
    finish(load);
    return load->failed ? EXIT_CODE_FAILURE : EXIT_CODE_OK;
}

static int run_mixed(struct load *load, int count, int machines)
{
    char key[16];
    open_producer(load);
    for (int i = 0; i < count; i++) {
        json_t *request = random_request(load, machines, key);
        publish(load, key, request, false);
    }
    finish(load);
    return load->failed ? EXIT_CODE_FAILURE : EXIT_CODE_OK;
}

static int64_t sequence_of(const rd_kafka_message_t *message)
{
    const char *at = memmem(message->payload, message->len, "\"sequence\":\"", 12);
    return at ? strtoll(at + 12, NULL, 10) : 0;
}

static int run_await(struct load *load, int64_t count)
{
    int64_t last[PARTITIONS_MAX] = {0}, seen = 0, accepted = 0;
    int64_t quiet_since_ms = clock_mono_ms();
    open_consumer(load, RD_KAFKA_OFFSET_BEGINNING, false);
    while (seen < count && clock_mono_ms() - quiet_since_ms < AWAIT_QUIET_MS) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(load->consumer, 100);
        if (!message)
            continue;
        int64_t seq = message->err ? 0 : sequence_of(message);
        if (seq > last[message->partition]) {
            last[message->partition] = seq;
            seen++;
            if (memmem(message->payload, message->len, "berth.request.accepted", 22))
                accepted++;
            quiet_since_ms = clock_mono_ms();
        }
        rd_kafka_message_destroy(message);
    }
    printf("{\"events\": %" PRId64 ", \"accepted\": %" PRId64 ", \"at_ms\": %" PRId64 "}\n", seen,
           accepted, clock_wall_ms());
    return seen == count ? EXIT_CODE_OK : EXIT_CODE_NO_DECISION;
}

/* Measures the arrival of the first and the last event. Prints "at the end" once every later event
 * will be seen. */
static int run_first(struct load *load, int64_t count)
{
    int64_t first_ms = 0, seen = 0, since_ms;
    int parts = open_consumer(load, RD_KAFKA_OFFSET_END, true);
    for (int64_t until_ms = clock_mono_ms() + 3000; clock_mono_ms() < until_ms;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(load->consumer, 100);
        if (message)
            rd_kafka_message_destroy(message);
    }
    printf("at the end of %d partitions\n", parts);
    fflush(stdout);
    since_ms = clock_mono_ms();
    while (seen < count && clock_mono_ms() - since_ms < AWAIT_QUIET_MS) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(load->consumer, 100);
        if (message && !message->err && ++seen == 1)
            first_ms = clock_wall_ms();
        if (message)
            rd_kafka_message_destroy(message);
    }
    printf("{\"events\": %" PRId64 ", \"first_ms\": %" PRId64 ", \"last_ms\": %" PRId64 "}\n", seen,
           first_ms, clock_wall_ms());
    return seen == count ? EXIT_CODE_OK : EXIT_CODE_NO_DECISION;
}

/* --- latency ------------------------------------------------------------------------------- */

struct latencies {
    int64_t *us;
    size_t count;
    /* Events that arrived before their request's delivery report with the offset. */
    struct {
        int32_t part;
        int64_t offset, at_us;
    } early[4096];
    size_t early_count;
};

static bool record(struct latencies *lat, int32_t part, int64_t offset, int64_t at_us)
{
    if (part >= PARTITIONS_MAX || offset >= OFFSETS_MAX || sent_at_us[part][offset] == 0)
        return false;
    lat->us[lat->count++] = at_us - sent_at_us[part][offset];
    return true;
}

static void take_early(struct latencies *lat)
{
    size_t left = 0;
    for (size_t i = 0; i < lat->early_count; i++) {
        if (!record(lat, lat->early[i].part, lat->early[i].offset, lat->early[i].at_us))
            lat->early[left++] = lat->early[i];
    }
    lat->early_count = left;
}

static void take_event(struct latencies *lat, const rd_kafka_message_t *message)
{
    const char *at = memmem(message->payload, message->len, "\"offset\":", 9);
    int64_t offset = at ? strtoll(at + 9, NULL, 10) : 0, at_us = now_us();
    if (record(lat, message->partition, offset, at_us) || lat->early_count == 4096)
        return;
    lat->early[lat->early_count].part = message->partition;
    lat->early[lat->early_count].offset = offset;
    lat->early[lat->early_count++].at_us = at_us;
}

static void drain(struct load *load, struct latencies *lat, int64_t until_us)
{
    do {
        int64_t left_us = until_us - now_us();
        rd_kafka_message_t *message = rd_kafka_consumer_poll(
            load->consumer, left_us > 1000 ? (int)(left_us / 1000) : 0);
        rd_kafka_poll(load->producer, 0);
        take_early(lat);
        if (message && !message->err)
            take_event(lat, message);
        if (message)
            rd_kafka_message_destroy(message);
    } while (now_us() < until_us);
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int run_latency(struct load *load, int rate, int seconds, int machines)
{
    struct latencies *lat = xcalloc(1, sizeof(*lat));
    size_t total = (size_t)rate * (size_t)seconds;
    char name[16];
    lat->us = xcalloc(total + 1, sizeof(*lat->us));
    open_producer(load);
    int parts = open_consumer(load, RD_KAFKA_OFFSET_END, true);
    for (int p = 0; p < parts; p++)
        sent_at_us[p] = xcalloc(OFFSETS_MAX, sizeof(int64_t));
    drain(load, lat, now_us() + 2000000); /* until the consumer is at the end */
    int64_t start_us = now_us();
    for (size_t i = 0; i < total; i++) {
        json_t *request = random_booking(load, machines, name);
        publish(load, name, request, true);
        drain(load, lat, start_us + (int64_t)(i + 1) * 1000000 / rate);
    }
    int64_t end_us = now_us() + LATENCY_END_MS * 1000;
    while (lat->count < total && now_us() < end_us)
        drain(load, lat, now_us() + 5000);
    qsort(lat->us, lat->count, sizeof(*lat->us), by_value);
    if (lat->count > 0) {
        size_t half = lat->count / 2, hundredth = lat->count * 99 / 100;
        printf("{\"rate\": %d, \"requests\": %zu, \"seen\": %zu, \"p50\": %.2f, \"p99\": %.2f, "
               "\"max\": %.2f}\n",
               rate, total, lat->count, (double)lat->us[half] / 1000,
               (double)lat->us[hundredth] / 1000, (double)lat->us[lat->count - 1] / 1000);
    }
    bool all = lat->count == total;
    free(lat->us);
    free(lat);
    return all ? EXIT_CODE_OK : EXIT_CODE_NO_DECISION;
}

/* --- life ---------------------------------------------------------------------------------- */

static void setup(struct load *load)
{
    struct failure f;
    load->cfg = config_new(PROGRAM_BERTH);
    if (config_load(load->cfg, NULL, NULL, &f) != ERR_OK || config_check(load->cfg, &f) != ERR_OK ||
        signing_key_read(config_string(load->cfg, "client.key_file"), &load->key, &f) != ERR_OK)
        die(&f);
    jws_key_thumbprint(signing_key_public(load->key), load->kid);
    kafka_topic(load->cfg, TOPIC_REQUESTS, load->requests);
    kafka_topic(load->cfg, TOPIC_EVENTS, load->events);
}

static void close_all(struct load *load)
{
    if (load->topic)
        rd_kafka_topic_destroy(load->topic);
    if (load->producer)
        rd_kafka_destroy(load->producer);
    if (load->consumer)
        rd_kafka_destroy_flags(load->consumer, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    for (int p = 0; p < PARTITIONS_MAX; p++)
        free(sent_at_us[p]);
    signing_key_free(load->key);
    config_free(load->cfg);
}

static int number(const char *text)
{
    return (int)strtol(text, NULL, 10);
}

static int run(struct load *load, int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "machines") == 0)
        return run_machines(load, number(argv[2]));
    if (argc == 5 && (strcmp(argv[1], "fill") == 0 || strcmp(argv[1], "mixed") == 0)) {
        load->seed = (unsigned)number(argv[4]);
        return (argv[1][0] == 'f' ? run_fill : run_mixed)(load, number(argv[2]), number(argv[3]));
    }
    if (argc == 3 && strcmp(argv[1], "await") == 0)
        return run_await(load, number(argv[2]));
    if (argc == 3 && strcmp(argv[1], "first") == 0)
        return run_first(load, number(argv[2]));
    if (argc == 5 && strcmp(argv[1], "latency") == 0)
        return run_latency(load, number(argv[2]), number(argv[3]), number(argv[4]));
    fprintf(stderr, "load: usage: see the head of tests/tools/load.c\n");
    return EXIT_CODE_USAGE;
}

int main(int argc, char **argv)
{
    struct load load = {.seed = 1};
    setup(&load);
    int code = run(&load, argc, argv);
    close_all(&load);
    return code;
}
