/* Each machine's use over time, by what the events leave bookings with. */
#include "admin/audit/follow.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/mem.h"

/* Suspicions checked after each event. */
#define EXPLAINED_MAX 256
/* Room of a list at first. */
#define FIRST_ROOM    256

/* Makes room for `count` items of `size` bytes; new ones are zeroed. */
static void *grown(void *list, size_t count, size_t *room, size_t size)
{
    size_t old = *room;
    if (count <= old)
        return list;
    *room = count < FIRST_ROOM / 2 ? FIRST_ROOM : 2 * count;
    list = xrealloc(list, *room * size);
    memset((char *)list + old * size, 0, (*room - old) * size);
    return list;
}

static struct follow_booking *booking_of(struct follow_fold *fold, struct fold_booking *base)
{
    fold->bookings = grown(fold->bookings, base->index + 1, &fold->booking_room,
                           sizeof(*fold->bookings));
    struct follow_booking **booking = &fold->bookings[base->index];
    if (!*booking) {
        *booking = arena_alloc(fold->arena, sizeof(**booking));
        (*booking)->base = base;
    }
    return *booking;
}

static struct follow_machine *machine_of(struct follow_fold *fold, struct fold_machine *base)
{
    fold->machines = grown(fold->machines, base->index + 1, &fold->machine_room,
                           sizeof(*fold->machines));
    struct follow_machine **machine = &fold->machines[base->index];
    if (!*machine) {
        *machine = arena_alloc(fold->arena, sizeof(**machine));
        (*machine)->base = base;
        (*machine)->changed_ms = -TIMELINE_MS_LIMIT + 1;
        (*machine)->use = timeline_new(fold->pool, INT64_MIN);
    }
    return *machine;
}

bool follow_is_registered(const struct follow_machine *machine)
{
    return machine->base->version > 0;
}

void follow_fold_fini(struct follow_fold *fold)
{
    for (size_t i = 0; i < fold->booking_room; i++) {
        if (fold->bookings[i])
            free(fold->bookings[i]->pieces);
    }
    for (size_t i = 0; i < fold->machine_room; i++) {
        if (fold->machines[i])
            timeline_free(fold->machines[i]->use);
    }
    free(fold->bookings);
    free(fold->machines);
    free(fold->suspicions);
    event_fold_fini(&fold->base);
    pool_free(fold->pool);
    arena_free(fold->scratch);
    arena_free(fold->arena);
}

static int64_t max_ms(int64_t a, int64_t b)
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
    struct finding finding = {.excess.capacity = machine->base->capacity};
    int64_t start_ms = max_ms(suspicion->start_ms, machine->changed_ms);
    /* A machine retires only when no booking holds any of it from then on. */
    if (machine->base->state == MACHINE_RETIRED) {
        finding.excess.capacity = (struct amount){0};
        start_ms = max_ms(start_ms, machine->event.ceil_ms);
    }
    if (!follow_is_registered(machine) || start_ms >= suspicion->end_ms ||
        !is_more(timeline_peak(machine->use, start_ms, suspicion->end_ms), finding.excess.capacity))
        return false;
    timeline_steps(machine->use, start_ms, suspicion->end_ms, find_first, &finding);
    if (finding.found)
        *out = finding.excess;
    return finding.found;
}

/* Suspects the machine if the event made it too full. */
static void look(struct follow_fold *fold, struct follow_suspicion suspicion)
{
    struct follow_excess excess;
    if (!fold->looking ||
        (follow_is_registered(suspicion.machine) && !follow_exceeds(&suspicion, &excess)))
        return;
    suspicion.seen_ms = clock_mono_ms();
    fold->suspicions = grown(fold->suspicions, fold->suspicion_count + 1, &fold->suspicion_room,
                             sizeof(*fold->suspicions));
    fold->suspicions[fold->suspicion_count++] = suspicion;
}

/* Notes, after each event, which suspicions it explains. Very many suspicions are only checked
 * when they are judged, which reports too many events and never too few. */
