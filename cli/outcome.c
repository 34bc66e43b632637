/* How a decision looks: text, JSON, TSV. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/spec.h"
#include "lib/base/cli_time.h"
#include "lib/base/mem.h"
#include "lib/base/print.h"
#include "lib/codec/event.h"
#include "lib/codec/member.h"

/* The numbers of an array, or the ids of its objects, with `separator` between them; caller frees. */
static char *numbers_text(const json_t *array, const char *separator)
{
    struct buf text = {0};
    size_t i;
    const json_t *item;
    buf_puts(&text, "");
    json_array_foreach(array, i, item)
    {
        const json_t *number = json_is_object(item) ? json_object_get(item, "id") : item;
        buf_printf(&text, "%s%" JSON_INTEGER_FORMAT, i > 0 ? separator : "",
                   json_integer_value(number));
    }
    return text.data;
}

static char *ids_text(const json_t *array)
{
    return numbers_text(array, ",");
}

/* NAME:LIMIT:USED:ASKED */
static char *limit_text(const json_t *limit)
{
    return xasprintf("%s:%" PRId64 ":%" PRId64 ":%" PRId64, member_text(limit, "name"),
                     member_number(limit, "limit"), member_number(limit, "used"),
                     member_number(limit, "asked"));
}

/* Columns of a decision, in its event; new ones only at the end. */
static const struct table_column columns[] = {
    {"outcome", "type", cli_last_word},
    {"reason", "data.reason", NULL}, /* of a rejection or of an occurrence that was left out */
    {"subject", "subject", NULL},
    {"event", "id", NULL},
    {"request", "data.request.id", NULL},
    {"partition", "data.request.partition", NULL},
    {"offset", "data.request.offset", NULL},
    {"duplicate_of", "data.duplicate_of", NULL},
    {"series", "data.booking.series", NULL},
    {"booking", "data.booking.id", NULL},
    {"version", "data.booking.version|data.machine.version", NULL},
    {"state", "data.booking.state|data.machine.state", NULL},
    {"start", "data.booking.start", NULL},
    {"end", "data.booking.end", NULL},
    {"machines", "data.booking.allocations", cli_shares_text},
    /* the one that the reason is about; at data.machine in older events */
    {"machine", "data.machine_name|data.machine", NULL},
    {"free", "data.machines_free", cli_shares_text},
    {"next_available", "data.next_available", NULL},
    {"fitting", "data.fitting", NULL},
    {"in_use", "data.in_use", ids_text},
    {"limit", "data.limit", limit_text},
    {"displaced", "data.displaced", ids_text},
    {"previous_start", "data.previous.start", NULL},
    {"previous_end", "data.previous.end", NULL},
    {"previous_machines", "data.previous.allocations", cli_shares_text},
    {"effective_from", "data.effective_from", NULL},
    {0},
};

void cli_print_columns(FILE *out)
{
    for (size_t i = 0; columns[i].name; i++)
        print_part(out, "%s`%s`", i > 0 ? ", " : "", columns[i].name);
}

/* The event as if it told of this occurrence of its series alone; a new reference. */
static json_t *event_of_occurrence(const json_t *event, const json_t *item)
{
    json_t *one = json_copy((json_t *)event), *booking = json_copy((json_t *)item);
    json_object_set(booking, "id", json_object_get(item, "booking"));
    json_object_set(booking, "series", (json_t *)member(event, "data.series.id"));
    if (json_object_get(item, "reason"))
        json_object_set_new(booking, "state", json_string("left_out"));
    json_t *data = json_pack("{s:o}", "booking", booking);
    json_object_set(data, "request", (json_t *)member(event, "data.request"));
    json_object_set(data, "duplicate_of", (json_t *)member(event, "data.duplicate_of"));
    json_object_set(data, "reason", json_object_get(item, "reason"));
    json_object_set(data, "machine", json_object_get(item, "machine"));
    json_object_set(data, "previous", json_object_get(item, "previous"));
    json_object_set_new(one, "data", data);
    return one;
}

/* One row, or one for each occurrence of a series. */
static void print_rows(const struct cli *cli, const json_t *event)
{
    const json_t *series = member(event, "data.series"), *item;
    size_t i;
    cli_print_header(cli, columns);
    if (!series)
        table_print_row(columns, event);
    json_array_foreach(json_object_get(series, "occurrences"), i, item)
    {
        json_t *one = event_of_occurrence(event, item);
        table_print_row(columns, one);
        json_decref(one);
    }
}

char *cli_place_text(int32_t partition, int64_t offset)
{
    return offset >= 0 ? xasprintf("%" PRId32 ":%" PRId64, partition, offset)
                       : xasprintf("%" PRId32 ":?", partition);
}

void cli_print_published_row(const struct cli *cli, const struct berth_outcome *outcome)
{
    json_t *event = json_pack("{s:s, s:{s:o}}", "type", "published", "data", "request",
                              cli_sent_json(outcome));
    cli_print_header(cli, columns);
    table_print_row(columns, event);
    json_decref(event);
}

