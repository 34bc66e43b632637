/* Runs tests/unit/decide_table.txt (see there for its notation), one test for each row. Messages
 * take the worker's path: claims_decode, decide, event_encode. */
#include "core/decide.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/base/timetext.h"
#include "lib/codec/claims.h"
#include "lib/codec/event.h"
#include "lib/codec/labels.h"
#include "tests/unit/notation.h"

#define TABLE    "tests/unit/decide_table.txt"
#define MAX_ROWS 512

static struct row {
    enum reason section; /* REASON_NONE: [accepted] */
    int number;          /* line number of the rule */
    char *rule, *lines[8];
    size_t line_count;
} rows[MAX_ROWS]; /* the first sets up the farm for each row */
static size_t row_count;

/* The current row. */
static struct world *world;
static json_t *context; /* of the next message, from the lines `sender`, `token` and `operator` */
static json_t *event;   /* data, subject and outcome of the last message; NULL: no message yet */
static int64_t booking_id; /* the last message's booking */
static int64_t machine_count, seq;

/* --- members --- */

static int64_t int_of(const json_t *object, const char *name, int64_t otherwise)
{
    const json_t *value = json_object_get(object, name);
    return value ? json_integer_value(value) : otherwise;
}

static int64_t time_of(const json_t *object, const char *name, int64_t otherwise)
{
    const char *text = json_string_value(json_object_get(object, name));
    int64_t ms = otherwise;
    if (text && !timetext_parse(text, strlen(text), &ms))
        fail_msg("%s is not a time: %s", name, text);
    return ms;
}

/* Allocated in the world's arena. */
static const char *text_of(const json_t *object, const char *name, const char *otherwise)
{
    const char *text = json_string_value(json_object_get(object, name));
    return arena_strdup(world_arena(world), text ? text : otherwise);
}

static struct amount amount_of(const json_t *object)
{
    return (struct amount){int_of(object, "gpus", 0), int_of(object, "memory_gib", 0)};
}

static struct client_limits limits_of(const json_t *object)
{
    const json_t *limits = json_object_get(object, "limits");
    return (struct client_limits){.booking_s = int_of(limits, "booking_s", 0),
                                  .ahead_s = int_of(limits, "ahead_s", 0),
                                  .allocations = int_of(limits, "allocations", 0),
                                  .gpus_at_once = int_of(limits, "gpus_at_once", 0),
                                  .gpu_hours_ahead = int_of(limits, "gpu_hours_ahead", 0)};
}

/* --- existing --- */

static void put_machine(const json_t *line)
{
    struct machine row = {.id = ++machine_count,
                          .capacity = amount_of(line),
                          .state = machine_state_from_name(text_of(line, "state", "up")),
                          .version = 1};
    const json_t *labels = json_object_get(line, "labels");
    snprintf(row.name, sizeof(row.name), "%s", text_of(line, "name", ""));
    if (labels)
        assert_null(labels_from_value(labels, world_arena(world), &row.labels).expected);
    world_timeline_start(world, world_machine_put(world, &row), NOTATION_DAY_MS);
}

static void put_client(const json_t *line)
{
    struct client row = {.version = 1, .limits = limits_of(line)};
    snprintf(row.name, sizeof(row.name), "%s", text_of(line, "name", ""));
    world_client_timeline_start(world, world_client_put(world, &row), NOTATION_DAY_MS);
}

static void put_share(struct booking *booking, const json_t *share)
{
    struct client *client = world_client(world, booking->client);
    struct machine *machine = world_machine_by_name(world, text_of(share, "machine", ""));
    assert_non_null(machine);
    struct allocation row = {.machine_id = machine->id,
                             .start_ms = booking->start_ms,
                             .end_ms = booking->end_ms,
                             .amount = amount_of(share),
                             .live = booking->state != BOOKING_CANCELLED,
                             .machine_version = 1};
    world_allocation_add(world, booking, &row);
    if (row.live)
        world_timeline_add(world, machine, row.start_ms, row.end_ms, row.amount);
    if (row.live && client)
        world_client_timeline_add(world, client, row.start_ms, row.end_ms, row.amount);
}

/* `copies`: number of bookings, each with the next id and the next window. */
static void put_bookings(const json_t *line)
{
    struct booking row = {.id = int_of(line, "id", 0),
                          .series = int_of(line, "series", 0),
                          .client = text_of(line, "client", "batch-1"),
                          .user = "bob",
                          .start_ms = time_of(line, "start", 0),
                          .end_ms = time_of(line, "end", 0),
                          .state = booking_state_from_name(text_of(line, "state", "booked")),
                          .version = 1};
    int64_t length_ms = row.end_ms - row.start_ms;
    for (int64_t left = int_of(line, "copies", 1); left > 0; left--) {
        size_t index;
        const json_t *share;
        struct booking *booking = world_booking_put(world, &row);
        json_array_foreach(json_object_get(line, "allocations"), index, share)
            put_share(booking, share);
        row.id++;
        row.start_ms += length_ms;
        row.end_ms += length_ms;
    }
}

