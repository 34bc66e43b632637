#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <microhttpd.h>

#include "lib/base/clock.h"
#include "lib/base/mem.h"
#include "reader/handlers.h"
#include "reader/hub.h"
#include "reader/session_pool.h"
#include "reader/stream.h"

#define RETRY_TEXT        "retry: 3000\n\n"
#define HEARTBEAT_MS      15000
/* Text gathered before it is handed over; an event may make it longer. */
#define GATHER_BYTES      (16 * 1024)
#define DB_ROWS           100
#define ACCEPTED          "\"type\":\"berth.request.accepted\""
/* What is sent but not read yet, in the kernel (which doubles it). */
#define SEND_BUFFER_BYTES (128 * 1024)

/* One who listens. `last` is the position: the last sequence of each partition that was given, or
 * passed over by the filter. */
struct listener {
    struct stream stream; /* its first member */
    struct hub *hub;
    struct session_pool *pool;
    struct hub_waiter waiter;
    bool joined;
    /* Texts that an event must hold, or NULL; of the two for a machine one will do. */
    char *client, *machine, *machine_subject;
    const char *outcome;
    int64_t *last;
    int64_t *known;     /* what the database had when the listening began */
    struct buf *out;    /* the piece that is being written */
    struct buf scratch; /* one event */
    int64_t spoke_ms;   /* monotonic: of the last piece; 0: none yet */
};

