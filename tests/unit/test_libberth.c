/* libberth without a broker: partitions, ids, messages, and the matching of events to messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "lib/base/mem.h"
#include "lib/token/issue.h"
#include "producer/libberth_internal.h"
#include <berth.h>

/* ---- partitions ---------------------------------------------------------------------------- */

/* Hashes from the tests of Kafka's Java client (UtilsTest.testMurmur2). */
static void known_hashes(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        int32_t hash;
    } rows[] = {
        {"21", -973932308},
        {"foobar", -790332482},
        {"a-little-bit-long-string", -985981536},
        {"a-little-bit-longer-string", -1486304829},
        {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
        {"abc", 479470107},
    };
    static const int32_t counts[] = {1, 2, 8, 13, 4096, INT32_MAX};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (size_t j = 0; j < sizeof(counts) / sizeof(counts[0]); j++) {
            uint32_t positive = (uint32_t)rows[i].hash & 0x7fffffff;
            assert_int_equal(berth_partition_of_key(rows[i].key, strlen(rows[i].key), counts[j]),
                             positive % (uint32_t)counts[j]);
        }
    }
}

/* Other clients use librdkafka's partitioner, which must agree. */
static void same_as_librdkafka(void **state)
{
    (void)state;
    char key[80];
    for (int i = 0; i < 5000; i++) {
        int len = snprintf(key, sizeof(key), "%.*s-%d", i % 60,
                           "nodenodenodenodenodenodenodenodenodenodenodenodenodenodenodenode", i);
        int32_t theirs = rd_kafka_msg_partitioner_murmur2(NULL, key, (size_t)len, 8, NULL, NULL);
        assert_int_equal(berth_partition_of_key(key, (size_t)len, 8), theirs);
    }
}

static void ids(void **state)
{
    (void)state;
    char one[BERTH_UUID_LEN], two[BERTH_UUID_LEN];
    berth_uuid7(one);
    berth_uuid7(two);
    assert_int_equal(strlen(one), 36);
    assert_int_equal(one[14], '7');
    assert_non_null(strchr("89ab", one[19]));
    assert_string_not_equal(one, two);
    /* Sorted by time, to the millisecond. */
    assert_true(strncmp(one, two, 13) <= 0);
}

/* ---- messages ------------------------------------------------------------------------------ */

static char folder[] = "/tmp/berth-test-libberth-XXXXXX";
static char key_path[64];

static int make_key(void **state)
{
    (void)state;
    struct failure f;
    struct signing_key *key;
    assert_non_null(mkdtemp(folder));
    snprintf(key_path, sizeof(key_path), "%s/key.pem", folder);
    assert_int_equal(signing_key_generate(JWS_ES256, &key, &f), ERR_OK);
    char *pem = signing_key_pem(key);
    FILE *file = fopen(key_path, "w");
    fputs(pem, file);
    fclose(file);
    chmod(key_path, 0600);
    free(pem);
    signing_key_free(key);
    return 0;
}

static int remove_key(void **state)
{
    (void)state;
    unlink(key_path);
    return rmdir(folder);
}

static struct berth_client *open_client(void)
{
    const struct berth_setting settings[] = {{"farm.name", "lab"},
                                             {"client.name", "batch-1"},
                                             {"client.key_file", key_path},
                                             {"client.user", "alice"},
                                             {"kafka.bootstrap.servers", "127.0.0.1:1"},
                                             {"client.kid", NULL}};
    struct berth_client *client = NULL;
    struct berth_error error;
    if (berth_open(settings, 6, &client, &error) != BERTH_OK)
        fail_msg("%s", error.text);
    return client;
}