static void run_existing(const json_t *line)
{
    const char *kind = text_of(line, "kind", "");
    if (strcmp(kind, "machine") == 0) {
        put_machine(line);
    } else if (strcmp(kind, "client") == 0) {
        put_client(line);
    } else {
        assert_string_equal(kind, "booking");
        put_bookings(line);
    }
}

/* --- a message --- */

static struct credential credential_of(const json_t *sender)
{
    return (struct credential){.failure = reason_from_name(text_of(sender, "failure", "")),
                               .detail = "What authentication found.",
                               .client = text_of(sender, "client", "batch-1"),
                               .role = role_from_name(text_of(sender, "role", "submitter")),
                               .limits = limits_of(sender),
                               .revoked = json_is_true(json_object_get(sender, "revoked")),
                               .not_before_ms = time_of(sender, "not_before", 0),
                               .not_after_ms = time_of(sender, "not_after", INT64_MAX)};
}

static void decode(const struct submission *in, json_t *request, struct claims *out)
{
    const char *name;
    json_t *value;
    json_int_t now_s = in->now_ms / 1000;
    json_t *payload = json_pack(
        "{s:s, s:s, s:s, s:I, s:I, s:s, s:O}", "iss", in->credential->client, "sub", "alice", "aud",
        in->farm, "iat", now_s, "exp", now_s + 600, "jti",
        arena_printf(world_arena(world), "request-%" PRId64, in->seq), "request", request);
    json_object_foreach(json_object_get(context, "token"), name, value)
    {
        int64_t ms;
        const char *text = json_string_value(value);
        if (json_is_null(value)) {
            json_object_del(payload, name);
        } else if (text && timetext_parse(text, strlen(text), &ms)) {
            json_object_set_new(payload, name, json_integer(ms / 1000));
        } else {
            json_object_set(payload, name, value);
        }
    }
    /* The member "payload" stands for the whole payload. */
    const char *raw = json_string_value(json_object_get(payload, "payload"));
    char *bytes = raw ? strdup(raw) : json_dumps(payload, 0);
    claims_decode(bytes, strlen(bytes), world_arena(world), out);
    free(bytes);
    json_decref(payload);
}

/* Sets `event` and stores the answer for duplicates of the request id. */
static void encode(const struct submission *in, const struct decision *out)
{
    static const uint8_t no_hash[32];
    const struct event_input input = {.farm = in->farm,
                                      .part = in->part,
                                      .seq = in->seq,
                                      .now_ms = in->now_ms,
                                      .message_sha256 = no_hash,
                                      .credential = in->credential,
                                      .claims = in->claims,
                                      .decision = out};
    struct event bytes;
    event_encode(&input, world_arena(world), &bytes);
    if (out->uses_id) {
        struct prior prior = {.client = in->credential->client,
                              .request_id = in->claims->id,
                              .part = in->part,
                              .seq = in->seq,
                              .reason = out->reason,
                              .event = bytes.bytes,
                              .event_len = bytes.len};
        memcpy(prior.content_sha256, in->claims->content_sha256, sizeof(prior.content_sha256));
        world_prior_put(world, &prior);
    }
    json_t *whole = json_loadb(bytes.bytes, bytes.len, 0, NULL);
    const char *outcome = out->reason == REASON_NONE ? "accepted" : reason_name(out->reason);
    json_decref(event);
    event = json_incref(json_object_get(whole, "data"));
    json_object_set_new(event, "outcome", json_string(outcome));
    if (bytes.subject)
        json_object_set_new(event, "subject", json_string(bytes.subject));
    json_decref(whole);
}

/* Invariants of each reason: how much of the token the event repeats, and whether the request id is
 * used up. An amend's empty window is found late (core/decide.h). */
static void check_flags(const struct decision *out)
{
    enum reason reason = out->reason;
    bool verified = reason != REASON_REJECTED_BY_OPERATOR &&
                    (reason == REASON_NONE || reason > REASON_BAD_SIGNATURE);
    bool late = reason == REASON_INVALID_REQUEST && strstr(out->detail, "is not after");
    bool uses_id = verified && !out->duplicate_of &&
                   (reason == REASON_NONE || reason > REASON_REQUEST_ID_REUSED || late);
    assert_int_equal(out->verified, verified);
    assert_int_equal(out->uses_id, uses_id);
    assert_true((verified && !out->duplicate_of) || out->subject_kind == SUBJECT_NONE);
}

