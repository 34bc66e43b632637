/* Reads every decision of the snapshot in order, checks that its columns say what its event says,
 * and folds the events: what they leave each booking and machine with. */
#include "admin/audit/audit.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/timetext.h"
#include "lib/codec/event.h"

enum column { PART, SEQ, LOG_OFFSET, OUTCOME, REASON, SUBJECT, TIME, CLIENT, REQUEST_ID, EVENT };
#define DECISIONS_SQL                                                                              \
    "SELECT part, seq, log_offset, outcome, reason, subject, time_ms, client, request_id, event "  \
    "FROM decision ORDER BY part, seq"

/* --- the maps --- */

static bool booking_has_id(const void *value, const void *key)
{
    return ((const struct audit_booking *)value)->id == *(const int64_t *)key;
}

static bool machine_has_name(const void *value, const void *key)
{
    return strcmp(((const struct audit_machine *)value)->name, key) == 0;
}

struct audit_booking *audit_booking(const struct audit *audit, int64_t id)
{
    return map_get(&audit->bookings, map_hash_int(id), booking_has_id, &id);
}

struct audit_machine *audit_machine(const struct audit *audit, const char *name)
{
    return map_get(&audit->machines, map_hash_text(MAP_SEED, name), machine_has_name, name);
}

static struct audit_booking *need_booking(struct audit *audit, int64_t id)
{
    struct audit_booking *booking = audit_booking(audit, id);
    if (booking)
        return booking;
    booking = arena_alloc(audit->arena, sizeof(*booking));
    booking->id = id;
    size_t count = audit->bookings.count;
    if (count == audit->booking_room) {
        audit->booking_room = count ? 2 * count : 1024;
        audit->booking_list = xrealloc(audit->booking_list,
                                       audit->booking_room * sizeof(*audit->booking_list));
    }
    audit->booking_list[count] = booking;
    map_put(&audit->bookings, map_hash_int(id), booking);
    return booking;
}

static struct audit_machine *need_machine(struct audit *audit, const char *name)
{
    struct audit_machine *machine = audit_machine(audit, name);
    if (machine)
        return machine;
    machine = arena_alloc(audit->arena, sizeof(*machine));
    machine->name = arena_strdup(audit->arena, name);
    size_t count = audit->machines.count;
    if (count == audit->machine_room) {
        audit->machine_room = count ? 2 * count : 256;
        audit->machine_list = xrealloc(audit->machine_list,
                                       audit->machine_room * sizeof(*audit->machine_list));
    }
    audit->machine_list[count] = machine;
    map_put(&audit->machines, map_hash_text(MAP_SEED, name), machine);
    return machine;
}

void audit_fold_fini(struct audit *audit)
{
    map_fini(&audit->bookings);
    map_fini(&audit->machines);
    free(audit->booking_list);
    free(audit->machine_list);
}

/* --- what an event says; anything that is not as it must be counts as 0 or "" --- */

