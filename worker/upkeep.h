/* The work between two polls: keeps session, producer and group membership alive, advances partitions
 * towards RUNNING, and tells the consumer what to fetch. */
#ifndef BERTH_WORKER_UPKEEP_H
#define BERTH_WORKER_UPKEEP_H

#include "worker/worker_state.h"

void upkeep(struct worker *w);
/* Stores the last acknowledged sequence in published_seq, for an owner that finds the event topic
 * empty. */
void upkeep_note_published(struct worker *w, struct part *part);
/* Excuses this owner: one that has lived for a while, or gives the partition back, was not killed by a
 * message. */
void upkeep_excuse(struct worker *w, struct part *part);

#endif
