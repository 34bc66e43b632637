/* booking.create, booking.amend and booking.cancel.
 *
 * Create and amend are one thing: a plan says what the booking shall hold, of which machines, over
 * [from, end), and what it holds from the cut on makes room for it. A created booking holds nothing
 * yet; one that has not begun is replaced from its start on; a begun one keeps its past, so its cut
 * is now rounded up to the second, and its rows of before are history (design §7).
 *
 *      begun:        start ........ cut ............ end            not begun:   start ..... end
 *      before        [===== row, 4 GPUs ==============)             before       [== row, 4 ==)
 *      amend to 2    [== row, 4 ===)[== new row, 2 ===)             amend to 2   [== row, 2 ==)
 *
 * A running booking that is only made longer or shorter keeps its row, with another end: else a
 * client that extends by a minute every minute would fill the table with a row per minute.
 *
 * Where a check looks at several machines it looks at all of them before the next check begins, so
 * the reason does not depend on the order in which a request names its machines. */
#include "core/decider.h"

#include <assert.h>
#include <string.h>

struct ask {
    struct machine *machine;
    struct amount amount;
    bool grows;   /* more than the booking holds there now, at some instant, in some component */
    bool settled; /* an old row shows it already */
};

struct plan {
    struct booking *booking; /* NULL: it is created */
    bool begun;              /* start < now rounded up; always false for a created one */
    bool start_given, end_given;
    int64_t start_ms, end_ms; /* the booking's window afterwards */
    int64_t from_ms;          /* it holds the asks over [from, end) */
    int64_t cut_ms;           /* what it held from here on is replaced; amend only */
    size_t ask_count;
    struct ask *asks;
};

static bool has_begun(const struct decider *d, const struct booking *booking)
{
    return booking->start_ms < d->ceil_ms;
}

static bool amounts_equal(struct amount a, struct amount b)
{
    return a.gpus == b.gpus && a.memory_gib == b.memory_gib;
}

/* The row's machine, with a timeline that may be asked and changed from `from_ms` on. */
static struct machine *machine_of(struct decider *d, const struct allocation *row, int64_t from_ms)
{
    struct machine *machine = world_machine_by_id(d->world, row->machine_id);
    assert(machine != NULL);
    assert(machine->timeline != NULL && timeline_covers(machine->timeline, from_ms));
    return machine;
}

/* --- rows and views --- */

/* What the row says afterwards. A row that says it already is left alone, and so is its machine. */
static void row_write(struct decider *d, struct allocation *row, int64_t end_ms,
                      struct amount amount, bool live)
{
    assert(row->start_ms < end_ms);
    if (row->live == live && row->end_ms == end_ms && amounts_equal(row->amount, amount))
        return;
    struct machine *machine = world_machine_by_id(d->world, row->machine_id);
    assert(machine != NULL);
    world_touch_machine(d->world, machine);
    row->end_ms = end_ms;
    row->amount = amount;
    row->live = live;
    row->machine_version = machine->version;
    row->touched = true;
}

static void row_add(struct decider *d, struct booking *booking, const struct plan *plan,
                    const struct ask *ask)
{
    world_touch_machine(d->world, ask->machine);
    world_allocation_add(d->world, booking,
                         &(struct allocation){
                             .machine_id = ask->machine->id,
                             .start_ms = plan->from_ms,
                             .end_ms = plan->end_ms,
                             .amount = ask->amount,
                             .live = true,
                             .machine_version = ask->machine->version,
                             .touched = true,
                         });
}

/* Whether the row is part of what the booking holds at its end. */
static bool is_current(const struct booking *booking, const struct allocation *row)
{
    return row->live && row->end_ms == booking->end_ms;
}

static size_t current_count(const struct booking *booking)
{
    size_t count = 0;
    for (size_t i = 0; i < booking->allocation_count; i++)
        count += is_current(booking, &booking->allocations[i]) ? 1 : 0;
    assert(count <= LIMIT_ALLOCATIONS);
    return count;
}

