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
#include "lib/codec/event.h"
#include "lib/codec/labels.h"

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

/* An event being read. */
struct reading {
    struct arena *arena;
    const char *fault; /* as in struct event_view */
};

/* Notes the first fault. Always false, so that a reader of a member can end with it. */
static bool fault(struct reading *r, const char *where, const char *member)
{
    if (!r->fault)
        r->fault = arena_printf(r->arena, "%s%s%s", where, member ? "." : "", member ? member : "");
    return false;
}

/* NULL: missing, or not a string. */
static const char *text_of(const json_t *object, const char *member)
{
    return json_string_value(json_object_get(object, member));
}

/* A copy; NULL: missing. A value that is no string is a fault, and counts as missing. */
static const char *read_text(struct reading *r, const char *where, const json_t *object,
                             const char *member)
{
    const json_t *value = json_object_get(object, member);
    if (value && !json_is_string(value))
        fault(r, where, member);
    return json_is_string(value) ? arena_strdup(r->arena, json_string_value(value)) : NULL;
}

/* A machine's or client's name; likewise. */
static const char *read_name(struct reading *r, const char *where, const json_t *object,
                             const char *member)
{
    const char *name = text_of(object, member);
    if (name && name_is_valid(name, LIMIT_NAME_LEN, NULL))
        return arena_strdup(r->arena, name);
    if (json_object_get(object, member))
        fault(r, where, member);
    return NULL;
}

static bool read_int(const json_t *object, const char *member, int64_t min, int64_t *out)
{
    const json_t *value = json_object_get(object, member);
    *out = json_integer_value(value);
    return json_is_integer(value) && *out >= min;
}

static bool read_amount(const json_t *object, struct amount *out)
{
    return read_int(object, "gpus", 0, &out->gpus) && out->gpus <= LIMIT_GPUS &&
           read_int(object, "memory_gib", 0, &out->memory_gib) &&
           out->memory_gib <= LIMIT_MEMORY_GIB;
}

/* UTC with Z, whole seconds. */
static bool read_time(const json_t *object, const char *member, int64_t *out)
{
    const char *text = text_of(object, member);
    return text && strlen(text) == 20 && timetext_parse(text, 20, out);
}

static bool read_booking_state(const json_t *object, enum booking_state *out)
{
    const char *name = text_of(object, "state");
    *out = name ? booking_state_from_name(name) : BOOKING_STATE_COUNT;
    return *out != BOOKING_STATE_COUNT;
}

/* "2026-11-24T14:37:54.123Z"; the milliseconds only when they are not zero. */
static bool read_event_time(const json_t *event, int64_t *out)
{
    const char *text = text_of(event, "time");
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

/* Room for the array's items, and how many there are. NULL: missing, or no array, which is a
 * fault. */
static void *array_room(struct reading *r, const char *where, const json_t *array, size_t size)
{
    if (json_is_array(array))
        return arena_alloc(r->arena, json_array_size(array) * size);
    if (array)
        fault(r, where, NULL);
    return NULL;
}

static const struct share *read_shares(struct reading *r, const char *where, const json_t *array,
                                       size_t *count_out)
{
    struct share *shares = array_room(r, where, array, sizeof(*shares));
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *item = json_array_get(array, i);
        struct share share = {.machine = read_name(r, where, item, "machine")};
        if (share.machine && read_amount(item, &share.amount)) {
            shares[count++] = share;
        } else {
            fault(r, where, NULL);
        }
    }
    *count_out = count;
    return shares;
}

static const struct booking_view *read_booking(struct reading *r, const json_t *object)
{
    static const char where[] = "data.booking", shares_where[] = "data.booking.allocations";
    struct booking_view *booking = arena_alloc(r->arena, sizeof(*booking));
    if (!object)
        return NULL;
    booking->client = read_name(r, where, object, "client");
    booking->user = read_text(r, where, object, "user");
    bool good = read_int(object, "id", 1, &booking->id) &&
                read_int(object, "version", 1, &booking->version) && booking->client &&
                booking->user && read_booking_state(object, &booking->state) &&
                read_time(object, "start", &booking->start_ms) &&
                read_time(object, "end", &booking->end_ms);
    if (good && json_object_get(object, "series"))
        good = read_int(object, "series", 1, &booking->series);
    if (!good) {
        fault(r, where, NULL);
        return NULL;
    }
    booking->shares = read_shares(r, shares_where, json_object_get(object, "allocations"),
                                  &booking->share_count);
    if (!booking->shares)
        fault(r, shares_where, NULL);
    return booking;
}

