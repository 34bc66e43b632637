#include "cli/typed_request.h"

#include <assert.h>
#include <stdio.h>
#include <strings.h>

#include "lib/base/timetext.h"

static enum err check_order(const struct cli_window *window, const char *zone, struct failure *f)
{
    char start[CLI_TIME_LEN], end[CLI_TIME_LEN];
    if (!window->has_start || !window->has_end || window->end_ms > window->start_ms)
        return ERR_OK;
    return failure_set(f, ERR_USAGE, "--end, %s, is not after --start, %s",
                       cli_time_show(window->end_ms, zone, end),
                       cli_time_show(window->start_ms, zone, start));
}

enum err cli_window_parse(const struct cli_window_text *text, struct cli_window *out,
                          struct failure *f)
{
    struct cli_window window = {.has_start = text->start != NULL,
                                .has_end = text->end != NULL,
                                .has_duration = text->duration != NULL,
                                .starts_now = text->start && cli_time_is_now(text->start)};
    if (text->end && text->duration)
        return failure_set(f, ERR_USAGE, "--end and --for say the same twice: give one of them");
    if (text->start &&
        cli_time_parse(text->start, text->now_ms, text->zone, &window.start_ms, f) != ERR_OK)
        return failure_wrap(f, "--start");
    /* The end's "mon 08:00" is the first one after the start. */
    int64_t from_ms = text->start ? window.start_ms + 1 : text->now_ms;
    if (text->end && cli_time_parse_after(text->end, text->now_ms, from_ms, text->zone,
                                          &window.end_ms, f) != ERR_OK)
        return failure_wrap(f, "--end");
    if (text->duration && cli_time_parse_duration(text->duration, &window.duration_ms, f) != ERR_OK)
        return failure_wrap(f, "--for");
    if (text->duration && window.duration_ms == 0)
        return failure_set(f, ERR_USAGE, "--for: a booking lasts at least a second");
    if (check_order(&window, text->zone, f) != ERR_OK)
        return f->err;
    *out = window;
    return ERR_OK;
}

const char *cli_window_show(const struct cli_window *window, const char *zone,
                            char buf[CLI_TIME_LEN])
{
    char moment[CLI_TIME_LEN], duration[TIMETEXT_LEN];
    bool has_start = window->has_start && !window->starts_now;
    buf[0] = '\0';
    if (has_start && window->has_end) {
        cli_time_window(window->start_ms, window->end_ms, zone, buf);
    } else if (has_start && window->has_duration) {
        cli_time_window(window->start_ms, window->start_ms + window->duration_ms, zone, buf);
    } else if (has_start) {
        snprintf(buf, CLI_TIME_LEN, "from %.100s", cli_time_show(window->start_ms, zone, moment));
    } else if (window->has_end) {
        cli_time_window(-1, window->end_ms, zone, buf);
    } else if (window->has_duration) {
        snprintf(buf, CLI_TIME_LEN, "from now, %s",
                 timetext_duration(window->duration_ms, duration));
    }
    return buf;
}

int64_t cli_window_length_ms(const struct cli_window *window)
{
    if (window->has_duration)
        return window->duration_ms;
    bool both = window->has_end && window->has_start && !window->starts_now;
    return both ? window->end_ms - window->start_ms : 0;
}

static enum err parse_growth(const struct cli_change_text *text, int64_t *ms_out, struct failure *f)
{
    const char *option = text->extend ? "--extend" : "--shorten";
    const char *value = text->extend ? text->extend : text->shorten;
    int64_t ms;
    if (text->extend && text->shorten)
        return failure_set(f, ERR_USAGE, "--extend and --shorten contradict each other");
    if (cli_time_parse_duration(value, &ms, f) != ERR_OK)
        return failure_wrap(f, "%s", option);
    if (ms == 0)
        return failure_set(f, ERR_USAGE, "%s: that changes nothing", option);
    *ms_out = text->extend ? ms : -ms;
    return ERR_OK;
}

enum err cli_change_parse(const struct cli_change_text *text, struct cli_change *out,
                          struct failure *f)
{
    const struct cli_window_text *window = &text->window;
    struct cli_change change = {.moves = text->move != NULL};
    bool grows = text->extend || text->shorten;
    if (text->move && (window->start || window->end || window->duration || grows)) {
        return failure_set(f, ERR_USAGE,
                           "--move keeps the length: for another one give --start and --for");
    }
    if (grows && (window->end || window->duration)) {
        return failure_set(f, ERR_USAGE, "%s and %s say the same twice: give one of them",
                           text->extend ? "--extend" : "--shorten",
                           window->end ? "--end" : "--for");
    }
    if (cli_window_parse(window, &change.window, f) != ERR_OK)
        return f->err;
    if (text->move && cli_time_parse(text->move, window->now_ms, window->zone,
                                     &change.window.start_ms, f) != ERR_OK)
        return failure_wrap(f, "--move");
    if (text->move)
        change.window.has_start = true;
    if (grows && parse_growth(text, &change.growth_ms, f) != ERR_OK)
        return f->err;
    *out = change;
    return ERR_OK;
}

