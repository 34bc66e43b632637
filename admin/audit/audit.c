/* berth-admin audit: the order of the checks, and the report. */
#include "admin/audit/audit.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/cli_time.h"
#include "lib/base/print.h"
#include "lib/codec/jsonout.h"

const char *audit_at(char buf[AUDIT_AT_LEN], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(buf, AUDIT_AT_LEN, format, args);
    va_end(args);
    return buf;
}

void audit_differ(struct audit *audit, const char *kind, const char *at, const char *detail, ...)
{
    if (audit->difference_count++ >= AUDIT_LISTED_MAX)
        return;
    char text[1024];
    va_list args;
    va_start(args, detail);
    vsnprintf(text, sizeof(text), detail, args);
    va_end(args);
    /* Damaged tables and topics may hold any bytes. */
    struct arena *arena = arena_new();
    json_array_append_new(audit->differences,
                          json_pack("{s:s, s:s, s:s}", "kind", kind, "at", utf8_cleaned(arena, at),
                                    "detail", utf8_cleaned(arena, text)));
    arena_free(arena);
}

enum err audit_each_row(struct audit *audit, const char *what, const char *sql,
                        void (*fn)(struct audit *audit, MYSQL_ROW row), struct failure *f)
{
    struct mysql_session *session = audit->admin->session;
    MYSQL_RES *res = NULL;
    MYSQL_ROW row;
    enum err err = mysql_session_stream(session, what, sql, strlen(sql), &res, f);
    if (err != ERR_OK)
        return err;
    while ((row = mysql_fetch_row(res)))
        fn(audit, row);
    err = mysql_session_stream_end(session, what, f);
    mysql_free_result(res);
    return err;
}

static enum err note_spans(struct audit *audit, enum topic topic, struct failure *f)
{
    enum err err = ERR_OK;
    for (int32_t part = 0; err == ERR_OK && part < audit->farm.partitions; part++) {
        struct audit_part *p = &audit->parts[part];
        err = topic_reader_span(audit->kafka.reader, topic, part,
                                topic == TOPIC_EVENTS ? &p->events : &p->requests, f);
    }
    return err;
}

static enum err take_snapshot(struct audit *audit, struct failure *f)
{
    struct mysql_session *session = audit->admin->session;
    MYSQL_RES *res = NULL;
    enum err err = mysql_session_snapshot(session, f);
    if (err == ERR_OK) {
        err = mysql_session_read(session, "read the partitions",
                                 "SELECT part, next_offset, last_seq, published_seq FROM "
                                 "request_partition ORDER BY part",
                                 &res, f);
    }
    if (err != ERR_OK)
        return err;
    int32_t count = 0;
    MYSQL_ROW row;
    while (count < audit->farm.partitions && (row = mysql_fetch_row(res))) {
        if (field_int(row[0]) != count)
            break;
        struct audit_part *p = &audit->parts[count++];
        p->next_offset = field_int(row[1]);
        p->last_seq = field_int(row[2]);
        p->published_seq = field_int(row[3]);
    }
    mysql_free_result(res);
    if (count != audit->farm.partitions) {
        audit_differ(audit, "partition_missing", audit_at((char[AUDIT_AT_LEN]){0}, "%d", count),
                     "the farm has %" PRId32 " partitions, the table has no row for %" PRId32,
                     audit->farm.partitions, count);
    }
    return ERR_OK;
}

static enum err run_checks(struct audit *audit, struct failure *f)
{
    audit->parts = xcalloc((size_t)audit->farm.partitions, sizeof(*audit->parts));
    for (int32_t part = 0; part < audit->farm.partitions; part++)
        audit->parts[part].part = part;
    enum err err = note_spans(audit, TOPIC_EVENTS, f);
    if (err == ERR_OK)
        err = note_spans(audit, TOPIC_REQUESTS, f);
    if (err == ERR_OK)
        err = take_snapshot(audit, f);
    if (err == ERR_OK)
        err = audit_events(audit, f);
    if (err == ERR_OK)
        err = audit_requests(audit, f);
    if (err == ERR_OK)
        err = audit_fold(audit, f);
    if (err == ERR_OK)
        err = audit_state(audit, f);
    mysql_session_rollback(audit->admin->session);
    return err;
}

static json_t *counts_json(const struct audit_counts *counts)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "events", (json_int_t)counts->events,
                     "repeats", (json_int_t)counts->repeats, "requests",
                     (json_int_t)counts->requests, "decisions", (json_int_t)counts->decisions,
                     "bookings", (json_int_t)counts->bookings, "allocations",
                     (json_int_t)counts->allocations, "machines", (json_int_t)counts->machines);
}