static bool read_occurrence(struct reading *r, const json_t *item, struct occurrence *out)
{
    static const char where[] = "data.series.occurrences";
    const json_t *booking = json_object_get(item, "booking");
    const char *reason = text_of(item, "reason");
    if (!read_time(item, "start", &out->window.start_ms) ||
        !read_time(item, "end", &out->window.end_ms))
        return fault(r, where, NULL);
    if (!booking) {
        out->reason = reason ? reason_from_name(reason) : REASON_NONE;
        out->machine = read_name(r, where, item, "machine");
        return reason || fault(r, where, NULL);
    }
    if (!read_int(item, "booking", 1, &out->booking) ||
        !read_int(item, "version", 1, &out->version) || !read_booking_state(item, &out->state))
        return fault(r, where, NULL);
    out->shares = read_shares(r, where, json_object_get(item, "allocations"), &out->share_count);
    return true;
}

static const struct series_view *read_series(struct reading *r, const json_t *object)
{
    const json_t *array = json_object_get(object, "occurrences");
    struct series_view *series = arena_alloc(r->arena, sizeof(*series));
    struct occurrence *items = array_room(r, "data.series.occurrences", array, sizeof(*items));
    if (!object)
        return NULL;
    if (!items || !read_int(object, "id", 1, &series->id)) {
        fault(r, "data.series", NULL);
        return NULL;
    }
    for (size_t i = 0; i < json_array_size(array); i++) {
        if (read_occurrence(r, json_array_get(array, i), &items[series->count])) {
            series->count++;
        } else {
            items[series->count] = (struct occurrence){0};
        }
    }
    series->occurrences = items;
    return series;
}

static const struct machine_view *read_machine(struct reading *r, const json_t *object)
{
    struct machine_view *machine = arena_alloc(r->arena, sizeof(*machine));
    if (!object)
        return NULL;
    const char *state = text_of(object, "state");
    machine->name = read_name(r, "data.machine", object, "name");
    machine->state = state ? machine_state_from_name(state) : MACHINE_STATE_COUNT;
    if (read_int(object, "id", 1, &machine->id) &&
        read_int(object, "version", 1, &machine->version) && machine->name &&
        read_amount(object, &machine->capacity) && machine->state != MACHINE_STATE_COUNT &&
        !labels_from_value(json_object_get(object, "labels"), r->arena, &machine->labels).expected)
        return machine;
    fault(r, "data.machine", NULL);
    return NULL;
}

static void read_displaced(struct reading *r, const json_t *array, struct event_view *out)
{
    static const char where[] = "data.displaced";
    struct displaced *items = array_room(r, where, array, sizeof(*items));
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *item = json_array_get(array, i);
        struct displaced *displaced = &items[out->displaced_count];
        displaced->client = read_name(r, where, item, "client");
        if (read_int(item, "id", 1, &displaced->id) &&
            read_int(item, "version", 1, &displaced->version) && displaced->client &&
            read_booking_state(item, &displaced->state) &&
            read_time(item, "end", &displaced->end_ms)) {
            out->displaced_count++;
        } else {
            fault(r, where, NULL);
        }
    }
    out->displaced = items;
}

static void read_frees(struct reading *r, const json_t *array, struct event_view *out)
{
    size_t count;
    const struct share *shares = read_shares(r, "data.machines_free", array, &count);
    struct machine_free *frees = arena_alloc(r->arena, count * sizeof(*frees));
    for (size_t i = 0; i < count; i++)
        frees[i] = (struct machine_free){shares[i].machine, shares[i].amount};
    out->frees = frees;
    out->free_count = count;
}

