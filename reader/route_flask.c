/* The reads of the web API that Berth replaced, with its JSON and its names (ressource = machine,
 * reservation = booking, ressource reserve = allocation), so that its clients keep working.
 * docs/from-the-flask-api.md maps it to the new API. Its lists have no pages, so they are streamed.
 * Each piece is read in its own snapshot; rows added meanwhile do not shift a list. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/request.h"
#include "lib/base/mem.h"
#include "lib/codec/jsonout.h"
#include "reader/handlers.h"
#include "reader/session_pool.h"
#include "reader/stream.h"

#define PIECE_ROWS    5000
/* The allocations of a machine come from an index on the machine and are then sorted by booking,
 * all of them for each piece. After this many pieces, reading the table in order of bookings is
 * cheaper. */
#define SORTED_PIECES 4

/* The allocations that bookings hold until their end; cancelled bookings hold none. */
#define SHARES_SELECT "SELECT a.machine, a.booking, a.gpus, a.memory_gib FROM allocation a"
#define SHARES_OF                                                                                  \
    " STRAIGHT_JOIN booking b "                                                                    \
    "ON b.id = a.booking AND b.end_ms = a.end_ms AND b.state <> 'cancelled' WHERE a.live = 1"
#define SHARES_FROM   SHARES_SELECT SHARES_OF
#define MACHINES_FROM "SELECT id, gpus, memory_gib FROM machine"
#define BOOKINGS_FROM                                                                              \
    "SELECT id, user_name, start_ms, end_ms FROM booking WHERE state <> 'cancelled'"

#define SHARES_HEAD "{\"RessourceReserve\":["

/* --- items ---------------------------------------------------------------------------------- */

/* "Fri, 07 Feb 2020 13:00:00 GMT" (RFC 9110, IMF-fixdate), whatever the locale. */
static void put_date(struct jsonout *out, const char *name, int64_t ms)
{
    static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    char text[80];
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    int len = snprintf(text, sizeof(text), "\"%s\":\"%s, %02d %s %04d %02d:%02d:%02d GMT\"", name,
                       days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900,
                       tm.tm_hour, tm.tm_min, tm.tm_sec);
    jsonout_raw(out, text, (size_t)len);
}

static void put_machine(struct jsonout *out, MYSQL_ROW row)
{
    JSONOUT_INT(out, "{\"id\":", field_int(row[0]));
    JSONOUT_INT(out, ",\"quantiteGPU\":", field_int(row[1]));
    JSONOUT_INT(out, ",\"quantiteMemoire\":", field_int(row[2]));
    JSONOUT_RAW(out, "}");
}

static void put_booking(struct jsonout *out, MYSQL_ROW row)
{
    JSONOUT_RAW(out, "{");
    put_date(out, "date_debut", field_int(row[2]));
    JSONOUT_RAW(out, ",");
    put_date(out, "date_fin", field_int(row[3]));
    JSONOUT_INT(out, ",\"id\":", field_int(row[0]));
    JSONOUT_STRING(out, ",\"nomUtilisateur\":", row[1]);
    JSONOUT_RAW(out, "}");
}

static void put_share(struct jsonout *out, MYSQL_ROW row)
{
    JSONOUT_INT(out, "{\"idRessource\":", field_int(row[0]));
    JSONOUT_INT(out, ",\"idReservation\":", field_int(row[1]));
    JSONOUT_INT(out, ",\"nbGPU\":", field_int(row[2]));
    JSONOUT_INT(out, ",\"nbmemoire\":", field_int(row[3]));
    JSONOUT_RAW(out, "}");
}

/* --- lists ---------------------------------------------------------------------------------- */

struct list;
typedef void put_fn(struct jsonout *out, MYSQL_ROW row);
/* Writes the statement for the rows after the last one. */
typedef void query_fn(const struct list *list, struct buf *sql);

struct list {
    struct stream stream;
    const char *head; /* "{\"Ressources\":[" */
    put_fn *put;
    query_fn *query;
    int64_t id;             /* of the machine or booking whose allocations are listed; 0: all */
    int64_t after, machine; /* the last row: its id, or its booking and machine */
    int64_t pieces;         /* read so far */
};

static enum err list_next(struct stream *stream, struct session_pool *pool, struct buf *out,
                          enum stream_state *state_out, struct failure *f)
{
    struct list *list = (struct list *)stream;
    struct buf sql = {0};
    MYSQL_RES *rows;
    MYSQL_ROW row;
    list->query(list, &sql);
    if (session_pool_query(pool, "list", &sql, &rows, f) != ERR_OK)
        return f->err;
    struct arena *arena = arena_new();
    struct jsonout text;
    jsonout_init(&text, arena, 128 * (size_t)mysql_num_rows(rows) + 64);
    bool first = list->pieces++ == 0;
    if (first)
        jsonout_raw(&text, list->head, strlen(list->head));
    while ((row = mysql_fetch_row(rows))) {
        if (!first)
            JSONOUT_RAW(&text, ",");
        first = false;
        list->put(&text, row);
        list->after = field_int(row[list->put == put_share ? 1 : 0]);
        list->machine = field_int(row[0]);
    }
    *state_out = mysql_num_rows(rows) == PIECE_ROWS ? STREAM_MORE : STREAM_END;
    if (*state_out == STREAM_END)
        JSONOUT_RAW(&text, "]}");
    mysql_free_result(rows);
    buf_append(out, text.data, text.len);
    arena_free(arena);
    return ERR_OK;
}

