/* Any payload: decoding never fails; a fault can be encoded in an event; a valid request is within
 * the limits and can be encoded as accepted. */
#include <assert.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "lib/codec/claims.h"
#include "lib/codec/event.h"
#include "lib/codec/labels.h"
#include "lib/codec/views.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_shares(const struct share *shares, size_t count)
{
    assert(count <= LIMIT_ALLOCATIONS);
    for (size_t i = 0; i < count; i++) {
        assert(name_is_valid(shares[i].machine, LIMIT_NAME_LEN, NULL));
        assert(shares[i].amount.gpus >= 0 && shares[i].amount.gpus <= LIMIT_GPUS);
        assert(shares[i].amount.memory_gib >= 0);
        assert(shares[i].amount.memory_gib <= LIMIT_MEMORY_GIB);
        assert(shares[i].amount.gpus + shares[i].amount.memory_gib > 0);
    }
}

static void check_labels(const struct labels *labels, struct arena *arena)
{
    struct labels again;
    const char *text = labels_to_json(arena, labels);
    bool read = labels_from_json(text, strlen(text), arena, &again);
    assert(read);
    assert(again.count == labels->count);
}

/* Windows are in order, none is empty, and the first is the requested one. */
static void check_windows(const struct booking_create *create)
{
    size_t machines = create->any.count > 0 ? (size_t)create->any.count : create->share_count;
    assert(create->window_count <= LIMIT_OCCURRENCES);
    assert(create->window_count * machines <= LIMIT_SERIES_SHARES);
    assert(create->window_count > 0 || !create->skip_conflicts);
    for (size_t i = 0; i < create->window_count; i++) {
        const struct window *window = &create->windows[i];
        assert(window->start_ms >= 0 && window->start_ms < window->end_ms);
        assert(window->end_ms <= LIMIT_TIME_S * 1000);
        assert(window->start_ms % 1000 == 0 && window->end_ms % 1000 == 0);
        if (i == 0) {
            assert(window->start_ms == create->start_ms);
        } else {
            assert(window->start_ms >= create->windows[i - 1].start_ms);
        }
    }
}

static void check_any(const struct any *any, struct arena *arena)
{
    assert(any->count <= LIMIT_ALLOCATIONS);
    assert(any->amount.gpus >= 0 && any->amount.gpus <= LIMIT_GPUS);
    assert(any->amount.memory_gib >= 0 && any->amount.memory_gib <= LIMIT_MEMORY_GIB);
    assert(any->amount.gpus + any->amount.memory_gib > 0);
    check_labels(&any->labels, arena);
}

/* The series of an accepted request, with every second occurrence skipped. */
static struct series_view *show_series(const struct booking_create *create, struct arena *arena)
{
    struct occurrence *occurrences = arena_alloc(arena,
                                                 create->window_count * sizeof(*occurrences));
    for (size_t i = 0; i < create->window_count; i++) {
        occurrences[i] = (struct occurrence){.window = create->windows[i]};
        if (i % 2 == 1) {
            occurrences[i].reason = REASON_INSUFFICIENT_CAPACITY;
            continue;
        }
        occurrences[i].booking = (int64_t)i + 1;
        occurrences[i].version = 1;
        occurrences[i].share_count = create->share_count;
        occurrences[i].shares = create->shares;
    }
    struct series_view *series = arena_alloc(arena, sizeof(*series));
    *series = (struct series_view){
        .id = 1, .count = create->window_count, .occurrences = occurrences};
    return series;
}

/* Fills the view of an accepted request; true for a booking's. */
static bool show(const struct request *request, struct booking_view *booking,
                 struct machine_view *machine, struct arena *arena)
{
    switch (request->type) {
    case REQUEST_MACHINE_REGISTER:
        check_labels(&request->machine_register.labels, arena);
        machine->name = request->machine_register.machine;
        machine->capacity = request->machine_register.capacity;
        machine->labels = request->machine_register.labels;
        return false;
    case REQUEST_MACHINE_UPDATE:
        check_labels(&request->machine_update.labels, arena);
        machine->name = request->machine_update.machine;
        machine->capacity = request->machine_update.capacity;
        machine->labels = request->machine_update.labels;
        machine->state = request->machine_update.state;
        return false;
    case REQUEST_BOOKING_CREATE:
        check_shares(request->booking_create.shares, request->booking_create.share_count);
        check_windows(&request->booking_create);
        if (request->booking_create.any.count > 0)
            check_any(&request->booking_create.any, arena);
        booking->start_ms = request->booking_create.start_ms;
        booking->end_ms = request->booking_create.end_ms;
        booking->shares = request->booking_create.shares;
        booking->share_count = request->booking_create.share_count;
        return true;
    case REQUEST_BOOKING_AMEND:
        check_shares(request->booking_amend.shares, request->booking_amend.share_count);
        booking->id = request->booking_amend.booking;
        booking->end_ms = request->booking_amend.end_ms;
        booking->shares = request->booking_amend.shares;
        booking->share_count = request->booking_amend.share_count;
        return true;
    case REQUEST_BOOKING_CANCEL:
        booking->id = request->booking_cancel.booking;
        return true;
    case REQUEST_TYPE_COUNT:
        break;
    }
    abort();
}

/* The event is JSON on one line, within its limit. */
static void check_event(const struct event_input *in, struct arena *arena, struct event *event)
{
    event_encode(in, arena, event);
    assert(event->len <= LIMIT_EVENT_LEN);
    assert(!memchr(event->bytes, '\n', event->len));
    json_t *document = json_loadb(event->bytes, event->len, JSON_REJECT_DUPLICATES, NULL);
    assert(json_is_object(document));
    json_decref(document);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new();
    struct claims claims;
    claims_decode((const char *)data, size, arena, &claims);
    const uint8_t sha256[32] = {0};
    const struct credential credential = {.client = "batch-1"};
    struct booking_view booking = {.id = 1, .version = 1, .client = "c", .user = claims.user};
    struct machine_view machine = {.id = 1, .version = 1};
    struct decision decision = {.verified = true, .next_available_ms = TIME_NONE, .fitting = -1};
    const struct event_input in = {.farm = "demo",
                                   .seq = 1,
                                   .message_sha256 = sha256,
                                   .credential = &credential,
                                   .claims = &claims,
                                   .decision = &decision};
    if (claims.pointer) {
        assert(claims.pointer[0] == '\0' || claims.pointer[0] == '/');
        decision.reason = REASON_INVALID_REQUEST;
        decision.pointer = claims.pointer;
        decision.detail = claims.expected;
    } else if (show(&claims.request, &booking, &machine, arena)) {
        decision.booking = &booking;
        if (claims.type != REQUEST_BOOKING_CREATE)
            decision.previous = &booking;
        if (claims.type == REQUEST_BOOKING_CREATE && claims.request.booking_create.window_count > 0)
            decision.series = show_series(&claims.request.booking_create, arena);
    } else {
        decision.machine = &machine;
        decision.subject_kind = SUBJECT_MACHINE;
        decision.subject_machine = machine.name;
    }
    struct event event;
    check_event(&in, arena, &event);

    const struct prior prior = {.part = 0, .seq = 1, .event = event.bytes, .event_len = event.len};
    decision = (struct decision){
        .verified = true, .duplicate_of = &prior, .next_available_ms = TIME_NONE, .fitting = -1};
    check_event(&in, arena, &event);
    arena_free(arena);
    return 0;
}