static void routes(void **state)
{
    (void)state;
    struct berth_client *client = open_client();
    static const struct {
        const char *request;
        const char *key;
        int64_t slot;
    } rows[] = {
        {"{\"type\":\"machine.register\",\"machine\":\"m-1\",\"gpus\":1,\"memory_gib\":1}", "m-1",
         -1},
        {"{\"type\":\"booking.create\",\"duration_s\":60,\"allocations\":[{\"machine\":\"m-2\","
         "\"gpus\":1,\"memory_gib\":1},{\"machine\":\"m-1\",\"gpus\":1,\"memory_gib\":1}]}",
         "m-2", -1},
        {"{\"type\":\"booking.create\",\"duration_s\":60,\"allocations\":[]}", "id-1", -1},
        {"{\"type\":\"booking.create\",\"duration_s\":60,\"any\":{\"count\":2,\"gpus\":1,"
         "\"memory_gib\":0,\"labels\":{\"machine\":\"m-1\"}}}",
         "id-1", -1},
        {"{\"type\":\"booking.cancel\",\"booking\":4268035}", NULL, 4268035 % 4096},
        /* A later occurrence and the whole series go to the partition of the create. */
        {"{\"type\":\"booking.cancel\",\"booking\":17592190312451}", NULL, 4268035 % 4096},
        {"{\"type\":\"booking.cancel\",\"series\":4268035}", NULL, 4268035 % 4096},
        {"{\"type\":\"booking.amend\",\"booking\":8195,\"allocations\":[{\"machine\":\"m-2\","
         "\"gpus\":1,\"memory_gib\":1}]}",
         NULL, 3},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct berth_request request = {.request_json = rows[i].request, .request_id = "id-1"};
        struct berth_message *message;
        struct berth_error error;
        if (berth_message_new(client, &request, &message, &error) != BERTH_OK)
            fail_msg("%s", error.text);
        assert_int_equal(message->slot, rows[i].slot);
        if (rows[i].key) {
            assert_string_equal(message->key, rows[i].key);
        } else {
            assert_null(message->key);
        }
        assert_string_equal(message->request_id, "id-1");
        int32_t expected = rows[i].key ? berth_partition_of_key(rows[i].key, strlen(rows[i].key), 8)
                                       : (int32_t)(rows[i].slot % 8);
        assert_int_equal(berth_message_partition(message, 8), expected);
        berth_message_free(message);
    }
    berth_close(client);
}

static void claims(void **state)
{
    (void)state;
    struct berth_client *client = open_client();
    struct berth_request request = {.request_json = "{\"type\":\"booking.cancel\",\"booking\":7}",
                                    .lifetime_s = 60};
    struct berth_message *message;
    struct berth_error error;
    struct jws_parts parts;
    assert_int_equal(berth_message_new(client, &request, &message, &error), BERTH_OK);
    assert_null(jws_split(message->token, strlen(message->token), &parts));
    assert_string_equal(parts.kid, berth_kid(client));
    assert_string_equal(parts.alg, "ES256");
    assert_true(jws_verify(signing_key_public(client->key), &parts));
    json_t *signed_claims = json_loadb(parts.payload, parts.payload_len, 0, NULL);
    json_t *told_claims = json_loads(message->claims, 0, NULL);
    assert_true(json_equal(signed_claims, told_claims));
    const char *iss, *sub, *aud, *jti;
    json_int_t iat, exp;
    assert_int_equal(json_unpack(signed_claims, "{s:s,s:s,s:s,s:s,s:I,s:I}", "iss", &iss, "sub",
                                 &sub, "aud", &aud, "jti", &jti, "iat", &iat, "exp", &exp),
                     0);
    assert_string_equal(iss, "batch-1");
    assert_string_equal(sub, "alice");
    assert_string_equal(aud, "lab");
    assert_string_equal(jti, message->request_id);
    assert_int_equal(exp - iat, 60);
    json_decref(signed_claims);
    json_decref(told_claims);
    jws_parts_fini(&parts);
    berth_message_free(message);
    berth_close(client);
}

