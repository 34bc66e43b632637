#include "tests/simulation/plan.h"

#include <assert.h>

#include "tests/simulation/sim.h"

/* Every so many seeds sign their requests for real. */
#define REAL_KEYS_EVERY   16
/* Of a hundred seeds, so many run without any fault, and so many with a disaster. */
#define CALM_PERCENT      4
#define DISASTER_PERCENT  40
/* Of the seeds without a disaster, every so many has this one: a draw would change all others. */
#define FAILED_OVER_EVERY 12

const char *disaster_name(enum disaster_kind kind)
{
    static const char *const names[DISASTER_KIND_COUNT] = {
        [DISASTER_NONE] = "none",
        [DISASTER_REQUESTS_CUT] = "requests cut",
        [DISASTER_REQUESTS_REMADE] = "requests made anew",
        [DISASTER_REQUESTS_EXPIRED] = "requests expired",
        [DISASTER_EVENTS_REMADE] = "events made anew",
        [DISASTER_RESTORED] = "database restored",
        [DISASTER_RESTORED_LIVE] = "database restored under running workers",
        [DISASTER_EVENTS_AHEAD] = "events ahead",
        [DISASTER_CLOCK_AHEAD] = "clock a month ahead",
        [DISASTER_NO_TIME] = "no append time",
        [DISASTER_POISON] = "poison",
        [DISASTER_UNWRITABLE] = "unwritable",
        [DISASTER_OTHER_CLUSTER] = "other cluster",
        [DISASTER_FAILED_OVER] = "database failed over",
        [DISASTER_UNREADABLE] = "unreadable",
    };
    assert(kind < DISASTER_KIND_COUNT);
    return names[kind];
}

/* Rare in most seeds that have it, often in some. */
static int64_t rate(struct sim *sim, int64_t percent_of_seeds, int64_t rare, int64_t often)
{
    if (sim_below(sim, 100) >= percent_of_seeds)
        return 0;
    return sim_chance(sim, 700000) ? rare : often;
}

static void plan_size(struct sim *sim, struct plan *plan)
{
    plan->workers = (int)sim_between(sim, 1, PLAN_WORKERS_MAX);
    plan->partitions = (int)sim_between(sim, 1, PLAN_PARTITIONS_MAX);
    plan->machines = (int)sim_between(sim, 1, 5);
    plan->clients = (int)sim_between(sim, 2, 5);
    plan->requests = (int)sim_between(sim, 10, sim_chance(sim, 100000) ? 250 : 90);
    plan->workload_ms = sim_between(sim, 5000, 45000);
    plan->latency_us = sim_chance(sim, 200000) ? 15000 : sim_between(sim, 200, 3000);
    plan->batch_max = sim_chance(sim, 300000) ? sim_between(sim, 1, 3) : sim_between(sim, 4, 60);
    plan->batch_max_bytes = 64 * 1024;
    plan->unpublished_max = plan->batch_max + sim_between(sim, 1, 20);
    plan->queue_max = sim_chance(sim, 200000) ? sim_between(sim, 1, 6) : 1000;
    plan->garbage = 40000;
    plan->limits = sim_chance(sim, 600000);
    plan->wrong_key = sim_chance(sim, 500000) ? 150000 : 10000;
    plan->repeated = sim_chance(sim, 500000) ? 200000 : 40000;
    plan->clock_skew_ms = sim_chance(sim, 600000) ? sim_between(sim, 0, 30000) : 0;
}

