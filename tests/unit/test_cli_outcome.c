/* The output of decisions for people and for scripts, and the suggested command to paste. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "cli/cli.h"
#include "lib/base/mem.h"
#include "tests/unit/support.h"

/* ---- output -------------------------------------------------------------------------------- */

/* stdout or stderr, redirected into a file for a while. */
struct capture {
    FILE *stream, *file;
    int saved;
};

static void capture_begin(struct capture *capture, FILE *stream)
{
    fflush(stream);
    capture->stream = stream;
    capture->file = tmpfile();
    assert_non_null(capture->file);
    capture->saved = dup(fileno(stream));
    assert_true(dup2(fileno(capture->file), fileno(stream)) >= 0);
}

/* Caller frees. */
static char *capture_end(struct capture *capture)
{
    struct buf text = {0};
    char piece[4096];
    size_t len;
    fflush(capture->stream);
    assert_true(dup2(capture->saved, fileno(capture->stream)) >= 0);
    close(capture->saved);
    rewind(capture->file);
    buf_puts(&text, "");
    while ((len = fread(piece, 1, sizeof(piece), capture->file)) > 0)
        buf_append(&text, piece, len);
    fclose(capture->file);
    return text.data;
}

struct expected {
    const char *out, *err;
    int code;
};

static void check_printed(const struct cli *cli, const char *event, const struct cli_asked *asked,
                          const struct expected *expected)
{
    struct capture out, err;
    json_t *json = json_loads(event, 0, NULL);
    assert_non_null(json);
    capture_begin(&out, stdout);
    capture_begin(&err, stderr);
    int code = cli_print_decision(cli, json, event, asked);
    char *err_text = capture_end(&err), *out_text = capture_end(&out);
    assert_string_equal(out_text, expected->out);
    assert_string_equal(err_text, expected->err);
    assert_int_equal(code, expected->code);
    free(out_text);
    free(err_text);
    json_decref(json);
}

/* ---- command lines ------------------------------------------------------------------------- */

/* A command line without --config, so that only its options count. */
static void type(struct cli *cli, char *const *argv)
{
    struct failure f;
    int argc = 0;
    size_t used;
    *cli = (struct cli){.headers = true, .zone = "Europe/Paris"};
    while (argv[argc])
        argc++;
    if (options_parse(&cli_program, argc, argv, &cli->before, &f) != ERR_OK)
        fail_msg("%s", f.text);
    cli->command = cli_command_find(cli->before.operands, cli->before.operand_count, &used, &f);
    assert_non_null(cli->command);
    int words = (int)(cli->before.operand_count - used) + 1;
    if (options_parse(&cli->command->spec, words, (char *const *)(cli->before.operands + used - 1),
                      &cli->after, &f) != ERR_OK)
        fail_msg("%s", f.text);
}

static void untype(struct cli *cli)
{
    options_fini(&cli->before);
    options_fini(&cli->after);
}

#define ARGV(...) ((char *[]){"berth", __VA_ARGS__, NULL})
/* 2026-12-01T04:00:00Z */
#define NEXT_MS   (INT64_C(1796097600) * 1000)
#define HOUR_MS   INT64_C(3600000)

