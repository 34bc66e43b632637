/* `berth submit`: many requests at full speed. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "cli/progress.h"
#include "cli/spec.h"
#include "lib/base/mem.h"
#include "lib/codec/member.h"

/* A token has 16 KiB; a longer line cannot become one. */
#define LINE_LEN     (64 * 1024)
/* Requests sent between two polls for outcomes. */
#define SEND_AT_ONCE 32

/* What became of a line. */
enum word { ACCEPTED, REJECTED, PUBLISHED, UNKNOWN, INVALID, FAILED, WORD_COUNT };
static const char *const words[WORD_COUNT] = {"accepted", "rejected", "published",
                                              "unknown",  "invalid",  "failed"};

struct submit {
    struct cli *cli;
    FILE *in;
    int64_t wait_ms;
    struct cli_progress progress;
    struct cli_progress_state state;
    uint64_t line;
    uint64_t counts[WORD_COUNT];
    bool ended;       /* no more input */
    bool interrupted; /* by a signal */
    char text[LINE_LEN];
};

static const struct table_column columns[] = {
    {"line", "line", NULL},
    {"outcome", "outcome", NULL},
    {"reason", "problem.detail|event.data.reason", NULL},
    {"subject", "event.subject", NULL},
    {"event", "event.id", NULL},
    {"request", "request.id", NULL},
    {"partition", "request.partition", NULL},
    {"offset", "request.offset", NULL},
    {0},
};

/* Takes the object: what -o json prints. */
static void print_object(const struct submit *s, json_t *object)
{
    if (s->cli->format == CLI_JSON) {
        cli_print_json(object);
    } else if (s->cli->format == CLI_TSV) {
        table_print_row(columns, object);
    } else {
        const char *detail = member_text(object, "problem.detail");
        const char *reason = detail ? detail : member_text(object, "event.data.reason");
        const char *subject = member_text(object, "event.subject");
        printf("%" PRId64 " %s%s%s%s%s\n", member_number(object, "line"),
               member_shown(object, "outcome"), reason ? " " : "", reason ? reason : "",
               subject ? " " : "", subject ? subject : "");
    }
    json_decref(object);
}

/* A line without a decision. `outcome` may be NULL. */
static void print_failure(struct submit *s, uint64_t line, enum word word,
                          const struct berth_error *error, const struct berth_outcome *outcome)
{
    struct problem problem = {.code = cli_problem_code_of(error->status),
                              .detail = error->text,
                              .pointer = error->pointer[0] ? error->pointer : NULL};
    json_t *object = json_pack("{s:I, s:s}", "line", (json_int_t)line, "outcome", words[word]);
    json_t *request = outcome ? json_pack("{s:s}", "id", outcome->request_id) : NULL;
    if (outcome) {
        json_object_set_new(request, "partition", json_integer(outcome->partition));
        if (outcome->offset >= 0)
            json_object_set_new(request, "offset", json_integer(outcome->offset));
    }
    s->counts[word]++;
    json_object_set_new(object, "request", request);
    json_object_set_new(object, "problem", problem_json(&problem));
    print_object(s, object);
}

static void print_decided(struct submit *s, uint64_t line, const struct berth_outcome *outcome)
{
    enum word word = outcome->verdict == BERTH_UNDECIDED  ? PUBLISHED
                     : outcome->verdict == BERTH_ACCEPTED ? ACCEPTED
                                                          : REJECTED;
    s->counts[word]++;
    if (word != PUBLISHED && s->cli->format == CLI_JSON) {
        printf("{\"line\":%" PRIu64 ",\"outcome\":\"%s\",\"event\":%.*s}\n", line, words[word],
               (int)outcome->event_len, outcome->event);
        return;
    }
    json_t *object = json_pack("{s:I, s:s, s:o}", "line", (json_int_t)line, "outcome", words[word],
                               "request", cli_sent_json(outcome));
    if (word != PUBLISHED) {
        json_object_set_new(object, "event",
                            json_loadb(outcome->event, outcome->event_len, 0, NULL));
    }
    print_object(s, object);
}

