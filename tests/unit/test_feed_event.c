/* The filters of GET /v1/events: which events pass, and texts that must not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "reader/feed_event.h"

#define CORPUS "schemas/corpus/events/"

static struct feed_event *parse(const char *text)
{
    struct feed_event *event;
    struct failure f;
    if (feed_event_new(text, strlen(text), &event, &f) != ERR_OK)
        fail_msg("%s", f.text);
    return event;
}

static struct feed_event *load(const char *path)
{
    struct failure f;
    char *text;
    if (file_read_text(path, 1 << 20, &text, &f) != ERR_OK)
        fail_msg("%s: run the tests in the top folder", f.text);
    size_t len = strcspn(text, "\n");
    text[len] = '\0';
    struct feed_event *event = parse(text);
    free(text);
    return event;
}

static enum feed_match client(const struct feed_event *event, const char *name)
{
    return feed_event_match(event, &(struct feed_filter){.client = name});
}

static enum feed_match machine(const struct feed_event *event, const char *name)
{
    return feed_event_match(event, &(struct feed_filter){.machine = name});
}

static enum feed_match outcome(const struct feed_event *event, enum event_kind kind)
{
    return feed_event_match(event, &(struct feed_filter){.outcome = kind});
}

static void test_booking_passes_its_client_and_machines(void **state)
{
    (void)state;
    struct feed_event *event = load(CORPUS "ok/accepted-booking.create.json");
    assert_int_equal(client(event, "batch-1"), FEED_PASSES);
    assert_int_equal(client(event, "batch-2"), FEED_FAILS);
    assert_int_equal(client(event, "batch-"), FEED_FAILS);
    assert_int_equal(client(event, "alice"), FEED_FAILS);
    assert_int_equal(machine(event, "gpu-01"), FEED_PASSES);
    assert_int_equal(machine(event, "gpu-02"), FEED_PASSES);
    assert_int_equal(machine(event, "gpu-03"), FEED_FAILS);
    assert_int_equal(machine(event, "gpu-0"), FEED_FAILS);
    feed_event_unref(event);
}

/* The list as one text, "a b c". */
static void assert_names(const struct buf *list, const char *expected)
{
    assert_int_equal(list->len, expected[0] ? strlen(expected) + 1 : 0);
    for (size_t i = 0; i < list->len; i++)
        assert_int_equal(list->data[i], expected[i] == ' ' ? '\0' : expected[i]);
}

