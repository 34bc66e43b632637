#include "reader/exchange.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "reader/answer.h"
#include "reader/connections.h"
#include "reader/http_text.h"
#include "reader/jobs.h"
#include "reader/lookup.h"
#include "reader/reader_metrics.h"
#include "reader/routes.h"
#include "reader/session_pool.h"

/* The answer to the old API's POSTs. */
#define OLD_POST                                                                                   \
    "Berth takes no changes over HTTP: book with `berth book`, or publish a signed request; see "  \
    "docs/from-the-flask-api.md."
#define ONLY_READS                                                                                 \
    "The reader only reads: use GET or HEAD. To book, send a signed request (berth book)."

/* A request, from its first line to the end of its answer. Threads of HTTP have it, except while it
 * is pending: then the connection is suspended, and a thread of jobs or the lookup has it.
 *
 *   LINE ----> HEADER ------------------------> READY ----> ANSWERED
 *                 \                               ^
 *                  `----> PENDING (suspended) ---'
 */
enum exchange_state {
    EXCHANGE_LINE,    /* the request's line is here */
    EXCHANGE_HEADER,  /* the header is here */
    EXCHANGE_PENDING, /* the connection is suspended while others work on the answer */
    EXCHANGE_READY,   /* the answer is prepared */
    EXCHANGE_ANSWERED /* a response is queued */
};

struct exchange {
    struct job job; /* its first member */
    enum exchange_state state;
    int64_t begin_us;
    char *target;              /* the URL as it came */
    const struct route *route; /* NULL: not found */
    struct call call;          /* its arena is freed with the answer: a stream may last for days */
    struct lookup_query booking; /* of a ROUTE_LOOKUP */
};

/* libmicrohttpd takes the first Content-Length that it finds, and answers one that is no number with
 * two headers in a row. So it finds this one, and check_framing looks at what the client sent. */
static const char no_content[] = "0";

void *exchange_on_line(void *reader, const char *target, struct MHD_Connection *connection)
{
    struct exchange *exchange = xcalloc(1, sizeof(*exchange));
    MHD_set_connection_value(connection, MHD_HEADER_KIND, "Content-Length", no_content);
    exchange->begin_us = clock_mono_us();
    exchange->target = xstrdup(target ? target : "");
    exchange->call = (struct call){.reader = reader,
                                   .connection = connection,
                                   .booking = &exchange->booking,
                                   .arena = arena_new()};
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
    (void)how;
    connection_set_state(connection, CONNECTION_WAITING);
    if (!exchange)
        return;
    call_fini(&exchange->call);
    arena_free(exchange->call.arena);
    free(exchange->target);
    free(exchange);
    *request = NULL;
}

/* --- headers -------------------------------------------------------------------------------- */

struct framing {
    int lengths, codings, hosts;
    bool has_content, is_number, has_odd_name;
};

/* MHD_KeyValueIterator. */
static enum MHD_Result see_header(void *arg, enum MHD_ValueKind kind, const char *name,
                                  const char *value)
{
    struct framing *framing = arg;
    (void)kind;
    framing->has_odd_name = framing->has_odd_name || strpbrk(name, " \t");
    if (strcasecmp(name, "Content-Length") == 0 && value != no_content) {
        framing->lengths++;
        framing->is_number = value && http_is_digits(value);
        framing->has_content = !value || strspn(value, "0") != strlen(value);
    } else if (strcasecmp(name, "Transfer-Encoding") == 0) {
        framing->codings++;
    } else if (strcasecmp(name, "Host") == 0) {
        framing->hosts++;
    }
    return MHD_YES;
}

/* Answers a request of which servers could think that it ends elsewhere (RFC 9112 §6.3), or that does
 * not name its host (§3.2), with a problem. The reader does not read content, so the connection is
 * closed after the answer. */
static void check_framing(struct call *call, const char *version)
{
    struct framing seen = {.is_number = true};
    MHD_get_connection_values(call->connection, MHD_HEADER_KIND, see_header, &seen);
    call->closes = seen.has_content || seen.codings > 0;
    const char *wrong = NULL;
    if (seen.lengths > 1 || seen.codings > 1) {
        wrong = "Content-Length and Transfer-Encoding may be given once.";
    } else if (!seen.is_number) {
        wrong = "Content-Length must be a number.";
    } else if (seen.lengths > 0 && seen.codings > 0) {
        wrong = "Give Content-Length or Transfer-Encoding, not both.";
    } else if (seen.hosts > 1 || (seen.hosts == 0 && strcmp(version, "HTTP/1.1") == 0)) {
        wrong = "The header Host must be given, once.";
    } else if (seen.has_odd_name) {
        wrong = "No blank may stand between the name of a header and its colon.";
    }
    if (!wrong)
        return;
    call->closes = true;
    call_problem(call, PROBLEM_BAD_REQUEST, NULL, "%s", wrong);
}

