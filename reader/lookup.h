/* Lookups of single bookings. Most of their cost is the statement, not the booking: queries that
 * arrive while one statement runs share the next one. The lookup has a thread of its own. */
#ifndef BERTH_READER_LOOKUP_H
#define BERTH_READER_LOOKUP_H

#include <stdbool.h>
#include <stdint.h>

#include "core/arena.h"
#include "core/decide.h"
#include "lib/base/err.h"
#include "reader/session_pool.h"

struct lookup;

/* One query, owned by the caller, who sets the first four members and does not touch the query
 * until it is answered. */
struct lookup_query {
    int64_t id;
    struct arena *arena; /* for what the answer points at */
    void *owner;
    /* Called once, on the lookup's thread. The query may be freed in it. */
    void (*answered)(struct lookup_query *query);

    /* The answer: an error of the database, the same for all queries of a statement; or the booking
     * as committed at some moment since the query, with the shares that it holds until its end, in
     * the order of its events. */
    enum err err;
    struct failure f;
    bool found; /* false: no booking has the id */
    struct booking_view view;

    struct lookup_query *next; /* the lookup's */
};

/* Starts the thread; borrows the pool. Gives *out. ERR_FAILED: no thread could be created. */
enum err lookup_start(struct session_pool *pool, struct lookup **out, struct failure *f);
/* Answers every pending query and joins the thread. lookup_add refuses queries from then on. */
void lookup_stop(struct lookup *lookup);
void lookup_free(struct lookup *lookup); /* after lookup_stop; NULL is fine */
/* Adds a query to the next statement. False: the lookup has stopped. Any thread. */
bool lookup_add(struct lookup *lookup, struct lookup_query *query);

#endif
