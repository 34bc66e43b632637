/* lib/base/zone and lib/codec/repeat: local times around both clock changes, by an hour and by half
 * an hour, in both hemispheres. Expected times were derived by hand from the zones' rules;
 * integration-tests compare thousands with Python's zoneinfo. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/limits.h"
#include "lib/base/timetext.h"
#include "lib/base/zone.h"
#include "lib/codec/repeat.h"

static int teardown(void **state)
{
    (void)state;
    zone_forget();
    return 0;
}

static int64_t seconds(const char *text)
{
    int64_t ms;
    if (!timetext_parse(text, strlen(text), &ms))
        fail_msg("not a time: %s", text);
    return ms / 1000;
}

/* --- names --- */

static void test_names(void **state)
{
    (void)state;
    static const char *const good[] = {
        "Europe/Paris",
        "America/New_York",
        "Australia/Lord_Howe",
        "UTC",
        "Etc/GMT+5",
        "America/Argentina/Buenos_Aires",
        "EST5EDT",
        "America/Port-au-Prince",
        "GB-Eire",
    };
    static const char *const bad[] = {
        "",
        "/",
        "/Europe/Paris",
        "Europe/",
        "Europe//Paris",
        "europe/Paris",
        "Europe/paris",
        "../zoneinfo/UTC",
        "Europe/../UTC",
        ".",
        "Europe/.Paris",
        "Etc/-GMT",
        "Etc/+GMT",
        "+05:30",
        "posix/UTC",
        "right/UTC",
        "localtime",
        "posixrules",
        "zone.tab",
        ":UTC",
        "UTC ",
        " UTC",
        "UTC\n",
        "CET-1CEST,M3.5.0",
        "Europe/Zürich",
        "A=B",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        if (!zone_name_is_valid(good[i]) || !zone_find(good[i]))
            fail_msg("refused: %s", good[i]);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (zone_name_is_valid(bad[i]) || zone_find(bad[i]))
            fail_msg("taken: %s", bad[i]);
    }
}

/* Plausible names that are not in the database; some are POSIX rules. */
static void test_unknown_names(void **state)
{
    (void)state;
    static const char *const unknown[] = {"Europe/Atlantis", "UTC+5",   "EST5EDT4", "GMT0BST",
                                          "America",         "A/B/C/D", "Z"};
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        assert_true(zone_name_is_valid(unknown[i]));
        if (zone_find(unknown[i]))
            fail_msg("taken: %s", unknown[i]);
    }
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* Skipped and repeated local times, and the neighbouring seconds. */
static void test_instants(void **state)
{
    (void)state;
    static const struct {
        const char *zone, *local, *at[2];
    } rows[] = {
        {"UTC", "2026-03-29T02:30:00Z", {"2026-03-29T02:30:00Z"}},
        {"Europe/Paris", "2026-07-01T12:00:00Z", {"2026-07-01T10:00:00Z"}},
        {"Europe/Paris", "2026-03-29T01:59:59Z", {"2026-03-29T00:59:59Z"}},
        {"Europe/Paris", "2026-03-29T02:00:00Z", {NULL}},
        {"Europe/Paris", "2026-03-29T02:59:59Z", {NULL}},
        {"Europe/Paris", "2026-03-29T03:00:00Z", {"2026-03-29T01:00:00Z"}},
        {"Europe/Paris", "2026-10-25T01:59:59Z", {"2026-10-24T23:59:59Z"}},
        {"Europe/Paris", "2026-10-25T02:00:00Z", {"2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z"}},
        {"Europe/Paris", "2026-10-25T02:59:59Z", {"2026-10-25T00:59:59Z", "2026-10-25T01:59:59Z"}},
        {"Europe/Paris", "2026-10-25T03:00:00Z", {"2026-10-25T02:00:00Z"}},
        {"Australia/Lord_Howe",
         "2026-04-05T01:45:00Z",
         {"2026-04-04T14:45:00Z", "2026-04-04T15:15:00Z"}},
        {"America/New_York", "2026-03-08T02:15:00Z", {NULL}},
        {"Pacific/Apia", "2011-12-30T12:00:00Z", {NULL}}, /* a skipped day */
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int64_t at[2] = {0};
        int expected = rows[i].at[1] ? 2 : rows[i].at[0] ? 1 : 0;
        int count = zone_instants(zone_find(rows[i].zone), seconds(rows[i].local), at);
        if (count != expected)
            fail_msg("%s in %s: %d instants", rows[i].local, rows[i].zone, count);
        for (int k = 0; k < count; k++)
            assert_int_equal(at[k], seconds(rows[i].at[k]));
    }
}

