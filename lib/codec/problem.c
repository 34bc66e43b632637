#include "lib/codec/problem.h"

#include <assert.h>
#include <stdlib.h>

#include "core/arena.h"
#include "lib/base/print.h"
#include "lib/codec/jsonout.h"

static const struct {
    const char *type, *title;
    int status;
} codes[PROBLEM_CODE_COUNT] = {
#define PROBLEM_ROW(id, name, status, title)                                                       \
    [PROBLEM_##id] = {PROBLEM_TYPE_PREFIX name, title, status},
    PROBLEM_TABLE(PROBLEM_ROW)
#undef PROBLEM_ROW
};

int problem_status(enum problem_code code)
{
    assert((unsigned)code < PROBLEM_CODE_COUNT);
    return codes[code].status;
}

static void set(json_t *object, const char *name, json_t *value)
{
    assert(value); /* otherwise out of memory */
    int result = json_object_set_new(object, name, value);
    assert(result == 0);
}

/* Names are for programs: only bytes that are not UTF-8 are replaced. */
static void set_name(json_t *object, const char *member, const char *name)
{
    if (!name)
        return;
    struct arena *arena = arena_new();
    set(object, member, json_string(utf8_cleaned(arena, name)));
    arena_free(arena);
}

json_t *problem_json(const struct problem *problem)
{
    assert((unsigned)problem->code < PROBLEM_CODE_COUNT);
    assert(problem->detail);
    json_t *object = json_object();
    set(object, "type", json_string(codes[problem->code].type));
    set(object, "title", json_string(codes[problem->code].title));
    set(object, "status", json_integer(codes[problem->code].status));
    char *detail = print_visible(problem->detail);
    set(object, "detail", json_string(detail));
    free(detail);
    set_name(object, "pointer", problem->pointer);
    set_name(object, "parameter", problem->parameter);
    if (problem->reason != REASON_NONE)
        set(object, "reason", json_string(reason_name(problem->reason)));
    return object;
}
