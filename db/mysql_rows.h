/* Rows that the store and the reader both read: machines, bookings, and the allocations that make a
 * machine's timeline. Their columns, their parsers and the SQL that both need. */
#ifndef BERTH_DB_MYSQL_ROWS_H
#define BERTH_DB_MYSQL_ROWS_H

#include "core/world.h"
#include "db/mysql_session.h"

#define MACHINE_COLUMNS "id, name, gpus, memory_gib, labels, state, version, capacity_changed_ms"
/* `table` is "" or an alias with its dot, as in BOOKING_COLUMNS_OF("b."). */
#define BOOKING_COLUMNS_OF(table)                                                                  \
    table "id, " table "client, " table "user_name, " table "start_ms, " table "end_ms, " table    \
          "state, " table "version, " table "series"
#define BOOKING_COLUMNS      BOOKING_COLUMNS_OF("")
#define BOOKING_COLUMN_COUNT 8

/* Parses a row of MACHINE_COLUMNS. Labels are copied into the arena; timeline and flags are zero.
 * ERR_DB_ERROR: an unknown state, or labels that Berth cannot have written. */
enum err machine_row_read(MYSQL_ROW row, const unsigned long *lens, struct arena *arena,
                          struct machine *out, struct failure *f);
/* Parses a row that begins with BOOKING_COLUMNS. Client and user are borrowed from the row;
 * allocations and flags are zero. ERR_DB_ERROR: an unknown state. */
enum err booking_row_read(MYSQL_ROW row, struct booking *out, struct failure *f);

/* Adds " AND …" for each label to a condition on table machine. Column `labels` holds canonical
 * JSON, so a label has one spelling there. Inside another label's value its quotes would be escaped,
 * so a row that lacks one of the labels does not match. */
void sql_labels(struct buf *sql, struct arena *arena, const struct labels *labels);

/* Machines whose use is fetched by one query, at most: bounds the memory of its result. */
#define USE_MACHINES_MAX 64

/* The use of machines from an instant on, as their timelines need it. */
struct use_wanted {
    int64_t machines[USE_MACHINES_MAX]; /* ids */
    size_t count;                       /* at least 1 */
    int64_t known_from_ms;
};
/* Fetches the machines' live allocations that end after known_from_ms. The caller frees *rows_out
 * with mysql_free_result. */
enum err use_fetch(struct mysql_session *session, const struct use_wanted *wanted,
                   MYSQL_RES **rows_out, struct failure *f);
/* Gives each machine of `wanted`, all of which are in the world, a timeline made from fetched rows.
 * Rows of other machines are skipped. Asks no database. */
void use_load(const struct use_wanted *wanted, MYSQL_RES *rows, struct world *world);

#endif
