/* Any payload: decoding it never fails; what it says about a fault can be shown in an event; and a
 * request that it calls valid is within the limits and can be shown as accepted. */
#include <assert.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "schemas/claims.h"
#include "schemas/event.h"
#include "schemas/rows.h"

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

/* Fills the view that an accepted request would have; true if it is a booking's. */
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

/* The event is JSON, one line, within its limit. */
static void check_event(const struct event_input *in, struct arena *arena, struct event *event)
{
    event_encode(in, arena, event);
    assert(event->len <= LIMIT_EVENT_LEN);
    assert(memchr(event->bytes, '\n', event->len) == NULL);
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
    if (claims.pointer != NULL) {
        assert(claims.pointer[0] == '\0' || claims.pointer[0] == '/');
        decision.reason = REASON_INVALID_REQUEST;
        decision.pointer = claims.pointer;
        decision.detail = claims.expected;
    } else if (show(&claims.request, &booking, &machine, arena)) {
        decision.booking = &booking;
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
