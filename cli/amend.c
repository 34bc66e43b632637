/* `berth amend`, `cancel`. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/typed_request.h"
#include "lib/base/mem.h"
#include "lib/codec/member.h"

/* The command line, parsed. */
struct amend {
    int64_t booking;
    struct cli_change change;
    struct cli_window shown;  /* the new window, as far as it is known */
    bool replaces;            /* the booking's machines, by `shares` */
    struct cli_shares shares; /* operands, or those of --set */
    bool edits;               /* --set or --drop: other machines stay */
};

static enum err take_change(const struct cli *cli, struct cli_change *out, struct failure *f)
{
    struct cli_change_text text = {.window = {.start = cli_value(cli, "start"),
                                              .end = cli_value(cli, "end"),
                                              .duration = cli_value(cli, "for"),
                                              .now_ms = cli->now_ms,
                                              .zone = cli->zone},
                                   .move = cli_value(cli, "move"),
                                   .extend = cli_value(cli, "extend"),
                                   .shorten = cli_value(cli, "shorten")};
    return cli_change_parse(&text, out, f);
}

/* Checks each --drop: a machine's name, given once, and not in --set, too. */
static enum err check_drops(const struct cli *cli, struct cli_shares *set, struct failure *f)
{
    const struct options *opts = &cli->after;
    for (size_t i = 0; i < opts->given_count; i++) {
        const char *name = opts->given[i].value;
        if (strcmp(opts->given[i].spec->name, "drop") != 0)
            continue;
        if (cli_name_check(name, f) != ERR_OK)
            return failure_wrap(f, "--drop");
        if (cli_shares_find(set, name))
            return failure_set(f, ERR_USAGE, "--set and --drop of %s contradict each other", name);
        for (size_t j = 0; j < i; j++) {
            if (opts->given[j].spec == opts->given[i].spec &&
                strcmp(opts->given[j].value, name) == 0)
                return failure_set(f, ERR_USAGE, "--drop %s is given twice", name);
        }
    }
    return ERR_OK;
}

static enum err take_machines(const struct cli *cli, struct amend *out, struct failure *f)
{
    const struct options *opts = &cli->after;
    bool empty = cli_has(cli, "empty"), named = opts->operand_count > 1;
    enum err err = ERR_OK;
    out->edits = cli_has(cli, "set") || cli_has(cli, "drop");
    out->replaces = empty || named;
    if (empty && named)
        return failure_set(f, ERR_USAGE, "--empty gives all machines back, but some are given");
    if (out->edits && out->replaces) {
        return failure_set(f, ERR_USAGE,
                           "--set and --drop keep the other machines, but %s replaces them all",
                           empty ? "--empty" : "MACHINE without an option");
    }
    for (size_t i = 1; err == ERR_OK && i < opts->operand_count; i++)
        err = cli_shares_add(&out->shares, opts->operands[i], f);
    for (size_t i = 0; err == ERR_OK && i < opts->given_count; i++) {
        if (strcmp(opts->given[i].spec->name, "set") == 0)
            err = cli_shares_add(&out->shares, opts->given[i].value, f);
    }
    return err == ERR_OK ? check_drops(cli, &out->shares, f) : err;
}

static enum err take_amend(const struct cli *cli, struct amend *out, struct failure *f)
{
    if (cli->after.operand_count == 0)
        return failure_set(f, ERR_USAGE, "amend needs a booking's id");
    enum err err = cli_id_parse("booking", cli->after.operands[0], &out->booking, f);
    if (err == ERR_OK)
        err = take_change(cli, &out->change, f);
    if (err == ERR_OK)
        err = take_machines(cli, out, f);
    if (err == ERR_OK && cli_change_is_empty(&out->change) && !out->replaces && !out->edits) {
        err = failure_set(f, ERR_USAGE,
                          "nothing to change: say when it shall be, or which machines it shall "
                          "have (see `berth amend --help`)");
    }
    return err;
}