/* Snapshots: what happens to the booking later in the batch must not show in this event. */
static void show(struct decider *d, const struct booking *booking)
{
    struct arena *arena = world_arena(d->world);
    struct booking_view *view = arena_alloc(arena, sizeof(*view));
    struct share *shares = arena_alloc(arena, current_count(booking) * sizeof(*shares));
    size_t count = 0;
    for (size_t i = 0; i < booking->allocation_count; i++) {
        const struct allocation *row = &booking->allocations[i];
        if (!is_current(booking, row))
            continue;
        const struct machine *machine = world_machine_by_id(d->world, row->machine_id);
        assert(machine != NULL);
        shares[count++] = (struct share){.machine = machine->name, .amount = row->amount};
    }
    *view = (struct booking_view){
        .id = booking->id,
        .version = booking->version,
        .client = booking->client,
        .user = booking->user,
        .state = booking->state,
        .start_ms = booking->start_ms,
        .end_ms = booking->end_ms,
        .share_count = count,
        .shares = shares,
    };
    d->out->booking = view;
    d->out->subject_kind = SUBJECT_BOOKING;
    d->out->subject_booking = booking->id;
}

/* --- the plan's machines --- */

/* Whether the ask is more than the booking holds of the machine, anywhere in [from, end). Its live
 * rows on one machine do not meet, so each instant has at most one. */
static bool ask_grows(const struct plan *plan, const struct ask *ask)
{
    const struct booking *booking = plan->booking;
    if (booking == NULL)
        return true;
    int64_t covered_to = plan->from_ms;
    /* Rows are ordered by machine and start: one pass meets those of the machine in time order. */
    for (size_t i = 0; i < booking->allocation_count && covered_to < plan->end_ms; i++) {
        const struct allocation *row = &booking->allocations[i];
        if (row->machine_id != ask->machine->id || !row->live || row->end_ms <= covered_to)
            continue;
        if (row->start_ms > covered_to || row->amount.gpus < ask->amount.gpus ||
            row->amount.memory_gib < ask->amount.memory_gib)
            return true;
        covered_to = row->end_ms;
    }
    return covered_to < plan->end_ms;
}

static void ask_add(struct plan *plan, struct machine *machine, struct amount amount)
{
    assert(machine != NULL);
    assert(amount.gpus >= 0 && amount.memory_gib >= 0);
    struct ask *ask = &plan->asks[plan->ask_count++];
    *ask = (struct ask){.machine = machine, .amount = amount};
    ask->grows = ask_grows(plan, ask);
}

static void asks_room(struct decider *d, struct plan *plan, size_t count)
{
    assert(count <= LIMIT_ALLOCATIONS);
    plan->asks = arena_alloc(world_arena(d->world), count * sizeof(*plan->asks));
    plan->ask_count = 0;
}

/* The machines that the request names; unknown_machine. */
static bool ask_shares(struct decider *d, struct plan *plan, const struct share *shares,
                       size_t count)
{
    asks_room(d, plan, count);
    for (size_t i = 0; i < count; i++) {
        struct machine *machine = world_machine_by_name(d->world, shares[i].machine);
        if (machine == NULL)
            return decider_reject_machine(
                d, REASON_UNKNOWN_MACHINE, shares[i].machine,
                "No machine is named %s. Names count upper and lower case apart.",
                shares[i].machine);
        ask_add(plan, machine, shares[i].amount);
    }
    return true;
}

/* What the booking holds anyway. */
static void ask_current(struct decider *d, struct plan *plan)
{
    const struct booking *booking = plan->booking;
    asks_room(d, plan, current_count(booking));
    for (size_t i = 0; i < booking->allocation_count; i++) {
        const struct allocation *row = &booking->allocations[i];
        if (is_current(booking, row))
            ask_add(plan, world_machine_by_id(d->world, row->machine_id), row->amount);
    }
}

