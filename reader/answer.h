/* From a call's answer to an HTTP response: status, headers, and a body that is plain, compressed
 * or sent in pieces. */
#ifndef BERTH_READER_ANSWER_H
#define BERTH_READER_ANSWER_H

#include <microhttpd.h>

#include "reader/call.h"

/* Makes the body: a problem's text, the tag, gzip when the client accepts it and the text is long, or
 * the first piece of a stream. It may wait and compute: call it on the handler's thread. */
void answer_prepare(struct call *call);
/* Queues the prepared response: 304 when the client has the same bytes. libmicrohttpd leaves the body
 * out for HEAD. Takes the answer's body. MHD_NO: the connection is to be closed. call->status is
 * set in any case. */
enum MHD_Result answer_send(struct call *call, bool is_head);
/* Answers OPTIONS: the methods and, for a browser's preflight (Fetch standard, "CORS-preflight"),
 * that the request is allowed. */
enum MHD_Result answer_options(struct call *call);

#endif
