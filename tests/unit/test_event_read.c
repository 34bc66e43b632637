/* Reading events: the documents of schemas/corpus/events, misleading texts, and bytes that are not
 * an event. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "lib/base/mem.h"
#include "lib/codec/event_read.h"
#include "tests/unit/support.h"

#define CORPUS     "schemas/corpus/events/"
#define HEAD       "{\"specversion\":\"1.0\",\"id\":\"3-1042\",\"sequence\":\"0000000000000001042\","
#define TIME       "\"time\":\"2026-11-24T14:37:54.123Z\","
#define ACCEPTED   "\"type\":\"berth.request.accepted\","
#define POSITION   "\"request\":{\"partition\":3,\"offset\":1187}"
#define TIME_MS    INT64_C(1795531074123)
#define START_MS   INT64_C(1796090400000)
#define HOUR_MS    INT64_C(3600000)
#define BOOKING    INT64_C(4268035)
#define OCCURRENCE INT64_C(17592190312451)

static struct event_view event;

/* Reads a file of the corpus; the caller frees the text. */
static char *corpus(const char *name)
{
    return read_file(arena_printf(arena, CORPUS "%s", name)).data;
}

static int setup(void **state)
{
    arena_setup(state);
    event = (struct event_view){.seq = -1};
    return 0;
}

static enum err read_text(const char *text)
{
    struct failure f = {0};
    enum err err = event_read(text, strlen(text), arena, &event, &f);
    assert_int_equal(err, f.err);
    return err;
}

/* Reads the document, which must be an event without a fault. */
static void read_good(const char *name)
{
    char *text = corpus(name);
    if (read_text(text) != ERR_OK || event.fault)
        fail_msg("%s: %s", name, event.fault ? event.fault : "not an event");
    free(text); /* the view must not point into it */
}

/* Calls fn for each document of the folder. */
static void each(const char *folder, void (*fn)(const char *name))
{
    char *path = xasprintf(CORPUS "%s", folder);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    size_t count = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        char *name = xasprintf("%s/%s", folder, entry->d_name);
        if (entry->d_name[0] != '.') {
            fn(name);
            count++;
        }
        free(name);
    }
    closedir(dir);
    free(path);
    assert_true(count > 20);
}

/* --- what events say --- */

static void all_good_documents_are_read(void **state)
{
    (void)state;
    each("ok", read_good);
}

static void attributes_and_request(void **state)
{
    (void)state;
    read_good("ok/accepted-booking.create.json");
    assert_int_equal(event.part, 3);
    assert_int_equal(event.seq, 1042);
    assert_string_equal(event.id, "3-1042");
    assert_int_equal(event.kind, EVENT_ACCEPTED);
    assert_string_equal(event.type, "berth.request.accepted");
    assert_string_equal(event.subject, "booking/4268035");
    assert_int_equal(event.time_ms, TIME_MS);
    assert_string_equal(event.request.id, "0192f3a1-7c1e-7b6e-8f00-0123456789ab");
    assert_string_equal(event.request.client, "batch-1");
    assert_string_equal(event.request.user, "alice");
    assert_string_equal(event.request.type, "booking.create");
    assert_int_equal(event.request.part, 3);
    assert_int_equal(event.request.offset, 1187);
    assert_null(event.duplicate_of);
    assert_null(event.reason);
    read_good("ok/accepted-duplicate.json");
    assert_string_equal(event.duplicate_of, "3-1042");
    read_good("ok/rejected-malformed.json");
    assert_int_equal(event.kind, EVENT_REJECTED);
    assert_null(event.subject);
    assert_null(event.request.client);
    assert_string_equal(event.reason, "malformed");
    assert_string_equal(event.detail, "The message has no three parts.");
}

