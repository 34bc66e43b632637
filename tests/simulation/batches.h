/* Decisions must not depend on the size of batches: the log of a calm run with one partition is
 * decided again by a new worker, in batches of 1, 7 and 2000. */
#ifndef BERTH_TESTS_SIMULATION_BATCHES_H
#define BERTH_TESTS_SIMULATION_BATCHES_H

#include "tests/simulation/sim.h"

struct batches_message {
    int64_t append_ms;
    char *value;
    size_t len;
};
/* What the runs of a seed share. */
struct batches {
    int64_t size;               /* 0: the first run, in which the clients send */
    const char *const *written; /* the only requests, without braces; NULL: random ones */
    size_t written_count;
    struct batches_message *log;
    size_t count;
    uint64_t digest; /* of the run's decisions and tables */
};

/* The plan of such a run, instead of the seed's. */
void batches_plan(struct sim *sim);
/* open fills the partition with the log; close of the first run keeps the partition's log. */
void batches_open(struct sim *sim);
void batches_close(struct sim *sim);
/* All of the seed's runs; *out is the first that failed, or the last. */
void batches_run(uint64_t seed, struct sim_result *out);
/* The same with these requests of the administrator: each 7 in a row share a batch and build on what
 * earlier batches stored. Borrows them. */
void batches_run_written(const char *const *requests, size_t count, struct sim_result *out);

#endif
