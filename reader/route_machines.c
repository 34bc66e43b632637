/* GET /v1/machines, and one of them. */
#include "core/decide.h"
#include "db/mysql_rows.h"
#include "lib/codec/views.h"
#include "reader/handlers.h"

/* At most `limit` machines; rows beyond them say that another page follows. */
static enum err write_page(struct call *call, MYSQL_RES *rows, int64_t limit, struct failure *f)
{
    struct jsonout out;
    const char *last = NULL;
    MYSQL_ROW row;
    call_page_begin(call, &out);
    for (int64_t i = 0; i < limit && (row = mysql_fetch_row(rows)); i++) {
        struct machine machine;
        enum err err = machine_row_read(row, mysql_fetch_lengths(rows), call->arena, &machine, f);
        if (err != ERR_OK)
            return err;
        struct machine_view view = machine_view_of(&machine);
        jsonout_comma(&out);
        jsonout_machine(&out, &view);
        last = row[1];
    }
    call_page_end(call, &out, (int64_t)mysql_num_rows(rows) > limit ? last : NULL);
    return ERR_OK;
}

enum err handle_machines(struct call *call, struct failure *f)
{
    int64_t limit;
    const char *after, *state = call->params[PARAM_STATE];
    struct buf sql = {0};
    MYSQL_RES *rows;
    struct labels labels;
    if (!call_limit(call, &limit) || !call_name(call, PARAM_AFTER, &after) ||
        !call_labels(call, &labels))
        return ERR_OK;
    if (state && machine_state_from_name(state) == MACHINE_STATE_COUNT) {
        call_invalid(call, PARAM_STATE, "state must be up, draining or retired.");
        return ERR_OK;
    }
    buf_puts(&sql, "SELECT " MACHINE_COLUMNS " FROM machine WHERE name > ");
    sql_text(&sql, after ? after : "");
    if (state) {
        buf_puts(&sql, " AND state = ");
        sql_text(&sql, state);
    }
    sql_labels(&sql, call->arena, &labels);
    buf_puts(&sql, " ORDER BY name LIMIT ");
    sql_int(&sql, limit + 1);
    enum err err = call_query(call, "list machines", &sql, &rows, f);
    if (err == ERR_OK)
        err = write_page(call, rows, limit, f);
    mysql_free_result(rows);
    return err;
}

enum err machine_find(struct call *call, const char *name, struct machine *out, bool *found_out,
                      struct failure *f)
{
    struct buf sql = {0};
    MYSQL_RES *rows = NULL;
    MYSQL_ROW row;
    enum err err = ERR_OK;
    *found_out = false;
    if (name_is_valid(name, LIMIT_NAME_LEN, NULL)) {
        buf_puts(&sql, "SELECT " MACHINE_COLUMNS " FROM machine WHERE name = ");
        sql_text(&sql, name);
        err = call_query(call, "read machine", &sql, &rows, f);
        if (err == ERR_OK && (row = mysql_fetch_row(rows))) {
            err = machine_row_read(row, mysql_fetch_lengths(rows), call->arena, out, f);
            *found_out = err == ERR_OK;
        }
        mysql_free_result(rows);
    }
    if (err == ERR_OK && !*found_out) {
        call_problem(call, PROBLEM_NOT_FOUND, NULL,
                     "No machine is registered as %.100s; GET /v1/machines lists them.", name);
    }
    return err;
}

enum err handle_machine(struct call *call, struct failure *f)
{
    struct machine machine;
    bool found;
    enum err err = machine_find(call, call->path_args[0], &machine, &found, f);
    if (err == ERR_OK && found) {
        struct jsonout out;
        struct machine_view view = machine_view_of(&machine);
        jsonout_init(&out, call->arena, 1024);
        jsonout_machine(&out, &view);
        call_text(call, &out);
    }
    return err;
}
