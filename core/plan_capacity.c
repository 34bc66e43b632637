/* Capacity: whether a plan fits, which machines `any` gets, and the next start at which all
 * fits. */
#include "core/plan.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void assert_known(const struct plan *plan, const struct machine *machine)
{
    assert(machine->timeline);
    assert(timeline_covers(machine->timeline, plan->from_ms));
}

/* The capacity less the highest use in the plan's window, for each component. It is below 0 where
 * use is above a capacity that was lowered. */
static struct amount room_on(const struct plan *plan, const struct machine *machine)
{
    assert_known(plan, machine);
    return amount_minus(machine->capacity,
                        timeline_peak(machine->timeline, plan->from_ms, plan->end_ms));
}

/* What a rejection shows as free. */
static struct amount free_on(const struct plan *plan, const struct machine *machine)
{
    struct amount room = room_on(plan, machine);
    return (struct amount){int_max(room.gpus, 0), int_max(room.memory_gib, 0)};
}

/* --- the next start --- */

/* A machine for one part of the plan, and the earliest start, from the search's position on, at
 * which that part fits on it. */
struct candidate {
    const struct machine *machine;
    struct amount amount;
    int64_t start_ms;
};

/* Candidates as a binary heap, the earliest start on top. */
struct search {
    struct timeline_search window; /* all but capacity, need and from */
    struct candidate *heap;
    size_t count;
    int64_t steps_left;
};

