/* `berth submit`: many requests at full speed. */
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/journal.h"
#include "cli/lines.h"
#include "cli/progress.h"
#include "cli/spec.h"
#include "lib/base/clock.h"
#include "lib/base/mem.h"
#include "lib/base/print.h"
#include "lib/codec/member.h"

/* Requests sent between two polls for outcomes. */
#define SEND_AT_ONCE   32
/* How long one wait for outcomes, or for input while nothing is in flight, lasts. */
#define WAIT_MS        20
#define IDLE_MS        100
/* After the brokers refused or did not answer, lines fail at once for this long. */
#define REFUSED_FOR_MS 10000

/* What became of a line. */
enum word { ACCEPTED, REJECTED, PUBLISHED, UNKNOWN, INVALID, FAILED, WORD_COUNT };
static const char *const words[WORD_COUNT] = {"accepted", "rejected", "published",
                                              "unknown",  "invalid",  "failed"};

struct submit {
    struct cli *cli;
    struct lines *in;
    struct journal *journal; /* NULL: without --resume */
    int64_t wait_ms;
    struct cli_progress progress;
    struct cli_progress_state state;
    uint64_t counts[WORD_COUNT];
    uint64_t skipped;           /* decided in an earlier run */
    uint64_t skipped_rejected;  /* of these */
    uint64_t unwritten;         /* outcomes of sent requests that stdout may not have */
    uint64_t shown;             /* rows since the last flush */
    struct berth_error refusal; /* why nothing can be sent; BERTH_OK: nothing is known */
    int64_t refused_ms;
    bool ended;       /* no more input is wanted */
    bool interrupted; /* by a signal */
    bool broken; /* stdout or the journal cannot be written, or the input is not the journal's */
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
        print_line(stdout, "%" PRId64 " %s%s%s%s%s", member_number(object, "line"),
                   member_shown(object, "outcome"), reason ? " " : "", reason ? reason : "",
                   subject ? " " : "", subject ? subject : "");
    }
    json_decref(object);
}

/* A line without a decision. Takes `request`, what is known of its message; NULL: nothing. */
static void print_failure(struct submit *s, uint64_t line, enum word word,
                          const struct berth_error *error, json_t *request)
{
    struct problem problem = {.code = cli_problem_code_of(error->status),
                              .detail = error->text,
                              .pointer = error->pointer[0] ? error->pointer : NULL};
    json_t *object = json_pack("{s:I, s:s}", "line", (json_int_t)line, "outcome", words[word]);
    s->counts[word]++;
    json_object_set_new(object, "request", request);
    json_object_set_new(object, "problem", problem_json(&problem));
    print_object(s, object);
}

static enum word word_of(const struct berth_outcome *outcome)
{
    if (outcome->status != BERTH_OK)
        return outcome->status == BERTH_UNKNOWN ? UNKNOWN : FAILED;
    return outcome->verdict == BERTH_UNDECIDED  ? PUBLISHED
           : outcome->verdict == BERTH_ACCEPTED ? ACCEPTED
                                                : REJECTED;
}

