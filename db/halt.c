#include "db/halt.h"

#include <assert.h>
#include <string.h>

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

enum halt_cause halt_cause_read(const char *halted, const char *halt_cause)
{
    if (halted[0] == '\0')
        return HALT_NONE;
    for (enum halt_cause cause = HALT_OTHER; halt_cause && cause < HALT_CAUSE_COUNT; cause++) {
        if (strcmp(halt_cause, halt_cause_name(cause)) == 0)
            return cause;
    }
    return HALT_OTHER;
}

enum err halt_set(struct failure *f, enum err err, enum halt_cause cause, const char *format, ...)
{
    assert(err == ERR_PARTITION_HALTED || err == ERR_FARM_HALTED);
    assert(cause != HALT_NONE);
    va_list args;
    va_start(args, format);
    (void)failure_vset(f, err, format, args);
    va_end(args);
    f->halt_cause = (int)cause;
    return err;
}

struct halt halt_of(const struct failure *f)
{
    assert(f->err == ERR_PARTITION_HALTED || f->err == ERR_FARM_HALTED);
    return (struct halt){(enum halt_cause)f->halt_cause, f->text};
}