/* "Tue … – …, gpu-01:4:64": what a booking held before; caller frees. */
static char *before_text(const struct cli *cli, const json_t *previous)
{
    char window[CLI_TIME_LEN];
    char *shares = cli_shares_text(json_object_get(previous, "allocations"));
    char *text = xasprintf("%s%s%s", cli_window_of(cli, previous, window), *shares ? ", " : "",
                           shares);
    free(shares);
    return text;
}

static void print_before(const struct cli *cli, const json_t *data)
{
    const json_t *previous = json_object_get(data, "previous");
    int64_t ms = member_time_ms(data, "effective_from");
    char moment[CLI_TIME_LEN];
    if (!previous)
        return;
    char *before = before_text(cli, previous);
    print_line(stdout, "  before%s%s: %s", ms > 0 ? ", until " : "",
               ms > 0 ? cli_time_show(ms, cli->zone, moment) : "", before);
    free(before);
}

static void print_displaced(const struct cli *cli, const json_t *data)
{
    size_t i;
    const json_t *booking;
    json_array_foreach(json_object_get(data, "displaced"), i, booking)
    {
        const json_t *previous = json_object_get(booking, "previous");
        const char *user = member_text(booking, "user");
        char *before = previous ? before_text(cli, previous) : xstrdup("");
        print_part(stdout, "displaced: booking %" PRId64 " of %s, now %s",
                   member_number(booking, "id"), member_text(booking, "client"),
                   member_text(booking, "state"));
        print_line(stdout, "%s%s%s%s", user ? ", for " : "", user ? user : "",
                   *before ? "; before: " : "", before);
        free(before);
    }
}

/* The shares that all booked occurrences of the series have in common; NULL: they differ. */
static const json_t *common_shares(const json_t *occurrences)
{
    const json_t *first = NULL, *item;
    size_t i;
    json_array_foreach(occurrences, i, item)
    {
        const json_t *own = json_object_get(item, "allocations");
        if (json_array_size(own) == 0)
            continue;
        if (first && !json_equal((json_t *)first, (json_t *)own))
            return NULL;
        first = own;
    }
    return first;
}

/* "booked 3, left out 1" */
static void print_counts(const json_t *occurrences)
{
    static const char *const states[] = {"booked", "cancelled", "released"};
    size_t i, left = json_array_size(occurrences);
    const char *separator = ":";
    const json_t *item;
    for (size_t s = 0; s < sizeof(states) / sizeof(states[0]); s++) {
        size_t count = 0;
        json_array_foreach(occurrences, i, item)
        {
            const char *state = member_text(item, "state");
            count += state && strcmp(state, states[s]) == 0;
        }
        left -= count;
        if (count > 0) {
            print_part(stdout, "%s %s %zu", separator, states[s], count);
            separator = ",";
        }
    }
    if (left > 0)
        print_part(stdout, "%s left out %zu", separator, left);
    putc('\n', stdout);
}

static void print_occurrence(const struct cli *cli, const json_t *item, bool with_shares)
{
    char window[CLI_TIME_LEN];
    const char *reason = member_text(item, "reason"), *machine = member_text(item, "machine");
    const char *state = member_text(item, "state");
    bool ended = state && strcmp(state, "booked") != 0;
    const json_t *shares = json_object_get(item, "allocations");
    cli_window_of(cli, item, window);
    if (reason) {
        print_line(stdout, "  %-16s  %s", "left out", window);
        print_line(stdout, "  %-16s  %s%s%s", "", reason, machine ? ": " : "",
                   machine ? machine : "");
        return;
    }
    print_line(stdout, "  %-16" PRId64 "  %s%s%s", member_number(item, "booking"), window,
               ended ? ", " : "", ended ? state : "");
    if (with_shares && json_array_size(shares) > 0) {
        char *text = cli_shares_text(shares);
        print_line(stdout, "  %-16s  %s", "", text);
        free(text);
    }
}

static void print_series(const struct cli *cli, const json_t *data)
{
    const json_t *occurrences = member(data, "series.occurrences"), *item;
    const json_t *common = common_shares(occurrences);
    size_t i;
    print_part(stdout, "series %" PRId64, member_number(data, "series.id"));
    print_counts(occurrences);
    print_line(stdout, "  for %s, by %s", member_text(data, "booking.user"),
               member_text(data, "booking.client"));
    cli_print_shares(common);
    json_array_foreach(occurrences, i, item) print_occurrence(cli, item, !common);
}

static void print_accepted(const struct cli *cli, const json_t *event)
{
    const json_t *data = json_object_get(event, "data");
    const json_t *booking = json_object_get(data, "booking");
    const json_t *machine = json_object_get(data, "machine");
    const json_t *series = json_object_get(data, "series");
    const char *type = member_text(data, "request.type");
    if (series) {
        print_series(cli, data);
    } else if (booking) {
        cli_print_booking(cli, booking);
        print_before(cli, data);
    }
    if (json_is_object(machine))
        cli_print_machine(cli, machine);
    print_displaced(cli, data);
    /* A series has the id of its first booking: `cancel ID` cancels that one only, so hint at
     * --series. */
    if (!series && json_object_get(booking, "series") && type &&
        strcmp(type, "booking.cancel") == 0) {
        cli_note(cli,
                 "the others of its series stay; `berth cancel --series %" PRId64 "` ends them",
                 member_number(booking, "series"));
    }
}

