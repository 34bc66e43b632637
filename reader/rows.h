/* Rows as the handlers read them, and the conditions that several of them share. */
#ifndef BERTH_READER_ROWS_H
#define BERTH_READER_ROWS_H

#include "core/decide.h"
#include "db/mysql_session.h"
#include "reader/call.h"

#define MACHINE_ROW_COLUMNS "id, name, gpus, memory_gib, labels, state, version"
#define BOOKING_ROW_COLUMNS                                                                        \
    "b.id, b.client, b.user_name, b.state, b.start_ms, b.end_ms, b.version, b.series"
#define BOOKING_ROW_FIELDS 8

/* A row of MACHINE_ROW_COLUMNS; strings are copied into the arena. ERR_DB_ERROR: not Berth's. */
enum err rows_machine(MYSQL_ROW row, const unsigned long *lengths, struct arena *arena,
                      struct machine_view *out, struct failure *f);
/* A row of BOOKING_ROW_COLUMNS, without its shares; likewise. */
enum err rows_booking(MYSQL_ROW row, struct arena *arena, struct booking_view *out,
                      struct failure *f);
/* The machine with that name. *found_out false: there is none, and the answer is that problem. */
enum err rows_find_machine(struct call *call, const char *name, struct machine_view *out,
                           bool *found_out, struct failure *f);
/* " AND …" for each label: the column holds canonical JSON, in which a label has one spelling. */
void rows_add_labels(struct buf *sql, struct arena *arena, const struct labels *labels);

#endif
