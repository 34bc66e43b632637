#include "core/plan.h"

#include <assert.h>
#include <string.h>

/* --- asks --- */

bool plan_row_is_current(const struct booking *booking, const struct allocation *row)
{
    return row->live && row->end_ms == booking->end_ms;
}

size_t plan_current_count(const struct booking *booking)
{
    size_t count = 0;
    for (size_t i = 0; i < booking->allocation_count; i++)
        count += plan_row_is_current(booking, &booking->allocations[i]) ? 1 : 0;
    assert(count <= LIMIT_ALLOCATIONS);
    return count;
}

/* Whether the ask is more than the booking holds on the machine at some instant of [from, end).
 * Live rows of a booking on one machine do not overlap. */
static bool ask_grows(const struct plan *plan, const struct ask *ask)
{
    const struct booking *booking = plan->booking;
    if (!booking || !ask->machine)
        return true;
    int64_t covered_to = plan->from_ms;
    /* Rows are sorted by machine and start, so one pass sees the machine's rows in time order. */
    for (size_t i = 0; i < booking->allocation_count && covered_to < plan->end_ms; i++) {
        const struct allocation *row = &booking->allocations[i];
        if (row->machine_id != ask->machine->id || !row->live || row->end_ms <= covered_to)
            continue;
        if (row->start_ms > covered_to || !amount_within(ask->amount, row->amount))
            return true;
        covered_to = row->end_ms;
    }
    return covered_to < plan->end_ms;
}

static void asks_room(struct decider *d, struct plan *plan, size_t count)
{
    assert(count <= LIMIT_ALLOCATIONS);
    plan->asks = arena_alloc(world_arena(d->world), count * sizeof(*plan->asks));
    plan->ask_count = 0;
}

static void ask_add(struct plan *plan, const char *name, struct machine *machine,
                    struct amount amount)
{
    assert(amount.gpus >= 0);
    assert(amount.memory_gib >= 0);
    struct ask *ask = &plan->asks[plan->ask_count++];
    *ask = (struct ask){.name = name, .machine = machine, .amount = amount};
    ask->grows = ask_grows(plan, ask);
}

static void ask_shares(struct decider *d, struct plan *plan, const struct share *shares,
                       size_t count)
{
    asks_room(d, plan, count);
    for (size_t i = 0; i < count; i++) {
        ask_add(plan, shares[i].machine, world_machine_by_name(d->world, shares[i].machine),
                shares[i].amount);
    }
}

/* The asks of an amend that does not name machines: what the booking holds now. */
static void ask_current(struct decider *d, struct plan *plan)
{
    const struct booking *booking = plan->booking;
    asks_room(d, plan, plan_current_count(booking));
    for (size_t i = 0; i < booking->allocation_count; i++) {
        const struct allocation *row = &booking->allocations[i];
        if (!plan_row_is_current(booking, row))
            continue;
        struct machine *machine = world_machine_by_id(d->world, row->machine_id);
        assert(machine);
        ask_add(plan, machine->name, machine, row->amount);
    }
}

void plan_move(struct plan *plan, const struct window *window)
{
    assert(!plan->booking);
    plan->start_given = plan->end_given = true;
    plan->start_ms = plan->from_ms = window->start_ms;
    plan->end_ms = window->end_ms;
}

struct plan plan_create(struct decider *d, const struct booking_create *create)
{
    struct plan plan = {
        .client = world_client(d->world, d->in->credential->client),
        .start_given = create->start_ms != TIME_NONE,
        .end_given = create->end_ms != TIME_NONE,
    };
    plan.start_ms = plan.start_given ? create->start_ms : d->ceil_ms;
    int64_t longest_ms = LIMIT_TIME_S * INT64_C(1000);
    int64_t duration_ms = create->duration_ms < longest_ms ? create->duration_ms : longest_ms;
    plan.end_ms = plan.end_given ? create->end_ms : plan.start_ms + duration_ms;
    plan.from_ms = plan.start_ms;
    if (create->any.count == 0) {
        ask_shares(d, &plan, create->shares, create->share_count);
        return plan;
    }
    assert(create->any.count > 0 && create->any.count <= LIMIT_ALLOCATIONS);
    assert(create->share_count == 0);
    plan.any = &create->any;
    plan.candidates = world_machines_matching(d->world, &create->any.labels, &plan.candidate_count);
    return plan;
}

