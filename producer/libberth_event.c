/* Which event decides which request: at a glance, and read whole. */
#define _GNU_SOURCE /* memmem */
#include <string.h>

#include "lib/base/mem.h"
#include "lib/base/print.h"
#include "lib/codec/event_read.h"
#include "producer/libberth_internal.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The number after a member's name; -1: none, or too long to be an offset. */
static int64_t number_at(const char *at, const char *end)
{
    while (at < end && is_blank(*at))
        at++;
    if (at == end || *at++ != ':')
        return -1;
    while (at < end && is_blank(*at))
        at++;
    int64_t value = -1;
    for (int digits = 0; at < end && *at >= '0' && *at <= '9'; at++, digits++) {
        if (digits == 18)
            return -1;
        value = (value < 0 ? 0 : value) * 10 + (*at - '0');
    }
    return value;
}

/* A quote inside a JSON string is escaped, so these bytes are always a member name. A label may
 * have that name, too, but its value is a string. */
int64_t lb_event_glance(const char *bytes, size_t len)
{
    static const char name[] = "\"offset\"";
    const char *end = bytes + len;
    int64_t found = -1;
    const char *at = bytes;
    while ((at = memmem(at, (size_t)(end - at), name, sizeof(name) - 1))) {
        at += sizeof(name) - 1;
        int64_t value = number_at(at, end);
        if (value >= 0 && found >= 0)
            return -2;
        if (value >= 0)
            found = value;
    }
    return found;
}

/* Whether the event decides the outcome's request: the message at its offset or, where the offset
 * is not known, the one that the client signed with its request id. */
static bool is_about(const struct event_request *request, const char *client,
                     struct berth_outcome *outcome)
{
    if (request->part != outcome->partition)
        return false;
    if (outcome->offset >= 0)
        return request->offset == outcome->offset;
    if (!client || !request->client || strcmp(request->client, client) != 0 || !request->id ||
        strcmp(request->id, outcome->request_id) != 0)
        return false;
    outcome->offset = request->offset;
    return true;
}

static char *shown(const char *text)
{
    return text ? print_visible(text) : NULL;
}

bool lb_event_decide(const char *bytes, size_t len, const char *client,
                     struct berth_outcome *outcome)
{
    struct arena *arena = arena_new();
    struct event_view event;
    struct failure f;
    /* Consumers ignore types that they do not know. */
    bool ours = event_read(bytes, len, arena, &event, &f) == ERR_OK && event.kind != EVENT_OTHER &&
                is_about(&event.request, client, outcome);
    if (ours) {
        bool rejected = event.kind == EVENT_REJECTED;
        outcome->status = BERTH_OK;
        outcome->verdict = rejected ? BERTH_REJECTED : BERTH_ACCEPTED;
        outcome->event = xstrndup(bytes, len);
        outcome->event_len = len;
        outcome->reason = shown(rejected && !event.reason ? "unknown" : event.reason);
        outcome->detail = shown(event.detail);
        outcome->duplicate_of = shown(event.duplicate_of);
    }
    arena_free(arena);
    return ours;
}
