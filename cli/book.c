/* `berth book`. */
#include <inttypes.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/typed_request.h"
#include "lib/base/mem.h"
#include "lib/codec/member.h"

int cli_resolve_shares(const struct cli *cli, struct cli_shares *shares)
{
    for (size_t i = 0; i < shares->count; i++) {
        struct cli_share *share = &shares->items[i];
        json_t *machine = NULL;
        if (!share->whole)
            continue;
        int code = cli_get(cli, &machine, NULL, "/v1/machines/%s", share->machine);
        if (code != EXIT_CODE_OK) {
            if (code != EXIT_CODE_NOT_FOUND) {
                cli_note(cli, "to do without the reader, say how much: %s:GPUS[:GIB]",
                         share->machine);
            }
            return code;
        }
        share->gpus = member_number(machine, "gpus");
        share->memory_gib = member_number(machine, "memory_gib");
        share->whole = false;
        json_decref(machine);
    }
    return EXIT_CODE_OK;
}

static bool carries(const json_t *machine, const json_t *labels)
{
    const json_t *own = json_object_get(machine, "labels"), *value;
    const char *key;
    json_object_foreach((json_t *)labels, key, value)
    {
        if (!json_equal(json_object_get(own, key), value))
            return false;
    }
    return true;
}

/* The common size of all machines that carry the labels. ERR_NOT_FOUND: no machine does. ERR_USAGE:
 * their sizes differ. */
static enum err common_size(const json_t *machines, struct cli_any *any, struct failure *f)
{
    size_t i;
    const json_t *machine;
    const char *first = NULL;
    json_array_foreach(machines, i, machine)
    {
        int64_t gpus = member_number(machine, "gpus"),
                memory_gib = member_number(machine, "memory_gib");
        const char *name = member_text(machine, "name");
        if (!name || !carries(machine, any->labels))
            continue;
        if (first && (gpus != any->gpus || memory_gib != any->memory_gib)) {
            return failure_set(f, ERR_USAGE,
                               "--any takes whole machines when it does not say how much, but %s "
                               "(%" PRId64 " GPUs, %" PRId64 " GiB) and %s (%" PRId64
                               " GPUs, %" PRId64 " GiB) differ: give --gpus and --mem",
                               first, any->gpus, any->memory_gib, name, gpus, memory_gib);
        }
        first = name;
        any->gpus = gpus;
        any->memory_gib = memory_gib;
    }
    if (!first)
        return failure_set(f, ERR_NOT_FOUND, "no machine that is up carries these labels");
    return ERR_OK;
}

int cli_resolve_any(const struct cli *cli, struct cli_any *any)
{
    struct failure f;
    json_t *machines = NULL;
    if (any->count == 0 || any->gpus >= 0)
        return EXIT_CODE_OK;
    int code = cli_get_all(cli, "machines", "&state=up", &machines);
    if (code != EXIT_CODE_OK) {
        cli_note(cli, "to do without the reader, say how much of each: --gpus and --mem");
        return code;
    }
    enum err err = common_size(machines, any, &f);
    json_decref(machines);
    return err == ERR_OK ? EXIT_CODE_OK : cli_fail(cli, &f);
}

static enum err take_window(const struct cli *cli, struct cli_window *out, struct failure *f)
{
    struct cli_window_text text = {.start = cli_value(cli, "start"),
                                   .end = cli_value(cli, "end"),
                                   .duration = cli_value(cli, "for"),
                                   .now_ms = cli->now_ms,
                                   .zone = cli->zone};
    enum err err = cli_window_parse(&text, out, f);
    if (err == ERR_OK && !out->has_end && !out->has_duration)
        err = failure_set(f, ERR_USAGE, "how long? Give --for DURATION or --end TIME");
    return err;
}

static enum err take_repeat(struct cli *cli, const struct cli_window *window,
                            struct cli_repeat *out, struct failure *f)
{
    struct cli_repeat_text text = {.every = cli_value(cli, "repeat"),
                                   .count = cli_value(cli, "count"),
                                   .zone = cli_value(cli, "zone"),
                                   .skip_conflicts = cli_has(cli, "skip-conflicts"),
                                   .default_zone = cli->zone ? cli->zone : getenv("TZ")};
    return cli_repeat_parse(&text, window, out, f);
}

/* Gives out->any.labels, also on failure. */
static enum err take_machines(const struct cli *cli, struct cli_booking *out, struct failure *f)
{
    struct cli_any_text any = {.count = cli_value(cli, "any"),
                               .gpus = cli_value(cli, "gpus"),
                               .memory_gib = cli_value(cli, "mem")};
    bool named = cli->after.operand_count > 0, empty = cli_has(cli, "empty");
    enum err err = cli_labels(cli, &any.labels, f);
    if (err == ERR_OK) {
        err = cli_any_parse(&any, &out->any, f);
        out->any.labels = any.labels;
    }
    if (err == ERR_OK && any.count && named)
        err = failure_set(f, ERR_USAGE, "--any lets the farm choose: name no machines beside it");
    if (err == ERR_OK && empty && (named || any.count))
        err = failure_set(f, ERR_USAGE, "--empty books no machines, but some are given");
    if (err == ERR_OK && !empty && !named && !any.count) {
        err = failure_set(f, ERR_USAGE,
                          "which machines? MACHINE[:GPUS[:GIB]]…, --any N, or --empty for a window "
                          "to which amend adds them");
    }
    for (size_t i = 0; err == ERR_OK && i < cli->after.operand_count; i++)
        err = cli_shares_add(&out->shares, cli->after.operands[i], f);
    return err;
}

static enum err take_booking(struct cli *cli, struct cli_booking *out, struct failure *f)
{
    /* A --zone of a recurring booking also applies to its --start. */
    const char *zone = cli_value(cli, "zone");
    enum err err = ERR_OK;
    if (zone && !cli->zone) {
        err = cli_time_check_zone(zone, f);
        if (err != ERR_OK)
            return failure_wrap(f, "--zone");
        cli->zone = zone;
    }
    err = take_window(cli, &out->window, f);
    if (err == ERR_OK)
        err = take_repeat(cli, &out->window, &out->repeat, f);
    if (err == ERR_OK)
        err = take_machines(cli, out, f);
    return err;
}

/* Caller frees; NULL: the booking does not recur. */
static char *show_repeat(const struct cli_repeat *repeat)
{
    return repeat->count == 0
               ? NULL
               : xasprintf("each %s, %" PRId64 " time%s, by the clock of %s", repeat->every,
                           repeat->count, repeat->count == 1 ? "" : "s", repeat->zone);
}

int cli_book(struct cli *cli)
{
    struct failure f;
    struct cli_booking booking = {0};
    int code;
    if (take_booking(cli, &booking, &f) != ERR_OK) {
        code = cli_fail(cli, &f);
    } else {
        code = cli_resolve_shares(cli, &booking.shares);
    }
    if (code == EXIT_CODE_OK)
        code = cli_resolve_any(cli, &booking.any);
    if (code == EXIT_CODE_OK) {
        char window[CLI_TIME_LEN];
        char *repeat = show_repeat(&booking.repeat);
        struct cli_asked asked = {.window = cli_window_show(&booking.window, cli->zone, window),
                                  .length_ms = cli_window_length_ms(&booking.window),
                                  .repeat = repeat};
        code = cli_decide(cli, cli_request_create(&booking), &asked);
        free(repeat);
    }
    json_decref(booking.any.labels);
    return code;
}
