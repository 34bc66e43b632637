/* berth-admin import: what its files share.
 *
 * The rows of the old web API's database become signed requests, as a client would send them; no
 * table of Berth's is written here. Each request's id is made from the old row's id, so a second run
 * asks for nothing twice: it gets the first answers again. */
#ifndef BERTH_ADMIN_IMPORT_IMPORT_H
#define BERTH_ADMIN_IMPORT_IMPORT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "admin/admin.h"
#include "core/arena.h"
#include "core/limits.h"
#include "lib/base/zone.h"
#include <berth.h>

/* Rows of one table; more do not come from a web page's reservations. */
#define IMPORT_ROWS_MAX  1000000
/* A booking that begins or ends so soon is treated as begun or over: requests take their time, and
 * none may ask for a past start. */
#define IMPORT_MARGIN_MS 10000

/* --- the old tables; strings and arrays live in the arena, and are NULL where the row has NULL --- */

/* An id of a row, or a reference to one. */
struct old_id {
    const char *text;
    int64_t number; /* -1: it is none */
};
struct old_machine {
    struct old_id id;
    const char *gpus, *memory_gib;
};
struct old_booking {
    struct old_id id;
    const char *start, *end, *user;
};
/* What a booking holds of a machine. */
struct old_share {
    struct old_id booking, machine;
    const char *gpus, *memory_gib;
};

struct old_tables {
    struct old_machine *machines; /* by number */
    struct old_booking *bookings; /* by number */
    struct old_share *shares;     /* by booking, then machine */
    size_t machine_count, booking_count, share_count;
    bool start_is_utc, end_is_utc; /* columns that hold instants (TIMESTAMP) */
};
/* Reads the database that --from-database and its like name, in one snapshot. ERR_CONFIG when a
 * table or a column is missing: the text says what was looked for. */
enum err import_read(const struct admin *admin, struct arena *arena, struct old_tables *out,
                     struct failure *f);

/* --- the report: one item for each old row that became something or did not --- */

enum import_kind { IMPORT_MACHINE, IMPORT_BOOKING, IMPORT_ALLOCATION, IMPORT_KIND_COUNT };
enum import_outcome {
    IMPORT_TAKEN,
    IMPORT_TAKEN_BEFORE, /* by an earlier run */
    IMPORT_PLANNED,      /* --dry-run: would be sent */
    IMPORT_OVER,         /* ended before now: nothing to be taken */
    IMPORT_REJECTED,     /* by Berth, or seen to be wrong before */
    IMPORT_UNKNOWN,      /* no decision came in time */
    IMPORT_OUTCOME_COUNT
};

/* One request to be sent. Lives in the arena, but for `request` and `item`. */
struct import_request {
    enum import_kind kind;
    const char *id;   /* the request's */
    const char *user; /* whom it is for */
    const char *key;  /* its first machine: requests with one key are decided in their order */
    json_t *request;  /* the `request` object */
    json_t *item;     /* of the report; borrowed */
};

struct import {
    struct admin *admin;
    struct arena *arena;
    struct old_tables old;
    struct zone *zone;       /* of the old dates */
    const char *name_format; /* "gpu-%02d" */
    bool dry_run;
    int64_t wait_ms;
    const char *client_name;
    struct berth_client *client;
    json_t *items;
    int64_t counts[IMPORT_KIND_COUNT][IMPORT_OUTCOME_COUNT];
};

/* Adds an item: its kind and the old row's ids (NULL: it has none of these). Borrowed. */
json_t *import_item(struct import *import, enum import_kind kind, const struct old_id *machine,
                    const struct old_id *booking);
/* Says what became of it, once for each item. reason and detail may be NULL. */
void import_settle(struct import *import, json_t *item, enum import_outcome outcome,
                   const char *reason, const char *detail);
/* Adds a sentence to what will be said about it. */
void import_remark(json_t *item, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* --- from rows to requests (import_plan.c) --- */

/* A whole number 0 … 10^18 - 1 in any form that a column gives it: with blanks around it, zeros before
 * it, or only zeros after a decimal point. False: it is none, or NULL. */
bool import_whole(const char *text, int64_t *out);
/* The machine's name by --name-format. False: the format has not exactly one %d, or it is no name. */
bool import_name(const char *format, int64_t id, char out[LIMIT_NAME_LEN + 1]);
/* Where the walk through the rows is; zeroed at its beginning. */
struct import_walk {
    size_t machine, booking, share;
};
/* Each gives the next request of the walk's rows, and settles what cannot become one. False: there
 * are no more. Machines come first. */
bool import_next_machine(struct import *import, struct import_walk *walk,
                         struct import_request *out);
bool import_next_booking(struct import *import, struct import_walk *walk,
                         struct import_request *out);

/* --- sending (import_send.c) --- */

/* Opens the client. ERR_CONFIG. */
enum err import_open_client(struct import *import, const char *farm, struct failure *f);
/* Sends all, waits for all decisions and settles the items. */
enum err import_send_all(struct import *import, struct failure *f);

#endif
