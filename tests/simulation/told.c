#include "tests/simulation/told.h"

#include <string.h>

#include "lib/codec/event_read.h"
#include "lib/codec/views.h"

static bool has_id(const void *value, const void *key)
{
    return ((const struct booking_view *)value)->id == *(const int64_t *)key;
}

static struct booking_view *find(const struct told *told, int64_t id)
{
    return map_get(&told->bookings, map_hash_int(id), has_id, &id);
}

static const char *shares_text(struct told *told, const struct booking_view *booking)
{
    struct jsonout out;
    jsonout_init(&out, told->arena, 64);
    jsonout_shares(&out, booking->shares, booking->share_count);
    return jsonout_finish(&out);
}

static bool is_same(struct told *told, const struct booking_view *a, const struct booking_view *b)
{
    return a->version == b->version && a->state == b->state && a->start_ms == b->start_ms &&
           a->end_ms == b->end_ms && strcmp(shares_text(told, a), shares_text(told, b)) == 0;
}

/* Whether the booking is whole, and `previous` what was told of it last (NULL: nothing). */
static bool take(struct told *told, const struct booking_view *now,
                 const struct booking_view *previous)
{
    struct booking_view *known = find(told, now->id);
    if (!now->client || !now->user || !now->shares)
        return false;
    if (!known != !previous || now->version != (known ? known->version : 0) + 1)
        return false;
    if (known && (!is_same(told, known, previous) || known->series != now->series ||
                  strcmp(known->client, now->client) != 0 || strcmp(known->user, now->user) != 0))
        return false;
    if (!known) {
        known = arena_alloc(told->arena, sizeof(*known));
        map_put(&told->bookings, map_hash_int(now->id), known);
    }
    *known = *now;
    return true;
}

static bool take_series(struct told *told, const struct event_view *event)
{
    for (size_t i = 0; i < event->series->count; i++) {
        const struct occurrence *occurrence = &event->series->occurrences[i];
        struct booking_view now = *event->booking;
        now.id = occurrence->booking;
        now.version = occurrence->version;
        now.state = occurrence->state;
        now.start_ms = occurrence->window.start_ms;
        now.end_ms = occurrence->window.end_ms;
        now.shares = occurrence->shares;
        now.share_count = occurrence->share_count;
        if (now.id != 0 && !take(told, &now, occurrence->previous))
            return false;
    }
    return true;
}

const char *told_take(struct told *told, const char *event_bytes, size_t len)
{
    struct event_view event;
    struct failure f;
    if (event_read(event_bytes, len, told->arena, &event, &f) != ERR_OK)
        return "it cannot be read";
    if (event.fault)
        return event.fault;
    if (event.kind != EVENT_ACCEPTED || event.duplicate_of)
        return NULL;
    int64_t ceil_ms = time_ceil_s(event.time_ms);
    bool begun = event.previous && event.previous->start_ms < ceil_ms;
    if (event.effective_ms != (begun ? ceil_ms : 0))
        return "effective_from";
    if (event.series && !take_series(told, &event))
        return "its series";
    if (!event.series && event.booking && !take(told, event.booking, event.previous))
        return "its booking, or what that was before";
    for (size_t i = 0; i < event.displaced_count; i++) {
        if (!take(told, &event.displaced[i].booking, event.displaced[i].previous))
            return "a displaced booking, or what that was before";
    }
    return NULL;
}

bool told_left(const struct told *told, const struct booking_view *booking)
{
    const struct booking_view *known = find(told, booking->id);
    return known && known->version == booking->version && known->state == booking->state &&
           known->start_ms == booking->start_ms && known->end_ms == booking->end_ms &&
           known->share_count == booking->share_count;
}

void told_fini(struct told *told)
{
    map_fini(&told->bookings);
}
