/* The events' bytes against schemas/corpus/events/ok/NAME.json (which integration-tests also run
 * through the JSON Schemas), their limits, and text that needs escapes.
 *
 * UPDATE_EXPECTED=1 writes the files instead of comparing them; review the difference. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "core/utf8.h"
#include "lib/base/mem.h"
#include "lib/codec/event.h"
#include "lib/codec/jsonout.h"
#include "tests/unit/support.h"

#define EXPECTED "schemas/corpus/events/ok/%s.json"

/* 2026-11-24T14:37:54.123Z and 2026-12-01T02:00:00Z */
#define NOW_MS   INT64_C(1795531074123)
#define START_MS INT64_C(1796090400000)
#define HOUR_MS  INT64_C(3600000)

static uint8_t message_sha256[32];
static struct credential credential;
static struct claims claims;
static struct decision decision;
static struct event_input input;

/* Each test starts from a verified booking.create and fills in the decision. */
static int setup(void **state)
{
    arena_setup(state);
    for (size_t i = 0; i < sizeof(message_sha256); i++)
        message_sha256[i] = (uint8_t)(i * 8 + 7);
    credential = (struct credential){.client = "batch-1"};
    claims = (struct claims){.issuer = "batch-1",
                             .user = "alice",
                             .id = "0192f3a1-7c1e-7b6e-8f00-0123456789ab",
                             .type = REQUEST_BOOKING_CREATE};
    decision = (struct decision){.verified = true, .next_available_ms = TIME_NONE, .fitting = -1};
    input = (struct event_input){.farm = "demo",
                                 .part = 3,
                                 .seq = 1042,
                                 .log_offset = 1187,
                                 .now_ms = NOW_MS,
                                 .message_sha256 = message_sha256,
                                 .credential = &credential,
                                 .claims = &claims,
                                 .decision = &decision};
    return 0;
}

static struct event encode(void)
{
    struct event event;
    event_encode(&input, arena, &event);
    assert_int_equal(event.len, strlen(event.bytes));
    assert_null(strchr(event.bytes, '\n'));
    return event;
}

static void write_expected(const char *path, const struct event *event)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fprintf(file, "%s\n", event->bytes);
    assert_int_equal(fclose(file), 0);
}

/* jansson parses the bytes and writes the same bytes. */
static void assert_jansson_agrees(const struct event *event)
{
    json_error_t error;
    json_t *document = json_loadb(event->bytes, event->len, JSON_REJECT_DUPLICATES, &error);
    if (!document)
        fail_msg("not JSON: %s in %s", error.text, event->bytes);
    char *dump = json_dumps(document, JSON_COMPACT);
    assert_string_equal(dump, event->bytes);
    free(dump);
    json_decref(document);
}

static struct event assert_encoded(const char *name)
{
    struct event event = encode();
    assert_jansson_agrees(&event);
    const char *path = arena_printf(arena, EXPECTED, name);
    if (getenv("UPDATE_EXPECTED"))
        write_expected(path, &event);
    struct buf expected = read_file(path);
    assert_true(expected.len > 0 && expected.data[expected.len - 1] == '\n');
    expected.data[expected.len - 1] = '\0';
    assert_string_equal(event.bytes, expected.data);
    buf_fini(&expected);
    return event;
}

static const struct share shares[] = {
    {"gpu-01", {4, 64}},
    {"gpu-02", {0, 16}},
};

static struct booking_view booked(void)
{
    return (struct booking_view){.id = 4268035,
                                 .version = 1,
                                 .client = "batch-1",
                                 .user = "alice",
                                 .state = BOOKING_BOOKED,
                                 .start_ms = START_MS,
                                 .end_ms = START_MS + 2 * HOUR_MS,
                                 .share_count = 2,
                                 .shares = shares};
}

/* The same booking one version before. */
static struct booking_view before(const struct booking_view *booking)
{
    struct booking_view previous = booked();
    previous.version = booking->version - 1;
    return previous;
}

static void accept_booking(const struct booking_view *booking)
{
    decision.booking = booking;
    decision.subject_kind = SUBJECT_BOOKING;
    decision.subject_booking = booking->id;
}

static void accept_machine(const struct machine_view *machine)
{
    decision.machine = machine;
    decision.subject_kind = SUBJECT_MACHINE;
    decision.subject_machine = machine->name;
}

static void reject(enum reason reason, const char *detail)
{
    decision.reason = reason;
    decision.detail = detail;
}

