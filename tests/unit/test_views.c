/* Labels as column text, bookings and machines as JSON, and problem objects. */
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
#include "lib/codec/labels.h"
#include "lib/codec/problem.h"
#include "lib/codec/views.h"
#include "tests/unit/support.h"

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
    assert_string_equal(labels.items[0].key, "Gpu"); /* bytewise order: upper case first */
    assert_string_equal(labels.items[1].key, "a/b");
    const char *text = labels_to_json(arena, &labels);
    assert_string_equal(text, "{\"Gpu\":\"h\\\"100\\\"\",\"a/b\":\"ä\",\"rack\":\"b-07\"}");
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

/* --- views: what an event's data has (test_event.c), and the reader's answers --- */

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
    struct jsonout out;
    jsonout_init(&out, arena, 0);
    jsonout_booking(&out, &booking);
    assert_string_equal(jsonout_finish(&out),
                        "{\"id\":4268035,\"version\":2,\"client\":\"batch-1\",\"user\":\"Zoë\","
                        "\"state\":\"released\",\"start\":\"2026-12-01T02:00:00Z\","
                        "\"end\":\"2026-12-01T02:01:00Z\",\"allocations\":["
                        "{\"machine\":\"gpu-01\",\"gpus\":4,\"memory_gib\":64},"
                        "{\"machine\":\"gpu-02\",\"gpus\":0,\"memory_gib\":1}]}");
    booking.series = 4096;
    booking.share_count = 0;
    jsonout_init(&out, arena, 0);
    jsonout_booking(&out, &booking);
    assert_string_equal(
        jsonout_finish(&out),
        "{\"id\":4268035,\"version\":2,\"series\":4096,\"client\":\"batch-1\","
        "\"user\":\"Zoë\",\"state\":\"released\",\"start\":\"2026-12-01T02:00:00Z\","
        "\"end\":\"2026-12-01T02:01:00Z\",\"allocations\":[]}");
}

static void test_machine_view(void **state)
{
    (void)state;
    static const struct label items[] = {{"gpu", "h\"100\""}, {"rack", "b-07"}};
    const struct machine_view machine = {.id = 17,
                                         .version = 3,
                                         .name = "gpu-01",
                                         .capacity = {8, 512},
                                         .labels = {2, items},
                                         .state = MACHINE_DRAINING};
    struct jsonout out;
    jsonout_init(&out, arena, 0);
    jsonout_machine(&out, &machine);
    assert_string_equal(jsonout_finish(&out),
                        "{\"id\":17,\"version\":3,\"name\":\"gpu-01\",\"gpus\":8,"
                        "\"memory_gib\":512,\"labels\":{\"gpu\":\"h\\\"100\\\"\","
                        "\"rack\":\"b-07\"},\"state\":\"draining\"}");
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
        json_t *object = problem_json(&(struct problem){.code = code, .detail = ""});
        assert_true(json_string_length(json_object_get(object, "title")) > 0);
        const char *type = json_string_value(json_object_get(object, "type"));
        assert_memory_equal(type, PROBLEM_TYPE_PREFIX, strlen(PROBLEM_TYPE_PREFIX));
        assert_true(name_is_valid(type + strlen(PROBLEM_TYPE_PREFIX), 64, NULL));
        json_decref(object);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, arena_setup, arena_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_labels),       TEST(test_bad_labels), TEST(test_booking_view),
        TEST(test_machine_view), TEST(test_problems),   TEST(test_problem_codes),
    };
    return cmocka_run_group_tests_name("views", tests, NULL, NULL);
}
