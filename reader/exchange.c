#include "reader/exchange.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/mem.h"
#include "reader/answer.h"
#include "reader/lookup.h"
#include "reader/reader_metrics.h"
#include "reader/routes.h"

/* The answer to the old API's POSTs. */
#define OLD_POST                                                                                   \
    "Berth takes no changes over HTTP: book with `berth book`, or publish a signed request; see "  \
    "docs/from-the-flask-api.md."

/* libmicrohttpd calls exchange_on_request once with the header, and again for the answer; a
 * suspended connection's call comes after its resumption.
 *
 *   HEADER ---------------------------> ANSWERED
 *      \                                   ^
 *       `-----> LOOKUP (suspended) -------'
 */
enum exchange_state {
    EXCHANGE_HEADER,  /* the header is here */
    EXCHANGE_LOOKUP,  /* the connection is suspended until the booking's lookup is answered */
    EXCHANGE_ANSWERED /* a response is queued */
};

struct exchange {
    enum exchange_state state;
    struct reader *reader;
    struct MHD_Connection *connection;
    int64_t begin_us;
    struct arena *arena;       /* freed with the answer: a stream may last for days */
    const struct route *route; /* NULL: not found */
    const char *path_args[CALL_PATH_ARGS];
    struct lookup_query booking; /* of a ROUTE_LOOKUP */
};

static struct exchange *exchange_new(struct reader *reader, struct MHD_Connection *connection,
                                     const char *path)
{
    struct exchange *exchange = xcalloc(1, sizeof(*exchange));
    exchange->reader = reader;
    exchange->connection = connection;
    exchange->begin_us = clock_mono_us();
    exchange->arena = arena_new();
    exchange->route = route_find(path, exchange->arena, exchange->path_args);
    return exchange;
}

static void set_state(struct exchange *exchange, enum exchange_state state)
{
    assert(exchange->state < state);
    exchange->state = state;
}

void exchange_on_completed(void *reader, struct MHD_Connection *connection, void **request,
                           enum MHD_RequestTerminationCode how)
{
    struct exchange *exchange = *request;
    (void)reader;
    (void)connection;
    (void)how;
    if (!exchange)
        return;
    arena_free(exchange->arena);
    free(exchange);
    *request = NULL;
}

/* --- parameters ----------------------------------------------------------------------------- */

struct reading_params {
    struct call *call;
    const struct route *route;
};

static void add_param(struct call *call, enum param param, const char *value)
{
    if (param == PARAM_LABEL && call->label_count == LIMIT_LABELS) {
        call_invalid(call, param, "A machine has at most %d labels.", LIMIT_LABELS);
        return;
    }
    if (param == PARAM_LABEL) {
        call->labels[call->label_count++] = value;
    } else if (call->params[param]) {
        call_invalid(call, param, "%s is given twice.", param_name(param));
    }
    call->params[param] = value;
}

/* MHD_KeyValueIterator. MHD_NO ends the iteration. */
static enum MHD_Result read_param(void *arg, enum MHD_ValueKind kind, const char *key,
                                  const char *value)
{
    struct reading_params *reading = arg;
    struct call *call = reading->call;
    (void)kind;
    for (int p = 0; p < PARAM_COUNT_OF_ALL; p++) {
        if (reading->route->params & 1u << p && strcmp(key, param_name((enum param)p)) == 0) {
            add_param(call, (enum param)p, arena_strdup(call->arena, value ? value : ""));
            return call->has_problem ? MHD_NO : MHD_YES;
        }
    }
    if (reading->route->params & ROUTE_OLD)
        return MHD_YES;
    call_problem(call, PROBLEM_UNKNOWN_PARAMETER, arena_strdup(call->arena, key),
                 "%s does not take the parameter %.60s.", reading->route->path, key);
    return MHD_NO;
}

/* --- answers -------------------------------------------------------------------------------- */

static enum err run_handler(const struct route *route, struct call *call, struct failure *f)
{
    if (route->source == ROUTE_NO_DATABASE || route->source == ROUTE_LOOKUP)
        return route->handler(call, f);
    struct session_pool *pool = call->reader->pool;
    enum err err = session_pool_take(pool, route->source == ROUTE_SNAPSHOT, &call->db, f);
    if (err != ERR_OK)
        return err;
    err = route->handler(call, f);
    session_pool_put(pool, call->db);
    return err;
}

