#include "lib/codec/views.h"

#include <assert.h>
#include <string.h>

#include "lib/base/timetext.h"
#include "lib/codec/jsonout.h"
#include "lib/codec/labels.h"

char *labels_to_json(struct arena *arena, const struct labels *labels)
{
    struct jsonout out;
    jsonout_init(&out, arena, 2 + labels->count * 64);
    jsonout_labels(&out, labels);
    return jsonout_finish(&out);
}

bool labels_from_json(const char *text, size_t len, struct arena *arena, struct labels *out)
{
    json_t *value = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    struct labels_fault bad = labels_from_value(value, arena, out);
    json_decref(value);
    return !bad.expected;
}

/* jansson gives NULL only when memory is out: the text that comes here is valid UTF-8, because the
 * codec let it in or a utf8mb4 or ascii column held it. */
static void set(json_t *object, const char *name, json_t *value)
{
    assert(value);
    int result = json_object_set_new(object, name, value);
    assert(result == 0);
}

static void set_amount(json_t *object, struct amount amount)
{
    set(object, "gpus", json_integer(amount.gpus));
    set(object, "memory_gib", json_integer(amount.memory_gib));
}

json_t *time_json(int64_t ms)
{
    char text[TIMETEXT_LEN];
    json_t *value = json_string(timetext_format(ms, text));
    assert(value);
    return value;
}

json_t *shares_json(const struct share *shares, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *item = json_object();
        set(item, "machine", json_string(shares[i].machine));
        set_amount(item, shares[i].amount);
        int result = json_array_append_new(list, item);
        assert(result == 0);
    }
    return list;
}

json_t *labels_json(const struct labels *labels)
{
    json_t *object = json_object();
    for (size_t i = 0; i < labels->count; i++)
        set(object, labels->items[i].key, json_string(labels->items[i].value));
    return object;
}

json_t *booking_view_json(const struct booking_view *booking)
{
    json_t *object = json_object();
    set(object, "id", json_integer(booking->id));
    set(object, "version", json_integer(booking->version));
    if (booking->series != 0)
        set(object, "series", json_integer(booking->series));
    set(object, "client", json_string(booking->client));
    set(object, "user", json_string(booking->user));
    set(object, "state", json_string(booking_state_name(booking->state)));
    set(object, "start", time_json(booking->start_ms));
    set(object, "end", time_json(booking->end_ms));
    set(object, "allocations", shares_json(booking->shares, booking->share_count));
    return object;
}

json_t *machine_view_json(const struct machine_view *machine)
{
    json_t *object = json_object();
    set(object, "id", json_integer(machine->id));
    set(object, "version", json_integer(machine->version));
    set(object, "name", json_string(machine->name));
    set_amount(object, machine->capacity);
    set(object, "labels", labels_json(&machine->labels));
    set(object, "state", json_string(machine_state_name(machine->state)));
    return object;
}
