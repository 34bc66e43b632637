/* What a batch must have locked and loaded before it is decided (design §6.1). */
#ifndef BERTH_WORKER_LOCKSET_H
#define BERTH_WORKER_LOCKSET_H

#include "worker/authenticate.h"
#include "worker/worker.h"

/* One message of a batch. */
struct item {
    const struct log_message *message;
    struct part *part;
    int64_t now_ms; /* max(the partition's clock, append time) */
    uint8_t sha256[32];
    int64_t key_generation; /* of the keys that `auth` was found with */
    struct authentication auth;
    bool operator_rejects; /* not even taken apart */
};

struct lockset {
    const char **names; /* machines that requests name; may repeat */
    size_t name_count, name_capacity;
    struct request_ref *refs; /* request ids to be looked up */
    size_t ref_count, ref_capacity;
    struct id_list chosen_ids; /* asked for by machine.register */
    struct id_list bookings;   /* to be locked */
    struct id_list machines;   /* to be locked */
    struct id_list displacing; /* machines whose bookings an update may cancel */
    const char **displacing_names;
    size_t displacing_name_count, displacing_name_capacity;
    int64_t known_from_ms; /* nobody in the batch looks below it */
};

void lockset_fini(struct lockset *set);
/* From the requests alone: which rows they name. Keeps what earlier attempts of the same batch
 * found to be locked (machines, bookings): ids only grow. */
void lockset_collect(struct lockset *set, struct item *const *items, size_t count);
/* Plain reads before any lock: names to ids, the machines of bookings, timelines that are missing
 * or stale. A cold timeline loaded under locks would make others time out. */
enum err lockset_warm(struct lockset *set, struct worker *w, struct failure *f);
/* Under the partitions' locks: locks machines, then bookings, each by ascending id; reads again
 * what the lock set was made from (ERR_WORLD_GREW: more must be locked; roll back and begin again,
 * the set has grown), reloads timelines that changed, looks up request ids. */
enum err lockset_take(struct lockset *set, struct worker *w, struct failure *f);

#endif
