/* Decisions do not depend on how messages are cut into batches: the log of a calm run with one
 * partition is decided again by a worker of its own, in batches of 1, 7 and 2000. */
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
    int64_t size; /* 0: the first run, in which clients send what they like, or what is written */
    const char *const *written; /* the administrator's requests, without braces; NULL: any */
    size_t written_count;
    struct batches_message *log;
    size_t count;
    uint64_t digest; /* of the run's decisions and tables */
};

/* The plan of such a run, instead of the seed's. */
void batches_plan(struct sim *sim);
/* Puts the whole log into the partition, or keeps what is in it in the end. */
void batches_open(struct sim *sim);
void batches_close(struct sim *sim);
/* All of the seed's runs; *out is the first that failed, or the last. */
void batches_run(uint64_t seed, struct sim_result *out);
/* The same with these requests: what matters is which of them come to be in one batch of 7, behind
 * what other batches have stored. Borrows them. */
void batches_run_written(const char *const *requests, size_t count, struct sim_result *out);

#endif
