/* Times and durations as people type them: every form, every refusal, and clock changes in three
 * zones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "lib/base/cli_time.h"
#include "lib/base/timetext.h"

/* Tuesday. 11:00 in Paris, 05:00 in New York, 21:00 on Lord Howe. */
#define NOW "2026-12-01T10:00:00Z"

static int64_t ms_of(const char *text)
{
    int64_t ms = 0;
    assert_true(timetext_parse(text, strlen(text), &ms));
    return ms;
}

struct row {
    const char *zone, *text;
    const char *expected; /* an instant, or '!' and a part of the error */
};

static void check(const struct row *row, int64_t now_ms)
{
    struct failure f = {0};
    char got[TIMETEXT_LEN];
    int64_t ms = -1;
    enum err err = cli_time_parse(row->text, now_ms, row->zone, &ms, &f);
    if (row->expected[0] == '!') {
        if (err != ERR_USAGE || !strstr(f.text, row->expected + 1)) {
            fail_msg("'%s' in %s: '%s' is not in '%s'", row->text, row->zone, row->expected + 1,
                     err == ERR_OK ? timetext_format(ms, got) : f.text);
        }
        assert_int_equal(ms, -1);
    } else if (err != ERR_OK || ms != ms_of(row->expected)) {
        fail_msg("'%s' in %s: expected %s, got %s", row->text, row->zone, row->expected,
                 err == ERR_OK ? timetext_format(ms, got) : f.text);
    }
}

static void check_rows(const struct row *rows, size_t count, int64_t now_ms)
{
    for (size_t i = 0; i < count; i++)
        check(&rows[i], now_ms);
}
#define CHECK(rows, now) check_rows(rows, sizeof(rows) / sizeof((rows)[0]), ms_of(now))

static void forms(void **state)
{
    (void)state;
    const char *paris = "Europe/Paris";
    const struct row rows[] = {
        {paris, "2026-12-01T03:00:00+01:00", "2026-12-01T02:00:00Z"},
        {paris, "2026-12-01T03:00:00Z", "2026-12-01T03:00:00Z"},
        {paris, "2026-12-01 03:00", "2026-12-01T02:00:00Z"},
        {paris, "2026-12-01T03:00", "2026-12-01T02:00:00Z"},
        {paris, "2026-07-01 03:00:30", "2026-07-01T01:00:30Z"},
        {paris, "11:00", "2026-12-01T10:00:00Z"},
        {paris, "10:59", "2026-12-02T09:59:00Z"},
        {paris, "23:30", "2026-12-01T22:30:00Z"},
        {paris, "today", "2026-11-30T23:00:00Z"},
        {paris, "today 09:00", "2026-12-01T08:00:00Z"},
        {paris, "tomorrow", "2026-12-01T23:00:00Z"},
        {paris, "Tomorrow 03:00", "2026-12-02T02:00:00Z"},
        {paris, "tue 12:00", "2026-12-01T11:00:00Z"},
        {paris, "tue 10:00", "2026-12-08T09:00:00Z"},
        {paris, "tue", "2026-12-07T23:00:00Z"},
        {paris, "mon 08:00", "2026-12-07T07:00:00Z"},
        {paris, "WED", "2026-12-01T23:00:00Z"},
        {paris, "now", NOW},
        {paris, "now+90m", "2026-12-01T11:30:00Z"},
        {paris, "+2h", "2026-12-01T12:00:00Z"},
        {paris, "+1-00:00:00", "2026-12-02T10:00:00Z"},
        {paris, "@1796090400", "2026-12-01T02:00:00Z"},
        {"UTC", "03:00", "2026-12-02T03:00:00Z"},
        {"America/New_York", "05:00", NOW},
        {"Australia/Lord_Howe", "21:00", NOW},
    };
    CHECK(rows, NOW);
    /* "now" is rounded up to the second; the current minute counts as past. */
    const struct row late[] = {
        {paris, "now", "2026-12-01T10:00:01Z"},
        {paris, "11:00", "2026-12-02T10:00:00Z"},
    };
    check_rows(late, 2, ms_of(NOW) + 1);
}