static void print_decided(struct submit *s, uint64_t line, const struct berth_outcome *outcome)
{
    enum word word = word_of(outcome);
    s->counts[word]++;
    if (word != PUBLISHED && s->cli->format == CLI_JSON) {
        char *row = xasprintf("{\"line\":%" PRIu64 ",\"outcome\":\"%s\",\"event\":%.*s}", line,
                              words[word], (int)outcome->event_len, outcome->event);
        print_json(stdout, row);
        free(row);
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

/* Writes down what became of a line's request; without a journal nothing. request_id may be NULL. */
static void record(struct submit *s, const struct journal_line *line, enum word word,
                   const char *request_id)
{
    if (s->journal)
        journal_add(s->journal, line, words[word], request_id);
}

/* What is known of a message that has no decision. */
static json_t *place_json(const struct berth_outcome *outcome)
{
    json_t *request = json_pack("{s:s, s:i}", "id", outcome->request_id, "partition",
                                (int)outcome->partition);
    if (outcome->offset >= 0)
        json_object_set_new(request, "offset", json_integer(outcome->offset));
    return request;
}

/* Takes the outcome. */
static void on_outcome(struct submit *s, struct berth_outcome *outcome)
{
    struct journal_line *line = outcome->tag;
    enum word word = word_of(outcome);
    s->state.done++;
    record(s, line, word, outcome->request_id);
    if (outcome->status == BERTH_OK) {
        print_decided(s, line->number, outcome);
    } else {
        struct berth_error error = {.status = outcome->status};
        snprintf(error.text, sizeof(error.text), "%s", outcome->error);
        print_failure(s, line->number, word, &error, place_json(outcome));
    }
    s->shown++;
    free(line);
    berth_outcome_free(outcome);
}

/* Ends the input, and the wait for decisions. */
static void stop(struct submit *s)
{
    s->ended = true;
    berth_abandon(s->cli->client);
}

/* Writes what was printed. When nobody reads the outcomes, or they cannot be written down, nothing
 * more is sent. */
static void flush(struct submit *s)
{
    struct failure f;
    bool journal_ok = !s->journal || journal_flush(s->journal, &f) == ERR_OK;
    bool printed = fflush(stdout) == 0 && !ferror(stdout);
    if (!printed)
        s->unwritten += s->shown;
    s->shown = 0;
    if ((printed && journal_ok) || s->broken)
        return;
    s->broken = true;
    cli_note(s->cli, "%s; sending stops", journal_ok ? "nobody reads the outcomes" : f.text);
    stop(s);
}

/* Waits up to timeout_ms for an outcome, then prints all that have arrived. */
static void collect(struct submit *s, int timeout_ms)
{
    struct berth_outcome *outcome;
    while (true) {
        enum berth_status status = berth_poll(s->cli->client, timeout_ms, &outcome);
        if (status == BERTH_INTERRUPTED) {
            s->interrupted = true;
            stop(s);
            continue;
        }
        if (!outcome)
            break;
        on_outcome(s, outcome);
        timeout_ms = 0;
    }
    flush(s);
    s->state.input_read = lines_read(s->in);
    cli_progress_update(&s->progress, &s->state);
}

static void invalid_line(struct submit *s, uint64_t number, const struct berth_error *error)
{
    s->state.done++;
    s->state.sent++;
    print_failure(s, number, INVALID, error, NULL);
}

/* Takes the message. */
static void print_dry_run(struct submit *s, uint64_t number, struct berth_message *message)
{
    json_t *object = json_pack("{s:I, s:s}", "line", (json_int_t)number, "outcome", "dry_run");
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
static void failed_line(struct submit *s, const struct journal_line *line,
                        struct berth_message *message)
{
    struct berth_error error = s->refusal;
    snprintf(error.text, sizeof(error.text), "not sent: %.900s", s->refusal.text);
    s->state.done++;
    s->state.sent++;
    record(s, line, FAILED, message->request_id);
    print_failure(s, line->number, FAILED, &error, json_pack("{s:s}", "id", message->request_id));
    berth_message_free(message);
}

/* Sends, and waits for room if too many requests are in flight. Takes the message on BERTH_OK. */
static enum berth_status send_waiting(struct submit *s, struct berth_message *message,
                                      struct journal_line *line, struct berth_error *error)
{
    struct berth_send_options options = {.wait_ms = s->wait_ms, .tag = line};
    enum berth_status status;
    while ((status = berth_send(s->cli->client, message, &options, error)) == BERTH_FULL) {
        collect(s, IDLE_MS);
        if (s->ended)
            return BERTH_INTERRUPTED;
    }
    return status;
}

/* Takes the message. */
static void send(struct submit *s, const struct journal_line *line, struct berth_message *message)
{
    struct berth_error error;
    bool refused = s->refusal.status != BERTH_OK;
    if (refused && clock_mono_ms() - s->refused_ms < REFUSED_FOR_MS) {
        failed_line(s, line, message);
        return;
    }
    struct journal_line *tag = xmalloc(sizeof(*tag));
    *tag = *line;
    enum berth_status status = send_waiting(s, message, tag, &error);
    if (status == BERTH_OK) {
        s->refusal.status = BERTH_OK;
        s->state.sent++;
        return;
    }
    free(tag);
    if (status == BERTH_INTERRUPTED) {
        s->interrupted = !s->broken;
        s->ended = true;
        berth_message_free(message);
        return;
    }
    s->refusal = error;
    s->refused_ms = clock_mono_ms();
    cli_note(s->cli, "line %" PRIu64 " is not sent, nor are the next ones: %s", line->number,
             error.text);
    failed_line(s, line, message);
}

/* The parts of a line: `request` borrowed from `root`, or the line itself. */
struct parts {
    json_t *root;
    char *request_json; /* of a line with more than the request; caller frees */
    const char *request_id, *user;
};

static bool wrong_part(struct berth_error *error, const char *name, const char *text)
{
    snprintf(error->text, sizeof(error->text), "%.100s: %s", name, text);
    snprintf(error->pointer, sizeof(error->pointer), "/%.100s", name);
    return false;
}

/* Takes {"request": {...}, "request_id": "...", "user": "..."} apart; no request object has a member
 * `request`. A line that is no such object is left to berth_message_new, which says why. */
static bool take_apart(const char *text, struct parts *parts, struct berth_error *error)
{
    const char *name;
    json_t *value;
    parts->root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    json_t *request = json_object_get(parts->root, "request");
    if (!request)
        return true;
    json_object_foreach(parts->root, name, value)
    {
        const char **part = strcmp(name, "request_id") == 0 ? &parts->request_id
                            : strcmp(name, "user") == 0     ? &parts->user
                                                            : NULL;
        if (value == request)
            continue;
        if (!part)
            return wrong_part(error, name, "expected request, request_id and user only");
        if (!json_is_string(value))
            return wrong_part(error, name, "expected a string");
        *part = json_string_value(value);
    }
    parts->request_json = json_dumps(request, JSON_COMPACT | JSON_ENCODE_ANY);
    return true;
}

/* Makes the line's message. False: the error says why not. */
static bool make_message(struct submit *s, const struct line *line, struct berth_message **out,
                         struct berth_error *error)
{
    struct parts parts = {0};
    char id[JOURNAL_ID_LEN];
    bool ok = take_apart(line->text, &parts, error);
    if (ok) {
        const char *own_id = s->journal ? journal_id(s->journal, line->number, id) : NULL;
        struct berth_request request = {.request_json = parts.request_json ? parts.request_json
                                                                           : line->text,
                                        .user = parts.user ? parts.user : cli_user(s->cli),
                                        .request_id = parts.request_id ? parts.request_id : own_id,
                                        .lifetime_s = config_int(s->cli->cfg, "client.expires_s"),
                                        .unchecked = cli_has(s->cli, "no-check")};
        ok = berth_message_new(s->cli->client, &request, out, error) == BERTH_OK;
    }
    free(parts.request_json);
    json_decref(parts.root);
    return ok;
}

/* Whether an earlier run has the line's decision. Ends the run if the input has changed since. */
static bool skip(struct submit *s, const struct journal_line *line)
{
    struct failure f;
    bool decided = false, accepted = false;
    if (s->journal && journal_find(s->journal, line, &decided, &accepted, &f) != ERR_OK) {
        cli_note(s->cli, "%s", f.text);
        s->broken = true;
        stop(s);
        return true;
    }
    s->skipped += decided;
    s->skipped_rejected += decided && !accepted;
    return decided;
}

static void one_line(struct submit *s, const struct line *line)
{
    struct berth_error error = {.status = BERTH_INVALID};
    struct berth_message *message;
    if (!line->too_long && line->len == strspn(line->text, " \t\r"))
        return;
    struct journal_line known = {.number = line->number};
    if (s->journal)
        known = journal_line(line->number, line->text, line->len);
    if (skip(s, &known))
        return;
    if (line->too_long || strlen(line->text) != line->len) {
        snprintf(error.text, sizeof(error.text), "%s",
                 line->too_long ? "the line is longer than 64 KiB" : "the line holds a NUL byte");
        invalid_line(s, line->number, &error);
    } else if (!make_message(s, line, &message, &error)) {
        invalid_line(s, line->number, &error);
    } else if (cli_has(s->cli, "dry-run")) {
        print_dry_run(s, line->number, message);
    } else {
        send(s, &known, message);
    }
}

/* Sends what the input has, and prints outcomes as they come, whether the input goes on or not. */
static void run(struct submit *s)
{
    struct line line;
    while (!s->ended) {
        bool flying = berth_in_flight(s->cli->client) > 0;
        enum lines_next next = lines_next(s->in, flying ? 0 : IDLE_MS, &line);
        if (next == LINES_END)
            break;
        if (next == LINES_READY)
            one_line(s, &line);
        if (next == LINES_NONE || s->state.sent % SEND_AT_ONCE == 0)
            collect(s, next == LINES_NONE && flying ? WAIT_MS : 0);
    }
    while (berth_in_flight(s->cli->client) > 0)
        collect(s, IDLE_MS);
    flush(s);
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
    if (s->skipped > 0) {
        cli_note(s->cli, "%" PRIu64 " lines were decided in an earlier run, %" PRIu64 " rejected",
                 s->skipped, s->skipped_rejected);
    }
    if (s->unwritten > 0) {
        cli_note(s->cli, "the outcomes of %" PRIu64 " sent requests could not be printed",
                 s->unwritten);
    }
    if (lines_error(s->in) != 0)
        cli_note(s->cli, "cannot read the input any further: %s", strerror(lines_error(s->in)));
    buf_fini(&text);
}

static int exit_code(const struct submit *s)
{
    if (s->interrupted)
        return 128 + cli_signal();
    if (s->counts[FAILED] > 0 || s->broken || lines_error(s->in) != 0)
        return EXIT_CODE_FAILURE;
    if (s->counts[INVALID] > 0)
        return EXIT_CODE_USAGE;
    if (s->counts[UNKNOWN] > 0)
        return EXIT_CODE_NO_DECISION;
    return s->counts[REJECTED] + s->skipped_rejected > 0 ? EXIT_CODE_REJECTED : EXIT_CODE_OK;
}

/* Opens the input, and the journal if one is asked for. */
static enum err open_files(struct submit *s, struct failure *f)
{
    const struct options *opts = &s->cli->after;
    const char *resume = cli_value(s->cli, "resume");
    if (opts->operand_count > 1)
        return failure_set(f, ERR_USAGE, "expected one file");
    enum err err = lines_open(opts->operand_count > 0 ? opts->operands[0] : "-", &s->in, f);
    if (err != ERR_OK || !resume)
        return err;
    struct journal_run run = {.farm = config_string(s->cli->cfg, "farm.name"),
                              .client = config_string(s->cli->cfg, "client.name")};
    err = journal_open(resume, &run, cli_has(s->cli, "dry-run"), &s->journal, f);
    if (err == ERR_OK && journal_is_output(s->journal)) {
        cli_note(s->cli,
                 "%s has no request ids for lines without an outcome: those are sent as new",
                 resume);
    }
    return err;
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

static int submit_all(struct submit *s)
{
    struct failure f;
    if (open_files(s, &f) != ERR_OK)
        return cli_fail(s->cli, &f);
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, cli_has(s->cli, "line-buffered") ? _IOLBF : _IOFBF, 1 << 18);
    cli_print_header(s->cli, columns);
    cli_progress_begin(&s->progress, s->cli->quiet);
    s->state.input_size = lines_size(s->in);
    run(s);
    summarize(s);
    return exit_code(s);
}

int cli_submit(struct cli *cli)
{
    struct failure f;
    int64_t in_flight;
    int code = EXIT_CODE_OK;
    struct submit s = {.cli = cli};
    if (take_options(&s, &in_flight, &f) != ERR_OK)
        return cli_fail(cli, &f);
    if (!cli_client(cli, &code))
        return code;
    if (in_flight > 0)
        berth_set_max_in_flight(cli->client, (size_t)in_flight);
    code = submit_all(&s);
    journal_close(s.journal);
    lines_close(s.in);
    return code;
}