static void reject_unverified(enum reason reason, const char *detail)
{
    reject(reason, detail);
    decision.verified = false;
    input.claims = NULL;
}

/* --- accepted --- */

static void test_booking_create(void **state)
{
    (void)state;
    const struct booking_view booking = booked();
    accept_booking(&booking);
    struct event event = assert_encoded("accepted-booking.create");
    assert_string_equal(event.id, "3-1042");
    assert_string_equal(event.subject, "booking/4268035");
    assert_string_equal(event.type, EVENT_TYPE_ACCEPTED);
    struct event again = encode();
    assert_string_equal(event.bytes, again.bytes);
}

/* A whole second: `time` has no milliseconds. The request is an admin's, the booking batch-1's. */
static void test_booking_amend(void **state)
{
    (void)state;
    struct booking_view booking = booked();
    booking.version = 2;
    booking.user = "Zoë \"the queue\" O\\Neill";
    booking.share_count = 0;
    const struct booking_view previous = before(&booking);
    accept_booking(&booking);
    decision.previous = &previous;
    credential.client = "ops";
    claims.type = REQUEST_BOOKING_AMEND;
    claims.user = "山田 太郎";
    input.now_ms = NOW_MS - NOW_MS % 1000;
    input.part = 0;
    input.seq = INT64_C(2251799813685247);
    input.log_offset = INT64_MAX;
    assert_encoded("accepted-booking.amend");
}

/* A begun booking keeps its past: the event says from when on the change counts. */
static void test_amend_of_running_booking(void **state)
{
    (void)state;
    struct booking_view booking = booked();
    booking.version = 2;
    booking.start_ms = NOW_MS - NOW_MS % 1000 - HOUR_MS;
    booking.share_count = 1;
    struct booking_view previous = before(&booking);
    previous.start_ms = booking.start_ms;
    accept_booking(&booking);
    decision.previous = &previous;
    decision.effective_ms = time_ceil_s(NOW_MS);
    claims.type = REQUEST_BOOKING_AMEND;
    assert_encoded("accepted-booking.amend-running");
}

static void test_booking_cancel(void **state)
{
    (void)state;
    struct booking_view booking = booked();
    booking.version = 3;
    booking.state = BOOKING_CANCELLED;
    booking.share_count = 0;
    const struct booking_view previous = before(&booking);
    accept_booking(&booking);
    decision.previous = &previous;
    claims.type = REQUEST_BOOKING_CANCEL;
    assert_encoded("accepted-booking.cancel-before");
    booking.state = BOOKING_RELEASED;
    booking.end_ms = START_MS + 61000;
    booking.share_count = 2;
    input.now_ms = START_MS + 60123;
    decision.effective_ms = booking.end_ms;
    assert_encoded("accepted-booking.cancel-running");
}

static const struct label labels[] = {
    {"gpu", "h100"},
    {"note", "tab\\ \"quotes\" / größe 😀"},
    {"topology.example/zone", ""},
};

static struct machine_view registered(void)
{
    return (struct machine_view){.id = 4268035,
                                 .version = 1,
                                 .name = "gpu-01",
                                 .capacity = {8, 512},
                                 .labels = {3, labels},
                                 .state = MACHINE_UP};
}

static void test_machine_register(void **state)
{
    (void)state;
    const struct machine_view machine = registered();
    accept_machine(&machine);
    claims.type = REQUEST_MACHINE_REGISTER;
    struct event event = assert_encoded("accepted-machine.register");
    assert_string_equal(event.subject, "machine/gpu-01");
}

static void test_machine_update_displacing(void **state)
{
    (void)state;
    const struct booking_view running = {
        4096,     2, 4096,  "batch-1", "alice", BOOKING_BOOKED, NOW_MS - 123 - HOUR_MS,
        START_MS, 1, shares};
    const struct booking_view later = booked();
    struct displaced displaced[] = {{running, &running}, {later, &later}};
    displaced[0].booking.version++;
    displaced[0].booking.state = BOOKING_RELEASED;
    displaced[0].booking.end_ms = NOW_MS + 877;
    displaced[1].booking.client = "batch-2";
    displaced[1].booking.version++;
    displaced[1].booking.state = BOOKING_CANCELLED;
    displaced[1].booking.share_count = 0;
    struct machine_view machine = registered();
    machine.version = 9;
    machine.capacity = (struct amount){0, 0};
    machine.state = MACHINE_DRAINING;
    machine.labels.count = 0;
    accept_machine(&machine);
    decision.displaced_count = 2;
    decision.displaced = displaced;
    claims.type = REQUEST_MACHINE_UPDATE;
    assert_encoded("accepted-machine.update-displacing");
}

