/* Labels as column text, rows as JSON objects (the same as in events), and problem objects. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "lib/codec/event.h"
#include "lib/codec/problem.h"
#include "lib/codec/views.h"

static struct arena *arena;

static int setup(void **state)
{
    (void)state;
    arena = arena_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static void assert_dump(json_t *value, const char *expected)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    assert_string_equal(text, expected);
    free(text);
    json_decref(value);
}

/* --- labels --- */

static bool from_text(const char *text, struct labels *out)
{
    return labels_from_json(text, strlen(text), arena, out);
}

static void test_labels(void **state)
{
    (void)state;
    struct labels labels = {0};
    assert_string_equal(labels_to_json(arena, &labels), "{}");
    assert_true(from_text("{\"rack\": \"b\\u002d07\", \"Gpu\": \"h\\\"100\\\"\", \"a/b\": \"ä\"}",
                          &labels));
    assert_int_equal(labels.count, 3);
    assert_string_equal(labels.items[0].key, "Gpu"); /* upper case first: bytewise */
    assert_string_equal(labels.items[1].key, "a/b");
    const char *text = labels_to_json(arena, &labels);
    assert_string_equal(text, "{\"Gpu\":\"h\\\"100\\\"\",\"a/b\":\"ä\",\"rack\":\"b-07\"}");
    assert_dump(labels_json(&labels), text);
    struct labels again;
    assert_true(from_text(text, &again));
    assert_string_equal(labels_to_json(arena, &again), text);
}

static void test_bad_labels(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "null",
        "[]",
        "{",
        "{\"a\":1}",
        "{\"a\":\"1\",\"a\":\"2\"}",
        "{\"\":\"\"}",
        "{\"a b\":\"\"}",
        "{\"a\":\"\\n\"}",
        "{\"a\":\"\\u0000\"}",
        "{\"a\":\"\"} x",
    };
    struct labels labels = {.count = 77};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (from_text(bad[i], &labels))
            fail_msg("taken: %s", bad[i]);
        assert_int_equal(labels.count, 77);
    }
}

/* --- views: what an event's data has --- */

static json_t *data_of(const struct decision *decision, const char *name)
{
    const struct credential credential = {.client = "c"};
    const struct claims claims = {.type = REQUEST_TYPE_COUNT};
    const uint8_t sha256[32] = {0};
    const struct event_input in = {.farm = "demo",
                                   .seq = 1,
                                   .message_sha256 = sha256,
                                   .credential = &credential,
                                   .claims = &claims,
                                   .decision = decision};
    struct event event;
    event_encode(&in, arena, &event);
    json_t *document = json_loadb(event.bytes, event.len, 0, NULL);
    json_t *part = json_incref(json_object_get(json_object_get(document, "data"), name));
    assert_non_null(part);
    json_decref(document);
    return part;
}

static void assert_same(json_t *part, json_t *view)
{
    char *expected = json_dumps(part, JSON_COMPACT);
    assert_dump(view, expected);
    free(expected);
    json_decref(part);
}

static void test_booking_view(void **state)
{
    (void)state;
    static const struct share shares[] = {{"gpu-01", {4, 64}}, {"gpu-02", {0, 1}}};
    struct booking_view booking = {.id = 4268035,
                                   .version = 2,
                                   .client = "batch-1",
                                   .user = "Zoë",
                                   .state = BOOKING_RELEASED,
                                   .start_ms = INT64_C(1796090400000),
                                   .end_ms = INT64_C(1796090460000),
                                   .share_count = 2,
                                   .shares = shares};
    const struct decision decision = {
        .verified = true, .booking = &booking, .next_available_ms = TIME_NONE, .fitting = -1};
    assert_same(data_of(&decision, "booking"), booking_view_json(&booking));
    booking.series = 4096;
    json_t *view = booking_view_json(&booking);
    assert_int_equal(json_integer_value(json_object_get(view, "series")), 4096);
    assert_same(data_of(&decision, "booking"), view);
    assert_dump(time_json(booking.start_ms), "\"2026-12-01T02:00:00Z\"");
    assert_dump(shares_json(NULL, 0), "[]");
}

static void test_machine_view(void **state)
{
    (void)state;
    static const struct label items[] = {{"gpu", "h100"}, {"rack", "b-07"}};
    const struct machine_view machine = {.id = 17,
                                         .version = 3,
                                         .name = "gpu-01",
                                         .capacity = {8, 512},
                                         .labels = {2, items},
                                         .state = MACHINE_DRAINING};
    const struct decision decision = {
        .verified = true, .machine = &machine, .next_available_ms = TIME_NONE, .fitting = -1};
    assert_same(data_of(&decision, "machine"), machine_view_json(&machine));
}

/* --- problems --- */

static void test_problems(void **state)
{
    (void)state;
    struct problem problem = {.code = PROBLEM_NOT_FOUND, .detail = "No machine is called a."};
    assert_dump(problem_json(&problem),
                "{\"type\":\"urn:berth:problem:not_found\",\"title\":\"Not found\",\"status\":404,"
                "\"detail\":\"No machine is called a.\"}");
    problem = (struct problem){.code = PROBLEM_REJECTED,
                               .detail = "gpu-01 is draining.",
                               .pointer = "/request",
                               .parameter = "from",
                               .reason = REASON_MACHINE_NOT_UP};
    assert_dump(problem_json(&problem),
                "{\"type\":\"urn:berth:problem:rejected\",\"title\":\"The request was rejected\","
                "\"status\":409,\"detail\":\"gpu-01 is draining.\",\"pointer\":\"/request\","
                "\"parameter\":\"from\",\"reason\":\"machine_not_up\"}");
    problem = (struct problem){
        .code = PROBLEM_UNKNOWN_PARAMETER, .detail = "d", .parameter = "\xFF"};
    json_t *object = problem_json(&problem);
    assert_string_equal(json_string_value(json_object_get(object, "parameter")), "\xEF\xBF\xBD");
    json_decref(object);
}

static void test_problem_codes(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PROBLEM_CODE_COUNT; i++) {
        enum problem_code code = (enum problem_code)i;
        assert_true(problem_status(code) >= 400 && problem_status(code) < 600);
        assert_true(strlen(problem_title(code)) > 0);
        assert_true(name_is_valid(problem_code_name(code), 64, NULL));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_labels),       TEST(test_bad_labels), TEST(test_booking_view),
        TEST(test_machine_view), TEST(test_problems),   TEST(test_problem_codes),
    };
    return cmocka_run_group_tests_name("rows", tests, NULL, NULL);
}
