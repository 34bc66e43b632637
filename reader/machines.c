#include <assert.h>

#include "core/limits.h"
#include "core/request.h"
#include "reader/handlers.h"
#include "schemas/rows.h"

#define MACHINE_COLUMNS "id, name, gpus, memory_gib, labels, state, version"

static enum err machine_json(struct call *call, MYSQL_ROW row, const unsigned long *lengths,
                             json_t **out, struct failure *f)
{
    struct machine_view view = {
        .id = field_int(row[0]),
        .name = row[1],
        .capacity = {.gpus = field_int(row[2]), .memory_gib = field_int(row[3])},
        .state = machine_state_from_name(row[5]),
        .version = field_int(row[6]),
    };
    if (!labels_from_json(row[4], lengths[4], call->arena, &view.labels) ||
        view.state == MACHINE_STATE_COUNT)
        return failure_set(f, ERR_DB_ERROR, "machine %s has a row that is not Berth's", row[1]);
    *out = machine_view_json(&view);
    return ERR_OK;
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
    if (err == ERR_OK)
        call_page(call, items, next);
    else
        json_decref(items);
    return err;
}

enum err handle_machines(struct call *call, struct failure *f)
{
    int64_t limit;
    const char *after, *state = call->params[PARAM_STATE];
    struct buf sql = {0};
    MYSQL_RES *rows = NULL;
    if (!call_limit(call, &limit) || !call_name(call, PARAM_AFTER, &after))
        return ERR_OK;
    if (state && machine_state_from_name(state) == MACHINE_STATE_COUNT)
        return call_problem(call, PROBLEM_INVALID_PARAMETER, "state",
                            "state must be up, draining or retired.");
    buf_puts(&sql, "SELECT " MACHINE_COLUMNS " FROM machine WHERE name > ");
    sql_text(&sql, after ? after : "");
    if (state) {
        buf_puts(&sql, " AND state = ");
        sql_text(&sql, state);
    }
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
    const char *name = call->path_args[0];
    struct buf sql = {0};
    MYSQL_RES *rows = NULL;
    enum err err = ERR_OK;
    MYSQL_ROW row = NULL;
    if (name_is_valid(name, LIMIT_NAME_LEN, NULL)) {
        buf_puts(&sql, "SELECT " MACHINE_COLUMNS " FROM machine WHERE name = ");
        sql_text(&sql, name);
        err = mysql_session_query(call->db, "read machine", sql.data, sql.len, &rows, f);
        if (err == ERR_OK && (row = mysql_fetch_row(rows)))
            err = machine_json(call, row, mysql_fetch_lengths(rows), &call->body, f);
    }
    if (err == ERR_OK && !row)
        err = call_problem(call, PROBLEM_NOT_FOUND, NULL,
                           "No machine is registered as %.100s; GET /v1/machines lists them.",
                           name);
    mysql_free_result(rows);
    buf_fini(&sql);
    return err;
}