static struct ask *find_ask(const struct plan *plan, int64_t machine_id)
{
    for (size_t i = 0; i < plan->ask_count; i++) {
        if (plan->asks[i].machine->id == machine_id)
            return &plan->asks[i];
    }
    return NULL;
}

/* --- checks, in the order of the reasons --- */

static bool check_up(struct decider *d, const struct plan *plan)
{
    for (size_t i = 0; i < plan->ask_count; i++) {
        const struct machine *machine = plan->asks[i].machine;
        if (machine->state == MACHINE_UP || !plan->asks[i].grows)
            continue;
        return decider_reject_machine(
            d, REASON_MACHINE_NOT_UP, machine->name,
            "%s is %s and takes no new use; a booking that is on it may only shrink there.",
            machine->name, machine_state_name(machine->state));
    }
    return true;
}

static bool check_not_over(struct decider *d, const struct booking *booking)
{
    if (booking->state == BOOKING_CANCELLED)
        return decider_reject(d, REASON_BOOKING_OVER, "Booking %lld was cancelled.",
                              (long long)booking->id);
    if (booking->state == BOOKING_RELEASED)
        return decider_reject(d, REASON_BOOKING_OVER, "Booking %lld was released at %s.",
                              (long long)booking->id, decide_time_text(booking->end_ms).text);
    if (booking->end_ms <= d->in->now_ms)
        return decider_reject(d, REASON_BOOKING_OVER, "Booking %lld ended at %s.",
                              (long long)booking->id, decide_time_text(booking->end_ms).text);
    return true;
}

static bool check_length(struct decider *d, const struct plan *plan)
{
    if (plan->end_ms - plan->start_ms > LIMIT_BOOKING_S * INT64_C(1000))
        return decider_reject(d, REASON_TOO_LONG,
                              "The window is %lld seconds long; the farm allows %d (%d days).",
                              (long long)((plan->end_ms - plan->start_ms) / 1000), LIMIT_BOOKING_S,
                              LIMIT_BOOKING_S / 86400);
    return true;
}

/* A begun booking: only its end can change, and only to a time to come. */
static bool check_running_window(struct decider *d, const struct plan *plan)
{
    const struct booking *booking = plan->booking;
    if (plan->start_ms != booking->start_ms)
        return decider_reject(d, REASON_START_IN_PAST,
                              "Booking %lld began at %s: a begun booking keeps its start.",
                              (long long)booking->id, decide_time_text(booking->start_ms).text);
    if (plan->end_ms <= plan->from_ms)
        return decider_reject(
            d, REASON_START_IN_PAST,
            "Booking %lld runs and can end after %s at the earliest. Cancel it to "
            "release it now.",
            (long long)booking->id, decide_time_text(plan->from_ms).text);
    return check_length(d, plan);
}

/* invalid_request comes out of its order here: whether a window is empty can be unknown until the
 * other half of it is read from the booking, and no later reason says what is wrong. */
static bool check_window(struct decider *d, const struct plan *plan)
{
    if (plan->begun)
        return check_running_window(d, plan);
    if (plan->start_ms < d->floor_ms)
        return decider_reject(d, REASON_START_IN_PAST,
                              "The start %s has passed: the request arrived at %s. Leave start out "
                              "to begin at once.",
                              decide_time_text(plan->start_ms).text,
                              decide_time_text(d->in->now_ms).text);
    bool empty = plan->end_ms <= plan->start_ms;
    if (empty && plan->booking == NULL && !plan->start_given)
        return decider_reject(
            d, REASON_START_IN_PAST, "The end %s has passed: the request arrived at %s.",
            decide_time_text(plan->end_ms).text, decide_time_text(d->in->now_ms).text);
    if (empty) {
        decider_reject(d, REASON_INVALID_REQUEST, "The end %s is not after the start %s.",
                       decide_time_text(plan->end_ms).text, decide_time_text(plan->start_ms).text);
        d->out->pointer = plan->end_given ? "/request/end" : "/request/start";
        return false;
    }
    if (plan->start_ms - d->in->now_ms > LIMIT_AHEAD_S * INT64_C(1000))
        return decider_reject(
            d, REASON_TOO_FAR_AHEAD,
            "The start %s is too far ahead; the farm books %d days ahead at most.",
            decide_time_text(plan->start_ms).text, LIMIT_AHEAD_S / 86400);
    return check_length(d, plan);
}