static void spoken_forms(void **state)
{
    (void)state;
    const char *paris = "Europe/Paris";
    const struct row rows[] = {
        {paris, "9:00", "2026-12-02T08:00:00Z"},
        {paris, "9am", "2026-12-02T08:00:00Z"},
        {paris, "9 am", "2026-12-02T08:00:00Z"},
        {paris, "9:30 PM", "2026-12-01T20:30:00Z"},
        {paris, "12am", "2026-12-01T23:00:00Z"},
        {paris, "12pm", "2026-12-01T11:00:00Z"},
        {paris, "noon", "2026-12-01T11:00:00Z"},
        {paris, "tomorrow at noon", "2026-12-02T11:00:00Z"},
        {paris, "24:00", "2026-12-01T23:00:00Z"},
        {paris, "today 24:00", "2026-12-01T23:00:00Z"},
        {paris, "2026-12-01 24:00", "2026-12-01T23:00:00Z"},
        {paris, "monday", "2026-12-06T23:00:00Z"},
        {paris, "Monday 9:00", "2026-12-07T08:00:00Z"},
        {paris, "next monday", "2026-12-06T23:00:00Z"},
        {paris, "tuesday 12:00", "2026-12-01T11:00:00Z"},
        {paris, "next tuesday 12:00", "2026-12-08T11:00:00Z"},
        {paris, "thurs 9am", "2026-12-03T08:00:00Z"},
        {paris, "Dec 1 9:00", "2027-12-01T08:00:00Z"},
        {paris, "Dec 1 12:00", "2026-12-01T11:00:00Z"},
        {paris, "dec 24 9pm", "2026-12-24T20:00:00Z"},
        {paris, "1 December 2026 9:00", "2026-12-01T08:00:00Z"},
        {paris, "December 1, 2026, 9:00", "2026-12-01T08:00:00Z"},
        {paris, "Feb 29 9:00", "2028-02-29T08:00:00Z"},
        {paris, "Mar 1 0:00", "2027-02-28T23:00:00Z"},
        {paris, "2026-12-01 03:00 UTC", "2026-12-01T03:00:00Z"},
        {paris, "tomorrow 9:00 UTC", "2026-12-02T09:00:00Z"},
        {paris, "9:00 utc", "2026-12-02T09:00:00Z"},
        {paris, "2026-12-01T03:00Z", "2026-12-01T03:00:00Z"},
        {paris, "2026-12-01T03:00+02:00", "2026-12-01T01:00:00Z"},
        {paris, "now + 2 hours", "2026-12-01T12:00:00Z"},
        {paris, "+2h30", "2026-12-01T12:30:00Z"},
        {"UTC", "9999-12-31 23:59", "9999-12-31T23:59:00Z"},
    };
    CHECK(rows, NOW);
}

