/* What goes back over HTTP: status, headers, and the body as it is, compressed, or in pieces. */
#ifndef BERTH_READER_ANSWER_H
#define BERTH_READER_ANSWER_H

#include <microhttpd.h>

#include "lib/base/err.h"
#include "reader/call.h"

struct route;

struct answer {
    const struct route *route; /* that was asked; NULL: none of ours */
    int status;
    const char *content_type;
    char *body; /* heap, or NULL; owned until it is sent */
    size_t len;
    bool allow;                /* list the methods, for 405 and OPTIONS */
    struct stream *stream;     /* instead of the body; owned until it is sent */
    struct listener *listener; /* likewise */
};

/* What all answers of one server have in common. */
struct answer_settings {
    const char *cors_origin;   /* whose pages may read: "*", an origin, or NULL for none */
    struct session_pool *pool; /* for streams */
};

void answer_problem(struct answer *answer, const struct problem *problem);
/* The database did not answer: the caller learns that it failed, the log why. */
void answer_failure(struct answer *answer, const struct failure *f);
/* What a handler left; takes it. */
void answer_call(struct answer *answer, struct call *call);
/* Sends it: 304 when the client has it already, gzip when it takes that, nothing but the headers
 * for HEAD. Takes the body and the stream. */
enum MHD_Result answer_send(const struct answer_settings *settings,
                            struct MHD_Connection *connection, struct answer *answer);
/* Answers OPTIONS: which methods there are and, to a browser's question before a call from another
 * origin (Fetch standard, "CORS-preflight"), that it may be made. */
enum MHD_Result answer_options(const struct answer_settings *settings,
                               struct MHD_Connection *connection);

#endif
