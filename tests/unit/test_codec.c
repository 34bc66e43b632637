/* The codec of claims: its corpus (schemas/corpus/claims, which integration-tests also run through
 * a JSON Schema validator), decoded values, the order and names of faults, and the content hash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "lib/base/mem.h"
#include "lib/codec/claims.h"
#include "lib/token/jws.h"
#include "tests/unit/support.h"

#define CORPUS "schemas/corpus/claims"

static struct claims decode(const char *payload)
{
    struct claims claims;
    claims_decode(payload, strlen(payload), arena, &claims);
    return claims;
}

/* Valid claims around this request. */
static struct claims decode_request(const char *request)
{
    return decode(arena_printf(arena,
                               "{\"iss\":\"batch-1\",\"sub\":\"alice\",\"aud\":\"demo\","
                               "\"iat\":1795531074,\"exp\":1795531674,\"jti\":\"r:1\","
                               "\"request\":%s}",
                               request));
}

static void assert_valid(const struct claims *claims)
{
    if (claims->pointer)
        fail_msg("at \"%s\" expected %s", claims->pointer, claims->expected);
}

static void assert_fault(struct claims claims, const char *pointer, const char *expected)
{
    assert_non_null(claims.pointer);
    assert_string_equal(claims.pointer, pointer);
    assert_string_equal(claims.expected, expected);
}

/* --- the corpus --- */

/* Decodes an exactly sized copy, so that ASan reports a read past its end. */
static struct claims decode_file(const char *path)
{
    struct buf text = read_file(path);
    char *exact = xmalloc(text.len);
    if (text.len > 0)
        memcpy(exact, text.data, text.len);
    struct claims claims;
    claims_decode(exact, text.len, arena, &claims);
    free(exact);
    buf_fini(&text);
    return claims;
}

/* As the decision does: iss and aud have separate reasons. */
static const char *fault_of(const struct claims *claims)
{
    if (claims->pointer)
        return claims->pointer;
    if (!claims->issuer)
        return "/iss";
    return !claims->audience ? "/aud" : NULL;
}

static size_t count_documents(const char *folder)
{
    DIR *dir = opendir(folder);
    if (!dir)
        fail_msg("cannot open %s: run the tests in the top folder", folder);
    size_t count = 0;
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        count += strstr(entry->d_name, ".json") != NULL;
    closedir(dir);
    return count;
}

static void test_corpus_ok(void **state)
{
    (void)state;
    DIR *dir = opendir(CORPUS "/ok");
    assert_non_null(dir);
    size_t count = 0;
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (!strstr(entry->d_name, ".json"))
            continue;
        struct claims claims = decode_file(arena_printf(arena, CORPUS "/ok/%s", entry->d_name));
        const char *fault = fault_of(&claims);
        if (fault)
            fail_msg("%s: at \"%s\" expected %s", entry->d_name, fault, claims.expected);
        assert_int_equal(claims.request.type, claims.type);
        count++;
    }
    closedir(dir);
    assert_true(count > 95);
}

/* One row of faults.tsv: the document's fault is at the row's pointer. */
static void check_row(char *row)
{
    char *file = row;
    char *pointer = strchr(file, '\t');
    assert_non_null(pointer);
    *pointer++ = '\0';
    char *why = strchr(pointer, '\t');
    assert_non_null(why);
    *why = '\0';
    struct claims claims = decode_file(arena_printf(arena, CORPUS "/%s", file));
    const char *fault = fault_of(&claims);
    if (!fault)
        fail_msg("%s is taken, but has a fault at \"%s\"", file, pointer);
    if (strcmp(fault, pointer) != 0)
        fail_msg("%s: fault at \"%s\", not at \"%s\"", file, fault, pointer);
    if (claims.pointer && strlen(claims.expected) > 250)
        fail_msg("%s: too long for a sentence: %s", file, claims.expected);
}

static void test_corpus_faults(void **state)
{
    (void)state;
    struct buf table = read_file(CORPUS "/faults.tsv");
    size_t count = 0;
    char *next = NULL;
    for (char *row = table.data; row && *row != '\0'; row = next) {
        next = strchr(row, '\n');
        if (next)
            *next++ = '\0';
        if (row[0] == '#')
            continue;
        check_row(row);
        count++;
    }
    buf_fini(&table);
    /* The table has every document. */
    assert_int_equal(count,
                     count_documents(CORPUS "/bad") + count_documents(CORPUS "/beyond-schema"));
}

