/* A client's limits, and the farm's limits in their place where a client has none. */
#include "core/plan.h"

#include <assert.h>

/* Name and meaning, for sentences. */
static const struct {
    const char *name, *what;
} texts[] = {
    {"allocations", "machines in one booking"},
    {"booking_s", "the longest booking, in seconds"},
    {"ahead_s", "the furthest start, in seconds from now"},
    {"gpus_at_once", "GPUs held at any instant"},
    {"gpu_hours_ahead", "GPU-hours booked from now on, rounded up"},
};
enum limit { ALLOCATIONS, BOOKING_S, AHEAD_S, GPUS_AT_ONCE, GPU_HOURS_AHEAD };

static int64_t own_or_ms(int64_t own_s, int64_t farm_s)
{
    assert(own_s >= 0);
    int64_t limit_s = own_s > 0 ? own_s : farm_s;
    return (limit_s < LIMIT_TIME_S ? limit_s : LIMIT_TIME_S) * 1000;
}

int64_t plan_longest_ms(const struct decider *d)
{
    return own_or_ms(d->in->credential->limits.booking_s, LIMIT_BOOKING_S);
}

int64_t plan_furthest_ms(const struct decider *d)
{
    return own_or_ms(d->in->credential->limits.ahead_s, LIMIT_AHEAD_S);
}

static bool reject(struct decider *d, enum limit limit, const char *client,
                   const struct limit_view *figures)
{
    struct limit_view *view = arena_alloc(world_arena(d->world), sizeof(*view));
    *view = *figures;
    view->name = texts[limit].name;
    d->out->limit = view;
    if (limit < GPUS_AT_ONCE) {
        return decider_reject(
            d, REASON_LIMIT_EXCEEDED, "The limit %s of %s (%s) is %lld; %lld is asked for.",
            view->name, client, texts[limit].what, (long long)view->limit, (long long)view->asked);
    }
    return decider_reject(d, REASON_LIMIT_EXCEEDED,
                          "The limit %s of %s (%s) is %lld; %lld is used and %lld is asked for.",
                          view->name, client, texts[limit].what, (long long)view->limit,
                          (long long)view->used, (long long)view->asked);
}

/* The limits of a single booking. An amend may always shrink a booking that is above a limit which
 * was lowered later. */
static bool check_one_booking(struct decider *d, const struct plan *plan)
{
    const struct client_limits *own = &d->in->credential->limits;
    const struct booking *booking = plan->booking;
    const char *client = d->in->credential->client;

    int64_t count = (int64_t)plan_machine_count(plan);
    int64_t old_count = booking ? (int64_t)plan_current_count(booking) : 0;
    if (own->allocations > 0 && count > own->allocations && count > old_count) {
        return reject(d, ALLOCATIONS, client,
                      &(struct limit_view){.limit = own->allocations, .asked = count});
    }

    int64_t length_ms = plan->end_ms - plan->start_ms;
    int64_t old_length_ms = booking ? booking->end_ms - booking->start_ms : 0;
    if (own->booking_s > 0 && length_ms > plan_longest_ms(d) && length_ms > old_length_ms) {
        return reject(d, BOOKING_S, client,
                      &(struct limit_view){.limit = own->booking_s, .asked = length_ms / 1000});
    }

    int64_t ahead_ms = plan->start_ms - d->in->now_ms;
    bool further = !booking || plan->start_ms > booking->start_ms;
    if (own->ahead_s > 0 && ahead_ms > plan_furthest_ms(d) && further) {
        return reject(
            d, AHEAD_S, client,
            &(struct limit_view){.limit = own->ahead_s, .asked = (ahead_ms + 999) / 1000});
    }
    return true;
}

