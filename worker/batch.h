/* A batch: messages decided in one transaction (docs/architecture.md, One batch). */
#ifndef BERTH_WORKER_BATCH_H
#define BERTH_WORKER_BATCH_H

#include "worker/arrival.h"
#include "worker/worker_state.h"

/* Decides the items, stores and publishes the decisions. Items are ordered by partition and offset;
 * those of a RUNNING partition begin at its row.next_offset, or behind a hole.
 *
 * Tries again after a fault that can pass, then splits the batch per partition, then per message. A
 * message that stays undecided is fetched again: its partition has left RUNNING, or the consumer's
 * positions are stale. */
void batch_run(struct worker *w, struct item *items, size_t count);

#endif
