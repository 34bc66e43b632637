/* `berth book`, `amend`, `cancel`. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "lib/mem.h"
#include "lib/timetext.h"
#include "producer/cli.h"
#include "producer/cli_request.h"

/* ---- machines ------------------------------------------------------------------------------ */

struct shares {
    struct cli_share items[LIMIT_ALLOCATIONS];
    size_t count;
};

static int parse_shares(const struct cli *cli, size_t first, struct shares *out)
{
    struct failure f;
    out->count = cli->after.operand_count - first;
    if (out->count > LIMIT_ALLOCATIONS) {
        failure_set(&f, ERR_USAGE, "a booking has at most %d machines", LIMIT_ALLOCATIONS);
        return cli_fail(cli, &f);
    }
    for (size_t i = 0; i < out->count; i++) {
        if (cli_share_parse(cli->after.operands[first + i], &out->items[i], &f) != ERR_OK)
            return cli_fail(cli, &f);
        for (size_t j = 0; j < i; j++) {
            if (strcmp(out->items[i].machine, out->items[j].machine) == 0) {
                failure_set(&f, ERR_USAGE, "machine %s is given twice", out->items[i].machine);
                return cli_fail(cli, &f);
            }
        }
    }
    return EXIT_CODE_OK;
}

/* Asks the reader how much the whole of each bare MACHINE is. */
static int resolve_shares(const struct cli *cli, struct shares *shares)
{
    for (size_t i = 0; i < shares->count; i++) {
        struct cli_share *share = &shares->items[i];
        json_t *machine = NULL;
        if (!share->whole)
            continue;
        char *path = xasprintf("/v1/machines/%s", share->machine);
        int code = cli_get(cli, path, &machine, NULL);
        free(path);
        if (code != EXIT_CODE_OK) {
            if (code != EXIT_CODE_NOT_FOUND)
                cli_note(cli, "to do without the reader, say how much: %s:GPUS[:GIB]",
                         share->machine);
            return code;
        }
        share->gpus = json_integer_value(json_object_get(machine, "gpus"));
        share->memory_gib = json_integer_value(json_object_get(machine, "memory_gib"));
        share->whole = false;
        json_decref(machine);
    }
    return EXIT_CODE_OK;
}

/* ---- windows ------------------------------------------------------------------------------- */

static enum err parse_window(const struct cli *cli, struct cli_window *out, struct failure *f)
{
    struct cli_window_text text = {.start = cli_value(cli, "start"),
                                   .end = cli_value(cli, "end"),
                                   .duration = cli_value(cli, "for"),
                                   .now_ms = cli->now_ms,
                                   .zone = cli->zone};
    return cli_window_parse(&text, out, f);
}

int cli_book(struct cli *cli)
{
    struct failure f;
    struct cli_window window;
    struct shares shares;
    char shown[CLI_WINDOW_LEN];
    bool empty = cli_has(cli, "empty");
    if (parse_window(cli, &window, &f) != ERR_OK)
        return cli_fail(cli, &f);
    if (!window.has_end && !window.has_duration) {
        failure_set(&f, ERR_USAGE, "how long? Give --for DURATION or --end TIME");
        return cli_fail(cli, &f);
    }
    if (empty != (cli->after.operand_count == 0)) {
        failure_set(&f, ERR_USAGE,
                    empty ? "--empty books no machines, but some are given"
                          : "which machines? MACHINE[:GPUS[:GIB]]…, or --empty for "
                            "a window to which amend adds them");
        return cli_fail(cli, &f);
    }
    int code = parse_shares(cli, 0, &shares);
    if (code == EXIT_CODE_OK)
        code = resolve_shares(cli, &shares);
    if (code != EXIT_CODE_OK)
        return code;
    cli_window_show(&window, cli->zone, shown);
    return cli_decide(cli, cli_request_create(&window, shares.items, shares.count), shown);
}

/* ---- amend, cancel ------------------------------------------------------------------------- */

/* --for without --start counts from the start that the booking has. */
static int resolve_duration(const struct cli *cli, int64_t booking, struct cli_window *window)
{
    json_t *found = NULL;
    if (!window->has_duration)
        return EXIT_CODE_OK;
    int64_t start_ms = window->start_ms;
    if (!window->has_start) {
        char path[64];
        snprintf(path, sizeof path, "/v1/bookings/%" PRId64, booking);
        int code = cli_get(cli, path, &found, NULL);
        if (code != EXIT_CODE_OK) {
            if (code != EXIT_CODE_NOT_FOUND)
                cli_note(cli, "to do without the reader, give --end instead of --for");
            return code;
        }
        const char *text = json_string_value(json_object_get(found, "start"));
        bool valid = text && timetext_parse(text, strlen(text), &start_ms);
        json_decref(found);
        if (!valid) {
            struct failure f;
            failure_set(&f, ERR_FAILED, "the reader does not say when the booking starts");
            return cli_fail(cli, &f);
        }
    }
    window->has_duration = false;
    window->has_end = true;
    window->end_ms = start_ms + window->duration_ms;
    return EXIT_CODE_OK;
}

static int amend(struct cli *cli, int64_t booking, struct cli_window *window)
{
    struct shares shares;
    char shown[CLI_WINDOW_LEN];
    bool has_shares = cli->after.operand_count > 1 || cli_has(cli, "empty");
    int code = parse_shares(cli, 1, &shares);
    if (code == EXIT_CODE_OK)
        code = resolve_shares(cli, &shares);
    if (code == EXIT_CODE_OK)
        code = resolve_duration(cli, booking, window);
    if (code != EXIT_CODE_OK)
        return code;
    cli_window_show(window, cli->zone, shown);
    json_t *request = cli_request_amend(booking, window, has_shares ? shares.items : NULL,
                                        shares.count);
    return cli_decide(cli, request, shown);
}

int cli_amend(struct cli *cli)
{
    struct failure f;
    struct cli_window window;
    int64_t booking;
    size_t count = cli->after.operand_count;
    if (count == 0) {
        failure_set(&f, ERR_USAGE, "amend needs a booking's id");
        return cli_fail(cli, &f);
    }
    if (cli_booking_parse(cli->after.operands[0], &booking, &f) != ERR_OK ||
        parse_window(cli, &window, &f) != ERR_OK)
        return cli_fail(cli, &f);
    bool empty = cli_has(cli, "empty");
    if (empty && count > 1) {
        failure_set(&f, ERR_USAGE, "--empty gives all machines back, but some are given");
        return cli_fail(cli, &f);
    }
    if (!empty && count == 1 && !window.has_start && !window.has_end && !window.has_duration) {
        failure_set(&f, ERR_USAGE,
                    "nothing to change: give --start, --end, --for or machines (see `berth amend "
                    "--help`)");
        return cli_fail(cli, &f);
    }
    return amend(cli, booking, &window);
}

int cli_cancel(struct cli *cli)
{
    struct failure f;
    int64_t booking;
    if (cli->after.operand_count != 1) {
        failure_set(&f, ERR_USAGE, "cancel needs one booking's id");
        return cli_fail(cli, &f);
    }
    if (cli_booking_parse(cli->after.operands[0], &booking, &f) != ERR_OK)
        return cli_fail(cli, &f);
    return cli_decide(cli, cli_request_cancel(booking), NULL);
}
