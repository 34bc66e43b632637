/* GET /v1/clients: what clients may book, and what they use of it. */
#include <inttypes.h>

#include "core/decide.h"
#include "core/pool.h"
#include "core/quota.h"
#include "core/timeline.h"
#include "lib/base/mem.h"
#include "reader/handlers.h"

/* A client's row, then the farm's limits: what the client has none of its own for. */
#define CLIENT_COLUMNS                                                                             \
    "c.name, c.role, c.booking_s, c.ahead_s, c.allocations, c.gpus_at_once, c.gpu_hours_ahead, "   \
    "f.booking_s, f.ahead_s, f.allocations, f.gpus_at_once, f.gpu_hours_ahead"
#define CLIENT_FROM " FROM client c JOIN farm f"

/* {"client", "role", "limits": {…}}: the limits in force; one that is not there is not set. */
static json_t *client_json(MYSQL_ROW row)
{
    static const char *const names[] = {"booking_s", "ahead_s", "allocations", "gpus_at_once",
                                        "gpu_hours_ahead"};
    json_t *limits = json_object();
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        int64_t own = field_int(row[2 + i]), farm = field_int(row[7 + i]);
        if (own > 0 || farm > 0)
            json_object_set_new(limits, names[i], json_integer(own > 0 ? own : farm));
    }
    return json_pack("{s:s, s:s, s:o}", "client", row[0], "role", row[1], "limits", limits);
}

enum err handle_clients(struct call *call, struct failure *f)
{
    int64_t limit;
    const char *after;
    struct buf sql = {0};
    MYSQL_RES *rows = NULL;
    MYSQL_ROW row;
    if (!call_limit(call, &limit) || !call_name(call, PARAM_AFTER, &after))
        return ERR_OK;
    buf_puts(&sql, "SELECT " CLIENT_COLUMNS CLIENT_FROM " WHERE c.name > ");
    sql_text(&sql, after ? after : "");
    buf_printf(&sql, " ORDER BY c.name LIMIT %" PRId64, limit + 1);
    enum err err = mysql_session_query(call->db, "list clients", sql.data, sql.len, &rows, f);
    if (err == ERR_OK) {
        json_t *items = json_array();
        const char *last = NULL;
        while ((int64_t)json_array_size(items) < limit && (row = mysql_fetch_row(rows))) {
            json_array_append_new(items, client_json(row));
            last = row[0];
        }
        call_page(call, items, (int64_t)mysql_num_rows(rows) > limit ? last : NULL);
    }
    mysql_free_result(rows);
    buf_fini(&sql);
    return err;
}

/* What the client's bookings hold from now on: the most GPUs at any instant, and GPU-hours from now
 * rounded up, as its limits count them. */
static json_t *use_json(MYSQL_RES *rows, int64_t now_ms)
{
    MYSQL_ROW row;
    struct pool *pool = pool_new();
    int64_t from_ms = time_floor_s(now_ms), ahead_ms = time_ceil_s(now_ms);
    struct timeline *use = timeline_new(pool, from_ms);
    gpu_ms sum = 0;
    while ((row = mysql_fetch_row(rows))) {
        int64_t start_ms = field_int(row[0]), end_ms = field_int(row[1]), gpus = field_int(row[2]);
        timeline_add(use, start_ms, end_ms, (struct amount){.gpus = gpus});
        if (start_ms < ahead_ms)
            start_ms = ahead_ms;
        if (start_ms < end_ms)
            sum += (gpu_ms)gpus * (end_ms - start_ms);
    }
    json_t *json = json_pack("{s:I, s:I, s:I}", "gpus_now",
                             (json_int_t)timeline_use_at(use, from_ms).gpus, "gpus_at_once",
                             (json_int_t)timeline_peak(use, from_ms, TIMELINE_FOREVER).gpus,
                             "gpu_hours_ahead", (json_int_t)quota_hours(sum));
    timeline_free(use);
    pool_free(pool);
    return json;
}

static enum err add_use(struct call *call, const char *name, struct failure *f)
{
    struct buf sql = {0};
    MYSQL_RES *rows = NULL;
    int64_t from_ms = time_floor_s(call->now_ms);
    buf_puts(&sql, "SELECT a.start_ms, a.end_ms, a.gpus FROM booking b FORCE INDEX "
                   "(booking_client) STRAIGHT_JOIN allocation a ON a.booking = b.id WHERE "
                   "b.client = ");
    sql_text(&sql, name);
    buf_printf(&sql, " AND b.end_ms > %" PRId64 " AND a.end_ms > %" PRId64 " AND a.live = 1",
               from_ms, from_ms);
    enum err err = mysql_session_query(call->db, "read use", sql.data, sql.len, &rows, f);
    if (err == ERR_OK)
        json_object_set_new(call->body, "use", use_json(rows, call->now_ms));
    mysql_free_result(rows);
    buf_fini(&sql);
    return err;
}

enum err handle_client(struct call *call, struct failure *f)
{
    const char *name = call->path_args[0];
    struct buf sql = {0};
    MYSQL_RES *rows = NULL;
    MYSQL_ROW row;
    enum err err = ERR_OK;
    if (name_is_valid(name, LIMIT_NAME_LEN, NULL)) {
        buf_puts(&sql, "SELECT " CLIENT_COLUMNS CLIENT_FROM " WHERE c.name = ");
        sql_text(&sql, name);
        err = mysql_session_query(call->db, "read client", sql.data, sql.len, &rows, f);
        if (err == ERR_OK && (row = mysql_fetch_row(rows)))
            call->body = client_json(row);
        mysql_free_result(rows);
    }
    if (err == ERR_OK && !call->body) {
        call_problem(call, PROBLEM_NOT_FOUND, NULL,
                     "There is no client %.100s; GET /v1/clients lists them.", name);
    } else if (err == ERR_OK) {
        err = add_use(call, name, f);
    }
    buf_fini(&sql);
    return err;
}
