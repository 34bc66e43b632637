#include "producer/cli_request.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "lib/timetext.h"

/* ---- windows ------------------------------------------------------------------------------- */

static enum err parse_one(const struct cli_window_text *text, const char *option, const char *value,
                          int64_t *ms_out, struct failure *f)
{
    if (cli_time_parse(value, text->now_ms, text->zone, ms_out, f) != ERR_OK)
        return failure_wrap(f, "%s", option);
    return ERR_OK;
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
    if (text->start && parse_one(text, "--start", text->start, &window.start_ms, f) != ERR_OK)
        return f->err;
    if (text->end && parse_one(text, "--end", text->end, &window.end_ms, f) != ERR_OK)
        return f->err;
    if (text->duration && cli_duration_parse(text->duration, &window.duration_ms, f) != ERR_OK)
        return failure_wrap(f, "--for");
    if (text->duration && window.duration_ms == 0)
        return failure_set(f, ERR_USAGE, "--for: a booking lasts at least a second");
    if (text->start && text->end && window.end_ms <= window.start_ms)
        return failure_set(f, ERR_USAGE, "--end is not after --start");
    *out = window;
    return ERR_OK;
}

const char *cli_window_show(const struct cli_window *window, const char *zone,
                            char buf[CLI_WINDOW_LEN])
{
    char moment[CLI_WINDOW_LEN], duration[TIMETEXT_LEN];
    bool has_start = window->has_start && !window->starts_now;
    buf[0] = '\0';
    if (has_start && window->has_end)
        cli_time_window(window->start_ms, window->end_ms, zone, buf);
    else if (has_start && window->has_duration)
        cli_time_window(window->start_ms, window->start_ms + window->duration_ms, zone, buf);
    else if (has_start)
        snprintf(buf, CLI_WINDOW_LEN, "from %.100s", cli_time_show(window->start_ms, zone, moment));
    else if (window->has_end)
        cli_time_window(-1, window->end_ms, zone, buf);
    else if (window->has_duration)
        snprintf(buf, CLI_WINDOW_LEN, "from now, %s",
                 timetext_duration(window->duration_ms, duration));
    return buf;
}

/* ---- requests ------------------------------------------------------------------------------ */

/* Takes value. Out of memory is the only failure. */
static void set(json_t *object, const char *name, json_t *value)
{
    int failed = json_object_set_new(object, name, value);
    assert(!failed);
}

static json_t *request_of(const char *type)
{
    json_t *request = json_object();
    set(request, "type", json_string(type));
    return request;
}

static void set_time(json_t *request, const char *name, int64_t ms)
{
    char text[TIMETEXT_LEN];
    set(request, name, json_string(timetext_format(ms, text)));
}

static void set_shares(json_t *request, const struct cli_share *shares, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++) {
        assert(!shares[i].whole);
        json_t *share = json_pack("{s:s, s:I, s:I}", "machine", shares[i].machine, "gpus",
                                  (json_int_t)shares[i].gpus, "memory_gib",
                                  (json_int_t)shares[i].memory_gib);
        int failed = json_array_append_new(array, share);
        assert(!failed);
    }
    set(request, "allocations", array);
}

json_t *cli_request_create(const struct cli_window *window, const struct cli_share *shares,
                           size_t count)
{
    json_t *request = request_of("booking.create");
    if (window->has_start && !window->starts_now)
        set_time(request, "start", window->start_ms);
    if (window->has_end)
        set_time(request, "end", window->end_ms);
    if (window->has_duration)
        set(request, "duration_s", json_integer(window->duration_ms / 1000));
    set_shares(request, shares, count);
    return request;
}

json_t *cli_request_amend(int64_t booking, const struct cli_window *window,
                          const struct cli_share *shares, size_t count)
{
    json_t *request = request_of("booking.amend");
    set(request, "booking", json_integer(booking));
    if (window->has_start)
        set_time(request, "start", window->start_ms);
    if (window->has_end)
        set_time(request, "end", window->end_ms);
    if (shares)
        set_shares(request, shares, count);
    return request;
}

json_t *cli_request_cancel(int64_t booking)
{
    json_t *request = request_of("booking.cancel");
    set(request, "booking", json_integer(booking));
    return request;
}

json_t *cli_request_machine(const char *type, const struct cli_machine *machine)
{
    json_t *request = request_of(type);
    set(request, "machine", json_string(machine->name));
    if (machine->gpus >= 0)
        set(request, "gpus", json_integer(machine->gpus));
    if (machine->memory_gib >= 0)
        set(request, "memory_gib", json_integer(machine->memory_gib));
    if (machine->labels)
        set(request, "labels", json_incref(machine->labels));
    if (machine->id > 0)
        set(request, "id", json_integer(machine->id));
    if (machine->state)
        set(request, "state", json_string(machine->state));
    if (machine->displace)
        set(request, "displace", json_true());
    return request;
}