/* What was compared, per partition. */
static json_t *ranges_json(const struct audit *audit)
{
    json_t *ranges = json_array();
    for (int32_t part = 0; part < audit->farm.partitions; part++) {
        const struct audit_part *p = &audit->parts[part];
        json_array_append_new(
            ranges, json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "partition", (json_int_t)part,
                              "first_sequence", (json_int_t)p->first_seq, "last_sequence",
                              (json_int_t)(p->first_seq ? p->next_seq - 1 : 0), "decided_sequence",
                              (json_int_t)p->last_seq, "first_offset", (json_int_t)p->requests.lo,
                              "next_offset", (json_int_t)p->next_offset));
    }
    return ranges;
}

static void print_text(const struct audit *audit)
{
    const struct audit_counts *counts = &audit->counts;
    for (int32_t part = 0; part < audit->farm.partitions; part++) {
        const struct audit_part *p = &audit->parts[part];
        int64_t last = p->first_seq ? p->next_seq - 1 : 0;
        print_line(stdout,
                   "partition %" PRId32 ": events %" PRId64 " to %" PRId64 " of %" PRId64
                   ", requests from offset %" PRId64 " to %" PRId64,
                   part, p->first_seq, last, p->last_seq, p->requests.lo, p->next_offset);
    }
    print_line(stdout,
               "compared %" PRId64 " events (and %" PRId64 " repeats), %" PRId64
               " requests, %" PRId64 " decisions, %" PRId64 " bookings, %" PRId64
               " allocations, %" PRId64 " machines",
               counts->events, counts->repeats, counts->requests, counts->decisions,
               counts->bookings, counts->allocations, counts->machines);
    const json_t *difference;
    size_t i;
    json_array_foreach(audit->differences, i, difference)
        print_line(stdout, "%s %s: %s", json_string_value(json_object_get(difference, "kind")),
                   json_string_value(json_object_get(difference, "at")),
                   json_string_value(json_object_get(difference, "detail")));
    if (audit->difference_count > AUDIT_LISTED_MAX)
        print_line(stdout, "and %" PRId64 " more", audit->difference_count - AUDIT_LISTED_MAX);
    if (audit->difference_count > 0) {
        print_line(stdout, "%" PRId64 " differences", audit->difference_count);
    } else {
        print_line(stdout, "%s", "all agree");
    }
}

static void report(const struct audit *audit)
{
    static const struct admin_column columns[] = {
        {"kind", "KIND"}, {"at", "AT"}, {"detail", "DETAIL"}, {0}};
    struct admin *admin = audit->admin;
    if (admin->format == ADMIN_TSV) {
        admin_print_rows(admin, columns, json_incref(audit->differences));
    } else if (admin->format == ADMIN_JSON) {
        json_t *object = json_pack(
            "{s:s, s:s, s:o, s:o, s:I, s:O}", "farm", audit->farm.name, "result",
            audit->difference_count > 0 ? "differences" : "ok", "compared",
            counts_json(&audit->counts), "ranges", ranges_json(audit), "difference_count",
            (json_int_t)audit->difference_count, "differences", audit->differences);
        admin_print_object(admin, columns, object);
    } else {
        print_text(audit);
    }
}

enum err admin_audit(struct admin *admin, struct failure *f)
{
    struct audit audit = {.admin = admin, .wait_ms = 30000};
    const char *wait = options_value(admin->opts, "wait");
    if (options_has(admin->opts, "json"))
        admin->format = ADMIN_JSON;
    if (options_has(admin->opts, "follow"))
        return admin_follow(admin, f);
    if (options_has(admin->opts, "for"))
        return failure_set(f, ERR_USAGE, "--for goes with --follow");
    audit.differences = json_array();
    event_fold_init(&audit.fold, &(struct fold_watch){0});
    admin->read_only = true;
    enum err err = wait ? cli_time_parse_duration(wait, &audit.wait_ms, f) : ERR_OK;
    if (err == ERR_OK)
        err = admin_farm_open(admin, &audit.farm, &audit.kafka, f);
    if (err == ERR_OK)
        err = run_checks(&audit, f);
    if (err == ERR_OK) {
        report(&audit);
        if (audit.difference_count > 0)
            admin->exit_code = EXIT_CODE_DIFFERENCES;
    }
    event_fold_fini(&audit.fold);
    admin_kafka_close(&audit.kafka);
    json_decref(audit.differences);
    free(audit.parts);
    return err;
}
