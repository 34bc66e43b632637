/* Work that waits for the database or computes for long, on threads of its own, so that the threads
 * of HTTP never wait. A queue's jobs begin in the order in which they came, except that jobs of one
 * address never take more than its share of the threads: an address that asks much does not delay
 * the others. Any thread may call. */
#ifndef BERTH_READER_JOBS_H
#define BERTH_READER_JOBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

struct jobs;

struct jobs_limits {
    size_t threads;
    size_t threads_per_address; /* 1 to threads */
    size_t jobs_per_address;    /* pending and under way */
};

/* Owned by the caller, who sets the first two members and does not touch the job until it runs. */
struct job {
    uint64_t address; /* connection_address */
    /* Called once, on a thread of the queue. The job may be freed in it. in_time false: it waited too
     * long, or the queue stops; nothing more than an answer should be made. */
    void (*run)(struct job *job, bool in_time);

    int64_t added_ms; /* the queue's, as is `next` */
    struct job *next;
};

/* Starts the threads. Gives *out. ERR_FAILED: no thread could be created. */
enum err jobs_start(const struct jobs_limits *limits, struct jobs **out, struct failure *f);
/* Runs what is pending, and joins the threads. Jobs are refused from then on. */
void jobs_stop(struct jobs *jobs);
void jobs_free(struct jobs *jobs); /* after jobs_stop; NULL is fine */

enum jobs_added { JOBS_ADDED, JOBS_TOO_MANY, JOBS_STOPPED };
/* `limited`: an address that has as many jobs as it may is refused (JOBS_TOO_MANY). An answer that
 * goes on was admitted when it began. */
enum jobs_added jobs_add(struct jobs *jobs, struct job *job, bool limited);

#endif
