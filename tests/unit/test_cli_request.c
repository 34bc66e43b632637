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

#include "lib/file.h"
#include "producer/cli.h"
#include "producer/cli_request.h"
#include "producer/cli_spec.h"

#define DOCS   "docs/cli.md"
/* 2026-12-01T10:00:00Z */
#define NOW_MS (INT64_C(1796119200) * 1000)

/* ---- words --------------------------------------------------------------------------------- */

static void shares(void **state)
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
        {"gpu-01:00000000000000000000000001", NULL, false, 0, 0, "is expected"},
        {"gpu-01:0", NULL, false, 0, 0, "nothing"},
        {"gpu-01:0:0", NULL, false, 0, 0, "nothing"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
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
    char long_name[80];
    struct cli_share share;
    struct failure f;
    memset(long_name, 'a', sizeof long_name);
    long_name[64] = '\0';
    assert_int_equal(cli_share_parse(long_name, &share, &f), ERR_OK);
    long_name[64] = 'a';
    long_name[65] = '\0';
    assert_int_equal(cli_share_parse(long_name, &share, &f), ERR_USAGE);
}

static void small_words(void **state)
{
    (void)state;
    struct failure f;
    int64_t id;
    size_t len;
    assert_int_equal(cli_booking_parse("4268035", &id, &f), ERR_OK);
    assert_int_equal(id, 4268035);
    assert_int_equal(cli_booking_parse("booking/7", &id, &f), ERR_OK);
    assert_int_equal(id, 7);
    assert_int_equal(cli_booking_parse("9007199254740991", &id, &f), ERR_OK);
    assert_int_equal(cli_booking_parse("9007199254740992", &id, &f), ERR_USAGE);
    assert_int_equal(cli_booking_parse("0", &id, &f), ERR_USAGE);
    assert_int_equal(cli_booking_parse("12x", &id, &f), ERR_USAGE);
    assert_int_equal(cli_label_parse("zone=a=b", &len, &f), ERR_OK);
    assert_int_equal(len, 4);
    assert_int_equal(cli_label_parse("zone=", &len, &f), ERR_OK);
    assert_int_equal(cli_label_parse("zone", &len, &f), ERR_USAGE);
    assert_int_equal(cli_label_parse("=a", &len, &f), ERR_USAGE);
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

static void requests(void **state)
{
    (void)state;
    const struct cli_share two[] = {{.machine = "gpu-01", .gpus = 4, .memory_gib = 64},
                                    {.machine = "gpu-02", .gpus = 8}};
    struct cli_window w = window_of("2026-12-01 13:00", NULL, "2h");
    check_request(cli_request_create(&w, two, 2),
                  "{\"type\":\"booking.create\",\"start\":\"2026-12-01T12:00:00Z\","
                  "\"duration_s\":7200,\"allocations\":[{\"machine\":\"gpu-01\",\"gpus\":4,"
                  "\"memory_gib\":64},{\"machine\":\"gpu-02\",\"gpus\":8,\"memory_gib\":0}]}");
    /* "now" is the broker's: the start is left out. */
    w = window_of("now", "+2h", NULL);
    check_request(cli_request_create(&w, NULL, 0),
                  "{\"type\":\"booking.create\",\"end\":\"2026-12-01T12:00:00Z\","
                  "\"allocations\":[]}");
    w = window_of(NULL, "13:00", NULL);
    check_request(cli_request_amend(7, &w, NULL, 0),
                  "{\"type\":\"booking.amend\",\"booking\":7,\"end\":\"2026-12-01T12:00:00Z\"}");
    w = (struct cli_window){0};
    check_request(cli_request_amend(7, &w, two, 0),
                  "{\"type\":\"booking.amend\",\"booking\":7,\"allocations\":[]}");
    check_request(cli_request_cancel(7), "{\"type\":\"booking.cancel\",\"booking\":7}");
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

static void windows(void **state)
{
    (void)state;
    char buf[CLI_WINDOW_LEN];
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

    static const struct {
        struct cli_window_text text;
        const char *error;
    } rows[] = {
        {{.end = "13:00", .duration = "2h"}, "--end and --for"},
        {{.start = "14:00", .end = "13:00"}, "--end is not after --start"},
        {{.start = "13:00", .end = "13:00"}, "--end is not after --start"},
        {{.duration = "0s"}, "--for"},
        {{.duration = "60"}, "--for: '60' is not a duration"},
        {{.start = "noon"}, "--start: 'noon' is not a time"},
        {{.end = "noon"}, "--end: 'noon' is not a time"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct cli_window_text text = rows[i].text;
        struct failure f = {0};
        text.now_ms = NOW_MS;
        text.zone = zone;
        assert_int_equal(cli_window_parse(&text, &w, &f), ERR_USAGE);
        if (!strstr(f.text, rows[i].error))
            fail_msg("'%s' is not in '%s'", rows[i].error, f.text);
    }
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

static void command_table(void **state)
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
        /* No option twice, none that hides a common one. */
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

static void documentation(void **state)
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
        cmocka_unit_test(shares),  cmocka_unit_test(small_words),   cmocka_unit_test(requests),
        cmocka_unit_test(windows), cmocka_unit_test(command_table), cmocka_unit_test(documentation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
