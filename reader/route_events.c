/* GET /v1/events: the decisions' events as they happen, as server-sent events (HTML standard,
 * "Server-sent events"). */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <microhttpd.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "reader/handlers.h"
#include "reader/hub.h"
#include "reader/session_pool.h"
#include "reader/stream.h"

#define HEARTBEAT_MS      15000
/* A piece is complete at this length; its last event may exceed it. */
#define PIECE_BYTES       (16 * 1024)
#define DB_ROWS           100
/* Pages of the database that are read before others have a turn. */
#define PAGES_MAX         4
/* The kernel's buffer for what is sent but not read yet (it doubles the value). */
#define SEND_BUFFER_BYTES (128 * 1024)

struct listener {
    struct stream stream; /* its first member */
    struct hub *hub;
    struct session_pool *pool; /* NULL: this thread must not wait for the database */
    bool must_read;            /* the next event is in the database only */
    int pages;                 /* read from the database for this piece */
    int32_t turn;              /* the partition that is looked at first */
    struct hub_waiter waiter;
    bool joined;
    struct feed_filter filter; /* owns its names */
    /* The position: of each partition, the last sequence that was sent or filtered out. */
    int64_t *last;
    int64_t *known;  /* of each partition, the last sequence in the database when listening began */
    struct buf *out; /* the piece that is being written */
    int64_t spoke_ms; /* monotonic: of the last piece; 0: none yet */
};

static void listener_free(struct stream *stream)
{
    struct listener *listener = (struct listener *)stream;
    if (listener->joined)
        hub_leave(listener->hub, &listener->waiter);
    free((char *)listener->filter.client);
    free((char *)listener->filter.machine);
    free(listener->last);
    free(listener->known);
    free(listener);
}

/* --- text ----------------------------------------------------------------------------------- */

static void put_id(struct listener *l)
{
    buf_puts(l->out, "id: ");
    for (int32_t p = 0; p < hub_partitions(l->hub); p++)
        buf_printf(l->out, "%s%" PRId64, p > 0 ? "," : "", l->last[p]);
    buf_puts(l->out, "\n");
}

static void put_event(struct listener *l, const struct feed_event *event)
{
    put_id(l);
    buf_printf(l->out, "event: %s\ndata: ", event->type);
    buf_append(l->out, event->bytes, event->len);
    buf_puts(l->out, "\n\n");
}

/* The events up to `last` were removed from the database: the listener has to reread the state. */
static void put_resync(struct listener *l, int32_t part, int64_t last)
{
    l->last[part] = last;
    put_id(l);
    buf_printf(l->out, "event: resync\ndata: {\"partition\":%" PRId32 "}\n\n", part);
}

/* --- filtering ------------------------------------------------------------------------------ */

/* Adds the machines that the event's bookings have held. The database keeps all allocations. */
static enum err read_held(struct listener *l, struct feed_event *event, struct failure *f)
{
    struct buf sql = {0}, names = {0};
    MYSQL_RES *rows;
    MYSQL_ROW row;
    buf_puts(&sql, "SELECT DISTINCT m.name FROM allocation a FORCE INDEX (PRIMARY) STRAIGHT_JOIN "
                   "machine m ON m.id = a.machine WHERE a.booking IN ");
    sql_ids(&sql, event->bookings, event->booking_count);
    enum err err = session_pool_query(l->pool, "read machines", &sql, &rows, f);
    while (err == ERR_OK && (row = mysql_fetch_row(rows)))
        buf_append(&names, row[0], strlen(row[0]) + 1);
    if (err == ERR_OK)
        feed_event_set_held(event, &names);
    mysql_free_result(rows);
    return err;
}

/* Appends the next event of its partition, unless the filter stops it, and moves the position. Or
 * sets must_read. */
static enum err give(struct listener *l, struct feed_event *event, struct failure *f)
{
    enum feed_match match = feed_event_match(event, &l->filter);
    if (match == FEED_NEEDS_HELD) {
        l->must_read = !l->pool;
        if (l->must_read)
            return ERR_OK;
        if (read_held(l, event, f) != ERR_OK)
            return f->err;
        match = feed_event_match(event, &l->filter);
    }
    l->last[event->part] = event->seq;
    if (match == FEED_PASSES)
        put_event(l, event);
    return ERR_OK;
}

/* --- gathering ------------------------------------------------------------------------------ */

