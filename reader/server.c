#include "reader/server.h"

#include <errno.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/jws.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "reader/address.h"
#include "reader/routes.h"

/* Memory of one connection: bounds a request's header. */
#define CONNECTION_MEMORY (32 * 1024)
#define RETRY_AFTER_S     "1"

struct server {
    struct MHD_Daemon *daemon;
    struct session_pool *pool;
};

struct answer {
    int status;
    const char *content_type;
    char *body; /* heap, taken by libmicrohttpd */
    size_t len;
    const char *allow; /* for 405 */
};

/* --- answers -------------------------------------------------------------------------------- */

static void answer_json(struct answer *answer, json_t *value)
{
    answer->body = json_dumps(value, JSON_COMPACT);
    if (!answer->body)
        abort(); /* out of memory, or text that is not UTF-8: problem_json and rows exclude that */
    answer->len = strlen(answer->body);
    json_decref(value);
}

static void answer_problem(struct answer *answer, const struct problem *problem)
{
    answer->status = problem_status(problem->code);
    answer->content_type = PROBLEM_CONTENT_TYPE;
    answer_json(answer, problem_json(problem));
}

static void answer_call(struct answer *answer, struct call *call)
{
    if (call->has_problem) {
        answer_problem(answer, &call->problem);
        return;
    }
    answer->status = MHD_HTTP_OK;
    answer->content_type = "application/json";
    if (call->text) {
        answer->body = call->text;
        answer->len = call->text_len;
    } else {
        answer_json(answer, call->body);
    }
}

/* The caller learns that it failed, the log why. */
static void answer_failure(struct answer *answer, const struct failure *f)
{
    struct log_quoted quoted;
    bool passes = err_is_retryable(f->err) || err_is_connection(f->err);
    log_warn("request failed", "err=%s", log_quote(&quoted, f->text));
    answer_problem(answer,
                   &(struct problem){.code = passes ? PROBLEM_UNAVAILABLE : PROBLEM_INTERNAL,
                                     .detail = passes ? "The database does not answer; try again "
                                                        "in a moment."
                                                      : "The reader could not answer; its log "
                                                        "says why."});
}

/* A strong validator over the bytes. */
static void make_etag(const struct answer *answer, char etag[40])
{
    uint8_t digest[32];
    sha256(answer->body, answer->len, digest);
    char *at = etag;
    *at++ = '"';
    for (int i = 0; i < 16; i++, at += 2)
        snprintf(at, 3, "%02x", digest[i]);
    *at++ = '"';
    *at = '\0';
}

/* If-None-Match: a list of tags, or * (RFC 9110 §13.1.2, weak comparison). */
static bool etag_matches(const char *header, const char *etag)
{
    return header && (strcmp(header, "*") == 0 || strstr(header, etag) != NULL);
}

static enum MHD_Result send_answer(struct MHD_Connection *connection, struct answer *answer)
{
    char etag[40] = "";
    if (answer->status == MHD_HTTP_OK) {
        make_etag(answer, etag);
        if (etag_matches(MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "If-None-Match"),
                         etag)) {
            answer->status = MHD_HTTP_NOT_MODIFIED;
            answer->len = 0;
        }
    }
    struct MHD_Response *response = MHD_create_response_from_buffer(answer->len, answer->body,
                                                                    MHD_RESPMEM_MUST_FREE);
    if (!response) {
        free(answer->body);
        return MHD_NO;
    }
    if (answer->status != MHD_HTTP_NOT_MODIFIED)
        MHD_add_response_header(response, "Content-Type", answer->content_type);
    MHD_add_response_header(response, "Cache-Control", "no-cache");
    if (etag[0])
        MHD_add_response_header(response, "ETag", etag);
    if (answer->allow)
        MHD_add_response_header(response, "Allow", answer->allow);
    if (answer->status == MHD_HTTP_SERVICE_UNAVAILABLE)
        MHD_add_response_header(response, "Retry-After", RETRY_AFTER_S);
    enum MHD_Result result = MHD_queue_response(connection, (unsigned)answer->status, response);
    MHD_destroy_response(response);
    return result;
}

/* --- calls ---------------------------------------------------------------------------------- */

