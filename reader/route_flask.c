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

/* --- routes --------------------------------------------------------------------------------- */

typedef void put_fn(struct jsonout *out, MYSQL_ROW row);

/* What a route answers: the row that has the path's id, a list, or the list of that row's
 * allocations. */
struct content {
    const char *one;    /* selects the row, up to the id; NULL: the path has no id */
    const char *name;   /* of the row */
    const char *head;   /* of the list; NULL: the answer is the row */
    const char *select; /* selects the list, with a condition at its end */
    const char *of;     /* the list's column with the path's id; NULL: all are listed */
    const char *order;  /* the list's column of the row's position */
    size_t position;    /* its index in the row */
    put_fn *put;
};

#define ONE_MACHINE .one = MACHINES_FROM " WHERE id =", .name = "ressource"
#define ONE_BOOKING .one = BOOKINGS_FROM " AND id =", .name = "reservation"
#define SHARES      .head = "{\"RessourceReserve\":[", .put = put_share

static const struct content machine = {ONE_MACHINE, .put = put_machine};
static const struct content booking = {ONE_BOOKING, .put = put_booking};
static const struct content machines = {.head = "{\"Ressources\":[",
                                        .put = put_machine,
                                        .select = MACHINES_FROM " WHERE state <> 'retired'",
                                        .order = "id"};
static const struct content bookings = {
    .head = "{\"Reservations\":[", .put = put_booking, .select = BOOKINGS_FROM, .order = "id"};
static const struct content shares = {SHARES, .select = SHARES_FROM,
                                      .order = "a.booking, a.machine", .position = 1};
static const struct content shares_of_machine = {ONE_MACHINE,           SHARES,
                                                 .select = SHARES_FROM, .of = "a.machine",
                                                 .order = "a.booking",  .position = 1};
static const struct content shares_of_booking = {ONE_BOOKING, SHARES, .select = SHARES_FROM,
                                                 .of = "a.booking", .order = "a.machine"};

/* --- lists ---------------------------------------------------------------------------------- */

struct list {
    struct stream stream;
    const struct content *content;
    int64_t id;             /* of the machine or booking whose allocations are listed */
    int64_t after, machine; /* of the last row: its position, and its first column */
    int64_t pieces;         /* read so far */
};

/* Writes the statement for the rows after the last one. */
static void build_piece(const struct list *list, struct buf *sql)
{
    const struct content *content = list->content;
    bool by_booking = content == &shares_of_machine && list->pieces >= SORTED_PIECES;
    buf_puts(sql, by_booking ? SHARES_SELECT " FORCE INDEX (PRIMARY)" SHARES_OF : content->select);
    if (content->of)
        buf_printf(sql, " AND %s = %" PRId64, content->of, list->id);
    if (content == &shares) {
        /* The first bound is implied, and lets the server enter the index at the booking. */
        buf_printf(sql,
                   " AND a.booking >= %" PRId64 " AND (a.booking > %" PRId64
                   " OR a.machine > %" PRId64 ")",
                   list->after, list->after, list->machine);
    } else {
        buf_printf(sql, " AND %s > %" PRId64, content->order, list->after);
    }
    buf_printf(sql, " ORDER BY %s LIMIT %d", content->order, PIECE_ROWS);
}

static enum err list_next(struct stream *stream, struct session_pool *pool, struct buf *out,
                          enum stream_state *state_out, struct failure *f)
{
    struct list *list = (struct list *)stream;
    struct buf sql = {0};
    MYSQL_RES *rows;
    MYSQL_ROW row;
    if (!pool) {
        *state_out = STREAM_READ;
        return ERR_OK;
    }
    build_piece(list, &sql);
    if (session_pool_query(pool, "list", &sql, &rows, f) != ERR_OK)
        return f->err;
    struct arena *arena = arena_new();
    struct jsonout text;
    jsonout_init(&text, arena, 128 * (size_t)mysql_num_rows(rows) + 64);
    bool first = list->pieces++ == 0;
    if (first)
        jsonout_raw(&text, list->content->head, strlen(list->content->head));
    while ((row = mysql_fetch_row(rows))) {
        if (!first)
            JSONOUT_RAW(&text, ",");
        first = false;
        list->content->put(&text, row);
        list->after = field_int(row[list->content->position]);
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

static void start_list(struct call *call, const struct content *content, int64_t id)
{
    struct list *list = xmalloc(sizeof(*list));
    *list = (struct list){
        .stream = {.next = list_next, .free = stream_free}, .content = content, .id = id};
    call->stream = &list->stream;
}

/* --- answers -------------------------------------------------------------------------------- */

static enum err answer(struct call *call, const struct content *content, struct failure *f)
{
    struct buf sql = {0};
    MYSQL_RES *rows = NULL;
    MYSQL_ROW row = NULL;
    int64_t id = 0;
    if (content->one) {
        id = call_path_id(call->path_args[0]);
        buf_printf(&sql, "%s %" PRId64, content->one, id);
        if (call_query(call, "read one", &sql, &rows, f) != ERR_OK)
            return f->err;
        row = mysql_fetch_row(rows);
    }
    if (content->one && !row) {
        call_problem(call, PROBLEM_NOT_FOUND, NULL, "No %s has the id %.40s.", content->name,
                     call->path_args[0]);
    } else if (content->head) {
        start_list(call, content, id);
    } else {
        struct jsonout text;
        jsonout_init(&text, call->arena, 256);
        content->put(&text, row);
        call_text(call, &text);
    }
    mysql_free_result(rows);
    return ERR_OK;
}

#define HANDLER(content)                                                                           \
    enum err handle_flask_##content(struct call *call, struct failure *f)                          \
    {                                                                                              \
        return answer(call, &content, f);                                                          \
    }
HANDLER(machines)
HANDLER(machine)
HANDLER(bookings)
HANDLER(booking)
HANDLER(shares)
HANDLER(shares_of_machine)
HANDLER(shares_of_booking)
