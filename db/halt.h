/* Why a partition waits or is halted, or why the farm is halted. A halt has a cause and a sentence.
 * The cause is one word of a fixed list: the column halt_cause and the label `cause` of the metrics;
 * a word, once released, never changes. The sentence names the next step, and is stored and logged. */
#ifndef BERTH_DB_HALT_H
#define BERTH_DB_HALT_H

#include "lib/base/err.h"

#define HALT_CAUSE_TABLE(X)                                                                        \
    X(NONE, "none")                                                                                \
    X(OTHER, "other")                                                                              \
    X(REPEATED_DEATHS, "repeated_deaths")                                                          \
    X(UNDECIDABLE, "undecidable")                                                                  \
    X(UNREADABLE, "unreadable")                                                                    \
    X(NO_APPEND_TIME, "no_append_time")                                                            \
    X(REQUESTS_DELETED, "requests_deleted")                                                        \
    X(REQUEST_LOG_REPLACED, "request_log_replaced")                                                \
    X(NO_ROW, "no_row")                                                                            \
    X(EVENTS_DELETED, "events_deleted")                                                            \
    X(FOREIGN_EVENTS, "foreign_events")                                                            \
    X(DECISIONS_MISSING, "decisions_missing")                                                      \
    X(DATABASE_OLDER, "database_older")                                                            \
    X(CLOCK_AHEAD, "clock_ahead")                                                                  \
    X(LOCKED, "locked")

enum halt_cause {
#define HALT_CAUSE_ENUM(id, name) HALT_##id,
    HALT_CAUSE_TABLE(HALT_CAUSE_ENUM)
#undef HALT_CAUSE_ENUM
        HALT_CAUSE_COUNT
};

struct halt {
    enum halt_cause cause; /* not HALT_NONE */
    const char *why;       /* the sentence; borrowed */
};

const char *halt_cause_name(enum halt_cause cause);
/* The cause of a row with these columns. HALT_NONE: `halted` is empty. HALT_OTHER: halt_cause is NULL
 * or an unknown word, as after a halt that somebody noted by hand. */
enum halt_cause halt_cause_read(const char *halted, const char *halt_cause);

/* failure_set for ERR_PARTITION_HALTED and ERR_FARM_HALTED. `f` must not be NULL. */
enum err halt_set(struct failure *f, enum err err, enum halt_cause cause, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* The halt that halt_set noted; valid as long as *f. */
struct halt halt_of(const struct failure *f);

#endif
