#include "tests/simulation/process.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/config/service.h"
#include "tests/simulation/cluster.h"
#include "tests/simulation/store_client.h"

#define POLL_MS       50
#define START_WAIT_MS 300
#define RESTART_MS    3000
#define DELAY_MS      4000

/* --- the worker's clocks --- */

static int64_t env_wall_ms(void *arg)
{
    const struct process *p = arg;
    return sim_wall_ms(p->sim) + (p->sim->healed ? 0 : p->wall_skew_ms);
}

static int64_t env_mono_ms(void *arg)
{
    const struct process *p = arg;
    return p->mono_base_ms + p->sim->now_us / SIM_US_PER_MS;
}

static int64_t env_mono_us(void *arg)
{
    const struct process *p = arg;
    return p->mono_base_ms * SIM_US_PER_MS + p->sim->now_us;
}

static void env_sleep_ms(void *arg, int64_t ms)
{
    process_sleep_us(arg, ms * SIM_US_PER_MS);
}

/* --- its life --- */

static bool open_worker(struct process *p)
{
    const struct plan *plan = &p->sim->plan;
    const struct worker_env env = {.arg = p,
                                   .wall_ms = env_wall_ms,
                                   .mono_ms = env_mono_ms,
                                   .mono_us = env_mono_us,
                                   .sleep_ms = env_sleep_ms};
    const struct worker_settings settings = {.name = p->name,
                                             .batch_max = (size_t)plan->batch_max,
                                             .batch_max_bytes = (size_t)plan->batch_max_bytes,
                                             .unpublished_max = plan->unpublished_max};
    while (!p->terminate) {
        struct failure f = {0};
        enum err err = worker_open(&settings, &env, &p->store_port, &p->broker_port, &p->worker,
                                   &f);
        sim_note(p->sim, p->number, "open", err, 0);
        if (err == ERR_OK)
            return true;
        if (!service_can_pass(err)) {
            p->refused = err;
            snprintf(p->refusal, sizeof(p->refusal), "%s", f.text);
            return false;
        }
        process_sleep_us(p, START_WAIT_MS * SIM_US_PER_MS);
    }
    return false;
}

/* As berth-worker's main does. */
static void live(void *arg)
{
    struct process *p = arg;
    if (open_worker(p)) {
        while (!p->terminate)
            worker_step(p->worker, POLL_MS);
        worker_close(p->worker);
        worker_free(p->worker);
        p->worker = NULL;
    }
}

static void start(struct sim *sim, void *arg, int64_t number);

/* Its sockets close, unless its host died. What it had sent may still arrive. */
static void bury(struct process *p)
{
    bool killed = p->dying;
    sim_note(p->sim, p->number, killed ? "killed" : "ended", p->host_died, 0);
    fiber_free(p->fiber);
    p->fiber = NULL;
    worker_free(p->worker);
    p->worker = NULL;
    store_client_gone(p->store, !p->host_died);
    broker_client_gone(p->broker, !killed);
    p->store = NULL;
    p->broker = NULL;
    p->dying = p->host_died = p->terminate = false;
    p->stopped_until_us = 0;
    p->wake_number++;
    if (!p->sim->stopped && p->refused == ERR_OK)
        sim_after_ms(p->sim, sim_between(p->sim, 100, RESTART_MS), start, p, 0);
}

static void resume(struct sim *sim, void *arg, int64_t number)
{
    struct process *p = arg;
    if ((uint64_t)number != p->wake_number || !p->fiber)
        return;
    if (p->stopped_until_us > sim->now_us) {
        sim_at(sim, p->stopped_until_us, resume, p, number);
        return;
    }
    p->wake_number++;
    if (!fiber_resume(p->fiber) || p->dying)
        bury(p);
}

static void resume_at(struct process *p, int64_t at_us)
{
    sim_at(p->sim, at_us, resume, p, (int64_t)++p->wake_number);
}

static void start(struct sim *sim, void *arg, int64_t number)
{
    struct process *p = arg;
    (void)number;
    if (p->fiber || sim->stopped)
        return;
    if (sim->held || sim->now_us < p->away_until_us) {
        sim_after_ms(sim, 100, start, p, 0);
        return;
    }
    p->life = ++sim->count.starts;
    memset(p->claimed_at, 0, sizeof(p->claimed_at));
    p->polled_us = p->failed_attempts = 0;
    sim_note(sim, p->number, "start", 0, 0);
    p->mono_base_ms = sim_between(sim, 1000, 100000000);
    p->store_port = store_client_new(p);
    p->broker_port = broker_client_new(p);
    p->store = p->store_port.self;
    p->broker = p->broker_port.self;
    p->fiber = fiber_new(live, p);
    resume_at(p, sim->now_us);
}