/* Ends of windows: the first moment after the start that has this name. */
static void after_a_start(void **state)
{
    (void)state;
    static const struct {
        const char *start, *text, *expected;
    } rows[] = {
        /* The start is a Friday evening. */
        {"2026-12-04T20:00:00Z", "mon 08:00", "2026-12-07T08:00:00Z"},
        {"2026-12-04T20:00:00Z", "fri 20:00", "2026-12-11T20:00:00Z"},
        {"2026-12-04T20:00:00Z", "fri 20:01", "2026-12-04T20:01:00Z"},
        {"2026-12-04T20:00:00Z", "20:00", "2026-12-05T20:00:00Z"},
        {"2026-12-04T20:00:00Z", "22:00", "2026-12-04T22:00:00Z"},
        {"2026-12-04T20:00:00Z", "24:00", "2026-12-05T00:00:00Z"},
        {"2026-12-04T20:00:00Z", "noon", "2026-12-05T12:00:00Z"},
        {"2026-12-04T20:00:00Z", "Dec 3 9:00", "2027-12-03T09:00:00Z"},
        /* These count from now. */
        {"2026-12-04T20:00:00Z", "tomorrow 08:00", "2026-12-02T08:00:00Z"},
        {"2026-12-04T20:00:00Z", "+2h", "2026-12-01T12:00:00Z"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct failure f;
        char got[TIMETEXT_LEN];
        int64_t ms = -1;
        assert_int_equal(cli_time_parse_after(rows[i].text, ms_of(NOW), ms_of(rows[i].start) + 1,
                                              "UTC", &ms, &f),
                         ERR_OK);
        if (ms != ms_of(rows[i].expected))
            fail_msg("%s after %s: %s", rows[i].text, rows[i].start, timetext_format(ms, got));
    }
}

static void refusals(void **state)
{
    (void)state;
    const struct row rows[] = {
        {"UTC", "", "!is not a time"},
        {"UTC", "soon", "!is not a time"},
        {"UTC", "2026-12-01", "!is a day"},
        {"UTC", "2026-02-30 03:00", "!is not a time"},
        {"UTC", "2026-12-01x03:00", "!is not a time"},
        {"UTC", "25:00", "!is not a time"},
        {"UTC", "03:60", "!is not a time"},
        {"UTC", "24:01", "!is not a time"},
        {"UTC", "13pm", "!is not a time"},
        {"UTC", "0am", "!is not a time"},
        {"UTC", "9", "!is not a time"},
        {"UTC", "mo", "!is not a time"},
        {"UTC", "Dec 1", "!write 'Dec 1 00:00'"},
        {"UTC", "Dec 32 9:00", "!is not a time"},
        {"UTC", "Feb 29 2027 9:00", "!is not a time"},
        {"UTC", "Feb 30 9:00", "!is not a time"},
        {"UTC", "01/12/2026 9:00", "!is not a time"},
        {"UTC", "next", "!is not a time"},
        {"UTC", "next tomorrow", "!is not a time"},
        {"UTC", "tomorrow 9:00 CET", "!is not a time"},
        {"UTC", "tomorrow 9:00 9:00", "!is not a time"},
        {"UTC", "10000-01-01 00:00", "!is not a time"},
        {"UTC", "tomorrow                                                    tomorrow 9:00",
         "!is not a time"},
        {"UTC", "@", "!is not a time"},
        {"UTC", "@17e3", "!is not a time"},
        {"UTC", "@999999999999", "!after the year 9999"},
        {"UTC", "now-1h", "!is not a time"},
        {"UTC", "+90", "!a number alone"},
        {"UTC", "+1M", "!months"},
        {"UTC", "1969-12-31 00:00", "!is not a time"},
    };
    CHECK(rows, NOW);
}

static void clock_changes(void **state)
{
    (void)state;
    const struct row rows[] = {
        /* Paris 2027-03-28: 02:00 CET becomes 03:00 CEST. */
        {"Europe/Paris", "2027-03-28 01:59", "2027-03-28T00:59:00Z"},
        {"Europe/Paris", "2027-03-28 02:00", "!does not exist in Europe/Paris"},
        {"Europe/Paris", "2027-03-28 02:30",
         "!write 2027-03-28T02:30:00+02:00 (00:30Z) or 2027-03-28T02:30:00+01:00 (01:30Z)"},
        {"Europe/Paris", "2027-03-28 03:00", "2027-03-28T01:00:00Z"},
        /* Paris 2026-10-25: 03:00 CEST becomes 02:00 CET. */
        {"Europe/Paris", "2026-10-25 01:59", "2026-10-24T23:59:00Z"},
        {"Europe/Paris", "2026-10-25 02:00", "!happens twice"},
        {"Europe/Paris", "2026-10-25 02:59:59",
         "!write 2026-10-25T02:59:59+02:00 (00:59Z) or 2026-10-25T02:59:59+01:00 (01:59Z)"},
        {"Europe/Paris", "2026-10-25 03:00", "2026-10-25T02:00:00Z"},
        {"Europe/Paris", "2026-10-25T02:30:00+01:00", "2026-10-25T01:30:00Z"},
        /* New York 2027-03-14: 02:00 EST becomes 03:00 EDT; 2026-11-01: 02:00 EDT, 01:00 EST. */
        {"America/New_York", "2027-03-14 01:59:59", "2027-03-14T06:59:59Z"},
        {"America/New_York", "2027-03-14 02:30",
         "!write 2027-03-14T02:30:00-04:00 (06:30Z) or 2027-03-14T02:30:00-05:00 (07:30Z)"},
        {"America/New_York", "2027-03-14 03:00", "2027-03-14T07:00:00Z"},
        {"America/New_York", "2026-11-01 01:30",
         "!write 2026-11-01T01:30:00-04:00 (05:30Z) or 2026-11-01T01:30:00-05:00 (06:30Z)"},
        {"America/New_York", "2026-11-01 02:00", "2026-11-01T07:00:00Z"},
        /* Lord Howe changes by half an hour: 2026-10-04 02:00 becomes 02:30, 2027-04-04 02:00
         * becomes 01:30. */
        {"Australia/Lord_Howe", "2026-10-04 01:59", "2026-10-03T15:29:00Z"},
        {"Australia/Lord_Howe", "2026-10-04 02:15",
         "!write 2026-10-04T02:15:00+11:00 (15:15Z) or 2026-10-04T02:15:00+10:30 (15:45Z)"},
        {"Australia/Lord_Howe", "2026-10-04 02:30", "2026-10-03T15:30:00Z"},
        {"Australia/Lord_Howe", "2027-04-04 01:45",
         "!write 2027-04-04T01:45:00+11:00 (14:45Z) or 2027-04-04T01:45:00+10:30 (15:15Z)"},
        {"Australia/Lord_Howe", "2027-04-04 02:00", "2027-04-03T15:30:00Z"},
    };
    CHECK(rows, NOW);
    /* Forms without a date meet clock changes too. */
    const struct row near[] = {
        {"Europe/Paris", "02:30", "!does not exist"},
        {"Europe/Paris", "sun 02:30", "!does not exist"},
        {"Europe/Paris", "tomorrow 02:30", "!does not exist"},
        {"Europe/Paris", "now+24h", "2027-03-28T12:00:00Z"},
    };
    CHECK(near, "2027-03-27T12:00:00Z");
}

static const struct {
    const char *text;
    int64_t seconds;   /* -1: refused */
    const char *error; /* a part of the refusal */
} duration_rows[] = {
    {"1w2d3h4m5s", 7 * 86400 + 2 * 86400 + 3 * 3600 + 4 * 60 + 5, NULL},
    {"2h", 7200, NULL},
    {"90m", 5400, NULL},
    {"1d12h", 129600, NULL},
    {"0s", 0, NULL},
    {"04:30:00", 16200, NULL},
    {"36:00:00", 129600, NULL},
    {"2-03:00:00", 2 * 86400 + 3 * 3600, NULL},
    {"120-00:00:01", 120 * 86400 + 1, NULL},
    {"2h30", 9000, NULL},
    {"1h30", 5400, NULL},
    {"90min", 5400, NULL},
    {"2 hours", 7200, NULL},
    {"1 day 12 hours", 129600, NULL},
    {"1hr 5 mins", 3900, NULL},
    {"2 h", 7200, NULL},
    {"PT2H", 7200, NULL},
    {"P1DT2H30M", 86400 + 9000, NULL},
    {"P2W", 14 * 86400, NULL},
    {"P1M", -1, "months"},
    {"P1Y", -1, "expected"},
    {"PT", -1, "expected"},
    {"P", -1, "expected"},
    {"PT1D", -1, "expected"},
    {"2h5", -1, "expected"},
    {"2h60", -1, "expected"},
    {"1d12", -1, "expected"},
    {"2 fortnights", -1, "expected"},
    {"90", -1, "a number alone"},
    {"4:30", -1, "two numbers"},
    {"04:30", -1, "two numbers"},
    {"1.5h", -1, "fractions"},
    {"1,5h", -1, "fractions"},
    {"1M", -1, "months"},
    {"1mo", -1, "months"},
    {"1month", -1, "months"},
    {"", -1, "expected"},
    {"h", -1, "expected"},
    {"2h1d", -1, "expected"},
    {"1h1h", -1, "expected"},
    {"2H", -1, "expected"},
    {"-2h", -1, "expected"},
    {"1y", -1, "expected"},
    {"1-24:00:00", -1, "expected"},
    {"00:60:00", -1, "expected"},
    {"1:00:00", -1, "expected"},
    {"999999999w", -1, "longer"},
};

static void durations(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(duration_rows) / sizeof(duration_rows[0]); i++) {
        struct failure f = {0};
        int64_t ms = -1;
        enum err err = cli_time_parse_duration(duration_rows[i].text, &ms, &f);
        if (duration_rows[i].seconds >= 0 &&
            (err != ERR_OK || ms != duration_rows[i].seconds * 1000))
            fail_msg("'%s': %s", duration_rows[i].text, err == ERR_OK ? "another value" : f.text);
        if (duration_rows[i].seconds < 0 &&
            (err != ERR_USAGE || !strstr(f.text, duration_rows[i].error)))
            fail_msg("'%s': %s", duration_rows[i].text, err == ERR_OK ? "was taken" : f.text);
    }
}

