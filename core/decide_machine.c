/* machine.register and machine.update. */
#include "core/decider.h"

#include <assert.h>
#include <string.h>

static struct labels labels_copy(struct arena *arena, struct labels labels)
{
    struct label *items = arena_alloc(arena, labels.count * sizeof(*items));
    for (size_t i = 0; i < labels.count; i++) {
        items[i].key = arena_strdup(arena, labels.items[i].key);
        items[i].value = arena_strdup(arena, labels.items[i].value);
    }
    return (struct labels){.count = labels.count, .items = items};
}

/* Takes a snapshot: later changes in the same batch must not show in this event. */
static void show(struct decider *d, const struct machine *machine)
{
    struct arena *arena = world_arena(d->world);
    struct machine_view *view = arena_alloc(arena, sizeof(*view));
    *view = machine_view_of(machine);
    view->name = arena_strdup(arena, machine->name);
    view->labels = labels_copy(arena, machine->labels);
    d->out->machine = view;
    assert(d->out->subject_kind == SUBJECT_MACHINE);
}

bool decide_machine_register(struct decider *d)
{
    const struct machine_register *request = &d->request->machine_register;
    assert(request->id >= 0 && request->id <= LIMIT_CHOSEN_MACHINE_ID);
    assert(strlen(request->machine) <= LIMIT_NAME_LEN);
    int64_t id = request->id > 0 ? request->id : d->in->seq * LIMIT_PARTITIONS + d->in->part;
    if (world_machine_by_name(d->world, request->machine)) {
        return decider_reject_machine(d, REASON_MACHINE_EXISTS, request->machine,
                                      "A machine named %s is registered already; change it with "
                                      "machine.update.",
                                      request->machine);
    }
    const struct machine *other = world_machine_by_id(d->world, id);
    if (other) {
        return decider_reject_machine(d, REASON_MACHINE_EXISTS, other->name,
                                      "The machine id %lld is that of %s; leave id out to get a "
                                      "fresh one.",
                                      (long long)id, other->name);
    }
    struct machine row = {
        .id = id,
        .capacity = request->capacity,
        .labels = request->labels,
        .state = MACHINE_UP,
        .capacity_changed_ms = d->floor_ms,
    };
    memcpy(row.name, request->machine, strlen(request->machine) + 1);
    show(d, world_machine_register(d->world, &row));
    return true;
}

/* --- update --- */

/* The machine after the update. */
struct change {
    struct machine *machine;
    struct amount capacity;
    enum machine_state state;
    struct amount room; /* for bookings from now rounded up on: nothing if the machine retires */
    bool narrows;       /* the room is less than the capacity before, so bookings may not fit */
};

static struct change change_of(struct machine *machine, const struct machine_update *update)
{
    struct change change = {
        .machine = machine,
        .capacity = machine->capacity,
        .state = update->has_state ? update->state : machine->state,
    };
    if (update->has_gpus)
        change.capacity.gpus = update->capacity.gpus;
    if (update->has_memory_gib)
        change.capacity.memory_gib = update->capacity.memory_gib;
    bool retires = change.state == MACHINE_RETIRED && machine->state != MACHINE_RETIRED;
    change.room = retires ? (struct amount){0} : change.capacity;
    change.narrows = !amount_within(machine->capacity, change.room);
    return change;
}

enum row_action { ROW_REMOVE, ROW_RETURN, ROW_FITS };

/* Takes the booking's rows on the machine, from now rounded up on, out of the timeline, puts them
 * back, or says whether each of them fits into the new room. */
static bool each_row(const struct decider *d, const struct change *change,
                     const struct booking *booking, enum row_action action)
{
    struct timeline *timeline = change->machine->timeline;
    for (size_t i = 0; i < booking->allocation_count; i++) {
        const struct allocation *row = &booking->allocations[i];
        if (row->machine_id != change->machine->id || !row->live || row->end_ms <= d->ceil_ms)
            continue;
        int64_t start_ms = later(row->start_ms, d->ceil_ms);
        if (action == ROW_REMOVE) {
            timeline_remove(timeline, start_ms, row->end_ms, row->amount);
        } else if (action == ROW_RETURN) {
            timeline_add(timeline, start_ms, row->end_ms, row->amount);
        } else if (!timeline_fits(timeline, change->room, start_ms, row->end_ms, row->amount)) {
            return false;
        }
    }
    return true;
}

/* The highest use from now rounded up on; *fits_out: whether it fits into the new room. */
static struct amount peak_of(const struct decider *d, const struct change *change, bool *fits_out)
{
    struct amount peak = timeline_peak(change->machine->timeline, d->ceil_ms, TIMELINE_FOREVER);
    *fits_out = amount_within(peak, change->room);
    return peak;
}

