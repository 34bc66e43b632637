/* What the events leave machines with: the highest version of each thing counts, whatever the order
 * in which partitions show them. */
#include "admin/audit/follow.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "admin/audit/audit.h"
#include "core/limits.h"
#include "lib/base/clock.h"
#include "lib/base/mem.h"
#include "lib/base/timetext.h"
#include "lib/codec/event.h"

/* Suspicions that are looked at after each event. */
#define EXPLAINED_MAX 256

/* --- the maps --- */

static bool booking_has_id(const void *value, const void *key)
{
    return ((const struct follow_booking *)value)->id == *(const int64_t *)key;
}

static bool machine_has_name(const void *value, const void *key)
{
    return strcmp(((const struct follow_machine *)value)->name, key) == 0;
}

/* Makes room for one more in a list. */
static void *grown(void *list, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return list;
    *room = count ? 2 * count : 256;
    return xrealloc(list, *room * size);
}

static struct follow_booking *need_booking(struct follow_fold *fold, int64_t id)
{
    uint64_t hash = map_hash_int(id);
    struct follow_booking *booking = map_get(&fold->bookings, hash, booking_has_id, &id);
    if (booking)
        return booking;
    size_t count = fold->bookings.count;
    booking = arena_alloc(fold->arena, sizeof(*booking));
    booking->id = id;
    fold->booking_list = grown(fold->booking_list, count, &fold->booking_room,
                               sizeof(*fold->booking_list));
    fold->booking_list[count] = booking;
    map_put(&fold->bookings, hash, booking);
    return booking;
}

static struct follow_machine *need_machine(struct follow_fold *fold, const char *name)
{
    uint64_t hash = map_hash_text(MAP_SEED, name);
    struct follow_machine *machine = map_get(&fold->machines, hash, machine_has_name, name);
    if (machine)
        return machine;
    size_t count = fold->machines.count;
    machine = arena_alloc(fold->arena, sizeof(*machine));
    machine->name = arena_strdup(fold->arena, name);
    machine->changed_ms = -TIMELINE_MS_LIMIT + 1;
    machine->use = timeline_new(fold->pool, INT64_MIN);
    fold->machine_list = grown(fold->machine_list, count, &fold->machine_room,
                               sizeof(*fold->machine_list));
    fold->machine_list[count] = machine;
    map_put(&fold->machines, hash, machine);
    return machine;
}

void follow_fold_init(struct follow_fold *fold)
{
    *fold = (struct follow_fold){.arena = arena_new(), .pool = pool_new()};
}

void follow_fold_fini(struct follow_fold *fold)
{
    for (size_t i = 0; i < fold->bookings.count; i++)
        free(fold->booking_list[i]->pieces);
    for (size_t i = 0; i < fold->machines.count; i++)
        timeline_free(fold->machine_list[i]->use);
    map_fini(&fold->bookings);
    map_fini(&fold->machines);
    free(fold->booking_list);
    free(fold->machine_list);
    free(fold->suspicions);
    pool_free(fold->pool);
    arena_free(fold->arena);
}

/* --- suspicions --- */

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static bool is_more(struct amount use, struct amount capacity)
{
    return use.gpus > capacity.gpus || use.memory_gib > capacity.memory_gib;
}

struct finding {
    struct follow_excess excess;
    bool found;
};

static bool find_first(void *arg, int64_t start_ms, int64_t end_ms, struct amount use)
{
    struct finding *finding = arg;
    (void)end_ms;
    finding->found = is_more(use, finding->excess.capacity);
    finding->excess.at_ms = start_ms;
    finding->excess.use = use;
    return !finding->found;
}

bool follow_exceeds(const struct follow_suspicion *suspicion, struct follow_excess *out)
{
    const struct follow_machine *machine = suspicion->machine;
    struct finding finding = {.excess.capacity = machine->capacity};
    int64_t start_ms = later(suspicion->start_ms, machine->changed_ms);
    /* A machine retires only when it holds nothing from then on. */
    if (machine->state == MACHINE_RETIRED) {
        finding.excess.capacity = (struct amount){0};
        start_ms = later(start_ms, machine->event.ceil_ms);
    }
    if (!machine->registered || start_ms >= suspicion->end_ms ||
        !is_more(timeline_peak(machine->use, start_ms, suspicion->end_ms), finding.excess.capacity))
        return false;
    timeline_steps(machine->use, start_ms, suspicion->end_ms, find_first, &finding);
    if (finding.found)
        *out = finding.excess;
    return finding.found;
}

