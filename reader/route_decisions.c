#include <inttypes.h>

#include "core/limits.h"
#include "core/request.h"
#include "lib/base/mem.h"
#include "reader/handlers.h"

/* A page ends after the event that reaches this length, and is read in pieces of rows: both bound
 * the memory of a page. */
#define PAGE_BYTES (4 * 1024 * 1024)
#define PIECE_ROWS 25

/* Answers with the bytes of the decision's event: the decision that used the request id up. */
enum err handle_decision(struct call *call, struct failure *f)
{
    const char *client = call->path_args[0], *request_id = call->path_args[1];
    struct buf sql = {0};
    MYSQL_RES *rows = NULL;
    MYSQL_ROW row = NULL;
    enum err err = ERR_OK;
    if (name_is_valid(client, LIMIT_NAME_LEN, NULL) &&
        name_is_valid(request_id, LIMIT_REQUEST_ID_LEN, ":")) {
        buf_puts(&sql, "SELECT event FROM decision WHERE client = ");
        sql_text(&sql, client);
        buf_puts(&sql, " AND request_id = ");
        sql_text(&sql, request_id);
        err = call_query(call, "read decision", &sql, &rows, f);
        if (err == ERR_OK && (row = mysql_fetch_row(rows))) {
            size_t len = mysql_fetch_lengths(rows)[0];
            call_take_text(call, xstrndup(row[0], len), len);
        }
    }
    if (err == ERR_OK && !row) {
        err = call_problem(call, PROBLEM_NOT_FOUND, NULL,
                           "No decision has used up request id %.80s of client %.80s: it was not "
                           "decided yet, or was rejected before its id counted.",
                           request_id, client);
    }
    mysql_free_result(rows);
    return err;
}

/* --- lists of decisions: their events, byte for byte ---------------------------------------- */

/* The list that is being written. */
struct list {
    struct buf text;
    int64_t count, last; /* last: the sequence of its last event */
    bool more;           /* more events follow */
};

/* Appends the query's rows (seq, event), `limit` of them at most; frees its text. */
static enum err add_events(struct call *call, struct buf *sql, int64_t limit, struct list *list,
                           struct failure *f)
{
    MYSQL_RES *rows;
    MYSQL_ROW row;
    enum err err = call_query(call, "read decisions", sql, &rows, f);
    if (err != ERR_OK)
        return err;
    list->more = (int64_t)mysql_num_rows(rows) > limit;
    for (int64_t i = 0; i < limit && (row = mysql_fetch_row(rows)); i++) {
        buf_puts(&list->text, list->count++ > 0 ? "," : "{\"items\":[");
        buf_append(&list->text, row[1], mysql_fetch_lengths(rows)[1]);
        list->last = field_int(row[0]);
    }
    mysql_free_result(rows);
    return ERR_OK;
}

/* Answers with {"items":[…],"next":"…"}; takes the list's text. */
static void answer_events(struct call *call, struct list *list)
{
    buf_puts(&list->text, list->count > 0 ? "]" : "{\"items\":[]");
    if (list->more)
        buf_printf(&list->text, ",\"next\":\"%" PRId64 "\"", list->last);
    buf_puts(&list->text, "}");
    call_take_text(call, list->text.data, list->text.len);
}

/* Appends the partition's events after list->last, in pieces: events are up to LIMIT_EVENT_LEN. */
static enum err read_partition(struct call *call, int64_t part, int64_t limit, struct list *list,
                               struct failure *f)
{
    struct buf sql = {0};
    enum err err = ERR_OK;
    list->more = true;
    while (err == ERR_OK && list->more && list->count < limit && list->text.len < PAGE_BYTES) {
        int64_t left = limit - list->count, rows = left < PIECE_ROWS ? left : PIECE_ROWS;
        buf_printf(&sql,
                   "SELECT seq, event FROM decision WHERE part = %" PRId64 " AND seq > %" PRId64
                   " ORDER BY seq LIMIT %" PRId64,
                   part, list->last, rows + 1);
        err = add_events(call, &sql, rows, list, f);
    }
    return err;
}

static enum err partition_exists(struct call *call, int64_t part, bool *exists_out,
                                 struct failure *f)
{
    struct buf sql = {0};
    MYSQL_RES *rows;
    buf_printf(&sql, "SELECT 1 FROM request_partition WHERE part = %" PRId64, part);
    enum err err = call_query(call, "read partition", &sql, &rows, f);
    if (err == ERR_OK)
        *exists_out = mysql_num_rows(rows) > 0;
    mysql_free_result(rows);
    return err;
}

