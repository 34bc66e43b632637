/* The windows of a recurring booking: fixed times of a wall clock, across its changes. For
 * lib/codec/claims*.c; docs/messages.md has the rules. */
#ifndef BERTH_LIB_CODEC_REPEAT_H
#define BERTH_LIB_CODEC_REPEAT_H

#include <stdint.h>

#include "core/request.h"
#include "lib/base/zone.h"

/* The request's member `repeat`. */
struct repeat {
    int64_t step_days; /* 0: not given */
    int64_t count;     /* 1..LIMIT_OCCURRENCES */
    struct zone *zone; /* from zone_find */
};

enum repeat_fault {
    REPEAT_OK,
    REPEAT_EMPTY, /* an occurrence would end before it begins, at a change of the clock */
    REPEAT_LATE,  /* an occurrence may end after ZONE_TIME_MAX_S, or two days before */
};

/* Works out the windows, windows[0 .. count-1], of create's start_ms (given) and its end_ms or
 * duration_ms. The first is what these say. The others begin when the zone's clocks show the first
 * one's time of day, each step_days after the one before, as zone_utc_s says; they last the
 * duration or, with an end, until the clocks show the end's time of day, so that they can be longer
 * or shorter by a change between. Their starts never go back, but for a day that a zone skips as a
 * whole two can be the same. */
enum repeat_fault repeat_windows(const struct repeat *repeat, const struct booking_create *create,
                                 struct window *windows);

#endif
