#include "core/reason.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

static const struct {
    const char *name;
    const char *text;
} table[REASON_COUNT] = {[REASON_NONE] = {NULL, "The request was accepted."},
#define REASON_ROW(id, name, text) [REASON_##id] = {name, text},
                         REASON_TABLE(REASON_ROW)
#undef REASON_ROW
};

const char *reason_name(enum reason reason)
{
    assert((unsigned)reason < REASON_COUNT);
    return table[reason].name;
}

const char *reason_text(enum reason reason)
{
    assert((unsigned)reason < REASON_COUNT);
    return table[reason].text;
}

enum reason reason_from_name(const char *name)
{
    assert(name);
    for (unsigned i = REASON_NONE + 1; i < REASON_COUNT; i++) {
        if (strcmp(table[i].name, name) == 0)
            return (enum reason)i;
    }
    return REASON_NONE;
}