/* --- what is decoded --- */

static void test_claims(void **state)
{
    (void)state;
    struct claims claims = decode(
        "{\"iss\":\"batch-1\",\"sub\":\"\\u00c6r\\u00f8\",\"aud\":\"demo\",\"iat\":11,"
        "\"exp\":22,\"nbf\":33,\"jti\":\"r:1\","
        "\"request\":{\"type\":\"booking.cancel\",\"booking\":9007199254740991}}");
    assert_valid(&claims);
    assert_string_equal(claims.issuer, "batch-1");
    assert_string_equal(claims.audience, "demo");
    assert_string_equal(claims.user, "Ærø");
    assert_string_equal(claims.id, "r:1");
    assert_true(claims.has_iat && claims.has_exp && claims.has_nbf);
    assert_int_equal(claims.iat_s, 11);
    assert_int_equal(claims.exp_s, 22);
    assert_int_equal(claims.nbf_s, 33);
    assert_int_equal(claims.type, REQUEST_BOOKING_CANCEL);
    assert_int_equal(claims.request.type, REQUEST_BOOKING_CANCEL);
    assert_int_equal(claims.request.booking_cancel.booking, INT64_C(9007199254740991));
    assert_null(claims.expected);
}

static void test_machine_register(void **state)
{
    (void)state;
    struct claims claims = decode_request("{\"type\":\"machine.register\",\"machine\":\"gpu-01\","
                                          "\"gpus\":8,\"memory_gib\":512,\"id\":17,"
                                          "\"labels\":{\"rack\":\"b\",\"gpu\":\"h100\"}}");
    assert_valid(&claims);
    const struct machine_register *asked = &claims.request.machine_register;
    assert_string_equal(asked->machine, "gpu-01");
    assert_int_equal(asked->capacity.gpus, 8);
    assert_int_equal(asked->capacity.memory_gib, 512);
    assert_int_equal(asked->id, 17);
    assert_int_equal(asked->labels.count, 2);
    assert_string_equal(asked->labels.items[0].key, "gpu");
    assert_string_equal(asked->labels.items[0].value, "h100");
    assert_string_equal(asked->labels.items[1].key, "rack");

    claims = decode_request("{\"type\":\"machine.register\",\"machine\":\"gpu-01\",\"gpus\":0,"
                            "\"memory_gib\":1}");
    assert_valid(&claims);
    assert_int_equal(claims.request.machine_register.id, 0);
    assert_int_equal(claims.request.machine_register.labels.count, 0);
}

static void test_machine_update(void **state)
{
    (void)state;
    struct claims claims = decode_request(
        "{\"type\":\"machine.update\",\"machine\":\"gpu-01\",\"gpus\":0}");
    assert_valid(&claims);
    const struct machine_update *asked = &claims.request.machine_update;
    assert_true(asked->has_gpus);
    assert_false(asked->has_memory_gib || asked->has_labels || asked->has_state);
    assert_false(asked->displace);

    claims = decode_request("{\"type\":\"machine.update\",\"machine\":\"gpu-01\",\"labels\":{},"
                            "\"memory_gib\":5,\"state\":\"retired\",\"displace\":true}");
    assert_valid(&claims);
    assert_false(asked->has_gpus);
    assert_true(asked->has_memory_gib && asked->has_labels && asked->has_state);
    assert_int_equal(asked->capacity.memory_gib, 5);
    assert_int_equal(asked->state, MACHINE_RETIRED);
    assert_true(asked->displace);
}

