#include "core/limits.h"
#include "core/request.h"
#include "lib/codec/views.h"
#include "reader/handlers.h"
#include "reader/rows.h"

static enum err machine_json(struct call *call, MYSQL_ROW row, const unsigned long *lengths,
                             json_t **out, struct failure *f)
{
    struct machine_view view;
    enum err err = rows_machine(row, lengths, call->arena, &view, f);
    if (err == ERR_OK)
        *out = machine_view_json(&view);
    return err;
}

static enum err collect(struct call *call, MYSQL_RES *rows, int64_t limit, struct failure *f)
{
    json_t *items = json_array();
    const char *next = NULL, *last = NULL;
    MYSQL_ROW row;
    enum err err = ERR_OK;
    while (err == ERR_OK && (row = mysql_fetch_row(rows))) {
        json_t *machine;
        if ((int64_t)json_array_size(items) == limit) {
            next = last;
            break;
        }
        err = machine_json(call, row, mysql_fetch_lengths(rows), &machine, f);
        if (err == ERR_OK)
            json_array_append_new(items, machine);
        last = row[1];
    }
    if (err == ERR_OK) {
        call_page(call, items, next);
    } else {
        json_decref(items);
    }
    return err;
}

enum err handle_machines(struct call *call, struct failure *f)
{
    int64_t limit;
    const char *after, *state = call->params[PARAM_STATE];
    struct buf sql = {0};
    MYSQL_RES *rows = NULL;
    struct labels labels;
    if (!call_limit(call, &limit) || !call_name(call, PARAM_AFTER, &after) ||
        !call_labels(call, &labels))
        return ERR_OK;
    if (state && machine_state_from_name(state) == MACHINE_STATE_COUNT) {
        return call_problem(call, PROBLEM_INVALID_PARAMETER, "state",
                            "state must be up, draining or retired.");
    }
    buf_puts(&sql, "SELECT " MACHINE_ROW_COLUMNS " FROM machine WHERE name > ");
    sql_text(&sql, after ? after : "");
    if (state) {
        buf_puts(&sql, " AND state = ");
        sql_text(&sql, state);
    }
    rows_add_labels(&sql, call->arena, &labels);
    buf_printf(&sql, " ORDER BY name LIMIT %lld", (long long)limit + 1);
    enum err err = mysql_session_query(call->db, "list machines", sql.data, sql.len, &rows, f);
    if (err == ERR_OK)
        err = collect(call, rows, limit, f);
    mysql_free_result(rows);
    buf_fini(&sql);
    return err;
}

enum err handle_machine(struct call *call, struct failure *f)
{
    struct machine_view view;
    bool found;
    enum err err = rows_find_machine(call, call->path_args[0], &view, &found, f);
    if (err == ERR_OK && found)
        call->body = machine_view_json(&view);
    return err;
}