int64_t audit_int(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

const char *audit_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

int64_t audit_time(const json_t *object, const char *key)
{
    const char *text = audit_text(object, key);
    int64_t ms = 0;
    return timetext_parse(text, strlen(text), &ms) ? ms : -1;
}

struct amount audit_amount(const json_t *object)
{
    return (struct amount){audit_int(object, "gpus"), audit_int(object, "memory_gib")};
}

/* `data`: what the event says of it. `owner`: its member `booking`, of the same series, which alone
 * names client and user. */
static void fold_booking(struct audit *audit, int64_t id, const json_t *data, const json_t *owner)
{
    struct audit_booking *booking = need_booking(audit, id);
    int64_t version = audit_int(data, "version");
    booking->facts++;
    if (version <= booking->version)
        return;
    const json_t *shares = json_object_get(data, "allocations");
    booking->version = version;
    booking->series = audit_int(owner, "series");
    booking->client = arena_strdup(audit->arena, audit_text(owner, "client"));
    booking->user = arena_strdup(audit->arena, audit_text(owner, "user"));
    booking->state = booking_state_from_name(audit_text(data, "state"));
    booking->start_ms = audit_time(data, "start");
    booking->end_ms = audit_time(data, "end");
    booking->share_count = json_array_size(shares);
    booking->shares = arena_alloc(audit->arena, booking->share_count * sizeof(*booking->shares));
    booking->shares_known = json_is_array(shares);
    for (size_t i = 0; i < booking->share_count; i++) {
        const json_t *share = json_array_get(shares, i);
        booking->shares[i] = (struct audit_share){
            .machine = arena_strdup(audit->arena, audit_text(share, "machine")),
            .amount = audit_amount(share),
        };
    }
}

/* Its occurrences that were booked or ended; `booking` is one of them. */
static void fold_series(struct audit *audit, const json_t *occurrences, const json_t *booking)
{
    const json_t *occurrence;
    size_t i;
    json_array_foreach(occurrences, i, occurrence)
    {
        int64_t id = audit_int(occurrence, "booking");
        if (id > 0)
            fold_booking(audit, id, occurrence, booking);
    }
}

static void fold_displaced(struct audit *audit, const json_t *data)
{
    struct audit_booking *booking = need_booking(audit, audit_int(data, "id"));
    int64_t version = audit_int(data, "version");
    booking->facts++;
    if (version <= booking->displaced_version)
        return;
    booking->displaced_version = version;
    booking->displaced_state = booking_state_from_name(audit_text(data, "state"));
    booking->displaced_end_ms = audit_time(data, "end");
}

static void fold_machine(struct audit *audit, const json_t *data)
{
    struct audit_machine *machine = need_machine(audit, audit_text(data, "name"));
    int64_t version = audit_int(data, "version");
    if (version <= machine->version)
        return;
    char *labels = json_dumps(json_object_get(data, "labels"), JSON_COMPACT | JSON_SORT_KEYS);
    machine->version = version;
    machine->id = audit_int(data, "id");
    machine->capacity = audit_amount(data);
    machine->labels = arena_strdup(audit->arena, labels ? labels : "");
    machine->state = machine_state_from_name(audit_text(data, "state"));
    free(labels);
}

static void fold_event(struct audit *audit, const json_t *data)
{
    const json_t *booking = json_object_get(data, "booking");
    const json_t *machine = json_object_get(data, "machine");
    const json_t *series = json_object_get(data, "series");
    if (json_object_get(data, "duplicate_of") || json_object_get(data, "reason"))
        return;
    if (json_is_object(series)) {
        fold_series(audit, json_object_get(series, "occurrences"), booking);
    } else if (json_is_object(booking)) {
        fold_booking(audit, audit_int(booking, "id"), booking, booking);
    }
    if (json_is_object(machine))
        fold_machine(audit, machine);
    const json_t *displaced;
    size_t i;
    json_array_foreach(json_object_get(data, "displaced"), i, displaced)
        fold_displaced(audit, displaced);
}

/* A displacement that is newer than the booking's own last event. */
static void apply_displacements(struct audit *audit)
{
    for (size_t i = 0; i < audit->bookings.count; i++) {
        struct audit_booking *booking = audit->booking_list[i];
        if (booking->displaced_version <= booking->version)
            continue;
        booking->version = booking->displaced_version;
        booking->state = booking->displaced_state;
        booking->end_ms = booking->displaced_end_ms;
        booking->shares_known = booking->state == BOOKING_CANCELLED;
        booking->share_count = 0;
    }
}

/* --- one row --- */

/* The first column that says something else than the event, or NULL. */
static const char *find_contradiction(MYSQL_ROW row, const json_t *event, const char *id)
{
    const json_t *data = json_object_get(event, "data");
    const json_t *request = json_object_get(data, "request");
    bool accepted = strcmp(row[OUTCOME], "accepted") == 0;
    char time[TIMETEXT_LEN];
    if (strcmp(audit_text(event, "id"), id) != 0)
        return "part and seq";
    if (strcmp(audit_text(event, "type"), accepted ? EVENT_TYPE_ACCEPTED : EVENT_TYPE_REJECTED) !=
        0)
        return "outcome";
    if (strcmp(audit_text(data, "reason"), row[REASON] ? row[REASON] : "") != 0)
        return "reason";
    if (strcmp(audit_text(event, "subject"), row[SUBJECT] ? row[SUBJECT] : "") != 0)
        return "subject";
    if (strcmp(audit_text(event, "time"), timetext_format(field_int(row[TIME]), time)) != 0)
        return "time_ms";
    if (audit_int(request, "offset") != field_int(row[LOG_OFFSET]))
        return "log_offset";
    if (strcmp(audit_text(request, "client"), row[CLIENT] ? row[CLIENT] : "") != 0)
        return "client";
    if (row[REQUEST_ID] && strcmp(audit_text(request, "id"), row[REQUEST_ID]) != 0)
        return "request_id";
    return NULL;
}

static void fold_row(struct audit *audit, MYSQL_ROW row, size_t event_len)
{
    char id[AUDIT_AT_LEN];
    audit_at(id, "%s-%s", row[PART], row[SEQ]);
    audit->counts.decisions++;
    json_t *event = json_loadb(row[EVENT], event_len, 0, NULL);
    if (!event) {
        audit_differ(audit, "decision_unreadable", id, "the decision's event is not JSON");
        return;
    }
    const char *column = find_contradiction(row, event, id);
    if (column) {
        audit_differ(audit, "decision_contradicts", id,
                     "the decision's %s is not what its event says", column);
    }
    fold_event(audit, json_object_get(event, "data"));
    json_decref(event);
}

/* Sequences are 1, 2, 3 … up to the partition's last_seq. */
struct expected {
    int32_t part;
    int64_t seq; /* the last one seen */
};

static void check_end(struct audit *audit, const struct expected *e)
{
    char at[AUDIT_AT_LEN];
    if (e->part >= audit->farm.partitions)
        return;
    int64_t last = audit->parts[e->part].last_seq;
    if (e->seq != last) {
        audit_differ(audit, "sequence_end", audit_at(at, "%" PRId32 "-%" PRId64, e->part, e->seq),
                     "the partition's last sequence is %" PRId64
                     ", the last decision's is %" PRId64,
                     last, e->seq);
    }
}

static void check_sequence(struct audit *audit, struct expected *e, MYSQL_ROW row)
{
    int32_t part = (int32_t)field_int(row[PART]);
    int64_t seq = field_int(row[SEQ]);
    char at[AUDIT_AT_LEN];
    while (e->part < part) {
        check_end(audit, e);
        *e = (struct expected){.part = e->part + 1};
    }
    if (seq != e->seq + 1) {
        audit_differ(audit, "sequence_gap", audit_at(at, "%" PRId32 "-%" PRId64, part, e->seq + 1),
                     "there are no decisions %" PRId64 " to %" PRId64, e->seq + 1, seq - 1);
    }
    e->seq = seq;
}

enum err audit_fold(struct audit *audit, struct failure *f)
{
    struct mysql_session *session = audit->admin->session;
    MYSQL_RES *res = NULL;
    enum err err = mysql_session_stream(session, "read decisions", DECISIONS_SQL,
                                        strlen(DECISIONS_SQL), &res, f);
    if (err != ERR_OK)
        return err;
    struct expected expected = {0};
    MYSQL_ROW row;
    while ((row = mysql_fetch_row(res))) {
        check_sequence(audit, &expected, row);
        fold_row(audit, row, mysql_fetch_lengths(res)[EVENT]);
    }
    err = mysql_session_stream_end(session, "read decisions", f);
    mysql_free_result(res);
    for (; expected.part < audit->farm.partitions;
         expected = (struct expected){expected.part + 1, 0})
        check_end(audit, &expected);
    apply_displacements(audit);
    return err;
}