enum err handle_partition_decisions(struct call *call, struct failure *f)
{
    int64_t part = call_path_id(call->path_args[0]), limit;
    bool exists = true;
    struct list list = {0};
    if (!call_limit(call, &limit) || !call_id(call, PARAM_AFTER, &list.last))
        return ERR_OK;
    enum err err = read_partition(call, part, limit, &list, f);
    if (err == ERR_OK && list.count == 0)
        err = partition_exists(call, part, &exists, f);
    if (err == ERR_OK && exists) {
        answer_events(call, &list);
    } else {
        buf_fini(&list.text);
    }
    if (err == ERR_OK && !exists) {
        call_problem(call, PROBLEM_NOT_FOUND, NULL,
                     "There is no partition %.40s; GET /v1/farm says how many there are.",
                     call->path_args[0]);
    }
    return err;
}

/* " AND …": the list at that path of the event holds the id. LOCATE decides nothing: it spares the
 * server from parsing events that do not have the digits anywhere. The session's literals are
 * binary, which is no JSON to MySQL: hence _utf8mb4. */
static void add_event_lists(struct buf *sql, const char *event, const char *path, int64_t id)
{
    buf_printf(sql,
               " AND LOCATE('%" PRId64 "', %s) > 0 AND JSON_CONTAINS(JSON_EXTRACT(CONVERT(%s USING "
               "utf8mb4), _utf8mb4'%s'), _utf8mb4'%" PRId64 "')",
               id, event, event, path, id);
}

/* A decision about a series has the id of the first booking that it touched as its subject. That
 * booking is never later in the series than the one at hand. */
static void add_series_decisions(struct buf *sql, int64_t id, int64_t series)
{
    const int64_t step = (INT64_C(1) << 32) * LIMIT_PARTITIONS;
    const char *separator = "";
    if (series == 0 || series == id)
        return;
    buf_puts(sql, " UNION ALL SELECT part, seq, time_ms, event FROM decision WHERE subject IN (");
    for (int64_t other = series; other < id; other += step) {
        buf_printf(sql, "%s'booking/%" PRId64 "'", separator, other);
        separator = ",";
    }
    buf_puts(sql, ") AND outcome = 'accepted'");
    add_event_lists(sql, "event", "$.data.series.occurrences[*].booking", id);
}

/* The decisions that made and changed a booking: those about it (subject), those about its series,
 * and the updates of its machines that displaced it. */
static void build_booking_decisions(struct buf *sql, int64_t id, int64_t series)
{
    buf_printf(sql,
               "SELECT seq, event FROM (SELECT part, seq, time_ms, event FROM decision "
               "WHERE subject = 'booking/%" PRId64 "' UNION ALL SELECT d.part, d.seq, "
               "d.time_ms, d.event FROM (SELECT DISTINCT machine FROM allocation WHERE "
               "booking = %" PRId64 ") a JOIN machine m ON m.id = a.machine JOIN decision d "
               "ON d.subject = CONCAT('machine/', m.name) WHERE d.outcome = 'accepted'",
               id, id);
    add_event_lists(sql, "d.event", "$.data.displaced[*].id", id);
    add_series_decisions(sql, id, series);
    buf_printf(sql, ") h ORDER BY time_ms, part, seq LIMIT %d", PAGE_MAX);
}

enum err handle_booking_decisions(struct call *call, struct failure *f)
{
    int64_t id = call_path_id(call->path_args[0]), series = 0;
    struct buf sql = {0};
    struct list list = {0};
    MYSQL_RES *rows;
    MYSQL_ROW row = NULL;
    buf_printf(&sql, "SELECT series FROM booking WHERE id = %" PRId64, id);
    enum err err = call_query(call, "read booking", &sql, &rows, f);
    if (err == ERR_OK && (row = mysql_fetch_row(rows)))
        series = field_int(row[0]);
    mysql_free_result(rows);
    if (err == ERR_OK && !row) {
        call_no_booking(call);
    } else if (err == ERR_OK) {
        build_booking_decisions(&sql, id, series);
        err = add_events(call, &sql, PAGE_MAX, &list, f);
        if (err == ERR_OK)
            answer_events(call, &list);
    }
    return err;
}