static enum err held_shares(const json_t *booking, struct cli_shares *out, struct failure *f)
{
    size_t i;
    const json_t *share;
    enum err err = ERR_OK;
    json_array_foreach(json_object_get(booking, "allocations"), i, share)
    {
        const char *name = member_text(share, "machine");
        struct cli_share item = {.gpus = member_number(share, "gpus"),
                                 .memory_gib = member_number(share, "memory_gib")};
        if (!name || strlen(name) > LIMIT_NAME_LEN)
            return failure_set(f, ERR_FAILED, "the reader does not say what the booking holds");
        snprintf(item.machine, sizeof(item.machine), "%s", name);
        err = cli_shares_set(out, &item, f);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

/* Merges --set and --drop with the booking's machines into amend->shares. */
static enum err edit_shares(const struct cli *cli, const json_t *booking, struct amend *amend,
                            struct failure *f)
{
    struct cli_shares held = {0};
    enum err err = held_shares(booking, &held, f);
    for (size_t i = 0; err == ERR_OK && i < cli->after.given_count; i++) {
        const struct option_given *given = &cli->after.given[i];
        if (strcmp(given->spec->name, "drop") == 0)
            err = cli_shares_drop(&held, given->value, f);
    }
    for (size_t i = 0; err == ERR_OK && i < amend->shares.count; i++)
        err = cli_shares_set(&held, &amend->shares.items[i], f);
    if (err == ERR_OK) {
        amend->shares = held;
        amend->replaces = true;
    }
    return err;
}

static enum err resolve(const struct cli *cli, const json_t *booking, struct amend *amend,
                        struct failure *f)
{
    int64_t start_ms = member_time_ms(booking, "start"), end_ms = member_time_ms(booking, "end");
    if (cli_change_needs_booking(&amend->change) && (start_ms == 0 || end_ms == 0))
        return failure_set(f, ERR_FAILED, "the reader does not say when the booking is");
    enum err err = cli_change_resolve(&amend->change, start_ms, end_ms, f);
    amend->shown = amend->change.window;
    if (booking && !amend->shown.has_start)
        amend->shown.start_ms = start_ms;
    if (booking && !amend->shown.has_end)
        amend->shown.end_ms = end_ms;
    if (booking)
        amend->shown.has_start = amend->shown.has_end = true;
    if (err == ERR_OK && amend->edits)
        err = edit_shares(cli, booking, amend, f);
    return err;
}

/* Gets the booking from the reader if the change is relative to it. */
static int look_up(const struct cli *cli, struct amend *amend)
{
    struct failure f;
    json_t *booking = NULL;
    int code = cli_resolve_shares(cli, &amend->shares);
    if (code == EXIT_CODE_OK && (amend->edits || cli_change_needs_booking(&amend->change))) {
        code = cli_get(cli, &booking, NULL, "/v1/bookings/%" PRId64, amend->booking);
        if (code != EXIT_CODE_OK && code != EXIT_CODE_NOT_FOUND) {
            cli_note(cli, "to do without the reader, give --end, and all machines that it shall "
                          "have");
        }
    }
    if (code == EXIT_CODE_OK && resolve(cli, booking, amend, &f) != ERR_OK)
        code = cli_fail(cli, &f);
    json_decref(booking);
    return code;
}

static const char *show_window(const struct cli_window *window, const char *zone,
                               char buf[CLI_TIME_LEN])
{
    char moment[CLI_TIME_LEN];
    if (window->has_start || !window->has_end)
        return cli_window_show(window, zone, buf);
    snprintf(buf, CLI_TIME_LEN, "until %.100s", cli_time_show(window->end_ms, zone, moment));
    return buf;
}

int cli_amend(struct cli *cli)
{
    struct failure f;
    struct amend amend = {0};
    char window[CLI_TIME_LEN];
    if (take_amend(cli, &amend, &f) != ERR_OK)
        return cli_fail(cli, &f);
    int code = look_up(cli, &amend);
    if (code != EXIT_CODE_OK)
        return code;
    struct cli_asked asked = {.window = show_window(&amend.shown, cli->zone, window),
                              .length_ms = cli_window_length_ms(&amend.shown)};
    json_t *request = cli_request_amend(amend.booking, &amend.change.window,
                                        amend.replaces ? &amend.shares : NULL);
    return cli_decide(cli, request, &asked);
}

/* The place of an exit code among them, the worst last; a signal's is the worst. */
static size_t badness(int code)
{
    static const int order[] = {EXIT_CODE_OK,          EXIT_CODE_NOT_FOUND, EXIT_CODE_REJECTED,
                                EXIT_CODE_NO_DECISION, EXIT_CODE_USAGE,     EXIT_CODE_FAILURE};
    size_t i = 0;
    while (i < sizeof(order) / sizeof(order[0]) && order[i] != code)
        i++;
    return i;
}

/* Cancels bookings one after the other, and tells of each what became of it. */
static int cancel_each(struct cli *cli, const int64_t *ids, size_t count)
{
    int worst = EXIT_CODE_OK;
    for (size_t i = 0; i < count; i++) {
        if (count > 1 && cli->format == CLI_TEXT)
            cli_note(cli, "cancelling booking %" PRId64, ids[i]);
        int code = cli_decide(cli, cli_request_cancel("booking", ids[i]), NULL);
        worst = badness(code) > badness(worst) ? code : worst;
        cli->headers = false; /* once is enough */
        if (badness(code) > badness(EXIT_CODE_NO_DECISION) && i + 1 < count) {
            cli_note(cli, "not sent: booking %" PRId64 "%s", ids[i + 1],
                     i + 2 < count ? " and those behind it" : "");
            break;
        }
    }
    return worst;
}

int cli_cancel(struct cli *cli)
{
    struct failure f;
    int64_t *ids = NULL, series_id;
    const char *series = cli_value(cli, "series");
    size_t count = cli->after.operand_count;
    if (series ? count != 0 : count == 0)
        return cli_usage(cli, "cancel needs bookings' ids, or --series ID");
    if (count > 1 && cli_has(cli, "request-id"))
        return cli_usage(cli, "--request-id is of one request: cancel one booking with it");
    if (series) {
        if (cli_id_parse("series", series, &series_id, &f) != ERR_OK)
            return cli_fail(cli, &f);
        return cli_decide(cli, cli_request_cancel("series", series_id), NULL);
    }
    ids = xcalloc(count, sizeof(*ids));
    enum err err = ERR_OK;
    for (size_t i = 0; i < count && err == ERR_OK; i++)
        err = cli_id_parse("booking", cli->after.operands[i], &ids[i], &f);
    int code = err == ERR_OK ? cancel_each(cli, ids, count) : cli_fail(cli, &f);
    free(ids);
    return code;
}