void processes_open(struct sim *sim)
{
    sim->processes = arena_alloc(sim->arena, PLAN_WORKERS_MAX * sizeof(*sim->processes));
    for (int i = 0; i < sim->plan.workers; i++) {
        struct process *p = &sim->processes[i];
        p->sim = sim;
        p->number = i;
        snprintf(p->name, sizeof(p->name), "worker-%d", i);
        if (sim->plan.host_skew_ms > 0)
            p->wall_skew_ms = sim_between(sim, -sim->plan.host_skew_ms, sim->plan.host_skew_ms);
        sim_after_ms(sim, sim_between(sim, 0, 2000), start, p, 0);
    }
    struct process *last = &sim->processes[sim->plan.workers - 1];
    last->other_cluster = sim->plan.disaster == DISASTER_OTHER_CLUSTER && sim->plan.workers > 1;
}

void processes_close(struct sim *sim)
{
    for (int i = 0; i < sim->plan.workers; i++) {
        fiber_free(sim->processes[i].fiber);
        worker_free(sim->processes[i].worker);
    }
}

struct process *process_at(struct sim *sim, int number)
{
    assert(number >= 0 && number < sim->plan.workers);
    return &sim->processes[number];
}

bool processes_all_ended(const struct sim *sim)
{
    for (int i = 0; i < sim->plan.workers; i++) {
        if (sim->processes[i].fiber)
            return false;
    }
    return sim->stopped;
}

void processes_stop(struct sim *sim)
{
    sim->stopped = true;
    for (int i = 0; i < sim->plan.workers; i++)
        process_terminate(&sim->processes[i]);
}

/* --- from within its fiber --- */

void process_wait(struct process *p, int64_t until_us)
{
    assert(fiber_running() == p->fiber);
    resume_at(p, until_us);
    fiber_yield();
}

void process_sleep_us(struct process *p, int64_t us)
{
    /* A wake of whoever waits for something ends the wait only. */
    int64_t until_us = p->sim->now_us + (us > 0 ? us : 0);
    do {
        process_wait(p, until_us);
    } while (p->sim->now_us < until_us);
}

_Noreturn void process_die(struct process *p)
{
    p->dying = true;
    for (;;)
        fiber_yield();
}

/* kill -9 or SIGSTOP, if chance has it. */
static void misfortune(struct process *p, int64_t weight)
{
    struct sim *sim = p->sim;
    const struct plan *plan = &sim->plan;
    if (sim->healed)
        return;
    if (sim_chance(sim, plan->crash * weight)) {
        sim->count.crashes++;
        p->host_died = sim_chance(sim, 300000);
        process_die(p);
    }
    if (sim_chance(sim, plan->pause * weight)) {
        sim->count.pauses++;
        process_suspend_ms(p, sim_chance(sim, 500000) ? sim_between(sim, 50, 3000)
                                                      : sim_between(sim, 3000, 25000));
        process_sleep_us(p, 0);
    }
}

void process_travel(struct process *p)
{
    struct sim *sim = p->sim;
    int64_t longest_us = 2 * sim->plan.latency_us;
    misfortune(p, p->weight);
    if (!sim->healed && sim_chance(sim, sim->plan.delay)) {
        sim->count.faults++;
        longest_us = DELAY_MS * SIM_US_PER_MS;
    }
    process_sleep_us(p, sim_between(sim, 20, longest_us));
}

/* Around these calls a crash or a stop leaves the most behind. */
static int64_t weight_of(const char *what)
{
    static const struct {
        const char *what;
        int64_t weight;
    } weights[] = {
        {"commit", 4},      {"claim", 8},  {"lock_partitions", 4}, {"event_range", 15},
        {"event_tail", 15}, {"outbox", 4}, {"publish", 4},
    };
    for (size_t i = 0; i < sizeof(weights) / sizeof(weights[0]); i++) {
        if (strcmp(what, weights[i].what) == 0)
            return weights[i].weight;
    }
    return 1;
}

void process_call(struct process *p, const char *what)
{
    p->sim->count.port_calls++;
    p->weight = weight_of(what);
    sim_note(p->sim, p->number, what, 0, 0);
    process_travel(p);
}

void process_local_call(struct process *p, const char *what)
{
    p->sim->count.port_calls++;
    sim_note(p->sim, p->number, what, 0, 0);
    misfortune(p, weight_of(what));
}

/* --- from outside --- */

void process_wake(struct process *p)
{
    if (p->fiber && p->fiber != fiber_running())
        resume_at(p, p->sim->now_us);
}

void process_kill(struct process *p, bool with_host)
{
    assert(!fiber_running());
    if (!p->fiber)
        return;
    p->sim->count.crashes++;
    p->dying = true;
    p->host_died = with_host;
    bury(p);
}

void process_terminate(struct process *p)
{
    p->terminate = true;
}

void process_suspend_ms(struct process *p, int64_t ms)
{
    int64_t until_us = p->sim->now_us + ms * SIM_US_PER_MS;
    sim_note(p->sim, p->number, "suspended", ms, 0);
    if (until_us > p->stopped_until_us)
        p->stopped_until_us = until_us;
}

bool process_is_suspended(const struct process *p)
{
    return p->fiber && p->stopped_until_us > p->sim->now_us;
}
