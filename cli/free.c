/* `berth free`: asks the reader when machines are free. */
#include <inttypes.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/typed_request.h"
#include "lib/base/cli_time.h"
#include "lib/base/mem.h"
#include "lib/base/print.h"
#include "lib/base/timetext.h"
#include "lib/codec/member.h"

/* Windows in one answer of the reader. */
#define WINDOWS_MAX 1000

/* The question. */
struct question {
    const char *machine; /* NULL: any machine that carries the labels */
    struct cli_any any;  /* amounts per machine, also of a named one */
    char *share;         /* the named machine as an operand of `berth book` */
    int64_t length_ms, from_ms, horizon_ms;
    int64_t limit; /* 0: the reader's own */
};

static void question_fini(struct question *q)
{
    json_decref(q->any.labels);
    free(q->share);
}

static enum err take_span(const struct cli *cli, const char *option, int64_t *ms_out,
                          struct failure *f)
{
    const char *text = cli_value(cli, option);
    *ms_out = 0;
    if (!text)
        return ERR_OK;
    if (cli_time_parse_duration(text, ms_out, f) != ERR_OK)
        return failure_wrap(f, "--%s", option);
    if (*ms_out == 0)
        return failure_set(f, ERR_USAGE, "--%s: expected a second or more", option);
    return ERR_OK;
}

static enum err take_times(const struct cli *cli, struct question *q, struct failure *f)
{
    const char *limit = cli_value(cli, "limit");
    struct cli_range range = {"--limit", 1, WINDOWS_MAX};
    enum err err = take_span(cli, "for", &q->length_ms, f);
    if (err == ERR_OK && q->length_ms == 0)
        err = failure_set(f, ERR_USAGE, "how long? Give --for DURATION");
    if (err == ERR_OK)
        err = take_span(cli, "horizon", &q->horizon_ms, f);
    if (err == ERR_OK)
        err = cli_moment(cli, "from", &q->from_ms, f);
    if (err == ERR_OK && limit)
        err = cli_integer_parse(limit, range, &q->limit, f);
    return err;
}

static enum err take_question(const struct cli *cli, struct question *q, struct failure *f)
{
    const char *count = cli_value(cli, "any");
    struct cli_any_text text = {.count = count ? count : "1",
                                .gpus = cli_value(cli, "gpus"),
                                .memory_gib = cli_value(cli, "mem")};
    json_t *labels = NULL;
    q->machine = cli_value(cli, "machine");
    if (q->machine && (count || cli_has(cli, "label"))) {
        return failure_set(f, ERR_USAGE,
                           "--machine names the one that is wanted: give neither --any nor --label "
                           "beside it");
    }
    enum err err = q->machine ? cli_name_check(q->machine, f) : ERR_OK;
    if (err == ERR_OK)
        err = cli_labels(cli, &labels, f);
    if (err == ERR_OK)
        err = cli_any_parse(&text, &q->any, f);
    q->any.labels = labels;
    return err == ERR_OK ? take_times(cli, q, f) : err;
}

/* The amounts wanted of a named machine: the whole machine unless they are given. */
static int resolve_machine(const struct cli *cli, struct question *q)
{
    struct cli_shares shares = {.count = 1};
    struct cli_share *share = &shares.items[0];
    snprintf(share->machine, sizeof(share->machine), "%s", q->machine);
    share->whole = q->any.gpus < 0;
    share->gpus = q->any.gpus;
    share->memory_gib = q->any.memory_gib;
    q->share = share->whole ? xstrdup(q->machine)
                            : xasprintf("%s:%" PRId64 ":%" PRId64, q->machine, share->gpus,
                                        share->memory_gib);
    int code = cli_resolve_shares(cli, &shares);
    q->any.gpus = share->gpus;
    q->any.memory_gib = share->memory_gib;
    return code;
}

static void echo(const struct cli *cli, const struct question *q)
{
    char from[CLI_TIME_LEN], length[TIMETEXT_LEN], horizon[TIMETEXT_LEN];
    cli_note(cli, "looking for %s%s%s%s%s", timetext_duration(q->length_ms, length),
             q->from_ms != 0 ? " from " : "",
             q->from_ms != 0 ? cli_time_show(q->from_ms, cli->zone, from) : "",
             q->horizon_ms != 0 ? ", within " : "",
             q->horizon_ms != 0 ? timetext_duration(q->horizon_ms, horizon) : "");
}