static void booking_and_series(void **state)
{
    (void)state;
    read_good("ok/accepted-booking.create-series-conflicts.json");
    const struct booking_view *booking = event.booking;
    assert_int_equal(booking->id, OCCURRENCE);
    assert_int_equal(booking->version, 1);
    assert_int_equal(booking->series, BOOKING);
    assert_int_equal(booking->state, BOOKING_BOOKED);
    assert_int_equal(booking->end_ms - booking->start_ms, 2 * HOUR_MS);
    assert_int_equal(booking->share_count, 2);
    assert_string_equal(booking->shares[0].machine, "gpu-01");
    assert_int_equal(booking->shares[0].amount.memory_gib, 64);
    assert_int_equal(event.series->id, BOOKING);
    assert_int_equal(event.series->count, 4);
    const struct occurrence *first = &event.series->occurrences[0];
    assert_int_equal(first->window.start_ms, START_MS);
    assert_int_equal(first->booking, 0);
    assert_int_equal(first->reason, REASON_INSUFFICIENT_CAPACITY);
    assert_string_equal(first->machine, "gpu-01");
    assert_int_equal(event.series->occurrences[1].booking, OCCURRENCE);
    assert_int_equal(event.series->occurrences[1].share_count, 2);
}

static void machine_and_displaced(void **state)
{
    (void)state;
    read_good("ok/accepted-machine.update-displacing.json");
    assert_null(event.booking);
    assert_string_equal(event.machine->name, "gpu-01");
    assert_int_equal(event.machine->version, 9);
    assert_int_equal(event.machine->state, MACHINE_DRAINING);
    assert_int_equal(event.displaced_count, 2);
    const struct booking_view *booking = &event.displaced[1].booking;
    assert_string_equal(booking->client, "batch-2");
    assert_string_equal(booking->user, "alice");
    assert_int_equal(booking->state, BOOKING_CANCELLED);
    assert_int_equal(booking->start_ms, START_MS);
    assert_non_null(booking->shares);
    assert_int_equal(booking->share_count, 0);
    assert_int_equal(event.displaced[1].previous->version, 1);
    assert_int_equal(event.displaced[1].previous->share_count, 2);
    read_good("ok/accepted-machine.register.json");
    assert_int_equal(event.machine->labels.count, 3);
    assert_string_equal(event.machine->labels.items[0].value, "h100");
}

static void what_was_replaced(void **state)
{
    (void)state;
    read_good("ok/accepted-booking.amend-running.json");
    const struct booking_view *previous = event.previous;
    assert_int_equal(previous->version, 1);
    assert_int_equal(previous->state, BOOKING_BOOKED);
    assert_int_equal(previous->start_ms, TIME_MS - 123 - HOUR_MS);
    assert_int_equal(previous->end_ms, START_MS + 2 * HOUR_MS);
    assert_int_equal(previous->share_count, 2);
    assert_string_equal(previous->shares[1].machine, "gpu-02");
    assert_int_equal(event.effective_ms, TIME_MS + 877);
    read_good("ok/accepted-booking.cancel-before.json");
    assert_int_equal(event.previous->share_count, 2);
    assert_int_equal(event.effective_ms, 0);
    read_good("ok/accepted-booking.cancel-series.json");
    assert_int_equal(event.series->occurrences[1].previous->version, 1);
    assert_int_equal(event.series->occurrences[1].previous->share_count, 2);
    read_good("ok/accepted-booking.create.json");
    assert_null(event.previous);
}

/* Events of earlier releases are read as far as they tell. */
static void earlier_events(void **state)
{
    (void)state;
    read_good("earlier/accepted-booking.amend.json");
    assert_int_equal(event.booking->version, 2);
    assert_null(event.previous);
    assert_int_equal(event.effective_ms, 0);
    read_good("earlier/accepted-booking.cancel-running.json");
    assert_null(event.previous);
    read_good("earlier/accepted-booking.cancel-series.json");
    assert_null(event.series->occurrences[1].previous);
    read_good("earlier/accepted-machine.update-displacing.json");
    assert_int_equal(event.displaced_count, 2);
    assert_int_equal(event.displaced[1].booking.id, BOOKING);
    assert_int_equal(event.displaced[1].booking.state, BOOKING_CANCELLED);
    assert_int_equal(event.displaced[1].booking.end_ms, START_MS);
    assert_null(event.displaced[1].booking.user);
    assert_null(event.displaced[1].booking.shares);
    assert_null(event.displaced[1].previous);
    read_good("earlier/rejected-insufficient_capacity-machines.json");
    assert_string_equal(event.blocking_machine, "gpu-01");
}