static bool check_size(struct decider *d, const struct plan *plan)
{
    for (size_t i = 0; i < plan->ask_count; i++) {
        const struct ask *ask = &plan->asks[i];
        const struct machine *machine = ask->machine;
        bool fits = ask->amount.gpus <= machine->capacity.gpus &&
                    ask->amount.memory_gib <= machine->capacity.memory_gib;
        if (fits || !ask->grows)
            continue;
        return decider_reject_machine(d, REASON_EXCEEDS_MACHINE, machine->name,
                                      "%s has %s in all; %s can never fit.", machine->name,
                                      decide_amount_text(machine->capacity).text,
                                      decide_amount_text(ask->amount).text);
    }
    return true;
}

/* The least start from the plan's on at which the ask alone would fit, or TIME_NONE. A begun
 * booking has none: its start cannot move. */
static int64_t next_available(const struct decider *d, const struct plan *plan,
                              const struct ask *ask)
{
    if (plan->begun)
        return TIME_NONE;
    int64_t length_ms = plan->end_ms - plan->from_ms;
    int64_t horizon_ms = d->floor_ms + LIMIT_AHEAD_S * INT64_C(1000) + length_ms;
    int64_t start_ms = TIME_NONE;
    bool found = timeline_earliest(ask->machine->timeline, ask->machine->capacity, ask->amount,
                                   plan->from_ms, length_ms, horizon_ms, &start_ms);
    return found ? start_ms : TIME_NONE;
}

static bool reject_full(struct decider *d, const struct plan *plan, const struct ask *ask)
{
    const struct machine *machine = ask->machine;
    struct amount peak = timeline_peak(machine->timeline, plan->from_ms, plan->end_ms);
    struct amount free = {
        .gpus = later(machine->capacity.gpus - peak.gpus, 0),
        .memory_gib = later(machine->capacity.memory_gib - peak.memory_gib, 0),
    };
    int64_t next_ms = next_available(d, plan, ask);
    const char *hint = plan->begun            ? ""
                       : next_ms != TIME_NONE ? " The earliest start for this length is "
                                              : " No later start within the farm's horizon fits.";
    d->out->has_free = true;
    d->out->free = free;
    d->out->next_available_ms = next_ms;
    return decider_reject_machine(
        d, REASON_INSUFFICIENT_CAPACITY, machine->name,
        "%s has %s free throughout the window, and %s are asked for.%s%s%s", machine->name,
        decide_amount_text(free).text, decide_amount_text(ask->amount).text, hint,
        next_ms != TIME_NONE ? decide_time_text(next_ms).text : "",
        next_ms != TIME_NONE ? "." : "");
}

/* An ask that does not grow is not looked at: it fits because what it replaces is there. (In a
 * partition whose clock is behind, use can lawfully be above a capacity that shrank later.) */
static bool check_free(struct decider *d, const struct plan *plan)
{
    assert(plan->from_ms < plan->end_ms);
    for (size_t i = 0; i < plan->ask_count; i++) {
        const struct ask *ask = &plan->asks[i];
        if (!ask->grows)
            continue;
        assert(ask->machine->timeline != NULL);
        assert(timeline_covers(ask->machine->timeline, plan->from_ms));
        if (!timeline_fits(ask->machine->timeline, ask->machine->capacity, plan->from_ms,
                           plan->end_ms, ask->amount))
            return reject_full(d, plan, ask);
    }
    return true;
}

/* --- create --- */

