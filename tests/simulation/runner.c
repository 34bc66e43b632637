#include "tests/simulation/runner.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define JOBS_MAX 64
/* Seeds that one process runs. */
#define CHUNK    40

/* In memory that the processes share. */
struct shared {
    uint64_t running;  /* the seed at hand; 0: none */
    uint64_t done_to;  /* the first seed of the chunk that was not run to its end */
    uint64_t failures; /* counted so far */
    uint64_t first_failure;
    struct sim_counts count;
    uint64_t disasters[DISASTER_KIND_COUNT];
};

static void add_counts(struct sim_counts *sum, const struct sim_counts *more)
{
    int64_t *to = (int64_t *)sum;
    const int64_t *from = (const int64_t *)more;
    for (size_t i = 0; i < sizeof(*sum) / sizeof(*to); i++)
        to[i] += from[i];
}

static void print_counts(const struct sim_counts *count)
{
    printf("port calls %" PRId64 ", crashes %" PRId64 ", pauses %" PRId64 ", other faults %" PRId64
           ", starts %" PRId64 ", rebalances %" PRId64 ", halts by crashes %" PRId64 "\n",
           count->port_calls, count->crashes, count->pauses, count->faults, count->starts,
           count->rebalances, count->halts);
    printf("commits %" PRId64 ", decisions %" PRId64 ", events %" PRId64
           ", of them repeats %" PRId64 ", false gaps for who begins at any of them %" PRId64 "\n",
           count->commits, count->decisions, count->events, count->repeats, count->false_gaps);
    printf("any %" PRId64 " (%" PRId64 " machines came up meanwhile), series %" PRId64 " (%" PRId64
           " cancelled), amended %" PRId64 ", displaced %" PRId64 ", limit exceeded %" PRId64
           ", capacity in use %" PRId64 "\n",
           count->any, count->unknown_machines, count->series, count->series_cancelled,
           count->amended, count->displaced, count->limited, count->in_use);
}

void run_seed(uint64_t seed, struct sim_result *out)
{
    sim_run(seed, false, out);
    if (out->failed || seed % RUNNER_TWICE_EVERY != 0)
        return;
    struct sim_result again;
    sim_run(seed, false, &again);
    if (again.digest == out->digest && !again.failed)
        return;
    out->failed = true;
    snprintf(out->failure, sizeof(out->failure), "a second run differs from the first%s%.900s",
             again.failed ? ": " : "", again.failure);
}

int run_one(uint64_t seed, bool verbose)
{
    struct sim_result result;
    setvbuf(stdout, NULL, _IOLBF, 0); /* what was written before an abort */
    sim_run(seed, verbose, &result);
    printf("seed %" PRIu64
           ": disaster %s, %d workers, %d partitions, %d requests, digest %016" PRIx64 "\n",
           seed, disaster_name(result.plan.disaster), result.plan.workers, result.plan.partitions,
           result.plan.requests, result.digest);
    print_counts(&result.count);
    printf("%s\n", result.failed ? result.failure : "ok");
    return result.failed;
}

static void tell_failure(struct shared *shared, uint64_t seed, const char *what)
{
    printf("FAILED seed %" PRIu64 ": %s\n    make sim SEED=%" PRIu64 "\n", seed, what, seed);
    fflush(stdout);
    shared->failures++;
    if (shared->first_failure == 0 || seed < shared->first_failure)
        shared->first_failure = seed;
}

static void run_chunk(struct shared *shared, uint64_t first, uint64_t end)
{
    for (uint64_t seed = first; seed < end; seed++) {
        struct sim_result result;
        shared->running = seed;
        run_seed(seed, &result);
        shared->running = 0;
        shared->done_to = seed + 1;
        add_counts(&shared->count, &result.count);
        shared->disasters[result.plan.disaster]++;
        if (result.failed)
            tell_failure(shared, seed, result.failure);
    }
}

struct job {
    pid_t pid;
    uint64_t first, end;
    struct shared *shared;
};

static void start_job(struct job *job, uint64_t first, uint64_t end)
{
    job->first = first;
    job->end = end;
    job->shared->running = 0;
    job->shared->done_to = first;
    fflush(stdout);
    job->pid = fork();
    assert(job->pid >= 0);
    if (job->pid == 0) {
        run_chunk(job->shared, first, end);
        fflush(stdout);
        _exit(0);
    }
}

/* Returns where the chunk is to go on: its end, or behind the seed that killed the process. */
static uint64_t end_job(struct job *job, int status)
{
    job->pid = 0;
    uint64_t seed = job->shared->running;
    if (seed == 0)
        return job->end;
    char what[64];
    snprintf(what, sizeof(what), "the process ended with %s %d",
             WIFSIGNALED(status) ? "signal" : "status",
             WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    tell_failure(job->shared, seed, what);
    return seed + 1;
}

static struct job *wait_for_job(struct job *jobs, int count, int *status)
{
    pid_t pid = wait(status);
    for (int i = 0; i < count; i++) {
        if (jobs[i].pid == pid)
            return &jobs[i];
    }
    assert(false && "a child of somebody else");
    return NULL;
}

static int finish(const struct run_settings *settings, struct job *jobs, int count, double seconds)
{
    struct shared sum = {0};
    for (int i = 0; i < count; i++) {
        const struct shared *shared = jobs[i].shared;
        sum.failures += shared->failures;
        if (shared->first_failure &&
            (!sum.first_failure || shared->first_failure < sum.first_failure))
            sum.first_failure = shared->first_failure;
        add_counts(&sum.count, &shared->count);
        for (int k = 0; k < DISASTER_KIND_COUNT; k++)
            sum.disasters[k] += shared->disasters[k];
    }
    uint64_t seeds = 0;
    for (int k = 0; k < DISASTER_KIND_COUNT; k++) {
        printf("%s%s %" PRIu64, k ? ", " : "disasters: ", disaster_name((enum disaster_kind)k),
               sum.disasters[k]);
        seeds += sum.disasters[k];
    }
    printf("\n");
    print_counts(&sum.count);
    if (settings->stop && sum.first_failure)
        printf("first failure: seed %" PRIu64 "\n", sum.first_failure);
    printf("{\"seeds\":%" PRIu64 ",\"failures\":%" PRIu64 ",\"seconds\":%.1f}\n", seeds,
           sum.failures, seconds);
    return sum.failures > 0;
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int run_many(const struct run_settings *settings)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    int count = settings->jobs > 0 ? settings->jobs : processors > 0 ? (int)processors : 1;
    if (count > JOBS_MAX)
        count = JOBS_MAX;
    struct shared *shared = mmap(NULL, sizeof(*shared) * JOBS_MAX, PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert(shared != MAP_FAILED);
    struct job jobs[JOBS_MAX] = {0};
    double begin = now_s();
    uint64_t next = settings->first, end = settings->first + settings->count;
    int running = 0;
    for (int i = 0; i < count && next < end; i++, running++) {
        jobs[i].shared = &shared[i];
        uint64_t last = next + CHUNK < end ? next + CHUNK : end;
        start_job(&jobs[i], next, last);
        next = last;
    }
    int used = running;
    while (running > 0) {
        int status;
        struct job *job = wait_for_job(jobs, used, &status);
        uint64_t from = end_job(job, status), to = job->end;
        if (from == to) {
            from = next;
            to = next + CHUNK < end ? next + CHUNK : end;
            next = to;
        }
        bool enough = settings->stop && job->shared->failures > 0;
        if (enough)
            next = end;
        if (from < to && !enough) {
            start_job(job, from, to);
        } else {
            running--;
        }
    }
    return finish(settings, jobs, used, now_s() - begin);
}