static void rejections(void **state)
{
    (void)state;
    read_good("ok/rejected-insufficient_capacity-machines.json");
    assert_string_equal(event.blocking_machine, "gpu-01");
    assert_int_equal(event.free_count, 2);
    assert_int_equal(event.frees[1].amount.gpus, 3);
}

/* Of an event with a later version's type only the attributes are read. */
static void unknown_types_and_members(void **state)
{
    (void)state;
    assert_int_equal(read_text(HEAD TIME "\"type\":\"berth.machine.lost\",\"more\":[],\"data\":{"
                                         "\"booking\":3," POSITION "}}"),
                     ERR_OK);
    assert_int_equal(event.kind, EVENT_OTHER);
    assert_null(event.fault);
    assert_null(event.booking);
}

/* --- what is damaged --- */

/* Documents that break only rules on members unused by this reader, or rules between members: the
 * JSON Schemas refuse them, a consumer need not. */
static const char *const tolerated[] = {
    "accepted-booking-and-machine",
    "accepted-datacontenttype-missing",
    "accepted-displaced-by-a-booking",
    "accepted-displaced-empty",
    "accepted-displaced-short-with-series",
    "accepted-displaced-still-booked",
    "accepted-displaced-without-previous",
    "accepted-effective_from-without-previous",
    "accepted-occurrence-allocations-65",
    "accepted-occurrence-booked-with-",
    "accepted-occurrence-left-out-reason-forbidden",
    "accepted-occurrence-left-out-with-",
    "accepted-previous-of-a-machine",
    "accepted-previous-state-cancelled",
    "accepted-request-without-client",
    "accepted-series-367-occurrences",
    "accepted-series-empty",
    "accepted-series-of-a-machine",
    "accepted-source-",
    "accepted-specversion-",
    "accepted-subject-",
    "rejected-detail-empty",
    "rejected-fitting-",
    "rejected-free-",
    "rejected-in_use-",
    "rejected-limit-",
    "rejected-machines_free-65",
    "rejected-machines_free-empty",
    "rejected-next_available-",
    "rejected-pointer-not-one",
    "rejected-reason-unknown",
    "rejected-sha256-upper-case",
    "rejected-unverified-",
};

static void check_bad(const char *name)
{
    char *text = corpus(name);
    bool good = read_text(text) == ERR_OK && !event.fault, allowed = false;
    for (size_t i = 0; i < sizeof(tolerated) / sizeof(tolerated[0]); i++)
        allowed = allowed || strncmp(name + 4, tolerated[i], strlen(tolerated[i])) == 0;
    if (good != allowed)
        fail_msg("%s was %s", name, good ? "read" : "refused");
    free(text);
}

static void bad_documents_are_refused(void **state)
{
    (void)state;
    each("bad", check_bad);
}

static void no_event_at_all(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "", "hello", "[]", "null", "{}", "{\"sequence\":\"0000000000000001042\"}",
        /* a duplicate member: two readers could see two events */
        HEAD ACCEPTED ACCEPTED TIME "\"data\":{" POSITION "}}",
        HEAD ACCEPTED TIME "\"data\":{\"request\":{\"partition\":4,\"offset\":1187}}}",
        HEAD ACCEPTED TIME "\"data\":{\"request\":{\"partition\":3,\"offset\":\"1\"}}}",
        HEAD ACCEPTED "\"time\":\"2026-11-24T14:37:54.000Z\",\"data\":{" POSITION "}}",
        HEAD ACCEPTED "\"time\":\"2026-11-24T14:37:54. 12Z\",\"data\":{" POSITION "}}",
        "{\"id\":\"3-1043\",\"sequence\":\"0000000000000001042\"," ACCEPTED TIME
        "\"data\":{" POSITION "}}"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_int_equal(read_text(texts[i]), ERR_FAILED);
        assert_int_equal(event.seq, -1); /* as it was */
    }
    struct failure f;
    assert_int_equal(event_read(NULL, 0, arena, &event, &f), ERR_FAILED);
}

