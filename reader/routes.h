/* The table of routes and their parameters. It drives dispatch, errors and metrics. */
#ifndef BERTH_READER_ROUTES_H
#define BERTH_READER_ROUTES_H

#include "reader/handlers.h"

/* What a handler reads from. */
enum route_source {
    ROUTE_SNAPSHOT,      /* a session with a snapshot */
    ROUTE_ONE_STATEMENT, /* a session without a snapshot */
    ROUTE_NO_DATABASE,   /* no session of the call's */
    ROUTE_LOOKUP,        /* call->booking: {id} is a booking's, looked up before the handler runs */
};

/* Instead of parameters: a route of the old API, which ignores all and allows a trailing '/'. */
#define ROUTE_OLD (1u << PARAM_COUNT_OF_ALL)

struct route {
    const char *path; /* "/v1/machines/{name}": {…} matches one segment */
    handler_fn *handler;
    enum route_source source;
    unsigned params; /* bits 1 << PARAM_…, or ROUTE_OLD */
};

/* The route of a decoded path without its query. Copies the {…} segments into the arena and sets
 * args. NULL: no route. */
const struct route *route_find(const char *path, struct arena *arena,
                               const char *args[CALL_PATH_ARGS]);

/* Routes by number, 0 to route_count() - 1. */
size_t route_count(void);
const struct route *route_at(size_t number);
size_t route_number(const struct route *route);

#endif