static void book(struct plan *plan)
{
    for (size_t i = 0; i < plan->ask_count; i++) {
        const struct ask *ask = &plan->asks[i];
        assert(timeline_covers(ask->machine->timeline, plan->from_ms));
        timeline_add(ask->machine->timeline, plan->from_ms, plan->end_ms, ask->amount);
    }
}

static struct plan plan_create(const struct decider *d, const struct booking_create *create)
{
    struct plan plan = {
        .start_given = create->start_ms != TIME_NONE,
        .end_given = create->end_ms != TIME_NONE,
    };
    plan.start_ms = plan.start_given ? create->start_ms : d->ceil_ms;
    int64_t longest_ms = LIMIT_TIME_S * INT64_C(1000);
    int64_t duration_ms = create->duration_ms < longest_ms ? create->duration_ms : longest_ms;
    plan.end_ms = plan.end_given ? create->end_ms : plan.start_ms + duration_ms;
    plan.from_ms = plan.start_ms;
    return plan;
}

bool decide_booking_create(struct decider *d)
{
    const struct booking_create *create = &d->request->booking_create;
    struct plan plan = plan_create(d, create);
    if (!ask_shares(d, &plan, create->shares, create->share_count) || !check_up(d, &plan) ||
        !check_window(d, &plan) || !check_size(d, &plan) || !check_free(d, &plan))
        return false;

    int64_t id = d->in->seq * LIMIT_PARTITIONS + d->in->part;
    assert(world_booking(d->world, id) == NULL);
    struct booking *booking = world_booking_put(d->world, &(struct booking){
                                                              .id = id,
                                                              .client = d->in->credential->client,
                                                              .user = d->in->claims->user,
                                                              .start_ms = plan.start_ms,
                                                              .end_ms = plan.end_ms,
                                                              .state = BOOKING_BOOKED,
                                                              .version = 1,
                                                          });
    booking->is_new = true;
    for (size_t i = 0; i < plan.ask_count; i++)
        row_add(d, booking, &plan, &plan.asks[i]);
    book(&plan);
    world_touch_booking(d->world, booking);
    show(d, booking);
    return true;
}

/* --- amend --- */

/* The booking, if it is there and the client may touch it. */
static struct booking *find_booking(struct decider *d, int64_t id)
{
    struct booking *booking = world_booking(d->world, id);
    if (booking == NULL) {
        decider_reject(d, REASON_UNKNOWN_BOOKING, "No booking has the id %lld.", (long long)id);
        return NULL;
    }
    if (d->in->credential->role != ROLE_ADMIN &&
        strcmp(booking->client, d->in->credential->client) != 0) {
        decider_reject(d, REASON_FORBIDDEN,
                       "Booking %lld belongs to another client; only its owner or an admin may "
                       "change it.",
                       (long long)id);
        return NULL;
    }
    return booking;
}

static struct plan plan_amend(const struct decider *d, struct booking *booking,
                              const struct booking_amend *amend)
{
    struct plan plan = {
        .booking = booking,
        .begun = has_begun(d, booking),
        .start_given = amend->start_ms != TIME_NONE,
        .end_given = amend->end_ms != TIME_NONE,
    };
    plan.start_ms = plan.start_given ? amend->start_ms : booking->start_ms;
    plan.end_ms = plan.end_given ? amend->end_ms : booking->end_ms;
    plan.from_ms = plan.begun ? d->ceil_ms : plan.start_ms;
    plan.cut_ms = plan.begun ? d->ceil_ms : booking->start_ms;
    return plan;
}

/* Takes what the booking holds from the cut on out of the timelines, or puts it back. */
static void move_old_use(struct decider *d, const struct plan *plan, bool back)
{
    const struct booking *booking = plan->booking;
    for (size_t i = 0; i < booking->allocation_count; i++) {
        const struct allocation *row = &booking->allocations[i];
        if (!row->live || row->end_ms <= plan->cut_ms)
            continue;
        int64_t from_ms = later(row->start_ms, plan->cut_ms);
        struct machine *machine = machine_of(d, row, from_ms);
        if (back)
            timeline_add(machine->timeline, from_ms, row->end_ms, row->amount);
        else
            timeline_remove(machine->timeline, from_ms, row->end_ms, row->amount);
    }
}

