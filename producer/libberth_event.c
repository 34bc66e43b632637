/* Events as a client sees them: at a glance, and parsed. */
#define _GNU_SOURCE /* memmem */
#include <string.h>

#include <jansson.h>

#include "lib/base/mem.h"
#include "lib/codec/event.h"
#include "producer/libberth_internal.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The number behind a member's name; -1: there is none, or it is too long to be an offset. */
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

/* Inside of a JSON string a quote is written \", so these bytes are always a member's name. A
 * label may have that name too, but its value is a string. */
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

static char *copy_member(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? xstrdup(text) : NULL;
}

static bool is_integer(const json_t *value, int64_t expected)
{
    return json_is_integer(value) && json_integer_value(value) == expected;
}

/* Whether the event is about the outcome's request: the message at its place, or, where that is not
 * known, the one that the client signed with its request id. */
static bool is_about(const json_t *request, const char *client, struct berth_outcome *outcome)
{
    const json_t *offset = json_object_get(request, "offset");
    if (!is_integer(json_object_get(request, "partition"), outcome->partition))
        return false;
    if (outcome->offset >= 0)
        return is_integer(offset, outcome->offset);
    const char *signer = json_string_value(json_object_get(request, "client"));
    const char *id = json_string_value(json_object_get(request, "id"));
    if (!client || !signer || strcmp(signer, client) != 0 || !id ||
        strcmp(id, outcome->request_id) != 0 || !json_is_integer(offset))
        return false;
    outcome->offset = json_integer_value(offset);
    return true;
}

bool lb_event_decide(const char *bytes, size_t len, const char *client,
                     struct berth_outcome *outcome)
{
    json_t *event = json_loadb(bytes, len, 0, NULL);
    const char *type = json_string_value(json_object_get(event, "type"));
    const json_t *data = json_object_get(event, "data");
    const json_t *request = json_object_get(data, "request");
    /* Consumers ignore types that they do not know. */
    bool accepted = type && strcmp(type, EVENT_TYPE_ACCEPTED) == 0;
    bool rejected = type && strcmp(type, EVENT_TYPE_REJECTED) == 0;
    bool ours = (accepted || rejected) && is_about(request, client, outcome);
    if (ours) {
        outcome->status = BERTH_OK;
        outcome->verdict = accepted ? BERTH_ACCEPTED : BERTH_REJECTED;
        outcome->event = xstrndup(bytes, len);
        outcome->event_len = len;
        outcome->reason = rejected ? copy_member(data, "reason") : NULL;
        if (rejected && !outcome->reason)
            outcome->reason = xstrdup("unknown");
        outcome->detail = rejected ? copy_member(data, "detail") : NULL;
        outcome->duplicate_of = copy_member(data, "duplicate_of");
    }
    json_decref(event);
    return ours;
}

int64_t lb_event_sequence(const char *bytes, size_t len)
{
    json_t *event = json_loadb(bytes, len, 0, NULL);
    const char *text = json_string_value(json_object_get(event, "sequence"));
    int64_t seq = 0;
    size_t digits = text ? strspn(text, "0123456789") : 0;
    if (digits > 0 && digits <= 19 && text[digits] == '\0') {
        for (size_t i = 0; i < digits && seq <= INT64_MAX / 10 - 1; i++)
            seq = seq * 10 + (text[i] - '0');
    }
    json_decref(event);
    return seq;
}