static void stream_free(struct stream *stream)
{
    free(stream);
}

static enum err answer_list(struct call *call, const char *head, put_fn *put, query_fn *query,
                            int64_t id)
{
    struct list *list = xmalloc(sizeof(*list));
    *list = (struct list){.stream = {.next = list_next, .free = stream_free},
                          .head = head,
                          .put = put,
                          .query = query,
                          .id = id};
    call->stream = &list->stream;
    return ERR_OK;
}

static void query_machines(const struct list *list, struct buf *sql)
{
    buf_printf(sql,
               MACHINES_FROM " WHERE state <> 'retired' AND id > %" PRId64 " ORDER BY id LIMIT %d",
               list->after, PIECE_ROWS);
}

static void query_bookings(const struct list *list, struct buf *sql)
{
    buf_printf(sql, BOOKINGS_FROM " AND id > %" PRId64 " ORDER BY id LIMIT %d", list->after,
               PIECE_ROWS);
}

/* The first bound is implied, and lets the server enter the index at the booking. */
static void query_shares(const struct list *list, struct buf *sql)
{
    buf_printf(sql,
               SHARES_FROM " AND a.booking >= %" PRId64 " AND (a.booking > %" PRId64
                           " OR a.machine > %" PRId64 ") ORDER BY a.booking, a.machine LIMIT %d",
               list->after, list->after, list->machine, PIECE_ROWS);
}

static void query_shares_of_machine(const struct list *list, struct buf *sql)
{
    buf_printf(sql,
               SHARES_SELECT "%s" SHARES_OF " AND a.machine = %" PRId64 " AND a.booking > %" PRId64
                             " ORDER BY a.booking LIMIT %d",
               list->pieces < SORTED_PIECES ? "" : " FORCE INDEX (PRIMARY)", list->id, list->after,
               PIECE_ROWS);
}

static void query_shares_of_booking(const struct list *list, struct buf *sql)
{
    buf_printf(sql,
               SHARES_FROM " AND a.booking = %" PRId64 " AND a.machine > %" PRId64
                           " ORDER BY a.machine LIMIT %d",
               list->id, list->machine, PIECE_ROWS);
}

enum err handle_flask_machines(struct call *call, struct failure *f)
{
    (void)f;
    return answer_list(call, "{\"Ressources\":[", put_machine, query_machines, 0);
}

enum err handle_flask_bookings(struct call *call, struct failure *f)
{
    (void)f;
    return answer_list(call, "{\"Reservations\":[", put_booking, query_bookings, 0);
}

enum err handle_flask_shares(struct call *call, struct failure *f)
{
    (void)f;
    return answer_list(call, SHARES_HEAD, put_share, query_shares, 0);
}

/* --- one ------------------------------------------------------------------------------------ */

/* Machines or bookings, to be found by the id in the path. */
struct kind {
    const char *select; /* the statement up to the id */
    const char *name;
    put_fn *put;
    query_fn *query_shares; /* for its allocations */
};

static const struct kind machine_kind = {
    .select = MACHINES_FROM " WHERE id =",
    .name = "ressource",
    .put = put_machine,
    .query_shares = query_shares_of_machine,
};
static const struct kind booking_kind = {
    .select = BOOKINGS_FROM " AND id =",
    .name = "reservation",
    .put = put_booking,
    .query_shares = query_shares_of_booking,
};

/* Answers with the row that has the path's id or, with `shares`, with its allocations. */
static enum err answer_one(struct call *call, const struct kind *kind, bool shares,
                           struct failure *f)
{
    struct buf sql = {0};
    MYSQL_RES *rows;
    MYSQL_ROW row;
    int64_t id = call_path_id(call->path_args[0]);
    buf_printf(&sql, "%s %" PRId64, kind->select, id);
    enum err err = call_query(call, "read one", &sql, &rows, f);
    if (err != ERR_OK)
        return err;
    row = mysql_fetch_row(rows);
    if (!row) {
        call_problem(call, PROBLEM_NOT_FOUND, NULL, "No %s has the id %.40s.", kind->name,
                     call->path_args[0]);
    } else if (shares) {
        answer_list(call, SHARES_HEAD, put_share, kind->query_shares, id);
    } else {
        struct jsonout text;
        jsonout_init(&text, call->arena, 256);
        kind->put(&text, row);
        call_text(call, &text);
    }
    mysql_free_result(rows);
    return ERR_OK;
}

enum err handle_flask_machine(struct call *call, struct failure *f)
{
    return answer_one(call, &machine_kind, false, f);
}

enum err handle_flask_booking(struct call *call, struct failure *f)
{
    return answer_one(call, &booking_kind, false, f);
}

enum err handle_flask_shares_of_machine(struct call *call, struct failure *f)
{
    return answer_one(call, &machine_kind, true, f);
}

enum err handle_flask_shares_of_booking(struct call *call, struct failure *f)
{
    return answer_one(call, &booking_kind, true, f);
}
