/* Claims partitions, and checks that the topics belong to the database (docs/architecture.md, Owning
 * a partition). */
#ifndef BERTH_WORKER_OWNERSHIP_H
#define BERTH_WORKER_OWNERSHIP_H

#include "worker/worker_state.h"

/* Takes every partition whose time has come one step further: CLAIMING and WAITING partitions towards
 * RUNNING, HALTED partitions back to CLAIMING if an operator has resumed them. Publishes the
 * unpublished decisions of all claimed partitions. Stops after WORKER_CLAIM_SLICE_MS; call it again
 * after a poll. */
void ownership_advance(struct worker *w);

/* Compares all event partitions with the database, and halts the farm if one of them is ahead: then
 * the database is an older copy, and would book the same machines again. ERR_OK: compared (see
 * farm.halted). Other errors: could not compare; they can pass. */
enum err ownership_check_tails(struct worker *w, struct failure *f);

/* For a partition that runs: moves its position behind markers of transactions at the log's end, if it
 * has stood before them for WORKER_MARKERS_MS. Asks the broker once for each end of the log. */
void ownership_skip_markers(struct worker *w, struct part *part);

/* Commits an empty batch, to record that this owner is alive although it has nothing to decide or
 * must wait for a clock. Otherwise rebalances of a quiet partition would look like owners that a
 * message killed. */
enum err ownership_note_progress(struct worker *w, struct part *part, struct failure *f);
/* Commits whether this owner, should it die now, is excused: not counted among the owners without
 * progress. Does nothing if that is stored already. */
enum err ownership_excuse(struct worker *w, struct part *part, bool excused, struct failure *f);

#endif
