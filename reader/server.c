#include "reader/server.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "lib/base/address.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "reader/answer.h"
#include "reader/availability.h"
#include "reader/lookup.h"
#include "reader/reader_metrics.h"
#include "reader/routes.h"

/* Memory of one connection: bounds a request's header. */
#define CONNECTION_MEMORY      (32 * 1024)
/* Descriptors for the database, Kafka and the program itself. */
#define OTHER_DESCRIPTORS      200
/* What a thread waits on: an epoll set, and what wakes it. */
#define DESCRIPTORS_PER_THREAD 3
/* What the old API's POSTs are told. */
#define OLD_POST                                                                                   \
    "Berth takes no changes over HTTP: book with `berth book`, or publish a signed request; see "  \
    "docs/from-the-flask-api.md."

struct server {
    struct MHD_Daemon *daemon;
    struct reader reader;
    struct answer_settings answers;
};

/* --- calls ---------------------------------------------------------------------------------- */

struct reading_params {
    struct call *call;
    const struct route *route;
};

/* One `label` more; false: the answer is a problem. */
static bool read_label(struct call *call, const char *value)
{
    if (call->label_count == LIMIT_LABELS) {
        call_problem(call, PROBLEM_INVALID_PARAMETER, "label", "A machine has at most %d labels.",
                     LIMIT_LABELS);
        return false;
    }
    call->labels[call->label_count++] = value;
    return true;
}

static enum MHD_Result read_param(void *arg, enum MHD_ValueKind kind, const char *key,
                                  const char *value)
{
    struct reading_params *reading = arg;
    struct call *call = reading->call;
    (void)kind;
    for (int p = 0; p < PARAM_COUNT_OF_ALL; p++) {
        if (!(reading->route->params & 1u << p) || strcmp(key, param_name((enum param)p)) != 0)
            continue;
        const char *text = arena_strdup(call->arena, value ? value : "");
        if (p == PARAM_LABEL && !read_label(call, text))
            return MHD_NO;
        if (p != PARAM_LABEL && call->params[p]) {
            call_problem(call, PROBLEM_INVALID_PARAMETER, param_name((enum param)p),
                         "%s is given twice.", key);
        }
        call->params[p] = text;
        return call->has_problem ? MHD_NO : MHD_YES;
    }
    if (reading->route->old)
        return MHD_YES;
    call_problem(call, PROBLEM_UNKNOWN_PARAMETER, arena_strdup(call->arena, key),
                 "%s does not take the parameter %.60s.", reading->route->path, key);
    return MHD_NO;
}

static enum err run_handler(struct server *server, const struct route *route, struct call *call,
                            struct failure *f)
{
    if (route->without_database)
        return route->handler(call, f);
    enum err err = session_pool_take(server->reader.pool, !route->one_statement, &call->db, f);
    if (err != ERR_OK)
        return err;
    err = route->handler(call, f);
    session_pool_put(server->reader.pool, call->db);
    return err;
}

/* --- bookings that are looked up ------------------------------------------------------------- */

/* A request whose booking is being looked up: its connection rests until then, its thread does not.
 * It is the request's state of then on, and ends with it. */
struct resting {
    struct lookup_wanted wanted;
    struct MHD_Connection *connection;
    int64_t begin_us;
};

static void wake(struct lookup_wanted *wanted)
{
    struct resting *resting = (struct resting *)wanted; /* its first member */
    MHD_resume_connection(resting->connection);
}

static struct resting *resting_new(struct MHD_Connection *connection, const char *id)
{
    struct resting *resting = xcalloc(1, sizeof(*resting));
    *resting = (struct resting){
        .wanted = {.id = call_path_id(id), .arena = arena_new(), .answered = wake},
        .connection = connection,
        .begin_us = clock_mono_us()};
    return resting;
}

static void resting_free(struct resting *resting)
{
    if (!resting)
        return;
    arena_free(resting->wanted.arena);
    free(resting);
}

