/* Which of the messages that arrived are to be decided now (docs/architecture.md). */
#ifndef BERTH_WORKER_ARRIVAL_H
#define BERTH_WORKER_ARRIVAL_H

#include "worker/lockset.h"
#include "worker/worker.h"

/* Takes the messages (ordered by partition and offset) that are next in line in partitions that
 * run, authenticates them, and fills `items` (room for `count`); returns how many. A message below
 * the expected offset is dropped. One above it causes one seek back, and is taken if it comes
 * again: offsets may have holes. One without append time halts its partition; one that is far
 * ahead of our clock makes it wait. */
size_t arrival_gather(struct worker *w, const struct broker_message *messages, size_t count,
                      struct item *items);

#endif
