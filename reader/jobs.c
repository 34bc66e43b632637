#include "reader/jobs.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/mem.h"

/* After this time nobody waits for the answer any more. */
#define LATE_MS 10000

struct worker {
    struct jobs *jobs;
    pthread_t thread;
    bool busy;
    uint64_t address; /* whose job it runs, while it is busy */
};

struct jobs {
    struct jobs_limits limits;
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* a job came or ended, or the queue stops */
    bool stopping;
    struct job *first, **last; /* pending, in the order in which they came */
    size_t worker_count;
    struct worker workers[];
};

static size_t count_under_way(const struct jobs *jobs, uint64_t address)
{
    size_t found = 0;
    for (size_t i = 0; i < jobs->worker_count; i++)
        found += jobs->workers[i].busy && jobs->workers[i].address == address;
    return found;
}

/* Takes the first job that may begin. NULL: none may. */
static struct job *take(struct jobs *jobs)
{
    for (struct job **at = &jobs->first; *at; at = &(*at)->next) {
        struct job *job = *at;
        if (!jobs->stopping &&
            count_under_way(jobs, job->address) >= jobs->limits.threads_per_address)
            continue;
        *at = job->next;
        if (!*at)
            jobs->last = at;
        return job;
    }
    return NULL;
}

static void *run(void *arg)
{
    struct worker *worker = arg;
    struct jobs *jobs = worker->jobs;
    struct job *job;
    pthread_mutex_lock(&jobs->mutex);
    for (;;) {
        while (!(job = take(jobs)) && !jobs->stopping)
            pthread_cond_wait(&jobs->changed, &jobs->mutex);
        if (!job)
            break;
        bool in_time = !jobs->stopping && clock_mono_ms() - job->added_ms < LATE_MS;
        worker->busy = true;
        worker->address = job->address;
        pthread_mutex_unlock(&jobs->mutex);
        job->run(job, in_time);
        pthread_mutex_lock(&jobs->mutex);
        worker->busy = false;
        pthread_cond_broadcast(&jobs->changed); /* another job of the address may begin */
    }
    pthread_mutex_unlock(&jobs->mutex);
    return NULL;
}

/* The jobs of the address, pending and under way. */
static size_t count_all(const struct jobs *jobs, uint64_t address)
{
    size_t found = count_under_way(jobs, address);
    for (const struct job *job = jobs->first; job; job = job->next)
        found += job->address == address;
    return found;
}

enum jobs_added jobs_add(struct jobs *jobs, struct job *job, bool limited)
{
    enum jobs_added added = JOBS_ADDED;
    job->added_ms = clock_mono_ms();
    job->next = NULL;
    pthread_mutex_lock(&jobs->mutex);
    if (jobs->stopping) {
        added = JOBS_STOPPED;
    } else if (limited && count_all(jobs, job->address) >= jobs->limits.jobs_per_address) {
        added = JOBS_TOO_MANY;
    } else {
        *jobs->last = job;
        jobs->last = &job->next;
        pthread_cond_signal(&jobs->changed);
    }
    pthread_mutex_unlock(&jobs->mutex);
    return added;
}

enum err jobs_start(const struct jobs_limits *limits, struct jobs **out, struct failure *f)
{
    struct jobs *jobs = xcalloc(1, sizeof(*jobs) + limits->threads * sizeof(jobs->workers[0]));
    assert(limits->threads > 0 && limits->threads_per_address > 0);
    jobs->limits = *limits;
    jobs->last = &jobs->first;
    pthread_mutex_init(&jobs->mutex, NULL);
    pthread_cond_init(&jobs->changed, NULL);
    int error = 0;
    pthread_mutex_lock(&jobs->mutex); /* threads look at each other's entries */
    while (jobs->worker_count < limits->threads && !error) {
        struct worker *worker = &jobs->workers[jobs->worker_count];
        worker->jobs = jobs;
        error = pthread_create(&worker->thread, NULL, run, worker);
        jobs->worker_count += !error;
    }
    pthread_mutex_unlock(&jobs->mutex);
    if (error) {
        jobs_stop(jobs);
        jobs_free(jobs);
        return failure_set(f, ERR_FAILED, "no thread for questions: %s", strerror(error));
    }
    *out = jobs;
    return ERR_OK;
}

void jobs_stop(struct jobs *jobs)
{
    pthread_mutex_lock(&jobs->mutex);
    jobs->stopping = true;
    pthread_cond_broadcast(&jobs->changed);
    pthread_mutex_unlock(&jobs->mutex);
    for (size_t i = 0; i < jobs->worker_count; i++)
        pthread_join(jobs->workers[i].thread, NULL);
}

void jobs_free(struct jobs *jobs)
{
    if (!jobs)
        return;
    assert(jobs->stopping && !jobs->first);
    pthread_cond_destroy(&jobs->changed);
    pthread_mutex_destroy(&jobs->mutex);
    free(jobs);
}
