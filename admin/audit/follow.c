/* berth-admin audit --follow: follows the event topic and reports over-booking.
 *
 * A suspicion is judged in a round. The round opens when the oldest suspicion is old enough: the
 * ends of all partitions are noted, and once everything below them is read, the suspicions that
 * were old enough when the round opened are checked again. */
#include "admin/audit/follow.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/admin.h"
#include "admin/admin_kafka.h"
#include "admin/audit/audit.h"
#include "lib/base/cli_time.h"
#include "lib/base/clock.h"
#include "lib/base/mem.h"
#include "lib/base/print.h"
#include "lib/base/stop.h"
#include "lib/base/timetext.h"

/* How long an event of another partition may be late (--wait). Alarms are delayed by as much. */
#define SETTLE_MS       500
/* Between two checks of suspicions and alarms. */
#define LOOK_MS         50
/* Longest wait for the ends of the partitions; a round opens without them. */
#define ENDS_TIMEOUT_MS 300
/* Alarms checked again until they are over. */
#define ALARMS_MAX      1000

/* What was read of one partition (docs/messages.md, "Reading events"). */
struct follow_part {
    int64_t next_offset;
    int64_t last_seq; /* -1: none yet, and the log's start is not known */
    int64_t epoch;    /* the highest that was seen */
    bool settled;     /* no jump is fine any more */
};

struct follow {
    struct admin *admin;
    struct admin_kafka kafka;
    int32_t part_count;
    struct follow_part *parts;
    int64_t settle_ms, for_ms; /* for_ms -1: without end */
    int64_t caught_up_ms;      /* 0: not yet */
    struct follow_fold fold;
    bool complete; /* all events since the farm's first were seen */
    bool away;     /* the broker is, and it was said */

    int64_t *ends; /* of the round */
    size_t judged; /* suspicions that the round is about; 0: no round is open */
    bool sure;     /* the ends are known */

    struct follow_suspicion alarms[ALARMS_MAX];
    size_t alarm_count;
    int64_t event_count, repeat_count, finding_count;
};

static volatile sig_atomic_t signal_seen;

static void on_signal(int number)
{
    signal_seen = number;
    stop_soon(128 + number);
}

