/* What the files of the decision function share. No other file includes this header. */
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
    /* Only the reason is wanted: a rejection for capacity skips the search for the next start. */
    bool brief;
};

/* Stores reason and sentence of the rejection and returns false, so that a check can end with
 * `return decider_reject(…)`. The sentence is cut at LIMIT_DETAIL_LEN. */
bool decider_reject(struct decider *d, enum reason reason, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same for a reason about one machine. */
bool decider_reject_machine(struct decider *d, enum reason reason, const char *machine,
                            const char *format, ...) __attribute__((format(printf, 4, 5)));
/* Puts words in front of the sentence of a stored rejection. */
void decider_preface(struct decider *d, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* One function per request type, with the checks from unknown_booking on. False: a check failed,
 * and the rejection is stored. True: the world is changed, and the view and subject of `out` are
 * set. */
bool decide_machine_register(struct decider *d);
bool decide_machine_update(struct decider *d);
bool decide_booking_create(struct decider *d);
bool decide_booking_amend(struct decider *d);
bool decide_booking_cancel(struct decider *d);
/* booking.create with `repeat`, and booking.cancel of a series; called by the two above. */
bool decide_series_create(struct decider *d);
bool decide_series_cancel(struct decider *d);

/* --- bookings --- */

struct plan;

/* Whether the sender may change the booking; rejects with `forbidden`. */
bool booking_check_owner(struct decider *d, const struct booking *booking);
/* Whether the booking was cancelled or released or has ended. */
bool booking_is_over(const struct decider *d, const struct booking *booking);
/* Makes the plan's booking with its rows; the plan is in the timelines already. `index` is the
 * occurrence's place in the series; series 0: a single booking, index 0. */
struct booking *booking_insert(struct decider *d, const struct plan *plan, int64_t series,
                               size_t index);
/* Cancels the booking: frees what it holds from its start on or, if it has begun, from now rounded
 * up on. Counts its version up. The booking is booked (asserted). */
void booking_release(struct decider *d, struct booking *booking);
/* The booking as it is now: later changes, also in the same batch, do not show. In the batch's
 * arena. */
const struct booking_view *booking_snapshot(struct decider *d, const struct booking *booking);
/* Sets the decision's booking, what it replaced (NULL: it is new) and the subject. */
void booking_show(struct decider *d, const struct booking_view *booking,
                  const struct booking_view *previous);
/* The id of occurrence `index` of this decision: below 2^53, in the decision's partition. */
int64_t booking_occurrence_id(const struct decider *d, size_t index);

/* Times and amounts for sentences. */
struct text {
    char text[64];
};
struct text decide_time_text(int64_t ms);             /* "2026-12-01T02:00:00Z" */
struct text decide_amount_text(struct amount amount); /* "4 GPUs and 64 GiB" */

/* The later of two instants. */
static inline int64_t later(int64_t a, int64_t b)
{
    return int_max(a, b);
}

#endif
