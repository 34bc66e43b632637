/* Makes the `request` object of a token from command-line arguments. Pure: no configuration, no
 * network. */
#ifndef BERTH_CLI_TYPED_REQUEST_H
#define BERTH_CLI_TYPED_REQUEST_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "cli/spec.h"
#include "lib/base/cli_time.h"
#include "lib/base/err.h"

/* The values of --start, --end and --for. */
struct cli_window {
    bool has_start, has_end, has_duration;
    bool starts_now; /* "--start now": means the broker's now, so booking.create omits it */
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
/* The window's length; 0: not given, or not known before the decision. */
int64_t cli_window_length_ms(const struct cli_window *window);
/* The window for people; "" when nothing was given. Returns buf. */
const char *cli_window_show(const struct cli_window *window, const char *zone,
                            char buf[CLI_TIME_LEN]);

/* A change of a booking's window: --move, --extend and --shorten besides the above. */
struct cli_change {
    struct cli_window window;
    bool moves;        /* to window.start_ms, keeping the length */
    int64_t growth_ms; /* added to the end; negative: shorter */
};
struct cli_change_text {
    struct cli_window_text window;
    const char *move, *extend, *shorten;
};
/* ERR_USAGE: as above, or options that exclude each other. */
enum err cli_change_parse(const struct cli_change_text *text, struct cli_change *out,
                          struct failure *f);
bool cli_change_is_empty(const struct cli_change *change);
/* Whether the change is relative to the booking's present times. */
bool cli_change_needs_booking(const struct cli_change *change);
/* Turns the change into a start and an end, for a booking with these times. ERR_USAGE: nothing
 * would be left of the window. */
enum err cli_change_resolve(struct cli_change *change, int64_t start_ms, int64_t end_ms,
                            struct failure *f);

/* --any: the amounts are per machine. */
struct cli_any {
    int64_t count;            /* 0: no --any */
    int64_t gpus, memory_gib; /* both < 0: the whole machine; resolved later */
    json_t *labels;           /* borrowed; NULL: none */
};
struct cli_any_text {
    const char *count, *gpus, *memory_gib; /* each may be NULL */
    json_t *labels;
};
/* ERR_USAGE. */
enum err cli_any_parse(const struct cli_any_text *text, struct cli_any *out, struct failure *f);

/* A booking that recurs. Strings are borrowed. */
struct cli_repeat {
    int64_t count; /* 0: once */
    const char *every, *zone;
    bool skip_conflicts;
};
struct cli_repeat_text {
    const char *every, *count, *zone; /* each may be NULL */
    bool skip_conflicts;
    const char *default_zone; /* a zone of the database, or anything that TZ may hold, or NULL */
};
/* ERR_USAGE, also if the window has no start. */
enum err cli_repeat_parse(const struct cli_repeat_text *text, const struct cli_window *window,
                          struct cli_repeat *out, struct failure *f);

/* The arguments of `berth book`. */
struct cli_booking {
    struct cli_window window;
    struct cli_shares shares; /* none with --any */
    struct cli_any any;
    struct cli_repeat repeat;
};

/* Each gives a new reference. Shares must be resolved: none is `whole`. */
json_t *cli_request_create(const struct cli_booking *booking);
/* shares NULL: unchanged. The window must have an end instead of a duration. */
json_t *cli_request_amend(int64_t booking, const struct cli_window *window,
                          const struct cli_shares *shares);
/* `kind` is "booking" or "series". */
json_t *cli_request_cancel(const char *kind, int64_t id);

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
