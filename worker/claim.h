/* Becoming the owner of a partition, and making sure that its log is the one that the database
 * speaks of (design §6.3). */
#ifndef BERTH_WORKER_CLAIM_H
#define BERTH_WORKER_CLAIM_H

#include "worker/worker.h"

/* Takes every partition one step on, if its time has come: CLAIMING and WAITING ones towards
 * RUNNING, HALTED ones back to CLAIMING when an operator has resumed them, and all claimed ones'
 * unpublished decisions into the producer. Sets positions_changed when one starts to run. Stops
 * after WORKER_CLAIM_SLICE_MS; call again after polling. */
void claim_advance(struct worker *w);

/* Commits an empty batch: an owner that finds nothing to decide, or must wait for a clock, is not
 * one that died of a message. Without this, rebalances of a quiet partition would look like that. */
enum err claim_note_progress(struct worker *w, struct part *part, struct failure *f);

#endif
