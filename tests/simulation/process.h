/* Worker processes: each is a fiber that runs the production loop, and can be killed or stopped. */
#ifndef BERTH_TESTS_SIMULATION_PROCESS_H
#define BERTH_TESTS_SIMULATION_PROCESS_H

#include "lib/base/err.h"
#include "tests/simulation/fiber.h"
#include "tests/simulation/sim.h"
#include "worker/worker.h"
#include "worker/worker_state.h"

struct store_client;
struct broker_client;

struct process {
    struct sim *sim;
    int number;   /* 0 .. plan.workers-1 */
    int64_t life; /* over all processes: 1, 2, 3 … */
    char name[32];
    struct fiber *fiber;     /* NULL: not running */
    struct worker *worker;   /* NULL: not open yet */
    struct store store_port; /* what its worker borrows */
    struct broker broker_port;
    struct store_client *store; /* NULL: it does not run */
    struct broker_client *broker;
    bool terminate;    /* SIGTERM came */
    bool dying;        /* kill -9: takes effect when its fiber yields */
    bool host_died;    /* its host died: no server sees a connection close */
    int64_t weight;    /* of the current call: multiplies the rates of crash and pause */
    int64_t polled_us; /* its last poll */
    int64_t used_us,
        idle_us;         /* its session's last use at that poll, and since when it is unchanged */
    int failed_attempts; /* of a batch, since the last poll */
    int64_t stopped_until_us; /* SIGSTOP */
    int64_t away_until_us;    /* it does not start before */
    int64_t wall_skew_ms, mono_base_ms;
    uint64_t wake_number;                    /* of the timer that may resume it */
    int64_t claimed_at[PLAN_PARTITIONS_MAX]; /* the number of assignments at the claim */
    enum err refused;                        /* ERR_OK, or why it did not start and will not */
    char refusal[FAILURE_TEXT_LEN];
    bool other_cluster; /* it is configured for another cluster */
};

void processes_open(struct sim *sim);
void processes_close(struct sim *sim);
struct process *process_at(struct sim *sim, int number);
/* No process runs, and none will start. */
bool processes_all_ended(const struct sim *sim);
/* Tells all to close. */
void processes_stop(struct sim *sim);

/* --- from within its fiber --- */

void process_sleep_us(struct process *p, int64_t us);
/* Waits until process_wake, at most until that time. */
void process_wait(struct process *p, int64_t until_us);
/* The way to a server or back: takes time, in which other fibers run and the process may be killed
 * or stopped. */
void process_travel(struct process *p);
/* Begins a port call: counts it and travels. */
void process_call(struct process *p, const char *what);
/* Begins a port call that needs no server and takes no time. */
void process_local_call(struct process *p, const char *what);
_Noreturn void process_die(struct process *p);

/* --- from outside --- */

void process_wake(struct process *p);
void process_kill(struct process *p, bool with_host);
void process_terminate(struct process *p);
void process_suspend_ms(struct process *p, int64_t ms);
bool process_is_suspended(const struct process *p);

#endif
