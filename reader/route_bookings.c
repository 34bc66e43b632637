/* GET /v1/bookings, one of them, and those of a series. */
#include <inttypes.h>
#include <stdio.h>

#include "core/limits.h"
#include "db/id_list.h"
#include "db/mysql_rows.h"
#include "lib/codec/views.h"
#include "reader/handlers.h"
#include "reader/lookup.h"

/* With all clients in a condition, the server can use the index (client, end_ms) and skip bookings
 * that ended before `from`. It weighs that against the order by id. */
static const struct call_all all_clients = {"read clients", "b.client", "SELECT name FROM client",
                                            256, true};

/* A page of bookings. */
struct page {
    MYSQL_RES *rows; /* owns the strings of the views */
    struct booking_view *views;
    int64_t *ids;
    size_t count;
    bool more; /* rows follow those of the page */
};

/* The first `limit` rows of a query that orders by id; a booking that comes twice in a row counts
 * once. */
static enum err read_bookings(struct call *call, struct buf *sql, int64_t limit, struct page *page,
                              struct failure *f)
{
    MYSQL_ROW row;
    enum err err = call_query(call, "read bookings", sql, &page->rows, f);
    if (err != ERR_OK)
        return err;
    size_t row_count = (size_t)mysql_num_rows(page->rows);
    page->views = arena_alloc(call->arena, row_count * sizeof(*page->views));
    page->ids = arena_alloc(call->arena, row_count * sizeof(*page->ids));
    page->more = (int64_t)row_count > limit;
    for (int64_t i = 0; err == ERR_OK && i < limit && (row = mysql_fetch_row(page->rows)); i++) {
        struct booking booking;
        err = booking_row_read(row, &booking, f);
        if (err != ERR_OK || (page->count > 0 && page->ids[page->count - 1] == booking.id))
            continue;
        page->ids[page->count] = booking.id;
        page->views[page->count++] = booking_view_of(&booking);
    }
    return err;
}

/* The shares come ordered by booking, as the page is. */
static void attach_shares(struct call *call, struct page *page, MYSQL_RES *rows)
{
    MYSQL_ROW row;
    size_t at = 0;
    struct share *shares = arena_alloc(call->arena,
                                       (size_t)mysql_num_rows(rows) * sizeof(struct share));
    while ((row = mysql_fetch_row(rows))) {
        int64_t booking = field_int(row[0]);
        while (at < page->count && page->ids[at] != booking)
            at++;
        if (at == page->count)
            break;
        struct booking_view *view = &page->views[at];
        if (view->share_count == 0)
            view->shares = shares;
        *shares++ = (struct share){
            .machine = arena_strdup(call->arena, row[1]),
            .amount = {.gpus = field_int(row[2]), .memory_gib = field_int(row[3])}};
        view->share_count++;
    }
}

/* A booking holds its live rows that last until its end, in the order of its rows, as its events
 * show them. STRAIGHT_JOIN, because a server without recent statistics may otherwise read a whole
 * table. */
static enum err read_shares(struct call *call, struct page *page, struct failure *f)
{
    struct buf sql = {0};
    MYSQL_RES *rows;
    if (page->count == 0)
        return ERR_OK;
    buf_puts(&sql,
             "SELECT a.booking, m.name, a.gpus, a.memory_gib FROM allocation a "
             "FORCE INDEX (PRIMARY)"
             " STRAIGHT_JOIN booking b ON b.id = a.booking AND b.end_ms = a.end_ms"
             " STRAIGHT_JOIN machine m ON m.id = a.machine WHERE a.live = 1 AND a.booking IN ");
    sql_ids(&sql, page->ids, page->count);
    buf_puts(&sql, " ORDER BY a.booking, a.machine, a.start_ms");
    enum err err = call_query(call, "read allocations", &sql, &rows, f);
    if (err == ERR_OK)
        attach_shares(call, page, rows);
    mysql_free_result(rows);
    return err;
}

/* Answers with the page. */
static void write_page(struct call *call, const struct page *page)
{
    struct jsonout out;
    char next[24] = "";
    call_page_begin(call, &out);
    for (size_t i = 0; i < page->count; i++) {
        jsonout_comma(&out);
        jsonout_booking(&out, &page->views[i]);
    }
    if (page->more)
        snprintf(next, sizeof(next), "%" PRId64, page->ids[page->count - 1]);
    call_page_end(call, &out, page->more ? next : NULL);
}

/* The parameters of a list. */
struct filter {
    int64_t limit, after, from_ms, to_ms;
    const char *client, *machine, *state;
};

/* False: the answer is a problem already. */
static bool read_filter(struct call *call, struct filter *filter)
{
    *filter = (struct filter){
        .from_ms = TIME_NONE, .to_ms = TIME_NONE, .state = call->params[PARAM_STATE]};
    if (!call_limit(call, &filter->limit) || !call_id(call, PARAM_AFTER, &filter->after) ||
        !call_name(call, PARAM_CLIENT, &filter->client) ||
        !call_name(call, PARAM_MACHINE, &filter->machine) ||
        !call_time(call, PARAM_FROM, &filter->from_ms) ||
        !call_end_time(call, PARAM_TO, &filter->to_ms))
        return false;
    if (filter->from_ms != TIME_NONE && filter->to_ms != TIME_NONE &&
        filter->to_ms <= filter->from_ms)
        call_invalid(call, PARAM_TO, "to must be after from.");
    if (filter->state && booking_state_from_name(filter->state) == BOOKING_STATE_COUNT)
        call_invalid(call, PARAM_STATE, "state must be booked, cancelled or released.");
    return !call->has_problem;
}

