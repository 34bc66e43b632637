/* Runs seeds in child processes, some seeds each: the memory of killed workers is leaked, and a failed
 * assertion in the loop must not end the other seeds. */
#ifndef BERTH_TESTS_SIMULATION_RUNNER_H
#define BERTH_TESTS_SIMULATION_RUNNER_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/simulation/sim.h"

/* Every so many seeds run twice and must give the same digest. */
#define RUNNER_TWICE_EVERY 5

struct run_settings {
    uint64_t first, count;
    int jobs;  /* 0: one for each processor */
    bool stop; /* with the first failure */
};

/* Prints what happened to one seed; returns the exit status. */
int run_one(uint64_t seed, bool verbose);
/* Prints failures, a summary, and one JSON object; returns the exit status. */
int run_many(const struct run_settings *settings);
/* Runs a seed, or twice if its turn has come; *out is the first run's, failed if the two differ. */
void run_seed(uint64_t seed, struct sim_result *out);

#endif