static void run_route(const struct route *route, const char *path, struct call *call)
{
    struct reading_params reading = {call, route};
    struct failure f;
    if (!route) {
        call_problem(call, PROBLEM_NOT_FOUND, NULL, "There is nothing at %.200s.", path);
        return;
    }
    MHD_get_connection_values(call->connection, MHD_GET_ARGUMENT_KIND, read_param, &reading);
    if (!call->has_problem && run_handler(route, call, &f) != ERR_OK)
        call_failed(call, &f);
}

static bool is_read(const char *method)
{
    return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
}

static enum MHD_Result answer(struct exchange *exchange, const char *path, const char *method)
{
    const struct route *route = exchange->route;
    struct call call = {.reader = exchange->reader,
                        .connection = exchange->connection,
                        .booking = &exchange->booking,
                        .arena = exchange->arena,
                        .now_ms = clock_wall_ms()};
    memcpy(call.path_args, exchange->path_args, sizeof(call.path_args));
    if (is_read(method)) {
        run_route(route, path, &call);
    } else {
        call_problem(&call, PROBLEM_METHOD_NOT_ALLOWED, NULL, "%s",
                     route && route->params & ROUTE_OLD
                         ? OLD_POST
                         : "The reader only reads: use GET or HEAD. To book, send "
                           "a signed request (berth book).");
    }
    unsigned status;
    enum MHD_Result result = answer_send(&call, &status);
    call_fini(&call);
    arena_free(exchange->arena);
    exchange->arena = NULL;
    set_state(exchange, EXCHANGE_ANSWERED);
    reader_metrics_answered(exchange->reader->metrics, route, (int)status,
                            clock_mono_us() - exchange->begin_us);
    return result;
}

/* --- requests ------------------------------------------------------------------------------- */

/* On the lookup's thread. */
static void on_looked_up(struct lookup_query *query)
{
    struct exchange *exchange = query->owner;
    MHD_resume_connection(exchange->connection);
}

/* Looks the booking up, in this thread or with the connection suspended. */
static void look_up(struct exchange *exchange, bool suspend)
{
    struct lookup *lookup = exchange->reader->lookup;
    exchange->booking = (struct lookup_query){.id = call_path_id(exchange->path_args[0]),
                                              .arena = exchange->arena,
                                              .owner = exchange,
                                              .answered = on_looked_up};
    if (!suspend) {
        lookup_now(lookup, &exchange->booking);
        return;
    }
    set_state(exchange, EXCHANGE_LOOKUP);
    MHD_suspend_connection(exchange->connection); /* before another thread can resume it */
    if (!lookup_add(lookup, &exchange->booking)) {
        lookup_now(lookup, &exchange->booking);
        MHD_resume_connection(exchange->connection);
    }
}

/* Whether content follows the header. The reader does not read it, so the connection has to be
 * closed after the answer. */
static bool has_content(struct MHD_Connection *connection)
{
    const char *length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Length");
    return (length && strcmp(length, "0") != 0) ||
           MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Transfer-Encoding");
}

/* libmicrohttpd gives the signature. */
enum MHD_Result exchange_on_request(void *reader, struct MHD_Connection *connection,
                                    const char *url, const char *method, const char *version,
                                    const char *upload_data, size_t *upload_data_size,
                                    void **request)
{
    struct exchange *exchange = *request;
    bool first = !exchange;
    (void)version;
    (void)upload_data;
    (void)upload_data_size;
    if (first)
        exchange = *request = exchange_new(reader, connection, url);
    /* Answering the first call makes libmicrohttpd refuse the content and close the connection. */
    if (first && !has_content(connection))
        return MHD_YES;
    if (strcmp(method, "OPTIONS") == 0) {
        set_state(exchange, EXCHANGE_ANSWERED);
        reader_metrics_answered(exchange->reader->metrics, NULL, MHD_HTTP_NO_CONTENT, 0);
        return answer_options(exchange->reader->cors_origin, connection);
    }
    bool needs_lookup = exchange->route && exchange->route->source == ROUTE_LOOKUP &&
                        is_read(method);
    if (needs_lookup && exchange->state == EXCHANGE_HEADER) {
        look_up(exchange, !first);
        if (exchange->state == EXCHANGE_LOOKUP)
            return MHD_YES;
    }
    return answer(exchange, url, method);
}
