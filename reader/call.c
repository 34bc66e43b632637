#include "reader/call.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/limits.h"
#include "core/request.h"

const char *param_name(enum param param)
{
    static const char *const names[PARAM_COUNT] = {
        [PARAM_LIMIT] = "limit",     [PARAM_AFTER] = "after", [PARAM_CLIENT] = "client",
        [PARAM_MACHINE] = "machine", [PARAM_STATE] = "state",
    };
    assert(param < PARAM_COUNT);
    return names[param];
}

enum err call_problem(struct call *call, enum problem_code code, const char *parameter,
                      const char *detail, ...)
{
    char text[LIMIT_DETAIL_LEN];
    va_list args;
    va_start(args, detail);
    vsnprintf(text, sizeof text, detail, args);
    va_end(args);
    call->has_problem = true;
    call->problem = (struct problem){
        .code = code, .detail = arena_strdup(call->arena, text), .parameter = parameter};
    return ERR_OK;
}

static bool parse_int(const char *text, int64_t *out)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || *end)
        return false;
    *out = value;
    return true;
}

bool call_limit(struct call *call, int64_t *limit_out)
{
    const char *text = call->params[PARAM_LIMIT];
    int64_t limit = PAGE_DEFAULT;
    if (text && (!parse_int(text, &limit) || limit < 1 || limit > PAGE_MAX)) {
        call_problem(call, PROBLEM_INVALID_PARAMETER, "limit",
                     "limit must be a number from 1 to %d.", PAGE_MAX);
        return false;
    }
    *limit_out = limit;
    return true;
}

bool call_id(struct call *call, enum param param, int64_t *id_out)
{
    const char *text = call->params[param];
    int64_t id = 0;
    if (text && !parse_int(text, &id)) {
        call_problem(call, PROBLEM_INVALID_PARAMETER, param_name(param),
                     "%s must be what the page before gave as next.", param_name(param));
        return false;
    }
    *id_out = id;
    return true;
}

int64_t call_path_id(const char *text)
{
    int64_t id;
    return parse_int(text, &id) ? id : -1;
}

bool call_name(struct call *call, enum param param, const char **name_out)
{
    const char *text = call->params[param];
    if (text && !name_is_valid(text, LIMIT_NAME_LEN, NULL)) {
        call_problem(call, PROBLEM_INVALID_PARAMETER, param_name(param),
                     "%s must be a name: 1 to %d of A-Z a-z 0-9 . _ -", param_name(param),
                     LIMIT_NAME_LEN);
        return false;
    }
    *name_out = text;
    return true;
}

void call_page(struct call *call, json_t *items, const char *next)
{
    call->body = json_pack("{s:o}", "items", items);
    if (next)
        json_object_set_new(call->body, "next", json_string(next));
}
