/* From the words of the command line to request objects, and the table of commands.
 * UPDATE_DOCS=1 writes docs/cli.md instead of comparing it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/spec.h"
#include "cli/typed_request.h"
#include "lib/base/file.h"
#include "lib/base/timetext.h"

#define DOCS    "docs/cli.md"
/* 2026-12-01T10:00:00Z */
#define NOW_MS  (INT64_C(1796119200) * 1000)
#define HOUR_MS INT64_C(3600000)

/* ---- words --------------------------------------------------------------------------------- */

static void test_a_share_is_machine_gpus_memory(void **state)
{
    (void)state;
    static const struct {
        const char *text, *machine;
        bool whole;
        int64_t gpus, memory_gib;
        const char *error;
    } rows[] = {
        {"gpu-01", "gpu-01", true, 0, 0, NULL},
        {"gpu-01:4", "gpu-01", false, 4, 0, NULL},
        {"gpu-01:4:64", "gpu-01", false, 4, 64, NULL},
        {"a.b_c:0:64", "a.b_c", false, 0, 64, NULL},
        {"gpu-01:65535:16777216", "gpu-01", false, 65535, 16777216, NULL},
        {"", NULL, false, 0, 0, "machine's name"},
        {":4", NULL, false, 0, 0, "machine's name"},
        {"gpu 1:4", NULL, false, 0, 0, "machine's name"},
        {"gpu-01:", NULL, false, 0, 0, "whole number"},
        {"gpu-01::64", NULL, false, 0, 0, "whole number"},
        {"gpu-01:x", NULL, false, 0, 0, "whole number"},
        {"gpu-01:-1", NULL, false, 0, 0, "whole number"},
        {"gpu-01:1.5", NULL, false, 0, 0, "whole number"},
        {"gpu-01:4:", NULL, false, 0, 0, "whole number"},
        {"gpu-01:4:64:1", NULL, false, 0, 0, "whole number"},
        {"gpu-01:65536", NULL, false, 0, 0, "0..65535"},
        {"gpu-01:00000000000000000000000001", NULL, false, 0, 0, "expected"},
        {"gpu-01:0", NULL, false, 0, 0, "nothing"},
        {"gpu-01:0:0", NULL, false, 0, 0, "nothing"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct failure f = {0};
        struct cli_share share = {0};
        enum err err = cli_share_parse(rows[i].text, &share, &f);
        if (rows[i].error) {
            if (err != ERR_USAGE || !strstr(f.text, rows[i].error))
                fail_msg("'%s': %s", rows[i].text, err == ERR_OK ? "was taken" : f.text);
            continue;
        }
        assert_int_equal(err, ERR_OK);
        assert_string_equal(share.machine, rows[i].machine);
        assert_int_equal(share.whole, rows[i].whole);
        assert_int_equal(share.gpus, rows[i].gpus);
        assert_int_equal(share.memory_gib, rows[i].memory_gib);
    }
}

static void test_a_machine_name_has_64_characters_at_most(void **state)
{
    (void)state;
    char long_name[80];
    struct cli_share share;
    struct failure f;
    memset(long_name, 'a', sizeof(long_name));
    long_name[64] = '\0';
    assert_int_equal(cli_share_parse(long_name, &share, &f), ERR_OK);
    long_name[64] = 'a';
    long_name[65] = '\0';
    assert_int_equal(cli_share_parse(long_name, &share, &f), ERR_USAGE);
}

static void test_booking_ids_and_labels_are_checked(void **state)
{
    (void)state;
    struct failure f;
    int64_t id;
    json_t *labels = json_object();
    char long_label[80];
    assert_int_equal(cli_id_parse("booking", "4268035", &id, &f), ERR_OK);
    assert_int_equal(id, 4268035);
    assert_int_equal(cli_id_parse("booking", "booking/7", &id, &f), ERR_OK);
    assert_int_equal(id, 7);
    assert_int_equal(cli_id_parse("booking", "9007199254740991", &id, &f), ERR_OK);
    assert_int_equal(cli_id_parse("booking", "9007199254740992", &id, &f), ERR_USAGE);
    assert_int_equal(cli_id_parse("booking", "0", &id, &f), ERR_USAGE);
    assert_int_equal(cli_id_parse("booking", "12x", &id, &f), ERR_USAGE);
    assert_int_equal(cli_id_parse("series", "series/7", &id, &f), ERR_OK);
    assert_int_equal(id, 7);
    assert_int_equal(cli_id_parse("series", "booking/7", &id, &f), ERR_USAGE);
    assert_int_equal(cli_label_add(labels, "zone=a=b", &f), ERR_OK);
    assert_int_equal(cli_label_add(labels, "note=", &f), ERR_OK);
    assert_int_equal(cli_label_add(labels, "zone", &f), ERR_USAGE);
    assert_int_equal(cli_label_add(labels, "=a", &f), ERR_USAGE);
    assert_int_equal(cli_label_add(labels, "zone=c", &f), ERR_USAGE);
    assert_non_null(strstr(f.text, "given twice"));
    assert_int_equal(cli_label_add(labels, "text=\xff", &f), ERR_USAGE);
    memset(long_label, 'a', sizeof(long_label));
    long_label[LIMIT_LABEL_KEY_LEN] = '=';
    long_label[79] = '\0';
    assert_int_equal(cli_label_add(labels, long_label, &f), ERR_OK);
    long_label[LIMIT_LABEL_KEY_LEN] = 'a';
    long_label[LIMIT_LABEL_KEY_LEN + 1] = '=';
    assert_int_equal(cli_label_add(labels, long_label, &f), ERR_USAGE);
    assert_int_equal(json_object_size(labels), 3);
    assert_string_equal(json_string_value(json_object_get(labels, "zone")), "a=b");
    json_decref(labels);
    char *escaped = cli_escape("a/b ?&%é-._~");
    assert_string_equal(escaped, "a%2Fb%20%3F%26%25%C3%A9-._~");
    free(escaped);
}

/* ---- requests ------------------------------------------------------------------------------ */

/* Takes request. */
static void check_request(json_t *request, const char *expected)
{
    char *text = json_dumps(request, JSON_COMPACT);
    assert_string_equal(text, expected);
    free(text);
    json_decref(request);
}

static struct cli_window window_of(const char *start, const char *end, const char *duration)
{
    struct cli_window_text text = {
        .start = start, .end = end, .duration = duration, .now_ms = NOW_MS, .zone = "Europe/Paris"};
    struct cli_window window;
    struct failure f;
    if (cli_window_parse(&text, &window, &f) != ERR_OK)
        fail_msg("%s", f.text);
    return window;
}

static struct cli_shares shares_of(const char *one, const char *two, const char *three)
{
    const char *const texts[] = {one, two, three};
    struct cli_shares shares = {0};
    struct failure f;
    for (size_t i = 0; i < 3 && texts[i]; i++) {
        if (cli_shares_add(&shares, texts[i], &f) != ERR_OK)
            fail_msg("%s", f.text);
    }
    return shares;
}

static void test_requests_are_those_of_the_schema(void **state)
{
    (void)state;
    struct cli_booking booking = {.window = window_of("2026-12-01 13:00", NULL, "2h"),
                                  .shares = shares_of("gpu-01:4:64", "gpu-02:8", NULL)};
    const struct cli_shares two = booking.shares, none = {0};
    struct cli_window w;
    check_request(cli_request_create(&booking),
                  "{\"type\":\"booking.create\",\"start\":\"2026-12-01T12:00:00Z\","
                  "\"duration_s\":7200,\"allocations\":[{\"machine\":\"gpu-01\",\"gpus\":4,"
                  "\"memory_gib\":64},{\"machine\":\"gpu-02\",\"gpus\":8,\"memory_gib\":0}]}");
    /* "now" is the broker's time: the request has no start. */
    booking = (struct cli_booking){.window = window_of("now", "+2h", NULL)};
    check_request(cli_request_create(&booking),
                  "{\"type\":\"booking.create\",\"end\":\"2026-12-01T12:00:00Z\","
                  "\"allocations\":[]}");
    w = window_of(NULL, "13:00", NULL);
    check_request(cli_request_amend(7, &w, NULL),
                  "{\"type\":\"booking.amend\",\"booking\":7,\"end\":\"2026-12-01T12:00:00Z\"}");
    w = (struct cli_window){0};
    check_request(cli_request_amend(7, &w, &none),
                  "{\"type\":\"booking.amend\",\"booking\":7,\"allocations\":[]}");
    check_request(cli_request_amend(7, &w, &two),
                  "{\"type\":\"booking.amend\",\"booking\":7,\"allocations\":[{\"machine\":"
                  "\"gpu-01\",\"gpus\":4,\"memory_gib\":64},{\"machine\":\"gpu-02\",\"gpus\":8,"
                  "\"memory_gib\":0}]}");
    check_request(cli_request_cancel("booking", 7), "{\"type\":\"booking.cancel\",\"booking\":7}");
    check_request(cli_request_cancel("series", 7), "{\"type\":\"booking.cancel\",\"series\":7}");
    struct cli_machine machine = {.name = "gpu-01", .gpus = 8, .memory_gib = 512, .id = -1};
    check_request(cli_request_machine("machine.register", &machine),
                  "{\"type\":\"machine.register\",\"machine\":\"gpu-01\",\"gpus\":8,"
                  "\"memory_gib\":512}");
    machine = (struct cli_machine){
        .name = "gpu-01", .gpus = -1, .memory_gib = -1, .state = "draining", .displace = true};
    check_request(cli_request_machine("machine.update", &machine),
                  "{\"type\":\"machine.update\",\"machine\":\"gpu-01\",\"state\":\"draining\","
                  "\"displace\":true}");
}

static void test_a_window_is_shown_in_its_zone(void **state)
{
    (void)state;
    char buf[CLI_TIME_LEN];
    const char *zone = "Europe/Paris";
    struct cli_window w = window_of("2026-12-01 13:00", NULL, "2h");
    assert_string_equal(cli_window_show(&w, zone, buf),
                        "Tue 2026-12-01 13:00 CET (12:00Z) – 15:00 CET, 2h");
    w = window_of(NULL, NULL, "2h");
    assert_string_equal(cli_window_show(&w, zone, buf), "from now, 2h");
    w = window_of("now", NULL, "2h");
    assert_string_equal(cli_window_show(&w, zone, buf), "from now, 2h");
    w = window_of(NULL, NULL, NULL);
    assert_string_equal(cli_window_show(&w, zone, buf), "");
    assert_int_equal(cli_window_length_ms(&w), 0);
    w = window_of(NULL, NULL, "2h");
    assert_int_equal(cli_window_length_ms(&w), 2 * HOUR_MS);
    w = window_of("13:00", "16:00", NULL);
    assert_int_equal(cli_window_length_ms(&w), 3 * HOUR_MS);
    /* The booking begins at the broker's time. */
    w = window_of("now", "16:00", NULL);
    assert_int_equal(cli_window_length_ms(&w), 0);

    static const struct {
        struct cli_window_text text;
        const char *error;
    } rows[] = {
        {{.end = "13:00", .duration = "2h"}, "--end and --for"},
        {{.start = "2026-12-02 14:00", .end = "2026-12-02 13:00"},
         "--end, Wed 2026-12-02 13:00 CET, is not after --start, Wed 2026-12-02 14:00 CET"},
        {{.start = "2026-12-02 13:00", .end = "2026-12-02 13:00"}, "is not after --start"},
        {{.start = "tomorrow 14:00", .end = "tomorrow 13:00"}, "is not after --start"},
        {{.duration = "0s"}, "--for"},
        {{.duration = "60"}, "--for: '60' is not a duration"},
        {{.start = "evening"}, "--start: 'evening' is not a time"},
        {{.end = "evening"}, "--end: 'evening' is not a time"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cli_window_text text = rows[i].text;
        struct failure f = {0};
        text.now_ms = NOW_MS;
        text.zone = zone;
        assert_int_equal(cli_window_parse(&text, &w, &f), ERR_USAGE);
        if (!strstr(f.text, rows[i].error))
            fail_msg("'%s' is not in '%s'", rows[i].error, f.text);
    }
}

/* ---- any, repeat --------------------------------------------------------------------------- */

static void test_any_takes_count_amounts_and_labels(void **state)
{
    (void)state;
    json_t *labels = json_pack("{s:s}", "gpu", "a100");
    struct failure f = {0};
    struct cli_any_text text = {.count = "4", .gpus = "8", .labels = labels};
    struct cli_booking booking = {.window = window_of("2026-12-01 13:00", NULL, "2h")};
    assert_int_equal(cli_any_parse(&text, &booking.any, &f), ERR_OK);
    check_request(cli_request_create(&booking),
                  "{\"type\":\"booking.create\",\"start\":\"2026-12-01T12:00:00Z\","
                  "\"duration_s\":7200,\"any\":{\"count\":4,\"gpus\":8,\"memory_gib\":0,"
                  "\"labels\":{\"gpu\":\"a100\"}}}");
    text = (struct cli_any_text){.count = "1", .memory_gib = "64"};
    assert_int_equal(cli_any_parse(&text, &booking.any, &f), ERR_OK);
    check_request(cli_request_create(&booking),
                  "{\"type\":\"booking.create\",\"start\":\"2026-12-01T12:00:00Z\","
                  "\"duration_s\":7200,\"any\":{\"count\":1,\"gpus\":0,\"memory_gib\":64}}");
    /* Whole machines; their sizes come from the reader later. */
    text = (struct cli_any_text){.count = "64"};
    assert_int_equal(cli_any_parse(&text, &booking.any, &f), ERR_OK);
    assert_int_equal(booking.any.count, 64);
    assert_true(booking.any.gpus < 0 && booking.any.memory_gib < 0);
    text = (struct cli_any_text){0};
    assert_int_equal(cli_any_parse(&text, &booking.any, &f), ERR_OK);
    assert_int_equal(booking.any.count, 0);

    const struct {
        struct cli_any_text text;
        const char *error;
    } rows[] = {
        {{.count = "0"}, "--any '0': expected a whole number 1..64"},
        {{.count = "65"}, "--any '65': expected a whole number 1..64"},
        {{.count = "gpu-01"}, "--any 'gpu-01': expected a whole number"},
        {{.gpus = "1"}, "add --any"},
        {{.memory_gib = "1"}, "add --any"},
        {{.labels = labels}, "add --any"},
        {{.count = "1", .gpus = "65536"}, "--gpus '65536'"},
        {{.count = "1", .memory_gib = "64G"}, "--mem, in GiB, '64G'"},
        {{.count = "1", .gpus = "0"}, "asks for nothing"},
        {{.count = "1", .gpus = "0", .memory_gib = "0"}, "asks for nothing"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(cli_any_parse(&rows[i].text, &booking.any, &f), ERR_USAGE);
        if (!strstr(f.text, rows[i].error))
            fail_msg("'%s' is not in '%s'", rows[i].error, f.text);
    }
    json_decref(labels);
}

static void test_repeat_makes_a_series(void **state)
{
    (void)state;
    struct failure f = {0};
    struct cli_repeat_text text = {.every = "week", .count = "5", .zone = "Europe/Paris"};
    struct cli_booking booking = {.window = window_of("2026-12-01 13:00", "2026-12-01 15:00", NULL),
                                  .shares = shares_of("gpu-01:4", NULL, NULL)};
    assert_int_equal(cli_repeat_parse(&text, &booking.window, &booking.repeat, &f), ERR_OK);
    check_request(cli_request_create(&booking),
                  "{\"type\":\"booking.create\",\"start\":\"2026-12-01T12:00:00Z\","
                  "\"end\":\"2026-12-01T14:00:00Z\",\"allocations\":[{\"machine\":\"gpu-01\","
                  "\"gpus\":4,\"memory_gib\":0}],\"repeat\":{\"every\":\"week\",\"count\":5,"
                  "\"zone\":\"Europe/Paris\"}}");
    booking.window = window_of("2026-12-01 13:00", NULL, "2h");
    text = (struct cli_repeat_text){.every = "DAILY",
                                    .count = "366",
                                    .skip_conflicts = true,
                                    .default_zone = ":Australia/Lord_Howe"};
    assert_int_equal(cli_repeat_parse(&text, &booking.window, &booking.repeat, &f), ERR_OK);
    check_request(cli_request_create(&booking),
                  "{\"type\":\"booking.create\",\"start\":\"2026-12-01T12:00:00Z\","
                  "\"duration_s\":7200,\"allocations\":[{\"machine\":\"gpu-01\","
                  "\"gpus\":4,\"memory_gib\":0}],\"repeat\":{\"every\":\"day\",\"count\":366,"
                  "\"zone\":\"Australia/Lord_Howe\"},\"skip_conflicts\":true}");
    text = (struct cli_repeat_text){.default_zone = "UTC"};
    assert_int_equal(cli_repeat_parse(&text, &booking.window, &booking.repeat, &f), ERR_OK);
    assert_int_equal(booking.repeat.count, 0);
}

static void test_a_wrong_repeat_is_refused(void **state)
{
    (void)state;
    static const struct {
        struct cli_repeat_text text;
        const char *error;
    } rows[] = {
        {{.count = "5"}, "--count goes with --repeat"},
        {{.zone = "UTC"}, "--zone goes with --repeat"},
        {{.skip_conflicts = true}, "--skip-conflicts goes with --repeat"},
        {{.every = "month", .count = "5", .zone = "UTC"}, "day or week"},
        {{.every = "day", .zone = "UTC"}, "how many times? Give --count N"},
        {{.every = "day", .count = "0", .zone = "UTC"}, "1..366"},
        {{.every = "day", .count = "367", .zone = "UTC"}, "1..366"},
        {{.every = "day", .count = "5", .zone = "Mars/Phobos"}, "--zone: there is no time zone"},
        {{.every = "day", .count = "5"}, "Give --zone"},
        {{.every = "day", .count = "5", .default_zone = ""}, "Give --zone"},
        {{.every = "day", .count = "5", .default_zone = "CET-1CEST"}, "TZ=CET-1CEST is not"},
        {{.every = "day", .count = "5", .default_zone = ":/etc/localtime"}, "Give --zone"},
    };
    struct cli_window window = window_of("2026-12-01 13:00", NULL, "2h");
    struct cli_repeat repeat;
    struct failure f = {0};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(cli_repeat_parse(&rows[i].text, &window, &repeat, &f), ERR_USAGE);
        if (!strstr(f.text, rows[i].error))
            fail_msg("'%s' is not in '%s'", rows[i].error, f.text);
    }
    static const char *const starts[] = {NULL, "now"};
    for (size_t i = 0; i < 2; i++) {
        struct cli_repeat_text text = {.every = "day", .count = "5", .zone = "UTC"};
        window = window_of(starts[i], NULL, "2h");
        assert_int_equal(cli_repeat_parse(&text, &window, &repeat, &f), ERR_USAGE);
        assert_non_null(strstr(f.text, "--repeat needs a --start"));
    }
}

/* ---- amend --------------------------------------------------------------------------------- */

/* "START END" in UTC after the change to a booking from 2026-12-01T12:00Z to 14:00Z. */
static enum err change_booking(const struct cli_change_text *text, char got[100], struct failure *f)
{
    struct cli_change change = {0};
    char start[TIMETEXT_LEN] = "-", end[TIMETEXT_LEN] = "-";
    if (cli_change_parse(text, &change, f) != ERR_OK)
        return f->err;
    assert_false(cli_change_is_empty(&change));
    bool needs = cli_change_needs_booking(&change);
    /* The booking is fetched only if the change needs its times. */
    if (cli_change_resolve(&change, needs ? NOW_MS + 2 * HOUR_MS : 0,
                           needs ? NOW_MS + 4 * HOUR_MS : 0, f) != ERR_OK)
        return f->err;
    if (change.window.has_start)
        timetext_format(change.window.start_ms, start);
    if (change.window.has_end)
        timetext_format(change.window.end_ms, end);
    assert_false(change.window.has_duration);
    snprintf(got, 100, "%s %s", start, end);
    return ERR_OK;
}

/* '!': the error. */
static void test_a_change_moves_one_end_or_both(void **state)
{
    (void)state;
    static const struct {
        const char *start, *end, *duration, *move, *extend, *shorten;
        const char *expected;
    } rows[] = {
        {.end = "16:00", .expected = "- 2026-12-01T15:00:00Z"},
        {.start = "12:00", .expected = "2026-12-01T11:00:00Z -"},
        {.duration = "30m", .expected = "- 2026-12-01T12:30:00Z"},
        {.start = "12:00",
         .duration = "30m",
         .expected = "2026-12-01T11:00:00Z 2026-12-01T11:30:00Z"},
        {.move = "12:00", .expected = "2026-12-01T11:00:00Z 2026-12-01T13:00:00Z"},
        {.extend = "1h", .expected = "- 2026-12-01T15:00:00Z"},
        {.shorten = "1h", .expected = "- 2026-12-01T13:00:00Z"},
        {.start = "14:30",
         .shorten = "15m",
         .expected = "2026-12-01T13:30:00Z 2026-12-01T13:45:00Z"},
        {.shorten = "2h", .expected = "!cancel it instead"},
        {.start = "14:30", .shorten = "30m", .expected = "!cancel it instead"},
        {.shorten = "3h", .expected = "!cancel it instead"},
        {.shorten = "0s", .expected = "!--shorten: that changes nothing"},
        {.extend = "60", .expected = "!--extend: '60' is not a duration"},
        {.move = "evening", .expected = "!--move: 'evening' is not a time"},
        {.move = "12:00", .start = "12:00", .expected = "!--move keeps the length"},
        {.move = "12:00", .duration = "1h", .expected = "!--move keeps the length"},
        {.move = "12:00", .extend = "1h", .expected = "!--move keeps the length"},
        {.extend = "1h", .shorten = "1h", .expected = "!--extend and --shorten"},
        {.extend = "1h", .end = "16:00", .expected = "!--extend and --end"},
        {.shorten = "1h", .duration = "1h", .expected = "!--shorten and --for"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cli_change_text text = {.window = {.start = rows[i].start,
                                                  .end = rows[i].end,
                                                  .duration = rows[i].duration,
                                                  .now_ms = NOW_MS,
                                                  .zone = "Europe/Paris"},
                                       .move = rows[i].move,
                                       .extend = rows[i].extend,
                                       .shorten = rows[i].shorten};
        struct failure f = {0};
        char got[100];
        enum err err = change_booking(&text, got, &f);
        if (rows[i].expected[0] == '!') {
            if (err != ERR_USAGE || !strstr(f.text, rows[i].expected + 1))
                fail_msg("row %zu: '%s' is not in '%s'", i, rows[i].expected, f.text);
            continue;
        }
        assert_int_equal(err, ERR_OK);
        assert_string_equal(got, rows[i].expected);
    }
}

static void test_a_change_without_options_is_empty(void **state)
{
    (void)state;
    struct cli_change_text nothing = {.window = {.now_ms = NOW_MS}};
    struct cli_change change;
    struct failure f;
    assert_int_equal(cli_change_parse(&nothing, &change, &f), ERR_OK);
    assert_true(cli_change_is_empty(&change));
    assert_false(cli_change_needs_booking(&change));
}

static void test_shares_are_set_and_dropped(void **state)
{
    (void)state;
    struct failure f;
    struct cli_shares held = shares_of("gpu-01:4:64", "gpu-02:8", "gpu-03:1");
    struct cli_shares set = shares_of("gpu-02:2:16", "gpu-04:1", NULL);
    assert_int_equal(cli_shares_drop(&held, "gpu-01", &f), ERR_OK);
    assert_int_equal(cli_shares_drop(&held, "gpu-01", &f), ERR_NOT_FOUND);
    for (size_t i = 0; i < set.count; i++)
        assert_int_equal(cli_shares_set(&held, &set.items[i], &f), ERR_OK);
    struct cli_window none = {0};
    check_request(cli_request_amend(7, &none, &held),
                  "{\"type\":\"booking.amend\",\"booking\":7,\"allocations\":["
                  "{\"machine\":\"gpu-02\",\"gpus\":2,\"memory_gib\":16},"
                  "{\"machine\":\"gpu-03\",\"gpus\":1,\"memory_gib\":0},"
                  "{\"machine\":\"gpu-04\",\"gpus\":1,\"memory_gib\":0}]}");
    assert_int_equal(cli_shares_add(&held, "gpu-04:2", &f), ERR_USAGE);
    assert_non_null(strstr(f.text, "given twice"));
    char name[32];
    for (int i = 0; held.count < LIMIT_ALLOCATIONS; i++) {
        snprintf(name, sizeof(name), "cpu-%d:0:1", i);
        assert_int_equal(cli_shares_add(&held, name, &f), ERR_OK);
    }
    assert_int_equal(cli_shares_add(&held, "cpu-x:0:1", &f), ERR_USAGE);
    assert_non_null(strstr(f.text, "at most 64 machines"));
    /* At the limit an existing share can still be replaced. */
    assert_int_equal(cli_shares_set(&held, &set.items[0], &f), ERR_OK);
}

/* ---- commands ------------------------------------------------------------------------------ */

static const struct cli_command *find(const char *first, const char *second, struct failure *f)
{
    const char *words[] = {first, second};
    size_t used = 0;
    const struct cli_command *command = cli_command_find(words, second ? 2 : 1, &used, f);
    if (command)
        assert_int_equal(used, strchr(command->spec.name + 6, ' ') ? 2 : 1);
    return command;
}

static void test_no_option_hides_another(void **state)
{
    (void)state;
    struct failure f;
    for (size_t i = 0; i < cli_command_count; i++) {
        const struct command_spec *spec = &cli_commands[i].spec;
        const struct option_spec *option;
        assert_true(strncmp(spec->name, "berth ", 6) == 0);
        assert_non_null(strstr(spec->example, spec->name));
        assert_non_null(spec->description);
        assert_non_null(cli_commands[i].run);
        /* No option twice, and none hides a common option. */
        for (option = spec->options; option && option->name; option++) {
            for (const struct option_spec *o = option + 1; o->name; o++)
                assert_string_not_equal(option->name, o->name);
            for (const struct option_spec *o = spec->common; o->name; o++) {
                assert_string_not_equal(option->name, o->name);
                assert_true(!option->letter || option->letter != o->letter);
            }
        }
    }
    assert_string_equal(find("book", NULL, &f)->spec.name, "berth book");
    assert_string_equal(find("book", "gpu-01", &f)->spec.name, "berth book");
    assert_string_equal(find("machine", "add", &f)->spec.name, "berth machine add");
    assert_null(find("bok", NULL, &f));
    assert_non_null(strstr(f.text, "did you mean 'book'?"));
    assert_null(find("machine", NULL, &f));
    assert_non_null(strstr(f.text, "machine add, machine update"));
    assert_null(find("machine", "ad", &f));
    assert_non_null(strstr(f.text, "did you mean 'machine add'?"));
    assert_null(find("xyzzy", NULL, &f));
    assert_int_equal(f.err, ERR_USAGE);
}

/* A terminal has 80 columns. */
static void test_help_fits_80_columns(void **state)
{
    (void)state;
    for (size_t i = 0; i < cli_command_count; i++) {
        char *text = NULL;
        size_t len = 0;
        FILE *stream = open_memstream(&text, &len);
        options_help(&cli_commands[i].spec, stream);
        fclose(stream);
        for (const char *line = text; *line; line += strcspn(line, "\n") + 1) {
            if (strcspn(line, "\n") > 80) {
                fail_msg("%s --help: '%.*s'", cli_commands[i].spec.name, (int)strcspn(line, "\n"),
                         line);
            }
        }
        free(text);
    }
}

static void test_the_documentation_is_current(void **state)
{
    (void)state;
    char *text = NULL, *committed = NULL;
    size_t len = 0;
    FILE *stream = open_memstream(&text, &len);
    cli_print_markdown(stream);
    fclose(stream);
    if (getenv("UPDATE_DOCS")) {
        FILE *file = fopen(DOCS, "w");
        assert_non_null(file);
        assert_int_equal(fwrite(text, 1, len, file), len);
        assert_int_equal(fclose(file), 0);
    }
    struct failure f = {0};
    if (file_read_text(DOCS, 1024 * 1024, &committed, &f) != ERR_OK)
        fail_msg("%s (run from the repository's root)", f.text);
    if (strcmp(text, committed) != 0)
        fail_msg(DOCS " is not what the table says: run this test with UPDATE_DOCS=1");
    free(committed);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_share_is_machine_gpus_memory),
        cmocka_unit_test(test_a_machine_name_has_64_characters_at_most),
        cmocka_unit_test(test_a_change_without_options_is_empty),
        cmocka_unit_test(test_booking_ids_and_labels_are_checked),
        cmocka_unit_test(test_requests_are_those_of_the_schema),
        cmocka_unit_test(test_a_window_is_shown_in_its_zone),
        cmocka_unit_test(test_any_takes_count_amounts_and_labels),
        cmocka_unit_test(test_repeat_makes_a_series),
        cmocka_unit_test(test_a_wrong_repeat_is_refused),
        cmocka_unit_test(test_a_change_moves_one_end_or_both),
        cmocka_unit_test(test_shares_are_set_and_dropped),
        cmocka_unit_test(test_no_option_hides_another),
        cmocka_unit_test(test_help_fits_80_columns),
        cmocka_unit_test(test_the_documentation_is_current),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