static void read_data(struct reading *r, const json_t *data, struct event_view *out)
{
    out->duplicate_of = read_text(r, "data", data, "duplicate_of");
    if (out->kind == EVENT_ACCEPTED) {
        out->booking = read_booking(r, json_object_get(data, "booking"));
        out->series = read_series(r, json_object_get(data, "series"));
        out->machine = read_machine(r, json_object_get(data, "machine"));
        read_displaced(r, json_object_get(data, "displaced"), out);
        if (!out->booking && !out->machine)
            fault(r, "data", NULL);
    } else if (out->kind == EVENT_REJECTED) {
        out->reason = read_text(r, "data", data, "reason");
        out->detail = read_text(r, "data", data, "detail");
        out->blocking_machine = read_name(r, "data", data, "machine");
        read_frees(r, json_object_get(data, "machines_free"), out);
        if (!out->reason || !out->detail)
            fault(r, "data", out->reason ? "detail" : "reason");
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
    const char *text = text_of(event, "sequence");
    snprintf(digits, sizeof(digits), "%0*" PRId64, SEQUENCE_DIGITS, seq);
    return text && strcmp(text, digits) == 0;
}

/* The first attribute without which this is no event; NULL: all are there, and set. */
static const char *read_attributes(struct reading *r, const json_t *event, struct event_view *out)
{
    const char *id = text_of(event, "id"), *type = text_of(event, "type");
    const json_t *data = json_object_get(event, "data");
    const json_t *request = json_object_get(data, "request");
    int64_t part;
    if (!id || !event_id_parse(id, strlen(id), &out->part, &out->seq))
        return "id";
    if (!has_sequence(event, out->seq))
        return "sequence";
    if (!type)
        return "type";
    if (!read_event_time(event, &out->time_ms))
        return "time";
    if (!read_int(request, "partition", 0, &part) || part != out->part)
        return "data.request.partition";
    if (!read_int(request, "offset", 0, &out->request.offset))
        return "data.request.offset";
    out->request.part = out->part;
    out->id = arena_strdup(r->arena, id);
    out->type = arena_strdup(r->arena, type);
    out->kind = kind_of(type);
    out->subject = read_text(r, "event", event, "subject");
    out->request.id = read_text(r, "data.request", request, "id");
    out->request.client = read_name(r, "data.request", request, "client");
    out->request.user = read_text(r, "data.request", request, "user");
    out->request.type = read_text(r, "data.request", request, "type");
    return NULL;
}

enum err event_read(const char *bytes, size_t len, struct arena *arena, struct event_view *out,
                    struct failure *f)
{
    json_error_t error;
    struct reading reading = {.arena = arena};
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

/* --- whom and what it concerns --- */

/* A list of names, in an array of the final size. */
struct names {
    const char **items;
    size_t count;
};

static void add_name(struct names *names, const char *name)
{
    if (name)
        names->items[names->count++] = name;
}

static void add_shares(struct names *names, const struct share *shares, size_t count)
{
    for (size_t i = 0; i < count; i++)
        add_name(names, shares[i].machine);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static size_t distinct_names(struct names *names)
{
    size_t count = 0;
    qsort(names->items, names->count, sizeof(*names->items), compare_names);
    for (size_t i = 0; i < names->count; i++) {
        if (count == 0 || strcmp(names->items[count - 1], names->items[i]) != 0)
            names->items[count++] = names->items[i];
    }
    return count;
}

static int compare_numbers(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static size_t distinct_numbers(int64_t *numbers, size_t count)
{
    size_t kept = 0;
    qsort(numbers, count, sizeof(*numbers), compare_numbers);
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || numbers[kept - 1] != numbers[i])
            numbers[kept++] = numbers[i];
    }
    return kept;
}

static void concern_clients(const struct event_view *event, struct arena *arena,
                            struct event_concern *out)
{
    struct names names = {
        .items = arena_alloc(arena, (2 + event->displaced_count) * sizeof(*names.items))};
    add_name(&names, event->request.client);
    if (event->booking)
        add_name(&names, event->booking->client);
    for (size_t i = 0; i < event->displaced_count; i++)
        add_name(&names, event->displaced[i].client);
    out->clients = names.items;
    out->client_count = distinct_names(&names);
}

static void concern_machines(const struct event_view *event, struct arena *arena,
                             struct event_concern *out)
{
    static const char prefix[] = "machine/";
    const size_t prefix_len = sizeof(prefix) - 1;
    const struct booking_view *booking = event->booking;
    const struct series_view *series = event->series;
    size_t most = 3 + event->free_count + (booking ? booking->share_count : 0);
    for (size_t i = 0; series && i < series->count; i++)
        most += 1 + series->occurrences[i].share_count;
    struct names names = {.items = arena_alloc(arena, most * sizeof(*names.items))};
    if (event->subject && strncmp(event->subject, prefix, prefix_len) == 0)
        add_name(&names, event->subject + prefix_len);
    add_name(&names, event->machine ? event->machine->name : NULL);
    add_name(&names, event->blocking_machine);
    for (size_t i = 0; i < event->free_count; i++)
        add_name(&names, event->frees[i].machine);
    if (booking)
        add_shares(&names, booking->shares, booking->share_count);
    for (size_t i = 0; series && i < series->count; i++) {
        add_name(&names, series->occurrences[i].machine);
        add_shares(&names, series->occurrences[i].shares, series->occurrences[i].share_count);
    }
    out->machines = names.items;
    out->machine_count = distinct_names(&names);
}

static void concern_bookings(const struct event_view *event, struct arena *arena,
                             struct event_concern *out)
{
    const struct series_view *series = event->series;
    size_t most = 1 + event->displaced_count + (series ? series->count : 0), count = 0;
    int64_t *bookings = arena_alloc(arena, most * sizeof(*bookings));
    if (event->booking)
        bookings[count++] = event->booking->id;
    for (size_t i = 0; series && i < series->count; i++) {
        if (series->occurrences[i].booking != 0)
            bookings[count++] = series->occurrences[i].booking;
    }
    for (size_t i = 0; i < event->displaced_count; i++)
        bookings[count++] = event->displaced[i].id;
    out->bookings = bookings;
    out->booking_count = distinct_numbers(bookings, count);
}

void event_concern(const struct event_view *event, struct arena *arena, struct event_concern *out)
{
    concern_clients(event, arena, out);
    concern_machines(event, arena, out);
    concern_bookings(event, arena, out);
}