/* The same for a row (seq, event) of the database. */
static enum err give_row(struct listener *l, int32_t part, MYSQL_RES *rows, MYSQL_ROW row,
                         struct failure *f)
{
    struct feed_event *event = NULL;
    int64_t seq = field_int(row[0]);
    if (seq != l->last[part] + 1)
        put_resync(l, part, seq - 1);
    enum err err = feed_event_new(row[1], mysql_fetch_lengths(rows)[1], &event, f);
    if (err == ERR_OK && event->part == part && event->seq == seq) {
        err = give(l, event, f);
    } else {
        log_error("a decision's event cannot be read", "part=%" PRId32 " seq=%" PRId64 " bug=1",
                  part, seq);
        l->last[part] = seq;
        err = ERR_OK;
    }
    feed_event_unref(event);
    return err;
}

/* Appends a page of events from the database. */
static enum err from_database(struct listener *l, int32_t part, struct failure *f)
{
    struct buf sql = {0};
    MYSQL_RES *rows;
    MYSQL_ROW row;
    int64_t before = l->last[part];
    l->pages++;
    buf_printf(&sql,
               "SELECT seq, event FROM decision WHERE part = %" PRId32 " AND seq > %" PRId64
               " ORDER BY seq LIMIT %d",
               part, before, DB_ROWS);
    enum err err = session_pool_query(l->pool, "read events", &sql, &rows, f);
    if (err == ERR_OK && mysql_num_rows(rows) == 0)
        l->known[part] = before;
    while (err == ERR_OK && l->out->len < PIECE_BYTES && (row = mysql_fetch_row(rows)))
        err = give_row(l, part, rows, row, f);
    mysql_free_result(rows);
    if (err == ERR_OK && l->last[part] > before && l->out->len == 0) {
        put_id(l); /* all were filtered out */
        buf_puts(l->out, "\n");
    }
    return err;
}

/* Appends the partition's events after the position. */
static enum err gather_part(struct listener *l, int32_t part, struct failure *f)
{
    enum err err = ERR_OK;
    while (err == ERR_OK && l->out->len < PIECE_BYTES && !l->must_read) {
        struct feed_event *event;
        enum hub_have have = hub_next(l->hub, part, l->last[part], &event);
        if (have == HUB_NONE && l->last[part] >= l->known[part])
            return ERR_OK;
        if (have != HUB_EVENT) {
            l->must_read = !l->pool;
            /* One page each time: the other partitions wait. */
            return l->pool ? from_database(l, part, f) : ERR_OK;
        }
        err = give(l, event, f);
        feed_event_unref(event);
    }
    return err;
}

static enum err gather(struct listener *l, struct failure *f)
{
    int32_t count = hub_partitions(l->hub);
    l->must_read = false;
    l->pages = 0;
    for (int32_t i = 0; i < count && l->pages < PAGES_MAX; i++) {
        if (gather_part(l, l->turn, f) != ERR_OK)
            return f->err;
        if (l->must_read)
            return ERR_OK;
        l->turn = (l->turn + 1) % count;
    }
    if (l->out->len == 0 && clock_mono_ms() - l->spoke_ms >= HEARTBEAT_MS) {
        put_id(l); /* an id without data moves the position only */
        buf_puts(l->out, ": still here\n\n");
    }
    return ERR_OK;
}

/* A listener that reads too slowly is not asked for the next piece, and is closed by the
 * connection's time-out. What it misses takes no memory here. */
static enum err listener_next(struct stream *stream, struct session_pool *pool, struct buf *out,
                              enum stream_state *state_out, struct failure *f)
{
    struct listener *l = (struct listener *)stream;
    const struct hub_now now = hub_now(l->hub);
    l->pool = pool;
    l->out = out;
    *state_out = STREAM_MORE;
    if (l->spoke_ms == 0) {
        buf_printf(out, "retry: %d\n\n", STREAM_RETRY_MS);
        put_id(l);
        buf_puts(out, "\n");
    } else if (now.stopping || hub_is_gone(l->hub, &l->waiter)) {
        *state_out = STREAM_END;
    } else if (gather(l, f) != ERR_OK) {
        return f->err;
    } else if (l->must_read && out->len == 0) {
        *state_out = STREAM_READ;
    } else if (!pool && out->len == 0 && hub_wait(l->hub, &l->waiter, now.version)) {
        *state_out = STREAM_SUSPENDED;
    }
    if (out->len > 0)
        l->spoke_ms = clock_mono_ms();
    return ERR_OK;
}

