/* The names and ids in the requests of a batch, before any row is read. */
#ifndef BERTH_WORKER_WANTS_H
#define BERTH_WORKER_WANTS_H

#include "core/request.h"
#include "db/store.h"

/* Zeroed is empty. Strings and requests are borrowed from the messages' claims. Entries may repeat,
 * except where a comment says distinct. */
struct wants {
    const char **machines; /* names */
    size_t machine_count, machine_capacity;
    const struct machine_update **updates; /* in batch order */
    size_t update_count, update_capacity;
    const struct labels **labels; /* label sets of `any`; distinct */
    size_t label_count, label_capacity;
    const char **creators; /* clients with a booking.create */
    size_t creator_count, creator_capacity;
    struct request_ref *refs; /* request ids to look up */
    size_t ref_count, ref_capacity;
    struct id_list chosen_ids; /* machine ids given in machine.register */
    struct id_list bookings;
    struct id_list series;
};

void wants_fini(struct wants *wants);
void wants_clear(struct wants *wants);
/* Adds one verified request with its client and id. */
void wants_add(struct wants *wants, const char *client, const char *request_id,
               const struct request *req);

#endif