/* The detail names one machine; if several are missing, list them all. */
static void note_free(const struct cli *cli, const json_t *data)
{
    const json_t *frees = json_object_get(data, "machines_free"), *item;
    char amount[CLI_AMOUNT_LEN];
    size_t i;
    if (json_array_size(frees) < 2)
        return;
    json_array_foreach(frees, i, item)
        cli_note(cli, "%s %-20s %s", i == 0 ? "free then:" : "          ",
                 member_text(item, "machine"), cli_amount_show(item, amount));
}

static void note_next(const struct cli *cli, const json_t *data, const struct cli_asked *asked)
{
    int64_t ms = member_time_ms(data, "next_available");
    char moment[CLI_TIME_LEN];
    if (ms == 0)
        return;
    if (!asked || asked->length_ms == 0) {
        cli_note(cli, "next available: %s", cli_time_show(ms, cli->zone, moment));
        return;
    }
    cli_note(cli, "next available%s: %s", asked->repeat ? " for that occurrence" : "",
             cli_time_window(ms, ms + asked->length_ms, cli->zone, moment));
    if (asked->repeat)
        return;
    char *command = cli_command_at(cli, ms, asked->length_ms);
    cli_note(cli, "to have it then:");
    if (!cli->quiet)
        print_line(stderr, "%s", command);
    free(command);
}

static void note_in_use(const struct cli *cli, const json_t *data)
{
    const json_t *in_use = json_object_get(data, "in_use");
    size_t count = json_array_size(in_use);
    if (count == 0)
        return;
    char *ids = numbers_text(in_use, " ");
    cli_note(cli, "in the way: booking%s %s%s", count == 1 ? "" : "s", ids,
             count == LIMIT_LISTED_BOOKINGS ? " and perhaps more" : "");
    cli_note(cli, "--displace cancels what no longer fits");
    free(ids);
}

static void print_rejected(const struct cli *cli, const json_t *event,
                           const struct cli_asked *asked)
{
    const json_t *data = json_object_get(event, "data");
    const char *reason = member_or(data, "reason", "unknown");
    print_line(stderr, "berth: rejected: %s: %s", reason,
               member_or(data, "detail", "no detail was given"));
    if (asked && asked->window && *asked->window)
        cli_note(cli, "asked for: %s", asked->window);
    if (asked && asked->repeat)
        cli_note(cli, "           %s", asked->repeat);
    note_free(cli, data);
    note_in_use(cli, data);
    note_next(cli, data, asked);
    if (asked && asked->repeat && !cli_has(cli, "skip-conflicts") &&
        strcmp(reason, "insufficient_capacity") == 0)
        cli_note(cli, "--skip-conflicts books those occurrences that fit");
}

/* The problem object of a rejection, with the event's data. */
static void print_problem(const json_t *event)
{
    const json_t *data = json_object_get(event, "data");
    struct problem problem = {.code = PROBLEM_REJECTED,
                              .detail = member_or(data, "detail", "no detail was given"),
                              .pointer = member_text(data, "pointer")};
    json_t *object = problem_json(&problem);
    json_object_set_new(object, "reason", json_string(member_or(data, "reason", "unknown")));
    json_object_set(object, "event", json_object_get(event, "id"));
    json_object_update_missing(object, json_object_get(event, "data"));
    cli_print_json(object);
    json_decref(object);
}

/* What a decision does not know is not found, as when the reader says so before anything is sent. */
static int rejected_code(const json_t *event)
{
    const char *reason = member_shown(event, "data.reason");
    return strcmp(reason, reason_name(REASON_UNKNOWN_MACHINE)) == 0 ||
                   strcmp(reason, reason_name(REASON_UNKNOWN_BOOKING)) == 0
               ? EXIT_CODE_NOT_FOUND
               : EXIT_CODE_REJECTED;
}

int cli_print_decision(const struct cli *cli, const json_t *event, const char *bytes,
                       const struct cli_asked *asked)
{
    const char *type = member_text(event, "type");
    const char *first = member_text(event, "data.duplicate_of");
    bool accepted = type && strcmp(type, EVENT_TYPE_ACCEPTED) == 0;
    if (cli->format == CLI_TSV) {
        print_rows(cli, event);
    } else if (cli->format == CLI_JSON && accepted) {
        char *line = xstrndup(bytes, strcspn(bytes, "\n"));
        print_json(stdout, line);
        free(line);
    } else if (cli->format == CLI_JSON) {
        print_problem(event);
    } else if (accepted) {
        print_accepted(cli, event);
    }
    if (cli->format != CLI_JSON && !accepted)
        print_rejected(cli, event, asked);
    if (first && cli->format == CLI_TEXT)
        cli_note(cli, "this request was decided before, as %s; nothing changed", first);
    return accepted ? EXIT_CODE_OK : rejected_code(event);
}
