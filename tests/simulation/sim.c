#include "tests/simulation/sim.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "tests/simulation/batches.h"
#include "tests/simulation/chaos.h"
#include "tests/simulation/check.h"
#include "tests/simulation/client.h"
#include "tests/simulation/cluster.h"
#include "tests/simulation/database.h"
#include "tests/simulation/process.h"

/* A run that is not over by then hangs. */
#define RUN_MAX_US (INT64_C(4000) * 1000 * 1000)
#define TIMERS_MAX INT64_C(20000000)

struct timer {
    int64_t at_us;
    uint64_t number;
    timer_fn *fn;
    void *arg;
    int64_t arg_number;
};

struct sim *sim_now;

/* --- chance --- */

/* splitmix64 (Steele, Lea, Flood 2014). */
uint64_t sim_random(struct sim *sim)
{
    sim->random += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = sim->random;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

int64_t sim_below(struct sim *sim, int64_t below)
{
    assert(below > 0);
    return (int64_t)(sim_random(sim) % (uint64_t)below);
}

int64_t sim_between(struct sim *sim, int64_t low, int64_t high)
{
    assert(low <= high);
    return low + sim_below(sim, high - low + 1);
}

bool sim_chance(struct sim *sim, int64_t per_million)
{
    return per_million > 0 && sim_below(sim, 1000000) < per_million;
}

/* --- time --- */

static bool before(const struct timer *a, const struct timer *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->number < b->number;
}

void sim_at(struct sim *sim, int64_t at_us, timer_fn *fn, void *arg, int64_t number)
{
    if (sim->timer_count == sim->timer_capacity) {
        sim->timer_capacity = sim->timer_capacity ? 2 * sim->timer_capacity : 64;
        sim->timers = xrealloc(sim->timers, sim->timer_capacity * sizeof(*sim->timers));
    }
    struct timer timer = {.at_us = at_us > sim->now_us ? at_us : sim->now_us,
                          .number = ++sim->timer_number,
                          .fn = fn,
                          .arg = arg,
                          .arg_number = number};
    size_t i = sim->timer_count++;
    for (; i > 0 && before(&timer, &sim->timers[(i - 1) / 2]); i = (i - 1) / 2)
        sim->timers[i] = sim->timers[(i - 1) / 2];
    sim->timers[i] = timer;
}

void sim_after_ms(struct sim *sim, int64_t ms, timer_fn *fn, void *arg, int64_t number)
{
    sim_at(sim, sim->now_us + ms * SIM_US_PER_MS, fn, arg, number);
}

static struct timer next_timer(struct sim *sim)
{
    struct timer first = sim->timers[0], last = sim->timers[--sim->timer_count];
    size_t i = 0, count = sim->timer_count;
    for (size_t child; (child = 2 * i + 1) < count; i = child) {
        if (child + 1 < count && before(&sim->timers[child + 1], &sim->timers[child]))
            child++;
        if (!before(&sim->timers[child], &last))
            break;
        sim->timers[i] = sim->timers[child];
    }
    sim->timers[i] = last;
    return first;
}

int64_t sim_wall_ms(const struct sim *sim)
{
    return SIM_EPOCH_MS + sim->now_us / SIM_US_PER_MS;
}

/* --- what happens --- */

static void mix(struct sim *sim, uint64_t value)
{
    sim->digest = (sim->digest ^ value) * UINT64_C(0x100000001b3);
    sim->digest ^= sim->digest >> 29;
}

void sim_note(struct sim *sim, int who, const char *what, int64_t a, int64_t b)
{
    mix(sim, (uint64_t)sim->now_us);
    mix(sim, (uint64_t)who);
    for (const char *c = what; *c; c++)
        mix(sim, (uint64_t)(unsigned char)*c);
    mix(sim, (uint64_t)a);
    mix(sim, (uint64_t)b);
    if (sim->verbose) {
        printf("%12.6f  %3d  %-24s %" PRId64 " %" PRId64 "\n", (double)sim->now_us / 1e6, who, what,
               a, b);
    }
}

void sim_fail(struct sim *sim, const char *format, ...)
{
    if (sim->failed)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(sim->failure, sizeof(sim->failure), format, args);
    va_end(args);
    sim->failed = true;
    if (sim->verbose)
        printf("%12.6f  FAILED: %s\n", (double)sim->now_us / 1e6, sim->failure);
}

char *sim_copy(struct sim *sim, const char *text)
{
    return text ? arena_strdup(sim->arena, text) : NULL;
}

/* --- a run --- */

static void run(struct sim *sim)
{
    int64_t fired = 0;
    while (!sim->failed && sim->timer_count > 0 && !processes_all_ended(sim)) {
        struct timer timer = next_timer(sim);
        assert(timer.at_us >= sim->now_us);
        sim->now_us = timer.at_us;
        timer.fn(sim, timer.arg, timer.arg_number);
        if (sim->now_us > RUN_MAX_US || ++fired > TIMERS_MAX) {
            char what[512];
            check_describe(sim, what, sizeof(what));
            sim_fail(sim, "the run does not end: %s", what);
        }
    }
    if (!sim->failed)
        check_end(sim);
}

static struct sim *sim_new(uint64_t seed, struct batches *batches)
{
    struct sim *sim = xcalloc(1, sizeof(*sim));
    sim->seed = seed;
    sim->random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    sim->arena = arena_new();
    sim->digest = UINT64_C(0xcbf29ce484222325);
    sim->batches = batches;
    plan_make(sim);
    if (batches)
        batches_plan(sim);
    return sim;
}

static void sim_free(struct sim *sim)
{
    arena_free(sim->arena);
    free(sim->timers);
    free(sim);
}

void sim_plan(uint64_t seed, struct plan *out)
{
    struct sim *sim = sim_new(seed, NULL);
    *out = sim->plan;
    sim_free(sim);
}

static void run_and_free(struct sim *sim, struct sim_result *out)
{
    sim_now = sim;
    database_open(sim);
    cluster_open(sim);
    clients_open(sim);
    processes_open(sim);
    chaos_open(sim);
    run(sim);
    if (sim->batches)
        batches_close(sim);
    *out = (struct sim_result){.failed = sim->failed, .digest = sim->digest};
    memcpy(out->failure, sim->failure, sizeof(out->failure));
    out->count = sim->count;
    out->plan = sim->plan;
    processes_close(sim);
    cluster_close(sim);
    clients_close(sim);
    database_close(sim);
    sim_free(sim);
    sim_now = NULL;
}

void sim_run(uint64_t seed, bool verbose, struct sim_result *out)
{
    struct sim *sim = sim_new(seed, NULL);
    sim->verbose = verbose;
    run_and_free(sim, out);
}

void sim_run_batches(uint64_t seed, struct batches *batches, struct sim_result *out)
{
    run_and_free(sim_new(seed, batches), out);
}