static void explain(struct follow_fold *fold)
{
    struct follow_excess excess;
    if (fold->suspicion_count > EXPLAINED_MAX)
        return;
    for (size_t i = 0; i < fold->suspicion_count; i++) {
        struct follow_suspicion *suspicion = &fold->suspicions[i];
        if (!suspicion->explained && follow_is_registered(suspicion->machine))
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

/* Which event made the past too full is not known any more. Names the latest one that can have
 * done so: a booking's, or the last change of capacity. */
static struct follow_event find_culprit(const struct follow_fold *fold,
                                        const struct follow_machine *machine, int64_t at_ms)
{
    struct follow_event culprit = machine->event;
    culprit.ceil_ms = machine->changed_ms;
    for (size_t i = 0; i < fold->booking_room; i++) {
        const struct follow_booking *booking = fold->bookings[i];
        if (booking && booking->event.ceil_ms >= culprit.ceil_ms &&
            holds_at(booking, machine, at_ms))
            culprit = booking->event;
    }
    return culprit;
}

void follow_fold_look(struct follow_fold *fold)
{
    fold->looking = true;
    for (size_t i = 0; i < fold->machine_room; i++) {
        struct follow_suspicion suspicion = {
            .machine = fold->machines[i],
            .start_ms = -TIMELINE_MS_LIMIT + 1,
            .end_ms = TIMELINE_FOREVER,
        };
        struct follow_excess excess = {0};
        if (!suspicion.machine)
            continue;
        if (follow_is_registered(suspicion.machine) && !follow_exceeds(&suspicion, &excess))
            continue;
        suspicion.event = follow_is_registered(suspicion.machine)
                              ? find_culprit(fold, suspicion.machine, excess.at_ms)
                              : suspicion.machine->event;
        look(fold, suspicion);
    }
}

/* Cuts the piece to what the timeline's sums can still take. Only forged events reach that limit,
 * and it is far over any capacity. */
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

/* Removes what the booking holds from the instant on, and makes room for `more` pieces. */
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

/* Removes what the booking held from the event on or, if a version is missing that may have moved
 * the booking, all of it. Returns the instant from which on the event tells what the booking
 * holds. */
static int64_t renew(struct follow_fold *fold, struct follow_booking *booking, int64_t old_version,
                     int64_t start_ms)
{
    const struct fold_booking *base = booking->base;
    int64_t now_ms = fold->event.ceil_ms;
    bool next = base->version - 1 == old_version;
    int64_t begin_ms = next && old_version > 0 ? booking->start_ms : start_ms;
    bool begun = base->version > 1 && begin_ms < now_ms;
    cut_pieces(booking, next && begun ? now_ms : INT64_MIN, base->share_count);
    if (base->state == BOOKING_CANCELLED)
        cut_pieces(booking, INT64_MIN, 0);
    booking->start_ms = start_ms;
    booking->event = fold->event;
    return begun ? now_ms : start_ms;
}

/* The booking has a newer version. */
static void on_booking(void *arg, struct fold_booking *base, int64_t old_version, bool in_short)
{
    struct follow_fold *fold = arg;
    struct follow_booking *booking = booking_of(fold, base);
    int64_t from_ms = renew(fold, booking, old_version,
                            in_short ? booking->start_ms : base->start_ms);
    for (size_t i = 0; base->state == BOOKING_BOOKED && i < base->share_count; i++) {
        struct follow_machine *machine = machine_of(fold, base->shares[i].machine);
        if (!follow_is_registered(machine))
            machine->event = fold->event;
        add_piece(booking, (struct follow_piece){
                               .machine = machine,
                               .start_ms = from_ms,
                               .end_ms = base->end_ms,
                               .amount = base->shares[i].amount,
                           });
        if (from_ms < base->end_ms) {
            look(fold, (struct follow_suspicion){
                           .machine = machine,
                           .event = fold->event,
                           .start_ms = from_ms,
                           .end_ms = base->end_ms,
                       });
        }
    }
}

static bool is_same(struct amount a, struct amount b)
{
    return a.gpus == b.gpus && a.memory_gib == b.memory_gib;
}

/* Notes from when on the capacity counts: from the latest change, unless it is the first one. If
 * events arrive in another order than they were made, it may count from later on than it does,
 * never from earlier. */
static void note_change(struct follow_machine *machine, const struct fold_machine *before,
                        const struct machine_view *told, const struct follow_event *event)
{
    if (before->version == 0) {
        int64_t from_ms = told->version == 1 ? event->floor_ms : event->ceil_ms;
        machine->changed_ms = max_ms(machine->changed_ms, from_ms);
    } else if (!is_same(told->capacity, before->capacity)) {
        machine->changed_ms = max_ms(machine->changed_ms, event->ceil_ms);
        if (told->version < before->version)
            machine->changed_ms = max_ms(machine->changed_ms, machine->event.ceil_ms);
    }
}

/* An event told of the machine. */
static void on_machine(void *arg, struct fold_machine *base, const struct fold_machine *before,
                       const struct machine_view *told)
{
    struct follow_fold *fold = arg;
    struct follow_machine *machine = machine_of(fold, base);
    note_change(machine, before, told, &fold->event);
    if (base->version == before->version)
        return;
    machine->event = fold->event;
    look(fold, (struct follow_suspicion){
                   .machine = machine,
                   .event = fold->event,
                   .start_ms = machine->changed_ms,
                   .end_ms = TIMELINE_FOREVER,
               });
}

void follow_fold_init(struct follow_fold *fold)
{
    *fold = (struct follow_fold){.arena = arena_new(), .scratch = arena_new(), .pool = pool_new()};
    event_fold_init(&fold->base, &(struct fold_watch){fold, on_booking, on_machine});
}

bool follow_fold_event(struct follow_fold *fold, int32_t part, int64_t seq, const char *bytes,
                       size_t len)
{
    struct event_view event;
    struct failure f;
    arena_reset(fold->scratch);
    bool good = event_read(bytes, len, fold->scratch, &event, &f) == ERR_OK && event.part == part &&
                event.seq == seq;
    if (good) {
        fold->event = (struct follow_event){part, seq, time_floor_s(event.time_ms),
                                            time_ceil_s(event.time_ms)};
        bool sound = !event_fold_take(&fold->base, &event, fold->scratch);
        good = sound && (event.kind != EVENT_ACCEPTED || event.duplicate_of || !event.fault);
    }
    explain(fold);
    return good;
}
