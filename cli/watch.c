/* `berth watch`: follows the farm's events. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/spec.h"
#include "core/limits.h"
#include "core/request.h"
#include "lib/base/cli_time.h"
#include "lib/base/clock.h"
#include "lib/base/mem.h"
#include "lib/base/nearest.h"
#include "lib/base/print.h"
#include "lib/codec/event.h"
#include "lib/codec/event_concern.h"
#include "lib/codec/member.h"

struct filter {
    const char *type, *machine, *client;
};

struct watching {
    struct cli *cli;
    struct filter filter;
    int64_t count;    /* events still to print */
    int64_t until_ms; /* on the monotonic clock */
    bool gap;
};

static bool equal(const char *a, const char *b)
{
    return a && strcmp(a, b) == 0;
}

/* "berth.request.accepted", its last word, or the request's type. */
static bool has_type(const json_t *event, const char *type)
{
    const char *own = member_text(event, "type");
    const char *last = own ? strrchr(own, '.') : NULL;
    return equal(own, type) || (last && equal(last + 1, type)) ||
           equal(member_text(event, "data.request.type"), type);
}

struct wanted {
    const char *name;
    bool found;
};

static void compare(void *arg, const char *name)
{
    struct wanted *wanted = arg;
    wanted->found = wanted->found || strcmp(name, wanted->name) == 0;
}

/* Whether the event concerns the filter's machine and client. */
static bool concerns(const struct filter *filter, const struct event_view *event)
{
    struct wanted machine = {filter->machine, !filter->machine};
    struct wanted client = {filter->client, !filter->client};
    if (filter->machine)
        event_each_machine(event, compare, &machine);
    if (filter->client)
        event_each_client(event, compare, &client);
    return machine.found && client.found;
}

static bool passes(const struct filter *filter, const json_t *event, const struct berth_event *raw)
{
    struct arena *arena = arena_new();
    struct event_view view;
    struct failure f;
    bool good = (!filter->type || has_type(event, filter->type)) &&
                ((!filter->machine && !filter->client) ||
                 (event_read(raw->json, raw->json_len, arena, &view, &f) == ERR_OK &&
                  concerns(filter, &view)));
    arena_free(arena);
    return good;
}

static const struct table_column columns[] = {
    {"event", "id", NULL},
    {"time", "time", NULL},
    {"outcome", "type", cli_last_word},
    {"type", "data.request.type", NULL},
    {"subject", "subject", NULL},
    {"client", "data.request.client", NULL},
    {"user", "data.request.user", NULL},
    {"request", "data.request.id", NULL},
    {"reason", "data.reason", NULL},
    {"state", "data.booking.state|data.machine.state", NULL},
    {"start", "data.booking.start", NULL},
    {"end", "data.booking.end", NULL},
    {"machines", "data.booking.allocations", cli_shares_text},
    {"previous_start", "data.previous.start", NULL},
    {"previous_end", "data.previous.end", NULL},
    {"previous_machines", "data.previous.allocations", cli_shares_text},
    {"effective_from", "data.effective_from", NULL},
    {0},
};

/* ": cancelled, 2026-… to 2026-…, gpu-01:4:64" */
static void print_state(const char *before, const json_t *booking)
{
    char *shares = cli_shares_text(json_object_get(booking, "allocations"));
    if (booking) {
        print_part(stdout, "%s%s %s to %s%s%s", before, member_shown(booking, "state"),
                   member_shown(booking, "start"), member_shown(booking, "end"), *shares ? " " : "",
                   shares);
    }
    free(shares);
}

/* What became of the event's booking or bookings. */
static void print_change(const json_t *event)
{
    size_t series = json_array_size(member(event, "data.series.occurrences"));
    size_t displaced = json_array_size(member(event, "data.displaced"));
    print_state(": ", member(event, "data.booking"));
    print_state("; before: ", member(event, "data.previous"));
    if (series > 0)
        print_part(stdout, "; the first of %zu in its series", series);
    if (displaced > 0)
        print_part(stdout, "; %zu displaced", displaced);
}