static void test_what_events_concern(void **state)
{
    (void)state;
    static const struct {
        const char *name, *clients, *machines;
        size_t booking_count;
    } cases[] = {
        {"ok/accepted-booking.create.json", "batch-1 batch-1", "gpu-01 gpu-02", 0},
        {"ok/accepted-booking.create-series-conflicts.json", "batch-1 batch-1",
         "gpu-01 gpu-02 gpu-01 gpu-01 gpu-02", 0},
        {"ok/accepted-booking.cancel-before.json", "batch-1 batch-1", "gpu-01 gpu-02", 0},
        {"ok/accepted-booking.cancel-series.json", "batch-1 batch-1",
         "gpu-01 gpu-02 gpu-01 gpu-02 gpu-01 gpu-02 gpu-01 gpu-02 gpu-01 gpu-02", 0},
        {"ok/accepted-booking.amend.json", "ops batch-1", "gpu-01 gpu-02", 0},
        {"ok/accepted-machine.update-displacing.json", "batch-1 batch-1 batch-2",
         "gpu-01 gpu-01 gpu-01 gpu-02 gpu-01 gpu-01", 0},
        {"ok/rejected-insufficient_capacity-machines.json", "batch-1", "gpu-01 gpu-02 gpu-01", 0},
        {"ok/rejected-duplicate.json", "batch-1", "gpu-99", 0},
        {"ok/rejected-malformed.json", "", "", 0},
        {"earlier/accepted-booking.cancel-series.json", "batch-1 batch-1",
         "gpu-01 gpu-02 gpu-01 gpu-02", 3},
        {"earlier/accepted-booking.amend.json", "ops batch-1", "", 1},
        {"earlier/accepted-machine.update-displacing.json", "batch-1 batch-1 batch-2",
         "gpu-01 gpu-01", 2},
        {"earlier/rejected-insufficient_capacity-machines.json", "batch-1", "gpu-01 gpu-02 gpu-01",
         0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char path[128];
        snprintf(path, sizeof(path), CORPUS "%s", cases[i].name);
        struct feed_event *event = load(path);
        assert_names(&event->clients, cases[i].clients);
        assert_names(&event->machines, cases[i].machines);
        assert_int_equal(event->booking_count, cases[i].booking_count);
        feed_event_unref(event);
    }
}

static void test_outcome(void **state)
{
    (void)state;
    struct feed_event *event = load(CORPUS "ok/rejected-insufficient_capacity.json");
    assert_int_equal(outcome(event, EVENT_OTHER), FEED_PASSES);
    assert_int_equal(outcome(event, EVENT_REJECTED), FEED_PASSES);
    assert_int_equal(outcome(event, EVENT_ACCEPTED), FEED_FAILS);
    assert_int_equal(machine(event, "gpu-01"), FEED_PASSES);
    feed_event_unref(event);
}

static void test_all_of_a_filter_must_match(void **state)
{
    (void)state;
    struct feed_event *event = load(CORPUS "ok/accepted-booking.create.json");
    struct feed_filter filter = {
        .client = "batch-1", .machine = "gpu-01", .outcome = EVENT_ACCEPTED};
    assert_int_equal(feed_event_match(event, &filter), FEED_PASSES);
    filter.machine = "gpu-03";
    assert_int_equal(feed_event_match(event, &filter), FEED_FAILS);
    filter.machine = "gpu-01";
    filter.outcome = EVENT_REJECTED;
    assert_int_equal(feed_event_match(event, &filter), FEED_FAILS);
    feed_event_unref(event);
}

static void test_displaced_bookings_concern_their_clients(void **state)
{
    (void)state;
    struct feed_event *event = load(CORPUS "ok/accepted-machine.update-displacing.json");
    assert_int_equal(client(event, "batch-1"), FEED_PASSES);
    assert_int_equal(client(event, "batch-2"), FEED_PASSES);
    assert_int_equal(client(event, "ops"), FEED_FAILS);
    assert_int_equal(machine(event, "gpu-01"), FEED_PASSES);
    feed_event_unref(event);
}

static void test_machines_that_a_booking_leaves(void **state)
{
    (void)state;
    struct buf names = {0};
    struct feed_event *event = load(CORPUS "ok/accepted-booking.amend.json");
    assert_int_equal(machine(event, "gpu-02"), FEED_PASSES);
    assert_int_equal(machine(event, "gpu-09"), FEED_FAILS);
    feed_event_unref(event);
    /* An earlier event does not tell what the booking held. */
    event = load(CORPUS "earlier/accepted-booking.amend.json");
    assert_int_equal(event->bookings[0], 4268035);
    assert_int_equal(event->booking_count, 1);
    assert_int_equal(machine(event, "gpu-09"), FEED_NEEDS_HELD);
    buf_append(&names, "gpu-08\0gpu-09", sizeof("gpu-08\0gpu-09"));
    feed_event_set_held(event, &names);
    assert_null(names.data);
    assert_int_equal(machine(event, "gpu-08"), FEED_PASSES);
    assert_int_equal(machine(event, "gpu-09"), FEED_PASSES);
    assert_int_equal(machine(event, "gpu-0"), FEED_FAILS);
    buf_append(&names, "gpu-0", sizeof("gpu-0")); /* two listeners at once */
    feed_event_set_held(event, &names);
    assert_int_equal(machine(event, "gpu-0"), FEED_FAILS);
    feed_event_unref(event);
}

static void test_a_new_booking_leaves_no_machine(void **state)
{
    (void)state;
    struct feed_event *event = load(CORPUS "ok/accepted-booking.create.json");
    assert_int_equal(event->booking_count, 0);
    feed_event_unref(event);
    event = load(CORPUS "ok/accepted-machine.register.json");
    assert_int_equal(event->booking_count, 0);
    feed_event_unref(event);
}

#define HEAD                                                                                       \
    "{\"id\":\"3-1042\",\"subject\":\"machine/m-1\",\"time\":\"2026-11-24T14:37:54Z\","            \
    "\"sequence\":\"0000000000000001042\",\"type\":"

/* Labels and user are free text and must not pass the filter of another client or machine. */
static void test_texts_that_look_like_fields_pass_no_filter(void **state)
{
    (void)state;
    struct feed_event *event = parse(
        HEAD "\"berth.request.accepted\",\"data\":{\"request\":{\"id\":\"1\",\"client\":\"ops\","
             "\"user\":\"\\\"client\\\":\\\"batch-1\\\",\\\"machine\\\":\\\"gpu-01\\\" "
             "client=batch-1\",\"type\":\"machine.register\",\"partition\":3,\"offset\":1187},"
             "\"machine\":{\"id\":4268035,\"version\":1,\"name\":\"m-1\",\"gpus\":8,"
             "\"memory_gib\":512,\"labels\":{\"booking\":\"4096\",\"client\":\"batch-1\","
             "\"id\":\"4096\",\"machine\":\"gpu-01\",\"name\":\"gpu-01\","
             "\"note\":\"\\\"client\\\":\\\"batch-1\\\"\",\"subject\":\"machine/gpu-01\","
             "\"text\":\"client=batch-1\",\"type\":\"berth.request.rejected\"},"
             "\"state\":\"up\"}}}");
    assert_int_equal(event->booking_count, 0);
    assert_int_equal(client(event, "batch-1"), FEED_FAILS);
    assert_int_equal(machine(event, "gpu-01"), FEED_FAILS);
    assert_int_equal(outcome(event, EVENT_REJECTED), FEED_FAILS);
    assert_int_equal(client(event, "ops"), FEED_PASSES);
    assert_int_equal(machine(event, "m-1"), FEED_PASSES);
    assert_int_equal(outcome(event, EVENT_ACCEPTED), FEED_PASSES);
    feed_event_unref(event);
}

/* A line break would end a field of the stream and begin another. */
static void test_what_is_no_event_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "{}",
        "no JSON",
        HEAD "\"a\",\n\"data\":{\"request\":{\"partition\":3,\"offset\":1}}}",
        HEAD "\"a\\ndata: {}\",\"data\":{\"request\":{\"partition\":3,\"offset\":1}}}",
        HEAD "\"a\\rdata: {}\",\"data\":{\"request\":{\"partition\":3,\"offset\":1}}}"};
    struct feed_event *event = NULL;
    struct failure f;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_int_equal(feed_event_new(texts[i], strlen(texts[i]), &event, &f), ERR_FAILED);
        assert_null(event);
    }
    event = parse(HEAD "\"a\",\"data\":{\"request\":{\"partition\":3,\"offset\":1}}}");
    assert_string_equal(event->type, "a");
    feed_event_unref(event);
}

static void test_references(void **state)
{
    (void)state;
    static const char text[] = HEAD "\"a\",\"data\":{\"request\":{\"partition\":3,\"offset\":1}}}";
    struct feed_event *event = parse(text);
    assert_ptr_equal(feed_event_ref(event), event);
    feed_event_unref(event);
    assert_string_equal(event->bytes, text);
    assert_int_equal(event->len, strlen(text));
    assert_int_equal(event->part, 3);
    assert_int_equal(event->seq, 1042);
    assert_true(event->size > event->len);
    feed_event_unref(event);
    feed_event_unref(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_booking_passes_its_client_and_machines),
        cmocka_unit_test(test_what_events_concern),
        cmocka_unit_test(test_outcome),
        cmocka_unit_test(test_all_of_a_filter_must_match),
        cmocka_unit_test(test_displaced_bookings_concern_their_clients),
        cmocka_unit_test(test_machines_that_a_booking_leaves),
        cmocka_unit_test(test_a_new_booking_leaves_no_machine),
        cmocka_unit_test(test_texts_that_look_like_fields_pass_no_filter),
        cmocka_unit_test(test_what_is_no_event_is_refused),
        cmocka_unit_test(test_references),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
