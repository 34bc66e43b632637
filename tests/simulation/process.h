/* Worker processes: each a fiber that runs the production loop, and what can happen to it. */
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
    struct fiber *fiber;     /* NULL: it does not run */
    struct worker *worker;   /* NULL: not open yet */
    struct store store_port; /* what its worker borrows */
    struct broker broker_port;
    struct store_client *store; /* NULL: it does not run */
    struct broker_client *broker;
    bool terminate;           /* SIGTERM came */
    bool dying;               /* kill -9: buried as soon as its fiber is left */
    bool host_died;           /* with its host: nobody tells the servers */
    int64_t weight;           /* of the call at hand: how likely it ends badly */
    int64_t polled_us;        /* when it polled last */
    int64_t used_us, idle_us; /* its session's last use then, and since when that is the last */
    int failed_attempts;      /* of a batch, since it polled last */
    int64_t stopped_until_us; /* SIGSTOP: nothing of it runs before */
    int64_t away_until_us;    /* its host does not start it before */
    int64_t wall_skew_ms, mono_base_ms;
    uint64_t wake_number;                    /* of the timer that may resume it */
    int64_t claimed_at[PLAN_PARTITIONS_MAX]; /* by the number of assignments then */
    enum err refused;                        /* ERR_OK, or why it did not start and will not */
    char refusal[FAILURE_TEXT_LEN];
    bool other_cluster; /* it is pointed at another cluster */
};

void processes_open(struct sim *sim);
void processes_close(struct sim *sim);
struct process *process_at(struct sim *sim, int number);
/* Nothing runs, and nothing will. */
bool processes_all_ended(const struct sim *sim);
/* Tells all to close. */
void processes_stop(struct sim *sim);

/* --- from within its fiber --- */

void process_sleep_us(struct process *p, int64_t us);
/* Until process_wake, at most until then. */
void process_wait(struct process *p, int64_t until_us);
/* The way to a server or back: takes time, in which others run, and in which the process may be
 * killed or stopped. */
void process_travel(struct process *p);
/* A port call begins: travels, and counts. */
void process_call(struct process *p, const char *what);
/* A call that needs no server: takes no time. */
void process_local_call(struct process *p, const char *what);
_Noreturn void process_die(struct process *p);

/* --- from outside --- */

void process_wake(struct process *p);
void process_kill(struct process *p, bool with_host);
void process_terminate(struct process *p);
void process_suspend_ms(struct process *p, int64_t ms);
bool process_is_suspended(const struct process *p);

#endif
