#include "reader/answer.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/token/jws.h"
#include "reader/stream.h"

#define RETRY_AFTER_S       "1"
#define METHODS             "GET, HEAD, OPTIONS"
/* Shorter bodies would grow, or save less than a packet. */
#define GZIP_MIN_LEN        1024
/* Compression is most of the cost of a long answer, and the fastest level saves nearly as much. */
#define GZIP_LEVEL          1
#define PREFLIGHT_MAX_AGE_S "86400"

/* --- headers -------------------------------------------------------------------------------- */

static const char *header(struct MHD_Connection *connection, const char *name)
{
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

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

/* If-None-Match: a list of tags, or * (RFC 9110 §13.1.2, weak comparison). */
static bool etag_matches(const char *list, const char *etag)
{
    return list && (strcmp(list, "*") == 0 || strstr(list, etag));
}

/* Whether Accept-Encoding has gzip with a weight above 0 (RFC 9110 §12.5.3). */
static bool takes_gzip(struct MHD_Connection *connection)
{
    const char *list = header(connection, "Accept-Encoding");
    const char *at = list ? strstr(list, "gzip") : NULL;
    if (!at)
        return false;
    at += strlen("gzip") + strspn(at + strlen("gzip"), " \t");
    if (*at != ';')
        return *at == ',' || *at == '\0';
    at++;
    at += strspn(at, " \t");
    return strncmp(at, "q=0", 3) != 0 || strspn(at + 3, ".0") != strcspn(at + 3, ", \t");
}

static void add(struct MHD_Response *response, const char *name, const char *value)
{
    if (MHD_add_response_header(response, name, value) != MHD_YES)
        log_warn("header left out", "name=%s", name);
}

static void add_cors(const char *origin, struct MHD_Response *response)
{
    if (!origin)
        return;
    add(response, "Access-Control-Allow-Origin", origin);
    if (strcmp(origin, "*") != 0)
        add(response, "Vary", "Origin");
    add(response, "Access-Control-Expose-Headers", "ETag, Retry-After, Allow");
}

/* --- bodies --------------------------------------------------------------------------------- */

/* Makes the call's text the body: what the handler wrote, or the problem. Returns the status. */
static unsigned settle(struct call *call)
{
    if (!call->content_type)
        call->content_type = "application/json";
    if (!call->has_problem)
        return MHD_HTTP_OK;
    json_t *problem = problem_json(&call->problem);
    char *text = json_dumps(problem, JSON_COMPACT);
    if (!text)
        abort(); /* out of memory; all texts in the problem are UTF-8 */
    json_decref(problem);
    free(call->text);
    call_take_text(call, text, strlen(text));
    call->content_type = PROBLEM_CONTENT_TYPE;
    return (unsigned)problem_status(call->problem.code);
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

/* --- responses ------------------------------------------------------------------------------ */

/* NULL: no memory. */
static struct MHD_Response *body_response(struct call *call, unsigned *status_out)
{
    char etag[48] = "";
    unsigned status = settle(call);
    assert(call->text);
    bool gzip = call->text_len >= GZIP_MIN_LEN && takes_gzip(call->connection);
    if (status == MHD_HTTP_OK) {
        make_etag(call->text, call->text_len, gzip, etag);
        /* libmicrohttpd leaves the body of a 304 out, and sends the length of the 200 (RFC 9110
         * §8.6). */
        if (etag_matches(header(call->connection, "If-None-Match"), etag))
            status = MHD_HTTP_NOT_MODIFIED;
    }
    if (gzip)
        compress_text(call);
    struct MHD_Response *response = MHD_create_response_from_buffer(call->text_len, call->text,
                                                                    MHD_RESPMEM_MUST_FREE);
    if (!response)
        return NULL;
    call->text = NULL; /* the response's now */
    add(response, "Vary", "Accept-Encoding");
    if (gzip)
        add(response, "Content-Encoding", "gzip");
    if (etag[0])
        add(response, "ETag", etag);
    if (status != MHD_HTTP_NOT_MODIFIED)
        add(response, "Content-Type", call->content_type);
    *status_out = status;
    return response;
}

/* NULL: the answer is a problem now. The first piece is read before anything is sent, so that the
 * client gets that problem, and not an empty list, when the database does not answer. */
static struct MHD_Response *pieces_response(struct call *call)
{
    struct MHD_Response *response;
    struct failure f;
    bool live = call->stream->live;
    if (stream_response(call->stream, call->reader->pool, &response, &f) != ERR_OK) {
        call_failed(call, &f);
        return NULL;
    }
    call->stream = NULL;
    add(response, "Content-Type", call->content_type ? call->content_type : "application/json");
    if (live)
        add(response, "X-Accel-Buffering", "no"); /* nginx would hold pieces back */
    return response;
}

enum MHD_Result answer_send(struct call *call, unsigned *status_out)
{
    struct MHD_Response *response = NULL;
    *status_out = MHD_HTTP_OK;
    if (call->stream && !call->has_problem)
        response = pieces_response(call);
    if (!response)
        response = body_response(call, status_out);
    if (!response)
        return MHD_NO;
    add(response, "Cache-Control", "no-cache");
    add(response, "X-Content-Type-Options", "nosniff");
    if (*status_out == MHD_HTTP_METHOD_NOT_ALLOWED)
        add(response, "Allow", METHODS);
    if (*status_out == MHD_HTTP_SERVICE_UNAVAILABLE)
        add(response, "Retry-After", RETRY_AFTER_S);
    add_cors(call->reader->cors_origin, response);
    enum MHD_Result result = MHD_queue_response(call->connection, *status_out, response);
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

enum MHD_Result answer_options(const char *cors_origin, struct MHD_Connection *connection)
{
    const char *asked = header(connection, "Access-Control-Request-Headers");
    struct MHD_Response *response = MHD_create_response_from_buffer(0, "", MHD_RESPMEM_PERSISTENT);
    if (!response)
        return MHD_NO;
    add(response, "Allow", METHODS);
    add_cors(cors_origin, response);
    if (cors_origin && header(connection, "Access-Control-Request-Method")) {
        add(response, "Access-Control-Allow-Methods", METHODS);
        add(response, "Access-Control-Max-Age", PREFLIGHT_MAX_AGE_S);
        if (is_header_list(asked))
            add(response, "Access-Control-Allow-Headers", asked);
    }
    enum MHD_Result result = MHD_queue_response(connection, MHD_HTTP_NO_CONTENT, response);
    MHD_destroy_response(response);
    return result;
}
