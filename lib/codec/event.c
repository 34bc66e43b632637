#include "lib/codec/event.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "lib/codec/views.h"

/* Expected lengths, so that the buffer of most events never grows: what every event has, and what
 * each item of a list adds. */
#define EVENT_ROOM   1024
#define BOOKING_ROOM 224
#define SHARE_ROOM   96
#define LABEL_ROOM   64
#define WINDOW_ROOM  160

/* Upper bounds of lengths: an event before the id and position of a duplicate are added; an item of
 * `displaced` in short, an occurrence without allocations, and one machine of allocations. */
#define EVENT_MAX      (LIMIT_EVENT_LEN - 1024)
#define SHORT_MAX      256
#define OCCURRENCE_MAX 256
#define SHARE_MAX      128

char *event_id(struct arena *arena, int32_t part, int64_t seq)
{
    struct jsonout out;
    jsonout_init(&out, arena, 32);
    jsonout_int(&out, part);
    JSONOUT_INT(&out, "-", seq);
    return jsonout_finish(&out);
}

/* --- parts of data --- */

/* Takes back what was written from `mark` on unless the event then has room for `rest` bytes. */
static bool keep_if_room(struct jsonout *out, size_t mark, size_t rest)
{
    bool room = out->len + rest <= EVENT_MAX;
    if (!room)
        out->len = mark;
    return room;
}

/* Writes what can differ between two versions of a booking. */
static void put_previous(struct jsonout *out, const struct booking_view *previous)
{
    JSONOUT_INT(out, ",\"previous\":{\"version\":", previous->version);
    JSONOUT_STRING(out, ",\"state\":", booking_state_name(previous->state));
    JSONOUT_TIME(out, ",\"start\":", previous->start_ms);
    JSONOUT_TIME(out, ",\"end\":", previous->end_ms);
    JSONOUT_RAW(out, ",\"allocations\":");
    jsonout_shares(out, previous->shares, previous->share_count);
    JSONOUT_RAW(out, "}");
}

/* Writes the occurrence's members. */
static void put_occurrence(struct jsonout *out, const struct occurrence *occurrence,
                           bool with_shares)
{
    bool booked = occurrence->booking != 0;
    assert(booked == (occurrence->reason == REASON_NONE));
    if (booked) {
        JSONOUT_INT(out, "\"booking\":", occurrence->booking);
        JSONOUT_INT(out, ",\"version\":", occurrence->version);
        JSONOUT_STRING(out, ",\"state\":", booking_state_name(occurrence->state));
    }
    jsonout_comma(out);
    JSONOUT_TIME(out, "\"start\":", occurrence->window.start_ms);
    JSONOUT_TIME(out, ",\"end\":", occurrence->window.end_ms);
    if (!booked)
        JSONOUT_STRING(out, ",\"reason\":", reason_name(occurrence->reason));
    if (!booked && occurrence->machine)
        JSONOUT_STRING(out, ",\"machine\":", occurrence->machine);
    if (booked && with_shares) {
        JSONOUT_RAW(out, ",\"allocations\":");
        jsonout_shares(out, occurrence->shares, occurrence->share_count);
    }
}

/* Whether the allocations of the occurrence at hand are written, after `shown` machines before it. */
static bool shows_shares(const struct occurrence *occurrence, size_t *shown)
{
    bool fit = *shown + occurrence->share_count <= LIMIT_SERIES_SHARES;
    *shown += fit ? occurrence->share_count : 0;
    return fit;
}

/* Writes a series. Its bookings name at most LIMIT_SERIES_SHARES machines when it is made, but
 * each can be amended to hold LIMIT_ALLOCATIONS: many that run at once and are released together
 * would not fit into an event. Occurrences after the first LIMIT_SERIES_SHARES machines are
 * written without their allocations; what a cancel replaced is written where the rest still has
 * room. */