/* Damages one member; the others may still be read. */
static void what_is_damaged_is_left_out(void **state)
{
    (void)state;
    assert_int_equal(
        read_text(HEAD ACCEPTED TIME
                  "\"data\":{" POSITION ",\"booking\":{\"id\":1,\"version\":2,\"client\":\"c\","
                  "\"user\":\"u\",\"state\":\"booked\",\"start\":\"2026-12-01T02:00:00Z\","
                  "\"end\":\"2026-12-01T04:00:00Z\",\"allocations\":[{\"machine\":\"a\","
                  "\"gpus\":1099511627776,\"memory_gib\":1},{\"machine\":\"b\",\"gpus\":1,"
                  "\"memory_gib\":1},7]},\"displaced\":[{\"id\":0},{\"id\":9,\"version\":2,"
                  "\"client\":\"d\",\"state\":\"cancelled\",\"end\":\"2026-12-01T04:00:00Z\"}]}}"),
        ERR_OK);
    assert_string_equal(event.fault, "data.booking.allocations");
    assert_int_equal(event.booking->share_count, 1);
    assert_string_equal(event.booking->shares[0].machine, "b");
    assert_int_equal(event.displaced_count, 1);
    assert_int_equal(event.displaced[0].booking.id, 9);
}

/* Every prefix of an event is refused; an event with one changed byte is read or refused. */
static void cut_and_changed(const char *name)
{
    char *text = corpus(name);
    size_t len = strlen(text);
    while (len > 0 && text[len - 1] == '\n')
        len--;
    struct failure f;
    for (size_t i = 0; i < len; i++) {
        arena_reset(arena);
        assert_int_equal(event_read(text, i, arena, &event, &f), ERR_FAILED);
        char kept = text[i];
        text[i] = (char)(kept ^ (1 << i % 8));
        event_read(text, len, arena, &event, &f);
        text[i] = kept;
    }
    free(text);
}

static void any_bytes(void **state)
{
    (void)state;
    each("ok", cut_and_changed);
}

/* --- ids --- */

static void ids(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t part, seq; /* seq 0: no id */
    } rows[] = {{"3-1042", 3, 1042},
                {"0-1", 0, 1},
                {"4095-2251799813685247", 4095, INT64_C(2251799813685247)},
                {"4096-1", 0, 0},
                {"0-2251799813685248", 0, 0}, /* its booking's id would not fit */
                {"0-9223372036854775808", 0, 0},
                {"00-1", 0, 0},
                {"03-1", 0, 0},
                {"3-0", 0, 0},
                {"3-01", 0, 0},
                {"3-", 0, 0},
                {"-1", 0, 0},
                {"3", 0, 0},
                {"", 0, 0},
                {"3-1x", 0, 0},
                {"3--1", 0, 0},
                {" 3-1", 0, 0}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int32_t part = -1;
        int64_t seq = -1;
        bool good = event_id_parse(rows[i].text, strlen(rows[i].text), &part, &seq);
        assert_int_equal(good, rows[i].seq > 0);
        assert_int_equal(part, good ? rows[i].part : -1);
        assert_int_equal(seq, good ? rows[i].seq : -1);
    }
}

static int64_t peek(const char *id, const char *text, int32_t part)
{
    return event_peek_seq(id, id ? strlen(id) : 0, text, text ? strlen(text) : 0, part);
}

static void peeking(void **state)
{
    (void)state;
    static const char text[] = HEAD;
    assert_int_equal(peek("3-1042", text, 3), 1042);
    assert_int_equal(peek("3-1042", text, 4), 0);
    assert_int_equal(peek("3-1043", text, 3), 0);
    assert_int_equal(peek("3-1042", "hello", 3), 0);
    assert_int_equal(peek("3-1042", NULL, 3), 0);
    assert_int_equal(peek(NULL, text, 3), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, arena_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(all_good_documents_are_read),
        TEST(attributes_and_request),
        TEST(booking_and_series),
        TEST(machine_and_displaced),
        TEST(what_was_replaced),
        TEST(earlier_events),
        TEST(rejections),
        TEST(unknown_types_and_members),
        TEST(bad_documents_are_refused),
        TEST(no_event_at_all),
        TEST(what_is_damaged_is_left_out),
        TEST(any_bytes),
        TEST(ids),
        TEST(peeking),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