/* --- series --- */

#define DAY_MS INT64_C(86400000)

static struct occurrence occurrence_of(int64_t index, const struct booking_view *booking)
{
    return (struct occurrence){
        .window = {booking->start_ms + index * DAY_MS, booking->end_ms + index * DAY_MS},
        .booking = booking->id + (index << 44),
        .version = booking->version,
        .state = booking->state,
        .share_count = booking->share_count,
        .shares = booking->shares};
}

static void test_series_create(void **state)
{
    (void)state;
    struct booking_view booking = booked();
    booking.series = booking.id;
    struct occurrence occurrences[4];
    for (int64_t i = 0; i < 4; i++)
        occurrences[i] = occurrence_of(i, &booking);
    accept_booking(&booking);
    decision.series = &(struct series_view){booking.id, 2, occurrences};
    assert_encoded("accepted-booking.create-series");

    /* The first occurrence was skipped but still gave the series its id. */
    occurrences[0] = (struct occurrence){.window = occurrences[0].window,
                                         .reason = REASON_INSUFFICIENT_CAPACITY,
                                         .machine = "gpu-01"};
    occurrences[2] = (struct occurrence){.window = occurrences[2].window,
                                         .reason = REASON_LIMIT_EXCEEDED};
    occurrences[3] = (struct occurrence){.window = occurrences[3].window,
                                         .reason = REASON_TOO_FAR_AHEAD};
    booking.id = occurrences[1].booking;
    booking.start_ms = occurrences[1].window.start_ms;
    booking.end_ms = occurrences[1].window.end_ms;
    accept_booking(&booking);
    decision.series = &(struct series_view){4268035, 4, occurrences};
    assert_encoded("accepted-booking.create-series-conflicts");
}

static void test_series_cancel(void **state)
{
    (void)state;
    struct booking_view booking = booked();
    booking.series = booking.id;
    booking.version = 2;
    booking.state = BOOKING_RELEASED;
    booking.end_ms = START_MS + 61000;
    struct occurrence occurrences[2] = {occurrence_of(0, &booking), occurrence_of(1, &booking)};
    occurrences[1].state = BOOKING_CANCELLED;
    occurrences[1].window.end_ms = START_MS + DAY_MS + HOUR_MS;
    occurrences[1].share_count = 0;
    struct booking_view previous[2] = {before(&booking), before(&booking)};
    previous[1].start_ms += DAY_MS;
    previous[1].end_ms = START_MS + DAY_MS + HOUR_MS;
    for (size_t i = 0; i < 2; i++)
        occurrences[i].previous = &previous[i];
    accept_booking(&booking);
    input.now_ms = booking.end_ms;
    decision.previous = &previous[0];
    decision.effective_ms = booking.end_ms;
    decision.series = &(struct series_view){booking.id, 2, occurrences};
    claims.type = REQUEST_BOOKING_CANCEL;
    assert_encoded("accepted-booking.cancel-series");
}

/* A change to a single booking of a series. */
static void test_booking_of_series(void **state)
{
    (void)state;
    struct booking_view booking = booked();
    booking.version = 2;
    booking.series = 4268035;
    booking.id += INT64_C(1) << 44;
    const struct booking_view previous = before(&booking);
    accept_booking(&booking);
    decision.previous = &previous;
    claims.type = REQUEST_BOOKING_AMEND;
    assert_encoded("accepted-booking.amend-of-series");
}

/* --- rejected --- */

static void test_insufficient_capacity(void **state)
{
    (void)state;
    reject(REASON_INSUFFICIENT_CAPACITY, "gpu-01 has 3 GPUs and 448 GiB free then, not 4 and 64.");
    decision.blocking_machine = "gpu-01";
    decision.has_free = true;
    decision.free = (struct amount){3, 448};
    decision.next_available_ms = START_MS + HOUR_MS;
    struct event event = assert_encoded("rejected-insufficient_capacity");
    assert_null(event.subject);
    assert_string_equal(event.type, EVENT_TYPE_REJECTED);
}

