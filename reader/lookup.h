/* Bookings that are asked for one by one, each by a thread of its own, at the same moment. Most of
 * what such a question costs is the statement, not the booking: whoever comes while one is under
 * way waits for the next, which asks for all that have come by then. Alone, nobody waits. */
#ifndef BERTH_READER_LOOKUP_H
#define BERTH_READER_LOOKUP_H

#include <stdbool.h>
#include <stdint.h>

#include "core/arena.h"
#include "lib/err.h"
#include "reader/session_pool.h"
#include "schemas/rows.h"

struct lookup;

/* Borrows the pool. */
struct lookup *lookup_new(struct session_pool *pool);
/* Nobody may be waiting. NULL is fine. */
void lookup_free(struct lookup *lookup);
/* The booking as committed at some moment during the call, with the shares that it holds until its
 * end in the order of its events; memory of the arena. *found_out false: there is none. Several
 * threads may call. Errors: the database's, the same for all that were asked for together. */
enum err lookup_booking(struct lookup *lookup, int64_t id, struct arena *arena,
                        struct booking_view *out, bool *found_out, struct failure *f);

#endif