static void test_booking_create(void **state)
{
    (void)state;
    struct claims claims = decode_request(
        "{\"type\":\"booking.create\",\"start\":\"1970-01-01T00:01:00Z\","
        "\"end\":\"1970-01-01T00:02:00Z\",\"allocations\":["
        "{\"machine\":\"a\",\"gpus\":1,\"memory_gib\":0},"
        "{\"machine\":\"b\",\"gpus\":0,\"memory_gib\":2}]}");
    assert_valid(&claims);
    const struct booking_create *asked = &claims.request.booking_create;
    assert_int_equal(asked->start_ms, 60000);
    assert_int_equal(asked->end_ms, 120000);
    assert_int_equal(asked->duration_ms, TIME_NONE);
    assert_int_equal(asked->share_count, 2);
    assert_string_equal(asked->shares[1].machine, "b");
    assert_int_equal(asked->shares[1].amount.gpus, 0);
    assert_int_equal(asked->shares[1].amount.memory_gib, 2);

    claims = decode_request("{\"type\":\"booking.create\",\"duration_s\":90,\"allocations\":[]}");
    assert_valid(&claims);
    assert_int_equal(asked->start_ms, TIME_NONE);
    assert_int_equal(asked->end_ms, TIME_NONE);
    assert_int_equal(asked->duration_ms, 90000);
    assert_int_equal(asked->share_count, 0);
}

static void test_any(void **state)
{
    (void)state;
    struct claims claims = decode_request(
        "{\"type\":\"booking.create\",\"duration_s\":90,\"any\":{\"count\":4,\"gpus\":8,"
        "\"memory_gib\":256,\"labels\":{\"rack\":\"b\",\"gpu\":\"h100\"}}}");
    assert_valid(&claims);
    const struct booking_create *asked = &claims.request.booking_create;
    assert_int_equal(asked->any.count, 4);
    assert_int_equal(asked->any.amount.gpus, 8);
    assert_int_equal(asked->any.amount.memory_gib, 256);
    assert_int_equal(asked->any.labels.count, 2);
    assert_string_equal(asked->any.labels.items[0].key, "gpu");
    assert_string_equal(asked->any.labels.items[1].value, "b");
    assert_int_equal(asked->share_count, 0);
    assert_int_equal(asked->window_count, 0);

    claims = decode_request("{\"type\":\"booking.create\",\"duration_s\":90,"
                            "\"any\":{\"count\":1,\"gpus\":0,\"memory_gib\":1}}");
    assert_valid(&claims);
    assert_int_equal(asked->any.labels.count, 0);

    /* Neither `allocations` nor `any`: a window without machines. */
    claims = decode_request("{\"type\":\"booking.create\",\"duration_s\":90}");
    assert_valid(&claims);
    assert_int_equal(asked->any.count, 0);
    assert_int_equal(asked->share_count, 0);
}

static void test_repeat(void **state)
{
    (void)state;
    struct claims claims = decode_request(
        "{\"type\":\"booking.create\",\"start\":\"2026-03-28T08:00:00Z\",\"duration_s\":60,"
        "\"repeat\":{\"every\":\"day\",\"count\":3,\"zone\":\"Europe/Paris\"}}");
    assert_valid(&claims);
    const struct booking_create *asked = &claims.request.booking_create;
    assert_false(asked->skip_conflicts);
    assert_int_equal(asked->window_count, 3);
    int64_t first_ms = asked->start_ms;
    assert_int_equal(first_ms, INT64_C(1774684800000));
    static const int64_t hours[] = {0, 23, 47};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(asked->windows[i].start_ms, first_ms + hours[i] * 3600000);
        assert_int_equal(asked->windows[i].end_ms, asked->windows[i].start_ms + 60000);
    }
    claims = decode_request(
        "{\"type\":\"booking.create\",\"start\":\"2026-10-20T07:00:00Z\","
        "\"end\":\"2026-10-20T15:00:00Z\",\"any\":{\"count\":2,\"gpus\":1,\"memory_gib\":1},"
        "\"repeat\":{\"every\":\"week\",\"count\":2,\"zone\":\"Europe/Paris\"},"
        "\"skip_conflicts\":true}");
    assert_valid(&claims);
    assert_true(asked->skip_conflicts);
    assert_int_equal(asked->window_count, 2);
    assert_int_equal(asked->any.count, 2);
    assert_int_equal(asked->windows[0].start_ms, asked->start_ms);
    assert_int_equal(asked->windows[0].end_ms, asked->end_ms);
    assert_int_equal(asked->windows[1].start_ms, asked->start_ms + (7 * 24 + 1) * 3600000);
    assert_int_equal(asked->windows[1].end_ms, asked->end_ms + (7 * 24 + 1) * 3600000);
}

