#include "reader/answer.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/token/jws.h"
#include "reader/connections.h"
#include "reader/http_text.h"
#include "reader/stream.h"

#define RETRY_AFTER_S       "1"
#define METHODS             "GET, HEAD, OPTIONS"
/* Shorter bodies would grow, or save less than a packet. */
#define GZIP_MIN_LEN        1024
/* Compression is most of the cost of a long answer, and the fastest level saves nearly as much. */
#define GZIP_LEVEL          1
#define PREFLIGHT_MAX_AGE_S "86400"

/* --- headers -------------------------------------------------------------------------------- */

/* A strong validator of the bytes; the gzip form has its own (RFC 9110 §8.8.3). */
static void make_etag(const char *body, size_t len, bool gzip, char etag[48])
{
    uint8_t digest[32];
    struct buf hex = {0};
    sha256(body, len, digest);
    buf_hex(&hex, digest, 16);
    snprintf(etag, 48, "\"%s%s\"", hex.data, gzip ? "-gz" : "");
    buf_fini(&hex);
}

static void add(struct MHD_Response *response, const char *name, const char *value)
{
    if (MHD_add_response_header(response, name, value) != MHD_YES)
        log_warn("header left out", "name=%s", name);
}

/* The client's Origin if its pages may read; else NULL. */
static const char *allowed_origin(struct call *call)
{
    const char *origins = call->reader->cors_origins, *origin = call_header(call, "Origin");
    if (!origins || !origin)
        return NULL;
    return strcmp(origins, "*") == 0 ? "*" : http_names_origin(origins, origin) ? origin : NULL;
}

static void add_cors(struct call *call, struct MHD_Response *response)
{
    const char *origin = allowed_origin(call);
    if (!origin)
        return;
    add(response, "Access-Control-Allow-Origin", origin);
    add(response, "Access-Control-Expose-Headers", "ETag, Retry-After, Allow");
}

/* --- bodies --------------------------------------------------------------------------------- */

/* An EventSource gives up for good on any status but 200, and comes again after a stream that ends:
 * so it gets such a stream where other clients get a problem that passes. */
static bool ends_at_once(struct call *call)
{
    int status = problem_status(call->problem.code);
    return call->is_feed &&
           (status == MHD_HTTP_SERVICE_UNAVAILABLE || status == MHD_HTTP_TOO_MANY_REQUESTS) &&
           http_accepts(call_header(call, "Accept"), "text/event-stream");
}

static void end_at_once(struct call *call)
{
    struct buf text = {0};
    buf_printf(&text, "retry: %d\n: %s\n\n", STREAM_RETRY_MS, call->problem.detail);
    free(call->text);
    call_take_text(call, text.data, text.len);
    call->content_type = "text/event-stream";
    call->closes = true;
}

/* Makes the call's text the body: what the handler wrote, or the problem. */
static void settle(struct call *call)
{
    call->status = MHD_HTTP_OK;
    if (!call->content_type)
        call->content_type = "application/json";
    if (!call->has_problem)
        return;
    if (ends_at_once(call)) {
        end_at_once(call);
        return;
    }
    json_t *problem = problem_json(&call->problem);
    char *text = json_dumps(problem, JSON_COMPACT);
    if (!text)
        abort(); /* out of memory; all texts in the problem are UTF-8 */
    json_decref(problem);
    free(call->text);
    call_take_text(call, text, strlen(text));
    call->content_type = PROBLEM_CONTENT_TYPE;
    call->status = (unsigned)problem_status(call->problem.code);
}

