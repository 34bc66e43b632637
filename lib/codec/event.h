/* Writes the event of a decision (docs/messages.md): structured-mode CloudEvents JSON, UTF-8, one
 * line. The same input gives the same bytes. lib/codec/event_read.h reads them. */
#ifndef BERTH_LIB_CODEC_EVENT_H
#define BERTH_LIB_CODEC_EVENT_H

#include <stddef.h>
#include <stdint.h>

#include "core/arena.h"
#include "core/decide.h"

#define EVENT_CONTENT_TYPE  "application/cloudevents+json; charset=UTF-8"
#define EVENT_TYPE_ACCEPTED "berth.request.accepted"
#define EVENT_TYPE_REJECTED "berth.request.rejected"

/* All pointers are borrowed. */
struct event_input {
    const char *farm;
    int32_t part;
    int64_t seq, log_offset, now_ms;
    const uint8_t *message_sha256; /* 32 bytes */
    const struct credential *credential;
    const struct claims *claims; /* NULL when the credential failed */
    const struct decision *decision;
};

/* Strings live in the arena, except `type`, which is static. */
struct event {
    const char *bytes;   /* a NUL behind len bytes */
    size_t len;          /* <= LIMIT_EVENT_LEN (asserted) */
    const char *subject; /* also the Kafka key; NULL: none */
    const char *type;    /* EVENT_TYPE_… */
    const char *id;      /* "<part>-<seq>" */
};

/* Writes the event. `time` is the broker's append time, with milliseconds when they are not zero.
 * A duplicate (decision->duplicate_of) takes type, subject and data from the first event's bytes,
 * which must be an event of ours (asserted). */
void event_encode(const struct event_input *in, struct arena *arena, struct event *out);

/* Writes the event's id, "<part>-<seq>", as in `id` and `duplicate_of`. */
char *event_id(struct arena *arena, int32_t part, int64_t seq);

#endif
