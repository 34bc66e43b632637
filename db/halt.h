/* Why a partition waits or halts, or the farm is halted, in one word: for the label `cause` of the
 * metrics. The sentence, with the next step, is what is stored and logged; a word never changes. */
#ifndef BERTH_DB_HALT_H
#define BERTH_DB_HALT_H

#define HALT_CAUSE_TABLE(X)                                                                        \
    X(NONE, "none")                                                                                \
    X(OTHER, "other")                                                                              \
    X(REPEATED_DEATHS, "repeated_deaths")                                                          \
    X(UNDECIDABLE, "undecidable")                                                                  \
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

const char *halt_cause_name(enum halt_cause cause);
/* The cause that a sentence of ours is about: HALT_NONE of an empty one, HALT_OTHER of one that an
 * operator or another release wrote. */
enum halt_cause halt_cause_of(const char *why);

#endif
