/* Polls for messages, and chooses those that are decided now (docs/architecture.md, Owning a
 * partition). */
#ifndef BERTH_WORKER_ARRIVAL_H
#define BERTH_WORKER_ARRIVAL_H

#include "worker/authenticate.h"
#include "worker/worker_state.h"

/* One message of a batch. */
struct item {
    const struct broker_message *message;
    struct part *part;
    int64_t now_ms; /* max(the partition's clock, append time) */
    uint8_t sha256[32];
    int64_t key_generation; /* of the keys that `auth` was made with */
    struct authentication auth;
    bool operator_rejects; /* the message is rejected unread, and `auth` is not set */
};

/* Waits up to timeout_ms for messages, and serves the producer and the group meanwhile: partitions
 * may be assigned and revoked in it. A failed poll sends all running partitions back to CHECKING.
 * Returns how many of `max` messages it filled in; the caller releases them. */
size_t arrival_poll(struct worker *w, struct broker_message *messages, size_t max, int timeout_ms);
/* Sleeps, but polls first: messages that arrive are dropped, and fetched again later. */
void arrival_pause(struct worker *w, int64_t ms);
/* Chooses the next messages of the running partitions, authenticates them, and fills `items` (room
 * for `count`). Returns the number of items. `messages` are ordered by partition and offset, and
 * must outlive the items. A message below the expected offset is dropped. A message above it causes
 * one seek back, and is taken if it comes again: offsets may have holes. A message without append
 * time halts its partition; one far ahead of the worker's clock makes its partition wait. */
size_t arrival_gather(struct worker *w, const struct broker_message *messages, size_t count,
                      struct item *items);

#endif
