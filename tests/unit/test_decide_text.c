/* The sentences of decisions (core/decide_text.c), and times that no schema admits. */
#include "core/decide.h"
#include "core/decider.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define NOW_S INT64_C(1796115600) /* 2026-12-01T09:00:00Z */

static struct claims valid_claims(void)
{
    return (struct claims){.issuer = "batch-1",
                           .audience = "test",
                           .user = "alice",
                           .id = "request-1",
                           .has_iat = true,
                           .has_exp = true,
                           .iat_s = NOW_S,
                           .exp_s = NOW_S + 600,
                           .type = REQUEST_BOOKING_CANCEL,
                           .request = {.type = REQUEST_BOOKING_CANCEL}};
}

static void decide_claims(struct world *world, const struct claims *claims, struct decision *out)
{
    const struct credential credential = {.client = "batch-1", .not_after_ms = INT64_MAX};
    decide(world,
           &(struct submission){.seq = 1,
                                .now_ms = NOW_S * 1000,
                                .farm = "test",
                                .credential = &credential,
                                .claims = claims},
           out);
}

static void test_time_text(void **state)
{
    (void)state;
    for (int64_t s = 0; s <= LIMIT_TIME_S; s += 86400 * 7 + 3661) {
        time_t clock = (time_t)s;
        struct tm parts;
        char wanted[64];
        assert_non_null(gmtime_r(&clock, &parts));
        assert_true(strftime(wanted, sizeof(wanted), "%Y-%m-%dT%H:%M:%SZ", &parts) > 0);
        assert_string_equal(decide_time_text(s * 1000 + 999).text, wanted);
    }
    assert_string_equal(decide_time_text(LIMIT_TIME_S * INT64_C(1000)).text,
                        "9999-12-31T23:59:59Z");
    assert_string_equal(decide_time_text(-1).text, "@-1");
    assert_int_equal(time_floor_s(-1), -1000);
    assert_int_equal(time_ceil_s(-1), 0);
    assert_int_equal(time_floor_s(1999), 1000);
    assert_int_equal(time_ceil_s(1001), 2000);
    assert_int_equal(time_ceil_s(2000), 2000);
}

/* A sentence is cut at LIMIT_DETAIL_LEN, never inside a character. */
static void test_detail_is_cut_between_characters(void **state)
{
    (void)state;
    static const char *const characters[] = {"x", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x9A\xA2"};
    for (size_t kind = 0; kind < 4; kind++) {
        for (size_t offset = 0; offset < 4; offset++) {
            char pointer[1024] = "/aaa";
            size_t len = offset;
            while (len < 900) {
                memcpy(pointer + len, characters[kind], strlen(characters[kind]));
                len += strlen(characters[kind]);
            }
            struct world *world = world_new();
            struct claims claims = valid_claims();
            struct decision out;
            world_batch_begin(world);
            claims.pointer = pointer;
            claims.expected = "something right";
            decide_claims(world, &claims, &out);
            assert_int_equal(out.reason, REASON_INVALID_REQUEST);
            size_t detail_len = strlen(out.detail);
            assert_true(detail_len < LIMIT_DETAIL_LEN && detail_len >= LIMIT_DETAIL_LEN - 4);
            size_t char_len = strlen(characters[kind]);
            assert_memory_equal(out.detail + detail_len - char_len, characters[kind], char_len);
            assert_string_equal(out.pointer, pointer);
            world_free(world);
        }
    }
}

/* The codec refuses such times; the decision function accepts any number. */
static void test_any_number_is_a_time(void **state)
{
    (void)state;
    const struct {
        int64_t iat_s, exp_s, nbf_s;
        enum reason reason;
    } rows[] = {
        {NOW_S, INT64_MIN, 0, REASON_EXPIRED},
        {INT64_MIN, INT64_MAX, 0, REASON_LIFETIME_TOO_LONG},
        {INT64_MAX, INT64_MAX, 0, REASON_NOT_YET_VALID},
        {NOW_S, NOW_S + 600, INT64_MAX, REASON_NOT_YET_VALID},
        {NOW_S, NOW_S + 600, INT64_MIN, REASON_UNKNOWN_BOOKING},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct world *world = world_new();
        struct claims claims = valid_claims();
        struct decision out;
        world_batch_begin(world);
        claims.has_nbf = true;
        claims.iat_s = rows[i].iat_s;
        claims.exp_s = rows[i].exp_s;
        claims.nbf_s = rows[i].nbf_s;
        decide_claims(world, &claims, &out);
        assert_int_equal(out.reason, rows[i].reason);
        world_free(world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_time_text),
        cmocka_unit_test(test_detail_is_cut_between_characters),
        cmocka_unit_test(test_any_number_is_a_time),
    };
    return cmocka_run_group_tests_name("decide_text", tests, NULL, NULL);
}
