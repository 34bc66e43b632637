#include "lib/codec/decoder.h"

#include <assert.h>
#include <string.h>

#include "core/limits.h"
#include "lib/base/nearest.h"
#include "lib/base/timetext.h"
#include "lib/codec/jsonout.h"
#include "lib/codec/labels.h"

/* --- faults --- */

static void put_pointer(struct jsonout *out, const struct path *at)
{
    if (!at)
        return;
    put_pointer(out, at->up);
    JSONOUT_RAW(out, "/");
    if (!at->member) {
        jsonout_int(out, (int64_t)at->index);
        return;
    }
    for (const char *c = at->member; *c != '\0'; c++) {
        if (*c == '~') {
            JSONOUT_RAW(out, "~0");
        } else if (*c == '/') {
            JSONOUT_RAW(out, "~1");
        } else {
            jsonout_raw(out, c, 1);
        }
    }
}

bool decoder_fault(struct decoder *d, const struct path *at, const char *expected)
{
    if (d->out->pointer)
        return false;
    for (const struct path *p = at; p; p = p->up) {
        if (p->member && strlen(p->member) > DECODER_ECHO_LEN)
            at = p->up;
    }
    struct jsonout pointer;
    jsonout_init(&pointer, d->arena, 2 * DECODER_ECHO_LEN);
    put_pointer(&pointer, at);
    d->out->pointer = jsonout_finish(&pointer);
    d->out->expected = expected;
    return false;
}

bool decoder_member_fault(struct decoder *d, const struct path *at, const char *member,
                          const char *expected)
{
    return decoder_fault(d, &(struct path){.up = at, .member = member}, expected);
}

bool decoder_unfit(struct decoder *d, const struct path *at, const json_t *value,
                   const char *expected)
{
    if (!value && !d->out->pointer)
        expected = arena_printf(d->arena, "%s (it is missing)", expected);
    return decoder_fault(d, at, expected);
}

/* --- values --- */

const char *decoder_text(const json_t *value)
{
    if (!json_is_string(value))
        return NULL;
    const char *text = json_string_value(value);
    return strlen(text) == json_string_length(value) ? text : NULL;
}

char *decoder_keep(struct decoder *d, const json_t *string)
{
    return arena_strndup(d->arena, json_string_value(string), json_string_length(string));
}

static bool int_within(const json_t *value, int64_t min, int64_t max)
{
    return json_is_integer(value) && json_integer_value(value) >= min &&
           json_integer_value(value) <= max;
}

bool parse_int(struct decoder *d, const struct path *at, const struct field *field,
               const json_t *value, void *target)
{
    if (!int_within(value, field->min, field->max)) {
        return decoder_unfit(d, at, value,
                             arena_printf(d->arena, "an integer from %lld to %lld",
                                          (long long)field->min, (long long)field->max));
    }
    *(int64_t *)target = json_integer_value(value);
    return true;
}

/* Seconds in JSON, milliseconds inside. */
bool parse_duration(struct decoder *d, const struct path *at, const struct field *field,
                    const json_t *value, void *target)
{
    int64_t seconds;
    if (!parse_int(d, at, field, value, &seconds))
        return false;
    *(int64_t *)target = seconds * 1000;
    return true;
}

/* 20 bytes, so only UTC: timetext_parse also takes "+01:00". */
bool parse_time(struct decoder *d, const struct path *at, const struct field *field,
                const json_t *value, void *target)
{
    (void)field;
    const char *text = decoder_text(value);
    if (!text || strlen(text) != 20 || !timetext_parse(text, 20, target)) {
        return decoder_unfit(
            d, at, value,
            "a time like 2026-12-01T02:00:00Z: UTC with Z, whole seconds, 1970 to 9999");
    }
    return true;
}

bool parse_bool(struct decoder *d, const struct path *at, const struct field *field,
                const json_t *value, void *target)
{
    (void)field;
    if (!json_is_boolean(value))
        return decoder_unfit(d, at, value, "true or false");
    *(bool *)target = json_is_true(value);
    return true;
}