static void print_text(const json_t *event)
{
    static const struct {
        const char *before, *path;
    } rest[] = {{" ", "subject"},
                {" by ", "data.request.client"},
                {" for ", "data.request.user"},
                {": ", "data.reason"}};
    const char *type = member_text(event, "data.request.type");
    char *outcome = cli_last_word(json_object_get(event, "type"));
    print_part(stdout, "%s %s %s %s", member_shown(event, "time"), member_shown(event, "id"),
               outcome, type ? type : "request");
    for (size_t i = 0; i < sizeof(rest) / sizeof(rest[0]); i++) {
        const char *text = member_text(event, rest[i].path);
        if (text)
            print_part(stdout, "%s%s", rest[i].before, text);
    }
    if (member_text(event, "data.reason"))
        print_part(stdout, ": %s", member_shown(event, "data.detail"));
    print_change(event);
    putc('\n', stdout);
    free(outcome);
}

static void print_event(const struct cli *cli, const json_t *event, const struct berth_event *raw)
{
    if (cli->format == CLI_JSON) {
        print_json(stdout, raw->json);
    } else if (cli->format == CLI_TSV) {
        table_print_row(columns, event);
    } else {
        print_text(event);
    }
}

/* "P:SEQ" or "P-SEQ", as event ids are. */
static enum err parse_position(const char *text, size_t len, struct berth_position *out,
                               struct failure *f)
{
    char copy[48];
    int64_t partition, seq;
    snprintf(copy, sizeof(copy), "%.*s", (int)(len < 47 ? len : 47), text);
    char *separator = strpbrk(copy, ":-");
    if (!separator) {
        return failure_set(f, ERR_USAGE,
                           "--from '%s': expected beginning, end or PARTITION:SEQ,...", copy);
    }
    *separator = '\0';
    struct cli_range partitions = {"--from: partition", 0, LIMIT_PARTITIONS - 1};
    struct cli_range sequences = {"--from: sequence", 0, INT64_C(999999999999999999)};
    enum err err = cli_integer_parse(copy, partitions, &partition, f);
    if (err == ERR_OK)
        err = cli_integer_parse(separator + 1, sequences, &seq, f);
    if (err == ERR_OK)
        *out = (struct berth_position){.partition = (int32_t)partition, .seq = seq};
    return err;
}

/* Gives *positions, also on failure. */
static enum err parse_from(const char *text, struct berth_watch_options *out,
                           struct berth_position **positions, struct failure *f)
{
    *positions = NULL;
    if (!text || strcmp(text, "end") == 0)
        return ERR_OK;
    if (strcmp(text, "beginning") == 0) {
        out->from_beginning = true;
        return ERR_OK;
    }
    while (true) {
        size_t len = strcspn(text, ",");
        *positions = xrealloc(*positions, (out->position_count + 1) * sizeof(**positions));
        enum err err = parse_position(text, len, &(*positions)[out->position_count], f);
        if (err != ERR_OK)
            return err;
        out->position_count++;
        out->positions = *positions;
        if (text[len] == '\0')
            return ERR_OK;
        text += len + 1;
    }
}

/* A type that no event has would be waited for in vain. */
static enum err check_type(const char *type, struct failure *f)
{
#define TYPE_NAME(id, name) name,
    static const char *const names[] = {"accepted", "rejected", EVENT_TYPE_ACCEPTED,
                                        EVENT_TYPE_REJECTED, REQUEST_TYPE_TABLE(TYPE_NAME) NULL};
#undef TYPE_NAME
    struct nearest nearest;
    nearest_init(&nearest, type);
    for (size_t i = 0; names[i]; i++) {
        if (strcmp(names[i], type) == 0)
            return ERR_OK;
        nearest_offer_as(&nearest, names[i], names[i]);
    }
    const char *meant = nearest_result(&nearest);
    return failure_set(f, ERR_USAGE,
                       "--type '%.60s': expected accepted, rejected or a type of request%s%s%s",
                       type, meant ? "; did you mean " : "", meant ? meant : "", meant ? "?" : "");
}