static void test_booking_cancel(void **state)
{
    (void)state;
    struct claims claims = decode_request("{\"type\":\"booking.cancel\",\"booking\":4099}");
    assert_valid(&claims);
    assert_int_equal(claims.request.booking_cancel.booking, 4099);
    assert_false(claims.request.booking_cancel.series);
    claims = decode_request("{\"type\":\"booking.cancel\",\"series\":8195}");
    assert_valid(&claims);
    assert_int_equal(claims.request.booking_cancel.booking, 8195);
    assert_true(claims.request.booking_cancel.series);
}

static void test_booking_amend(void **state)
{
    (void)state;
    struct claims claims = decode_request(
        "{\"type\":\"booking.amend\",\"booking\":4096,\"end\":\"1970-01-01T00:02:00Z\"}");
    assert_valid(&claims);
    const struct booking_amend *asked = &claims.request.booking_amend;
    assert_int_equal(asked->booking, 4096);
    assert_int_equal(asked->start_ms, TIME_NONE);
    assert_int_equal(asked->end_ms, 120000);
    assert_false(asked->has_shares);

    claims = decode_request("{\"type\":\"booking.amend\",\"booking\":4096,\"allocations\":[]}");
    assert_valid(&claims);
    assert_true(asked->has_shares);
    assert_int_equal(asked->share_count, 0);
    assert_int_equal(asked->end_ms, TIME_NONE);
}

/* --- faults --- */

/* Repairs faulty claims one at a time; each time the codec reports the next. */
static void test_order_of_faults(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\"iat\":\"x\"", "\"exp\":1.0",  "\"nbf\":true",
        "\"jti\":\"\"",  "\"sub\":\"\"", "\"request\":1",
    };
    static const char *const good[] = {
        "\"iat\":1", "\"exp\":2", "\"nbf\":3", "\"jti\":\"r\"", "\"sub\":\"u\"",
    };
    static const char *const pointers[] = {"/iat", "/exp", "/nbf", "/jti", "/sub", "/request"};
    for (size_t repaired = 0; repaired < 6; repaired++) {
        struct buf payload = {0};
        /* Backwards, because the order in the document must not matter. */
        for (size_t i = 6; i-- > 0;)
            buf_printf(&payload, "%s%s", i == 5 ? "{" : ",", i < repaired ? good[i] : bad[i]);
        buf_puts(&payload, "}");
        struct claims claims = decode(payload.data);
        assert_non_null(claims.pointer);
        assert_string_equal(claims.pointer, pointers[repaired]);
        buf_fini(&payload);
    }
}

/* Valid members are decoded in spite of a fault elsewhere, for the event to show. */
static void test_the_rest_is_decoded(void **state)
{
    (void)state;
    struct claims claims = decode(
        "{\"iss\":\"batch-1\",\"aud\":\"demo\",\"iat\":\"x\",\"exp\":2,\"jti\":\"r\","
        "\"sub\":\"u\",\"request\":{\"type\":\"machine.update\",\"bogus\":1}}");
    assert_fault(claims, "/iat", "an integer from 0 to 253402300799");
    assert_string_equal(claims.issuer, "batch-1");
    assert_string_equal(claims.audience, "demo");
    assert_false(claims.has_iat);
    assert_true(claims.has_exp);
    assert_string_equal(claims.id, "r");
    assert_string_equal(claims.user, "u");
    assert_int_equal(claims.type, REQUEST_MACHINE_UPDATE);

    claims = decode("{\"iat\":1,\"exp\":2,\"jti\":\"r/1\",\"sub\":5,\"request\":{}}");
    assert_null(claims.issuer);
    assert_null(claims.audience);
    assert_null(claims.id);
    assert_null(claims.user);
    assert_int_equal(claims.type, REQUEST_TYPE_COUNT);
}