bool parse_name(struct decoder *d, const struct path *at, const struct field *field,
                const json_t *value, void *target)
{
    (void)field;
    const char *text = decoder_text(value);
    if (!text || !name_is_valid(text, LIMIT_NAME_LEN, NULL))
        return decoder_unfit(d, at, value, "a name of 1 to 64 characters A-Z a-z 0-9 . _ -");
    *(const char **)target = decoder_keep(d, value);
    return true;
}

bool parse_request_id(struct decoder *d, const struct path *at, const struct field *field,
                      const json_t *value, void *target)
{
    (void)field;
    const char *text = decoder_text(value);
    if (!text || !name_is_valid(text, LIMIT_REQUEST_ID_LEN, ":")) {
        return decoder_unfit(d, at, value,
                             "a request id of 1 to 64 characters A-Z a-z 0-9 . _ : -");
    }
    *(const char **)target = decoder_keep(d, value);
    return true;
}

bool parse_user(struct decoder *d, const struct path *at, const struct field *field,
                const json_t *value, void *target)
{
    (void)field;
    const char *text = decoder_text(value);
    if (!text || text[0] == '\0' || !text_is_printable(text, LIMIT_USER_CHARS)) {
        return decoder_unfit(
            d, at, value, "the user: a string of 1 to 128 characters without control characters");
    }
    *(const char **)target = decoder_keep(d, value);
    return true;
}

bool parse_state(struct decoder *d, const struct path *at, const struct field *field,
                 const json_t *value, void *target)
{
    (void)field;
    const char *text = decoder_text(value);
    enum machine_state state = !text ? MACHINE_STATE_COUNT : machine_state_from_name(text);
    if (state == MACHINE_STATE_COUNT)
        return decoder_unfit(d, at, value, "one of up, draining, retired");
    *(enum machine_state *)target = state;
    return true;
}

bool parse_labels(struct decoder *d, const struct path *at, const struct field *field,
                  const json_t *value, void *target)
{
    (void)field;
    struct labels_fault bad = labels_from_value(value, d->arena, target);
    if (!bad.expected)
        return true;
    if (!bad.key)
        return decoder_unfit(d, at, value, bad.expected);
    return decoder_member_fault(d, at, bad.key, bad.expected);
}

/* --- objects --- */

static const struct field *find_field(const struct shape *shape, const char *name)
{
    for (size_t i = 0; i < shape->count; i++) {
        if (strcmp(shape->fields[i].name, name) == 0)
            return &shape->fields[i];
    }
    return NULL;
}

static bool unknown_field(struct decoder *d, const struct path *at, const struct shape *shape,
                          const char *name)
{
    struct nearest nearest;
    nearest_init(&nearest, name);
    struct jsonout out;
    jsonout_init(&out, d->arena, 128);
    JSONOUT_RAW(&out, "no field but ");
    for (size_t i = 0; i < shape->count; i++) {
        const char *known = shape->fields[i].name;
        if (i > 0)
            JSONOUT_RAW(&out, ", ");
        jsonout_raw(&out, known, strlen(known));
        nearest_offer(&nearest, known);
    }
    const char *best = nearest_result(&nearest);
    if (best) {
        JSONOUT_RAW(&out, " (did you mean ");
        jsonout_raw(&out, best, strlen(best));
        JSONOUT_RAW(&out, "?)");
    }
    return decoder_member_fault(d, at, name, jsonout_finish(&out));
}

bool decoder_object(struct decoder *d, const struct path *at, const struct shape *shape,
                    const json_t *value, void *object)
{
    uint32_t given = 0;
    const char *name;
    json_t *member;
    assert(json_is_object(value) && shape->count <= 32);
    json_object_foreach((json_t *)value, name, member)
    {
        if (!find_field(shape, name))
            return unknown_field(d, at, shape, name);
    }
    for (size_t i = 0; i < shape->count; i++) {
        const struct field *field = &shape->fields[i];
        if (!field->parse)
            continue;
        member = json_object_get(value, field->name);
        if (!member && field->presence == OPTIONAL)
            continue;
        struct path here = {.up = at, .member = field->name};
        if (!field->parse(d, &here, field, member, (char *)object + field->target))
            return false;
        if (field->given != 0)
            *(bool *)((char *)object + field->given) = true;
        given |= UINT32_C(1) << i;
    }
    return !shape->check || shape->check(d, at, object, given);
}
