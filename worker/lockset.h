/* What a batch must have locked and loaded before it is decided (docs/architecture.md, One batch). */
#ifndef BERTH_WORKER_LOCKSET_H
#define BERTH_WORKER_LOCKSET_H

#include "worker/arrival.h"
#include "worker/wants.h"
#include "worker/worker_state.h"

struct lockset {
    struct wants wants;
    /* To be locked, in this order. Machines and bookings that earlier attempts of the same batch
     * found stay: ids only grow. */
    struct client *clients; /* those that count: with a counted limit; by name */
    size_t client_count, client_capacity;
    struct id_list machines;
    struct id_list bookings;
    struct id_list shrinking; /* machines that an update of the batch may leave with less room */
    int64_t known_from_ms;    /* nobody in the batch looks below it */
    size_t loaded;            /* timelines, by this attempt */
};

void lockset_fini(struct lockset *set);
/* From the requests alone: which rows they name. */
void lockset_collect(struct lockset *set, struct item *const *items, size_t count);
/* Plain reads before any lock: names to ids, candidates of `any`, bookings of series and of
 * machines that shrink, the machines and clients of bookings, timelines that are missing or stale.
 * A cold timeline loaded under locks would make others time out. */
enum err lockset_warm(struct lockset *set, struct worker *w, struct failure *f);
/* Under the partitions' locks: locks clients, machines and bookings, each in the order of its keys;
 * reads again what the lock set was made from (ERR_WORLD_GREW: more must be locked; roll back and
 * begin again, the set has grown), reloads timelines that changed, looks up request ids.
 *
 * Candidates of `any` are not looked for again: of those that were locked the core sees the rows as
 * they are now, and a machine that came up meanwhile is one that this batch comes before. */
enum err lockset_take(struct lockset *set, struct worker *w, struct failure *f);

#endif
