/* RFC 3339 times and durations; the C library's calendar is the model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/base/timetext.h"

static const struct {
    const char *text;
    int64_t seconds;
} good[] = {
    {"1970-01-01T00:00:00Z", 0},
    {"2026-12-01T02:00:00Z", 1796090400},
    {"2026-12-01T03:00:00+01:00", 1796090400},
    {"2026-11-30T15:30:00-10:30", 1796090400},
    {"2026-12-01T02:00:00-00:00", 1796090400},
    {"2000-02-29T00:00:00Z", 951782400},
    {"2024-02-29T23:59:59Z", 1709251199},
    {"2100-02-28T00:00:00Z", 4107456000},
    {"9999-12-31T23:59:59Z", 253402300799},
    {"1970-01-01T01:00:00+01:00", 0},
    {"2026-12-01T02:00:00+23:59", 1796004060},
};

static const char *const bad[] = {
    "",
    "2026-12-01",
    "2026-12-01T02:00:00",
    "2026-12-01T02:00:00z",
    "2026-12-01t02:00:00Z",
    "2026-12-01 02:00:00Z",
    "2026-12-01T02:00Z",
    "2026-12-01T02:00:00.5Z",
    "2026-12-01T02:00:00.000Z",
    "2026-12-01T02:00:00ZZ",
    "2026-12-01T02:00:00Z ",
    " 2026-12-01T02:00:00Z",
    "2026-12-01T02:00:00+1:00",
    "2026-12-01T02:00:00+0100",
    "2026-12-01T02:00:00+24:00",
    "2026-12-01T02:00:00+01:60",
    "2026-12-01T02:00:00*01:00",
    "2026-12-01T24:00:00Z",
    "2026-12-01T23:60:00Z",
    "2026-12-31T23:59:60Z",
    "2026-13-01T00:00:00Z",
    "2026-00-01T00:00:00Z",
    "2026-01-00T00:00:00Z",
    "2026-04-31T00:00:00Z",
    "2026-02-29T00:00:00Z",
    "2100-02-29T00:00:00Z",
    "1969-12-31T23:59:59Z",
    "1969-12-31T23:59:59-01:00",
    "1970-01-01T00:00:00+00:01",
    "9999-12-31T23:59:59-00:01",
    "+026-12-01T02:00:00Z",
    "2026-1 -01T02:00:00Z",
    "2026-12-01T-2:00:00Z",
    "2026/12/01T02:00:00Z",
    "2026-12-01T02.00.00Z",
};

static void test_good_times(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        int64_t ms = -1;
        if (!timetext_parse(good[i].text, strlen(good[i].text), &ms) ||
            ms != good[i].seconds * 1000)
            fail_msg("%s gave %lld", good[i].text, (long long)ms);
    }
}

static void test_bad_times(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int64_t ms = 42;
        if (timetext_parse(bad[i], strlen(bad[i]), &ms))
            fail_msg("'%s' was taken", bad[i]);
        assert_int_equal(ms, 42);
    }
    int64_t ms;
    assert_false(timetext_parse("2026-12-01T02:00:0\0Z", 20, &ms));
}

/* Exactly sized memory, so that the sanitizer reports an overrun. */
static void test_parse_reads_no_byte_too_many(void **state)
{
    (void)state;
    const char *text = "2026-12-01T03:00:00+01:00";
    for (size_t len = 0; len <= strlen(text); len++) {
        char *copy = malloc(len ? len : 1);
        assert_non_null(copy);
        memcpy(copy, text, len);
        int64_t ms;
        assert_int_equal(timetext_parse(copy, len, &ms), len == strlen(text));
        free(copy);
    }
}

static void test_round_trips_agree_with_the_c_library(void **state)
{
    (void)state;
    /* A step coprime to days and years: some 80,000 times from 1970 to 9999. */
    for (int64_t seconds = 0; seconds <= 253402300799; seconds += 3155693) {
        char text[TIMETEXT_LEN];
        timetext_format(seconds * 1000, text);
        time_t when = (time_t)seconds;
        struct tm tm;
        gmtime_r(&when, &tm);
        char model[TIMETEXT_LEN];
        strftime(model, sizeof(model), "%Y-%m-%dT%H:%M:%SZ", &tm);
        assert_string_equal(text, model);
        int64_t back;
        assert_true(timetext_parse(text, strlen(text), &back));
        assert_int_equal(back, seconds * 1000);
    }
}

static void test_format_edges(void **state)
{
    (void)state;
    char text[TIMETEXT_LEN];
    assert_string_equal(timetext_format(1796090400123, text), "2026-12-01T02:00:00.123Z");
    assert_string_equal(timetext_format(1796090400007, text), "2026-12-01T02:00:00.007Z");
    assert_string_equal(timetext_format(INT64_C(253402300799999), text),
                        "9999-12-31T23:59:59.999Z");
    assert_string_equal(timetext_format(INT64_C(253402300800000), text), "@253402300800000ms");
    assert_string_equal(timetext_format(-1, text), "@-1ms");
    assert_string_equal(timetext_format(INT64_MIN, text), "@-9223372036854775808ms");
    assert_string_equal(timetext_format(INT64_MAX, text), "@9223372036854775807ms");
}

static void test_durations(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        const char *text;
    } rows[] = {
        {0, "0s"},
        {7200000, "2h"},
        {129600000, "1d12h"},
        {2710000, "45m10s"},
        {694861000, "1w1d1h1m1s"},
        {1209600000, "2w"},
        {1500, "1s500ms"},
        {-3600000, "-1h"},
        {INT64_MAX, "15250284452w3d7h12m55s807ms"},
        {INT64_MIN, "-15250284452w3d7h12m55s808ms"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[TIMETEXT_LEN];
        assert_string_equal(timetext_duration(rows[i].ms, text), rows[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_times),
        cmocka_unit_test(test_bad_times),
        cmocka_unit_test(test_parse_reads_no_byte_too_many),
        cmocka_unit_test(test_round_trips_agree_with_the_c_library),
        cmocka_unit_test(test_format_edges),
        cmocka_unit_test(test_durations),
    };
    return cmocka_run_group_tests_name("lib timetext", tests, NULL, NULL);
}
