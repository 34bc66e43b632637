/* From what was typed to the `request` object of a token. Pure: no configuration, no network. */
#ifndef BERTH_PRODUCER_CLI_REQUEST_H
#define BERTH_PRODUCER_CLI_REQUEST_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/cli_time.h"
#include "lib/err.h"
#include "producer/cli_spec.h"

/* Of --start, --end and --for, what was given. */
struct cli_window {
    bool has_start, has_end, has_duration;
    bool starts_now; /* "--start now": the broker's now, so it is left out of a booking.create */
    int64_t start_ms, end_ms, duration_ms;
};
/* The texts may be NULL. ERR_USAGE: one of them is wrong, --end and --for together, an end that is
 * not after the start, or no duration at all. */
struct cli_window_text {
    const char *start, *end, *duration;
    int64_t now_ms;
    const char *zone;
};
enum err cli_window_parse(const struct cli_window_text *text, struct cli_window *out,
                          struct failure *f);
/* What was understood, for people; "" when nothing was given. Returns buf. */
const char *cli_window_show(const struct cli_window *window, const char *zone,
                            char buf[CLI_WINDOW_LEN]);

/* Each gives a new reference. No share may be `whole` any more. */
json_t *cli_request_create(const struct cli_window *window, const struct cli_share *shares,
                           size_t count);
/* shares NULL: as they are. A duration must have become an end. */
json_t *cli_request_amend(int64_t booking, const struct cli_window *window,
                          const struct cli_share *shares, size_t count);
json_t *cli_request_cancel(int64_t booking);

/* A machine's amounts; < 0: not given. labels: borrowed, NULL: not given. state may be NULL. */
struct cli_machine {
    const char *name;
    int64_t gpus, memory_gib, id;
    json_t *labels;
    const char *state;
    bool displace;
};
json_t *cli_request_machine(const char *type, const struct cli_machine *machine);

#endif