static void test_more_than_one_machine_asked_for(void **state)
{
    (void)state;
    static const struct share frees[] = {{"gpu-02", {8, 512}}, {"gpu-01", {3, 448}}};
    reject(REASON_INSUFFICIENT_CAPACITY, "gpu-01 has not that much.");
    decision.blocking_machine = "gpu-01";
    decision.has_free = true;
    decision.free = frees[1].amount;
    decision.free_count = 2;
    decision.frees = frees;
    assert_encoded("rejected-insufficient_capacity-machines");
}

static void test_any_that_does_not_fit(void **state)
{
    (void)state;
    reject(REASON_INSUFFICIENT_CAPACITY, "0 of the 8 machines have that much free.");
    decision.fitting = 0;
    decision.next_available_ms = START_MS + HOUR_MS;
    assert_encoded("rejected-insufficient_capacity-any");
    reject(REASON_EXCEEDS_MACHINE, "3 of the 8 machines have that much in all.");
    decision.fitting = 3;
    decision.next_available_ms = TIME_NONE;
    assert_encoded("rejected-exceeds_machine-any");
}

static void test_capacity_in_use(void **state)
{
    (void)state;
    static const int64_t in_use[] = {4096, 4268035, INT64_C(9007199254740991)};
    reject(REASON_CAPACITY_IN_USE, "Bookings use up to 8 GPUs.");
    decision.blocking_machine = "gpu-01";
    decision.in_use_count = 3;
    decision.in_use = in_use;
    decision.subject_kind = SUBJECT_MACHINE;
    decision.subject_machine = "gpu-01";
    claims.type = REQUEST_MACHINE_UPDATE;
    assert_encoded("rejected-capacity_in_use");
}

static void test_limit_exceeded(void **state)
{
    (void)state;
    reject(REASON_LIMIT_EXCEEDED, "The limit gpus_at_once of batch-1 is 16.");
    decision.limit = &(struct limit_view){"gpus_at_once", 16, 12, 8};
    assert_encoded("rejected-limit_exceeded");
}

static void test_invalid_request(void **state)
{
    (void)state;
    reject(REASON_INVALID_REQUEST, "Expected a time at /request/a~1b\"\\\n\x7f.");
    decision.pointer = "/request/a~1b\"\\\n\x7f";
    claims.id = NULL;
    claims.user = NULL;
    assert_encoded("rejected-invalid_request");
}

/* Signed by a client's key, but the payload is not JSON. */
static void test_nothing_known(void **state)
{
    (void)state;
    reject(REASON_INVALID_REQUEST, "Expected one JSON object at the token's payload.");
    decision.pointer = "";
    claims = (struct claims){.type = REQUEST_TYPE_COUNT};
    assert_encoded("rejected-invalid_request-not-json");
}

static void test_unknown_booking(void **state)
{
    (void)state;
    reject(REASON_UNKNOWN_BOOKING, "No booking has the id 77.");
    decision.subject_kind = SUBJECT_BOOKING;
    decision.subject_booking = 77;
    claims.type = REQUEST_BOOKING_CANCEL;
    struct event event = assert_encoded("rejected-unknown_booking");
    assert_string_equal(event.subject, "booking/77");
}

/* Claims and client are set, as for a bad signature, but the event repeats none of them. */
static void test_unverified(void **state)
{
    (void)state;
    reject_unverified(REASON_BAD_SIGNATURE, "The signature does not verify under the key.");
    input.claims = &claims;
    struct event event = assert_encoded("rejected-bad_signature");
    assert_null(event.subject);
    assert_null(strstr(event.bytes, "alice"));
    assert_null(strstr(event.bytes, "batch-1"));
    assert_null(strstr(event.bytes, claims.id));
    credential = (struct credential){.failure = REASON_MALFORMED};
    reject_unverified(REASON_MALFORMED, "The message has no three parts.");
    assert_encoded("rejected-malformed");
}

static void test_operator(void **state)
{
    (void)state;
    reject_unverified(REASON_REJECTED_BY_OPERATOR, "An operator had this message rejected.");
    assert_encoded("rejected-rejected_by_operator");
}

/* --- duplicates --- */

/* Encodes a duplicate of `first`, seq 1042 of partition 3. */
static struct event repeat(const struct event *first, const char *name)
{
    static struct prior prior;
    prior = (struct prior){.part = 3, .seq = 1042, .event = first->bytes, .event_len = first->len};
    decision = (struct decision){
        .verified = true, .duplicate_of = &prior, .next_available_ms = TIME_NONE, .fitting = -1};
    input.part = 5;
    input.seq = 8;
    input.log_offset = 99;
    input.now_ms = NOW_MS + 5000;
    return assert_encoded(name);
}

