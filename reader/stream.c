#include "reader/stream.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"
#include "reader/connections.h"
#include "reader/jobs.h"

/* Size of the blocks in which libmicrohttpd takes a piece. */
#define BLOCK_BYTES (64 * 1024)

/* A thread of HTTP and then, while the connection is suspended, a thread of the jobs have it. */
struct sending {
    struct job job; /* its first member: reads a piece */
    struct session_pool *pool;
    struct jobs *jobs;
    struct MHD_Connection *connection;
    struct stream *stream;
    struct buf piece;
    size_t sent; /* bytes of the piece */
    enum stream_state state;
    bool failed; /* the piece could not be read */
};

static enum err next_piece(struct sending *sending, struct session_pool *pool, struct failure *f)
{
    buf_clear(&sending->piece);
    sending->sent = 0;
    return sending->stream->next(sending->stream, pool, &sending->piece, &sending->state, f);
}

/* On a thread of the jobs. */
static void read_piece(struct job *job, bool in_time)
{
    struct sending *sending = (struct sending *)job;
    struct failure f;
    sending->state = STREAM_MORE;
    if (in_time && next_piece(sending, sending->pool, &f) != ERR_OK) {
        log_failure(LOG_WARN, "answer cut off", &f);
        sending->failed = true;
    }
    MHD_resume_connection(sending->connection);
}

/* Has the next piece read by a job. False: the jobs have stopped. */
static bool start_reading(struct sending *sending)
{
    sending->job.run = read_piece;
    sending->job.address = connection_address(sending->connection);
    MHD_suspend_connection(sending->connection); /* before another thread can resume it */
    if (jobs_add(sending->jobs, &sending->job, false) == JOBS_ADDED)
        return true;
    MHD_resume_connection(sending->connection);
    return false;
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
        if (sending->failed || next_piece(sending, NULL, &f) != ERR_OK)
            return MHD_CONTENT_READER_END_WITH_ERROR;
        if (sending->state == STREAM_READ) /* from here on another thread may have it */
            return start_reading(sending) ? 0 : MHD_CONTENT_READER_END_WITH_ERROR;
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

void sending_free(struct sending *sending)
{
    if (!sending)
        return;
    sending->stream->free(sending->stream);
    buf_fini(&sending->piece);
    free(sending);
}

/* MHD_ContentReaderFreeCallback. */
static void on_sent(void *arg)
{
    sending_free(arg);
}

enum err sending_new(struct stream *stream, struct session_pool *pool, struct jobs *jobs,
                     struct sending **out, struct failure *f)
{
    struct sending *sending = xcalloc(1, sizeof(*sending));
    *sending = (struct sending){.pool = pool, .jobs = jobs, .stream = stream};
    if (next_piece(sending, pool, f) != ERR_OK) {
        buf_fini(&sending->piece);
        free(sending);
        return f->err;
    }
    *out = sending;
    return ERR_OK;
}

bool sending_is_live(const struct sending *sending)
{
    return sending->stream->live;
}

struct MHD_Response *sending_response(struct sending *sending, struct MHD_Connection *connection)
{
    sending->connection = connection;
    return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES, on_read, sending,
                                             on_sent);
}
