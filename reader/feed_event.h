/* One event of GET /v1/events: its bytes, and the parsed fields that filters compare. Shared by
 * reference count among threads; immutable, except that the machines which its bookings have held
 * can be added once. */
#ifndef BERTH_READER_FEED_EVENT_H
#define BERTH_READER_FEED_EVENT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/mem.h"
#include "lib/codec/event_read.h"

/* Members are only for reading, and `held` is feed_event.c's. A list of names is one text: each
 * name with a NUL behind it. lib/codec/event_concern.h says what the lists hold; `bookings` are those
 * of event_each_untold. A list may repeat a name or a booking. */
struct feed_event {
    int32_t part;
    int64_t seq;
    enum event_kind kind;
    char *type;  /* the attribute */
    char *bytes; /* one line, with a NUL behind it */
    size_t len;
    size_t size;                  /* bytes of memory that the event takes */
    struct buf clients, machines; /* lists of names */
    int64_t *bookings;
    size_t booking_count, booking_room;
    _Atomic(struct buf *) held; /* a list of names; NULL: not known */
    atomic_uint references;
};

/* What a listener wants to see. All pointers are borrowed. */
struct feed_filter {
    const char *client, *machine; /* NULL: any */
    enum event_kind outcome;      /* EVENT_OTHER: any */
};

enum feed_match {
    FEED_PASSES,
    FEED_FAILS,
    FEED_NEEDS_HELD, /* depends on the machines that the event's bookings have held */
};

/* Parses the event; copies the bytes. Gives *out, with one reference. ERR_FAILED: not an event,
 * or not on one line. */
enum err feed_event_new(const char *bytes, size_t len, struct feed_event **out, struct failure *f);
struct feed_event *feed_event_ref(struct feed_event *event);
void feed_event_unref(struct feed_event *event); /* NULL is fine */

/* Whether the filter lets the event through. FEED_NEEDS_HELD is possible until feed_event_set_held:
 * an event that does not tell what a booking held before concerns the listeners of the machines that
 * the booking leaves all the same. */
enum feed_match feed_event_match(const struct feed_event *event, const struct feed_filter *filter);
/* Adds the list of all machines that event->bookings have ever held; takes the buffer's memory. The
 * first call wins. */
void feed_event_set_held(struct feed_event *event, struct buf *names);

#endif
