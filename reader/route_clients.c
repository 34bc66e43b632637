/* GET /v1/clients: what clients may book, and what they use of it. */
#include <inttypes.h>

#include "core/decide.h"
#include "core/pool.h"
#include "core/quota.h"
#include "core/timeline.h"
#include "lib/codec/jsonout.h"
#include "reader/handlers.h"

/* A client's row with its own limits, then the farm's limits, which hold where it has none. */
#define OWN_LIMIT(name)  ", c." #name
#define FARM_LIMIT(name) ", f." #name
#define CLIENT_COLUMNS   "c.name, c.role" CLIENT_LIMIT_TABLE(OWN_LIMIT) CLIENT_LIMIT_TABLE(FARM_LIMIT)
#define CLIENT_FROM      " FROM client c JOIN farm f" /* farm has one row */

/* Writes {"client", "role", "limits": {…}, and leaves the object open. `limits` has the limits in
 * force, without those that are not set. */
static void put_client(struct jsonout *out, MYSQL_ROW row)
{
#define NAME(name) #name,
    static const char *const names[] = {CLIENT_LIMIT_TABLE(NAME)};
#undef NAME
    enum { LIMITS = sizeof(names) / sizeof(names[0]), OWN_AT = 2, FARM_AT = OWN_AT + LIMITS };
    JSONOUT_STRING(out, "{\"client\":", row[0]);
    JSONOUT_STRING(out, ",\"role\":", row[1]);
    JSONOUT_RAW(out, ",\"limits\":{");
    for (size_t i = 0; i < LIMITS; i++) {
        int64_t own = field_int(row[OWN_AT + i]), farm = field_int(row[FARM_AT + i]);
        if (own <= 0 && farm <= 0)
            continue;
        jsonout_comma(out);
        jsonout_string(out, names[i]);
        JSONOUT_INT(out, ":", own > 0 ? own : farm);
    }
    JSONOUT_RAW(out, "}");
}

enum err handle_clients(struct call *call, struct failure *f)
{
    int64_t limit;
    const char *after, *last = NULL;
    struct buf sql = {0};
    struct jsonout out;
    MYSQL_RES *rows;
    MYSQL_ROW row;
    if (!call_limit(call, &limit) || !call_name(call, PARAM_AFTER, &after))
        return ERR_OK;
    buf_puts(&sql, "SELECT " CLIENT_COLUMNS CLIENT_FROM " WHERE c.name > ");
    sql_text(&sql, after ? after : "");
    buf_printf(&sql, " ORDER BY c.name LIMIT %" PRId64, limit + 1);
    enum err err = call_query(call, "list clients", &sql, &rows, f);
    if (err != ERR_OK)
        return err;
    call_page_begin(call, &out);
    for (int64_t i = 0; i < limit && (row = mysql_fetch_row(rows)); i++) {
        jsonout_comma(&out);
        put_client(&out, row);
        JSONOUT_RAW(&out, "}");
        last = row[0];
    }
    call_page_end(call, &out, (int64_t)mysql_num_rows(rows) > limit ? last : NULL);
    mysql_free_result(rows);
    return ERR_OK;
}

/* Writes what the client's bookings hold from now on, as its limits count it: GPUs now, the most
 * GPUs at any instant, and GPU-hours from the next whole second on. */
static void put_use(struct jsonout *out, MYSQL_RES *rows, int64_t now_ms)
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
    JSONOUT_INT(out, ",\"use\":{\"gpus_now\":", timeline_use_at(use, from_ms).gpus);
    JSONOUT_INT(out, ",\"gpus_at_once\":", timeline_peak(use, from_ms, TIMELINE_FOREVER).gpus);
    JSONOUT_INT(out, ",\"gpu_hours_ahead\":", quota_hours(sum));
    JSONOUT_RAW(out, "}");
    timeline_free(use);
    pool_free(pool);
}

static enum err read_use(struct call *call, const char *name, MYSQL_RES **rows_out,
                         struct failure *f)
{
    struct buf sql = {0};
    int64_t from_ms = time_floor_s(call->now_ms);
    buf_puts(&sql, "SELECT a.start_ms, a.end_ms, a.gpus FROM booking b FORCE INDEX "
                   "(booking_client) STRAIGHT_JOIN allocation a ON a.booking = b.id WHERE "
                   "b.client = ");
    sql_text(&sql, name);
    buf_printf(&sql, " AND b.end_ms > %" PRId64 " AND a.end_ms > %" PRId64 " AND a.live = 1",
               from_ms, from_ms);
    return call_query(call, "read use", &sql, rows_out, f);
}

enum err handle_client(struct call *call, struct failure *f)
{
    const char *name = call->path_args[0];
    struct buf sql = {0};
    struct jsonout out;
    MYSQL_RES *rows = NULL, *use = NULL;
    MYSQL_ROW row = NULL;
    enum err err = ERR_OK;
    if (name_is_valid(name, LIMIT_NAME_LEN, NULL)) {
        buf_puts(&sql, "SELECT " CLIENT_COLUMNS CLIENT_FROM " WHERE c.name = ");
        sql_text(&sql, name);
        err = call_query(call, "read client", &sql, &rows, f);
    }
    if (rows && (row = mysql_fetch_row(rows)))
        err = read_use(call, name, &use, f);
    if (err == ERR_OK && row) {
        jsonout_init(&out, call->arena, 512);
        put_client(&out, row);
        put_use(&out, use, call->now_ms);
        JSONOUT_RAW(&out, "}");
        call_text(call, &out);
    } else if (err == ERR_OK) {
        call_problem(call, PROBLEM_NOT_FOUND, NULL,
                     "There is no client %.100s; GET /v1/clients lists them.", name);
    }
    mysql_free_result(rows);
    mysql_free_result(use);
    return err;
}
