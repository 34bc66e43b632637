/* Reads every decision of the snapshot in order, compares its columns with its event, and folds
 * the events. */
#include "admin/audit/audit.h"

#include <inttypes.h>
#include <string.h>

enum column { PART, SEQ, LOG_OFFSET, OUTCOME, REASON, SUBJECT, TIME, CLIENT, REQUEST_ID, EVENT };
#define DECISIONS_SQL                                                                              \
    "SELECT part, seq, log_offset, outcome, reason, subject, time_ms, client, request_id, event "  \
    "FROM decision ORDER BY part, seq"

static bool same_text(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

/* The first column that contradicts the event; NULL: none. */
static const char *find_contradiction(MYSQL_ROW row, const struct event_view *event)
{
    bool accepted = strcmp(row[OUTCOME], "accepted") == 0;
    if (event->part != field_int(row[PART]) || event->seq != field_int(row[SEQ]))
        return "part and seq";
    if (event->kind != (accepted ? EVENT_ACCEPTED : EVENT_REJECTED))
        return "outcome";
    if (!same_text(event->reason, row[REASON]))
        return "reason";
    if (!same_text(event->subject, row[SUBJECT]))
        return "subject";
    if (event->time_ms != field_int(row[TIME]))
        return "time_ms";
    if (event->request.offset != field_int(row[LOG_OFFSET]))
        return "log_offset";
    if (!same_text(event->request.client, row[CLIENT]))
        return "client";
    if (row[REQUEST_ID] && !same_text(event->request.id, row[REQUEST_ID]))
        return "request_id";
    return NULL;
}

static void fold_row(struct audit *audit, MYSQL_ROW row, size_t event_len, struct arena *arena)
{
    char id[AUDIT_AT_LEN];
    struct event_view event;
    struct failure f;
    audit_at(id, "%s-%s", row[PART], row[SEQ]);
    audit->counts.decisions++;
    arena_reset(arena);
    if (event_read(row[EVENT], event_len, arena, &event, &f) != ERR_OK) {
        audit_differ(audit, "decision_unreadable", id, "the decision's event cannot be read: %s",
                     f.text);
        return;
    }
    if (event.fault) {
        audit_differ(audit, "decision_unreadable", id,
                     "%s of the decision's event is not as it must be", event.fault);
    }
    const char *column = find_contradiction(row, &event);
    if (column) {
        audit_differ(audit, "decision_contradicts", id,
                     "the decision's %s is not what its event says", column);
    }
    const char *member = event_fold_take(&audit->fold, &event, arena);
    if (member) {
        audit_differ(audit, "decision_contradicts", id,
                     "%s of the decision's event is not what the decisions before it left", member);
    }
}

/* Sequences are 1, 2, 3 … up to the partition's last_seq. */
struct expected {
    int32_t part;
    int64_t seq; /* the last one seen */
};

static void check_end(struct audit *audit, const struct expected *e)
{
    char at[AUDIT_AT_LEN];
    if (e->part >= audit->farm.partitions)
        return;
    int64_t last = audit->parts[e->part].last_seq;
    if (e->seq != last) {
        audit_differ(audit, "sequence_end", audit_at(at, "%" PRId32 "-%" PRId64, e->part, e->seq),
                     "the partition's last sequence is %" PRId64
                     ", the last decision's is %" PRId64,
                     last, e->seq);
    }
}

static void check_sequence(struct audit *audit, struct expected *e, MYSQL_ROW row)
{
    int32_t part = (int32_t)field_int(row[PART]);
    int64_t seq = field_int(row[SEQ]);
    char at[AUDIT_AT_LEN];
    while (e->part < part) {
        check_end(audit, e);
        *e = (struct expected){.part = e->part + 1};
    }
    if (seq != e->seq + 1) {
        audit_differ(audit, "sequence_gap", audit_at(at, "%" PRId32 "-%" PRId64, part, e->seq + 1),
                     "there are no decisions %" PRId64 " to %" PRId64, e->seq + 1, seq - 1);
    }
    e->seq = seq;
}

enum err audit_fold(struct audit *audit, struct failure *f)
{
    struct mysql_session *session = audit->admin->session;
    MYSQL_RES *res = NULL;
    enum err err = mysql_session_stream(session, "read decisions", DECISIONS_SQL,
                                        strlen(DECISIONS_SQL), &res, f);
    if (err != ERR_OK)
        return err;
    struct expected expected = {0};
    struct arena *arena = arena_new();
    MYSQL_ROW row;
    while ((row = mysql_fetch_row(res))) {
        check_sequence(audit, &expected, row);
        fold_row(audit, row, mysql_fetch_lengths(res)[EVENT], arena);
    }
    arena_free(arena);
    err = mysql_session_stream_end(session, "read decisions", f);
    mysql_free_result(res);
    for (; expected.part < audit->farm.partitions;
         expected = (struct expected){expected.part + 1, 0})
        check_end(audit, &expected);
    return err;
}
