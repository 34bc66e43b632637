/* What the files of berth-admin audit share (docs/database.md).
 *
 * The farm works on during an audit, so the order of the checks matters: first the ends of the
 * logs are noted, then one snapshot of the database is taken. Every event below those ends must
 * have its row. An event that the snapshot has and the topic lacks is waited for. */
#ifndef BERTH_ADMIN_AUDIT_AUDIT_H
#define BERTH_ADMIN_AUDIT_AUDIT_H

#include <jansson.h>
#include <stdint.h>

#include "admin/admin.h"
#include "admin/admin_kafka.h"
#include "admin/audit/event_fold.h"
#include "admin/farm.h"

/* The text of the place of a difference. */
#define AUDIT_AT_LEN     160
/* Differences listed; further ones are only counted. */
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

struct audit {
    struct admin *admin;
    struct admin_farm farm;
    struct admin_kafka kafka;
    struct audit_part *parts; /* farm.partitions of them */
    struct audit_counts counts;
    int64_t wait_ms;
    json_t *differences; /* array of {kind, at, detail} */
    int64_t difference_count;
    struct event_fold fold;        /* of all decisions */
    char overbooked[AUDIT_AT_LEN]; /* the machine reported last */
};

/* Notes a difference. `at` says where, as in "3-1042" (partition-sequence), "3:1187"
 * (partition:offset), "booking/4268035", "machine/gpu-01". */
void audit_differ(struct audit *audit, const char *kind, const char *at, const char *detail, ...)
    __attribute__((format(printf, 4, 5)));
const char *audit_at(char buf[AUDIT_AT_LEN], const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Calls fn for each row of a query, which is streamed. */
enum err audit_each_row(struct audit *audit, const char *what, const char *sql,
                        void (*fn)(struct audit *audit, MYSQL_ROW row), struct failure *f);

/* audit_events.c: events against decisions: step 2 (docs/database.md, What audit
 * compares). */
enum err audit_events(struct audit *audit, struct failure *f);
/* audit_requests.c: requests against decisions: step 3. */
enum err audit_requests(struct audit *audit, struct failure *f);
/* audit_fold.c: reads all decisions and folds what they say. */
enum err audit_fold(struct audit *audit, struct failure *f);
/* audit_state.c: the fold against the tables: steps 5 and 6. */
enum err audit_state(struct audit *audit, struct failure *f);

#endif