static enum err take_options(struct watching *w, struct failure *f)
{
    const char *count = cli_value(w->cli, "count"), *duration = cli_value(w->cli, "for");
    struct cli_range range = {"--count", 1, INT64_C(1000000000000)};
    int64_t duration_ms;
    w->filter.type = cli_value(w->cli, "type");
    w->filter.machine = cli_value(w->cli, "machine");
    w->filter.client = cli_value(w->cli, "client");
    w->count = w->until_ms = INT64_MAX;
    if (w->filter.type && check_type(w->filter.type, f) != ERR_OK)
        return f->err;
    if (count && cli_integer_parse(count, range, &w->count, f) != ERR_OK)
        return f->err;
    if (!duration)
        return ERR_OK;
    if (cli_time_parse_duration(duration, &duration_ms, f) != ERR_OK)
        return failure_wrap(f, "--for");
    w->until_ms = clock_mono_ms() + duration_ms;
    return ERR_OK;
}

static void on_event(struct watching *w, const struct berth_event *raw)
{
    json_t *event = json_loadb(raw->json, raw->json_len, 0, NULL);
    if (event && passes(&w->filter, event, raw)) {
        print_event(w->cli, event, raw);
        w->count--;
    }
    json_decref(event);
}

static int next_timeout(const struct watching *w)
{
    int64_t left_ms = w->until_ms - clock_mono_ms();
    return left_ms > 1000 ? 1000 : left_ms < 0 ? 0 : (int)left_ms;
}

static int follow(struct watching *w, struct berth_watch *watch)
{
    struct berth_error error;
    struct berth_event raw;
    bool found;
    while (w->count > 0 && !ferror(stdout)) {
        /* Flush before waiting. */
        enum berth_status status = berth_watch_next(watch, 0, &found, &raw, &error);
        if (status == BERTH_OK && !found) {
            fflush(stdout);
            if (clock_mono_ms() >= w->until_ms)
                break;
            status = berth_watch_next(watch, next_timeout(w), &found, &raw, &error);
        }
        if (status == BERTH_GAP) {
            w->gap = true;
            const char *reader = config_string(w->cli->cfg, "reader.url");
            cli_note(w->cli,
                     "gap: %s; to read them: curl '%s/v1/partitions/PARTITION/decisions?after=SEQ'",
                     error.text, reader ? reader : "READER");
        } else if (status == BERTH_INTERRUPTED) {
            return cli_exit_code_of(status);
        } else if (status != BERTH_OK) {
            return cli_fail_client(w->cli, &error, NULL);
        }
        if (found)
            on_event(w, &raw);
    }
    if (cli_signal()) /* it arrived while stdout blocked */
        return cli_exit_code_of(BERTH_INTERRUPTED);
    return w->gap ? EXIT_CODE_DIFFERENCES : EXIT_CODE_OK;
}

int cli_watch(struct cli *cli)
{
    struct failure f;
    struct berth_error error;
    struct watching w = {.cli = cli};
    struct berth_watch_options options = {0};
    struct berth_position *positions = NULL;
    struct berth_watch *watch = NULL;
    int code = EXIT_CODE_OK;
    if (take_options(&w, &f) != ERR_OK ||
        parse_from(cli_value(cli, "from"), &options, &positions, &f) != ERR_OK) {
        free(positions);
        return cli_fail(cli, &f);
    }
    if (cli_client(cli, &code)) {
        if (berth_watch_open(cli->client, &options, &watch, &error) == BERTH_OK) {
            cli_print_header(cli, columns);
            code = follow(&w, watch);
        } else {
            code = cli_fail_client(cli, &error, NULL);
        }
        berth_watch_close(watch);
    }
    free(positions);
    return code;
}
