/* `berth why BOOKING`: the decisions that made and changed a booking, a line each. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/member.h"
#include "cli/spec.h"
#include "lib/base/cli_time.h"
#include "lib/base/mem.h"
#include "lib/base/timetext.h"
#include "lib/codec/event.h"

#define COLUMN_COUNT 14

/* The part of a decision that concerns the booking. Borrowed from the event, except `shares`. */
struct step {
    const char *id, *time, *type, *outcome, *reason, *detail, *client, *user, *request, *subject;
    const json_t *after; /* the booking after the decision, or a part of it; NULL: unchanged */
    bool displaced;      /* changed by an update of its machine */
    char *shares;        /* the machines in `after`; NULL: it has none */
};

/* The element of the array whose member `name` is the booking; NULL: none. */
static const json_t *find(const json_t *array, const char *name, int64_t booking)
{
    size_t i;
    const json_t *item;
    json_array_foreach(array, i, item)
    {
        if (member_number(item, name) == booking)
            return item;
    }
    return NULL;
}

static void read_step(const json_t *event, int64_t booking, struct step *step)
{
    const json_t *data = json_object_get(event, "data");
    const json_t *request = json_object_get(data, "request"),
                 *own = json_object_get(data, "booking");
    const char *type = member_text(event, "type");
    bool accepted = type && strcmp(type, EVENT_TYPE_ACCEPTED) == 0;
    *step = (struct step){
        .id = member_text(event, "id"),
        .time = member_text(event, "time"),
        .type = member_text(request, "type"),
        .outcome = accepted ? "accepted" : "rejected",
        .reason = member_text(data, "reason"),
        .detail = member_text(data, "detail"),
        .client = member_text(request, "client"),
        .user = member_text(request, "user"),
        .request = member_text(request, "id"),
        .subject = member_text(event, "subject"),
    };
    if (member_number(own, "id") == booking)
        step->after = own;
    if (!step->after) {
        step->after = find(json_object_get(json_object_get(data, "series"), "occurrences"),
                           "booking", booking);
    }
    if (!step->after) {
        step->after = find(json_object_get(data, "displaced"), "id", booking);
        step->displaced = step->after != NULL;
    }
    const json_t *shares = json_object_get(step->after, "allocations");
    if (shares)
        step->shares = cli_shares_text(shares);
}

/* ---- output -------------------------------------------------------------------------------- */

static void print_row(const struct step *step)
{
    char version[MEMBER_DIGITS_LEN];
    const char *row[COLUMN_COUNT] = {step->id,
                                     step->time,
                                     step->type,
                                     step->outcome,
                                     step->reason,
                                     step->detail,
                                     step->client,
                                     step->user,
                                     step->request,
                                     member_digits(step->after, "version", version),
                                     member_text(step->after, "state"),
                                     member_text(step->after, "start"),
                                     member_text(step->after, "end"),
                                     step->shares};
    cli_print_tsv(row, COLUMN_COUNT);
}

/* ": booked, Tue … – …, gpu-01:4:64" */
static void print_after(const struct cli *cli, const struct step *step)
{
    char window[CLI_WINDOW_LEN];
    int64_t start_ms = member_time_ms(step->after, "start"),
            end_ms = member_time_ms(step->after, "end");
    const char *state = member_text(step->after, "state");
    printf(": %s", state ? state : "changed");
    if (start_ms != 0 && end_ms != 0)
        printf(", %s", cli_time_window(start_ms, end_ms, cli->zone, window));
    if (step->shares && *step->shares)
        printf(", %s", step->shares);
}

static void print_step(const struct cli *cli, const struct step *step)
{
    char moment[CLI_WINDOW_LEN], whole[TIMETEXT_LEN];
    int64_t ms = 0;
    /* An event's time may have milliseconds. */
    snprintf(whole, sizeof(whole), "%.19sZ", step->time ? step->time : "");
    timetext_parse(whole, strlen(whole), &ms);
    printf("%s  %-8s  %s %s by %s", cli_time_show(ms, cli->zone, moment), step->id ? step->id : "-",
           step->type ? step->type : "a request", step->outcome,
           step->client ? step->client : "somebody");
    if (step->displaced)
        printf(", %s changed", step->subject ? step->subject : "a machine");
    if (step->reason) {
        printf(": %s: %s", step->reason, step->detail ? step->detail : "no detail was given");
    } else if (step->after) {
        print_after(cli, step);
    }
    putchar('\n');
}

static void print_steps(const struct cli *cli, const json_t *events, int64_t booking)
{
    static const char *const header[COLUMN_COUNT] = {
        "event", "time",    "type",    "outcome", "reason", "detail", "client",
        "user",  "request", "version", "state",   "start",  "end",    "machines"};
    size_t i;
    const json_t *event;
    cli_print_header(cli, header, COLUMN_COUNT);
    json_array_foreach(events, i, event)
    {
        struct step step;
        read_step(event, booking, &step);
        if (cli->format == CLI_TSV) {
            print_row(&step);
        } else {
            print_step(cli, &step);
        }
        free(step.shares);
    }
}

int cli_print_history(const struct cli *cli, const char *booking)
{
    struct failure f;
    int64_t id;
    json_t *answer = NULL;
    if (cli_booking_parse(booking, &id, &f) != ERR_OK)
        return cli_fail(cli, &f);
    char *path = xasprintf("/v1/bookings/%" PRId64 "/decisions", id);
    int code = cli_get(cli, path, &answer, NULL);
    if (code == EXIT_CODE_OK && cli->format == CLI_JSON) {
        cli_print_json(answer);
    } else if (code == EXIT_CODE_OK) {
        print_steps(cli, json_object_get(answer, "items"), id);
    }
    json_decref(answer);
    free(path);
    return code;
}
