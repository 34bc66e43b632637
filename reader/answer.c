#include "reader/answer.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/token/jws.h"
#include "reader/events.h"
#include "reader/session_pool.h"

#define RETRY_AFTER_S       "1"
#define METHODS             "GET, HEAD, OPTIONS"
/* Shorter bodies grow, or save less than a packet. */
#define GZIP_MIN_LEN        1024
/* Compressing is most of the work of a long answer: the fastest level takes off what matters. */
#define GZIP_LEVEL          1
#define PREFLIGHT_MAX_AGE_S "86400"
/* A stream's pieces are handed over in blocks of this size. */
#define STREAM_BLOCK        (64 * 1024)

/* --- what is answered ----------------------------------------------------------------------- */

static void take_json(struct answer *answer, json_t *value)
{
    answer->body = json_dumps(value, JSON_COMPACT);
    if (!answer->body)
        abort(); /* out of memory, or text that is not UTF-8: problem_json and rows exclude that */
    answer->len = strlen(answer->body);
    json_decref(value);
}

void answer_problem(struct answer *answer, const struct problem *problem)
{
    answer->status = problem_status(problem->code);
    answer->content_type = PROBLEM_CONTENT_TYPE;
    take_json(answer, problem_json(problem));
}

void answer_failure(struct answer *answer, const struct failure *f)
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

void answer_call(struct answer *answer, struct call *call)
{
    if (call->has_problem) {
        answer_problem(answer, &call->problem);
        return;
    }
    answer->status = MHD_HTTP_OK;
    answer->content_type = call->content_type ? call->content_type : "application/json";
    if (call->stream) {
        answer->stream = call->stream;
    } else if (call->listener) {
        answer->listener = call->listener;
    } else if (call->text) {
        answer->body = call->text;
        answer->len = call->text_len;
    } else {
        assert(call->body);
        take_json(answer, call->body);
    }
}

/* --- headers -------------------------------------------------------------------------------- */

