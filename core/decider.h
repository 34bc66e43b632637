/* What the files of the decision function share; nothing else includes it. */
#ifndef BERTH_CORE_DECIDER_H
#define BERTH_CORE_DECIDER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/decide.h"

/* One decision under way. */
struct decider {
    struct world *world;
    const struct submission *in;
    const struct request *request;
    struct decision *out;
    int64_t floor_ms, ceil_ms; /* now cut to the second, and rounded up to it */
};

/* Notes the rejection with its sentence and returns false, so that a check ends with
 * `return decider_reject(…)`. The sentence is cut at LIMIT_DETAIL_LEN. */
bool decider_reject(struct decider *d, enum reason reason, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same for a reason that is about one machine. */
bool decider_reject_machine(struct decider *d, enum reason reason, const char *machine,
                            const char *format, ...) __attribute__((format(printf, 4, 5)));

/* One function per request type, in decide_booking.c and decide_machine.c: the checks from
 * unknown_booking on; false when one failed (and the rejection is noted), true when the world was
 * changed and out's view and subject are set. */
bool decide_machine_register(struct decider *d);
bool decide_machine_update(struct decider *d);
bool decide_booking_create(struct decider *d);
bool decide_booking_amend(struct decider *d);
bool decide_booking_cancel(struct decider *d);

/* Ends the booking as a cancel does: it frees what the booking holds from its start on, or from now
 * rounded up if it has begun. Counts its version up. */
void decide_booking_release(struct decider *d, struct booking *booking);

/* Times and amounts for sentences. */
struct text {
    char text[64];
};
struct text decide_time_text(int64_t ms);             /* "2026-12-01T02:00:00Z" */
struct text decide_amount_text(struct amount amount); /* "4 GPUs and 64 GiB" */

/* The later of two instants. */
static inline int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

#endif