static void put_series(struct jsonout *out, const struct series_view *series)
{
    size_t shown = 0, all = 0;
    assert(series->count <= LIMIT_OCCURRENCES);
    for (size_t i = 0; i < series->count; i++)
        shows_shares(&series->occurrences[i], &all);
    JSONOUT_INT(out, ",\"series\":{\"id\":", series->id);
    JSONOUT_RAW(out, ",\"occurrences\":[");
    for (size_t i = 0; i < series->count; i++) {
        const struct occurrence *occurrence = &series->occurrences[i];
        jsonout_comma(out);
        JSONOUT_RAW(out, "{");
        put_occurrence(out, occurrence, shows_shares(occurrence, &shown));
        size_t mark = out->len;
        if (occurrence->previous) {
            put_previous(out, occurrence->previous);
            keep_if_room(out, mark,
                         (series->count - i) * OCCURRENCE_MAX + (all - shown) * SHARE_MAX);
        }
        JSONOUT_RAW(out, "}");
    }
    JSONOUT_RAW(out, "]}");
}

static void put_short(struct jsonout *out, const struct booking_view *booking)
{
    JSONOUT_INT(out, "\"id\":", booking->id);
    JSONOUT_INT(out, ",\"version\":", booking->version);
    JSONOUT_STRING(out, ",\"client\":", booking->client);
    JSONOUT_STRING(out, ",\"state\":", booking_state_name(booking->state));
    JSONOUT_TIME(out, ",\"end\":", booking->end_ms);
}

/* Writes the ended bookings: the first ones whole and, where the rest would have no room otherwise,
 * the others in short. */
static void put_displaced(struct jsonout *out, const struct displaced *displaced, size_t count)
{
    bool whole = true;
    JSONOUT_RAW(out, ",\"displaced\":[");
    for (size_t i = 0; i < count; i++) {
        jsonout_comma(out);
        JSONOUT_RAW(out, "{");
        size_t mark = out->len;
        if (whole) {
            jsonout_booking_members(out, &displaced[i].booking);
            put_previous(out, displaced[i].previous);
            whole = keep_if_room(out, mark, (count - i) * SHORT_MAX);
        }
        if (!whole)
            put_short(out, &displaced[i].booking);
        JSONOUT_RAW(out, "}");
    }
    JSONOUT_RAW(out, "]");
}

static void put_accepted(struct jsonout *out, const struct decision *dec)
{
    assert(dec->booking || dec->machine);
    if (dec->booking) {
        JSONOUT_RAW(out, ",\"booking\":");
        jsonout_booking(out, dec->booking);
    }
    if (dec->previous)
        put_previous(out, dec->previous);
    if (dec->effective_ms != 0)
        JSONOUT_TIME(out, ",\"effective_from\":", dec->effective_ms);
    if (dec->series)
        put_series(out, dec->series);
    if (dec->machine) {
        JSONOUT_RAW(out, ",\"machine\":");
        jsonout_machine(out, dec->machine);
    }
    if (dec->displaced_count > 0)
        put_displaced(out, dec->displaced, dec->displaced_count);
}

static void put_in_use(struct jsonout *out, const int64_t *bookings, size_t count)
{
    JSONOUT_RAW(out, ",\"in_use\":[");
    for (size_t i = 0; i < count; i++) {
        jsonout_comma(out);
        jsonout_int(out, bookings[i]);
    }
    JSONOUT_RAW(out, "]");
}

static void put_limit(struct jsonout *out, const struct limit_view *limit)
{
    JSONOUT_STRING(out, ",\"limit\":{\"name\":", limit->name);
    JSONOUT_INT(out, ",\"limit\":", limit->limit);
    JSONOUT_INT(out, ",\"used\":", limit->used);
    JSONOUT_INT(out, ",\"asked\":", limit->asked);
    JSONOUT_RAW(out, "}");
}

