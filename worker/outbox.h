/* Publishes decisions from the database as events (docs/architecture.md, Publishing). */
#ifndef BERTH_WORKER_OUTBOX_H
#define BERTH_WORKER_OUTBOX_H

#include "worker/worker_state.h"

/* Reads the tail of the partition's event log and sets sent_seq and acked_seq to its last event.
 * ERR_PARTITION_HALTED, ERR_FARM_HALTED: topic and database do not belong together, and the caller
 * halts with the halt in *f. ERR_EPOCH_LOST: another owner has published. Other errors can pass. */
enum err outbox_read_tail(struct worker *w, struct part *part, struct failure *f);
/* Hands the stored decisions after sent_seq to the producer. ERR_LOG_FULL: its queue is full; call
 * again later. Needs a known tail. */
enum err outbox_catch_up(struct worker *w, struct part *part, struct failure *f);
/* Hands one committed decision to the producer if it follows sent_seq and the queue has room; else
 * outbox_catch_up sends it later. */
void outbox_send(struct worker *w, struct part *part, const struct decision_row *row);

#endif
