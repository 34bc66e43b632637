#include "reader/rows.h"

#include <inttypes.h>

#include "core/request.h"
#include "lib/codec/jsonout.h"
#include "lib/codec/views.h"

enum err rows_machine(MYSQL_ROW row, const unsigned long *lengths, struct arena *arena,
                      struct machine_view *out, struct failure *f)
{
    *out = (struct machine_view){
        .id = field_int(row[0]),
        .name = arena_strdup(arena, row[1]),
        .capacity = {.gpus = field_int(row[2]), .memory_gib = field_int(row[3])},
        .state = machine_state_from_name(row[5]),
        .version = field_int(row[6]),
    };
    if (!labels_from_json(row[4], lengths[4], arena, &out->labels) ||
        out->state == MACHINE_STATE_COUNT)
        return failure_set(f, ERR_DB_ERROR, "machine %s has a row that is not Berth's", row[1]);
    return ERR_OK;
}

enum err rows_booking(MYSQL_ROW row, struct arena *arena, struct booking_view *out,
                      struct failure *f)
{
    *out = (struct booking_view){.id = field_int(row[0]),
                                 .client = arena_strdup(arena, row[1]),
                                 .user = arena_strdup(arena, row[2]),
                                 .state = booking_state_from_name(row[3]),
                                 .start_ms = field_int(row[4]),
                                 .end_ms = field_int(row[5]),
                                 .version = field_int(row[6]),
                                 .series = field_int(row[7])};
    if (out->state == BOOKING_STATE_COUNT)
        return failure_set(f, ERR_DB_ERROR, "booking %" PRId64 " has an unknown state", out->id);
    return ERR_OK;
}

enum err rows_find_machine(struct call *call, const char *name, struct machine_view *out,
                           bool *found_out, struct failure *f)
{
    struct buf sql = {0};
    MYSQL_RES *rows = NULL;
    MYSQL_ROW row;
    enum err err = ERR_OK;
    *found_out = false;
    if (name_is_valid(name, LIMIT_NAME_LEN, NULL)) {
        buf_puts(&sql, "SELECT " MACHINE_ROW_COLUMNS " FROM machine WHERE name = ");
        sql_text(&sql, name);
        err = mysql_session_query(call->db, "read machine", sql.data, sql.len, &rows, f);
        if (err == ERR_OK && (row = mysql_fetch_row(rows))) {
            err = rows_machine(row, mysql_fetch_lengths(rows), call->arena, out, f);
            *found_out = err == ERR_OK;
        }
    }
    if (err == ERR_OK && !*found_out) {
        call_problem(call, PROBLEM_NOT_FOUND, NULL,
                     "No machine is registered as %.100s; GET /v1/machines lists them.", name);
    }
    mysql_free_result(rows);
    buf_fini(&sql);
    return err;
}

void rows_add_labels(struct buf *sql, struct arena *arena, const struct labels *labels)
{
    for (size_t i = 0; i < labels->count; i++) {
        struct jsonout text;
        jsonout_init(&text, arena, 64);
        jsonout_string(&text, labels->items[i].key);
        JSONOUT_RAW(&text, ":");
        jsonout_string(&text, labels->items[i].value);
        buf_puts(sql, " AND LOCATE(");
        sql_text(sql, jsonout_finish(&text));
        buf_puts(sql, ", labels) > 0");
    }
}
