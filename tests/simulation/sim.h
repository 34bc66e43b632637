/* The simulation: the worker's loop, unchanged, over a simulated Kafka and database. One seed
 * chooses the schedule, the workload and the faults; the same seed gives the same run.
 *
 *      client.c  signed requests ----> cluster.c, group.c, producer.c      struct broker_ops
 *      chaos.c   faults, operator         ^
 *      check.c, replay.c                  |   process.c: fibers that run worker_open, _step, _close
 *                                         v
 *                                      store.c, database.c                 struct store_ops
 *
 * Time is simulated, in microseconds. Timers drive the servers, the clients and the faults. Each
 * worker process is a fiber that yields inside every port call, before and after the call takes
 * effect. At these points other fibers run, and the process can be killed, stopped, or told that the
 * call failed. All memory of the simulation lives in one arena until the run ends. */
#ifndef BERTH_TESTS_SIMULATION_SIM_H
#define BERTH_TESTS_SIMULATION_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/arena.h"
#include "tests/simulation/plan.h"

#define SIM_US_PER_MS INT64_C(1000)
/* Where simulated wall clocks start: 2026-12-01T00:00:00Z. */
#define SIM_EPOCH_MS  INT64_C(1796083200000)
#define SIM_FARM      "sim"

struct database;
struct cluster;
struct clients;
struct process;
struct timer;
struct chaos;
struct disaster;
struct batches;

struct sim_counts {
    int64_t port_calls, crashes, pauses, faults, rebalances, commits, decisions, events, repeats,
        starts, halts;
    /* Counted by the replay: accepted `any`, booked and cancelled series, amends, rejections for
     * limits and for capacity, displaced bookings, and machines that came up too late for a batch's
     * search for `any`. */
    int64_t any, series, series_cancelled, amended, limited, in_use, displaced, unknown_machines;
    int64_t seeks;      /* made */
    int64_t false_gaps; /* starting points in the topic from which a consumer sees a false gap */
};

struct sim {
    uint64_t seed, random;
    struct plan plan;
    struct arena *arena;
    int64_t now_us;
    bool healed;  /* no new faults; everything that was broken works again */
    bool held;    /* no worker starts */
    bool stopped; /* the workers are told to close, and none starts again */
    bool verbose;
    uint64_t digest; /* of everything that happened, in order */

    struct timer *timers; /* a heap by time, then number */
    size_t timer_count, timer_capacity;
    uint64_t timer_number;

    struct batches *batches; /* NULL: an ordinary run */
    struct database *db;
    struct cluster *cluster;
    struct clients *clients;
    struct process *processes;
    struct chaos *chaos;
    struct disaster *disaster;

    bool failed;
    char failure[1024];
    struct sim_counts count;
};

/* The current run, for the doubles of functions without a context argument. */
extern struct sim *sim_now;

/* --- chance --- */

uint64_t sim_random(struct sim *sim);
/* 0 .. below-1; below > 0. */
int64_t sim_below(struct sim *sim, int64_t below);
/* low .. high. */
int64_t sim_between(struct sim *sim, int64_t low, int64_t high);
/* True `per_million` times in a million. */
bool sim_chance(struct sim *sim, int64_t per_million);

/* --- time --- */

typedef void timer_fn(struct sim *sim, void *arg, int64_t number);
/* Calls fn at that time, or now if it has passed; never from within a fiber. */
void sim_at(struct sim *sim, int64_t at_us, timer_fn *fn, void *arg, int64_t number);
void sim_after_ms(struct sim *sim, int64_t ms, timer_fn *fn, void *arg, int64_t number);
/* True time, as a perfect clock would show it. */
int64_t sim_wall_ms(const struct sim *sim);

/* --- what happens --- */

/* Mixes an occurrence into the digest, and prints it with -v. `who`: a process, or 90 and above for
 * a server. */
void sim_note(struct sim *sim, int who, const char *what, int64_t a, int64_t b);
/* A promise is broken: ends the run. The first failure stays. */
void sim_fail(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A copy in the simulation's arena; NULL stays NULL. */
char *sim_copy(struct sim *sim, const char *text);

/* --- a run --- */

struct sim_result {
    bool failed;
    char failure[1024];
    uint64_t digest;
    struct plan plan;
    struct sim_counts count;
};
/* The seed's plan, without a run. */
void sim_plan(uint64_t seed, struct plan *out);
void sim_run(uint64_t seed, bool verbose, struct sim_result *out);
/* A run of batches.h. */
void sim_run_batches(uint64_t seed, struct batches *batches, struct sim_result *out);

#endif