/* --- parameters ----------------------------------------------------------------------------- */

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

/* One "name=value" of the query. */
static void read_param(struct call *call, const struct route *route, const char *text, size_t len)
{
    const char *equals = memchr(text, '=', len);
    size_t name_len = equals ? (size_t)(equals - text) : len;
    const char *name = http_decode(call->arena, text, name_len, true), *value = "";
    if (equals)
        value = http_decode(call->arena, equals + 1, len - name_len - 1, true);
    for (int p = 0; name && p < PARAM_COUNT_OF_ALL; p++) {
        if (!(route->params & 1u << p) || strcmp(name, param_name((enum param)p)) != 0)
            continue;
        if (value) {
            add_param(call, (enum param)p, value);
        } else {
            call_invalid(call, (enum param)p,
                         "%s must be UTF-8 without NUL, with %%XX for each byte that is escaped.",
                         name);
        }
        return;
    }
    if (!name)
        name = arena_strndup(call->arena, text, name_len);
    call_problem(call, PROBLEM_UNKNOWN_PARAMETER, name, "%s does not take the parameter %.60s.",
                 route->path, name);
}

static void read_params(struct call *call, const struct route *route, const char *query)
{
    while (*query && !call->has_problem && !(route->params & ROUTE_OLD)) {
        size_t len = strcspn(query, "&");
        if (len > 0)
            read_param(call, route, query, len);
        query += len + (query[len] == '&');
    }
}

/* --- answers -------------------------------------------------------------------------------- */

static enum err run_handler(const struct route *route, struct call *call, struct failure *f)
{
    if (route->source == ROUTE_NO_DATABASE || route->source == ROUTE_LOOKUP)
        return route->handler(call, f);
    struct session_pool *pool = route->lane == ROUTE_SLOW ? call->reader->slow_pool
                                                          : call->reader->pool;
    enum err err = session_pool_take(pool, route->source == ROUTE_SNAPSHOT, &call->db, f);
    if (err != ERR_OK)
        return err;
    err = route->handler(call, f);
    if (err != ERR_OK && session_pool_was_too_slow(call->db)) {
        log_failure(LOG_INFO, "a question took too long", f);
        err = call_problem(call, PROBLEM_TOO_EXPENSIVE, NULL,
                           "The database may not work as long on one question as this one takes "
                           "(reader.statement_limit_s): ask for a shorter window, for one machine "
                           "or client, or for smaller pages.");
    }
    session_pool_put(pool, call->db);
    return err;
}

/* Makes the answer, unless it is a problem already. */
static void prepare(struct exchange *exchange)
{
    struct call *call = &exchange->call;
    struct failure f;
    call->now_ms = clock_wall_ms();
    if (!call->has_problem && run_handler(exchange->route, call, &f) != ERR_OK)
        call_failed(call, &f);
    answer_prepare(call);
    set_state(exchange, EXCHANGE_READY);
}

/* On a thread of the jobs. */
static void run_job(struct job *job, bool in_time)
{
    struct exchange *exchange = (struct exchange *)job;
    if (!in_time) {
        call_problem(&exchange->call, PROBLEM_UNAVAILABLE, NULL,
                     "The reader has more questions than it can answer; try again in a moment.");
    }
    prepare(exchange);
    MHD_resume_connection(exchange->call.connection);
}

/* On the lookup's thread. */
static void on_looked_up(struct lookup_query *query)
{
    struct exchange *exchange = query->owner;
    MHD_resume_connection(exchange->call.connection);
}

static bool start_lookup(struct exchange *exchange)
{
    exchange->booking = (struct lookup_query){.id = call_path_id(exchange->call.path_args[0]),
                                              .arena = exchange->call.arena,
                                              .owner = exchange,
                                              .answered = on_looked_up};
    if (lookup_add(exchange->call.reader->lookup, &exchange->booking))
        return true;
    call_stopping(&exchange->call);
    return false;
}

