/* Compares events with decisions: each event partition holds every sequence in order, plus
 * repeats, and each event equals its decision's row, byte by byte. */
#include "admin/audit/audit.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"

/* Rows read at a time. */
#define WINDOW_ROWS 200
/* Between two looks at a topic that is behind. */
#define LOOK_MS     200

struct event_row {
    int64_t seq;
    const char *event, *subject;
    size_t event_len;
};
/* Consecutive rows of a partition. */
struct row_window {
    MYSQL_RES *res;
    struct event_row rows[WINDOW_ROWS];
    size_t count;
};

struct comparison {
    struct audit *audit;
    struct audit_part *part;
    int64_t noted_end;               /* events below it were there before the snapshot */
    struct row_window ahead, behind; /* for new events and for repeats */
};

static void window_clear(struct row_window *window)
{
    if (window->res)
        mysql_free_result(window->res);
    window->res = NULL;
    window->count = 0;
}

static enum err window_load(struct row_window *window, const struct comparison *c, int64_t seq,
                            struct failure *f)
{
    window_clear(window);
    enum err err = admin_query(c->audit->admin, "read decisions",
                               admin_sql("SELECT seq, event, subject FROM decision WHERE part = # "
                                         "AND seq >= # ORDER BY seq LIMIT #",
                                         (int64_t)c->part->part, seq, (int64_t)WINDOW_ROWS),
                               &window->res, f);
    if (err != ERR_OK)
        return err;
    MYSQL_ROW row;
    while ((row = mysql_fetch_row(window->res))) {
        window->rows[window->count++] = (struct event_row){
            .seq = field_int(row[0]),
            .event = row[1],
            .event_len = mysql_fetch_lengths(window->res)[1],
            .subject = row[2],
        };
    }
    return ERR_OK;
}

/* *out is NULL when there is no such row. */
static enum err find_row(struct row_window *window, const struct comparison *c, int64_t seq,
                         const struct event_row **out, struct failure *f)
{
    bool inside = window->count > 0 && window->rows[0].seq <= seq &&
                  seq <= window->rows[window->count - 1].seq;
    if (!inside) {
        enum err err = window_load(window, c, seq, f);
        if (err != ERR_OK)
            return err;
    }
    *out = NULL;
    for (size_t i = 0; i < window->count && !*out; i++) {
        if (window->rows[i].seq == seq)
            *out = &window->rows[i];
    }
    return ERR_OK;
}

static void compare_with_row(struct comparison *c, const rd_kafka_message_t *message, int64_t seq,
                             const struct event_row *row)
{
    char at[AUDIT_AT_LEN];
    audit_at(at, "%" PRId32 "-%" PRId64, c->part->part, seq);
    if (!row) {
        audit_differ(c->audit, "event_unknown", at,
                     "the event at offset %" PRId64 " of the event topic has no decision",
                     message->offset);
        return;
    }
    if (message->len != row->event_len || memcmp(message->payload, row->event, message->len) != 0) {
        audit_differ(c->audit, "event_different", at,
                     "the event at offset %" PRId64 " of the event topic is not the decision's",
                     message->offset);
    }
    size_t subject_len = row->subject ? strlen(row->subject) : 0;
    if (message->key_len != subject_len ||
        (subject_len > 0 && memcmp(message->key, row->subject, subject_len) != 0)) {
        audit_differ(c->audit, "event_key_different", at,
                     "the event at offset %" PRId64 " has another key than the decision's subject",
                     message->offset);
    }
}

