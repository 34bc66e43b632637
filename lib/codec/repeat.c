#include "lib/codec/repeat.h"

#include <assert.h>

#include "core/limits.h"

#define DAY_S 86400

/* What the zone's clocks show, as seconds since 1970-01-01T00:00:00 there. On such a reading a day
 * has 86400 seconds, whatever happens to the clock. */
static int64_t reading(struct zone *zone, int64_t utc_s)
{
    return utc_s + zone_offset_s(zone, utc_s);
}

enum repeat_fault repeat_windows(const struct repeat *repeat, const struct booking_create *create,
                                 struct window *windows)
{
    int64_t start_s = create->start_ms / 1000;
    int64_t length_s = create->duration_ms / 1000;
    bool has_end = create->end_ms != TIME_NONE;
    int64_t end_s = has_end ? create->end_ms / 1000 : start_s + length_s;
    int64_t last_day = (repeat->count - 1) * repeat->step_days;
    assert(create->start_ms != TIME_NONE);
    assert(repeat->count >= 1 && repeat->count <= LIMIT_OCCURRENCES);
    /* Two days of reach: what a zone's offset and a gap can add. */
    if (start_s > ZONE_TIME_MAX_S - (last_day + 2) * DAY_S ||
        end_s > ZONE_TIME_MAX_S - (last_day + 2) * DAY_S)
        return REPEAT_LATE;
    windows[0] = (struct window){start_s * 1000, end_s * 1000};
    int64_t start_reading = reading(repeat->zone, start_s);
    int64_t end_reading = reading(repeat->zone, end_s);
    for (int64_t i = 1; i < repeat->count; i++) {
        int64_t ahead_s = i * repeat->step_days * DAY_S;
        int64_t from_s = zone_utc_s(repeat->zone, start_reading + ahead_s);
        int64_t until_s = has_end ? zone_utc_s(repeat->zone, end_reading + ahead_s)
                                  : from_s + length_s;
        if (until_s <= from_s)
            return REPEAT_EMPTY;
        windows[i] = (struct window){from_s * 1000, until_s * 1000};
    }
    return REPEAT_OK;
}
