/* GET /v1/usage: GPU-hours booked and offered over a window. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/timetext.h"
#include "reader/handlers.h"

#define WEEK_MS (INT64_C(7) * 24 * 3600 * 1000)
/* The digits of a decimal number that a double keeps; with 17 of them 0.1 is printed as
 * 0.10000000000000001. */
#define DIGITS  15

/* With all machines in a condition, the server can enter the index of each at the beginning of the
 * window and skip allocations that ended before. */
static const struct call_all all_machines = {"read machines", "a.machine", "SELECT id FROM machine",
                                             10000, false};

struct question {
    struct window window;
    struct buf of_machines; /* a condition, or empty */
};

/* GPU-milliseconds as hours with three decimals: a GPU for four seconds is 0.001. */
static json_t *hours_json(double time)
{
    return json_real((double)(int64_t)(time / 3600 + 0.5) / 1000);
}

/* Sums the GPU-milliseconds of allocations inside the window. */
static void add_booked(struct buf *sql, const struct window *window)
{
    buf_printf(sql,
               "SUM(a.gpus * (LEAST(a.end_ms, %" PRId64 ") - GREATEST(a.start_ms, %" PRId64 ")))",
               window->end_ms, window->start_ms);
}

static void add_overlap(struct buf *sql, const struct question *q)
{
    buf_printf(sql, "a.live = 1 AND a.end_ms > %" PRId64 " AND a.start_ms < %" PRId64 "%s",
               q->window.start_ms, q->window.end_ms, q->of_machines.data);
}

/* Adds [{"machine", "booked", "offered"}…] and the farm's sums. A machine that is up offers its
 * present capacity over the whole window. */
static enum err by_machine(struct call *call, const struct question *q, json_t *answer,
                           struct failure *f)
{
    struct buf sql = {0};
    MYSQL_RES *rows;
    MYSQL_ROW row;
    double length_ms = (double)(q->window.end_ms - q->window.start_ms), booked = 0, offered = 0;
    buf_puts(&sql, "SELECT m.name, m.gpus, m.state = 'up', COALESCE(u.booked, 0) FROM machine m "
                   "LEFT JOIN (SELECT a.machine, ");
    add_booked(&sql, &q->window);
    buf_puts(&sql, " AS booked FROM allocation a FORCE INDEX (allocation_timeline) "
                   "WHERE ");
    add_overlap(&sql, q);
    buf_puts(&sql, " GROUP BY a.machine) u ON u.machine = m.id ORDER BY m.name");
    enum err err = call_query(call, "sum use", &sql, &rows, f);
    if (err == ERR_OK) {
        json_t *list = json_array();
        while ((row = mysql_fetch_row(rows))) {
            double of_machine = strtod(row[3], NULL);
            double capacity = row[2][0] == '1' ? length_ms * (double)field_int(row[1]) : 0;
            booked += of_machine;
            offered += capacity;
            json_array_append_new(list, json_pack("{s:s, s:o, s:o}", "machine", row[0], "booked",
                                                  hours_json(of_machine), "offered",
                                                  hours_json(capacity)));
        }
        json_object_set_new(
            answer, "farm",
            json_pack("{s:o, s:o}", "booked", hours_json(booked), "offered", hours_json(offered)));
        json_object_set_new(answer, "machines", list);
    }
    mysql_free_result(rows);
    return err;
}

static enum err by_client(struct call *call, const struct question *q, json_t *answer,
                          struct failure *f)
{
    struct buf sql = {0};
    MYSQL_RES *rows = NULL;
    MYSQL_ROW row;
    buf_puts(&sql, "SELECT b.client, ");
    add_booked(&sql, &q->window);
    buf_puts(&sql,
             " FROM allocation a FORCE INDEX (allocation_timeline) STRAIGHT_JOIN booking b ON "
             "b.id = a.booking WHERE ");
    add_overlap(&sql, q);
    buf_puts(&sql, " GROUP BY b.client ORDER BY b.client");
    enum err err = call_query(call, "sum use", &sql, &rows, f);
    if (err == ERR_OK) {
        json_t *list = json_array();
        while ((row = mysql_fetch_row(rows))) {
            json_array_append_new(list, json_pack("{s:s, s:o}", "client", row[0], "booked",
                                                  hours_json(strtod(row[1], NULL))));
        }
        json_object_set_new(answer, "clients", list);
    }
    mysql_free_result(rows);
    return err;
}

/* Whether the window has no more allocations than one question may read; otherwise the answer says
 * so. Counting costs a fraction of summing, and ends at the limit. */
static enum err check_size(struct call *call, const struct question *q, bool *fits_out,
                           struct failure *f)
{
    struct buf sql = {0};
    MYSQL_RES *rows;
    int64_t max = call->reader->rows_max;
    buf_puts(&sql, "SELECT COUNT(*) FROM (SELECT 1 FROM allocation a FORCE INDEX "
                   "(allocation_timeline) WHERE ");
    add_overlap(&sql, q);
    buf_printf(&sql, " LIMIT %" PRId64 ") counted", max + 1);
    enum err err = call_query(call, "count use", &sql, &rows, f);
    *fits_out = err == ERR_OK && field_int(mysql_fetch_row(rows)[0]) <= max;
    mysql_free_result(rows);
    if (err == ERR_OK && !*fits_out) {
        call_invalid(call, PARAM_FROM,
                     "More than %" PRId64
                     " allocations are in that window: ask for a shorter one, several times.",
                     max);
    }
    return err;
}

static enum err sum_up(struct call *call, const struct question *q, json_t *answer,
                       struct failure *f)
{
    bool fits;
    enum err err = check_size(call, q, &fits, f);
    if (err != ERR_OK || !fits)
        return err;
    err = by_machine(call, q, answer, f);
    if (err == ERR_OK)
        err = by_client(call, q, answer, f);
    if (err == ERR_OK) {
        char *text = json_dumps(answer, JSON_COMPACT | JSON_REAL_PRECISION(DIGITS));
        call_take_text(call, text, strlen(text));
    }
    return err;
}

enum err handle_usage(struct call *call, struct failure *f)
{
    struct question q = {0};
    if (!call_window(call, WEEK_MS, &q.window))
        return ERR_OK;
    char from[TIMETEXT_LEN], to[TIMETEXT_LEN];
    json_t *answer = json_pack("{s:s, s:s, s:s}", "from", timetext_format(q.window.start_ms, from),
                               "to", timetext_format(q.window.end_ms, to), "unit", "gpu_hours");
    buf_puts(&q.of_machines, "");
    enum err err = call_add_all(call, &q.of_machines, &all_machines, f);
    if (err == ERR_OK)
        err = sum_up(call, &q, answer, f);
    json_decref(answer);
    buf_fini(&q.of_machines);
    return err;
}