static void test_duplicate_of_accepted(void **state)
{
    (void)state;
    const struct booking_view booking = booked();
    accept_booking(&booking);
    struct event first = encode();
    struct event event = repeat(&first, "accepted-duplicate");
    assert_string_equal(event.subject, first.subject);
    assert_string_equal(event.type, EVENT_TYPE_ACCEPTED);
    assert_string_equal(event.id, "5-8");
}

static void test_duplicate_of_series(void **state)
{
    (void)state;
    struct booking_view booking = booked();
    booking.series = booking.id;
    struct occurrence occurrences[2] = {occurrence_of(0, &booking), occurrence_of(1, &booking)};
    occurrences[1] = (struct occurrence){.window = occurrences[1].window,
                                         .reason = REASON_INSUFFICIENT_CAPACITY,
                                         .machine = "gpu-02"};
    accept_booking(&booking);
    decision.series = &(struct series_view){booking.id, 2, occurrences};
    struct event first = encode();
    struct event event = repeat(&first, "accepted-duplicate-series");
    assert_string_equal(event.subject, first.subject);
    const char *series = strstr(first.bytes, ",\"series\":{");
    assert_non_null(series);
    assert_non_null(
        strstr(event.bytes, arena_strndup(arena, series, strlen(series) - strlen("}}"))));
}

static void test_duplicate_of_rejected(void **state)
{
    (void)state;
    reject(REASON_UNKNOWN_MACHINE, "No machine is called gpu-99.");
    decision.blocking_machine = "gpu-99";
    struct event first = encode();
    struct event event = repeat(&first, "rejected-duplicate");
    assert_null(event.subject);
    assert_string_equal(event.type, EVENT_TYPE_REJECTED);
}

/* --- limits and odd text --- */

static const char *repeated(const char *piece, size_t count)
{
    struct jsonout out;
    jsonout_init(&out, arena, count);
    for (size_t i = 0; i < count; i++)
        jsonout_raw(&out, piece, strlen(piece));
    return jsonout_finish(&out);
}

/* A booking with its text and its machines at their maximum. */
static struct booking_view largest_booking(void)
{
    struct share *all = arena_alloc(arena, LIMIT_ALLOCATIONS * sizeof(*all));
    for (int i = 0; i < LIMIT_ALLOCATIONS; i++) {
        all[i] = (struct share){arena_printf(arena, "%04d%s", i, repeated("m", LIMIT_NAME_LEN - 4)),
                                {LIMIT_GPUS, LIMIT_MEMORY_GIB}};
    }
    return (struct booking_view){.id = INT64_MAX,
                                 .version = INT64_MAX,
                                 .series = INT64_MAX,
                                 .client = repeated("c", LIMIT_NAME_LEN),
                                 .user = repeated("😀", LIMIT_USER_CHARS),
                                 .state = BOOKING_CANCELLED,
                                 .start_ms = LIMIT_TIME_S * 1000,
                                 .end_ms = LIMIT_TIME_S * 1000,
                                 .share_count = LIMIT_ALLOCATIONS,
                                 .shares = all};
}

/* Accepts an update that displaces this booking as often as an update may, with every other member
 * at its maximum; the event's `displaced`. */