struct plan plan_amend(struct decider *d, struct booking *booking,
                       const struct booking_amend *amend)
{
    struct plan plan = {
        .booking = booking,
        .client = world_client(d->world, booking->client),
        .begun = booking->start_ms < d->ceil_ms,
        .start_given = amend->start_ms != TIME_NONE,
        .end_given = amend->end_ms != TIME_NONE,
    };
    plan.start_ms = plan.start_given ? amend->start_ms : booking->start_ms;
    plan.end_ms = plan.end_given ? amend->end_ms : booking->end_ms;
    plan.from_ms = plan.begun ? d->ceil_ms : plan.start_ms;
    plan.cut_ms = plan.begun ? d->ceil_ms : booking->start_ms;
    if (amend->has_shares) {
        ask_shares(d, &plan, amend->shares, amend->share_count);
    } else {
        ask_current(d, &plan);
    }
    return plan;
}

int64_t plan_gpus(const struct plan *plan)
{
    if (plan->any)
        return plan->any->count * plan->any->amount.gpus;
    int64_t gpus = 0;
    for (size_t i = 0; i < plan->ask_count; i++)
        gpus += plan->asks[i].amount.gpus;
    return gpus;
}

size_t plan_machine_count(const struct plan *plan)
{
    return plan->any ? (size_t)plan->any->count : plan->ask_count;
}

struct ask *plan_find_ask(const struct plan *plan, int64_t machine_id)
{
    assert(machine_id > 0);
    for (size_t i = 0; i < plan->ask_count; i++) {
        if (plan->asks[i].machine->id == machine_id)
            return &plan->asks[i];
    }
    return NULL;
}

/* --- timelines --- */

void plan_move_old_use(struct decider *d, const struct plan *plan, bool back)
{
    const struct booking *booking = plan->booking;
    for (size_t i = 0; booking && i < booking->allocation_count; i++) {
        const struct allocation *row = &booking->allocations[i];
        if (!plan_replaces(plan, row))
            continue;
        int64_t from_ms = later(row->start_ms, plan->cut_ms);
        struct machine *machine = world_machine_by_id(d->world, row->machine_id);
        assert(machine);
        assert(machine->timeline && timeline_covers(machine->timeline, from_ms));
        (back ? timeline_add : timeline_remove)(machine->timeline, from_ms, row->end_ms,
                                                row->amount);
    }
    plan_move_client_use(plan, back);
}

void plan_book(const struct plan *plan, bool back)
{
    assert(plan->from_ms < plan->end_ms);
    for (size_t i = 0; i < plan->ask_count; i++) {
        const struct ask *ask = &plan->asks[i];
        assert(timeline_covers(ask->machine->timeline, plan->from_ms));
        (back ? timeline_remove : timeline_add)(ask->machine->timeline, plan->from_ms, plan->end_ms,
                                                ask->amount);
    }
    if (plan->client)
        quota_change(plan->client, plan->from_ms, plan->end_ms, plan_gpus(plan), !back);
}

/* --- checks, in the order of the reasons --- */

static bool check_known(struct decider *d, const struct plan *plan)
{
    for (size_t i = 0; i < plan->ask_count; i++) {
        const char *name = plan->asks[i].name;
        if (!plan->asks[i].machine) {
            return decider_reject_machine(
                d, REASON_UNKNOWN_MACHINE, name,
                "No machine is named %s. Names count upper and lower case apart.", name);
        }
    }
    return true;
}

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

bool booking_is_over(const struct decider *d, const struct booking *booking)
{
    return booking->state != BOOKING_BOOKED || booking->end_ms <= d->in->now_ms;
}

bool plan_check_not_over(struct decider *d, const struct booking *booking)
{
    if (!booking_is_over(d, booking))
        return true;
    if (booking->state == BOOKING_CANCELLED) {
        return decider_reject(d, REASON_BOOKING_OVER, "Booking %lld was cancelled.",
                              (long long)booking->id);
    }
    return decider_reject(d, REASON_BOOKING_OVER, "Booking %lld %s at %s.", (long long)booking->id,
                          booking->state == BOOKING_RELEASED ? "was released" : "ended",
                          decide_time_text(booking->end_ms).text);
}