static void test_phrases(void **state)
{
    (void)state;
    assert_fault(decode("[]"), "",
                 "one JSON object (RFC 8259) without duplicate members; it is a list");
    assert_fault(decode("{}"), "/iat", "an integer from 0 to 253402300799 (it is missing)");
    assert_fault(decode_request("{\"type\":\"booking.cancel\",\"boking\":7}"), "/request/boking",
                 "no field but type, booking, series (did you mean booking?)");
    assert_fault(decode_request("{\"type\":\"booking.cancel\",\"booking\":7,\"why\":\"\"}"),
                 "/request/why", "no field but type, booking, series");
    assert_fault(decode_request("{\"type\":\"booking.create\",\"duration\":7}"),
                 "/request/duration",
                 "no field but type, start, end, duration_s, allocations, any, repeat, "
                 "skip_conflicts (did you mean duration_s?)");
    assert_fault(decode_request("{\"type\":\"booking.cancle\",\"booking\":7}"), "/request/type",
                 "one of machine.register, machine.update, booking.create, booking.amend, "
                 "booking.cancel (did you mean booking.cancel?)");
    assert_fault(decode_request("{\"type\":\"book\"}"), "/request/type",
                 "one of machine.register, machine.update, booking.create, booking.amend, "
                 "booking.cancel");
    assert_fault(decode_request("{\"booking\":7}"), "/request/type",
                 "one of machine.register, machine.update, booking.create, booking.amend, "
                 "booking.cancel (it is missing)");
    assert_fault(decode_request("{\"type\":\"booking.create\",\"allocations\":[],"
                                "\"duration_s\":1,\"end\":\"2026-12-01T02:00:00Z\"}"),
                 "/request", "exactly one of end and duration_s");
}

#define CREATE "{\"type\":\"booking.create\",\"duration_s\":60"

static void test_phrases_of_bookings(void **state)
{
    (void)state;
    assert_fault(decode_request(CREATE ",\"allocations\":[],\"any\":{\"count\":1,\"gpus\":1,"
                                       "\"memory_gib\":0}}"),
                 "/request", "allocations or any, not both");
    assert_fault(decode_request(CREATE ",\"any\":{\"count\":1,\"gpus\":0,\"memory_gib\":0}}"),
                 "/request/any", "gpus or memory_gib above 0");
    assert_fault(decode_request(CREATE ",\"any\":{\"number\":1}}"), "/request/any/number",
                 "no field but count, gpus, memory_gib, labels");
    assert_fault(decode_request(CREATE ",\"skip_conflicts\":true}"), "/request/skip_conflicts",
                 "skip_conflicts only beside repeat");
    assert_fault(decode_request(CREATE ",\"repeat\":{\"every\":\"day\",\"count\":2,"
                                       "\"zone\":\"UTC\"}}"),
                 "/request/start", "a start beside repeat (it is missing)");
    assert_fault(decode_request(CREATE ",\"repeat\":{\"every\":\"month\",\"count\":2,"
                                       "\"zone\":\"UTC\"}}"),
                 "/request/repeat/every", "day or week");
    assert_fault(decode_request(CREATE ",\"repeat\":{\"every\":\"day\",\"count\":2,"
                                       "\"zone\":\"Europe/Atlantis\"}}"),
                 "/request/repeat/zone",
                 "a name from the time zone database, like Europe/Paris or UTC");
    assert_fault(decode_request("{\"type\":\"booking.cancel\"}"), "/request",
                 "exactly one of booking and series");
    assert_fault(decode_request("{\"type\":\"booking.cancel\",\"booking\":1,\"series\":1}"),
                 "/request", "exactly one of booking and series");
}

/* Unknown fields are reported first, in the document's order; then faults in the table's order. */
static void test_order_of_fields(void **state)
{
    (void)state;
    struct claims claims = decode_request("{\"type\":\"machine.register\",\"memory_gib\":-1,"
                                          "\"gpus\":-1,\"z\":1,\"a\":2}");
    assert_string_equal(claims.pointer, "/request/z");
    claims = decode_request("{\"type\":\"machine.register\",\"memory_gib\":-1,\"gpus\":-1}");
    assert_string_equal(claims.pointer, "/request/machine");
    claims = decode_request(
        "{\"type\":\"machine.register\",\"memory_gib\":-1,\"gpus\":-1,\"machine\":\"m\"}");
    assert_string_equal(claims.pointer, "/request/gpus");
}

/* --- the content hash --- */

static void assert_hash(const struct claims *claims, const char *hex)
{
    struct buf text = {0};
    buf_hex(&text, claims->content_sha256, sizeof(claims->content_sha256));
    assert_string_equal(text.data, hex);
    buf_fini(&text);
}

/* The hash was computed by Python:
 * hashlib.sha256(json.dumps({"request": …, "sub": …}, sort_keys=True, separators=(",", ":"),
 *                           ensure_ascii=False).encode()).hexdigest() */