static void refusals(void **state)
{
    (void)state;
    struct berth_client *client = open_client();
    struct berth_error error;
    struct berth_message *message = NULL;
    static const struct {
        struct berth_request request;
        const char *text, *pointer;
    } rows[] = {
        {{.request_json = "nope"}, "not JSON", ""},
        {{.request_json = "{\"type\":\"booking.cancel\",\"booking\":1,\"booking\":2}"},
         "not JSON",
         ""},
        {{.request_json = "{\"type\":\"booking.cancel\"}"}, "expected", "/request"},
        {{.request_json = "{\"type\":\"booking.cancel\",\"booking\":1.5}"},
         "expected",
         "/request/booking"},
        {{.request_json = "{\"type\":\"booking.cancel\",\"booking\":1}", .request_id = "a b"},
         "expected",
         "/jti"},
        {{.request_json = "{\"type\":\"booking.cancel\",\"booking\":1}", .user = ""},
         "expected",
         "/sub"},
        {{.request_json = "{\"type\":\"booking.cancel\",\"booking\":1}", .user = "\xff"},
         "UTF-8",
         ""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(berth_message_new(client, &rows[i].request, &message, &error),
                         BERTH_INVALID);
        if (!strstr(error.text, rows[i].text) || strcmp(error.pointer, rows[i].pointer) != 0)
            fail_msg("row %zu: %s at '%s'", i, error.text, error.pointer);
        assert_null(message);
    }
    /* Without the check any JSON is signed. */
    struct berth_request odd = {.request_json = "[1]", .unchecked = true};
    assert_int_equal(berth_message_new(client, &odd, &message, &error), BERTH_OK);
    assert_string_equal(message->key, message->request_id);
    berth_message_free(message);
    char *huge = xmalloc(20000);
    memset(huge, 'x', 20000);
    huge[0] = huge[19998] = '"';
    huge[19999] = '\0';
    odd.request_json = huge;
    assert_int_equal(berth_message_new(client, &odd, &message, &error), BERTH_TOO_LARGE);
    free(huge);
    berth_close(client);
}

static void settings(void **state)
{
    (void)state;
    struct berth_client *client = NULL;
    struct berth_error error;
    const struct berth_setting bad[] = {{"farm.name", "Lab"},
                                        {"client.name", "a b"},
                                        {"client.kid", ""},
                                        {"client.key_file", "/nonexistent"}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(berth_open(&bad[i], 1, &client, &error), BERTH_CONFIG);
        assert_null(client);
    }
    assert_int_equal(berth_open(NULL, 0, &client, &error), BERTH_OK);
    struct berth_message *message;
    struct berth_request request = {.request_json = "{}"};
    assert_int_equal(berth_message_new(client, &request, &message, &error), BERTH_CONFIG);
    assert_non_null(strstr(error.text, "farm.name"));
    int32_t count;
    assert_int_equal(berth_partition_count(client, &count, &error), BERTH_CONFIG);
    assert_non_null(strstr(error.text, "kafka.bootstrap.servers"));
    berth_close(client);
    berth_close(NULL);

    /* Settings that Berth's guarantees rely on cannot be overridden silently. */
    const struct berth_setting loose[] = {{"kafka.bootstrap.servers", "127.0.0.1:1"},
                                          {"kafka.enable.idempotence", "false"}};
    assert_int_equal(berth_open(loose, 2, &client, &error), BERTH_OK);
    assert_int_equal(berth_partition_count(client, &count, &error), BERTH_CONFIG);
    assert_non_null(strstr(error.text, "kafka.enable.idempotence"));
    berth_close(client);
}

/* ---- which event decides which message ----------------------------------------------------- */

/* The event of the request at that offset, signed by batch-1 with the id x. */
static char *event_of(int32_t partition, int64_t offset, const char *type)
{
    return xasprintf(
        "{\"specversion\":\"1.0\",\"id\":\"%d-%d\",\"type\":\"%s\",\"sequence\":\"%019d\","
        "\"time\":\"2026-11-24T14:37:54Z\",\"data\":{\"request\":{\"id\":\"x\",\"client\":\"batch-"
        "1\","
        "\"partition\":%d,\"offset\":%d},\"reason\":\"forbidden\",\"detail\":\"No.\"}}",
        (int)partition, (int)offset + 1, type, (int)offset + 1, (int)partition, (int)offset);
}

static struct berth_client *connected_client(void)
{
    struct berth_client *client = NULL;
    assert_int_equal(berth_open(NULL, 0, &client, NULL), BERTH_OK);
    lb_lanes_new(client, 2);
    return client;
}

static struct flight *fly(struct berth_client *client, int32_t partition, int64_t deadline_ms)
{
    struct flight *flight = xcalloc(1, sizeof(*flight));
    flight->request_id = xstrdup("x");
    flight->partition = partition;
    flight->offset = -1;
    flight->waits = true;
    flight->deadline_ms = deadline_ms;
    lb_flight_add(client, flight);
    return flight;
}

static void deliver(struct berth_client *client, struct flight *flight, int64_t offset)
{
    rd_kafka_message_t report = {.partition = flight->partition, .offset = offset};
    lb_flight_delivered(client, flight, &report);
}

static void see(struct berth_client *client, int32_t partition, int64_t offset)
{
    char *event = event_of(partition, offset, "berth.request.accepted");
    lb_flight_event(client, partition, event, strlen(event));
    free(event);
}

/* Expects this outcome next. */
static void expect(struct berth_client *client, enum berth_verdict verdict, int64_t offset)
{
    struct berth_outcome *outcome = lb_flight_take(client);
    assert_non_null(outcome);
    assert_int_equal(outcome->verdict, verdict);
    assert_int_equal(outcome->offset, offset);
    assert_int_equal(outcome->status, verdict == BERTH_UNDECIDED ? BERTH_UNKNOWN : BERTH_OK);
    berth_outcome_free(outcome);
}

static void matching(void **state)
{
    (void)state;
    struct berth_client *client = connected_client();
    struct flight *a = fly(client, 0, INT64_MAX), *b = fly(client, 0, INT64_MAX),
                  *c = fly(client, 1, INT64_MAX);
    see(client, 0, 3); /* another client's */
    see(client, 0, 5); /* a's decision, before its delivery report */
    see(client, 0, 6); /* another client's */
    deliver(client, a, 5);
    expect(client, BERTH_ACCEPTED, 5);
    deliver(client, b, 7);
    assert_null(lb_flight_take(client));
    assert_int_equal(client->lanes[0].early_count, 0);
    see(client, 0, 5); /* a repeat */
    see(client, 1, 7); /* the same offset, on another partition */
    assert_null(lb_flight_take(client));
    see(client, 0, 7);
    expect(client, BERTH_ACCEPTED, 7);
    see(client, 0, 7);
    assert_null(lb_flight_take(client));
    deliver(client, c, 8);
    assert_int_equal(berth_in_flight(client), 1);
    see(client, 1, 8);
    expect(client, BERTH_ACCEPTED, 8);
    assert_int_equal(berth_in_flight(client), 0);
    assert_int_equal(client->flight_count, 0);
    berth_close(client);
}

/* An event of partition 0 for a request of that client with that id. */
static void see_by(struct berth_client *client, const char *signer, const char *id, int64_t offset)
{
    char *event = event_of(0, offset, "berth.request.accepted");
    char *own = strstr(event, "\"id\":\"x\",\"client\":\"batch-1\"");
    char *rest = own + strlen("\"id\":\"x\",\"client\":\"batch-1\"");
    *own = '\0';
    char *text = xasprintf("%s\"id\":\"%s\",\"client\":\"%s\"%s", event, id, signer, rest);
    lb_flight_event(client, 0, text, strlen(text));
    free(event);
    free(text);
}

static void untold_offsets(void **state)
{
    (void)state;
    struct berth_client *client = connected_client();
    client->name = xstrdup("batch-1");
    deliver(client, fly(client, 0, INT64_MAX), RD_KAFKA_OFFSET_INVALID);
    struct flight *other = fly(client, 0, INT64_MAX);
    free(other->request_id);
    other->request_id = xstrdup("other");
    see_by(client, "batch-1", "y", 3);
    see_by(client, "batch-2", "x", 4);
    assert_null(lb_flight_take(client));
    see_by(client, "batch-1", "x", 5);
    expect(client, BERTH_ACCEPTED, 5);
    see_by(client, "batch-1", "x", 5); /* a repeat */
    /* The decision arrives before the delivery report, among other clients' events. */
    see_by(client, "batch-1", "other", 6);
    see_by(client, "batch-1", "y", 7);
    deliver(client, other, RD_KAFKA_OFFSET_INVALID);
    expect(client, BERTH_ACCEPTED, 6);
    assert_int_equal(client->lanes[0].early_count, 0);
    /* A message with a known offset is matched as well; an undecided message expires. */
    deliver(client, fly(client, 0, 100), RD_KAFKA_OFFSET_INVALID);
    deliver(client, fly(client, 0, INT64_MAX), 9);
    see(client, 0, 9);
    expect(client, BERTH_ACCEPTED, 9);
    lb_flight_expire(client, 100);
    expect(client, BERTH_UNDECIDED, -1);
    assert_int_equal(client->flight_count, 0);
    berth_close(client);
}

static void other_events(void **state)
{
    (void)state;
    struct berth_client *client = connected_client();
    deliver(client, fly(client, 0, INT64_MAX), 5);
    /* Another partition's request; an unknown type; not JSON; a label named offset. */
    char *texts[] = {event_of(1, 5, "berth.request.accepted"),
                     event_of(0, 5, "berth.request.accepted.v2"), xstrdup("{\"offset\":5"),
                     xstrdup("{\"type\":\"berth.request.accepted\",\"data\":{\"machine\":{"
                             "\"labels\":{\"offset\":\"5\"}}}}")};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        lb_flight_event(client, 0, texts[i], strlen(texts[i]));
        assert_null(lb_flight_take(client));
        free(texts[i]);
    }
    char *rejected = event_of(0, 5, "berth.request.rejected");
    lb_flight_event(client, 0, rejected, strlen(rejected));
    struct berth_outcome *outcome = lb_flight_take(client);
    assert_int_equal(outcome->verdict, BERTH_REJECTED);
    assert_string_equal(outcome->reason, "forbidden");
    assert_string_equal(outcome->detail, "No.");
    assert_string_equal(outcome->event, rejected);
    berth_outcome_free(outcome);
    free(rejected);
    berth_close(client);
}