/* A booking above a limit that was lowered later may still become shorter. */
static bool check_length(struct decider *d, const struct plan *plan)
{
    const struct booking *booking = plan->booking;
    int64_t length_ms = plan->end_ms - plan->start_ms;
    int64_t longest_ms = plan_longest_ms(d);
    if (length_ms <= longest_ms || (booking && length_ms <= booking->end_ms - booking->start_ms))
        return true;
    return decider_reject(d, REASON_TOO_LONG,
                          "The window is %lld seconds long; the farm allows %lld (%lld days).",
                          (long long)(length_ms / 1000), (long long)(longest_ms / 1000),
                          (long long)(longest_ms / 86400000));
}

/* The window of a begun booking: only the end can change, and only to a later time than now. */
static bool check_running_window(struct decider *d, const struct plan *plan)
{
    const struct booking *booking = plan->booking;
    if (plan->start_ms != booking->start_ms) {
        return decider_reject(d, REASON_START_IN_PAST,
                              "Booking %lld began at %s: a begun booking keeps its start.",
                              (long long)booking->id, decide_time_text(booking->start_ms).text);
    }
    if (plan->end_ms <= plan->from_ms) {
        return decider_reject(
            d, REASON_START_IN_PAST,
            "Booking %lld runs and can end after %s at the earliest. Cancel it to "
            "release it now.",
            (long long)booking->id, decide_time_text(plan->from_ms).text);
    }
    return check_length(d, plan);
}

/* invalid_request is out of its order here: an amend gives only one end of the window, and the
 * other end is known only now, from the booking. */
static bool check_window(struct decider *d, const struct plan *plan)
{
    if (plan->begun)
        return check_running_window(d, plan);
    if (plan->start_ms < d->floor_ms) {
        return decider_reject(d, REASON_START_IN_PAST,
                              "The start %s has passed: the request arrived at %s. Leave start out "
                              "to begin at once.",
                              decide_time_text(plan->start_ms).text,
                              decide_time_text(d->in->now_ms).text);
    }
    bool empty = plan->end_ms <= plan->start_ms;
    if (empty && !plan->booking && !plan->start_given) {
        return decider_reject(
            d, REASON_START_IN_PAST, "The end %s has passed: the request arrived at %s.",
            decide_time_text(plan->end_ms).text, decide_time_text(d->in->now_ms).text);
    }
    if (empty) {
        decider_reject(d, REASON_INVALID_REQUEST, "The end %s is not after the start %s.",
                       decide_time_text(plan->end_ms).text, decide_time_text(plan->start_ms).text);
        d->out->pointer = plan->end_given ? "/request/end" : "/request/start";
        return false;
    }
    bool further = !plan->booking || plan->start_ms > plan->booking->start_ms;
    if (further && plan->start_ms - d->in->now_ms > plan_furthest_ms(d)) {
        return decider_reject(
            d, REASON_TOO_FAR_AHEAD,
            "The start %s is too far ahead; the farm books %lld days ahead at most.",
            decide_time_text(plan->start_ms).text, (long long)(plan_furthest_ms(d) / 86400000));
    }
    return check_length(d, plan);
}

static bool check_size(struct decider *d, const struct plan *plan)
{
    if (plan->any)
        return plan_check_candidates(d, plan);
    for (size_t i = 0; i < plan->ask_count; i++) {
        const struct ask *ask = &plan->asks[i];
        const struct machine *machine = ask->machine;
        if (amount_within(ask->amount, machine->capacity) || !ask->grows)
            continue;
        return decider_reject_machine(d, REASON_EXCEEDS_MACHINE, machine->name,
                                      "%s has %s in all; %s can never fit.", machine->name,
                                      decide_amount_text(machine->capacity).text,
                                      decide_amount_text(ask->amount).text);
    }
    return true;
}

bool plan_check_request(struct decider *d, const struct plan *plan)
{
    return plan_check_limits(d, plan) && check_known(d, plan) && check_up(d, plan) &&
           (!plan->booking || plan_check_not_over(d, plan->booking)) && check_window(d, plan) &&
           check_size(d, plan);
}