/* Adds a condition, which is complete but for its value, unless the value is not given. */
static void add_text(struct buf *sql, const char *condition, const char *text)
{
    if (!text)
        return;
    buf_puts(sql, condition);
    sql_text(sql, text);
}

static void add_time(struct buf *sql, const char *condition, int64_t ms)
{
    if (ms == TIME_NONE)
        return;
    buf_puts(sql, condition);
    sql_int(sql, ms);
}

/* Selects the ids of the bookings that held the machine at some instant of the window (or ever). An
 * id can come several times: once for each row of the booking. */
static void add_held(struct buf *sql, const struct filter *filter)
{
    buf_puts(sql, "SELECT a.booking FROM machine m STRAIGHT_JOIN allocation a FORCE INDEX "
                  "(allocation_timeline) ON a.machine = m.id WHERE a.live = 1");
    add_text(sql, " AND m.name = ", filter->machine);
    add_time(sql, " AND a.end_ms > ", filter->from_ms);
    add_time(sql, " AND a.start_ms < ", filter->to_ms);
}

/* A booking that held the machine in the window overlaps the window, so only the rows of the page
 * are joined with their bookings. Otherwise the server would read and sort all bookings that the
 * machine ever had, for each page. */
static void build_list_of_machine(const struct filter *filter, struct buf *sql)
{
    buf_puts(sql, "SELECT " BOOKING_COLUMNS_OF("b.") " FROM (");
    add_held(sql, filter);
    buf_printf(sql,
               " AND a.booking > %" PRId64 " ORDER BY a.booking LIMIT %" PRId64
               ") held STRAIGHT_JOIN booking b ON b.id = held.booking ORDER BY b.id",
               filter->after, filter->limit + 1);
}

static enum err build_list(struct call *call, const struct filter *filter, struct buf *sql,
                           struct failure *f)
{
    enum err err = ERR_OK;
    if (filter->machine && !filter->client && !call->params[PARAM_USER] && !filter->state) {
        build_list_of_machine(filter, sql);
        return ERR_OK;
    }
    buf_printf(sql, "SELECT " BOOKING_COLUMNS_OF("b.") " FROM booking b WHERE b.id > %" PRId64,
               filter->after);
    add_text(sql, " AND b.client = ", filter->client);
    if (call->params[PARAM_USER]) {
        buf_puts(sql, " AND ");
        sql_equals(sql, "b.user_name", call->params[PARAM_USER]);
    }
    add_text(sql, " AND b.state = ", filter->state);
    add_time(sql, " AND b.end_ms > ", filter->from_ms);
    add_time(sql, " AND b.start_ms < ", filter->to_ms);
    if (filter->machine) {
        buf_puts(sql, " AND b.id IN (");
        add_held(sql, filter);
        buf_puts(sql, ")");
    } else if (filter->from_ms != TIME_NONE && !filter->client) {
        err = call_add_all(call, sql, &all_clients, f);
    }
    buf_printf(sql, " ORDER BY b.id LIMIT %" PRId64, filter->limit + 1);
    return err;
}

enum err handle_bookings(struct call *call, struct failure *f)
{
    struct filter filter;
    struct buf sql = {0};
    struct page page = {0};
    if (!read_filter(call, &filter))
        return ERR_OK;
    enum err err = build_list(call, &filter, &sql, f);
    if (err == ERR_OK)
        err = read_bookings(call, &sql, filter.limit, &page, f);
    if (err == ERR_OK)
        err = read_shares(call, &page, f);
    if (err == ERR_OK)
        write_page(call, &page);
    mysql_free_result(page.rows);
    buf_fini(&sql);
    return err;
}

enum err handle_series(struct call *call, struct failure *f)
{
    struct buf sql = {0};
    struct page page = {0};
    int64_t ids[LIMIT_OCCURRENCES], id = call_path_id(call->path_args[0]);
    size_t count = series_booking_ids(id, ids);
    enum err err = ERR_OK;
    if (count > 0) {
        buf_puts(&sql, "SELECT " BOOKING_COLUMNS " FROM booking WHERE id IN ");
        sql_ids(&sql, ids, count);
        buf_printf(&sql, " AND series = %" PRId64 " ORDER BY id", id);
        err = read_bookings(call, &sql, LIMIT_OCCURRENCES, &page, f);
    }
    if (err == ERR_OK)
        err = read_shares(call, &page, f);
    if (err == ERR_OK && page.count == 0) {
        call_problem(call, PROBLEM_NOT_FOUND, NULL, "No series has the id %.40s.",
                     call->path_args[0]);
    } else if (err == ERR_OK) {
        write_page(call, &page);
    }
    mysql_free_result(page.rows);
    return err;
}

enum err handle_booking(struct call *call, struct failure *f)
{
    const struct lookup_query *query = call->booking;
    if (query->err != ERR_OK) {
        *f = query->f;
    } else if (query->found) {
        struct jsonout out;
        jsonout_init(&out, call->arena, 1024);
        jsonout_booking(&out, &query->view);
        call_text(call, &out);
    } else {
        call_no_booking(call);
    }
    return query->err;
}
