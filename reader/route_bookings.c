#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/limits.h"
#include "lib/base/mem.h"
#include "lib/codec/views.h"
#include "reader/handlers.h"
#include "reader/lookup.h"
#include "reader/rows.h"

/* More clients than these are not listed in a statement. */
#define CLIENTS_MAX 256

/* A page of bookings. Strings live in the call's arena. */
struct page {
    struct booking_view *views;
    int64_t *ids;
    size_t count;
    bool more; /* rows follow those of the page */
};

/* The query's first `limit` rows, ordered by id; one that comes twice in a row counts once. */
static enum err read_bookings(struct call *call, const struct buf *sql, int64_t limit,
                              struct page *page, struct failure *f)
{
    MYSQL_RES *rows;
    MYSQL_ROW row;
    if (mysql_session_query(call->db, "read bookings", sql->data, sql->len, &rows, f) != ERR_OK)
        return f->err;
    size_t most = (size_t)mysql_num_rows(rows);
    page->views = arena_alloc(call->arena, most * sizeof(*page->views));
    page->ids = arena_alloc(call->arena, most * sizeof(*page->ids));
    enum err err = ERR_OK;
    page->more = (int64_t)most > limit;
    for (int64_t i = 0; err == ERR_OK && i < limit && (row = mysql_fetch_row(rows)); i++) {
        if (page->count > 0 && page->ids[page->count - 1] == field_int(row[0]))
            continue;
        err = rows_booking(row, call->arena, &page->views[page->count], f);
        page->ids[page->count] = page->views[page->count].id;
        page->count++;
    }
    mysql_free_result(rows);
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
        while (at < page->count && page->views[at].id != booking)
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

/* What a booking holds are its live rows that last until its end, in the order of its rows: as in
 * its events. The order of the joins is said: a server that has not counted a table's rows lately
 * may read all of it otherwise. */
static enum err read_shares(struct call *call, struct page *page, struct failure *f)
{
    struct buf sql = {0};
    MYSQL_RES *rows = NULL;
    if (page->count == 0)
        return ERR_OK;
    buf_puts(&sql,
             "SELECT a.booking, m.name, a.gpus, a.memory_gib FROM allocation a "
             "FORCE INDEX (PRIMARY)"
             " STRAIGHT_JOIN booking b ON b.id = a.booking AND b.end_ms = a.end_ms"
             " STRAIGHT_JOIN machine m ON m.id = a.machine WHERE a.live = 1 AND a.booking IN ");
    sql_ids(&sql, page->ids, page->count);
    buf_puts(&sql, " ORDER BY a.booking, a.machine, a.start_ms");
    enum err err = mysql_session_query(call->db, "read allocations", sql.data, sql.len, &rows, f);
    if (err == ERR_OK)
        attach_shares(call, page, rows);
    mysql_free_result(rows);
    buf_fini(&sql);
    return err;
}

/* What a list is asked for. */
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
        !call_time(call, PARAM_TO, &filter->to_ms))
        return false;
    if (filter->from_ms != TIME_NONE && filter->to_ms != TIME_NONE &&
        filter->to_ms <= filter->from_ms)
        call_problem(call, PROBLEM_INVALID_PARAMETER, "to", "to must be after from.");
    if (filter->state && booking_state_from_name(filter->state) == BOOKING_STATE_COUNT) {
        call_problem(call, PROBLEM_INVALID_PARAMETER, "state",
                     "state must be booked, cancelled or released.");
    }
    return !call->has_problem;
}

/* The ids of bookings that held the machine in the window (or at any time), also in an earlier part
 * of it; one can come several times. */
static void add_held(struct buf *sql, const struct filter *filter)
{
    buf_puts(sql, "SELECT a.booking FROM machine m STRAIGHT_JOIN allocation a FORCE INDEX "
                  "(allocation_timeline) ON a.machine = m.id WHERE a.live = 1 AND m.name = ");
    sql_text(sql, filter->machine);
    if (filter->from_ms != TIME_NONE)
        buf_printf(sql, " AND a.end_ms > %" PRId64, filter->from_ms);
    if (filter->to_ms != TIME_NONE)
        buf_printf(sql, " AND a.start_ms < %" PRId64, filter->to_ms);
}

/* Whatever was held in the window is of a booking in it: a machine's page needs no booking but its
 * own. Otherwise all that the machine ever had are read and sorted for each page. */
static void build_list_of_machine(const struct filter *filter, struct buf *sql)
{
    buf_puts(sql, "SELECT " BOOKING_ROW_COLUMNS " FROM (");
    add_held(sql, filter);
    buf_printf(sql,
               " AND a.booking > %" PRId64 " ORDER BY a.booking LIMIT %" PRId64
               ") held STRAIGHT_JOIN booking b ON b.id = held.booking ORDER BY b.id",
               filter->after, filter->limit + 1);
}

/* Names all clients, so that the index of what ends after `from` (client, end_ms) can be used: it
 * needs no look at what is over. The server weighs that against the order by id. */