static json_t *displace(const struct booking_view *booking, const struct booking_view *previous)
{
    struct displaced *displaced = arena_alloc(arena, LIMIT_DISPLACED * sizeof(*displaced));
    for (size_t i = 0; i < LIMIT_DISPLACED; i++)
        displaced[i] = (struct displaced){*booking, previous};
    struct label *many = arena_alloc(arena, LIMIT_LABELS * sizeof(*many));
    for (int i = 0; i < LIMIT_LABELS; i++) {
        many[i] = (struct label){arena_printf(arena, "%02d%s", i, repeated("k", 61)),
                                 repeated("😀", LIMIT_LABEL_VALUE_CHARS)};
    }
    struct machine_view *machine = arena_alloc(arena, sizeof(*machine));
    *machine = registered();
    machine->name = repeated("m", LIMIT_NAME_LEN);
    machine->version = INT64_MAX;
    machine->capacity = (struct amount){LIMIT_GPUS, LIMIT_MEMORY_GIB};
    machine->state = MACHINE_DRAINING;
    machine->labels = (struct labels){LIMIT_LABELS, many};
    accept_machine(machine);
    decision.displaced_count = LIMIT_DISPLACED;
    decision.displaced = displaced;
    claims.user = repeated("😀", LIMIT_USER_CHARS);
    claims.id = repeated("r", LIMIT_REQUEST_ID_LEN);
    claims.type = REQUEST_MACHINE_REGISTER;
    input.farm = repeated("f", LIMIT_FARM_NAME_LEN);
    input.part = LIMIT_PARTITIONS - 1;
    input.seq = INT64_MAX;
    input.log_offset = INT64_MAX;
    struct event event = encode();
    assert_jansson_agrees(&event);

    const struct prior prior = {
        .part = 4095, .seq = INT64_MAX, .event = event.bytes, .event_len = event.len};
    decision = (struct decision){
        .verified = true, .duplicate_of = &prior, .next_available_ms = TIME_NONE, .fitting = -1};
    struct event again = encode();
    assert_true(again.len > event.len);
    assert_jansson_agrees(&again);
    json_t *document = json_loadb(event.bytes, event.len, 0, NULL);
    json_t *list = json_incref(json_object_get(json_object_get(document, "data"), "displaced"));
    json_decref(document);
    assert_int_equal(json_array_size(list), LIMIT_DISPLACED);
    return list;
}

/* Bookings of common length are all told whole. */
static void test_many_displaced(void **state)
{
    (void)state;
    struct booking_view booking = booked();
    const struct booking_view previous = booking;
    booking.state = BOOKING_CANCELLED;
    booking.share_count = 0;
    json_t *list = displace(&booking, &previous);
    const json_t *last = json_array_get(list, LIMIT_DISPLACED - 1);
    assert_string_equal(json_string_value(json_object_get(last, "user")), "alice");
    assert_int_equal(
        json_array_size(json_object_get(json_object_get(last, "previous"), "allocations")), 2);
    json_decref(list);
}

/* The longest ones are told in short when the event gets full, none is left out. */
static void test_largest_update(void **state)
{
    (void)state;
    const struct booking_view booking = largest_booking();
    json_t *list = displace(&booking, &booking);
    size_t whole = 0;
    while (json_object_get(json_array_get(list, whole), "user"))
        whole++;
    assert_in_range(whole, 10, 30);
    for (size_t i = whole; i < LIMIT_DISPLACED; i++) {
        const json_t *item = json_array_get(list, i);
        assert_int_equal(json_object_size(item), 5);
        assert_int_equal(json_integer_value(json_object_get(item, "version")), INT64_MAX);
    }
    json_decref(list);
}

static void test_largest_booking(void **state)
{
    (void)state;
    struct booking_view booking = largest_booking();
    booking.user = repeated("\"", LIMIT_USER_CHARS);
    accept_booking(&booking);
    decision.previous = &booking;
    decision.effective_ms = booking.end_ms;
    struct event event = encode();
    assert_jansson_agrees(&event);
    assert_true(event.len < 24 * 1024);
}

/* The maximum of machines and occurrences, and then the duplicate. */
static void test_largest_series(void **state)
{
    (void)state;
    struct share *all = arena_alloc(arena, LIMIT_SERIES_SHARES * sizeof(*all));
    for (int i = 0; i < LIMIT_SERIES_SHARES; i++) {
        all[i] = (struct share){arena_printf(arena, "%04d%s", i, repeated("m", LIMIT_NAME_LEN - 4)),
                                {LIMIT_GPUS, LIMIT_MEMORY_GIB}};
    }
    struct occurrence *occurrences = arena_alloc(arena, LIMIT_OCCURRENCES * sizeof(*occurrences));
    const struct booking_view previous = largest_booking();
    size_t used = 0;
    for (size_t i = 0; i < LIMIT_OCCURRENCES; i++) {
        size_t count = LIMIT_SERIES_SHARES / LIMIT_OCCURRENCES;
        if (i < LIMIT_SERIES_SHARES % LIMIT_OCCURRENCES)
            count++;
        occurrences[i] = (struct occurrence){
            .window = {LIMIT_TIME_S * 1000 - 1000, LIMIT_TIME_S * 1000},
            .booking = INT64_MAX,
            .version = INT64_MAX,
            .state = BOOKING_CANCELLED,
            .share_count = count,
            .shares = all + used,
            .previous = &previous};
        used += count;
    }
    assert_int_equal(used, LIMIT_SERIES_SHARES);
    struct booking_view booking = booked();
    booking.series = INT64_MAX;
    booking.share_count = LIMIT_ALLOCATIONS;
    booking.shares = all;
    booking.user = repeated("\"", LIMIT_USER_CHARS);
    claims.user = booking.user;
    accept_booking(&booking);
    decision.series = &(struct series_view){INT64_MAX, LIMIT_OCCURRENCES, occurrences};
    struct event event = encode();
    assert_jansson_agrees(&event);
    assert_true(event.len > 250 * 1000);
    assert_true(event.len < LIMIT_EVENT_LEN);
    assert_non_null(strstr(event.bytes, "2047mmm"));

    const struct prior prior = {
        .part = 4095, .seq = INT64_MAX, .event = event.bytes, .event_len = event.len};
    decision = (struct decision){
        .verified = true, .duplicate_of = &prior, .next_available_ms = TIME_NONE, .fitting = -1};
    struct event again = encode();
    assert_true(again.len > event.len && again.len < LIMIT_EVENT_LEN);
    assert_jansson_agrees(&again);
}