struct reading_params {
    struct call *call;
    const struct route *route;
};

static enum MHD_Result read_param(void *arg, enum MHD_ValueKind kind, const char *key,
                                  const char *value)
{
    struct reading_params *reading = arg;
    struct call *call = reading->call;
    (void)kind;
    for (int p = 0; p < PARAM_COUNT; p++) {
        if (!(reading->route->params & 1u << p) || strcmp(key, param_name((enum param)p)) != 0)
            continue;
        if (call->params[p])
            call_problem(call, PROBLEM_INVALID_PARAMETER, param_name((enum param)p),
                         "%s is given twice.", key);
        call->params[p] = arena_strdup(call->arena, value ? value : "");
        return call->has_problem ? MHD_NO : MHD_YES;
    }
    call_problem(call, PROBLEM_UNKNOWN_PARAMETER, arena_strdup(call->arena, key),
                 "%s does not take the parameter %.60s.", reading->route->path, key);
    return MHD_NO;
}

static enum err run_handler(struct server *server, const struct route *route, struct call *call,
                            struct failure *f)
{
    enum err err = session_pool_take(server->pool, &call->db, f);
    if (err != ERR_OK)
        return err;
    err = route->handler(call, f);
    session_pool_put(server->pool, call->db);
    return err;
}

static void answer_get(struct server *server, struct MHD_Connection *connection, const char *path,
                       struct arena *arena, struct answer *answer)
{
    struct call call = {.arena = arena};
    struct failure f;
    const struct route *route = route_find(path, arena, call.path_args);
    if (!route) {
        call_problem(&call, PROBLEM_NOT_FOUND, NULL, "There is nothing at %.200s.", path);
        answer_call(answer, &call);
        return;
    }
    struct reading_params reading = {&call, route};
    MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, read_param, &reading);
    if (!call.has_problem && !route->handler)
        call.body = json_pack("{s:s}", "status", "ok");
    else if (!call.has_problem && run_handler(server, route, &call, &f) != ERR_OK) {
        json_decref(call.body);
        free(call.text);
        answer_failure(answer, &f);
        return;
    }
    answer_call(answer, &call);
}

/* libmicrohttpd gives the signature. */
static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload_data,
                                  size_t *upload_data_size, void **state)
{
    struct server *server = arg;
    struct answer answer = {0};
    struct arena *arena = arena_new();
    (void)version;
    (void)upload_data;
    (void)upload_data_size;
    (void)state;
    if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0) {
        answer_get(server, connection, url, arena, &answer);
    } else {
        answer.allow = "GET, HEAD";
        answer_problem(
            &answer, &(struct problem){.code = PROBLEM_METHOD_NOT_ALLOWED,
                                       .detail = "The reader only reads: use GET or HEAD. To book, "
                                                 "send a signed request (berth book)."});
    }
    enum MHD_Result result = send_answer(connection, &answer);
    arena_free(arena);
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

/* --- life ------------------------------------------------------------------------------------ */

enum err server_start(const struct config *cfg, struct session_pool *pool, struct server **out,
                      struct failure *f)
{
    const char *listen_at = config_string(cfg, "reader.listen");
    union address address;
    if (!address_parse(listen_at, &address))
        return failure_set(f, ERR_CONFIG, "reader.listen: %s is no address and port", listen_at);
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD;
    if (address.any.sa_family == AF_INET6)
        flags |= MHD_USE_IPv6;
    unsigned threads = (unsigned)config_int(cfg, "reader.db_connections");
    unsigned limit = (unsigned)config_int(cfg, "reader.connection_limit");
    struct server *server = xcalloc(1, sizeof(*server));
    server->pool = pool;
    server->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, server, MHD_OPTION_SOCK_ADDR, &address.any,
        MHD_OPTION_THREAD_POOL_SIZE, threads > 1 ? threads : 0u, MHD_OPTION_CONNECTION_LIMIT,
        limit > threads ? limit : threads, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)config_int(cfg, "reader.timeout_s"), MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_MEMORY, MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL, MHD_OPTION_END);
    if (!server->daemon) {
        free(server);
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
    MHD_stop_daemon(server->daemon);
    free(server);
}
