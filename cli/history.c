/* `berth why BOOKING`: the decisions that made and changed a booking, a line each. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/spec.h"
#include "lib/base/cli_time.h"
#include "lib/base/mem.h"
#include "lib/base/print.h"
#include "lib/base/timetext.h"
#include "lib/codec/event.h"
#include "lib/codec/member.h"

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

/* The booking after the decision, or a part of it; NULL: unchanged. *displaced: an update of its
 * machine changed it. */
static const json_t *booking_after(const json_t *event, int64_t booking, bool *displaced)
{
    const json_t *after = member(event, "data.booking");
    *displaced = false;
    if (member_number(after, "id") == booking)
        return after;
    after = find(member(event, "data.series.occurrences"), "booking", booking);
    if (after)
        return after;
    after = find(member(event, "data.displaced"), "id", booking);
    *displaced = after != NULL;
    return after;
}

/* Of {"event": …, "after": the booking}. */
static const struct table_column columns[] = {
    {"event", "event.id", NULL},
    {"time", "event.time", NULL},
    {"type", "event.data.request.type", NULL},
    {"outcome", "event.type", cli_last_word},
    {"reason", "event.data.reason", NULL},
    {"detail", "event.data.detail", NULL},
    {"client", "event.data.request.client", NULL},
    {"user", "event.data.request.user", NULL},
    {"request", "event.data.request.id", NULL},
    {"version", "after.version", NULL},
    {"state", "after.state", NULL},
    {"start", "after.start", NULL},
    {"end", "after.end", NULL},
    {"machines", "after.allocations", cli_shares_text},
    {0},
};

static void print_row(const json_t *event, const json_t *after)
{
    json_t *row = json_pack("{s:O, s:O*}", "event", event, "after", after);
    table_print_row(columns, row);
    json_decref(row);
}

/* ": booked, Tue … – …, gpu-01:4:64" */
static void print_after(const struct cli *cli, const json_t *after)
{
    char window[CLI_TIME_LEN];
    char *shares = cli_shares_text(json_object_get(after, "allocations"));
    print_part(stdout, ": %s", member_or(after, "state", "changed"));
    if (member_time_ms(after, "start") != 0 && member_time_ms(after, "end") != 0)
        print_part(stdout, ", %s", cli_window_of(cli, after, window));
    if (*shares)
        print_part(stdout, ", %s", shares);
    free(shares);
}

static void print_text(const struct cli *cli, const json_t *event, const json_t *after,
                       bool displaced)
{
    char moment[CLI_TIME_LEN], whole[TIMETEXT_LEN];
    const char *reason = member_text(event, "data.reason");
    char *outcome = cli_last_word(json_object_get(event, "type"));
    int64_t ms = 0;
    /* An event's time may have milliseconds. */
    snprintf(whole, sizeof(whole), "%.19sZ", member_shown(event, "time"));
    timetext_parse(whole, strlen(whole), &ms);
    print_part(stdout, "%s  %-8s  %s %s by %s", cli_time_show(ms, cli->zone, moment),
               member_or(event, "id", "-"), member_or(event, "data.request.type", "a request"),
               outcome, member_or(event, "data.request.client", "somebody"));
    if (displaced)
        print_part(stdout, ", %s changed", member_or(event, "subject", "a machine"));
    if (reason) {
        print_part(stdout, ": %s: %s", reason,
                   member_or(event, "data.detail", "no detail was given"));
    } else if (after) {
        print_after(cli, after);
    }
    putc('\n', stdout);
    free(outcome);
}

static void print_all(const struct cli *cli, const json_t *events, int64_t booking)
{
    size_t i;
    const json_t *event;
    cli_print_header(cli, columns);
    json_array_foreach(events, i, event)
    {
        bool displaced;
        const json_t *after = booking_after(event, booking, &displaced);
        if (cli->format == CLI_TSV) {
            print_row(event, after);
        } else {
            print_text(cli, event, after, displaced);
        }
    }
}

int cli_print_history(const struct cli *cli, const char *booking)
{
    struct failure f;
    int64_t id;
    json_t *answer = NULL;
    if (cli_id_parse("booking", booking, &id, &f) != ERR_OK)
        return cli_fail(cli, &f);
    int code = cli_get(cli, &answer, NULL, "/v1/bookings/%" PRId64 "/decisions", id);
    if (code == EXIT_CODE_OK && cli->format == CLI_JSON) {
        cli_print_json(answer);
    } else if (code == EXIT_CODE_OK) {
        print_all(cli, json_object_get(answer, "items"), id);
    }
    json_decref(answer);
    return code;
}