static void commands_to_paste(void **state)
{
    (void)state;
    const struct {
        char **argv;
        const char *expected;
    } rows[] = {
        {ARGV("book", "gpu-01:4:64", "--start", "now", "--for", "2h"),
         "berth book gpu-01:4:64 --start 2026-12-01T05:00:00+01:00 --for 2h"},
        {ARGV("--profile", "ops", "book", "-qs", "mon 03:00", "-e", "mon 05:00", "gpu-01",
              "gpu-02:1", "--request-id", "r-1"),
         "berth --profile ops book gpu-01 gpu-02:1 --quiet --start 2026-12-01T05:00:00+01:00 "
         "--for 2h"},
        {ARGV("book", "--any", "2", "-l", "note=it's big", "--mem=64", "--wait=5s", "--for", "2h"),
         "berth book --any 2 --label 'note=it'\\''s big' --mem 64 --wait=5s --start "
         "2026-12-01T05:00:00+01:00 --for 2h"},
        {ARGV("amend", "7", "--move", "12:00", "--user", "", "--no-wait"),
         "berth amend 7 --user '' --no-wait --start 2026-12-01T05:00:00+01:00 --for 2h"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cli cli;
        type(&cli, rows[i].argv);
        char *command = cli_command_at(&cli, NEXT_MS, 2 * HOUR_MS);
        assert_string_equal(command, rows[i].expected);
        free(command);
        untype(&cli);
    }
}

static void commands_to_book_what_is_free(void **state)
{
    (void)state;
    const struct {
        char **argv;
        const char *share, *expected;
    } rows[] = {
        {ARGV("free", "--gpus", "4", "--mem", "64", "--for", "2h", "-n", "3", "-ojson"), NULL,
         "berth book --any 1 --gpus 4 --mem 64 --start 2026-12-01T05:00:00+01:00 --for 2h"},
        {ARGV("--profile", "ops", "free", "--tz", "Europe/Paris", "--any=2", "-l", "note=it's big",
              "--from", "mon", "--horizon", "1w", "--for", "2h"),
         NULL,
         "berth --profile ops --tz Europe/Paris book --any 2 --label 'note=it'\\''s big' --start "
         "2026-12-01T05:00:00+01:00 --for 2h"},
        {ARGV("free", "-m", "gpu-01", "--gpus", "4", "--for", "2h"), "gpu-01:4:0",
         "berth book gpu-01:4:0 --start 2026-12-01T05:00:00+01:00 --for 2h"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cli cli;
        type(&cli, rows[i].argv);
        char *command = cli_command_book(&cli, rows[i].share, NEXT_MS, 2 * HOUR_MS);
        assert_string_equal(command, rows[i].expected);
        free(command);
        untype(&cli);
    }
}

/* ---- rejected ------------------------------------------------------------------------------ */

/* Columns of what a change replaced, and the end of a row. */
#define UNCHANGED "\t-\t-\t-\t-\n"
#define EVENT(type, subject, data)                                                                 \
    "{\"specversion\":\"1.0\",\"id\":\"3-1042\",\"source\":\"berth://demo/requests/3\",\"type\":"  \
    "\"berth.request." type "\"," subject "\"time\":\"2026-11-24T14:37:54Z\",\"data\":{"           \
    "\"request\":{\"id\":\"r-1\",\"client\":\"batch-1\",\"user\":\"alice\",\"type\":"              \
    "\"booking.create\",\"partition\":3,\"offset\":1187}," data "}}"

static void no_room(void **state)
{
    (void)state;
    struct cli cli;
    const struct cli_asked asked = {.window = "Tue 2026-12-01 03:00 CET (02:00Z) – 05:00 CET, 2h",
                                    .length_ms = 2 * HOUR_MS};
    const char *event = EVENT("rejected", "",
                              "\"reason\":\"insufficient_capacity\",\"detail\":\"gpu-01 is full.\","
                              "\"machine\":\"gpu-01\",\"free\":{\"gpus\":0,\"memory_gib\":64},"
                              "\"machines_free\":[{\"machine\":\"gpu-01\",\"gpus\":0,"
                              "\"memory_gib\":64},{\"machine\":\"gpu-02\",\"gpus\":1,"
                              "\"memory_gib\":512}],\"next_available\":\"2026-12-01T04:00:00Z\"");
    struct expected expected = {
        .out = "",
        .err = "berth: rejected: insufficient_capacity: gpu-01 is full.\n"
               "berth: asked for: Tue 2026-12-01 03:00 CET (02:00Z) – 05:00 CET, 2h\n"
               "berth: free then: gpu-01                 0 GPUs     64 GiB\n"
               "berth:            gpu-02                 1 GPU     512 GiB\n"
               "berth: next available: Tue 2026-12-01 05:00 CET (04:00Z) – 07:00 CET, 2h\n"
               "berth: to have it then:\n"
               "berth book gpu-01:1 gpu-02:1 --start 2026-12-01T05:00:00+01:00 --for 2h\n",
        .code = 3};
    type(&cli, ARGV("book", "gpu-01:1", "gpu-02:1", "--start", "@0", "--for", "2h"));
    check_printed(&cli, event, &asked, &expected);
    /* `why` knows only the event. */
    expected.err = "berth: rejected: insufficient_capacity: gpu-01 is full.\n"
                   "berth: free then: gpu-01                 0 GPUs     64 GiB\n"
                   "berth:            gpu-02                 1 GPU     512 GiB\n"
                   "berth: next available: Tue 2026-12-01 05:00 CET\n";
    check_printed(&cli, event, NULL, &expected);
    cli.format = CLI_TSV;
    cli.quiet = true;
    expected.out =
        "outcome\treason\tsubject\tevent\trequest\tpartition\toffset\tduplicate_of\tseries\t"
        "booking\tversion\tstate\tstart\tend\tmachines\tmachine\tfree\tnext_available\tfitting\t"
        "in_use\tlimit\tdisplaced\tprevious_start\tprevious_end\tprevious_machines\t"
        "effective_from\n"
        "rejected\tinsufficient_capacity\t-\t3-1042\tr-1\t3\t1187\t-\t-\t-\t-\t-\t-\t-\t-\tgpu-01\t"
        "gpu-01:0:64,gpu-02:1:512\t2026-12-01T04:00:00Z\t-\t-\t-\t-" UNCHANGED;
    expected.err = "berth: rejected: insufficient_capacity: gpu-01 is full.\n";
    check_printed(&cli, event, &asked, &expected);
    untype(&cli);
}

static void other_rejections(void **state)
{
    (void)state;
    struct cli cli;
    struct expected expected = {.out = "",
                                .err = "berth: rejected: capacity_in_use: Bookings use it.\n"
                                       "berth: in the way: bookings 7 4268035\n"
                                       "berth: --displace cancels what no longer fits\n",
                                .code = 3};
    type(&cli, ARGV("machine", "retire", "gpu-01"));
    const char *in_use = EVENT("rejected", "\"subject\":\"machine/gpu-01\",",
                               "\"reason\":\"capacity_in_use\",\"detail\":\"Bookings use it.\","
                               "\"machine_name\":\"gpu-01\",\"in_use\":[7,4268035]");
    check_printed(&cli, in_use, NULL, &expected);
    cli.format = CLI_TSV;
    cli.headers = false;
    cli.quiet = true;
    expected.out =
        "rejected\tcapacity_in_use\tmachine/gpu-01\t3-1042\tr-1\t3\t1187\t-\t-\t-\t-\t-\t"
        "-\t-\t-\tgpu-01\t-\t-\t-\t7,4268035\t-\t-" UNCHANGED;
    expected.err = "berth: rejected: capacity_in_use: Bookings use it.\n";
    check_printed(&cli, in_use, NULL, &expected);
    expected.out =
        "rejected\tlimit_exceeded\t-\t3-1042\tr-1\t3\t1187\t-\t-\t-\t-\t-\t-\t-\t-\t-\t-\t-"
        "\t-\t-\tgpus_at_once:8:6:4\t-" UNCHANGED;
    expected.err = "berth: rejected: limit_exceeded: Too much.\n";
    check_printed(
        &cli,
        EVENT("rejected", "",
              "\"reason\":\"limit_exceeded\",\"detail\":\"Too much.\",\"limit\":{\"name\":"
              "\"gpus_at_once\",\"limit\":8,\"used\":6,\"asked\":4}"),
        NULL, &expected);
    expected.out =
        "rejected\tinsufficient_capacity\t-\t3-1042\tr-1\t3\t1187\t-\t-\t-\t-\t-\t-\t-\t-\t"
        "-\t-\t-\t2\t-\t-\t-" UNCHANGED;
    expected.err = "berth: rejected: insufficient_capacity: 2 of 5 fit.\n";
    check_printed(&cli,
                  EVENT("rejected", "",
                        "\"reason\":\"insufficient_capacity\",\"detail\":\"2 of 5 fit.\","
                        "\"fitting\":2"),
                  NULL, &expected);
    untype(&cli);
}

/* A text that came with a request, an event or an answer prints no control character. */
static void texts_of_strangers(void **state)
{
    (void)state;
    struct cli cli;
    const char *event = EVENT("rejected", "",
                              "\"reason\":\"invalid_request\\u001b[2J\",\"detail\":"
                              "\"a\\u001b]0;x\\u0007\\nberth: accepted \\u202e\"");
    struct expected expected = {.out = "",
                                .err = "berth: rejected: invalid_request\\u001b[2J: "
                                       "a\\u001b]0;x\\u0007\\u000aberth: accepted \\u202e\n",
                                .code = 3};
    type(&cli, ARGV("book", "gpu-01:1", "--for", "2h"));
    check_printed(&cli, event, NULL, &expected);
    cli.format = CLI_TSV;
    cli.headers = false;
    expected.out = "rejected\tinvalid_request\\u001b[2J\t-\t3-1042\tr-1\t3\t1187"
                   "\t-\t-\t-\t-\t-\t-\t-\t-\t-\t-\t-\t-\t-\t-\t-\t-\t-\t-\t-\n";
    check_printed(&cli, event, NULL, &expected);
    untype(&cli);
}

static void a_series_without_room(void **state)
{
    (void)state;
    struct cli cli;
    const struct cli_asked asked = {.length_ms = 2 * HOUR_MS,
                                    .repeat = "each day, 2 times, by the clock of UTC"};
    const char *event = EVENT("rejected", "",
                              "\"reason\":\"insufficient_capacity\",\"detail\":\"Occurrence 2.\","
                              "\"machine\":\"gpu-01\",\"next_available\":\"2026-12-01T04:00:00Z\"");
    struct expected expected = {.out = "",
                                .err = "berth: rejected: insufficient_capacity: Occurrence 2.\n"
                                       "berth:            each day, 2 times, by the clock of UTC\n"
                                       "berth: next available for that occurrence: Tue 2026-12-01 "
                                       "05:00 CET (04:00Z) – 07:00 CET, 2h\n"
                                       "berth: --skip-conflicts books those occurrences that fit\n",
                                .code = 3};
    type(&cli, ARGV("book", "gpu-01:1", "--start", "@0", "--for", "2h", "--repeat", "day"));
    check_printed(&cli, event, &asked, &expected);
    untype(&cli);
    type(&cli, ARGV("book", "gpu-01:1", "--start", "@0", "--for", "2h", "--repeat", "day",
                    "--skip-conflicts"));
    expected.err = "berth: rejected: insufficient_capacity: Occurrence 2.\n"
                   "berth:            each day, 2 times, by the clock of UTC\n"
                   "berth: next available for that occurrence: Tue 2026-12-01 05:00 CET (04:00Z) – "
                   "07:00 CET, 2h\n";
    check_printed(&cli, event, &asked, &expected);
    untype(&cli);
}

/* ---- accepted ------------------------------------------------------------------------------ */

#define BOOKING(more)                                                                              \
    "\"booking\":{\"id\":4268035,\"version\":1," more "\"client\":\"batch-1\",\"user\":\"alice\"," \
    "\"state\":\"booked\",\"start\":\"2026-12-01T02:00:00Z\",\"end\":\"2026-12-01T04:00:00Z\","    \
    "\"allocations\":[{\"machine\":\"gpu-01\",\"gpus\":4,\"memory_gib\":64}]}"

static void a_booking(void **state)
{
    (void)state;
    struct cli cli;
    const char *event = EVENT("accepted", "\"subject\":\"booking/4268035\",", BOOKING(""));
    struct expected expected = {
        .out = "booking 4268035 booked: Tue 2026-12-01 03:00 CET (02:00Z) – 05:00 CET, 2h\n"
               "  for alice, by batch-1, version 1\n"
               "  gpu-01                 4 GPUs     64 GiB\n",
        .err = "",
        .code = 0};
    type(&cli, ARGV("book", "--any", "1", "--gpus", "4", "--mem", "64", "--for", "2h"));
    check_printed(&cli, event, NULL, &expected);
    cli.format = CLI_TSV;
    cli.headers = false;
    expected.out =
        "accepted\t-\tbooking/4268035\t3-1042\tr-1\t3\t1187\t-\t-\t4268035\t1\tbooked\t"
        "2026-12-01T02:00:00Z\t2026-12-01T04:00:00Z\tgpu-01:4:64\t-\t-\t-\t-\t-\t-\t-" UNCHANGED;
    check_printed(&cli, event, NULL, &expected);
    cli.format = CLI_JSON;
    char *line = xasprintf("%s\n", event);
    expected.out = line;
    check_printed(&cli, event, NULL, &expected);
    free(line);
    untype(&cli);
}

/* The document of schemas/corpus; the caller frees it. */
static char *document(const char *name)
{
    char *path = xasprintf("schemas/corpus/events/%s.json", name);
    struct buf text = read_file(path);
    assert_true(text.len > 0);
    text.data[text.len - 1] = '\0'; /* the line's end */
    free(path);
    return text.data;
}

static void what_was_before(void **state)
{
    (void)state;
    struct cli cli;
    static const struct {
        const char *name, *out;
    } rows[] = {
        {"ok/accepted-booking.amend-running",
         "booking 4268035 booked: Tue 2026-11-24 14:37:54 CET (13:37:54Z) – Tue 2026-12-01 05:00 "
         "CET, "
         "6d14h22m6s\n"
         "  for alice, by batch-1, version 2\n"
         "  gpu-01                 4 GPUs     64 GiB\n"
         "  before, until Tue 2026-11-24 15:37:55 CET: Tue 2026-11-24 14:37:54 CET (13:37:54Z) – "
         "Tue 2026-12-01 05:00 CET, 6d14h22m6s, gpu-01:4:64,gpu-02:0:16\n"},
        {"ok/accepted-booking.cancel-before",
         "booking 4268035 cancelled: Tue 2026-12-01 03:00 CET (02:00Z) – 05:00 CET, 2h\n"
         "  for alice, by batch-1, version 3\n"
         "  before: Tue 2026-12-01 03:00 CET (02:00Z) – 05:00 CET, 2h, gpu-01:4:64,gpu-02:0:16\n"},
    };
    type(&cli, ARGV("amend", "4268035"));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *event = document(rows[i].name);
        check_printed(&cli, event, NULL, &(struct expected){.out = rows[i].out, .err = ""});
        free(event);
    }
    cli.format = CLI_TSV;
    cli.headers = false;
    char *event = document("ok/accepted-booking.amend-running");
    check_printed(
        &cli, event, NULL,
        &(struct expected){.out = "accepted\t-\tbooking/4268035\t3-1042\t0192f3a1-7c1e-7b6e-8f00-"
                                  "0123456789ab\t3\t1187\t-\t-\t4268035\t2\tbooked\t"
                                  "2026-11-24T13:37:54Z\t2026-12-01T04:00:00Z\tgpu-01:4:64\t-\t-\t-"
                                  "\t-\t-\t-\t-\t2026-11-24T13:37:54Z\t2026-12-01T04:00:00Z\t"
                                  "gpu-01:4:64,gpu-02:0:16\t2026-11-24T14:37:55Z\n",
                           .err = ""});
    free(event);
    untype(&cli);
}

/* Whole, and in short as earlier releases told it. */
static void displaced_bookings(void **state)
{
    (void)state;
    struct cli cli;
    type(&cli, ARGV("machine", "update", "gpu-01", "--gpus", "0"));
    char *event = document("ok/accepted-machine.update-displacing");
    struct expected expected = {
        .out =
            "machine gpu-01               draining   0 GPUs      0 GiB\n"
            "displaced: booking 4096 of batch-1, now released, for alice; before: Tue 2026-11-24 "
            "14:37:54 CET (13:37:54Z) – Tue 2026-12-01 03:00 CET, 6d12h22m6s, "
            "gpu-01:4:64\n"
            "displaced: booking 4268035 of batch-2, now cancelled, for alice; before: Tue "
            "2026-12-01 03:00 CET (02:00Z) – 05:00 CET, 2h, gpu-01:4:64,gpu-02:0:16\n",
        .err = ""};
    check_printed(&cli, event, NULL, &expected);
    free(event);
    event = document("earlier/accepted-machine.update-displacing");
    expected.out = "machine gpu-01               draining   0 GPUs      0 GiB\n"
                   "displaced: booking 4096 of batch-1, now released\n"
                   "displaced: booking 4268035 of batch-2, now cancelled\n";
    check_printed(&cli, event, NULL, &expected);
    free(event);
    untype(&cli);
}

#define OCCURRENCE(id, day, machine)                                                               \
    "{\"booking\":" id ",\"version\":1,\"state\":\"booked\",\"start\":\"2026-12-" day              \
    "T02:00:00Z\",\"end\":\"2026-12-" day "T04:00:00Z\",\"allocations\":[{\"machine\":\"" machine  \
    "\",\"gpus\":4,\"memory_gib\":64}]}"
#define LEFT_OUT                                                                                   \
    "{\"start\":\"2026-12-03T02:00:00Z\",\"end\":\"2026-12-03T04:00:00Z\",\"reason\":"             \
    "\"insufficient_capacity\",\"machine\":\"gpu-01\"}"

static void a_series(void **state)
{
    (void)state;
    struct cli cli;
    const char *event = EVENT(
        "accepted", "\"subject\":\"booking/4268035\",",
        BOOKING("\"series\":4268035,") ",\"series\":{\"id\":4268035,\"occurrences\":[" OCCURRENCE(
            "4268035", "01", "gpu-01") "," OCCURRENCE("17592190312451", "02", "gpu-01") "," LEFT_OUT
                                                                                        "]}");
    struct expected expected = {
        .out = "series 4268035: booked 2, left out 1\n"
               "  for alice, by batch-1\n"
               "  gpu-01                 4 GPUs     64 GiB\n"
               "  4268035           Tue 2026-12-01 03:00 CET (02:00Z) – 05:00 CET, 2h\n"
               "  17592190312451    Wed 2026-12-02 03:00 CET (02:00Z) – 05:00 CET, 2h\n"
               "  left out          Thu 2026-12-03 03:00 CET (02:00Z) – 05:00 CET, 2h\n"
               "                    insufficient_capacity: gpu-01\n",
        .err = "",
        .code = 0};
    type(&cli, ARGV("book", "gpu-01:4:64", "--for", "2h", "--repeat", "day", "--count", "3"));
    check_printed(&cli, event, NULL, &expected);
    cli.format = CLI_TSV;
    cli.headers = false;
    expected.out =
        "accepted\t-\tbooking/4268035\t3-1042\tr-1\t3\t1187\t-\t4268035\t4268035\t1\tbooked\t"
        "2026-12-01T02:00:00Z\t2026-12-01T04:00:00Z\tgpu-01:4:64\t-\t-\t-\t-\t-\t-\t-" UNCHANGED
        "accepted\t-\tbooking/"
        "4268035\t3-1042\tr-1\t3\t1187\t-\t4268035\t17592190312451\t1\tbooked\t"
        "2026-12-02T02:00:00Z\t2026-12-02T04:00:00Z\tgpu-01:4:64\t-\t-\t-\t-\t-\t-\t-" UNCHANGED
        "accepted\tinsufficient_capacity\tbooking/4268035\t3-1042\tr-1\t3\t1187\t-\t4268035\t-\t-\t"
        "left_out\t2026-12-03T02:00:00Z\t2026-12-03T04:00:00Z\t-\tgpu-01\t-\t-\t-\t-\t-"
        "\t-" UNCHANGED;
    check_printed(&cli, event, NULL, &expected);
    untype(&cli);
}

/* `any` chooses for each occurrence separately, so each prints its machines. */
static void a_series_of_different_machines(void **state)
{
    (void)state;
    struct cli cli;
    const char *event = EVENT(
        "accepted", "",
        BOOKING("\"series\":4268035,") ",\"series\":{\"id\":4268035,\"occurrences\":[" OCCURRENCE(
            "4268035", "01", "gpu-01") "," OCCURRENCE("17592190312451", "02", "gpu-02") "]}");
    const struct expected expected = {
        .out = "series 4268035: booked 2\n"
               "  for alice, by batch-1\n"
               "  4268035           Tue 2026-12-01 03:00 CET (02:00Z) – 05:00 CET, 2h\n"
               "                    gpu-01:4:64\n"
               "  17592190312451    Wed 2026-12-02 03:00 CET (02:00Z) – 05:00 CET, 2h\n"
               "                    gpu-02:4:64\n",
        .err = "",
        .code = 0};
    type(&cli, ARGV("book", "--any", "1", "--gpus", "4", "--for", "2h"));
    check_printed(&cli, event, NULL, &expected);
    untype(&cli);
}

static void cancels_of_a_series(void **state)
{
    (void)state;
    struct cli cli;
    type(&cli, ARGV("cancel", "4268035"));
    const char *one =
        "{\"id\":\"3-7\",\"type\":\"berth.request.accepted\",\"data\":{\"request\":{\"type\":"
        "\"booking.cancel\"},\"booking\":{\"id\":4268035,\"version\":2,\"series\":4268035,"
        "\"client\":\"batch-1\",\"user\":\"alice\",\"state\":\"cancelled\",\"start\":"
        "\"2026-12-01T02:00:00Z\",\"end\":\"2026-12-01T04:00:00Z\",\"allocations\":[]}}}";
    struct expected expected = {
        .out = "booking 4268035 cancelled: Tue 2026-12-01 03:00 CET (02:00Z) – 05:00 CET, 2h\n"
               "  for alice, by batch-1, version 2, of series 4268035\n",
        .err = "berth: the others of its series stay; `berth cancel --series 4268035` ends them\n",
        .code = 0};
    check_printed(&cli, one, NULL, &expected);
    const char *all =
        "{\"id\":\"3-8\",\"type\":\"berth.request.accepted\",\"data\":{\"request\":{\"type\":"
        "\"booking.cancel\"},\"booking\":{\"id\":4268035,\"version\":2,\"series\":4268035,"
        "\"client\":\"batch-1\",\"user\":\"alice\"},\"series\":{\"id\":4268035,\"occurrences\":["
        "{\"booking\":4268035,\"version\":2,\"state\":\"released\",\"start\":"
        "\"2026-12-01T02:00:00Z\",\"end\":\"2026-12-01T03:00:00Z\",\"allocations\":[{\"machine\":"
        "\"gpu-01\",\"gpus\":4,\"memory_gib\":64}]},{\"booking\":17592190312451,\"version\":2,"
        "\"state\":\"cancelled\",\"start\":\"2026-12-02T02:00:00Z\",\"end\":"
        "\"2026-12-02T04:00:00Z\",\"allocations\":[]}]}}}";
    expected.out =
        "series 4268035: cancelled 1, released 1\n"
        "  for alice, by batch-1\n"
        "  gpu-01                 4 GPUs     64 GiB\n"
        "  4268035           Tue 2026-12-01 03:00 CET (02:00Z) – 04:00 CET, 1h, released\n"
        "  17592190312451    Wed 2026-12-02 03:00 CET (02:00Z) – 05:00 CET, 2h, "
        "cancelled\n";
    expected.err = "";
    check_printed(&cli, all, NULL, &expected);
    untype(&cli);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_to_paste),
        cmocka_unit_test(commands_to_book_what_is_free),
        cmocka_unit_test(no_room),
        cmocka_unit_test(other_rejections),
        cmocka_unit_test(texts_of_strangers),
        cmocka_unit_test(a_series_without_room),
        cmocka_unit_test(a_booking),
        cmocka_unit_test(what_was_before),
        cmocka_unit_test(displaced_bookings),
        cmocka_unit_test(a_series),
        cmocka_unit_test(a_series_of_different_machines),
        cmocka_unit_test(cancels_of_a_series),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
