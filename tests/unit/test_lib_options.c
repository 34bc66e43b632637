/* A table of command lines with their expected options or error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/config/options.h"

static const struct option_spec own[] = {
    {"start", 's', "TIME", "when it begins"},
    {"wait", 0, "[=DURATION]",
     "how long to wait for the decision, at most; without a value thirty seconds"},
    {"quiet", 'q', NULL, "print nothing"},
    {"label", 'l', "KEY=VALUE", "a label; may be repeated"},
    {"for", 'f', "DURATION", "how long"},
    {"state", 0, "up|draining|retired", "its state"},
    {0},
};
static const struct option_spec common[] = {
    {"verbose", 'v', NULL, "say more"},
    {"config", 0, "FILE", "read this configuration file instead of the usual one"},
    {0},
};
static const struct command_spec book = {
    .name = "berth book",
    .operands = "MACHINE...",
    .description = "Books machines for a window.",
    .example = "berth book gpu-01:4 --start now --for 2h",
    .options = own,
    .common = common,
};
static const struct command_spec list = {
    .name = "berth list", .description = "Lists.", .common = common};
static const struct command_spec outer = {.name = "berth",
                                          .operands = "COMMAND",
                                          .description = "-",
                                          .common = common,
                                          .stop_at_operand = true};

#define SEEN_LEN 1024

/* Parses a line of words separated by blanks ('_' is an empty word) and formats the outcome:
 * "start=now quiet | gpu-01", or "! failure". */
static void parse(const struct command_spec *command, const char *line, char seen[SEEN_LEN])
{
    char *copy = xstrdup(line);
    char *argv[32] = {(char *)"program"};
    int argc = 1;
    for (char *word = copy; *word;) {
        size_t len = strcspn(word, " ");
        argv[argc++] = word;
        word += len;
        if (*word)
            *word++ = '\0';
        if (strcmp(argv[argc - 1], "_") == 0)
            argv[argc - 1] = (char *)"";
    }
    struct options opts;
    struct failure f = {0};
    struct buf text = {0};
    if (options_parse(command, argc, argv, &opts, &f) != ERR_OK) {
        assert_int_equal(f.err, ERR_USAGE);
        buf_printf(&text, "! %s", f.text);
    } else {
        for (size_t i = 0; i < opts.given_count; i++) {
            buf_printf(&text, "%s%s%s ", opts.given[i].spec->name, opts.given[i].value ? "=" : "",
                       opts.given[i].value ? opts.given[i].value : "");
        }
        buf_puts(&text, opts.help ? "help|" : "|");
        for (size_t i = 0; i < opts.operand_count; i++)
            buf_printf(&text, " %s", opts.operands[i]);
        options_fini(&opts);
    }
    snprintf(seen, SEEN_LEN, "%s", text.data);
    buf_fini(&text);
    free(copy);
}

#define BEHIND "; an argument that begins with a dash goes behind --"

static const struct {
    const struct command_spec *command;
    const char *line, *expected;
} rows[] = {
    {&book, "", "|"},
    {&book, "gpu-01 --start now gpu-02", "start=now | gpu-01 gpu-02"},
    {&book, "--start=now", "start=now |"},
    {&book, "--start= x", "start= | x"},
    {&book, "--start=a=b", "start=a=b |"},
    {&book, "--start --quiet", "start=--quiet |"},
    {&book, "-s now -qv", "start=now quiet verbose |"},
    {&book, "-snow -vqsnow", "start=now verbose quiet start=now |"},
    {&book, "-l a=1 -lb=2 --label c=3", "label=a=1 label=b=2 label=c=3 |"},
    {&book, "--wait 5", "wait | 5"},
    {&book, "--wait=5 --wait=", "wait=5 wait= |"},
    {&book, "-q -- -q --start -", "quiet | -q --start -"},
    {&book, "- _", "| - "},
    {&book, "-s -- x", "start=-- | x"},
    {&book, "a -- b", "| a b"},
    {&book, "--quiet --help --nonsense", "quiet help|"},
    {&book, "-qhx", "quiet help|"},
    {&book, "--strat now",
     "! unknown option --strat: did you mean --start? (see `berth book --help`)"},
    {&book, "--confg=x",
     "! unknown option --confg: did you mean --config? (see `berth book --help`)"},
    {&book, "--sta=x", "! unknown option --sta: did you mean --start? (see `berth book --help`)"},
    {&book, "--durration 1h",
     "! unknown option --durration: did you mean --for? (see `berth book --help`)"},
    {&book, "--start-time now",
     "! unknown option --start-time: did you mean --start? (see `berth book --help`)"},
    {&book, "--state up --state=retired", "state=up state=retired |"},
    {&book, "--state draning",
     "! --state 'draning': expected one of up, draining, retired; did you mean draining? (see "
     "`berth "
     "book --help`)"},
    {&book, "--state=ret",
     "! --state 'ret': expected one of up, draining, retired; did you mean retired? (see `berth "
     "book "
     "--help`)"},
    {&book, "--state x",
     "! --state 'x': expected one of up, draining, retired (see `berth book --help`)"},
    {&book, "--state up|draining",
     "! --state 'up|draining': expected one of up, draining, retired; did you mean draining? (see "
     "`berth book --help`)"},
    {&outer, "--gpus 4 book",
     "! unknown option --gpus; an option of a command goes behind the command (see `berth "
     "--help`)"},
    {&book, "--colour", "! unknown option --colour" BEHIND " (see `berth book --help`)"},
    {&book, "--=x", "! unknown option --" BEHIND " (see `berth book --help`)"},
    {&book, "-x", "! unknown option -x" BEHIND " (see `berth book --help`)"},
    {&book, "-q\x01", "! unknown option -?" BEHIND " (see `berth book --help`)"},
    {&book, "--start", "! --start needs a value: --start TIME (see `berth book --help`)"},
    {&book, "-qs", "! --start needs a value: --start TIME (see `berth book --help`)"},
    {&book, "--quiet=yes", "! --quiet takes no value (see `berth book --help`)"},
    {&book, "--help=yes", "! --help takes no value (see `berth book --help`)"},
    {&list, "-v", "verbose |"},
    {&list, "x", "! unexpected argument 'x' (see `berth list --help`)"},
    {&list, "-- -v", "! unexpected argument '-v' (see `berth list --help`)"},
    {&outer, "--config F book --start x -v", "config=F | book --start x -v"},
    {&outer, "-- -v --help", "| -v --help"},
    {&outer, "book --help", "| book --help"},
};