static void compress_text(struct call *call)
{
    z_stream z = {0};
    /* 15 + 16: the largest window, with gzip's header (zlib manual, deflateInit2). */
    if (deflateInit2(&z, GZIP_LEVEL, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        abort(); /* out of memory */
    uLong room = deflateBound(&z, (uLong)call->text_len);
    unsigned char *out = xmalloc(room);
    z.next_in = (unsigned char *)call->text;
    z.avail_in = (uInt)call->text_len;
    z.next_out = out;
    z.avail_out = (uInt)room;
    int result = deflate(&z, Z_FINISH);
    assert(result == Z_STREAM_END);
    deflateEnd(&z);
    free(call->text);
    call_take_text(call, (char *)out, z.total_out);
}

void answer_prepare(struct call *call)
{
    struct failure f;
    if (call->stream && !call->has_problem) {
        if (sending_new(call->stream, call->reader->slow_pool, call->reader->slow, &call->sending,
                        &f) == ERR_OK) {
            call->stream = NULL;
            call->status = MHD_HTTP_OK;
            return;
        }
        call_failed(call, &f);
    }
    settle(call);
    assert(call->text);
    call->gzip = call->text_len >= GZIP_MIN_LEN &&
                 http_accepts(call_header(call, "Accept-Encoding"), "gzip");
    if (call->status == MHD_HTTP_OK)
        make_etag(call->text, call->text_len, call->gzip, call->etag);
    if (call->gzip)
        compress_text(call);
}

/* --- responses ------------------------------------------------------------------------------ */

/* NULL: no memory. */
static struct MHD_Response *body_response(struct call *call)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(call->text_len, call->text,
                                                                    MHD_RESPMEM_MUST_FREE);
    if (!response)
        return NULL;
    call->text = NULL; /* the response's now */
    /* libmicrohttpd leaves the body of a 304 out, and sends the length of the 200 (RFC 9110 §8.6). */
    if (call->etag[0] && http_etag_listed(call_header(call, "If-None-Match"), call->etag))
        call->status = MHD_HTTP_NOT_MODIFIED;
    add(response, "Vary",
        call->reader->cors_origins ? "Accept-Encoding, Origin" : "Accept-Encoding");
    if (call->gzip)
        add(response, "Content-Encoding", "gzip");
    if (call->etag[0])
        add(response, "ETag", call->etag);
    if (call->status != MHD_HTTP_NOT_MODIFIED)
        add(response, "Content-Type", call->content_type);
    return response;
}

/* NULL: no memory. */
static struct MHD_Response *pieces_response(struct call *call, bool is_head)
{
    bool live = sending_is_live(call->sending);
    struct MHD_Response *response = sending_response(call->sending, call->connection);
    if (!response)
        return NULL;
    call->sending = NULL; /* the response's now */
    /* Otherwise libmicrohttpd would send the end of a chunked body, which HEAD does not have. */
    if (is_head)
        MHD_set_response_options(response, MHD_RF_HTTP_VERSION_1_0_ONLY, MHD_RO_END);
    add(response, "Content-Type", call->content_type ? call->content_type : "application/json");
    if (live)
        add(response, "X-Accel-Buffering", "no"); /* nginx would hold pieces back */
    connection_set_state(call->connection, live ? CONNECTION_BUSY : CONNECTION_SENDING);
    return response;
}

enum MHD_Result answer_send(struct call *call, bool is_head)
{
    struct MHD_Response *response;
    connection_set_state(call->connection, CONNECTION_SENDING);
    response = call->sending ? pieces_response(call, is_head) : body_response(call);
    if (!response)
        return MHD_NO;
    add(response, "Cache-Control", "no-cache");
    add(response, "X-Content-Type-Options", "nosniff");
    if (call->status == MHD_HTTP_METHOD_NOT_ALLOWED)
        add(response, "Allow", METHODS);
    if (call->status == MHD_HTTP_SERVICE_UNAVAILABLE || call->status == MHD_HTTP_TOO_MANY_REQUESTS)
        add(response, "Retry-After", RETRY_AFTER_S);
    if (call->closes)
        add(response, "Connection", "close");
    add_cors(call, response);
    enum MHD_Result result = MHD_queue_response(call->connection, call->status, response);
    MHD_destroy_response(response);
    return result;
}

/* A list of header names, as a browser sends it. Anything else could end our header. */
static bool is_header_list(const char *text)
{
    return text && text[0] && strlen(text) <= 1024 &&
           text[strspn(
               text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_, ")] == '\0';
}

enum MHD_Result answer_options(struct call *call)
{
    const char *asked = call_header(call, "Access-Control-Request-Headers");
    struct MHD_Response *response = MHD_create_response_from_buffer(0, "", MHD_RESPMEM_PERSISTENT);
    call->status = MHD_HTTP_NO_CONTENT;
    if (!response)
        return MHD_NO;
    add(response, "Allow", METHODS);
    if (call->reader->cors_origins)
        add(response, "Vary", "Origin");
    add_cors(call, response);
    if (call->closes)
        add(response, "Connection", "close");
    if (allowed_origin(call) && call_header(call, "Access-Control-Request-Method")) {
        add(response, "Access-Control-Allow-Methods", METHODS);
        add(response, "Access-Control-Max-Age", PREFLIGHT_MAX_AGE_S);
        if (is_header_list(asked))
            add(response, "Access-Control-Allow-Headers", asked);
    }
    enum MHD_Result result = MHD_queue_response(call->connection, call->status, response);
    MHD_destroy_response(response);
    return result;
}
