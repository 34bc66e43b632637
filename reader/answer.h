/* From a call's answer to an HTTP response: status, headers, and a body that is plain, compressed
 * or sent in pieces. */
#ifndef BERTH_READER_ANSWER_H
#define BERTH_READER_ANSWER_H

#include <microhttpd.h>

#include "reader/call.h"

/* Queues the response: 304 when the client has the same bytes, gzip when the client accepts it.
 * libmicrohttpd leaves the body out for HEAD. Takes the answer's body, text or stream. MHD_NO: the
 * connection is to be closed. *status_out is set in any case. */
enum MHD_Result answer_send(struct call *call, unsigned *status_out);
/* Answers OPTIONS: the methods and, for a browser's preflight (Fetch standard, "CORS-preflight"),
 * that the request is allowed. cors_origin as in struct reader. */
enum MHD_Result answer_options(const char *cors_origin, struct MHD_Connection *connection);

#endif