static bool start_job(struct exchange *exchange)
{
    struct call *call = &exchange->call;
    enum route_lane lane = exchange->route->lane;
    struct jobs *jobs = lane == ROUTE_SLOW     ? call->reader->slow
                        : lane == ROUTE_SCRAPE ? call->reader->scrapes
                                               : call->reader->quick;
    exchange->job.run = run_job;
    exchange->job.address = connection_address(call->connection);
    enum jobs_added added = jobs_add(jobs, &exchange->job, true);
    if (added == JOBS_TOO_MANY) {
        call_problem(call, PROBLEM_TOO_MANY_REQUESTS, NULL,
                     "This address has as many questions pending as it may "
                     "(reader.pending_per_address); ask again when one is answered.");
    } else if (added == JOBS_STOPPED) {
        call_stopping(call);
    }
    return added == JOBS_ADDED;
}

/* Has the answer prepared: here, or by other threads while the connection is suspended. Returns
 * whether it is prepared. */
static bool start(struct exchange *exchange)
{
    const struct route *route = exchange->route;
    bool looks_up = route && route->source == ROUTE_LOOKUP;
    if (exchange->call.has_problem || (route->lane == ROUTE_HTTP && !looks_up)) {
        prepare(exchange);
        return true;
    }
    set_state(exchange, EXCHANGE_PENDING);
    MHD_suspend_connection(exchange->call.connection); /* before another thread can resume it */
    bool started = looks_up ? start_lookup(exchange) : start_job(exchange);
    if (!started)
        MHD_resume_connection(exchange->call.connection);
    return false;
}

/* Sends the answer. */
static enum MHD_Result finish(struct exchange *exchange, const char *method)
{
    struct call *call = &exchange->call;
    if (exchange->state == EXCHANGE_PENDING)
        prepare(exchange); /* the booking was looked up, or the question was refused */
    enum MHD_Result result = answer_send(call, strcmp(method, "HEAD") == 0);
    reader_metrics_answered(call->reader->metrics, exchange->route, (int)call->status,
                            clock_mono_us() - exchange->begin_us);
    call_fini(call);
    arena_free(call->arena);
    call->arena = NULL;
    set_state(exchange, EXCHANGE_ANSWERED);
    return result;
}

/* --- requests ------------------------------------------------------------------------------- */

static enum MHD_Result answer_options_method(struct exchange *exchange)
{
    struct call *call = &exchange->call;
    enum MHD_Result result = answer_options(call);
    reader_metrics_answered(call->reader->metrics, NULL, (int)call->status, 0);
    set_state(exchange, EXCHANGE_ANSWERED);
    return result;
}

/* Reads the request's path and parameters, or answers it with a problem. */
static void read_request(struct exchange *exchange, const char *method)
{
    struct call *call = &exchange->call;
    size_t len;
    const char *query, *path = http_path(exchange->target, &len, &query);
    const struct route *route = route_find(path, len, call->arena, call->path_args);
    exchange->route = route;
    call->is_feed = route && route->handler == handle_events;
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        call_problem(call, PROBLEM_METHOD_NOT_ALLOWED, NULL, "%s",
                     route && route->params & ROUTE_OLD ? OLD_POST : ONLY_READS);
    } else if (route) {
        read_params(call, route, query);
    } else {
        call_problem(call, PROBLEM_NOT_FOUND, NULL, "There is nothing at %.*s.",
                     len > 200 ? 200 : (int)len, path);
    }
}

/* The signature is libmicrohttpd's, which calls this with the header, and again without content; then again after each
 * resumption, until a response is queued. An answer to the first call closes the connection, as it
 * must when content follows. */
enum MHD_Result exchange_on_request(void *reader, struct MHD_Connection *connection,
                                    const char *url, const char *method, const char *version,
                                    const char *upload_data, size_t *upload_data_size,
                                    void **request)
{
    struct exchange *exchange = *request;
    (void)reader;
    (void)url;
    (void)upload_data;
    (void)upload_data_size;
    if (exchange->state == EXCHANGE_LINE) {
        connection_set_state(connection, CONNECTION_BUSY);
        check_framing(&exchange->call, version);
        set_state(exchange, EXCHANGE_HEADER);
        if (!exchange->call.closes)
            return MHD_YES;
    }
    if (exchange->state == EXCHANGE_HEADER) {
        if (!exchange->call.has_problem && strcmp(method, "OPTIONS") == 0)
            return answer_options_method(exchange);
        if (!exchange->call.has_problem)
            read_request(exchange, method);
        if (!start(exchange))
            return MHD_YES;
    }
    return finish(exchange, method);
}