static enum err add_clients(struct call *call, struct buf *sql, struct failure *f)
{
    MYSQL_RES *rows = NULL;
    MYSQL_ROW row;
    char text[80];
    snprintf(text, sizeof(text), "SELECT name FROM client LIMIT %d", CLIENTS_MAX + 1);
    enum err err = mysql_session_read(call->db, "read clients", text, &rows, f);
    size_t count = err == ERR_OK ? (size_t)mysql_num_rows(rows) : 0;
    if (count > 0 && count <= CLIENTS_MAX) {
        const char *separator = " AND b.client IN (";
        while ((row = mysql_fetch_row(rows))) {
            buf_puts(sql, separator);
            sql_text(sql, row[0]);
            separator = ",";
        }
        buf_puts(sql, ")");
    }
    mysql_free_result(rows);
    return err;
}

static enum err build_list(struct call *call, const struct filter *filter, struct buf *sql,
                           struct failure *f)
{
    enum err err = ERR_OK;
    if (filter->machine && !filter->client && !call->params[PARAM_USER] && !filter->state) {
        build_list_of_machine(filter, sql);
        return ERR_OK;
    }
    buf_printf(sql, "SELECT " BOOKING_ROW_COLUMNS " FROM booking b WHERE b.id > %" PRId64,
               filter->after);
    if (filter->client) {
        buf_puts(sql, " AND b.client = ");
        sql_text(sql, filter->client);
    }
    if (call->params[PARAM_USER]) {
        buf_puts(sql, " AND b.user_name = ");
        sql_text(sql, call->params[PARAM_USER]);
    }
    if (filter->state) {
        buf_puts(sql, " AND b.state = ");
        sql_text(sql, filter->state);
    }
    if (filter->from_ms != TIME_NONE)
        buf_printf(sql, " AND b.end_ms > %" PRId64, filter->from_ms);
    if (filter->to_ms != TIME_NONE)
        buf_printf(sql, " AND b.start_ms < %" PRId64, filter->to_ms);
    if (filter->machine) {
        buf_puts(sql, " AND b.id IN (");
        add_held(sql, filter);
        buf_puts(sql, ")");
    } else if (filter->from_ms != TIME_NONE && !filter->client) {
        err = add_clients(call, sql, f);
    }
    buf_printf(sql, " ORDER BY b.id LIMIT %" PRId64, filter->limit + 1);
    return err;
}

enum err handle_bookings(struct call *call, struct failure *f)
{
    struct filter filter;
    struct buf sql = {0};
    struct page page = {0};
    char next[24];
    if (!read_filter(call, &filter))
        return ERR_OK;
    enum err err = build_list(call, &filter, &sql, f);
    if (err == ERR_OK)
        err = read_bookings(call, &sql, filter.limit, &page, f);
    if (err == ERR_OK)
        err = read_shares(call, &page, f);
    if (err == ERR_OK) {
        json_t *items = json_array();
        for (size_t i = 0; i < page.count; i++)
            json_array_append_new(items, booking_view_json(&page.views[i]));
        if (page.more)
            snprintf(next, sizeof(next), "%" PRId64, page.ids[page.count - 1]);
        call_page(call, items, page.more ? next : NULL);
    }
    buf_fini(&sql);
    return err;
}

/* The ids of a series' bookings follow from its own (db/migrations/0002). */
enum err handle_series(struct call *call, struct failure *f)
{
    struct buf sql = {0};
    struct page page = {0};
    int64_t ids[LIMIT_OCCURRENCES];
    int64_t id = call_path_id(call->path_args[0]);
    for (int64_t k = 0; k < LIMIT_OCCURRENCES; k++)
        ids[k] = (int64_t)((uint64_t)id + ((uint64_t)k << 32) * LIMIT_PARTITIONS);
    buf_puts(&sql, "SELECT " BOOKING_ROW_COLUMNS " FROM booking b WHERE b.id IN ");
    sql_ids(&sql, ids, LIMIT_OCCURRENCES);
    buf_printf(&sql, " AND b.series = %" PRId64 " ORDER BY b.id", id);
    enum err err = id < 0 ? ERR_OK : read_bookings(call, &sql, LIMIT_OCCURRENCES, &page, f);
    if (err == ERR_OK)
        err = read_shares(call, &page, f);
    if (err == ERR_OK && page.count == 0) {
        call_problem(call, PROBLEM_NOT_FOUND, NULL, "No series has the id %.40s.",
                     call->path_args[0]);
    } else if (err == ERR_OK) {
        json_t *items = json_array();
        for (size_t i = 0; i < page.count; i++)
            json_array_append_new(items, booking_view_json(&page.views[i]));
        call_page(call, items, NULL);
    }
    buf_fini(&sql);
    return err;
}

enum err handle_booking(struct call *call, struct failure *f)
{
    const struct lookup_query *query = call->booking;
    if (query->err != ERR_OK) {
        *f = query->f;
    } else if (query->found) {
        call->body = booking_view_json(&query->view);
    } else {
        call_problem(call, PROBLEM_NOT_FOUND, NULL,
                     "No booking has the id %.40s; GET /v1/bookings lists them.",
                     call->path_args[0]);
    }
    return query->err;
}