/* NULL: the path names no booking. Unless it is to be `now`, the connection rests. */
static struct resting *look_up(struct server *server, struct MHD_Connection *connection,
                               const char *path, bool now)
{
    const char *args[CALL_PATH_ARGS];
    struct arena *arena = arena_new();
    const struct route *route = route_find(path, arena, args);
    struct resting *resting = route && route->looks_up ? resting_new(connection, args[0]) : NULL;
    arena_free(arena);
    if (!resting)
        return NULL;
    if (!now)
        MHD_suspend_connection(connection);
    if (now || !lookup_add(server->reader.lookup, &resting->wanted)) {
        lookup_now(server->reader.lookup, &resting->wanted);
        if (!now)
            MHD_resume_connection(connection);
    }
    return resting;
}

/* libmicrohttpd gives the signature: a request has ended, one way or another. */
static void on_completed(void *arg, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode how)
{
    (void)connection;
    (void)how;
    if (*state != arg)
        resting_free(*state);
    *state = NULL;
}

/* --- answers -------------------------------------------------------------------------------- */

/* A GET, and the booking that was looked up for it (or NULL). */
struct question {
    struct MHD_Connection *connection;
    const char *path;
    const struct lookup_wanted *wanted;
};

static void answer_get(struct server *server, const struct question *asked, struct arena *arena,
                       struct answer *answer)
{
    struct call call = {.reader = &server->reader,
                        .wanted = asked->wanted,
                        .arena = arena,
                        .now_ms = clock_wall_ms()};
    call.last_event_id = MHD_lookup_connection_value(asked->connection, MHD_HEADER_KIND,
                                                     "Last-Event-ID");
    struct failure f;
    const struct route *route = route_find(asked->path, arena, call.path_args);
    answer->route = route;
    if (!route) {
        call_problem(&call, PROBLEM_NOT_FOUND, NULL, "There is nothing at %.200s.", asked->path);
        answer_call(answer, &call);
        return;
    }
    struct reading_params reading = {&call, route};
    MHD_get_connection_values(asked->connection, MHD_GET_ARGUMENT_KIND, read_param, &reading);
    if (!call.has_problem && run_handler(server, route, &call, &f) != ERR_OK) {
        json_decref(call.body);
        free(call.text);
        assert(!call.stream);
        answer_failure(answer, &f);
        return;
    }
    answer_call(answer, &call);
}

static void answer_other_method(const char *path, struct arena *arena, struct answer *answer)
{
    const char *args[CALL_PATH_ARGS];
    const struct route *route = route_find(path, arena, args);
    answer->route = route;
    answer->allow = true;
    answer_problem(
        answer,
        &(struct problem){.code = PROBLEM_METHOD_NOT_ALLOWED,
                          .detail = route && route->old
                                        ? OLD_POST
                                        : "The reader only reads: use GET or HEAD. To book, send "
                                          "a signed request (berth book)."});
}

/* Whether content follows the header: it is not read, so the connection ends with the answer. */
static bool has_content(struct MHD_Connection *connection)
{
    const char *length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Length");
    return (length && strcmp(length, "0") != 0) ||
           MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Transfer-Encoding");
}

/* libmicrohttpd gives the signature. It calls once when the header is there: whoever answers then
 * refuses what may follow, and the connection is closed. The second call is for the answer; of a
 * booking the third, when it is looked up. The state is NULL, the server, what rests. */
static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload_data,
                                  size_t *upload_data_size, void **state)
{
    struct server *server = arg;
    struct answer answer = {0};
    (void)version;
    (void)upload_data;
    (void)upload_data_size;
    if (!*state && !has_content(connection)) {
        *state = server;
        return MHD_YES;
    }
    if (strcmp(method, "OPTIONS") == 0) {
        reader_metrics_answered(server->reader.metrics, NULL, MHD_HTTP_NO_CONTENT, 0);
        return answer_options(&server->answers, connection);
    }
    bool reads = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0, now = !*state;
    struct resting *resting = *state != server ? *state : NULL;
    if (reads && !resting && (resting = look_up(server, connection, url, now))) {
        *state = resting;
        if (!now)
            return MHD_YES;
    }
    int64_t begin_us = resting ? resting->begin_us : clock_mono_us();
    struct arena *arena = arena_new();
    if (reads) {
        answer_get(server, &(struct question){connection, url, resting ? &resting->wanted : NULL},
                   arena, &answer);
    } else {
        answer_other_method(url, arena, &answer);
    }
    enum MHD_Result result = answer_send(&server->answers, connection, &answer);
    arena_free(arena);
    reader_metrics_answered(server->reader.metrics, answer.route, answer.status,
                            clock_mono_us() - begin_us);
    return result;
}

