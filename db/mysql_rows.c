#include "db/mysql_rows.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "lib/codec/labels.h"

enum err machine_row_read(MYSQL_ROW row, const unsigned long *lens, struct arena *arena,
                          struct machine *out, struct failure *f)
{
    *out = (struct machine){
        .id = field_int(row[0]),
        .capacity = {.gpus = field_int(row[2]), .memory_gib = field_int(row[3])},
        .state = machine_state_from_name(row[5]),
        .version = field_int(row[6]),
        .capacity_changed_ms = field_int(row[7]),
    };
    field_text(row[1], out->name, sizeof(out->name));
    if (out->state == MACHINE_STATE_COUNT)
        return failure_set(f, ERR_DB_ERROR, "machine %s: unknown state", out->name);
    if (!labels_from_json(row[4], lens[4], arena, &out->labels)) {
        return failure_set(f, ERR_DB_ERROR, "machine %s: its labels are not as Berth writes them",
                           out->name);
    }
    return ERR_OK;
}

enum err booking_row_read(MYSQL_ROW row, struct booking *out, struct failure *f)
{
    *out = (struct booking){
        .id = field_int(row[0]),
        .client = row[1],
        .user = row[2],
        .start_ms = field_int(row[3]),
        .end_ms = field_int(row[4]),
        .state = booking_state_from_name(row[5]),
        .version = field_int(row[6]),
        .series = field_int(row[7]),
    };
    if (out->state == BOOKING_STATE_COUNT)
        return failure_set(f, ERR_DB_ERROR, "booking %s: unknown state", row[0]);
    return ERR_OK;
}

void sql_labels(struct buf *sql, struct arena *arena, const struct labels *labels)
{
    for (size_t i = 0; i < labels->count; i++) {
        const char *json = labels_to_json(arena, &(struct labels){1, &labels->items[i]});
        buf_puts(sql, " AND LOCATE(");
        sql_bytes(sql, json + 1, strlen(json) - 2); /* without the braces */
        buf_puts(sql, ", labels) > 0");
    }
}

enum err use_fetch(struct mysql_session *session, const struct use_wanted *wanted,
                   MYSQL_RES **rows_out, struct failure *f)
{
    struct buf sql = {0};
    assert(wanted->count <= USE_MACHINES_MAX);
    buf_puts(&sql, "SELECT machine, start_ms, end_ms, gpus, memory_gib FROM allocation "
                   "FORCE INDEX (allocation_timeline) WHERE machine IN ");
    sql_ids(&sql, wanted->machines, wanted->count);
    buf_printf(&sql, " AND end_ms > %" PRId64 " AND live = 1", wanted->known_from_ms);
    enum err err = mysql_session_query(session, "load timelines", sql.data, sql.len, rows_out, f);
    buf_fini(&sql);
    return err;
}

/* NULL: not among the wanted ones. */
static struct machine *find_wanted(const struct use_wanted *wanted, int64_t id, struct world *world)
{
    for (size_t i = 0; i < wanted->count; i++) {
        if (wanted->machines[i] == id)
            return world_machine_by_id(world, id);
    }
    return NULL;
}

void use_load(const struct use_wanted *wanted, MYSQL_RES *rows, struct world *world)
{
    for (size_t i = 0; i < wanted->count; i++) {
        struct machine *machine = world_machine_by_id(world, wanted->machines[i]);
        assert(machine);
        world_timeline_start(world, machine, wanted->known_from_ms);
    }
    struct machine *machine = NULL;
    int64_t last = 0; /* no machine's id: the index gives the rows of one machine after another */
    MYSQL_ROW row;
    while ((row = mysql_fetch_row(rows))) {
        int64_t id = field_int(row[0]);
        if (id != last)
            machine = find_wanted(wanted, id, world);
        last = id;
        struct amount use = {.gpus = field_int(row[3]), .memory_gib = field_int(row[4])};
        if (machine)
            world_timeline_add(world, machine, field_int(row[1]), field_int(row[2]), use);
    }
}
