/* booking.create, booking.amend and booking.cancel: the changes to a booking's rows. A plan
 * (plan.h) says what the booking shall hold; rows before the cut are history (docs/database.md).
 *
 * A running booking that only becomes longer or shorter keeps its row, with another end. Otherwise
 * a client that extends by a minute every minute would add a row every minute. */
#include "core/plan.h"

#include <assert.h>
#include <string.h>

/* --- rows and views --- */

/* Writes the row. A row that has these values already is not touched, nor is its machine. */
static void row_write(struct decider *d, struct allocation *row, int64_t end_ms,
                      struct amount amount, bool live)
{
    assert(row->start_ms < end_ms);
    if (row->live == live && row->end_ms == end_ms && amount_equals(row->amount, amount))
        return;
    struct machine *machine = world_machine_by_id(d->world, row->machine_id);
    assert(machine);
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

const struct booking_view *booking_snapshot(struct decider *d, const struct booking *booking)
{
    struct arena *arena = world_arena(d->world);
    struct booking_view *view = arena_alloc(arena, sizeof(*view));
    struct share *shares = arena_alloc(arena, plan_current_count(booking) * sizeof(*shares));
    size_t count = 0;
    for (size_t i = 0; i < booking->allocation_count; i++) {
        const struct allocation *row = &booking->allocations[i];
        if (!plan_row_is_current(booking, row))
            continue;
        const struct machine *machine = world_machine_by_id(d->world, row->machine_id);
        assert(machine);
        shares[count++] = (struct share){.machine = machine->name, .amount = row->amount};
    }
    *view = booking_view_of(booking);
    view->share_count = count;
    view->shares = shares;
    return view;
}

void booking_show(struct decider *d, const struct booking_view *booking,
                  const struct booking_view *previous)
{
    assert(booking->version == (previous ? previous->version : 0) + 1);
    bool begun = previous && previous->start_ms < d->ceil_ms;
    d->out->booking = booking;
    d->out->previous = previous;
    d->out->effective_ms = begun ? d->ceil_ms : 0;
    d->out->subject_kind = SUBJECT_BOOKING;
    d->out->subject_booking = booking->id;
}

/* --- create --- */

int64_t booking_occurrence_id(const struct decider *d, size_t index)
{
    assert(index < LIMIT_OCCURRENCES);
    /* 9 bits of index, 32 of seq, 12 of partition: exact also as a double. */
    assert(d->in->seq < INT64_C(1) << 32);
    return (((int64_t)index << 32) + d->in->seq) * LIMIT_PARTITIONS + d->in->part;
}

struct booking *booking_insert(struct decider *d, const struct plan *plan, int64_t series,
                               size_t index)
{
    int64_t id = booking_occurrence_id(d, index);
    assert(!world_booking(d->world, id));
    struct booking *booking = world_booking_put(d->world, &(struct booking){
                                                              .id = id,
                                                              .series = series,
                                                              .client = d->in->credential->client,
                                                              .user = d->in->claims->user,
                                                              .start_ms = plan->start_ms,
                                                              .end_ms = plan->end_ms,
                                                              .state = BOOKING_BOOKED,
                                                              .version = 1,
                                                          });
    booking->is_new = true;
    for (size_t i = 0; i < plan->ask_count; i++)
        row_add(d, booking, plan, &plan->asks[i]);
    world_touch_client(d->world, plan->client);
    world_touch_booking(d->world, booking);
    return booking;
}

bool decide_booking_create(struct decider *d)
{
    const struct booking_create *create = &d->request->booking_create;
    if (create->window_count > 0)
        return decide_series_create(d);
    struct plan plan = plan_create(d, create);
    if (!plan_check_request(d, &plan) || !plan_check_capacity(d, &plan))
        return false;
    plan_book(&plan, false);
    booking_show(d, booking_snapshot(d, booking_insert(d, &plan, 0, 0)), NULL);
    return true;
}

/* --- amend --- */

bool booking_check_owner(struct decider *d, const struct booking *booking)
{
    if (d->in->credential->role == ROLE_ADMIN ||
        strcmp(booking->client, d->in->credential->client) == 0)
        return true;
    return decider_reject(d, REASON_FORBIDDEN,
                          "Booking %lld belongs to another client; only its owner or an admin may "
                          "change it.",
                          (long long)booking->id);
}

/* The booking; NULL: it does not exist or the sender may not change it, and that is stored. */
static struct booking *find_booking(struct decider *d, int64_t id)
{
    struct booking *booking = world_booking(d->world, id);
    if (!booking)
        decider_reject(d, REASON_UNKNOWN_BOOKING, "No booking has the id %lld.", (long long)id);
    return booking && booking_check_owner(d, booking) ? booking : NULL;
}

static void settle_rows(struct decider *d, const struct plan *plan)
{
    struct booking *booking = plan->booking;
    for (size_t i = 0; i < booking->allocation_count; i++) {
        struct allocation *row = &booking->allocations[i];
        if (!plan_replaces(plan, row))
            continue;
        struct ask *ask = plan_find_ask(plan, row->machine_id);
        if (row->start_ms < plan->cut_ms) {
            assert(plan->begun);
            bool stays = ask && row->end_ms == booking->end_ms &&
                         amount_equals(ask->amount, row->amount);
            row_write(d, row, stays ? plan->end_ms : plan->cut_ms, row->amount, true);
            if (stays)
                ask->settled = true;
        } else if (!ask || row->start_ms != plan->from_ms) {
            row_write(d, row, row->end_ms, row->amount, false);
        }
    }
    for (size_t i = 0; i < plan->ask_count; i++) {
        const struct ask *ask = &plan->asks[i];
        if (ask->settled)
            continue;
        struct allocation *row = world_allocation_find(booking, ask->machine->id, plan->from_ms);
        if (row) {
            row_write(d, row, plan->end_ms, ask->amount, true);
        } else {
            row_add(d, booking, plan, ask);
        }
    }
}

bool decide_booking_amend(struct decider *d)
{
    const struct booking_amend *amend = &d->request->booking_amend;
    struct booking *booking = find_booking(d, amend->booking);
    if (!booking)
        return false;
    struct plan plan = plan_amend(d, booking, amend);
    if (!plan_check_request(d, &plan))
        return false;
    plan_move_old_use(d, &plan, false);
    if (!plan_check_capacity(d, &plan)) {
        plan_move_old_use(d, &plan, true);
        return false;
    }
    const struct booking_view *previous = booking_snapshot(d, booking);
    plan_book(&plan, false);
    settle_rows(d, &plan);
    booking->start_ms = plan.start_ms;
    booking->end_ms = plan.end_ms;
    booking->version++;
    world_touch_client(d->world, plan.client);
    world_touch_booking(d->world, booking);
    booking_show(d, booking_snapshot(d, booking), previous);
    return true;
}

/* --- cancel --- */

void booking_release(struct decider *d, struct booking *booking)
{
    assert(booking->state == BOOKING_BOOKED);
    struct plan gone = {
        .booking = booking,
        .client = world_client(d->world, booking->client),
        .begun = booking->start_ms < d->ceil_ms,
    };
    gone.cut_ms = gone.begun ? d->ceil_ms : booking->start_ms;
    plan_move_old_use(d, &gone, false);
    for (size_t i = 0; i < booking->allocation_count; i++) {
        struct allocation *row = &booking->allocations[i];
        if (!plan_replaces(&gone, row))
            continue;
        bool stays = row->start_ms < gone.cut_ms;
        assert(gone.begun || !stays);
        row_write(d, row, stays ? gone.cut_ms : row->end_ms, row->amount, stays);
    }
    booking->state = gone.begun ? BOOKING_RELEASED : BOOKING_CANCELLED;
    if (gone.begun && booking->end_ms > gone.cut_ms)
        booking->end_ms = gone.cut_ms;
    booking->version++;
    world_touch_client(d->world, gone.client);
    world_touch_booking(d->world, booking);
}

bool decide_booking_cancel(struct decider *d)
{
    const struct booking_cancel *cancel = &d->request->booking_cancel;
    if (cancel->series)
        return decide_series_cancel(d);
    struct booking *booking = find_booking(d, cancel->booking);
    if (!booking || !plan_check_not_over(d, booking))
        return false;
    const struct booking_view *previous = booking_snapshot(d, booking);
    booking_release(d, booking);
    booking_show(d, booking_snapshot(d, booking), previous);
    return true;
}
