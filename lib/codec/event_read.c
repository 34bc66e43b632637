#define _GNU_SOURCE /* memmem */
#include "lib/codec/event_read.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "core/reason.h"
#include "lib/base/timetext.h"
#include "lib/codec/decoder.h"
#include "lib/codec/event.h"

/* Digits of `sequence`. */
#define SEQUENCE_DIGITS 19

/* --- the sequence --- */

/* 1, 2, 3 … up to INT64_MAX without a leading zero; 0: something else. */
static int64_t parse_number(const char *text, size_t len)
{
    int64_t number = 0;
    if (len == 0 || text[0] == '0')
        return 0;
    for (size_t i = 0; i < len; i++) {
        int digit = text[i] - '0';
        if (digit < 0 || digit > 9 || number > (INT64_MAX - digit) / 10)
            return 0;
        number = number * 10 + digit;
    }
    return number;
}

bool event_id_parse(const char *text, size_t len, int32_t *part_out, int64_t *seq_out)
{
    const char *dash = memchr(text, '-', len);
    if (!dash)
        return false;
    size_t part_len = (size_t)(dash - text);
    int64_t part = parse_number(text, part_len);
    int64_t seq = parse_number(dash + 1, len - part_len - 1);
    bool zero = part_len == 1 && text[0] == '0';
    /* A booking's id is seq * LIMIT_PARTITIONS + partition. */
    if ((part == 0 && !zero) || part >= LIMIT_PARTITIONS || seq == 0 ||
        seq > INT64_MAX / LIMIT_PARTITIONS)
        return false;
    *part_out = (int32_t)part;
    *seq_out = seq;
    return true;
}

int64_t event_peek_seq(const char *id, size_t id_len, const char *bytes, size_t len, int32_t part)
{
    int32_t own;
    int64_t seq;
    char quoted[SEQUENCE_DIGITS + 3];
    if (!id || !bytes || !event_id_parse(id, id_len, &own, &seq) || own != part)
        return 0;
    snprintf(quoted, sizeof(quoted), "\"%0*" PRId64 "\"", SEQUENCE_DIGITS, seq);
    return memmem(bytes, len, quoted, sizeof(quoted) - 1) ? seq : 0;
}

/* --- members --- */

/* An event being read. The decoder's parsers read its members; the decoder keeps no fault. */
struct reading {
    struct decoder decoder;
    const char *fault; /* as in struct event_view */
};

/* Notes the first fault. Always false, so that a reader of a member can end with it. */
static bool fault(struct reading *r, const char *where, const char *member)
{
    if (!r->fault) {
        r->fault = arena_printf(r->decoder.arena, "%s%s%s", where, member ? "." : "",
                                member ? member : "");
    }
    return false;
}

static bool parse_text(struct decoder *d, const struct path *at, const struct field *field,
                       const json_t *value, void *target)
{
    (void)at;
    (void)field;
    if (json_is_string(value))
        *(const char **)target = decoder_keep(d, value);
    return json_is_string(value);
}

static bool parse_booking_state(struct decoder *d, const struct path *at, const struct field *field,
                                const json_t *value, void *target)
{
    const char *name = decoder_text(value);
    enum booking_state state = name ? booking_state_from_name(name) : BOOKING_STATE_COUNT;
    (void)d;
    (void)at;
    (void)field;
    *(enum booking_state *)target = state;
    return state != BOOKING_STATE_COUNT;
}

/* Reads the members in the table into the struct at `out`. False: one is damaged, or a required one
 * is missing; that is noted, and the others were read. */
static bool read_members(struct reading *r, const char *where, const json_t *object,
                         const struct shape *shape, void *out)
{
    bool good = true;
    for (size_t i = 0; i < shape->count; i++) {
        const struct field *field = &shape->fields[i];
        const json_t *value = json_object_get(object, field->name);
        if (!value && field->presence == OPTIONAL)
            continue;
        if (field->parse(&r->decoder, NULL, field, value, (char *)out + field->target))
            continue;
        bool is_text = field->parse == parse_text || field->parse == parse_name;
        good = fault(r, where, value && is_text ? field->name : NULL);
    }
    return good;
}

/* An optional text, or name; NULL: missing or damaged. */
static const char *read_text(struct reading *r, const char *where, const json_t *object,
                             const char *member, parse_fn *parse)
{
    const char *text = NULL;
    const struct field field = {member, OPTIONAL, parse, 0, 0, 0, 0};
    read_members(r, where, object, &(struct shape){&field, 1, NULL}, &text);
    return text;
}

