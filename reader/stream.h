/* An answer sent in pieces. Each piece is produced when the one before it has been sent. */
#ifndef BERTH_READER_STREAM_H
#define BERTH_READER_STREAM_H

#include <microhttpd.h>
#include <stdbool.h>

#include "lib/base/err.h"
#include "lib/base/mem.h"

/* When an EventSource comes again. */
#define STREAM_RETRY_MS 3000

struct jobs;
struct session_pool;

enum stream_state {
    STREAM_MORE,      /* another piece follows */
    STREAM_SUSPENDED, /* no piece yet: next() suspended the connection, and somebody resumes it */
    STREAM_READ,      /* no piece yet: the next one has to be read from the database */
    STREAM_END,
};

struct stream {
    /* Appends the next piece to `out`, which is empty. An error cuts the answer off. The pool is
     * NULL on a thread of HTTP, which must not wait for the database: STREAM_READ says that it has
     * to. Then next() is called with a pool on another thread, where STREAM_SUSPENDED and STREAM_READ
     * are no answers; STREAM_MORE without a piece is one. */
    enum err (*next)(struct stream *stream, struct session_pool *pool, struct buf *out,
                     enum stream_state *state_out, struct failure *f);
    void (*free)(struct stream *stream);
    bool live; /* pieces come as things happen: a proxy must not hold them back */
};

/* A stream that is being sent. */
struct sending;
/* Reads the first piece, on a thread that may wait for the database, so that the client gets a
 * problem, and not an empty list, when the database does not answer. Takes the stream, and gives *out,
 * on success only. Borrows the pool and the jobs, which read the other pieces. */
enum err sending_new(struct stream *stream, struct session_pool *pool, struct jobs *jobs,
                     struct sending **out, struct failure *f);
void sending_free(struct sending *sending); /* NULL is fine */
bool sending_is_live(const struct sending *sending);
/* The response that sends the pieces; takes what is sent. NULL: no memory. */
struct MHD_Response *sending_response(struct sending *sending, struct MHD_Connection *connection);

#endif