static void put_rejected(struct jsonout *out, const struct decision *dec)
{
    assert(dec->detail);
    JSONOUT_STRING(out, ",\"reason\":", reason_name(dec->reason));
    JSONOUT_STRING(out, ",\"detail\":", dec->detail);
    if (dec->pointer)
        JSONOUT_STRING(out, ",\"pointer\":", dec->pointer);
    if (dec->blocking_machine) {
        JSONOUT_STRING(out, ",\"machine_name\":", dec->blocking_machine);
        JSONOUT_STRING(out, ",\"machine\":", dec->blocking_machine); /* its name before */
    }
    if (dec->has_free) {
        JSONOUT_RAW(out, ",\"free\":{");
        jsonout_amount(out, dec->free);
        JSONOUT_RAW(out, "}");
    }
    if (dec->free_count > 0) {
        JSONOUT_RAW(out, ",\"machines_free\":");
        jsonout_shares(out, dec->frees, dec->free_count);
    }
    if (dec->fitting >= 0)
        JSONOUT_INT(out, ",\"fitting\":", dec->fitting);
    if (dec->next_available_ms != TIME_NONE)
        JSONOUT_TIME(out, ",\"next_available\":", dec->next_available_ms);
    if (dec->in_use_count > 0)
        put_in_use(out, dec->in_use, dec->in_use_count);
    if (dec->limit)
        put_limit(out, dec->limit);
}

/* Writes the request. A request that did not verify shows none of its claims. */
static void put_request(struct jsonout *out, const struct event_input *in)
{
    JSONOUT_RAW(out, "{\"request\":{");
    if (in->decision->verified) {
        assert(in->claims);
        assert(in->credential->client);
        if (in->claims->id)
            JSONOUT_STRING(out, "\"id\":", in->claims->id);
        jsonout_comma(out);
        JSONOUT_STRING(out, "\"client\":", in->credential->client);
        if (in->claims->user)
            JSONOUT_STRING(out, ",\"user\":", in->claims->user);
        if (in->claims->type != REQUEST_TYPE_COUNT)
            JSONOUT_STRING(out, ",\"type\":", request_type_name(in->claims->type));
    }
    jsonout_comma(out);
    JSONOUT_INT(out, "\"partition\":", in->part);
    JSONOUT_INT(out, ",\"offset\":", in->log_offset);
    if (!in->decision->verified) {
        JSONOUT_RAW(out, ",\"sha256\":");
        jsonout_hex(out, in->message_sha256, 32);
    }
    JSONOUT_RAW(out, "}");
}

/* --- the repeat of a first answer --- */

static void must(int result)
{
    assert(result == 0); /* jansson fails here only when it is out of memory */
}

/* Writes the first answer's data with this message's partition and offset. */
static void put_first_answer(struct jsonout *out, const struct event_input *in, json_t *first)
{
    const struct prior *prior = in->decision->duplicate_of;
    json_t *data = json_object_get(first, "data");
    json_t *request = json_object_get(data, "request");
    assert(json_is_object(request));
    assert(!json_object_get(data, "duplicate_of"));
    must(json_object_set_new(request, "partition", json_integer(in->part)));
    must(json_object_set_new(request, "offset", json_integer(in->log_offset)));
    char *text = json_dumps(data, JSON_COMPACT);
    assert(text);
    size_t len = strlen(text);
    jsonout_raw(out, text, len - 1); /* all but the closing brace */
    free(text);
    JSONOUT_STRING(out, ",\"duplicate_of\":", event_id(out->arena, prior->part, prior->seq));
}

/* --- the event --- */

static const char *subject_text(const struct decision *dec, struct arena *arena)
{
    struct jsonout out;
    switch (dec->subject_kind) {
    case SUBJECT_BOOKING:
        jsonout_init(&out, arena, 32);
        JSONOUT_INT(&out, "booking/", dec->subject_booking);
        return jsonout_finish(&out);
    case SUBJECT_MACHINE:
        jsonout_init(&out, arena, LIMIT_NAME_LEN + 8);
        JSONOUT_RAW(&out, "machine/");
        jsonout_raw(&out, dec->subject_machine, strlen(dec->subject_machine));
        return jsonout_finish(&out);
    case SUBJECT_NONE:
        break;
    }
    return NULL;
}

