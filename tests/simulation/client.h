/* The workload: clients that register machines, book, amend, cancel, repeat themselves, and send
 * what nobody should. */
#ifndef BERTH_TESTS_SIMULATION_CLIENT_H
#define BERTH_TESTS_SIMULATION_CLIENT_H

#include "tests/simulation/sim.h"

void clients_open(struct sim *sim);
void clients_close(struct sim *sim);
/* All requests have been sent. */
bool clients_are_done(const struct sim *sim);
/* A request that kills each worker that looks into it; returns its offset. */
int64_t client_send_poison(struct sim *sim, int32_t part);
/* One more ordinary request, whatever else is planned. */
void client_send_one(struct sim *sim);
/* The same, to that partition; returns its offset. */
int64_t client_send_to(struct sim *sim, int32_t part);

#endif
