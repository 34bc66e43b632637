/* Recurring bookings: booking.create with `repeat`, and booking.cancel of a series. Each occurrence
 * is a booking of its own; overlapping occurrences of one series compete with each other.
 *
 * A series is made in two passes. The first decides all occurrences and changes only timelines,
 * because an occurrence that does not fit can undo those before it. The second makes the bookings
 * and cannot fail. */
#include "core/plan.h"

#include <assert.h>

struct series {
    int64_t id;
    size_t count, booked_count;
    struct plan *plans;             /* one for each window */
    struct occurrence *occurrences; /* one for each window; REASON_NONE: it fits */
    /* The first booking that was made or ended, and what it was before (NULL: it is new). */
    const struct booking_view *first, *first_previous;
};

/* Whether `skip_conflicts` may leave the occurrence out: the reason depends on its window. */
static bool can_skip(enum reason reason)
{
    return reason == REASON_INSUFFICIENT_CAPACITY || reason == REASON_START_IN_PAST ||
           reason == REASON_TOO_FAR_AHEAD || reason == REASON_TOO_LONG ||
           reason == REASON_LIMIT_EXCEEDED;
}

static bool check(struct decider *d, struct plan *plan)
{
    return plan_check_request(d, plan) && plan_check_capacity(d, plan);
}

/* Whether the occurrence before was to be booked, and ends after this one begins. */
static bool overlaps_before(const struct series *series, size_t index)
{
    const struct occurrence *occurrence = &series->occurrences[index];
    return index > 0 && occurrence[-1].reason == REASON_NONE &&
           occurrence[-1].window.end_ms > occurrence->window.start_ms;
}

static bool reject_occurrence(struct decider *d, const struct series *series, size_t index)
{
    const struct occurrence *occurrence = &series->occurrences[index];
    assert(d->out->reason != REASON_NONE);
    if (d->out->reason == REASON_INSUFFICIENT_CAPACITY && overlaps_before(series, index)) {
        decider_preface(d, "Occurrence %zu, which lasts until %s, is in the way. ", index,
                        decide_time_text(occurrence[-1].window.end_ms).text);
    }
    decider_preface(d, "Occurrence %zu of %zu, from %s: ", index + 1, series->count,
                    decide_time_text(occurrence->window.start_ms).text);
    return false;
}

/* Decides one occurrence and books it in the timelines. False: it does not fit; the reason is in
 * the occurrence. */
static bool try_occurrence(struct decider *d, struct series *series, size_t index)
{
    struct occurrence *occurrence = &series->occurrences[index];
    struct plan *plan = &series->plans[index];
    plan_move(plan, &occurrence->window);
    if (!check(d, plan)) {
        occurrence->reason = d->out->reason;
        occurrence->machine = d->out->blocking_machine;
        return false;
    }
    plan_book(plan, false);
    series->booked_count++;
    return true;
}

static void take_back(struct series *series, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (series->occurrences[i].reason == REASON_NONE)
            plan_book(&series->plans[i], true);
    }
}

/* No occurrence fits. The answer is that of the first occurrence without capacity, else that of the
 * first occurrence. Nothing is booked, so deciding that occurrence again gives the same reason,
 * this time with all details. */
static bool reject_all(struct decider *d, struct series *series)
{
    size_t index = 0;
    while (index < series->count &&
           series->occurrences[index].reason != REASON_INSUFFICIENT_CAPACITY)
        index++;
    if (index == series->count)
        index = 0;
    bool fits = check(d, &series->plans[index]);
    assert(!fits);
    assert(d->out->reason == series->occurrences[index].reason);
    reject_occurrence(d, series, index);
    decider_preface(d, "None of the occurrences can be booked. ");
    return false;
}

/* The first pass. */
static bool book_windows(struct decider *d, struct series *series, bool skip_conflicts)
{
    const struct decision clean = *d->out;
    d->brief = skip_conflicts;
    for (size_t i = 0; i < series->count; i++) {
        if (try_occurrence(d, series, i))
            continue;
        if (!skip_conflicts || !can_skip(d->out->reason)) {
            take_back(series, i);
            return reject_occurrence(d, series, i);
        }
        *d->out = clean;
    }
    d->brief = false; /* from here on a rejection is the answer */
    return series->booked_count > 0 || reject_all(d, series);
}

/* Shows the series, and its first booking as the decision's. */
static void show_series(struct decider *d, const struct series *series)
{
    assert(series->first);
    assert(series->first->series == series->id);
    struct series_view *view = arena_alloc(world_arena(d->world), sizeof(*view));
    *view = (struct series_view){
        .id = series->id, .count = series->count, .occurrences = series->occurrences};
    d->out->series = view;
    booking_show(d, series->first, series->first_previous);
}

/* Fills the occurrence from its booking; `previous` is the booking before, or NULL. */
static void fill_occurrence(struct decider *d, struct series *series, size_t index,
                            const struct booking *from, const struct booking_view *previous)
{
    const struct booking_view *booking = booking_snapshot(d, from);
    series->occurrences[index] = (struct occurrence){
        .window = {.start_ms = booking->start_ms, .end_ms = booking->end_ms},
        .booking = booking->id,
        .version = booking->version,
        .state = booking->state,
        .share_count = booking->share_count,
        .shares = booking->shares,
        .previous = previous,
    };
    if (series->first)
        return;
    series->first = booking;
    series->first_previous = previous;
}

bool decide_series_create(struct decider *d)
{
    const struct booking_create *create = &d->request->booking_create;
    struct arena *arena = world_arena(d->world);
    assert(create->window_count <= LIMIT_OCCURRENCES);
    struct series series = {.id = booking_occurrence_id(d, 0), .count = create->window_count};
    series.plans = arena_alloc(arena, series.count * sizeof(*series.plans));
    series.occurrences = arena_alloc(arena, series.count * sizeof(*series.occurrences));
    struct plan plan = plan_create(d, create);
    for (size_t i = 0; i < series.count; i++) {
        series.plans[i] = plan;
        series.occurrences[i].window = create->windows[i];
    }
    if (!book_windows(d, &series, create->skip_conflicts))
        return false;

    for (size_t i = 0; i < series.count; i++) {
        if (series.occurrences[i].reason == REASON_NONE)
            fill_occurrence(d, &series, i, booking_insert(d, &series.plans[i], series.id, i), NULL);
    }
    show_series(d, &series);
    return true;
}

bool decide_series_cancel(struct decider *d)
{
    int64_t id = d->request->booking_cancel.booking;
    size_t all = 0;
    struct booking **bookings = id > 0 ? world_series(d->world, id, &all) : NULL;
    if (all == 0) {
        return decider_reject(d, REASON_UNKNOWN_BOOKING, "No series of bookings has the id %lld.",
                              (long long)id);
    }
    if (!booking_check_owner(d, bookings[0]))
        return false;
    struct series series = {.id = id};
    series.occurrences = arena_alloc(world_arena(d->world), all * sizeof(*series.occurrences));
    for (size_t i = 0; i < all; i++) {
        if (booking_is_over(d, bookings[i]))
            continue;
        const struct booking_view *previous = booking_snapshot(d, bookings[i]);
        booking_release(d, bookings[i]);
        fill_occurrence(d, &series, series.count++, bookings[i], previous);
    }
    if (series.count == 0) {
        return decider_reject(d, REASON_BOOKING_OVER,
                              "All bookings of the series %lld have ended or were cancelled.",
                              (long long)id);
    }
    show_series(d, &series);
    return true;
}