bool cli_change_is_empty(const struct cli_change *change)
{
    const struct cli_window *window = &change->window;
    return !window->has_start && !window->has_end && !window->has_duration &&
           change->growth_ms == 0;
}

bool cli_change_needs_booking(const struct cli_change *change)
{
    const struct cli_window *window = &change->window;
    return change->moves || change->growth_ms != 0 || (window->has_duration && !window->has_start);
}

enum err cli_change_resolve(struct cli_change *change, int64_t start_ms, int64_t end_ms,
                            struct failure *f)
{
    struct cli_window *window = &change->window;
    int64_t new_start_ms = window->has_start ? window->start_ms : start_ms;
    if (change->moves) {
        window->end_ms = new_start_ms + (end_ms - start_ms);
    } else if (change->growth_ms != 0) {
        window->end_ms = end_ms + change->growth_ms;
    } else if (window->has_duration) {
        window->end_ms = new_start_ms + window->duration_ms;
    } else {
        return ERR_OK;
    }
    if (window->end_ms <= new_start_ms)
        return failure_set(f, ERR_USAGE, "nothing would be left of the booking: cancel it instead");
    window->has_end = true;
    window->has_duration = false;
    change->moves = false;
    change->growth_ms = 0;
    return ERR_OK;
}

enum err cli_any_parse(const struct cli_any_text *text, struct cli_any *out, struct failure *f)
{
    struct cli_range count = {"--any", 1, LIMIT_ALLOCATIONS};
    struct cli_any any = {.labels = text->labels};
    if (!text->count) {
        *out = any;
        if (!text->gpus && !text->memory_gib && !text->labels)
            return ERR_OK;
        return failure_set(f, ERR_USAGE,
                           "--gpus, --mem and --label are what each of --any N machines gives: add "
                           "--any, or name machines as gpu-01:4:64");
    }
    enum err err = cli_integer_parse(text->count, count, &any.count, f);
    if (err == ERR_OK)
        err = cli_amount_parse(text->gpus, cli_gpus_range, &any.gpus, f);
    if (err == ERR_OK)
        err = cli_amount_parse(text->memory_gib, cli_memory_range, &any.memory_gib, f);
    if (err != ERR_OK)
        return err;
    if (text->gpus || text->memory_gib) {
        any.gpus = any.gpus < 0 ? 0 : any.gpus;
        any.memory_gib = any.memory_gib < 0 ? 0 : any.memory_gib;
        if (any.gpus == 0 && any.memory_gib == 0) {
            return failure_set(f, ERR_USAGE,
                               "--any asks for nothing of each machine: give --gpus "
                               "or --mem");
        }
    }
    *out = any;
    return ERR_OK;
}

/* Also takes the names of Slurm's reservations. NULL: neither day nor week. */
static const char *every_of(const char *text)
{
    static const char *const words[][2] = {{"day", "daily"}, {"week", "weekly"}};
    for (size_t i = 0; i < 2; i++) {
        if (strcasecmp(text, words[i][0]) == 0 || strcasecmp(text, words[i][1]) == 0)
            return words[i][0];
    }
    return NULL;
}

static enum err choose_zone(const struct cli_repeat_text *text, const char **zone_out,
                            struct failure *f)
{
    const char *zone = text->zone ? text->zone : text->default_zone;
    struct failure inner;
    if (zone && *zone == ':')
        zone++; /* as in TZ */
    if (text->zone && cli_time_check_zone(text->zone, f) != ERR_OK)
        return failure_wrap(f, "--zone");
    if (!zone || !*zone) {
        return failure_set(f, ERR_USAGE,
                           "--repeat: by which clock? Give --zone, as Europe/Paris or UTC, because "
                           "neither --tz nor TZ does");
    }
    if (cli_time_check_zone(zone, &inner) != ERR_OK) {
        return failure_set(f, ERR_USAGE,
                           "--repeat: by which clock? Give --zone, as Europe/Paris or UTC, because "
                           "TZ=%.60s is not the name of a time zone",
                           zone);
    }
    *zone_out = zone;
    return ERR_OK;
}