/* A test database: a real zone under another name, a text file and an empty file. */
static void test_database_is_tzdir(void **state)
{
    (void)state;
    char folder[] = "/tmp/berth-zone-XXXXXX", path[128];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/Text", folder);
    write_file(path, "TZ is this not");
    snprintf(path, sizeof(path), "%s/Empty", folder);
    write_file(path, "");
    snprintf(path, sizeof(path), "%s/Cut", folder);
    write_file(path, "TZif");
    snprintf(path, sizeof(path), "%s/Here", folder);
    assert_int_equal(symlink("/usr/share/zoneinfo/Asia/Kathmandu", path), 0);
    assert_int_equal(setenv("TZDIR", folder, 1), 0);
    assert_null(zone_find("Text"));
    assert_null(zone_find("Empty"));
    assert_null(zone_find("Europe/Paris"));
    struct zone *here = zone_find("Here");
    assert_non_null(here);
    assert_int_equal(zone_offset_s(here, seconds("2026-12-01T00:00:00Z")), 20700);
    assert_int_equal(unsetenv("TZDIR"), 0);
    static const char *const names[] = {"Text", "Empty", "Cut", "Here"};
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rmdir(folder), 0);
}

/* More zones than the cache holds, twice: each keeps its rules. */
static void test_more_zones_than_are_remembered(void **state)
{
    (void)state;
    int64_t at = seconds("2026-12-01T00:00:00Z");
    for (int round = 0; round < 2; round++) {
        for (int hours = -12; hours <= 14; hours++) {
            char name[16];
            snprintf(name, sizeof(name), "Etc/GMT%+d", hours == 0 ? 0 : -hours);
            struct zone *zone = zone_find(name);
            assert_non_null(zone);
            assert_int_equal(zone_offset_s(zone, at), hours * 3600);
            assert_ptr_equal(zone_find(name), zone);
            assert_non_null(zone_find("Europe/Paris"));
        }
        static const char *const others[] = {"Europe/Rome",   "Europe/Berlin", "Europe/Madrid",
                                             "Europe/Oslo",   "Europe/Vienna", "Europe/Prague",
                                             "Europe/Zurich", "Europe/Warsaw"};
        for (size_t i = 0; i < 8; i++)
            assert_int_equal(zone_offset_s(zone_find(others[i]), at), 3600);
    }
}

/* --- instants --- */