/* Looks at what the event did to the machine. */
static void look(struct follow_fold *fold, struct follow_suspicion suspicion)
{
    struct follow_excess excess;
    if (!fold->looking || (suspicion.machine->registered && !follow_exceeds(&suspicion, &excess)))
        return;
    suspicion.seen_ms = clock_mono_ms();
    fold->suspicions = grown(fold->suspicions, fold->suspicion_count, &fold->suspicion_room,
                             sizeof(*fold->suspicions));
    fold->suspicions[fold->suspicion_count++] = suspicion;
}

/* After each event. With very many suspicions they are only looked at when they are judged, which
 * names too many events and none too few. */
static void explain(struct follow_fold *fold)
{
    struct follow_excess excess;
    if (fold->suspicion_count > EXPLAINED_MAX)
        return;
    for (size_t i = 0; i < fold->suspicion_count; i++) {
        struct follow_suspicion *suspicion = &fold->suspicions[i];
        if (!suspicion->explained && suspicion->machine->registered)
            suspicion->explained = !follow_exceeds(suspicion, &excess);
    }
}

static bool holds_at(const struct follow_booking *booking, const struct follow_machine *machine,
                     int64_t at_ms)
{
    for (size_t i = 0; i < booking->piece_count; i++) {
        const struct follow_piece *piece = &booking->pieces[i];
        if (piece->machine == machine && piece->start_ms <= at_ms && at_ms < piece->end_ms)
            return true;
    }
    return false;
}

/* Which event made the past too full is not known any more: the latest one that can have done so,
 * a booking's or the last change of capacity. */
static struct follow_event find_culprit(const struct follow_fold *fold,
                                        const struct follow_machine *machine, int64_t at_ms)
{
    struct follow_event culprit = machine->event;
    culprit.ceil_ms = machine->changed_ms;
    for (size_t i = 0; i < fold->bookings.count; i++) {
        const struct follow_booking *booking = fold->booking_list[i];
        if (booking->event.ceil_ms >= culprit.ceil_ms && holds_at(booking, machine, at_ms))
            culprit = booking->event;
    }
    return culprit;
}

void follow_fold_look(struct follow_fold *fold)
{
    fold->looking = true;
    for (size_t i = 0; i < fold->machines.count; i++) {
        struct follow_suspicion suspicion = {
            .machine = fold->machine_list[i],
            .start_ms = -TIMELINE_MS_LIMIT + 1,
            .end_ms = TIMELINE_FOREVER,
        };
        struct follow_excess excess = {0};
        if (suspicion.machine->registered && !follow_exceeds(&suspicion, &excess))
            continue;
        suspicion.event = suspicion.machine->registered
                              ? find_culprit(fold, suspicion.machine, excess.at_ms)
                              : suspicion.machine->event;
        look(fold, suspicion);
    }
}

/* --- what a booking holds --- */

/* Sums on a timeline have a limit, which only somebody else's events can reach: what goes beyond it
 * is cut, and is far over any capacity nevertheless. */
static void cut_to_limit(struct follow_piece *piece)
{
    struct amount peak = timeline_peak(piece->machine->use, piece->start_ms, piece->end_ms);
    int64_t gpus = TIMELINE_AMOUNT_LIMIT - peak.gpus;
    int64_t memory_gib = TIMELINE_AMOUNT_LIMIT - peak.memory_gib;
    piece->amount.gpus = piece->amount.gpus < gpus ? piece->amount.gpus : gpus;
    piece->amount.memory_gib = piece->amount.memory_gib < memory_gib ? piece->amount.memory_gib
                                                                     : memory_gib;
}

static void add_piece(struct follow_booking *booking, struct follow_piece piece)
{
    if (piece.start_ms >= piece.end_ms)
        return;
    cut_to_limit(&piece);
    if (piece.amount.gpus == 0 && piece.amount.memory_gib == 0)
        return;
    timeline_add(piece.machine->use, piece.start_ms, piece.end_ms, piece.amount);
    booking->pieces[booking->piece_count++] = piece;
}

/* Takes all away from the instant on, and leaves room for `more` pieces. */
static void cut_pieces(struct follow_booking *booking, int64_t cut_ms, size_t more)
{
    struct follow_piece *old = booking->pieces;
    size_t count = booking->piece_count;
    booking->pieces = count + more > 0 ? xcalloc(count + more, sizeof(*booking->pieces)) : NULL;
    booking->piece_count = 0;
    for (size_t i = 0; i < count; i++)
        timeline_remove(old[i].machine->use, old[i].start_ms, old[i].end_ms, old[i].amount);
    for (size_t i = 0; i < count; i++) {
        old[i].end_ms = old[i].end_ms < cut_ms ? old[i].end_ms : cut_ms;
        add_piece(booking, old[i]);
    }
    free(old);
}

