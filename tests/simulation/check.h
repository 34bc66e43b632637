/* The promises (docs/architecture.md, Promises), checked while the simulation runs and when it has
 * ended. */
#ifndef BERTH_TESTS_SIMULATION_CHECK_H
#define BERTH_TESTS_SIMULATION_CHECK_H

#include "tests/simulation/cluster.h"

/* Before a transaction's writes are in the tables, and after. */
void check_before_commit(struct sim *sim, const struct session *session);
void check_after_commit(struct sim *sim, const struct writes *writes);
/* Partitions, then machines, then bookings (docs/architecture.md, One batch). */
void check_lock_order(struct sim *sim, const struct session *session, enum lock_kind kind);
/* When a worker begins to lock rows. */
void check_old_sessions(struct sim *sim, const struct session *session);
/* When a worker claims a partition. */
void check_claim(struct sim *sim, struct process *p, int32_t part);
/* When a worker hands an event to its producer, and when the event reaches the topic. */
void check_publish(struct sim *sim, const struct broker_event *event);
void check_event(struct sim *sim, const struct broker_event *event);
/* Whether all messages of the partition are decided; and also all events are in the topic. */
bool check_part_is_decided(const struct sim *sim, int32_t part);
bool check_part_is_done(const struct sim *sim, int32_t part);
/* All checks of the final state, after the workers have closed. */
void check_end(struct sim *sim);
/* The state of all partitions in one line, for a run that does not end. */
void check_describe(const struct sim *sim, char *text, size_t size);

/* replay.c: decides all messages again, one after the other in the order of their commits, and
 * compares events and tables. */
void replay_check(struct sim *sim);

#endif
