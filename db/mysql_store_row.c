#include <assert.h>
#include <string.h>

#include "db/mysql_store_parts.h"
#include "lib/codec/jsonout.h"
#include "lib/codec/views.h"

/* Copies a text that the column's length bounds; cuts it if it was longer for once. */
static void copy_text(char *out, size_t size, const char *field)
{
    size_t len = strnlen(field, size - 1);
    memcpy(out, field, len);
    out[len] = '\0';
}

void partition_row_read(MYSQL_ROW row, const unsigned long *lens, struct partition_row *out)
{
    *out = (struct partition_row){
        .part = (int32_t)field_int(row[0]),
        .epoch = field_int(row[1]),
        .progress_epoch = field_int(row[2]),
        .connection_id = (uint64_t)field_int(row[3]),
        .next_offset = field_int(row[4]),
        .last_seq = field_int(row[5]),
        .published_seq = field_int(row[6]),
        .clock_ms = field_int(row[7]),
        .ignore_time_until = field_int(row[9]),
        .reject_offset = field_int(row[10]),
    };
    if (row[8] && lens[8] == sizeof(out->last_sha256)) {
        out->has_last_sha256 = true;
        memcpy(out->last_sha256, row[8], sizeof(out->last_sha256));
    }
    text_for_column(row[11], out->halted, sizeof(out->halted));
    out->halt_cause = halt_cause_read(row[11], row[12]);
}

void farm_row_read(MYSQL_ROW row, struct farm_row *out)
{
    *out = (struct farm_row){
        .partitions = (int32_t)field_int(row[1]),
        .key_generation = field_int(row[3]),
    };
    copy_text(out->name, sizeof(out->name), row[0]);
    copy_text(out->cluster_id, sizeof(out->cluster_id), row[2]);
    text_for_column(row[4], out->halted, sizeof(out->halted));
    out->halt_cause = halt_cause_read(row[4], row[5]);
}

enum err farm_row_query(struct mysql_store *store, struct farm_row *out, struct failure *f)
{
    MYSQL_RES *res = NULL;
    enum err err = mysql_session_read(store->session, "read the farm",
                                      "SELECT " FARM_COLUMNS " FROM farm", &res, f);
    if (err != ERR_OK)
        return err;
    MYSQL_ROW row = mysql_fetch_row(res);
    if (row) {
        farm_row_read(row, out);
    } else {
        err = failure_set(f, ERR_NOT_FOUND,
                          "the database holds no farm: run `berth-admin init --farm NAME`");
    }
    mysql_free_result(res);
    return err;
}

enum err machine_row_read(MYSQL_ROW row, const unsigned long *lens, struct world *world,
                          struct failure *f)
{
    struct machine machine = {
        .id = field_int(row[0]),
        .capacity = {.gpus = field_int(row[2]), .memory_gib = field_int(row[3])},
        .state = machine_state_from_name(row[5]),
        .version = field_int(row[6]),
        .capacity_changed_ms = field_int(row[7]),
    };
    copy_text(machine.name, sizeof(machine.name), row[1]);
    if (machine.state == MACHINE_STATE_COUNT)
        return failure_set(f, ERR_DB_ERROR, "machine %s: unknown state", machine.name);
    if (!labels_from_json(row[4], lens[4], world_arena(world), &machine.labels)) {
        return failure_set(f, ERR_DB_ERROR, "machine %s: its labels are not as Berth writes them",
                           machine.name);
    }
    world_machine_put(world, &machine);
    return ERR_OK;
}

enum err booking_row_read(MYSQL_ROW row, struct world *world, struct failure *f)
{
    struct booking booking = {
        .id = field_int(row[0]),
        .client = row[1],
        .user = row[2],
        .start_ms = field_int(row[3]),
        .end_ms = field_int(row[4]),
        .state = booking_state_from_name(row[5]),
        .version = field_int(row[6]),
        .series = field_int(row[7]),
    };
    if (booking.state == BOOKING_STATE_COUNT)
        return failure_set(f, ERR_DB_ERROR, "booking %s: unknown state", row[0]);
    world_booking_put(world, &booking);
    return ERR_OK;
}

const char *text_for_column(const char *text, char *out, size_t max_len)
{
    assert(max_len > 0);
    size_t len = strlen(text), from = 0, to = 0;
    while (from < len) {
        size_t char_len = utf8_sequence_len(text + from);
        size_t need = char_len ? char_len : 1;
        if (to + need >= max_len)
            break;
        if (char_len) {
            memcpy(out + to, text + from, char_len);
        } else {
            out[to] = '?';
        }
        to += need;
        from += need;
    }
    out[to] = '\0';
    return out;
}