/* Takes the outcome. */
static void on_outcome(struct submit *s, struct berth_outcome *outcome)
{
    uint64_t line = (uint64_t)(uintptr_t)outcome->tag;
    s->state.done++;
    if (outcome->status == BERTH_OK) {
        print_decided(s, line, outcome);
    } else {
        struct berth_error error = {.status = outcome->status};
        snprintf(error.text, sizeof(error.text), "%s", outcome->error);
        print_failure(s, line, outcome->status == BERTH_UNKNOWN ? UNKNOWN : FAILED, &error,
                      outcome);
    }
    berth_outcome_free(outcome);
}

/* Waits up to timeout_ms for an outcome, then prints all that have arrived. */
static void collect(struct submit *s, int timeout_ms)
{
    struct berth_outcome *outcome;
    while (true) {
        enum berth_status status = berth_poll(s->cli->client, timeout_ms, &outcome);
        if (status == BERTH_INTERRUPTED) {
            s->interrupted = s->ended = true;
            berth_abandon(s->cli->client);
            continue;
        }
        if (!outcome)
            break;
        on_outcome(s, outcome);
        timeout_ms = 0;
    }
    if (s->progress.terminal && s->progress.drawn)
        fflush(stdout);
    cli_progress_update(&s->progress, &s->state);
}

/* Reads one line into s->text, without its line end. False: end of input. *fits: the whole line
 * fitted. */
static bool read_line(struct submit *s, size_t *len_out, bool *fits)
{
    size_t len = 0;
    int c;
    *fits = true;
    while ((c = getc_unlocked(s->in)) != EOF && c != '\n') {
        s->state.input_read++;
        if (len < LINE_LEN - 1) {
            s->text[len++] = (char)c;
        } else {
            *fits = false;
        }
    }
    if (c == EOF && len == 0 && *fits)
        return false;
    s->state.input_read++;
    s->line++;
    s->text[len] = '\0';
    *len_out = len;
    return true;
}

static void invalid_line(struct submit *s, const struct berth_error *error)
{
    s->state.done++;
    s->state.sent++;
    print_failure(s, s->line, INVALID, error, NULL);
}

static void print_dry_run(struct submit *s, struct berth_message *message)
{
    json_t *object = json_pack("{s:I, s:s}", "line", (json_int_t)s->line, "outcome", "dry_run");
    json_t *parts = cli_message_json(message, NULL);
    json_object_update(object, parts);
    cli_print_json(object);
    json_decref(parts);
    json_decref(object);
    berth_message_free(message);
    s->state.sent++;
    s->state.done++;
}

/* Takes the message. */
static void send(struct submit *s, struct berth_message *message)
{
    struct berth_error error;
    struct berth_send_options options = {.wait_ms = s->wait_ms, .tag = (void *)(uintptr_t)s->line};
    enum berth_status status;
    while ((status = berth_send(s->cli->client, message, &options, &error)) == BERTH_FULL) {
        collect(s, 100);
        if (s->interrupted)
            break;
    }
    if (status == BERTH_OK) {
        s->state.sent++;
        return;
    }
    berth_message_free(message);
    s->ended = true; /* sending failed for good: later lines would fail, too */
    if (status == BERTH_INTERRUPTED || status == BERTH_FULL) {
        s->interrupted = true;
        return;
    }
    print_failure(s, s->line, FAILED, &error, NULL);
    cli_note(s->cli, "stopped at line %" PRIu64 ": %s", s->line, error.text);
}

static void one_line(struct submit *s, size_t len, bool fits)
{
    struct berth_error error = {.status = BERTH_INVALID};
    struct berth_message *message;
    struct berth_request request = {.request_json = s->text,
                                    .user = cli_user(s->cli),
                                    .lifetime_s = config_int(s->cli->cfg, "client.expires_s"),
                                    .unchecked = cli_has(s->cli, "no-check")};
    if (!fits || strlen(s->text) != len) {
        snprintf(error.text, sizeof(error.text), "%s",
                 fits ? "the line holds a NUL byte" : "the line is longer than 64 KiB");
        invalid_line(s, &error);
    } else if (berth_message_new(s->cli->client, &request, &message, &error) != BERTH_OK) {
        invalid_line(s, &error);
    } else if (cli_has(s->cli, "dry-run")) {
        print_dry_run(s, message);
    } else {
        send(s, message);
    }
}

