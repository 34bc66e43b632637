/* The way from decisions in the database to events in the topic (docs/architecture.md, Publishing). */
#ifndef BERTH_WORKER_OUTBOX_H
#define BERTH_WORKER_OUTBOX_H

#include "worker/worker_state.h"

/* Reads the end of the partition's event log and sets sent_seq and acked_seq to the last event
 * that is in it. ERR_PARTITION_HALTED or ERR_FARM_HALTED with the reason in *f: the topic and the
 * database do not belong together; nothing was halted yet. ERR_EPOCH_LOST: another owner has
 * published. Others can pass. */
enum err outbox_read_tail(struct worker *w, struct part *part, struct failure *f);
/* Hands the decisions after sent_seq to the producer, from the table, until all are sent or its
 * queue is full (ERR_LOG_FULL: call again later; nothing is lost). */
enum err outbox_catch_up(struct worker *w, struct part *part, struct failure *f);
/* Hands one committed decision to the producer if it is the next in line; else, or when the queue
 * is full, leaves it to outbox_catch_up. */
void outbox_send(struct worker *w, struct part *part, const struct decision_row *row);

#endif