/* "2026-11-24T14:37:54.123Z"; the milliseconds only when they are not zero. */
static bool read_event_time(const json_t *event, int64_t *out)
{
    const char *text = json_string_value(json_object_get(event, "time"));
    size_t len = text ? strlen(text) : 0;
    char again[TIMETEXT_LEN], whole[] = "2026-11-24T14:37:54Z";
    if (len != 20 && len != 24)
        return false;
    memcpy(whole, text, 19);
    if (!timetext_parse(whole, 20, out))
        return false;
    *out += len == 24 ? strtol(text + 20, NULL, 10) : 0;
    return strcmp(timetext_format(*out, again), text) == 0;
}

/* --- data --- */

#define SHAPE(name)                                                                                \
    static const struct shape name##_shape = {name##_fields, DECODER_COUNT(name##_fields), NULL}

#define AT(member) offsetof(struct share, member)
static const struct field share_fields[] = {
    {"machine", REQUIRED, parse_name, AT(machine), 0, 0, 0},
    {"gpus", REQUIRED, parse_int, AT(amount.gpus), 0, 0, LIMIT_GPUS},
    {"memory_gib", REQUIRED, parse_int, AT(amount.memory_gib), 0, 0, LIMIT_MEMORY_GIB},
};
#undef AT
SHAPE(share);

#define AT(member) offsetof(struct booking_view, member)
static const struct field booking_fields[] = {
    {"client", REQUIRED, parse_name, AT(client), 0, 0, 0},
    {"id", REQUIRED, parse_int, AT(id), 0, 1, INT64_MAX},
    {"version", REQUIRED, parse_int, AT(version), 0, 1, INT64_MAX},
    {"state", REQUIRED, parse_booking_state, AT(state), 0, 0, 0},
    {"end", REQUIRED, parse_time, AT(end_ms), 0, 0, 0},
    {"start", REQUIRED, parse_time, AT(start_ms), 0, 0, 0},
    {"user", REQUIRED, parse_text, AT(user), 0, 0, 0},
    {"series", OPTIONAL, parse_int, AT(series), 0, 1, INT64_MAX},
};
#undef AT
SHAPE(booking);
/* A displaced booking in short: client to end. A previous state: version to start. */
static const struct shape short_shape = {booking_fields, 5, NULL};
static const struct shape previous_shape = {&booking_fields[2], 4, NULL};

#define AT(member) offsetof(struct occurrence, member)
static const struct field window_fields[] = {
    {"start", REQUIRED, parse_time, AT(window.start_ms), 0, 0, 0},
    {"end", REQUIRED, parse_time, AT(window.end_ms), 0, 0, 0},
};
static const struct field booked_fields[] = {
    {"booking", REQUIRED, parse_int, AT(booking), 0, 1, INT64_MAX},
    {"version", REQUIRED, parse_int, AT(version), 0, 1, INT64_MAX},
    {"state", REQUIRED, parse_booking_state, AT(state), 0, 0, 0},
};
#undef AT
SHAPE(window);
SHAPE(booked);

#define AT(member) offsetof(struct machine_view, member)
static const struct field machine_fields[] = {
    {"name", REQUIRED, parse_name, AT(name), 0, 0, 0},
    {"id", REQUIRED, parse_int, AT(id), 0, 1, INT64_MAX},
    {"version", REQUIRED, parse_int, AT(version), 0, 1, INT64_MAX},
    {"gpus", REQUIRED, parse_int, AT(capacity.gpus), 0, 0, LIMIT_GPUS},
    {"memory_gib", REQUIRED, parse_int, AT(capacity.memory_gib), 0, 0, LIMIT_MEMORY_GIB},
    {"state", REQUIRED, parse_state, AT(state), 0, 0, 0},
    {"labels", REQUIRED, parse_labels, AT(labels), 0, 0, 0},
};
#undef AT
SHAPE(machine);

/* Room for the array's items. NULL: missing, or no array, which is a fault. */
static void *array_room(struct reading *r, const char *where, const json_t *array, size_t size)
{
    if (json_is_array(array))
        return arena_alloc(r->decoder.arena, json_array_size(array) * size);
    if (array)
        fault(r, where, NULL);
    return NULL;
}

/* Reads the machines; leaves out the damaged ones. The next machine overwrites what a damaged one
 * has left behind: all its members are required. NULL: missing, or no array. */
static const struct share *read_shares(struct reading *r, const char *where, const json_t *array,
                                       size_t *count_out)
{
    struct share *shares = array_room(r, where, array, sizeof(*shares));
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(array); i++)
        count += read_members(r, where, json_array_get(array, i), &share_shape, &shares[count]);
    *count_out = count;
    return shares;
}