static void test_content_hash(void **state)
{
    (void)state;
    static const char hex[] = "88344a9805642e21dc967e5e6a48b2f60183d7271652d22773b9dc985adf0f51";
    struct claims claims = decode(
        "{\"sub\": \"\\u00e4lice\", \"iat\": 1, \"exp\": 2, \"jti\": \"a\", \"request\": {"
        "\"type\": \"machine.register\", \"machine\": \"gpu-01\", \"gpus\": 8, \"memory_gib\": 512,"
        "\"labels\": {\"rack\": \"b-07\", \"Gpu\": \"h\\\"100\\\"\","
        " \"a\\/b\": \"\\u00e4\\ud83d\\ude00 \\\\\"}}}");
    assert_valid(&claims);
    assert_hash(&claims, hex);
    claims = decode("{\"request\":{\"labels\":{\"a/b\":\"ä😀 \\\\\",\"Gpu\":\"h\\\"100\\\"\","
                    "\"rack\":\"b-07\"},\"memory_gib\":512,\"gpus\":8,\"machine\":\"gpu-01\","
                    "\"type\":\"machine.register\"},\"jti\":\"b\",\"nbf\":1,\"exp\":9,\"iat\":3,"
                    "\"sub\":\"älice\",\"iss\":\"x\"}");
    assert_valid(&claims);
    assert_hash(&claims, hex);
}

/* For every valid document, jansson's sorted, compact text has the same hash. */
static void test_content_hash_of_corpus(void **state)
{
    (void)state;
    DIR *dir = opendir(CORPUS "/ok");
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (!strstr(entry->d_name, ".json"))
            continue;
        const char *path = arena_printf(arena, CORPUS "/ok/%s", entry->d_name);
        struct claims claims = decode_file(path);
        struct buf text = read_file(path);
        json_t *payload = json_loadb(text.data, text.len, JSON_ALLOW_NUL, NULL);
        json_t *content = json_pack("{sOsO}", "request", json_object_get(payload, "request"), "sub",
                                    json_object_get(payload, "sub"));
        char *dump = json_dumps(content, JSON_COMPACT | JSON_SORT_KEYS);
        assert_non_null(dump);
        uint8_t hash[32];
        sha256(dump, strlen(dump), hash);
        assert_memory_equal(hash, claims.content_sha256, sizeof(hash));
        free(dump);
        json_decref(content);
        json_decref(payload);
        buf_fini(&text);
    }
    closedir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_corpus_ok, arena_setup, arena_teardown),
        cmocka_unit_test_setup_teardown(test_corpus_faults, arena_setup, arena_teardown),
        cmocka_unit_test_setup_teardown(test_claims, arena_setup, arena_teardown),
        cmocka_unit_test_setup_teardown(test_machine_register, arena_setup, arena_teardown),
        cmocka_unit_test_setup_teardown(test_machine_update, arena_setup, arena_teardown),
        cmocka_unit_test_setup_teardown(test_booking_create, arena_setup, arena_teardown),
        cmocka_unit_test_setup_teardown(test_any, arena_setup, arena_teardown),
        cmocka_unit_test_setup_teardown(test_repeat, arena_setup, arena_teardown),
        cmocka_unit_test_setup_teardown(test_booking_amend, arena_setup, arena_teardown),
        cmocka_unit_test_setup_teardown(test_booking_cancel, arena_setup, arena_teardown),
        cmocka_unit_test_setup_teardown(test_order_of_faults, arena_setup, arena_teardown),
        cmocka_unit_test_setup_teardown(test_the_rest_is_decoded, arena_setup, arena_teardown),
        cmocka_unit_test_setup_teardown(test_phrases, arena_setup, arena_teardown),
        cmocka_unit_test_setup_teardown(test_phrases_of_bookings, arena_setup, arena_teardown),
        cmocka_unit_test_setup_teardown(test_order_of_fields, arena_setup, arena_teardown),
        cmocka_unit_test_setup_teardown(test_content_hash, arena_setup, arena_teardown),
        cmocka_unit_test_setup_teardown(test_content_hash_of_corpus, arena_setup, arena_teardown),
    };
    return cmocka_run_group_tests_name("codec", tests, NULL, NULL);
}
