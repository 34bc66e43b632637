/* Errors for people and programs, as RFC 9457 problem objects: what the reader answers and what
 * the command line prints with -o json. Codes are stable names, never reused. */
#ifndef BERTH_LIB_CODEC_PROBLEM_H
#define BERTH_LIB_CODEC_PROBLEM_H

#include <jansson.h>

#include "core/reason.h"

#define PROBLEM_CONTENT_TYPE "application/problem+json"
#define PROBLEM_TYPE_PREFIX  "urn:berth:problem:"

/* id, code, HTTP status, title */
#define PROBLEM_TABLE(X)                                                                           \
    X(BAD_REQUEST, "bad_request", 400, "The request is malformed")                                 \
    X(INVALID_PARAMETER, "invalid_parameter", 400, "A parameter has a wrong value")                \
    X(UNKNOWN_PARAMETER, "unknown_parameter", 400, "There is no such parameter")                   \
    X(TOO_EXPENSIVE, "too_expensive", 400, "The question reads too much")                          \
    X(USAGE, "usage", 400, "Wrong usage")                                                          \
    X(NOT_FOUND, "not_found", 404, "Not found")                                                    \
    X(METHOD_NOT_ALLOWED, "method_not_allowed", 405, "Only GET and HEAD are answered")             \
    X(REJECTED, "rejected", 409, "The request was rejected")                                       \
    X(PAYLOAD_TOO_LARGE, "payload_too_large", 413, "GET and HEAD carry no content")                \
    X(URI_TOO_LONG, "uri_too_long", 414, "The URL is too long")                                    \
    X(TOO_MANY_REQUESTS, "too_many_requests", 429, "Too many questions at a time")                 \
    X(INTERNAL, "internal", 500, "Internal error")                                                 \
    X(CONFIGURATION, "configuration", 500, "Wrong configuration")                                  \
    X(UNAVAILABLE, "unavailable", 503, "A service that is needed does not answer")                 \
    X(TOO_MANY_CONNECTIONS, "too_many_connections", 503, "Too many connections")                   \
    X(NO_DECISION, "no_decision", 504, "No decision was seen in time")

enum problem_code {
#define PROBLEM_ENUM(id, name, status, title) PROBLEM_##id,
    PROBLEM_TABLE(PROBLEM_ENUM)
#undef PROBLEM_ENUM
        PROBLEM_CODE_COUNT
};

struct problem {
    enum problem_code code;
    const char *detail;    /* a sentence that says what to do; not NULL */
    const char *pointer;   /* JSON pointer into what was sent, or NULL */
    const char *parameter; /* a query parameter's or option's name, or NULL */
    enum reason reason;    /* PROBLEM_REJECTED: why; else REASON_NONE */
};

int problem_status(enum problem_code code);
/* {"type", "title", "status", "detail"}, and "pointer", "parameter", "reason" where set; callers
 * may add members of their own. A new reference. Out of memory aborts. The
 * detail has its visible form (core/utf8.h); in pointer and parameter bytes that are not UTF-8 (a
 * URL may hold any) become U+FFFD. */
json_t *problem_json(const struct problem *problem);

#endif