/* Chooses the bookings to displace. All bookings of the world are taken off the machine, and by
 * ascending id each one is put back that still fits, so older bookings win. At the end the others
 * are put back, too: the timeline is what it was before. False: what remains without any of them
 * does not fit. It belongs to bookings that a partition with a later clock has ended, and that
 * cannot be changed any more. */
static bool choose_displaced(struct decider *d, const struct change *change,
                             struct booking ***displaced_out, size_t *count_out)
{
    size_t all = 0, count = 0, displaced = 0;
    struct booking **bookings = world_bookings_on(d->world, change->machine, d->ceil_ms, &all);
    for (size_t i = 0; i < all; i++) {
        if (bookings[i]->state != BOOKING_BOOKED)
            continue;
        each_row(d, change, bookings[i], ROW_REMOVE);
        bookings[count++] = bookings[i];
    }
    bool rest_fits;
    peak_of(d, change, &rest_fits);
    for (size_t i = 0; i < count; i++) {
        if (each_row(d, change, bookings[i], ROW_FITS)) {
            each_row(d, change, bookings[i], ROW_RETURN);
        } else {
            bookings[displaced++] = bookings[i];
        }
    }
    for (size_t i = 0; i < displaced; i++)
        each_row(d, change, bookings[i], ROW_RETURN);
    *displaced_out = bookings;
    *count_out = displaced;
    return rest_fits;
}

static bool displace(struct decider *d, const struct change *change)
{
    size_t count = 0;
    struct booking **bookings = NULL;
    if (!choose_displaced(d, change, &bookings, &count)) {
        return decider_reject_machine(d, REASON_CAPACITY_IN_USE, change->machine->name,
                                      "Bookings that another partition ended still use %s at %s. "
                                      "Send the update again a little later.",
                                      change->machine->name, decide_time_text(d->ceil_ms).text);
    }
    if (count > LIMIT_DISPLACED) {
        return decider_reject_machine(d, REASON_TOO_MANY_BOOKINGS, change->machine->name,
                                      "The update would displace %zu bookings, at most %d in one "
                                      "update. Shrink in steps, or cancel some first.",
                                      count, LIMIT_DISPLACED);
    }
    struct displaced *list = arena_alloc(world_arena(d->world), count * sizeof(*list));
    for (size_t i = 0; i < count; i++) {
        list[i].previous = booking_snapshot(d, bookings[i]);
        booking_release(d, bookings[i]);
        list[i].booking = *booking_snapshot(d, bookings[i]);
    }
    d->out->displaced_count = count;
    d->out->displaced = list;
    return true;
}

/* Lists the first bookings that an update with displace would end. */
static void note_in_use(struct decider *d, const struct change *change)
{
    size_t count = 0;
    struct booking **bookings = NULL;
    choose_displaced(d, change, &bookings, &count);
    if (count > LIMIT_LISTED_BOOKINGS)
        count = LIMIT_LISTED_BOOKINGS;
    int64_t *in_use = arena_alloc(world_arena(d->world), count * sizeof(*in_use));
    for (size_t i = 0; i < count; i++)
        in_use[i] = bookings[i]->id;
    d->out->in_use_count = count;
    d->out->in_use = in_use;
}

/* Checks that the use from now rounded up on fits into the new room, or displaces what does not. */
static bool make_room(struct decider *d, const struct change *change, bool may_displace)
{
    struct machine *machine = change->machine;
    if (!change->narrows)
        return true;
    assert(machine->timeline);
    assert(timeline_covers(machine->timeline, d->ceil_ms));
    bool fits;
    struct amount peak = peak_of(d, change, &fits);
    if (fits)
        return true;
    if (!may_displace) {
        note_in_use(d, change);
        return decider_reject_machine(
            d, REASON_CAPACITY_IN_USE, machine->name,
            "Bookings use up to %s of %s from %s on, and %s would be left. "
            "Drain it first, or set displace to cancel what no longer "
            "fits.",
            decide_amount_text(peak).text, machine->name, decide_time_text(d->ceil_ms).text,
            decide_amount_text(change->room).text);
    }
    if (!displace(d, change))
        return false;
    peak_of(d, change, &fits);
    assert(fits);
    return true;
}

bool decide_machine_update(struct decider *d)
{
    const struct machine_update *update = &d->request->machine_update;
    struct machine *machine = world_machine_by_name(d->world, update->machine);
    if (!machine) {
        return decider_reject_machine(d, REASON_UNKNOWN_MACHINE, update->machine,
                                      "No machine is named %s; register it first.",
                                      update->machine);
    }
    struct change change = change_of(machine, update);
    if (!make_room(d, &change, update->displace))
        return false;

    world_touch_machine(d->world, machine);
    if (!amount_equals(change.capacity, machine->capacity))
        machine->capacity_changed_ms = later(machine->capacity_changed_ms, d->ceil_ms);
    machine->capacity = change.capacity;
    machine->state = change.state;
    if (update->has_labels)
        world_machine_set_labels(machine, update->labels);
    show(d, machine);
    return true;
}