/* What an event says of a booking. */
struct step {
    const struct follow_event *event;
    int64_t version, start_ms;
    size_t shares;
};

/* Moves the booking on to a version; false: that one is passed already. What it held before stays
 * only when no version between is missing, since that one may have moved it. *from_ms: from here on
 * the event says what it holds. */
static bool renew(struct follow_booking *booking, const struct step *step, int64_t *from_ms)
{
    if (step->version <= booking->version)
        return false;
    bool next = step->version - 1 == booking->version;
    int64_t begin_ms = next && booking->version > 0 ? booking->start_ms : step->start_ms;
    bool begun = step->version > 1 && begin_ms < step->event->ceil_ms;
    *from_ms = begun ? step->event->ceil_ms : step->start_ms;
    cut_pieces(booking, next && begun ? step->event->ceil_ms : INT64_MIN, step->shares);
    booking->version = step->version;
    booking->start_ms = step->start_ms;
    booking->event = *step->event;
    return true;
}

/* --- reading --- */

static bool is_time(int64_t ms)
{
    return ms >= 0 && ms <= LIMIT_TIME_S * 1000;
}

static bool read_amount(const json_t *object, struct amount *out)
{
    *out = audit_amount(object);
    return json_is_object(object) && out->gpus >= 0 && out->gpus <= LIMIT_GPUS &&
           out->memory_gib >= 0 && out->memory_gib <= LIMIT_MEMORY_GIB;
}

static bool read_share(struct follow_fold *fold, const json_t *share, struct follow_piece *out)
{
    const char *name = audit_text(share, "machine");
    if (!name_is_valid(name, LIMIT_NAME_LEN, NULL) || !read_amount(share, &out->amount))
        return false;
    out->machine = need_machine(fold, name);
    return true;
}

static bool take_booking(struct follow_fold *fold, int64_t id, const json_t *data,
                         const struct follow_event *event)
{
    const json_t *shares = json_object_get(data, "allocations");
    enum booking_state state = booking_state_from_name(audit_text(data, "state"));
    int64_t version = audit_int(data, "version");
    int64_t start_ms = audit_time(data, "start"), end_ms = audit_time(data, "end");
    int64_t from_ms;
    if (id <= 0 || version <= 0 || state == BOOKING_STATE_COUNT || !is_time(start_ms) ||
        !is_time(end_ms))
        return false;
    struct follow_booking *booking = need_booking(fold, id);
    struct step step = {event, version, start_ms, json_array_size(shares)};
    if (!renew(booking, &step, &from_ms))
        return true;
    if (state == BOOKING_CANCELLED)
        cut_pieces(booking, INT64_MIN, 0);
    bool good = true;
    for (size_t i = 0; state == BOOKING_BOOKED && i < json_array_size(shares); i++) {
        struct follow_piece piece = {.start_ms = from_ms, .end_ms = end_ms};
        if (!read_share(fold, json_array_get(shares, i), &piece)) {
            good = false;
            continue;
        }
        if (!piece.machine->registered)
            piece.machine->event = *event;
        add_piece(booking, piece);
        if (from_ms < end_ms) {
            look(fold, (struct follow_suspicion){
                           .machine = piece.machine,
                           .event = *event,
                           .start_ms = from_ms,
                           .end_ms = end_ms,
                       });
        }
    }
    return good;
}

/* Its occurrences that were booked or ended. */
static bool take_series(struct follow_fold *fold, const json_t *occurrences,
                        const struct follow_event *event)
{
    const json_t *occurrence;
    size_t i;
    bool good = true;
    json_array_foreach(occurrences, i, occurrence)
    {
        int64_t id = audit_int(occurrence, "booking");
        if (id != 0)
            good = take_booking(fold, id, occurrence, event) && good;
    }
    return good;
}

static bool take_displaced(struct follow_fold *fold, const json_t *data,
                           const struct follow_event *event)
{
    enum booking_state state = booking_state_from_name(audit_text(data, "state"));
    int64_t id = audit_int(data, "id"), version = audit_int(data, "version");
    if (id <= 0 || version <= 0 || state == BOOKING_STATE_COUNT)
        return false;
    struct follow_booking *booking = need_booking(fold, id);
    int64_t from_ms;
    struct step step = {event, version, booking->start_ms, 0};
    if (renew(booking, &step, &from_ms) && state == BOOKING_CANCELLED)
        cut_pieces(booking, INT64_MIN, 0);
    return true;
}