enum err cli_repeat_parse(const struct cli_repeat_text *text, const struct cli_window *window,
                          struct cli_repeat *out, struct failure *f)
{
    struct cli_repeat repeat = {.skip_conflicts = text->skip_conflicts};
    struct cli_range count = {"--count", 1, LIMIT_OCCURRENCES};
    if (!text->every) {
        const char *lonely = text->count            ? "--count"
                             : text->zone           ? "--zone"
                             : text->skip_conflicts ? "--skip-conflicts"
                                                    : NULL;
        *out = repeat;
        return lonely
                   ? failure_set(f, ERR_USAGE, "%s goes with --repeat day or --repeat week", lonely)
                   : ERR_OK;
    }
    repeat.every = every_of(text->every);
    if (!repeat.every)
        return failure_set(f, ERR_USAGE, "--repeat '%.40s': expected day or week", text->every);
    if (!text->count) {
        return failure_set(f, ERR_USAGE, "--repeat %s: how many times? Give --count N, 1..%d",
                           repeat.every, LIMIT_OCCURRENCES);
    }
    if (cli_integer_parse(text->count, count, &repeat.count, f) != ERR_OK)
        return f->err;
    if (!window->has_start || window->starts_now) {
        return failure_set(f, ERR_USAGE,
                           "--repeat needs a --start (other than now): the first occurrence's");
    }
    if (choose_zone(text, &repeat.zone, f) != ERR_OK)
        return f->err;
    *out = repeat;
    return ERR_OK;
}

/* Values of members that may be left out: NULL leaves the member out. */
static json_t *time_if(bool given, int64_t ms)
{
    char text[TIMETEXT_LEN];
    return given ? json_string(timetext_format(ms, text)) : NULL;
}

static json_t *number_if(bool given, int64_t number)
{
    return given ? json_integer(number) : NULL;
}

static json_t *true_if(bool given)
{
    return given ? json_true() : NULL;
}

static json_t *shares_json(const struct cli_shares *shares)
{
    json_t *array = json_array();
    for (size_t i = 0; i < shares->count; i++) {
        const struct cli_share *item = &shares->items[i];
        assert(!item->whole);
        json_array_append_new(array, json_pack("{s:s, s:I, s:I}", "machine", item->machine, "gpus",
                                               (json_int_t)item->gpus, "memory_gib",
                                               (json_int_t)item->memory_gib));
    }
    return array;
}

static json_t *any_json(const struct cli_any *any)
{
    assert(any->gpus >= 0);
    assert(any->memory_gib >= 0);
    return json_pack("{s:I, s:I, s:I, s:O*}", "count", (json_int_t)any->count, "gpus",
                     (json_int_t)any->gpus, "memory_gib", (json_int_t)any->memory_gib, "labels",
                     any->labels);
}

static json_t *repeat_json(const struct cli_repeat *repeat)
{
    return json_pack("{s:s, s:I, s:s}", "every", repeat->every, "count", (json_int_t)repeat->count,
                     "zone", repeat->zone);
}

json_t *cli_request_create(const struct cli_booking *booking)
{
    const struct cli_window *window = &booking->window;
    bool any = booking->any.count > 0;
    json_t *request = json_pack(
        "{s:s, s:o*, s:o*, s:o*, s:o, s:o*, s:o*}", "type", "booking.create", "start",
        time_if(window->has_start && !window->starts_now, window->start_ms), "end",
        time_if(window->has_end, window->end_ms), "duration_s",
        number_if(window->has_duration, window->duration_ms / 1000), any ? "any" : "allocations",
        any ? any_json(&booking->any) : shares_json(&booking->shares), "repeat",
        booking->repeat.count > 0 ? repeat_json(&booking->repeat) : NULL, "skip_conflicts",
        true_if(booking->repeat.skip_conflicts));
    assert(request);
    return request;
}

json_t *cli_request_amend(int64_t booking, const struct cli_window *window,
                          const struct cli_shares *shares)
{
    return json_pack("{s:s, s:I, s:o*, s:o*, s:o*}", "type", "booking.amend", "booking",
                     (json_int_t)booking, "start", time_if(window->has_start, window->start_ms),
                     "end", time_if(window->has_end, window->end_ms), "allocations",
                     shares ? shares_json(shares) : NULL);
}

json_t *cli_request_cancel(const char *kind, int64_t id)
{
    return json_pack("{s:s, s:I}", "type", "booking.cancel", kind, (json_int_t)id);
}

json_t *cli_request_machine(const char *type, const struct cli_machine *machine)
{
    return json_pack("{s:s, s:s, s:o*, s:o*, s:O*, s:o*, s:s*, s:o*}", "type", type, "machine",
                     machine->name, "gpus", number_if(machine->gpus >= 0, machine->gpus),
                     "memory_gib", number_if(machine->memory_gib >= 0, machine->memory_gib),
                     "labels", machine->labels, "id", number_if(machine->id > 0, machine->id),
                     "state", machine->state, "displace", true_if(machine->displace));
}