static void windows(void **state)
{
    (void)state;
    char buf[CLI_TIME_LEN];
    static const struct {
        const char *zone, *start, *end, *expected;
    } rows[] = {
        {"Europe/Paris", "2026-12-01T02:00:00Z", "2026-12-01T04:00:00Z",
         "Tue 2026-12-01 03:00 CET (02:00Z) – 05:00 CET, 2h"},
        {"Europe/Paris", "2026-12-01T22:00:00Z", "2026-12-02T00:00:30Z",
         "Tue 2026-12-01 23:00 CET (22:00Z) – Wed 2026-12-02 01:00:30 CET, 2h30s"},
        {"Europe/Paris", "2026-11-30T23:30:00Z", "2026-12-01T04:00:00Z",
         "Tue 2026-12-01 00:30 CET (Mon 2026-11-30 23:30Z) – 05:00 CET, 4h30m"},
        {"Europe/Paris", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z",
         "Sun 2026-10-25 02:30 CEST (00:30Z) – 02:30 CET, 1h"},
        {"UTC", "2026-12-01T02:00:00Z", "2026-12-01T04:00:00Z",
         "Tue 2026-12-01 02:00 UTC – 04:00 UTC, 2h"},
        {"Australia/Lord_Howe", "2026-12-01T02:00:00Z", "2026-12-01T04:00:00Z",
         "Tue 2026-12-01 13:00 +11 (02:00Z) – 15:00 +11, 2h"},
        {"America/New_York", NULL, "2026-12-01T04:00:00Z",
         "now – Mon 2026-11-30 23:00 EST (Tue 2026-12-01 04:00Z)"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int64_t start_ms = rows[i].start ? ms_of(rows[i].start) : -1;
        cli_time_window(start_ms, ms_of(rows[i].end), rows[i].zone, buf);
        assert_string_equal(buf, rows[i].expected);
    }
    assert_string_equal(cli_time_show(ms_of(NOW), "Europe/Paris", buf), "Tue 2026-12-01 11:00 CET");
    assert_string_equal(cli_time_exact(ms_of(NOW), "Europe/Paris", buf),
                        "2026-12-01T11:00:00+01:00");
    assert_string_equal(cli_time_exact(ms_of(NOW), "UTC", buf), NOW);
    assert_string_equal(cli_time_exact(ms_of(NOW), "America/St_Johns", buf),
                        "2026-12-01T06:30:00-03:30");
    assert_string_equal(cli_time_exact(ms_of(NOW) + 999, "Asia/Kolkata", buf),
                        "2026-12-01T15:30:00+05:30");
    /* Liberia's offset to UTC once had seconds. */
    assert_string_equal(cli_time_exact(0, "Africa/Monrovia", buf), "1970-01-01T00:00:00Z");
}

static void zones(void **state)
{
    (void)state;
    struct failure f;
    static const char *const good[] = {"UTC", "Europe/Paris", "Etc/GMT+3",
                                       "America/Argentina/Ushuaia"};
    static const char *const bad[] = {"",
                                      "Europe",
                                      "Europe/Pariss",
                                      "/etc/passwd",
                                      "zone.tab",
                                      "localtime",
                                      "posix/Europe/Paris",
                                      "../x",
                                      "CET-1CEST,M3.5",
                                      "Europe//Paris"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_int_equal(cli_time_check_zone(good[i], &f), ERR_OK);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(cli_time_check_zone(bad[i], &f), ERR_USAGE);
    assert_true(cli_time_is_now("now"));
    assert_true(cli_time_is_now("NOW"));
    assert_false(cli_time_is_now("now+0s"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms),         cmocka_unit_test(refusals),
        cmocka_unit_test(clock_changes), cmocka_unit_test(durations),
        cmocka_unit_test(windows),       cmocka_unit_test(zones),
        cmocka_unit_test(after_a_start), cmocka_unit_test(spoken_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
