#include "lib/codec/event_concern.h"

#include <string.h>

static void tell(event_name_fn *fn, void *arg, const char *name)
{
    if (name)
        fn(arg, name);
}

void event_each_client(const struct event_view *event, event_name_fn *fn, void *arg)
{
    tell(fn, arg, event->request.client);
    if (event->booking)
        tell(fn, arg, event->booking->client);
    for (size_t i = 0; i < event->displaced_count; i++)
        tell(fn, arg, event->displaced[i].booking.client);
}

static void each_share(const struct share *shares, size_t count, event_name_fn *fn, void *arg)
{
    for (size_t i = 0; i < count; i++)
        fn(arg, shares[i].machine);
}

/* The machines of a booking after and before the decision; each may be NULL. */
static void each_held(const struct booking_view *booking, const struct booking_view *previous,
                      event_name_fn *fn, void *arg)
{
    if (booking)
        each_share(booking->shares, booking->share_count, fn, arg);
    if (previous)
        each_share(previous->shares, previous->share_count, fn, arg);
}

void event_each_machine(const struct event_view *event, event_name_fn *fn, void *arg)
{
    static const char machine[] = "machine/";
    each_held(event->booking, event->previous, fn, arg);
    for (size_t i = 0; event->series && i < event->series->count; i++) {
        const struct occurrence *occurrence = &event->series->occurrences[i];
        tell(fn, arg, occurrence->machine);
        each_share(occurrence->shares, occurrence->share_count, fn, arg);
        each_held(NULL, occurrence->previous, fn, arg);
    }
    for (size_t i = 0; i < event->displaced_count; i++)
        each_held(&event->displaced[i].booking, event->displaced[i].previous, fn, arg);
    if (event->subject && strncmp(event->subject, machine, sizeof(machine) - 1) == 0)
        fn(arg, event->subject + sizeof(machine) - 1);
    if (event->machine)
        fn(arg, event->machine->name);
    tell(fn, arg, event->blocking_machine);
    each_share(event->frees, event->free_count, fn, arg);
}

void event_each_untold(const struct event_view *event, void (*fn)(void *arg, int64_t booking),
                       void *arg)
{
    const char *type = event->request.type;
    /* A new booking held nothing before. */
    if (event->kind != EVENT_ACCEPTED ||
        (type && strcmp(type, request_type_name(REQUEST_BOOKING_CREATE)) == 0))
        return;
    if (event->booking && !event->previous)
        fn(arg, event->booking->id);
    for (size_t i = 0; event->series && i < event->series->count; i++) {
        const struct occurrence *occurrence = &event->series->occurrences[i];
        if (occurrence->booking != 0 && !occurrence->previous)
            fn(arg, occurrence->booking);
    }
    for (size_t i = 0; i < event->displaced_count; i++) {
        if (!event->displaced[i].previous)
            fn(arg, event->displaced[i].booking.id);
    }
}