static const char *header(struct MHD_Connection *connection, const char *name)
{
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

/* A strong validator over the bytes; another for the compressed ones (RFC 9110 §8.8.3). */
static void make_etag(const struct answer *answer, bool gzip, char etag[48])
{
    uint8_t digest[32];
    struct buf hex = {0};
    sha256(answer->body, answer->len, digest);
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

static void add_cors(const struct answer_settings *settings, struct MHD_Response *response)
{
    if (!settings->cors_origin)
        return;
    add(response, "Access-Control-Allow-Origin", settings->cors_origin);
    if (strcmp(settings->cors_origin, "*") != 0)
        add(response, "Vary", "Origin");
    add(response, "Access-Control-Expose-Headers", "ETag, Retry-After, Allow");
}

/* --- bodies --------------------------------------------------------------------------------- */

/* Replaces the body by its gzip form. */
static void compress_body(struct answer *answer)
{
    z_stream z = {0};
    /* 15 + 16: the largest window, with gzip's header (zlib manual, deflateInit2). */
    if (deflateInit2(&z, GZIP_LEVEL, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        abort(); /* out of memory */
    uLong room = deflateBound(&z, (uLong)answer->len);
    unsigned char *out = xmalloc(room);
    z.next_in = (unsigned char *)answer->body;
    z.avail_in = (uInt)answer->len;
    z.next_out = out;
    z.avail_out = (uInt)room;
    int result = deflate(&z, Z_FINISH);
    assert(result == Z_STREAM_END);
    answer->len = z.total_out;
    deflateEnd(&z);
    free(answer->body);
    answer->body = (char *)out;
}

/* A stream that is being sent. */
struct sending {
    struct session_pool *pool;
    struct stream *stream;
    struct buf piece;
    size_t sent; /* of the piece */
    bool more;
};

static enum err next_piece(struct sending *sending, struct failure *f)
{
    struct mysql_session *db;
    buf_clear(&sending->piece);
    sending->sent = 0;
    if (session_pool_take(sending->pool, false, &db, f) != ERR_OK)
        return f->err;
    enum err err = sending->stream->next(sending->stream, db, &sending->piece, &sending->more, f);
    session_pool_put(sending->pool, db);
    return err;
}

/* libmicrohttpd gives the signature. An error in the middle can only be told by cutting off. */
static ssize_t on_read(void *arg, uint64_t position, char *block, size_t max)
{
    struct sending *sending = arg;
    struct failure f;
    (void)position;
    while (sending->sent == sending->piece.len) {
        if (!sending->more)
            return MHD_CONTENT_READER_END_OF_STREAM;
        if (next_piece(sending, &f) != ERR_OK) {
            struct log_quoted quoted;
            log_warn("answer cut off", "err=%s", log_quote(&quoted, f.text));
            return MHD_CONTENT_READER_END_WITH_ERROR;
        }
    }
    size_t len = sending->piece.len - sending->sent;
    if (len > max)
        len = max;
    memcpy(block, sending->piece.data + sending->sent, len);
    sending->sent += len;
    return (ssize_t)len;
}

static void on_sent(void *arg)
{
    struct sending *sending = arg;
    sending->stream->free(sending->stream);
    buf_fini(&sending->piece);
    free(sending);
}

/* The first piece is read before anything is sent, so that a database that does not answer is a
 * problem and no empty list. NULL: *answer is that problem now. */
static struct MHD_Response *stream_response(const struct answer_settings *settings,
                                            struct answer *answer)
{
    struct sending *sending = xcalloc(1, sizeof(*sending));
    struct failure f;
    *sending = (struct sending){.pool = settings->pool, .stream = answer->stream};
    answer->stream = NULL;
    if (next_piece(sending, &f) != ERR_OK) {
        on_sent(sending);
        answer_failure(answer, &f);
        return NULL;
    }
    struct MHD_Response *response = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, STREAM_BLOCK, on_read, sending, on_sent);
    if (!response)
        on_sent(sending);
    return response;
}

/* NULL: *answer is a problem now. */
static struct MHD_Response *live_response(const struct answer_settings *settings,
                                          struct MHD_Connection *connection, struct answer *answer)
{
    struct MHD_Response *response = listener_response(answer->listener, settings->pool, connection);
    answer->listener = NULL;
    if (response) {
        add(response, "X-Accel-Buffering", "no"); /* nginx would hold events back */
    } else {
        answer_problem(answer, &(struct problem){.code = PROBLEM_TOO_MANY_CONNECTIONS,
                                                 .detail = "As many listen as may; try again "
                                                           "later, or ask another reader."});
    }
    return response;
}

static struct MHD_Response *body_response(struct MHD_Connection *connection, struct answer *answer)
{
    char etag[48] = "";
    bool gzip = answer->len >= GZIP_MIN_LEN && takes_gzip(connection);
    if (answer->status == MHD_HTTP_OK) {
        make_etag(answer, gzip, etag);
        /* libmicrohttpd sends no body with it, and the length that the 200 has (RFC 9110 §8.6). */
        if (etag_matches(header(connection, "If-None-Match"), etag))
            answer->status = MHD_HTTP_NOT_MODIFIED;
    }
    if (gzip)
        compress_body(answer);
    struct MHD_Response *response = MHD_create_response_from_buffer(answer->len, answer->body,
                                                                    MHD_RESPMEM_MUST_FREE);
    if (!response)
        return NULL;
    answer->body = NULL;
    add(response, "Vary", "Accept-Encoding");
    if (gzip)
        add(response, "Content-Encoding", "gzip");
    if (etag[0])
        add(response, "ETag", etag);
    return response;
}

enum MHD_Result answer_send(const struct answer_settings *settings,
                            struct MHD_Connection *connection, struct answer *answer)
{
    struct MHD_Response *response = NULL;
    if (answer->stream)
        response = stream_response(settings, answer);
    if (answer->listener)
        response = live_response(settings, connection, answer);
    if (!response && answer->body)
        response = body_response(connection, answer);
    if (!response) {
        free(answer->body);
        return MHD_NO;
    }
    if (answer->status != MHD_HTTP_NOT_MODIFIED)
        add(response, "Content-Type", answer->content_type);
    add(response, "Cache-Control", "no-cache");
    add(response, "X-Content-Type-Options", "nosniff");
    if (answer->allow)
        add(response, "Allow", METHODS);
    if (answer->status == MHD_HTTP_SERVICE_UNAVAILABLE)
        add(response, "Retry-After", RETRY_AFTER_S);
    add_cors(settings, response);
    enum MHD_Result result = MHD_queue_response(connection, (unsigned)answer->status, response);
    MHD_destroy_response(response);
    return result;
}

/* Names of headers, as a browser lists them: nothing that could end our header. */
static bool is_header_list(const char *text)
{
    return text && text[0] && strlen(text) <= 1024 &&
           text[strspn(
               text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_, ")] == '\0';
}

enum MHD_Result answer_options(const struct answer_settings *settings,
                               struct MHD_Connection *connection)
{
    const char *asked = header(connection, "Access-Control-Request-Headers");
    struct MHD_Response *response = MHD_create_response_from_buffer(0, "", MHD_RESPMEM_PERSISTENT);
    if (!response)
        return MHD_NO;
    add(response, "Allow", METHODS);
    add_cors(settings, response);
    if (settings->cors_origin && header(connection, "Access-Control-Request-Method")) {
        add(response, "Access-Control-Allow-Methods", METHODS);
        add(response, "Access-Control-Max-Age", PREFLIGHT_MAX_AGE_S);
        if (is_header_list(asked))
            add(response, "Access-Control-Allow-Headers", asked);
    }
    enum MHD_Result result = MHD_queue_response(connection, MHD_HTTP_NO_CONTENT, response);
    MHD_destroy_response(response);
    return result;
}