/* Increases with each change in the batch. */
static int64_t changes(void)
{
    int64_t sum = 0;
    for (size_t i = 0; i < world_touched_machine_count(world); i++)
        sum += 1 + world_touched_machine(world, i)->version;
    for (size_t i = 0; i < world_touched_client_count(world); i++)
        sum += 1 + world_touched_client(world, i)->version;
    for (size_t i = 0; i < world_touched_booking_count(world); i++)
        sum += 1 + world_touched_booking(world, i)->version;
    return sum;
}

static void run_message(int64_t now_ms, json_t *request)
{
    struct claims *claims = arena_alloc(world_arena(world), sizeof(*claims));
    struct credential credential = credential_of(json_object_get(context, "sender"));
    struct submission in = {.part = 3,
                            .seq = ++seq,
                            .now_ms = now_ms,
                            .farm = "test",
                            .credential = &credential,
                            .operator_rejects = json_is_true(
                                json_object_get(json_object_get(context, "operator"), "rejects"))};
    struct decision out;
    if (credential.failure == REASON_NONE) {
        decode(&in, request, claims);
        in.claims = claims;
    }
    int64_t before = changes();
    decide(world, &in, &out);
    assert_int_equal(changes() != before, out.reason == REASON_NONE && !out.duplicate_of);
    check_flags(&out);
    encode(&in, &out);
    booking_id = out.subject_booking;
    json_object_clear(context);
}

/* --- what is expected --- */

static void match(const char *name, json_t *wanted, json_t *got)
{
    size_t index;
    const char *member;
    json_t *value;
    bool good = json_is_null(wanted) ? !got : json_equal(wanted, got);
    if (json_is_object(wanted) && json_is_object(got)) {
        json_object_foreach(wanted, member, value)
            match(member, value, json_object_get(got, member));
        return;
    }
    if (json_is_array(wanted) && json_array_size(wanted) == json_array_size(got)) {
        json_array_foreach(wanted, index, value) match(name, value, json_array_get(got, index));
        return;
    }
    if (json_is_integer(wanted) && json_is_array(got))
        good = (size_t)json_integer_value(wanted) == json_array_size(got);
    if (strcmp(name, "detail") == 0 && got)
        good = strstr(json_string_value(got), json_string_value(wanted)) != NULL;
    if (!good) {
        fail_msg("%s is not %s but %s, and the event\n%s", name,
                 json_dumps(wanted, JSON_ENCODE_ANY), json_dumps(got, JSON_ENCODE_ANY),
                 json_dumps(event, JSON_INDENT(2)));
    }
}

static void run_expected(json_t *wanted)
{
    static const char *const rare[] = {"displaced", "duplicate_of"};
    for (size_t i = 0; i < 2; i++) {
        if (!json_object_get(wanted, rare[i]))
            json_object_set_new(wanted, rare[i], json_null());
    }
    match("the event", wanted, event);
}

static json_t *time_json(int64_t ms)
{
    char text[TIMETEXT_LEN];
    return json_string(timetext_format(ms, text));
}

/* Compares the allocation rows of the last message's booking. */
static json_t *rows_json(void)
{
    const struct booking *booking = world_booking(world, booking_id);
    json_t *list = json_array();
    for (size_t i = 0; booking && i < booking->allocation_count; i++) {
        const struct allocation *row = &booking->allocations[i];
        json_t *json = json_pack(
            "[{s:s, s:I, s:I}]", "machine", world_machine_by_id(world, row->machine_id)->name,
            "gpus", (json_int_t)row->amount.gpus, "memory_gib", (json_int_t)row->amount.memory_gib);
        json_array_append_new(json, time_json(row->start_ms));
        json_array_append_new(json, time_json(row->end_ms));
        if (!row->live)
            json_array_append_new(json, json_string("replaced"));
        json_array_append_new(list, json);
    }
    return list;
}

/* The database's object of this name, or NULL. */
static json_t *state_json(const char *name)
{
    const struct machine *machine = world_machine_by_name(world, name);
    const struct client *client = world_client(world, name);
    if (strcmp(name, "rows") == 0)
        return rows_json();
    if (strcmp(name, "touched_bookings") == 0)
        return json_integer((json_int_t)world_touched_booking_count(world));
    if (!machine)
        return client ? json_pack("{s:I}", "version", (json_int_t)client->version) : NULL;
    return json_pack("{s:I, s:I, s:I, s:s, s:o}", "version", (json_int_t)machine->version, "gpus",
                     (json_int_t)machine->capacity.gpus, "memory_gib",
                     (json_int_t)machine->capacity.memory_gib, "state",
                     machine_state_name(machine->state), "capacity_from",
                     time_json(machine->capacity_changed_ms));
}

