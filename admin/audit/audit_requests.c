/* Compares requests with decisions: each message of the request log below a partition's position
 * has one decision, with the message's SHA-256, and no decision is about a message that the log
 * lacks. */
#include "admin/audit/audit.h"

#include <inttypes.h>
#include <string.h>

#include "lib/token/jws.h"

#define CHUNK_ROWS 2000

/* A cursor over the partition's decisions by offset, read in chunks. */
struct cursor {
    struct audit *audit;
    struct audit_part *part;
    int64_t end; /* rows below it are compared */
    MYSQL_RES *res;
    MYSQL_ROW row;  /* the one at hand; NULL: none is left */
    int64_t offset; /* its log_offset */
};

static enum err cursor_load(struct cursor *cursor, int64_t from, struct failure *f)
{
    if (cursor->res)
        mysql_free_result(cursor->res);
    cursor->res = NULL;
    enum err err = admin_query(
        cursor->audit->admin, "read decisions",
        admin_sql("SELECT log_offset, message_sha256, seq FROM decision FORCE INDEX "
                  "(decision_offset) WHERE "
                  "part = # AND log_offset >= # AND log_offset < # ORDER BY log_offset LIMIT #",
                  (int64_t)cursor->part->part, from, cursor->end, (int64_t)CHUNK_ROWS),
        &cursor->res, f);
    if (err != ERR_OK)
        return err;
    cursor->row = mysql_fetch_row(cursor->res);
    cursor->offset = cursor->row ? field_int(cursor->row[0]) : cursor->end;
    return ERR_OK;
}

static enum err cursor_next(struct cursor *cursor, struct failure *f)
{
    int64_t last = cursor->offset;
    cursor->row = mysql_fetch_row(cursor->res);
    if (!cursor->row)
        return cursor_load(cursor, last + 1, f);
    cursor->offset = field_int(cursor->row[0]);
    return ERR_OK;
}

/* Reports rows below `offset`: the log has no message for them. */
static enum err skip_to(struct cursor *cursor, int64_t offset, struct failure *f)
{
    enum err err = ERR_OK;
    char at[AUDIT_AT_LEN];
    while (err == ERR_OK && cursor->row && cursor->offset < offset) {
        audit_differ(cursor->audit, "request_missing",
                     audit_at(at, "%" PRId32 ":%" PRId64, cursor->part->part, cursor->offset),
                     "decision %" PRId32
                     "-%s is about a message that the request log does not hold",
                     cursor->part->part, cursor->row[2]);
        err = cursor_next(cursor, f);
    }
    return err;
}

static enum err on_request(void *arg, const rd_kafka_message_t *message, struct failure *f)
{
    struct cursor *cursor = arg;
    char at[AUDIT_AT_LEN];
    audit_at(at, "%" PRId32 ":%" PRId64, cursor->part->part, message->offset);
    enum err err = skip_to(cursor, message->offset, f);
    if (err != ERR_OK)
        return err;
    cursor->audit->counts.requests++;
    if (!cursor->row || cursor->offset != message->offset) {
        audit_differ(cursor->audit, "request_undecided", at, "the request has no decision");
        return ERR_OK;
    }
    uint8_t digest[32];
    sha256(message->payload ? message->payload : "", message->payload ? message->len : 0, digest);
    const unsigned long *lens = mysql_fetch_lengths(cursor->res);
    if (lens[1] != sizeof(digest) || memcmp(cursor->row[1], digest, sizeof(digest)) != 0) {
        audit_differ(cursor->audit, "request_different", at,
                     "decision %" PRId32 "-%s was made about other bytes (SHA-256)",
                     cursor->part->part, cursor->row[2]);
    }
    return cursor_next(cursor, f);
}

static enum err check_ahead(struct audit *audit, const struct audit_part *p, struct failure *f)
{
    MYSQL_RES *res = NULL;
    char at[AUDIT_AT_LEN];
    enum err err = admin_query(
        audit->admin, "read decisions",
        admin_sql(
            "SELECT COUNT(*), MIN(log_offset) FROM decision WHERE part = # AND log_offset >= #",
            (int64_t)p->part, p->next_offset),
        &res, f);
    if (err != ERR_OK)
        return err;
    MYSQL_ROW row = mysql_fetch_row(res);
    if (row && field_int(row[0]) > 0) {
        audit_differ(audit, "decision_ahead", audit_at(at, "%" PRId32 ":%s", p->part, row[1]),
                     "%s decisions are about offsets from the partition's position, %" PRId64
                     ", on",
                     row[0], p->next_offset);
    }
    mysql_free_result(res);
    if (p->next_offset > p->requests.hi) {
        audit_differ(audit, "request_log_short",
                     audit_at(at, "%" PRId32 ":%" PRId64, p->part, p->requests.hi),
                     "the request log ends here, decisions were made up to offset %" PRId64,
                     p->next_offset);
    }
    return ERR_OK;
}

static enum err compare_part(struct audit *audit, struct audit_part *p, struct failure *f)
{
    struct topic_span now;
    enum err err = topic_reader_span(audit->kafka.reader, TOPIC_REQUESTS, p->part, &now, f);
    if (err != ERR_OK)
        return err;
    /* Retention may have moved the beginning since it was noted. */
    p->requests = now;
    struct cursor cursor = {
        .audit = audit, .part = p, .end = p->next_offset < now.hi ? p->next_offset : now.hi};
    err = cursor_load(&cursor, now.lo, f);
    struct topic_piece piece = {TOPIC_REQUESTS, p->part, now.lo, cursor.end};
    if (err == ERR_OK)
        err = topic_reader_read(audit->kafka.reader, &piece, on_request, &cursor, f);
    if (err == ERR_OK)
        err = skip_to(&cursor, cursor.end, f);
    if (cursor.res)
        mysql_free_result(cursor.res);
    return err != ERR_OK ? err : check_ahead(audit, p, f);
}

enum err audit_requests(struct audit *audit, struct failure *f)
{
    enum err err = ERR_OK;
    for (int32_t i = 0; err == ERR_OK && i < audit->farm.partitions; i++)
        err = compare_part(audit, &audit->parts[i], f);
    return err;
}
