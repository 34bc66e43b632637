#include "reader/feed_event.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/codec/event_concern.h"

static void add_name(void *arg, const char *name)
{
    buf_append(arg, name, strlen(name) + 1);
}

static bool has_name(const struct buf *list, const char *name)
{
    for (size_t at = 0; at < list->len; at += strlen(list->data + at) + 1) {
        if (strcmp(list->data + at, name) == 0)
            return true;
    }
    return false;
}

static void add_booking(void *arg, int64_t booking)
{
    struct feed_event *event = arg;
    event->bookings = xgrow(event->bookings, event->booking_count, &event->booking_room,
                            sizeof(*event->bookings));
    event->bookings[event->booking_count++] = booking;
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
        event_each_client(&view, add_name, &event->clients);
        event_each_machine(&view, add_name, &event->machines);
        event_each_untold(&view, add_booking, event);
        event->size = sizeof(*event) + len + event->clients.capacity + event->machines.capacity +
                      event->booking_room * sizeof(*event->bookings);
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
