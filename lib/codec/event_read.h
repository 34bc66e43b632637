/* The one reader of an event's bytes (docs/messages.md); lib/codec/event.h is the one writer.
 *
 * An event is read once, into the types that the writer takes. It may come from anybody who can
 * write to the event topic, so every function here takes any bytes. Members and types that this
 * version does not know are ignored, as docs/messages.md asks of consumers. */
#ifndef BERTH_LIB_CODEC_EVENT_READ_H
#define BERTH_LIB_CODEC_EVENT_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/arena.h"
#include "core/decide.h"
#include "lib/base/err.h"

enum event_kind { EVENT_OTHER, EVENT_ACCEPTED, EVENT_REJECTED };

/* What the event says of its request. Of a message whose signature did not verify only the position
 * is told; the texts are then NULL. */
struct event_request {
    const char *id, *client, *user;
    const char *type; /* "booking.create"; a later version may have types that core lacks */
    int32_t part;     /* the event's partition */
    int64_t offset;   /* >= 0 */
};

/* An event. All strings and arrays live in the arena that event_read was given. */
struct event_view {
    int32_t part; /* 0..LIMIT_PARTITIONS-1 */
    int64_t seq;  /* 1, 2, 3 …; `id` and `sequence` agree on it */
    const char *id;
    enum event_kind kind;
    const char *type;    /* "berth.request.accepted" */
    const char *subject; /* NULL: none */
    int64_t time_ms;     /* with milliseconds */
    struct event_request request;
    const char *duplicate_of; /* the first event's id; NULL: this is no repeat */
    /* EVENT_ACCEPTED; a duplicate repeats the first answer's */
    const struct booking_view *booking; /* NULL: none */
    const struct series_view
        *series; /* NULL: none. Of an occurrence, shares or previous NULL: not told */
    const struct machine_view *machine; /* NULL: none */
    /* What an amend or cancel replaced: of a `previous`, here and below, only version, state, start,
     * end and shares are set. NULL: a new booking, or an older event, which does not tell. */
    const struct booking_view *previous;
    int64_t effective_ms; /* as in struct decision; an older event does not tell: 0 */
    /* An item in short has only id, version, client, state and end; user, shares and previous are
     * NULL. All items of older events are in short. */
    size_t displaced_count;
    const struct displaced *displaced;
    /* EVENT_REJECTED */
    const char *reason, *detail;  /* NULL: missing */
    const char *blocking_machine; /* the machine that the reason is about; NULL: none */
    size_t free_count;
    const struct share *frees;
    /* NULL: all is well. Else the first member of `data` that is not as it must be, such as
     * "data.booking.allocations"; it is left out above, and all the rest was read. */
    const char *fault;
};

/* Reads an event. ERR_OK: *out is set; look at `fault` if damaged data must not pass. ERR_FAILED:
 * the bytes are no event (not JSON, a member twice, or id, sequence, type, time, data.request's
 * partition or offset missing, malformed or contradicting each other); the text says which, *out is
 * as it was, and a consumer ignores the message. The bytes are borrowed for the call only. The
 * caller compares out->part with the partition from which it took the message. */
enum err event_read(const char *bytes, size_t len, struct arena *arena, struct event_view *out,
                    struct failure *f);

/* "3-1042": partition 3, sequence 1042, as in `id`, `duplicate_of` and the header ce_id. False: the
 * text is no such id, or the sequence is so high that the ids of its bookings would not fit. */
bool event_id_parse(const char *text, size_t len, int32_t *part_out, int64_t *seq_out);

/* The sequence of an event of that partition without parsing JSON, for whoever looks at thousands
 * of events and needs no more: the header ce_id (`id`; NULL: the message has none) names it, and
 * the bytes hold the same `sequence`, 19 digits in quotes. 0: the message is no event of that
 * partition; one that was copied from another place or patched is none. */
int64_t event_peek_seq(const char *id, size_t id_len, const char *bytes, size_t len, int32_t part);

#endif
