#include "admin/audit/event_fold.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/codec/labels.h"

static bool booking_has_id(const void *value, const void *key)
{
    return ((const struct fold_booking *)value)->id == *(const int64_t *)key;
}

static bool machine_has_name(const void *value, const void *key)
{
    return strcmp(((const struct fold_machine *)value)->name, key) == 0;
}

struct fold_booking *event_fold_booking(const struct event_fold *fold, int64_t id)
{
    return map_get(&fold->booking_map, map_hash_int(id), booking_has_id, &id);
}

struct fold_machine *event_fold_machine(const struct event_fold *fold, const char *name)
{
    return map_get(&fold->machine_map, map_hash_text(MAP_SEED, name), machine_has_name, name);
}

static struct fold_booking *need_booking(struct event_fold *fold, int64_t id)
{
    struct fold_booking *booking = event_fold_booking(fold, id);
    if (booking)
        return booking;
    booking = arena_alloc(fold->arena, sizeof(*booking));
    booking->id = id;
    booking->index = fold->booking_map.count;
    fold->bookings = xgrow(fold->bookings, booking->index, &fold->booking_room,
                           sizeof(*fold->bookings));
    fold->bookings[booking->index] = booking;
    map_put(&fold->booking_map, map_hash_int(id), booking);
    return booking;
}

static struct fold_machine *need_machine(struct event_fold *fold, const char *name)
{
    struct fold_machine *machine = event_fold_machine(fold, name);
    if (machine)
        return machine;
    machine = arena_alloc(fold->arena, sizeof(*machine));
    machine->name = arena_strdup(fold->arena, name);
    machine->index = fold->machine_map.count;
    fold->machines = xgrow(fold->machines, machine->index, &fold->machine_room,
                           sizeof(*fold->machines));
    fold->machines[machine->index] = machine;
    map_put(&fold->machine_map, map_hash_text(MAP_SEED, name), machine);
    return machine;
}

void event_fold_init(struct event_fold *fold, const struct fold_watch *watch)
{
    *fold = (struct event_fold){.arena = arena_new(), .watch = *watch};
}

void event_fold_fini(struct event_fold *fold)
{
    for (size_t i = 0; i < fold->booking_map.count; i++) {
        free(fold->bookings[i]->shares);
        free(fold->bookings[i]->client);
        free(fold->bookings[i]->user);
    }
    for (size_t i = 0; i < fold->machine_map.count; i++)
        free(fold->machines[i]->labels);
    map_fini(&fold->booking_map);
    map_fini(&fold->machine_map);
    free(fold->bookings);
    free(fold->machines);
    arena_free(fold->arena);
}

static void set_text(char **field, const char *text)
{
    if (*field && strcmp(*field, text) == 0)
        return;
    free(*field);
    *field = xstrdup(text);
}

static void set_shares(struct event_fold *fold, struct fold_booking *booking,
                       const struct booking_view *told)
{
    free(booking->shares);
    booking->shares = told->share_count ? xcalloc(told->share_count, sizeof(*booking->shares))
                                        : NULL;
    booking->share_count = told->share_count;
    booking->shares_known = told->shares != NULL;
    for (size_t i = 0; i < told->share_count; i++) {
        booking->shares[i].machine = need_machine(fold, told->shares[i].machine);
        booking->shares[i].amount = told->shares[i].amount;
    }
}

static bool same_shares(const struct fold_booking *booking, const struct booking_view *told)
{
    if (!booking->shares_known || !told->shares)
        return true;
    if (booking->share_count != told->share_count)
        return false;
    for (size_t i = 0; i < told->share_count; i++) {
        const struct fold_share *share = &booking->shares[i];
        if (strcmp(share->machine->name, told->shares[i].machine) != 0 ||
            !amount_equals(share->amount, told->shares[i].amount))
            return false;
    }
    return true;
}

/* Whether `previous` is the version before `version`, and the state that the fold has of it, if it
 * has that one: events of other partitions may not have been taken yet. */
static bool is_previous(const struct fold_booking *booking, const struct booking_view *previous,
                        int64_t version)
{
    if (!previous)
        return true;
    if (previous->version != version - 1)
        return false;
    return booking->version != previous->version || booking->told_version != booking->version ||
           (booking->state == previous->state && booking->start_ms == previous->start_ms &&
            booking->end_ms == previous->end_ms && same_shares(booking, previous));
}