static void plan_faults(struct sim *sim, struct plan *plan)
{
    plan->crash = rate(sim, 50, 300, 2500);
    plan->pause = rate(sim, 50, 300, 2000);
    plan->delay = rate(sim, 40, 500, 5000);
    plan->store_error = rate(sim, 50, 3000, 40000);
    plan->store_cut = rate(sim, 50, 1500, 15000);
    plan->commit_lost = rate(sim, 60, 30000, 250000);
    plan->broker_error = rate(sim, 50, 2000, 30000);
    plan->delivery_failed = rate(sim, 40, 4000, 50000);
    plan->queue_full = rate(sim, 30, 20000, 200000);
    plan->delivery_slow = rate(sim, 40, 50000, 500000);
    plan->prefetch = rate(sim, 30, 20000, 200000);
    plan->chaos_ms = rate(sim, 70, 4000, 1000);
    plan->outages = sim_chance(sim, 500000);
    plan->rebalances = sim_chance(sim, 600000);
    plan->restarts = sim_chance(sim, 500000);
    plan->kills = sim_chance(sim, 500000);
    plan->strangers = sim_chance(sim, 300000);
    plan->keys = sim_chance(sim, 300000);
    plan->holes = sim_chance(sim, 300000);
    plan->retention = sim_chance(sim, 300000);
    plan->clock_jumps = sim_chance(sim, 60000);
    plan->host_skew_ms = sim_chance(sim, 300000) ? 200000 : 0;
}

/* What shows the disaster best, and what would hide it. */
static void plan_disaster(struct sim *sim, struct plan *plan)
{
    if (plan->disaster != DISASTER_NONE)
        plan->clock_jumps = false;
    switch (plan->disaster) {
    case DISASTER_REQUESTS_CUT:
    case DISASTER_REQUESTS_REMADE:
        plan->garbage = plan->repeated = 0; /* what has the same bytes is no other message */
        break;
    case DISASTER_RESTORED:
    case DISASTER_RESTORED_LIVE:
    case DISASTER_EVENTS_AHEAD:
        plan->retention = false; /* where no event is left, none is ahead */
        /* One of several may see nothing of it. */
        plan->workers = (int)sim_between(sim, 2, PLAN_WORKERS_MAX);
        plan->partitions = (int)sim_between(sim, 3, PLAN_PARTITIONS_MAX);
        break;
    case DISASTER_FAILED_OVER:
        plan->keys = plan->retention = false;
        plan->workers = (int)sim_between(sim, 3, PLAN_WORKERS_MAX); /* two that go on */
        plan->partitions = (int)sim_between(sim, 3, PLAN_PARTITIONS_MAX);
        plan->machines = (int)sim_between(sim, 1, 3);
        plan->wrong_key = 300000;     /* a machine's requests are decided by several workers */
        plan->delivery_slow = 500000; /* and commits are not published at once */
        break;
    case DISASTER_POISON:
        plan->crash = 0; /* then nothing else halts a partition */
        plan->kills = false;
        plan->partitions = (int)sim_between(sim, 2, PLAN_PARTITIONS_MAX);
        break;
    case DISASTER_UNWRITABLE:
        plan->partitions = (int)sim_between(sim, 2, PLAN_PARTITIONS_MAX);
        break;
    default:
        break;
    }
}

void plan_make(struct sim *sim)
{
    struct plan *plan = &sim->plan;
    *plan = (struct plan){.real_keys = sim->seed % REAL_KEYS_EVERY == 0};
    plan_size(sim, plan);
    int64_t percent = sim_below(sim, 100);
    if (percent >= CALM_PERCENT)
        plan_faults(sim, plan);
    if (percent >= 100 - DISASTER_PERCENT) {
        /* Two of them twice: what they show takes some luck. */
        int64_t kind = sim_between(sim, DISASTER_NONE + 1, DISASTER_FAILED_OVER + 1);
        plan->disaster = kind == DISASTER_FAILED_OVER  ? DISASTER_POISON
                         : kind > DISASTER_FAILED_OVER ? DISASTER_RESTORED_LIVE
                         : kind == DISASTER_NO_TIME && sim->seed % 2 == 0
                             ? DISASTER_UNREADABLE
                             : (enum disaster_kind)kind;
    } else if (percent >= CALM_PERCENT && sim->seed % FAILED_OVER_EVERY == 0) {
        plan->disaster = DISASTER_FAILED_OVER;
    }
    plan_disaster(sim, plan);
}
