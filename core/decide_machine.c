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

/* A snapshot: what happens to the machine later in the batch must not show in this event. */
static void show(struct decider *d, const struct machine *machine)
{
    struct arena *arena = world_arena(d->world);
    struct machine_view *view = arena_alloc(arena, sizeof(*view));
    *view = (struct machine_view){
        .id = machine->id,
        .version = machine->version,
        .name = arena_strdup(arena, machine->name),
        .capacity = machine->capacity,
        .labels = labels_copy(arena, machine->labels),
        .state = machine->state,
    };
    d->out->machine = view;
    assert(d->out->subject_kind == SUBJECT_MACHINE);
}

bool decide_machine_register(struct decider *d)
{
    const struct machine_register *request = &d->request->machine_register;
    assert(request->id >= 0 && request->id <= LIMIT_CHOSEN_MACHINE_ID);
    assert(strlen(request->machine) <= LIMIT_NAME_LEN);
    int64_t id = request->id > 0 ? request->id : d->in->seq * LIMIT_PARTITIONS + d->in->part;
    if (world_machine_by_name(d->world, request->machine) != NULL)
        return decider_reject_machine(d, REASON_MACHINE_EXISTS, request->machine,
                                      "A machine named %s is registered already; change it with "
                                      "machine.update.",
                                      request->machine);
    const struct machine *other = world_machine_by_id(d->world, id);
    if (other != NULL)
        return decider_reject_machine(d, REASON_MACHINE_EXISTS, other->name,
                                      "The machine id %lld is that of %s; leave id out to get a "
                                      "fresh one.",
                                      (long long)id, other->name);
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

/* What the machine shall be, and what of its use must go for that. */
struct change {
    struct machine *machine;
    struct amount capacity;
    enum machine_state state;
    struct amount room; /* what bookings may use from now rounded up on: nothing if it retires */
    bool narrows;       /* the room is less than it was, so use can stand in the way */
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
    change.narrows = change.room.gpus < machine->capacity.gpus ||
                     change.room.memory_gib < machine->capacity.memory_gib;
    return change;
}

/* Whether what the booking holds of the machine from now rounded up on fits beside what is in
 * `kept`; if so it is added there. */
static bool keeps(const struct decider *d, const struct change *change, struct timeline *kept,
                  const struct booking *booking)
{
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < booking->allocation_count; i++) {
            const struct allocation *row = &booking->allocations[i];
            if (row->machine_id != change->machine->id || !row->live || row->end_ms <= d->ceil_ms)
                continue;
            int64_t from_ms = later(row->start_ms, d->ceil_ms);
            if (pass == 1)
                timeline_add(kept, from_ms, row->end_ms, row->amount);
            else if (!timeline_fits(kept, change->room, from_ms, row->end_ms, row->amount))
                return false;
        }
    }
    return true;
}

/* The bookings that must go: by ascending id, each is kept that still fits beside those kept
 * before, so older bookings win. */
static struct booking **choose_displaced(struct decider *d, const struct change *change,
                                         size_t *count_out)
{
    size_t count = 0, displaced = 0;
    struct booking **all = world_bookings_on(d->world, change->machine, d->ceil_ms, &count);
    struct timeline *kept = timeline_new(world_pool(d->world), d->ceil_ms);
    for (size_t i = 0; i < count; i++) {
        if (!keeps(d, change, kept, all[i]))
            all[displaced++] = all[i];
    }
    timeline_free(kept);
    *count_out = displaced;
    return all;
}

static bool displace(struct decider *d, const struct change *change)
{
    size_t count = 0;
    struct booking **bookings = choose_displaced(d, change, &count);
    if (count > LIMIT_DISPLACED)
        return decider_reject_machine(d, REASON_TOO_MANY_BOOKINGS, change->machine->name,
                                      "The update would displace %zu bookings, at most %d in one "
                                      "update. Shrink in steps, or cancel some first.",
                                      count, LIMIT_DISPLACED);
    struct displaced *list = arena_alloc(world_arena(d->world), count * sizeof(*list));
    for (size_t i = 0; i < count; i++) {
        decide_booking_release(d, bookings[i]);
        list[i] = (struct displaced){
            .id = bookings[i]->id,
            .version = bookings[i]->version,
            .client = bookings[i]->client,
            .state = bookings[i]->state,
            .end_ms = bookings[i]->end_ms,
        };
    }
    d->out->displaced_count = count;
    d->out->displaced = list;
    return true;
}

/* Makes sure that the use from now rounded up on fits into the new room. */
static bool make_room(struct decider *d, const struct change *change, bool may_displace)
{
    struct machine *machine = change->machine;
    if (!change->narrows)
        return true;
    assert(machine->timeline != NULL);
    assert(timeline_covers(machine->timeline, d->ceil_ms));
    struct amount peak = timeline_peak(machine->timeline, d->ceil_ms, TIMELINE_FOREVER);
    if (peak.gpus <= change->room.gpus && peak.memory_gib <= change->room.memory_gib)
        return true;
    if (!may_displace)
        return decider_reject_machine(
            d, REASON_CAPACITY_IN_USE, machine->name,
            "Bookings use up to %s of %s from %s on, and %s would be left. "
            "Drain it first, or set displace to cancel what no longer "
            "fits.",
            decide_amount_text(peak).text, machine->name, decide_time_text(d->ceil_ms).text,
            decide_amount_text(change->room).text);
    if (!displace(d, change))
        return false;
    peak = timeline_peak(machine->timeline, d->ceil_ms, TIMELINE_FOREVER);
    /* Fails when a booking on the machine was not in the world. */
    assert(peak.gpus <= change->room.gpus);
    assert(peak.memory_gib <= change->room.memory_gib);
    return true;
}

bool decide_machine_update(struct decider *d)
{
    const struct machine_update *update = &d->request->machine_update;
    struct machine *machine = world_machine_by_name(d->world, update->machine);
    if (machine == NULL)
        return decider_reject_machine(d, REASON_UNKNOWN_MACHINE, update->machine,
                                      "No machine is named %s; register it first.",
                                      update->machine);
    struct change change = change_of(machine, update);
    if (!make_room(d, &change, update->displace))
        return false;

    world_touch_machine(d->world, machine);
    bool resized = change.capacity.gpus != machine->capacity.gpus ||
                   change.capacity.memory_gib != machine->capacity.memory_gib;
    if (resized)
        machine->capacity_changed_ms = later(machine->capacity_changed_ms, d->ceil_ms);
    machine->capacity = change.capacity;
    machine->state = change.state;
    if (update->has_labels)
        world_machine_set_labels(machine, update->labels);
    show(d, machine);
    return true;
}