/* Writes all attributes before data. */
static void put_attributes(struct jsonout *out, const struct event_input *in,
                           const struct event *event)
{
    char sequence[24]; /* exactly 19 digits: sequences sort as text */
    snprintf(sequence, sizeof(sequence), "%019" PRId64, in->seq);
    JSONOUT_STRING(out, "{\"specversion\":\"1.0\",\"id\":", event->id);
    JSONOUT_RAW(out, ",\"source\":\"berth://");
    jsonout_raw(out, in->farm, strlen(in->farm));
    JSONOUT_INT(out, "/requests/", in->part);
    JSONOUT_STRING(out, "\",\"type\":", event->type);
    if (event->subject)
        JSONOUT_STRING(out, ",\"subject\":", event->subject);
    JSONOUT_TIME(out, ",\"time\":", in->now_ms);
    JSONOUT_STRING(out, ",\"datacontenttype\":\"application/json\",\"sequence\":", sequence);
    JSONOUT_RAW(out, ",\"data\":");
}

static size_t room_for(const struct decision *dec)
{
    size_t room = EVENT_ROOM + dec->displaced_count * 2 * BOOKING_ROOM;
    size_t held = 0; /* by the booking after and before the decision */
    if (dec->booking)
        held += dec->booking->share_count * SHARE_ROOM;
    if (dec->previous)
        held += WINDOW_ROOM + dec->previous->share_count * SHARE_ROOM;
    room += held;
    if (dec->series)
        room += dec->series->count * (WINDOW_ROOM + held);
    room += dec->free_count * SHARE_ROOM;
    if (dec->machine)
        room += dec->machine->labels.count * LABEL_ROOM;
    if (dec->duplicate_of)
        room += dec->duplicate_of->event_len;
    return room;
}

static const char *type_of_first(const json_t *first)
{
    const char *type = json_string_value(json_object_get(first, "type"));
    assert(type);
    bool accepted = strcmp(type, EVENT_TYPE_ACCEPTED) == 0;
    assert(accepted || strcmp(type, EVENT_TYPE_REJECTED) == 0);
    return accepted ? EVENT_TYPE_ACCEPTED : EVENT_TYPE_REJECTED;
}

static void put_duplicate(struct jsonout *out, const struct event_input *in, struct event *event)
{
    const struct prior *prior = in->decision->duplicate_of;
    json_t *first = json_loadb(prior->event, prior->event_len, 0, NULL);
    assert(json_is_object(first));
    event->type = type_of_first(first);
    const char *subject = json_string_value(json_object_get(first, "subject"));
    event->subject = !subject ? NULL : arena_strdup(out->arena, subject);
    put_attributes(out, in, event);
    put_first_answer(out, in, first);
    json_decref(first);
}

void event_encode(const struct event_input *in, struct arena *arena, struct event *out)
{
    const struct decision *dec = in->decision;
    assert(in->part >= 0 && in->part < LIMIT_PARTITIONS);
    assert(in->seq > 0);
    struct jsonout text;
    jsonout_init(&text, arena, room_for(dec));
    struct event event = {.id = event_id(arena, in->part, in->seq)};
    if (dec->duplicate_of) {
        put_duplicate(&text, in, &event);
    } else {
        event.type = dec->reason == REASON_NONE ? EVENT_TYPE_ACCEPTED : EVENT_TYPE_REJECTED;
        event.subject = subject_text(dec, arena);
        put_attributes(&text, in, &event);
        put_request(&text, in);
        if (dec->reason == REASON_NONE) {
            put_accepted(&text, dec);
        } else {
            put_rejected(&text, dec);
        }
    }
    JSONOUT_RAW(&text, "}}");
    event.bytes = jsonout_finish(&text);
    event.len = text.len;
    assert(event.len <= LIMIT_EVENT_LEN);
    *out = event;
}