/* Otherwise the kernel would keep megabytes for a listener that does not read. */
static void bound_send_buffer(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(
        connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    int bytes = SEND_BUFFER_BYTES;
    if (info)
        setsockopt(info->connect_fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

/* --- the route ------------------------------------------------------------------------------ */

static enum err read_last(struct call *call, struct listener *l, struct failure *f)
{
    MYSQL_RES *rows = NULL;
    MYSQL_ROW row;
    enum err err = mysql_session_read(call->db, "read positions",
                                      "SELECT part, last_seq FROM request_partition", &rows, f);
    while (err == ERR_OK && (row = mysql_fetch_row(rows))) {
        int64_t part = field_int(row[0]);
        if (part < hub_partitions(l->hub))
            l->known[part] = field_int(row[1]);
    }
    mysql_free_result(rows);
    return err;
}

/* "1042,977,31": the last sequence of each partition. A position ahead of the database is invalid:
 * no reader of this farm gave it. */
static bool parse_positions(const struct listener *l, const char *text)
{
    int32_t count = hub_partitions(l->hub);
    for (int32_t p = 0; p < count; p++) {
        char *end;
        if (*text < '0' || *text > '9' || (text[0] == '0' && text[1] >= '0' && text[1] <= '9'))
            return false;
        l->last[p] = strtoll(text, &end, 10);
        if (l->last[p] > l->known[p] || *end != (p + 1 < count ? ',' : '\0'))
            return false;
        text = end + 1;
    }
    return true;
}

static bool read_positions(struct call *call, struct listener *l)
{
    /* Empty: the client has seen no id (HTML standard, "last event ID string"). */
    const char *after = call_header(call, "Last-Event-ID");
    if (!after || !*after)
        after = call->params[PARAM_AFTER];
    memcpy(l->last, l->known, (size_t)hub_partitions(l->hub) * sizeof(*l->last));
    if (!after || parse_positions(l, after))
        return true;
    return call_invalid(
        call, PARAM_AFTER,
        "after, and Last-Event-ID, must be an id that this farm's reader gave: the last "
        "sequence of each of the %" PRId32 " partitions.",
        hub_partitions(l->hub));
}

static bool read_filter(struct call *call, struct feed_filter *filter)
{
    const char *machine, *client, *outcome = call->params[PARAM_OUTCOME];
    if (!call_name(call, PARAM_MACHINE, &machine) || !call_name(call, PARAM_CLIENT, &client))
        return false;
    filter->machine = machine ? xstrdup(machine) : NULL;
    filter->client = client ? xstrdup(client) : NULL;
    filter->outcome = EVENT_OTHER;
    if (!outcome)
        return true;
    if (strcmp(outcome, "accepted") != 0 && strcmp(outcome, "rejected") != 0)
        return call_invalid(call, PARAM_OUTCOME, "outcome must be accepted or rejected.");
    filter->outcome = strcmp(outcome, "accepted") == 0 ? EVENT_ACCEPTED : EVENT_REJECTED;
    return true;
}

enum err handle_events(struct call *call, struct failure *f)
{
    struct hub *hub = call->reader->hub;
    if (!hub) {
        return call_problem(call, PROBLEM_UNAVAILABLE, NULL,
                            "This reader follows no event topic: kafka.bootstrap.servers is not "
                            "set.");
    }
    struct listener *l = xcalloc(1, sizeof(*l));
    size_t count = (size_t)hub_partitions(hub);
    l->hub = hub;
    l->last = xcalloc(count, sizeof(*l->last));
    l->known = xcalloc(count, sizeof(*l->known));
    l->stream = (struct stream){.next = listener_next, .free = listener_free, .live = true};
    call->stream = &l->stream;
    call->content_type = "text/event-stream";
    enum err err = read_last(call, l, f);
    if (err != ERR_OK || !read_positions(call, l) || !read_filter(call, &l->filter))
        return err;
    l->joined = hub_join(hub, &l->waiter, call->connection);
    if (!l->joined) {
        return call_problem(call, PROBLEM_TOO_MANY_CONNECTIONS, NULL,
                            "As many listen as may; try again later, or ask another reader.");
    }
    bound_send_buffer(call->connection);
    return ERR_OK;
}