static void settle_rows(struct decider *d, const struct plan *plan)
{
    struct booking *booking = plan->booking;
    for (size_t i = 0; i < booking->allocation_count; i++) {
        struct allocation *row = &booking->allocations[i];
        if (!row->live || row->end_ms <= plan->cut_ms)
            continue;
        struct ask *ask = find_ask(plan, row->machine_id);
        if (row->start_ms < plan->cut_ms) {
            assert(plan->begun);
            bool stays = ask != NULL && row->end_ms == booking->end_ms &&
                         amounts_equal(ask->amount, row->amount);
            row_write(d, row, stays ? plan->end_ms : plan->cut_ms, row->amount, true);
            if (stays)
                ask->settled = true;
        } else if (ask == NULL || row->start_ms != plan->from_ms) {
            row_write(d, row, row->end_ms, row->amount, false);
        }
    }
    for (size_t i = 0; i < plan->ask_count; i++) {
        const struct ask *ask = &plan->asks[i];
        if (ask->settled)
            continue;
        struct allocation *row = world_allocation_find(booking, ask->machine->id, plan->from_ms);
        if (row != NULL)
            row_write(d, row, plan->end_ms, ask->amount, true);
        else
            row_add(d, booking, plan, ask);
    }
}

bool decide_booking_amend(struct decider *d)
{
    const struct booking_amend *amend = &d->request->booking_amend;
    struct booking *booking = find_booking(d, amend->booking);
    if (booking == NULL)
        return false;
    struct plan plan = plan_amend(d, booking, amend);
    if (amend->has_shares) {
        if (!ask_shares(d, &plan, amend->shares, amend->share_count))
            return false;
    } else {
        ask_current(d, &plan);
    }
    if (!check_up(d, &plan) || !check_not_over(d, booking) || !check_window(d, &plan) ||
        !check_size(d, &plan))
        return false;

    move_old_use(d, &plan, false);
    if (!check_free(d, &plan)) {
        move_old_use(d, &plan, true);
        return false;
    }
    book(&plan);
    settle_rows(d, &plan);
    booking->start_ms = plan.start_ms;
    booking->end_ms = plan.end_ms;
    booking->version++;
    world_touch_booking(d->world, booking);
    show(d, booking);
    return true;
}

/* --- cancel --- */

void decide_booking_release(struct decider *d, struct booking *booking)
{
    bool begun = has_begun(d, booking);
    int64_t cut_ms = begun ? d->ceil_ms : booking->start_ms;
    for (size_t i = 0; i < booking->allocation_count; i++) {
        struct allocation *row = &booking->allocations[i];
        if (!row->live || row->end_ms <= cut_ms)
            continue;
        int64_t from_ms = later(row->start_ms, cut_ms);
        timeline_remove(machine_of(d, row, from_ms)->timeline, from_ms, row->end_ms, row->amount);
        bool stays = row->start_ms < cut_ms;
        assert(begun || !stays);
        row_write(d, row, stays ? cut_ms : row->end_ms, row->amount, stays);
    }
    booking->state = begun ? BOOKING_RELEASED : BOOKING_CANCELLED;
    if (begun && booking->end_ms > cut_ms)
        booking->end_ms = cut_ms;
    booking->version++;
    world_touch_booking(d->world, booking);
}

bool decide_booking_cancel(struct decider *d)
{
    struct booking *booking = find_booking(d, d->request->booking_cancel.booking);
    if (booking == NULL || !check_not_over(d, booking))
        return false;
    decide_booking_release(d, booking);
    show(d, booking);
    return true;
}
