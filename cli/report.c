/* Messages and problems, for people and for programs. */
#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "lib/base/mem.h"
#include "lib/base/print.h"

void cli_note(const struct cli *cli, const char *format, ...)
{
    if (cli->quiet)
        return;
    struct buf text = {0};
    va_list args;
    va_start(args, format);
    buf_vprintf(&text, format, args);
    va_end(args);
    print_line(stderr, "berth: %s", text.data);
    buf_fini(&text);
}

void cli_print_json(const json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    assert(text);
    print_json(stdout, text);
    free(text);
}

void cli_print_header(const struct cli *cli, const struct table_column *columns)
{
    if (cli->format == CLI_TSV && cli->headers)
        table_print_names(columns);
}

char *cli_last_word(const json_t *type)
{
    const char *text = json_string_value(type), *last = text ? strrchr(text, '.') : NULL;
    return xstrdup(last ? last + 1 : text ? text : "");
}

int cli_problem(const struct cli *cli, int code, const struct problem *problem, json_t *extra)
{
    if (cli->silent) {
        /* Nobody asked for a sentence. */
    } else if (cli->json_problems) {
        json_t *object = problem_json(problem);
        json_object_update_missing(object, extra);
        cli_print_json(object);
        json_decref(object);
    } else if (problem->reason != REASON_NONE) {
        print_line(stderr, "berth: rejected: %s: %s", reason_name(problem->reason),
                   problem->detail);
    } else {
        print_line(stderr, "berth: %s", problem->detail);
    }
    json_decref(extra);
    return code;
}

int cli_fail(const struct cli *cli, const struct failure *f)
{
    enum problem_code code = PROBLEM_INTERNAL;
    if (f->err == ERR_USAGE) {
        code = PROBLEM_USAGE;
    } else if (f->err == ERR_CONFIG) {
        code = PROBLEM_CONFIGURATION;
    } else if (f->err == ERR_NOT_FOUND) {
        code = PROBLEM_NOT_FOUND;
    }
    struct problem problem = {.code = code, .detail = f->text};
    return cli_problem(cli, (int)err_exit_code(f->err), &problem, NULL);
}

int cli_usage(const struct cli *cli, const char *format, ...)
{
    struct failure f;
    va_list args;
    va_start(args, format);
    (void)failure_vset(&f, ERR_USAGE, format, args);
    va_end(args);
    return cli_fail(cli, &f);
}

/* What each status of libberth means. */
static const struct {
    int exit_code;
    enum problem_code problem;
} meanings[] = {
    [BERTH_OK] = {EXIT_CODE_OK, PROBLEM_INTERNAL},
    [BERTH_INVALID] = {EXIT_CODE_USAGE, PROBLEM_USAGE},
    [BERTH_CONFIG] = {EXIT_CODE_USAGE, PROBLEM_CONFIGURATION},
    [BERTH_UNREACHABLE] = {EXIT_CODE_FAILURE, PROBLEM_UNAVAILABLE},
    [BERTH_AUTH] = {EXIT_CODE_USAGE, PROBLEM_CONFIGURATION},
    [BERTH_TOPIC] = {EXIT_CODE_USAGE, PROBLEM_CONFIGURATION},
    [BERTH_TOO_LARGE] = {EXIT_CODE_USAGE, PROBLEM_USAGE},
    [BERTH_FULL] = {EXIT_CODE_FAILURE, PROBLEM_INTERNAL},
    [BERTH_UNKNOWN] = {EXIT_CODE_NO_DECISION, PROBLEM_NO_DECISION},
    [BERTH_INTERRUPTED] = {EXIT_CODE_NO_DECISION, PROBLEM_NO_DECISION},
    [BERTH_KAFKA] = {EXIT_CODE_FAILURE, PROBLEM_INTERNAL},
    [BERTH_GAP] = {EXIT_CODE_FAILURE, PROBLEM_INTERNAL},
};

static_assert(sizeof(meanings) / sizeof(meanings[0]) == BERTH_GAP + 1, "a row for each status");

int cli_exit_code_of(enum berth_status status)
{
    return status == BERTH_INTERRUPTED && cli_signal() ? 128 + cli_signal()
                                                       : meanings[status].exit_code;
}

enum problem_code cli_problem_code_of(enum berth_status status)
{
    return meanings[status].problem;
}

int cli_fail_client(const struct cli *cli, const struct berth_error *error, const char *request_id)
{
    struct problem problem = {
        .code = cli_problem_code_of(error->status),
        .detail = error->text,
        .pointer = error->pointer[0] ? error->pointer : NULL,
    };
    json_t *extra = request_id ? json_pack("{s:{s:s}}", "request", "id", request_id) : NULL;
    return cli_problem(cli, cli_exit_code_of(error->status), &problem, extra);
}
