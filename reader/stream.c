#include "reader/stream.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"

/* Size of the blocks in which libmicrohttpd takes a piece. */
#define BLOCK_BYTES (64 * 1024)

struct sending {
    struct session_pool *pool;
    struct stream *stream;
    struct buf piece;
    size_t sent; /* bytes of the piece */
    enum stream_state state;
};

static enum err next_piece(struct sending *sending, struct failure *f)
{
    buf_clear(&sending->piece);
    sending->sent = 0;
    return sending->stream->next(sending->stream, sending->pool, &sending->piece, &sending->state,
                                 f);
}

/* MHD_ContentReaderCallback. After the status line, cutting the answer off is the only way to
 * report an error. */
static ssize_t on_read(void *arg, uint64_t position, char *block, size_t max)
{
    struct sending *sending = arg;
    struct failure f;
    (void)position;
    while (sending->sent == sending->piece.len) {
        if (sending->state == STREAM_END)
            return MHD_CONTENT_READER_END_OF_STREAM;
        if (next_piece(sending, &f) != ERR_OK) {
            log_failure(LOG_WARN, "answer cut off", &f);
            return MHD_CONTENT_READER_END_WITH_ERROR;
        }
        if (sending->state == STREAM_SUSPENDED)
            return 0;
    }
    size_t len = sending->piece.len - sending->sent;
    if (len > max)
        len = max;
    memcpy(block, sending->piece.data + sending->sent, len);
    sending->sent += len;
    return (ssize_t)len;
}

static void sending_free(struct sending *sending)
{
    buf_fini(&sending->piece);
    free(sending);
}

/* MHD_ContentReaderFreeCallback. */
static void on_sent(void *arg)
{
    struct sending *sending = arg;
    sending->stream->free(sending->stream);
    sending_free(sending);
}

enum err stream_response(struct stream *stream, struct session_pool *pool,
                         struct MHD_Response **out, struct failure *f)
{
    struct sending *sending = xcalloc(1, sizeof(*sending));
    *sending = (struct sending){.pool = pool, .stream = stream};
    enum err err = next_piece(sending, f);
    if (err == ERR_OK) {
        *out = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES, on_read, sending,
                                                 on_sent);
        if (!*out)
            err = failure_set(f, ERR_FAILED, "no memory for a response");
    }
    if (err != ERR_OK)
        sending_free(sending);
    return err;
}
