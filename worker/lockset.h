/* The rows that a batch must lock, and the timelines that it must load, before it is decided
 * (docs/architecture.md, One batch). */
#ifndef BERTH_WORKER_LOCKSET_H
#define BERTH_WORKER_LOCKSET_H

#include "worker/arrival.h"
#include "worker/wants.h"
#include "worker/worker_state.h"

struct lockset {
    struct wants wants;
    /* Locked in this order. Machines and bookings found by earlier attempts of the batch stay. */
    struct client *clients; /* with a counted limit; by name */
    size_t client_count, client_capacity;
    struct id_list machines;
    struct id_list bookings;
    struct id_list shrinking; /* machines to which an update of the batch may leave less capacity */
    int64_t known_from_ms;    /* least now of the batch: no decision looks before it */
    size_t loaded;            /* timelines loaded by this attempt */
};

void lockset_fini(struct lockset *set);
/* Begins an attempt: collects the rows that the requests name. */
void lockset_collect(struct lockset *set, struct item *const *items, size_t count);
/* Reads without locks: ids of names, candidates of `any`, bookings of series and of shrinking
 * machines, machines and clients of bookings, and missing or stale timelines. Loading a cold
 * timeline under locks would make other workers time out. */
enum err lockset_warm(struct lockset *set, struct worker *w, struct failure *f);
/* Under the partitions' locks: locks clients, machines and bookings, each by ascending key; reads
 * again what the lock set was made from; reloads timelines that changed; looks up request ids.
 * ERR_WORLD_GREW: more rows must be locked, and the set holds them now; roll back and start over.
 *
 * Candidates of `any` are not searched again. The core sees the locked rows of those found before,
 * and the batch is decided as if before any machine that came up since. */
enum err lockset_take(struct lockset *set, struct worker *w, struct failure *f);

#endif