static void test_command_lines(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char seen[SEEN_LEN];
        parse(rows[i].command, rows[i].line, seen);
        size_t len = strlen(seen);
        if (strcmp(seen, rows[i].expected) != 0)
            fail_msg("'%s' gave '%s' (%zu), not '%s'", rows[i].line, seen, len, rows[i].expected);
    }
}

static void test_looking_options_up(void **state)
{
    (void)state;
    char *argv[] = {(char *)"x", (char *)"-sa", (char *)"-sb", (char *)"--wait", (char *)"-q"};
    struct options opts;
    assert_int_equal(options_parse(&book, 5, argv, &opts, NULL), ERR_OK);
    assert_int_equal(options_count(&opts, "start"), 2);
    assert_string_equal(options_value(&opts, "start"), "b");
    assert_true(options_has(&opts, "wait"));
    assert_null(options_value(&opts, "wait"));
    assert_false(options_has(&opts, "label"));
    assert_null(options_value(&opts, "label"));
    options_fini(&opts);
    assert_int_equal(options_parse(&book, 0, NULL, &opts, NULL), ERR_OK);
    assert_int_equal(opts.operand_count, 0);
    options_fini(&opts);
}

static void test_help_text(void **state)
{
    (void)state;
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    options_help(&book, out);
    fclose(out);
    assert_string_equal(
        text, "Usage: berth book [OPTION]... MACHINE...\n"
              "\n"
              "Books machines for a window.\n"
              "\n"
              "Options:\n"
              "  -s, --start TIME          when it begins\n"
              "      --wait[=DURATION]     how long to wait for the decision, at most; without\n"
              "                            a value thirty seconds\n"
              "  -q, --quiet               print nothing\n"
              "  -l, --label KEY=VALUE     a label; may be repeated\n"
              "  -f, --for DURATION        how long\n"
              "      --state up|draining|retired\n"
              "                            its state\n"
              "  -v, --verbose             say more\n"
              "      --config FILE         read this configuration file instead of the usual\n"
              "                            one\n"
              "  -h, --help                print this text and exit\n"
              "\n"
              "Example:\n"
              "  berth book gpu-01:4 --start now --for 2h\n"
              "\n"
              "Times:\n"
              "  TIME: 2026-12-01T03:00:00+01:00, '2026-12-01 03:00', 03:00 (the next one),\n"
              "    'tomorrow 03:00', 'mon 09:00' (today, tomorrow, mon to sun; without a time\n"
              "    00:00), now, +2h (from now), @1796090400 (seconds since 1970). Local times\n"
              "    follow TZ, or --tz where there is such an option.\n"
              "  DURATION: 45m, 2h30m, 1w2d3h4m5s, 1-12:00:00 (days), 12:00:00.\n"
              "\n"
              "Exit status:\n"
              "  0 done, accepted              4 no decision seen in time: the outcome is\n"
              "  1 failure                       unknown; repeat with the same --request-id\n"
              "  2 usage or configuration      5 what was named does not exist; nothing free\n"
              "  3 rejected by a decision      6 a check found differences\n"
              "  130, 143 ended by a signal\n");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_command_lines),
        cmocka_unit_test(test_looking_options_up),
        cmocka_unit_test(test_help_text),
    };
    return cmocka_run_group_tests_name("lib options", tests, NULL, NULL);
}
