#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "core/request.h"
#include "lib/mem.h"
#include "reader/handlers.h"

/* The answer is the event of the decision that used the request id up, byte for byte. */
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
        err = mysql_session_query(call->db, "read decision", sql.data, sql.len, &rows, f);
        if (err == ERR_OK && (row = mysql_fetch_row(rows))) {
            call->text_len = mysql_fetch_lengths(rows)[0];
            call->text = xstrndup(row[0], call->text_len);
        }
    }
    if (err == ERR_OK && !row)
        err = call_problem(call, PROBLEM_NOT_FOUND, NULL,
                           "No decision has used up request id %.80s of client %.80s: it was not "
                           "decided yet, or was rejected before its id counted.",
                           request_id, client);
    mysql_free_result(rows);
    buf_fini(&sql);
    return err;
}

/* --- lists of decisions: their events, byte for byte ---------------------------------------- */

/* {"items":[event,…] of the query's rows (seq, event), at most `limit`; more rows: "next" is the
 * last one's sequence. */
static enum err answer_events(struct call *call, const struct buf *sql, int64_t limit,
                              int64_t *count_out, struct failure *f)
{
    MYSQL_RES *rows = NULL;
    MYSQL_ROW row;
    struct buf text = {0};
    int64_t count = 0, last = 0;
    enum err err = mysql_session_query(call->db, "read decisions", sql->data, sql->len, &rows, f);
    if (err != ERR_OK)
        return err;
    buf_puts(&text, "{\"items\":[");
    while (count < limit && (row = mysql_fetch_row(rows))) {
        if (count++ > 0)
            buf_puts(&text, ",");
        buf_append(&text, row[1], mysql_fetch_lengths(rows)[1]);
        last = field_int(row[0]);
    }
    buf_puts(&text, "]");
    if ((int64_t)mysql_num_rows(rows) > limit)
        buf_printf(&text, ",\"next\":\"%" PRId64 "\"", last);
    buf_puts(&text, "}");
    mysql_free_result(rows);
    call->text = text.data;
    call->text_len = text.len;
    *count_out = count;
    return ERR_OK;
}

static enum err partition_exists(struct call *call, int64_t part, bool *exists_out,
                                 struct failure *f)
{
    char sql[80];
    MYSQL_RES *rows = NULL;
    snprintf(sql, sizeof sql, "SELECT 1 FROM request_partition WHERE part = %" PRId64, part);
    enum err err = mysql_session_read(call->db, "read partition", sql, &rows, f);
    if (err == ERR_OK)
        *exists_out = mysql_num_rows(rows) > 0;
    mysql_free_result(rows);
    return err;
}

enum err handle_partition_decisions(struct call *call, struct failure *f)
{
    int64_t part = call_path_id(call->path_args[0]), after, limit, count;
    bool exists = true;
    struct buf sql = {0};
    if (!call_limit(call, &limit) || !call_id(call, PARAM_AFTER, &after))
        return ERR_OK;
    buf_printf(&sql,
               "SELECT seq, event FROM decision WHERE part = %" PRId64 " AND seq > %" PRId64
               " ORDER BY seq LIMIT %" PRId64,
               part, after, limit + 1);
    enum err err = answer_events(call, &sql, limit, &count, f);
    buf_fini(&sql);
    if (err == ERR_OK && count == 0)
        err = partition_exists(call, part, &exists, f);
    if (err == ERR_OK && !exists)
        call_problem(call, PROBLEM_NOT_FOUND, NULL,
                     "There is no partition %.40s; GET /v1/farm says how many there are.",
                     call->path_args[0]);
    if (err != ERR_OK || !exists) {
        free(call->text);
        call->text = NULL;
    }
    return err;
}

/* The decisions about a series bear the id of the first booking that they touched, which is never
 * behind the booking at hand. */
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
    buf_printf(sql, ") AND outcome = 'accepted' AND LOCATE('{\"booking\":%" PRId64 ",', event) > 0",
               id);
}

/* The decisions that made and changed a booking: its own (by subject), those of its series, and the
 * updates of machines of its that displaced it. */
static void build_booking_decisions(struct buf *sql, int64_t id, int64_t series)
{
    buf_printf(sql,
               "SELECT seq, event FROM (SELECT part, seq, time_ms, event FROM decision "
               "WHERE subject = 'booking/%" PRId64 "' UNION ALL SELECT d.part, d.seq, "
               "d.time_ms, d.event FROM (SELECT DISTINCT machine FROM allocation WHERE "
               "booking = %" PRId64 ") a JOIN machine m ON m.id = a.machine JOIN decision d "
               "ON d.subject = CONCAT('machine/', m.name) AND d.outcome = 'accepted' WHERE "
               "LOCATE('{\"id\":%" PRId64 ",', d.event) > 0",
               id, id, id);
    add_series_decisions(sql, id, series);
    buf_printf(sql, ") h ORDER BY time_ms, part, seq LIMIT %d", PAGE_MAX);
}

enum err handle_booking_decisions(struct call *call, struct failure *f)
{
    int64_t id = call_path_id(call->path_args[0]), series = 0, count;
    struct buf sql = {0};
    MYSQL_RES *rows = NULL;
    MYSQL_ROW row = NULL;
    buf_printf(&sql, "SELECT series FROM booking WHERE id = %" PRId64, id);
    enum err err = mysql_session_query(call->db, "read booking", sql.data, sql.len, &rows, f);
    if (err == ERR_OK && (row = mysql_fetch_row(rows)))
        series = field_int(row[0]);
    mysql_free_result(rows);
    if (err == ERR_OK && !row) {
        call_problem(call, PROBLEM_NOT_FOUND, NULL,
                     "No booking has the id %.40s; GET /v1/bookings lists them.",
                     call->path_args[0]);
    } else if (err == ERR_OK) {
        buf_clear(&sql);
        build_booking_decisions(&sql, id, series);
        err = answer_events(call, &sql, PAGE_MAX, &count, f);
    }
    buf_fini(&sql);
    return err;
}
