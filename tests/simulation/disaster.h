/* Wrong worlds (docs/architecture.md, Owning a partition): what happens to the logs, the database
 * or a clock behind the workers' back, and what they must make of it. */
#ifndef BERTH_TESTS_SIMULATION_DISASTER_H
#define BERTH_TESTS_SIMULATION_DISASTER_H

#include "tests/simulation/cluster.h"

void disaster_open(struct sim *sim);
/* What was to happen has happened. */
bool disaster_is_over(const struct sim *sim);
/* Nothing is owed any more on account of it. */
bool disaster_is_answered(const struct sim *sim);
/* Its logs are not those that were decided on. */
bool disaster_part_is_spoilt(const struct sim *sim, int32_t part);
/* All is decided and published, or the partition is halted because it must be. */
bool disaster_part_is_settled(const struct sim *sim, int32_t part);
/* The partition, or the farm, ought to be halted. */
bool disaster_halt_is_right(const struct sim *sim, const struct partition_row *row);
bool disaster_farm_halt_is_right(const struct sim *sim);
/* The operator does something about a halt; true: it may be resumed. */
bool disaster_operator_acts(struct sim *sim, struct partition_row *row);
/* The operator resumes the farm without having done anything about the database, once. */
bool disaster_operator_forgets(struct sim *sim);
/* Whether the database refuses to store this decision. */
bool disaster_refuses(const struct sim *sim, const struct decision_row *row);
void disaster_note_decisions(struct sim *sim, const struct writes *writes);
void disaster_check_end(struct sim *sim);

/* fail_over.c: from now on until the healing, the database fails over now and then. */
void fail_over_open(struct sim *sim);

#endif