static void watch_signals(void)
{
    /* A second signal ends the program at once. */
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

struct finding {
    const char *kind, *at;
    json_t *more; /* members beside kind, at and detail */
};

/* Takes finding.more. */
__attribute__((format(printf, 3, 4))) static void tell(struct follow *follow,
                                                       struct finding finding, const char *detail,
                                                       ...)
{
    const char *kind = finding.kind, *at = finding.at;
    char text[512];
    va_list args;
    va_start(args, detail);
    vsnprintf(text, sizeof(text), detail, args);
    va_end(args);
    if (follow->admin->format == ADMIN_JSON) {
        json_t *object = json_pack("{s:s, s:s, s:s}", "kind", kind, "at", at, "detail", text);
        json_object_update(object, finding.more);
        admin_print_json(object);
        json_decref(object);
    } else if (follow->admin->format == ADMIN_TSV) {
        print_part(stdout, "%s", kind);
        putc('\t', stdout);
        print_part(stdout, "%s", at);
        putc('\t', stdout);
        print_line(stdout, "%s", text);
    } else {
        print_line(stdout, "%s %s: %s", kind, at, text);
    }
    json_decref(finding.more);
    fflush(stdout);
}

static json_t *amount_json(struct amount amount)
{
    return json_pack("{s:I, s:I}", "gpus", (json_int_t)amount.gpus, "memory_gib",
                     (json_int_t)amount.memory_gib);
}

/* "3-1042" */
static const char *event_id(const struct follow_event *event, char buf[AUDIT_AT_LEN])
{
    return audit_at(buf, "%" PRId32 "-%" PRId64, event->part, event->seq);
}

static void alarm_of(struct follow *follow, const struct follow_suspicion *suspicion,
                     const struct follow_excess *excess)
{
    bool sure = follow->complete && follow->sure;
    char at[AUDIT_AT_LEN], id[AUDIT_AT_LEN], time[TIMETEXT_LEN];
    event_id(&suspicion->event, id);
    timetext_format(excess->at_ms, time);
    json_t *more = json_pack("{s:s, s:s, s:o, s:o, s:s, s:b}", "machine",
                             suspicion->machine->base->name, "instant", time, "use",
                             amount_json(excess->use), "capacity", amount_json(excess->capacity),
                             "event", id, "complete", sure);
    audit_at(at, "machine/%s", suspicion->machine->base->name);
    tell(follow, (struct finding){"overbooked", at, more},
         "%" PRId64 " GPUs and %" PRId64 " GiB are booked from %s on, it has %" PRId64
         " and %" PRId64 ", by event %s%s",
         excess->use.gpus, excess->use.memory_gib, time, excess->capacity.gpus,
         excess->capacity.memory_gib, id, sure ? "" : " (not all events are known)");
    follow->finding_count++;
    if (follow->alarm_count < ALARMS_MAX)
        follow->alarms[follow->alarm_count++] = *suspicion;
}

/* Reports a machine that no event registered. If the topic's beginning was deleted, that is no
 * fault. */
static void tell_unknown(struct follow *follow, const struct follow_suspicion *suspicion)
{
    char at[AUDIT_AT_LEN], id[AUDIT_AT_LEN];
    event_id(&suspicion->event, id);
    if (suspicion->machine->told)
        return;
    suspicion->machine->told = true;
    if (!follow->complete) {
        admin_remark(follow->admin, "machine %s is not in the events that are left: not watched",
                     suspicion->machine->base->name);
        return;
    }
    follow->finding_count++;
    audit_at(at, "machine/%s", suspicion->machine->base->name);
    json_t *more = json_pack("{s:s, s:s}", "machine", suspicion->machine->base->name, "event", id);
    tell(follow, (struct finding){"machine_unknown", at, more},
         "event %s books it, and no event registered it", id);
}

static void judge(struct follow *follow)
{
    struct follow_fold *fold = &follow->fold;
    for (size_t i = 0; i < follow->judged; i++) {
        const struct follow_suspicion *suspicion = &fold->suspicions[i];
        struct follow_excess excess;
        if (!follow_is_registered(suspicion->machine)) {
            tell_unknown(follow, suspicion);
        } else if (!suspicion->explained && follow_exceeds(suspicion, &excess)) {
            alarm_of(follow, suspicion, &excess);
        }
    }
    fold->suspicion_count -= follow->judged;
    memmove(fold->suspicions, fold->suspicions + follow->judged,
            fold->suspicion_count * sizeof(*fold->suspicions));
    follow->judged = 0;
}

static bool reached_ends(const struct follow *follow)
{
    for (int32_t part = 0; part < follow->part_count; part++) {
        if (follow->parts[part].next_offset < follow->ends[part])
            return false;
    }
    return true;
}

static void open_round(struct follow *follow, int64_t now_ms)
{
    struct follow_fold *fold = &follow->fold;
    struct failure f;
    while (follow->judged < fold->suspicion_count &&
           fold->suspicions[follow->judged].seen_ms + follow->settle_ms <= now_ms)
        follow->judged++;
    if (follow->judged == 0)
        return;
    follow->sure = !topic_reader_ends(follow->kafka.reader, TOPIC_EVENTS, follow->part_count,
                                      ENDS_TIMEOUT_MS, follow->ends, &f);
    if (!follow->sure)
        admin_remark(follow->admin, "%s: judging without it", f.text);
}

static void look_at_alarms(struct follow *follow)
{
    char at[AUDIT_AT_LEN];
    for (size_t i = follow->alarm_count; i-- > 0;) {
        struct follow_suspicion *alarm = &follow->alarms[i];
        struct follow_excess excess;
        if (follow_exceeds(alarm, &excess))
            continue;
        char id[AUDIT_AT_LEN];
        event_id(&alarm->event, id);
        audit_at(at, "machine/%s", alarm->machine->base->name);
        json_t *more = json_pack("{s:s, s:s}", "machine", alarm->machine->base->name, "event", id);
        tell(follow, (struct finding){"cleared", at, more}, "what event %s booked fits now", id);
        *alarm = follow->alarms[--follow->alarm_count];
    }
}

static void catch_up(struct follow *follow, int64_t now_ms)
{
    if (!reached_ends(follow))
        return;
    follow->caught_up_ms = now_ms;
    follow_fold_look(&follow->fold);
    admin_remark(follow->admin, "following: %" PRId64 " events, %zu machines, %zu bookings",
                 follow->event_count, follow->fold.base.machine_map.count,
                 follow->fold.base.booking_map.count);
}

static void look(struct follow *follow, int64_t now_ms)
{
    if (follow->caught_up_ms == 0) {
        catch_up(follow, now_ms);
        return;
    }
    look_at_alarms(follow);
    if (follow->judged == 0)
        open_round(follow, now_ms);
    if (follow->judged > 0 && (!follow->sure || reached_ends(follow)))
        judge(follow);
}

static void tell_gap(struct follow *follow, int32_t part, int64_t seq)
{
    int64_t missing = follow->parts[part].last_seq + 1;
    char at[AUDIT_AT_LEN];
    audit_at(at, "%" PRId32 "-%" PRId64, part, missing);
    follow->complete = false;
    follow->finding_count++;
    json_t *more = json_pack("{s:i, s:I, s:I}", "partition", (int)part, "first_missing",
                             (json_int_t)missing, "last_missing", (json_int_t)(seq - 1));
    tell(follow, (struct finding){"event_gap", at, more},
         "sequence %" PRId64 " to %" PRId64 " are missing", missing, seq - 1);
}

static void tell_foreign(struct follow *follow, const rd_kafka_message_t *message)
{
    char at[AUDIT_AT_LEN];
    audit_at(at, "%" PRId32 ":%" PRId64, message->partition, message->offset);
    follow->finding_count++;
    json_t *more = json_pack("{s:i, s:I}", "partition", (int)message->partition, "offset",
                             (json_int_t)message->offset);
    tell(follow, (struct finding){"event_foreign", at, more},
         "a message of the event topic is no event of this partition, is damaged, or contradicts "
         "the events before it");
}

/* Returns false for a repeat. */
static bool take(struct follow *follow, const rd_kafka_message_t *message, int64_t seq)
{
    struct follow_part *part = &follow->parts[message->partition];
    int64_t epoch = topic_header_int(message, "berth-epoch");
    bool newer = epoch > part->epoch;
    part->epoch = newer ? epoch : part->epoch;
    if (part->last_seq < 0) {
        part->last_seq = seq;
        return true;
    }
    if (seq <= part->last_seq)
        return false;
    if (seq > part->last_seq + 1 && (part->settled || !newer))
        tell_gap(follow, message->partition, seq);
    part->last_seq = seq;
    part->settled = true;
    return true;
}

static void on_message(struct follow *follow, const rd_kafka_message_t *message)
{
    int32_t part = message->partition;
    int64_t seq = admin_kafka_sequence(message, part);
    if (seq == 0) {
        tell_foreign(follow, message);
    } else if (!take(follow, message, seq)) {
        follow->repeat_count++;
    } else {
        follow->event_count++;
        if (!follow_fold_event(&follow->fold, part, seq, message->payload, message->len))
            tell_foreign(follow, message);
    }
}

/* Transport errors pass: librdkafka tries again by itself. */
static enum err on_error(struct follow *follow, const rd_kafka_message_t *message,
                         struct failure *f)
{
    enum err err = kafka_failure(f, message->err, "read", rd_kafka_message_errstr(message));
    if (err != ERR_LOG_TRANSPORT)
        return failure_wrap(f, "%s", topic_reader_name(follow->kafka.reader, TOPIC_EVENTS));
    if (!follow->away)
        admin_remark(follow->admin, "%s: waiting", f->text);
    follow->away = true;
    return ERR_OK;
}

static enum err read_some(struct follow *follow, struct failure *f)
{
    rd_kafka_message_t *message = topic_reader_next(follow->kafka.reader, LOOK_MS);
    enum err err = ERR_OK;
    if (!message)
        return ERR_OK;
    bool end = message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
    if (message->err && !end) {
        err = on_error(follow, message, f);
    } else {
        struct follow_part *part = &follow->parts[message->partition];
        follow->away = false;
        if (!end)
            on_message(follow, message);
        /* The last offsets before the end may hold no message. */
        int64_t next = message->offset + (end ? 0 : 1);
        part->next_offset = next > part->next_offset ? next : part->next_offset;
    }
    rd_kafka_message_destroy(message);
    return err;
}

static bool is_over(const struct follow *follow, int64_t now_ms)
{
    return follow->for_ms >= 0 && follow->caught_up_ms > 0 &&
           now_ms >= follow->caught_up_ms + follow->for_ms && follow->fold.suspicion_count == 0;
}

static enum err run(struct follow *follow, struct failure *f)
{
    int64_t looked_ms = 0;
    for (;;) {
        int64_t now_ms = clock_mono_ms();
        if (now_ms - looked_ms >= LOOK_MS) {
            looked_ms = now_ms;
            look(follow, now_ms);
            if (is_over(follow, now_ms))
                return ERR_OK;
        }
        if (signal_seen || ferror(stdout))
            return ERR_OK;
        enum err err = read_some(follow, f);
        if (err != ERR_OK)
            return err;
    }
}

static enum err read_options(struct follow *follow, struct failure *f)
{
    const struct options *opts = follow->admin->opts;
    const char *wait = options_value(opts, "wait"), *time = options_value(opts, "for");
    enum err err = wait ? cli_time_parse_duration(wait, &follow->settle_ms, f) : ERR_OK;
    if (err == ERR_OK && time)
        err = cli_time_parse_duration(time, &follow->for_ms, f);
    return err;
}

/* Notes where each partition begins and ends now: events below the end are the past. */
static enum err note_spans(struct follow *follow, struct failure *f)
{
    for (int32_t part = 0; part < follow->part_count; part++) {
        struct follow_part *p = &follow->parts[part];
        struct topic_span span;
        enum err err = topic_reader_span(follow->kafka.reader, TOPIC_EVENTS, part, &span, f);
        if (err != ERR_OK)
            return err;
        *p = (struct follow_part){.next_offset = span.lo, .epoch = -1, .settled = span.lo == 0};
        p->last_seq = span.lo == 0 ? 0 : -1;
        follow->ends[part] = span.hi;
        if (span.lo == 0)
            continue;
        follow->complete = false;
        admin_remark(follow->admin,
                     "partition %" PRId32 " begins at offset %" PRId64
                     ", what was before is deleted: this vouches only for what is left",
                     part, span.lo);
    }
    return ERR_OK;
}

static enum err begin(struct follow *follow, struct failure *f)
{
    enum err err = admin_kafka_open(follow->admin->cfg, &follow->kafka, f);
    if (err == ERR_OK)
        err = topic_reader_partitions(follow->kafka.reader, TOPIC_EVENTS, &follow->part_count, f);
    if (err == ERR_OK && follow->part_count == 0) {
        err = failure_set(f, ERR_NOT_FOUND, "there is no topic %s: check farm.topic_prefix",
                          topic_reader_name(follow->kafka.reader, TOPIC_EVENTS));
    }
    if (err != ERR_OK)
        return err;
    follow->parts = xcalloc((size_t)follow->part_count, sizeof(*follow->parts));
    follow->ends = xcalloc((size_t)follow->part_count, sizeof(*follow->ends));
    err = note_spans(follow, f);
    for (int32_t part = 0; err == ERR_OK && part < follow->part_count; part++) {
        err = topic_reader_start(follow->kafka.reader, TOPIC_EVENTS, part,
                                 follow->parts[part].next_offset, f);
    }
    return err;
}

static void finish(struct follow *follow)
{
    admin_remark(follow->admin,
                 "followed: %" PRId64 " events (and %" PRId64 " repeats), %zu machines, %zu "
                 "bookings, %" PRId64 " findings",
                 follow->event_count, follow->repeat_count, follow->fold.base.machine_map.count,
                 follow->fold.base.booking_map.count, follow->finding_count);
    if (signal_seen) {
        follow->admin->exit_code = signal_seen == SIGINT ? EXIT_CODE_SIGINT : EXIT_CODE_SIGTERM;
    } else if (follow->finding_count > 0) {
        follow->admin->exit_code = EXIT_CODE_DIFFERENCES;
    }
}

enum err admin_follow(struct admin *admin, struct failure *f)
{
    struct follow *follow = xcalloc(1, sizeof(*follow));
    follow->admin = admin;
    follow->settle_ms = SETTLE_MS;
    follow->for_ms = -1;
    follow->complete = follow->sure = true;
    follow_fold_init(&follow->fold);
    watch_signals();
    enum err err = read_options(follow, f);
    if (err == ERR_OK)
        err = begin(follow, f);
    if (err == ERR_OK)
        err = run(follow, f);
    if (err == ERR_OK && ferror(stdout))
        err = failure_set(f, ERR_IO, "write to stdout");
    if (err == ERR_OK)
        finish(follow);
    admin_kafka_close(&follow->kafka);
    follow_fold_fini(&follow->fold);
    free(follow->parts);
    free(follow->ends);
    free(follow);
    return err;
}