static enum err on_event(void *arg, const rd_kafka_message_t *message, struct failure *f)
{
    struct comparison *c = arg;
    struct audit_part *p = c->part;
    int64_t seq = admin_kafka_sequence(message, p->part);
    char at[AUDIT_AT_LEN];
    if (seq == 0) {
        audit_differ(
            c->audit, "event_foreign",
            audit_at(at, "%" PRId32 ":%" PRId64, p->part, message->offset),
            "a message of the event topic is no event of this partition, or cannot be read");
        return ERR_OK;
    }
    bool newer_than_snapshot = message->offset >= c->noted_end && seq > p->last_seq;
    if (newer_than_snapshot)
        return ERR_OK;
    if (p->first_seq == 0) {
        /* Events that retention removed are not compared. */
        p->first_seq = p->events.lo > 0 ? seq : 1;
        p->next_seq = p->first_seq;
    }
    if (seq > p->next_seq) {
        audit_differ(c->audit, "event_gap",
                     audit_at(at, "%" PRId32 "-%" PRId64, p->part, p->next_seq),
                     "sequence %" PRId64 " to %" PRId64 " are missing before offset %" PRId64,
                     p->next_seq, seq - 1, message->offset);
    }
    bool repeat = seq < p->next_seq;
    const struct event_row *row = NULL;
    enum err err = find_row(repeat ? &c->behind : &c->ahead, c, seq, &row, f);
    if (err != ERR_OK)
        return err;
    compare_with_row(c, message, seq, row);
    if (repeat) {
        c->audit->counts.repeats++;
    } else {
        c->audit->counts.events++;
        p->next_seq = seq + 1;
    }
    return ERR_OK;
}

/* Compares what the topic held before the snapshot. */
static enum err compare_noted(struct comparison *c, struct failure *f)
{
    struct audit_part *p = c->part;
    struct topic_span now;
    enum err err = topic_reader_span(c->audit->kafka.reader, TOPIC_EVENTS, p->part, &now, f);
    if (err != ERR_OK)
        return err;
    /* Retention may have moved the beginning since it was noted. */
    p->events.lo = now.lo;
    struct topic_piece piece = {TOPIC_EVENTS, p->part, now.lo, p->events.hi};
    err = topic_reader_read(c->audit->kafka.reader, &piece, on_event, c, f);
    if (err == ERR_OK &&
        p->first_seq == 0) /* the topic is empty: what follows the last published event */
        p->next_seq = p->events.lo > 0 ? p->published_seq + 1 : 1;
    return err;
}

/* Waits until the topic has reached the last event of the snapshot, and compares that rest. */
static enum err wait_for_rest(struct comparison *c, int64_t deadline, struct failure *f)
{
    struct audit_part *p = c->part;
    int64_t from = p->events.hi > p->events.lo ? p->events.hi : p->events.lo;
    while (p->next_seq <= p->last_seq) {
        struct topic_span now;
        enum err err = topic_reader_span(c->audit->kafka.reader, TOPIC_EVENTS, p->part, &now, f);
        if (err == ERR_OK) {
            struct topic_piece piece = {TOPIC_EVENTS, p->part, from, now.hi};
            err = topic_reader_read(c->audit->kafka.reader, &piece, on_event, c, f);
        }
        if (err != ERR_OK)
            return err;
        from = now.hi > from ? now.hi : from;
        if (p->next_seq > p->last_seq || clock_mono_ms() >= deadline)
            break;
        clock_sleep_ms(LOOK_MS);
    }
    char at[AUDIT_AT_LEN];
    if (p->next_seq <= p->last_seq) {
        audit_differ(
            c->audit, "event_missing", audit_at(at, "%" PRId32 "-%" PRId64, p->part, p->next_seq),
            "the event topic lacks sequence %" PRId64 " to %" PRId64, p->next_seq, p->last_seq);
    }
    return ERR_OK;
}

enum err audit_events(struct audit *audit, struct failure *f)
{
    struct comparison *all = xcalloc((size_t)audit->farm.partitions, sizeof(*all));
    enum err err = ERR_OK;
    for (int32_t i = 0; err == ERR_OK && i < audit->farm.partitions; i++) {
        all[i].audit = audit;
        all[i].part = &audit->parts[i];
        all[i].noted_end = all[i].part->events.hi;
        err = compare_noted(&all[i], f);
        window_clear(&all[i].ahead);
        window_clear(&all[i].behind);
    }
    int64_t deadline = clock_mono_ms() + audit->wait_ms;
    for (int32_t i = 0; err == ERR_OK && i < audit->farm.partitions; i++)
        err = wait_for_rest(&all[i], deadline, f);
    for (int32_t i = 0; i < audit->farm.partitions; i++) {
        window_clear(&all[i].ahead);
        window_clear(&all[i].behind);
    }
    free(all);
    return err;
}
