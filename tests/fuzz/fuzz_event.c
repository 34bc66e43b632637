/* Any bytes on the event topic: reading succeeds or returns an error, and every value read is
 * within its bounds. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "core/limits.h"
#include "lib/codec/event_concern.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_name(void *arg, const char *name)
{
    (void)arg;
    assert(name);
}

static void check_id(void *arg, int64_t booking)
{
    (void)arg;
    assert(booking > 0);
}

static void check(const struct event_view *event)
{
    int32_t part;
    int64_t seq;
    assert(event->part >= 0 && event->part < LIMIT_PARTITIONS && event->seq > 0);
    assert(event_id_parse(event->id, strlen(event->id), &part, &seq));
    assert(part == event->part && seq == event->seq && part == event->request.part);
    assert(event->type && event->time_ms >= 0 && event->request.offset >= 0);
    event_each_client(event, check_name, NULL);
    event_each_machine(event, check_name, NULL);
    event_each_untold(event, check_id, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *)data;
    struct arena *arena = arena_new();
    struct event_view event;
    struct failure f;
    if (event_read(bytes, size, arena, &event, &f) == ERR_OK) {
        check(&event);
        assert(event_peek_seq(event.id, strlen(event.id), bytes, size, event.part) <= event.seq);
    } else {
        assert(f.err == ERR_FAILED && f.text[0] != '\0');
    }
    event_peek_seq(bytes, size < 32 ? size : 32, bytes, size, 3);
    arena_free(arena);
    return 0;
}
