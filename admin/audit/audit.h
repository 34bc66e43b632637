/* berth-admin audit (docs/database.md): what its files share.
 *
 * The order matters, since the farm goes on meanwhile. First the event log's ends are noted, then
 * one snapshot of the database is taken: every event below the ends must then have its row. What
 * the snapshot has and the topic has not is waited for. */
#ifndef BERTH_ADMIN_AUDIT_AUDIT_H
#define BERTH_ADMIN_AUDIT_AUDIT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "admin/admin.h"
#include "admin/admin_kafka.h"
#include "admin/farm.h"
#include "core/amount.h"
#include "core/arena.h"
#include "core/map.h"
#include "core/request.h"

/* Differences that are listed; further ones are only counted. */
#define AUDIT_LISTED_MAX 1000

/* One partition: its row in the snapshot, its logs, and how far the comparison came. */
struct audit_part {
    int32_t part;
    int64_t next_offset, last_seq, published_seq;
    struct topic_span events, requests; /* as noted before the snapshot */
    int64_t first_seq;                  /* of the first event that was compared; 0: none was */
    int64_t next_seq;                   /* the sequence that the event topic must show next */
};

struct audit_counts {
    int64_t events, repeats, requests, decisions, bookings, allocations, machines;
};

/* What the decisions' events say of a booking: the highest version counts. */
struct audit_share {
    const char *machine;
    struct amount amount;
    int rows; /* live rows of the table that are just this */
};
struct audit_booking {
    int64_t id;
    int64_t version; /* of the newest event about it; 0: only displacements so far */
    int64_t facts;   /* events about it, duplicates aside: as many as it has versions */
    int64_t series;  /* 0: none */
    const char *client, *user;
    enum booking_state state;
    int64_t start_ms, end_ms;
    struct audit_share *shares;
    size_t share_count;
    bool shares_known;         /* the last event may not repeat them */
    int64_t displaced_version; /* the newest displacement; 0: none */
    enum booking_state displaced_state;
    int64_t displaced_end_ms;
    bool seen; /* in the table */
};
struct audit_machine {
    int64_t id, version;
    const char *name, *labels; /* canonical JSON */
    struct amount capacity;
    enum machine_state state;
    bool seen;
};

struct audit {
    struct admin *admin;
    struct admin_farm farm;
    struct admin_kafka kafka;
    struct audit_part *parts; /* farm.partitions of them */
    struct audit_counts counts;
    int64_t wait_ms;
    json_t *differences; /* array of {kind, at, detail} */
    int64_t difference_count;
    struct arena *arena; /* of the fold */
    struct map bookings, machines;
    struct audit_booking **booking_list;
    struct audit_machine **machine_list;
    size_t booking_room, machine_room;
};

/* Notes a difference. `at` says where, as in "3-1042" (partition-sequence), "3:1187"
 * (partition:offset), "booking/4268035", "machine/gpu-01". */
void audit_differ(struct audit *audit, const char *kind, const char *at, const char *detail, ...)
    __attribute__((format(printf, 4, 5)));
#define AUDIT_AT_LEN 160
const char *audit_at(char buf[AUDIT_AT_LEN], const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* admin_audit_events.c: events against decisions, (c) and (d). */
enum err audit_events(struct audit *audit, struct failure *f);
/* admin_audit_requests.c: requests against decisions, (e). */
enum err audit_requests(struct audit *audit, struct failure *f);
/* admin_audit_fold.c: reads all decisions and folds what they say. */
enum err audit_fold(struct audit *audit, struct failure *f);
struct audit_booking *audit_booking(const struct audit *audit, int64_t id);       /* NULL: none */
struct audit_machine *audit_machine(const struct audit *audit, const char *name); /* NULL: none */
void audit_fold_fini(struct audit *audit);
/* Members of an event; one that is not as it must be counts as 0, "" or, as a time, -1. */
int64_t audit_int(const json_t *object, const char *key);
const char *audit_text(const json_t *object, const char *key);
int64_t audit_time(const json_t *object, const char *key);
struct amount audit_amount(const json_t *object); /* its members gpus and memory_gib */
/* admin_audit_state.c: the fold against the tables, (f). */
enum err audit_state(struct audit *audit, struct failure *f);

#endif