/* Reads the members of a booking in the shape, and its allocations. */
static bool read_held(struct reading *r, const char *where, const json_t *object,
                      const struct shape *shape, struct booking_view *out)
{
    if (!read_members(r, where, object, shape, out))
        return false;
    const char *shares_where = arena_printf(r->decoder.arena, "%s.allocations", where);
    out->shares = read_shares(r, shares_where, json_object_get(object, "allocations"),
                              &out->share_count);
    if (!out->shares)
        fault(r, shares_where, NULL);
    return true;
}

static const struct booking_view *read_booking(struct reading *r, const json_t *object)
{
    struct booking_view *booking = arena_alloc(r->decoder.arena, sizeof(*booking));
    return object && read_held(r, "data.booking", object, &booking_shape, booking) ? booking : NULL;
}

/* The member `previous` of the object. NULL: missing or damaged. */
static const struct booking_view *read_previous(struct reading *r, const char *where,
                                                const json_t *object)
{
    const json_t *value = json_object_get(object, "previous");
    struct booking_view *previous = arena_alloc(r->decoder.arena, sizeof(*previous));
    return value && read_held(r, where, value, &previous_shape, previous) ? previous : NULL;
}

/* Sets *out, which is zero, only if the occurrence is not damaged. */
static bool read_occurrence(struct reading *r, const json_t *item, struct occurrence *out)
{
    static const char where[] = "data.series.occurrences";
    struct occurrence occurrence = {0};
    if (!read_members(r, where, item, &window_shape, &occurrence))
        return false;
    if (json_object_get(item, "booking")) {
        if (!read_members(r, where, item, &booked_shape, &occurrence))
            return false;
        occurrence.shares = read_shares(r, where, json_object_get(item, "allocations"),
                                        &occurrence.share_count);
        occurrence.previous = read_previous(r, "data.series.occurrences.previous", item);
    } else {
        const char *reason = json_string_value(json_object_get(item, "reason"));
        occurrence.machine = read_text(r, where, item, "machine", parse_name);
        if (!reason)
            return fault(r, where, NULL);
        occurrence.reason = reason_from_name(reason);
    }
    *out = occurrence;
    return true;
}

static const struct series_view *read_series(struct reading *r, const json_t *object)
{
    const json_t *array = json_object_get(object, "occurrences");
    struct series_view *series = arena_alloc(r->decoder.arena, sizeof(*series));
    struct occurrence *items = array_room(r, "data.series.occurrences", array, sizeof(*items));
    if (!object)
        return NULL;
    series->id = json_integer_value(json_object_get(object, "id"));
    if (!items || series->id < 1) {
        fault(r, "data.series", NULL);
        return NULL;
    }
    for (size_t i = 0; i < json_array_size(array); i++)
        series->count += read_occurrence(r, json_array_get(array, i), &items[series->count]);
    series->occurrences = items;
    return series;
}

static const struct machine_view *read_machine(struct reading *r, const json_t *object)
{
    struct machine_view *machine = arena_alloc(r->decoder.arena, sizeof(*machine));
    return object && read_members(r, "data.machine", object, &machine_shape, machine) ? machine
                                                                                      : NULL;
}

/* Reads the ended bookings; leaves out the damaged ones. */
static void read_displaced(struct reading *r, const json_t *array, struct event_view *out)
{
    static const char where[] = "data.displaced";
    struct displaced *items = array_room(r, where, array, sizeof(*items));
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *item = json_array_get(array, i);
        struct displaced *displaced = &items[count];
        *displaced = (struct displaced){0};
        if (!json_object_get(item, "user")) {
            count += read_members(r, where, item, &short_shape, &displaced->booking);
        } else if (read_held(r, where, item, &booking_shape, &displaced->booking)) {
            displaced->previous = read_previous(r, "data.displaced.previous", item);
            count++;
        }
    }
    out->displaced_count = count;
    out->displaced = items;
}

static void read_effective(struct reading *r, const json_t *data, struct event_view *out)
{
    static const struct field field = {"effective_from", OPTIONAL, parse_time, 0, 0, 0, 0};
    read_members(r, "data.effective_from", data, &(struct shape){&field, 1, NULL},
                 &out->effective_ms);
}