static void run(struct submit *s)
{
    size_t len;
    bool fits;
    while (!s->ended && read_line(s, &len, &fits)) {
        if (len == strspn(s->text, " \t\r") && fits)
            continue;
        one_line(s, len, fits);
        if (s->state.sent % SEND_AT_ONCE == 0)
            collect(s, 0);
    }
    while (berth_in_flight(s->cli->client) > 0) {
        fflush(stdout);
        collect(s, 100);
    }
}

static void summarize(struct submit *s)
{
    int64_t ms = cli_progress_end(&s->progress);
    struct buf text = {0};
    for (size_t i = 0; i < WORD_COUNT; i++) {
        if (s->counts[i] > 0) {
            buf_printf(&text, "%s%" PRIu64 " %s", text.len > 0 ? ", " : ": ", s->counts[i],
                       words[i]);
        }
    }
    cli_note(s->cli, "%" PRIu64 " requests in %.1f s (%.0f/s)%s", s->state.done, (double)ms / 1000,
             (double)s->state.done * 1000 / (double)(ms > 0 ? ms : 1), text.data ? text.data : "");
    buf_fini(&text);
}

static int exit_code(const struct submit *s)
{
    if (s->interrupted)
        return 128 + cli_signal();
    if (s->counts[FAILED] > 0 || ferror(s->in))
        return EXIT_CODE_FAILURE;
    if (s->counts[INVALID] > 0)
        return EXIT_CODE_USAGE;
    if (s->counts[UNKNOWN] > 0)
        return EXIT_CODE_NO_DECISION;
    return s->counts[REJECTED] > 0 ? EXIT_CODE_REJECTED : EXIT_CODE_OK;
}

static enum err open_input(struct submit *s, struct failure *f)
{
    const struct options *opts = &s->cli->after;
    const char *path = opts->operand_count > 0 ? opts->operands[0] : "-";
    if (opts->operand_count > 1)
        return failure_set(f, ERR_USAGE, "expected one file");
    s->in = strcmp(path, "-") == 0 ? stdin : fopen(path, "r");
    if (!s->in)
        return failure_set(f, ERR_USAGE, "cannot read %s: %s", path, strerror(errno));
    struct stat stat;
    if (fstat(fileno(s->in), &stat) == 0 && S_ISREG(stat.st_mode))
        s->state.input_size = stat.st_size;
    return ERR_OK;
}

static enum err take_options(struct submit *s, int64_t *in_flight, struct failure *f)
{
    const char *text = cli_value(s->cli, "in-flight");
    struct cli_range range = {"--in-flight", 1, 100000};
    *in_flight = 0;
    enum err err = cli_wait_ms(s->cli, &s->wait_ms, f);
    if (err == ERR_OK && text)
        err = cli_integer_parse(text, range, in_flight, f);
    return err;
}

int cli_submit(struct cli *cli)
{
    struct failure f;
    int64_t in_flight;
    int code = EXIT_CODE_OK;
    struct submit *s = xcalloc(1, sizeof(*s));
    s->cli = cli;
    if (take_options(s, &in_flight, &f) != ERR_OK || open_input(s, &f) != ERR_OK) {
        free(s);
        return cli_fail(cli, &f);
    }
    if (cli_client(cli, &code)) {
        if (in_flight > 0)
            berth_set_max_in_flight(cli->client, (size_t)in_flight);
        setvbuf(stdout, NULL, _IOFBF, 1 << 18);
        cli_print_header(cli, columns);
        cli_progress_begin(&s->progress, cli->quiet);
        run(s);
        summarize(s);
        code = exit_code(s);
    }
    if (s->in != stdin)
        fclose(s->in);
    free(s);
    return code;
}
