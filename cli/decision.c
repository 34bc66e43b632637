/* Sending one request and telling its decision. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "lib/base/mem.h"
#include "lib/base/print.h"

/* Says nothing for this long, because most decisions arrive sooner. */
#define PROGRESS_AFTER_MS 300

json_t *cli_sent_json(const struct berth_outcome *outcome)
{
    return json_pack("{s:s, s:i, s:o}", "id", outcome->request_id, "partition",
                     (int)outcome->partition, "offset",
                     outcome->offset >= 0 ? json_integer(outcome->offset) : json_null());
}

json_t *cli_message_json(const struct berth_message *message, const char *topic)
{
    json_t *object = json_pack(
        "{s:o, s:s*, s:s?, s:o, s:s}", "claims", json_loads(message->claims, 0, NULL), "topic",
        topic, "key", message->key, "partition",
        message->slot >= 0 ? json_integer(message->slot) : json_null(), "token", message->token);
    assert(object);
    return object;
}

static int print_dry_run(const struct cli *cli, const struct berth_message *message,
                         const struct cli_asked *asked)
{
    char topic[256];
    snprintf(topic, sizeof(topic), "%srequests", config_string(cli->cfg, "farm.topic_prefix"));
    if (cli->format == CLI_JSON) {
        json_t *object = cli_message_json(message, topic);
        cli_print_json(object);
        json_decref(object);
        return EXIT_CODE_OK;
    }
    json_t *claims = json_loads(message->claims, 0, NULL);
    char *text = json_dumps(claims, JSON_INDENT(2));
    if (cli->format == CLI_TEXT && asked && asked->window && *asked->window)
        print_line(stdout, "window: %s", asked->window);
    if (cli->format == CLI_TEXT && asked && asked->repeat)
        print_line(stdout, "repeat: %s", asked->repeat);
    print_part(stdout, "claims: ");
    print_lines(stdout, cli->format == CLI_TEXT ? text : message->claims);
    print_line(stdout, "topic: %s", topic);
    if (message->key) {
        print_line(stdout, "key: %s", message->key);
    } else {
        print_line(stdout, "partition: %" PRId64, message->slot);
    }
    print_line(stdout, "token: %s", message->token);
    free(text);
    json_decref(claims);
    return EXIT_CODE_OK;
}

struct waiting {
    bool published;
    int32_t partition;
    int64_t offset;
};

static void on_published(void *tag, int32_t partition, int64_t offset)
{
    struct waiting *waiting = tag;
    *waiting = (struct waiting){.published = true, .partition = partition, .offset = offset};
}

/* Waits for the outcome; on a terminal it says so. */
static enum berth_status await(struct cli *cli, const struct waiting *waiting,
                               const char *request_id, struct berth_outcome **out)
{
    bool shows = isatty(STDERR_FILENO) && !cli->quiet;
    enum berth_status status = berth_poll(cli->client, PROGRESS_AFTER_MS, out);
    while (status == BERTH_OK && !*out) {
        if (shows && waiting->published) {
            char *place = cli_place_text(waiting->partition, waiting->offset);
            cli_note(cli, "request %.8s… at %s, waiting", request_id, place);
            free(place);
            shows = false;
        }
        status = berth_poll(cli->client, PROGRESS_AFTER_MS, out);
    }
    return status;
}

static int print_published(const struct cli *cli, const struct berth_outcome *outcome)
{
    if (cli->format == CLI_JSON) {
        json_t *object = json_pack("{s:s, s:o}", "outcome", "published", "request",
                                   cli_sent_json(outcome));
        cli_print_json(object);
        json_decref(object);
    } else if (cli->format == CLI_TSV) {
        cli_print_published_row(cli, outcome);
    } else {
        char *place = cli_place_text(outcome->partition, outcome->offset);
        print_line(stdout, "request %s published at %s", outcome->request_id, place);
        free(place);
    }
    return EXIT_CODE_OK;
}