/* A NUL would cut a path or a parameter short, and so name something else: it becomes a character
 * that is in no name. */
static size_t unescape(void *arg, struct MHD_Connection *connection, char *text)
{
    (void)arg;
    (void)connection;
    for (char *at = strstr(text, "%00"); at; at = strstr(at, "%00"))
        at[2] = '1';
    return MHD_http_unescape(text);
}

/* A connection is a descriptor, and services are often started with 1,024 of them. Takes what is
 * needed, as far as the system lets us; gives how many connections there may be. */
static unsigned take_descriptors(unsigned connections, unsigned threads)
{
    struct rlimit own;
    rlim_t others = OTHER_DESCRIPTORS + (rlim_t)DESCRIPTORS_PER_THREAD * threads;
    rlim_t wanted = others + connections;
    if (getrlimit(RLIMIT_NOFILE, &own) != 0 || own.rlim_cur >= wanted)
        return connections;
    struct rlimit more = {.rlim_cur = own.rlim_max < wanted ? own.rlim_max : wanted,
                          .rlim_max = own.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &more) == 0)
        own = more;
    if (own.rlim_cur >= wanted)
        return connections;
    rlim_t left = own.rlim_cur > 2 * others ? own.rlim_cur - others : own.rlim_cur / 2;
    log_warn("fewer connections than reader.connection_limit", "descriptors=%llu connections=%llu",
             (unsigned long long)own.rlim_cur, (unsigned long long)left);
    return (unsigned)left;
}

/* --- life ------------------------------------------------------------------------------------ */

static void server_free(struct server *server)
{
    lookup_free(server->reader.lookup);
    availability_free(server->reader.availability);
    reader_metrics_free(server->reader.metrics);
    free(server);
}

enum err server_start(const struct config *cfg, struct session_pool *pool, struct hub *hub,
                      struct server **out, struct failure *f)
{
    const char *listen_at = config_string(cfg, "reader.listen");
    union address address;
    if (!address_parse(listen_at, &address))
        return failure_set(f, ERR_CONFIG, "reader.listen: %s is no address and port", listen_at);
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME;
    if (address.any.sa_family == AF_INET6)
        flags |= MHD_USE_IPv6;
    unsigned threads = (unsigned)config_int(cfg, "reader.db_connections");
    unsigned limit = take_descriptors((unsigned)config_int(cfg, "reader.connection_limit"),
                                      threads);
    struct server *server = xcalloc(1, sizeof(*server));
    server->reader = (struct reader){.pool = pool,
                                     .hub = hub,
                                     .availability = availability_new(),
                                     .metrics = reader_metrics_new()};
    if (lookup_start(pool, &server->reader.lookup, f) != ERR_OK) {
        server_free(server);
        return f->err;
    }
    const char *cors_origin = config_string(cfg, "reader.cors_origin");
    server->answers = (struct answer_settings){
        .cors_origin = strcmp(cors_origin, "none") == 0 ? NULL : cors_origin, .pool = pool};
    server->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, server, MHD_OPTION_SOCK_ADDR, &address.any,
        MHD_OPTION_THREAD_POOL_SIZE, threads > 1 ? threads : 0u, MHD_OPTION_CONNECTION_LIMIT,
        limit > threads ? limit : threads, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)config_int(cfg, "reader.timeout_s"), MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_MEMORY, MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, server, MHD_OPTION_END);
    if (!server->daemon) {
        lookup_stop(server->reader.lookup);
        server_free(server);
        return failure_set(f, ERR_CONFIG, "cannot listen at %s: %s", listen_at, strerror(errno));
    }
    log_info("reader listens", "address=%s port=%" PRIu16, listen_at, server_port(server));
    *out = server;
    return ERR_OK;
}

uint16_t server_port(const struct server *server)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(server->daemon,
                                                           MHD_DAEMON_INFO_BIND_PORT);
    return info ? info->port : 0;
}

void server_stop(struct server *server)
{
    if (!server)
        return;
    lookup_stop(server->reader.lookup); /* nobody rests any more, or libmicrohttpd would not end */
    MHD_stop_daemon(server->daemon);
    server_free(server);
}
