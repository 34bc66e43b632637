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

/* Sets the booking's newest state. `told` has no client after a displacement. */
static void move_on(struct event_fold *fold, struct fold_booking *booking,
                    const struct booking_view *told)
{
    int64_t old_version = booking->version;
    booking->version = told->version;
    booking->state = told->state;
    booking->end_ms = told->end_ms;
    set_shares(fold, booking, told);
    if (fold->watch.booking)
        fold->watch.booking(fold->watch.arg, booking, old_version, !told->client);
}

static void take_booking(struct event_fold *fold, const struct booking_view *told)
{
    struct fold_booking *booking = need_booking(fold, told->id);
    booking->facts++;
    if (told->version > booking->told_version) {
        booking->told_version = told->version;
        booking->series = told->series;
        booking->start_ms = told->start_ms;
        set_text(&booking->client, told->client);
        set_text(&booking->user, told->user);
    }
    if (told->version > booking->version)
        move_on(fold, booking, told);
}

/* Takes the occurrences that were booked or ended; `first` is one of them, and alone names the
 * series, client and user. */
static void take_series(struct event_fold *fold, const struct series_view *series,
                        const struct booking_view *first)
{
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
        take_booking(fold, &told);
    }
}

/* A displacement does not tell what a released booking held; a cancelled one holds nothing. */
static void take_displaced(struct event_fold *fold, const struct displaced *displaced)
{
    static const struct share nothing[1];
    struct fold_booking *booking = need_booking(fold, displaced->id);
    booking->facts++;
    if (displaced->version <= booking->version)
        return;
    move_on(fold, booking,
            &(struct booking_view){
                .version = displaced->version,
                .state = displaced->state,
                .end_ms = displaced->end_ms,
                .shares = displaced->state == BOOKING_CANCELLED ? nothing : NULL,
            });
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

void event_fold_take(struct event_fold *fold, const struct event_view *event, struct arena *scratch)
{
    if (event->kind != EVENT_ACCEPTED || event->duplicate_of)
        return;
    for (size_t i = 0; i < event->displaced_count; i++)
        take_displaced(fold, &event->displaced[i]);
    if (event->series && event->booking) {
        take_series(fold, event->series, event->booking);
    } else if (event->booking) {
        take_booking(fold, event->booking);
    }
    if (event->machine)
        take_machine(fold, event->machine, scratch);
}
