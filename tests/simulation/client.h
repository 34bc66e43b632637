/* The workload: clients that register machines, book, amend and cancel, send again, and send
 * invalid messages. */
#ifndef BERTH_TESTS_SIMULATION_CLIENT_H
#define BERTH_TESTS_SIMULATION_CLIENT_H

#include "tests/simulation/database.h"

void clients_open(struct sim *sim);
void clients_close(struct sim *sim);
/* All requests have been sent. */
bool clients_are_done(const struct sim *sim);
/* Sends a request that kills every worker that reads it; returns its offset. */
int64_t client_send_poison(struct sim *sim, int32_t part);
/* Sends one ordinary request beyond the plan. */
void client_send_one(struct sim *sim);
/* The same, to that partition; returns its offset. */
int64_t client_send_to(struct sim *sim, int32_t part);
/* A booking of all GPUs of the machine, to that partition; returns its offset. */
int64_t client_send_booking(struct sim *sim, int32_t part, const struct machine_row *machine,
                            int64_t start_ms, int64_t length_ms);
/* Changes some client's or the farm's limits as soon as no batch is under way. */
void client_change_limits(struct sim *sim);

#endif
