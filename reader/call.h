/* One GET as a handler sees it: its parameters, a database snapshot, and the answer to fill. */
#ifndef BERTH_READER_CALL_H
#define BERTH_READER_CALL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/arena.h"
#include "db/mysql_session.h"
#include "schemas/problem.h"

#define CALL_PATH_ARGS 2
/* Rows of a page, if `limit` does not say, and the most that it may say. */
#define PAGE_DEFAULT   100
#define PAGE_MAX       1000

/* Query parameters of all routes. */
enum param { PARAM_LIMIT, PARAM_AFTER, PARAM_CLIENT, PARAM_MACHINE, PARAM_STATE, PARAM_COUNT };
const char *param_name(enum param param);

struct call {
    struct mysql_session *db;
    struct arena *arena;
    const char *path_args[CALL_PATH_ARGS]; /* what stands for {…} in the route's path, decoded */
    const char *params[PARAM_COUNT];       /* NULL: not given */
    /* The answer: a JSON value (the call's reference), or text that is JSON already, or a problem.
     * A handler that returns an error has left no answer. */
    json_t *body;
    char *text; /* heap */
    size_t text_len;
    bool has_problem;
    struct problem problem;
};

/* The answer is this problem; detail is printf. Returns ERR_OK: the call was answered. */
enum err call_problem(struct call *call, enum problem_code code, const char *parameter,
                      const char *detail, ...) __attribute__((format(printf, 4, 5)));
/* `limit`; false: the answer is a problem already. */
bool call_limit(struct call *call, int64_t *limit_out);
/* A parameter that is an id (`after` of bookings); absent gives 0. */
bool call_id(struct call *call, enum param param, int64_t *id_out);
/* An id in the path; -1: it is none, so nothing has it. */
int64_t call_path_id(const char *text);
/* A parameter that is a name; absent gives NULL. */
bool call_name(struct call *call, enum param param, const char **name_out);
/* {"items": […], "next": "…"}; takes items. next NULL: the last page. */
void call_page(struct call *call, json_t *items, const char *next);

#endif
