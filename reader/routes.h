/* The table of routes: what is answered, with which parameters. It drives dispatch, errors and
 * the list in docs/reader.md. */
#ifndef BERTH_READER_ROUTES_H
#define BERTH_READER_ROUTES_H

#include <stdbool.h>

#include "reader/handlers.h"

struct route {
    const char *path; /* "/v1/machines/{name}": {…} stands for one segment */
    handler_fn *handler;
    unsigned params; /* bits 1 << PARAM_… */
    const char *doc;
    bool without_database; /* the handler needs no session of its own */
    bool looks_up;         /* its {id} is a booking's, which is looked up before: call->wanted */
    bool one_statement;    /* needs no snapshot */
    bool old;              /* the old API's: with a '/' behind it, too; parameters are ignored */
};

/* The route of a decoded path (without its query), with its {…} segments in args (copies in the
 * arena). NULL: there is none. */
const struct route *route_find(const char *path, struct arena *arena,
                               const char *args[CALL_PATH_ARGS]);

/* Routes by number, 0 to route_count() - 1. */
size_t route_count(void);
const struct route *route_at(size_t number);
size_t route_number(const struct route *route);

#endif
