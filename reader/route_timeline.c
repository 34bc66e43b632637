/* GET /v1/machines/{name}/timeline: who holds what of a machine over a window, and what is free. */
#include <inttypes.h>

#include "core/pool.h"
#include "core/timeline.h"
#include "db/mysql_session.h"
#include "lib/codec/jsonout.h"
#include "reader/handlers.h"

#define WEEK_MS  (INT64_C(7) * 24 * 3600 * 1000)
/* Rows of one answer, at most: bounds its memory. */
#define ROWS_MAX 50000

/* The answer as far as it is written, and the sum of its rows' use. */
struct writing {
    struct jsonout out;
    struct amount capacity;
    struct timeline *use;
};

static void put_row(struct writing *w, MYSQL_ROW row)
{
    struct jsonout *out = &w->out;
    struct amount amount = {.gpus = field_int(row[5]), .memory_gib = field_int(row[6])};
    jsonout_comma(out);
    JSONOUT_INT(out, "{\"booking\":", field_int(row[0]));
    JSONOUT_STRING(out, ",\"client\":", row[1]);
    JSONOUT_STRING(out, ",\"user\":", row[2]);
    JSONOUT_TIME(out, ",\"start\":", field_int(row[3]));
    JSONOUT_TIME(out, ",\"end\":", field_int(row[4]));
    JSONOUT_RAW(out, ",");
    jsonout_amount(out, amount);
    JSONOUT_RAW(out, "}");
    timeline_add(w->use, field_int(row[3]), field_int(row[4]), amount);
}

/* Where use exceeds a capacity that shrank, nothing is free. */
static bool put_step(void *arg, int64_t start_ms, int64_t end_ms, struct amount use)
{
    struct writing *w = arg;
    struct amount free = {.gpus = w->capacity.gpus - use.gpus,
                          .memory_gib = w->capacity.memory_gib - use.memory_gib};
    if (free.gpus < 0)
        free.gpus = 0;
    if (free.memory_gib < 0)
        free.memory_gib = 0;
    jsonout_comma(&w->out);
    JSONOUT_TIME(&w->out, "{\"start\":", start_ms);
    JSONOUT_TIME(&w->out, ",\"end\":", end_ms);
    JSONOUT_RAW(&w->out, ",");
    jsonout_amount(&w->out, free);
    JSONOUT_RAW(&w->out, "}");
    return true;
}

static void write_answer(struct call *call, const struct machine *machine,
                         const struct window *window, MYSQL_RES *rows)
{
    MYSQL_ROW row;
    struct pool *pool = pool_new();
    struct writing w = {.capacity = machine->capacity, .use = timeline_new(pool, window->start_ms)};
    struct jsonout *out = &w.out;
    jsonout_init(out, call->arena, 1024 + 160 * (size_t)mysql_num_rows(rows));
    JSONOUT_STRING(out, "{\"machine\":", machine->name);
    JSONOUT_STRING(out, ",\"state\":", machine_state_name(machine->state));
    JSONOUT_INT(out, ",\"version\":", machine->version);
    JSONOUT_RAW(out, ",");
    jsonout_amount(out, machine->capacity);
    JSONOUT_TIME(out, ",\"from\":", window->start_ms);
    JSONOUT_TIME(out, ",\"to\":", window->end_ms);
    JSONOUT_RAW(out, ",\"bookings\":[");
    while ((row = mysql_fetch_row(rows)))
        put_row(&w, row);
    JSONOUT_RAW(out, "],\"free\":[");
    timeline_steps(w.use, window->start_ms, window->end_ms, put_step, &w);
    JSONOUT_RAW(out, "]}");
    call_text(call, out);
    timeline_free(w.use);
    pool_free(pool);
}

/* Reads what bookings hold of the machine in the window, by start, and answers. */
static enum err read_use(struct call *call, const struct machine *machine,
                         const struct window *window, struct failure *f)
{
    struct buf sql = {0};
    MYSQL_RES *rows;
    buf_printf(&sql,
               "SELECT a.booking, b.client, b.user_name, a.start_ms, a.end_ms, a.gpus, "
               "a.memory_gib FROM allocation a FORCE INDEX (allocation_timeline) "
               "STRAIGHT_JOIN booking b ON b.id = a.booking WHERE a.machine = %" PRId64
               " AND a.end_ms > %" PRId64 " AND a.start_ms < %" PRId64 " AND a.live = 1 "
               "ORDER BY a.start_ms, a.booking LIMIT %d",
               machine->id, window->start_ms, window->end_ms, ROWS_MAX + 1);
    enum err err = call_query(call, "read timeline", &sql, &rows, f);
    if (err == ERR_OK && mysql_num_rows(rows) > ROWS_MAX) {
        call_invalid(call, PARAM_TO,
                     "More than %d bookings are in that window: ask for a shorter one.", ROWS_MAX);
    } else if (err == ERR_OK) {
        write_answer(call, machine, window, rows);
    }
    mysql_free_result(rows);
    return err;
}

enum err handle_timeline(struct call *call, struct failure *f)
{
    struct window window;
    struct machine machine;
    bool found;
    if (!call_window(call, WEEK_MS, &window))
        return ERR_OK;
    enum err err = machine_find(call, call->path_args[0], &machine, &found, f);
    if (err == ERR_OK && found)
        err = read_use(call, &machine, &window, f);
    return err;
}
