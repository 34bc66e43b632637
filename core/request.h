/* A request for the decision function: typed, within the limits, its strings in an arena. Only the
 * codec (lib/codec/claims.h) makes one, from a token's claims. */
#ifndef BERTH_CORE_REQUEST_H
#define BERTH_CORE_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/amount.h"

#define REQUEST_TYPE_TABLE(X)                                                                      \
    X(MACHINE_REGISTER, "machine.register")                                                        \
    X(MACHINE_UPDATE, "machine.update")                                                            \
    X(BOOKING_CREATE, "booking.create")                                                            \
    X(BOOKING_AMEND, "booking.amend")                                                              \
    X(BOOKING_CANCEL, "booking.cancel")

enum request_type {
#define REQUEST_TYPE_ENUM(id, name) REQUEST_##id,
    REQUEST_TYPE_TABLE(REQUEST_TYPE_ENUM)
#undef REQUEST_TYPE_ENUM
        REQUEST_TYPE_COUNT
};

enum machine_state { MACHINE_UP, MACHINE_DRAINING, MACHINE_RETIRED, MACHINE_STATE_COUNT };
enum booking_state { BOOKING_BOOKED, BOOKING_CANCELLED, BOOKING_RELEASED, BOOKING_STATE_COUNT };
enum role { ROLE_SUBMITTER, ROLE_ADMIN, ROLE_COUNT };

/* Names as in JSON and in the database; *_from_name give _COUNT for an unknown name. */
const char *request_type_name(enum request_type type);
enum request_type request_type_from_name(const char *name);
const char *machine_state_name(enum machine_state state);
enum machine_state machine_state_from_name(const char *name);
const char *booking_state_name(enum booking_state state);
enum booking_state booking_state_from_name(const char *name);
const char *role_name(enum role role);
enum role role_from_name(const char *name);

/* Whether `text` is 1..max_len characters of A-Z a-z 0-9 . _ - (and of `extra`, may be NULL). */
bool name_is_valid(const char *text, size_t max_len, const char *extra);
/* Whether `text` is 1..LIMIT_FARM_NAME_LEN of a-z 0-9 -. */
bool farm_name_is_valid(const char *text);

/* Labels with distinct keys, sorted by key (bytewise). The strings are borrowed. */
struct label {
    const char *key;
    const char *value;
};
struct labels {
    size_t count;
    const struct label *items;
};

/* What a booking asks of one machine. Not both amounts are 0. */
struct share {
    const char *machine;
    struct amount amount;
};

/* A time that the request leaves out. Times in requests are whole seconds, and not below 0. */
#define TIME_NONE INT64_C(-1)

struct machine_register {
    const char *machine;
    struct amount capacity;
    struct labels labels;
    int64_t id; /* 1..LIMIT_CHOSEN_MACHINE_ID, or 0: choose one */
};
struct machine_update {
    const char *machine;
    bool has_gpus, has_memory_gib, has_labels, has_state;
    struct amount capacity; /* only the components that are given */
    struct labels labels;
    enum machine_state state;
    bool displace;
};
/* Any `count` machines that fit, are up and carry all labels. */
struct any {
    int64_t count; /* 1..LIMIT_ALLOCATIONS; 0: not asked for */
    struct amount amount;
    struct labels labels; /* the machine must have each of them with this value */
};
/* One window of a recurring booking, half-open, on whole seconds. */
struct window {
    int64_t start_ms, end_ms;
};
struct booking_create {
    int64_t start_ms; /* TIME_NONE: now rounded up to the second */
    int64_t end_ms;   /* exactly one of end_ms and duration_ms is given */
    int64_t duration_ms;
    size_t share_count; /* 0..LIMIT_ALLOCATIONS, distinct machines */
    const struct share *shares;
    struct any any; /* instead of shares */
    /* `repeat`: the windows, ascending; the first one is the window above. The codec computes them,
     * because a pure function cannot read the time zone database. 0: not recurring. */
    size_t window_count;
    const struct window *windows;
    bool skip_conflicts; /* book the windows that fit; false: all or none */
};
struct booking_amend {
    int64_t booking;
    int64_t start_ms, end_ms; /* TIME_NONE: as it is */
    bool has_shares;          /* false: as they are */
    size_t share_count;
    const struct share *shares;
};
struct booking_cancel {
    int64_t booking; /* the id of the booking, or of the series */
    bool series;     /* cancel all occurrences that are not over */
};

struct request {
    enum request_type type;
    union {
        struct machine_register machine_register;
        struct machine_update machine_update;
        struct booking_create booking_create;
        struct booking_amend booking_amend;
        struct booking_cancel booking_cancel;
    };
};

#endif
