/* What the events tell of each booking, version by version: each change says what it replaced, and
 * that is what the event before it said. */
#ifndef BERTH_TESTS_SIMULATION_TOLD_H
#define BERTH_TESTS_SIMULATION_TOLD_H

#include "core/decide.h"
#include "core/map.h"

/* Zeroed but for the arena, which keeps what was told. */
struct told {
    struct arena *arena;
    struct map bookings;
};

/* Takes the next event in the order of the commits. NULL: all is well; else what is wrong. */
const char *told_take(struct told *told, const char *event_bytes, size_t len);
/* Whether the events left the booking as it is; of its shares only their number is compared. */
bool told_left(const struct told *told, const struct booking_view *booking);
void told_fini(struct told *told);

#endif