static void run_after(json_t *wanted)
{
    const char *name;
    json_t *value;
    json_object_foreach(wanted, name, value)
    {
        json_t *got = state_json(name);
        match(name, value, got);
        json_decref(got);
    }
}

/* --- rows --- */

/* `answered`: the next line gives the message's expected answer; else it must be accepted. */
static void run_line(const char *line, bool answered)
{
    char name[16] = "", time[32] = "";
    int skip = 0;
    sscanf(line, "%15s %n", name, &skip);
    line += skip;
    if (strcmp(name, "at") == 0) {
        sscanf(line, "%31s%n", time, &skip);
        json_t *request = notation_read(line + skip, "type");
        run_message(notation_time(time), request);
        json_decref(request);
        if (!answered)
            assert_string_equal(text_of(event, "outcome", ""), "accepted");
        return;
    }
    json_t *said = notation_read(line, strcmp(name, "existing") == 0 ? "kind" : "outcome");
    if (strcmp(name, "existing") == 0) {
        run_existing(said);
    } else if (strcmp(name, "expected") == 0) {
        run_expected(said);
    } else if (strcmp(name, "after") == 0) {
        run_after(said);
    } else {
        json_object_set(context, name, said);
    }
    json_decref(said);
}

static void test_row(void **state)
{
    const struct row *row = *state;
    world = world_new();
    world_batch_begin(world);
    context = json_object();
    event = NULL;
    machine_count = seq = 0;
    for (size_t i = 0; i < rows[0].line_count; i++)
        run_line(rows[0].lines[i], false);
    for (size_t i = 0; i < row->line_count; i++)
        run_line(row->lines[i], i + 1 < row->line_count && strstr(row->lines[i + 1], "  expected"));
    json_decref(event);
    json_decref(context);
    world_free(world);
}

/* The reason at the end of the row. */
static enum reason row_reason(const struct row *row)
{
    char outcome[64] = "";
    for (size_t i = 0; i < row->line_count; i++)
        sscanf(row->lines[i], " expected %63s", outcome);
    return reason_from_name(outcome);
}

/* Sections follow the order of the reasons. Each has a row that ends with its reason and, except
 * for [accepted], a row that does not. */
static void test_table_is_complete(void **state)
{
    size_t i = 1;
    (void)state;
    for (int place = 1; place <= REASON_COUNT; place++) {
        size_t first = i, gives = 0;
        enum reason reason = (enum reason)(place % REASON_COUNT);
        for (; i < row_count && rows[i].section == reason; i++)
            gives += row_reason(&rows[i]) == reason ? 1 : 0;
        assert_true(gives > 0);
        assert_true(reason == REASON_NONE || gives < i - first);
    }
    assert_int_equal(i, row_count);
}

/* --- the file --- */

static void read_line(char *line, int number)
{
    static enum reason section;
    if (line[0] == '[') {
        line[strcspn(line, "]")] = '\0';
        section = reason_from_name(line + 1);
    } else if (line[0] == ' ') {
        struct row *row = &rows[row_count - 1];
        row->lines[row->line_count++] = line;
    } else if (line[0] != '#' && line[0] != '\0') {
        rows[row_count++] = (struct row){.section = section, .number = number, .rule = line};
    }
}

static void load_table(void)
{
    static char text[256 * 1024];
    FILE *file = fopen(TABLE, "rb");
    if (!file) {
        print_error("cannot open %s: run the test at the top of the checkout\n", TABLE);
        exit(1);
    }
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    fclose(file);
    int number = 1;
    for (char *line = text, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        int first = number++;
        for (; strncmp(end + 1, "            ", 12) == 0; number++) { /* a continuation line */
            *end = ' ';
            end = strchr(end, '\n');
        }
        *end = '\0';
        read_line(line, first);
    }
}

int main(void)
{
    static struct CMUnitTest tests[MAX_ROWS] = {cmocka_unit_test(test_table_is_complete)};
    static char names[MAX_ROWS][200];
    load_table();
    for (size_t i = 1; i < row_count; i++) {
        snprintf(names[i], sizeof(names[i]), TABLE ":%d: %s", rows[i].number, rows[i].rule);
        tests[i] = (struct CMUnitTest){
            .name = names[i], .test_func = test_row, .initial_state = &rows[i]};
    }
    return _cmocka_run_group_tests("decide", tests, row_count, NULL, NULL);
}
