#include "db/halt.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

/* What only sentences about that cause say; a test reads all sentences of the worker and looks
 * whether each has one cause. */
static const struct {
    const char *phrase;
    enum halt_cause cause;
} phrases[] = {
    {"owners made no progress at offset", HALT_REPEATED_DEATHS},
    {"cannot be decided (", HALT_UNDECIDABLE},
    {"has no append time", HALT_NO_APPEND_TIME},
    {"were deleted before they were decided", HALT_REQUESTS_DELETED},
    {"its log was cut or made again", HALT_REQUEST_LOG_REPLACED},
    {"the first that init saw", HALT_REQUEST_LOG_REPLACED},
    {"is not the one that was decided last", HALT_REQUEST_LOG_REPLACED},
    {"has no row in the database", HALT_NO_ROW},
    {"events were published: the topic was deleted", HALT_EVENTS_DELETED},
    {"are none of Berth's decisions", HALT_FOREIGN_EVENTS},
    {"missing in the database: restore", HALT_DECISIONS_MISSING},
    {"to an older state", HALT_DATABASE_OLDER},
    {"from an older state", HALT_DATABASE_OLDER},
    {"ahead of this host's clock", HALT_CLOCK_AHEAD},
    {"Lock wait timeout", HALT_LOCKED},
    {"lock wait timed out", HALT_LOCKED},
    {"Deadlock found", HALT_LOCKED},
};

const char *halt_cause_name(enum halt_cause cause)
{
    static const char *const names[HALT_CAUSE_COUNT] = {
#define HALT_CAUSE_NAME(id, name) [HALT_##id] = name,
        HALT_CAUSE_TABLE(HALT_CAUSE_NAME)
#undef HALT_CAUSE_NAME
    };
    assert(cause < HALT_CAUSE_COUNT);
    return names[cause];
}

enum halt_cause halt_cause_of(const char *why)
{
    if (why[0] == '\0')
        return HALT_NONE;
    /* The first: the sentence about an undecidable message quotes an error at its end. */
    for (size_t i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++) {
        if (strstr(why, phrases[i].phrase))
            return phrases[i].cause;
    }
    return HALT_OTHER;
}
