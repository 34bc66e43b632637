/* The disaster of the plan: makes it happen, acts as the operator, and knows what must be halted. */
#ifndef BERTH_TESTS_SIMULATION_DISASTER_H
#define BERTH_TESTS_SIMULATION_DISASTER_H

#include "tests/simulation/cluster.h"

void disaster_open(struct sim *sim);
/* The disaster has happened, or there is none. */
bool disaster_is_over(const struct sim *sim);
/* The workers have reacted to it as they must. */
bool disaster_is_answered(const struct sim *sim);
/* The partition's logs are not those whose messages were decided. */
bool disaster_part_is_spoilt(const struct sim *sim, int32_t part);
/* The partition is rightly halted, or all its messages are decided and published. */
bool disaster_part_is_settled(const struct sim *sim, int32_t part);
/* Whether the halt of the partition, or of the farm, is right. */
bool disaster_halt_is_right(const struct sim *sim, const struct partition_row *row);
bool disaster_farm_halt_is_right(const struct sim *sim);
/* The operator takes the remedy of a halt; true: the partition can be resumed. */
bool disaster_operator_acts(struct sim *sim, struct partition_row *row);
/* Once, the operator resumes the farm without having restored the database. */
bool disaster_operator_forgets(struct sim *sim);
/* Whether the database refuses to store this decision. */
bool disaster_refuses(const struct sim *sim, const struct decision_row *row);
void disaster_note_decisions(struct sim *sim, const struct writes *writes);
void disaster_check_end(struct sim *sim);

/* fail_over.c: from now on until the healing, the database fails over now and then. */
void fail_over_open(struct sim *sim);

#endif