static void deadlines(void **state)
{
    (void)state;
    struct berth_client *client = connected_client();
    struct flight *undelivered = fly(client, 0, 100);
    deliver(client, fly(client, 1, 200), 1);
    fly(client, 1, 1000);
    lb_flight_expire(client, 99);
    assert_null(lb_flight_take(client));
    lb_flight_expire(client, 100);
    expect(client, BERTH_UNDECIDED, -1);
    /* A later delivery report gives no second outcome. */
    assert_int_equal(client->flight_count, 3);
    deliver(client, undelivered, 9);
    assert_null(lb_flight_take(client));
    assert_int_equal(client->flight_count, 2);
    lb_flight_expire(client, 250);
    expect(client, BERTH_UNDECIDED, 1);
    see(client, 1, 1); /* too late */
    assert_null(lb_flight_take(client));
    assert_int_equal(berth_in_flight(client), 1);
    berth_abandon(client);
    expect(client, BERTH_UNDECIDED, -1);
    assert_int_equal(berth_in_flight(client), 0);
    berth_close(client); /* frees the message without a report */
}

/* The memory used for other clients' events is bounded. */
static void early_events(void **state)
{
    (void)state;
    struct berth_client *client = connected_client();
    struct flight *flight = fly(client, 0, INT64_MAX);
    for (int64_t offset = 0; offset < EARLY_EVENTS_MAX + 100; offset++)
        see(client, 0, offset);
    assert_int_equal(client->lanes[0].early_count, EARLY_EVENTS_MAX);
    deliver(client, flight, EARLY_EVENTS_MAX + 50);
    expect(client, BERTH_ACCEPTED, EARLY_EVENTS_MAX + 50);
    assert_int_equal(client->lanes[0].early_count, 0);
    berth_close(client);
}

