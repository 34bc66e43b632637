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

/* Where a handler runs. */
enum route_lane {
    ROUTE_HTTP,  /* on the thread of HTTP: it waits for nothing */
    ROUTE_QUICK, /* reads a few rows */
    ROUTE_SLOW,  /* reads as many rows as there are, or computes for long */
    ROUTE_SCRAPE,
};

/* Instead of parameters: a route of the old API, which ignores all and allows a trailing '/'. */
#define ROUTE_OLD (1u << PARAM_COUNT_OF_ALL)

struct route {
    const char *path; /* "/v1/machines/{name}": {…} matches one segment */
    handler_fn *handler;
    enum route_source source;
    enum route_lane lane; /* of a ROUTE_LOOKUP: that of its handler */
    unsigned params;      /* bits 1 << PARAM_…, or ROUTE_OLD */
};

/* The route of a path, encoded as it came: a slash that is written %2F separates nothing. Decodes the
 * {…} segments into the arena and sets args. NULL: no route. */
const struct route *route_find(const char *path, size_t len, struct arena *arena,
                               const char *args[CALL_PATH_ARGS]);

/* Routes by number, 0 to route_count() - 1. */
size_t route_count(void);
const struct route *route_at(size_t number);
size_t route_number(const struct route *route);

#endif
