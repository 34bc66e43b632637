#include <assert.h>
#include <string.h>

#include "db/mysql_store_parts.h"
#include "lib/codec/jsonout.h"

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

static void farm_row_read(MYSQL_ROW row, struct farm_row *out)
{
    *out = (struct farm_row){
        .partitions = (int32_t)field_int(row[1]),
        .key_generation = field_int(row[3]),
    };
    field_text(row[0], out->name, sizeof(out->name));
    field_text(row[2], out->cluster_id, sizeof(out->cluster_id));
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