void plan_move_client_use(const struct plan *plan, bool back)
{
    const struct booking *booking = plan->booking;
    if (!booking || !plan->client)
        return;
    for (size_t i = 0; i < booking->allocation_count; i++) {
        const struct allocation *row = &booking->allocations[i];
        if (!plan_replaces(plan, row))
            continue;
        int64_t from_ms = later(row->start_ms, plan->cut_ms);
        quota_change(plan->client, from_ms, row->end_ms, row->amount.gpus, back);
    }
}

/* The GPUs that the booking holds at that instant and that the plan replaces. *until_ms: the next
 * change of that number, at most the plan's end. */
static int64_t own_gpus(const struct plan *plan, int64_t at_ms, int64_t *until_ms)
{
    const struct booking *booking = plan->booking;
    int64_t gpus = 0;
    *until_ms = plan->end_ms;
    for (size_t i = 0; booking && i < booking->allocation_count; i++) {
        const struct allocation *row = &booking->allocations[i];
        if (!plan_replaces(plan, row) || row->end_ms <= at_ms)
            continue;
        int64_t start_ms = later(row->start_ms, plan->cut_ms);
        int64_t change_ms = start_ms > at_ms ? start_ms : row->end_ms;
        if (change_ms < *until_ms)
            *until_ms = change_ms;
        if (start_ms <= at_ms)
            gpus += row->amount.gpus;
    }
    return gpus;
}

/* The highest number of GPUs that the client's other bookings hold while the plan holds more than
 * the booking does now; -1: it never does. The booking's own use must be out of the client's
 * timeline. */
static int64_t peak_beside(const struct plan *plan, int64_t from_ms, int64_t gpus)
{
    int64_t peak = -1, until_ms;
    for (int64_t at_ms = from_ms; at_ms < plan->end_ms; at_ms = until_ms) {
        int64_t own = own_gpus(plan, at_ms, &until_ms);
        assert(until_ms > at_ms);
        if (gpus > own)
            peak = int_max(peak, quota_peak(plan->client, at_ms, until_ms));
    }
    return peak;
}

/* The counted limits. Only what the plan adds can exceed them: a plan that never holds more GPUs
 * than before, and no more GPU time in all, passes whatever the limit. A later check may reject the
 * window, so the part before now is left out here. */
static bool check_counted(struct decider *d, const struct plan *plan)
{
    struct client *client = plan->client;
    int64_t from_ms = later(plan->from_ms, d->floor_ms);
    int64_t ahead_from_ms = later(plan->from_ms, d->ceil_ms);
    if (!client || plan->end_ms <= from_ms)
        return true;
    assert(client->timeline);
    assert(timeline_covers(client->timeline, from_ms));
    int64_t gpus = plan_gpus(plan);
    gpu_ms before = quota_ahead(client, d->ceil_ms);
    plan_move_client_use(plan, false);
    int64_t peak = peak_beside(plan, from_ms, gpus);
    gpu_ms others = quota_ahead(client, d->ceil_ms);
    plan_move_client_use(plan, true);

    /* Without a limit, the capacity of a timeline is the limit. */
    int64_t most = client->limits.gpus_at_once > 0 ? client->limits.gpus_at_once
                                                   : TIMELINE_AMOUNT_LIMIT;
    if (peak >= 0 && peak + gpus > most) {
        return reject(d, GPUS_AT_ONCE, client->name,
                      &(struct limit_view){.limit = most, .used = peak, .asked = gpus});
    }

    gpu_ms asked = plan->end_ms > ahead_from_ms ? (gpu_ms)gpus * (plan->end_ms - ahead_from_ms) : 0;
    int64_t hours = client->limits.gpu_hours_ahead;
    if (hours > 0 && others + asked > (gpu_ms)hours * QUOTA_HOUR_MS && others + asked > before) {
        return reject(d, GPU_HOURS_AHEAD, client->name,
                      &(struct limit_view){.limit = hours,
                                           .used = quota_hours(others),
                                           .asked = quota_hours(asked)});
    }
    return true;
}

bool plan_check_limits(struct decider *d, const struct plan *plan)
{
    return check_one_booking(d, plan) && check_counted(d, plan);
}