/* Cancels a series of many running bookings, each amended to the maximum of machines: the event
 * lists machines up to a limit and stays within its size. */
static void test_amended_series(void **state)
{
    (void)state;
    struct occurrence *occurrences = arena_alloc(arena, LIMIT_OCCURRENCES * sizeof(*occurrences));
    struct booking_view booking = largest_booking();
    booking.id = booking.series = 4268035;
    booking.state = BOOKING_RELEASED;
    booking.start_ms = START_MS;
    booking.end_ms = START_MS + HOUR_MS;
    for (int64_t i = 0; i < LIMIT_OCCURRENCES; i++) {
        occurrences[i] = occurrence_of(i, &booking);
        occurrences[i].previous = &booking;
    }
    occurrences[40].share_count = 0; /* beyond the limit, but adds nothing */
    accept_booking(&booking);
    decision.previous = &booking;
    decision.series = &(struct series_view){booking.id, LIMIT_OCCURRENCES, occurrences};
    struct event event = encode();
    assert_jansson_agrees(&event);
    json_t *document = json_loadb(event.bytes, event.len, 0, NULL);
    json_t *data = json_object_get(document, "data");
    json_t *list = json_object_get(json_object_get(data, "series"), "occurrences");
    size_t told = 0;
    assert_int_equal(json_array_size(list), LIMIT_OCCURRENCES);
    for (size_t i = 0; i < LIMIT_OCCURRENCES; i++) {
        const json_t *item = json_array_get(list, i);
        bool shown = i < LIMIT_SERIES_SHARES / LIMIT_ALLOCATIONS || i == 40;
        assert_int_equal(json_object_get(item, "allocations") != NULL, shown);
        told += json_object_get(item, "previous") ? 1 : 0;
        assert_non_null(json_object_get(item, "version"));
    }
    assert_in_range(told, 10, 40);
    json_decref(document);
}

/* The cancel of a whole series that has not begun tells for each booking what it held. */
static void test_cancel_of_long_series(void **state)
{
    (void)state;
    struct occurrence *occurrences = arena_alloc(arena, LIMIT_OCCURRENCES * sizeof(*occurrences));
    const struct booking_view largest = largest_booking();
    struct booking_view booking = booked(), previous = booked();
    booking.series = booking.id;
    booking.state = BOOKING_CANCELLED;
    booking.share_count = 0;
    previous.share_count = LIMIT_SERIES_SHARES / LIMIT_OCCURRENCES;
    previous.shares = largest.shares;
    for (int64_t i = 0; i < LIMIT_OCCURRENCES; i++) {
        occurrences[i] = occurrence_of(i, &booking);
        occurrences[i].previous = &previous;
    }
    accept_booking(&booking);
    decision.previous = &previous;
    decision.series = &(struct series_view){booking.id, LIMIT_OCCURRENCES, occurrences};
    struct event event = encode();
    assert_jansson_agrees(&event);
    size_t told = 0;
    for (const char *at = event.bytes; (at = strstr(at, "\"previous\":")); at++)
        told++;
    assert_int_equal(told, LIMIT_OCCURRENCES + 1);
}