static void listener_free(struct stream *stream)
{
    struct listener *listener = (struct listener *)stream;
    if (listener->joined)
        hub_leave(listener->hub, &listener->waiter);
    free(listener->machine);
    free(listener->machine_subject);
    free(listener->client);
    free(listener->last);
    free(listener->known);
    buf_fini(&listener->scratch);
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

/* Our events begin with their attributes, so the first "type" is the event's. */
static void put_type(struct buf *out, const char *event)
{
    static const char name[] = "\"type\":\"";
    const char *at = strstr(event, name);
    const char *end = at ? strchr(at + sizeof(name) - 1, '"') : NULL;
    if (!end)
        return;
    at += sizeof(name) - 1;
    buf_puts(out, "event: ");
    buf_append(out, at, (size_t)(end - at));
    buf_puts(out, "\n");
}

static bool holds(const char *event, const char *text)
{
    return !text || strstr(event, text);
}

/* A name stands in quotes, and what people wrote has its quotes escaped, so the texts mean what
 * they say: "machine":"gpu-01" or, in the event of a machine's update, "name":"gpu-01". */
static bool names_machine(const struct listener *l, const char *event)
{
    return holds(event, l->machine) || holds(event, l->machine_subject);
}

/* The machines that the event's bookings have ever held, as "machine":"gpu-01"…: from the database,
 * which never forgets an allocation. */
static enum err read_machines(struct listener *l, const char *event, struct buf *out,
                              struct failure *f)
{
    static const char *const before_id[] = {"{\"id\":", "{\"booking\":"};
    struct mysql_session *db;
    struct buf sql = {0};
    MYSQL_RES *rows = NULL;
    MYSQL_ROW row;
    buf_puts(&sql, "SELECT DISTINCT m.name FROM allocation a FORCE INDEX (PRIMARY) STRAIGHT_JOIN "
                   "machine m ON m.id = a.machine WHERE a.booking IN (0");
    for (int i = 0; i < 2; i++) {
        for (const char *at = strstr(event, before_id[i]); at; at = strstr(at, before_id[i])) {
            at += strlen(before_id[i]);
            if (*at >= '0' && *at <= '9') /* a label may be called id: its value is a string */
                buf_printf(&sql, ",%lld", strtoll(at, NULL, 10));
        }
    }
    buf_puts(&sql, ")");
    enum err err = session_pool_take(l->pool, false, &db, f);
    if (err == ERR_OK) {
        err = mysql_session_query(db, "read machines", sql.data, sql.len, &rows, f);
        session_pool_put(l->pool, db);
    }
    while (err == ERR_OK && (row = mysql_fetch_row(rows)))
        buf_printf(out, "\"machine\":\"%s\"", row[0]);
    mysql_free_result(rows);
    buf_fini(&sql);
    return err;
}

/* A booking that is cancelled, amended or displaced no longer names the machine that it leaves. */
static enum err leaves_machine(struct listener *l, int32_t part, const char *event,
                               bool *leaves_out, struct failure *f)
{
    enum err err = ERR_OK;
    struct buf machines = {0};
    *leaves_out = false;
    if (!holds(event, ACCEPTED) || holds(event, "\"type\":\"booking.create\""))
        return ERR_OK;
    buf_puts(&machines, "");
    if (!hub_machines(l->hub, part, l->last[part], &machines)) {
        err = read_machines(l, event, &machines, f);
        if (err == ERR_OK)
            hub_set_machines(l->hub, part, l->last[part], machines.data);
    }
    *leaves_out = err == ERR_OK && holds(machines.data, l->machine);
    buf_fini(&machines);
    return err;
}

/* The event that follows in its partition: one line, with a NUL behind it. */
static enum err give(struct listener *l, int32_t part, const char *event, struct failure *f)
{
    l->last[part]++;
    if (!holds(event, l->outcome) || !holds(event, l->client))
        return ERR_OK;
    bool concerned = names_machine(l, event);
    if (!concerned && leaves_machine(l, part, event, &concerned, f) != ERR_OK)
        return f->err;
    if (!concerned)
        return ERR_OK;
    put_id(l);
    put_type(l->out, event);
    buf_puts(l->out, "data: ");
    buf_puts(l->out, event);
    buf_puts(l->out, "\n\n");
    return ERR_OK;
}

/* What lies between was removed: the listener has to read the state anew. */
static void put_resync(struct listener *l, int32_t part, int64_t last)
{
    l->last[part] = last;
    put_id(l);
    buf_printf(l->out, "event: resync\ndata: {\"partition\":%" PRId32 "}\n\n", part);
}

/* --- gathering ------------------------------------------------------------------------------ */

/* The events after `last` from the database: a page of them. */
static enum err from_database(struct listener *l, int32_t part, struct failure *f)
{
    struct mysql_session *db;
    char sql[160];
    MYSQL_RES *rows = NULL;
    MYSQL_ROW row;
    int len = snprintf(sql, sizeof(sql),
                       "SELECT seq, event FROM decision WHERE part = %" PRId32 " AND seq > %" PRId64
                       " ORDER BY seq LIMIT %d",
                       part, l->last[part], DB_ROWS);
    if (session_pool_take(l->pool, false, &db, f) != ERR_OK)
        return f->err;
    enum err err = mysql_session_query(db, "read events", sql, (size_t)len, &rows, f);
    session_pool_put(l->pool, db); /* give() may need one */
    if (err == ERR_OK && mysql_num_rows(rows) == 0)
        l->known[part] = l->last[part];
    while (err == ERR_OK && l->out->len < GATHER_BYTES && (row = mysql_fetch_row(rows))) {
        if (field_int(row[0]) != l->last[part] + 1)
            put_resync(l, part, field_int(row[0]) - 1);
        err = give(l, part, row[1], f);
    }
    mysql_free_result(rows);
    return err;
}

/* Appends what there is of one partition. An error is the database's. */
static enum err gather_part(struct listener *l, int32_t part, struct failure *f)
{
    while (l->out->len < GATHER_BYTES) {
        buf_clear(&l->scratch);
        enum hub_have have = hub_next(l->hub, part, l->last[part], &l->scratch);
        if (have == HUB_EVENT) {
            if (give(l, part, l->scratch.data, f) != ERR_OK)
                return f->err;
            continue;
        }
        if (have == HUB_NONE && l->last[part] >= l->known[part])
            return ERR_OK;
        int64_t before = l->last[part];
        if (from_database(l, part, f) != ERR_OK)
            return f->err;
        if (l->last[part] > before && l->out->len == 0) {
            put_id(l); /* none of them passed the filter */
            buf_puts(l->out, "\n");
        }
        /* Not there yet, or one page read: whoever comes from afar does not hold up the others that
         * this thread serves. */
        return ERR_OK;
    }
    return ERR_OK;
}

static enum err gather(struct listener *l, struct failure *f)
{
    for (int32_t p = 0; p < hub_partitions(l->hub); p++) {
        if (gather_part(l, p, f) != ERR_OK)
            return f->err;
    }
    if (l->out->len == 0 && clock_mono_ms() - l->spoke_ms >= HEARTBEAT_MS) {
        put_id(l); /* an id without data moves the position only */
        buf_puts(l->out, ": still here\n\n");
    }
    return ERR_OK;
}

/* The next piece of a listener's stream. A listener that reads too slowly is not asked for, and
 * runs into the connection's time-out; what it misses costs no memory here. */
static enum err listener_next(struct stream *stream, struct session_pool *pool, struct buf *out,
                              enum stream_state *state_out, struct failure *f)
{
    struct listener *l = (struct listener *)stream;
    uint64_t version = hub_version(l->hub);
    l->pool = pool;
    l->out = out;
    *state_out = STREAM_MORE;
    if (l->spoke_ms == 0) {
        buf_puts(out, RETRY_TEXT);
        put_id(l);
        buf_puts(out, "\n");
    } else if (hub_stopping(l->hub)) {
        *state_out = STREAM_END;
    } else if (gather(l, f) != ERR_OK) {
        return f->err;
    } else if (out->len == 0 && hub_wait(l->hub, &l->waiter, version)) {
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

/* "1042,977,31": one for each partition. Ahead of the database: nobody gave that. */
static bool parse_positions(const struct listener *l, const char *text)
{
    int32_t count = hub_partitions(l->hub);
    for (int32_t p = 0; p < count; p++) {
        char *end;
        if (*text < '0' || *text > '9')
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
    const char *after = MHD_lookup_connection_value(call->connection, MHD_HEADER_KIND,
                                                    "Last-Event-ID");
    if (!after)
        after = call->params[PARAM_AFTER];
    memcpy(l->last, l->known, (size_t)hub_partitions(l->hub) * sizeof(*l->last));
    if (!after || parse_positions(l, after))
        return true;
    call_problem(call, PROBLEM_INVALID_PARAMETER, "after",
                 "after, and Last-Event-ID, must be an id that this farm's reader gave: the last "
                 "sequence of each of the %" PRId32 " partitions.",
                 hub_partitions(l->hub));
    return false;
}

static bool read_filter(struct call *call, struct listener *l)
{
    const char *machine, *client, *outcome = call->params[PARAM_OUTCOME];
    if (!call_name(call, PARAM_MACHINE, &machine) || !call_name(call, PARAM_CLIENT, &client))
        return false;
    if (machine) {
        l->machine = xasprintf("\"machine\":\"%s\"", machine);
        l->machine_subject = xasprintf("\"subject\":\"machine/%s\"", machine);
    }
    if (client)
        l->client = xasprintf("\"client\":\"%s\"", client);
    if (!outcome)
        return true;
    if (strcmp(outcome, "accepted") == 0) {
        l->outcome = ACCEPTED;
    } else if (strcmp(outcome, "rejected") == 0) {
        l->outcome = "\"type\":\"berth.request.rejected\"";
    } else {
        call_problem(call, PROBLEM_INVALID_PARAMETER, "outcome",
                     "outcome must be accepted or rejected.");
    }
    return !call->has_problem;
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
    if (err != ERR_OK || !read_positions(call, l) || !read_filter(call, l))
        return err;
    l->joined = hub_join(hub, &l->waiter, call->connection);
    if (!l->joined) {
        return call_problem(call, PROBLEM_TOO_MANY_CONNECTIONS, NULL,
                            "As many listen as may; try again later, or ask another reader.");
    }
    bound_send_buffer(call->connection);
    return ERR_OK;
}
