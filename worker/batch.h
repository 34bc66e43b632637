/* A batch: messages that are decided in one transaction (docs/architecture.md, One batch). */
#ifndef BERTH_WORKER_BATCH_H
#define BERTH_WORKER_BATCH_H

#include "worker/arrival.h"
#include "worker/worker_state.h"

/* Decides the items, ordered by partition and offset, each RUNNING partition's starting at its
 * row.next_offset (or behind a hole); stores and publishes the decisions.
 *
 * Retries what may pass, then splits the batch per partition, then per message. What is not
 * decided in the end is still in the log: its partition is then WAITING, HALTED, LOST, FOREIGN or
 * CHECKING, or has seek_back set. */
void batch_run(struct worker *w, struct item *items, size_t count);

#endif
