/* What the requests of a batch name, before anything of it is read. */
#ifndef BERTH_WORKER_WANTS_H
#define BERTH_WORKER_WANTS_H

#include "core/request.h"
#include "db/store.h"

/* Zeroed is empty. Strings and requests are borrowed from the messages' claims; all may repeat unless
 * it says otherwise. */
struct wants {
    const char **machines; /* names */
    size_t machine_count, machine_capacity;
    const struct machine_update **updates; /* in the order of the batch */
    size_t update_count, update_capacity;
    const struct labels **labels; /* of `any`, distinct */
    size_t label_count, label_capacity;
    const char **creators; /* clients that ask for new bookings */
    size_t creator_count, creator_capacity;
    struct request_ref *refs; /* request ids to be looked up */
    size_t ref_count, ref_capacity;
    struct id_list chosen_ids; /* asked for by machine.register */
    struct id_list bookings;
    struct id_list series;
};

void wants_fini(struct wants *wants);
void wants_clear(struct wants *wants);
/* One verified request, and the ids under which its answer will be kept. */
void wants_add(struct wants *wants, const char *client, const char *request_id,
               const struct request *req);

#endif