static bool is_same(struct amount a, struct amount b)
{
    return a.gpus == b.gpus && a.memory_gib == b.memory_gib;
}

/* A capacity that is not the first one counts from the latest change on. When events were seen in
 * another order than they were made, it may count from later on than it does, never from earlier. */
static void note_change(struct follow_machine *machine, int64_t version, struct amount capacity,
                        const struct follow_event *event)
{
    if (!machine->registered) {
        int64_t from_ms = version == 1 ? event->floor_ms : event->ceil_ms;
        machine->changed_ms = later(machine->changed_ms, from_ms);
    } else if (!is_same(capacity, machine->capacity)) {
        machine->changed_ms = later(machine->changed_ms, event->ceil_ms);
        if (version < machine->version)
            machine->changed_ms = later(machine->changed_ms, machine->event.ceil_ms);
    }
}

static bool take_machine(struct follow_fold *fold, const json_t *data,
                         const struct follow_event *event)
{
    const char *name = audit_text(data, "name");
    int64_t version = audit_int(data, "version");
    enum machine_state state = machine_state_from_name(audit_text(data, "state"));
    struct amount capacity;
    if (!name_is_valid(name, LIMIT_NAME_LEN, NULL) || version <= 0 ||
        state == MACHINE_STATE_COUNT || !read_amount(data, &capacity))
        return false;
    struct follow_machine *machine = need_machine(fold, name);
    note_change(machine, version, capacity, event);
    machine->registered = true;
    if (version <= machine->version)
        return true;
    machine->version = version;
    machine->capacity = capacity;
    machine->state = state;
    machine->event = *event;
    look(fold, (struct follow_suspicion){
                   .machine = machine,
                   .event = *event,
                   .start_ms = machine->changed_ms,
                   .end_ms = TIMELINE_FOREVER,
               });
    return true;
}

static bool take_data(struct follow_fold *fold, const json_t *data,
                      const struct follow_event *event)
{
    const json_t *booking = json_object_get(data, "booking");
    const json_t *machine = json_object_get(data, "machine");
    const json_t *series = json_object_get(data, "series");
    bool good = true;
    const json_t *displaced;
    size_t i;
    json_array_foreach(json_object_get(data, "displaced"), i, displaced)
        good = take_displaced(fold, displaced, event) && good;
    if (json_is_object(series)) {
        good = take_series(fold, json_object_get(series, "occurrences"), event) && good;
    } else if (json_is_object(booking)) {
        good = take_booking(fold, audit_int(booking, "id"), booking, event) && good;
    }
    if (json_is_object(machine))
        good = take_machine(fold, machine, event) && good;
    return good;
}

/* "2026-11-24T14:37:54.123Z", to whole seconds. */
static bool read_time(const char *text, struct follow_event *out)
{
    const char *dot = strchr(text, '.');
    char whole[TIMETEXT_LEN];
    size_t len = dot ? (size_t)(dot - text) : strlen(text);
    if (len + 2 > sizeof(whole))
        return false;
    memcpy(whole, text, len);
    memcpy(whole + len, dot ? "Z" : "", dot ? 2 : 1);
    if (!timetext_parse(whole, strlen(whole), &out->floor_ms))
        return false;
    out->ceil_ms = out->floor_ms + (dot ? 1000 : 0);
    return true;
}

bool follow_fold_event(struct follow_fold *fold, int32_t part, int64_t seq, const char *bytes,
                       size_t len)
{
    struct follow_event event = {.part = part, .seq = seq};
    json_t *object = bytes ? json_loadb(bytes, len, 0, NULL) : NULL;
    const json_t *data = json_object_get(object, "data");
    char id[48];
    snprintf(id, sizeof(id), "%" PRId32 "-%" PRId64, part, seq);
    bool good = json_is_object(data) && strcmp(audit_text(object, "id"), id) == 0 &&
                read_time(audit_text(object, "time"), &event);
    bool accepted = good && strcmp(audit_text(object, "type"), EVENT_TYPE_ACCEPTED) == 0;
    if (accepted && !json_object_get(data, "duplicate_of"))
        good = take_data(fold, data, &event);
    explain(fold);
    json_decref(object);
    return good;
}
