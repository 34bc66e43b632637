/* Becoming the owner of a partition, and making sure that its log is the one that the database
 * speaks of (docs/architecture.md, Owning a partition). */
#ifndef BERTH_WORKER_OWNERSHIP_H
#define BERTH_WORKER_OWNERSHIP_H

#include "worker/worker_state.h"

/* Takes every partition one step on, if its time has come: CLAIMING and WAITING ones towards
 * RUNNING, HALTED ones back to CLAIMING when an operator has resumed them, and all claimed ones'
 * unpublished decisions into the producer. Stops
 * after WORKER_CLAIM_SLICE_MS; call again after polling. */
void ownership_advance(struct worker *w);

/* Halts the farm if the event topic is ahead of the database on any partition: then the database
 * is an old one, and no partition may decide, for it would book the same machines again. ERR_OK:
 * looked at all (see farm_halted); other errors: could not look, which can pass. */
enum err ownership_check_tails(struct worker *w, struct failure *f);

/* Commits an empty batch: an owner that finds nothing to decide, or must wait for a clock, is not
 * one that died of a message. Without this, rebalances of a quiet partition would look like that. */
enum err ownership_note_progress(struct worker *w, struct part *part, struct failure *f);
/* Commits that this owner, should it die now, does not count among those that made no progress;
 * or that it does count again. Nothing if it counts so already. */
enum err ownership_excuse(struct worker *w, struct part *part, bool excused, struct failure *f);

#endif