static int print_failure(const struct cli *cli, const struct berth_outcome *outcome)
{
    bool unknown = outcome->status == BERTH_UNKNOWN;
    char *advice = cli_advice(outcome->request_id);
    char *detail = unknown ? xasprintf("%s. The outcome is not known: %s", outcome->error, advice)
                           : xstrdup(outcome->error);
    struct problem problem = {.code = cli_problem_code_of(outcome->status), .detail = detail};
    json_t *extra = json_pack("{s:{s:s}}", "request", "id", outcome->request_id);
    if (outcome->offset >= 0) {
        json_t *request = json_object_get(extra, "request");
        json_object_set_new(request, "partition", json_integer(outcome->partition));
        json_object_set_new(request, "offset", json_integer(outcome->offset));
    }
    int code = cli_problem(cli, cli_exit_code_of(outcome->status), &problem, extra);
    free(advice);
    free(detail);
    return code;
}

/* With --request-id, a request whose times mean something else by now is refused as another request
 * with that id, if the reader did not know the first decision before the request was sent. */
static bool print_first(struct cli *cli, const struct berth_outcome *outcome, const json_t *request,
                        int *code)
{
    return cli_has(cli, "request-id") && outcome->reason &&
           strcmp(outcome->reason, reason_name(REASON_REQUEST_ID_REUSED)) == 0 &&
           cli_print_earlier(cli, request, code);
}

static int print_outcome(struct cli *cli, const struct berth_outcome *outcome,
                         const json_t *request, const struct cli_asked *asked)
{
    int code;
    if (outcome->status != BERTH_OK)
        return print_failure(cli, outcome);
    if (outcome->verdict == BERTH_UNDECIDED)
        return print_published(cli, outcome);
    if (print_first(cli, outcome, request, &code))
        return code;
    json_t *event = json_loadb(outcome->event, outcome->event_len, 0, NULL);
    code = cli_print_decision(cli, event, outcome->event, asked);
    json_decref(event);
    return code;
}

/* Takes the message. */
static int send_and_wait(struct cli *cli, struct berth_message *message, int64_t wait_ms,
                         const json_t *request, const struct cli_asked *asked)
{
    struct waiting waiting = {0};
    struct berth_error error;
    struct berth_send_options options = {
        .wait_ms = wait_ms, .tag = &waiting, .published = on_published};
    char *request_id = xstrdup(message->request_id);
    struct berth_outcome *outcome = NULL;
    int code;
    if (berth_send(cli->client, message, &options, &error) != BERTH_OK) {
        berth_message_free(message);
        code = cli_fail_client(cli, &error, request_id);
    } else if (await(cli, &waiting, request_id, &outcome) == BERTH_INTERRUPTED) {
        error.status = BERTH_INTERRUPTED;
        error.pointer[0] = '\0';
        char *advice = cli_advice(request_id);
        snprintf(error.text, sizeof(error.text),
                 "interrupted; the request may be decided none the less: %s", advice);
        free(advice);
        code = cli_fail_client(cli, &error, request_id);
    } else {
        assert(outcome);
        code = print_outcome(cli, outcome, request, asked);
    }
    berth_outcome_free(outcome);
    free(request_id);
    return code;
}

/* Signs the request and sends it; with --dry-run prints it. */
static int sign_and_send(struct cli *cli, const struct berth_client *client, const json_t *request,
                         const struct cli_asked *asked)
{
    struct failure f;
    struct berth_error error;
    struct berth_message *message;
    int64_t wait_ms = 0;
    if (cli_wait_ms(cli, &wait_ms, &f) != ERR_OK)
        return cli_fail(cli, &f);
    char *text = json_dumps(request, JSON_COMPACT);
    assert(text);
    struct berth_request in = {.request_json = text,
                               .user = cli_user(cli),
                               .request_id = cli_value(cli, "request-id"),
                               .lifetime_s = config_int(cli->cfg, "client.expires_s"),
                               .unchecked = cli_has(cli, "no-check")};
    enum berth_status status = berth_message_new(client, &in, &message, &error);
    free(text);
    if (status != BERTH_OK)
        return cli_fail_client(cli, &error, NULL);
    int code;
    if (!cli_has(cli, "dry-run")) {
        if (!cli_has(cli, "request-id") || !cli_print_earlier(cli, request, &code))
            return send_and_wait(cli, message, wait_ms, request, asked);
    } else {
        code = print_dry_run(cli, message, asked);
    }
    berth_message_free(message);
    return code;
}

int cli_decide(struct cli *cli, json_t *request, const struct cli_asked *asked)
{
    int code = EXIT_CODE_OK;
    const struct berth_client *client = cli_client(cli, &code);
    if (client)
        code = sign_and_send(cli, client, request, asked);
    json_decref(request);
    return code;
}