/* Sets the booking's newest state. `told` has no user if the event tells of the booking in short. */
static void move_on(struct event_fold *fold, struct fold_booking *booking,
                    const struct booking_view *told)
{
    int64_t old_version = booking->version;
    booking->version = told->version;
    booking->state = told->state;
    booking->end_ms = told->end_ms;
    set_shares(fold, booking, told);
    if (fold->watch.booking)
        fold->watch.booking(fold->watch.arg, booking, old_version, !told->user);
}

/* Takes the booking. Returns whether `previous` (NULL: not told) is what it was before. */
static bool take_booking(struct event_fold *fold, const struct booking_view *told,
                         const struct booking_view *previous)
{
    struct fold_booking *booking = need_booking(fold, told->id);
    bool good = is_previous(booking, previous, told->version);
    booking->facts++;
    if (told->user && told->version > booking->told_version) {
        booking->told_version = told->version;
        booking->series = told->series;
        booking->start_ms = told->start_ms;
        set_text(&booking->client, told->client);
        set_text(&booking->user, told->user);
    }
    if (told->version > booking->version)
        move_on(fold, booking, told);
    return good;
}

/* Takes the occurrences that were booked or ended; `first` is one of them, and alone names the
 * series, client and user. */
static bool take_series(struct event_fold *fold, const struct series_view *series,
                        const struct booking_view *first)
{
    bool good = true;
    for (size_t i = 0; i < series->count; i++) {
        const struct occurrence *occurrence = &series->occurrences[i];
        struct booking_view told = *first;
        if (occurrence->booking == 0)
            continue;
        told.id = occurrence->booking;
        told.version = occurrence->version;
        told.state = occurrence->state;
        told.start_ms = occurrence->window.start_ms;
        told.end_ms = occurrence->window.end_ms;
        told.shares = occurrence->shares;
        told.share_count = occurrence->share_count;
        good = take_booking(fold, &told, occurrence->previous) && good;
    }
    return good;
}

/* Told in short, a released booking does not tell what it held; a cancelled one holds nothing. */
static bool take_displaced(struct event_fold *fold, const struct displaced *displaced)
{
    static const struct share nothing[1];
    struct booking_view told = displaced->booking;
    if (!told.user && told.state == BOOKING_CANCELLED)
        told.shares = nothing;
    return take_booking(fold, &told, displaced->previous);
}

static void take_machine(struct event_fold *fold, const struct machine_view *told,
                         struct arena *scratch)
{
    struct fold_machine *machine = need_machine(fold, told->name);
    struct fold_machine before = *machine;
    if (told->version > machine->version) {
        machine->version = told->version;
        machine->id = told->id;
        machine->capacity = told->capacity;
        machine->state = told->state;
        set_text(&machine->labels, labels_to_json(scratch, &told->labels));
    }
    before.labels = NULL;
    if (fold->watch.machine)
        fold->watch.machine(fold->watch.arg, machine, &before, told);
}

/* A change of a begun booking counts from the event's time, rounded up to the second. */
static bool is_effective(const struct event_view *event)
{
    int64_t ceil_ms = time_ceil_s(event->time_ms);
    bool begun = event->previous && event->previous->start_ms < ceil_ms;
    return event->effective_ms == (begun ? ceil_ms : 0);
}

const char *event_fold_take(struct event_fold *fold, const struct event_view *event,
                            struct arena *scratch)
{
    const char *wrong = NULL;
    if (event->kind != EVENT_ACCEPTED || event->duplicate_of)
        return NULL;
    for (size_t i = 0; i < event->displaced_count; i++) {
        if (!take_displaced(fold, &event->displaced[i]))
            wrong = "data.displaced";
    }
    if (event->series && event->booking) {
        if (!take_series(fold, event->series, event->booking))
            wrong = "data.series";
    } else if (event->booking && !take_booking(fold, event->booking, event->previous)) {
        wrong = "data.previous";
    }
    if (!is_effective(event))
        wrong = "data.effective_from";
    if (event->machine)
        take_machine(fold, event->machine, scratch);
    return wrong;
}
