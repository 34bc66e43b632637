/* Which clients and machines an event concerns: the one answer for all filters (the reader's
 * /v1/events, `berth watch`). Only fields count, no text of a label, a user or a sentence. */
#ifndef BERTH_LIB_CODEC_EVENT_CONCERN_H
#define BERTH_LIB_CODEC_EVENT_CONCERN_H

#include "lib/codec/event_read.h"

/* Called with each name, borrowed; a name may come more than once. */
typedef void event_name_fn(void *arg, const char *name);

/* The client of the request; the owner of the booking or series; the owners of displaced
 * bookings. */
void event_each_client(const struct event_view *event, event_name_fn *fn, void *arg);
/* The machines that the event's bookings hold after the decision, and those that they held before
 * it, as far as the event tells (event_each_untold); the machine of a registration or update, also of
 * a rejected one; that which a rejection, or an occurrence that was left out, is about; those whose
 * free amounts a rejection tells. */
void event_each_machine(const struct event_view *event, event_name_fn *fn, void *arg);
/* The bookings that the event changed without telling what they held before: those of older events,
 * and those that had no room in the event. One may come more than once. */
void event_each_untold(const struct event_view *event, void (*fn)(void *arg, int64_t booking),
                       void *arg);

#endif