static void glances(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t offset;
    } rows[] = {
        {"{\"offset\":17}", 17},
        {"{\"offset\" : 17 }", 17},
        {"{\"offset\":0,\"partition\":3}", 0},
        {"{}", -1},
        {"", -1},
        {"{\"offset\"", -1},
        {"{\"offset\":", -1},
        {"{\"offset\":\"17\"}", -1},
        {"{\"offset\":-1}", -1},
        {"{\"user\":\"\\\"offset\\\":9\",\"offset\":17}", 17},
        {"{\"labels\":{\"offset\":\"9\"},\"offset\":17}", 17},
        {"{\"offset\":1,\"x\":{\"offset\":2}}", -2},
        {"{\"offset\":1111111111111111111111}", -1},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(lb_event_glance(rows[i].text, strlen(rows[i].text)), rows[i].offset);
}

/* ---- the contract for consumers ------------------------------------------------------------ */

static void consumer_contract(void **state)
{
    (void)state;
    enum { T = TRACK_TAKE, I = TRACK_IGNORE, G = TRACK_TAKE_AFTER_GAP };
    static const struct {
        const char *what;
        struct track from;
        struct {
            int64_t seq, epoch;
            int verdict;
        } events[8];
    } rows[] = {
        {"in order, repeats, a gap",
         {.started = true, .settled = true},
         {{1, 1, T}, {2, 1, T}, {1, 1, I}, {2, 2, I}, {3, 2, T}, {5, 2, G}, {6, 2, T}}},
        {"begun at the end: the first event is taken as the last",
         {0},
         {{7, 1, T}, {8, 1, T}, {10, 2, G}}},
        {"a zombie's late repeats first, then one jump to a higher epoch",
         {0},
         {{7, 1, T}, {20, 2, T}, {21, 2, T}, {30, 3, G}}},
        {"only one jump", {0}, {{7, 1, T}, {20, 2, T}, {30, 3, G}}},
        {"no jump without a higher epoch", {0}, {{7, 1, T}, {20, 1, G}}},
        {"no jump from a recorded position",
         {.started = true, .settled = true, .last = 7},
         {{7, 1, I}, {20, 2, G}}},
        {"repeats raise the epoch that a jump needs", {0}, {{7, 1, T}, {6, 3, I}, {20, 3, G}}},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct track track = rows[i].from;
        for (size_t j = 0; j < 8 && rows[i].events[j].seq > 0; j++) {
            int verdict = (int)lb_track(&track, rows[i].events[j].seq, rows[i].events[j].epoch);
            if (verdict != rows[i].events[j].verdict)
                fail_msg("%s: event %zu", rows[i].what, j);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_hashes),
        cmocka_unit_test(same_as_librdkafka),
        cmocka_unit_test(ids),
        cmocka_unit_test(routes),
        cmocka_unit_test(claims),
        cmocka_unit_test(refusals),
        cmocka_unit_test(settings),
        cmocka_unit_test(matching),
        cmocka_unit_test(untold_offsets),
        cmocka_unit_test(other_events),
        cmocka_unit_test(deadlines),
        cmocka_unit_test(early_events),
        cmocka_unit_test(glances),
        cmocka_unit_test(consumer_contract),
    };
    return cmocka_run_group_tests(tests, make_key, remove_key);
}
