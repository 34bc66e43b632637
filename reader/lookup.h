/* Bookings that are asked for one by one, by many at the same moment. Most of what such a question
 * costs is the statement, not the booking: whoever comes while one is under way is asked for with
 * the next, together with all who have come by then. A thread of its own asks. */
#ifndef BERTH_READER_LOOKUP_H
#define BERTH_READER_LOOKUP_H

#include <stdbool.h>
#include <stdint.h>

#include "core/arena.h"
#include "lib/base/err.h"
#include "lib/codec/views.h"
#include "reader/session_pool.h"

struct lookup;

/* One question; belongs to whoever asks, who sets the first three and leaves it alone until it is
 * answered. */
struct lookup_wanted {
    int64_t id;
    struct arena *arena; /* for what the answer points at */
    /* Called once, on the lookup's thread, when the answer is there. */
    void (*answered)(struct lookup_wanted *wanted);

    /* The answer: an error of the database, the same for all that were asked for together; or the
     * booking as committed at some moment since the question, with the shares that it holds until
     * its end, in the order of its events. */
    enum err err;
    struct failure f;
    bool found; /* false: there is none */
    struct booking_view view;

    struct lookup_wanted *next; /* the lookup's */
};

/* Starts the thread; borrows the pool. ERR_FAILED: the system has no thread for us. */
enum err lookup_start(struct session_pool *pool, struct lookup **out, struct failure *f);
/* Answers all who wait and ends the thread: nobody is taken any more. */
void lookup_stop(struct lookup *lookup);
void lookup_free(struct lookup *lookup); /* stopped; NULL is fine */
/* Takes a question; false: it has stopped. Any thread. */
bool lookup_add(struct lookup *lookup, struct lookup_wanted *wanted);
/* Asks now, in the caller's thread, for this one; `answered` is not called. Any thread. */
void lookup_now(struct lookup *lookup, struct lookup_wanted *wanted);

#endif