/* A row: an instant and the zone's local time. */
static void test_readings(void **state)
{
    (void)state;
    static const struct {
        const char *zone, *reading, *utc;
    } rows[] = {
        {"UTC", "2026-03-29T02:30:00Z", "2026-03-29T02:30:00Z"},
        {"Europe/Paris", "2026-03-29T01:59:59Z", "2026-03-29T00:59:59Z"},
        {"Europe/Paris", "2026-03-29T02:00:00Z", "2026-03-29T01:00:00Z"}, /* skipped: as 03:00 */
        {"Europe/Paris", "2026-03-29T02:59:59Z", "2026-03-29T01:59:59Z"},
        {"Europe/Paris", "2026-03-29T03:00:00Z", "2026-03-29T01:00:00Z"},
        {"Europe/Paris", "2026-10-25T01:59:59Z", "2026-10-24T23:59:59Z"},
        {"Europe/Paris", "2026-10-25T02:00:00Z", "2026-10-25T00:00:00Z"}, /* twice: the first */
        {"Europe/Paris", "2026-10-25T02:59:59Z", "2026-10-25T00:59:59Z"},
        {"Europe/Paris", "2026-10-25T03:00:00Z", "2026-10-25T02:00:00Z"},
        {"America/New_York", "2027-03-14T01:59:59Z", "2027-03-14T06:59:59Z"},
        {"America/New_York", "2027-03-14T02:30:00Z", "2027-03-14T07:30:00Z"},
        {"America/New_York", "2027-03-14T03:00:00Z", "2027-03-14T07:00:00Z"},
        {"America/New_York", "2026-11-01T01:30:00Z", "2026-11-01T05:30:00Z"},
        {"America/New_York", "2026-11-01T02:00:00Z", "2026-11-01T07:00:00Z"},
        /* +10:30 in winter, +11 in summer: the clocks skip or repeat half an hour. */
        {"Australia/Lord_Howe", "2026-10-04T01:59:59Z", "2026-10-03T15:29:59Z"},
        {"Australia/Lord_Howe", "2026-10-04T02:15:00Z", "2026-10-03T15:45:00Z"},
        {"Australia/Lord_Howe", "2026-10-04T02:30:00Z", "2026-10-03T15:30:00Z"},
        {"Australia/Lord_Howe", "2027-04-04T01:29:59Z", "2027-04-03T14:29:59Z"},
        {"Australia/Lord_Howe", "2027-04-04T01:45:00Z", "2027-04-03T14:45:00Z"},
        {"Australia/Lord_Howe", "2027-04-04T02:00:00Z", "2027-04-03T15:30:00Z"},
        {"Asia/Kathmandu", "2026-12-01T05:45:00Z", "2026-12-01T00:00:00Z"},
        /* The whole of 30 December 2011 was skipped. */
        {"Pacific/Apia", "2011-12-29T23:59:59Z", "2011-12-30T09:59:59Z"},
        {"Pacific/Apia", "2011-12-30T12:00:00Z", "2011-12-30T22:00:00Z"},
        {"Pacific/Apia", "2011-12-31T12:00:00Z", "2011-12-30T22:00:00Z"},
        /* Beyond the listed changes of most files: by the footer's rule. */
        {"Europe/Paris", "2100-07-01T12:00:00Z", "2100-07-01T10:00:00Z"},
        {"Europe/Paris", "2899-07-01T12:00:00Z", "2899-07-01T10:00:00Z"},
        {"Europe/Paris", "1970-01-01T01:00:00Z", "1970-01-01T00:00:00Z"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char got[TIMETEXT_LEN];
        int64_t utc_s = zone_utc_s(zone_find(rows[i].zone), seconds(rows[i].reading));
        timetext_format(utc_s * 1000, got);
        if (strcmp(got, rows[i].utc) != 0)
            fail_msg("%s in %s is %s, not %s", rows[i].reading, rows[i].zone, rows[i].utc, got);
    }
}

/* The rule behind the last listed change, for years in any order. */
static void test_any_order(void **state)
{
    (void)state;
    struct zone *zone = zone_find("Europe/Paris");
    static const int64_t day_s = 86400;
    for (int64_t i = 0; i < 4000; i++) {
        int64_t year = i * 1237 % 900; /* the years in a scrambled order */
        int64_t winter = seconds("2000-01-15T00:00:00Z") + year * 146097 / 400 * day_s;
        assert_int_equal(zone_offset_s(zone, winter), 3600);
        assert_int_equal(zone_offset_s(zone, winter + 182 * day_s), 7200);
    }
}

/* A version 2 file with this footer and no changes: what `zic -b slim` writes for a zone whose rule
 * has not changed. */
static void write_slim(const char *path, const char *footer)
{
    char header[44] = "TZif2"; /* zeros, but for one type and four letters */
    header[39] = 1;
    header[43] = 4;
    static const char type[] = "\0\0\0\0\0\0LMT"; /* and its NUL */
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(fwrite(header, 1, 44, file), 44);
        assert_int_equal(fwrite(type, 1, sizeof(type), file), sizeof(type));
    }
    fprintf(file, "\n%s\n", footer);
    assert_int_equal(fclose(file), 0);
}

