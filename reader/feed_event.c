#include "reader/feed_event.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/request.h"

/* NULL: nothing to add. */
static void add_name(struct buf *list, const char *name)
{
    if (name)
        buf_append(list, name, strlen(name) + 1);
}

static void add_machines(struct buf *list, const struct share *shares, size_t count)
{
    for (size_t i = 0; i < count; i++)
        add_name(list, shares[i].machine);
}

static bool has_name(const struct buf *list, const char *name)
{
    for (size_t at = 0; at < list->len; at += strlen(list->data + at) + 1) {
        if (strcmp(list->data + at, name) == 0)
            return true;
    }
    return false;
}

/* Only a change or an end of a booking leaves machines. */
static bool leaves_machines(const struct event_view *view)
{
    const char *type = view->request.type;
    return view->kind == EVENT_ACCEPTED &&
           (!type || strcmp(type, request_type_name(REQUEST_BOOKING_CREATE)) != 0);
}

static void take_bookings(struct feed_event *event, const struct event_view *view)
{
    const struct series_view *series = view->series;
    size_t most = 1 + view->displaced_count + (series ? series->count : 0);
    event->bookings = xcalloc(most, sizeof(*event->bookings));
    if (view->booking)
        event->bookings[event->booking_count++] = view->booking->id;
    for (size_t i = 0; series && i < series->count; i++) {
        if (series->occurrences[i].booking != 0)
            event->bookings[event->booking_count++] = series->occurrences[i].booking;
    }
    for (size_t i = 0; i < view->displaced_count; i++)
        event->bookings[event->booking_count++] = view->displaced[i].id;
}

/* Takes what filters compare. No label, user or sentence counts, whatever text it holds. */
static void take_concern(struct feed_event *event, const struct event_view *view)
{
    static const char machine[] = "machine/";
    const struct series_view *series = view->series;
    add_name(&event->clients, view->request.client);
    if (view->booking) {
        add_name(&event->clients, view->booking->client);
        add_machines(&event->machines, view->booking->shares, view->booking->share_count);
    }
    for (size_t i = 0; i < view->displaced_count; i++)
        add_name(&event->clients, view->displaced[i].client);
    if (view->subject && strncmp(view->subject, machine, sizeof(machine) - 1) == 0)
        add_name(&event->machines, view->subject + sizeof(machine) - 1);
    if (view->machine)
        add_name(&event->machines, view->machine->name);
    add_name(&event->machines, view->blocking_machine);
    add_machines(&event->machines, view->frees, view->free_count);
    for (size_t i = 0; series && i < series->count; i++) {
        const struct occurrence *occurrence = &series->occurrences[i];
        add_name(&event->machines, occurrence->machine);
        add_machines(&event->machines, occurrence->shares, occurrence->share_count);
    }
    if (leaves_machines(view))
        take_bookings(event, view);
}

enum err feed_event_new(const char *bytes, size_t len, struct feed_event **out, struct failure *f)
{
    struct event_view view;
    struct arena *arena = arena_new();
    enum err err = event_read(bytes, len, arena, &view, f);
    /* A line break would end a field of the stream, and begin another. */
    if (err == ERR_OK &&
        (memchr(bytes, '\n', len) || memchr(bytes, '\r', len) || strpbrk(view.type, "\r\n")))
        err = failure_set(f, ERR_FAILED, "not an event: a line break");
    if (err == ERR_OK) {
        struct feed_event *event = xcalloc(1, sizeof(*event));
        atomic_init(&event->references, 1);
        event->part = view.part;
        event->seq = view.seq;
        event->kind = view.kind;
        event->type = xstrdup(view.type);
        event->bytes = xstrndup(bytes, len);
        event->len = len;
        take_concern(event, &view);
        event->size = sizeof(*event) + len + event->clients.capacity + event->machines.capacity +
                      event->booking_count * sizeof(*event->bookings);
        *out = event;
    }
    arena_free(arena);
    return err;
}

struct feed_event *feed_event_ref(struct feed_event *event)
{
    atomic_fetch_add(&event->references, 1);
    return event;
}

void feed_event_unref(struct feed_event *event)
{
    if (!event || atomic_fetch_sub(&event->references, 1) > 1)
        return;
    struct buf *held = atomic_load(&event->held);
    if (held)
        buf_fini(held);
    free(held);
    buf_fini(&event->clients);
    buf_fini(&event->machines);
    free(event->bookings);
    free(event->bytes);
    free(event->type);
    free(event);
}

enum feed_match feed_event_match(const struct feed_event *event, const struct feed_filter *filter)
{
    if (filter->outcome != EVENT_OTHER && filter->outcome != event->kind)
        return FEED_FAILS;
    if (filter->client && !has_name(&event->clients, filter->client))
        return FEED_FAILS;
    if (!filter->machine || has_name(&event->machines, filter->machine))
        return FEED_PASSES;
    if (event->booking_count == 0)
        return FEED_FAILS;
    const struct buf *held = atomic_load(&event->held);
    if (!held)
        return FEED_NEEDS_HELD;
    return has_name(held, filter->machine) ? FEED_PASSES : FEED_FAILS;
}

void feed_event_set_held(struct feed_event *event, struct buf *names)
{
    struct buf *none = NULL, *held = xmalloc(sizeof(*held));
    *held = *names;
    *names = (struct buf){0};
    if (!atomic_compare_exchange_strong(&event->held, &none, held)) {
        buf_fini(held);
        free(held);
    }
}