static char *path_of(const struct cli *cli, const struct question *q)
{
    struct buf path = {0};
    char text[TIMETEXT_LEN];
    buf_printf(&path, "/v1/availability?duration=%s&gpus=%" PRId64 "&memory_gib=%" PRId64,
               timetext_duration(q->length_ms, text), q->any.gpus, q->any.memory_gib);
    if (!q->machine)
        buf_printf(&path, "&count=%" PRId64, q->any.count);
    cli_add_parameter(&path, "machine", q->machine);
    cli_add_labels(&path, cli);
    cli_add_time(&path, "from", q->from_ms);
    if (q->horizon_ms != 0)
        cli_add_parameter(&path, "horizon", timetext_duration(q->horizon_ms, text));
    if (q->limit != 0)
        buf_printf(&path, "&limit=%" PRId64, q->limit);
    return path.data;
}

static const struct table_column columns[] = {{"start", "start", NULL},
                                              {"end", "end", NULL},
                                              {"machines", "allocations", cli_shares_text},
                                              {0}};

static void print_window(const struct cli *cli, const json_t *window)
{
    char text[CLI_TIME_LEN];
    if (cli->format == CLI_TSV) {
        table_print_row(columns, window);
        return;
    }
    char *shares = cli_shares_text(json_object_get(window, "allocations"));
    print_line(stdout, "%s  %s", cli_window_of(cli, window, text), shares);
    free(shares);
}

static int nothing_free(const struct cli *cli, const struct question *q, const json_t *answer)
{
    char until[CLI_TIME_LEN], length[TIMETEXT_LEN];
    const char *why = member_text(answer, "detail");
    char *detail = why ? xasprintf("nothing is free: %s", why)
                       : xasprintf(
                             "nothing is free for %s until %s; --horizon looks further",
                             timetext_duration(q->length_ms, length),
                             cli_time_show(member_time_ms(answer, "until"), cli->zone, until));
    struct problem problem = {.code = PROBLEM_NOT_FOUND, .detail = detail};
    json_t *extra = json_pack("{s:O, s:O, s:O}", "from", json_object_get(answer, "from"), "until",
                              json_object_get(answer, "until"), "matching",
                              json_object_get(answer, "matching"));
    int code = cli_problem(cli, EXIT_CODE_NOT_FOUND, &problem, extra);
    free(detail);
    return code;
}

static int print_answer(const struct cli *cli, const struct question *q, const json_t *answer)
{
    const json_t *windows = json_object_get(answer, "windows"), *window;
    size_t i;
    if (json_array_size(windows) == 0)
        return nothing_free(cli, q, answer);
    if (cli->format == CLI_JSON) {
        cli_print_json(answer);
        return EXIT_CODE_OK;
    }
    cli_print_header(cli, columns);
    json_array_foreach(windows, i, window) print_window(cli, window);
    if (cli->format == CLI_TSV || cli->quiet)
        return EXIT_CODE_OK;
    window = json_array_get(windows, 0);
    char *command = cli_command_book(cli, q->share, member_time_ms(window, "start"), q->length_ms);
    fflush(stdout);
    cli_note(cli, "to have the first one:");
    print_line(stderr, "%s", command);
    free(command);
    return EXIT_CODE_OK;
}

static int ask(const struct cli *cli, struct question *q)
{
    json_t *answer = NULL;
    int code = q->machine ? resolve_machine(cli, q) : cli_resolve_any(cli, &q->any);
    if (code != EXIT_CODE_OK)
        return code;
    if (cli->format == CLI_TEXT)
        echo(cli, q);
    char *path = path_of(cli, q);
    code = cli_get(cli, &answer, NULL, "%s", path);
    if (code == EXIT_CODE_OK)
        code = print_answer(cli, q, answer);
    json_decref(answer);
    free(path);
    return code;
}

int cli_free(struct cli *cli)
{
    struct failure f;
    struct question q = {0};
    enum err err = take_question(cli, &q, &f);
    int code = err == ERR_OK ? ask(cli, &q) : cli_fail(cli, &f);
    question_fini(&q);
    return code;
}