/* Every byte in a string, also invalid UTF-8: the event stays valid JSON. */
static void test_any_bytes(void **state)
{
    (void)state;
    char bytes[256 * 3];
    size_t len = 0;
    for (unsigned byte = 1; byte < 256; byte++) {
        bytes[len++] = (char)byte;
        if (byte % 3 == 0)
            bytes[len++] = 'x';
    }
    bytes[len] = '\0';
    reject(REASON_FORBIDDEN, bytes);
    struct event event = encode();
    assert_jansson_agrees(&event);
    assert_non_null(strstr(event.bytes, "\\u0001\\u0002\\u0003x"));
    assert_non_null(strstr(event.bytes, "\\b\\tx\\n\\u000B\\fx\\r"));
    assert_non_null(strstr(event.bytes, "\xEF\xBF\xBD"));
}

static void test_utf8(void **state)
{
    (void)state;
    assert_int_equal(utf8_sequence_len(""), 0);
    assert_int_equal(utf8_sequence_len("a"), 1);
    assert_int_equal(utf8_sequence_len("\x7F"), 1);
    assert_int_equal(utf8_sequence_len("\x80"), 0);
    assert_int_equal(utf8_sequence_len("\xC1\xBF"), 0); /* overlong */
    assert_int_equal(utf8_sequence_len("\xC2\x80"), 2);
    assert_int_equal(utf8_sequence_len("\xDF\xBF"), 2);
    assert_int_equal(utf8_sequence_len("\xC2"), 0);         /* cut */
    assert_int_equal(utf8_sequence_len("\xE0\x9F\xBF"), 0); /* overlong */
    assert_int_equal(utf8_sequence_len("\xE0\xA0\x80"), 3);
    assert_int_equal(utf8_sequence_len("\xED\x9F\xBF"), 3);
    assert_int_equal(utf8_sequence_len("\xED\xA0\x80"), 0); /* a surrogate */
    assert_int_equal(utf8_sequence_len("\xEE\x80\x80"), 3);
    assert_int_equal(utf8_sequence_len("\xE2\x82"), 0);
    assert_int_equal(utf8_sequence_len("\xF0\x8F\xBF\xBF"), 0); /* overlong */
    assert_int_equal(utf8_sequence_len("\xF0\x90\x80\x80"), 4);
    assert_int_equal(utf8_sequence_len("\xF4\x8F\xBF\xBF"), 4);
    assert_int_equal(utf8_sequence_len("\xF4\x90\x80\x80"), 0); /* above U+10FFFF */
    assert_int_equal(utf8_sequence_len("\xF5\x80\x80\x80"), 0);
    assert_int_equal(utf8_sequence_len("\xF0\x9F\x98"), 0);
    assert_string_equal(utf8_cleaned(arena, "a\xFF\xE2\x82z"),
                        "a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBDz");
}

static void test_numbers(void **state)
{
    (void)state;
    static const int64_t numbers[] = {0, 7, -1, 10, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        struct jsonout out;
        jsonout_init(&out, arena, 0);
        jsonout_int(&out, numbers[i]);
        assert_string_equal(jsonout_finish(&out), arena_printf(arena, "%" PRId64, numbers[i]));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, arena_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_booking_create),
        TEST(test_booking_amend),
        TEST(test_amend_of_running_booking),
        TEST(test_booking_cancel),
        TEST(test_machine_register),
        TEST(test_machine_update_displacing),
        TEST(test_series_create),
        TEST(test_series_cancel),
        TEST(test_booking_of_series),
        TEST(test_insufficient_capacity),
        TEST(test_more_than_one_machine_asked_for),
        TEST(test_any_that_does_not_fit),
        TEST(test_capacity_in_use),
        TEST(test_limit_exceeded),
        TEST(test_invalid_request),
        TEST(test_nothing_known),
        TEST(test_unknown_booking),
        TEST(test_unverified),
        TEST(test_operator),
        TEST(test_duplicate_of_accepted),
        TEST(test_duplicate_of_series),
        TEST(test_duplicate_of_rejected),
        TEST(test_many_displaced),
        TEST(test_largest_update),
        TEST(test_largest_booking),
        TEST(test_largest_series),
        TEST(test_amended_series),
        TEST(test_cancel_of_long_series),
        TEST(test_any_bytes),
        TEST(test_utf8),
        TEST(test_numbers),
    };
    return cmocka_run_group_tests_name("event", tests, NULL, NULL);
}