/* Footers as the database has them, and some that no zone has yet. */
static const struct {
    const char *footer, *at;
    int64_t offset_s; /* -1: no footer */
} footer_rows[] = {
    /* Ireland: winter time is the exception, an hour behind the standard. */
    {"IST-1GMT0,M10.5.0,M3.5.0/1", "2027-03-27T09:00:00Z", 0},
    {"IST-1GMT0,M10.5.0,M3.5.0/1", "2027-03-28T00:59:59Z", 0},
    {"IST-1GMT0,M10.5.0,M3.5.0/1", "2027-03-28T01:00:00Z", 3600},
    {"IST-1GMT0,M10.5.0,M3.5.0/1", "2026-10-25T00:59:59Z", 3600},
    {"IST-1GMT0,M10.5.0,M3.5.0/1", "2026-10-25T01:00:00Z", 0},
    {"CET-1CEST,M3.5.0,M10.5.0/3", "2027-03-28T00:59:59Z", 3600},
    {"CET-1CEST,M3.5.0,M10.5.0/3", "2027-03-28T01:00:00Z", 7200},
    {"<+0530>-5:30", "2027-03-28T01:00:00Z", 19800},
    {"<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "2027-03-28T00:59:59Z", -7200},
    {"<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "2027-03-28T01:00:00Z", -3600},
    {"EET-2EEST,M3.4.4/50,M10.4.4/50", "2027-03-26T23:59:59Z", 7200},
    {"EET-2EEST,M3.4.4/50,M10.4.4/50", "2027-03-27T00:00:00Z", 10800},
    {"<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", "2027-01-01T00:00:00Z", 39600},
    {"AAA-1BBB,J60,J300", "2028-03-01T00:59:59Z", 3600},
    {"AAA-1BBB,J60,J300", "2028-03-01T01:00:00Z", 7200},
    {"AAA-1BBB,59,300", "2028-02-29T01:00:00Z", 7200},
    /* Daylight saving all year. */
    {"XXX3EDT4,0/0,J365/23", "2027-06-01T00:00:00Z", -14400},
    {"XXX3EDT4,0/0,J365/23", "2027-01-01T03:30:00Z", -14400},
    {"CET-1CEST", "2027-01-01T00:00:00Z", -1},
    {"CE-1", "2027-01-01T00:00:00Z", -1},
    {"CET-25", "2027-01-01T00:00:00Z", -1},
    {"CET-1CEST,M3.5.0", "2027-01-01T00:00:00Z", -1},
    {"CET-1CEST,M13.5.0,M10.5.0", "2027-01-01T00:00:00Z", -1},
    {"CET-1CEST,M3.5.0,M10.5.0 ", "2027-01-01T00:00:00Z", -1},
    {"<CET-1", "2027-01-01T00:00:00Z", -1},
};

static void test_footers(void **state)
{
    (void)state;
    char folder[] = "/tmp/berth-zone-XXXXXX", path[128];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/Rule", folder);
    assert_int_equal(setenv("TZDIR", folder, 1), 0);
    for (size_t i = 0; i < sizeof(footer_rows) / sizeof(footer_rows[0]); i++) {
        write_slim(path, footer_rows[i].footer);
        zone_forget();
        const struct zone *zone = zone_find("Rule");
        if ((footer_rows[i].offset_s == -1) != !zone)
            fail_msg("'%s' was %s", footer_rows[i].footer, zone ? "taken" : "refused");
        if (zone && zone_offset_s(zone, seconds(footer_rows[i].at)) != footer_rows[i].offset_s)
            fail_msg("'%s' at %s", footer_rows[i].footer, footer_rows[i].at);
    }
    struct failure f;
    assert_int_equal(zone_check_database(&f), ERR_CONFIG);
    assert_non_null(strstr(f.text, folder));
    assert_int_equal(unsetenv("TZDIR"), 0);
    assert_int_equal(zone_check_database(&f), ERR_OK);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

static void test_values_of_tz(void **state)
{
    (void)state;
    static const char *const good[] = {"",
                                       ":",
                                       "UTC",
                                       "UTC0",
                                       "Europe/Paris",
                                       ":Europe/Paris",
                                       "posix/Europe/Paris",
                                       "CET-1CEST",
                                       "<+03>-3",
                                       "CET-1CEST,M3.5.0,M10.5.0/3",
                                       "EST5EDT",
                                       "/usr/share/zoneinfo/Asia/Tokyo"};
    static const char *const bad[] = {"Europe/Pariss", "Europe",       "paris",          "zone.tab",
                                      "/etc/passwd",   "/nonexistent", "CET-1CEST,M3.5", "+01:00"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        if (!zone_setting_is_valid(good[i]))
            fail_msg("refused: %s", good[i]);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (zone_setting_is_valid(bad[i]))
            fail_msg("taken: %s", bad[i]);
    }
}

/* --- windows --- */

struct series_row {
    const char *zone, *every, *start, *end; /* an end, or seconds */
    int64_t duration_s;
    const char *windows[4]; /* "start end", from the second on */
};

static void check_series(const struct series_row *row)
{
    struct booking_create create = {
        .start_ms = seconds(row->start) * 1000,
        .end_ms = row->end ? seconds(row->end) * 1000 : TIME_NONE,
        .duration_ms = row->end ? TIME_NONE : row->duration_s * 1000,
    };
    struct repeat repeat = {.step_days = strcmp(row->every, "week") == 0 ? 7 : 1,
                            .count = 1,
                            .zone = zone_find(row->zone)};
    assert_non_null(repeat.zone);
    while (repeat.count <= 4 && row->windows[repeat.count - 1])
        repeat.count++;
    struct window windows[5];
    assert_int_equal(repeat_windows(&repeat, &create, windows), REPEAT_OK);
    assert_int_equal(windows[0].start_ms, create.start_ms);
    assert_int_equal(windows[0].end_ms,
                     row->end ? create.end_ms : create.start_ms + row->duration_s * 1000);
    for (int64_t i = 1; i < repeat.count; i++) {
        char start[TIMETEXT_LEN], end[TIMETEXT_LEN], got[2 * TIMETEXT_LEN];
        timetext_format(windows[i].start_ms, start);
        timetext_format(windows[i].end_ms, end);
        snprintf(got, sizeof(got), "%s %s", start, end);
        if (strcmp(got, row->windows[i - 1]) != 0) {
            fail_msg("%s every %s from %s, occurrence %d: %s, not %s", row->zone, row->every,
                     row->start, (int)i + 1, got, row->windows[i - 1]);
        }
    }
}

static const struct series_row series_rows[] = {
    /* 09:00 to 17:00 in Paris, over spring and autumn. */
    {"Europe/Paris",
     "day",
     "2026-03-28T08:00:00Z",
     "2026-03-28T16:00:00Z",
     0,
     {"2026-03-29T07:00:00Z 2026-03-29T15:00:00Z", "2026-03-30T07:00:00Z 2026-03-30T15:00:00Z"}},
    {"Europe/Paris",
     "week",
     "2026-10-20T07:00:00Z",
     "2026-10-20T15:00:00Z",
     0,
     {"2026-10-27T08:00:00Z 2026-10-27T16:00:00Z", "2026-11-03T08:00:00Z 2026-11-03T16:00:00Z"}},
    /* 23:00 to 07:00: the night of the change has 7 or 9 hours, or 8 by its duration. */
    {"Europe/Paris",
     "day",
     "2027-03-26T22:00:00Z",
     "2027-03-27T06:00:00Z",
     0,
     {"2027-03-27T22:00:00Z 2027-03-28T05:00:00Z", "2027-03-28T21:00:00Z 2027-03-29T05:00:00Z"}},
    {"Europe/Paris",
     "day",
     "2027-03-26T22:00:00Z",
     NULL,
     28800,
     {"2027-03-27T22:00:00Z 2027-03-28T06:00:00Z", "2027-03-28T21:00:00Z 2027-03-29T05:00:00Z"}},
    {"Europe/Paris",
     "day",
     "2026-10-23T21:00:00Z",
     "2026-10-24T05:00:00Z",
     0,
     {"2026-10-24T21:00:00Z 2026-10-25T06:00:00Z", "2026-10-25T22:00:00Z 2026-10-26T06:00:00Z"}},
    {"Europe/Paris",
     "day",
     "2026-10-23T21:00:00Z",
     NULL,
     28800,
     {"2026-10-24T21:00:00Z 2026-10-25T05:00:00Z", "2026-10-25T22:00:00Z 2026-10-26T06:00:00Z"}},
    /* 02:30 for an hour: skipped on the 29th, where it is 03:30, and back on the 30th. */
    {"Europe/Paris",
     "day",
     "2026-03-28T01:30:00Z",
     NULL,
     3600,
     {"2026-03-29T01:30:00Z 2026-03-29T02:30:00Z", "2026-03-30T00:30:00Z 2026-03-30T01:30:00Z"}},
    /* Until 05:30 local time: an hour less. */
    {"Europe/Paris",
     "day",
     "2026-03-28T01:30:00Z",
     "2026-03-28T04:30:00Z",
     0,
     {"2026-03-29T01:30:00Z 2026-03-29T03:30:00Z"}},
    /* 02:30 occurs twice on the 25th: the first counts; the end's 03:30 comes an hour later. */
    {"Europe/Paris",
     "day",
     "2026-10-24T00:30:00Z",
     "2026-10-24T01:30:00Z",
     0,
     {"2026-10-25T00:30:00Z 2026-10-25T02:30:00Z", "2026-10-26T01:30:00Z 2026-10-26T02:30:00Z"}},
    {"Europe/Paris",
     "day",
     "2026-10-24T00:30:00Z",
     NULL,
     3600,
     {"2026-10-25T00:30:00Z 2026-10-25T01:30:00Z", "2026-10-26T01:30:00Z 2026-10-26T02:30:00Z"}},
    /* The first occurrence is the requested instant, even the second 02:30 of its day. */
    {"Europe/Paris",
     "day",
     "2026-10-25T01:30:00Z",
     NULL,
     600,
     {"2026-10-26T01:30:00Z 2026-10-26T01:40:00Z"}},
    {"America/New_York",
     "week",
     "2027-03-07T14:00:00Z",
     "2027-03-07T22:00:00Z",
     0,
     {"2027-03-14T13:00:00Z 2027-03-14T21:00:00Z", "2027-03-21T13:00:00Z 2027-03-21T21:00:00Z"}},
    {"America/New_York",
     "day",
     "2026-10-31T05:30:00Z",
     "2026-10-31T06:30:00Z",
     0,
     {"2026-11-01T05:30:00Z 2026-11-01T07:30:00Z", "2026-11-02T06:30:00Z 2026-11-02T07:30:00Z"}},
    {"America/New_York",
     "day",
     "2027-03-13T07:30:00Z",
     NULL,
     1800,
     {"2027-03-14T07:30:00Z 2027-03-14T08:00:00Z", "2027-03-15T06:30:00Z 2027-03-15T07:00:00Z"}},
    /* 01:45 to 03:00 on Lord Howe: autumn repeats 01:30 to 02:00, spring skips 02:00 to 02:30. */
    {"Australia/Lord_Howe",
     "day",
     "2027-04-02T14:45:00Z",
     "2027-04-02T16:00:00Z",
     0,
     {"2027-04-03T14:45:00Z 2027-04-03T16:30:00Z", "2027-04-04T15:15:00Z 2027-04-04T16:30:00Z"}},
    {"Australia/Lord_Howe",
     "day",
     "2026-10-02T15:45:00Z",
     "2026-10-02T16:30:00Z",
     0,
     {"2026-10-03T15:45:00Z 2026-10-03T16:00:00Z", "2026-10-04T15:15:00Z 2026-10-04T16:00:00Z"}},
    {"Australia/Lord_Howe",
     "week",
     "2026-09-26T15:45:00Z",
     NULL,
     600,
     {"2026-10-03T15:45:00Z 2026-10-03T15:55:00Z", "2026-10-10T15:15:00Z 2026-10-10T15:25:00Z"}},
    {"UTC",
     "day",
     "2026-03-28T01:30:00Z",
     "2026-03-28T02:30:00Z",
     0,
     {"2026-03-29T01:30:00Z 2026-03-29T02:30:00Z"}},
    /* Whole days in Cairo, where the clocks skip midnight of 30 April. */
    {"Africa/Cairo",
     "day",
     "2027-04-27T22:00:00Z",
     "2027-04-28T22:00:00Z",
     0,
     {"2027-04-28T22:00:00Z 2027-04-29T22:00:00Z", "2027-04-29T22:00:00Z 2027-04-30T21:00:00Z",
      "2027-04-30T21:00:00Z 2027-05-01T21:00:00Z"}},
    /* Over the end of February, of a leap year too. */
    {"Europe/Paris",
     "day",
     "2028-02-28T11:00:00Z",
     NULL,
     60,
     {"2028-02-29T11:00:00Z 2028-02-29T11:01:00Z", "2028-03-01T11:00:00Z 2028-03-01T11:01:00Z"}},
};

static void test_series(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(series_rows) / sizeof(series_rows[0]); i++)
        check_series(&series_rows[i]);
}

static enum repeat_fault fault_of(const char *start, const char *end, int64_t count)
{
    struct booking_create create = {
        .start_ms = seconds(start) * 1000, .end_ms = seconds(end) * 1000, .duration_ms = TIME_NONE};
    struct window windows[LIMIT_OCCURRENCES];
    const struct repeat repeat = {
        .step_days = 1, .count = count, .zone = zone_find("Europe/Paris")};
    return repeat_windows(&repeat, &create, windows);
}

static void test_refused_series(void **state)
{
    (void)state;
    /* 02:30 to 03:30 on the 29th is 03:30 to 03:30. */
    assert_int_equal(fault_of("2026-03-28T01:30:00Z", "2026-03-28T02:30:00Z", 2), REPEAT_EMPTY);
    assert_int_equal(fault_of("2026-03-28T01:30:00Z", "2026-03-28T02:30:01Z", 2), REPEAT_OK);
    assert_int_equal(fault_of("2026-03-28T01:45:00Z", "2026-03-28T02:30:00Z", 2), REPEAT_EMPTY);
    assert_int_equal(fault_of("2026-03-28T01:30:00Z", "2026-03-28T02:30:00Z", 1), REPEAT_OK);
    assert_int_equal(fault_of("2026-03-29T01:30:00Z", "2026-03-29T02:30:00Z", 9), REPEAT_OK);
    assert_int_equal(fault_of("2899-12-20T00:00:00Z", "2899-12-20T23:59:59Z", 10), REPEAT_OK);
    assert_int_equal(fault_of("2899-12-20T00:00:00Z", "2899-12-20T23:59:59Z", 11), REPEAT_LATE);
    assert_int_equal(fault_of("9999-12-31T00:00:00Z", "9999-12-31T00:00:01Z", 366), REPEAT_LATE);
    assert_int_equal(fault_of("2026-03-28T01:30:00Z", "9999-12-31T00:00:01Z", 1), REPEAT_LATE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_names, teardown),
        cmocka_unit_test_teardown(test_unknown_names, teardown),
        cmocka_unit_test_teardown(test_instants, teardown),
        cmocka_unit_test_teardown(test_database_is_tzdir, teardown),
        cmocka_unit_test_teardown(test_more_zones_than_are_remembered, teardown),
        cmocka_unit_test_teardown(test_readings, teardown),
        cmocka_unit_test_teardown(test_any_order, teardown),
        cmocka_unit_test_teardown(test_footers, teardown),
        cmocka_unit_test_teardown(test_values_of_tz, teardown),
        cmocka_unit_test_teardown(test_series, teardown),
        cmocka_unit_test_teardown(test_refused_series, teardown),
    };
    return cmocka_run_group_tests_name("zone", tests, NULL, NULL);
}