static void heap_push(struct search *search, struct candidate candidate)
{
    size_t i = search->count++;
    while (i > 0 && search->heap[(i - 1) / 2].start_ms > candidate.start_ms) {
        search->heap[i] = search->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    search->heap[i] = candidate;
}

static struct candidate heap_pop(struct search *search)
{
    assert(search->count > 0);
    struct candidate top = search->heap[0];
    struct candidate last = search->heap[--search->count];
    size_t i = 0;
    for (size_t child = 1; child < search->count; child = 2 * i + 1) {
        if (child + 1 < search->count &&
            search->heap[child + 1].start_ms < search->heap[child].start_ms)
            child++;
        if (search->heap[child].start_ms >= last.start_ms)
            break;
        search->heap[i] = search->heap[child];
        i = child;
    }
    search->heap[i] = last;
    return top;
}

/* Puts the candidate into the heap with its earliest start from `from_ms` on; a candidate without
 * any drops out. */
static void search_add(struct search *search, struct candidate candidate, int64_t from_ms)
{
    struct timeline_search window = search->window;
    window.capacity = candidate.machine->capacity;
    window.need = candidate.amount;
    window.from_ms = from_ms;
    if (timeline_earliest(candidate.machine->timeline, &window, &candidate.start_ms))
        heap_push(search, candidate);
}

/* The earliest start at which `wanted` candidates fit at once; TIME_NONE: there is none, or the
 * steps ran out (steps_left is then below 0).
 *
 * Before the wanted-th of the candidates' earliest starts, fewer than `wanted` fit. So this
 * start is the next one to try, and only the candidates with an earlier start are asked again,
 * for a start from there on. A step is one question to one timeline, and O(log candidates). The
 * questions to one timeline have rising starts, so together they pass each of its change points
 * about once. */
static int64_t search_run(struct search *search, size_t wanted)
{
    struct candidate popped[LIMIT_ALLOCATIONS];
    assert(wanted > 0 && wanted <= LIMIT_ALLOCATIONS);
    while (search->count >= wanted) {
        for (size_t i = 0; i < wanted; i++)
            popped[i] = heap_pop(search);
        int64_t start_ms = popped[wanted - 1].start_ms;
        if (popped[0].start_ms == start_ms)
            return start_ms;
        for (size_t i = 0; i < wanted; i++) {
            if (popped[i].start_ms == start_ms) {
                heap_push(search, popped[i]);
            } else if (--search->steps_left < 0) {
                return TIME_NONE;
            } else {
                search_add(search, popped[i], start_ms);
            }
        }
    }
    return TIME_NONE;
}

static bool all_up(const struct plan *plan)
{
    for (size_t i = 0; i < plan->ask_count; i++) {
        if (plan->asks[i].machine->state != MACHINE_UP)
            return false;
    }
    return true;
}

/* Searches the next start for the decision, unless only the reason counts, and returns a sentence
 * about it. Asks that do not grow need room like the others here: at another start they have none
 * yet. */
static const char *note_next(struct decider *d, const struct plan *plan)
{
    d->out->next_available_ms = TIME_NONE;
    if (d->brief)
        return "";
    if (plan->begun)
        return " A begun booking keeps its start.";
    if (!all_up(plan))
        return " It cannot move while a machine of it is not up.";
    size_t wanted = plan_machine_count(plan);
    size_t all = plan->any ? plan->candidate_count : plan->ask_count;
    int64_t length_ms = plan->end_ms - plan->from_ms;
    struct search search = {
        .window = {.duration_ms = length_ms,
                   .horizon_ms = d->floor_ms + plan_furthest_ms(d) + length_ms},
        .heap = arena_alloc(world_arena(d->world), all * sizeof(struct candidate)),
        .steps_left = LIMIT_SEARCH_STEPS,
    };
    for (size_t i = 0; i < all; i++) {
        struct candidate candidate = {
            .machine = plan->any ? plan->candidates[i] : plan->asks[i].machine,
            .amount = plan->any ? plan->any->amount : plan->asks[i].amount,
        };
        assert_known(plan, candidate.machine);
        search_add(&search, candidate, plan->from_ms);
    }
    d->out->next_available_ms = search_run(&search, wanted);
    if (d->out->next_available_ms != TIME_NONE) {
        return arena_printf(world_arena(d->world), " The earliest start for this length%s is %s.",
                            wanted == 1 ? "" : " on all at once",
                            decide_time_text(d->out->next_available_ms).text);
    }
    return search.steps_left < 0 ? " No later start was found within the search's bound of steps."
                                 : " No later start within the farm's horizon fits.";
}

/* --- named machines --- */

static void note_frees(struct decider *d, const struct plan *plan)
{
    struct share *frees = arena_alloc(world_arena(d->world), plan->ask_count * sizeof(*frees));
    for (size_t i = 0; i < plan->ask_count; i++) {
        const struct machine *machine = plan->asks[i].machine;
        frees[i] = (struct share){.machine = machine->name, .amount = free_on(plan, machine)};
    }
    d->out->free_count = plan->ask_count;
    d->out->frees = frees;
}

static bool reject_full(struct decider *d, const struct plan *plan, const struct ask *ask)
{
    const struct machine *machine = ask->machine;
    struct amount free = free_on(plan, machine);
    const char *next = note_next(d, plan);
    if (!d->brief) {
        note_frees(d, plan);
        d->out->has_free = true;
        d->out->free = free;
    }
    return decider_reject_machine(d, REASON_INSUFFICIENT_CAPACITY, machine->name,
                                  "%s has %s free throughout the window, and %s are asked for.%s",
                                  machine->name, decide_amount_text(free).text,
                                  decide_amount_text(ask->amount).text, next);
}

/* An ask that does not grow fits, because it replaces at least as much; it is not checked. (In a
 * partition whose clock is behind, use may be above a capacity that was lowered later.) */
static bool check_named(struct decider *d, const struct plan *plan)
{
    for (size_t i = 0; i < plan->ask_count; i++) {
        const struct ask *ask = &plan->asks[i];
        if (!ask->grows)
            continue;
        assert_known(plan, ask->machine);
        if (!timeline_fits(ask->machine->timeline, ask->machine->capacity, plan->from_ms,
                           plan->end_ms, ask->amount))
            return reject_full(d, plan, ask);
    }
    return true;
}

/* --- any --- */

bool plan_check_candidates(struct decider *d, const struct plan *plan)
{
    const struct any *any = plan->any;
    int64_t large = 0;
    for (size_t i = 0; i < plan->candidate_count; i++)
        large += amount_within(any->amount, plan->candidates[i]->capacity) ? 1 : 0;
    if (large >= any->count)
        return true;
    d->out->fitting = large;
    return decider_reject(d, REASON_EXCEEDS_MACHINE,
                          "%lld of the %zu machines that are up and carry the labels have %s in "
                          "all; %lld are asked for.",
                          (long long)large, plan->candidate_count,
                          decide_amount_text(any->amount).text, (long long)any->count);
}

/* A machine with room for the request, and the minimum that is free on it in the window. */
struct choice {
    struct machine *machine;
    struct amount free;
};

/* Least free first, so that large gaps are kept. */
static int compare_choices(const void *a, const void *b)
{
    const struct choice *left = a, *right = b;
    if (left->free.gpus != right->free.gpus)
        return left->free.gpus < right->free.gpus ? -1 : 1;
    if (left->free.memory_gib != right->free.memory_gib)
        return left->free.memory_gib < right->free.memory_gib ? -1 : 1;
    return strcmp(left->machine->name, right->machine->name);
}

static bool reject_any(struct decider *d, const struct plan *plan, size_t fitting)
{
    const char *next = note_next(d, plan);
    d->out->fitting = (int64_t)fitting;
    return decider_reject(
        d, REASON_INSUFFICIENT_CAPACITY,
        "%zu of the %zu machines that are up and carry the labels have %s free throughout the "
        "window; %lld are asked for.%s",
        fitting, plan->candidate_count, decide_amount_text(plan->any->amount).text,
        (long long)plan->any->count, next);
}

static bool choose(struct decider *d, struct plan *plan)
{
    const struct any *any = plan->any;
    struct arena *arena = world_arena(d->world);
    struct choice *choices = arena_alloc(arena, plan->candidate_count * sizeof(*choices));
    size_t fitting = 0, wanted = (size_t)any->count;
    for (size_t i = 0; i < plan->candidate_count; i++) {
        struct machine *machine = plan->candidates[i];
        struct amount free = room_on(plan, machine);
        if (amount_within(any->amount, free))
            choices[fitting++] = (struct choice){.machine = machine, .free = free};
    }
    if (fitting < wanted)
        return reject_any(d, plan, fitting);
    qsort(choices, fitting, sizeof(*choices), compare_choices);
    plan->asks = arena_alloc(arena, wanted * sizeof(*plan->asks));
    plan->ask_count = wanted;
    for (size_t i = 0; i < wanted; i++) {
        struct machine *machine = choices[i].machine;
        plan->asks[i] = (struct ask){
            .name = machine->name, .machine = machine, .amount = any->amount, .grows = true};
    }
    return true;
}

bool plan_check_capacity(struct decider *d, struct plan *plan)
{
    assert(plan->from_ms < plan->end_ms);
    return plan->any ? choose(d, plan) : check_named(d, plan);
}
