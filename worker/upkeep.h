/* What the loop does between two polls: keeps session, producer and group membership alive, takes
 * partitions on towards running, and tells Kafka what to fetch. */
#ifndef BERTH_WORKER_UPKEEP_H
#define BERTH_WORKER_UPKEEP_H

#include "worker/worker_state.h"

void upkeep(struct worker *w);
/* Stores how far the partition's events are known to be in the topic (a hint for an owner that
 * finds the topic empty). */
void upkeep_note_published(struct worker *w, struct part *part);
/* An owner that has lived for a while, or gives the partition back, did not die of a message. */
void upkeep_excuse(struct worker *w, struct part *part);

#endif
