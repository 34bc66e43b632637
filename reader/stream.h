/* An answer sent in pieces. Each piece is produced when the one before it has been sent. */
#ifndef BERTH_READER_STREAM_H
#define BERTH_READER_STREAM_H

#include <microhttpd.h>
#include <stdbool.h>

#include "lib/base/err.h"
#include "lib/base/mem.h"

struct session_pool;

enum stream_state {
    STREAM_MORE,      /* another piece follows */
    STREAM_SUSPENDED, /* no piece yet: next() suspended the connection, and somebody resumes it */
    STREAM_END,
};

struct stream {
    /* Appends the next piece to `out`, which is empty. An error cuts the answer off. */
    enum err (*next)(struct stream *stream, struct session_pool *pool, struct buf *out,
                     enum stream_state *state_out, struct failure *f);
    void (*free)(struct stream *stream);
    bool live; /* pieces come as things happen: a proxy must not hold them back */
};

/* Reads the first piece and gives the response that sends it and the others. Takes the stream on
 * success only. Borrows the pool. An error is that of the first piece, or ERR_FAILED: no memory. */
enum err stream_response(struct stream *stream, struct session_pool *pool,
                         struct MHD_Response **out, struct failure *f);

#endif
