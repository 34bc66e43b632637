/* Runs seeds. Each process runs some at a time and is then replaced: a crashed worker's memory is
 * never given back, and an assertion that fails in the loop must not end the other seeds. */
#ifndef BERTH_TESTS_SIMULATION_RUNNER_H
#define BERTH_TESTS_SIMULATION_RUNNER_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/simulation/sim.h"

/* Every so many seeds run twice, and must do the same both times. */
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
/* Runs a seed, and every so often a second time; *out is of the first run, failed if they differ.
 */
void run_seed(uint64_t seed, struct sim_result *out);

#endif
