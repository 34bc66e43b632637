/* Faults from outside at random times, the operator, the healing, and the end of the run. */
#ifndef BERTH_TESTS_SIMULATION_CHAOS_H
#define BERTH_TESTS_SIMULATION_CHAOS_H

#include "tests/simulation/sim.h"

void chaos_open(struct sim *sim);

#endif