static void read_accepted(struct reading *r, const json_t *data, struct event_view *out)
{
    out->booking = read_booking(r, json_object_get(data, "booking"));
    out->series = read_series(r, json_object_get(data, "series"));
    out->machine = read_machine(r, json_object_get(data, "machine"));
    if (out->booking) {
        out->previous = read_previous(r, "data.previous", data);
        read_effective(r, data, out);
    }
    read_displaced(r, json_object_get(data, "displaced"), out);
    if (!out->booking && !out->machine)
        fault(r, "data", NULL);
}

static void read_rejected(struct reading *r, const json_t *data, struct event_view *out)
{
    /* Older events have the name as `machine` only. */
    const char *name = json_object_get(data, "machine_name") ? "machine_name" : "machine";
    out->reason = read_text(r, "data", data, "reason", parse_text);
    out->detail = read_text(r, "data", data, "detail", parse_text);
    out->blocking_machine = read_text(r, "data", data, name, parse_name);
    out->frees = read_shares(r, "data.machines_free", json_object_get(data, "machines_free"),
                             &out->free_count);
    if (!out->reason || !out->detail)
        fault(r, "data", out->reason ? "detail" : "reason");
}

static void read_data(struct reading *r, const json_t *data, struct event_view *out)
{
    out->duplicate_of = read_text(r, "data", data, "duplicate_of", parse_text);
    if (out->kind == EVENT_ACCEPTED) {
        read_accepted(r, data, out);
    } else if (out->kind == EVENT_REJECTED) {
        read_rejected(r, data, out);
    }
}

/* --- the event --- */

static enum event_kind kind_of(const char *type)
{
    if (strcmp(type, EVENT_TYPE_ACCEPTED) == 0)
        return EVENT_ACCEPTED;
    return strcmp(type, EVENT_TYPE_REJECTED) == 0 ? EVENT_REJECTED : EVENT_OTHER;
}

static bool has_sequence(const json_t *event, int64_t seq)
{
    char digits[SEQUENCE_DIGITS + 1];
    const char *text = json_string_value(json_object_get(event, "sequence"));
    snprintf(digits, sizeof(digits), "%0*" PRId64, SEQUENCE_DIGITS, seq);
    return text && strcmp(text, digits) == 0;
}

/* The first attribute without which this is no event; NULL: all are there, and set. */
static const char *read_attributes(struct reading *r, const json_t *event, struct event_view *out)
{
    static const char where[] = "data.request";
    const char *id = json_string_value(json_object_get(event, "id"));
    const char *type = json_string_value(json_object_get(event, "type"));
    const json_t *request = json_object_get(json_object_get(event, "data"), "request");
    const json_t *part = json_object_get(request, "partition");
    const json_t *offset = json_object_get(request, "offset");
    if (!id || !event_id_parse(id, strlen(id), &out->part, &out->seq))
        return "id";
    if (!has_sequence(event, out->seq))
        return "sequence";
    if (!type)
        return "type";
    if (!read_event_time(event, &out->time_ms))
        return "time";
    if (!json_is_integer(part) || json_integer_value(part) != out->part)
        return "data.request.partition";
    if (!json_is_integer(offset) || json_integer_value(offset) < 0)
        return "data.request.offset";
    out->id = arena_strdup(r->decoder.arena, id);
    out->type = arena_strdup(r->decoder.arena, type);
    out->kind = kind_of(type);
    out->subject = read_text(r, "event", event, "subject", parse_text);
    out->request = (struct event_request){
        .id = read_text(r, where, request, "id", parse_text),
        .client = read_text(r, where, request, "client", parse_name),
        .user = read_text(r, where, request, "user", parse_text),
        .type = read_text(r, where, request, "type", parse_text),
        .part = out->part,
        .offset = json_integer_value(offset),
    };
    return NULL;
}

enum err event_read(const char *bytes, size_t len, struct arena *arena, struct event_view *out,
                    struct failure *f)
{
    json_error_t error;
    /* The decoder makes a text of the first fault only. With a pointer set, it has had one: `reading`
     * notes the faults of an event itself. */
    struct claims no_claims = {.pointer = ""};
    struct reading reading = {.decoder = {.arena = arena, .out = &no_claims}};
    struct event_view event = {0};
    json_t *object = json_loadb(bytes ? bytes : "", bytes ? len : 0, JSON_REJECT_DUPLICATES,
                                &error);
    if (!object)
        return failure_set(f, ERR_FAILED, "not an event: %s", error.text);
    const char *missing = read_attributes(&reading, object, &event);
    if (!missing) {
        read_data(&reading, json_object_get(object, "data"), &event);
        event.fault = reading.fault;
        *out = event;
    }
    json_decref(object);
    return missing ? failure_set(f, ERR_FAILED, "not an event: %s", missing) : ERR_OK;
}
