#include "schemas/claims.h"

#include <assert.h>
#include <jansson.h>
#include <stdbool.h>
#include <string.h>

#include "core/limits.h"
#include "lib/jws.h"
#include "lib/nearest.h"
#include "lib/timetext.h"
#include "schemas/canonical.h"
#include "schemas/jsonout.h"
#include "schemas/labels.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Where in the payload the decoder is: the members and indexes from the top to here, linked from
 * the inside out on the C stack. Text is made of it only when a fault is found. */
struct path {
    const struct path *up; /* NULL: the payload itself */
    const char *member;    /* NULL: an array's item */
    size_t index;
};

struct decoder {
    struct arena *arena;
    struct claims *out;
};

/* One member of an object: a row of a table that says all that the codec knows about it. */
struct field;
typedef bool parse_fn(struct decoder *d, const struct path *at, const struct field *field,
                      const json_t *value, void *target);
enum presence { OPTIONAL, REQUIRED };
struct field {
    const char *name;
    enum presence presence;
    parse_fn *parse;  /* NULL: read elsewhere */
    size_t target;    /* offset of what is set, in the object's struct */
    size_t given;     /* offset of a bool that is set with it; 0: none */
    int64_t min, max; /* parse_int, parse_duration */
};

/* One kind of object: its members, and what holds between them. */
struct shape {
    const struct field *fields;
    size_t count;
    bool (*check)(struct decoder *d, const struct path *at, void *object); /* NULL: nothing */
};

/* --- faults --- */

static void put_pointer(struct jsonout *out, const struct path *at)
{
    if (at == NULL)
        return;
    put_pointer(out, at->up);
    JSONOUT_RAW(out, "/");
    if (at->member == NULL) {
        jsonout_int(out, (int64_t)at->index);
        return;
    }
    for (const char *c = at->member; *c != '\0'; c++) {
        if (*c == '~')
            JSONOUT_RAW(out, "~0");
        else if (*c == '/')
            JSONOUT_RAW(out, "~1");
        else
            jsonout_raw(out, c, 1);
    }
}

/* Notes the first fault; later ones change nothing. Always false, so that a parser can end with it.
 * A pointer ends before a member whose name is too long to be repeated. */
static bool fault(struct decoder *d, const struct path *at, const char *expected)
{
    if (d->out->pointer != NULL)
        return false;
    for (const struct path *p = at; p != NULL; p = p->up) {
        if (p->member != NULL && strlen(p->member) > CLAIMS_ECHO_LEN)
            at = p->up;
    }
    struct jsonout pointer;
    jsonout_init(&pointer, d->arena, 2 * CLAIMS_ECHO_LEN);
    put_pointer(&pointer, at);
    d->out->pointer = jsonout_finish(&pointer);
    d->out->expected = expected;
    return false;
}

/* The value is missing (NULL) or not as expected. */
static bool unfit(struct decoder *d, const struct path *at, const json_t *value,
                  const char *expected)
{
    if (value == NULL && d->out->pointer == NULL)
        expected = arena_printf(d->arena, "%s (it is missing)", expected);
    return fault(d, at, expected);
}

/* --- values --- */

/* The string's text; NULL: not a string, or one with a NUL in it, which fits nowhere. */
static const char *text_of(const json_t *value)
{
    if (!json_is_string(value))
        return NULL;
    const char *text = json_string_value(value);
    return strlen(text) == json_string_length(value) ? text : NULL;
}

static char *keep(struct decoder *d, const json_t *string)
{
    return arena_strndup(d->arena, json_string_value(string), json_string_length(string));
}

static bool int_within(const json_t *value, int64_t min, int64_t max)
{
    return json_is_integer(value) && json_integer_value(value) >= min &&
           json_integer_value(value) <= max;
}

static bool parse_int(struct decoder *d, const struct path *at, const struct field *field,
                      const json_t *value, void *target)
{
    if (!int_within(value, field->min, field->max))
        return unfit(d, at, value,
                     arena_printf(d->arena, "an integer from %lld to %lld", (long long)field->min,
                                  (long long)field->max));
    *(int64_t *)target = json_integer_value(value);
    return true;
}

/* Seconds in JSON, milliseconds inside. */
static bool parse_duration(struct decoder *d, const struct path *at, const struct field *field,
                           const json_t *value, void *target)
{
    int64_t seconds;
    if (!parse_int(d, at, field, value, &seconds))
        return false;
    *(int64_t *)target = seconds * 1000;
    return true;
}

/* 20 bytes, so only UTC: timetext_parse also takes "+01:00". */
static bool parse_time(struct decoder *d, const struct path *at, const struct field *field,
                       const json_t *value, void *target)
{
    (void)field;
    const char *text = text_of(value);
    if (text == NULL || strlen(text) != 20 || !timetext_parse(text, 20, target))
        return unfit(d, at, value,
                     "a time like 2026-12-01T02:00:00Z: UTC with Z, whole seconds, 1970 to 9999");
    return true;
}

static bool parse_bool(struct decoder *d, const struct path *at, const struct field *field,
                       const json_t *value, void *target)
{
    (void)field;
    if (!json_is_boolean(value))
        return unfit(d, at, value, "true or false");
    *(bool *)target = json_is_true(value);
    return true;
}

static bool parse_name(struct decoder *d, const struct path *at, const struct field *field,
                       const json_t *value, void *target)
{
    (void)field;
    const char *text = text_of(value);
    if (text == NULL || !name_is_valid(text, LIMIT_NAME_LEN, NULL))
        return unfit(d, at, value, "a name of 1 to 64 characters A-Z a-z 0-9 . _ -");
    *(const char **)target = keep(d, value);
    return true;
}

static bool parse_request_id(struct decoder *d, const struct path *at, const struct field *field,
                             const json_t *value, void *target)
{
    (void)field;
    const char *text = text_of(value);
    if (text == NULL || !name_is_valid(text, LIMIT_REQUEST_ID_LEN, ":"))
        return unfit(d, at, value, "a request id of 1 to 64 characters A-Z a-z 0-9 . _ : -");
    *(const char **)target = keep(d, value);
    return true;
}

static bool parse_user(struct decoder *d, const struct path *at, const struct field *field,
                       const json_t *value, void *target)
{
    (void)field;
    const char *text = text_of(value);
    if (text == NULL || text[0] == '\0' || !text_is_printable(text, LIMIT_USER_CHARS))
        return unfit(d, at, value,
                     "the user: a string of 1 to 128 characters without control characters");
    *(const char **)target = keep(d, value);
    return true;
}

static bool parse_state(struct decoder *d, const struct path *at, const struct field *field,
                        const json_t *value, void *target)
{
    (void)field;
    const char *text = text_of(value);
    enum machine_state state = text == NULL ? MACHINE_STATE_COUNT : machine_state_from_name(text);
    if (state == MACHINE_STATE_COUNT)
        return unfit(d, at, value, "one of up, draining, retired");
    *(enum machine_state *)target = state;
    return true;
}

static bool parse_labels(struct decoder *d, const struct path *at, const struct field *field,
                         const json_t *value, void *target)
{
    (void)field;
    struct labels_fault bad = labels_from_value(value, d->arena, target);
    if (bad.expected == NULL)
        return true;
    if (bad.key == NULL)
        return unfit(d, at, value, bad.expected);
    return fault(d, &(struct path){.up = at, .member = bad.key}, bad.expected);
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
    if (best != NULL) {
        JSONOUT_RAW(&out, " (did you mean ");
        jsonout_raw(&out, best, strlen(best));
        JSONOUT_RAW(&out, "?)");
    }
    return fault(d, &(struct path){.up = at, .member = name}, jsonout_finish(&out));
}

static bool decode_object(struct decoder *d, const struct path *at, const struct shape *shape,
                          json_t *value, void *object)
{
    const char *name;
    json_t *member;
    json_object_foreach(value, name, member)
    {
        if (find_field(shape, name) == NULL)
            return unknown_field(d, at, shape, name);
    }
    for (size_t i = 0; i < shape->count; i++) {
        const struct field *field = &shape->fields[i];
        if (field->parse == NULL)
            continue;
        member = json_object_get(value, field->name);
        if (member == NULL && field->presence == OPTIONAL)
            continue;
        struct path here = {.up = at, .member = field->name};
        if (!field->parse(d, &here, field, member, (char *)object + field->target))
            return false;
        if (field->given != 0)
            *(bool *)((char *)object + field->given) = true;
    }
    return shape->check == NULL || shape->check(d, at, object);
}

/* --- allocations --- */

static bool check_share(struct decoder *d, const struct path *at, void *object)
{
    const struct share *share = object;
    if (share->amount.gpus == 0 && share->amount.memory_gib == 0)
        return fault(d, at, "gpus or memory_gib above 0");
    return true;
}

#define AT(member) offsetof(struct share, member)
static const struct field share_fields[] = {
    {"machine", REQUIRED, parse_name, AT(machine), 0, 0, 0},
    {"gpus", REQUIRED, parse_int, AT(amount.gpus), 0, 0, LIMIT_GPUS},
    {"memory_gib", REQUIRED, parse_int, AT(amount.memory_gib), 0, 0, LIMIT_MEMORY_GIB},
};
#undef AT
static const struct shape share_shape = {share_fields, COUNT(share_fields), check_share};

struct share_list {
    size_t count;
    const struct share *items;
};

static bool is_named_before(const struct share *shares, size_t index)
{
    for (size_t i = 0; i < index; i++) {
        if (strcmp(shares[i].machine, shares[index].machine) == 0)
            return true;
    }
    return false;
}

/* Both booking requests keep count and items next to each other, as struct share_list does. */
#define ASSERT_SHARE_LIST(type)                                                                    \
    _Static_assert(offsetof(struct type, shares) - offsetof(struct type, share_count) ==           \
                       offsetof(struct share_list, items),                                         \
                   "a struct share_list begins at share_count")
ASSERT_SHARE_LIST(booking_create);
ASSERT_SHARE_LIST(booking_amend);

static bool parse_shares(struct decoder *d, const struct path *at, const struct field *field,
                         const json_t *value, void *target)
{
    (void)field;
    size_t count = json_array_size(value);
    if (!json_is_array(value) || count > LIMIT_ALLOCATIONS)
        return unfit(d, at, value, "a list of 0 to 64 allocations {machine, gpus, memory_gib}");
    struct share *shares = arena_alloc(d->arena, count * sizeof(*shares));
    for (size_t i = 0; i < count; i++) {
        struct path here = {.up = at, .index = i};
        json_t *item = json_array_get(value, i);
        if (!json_is_object(item))
            return fault(d, &here, "an object {machine, gpus, memory_gib}");
        if (!decode_object(d, &here, &share_shape, item, &shares[i]))
            return false;
        if (is_named_before(shares, i))
            return fault(d, &(struct path){.up = &here, .member = "machine"},
                         "a machine that no earlier allocation names");
    }
    *(struct share_list *)target = (struct share_list){count, shares};
    return true;
}

/* --- requests --- */

static bool check_update(struct decoder *d, const struct path *at, void *object)
{
    const struct machine_update *update = &((struct request *)object)->machine_update;
    if (!update->has_gpus && !update->has_memory_gib && !update->has_labels && !update->has_state)
        return fault(d, at, "at least one of gpus, memory_gib, labels, state");
    return true;
}

static bool check_create(struct decoder *d, const struct path *at, void *object)
{
    const struct booking_create *create = &((struct request *)object)->booking_create;
    if ((create->end_ms == TIME_NONE) == (create->duration_ms == TIME_NONE))
        return fault(d, at, "exactly one of end and duration_s");
    if (create->end_ms != TIME_NONE && create->end_ms <= create->start_ms)
        return fault(d, &(struct path){.up = at, .member = "end"}, "an end after the start");
    return true;
}

static bool check_amend(struct decoder *d, const struct path *at, void *object)
{
    const struct booking_amend *amend = &((struct request *)object)->booking_amend;
    if (amend->start_ms == TIME_NONE && amend->end_ms == TIME_NONE && !amend->has_shares)
        return fault(d, at, "at least one of start, end, allocations");
    if (amend->end_ms != TIME_NONE && amend->end_ms <= amend->start_ms)
        return fault(d, &(struct path){.up = at, .member = "end"}, "an end after the start");
    return true;
}

/* `type` has been read when these are used; it is here because it is a known field. The order is
 * that of docs/messages.md and the one in which faults are found. */
#define AT(member) offsetof(struct request, machine_register.member)
static const struct field register_fields[] = {
    {"type", REQUIRED, NULL, 0, 0, 0, 0},
    {"machine", REQUIRED, parse_name, AT(machine), 0, 0, 0},
    {"gpus", REQUIRED, parse_int, AT(capacity.gpus), 0, 0, LIMIT_GPUS},
    {"memory_gib", REQUIRED, parse_int, AT(capacity.memory_gib), 0, 0, LIMIT_MEMORY_GIB},
    {"labels", OPTIONAL, parse_labels, AT(labels), 0, 0, 0},
    {"id", OPTIONAL, parse_int, AT(id), 0, 1, LIMIT_CHOSEN_MACHINE_ID},
};
#undef AT
#define AT(member) offsetof(struct request, machine_update.member)
static const struct field update_fields[] = {
    {"type", REQUIRED, NULL, 0, 0, 0, 0},
    {"machine", REQUIRED, parse_name, AT(machine), 0, 0, 0},
    {"gpus", OPTIONAL, parse_int, AT(capacity.gpus), AT(has_gpus), 0, LIMIT_GPUS},
    {"memory_gib", OPTIONAL, parse_int, AT(capacity.memory_gib), AT(has_memory_gib), 0,
     LIMIT_MEMORY_GIB},
    {"labels", OPTIONAL, parse_labels, AT(labels), AT(has_labels), 0, 0},
    {"state", OPTIONAL, parse_state, AT(state), AT(has_state), 0, 0},
    {"displace", OPTIONAL, parse_bool, AT(displace), 0, 0, 0},
};
#undef AT
#define AT(member) offsetof(struct request, booking_create.member)
static const struct field create_fields[] = {
    {"type", REQUIRED, NULL, 0, 0, 0, 0},
    {"start", OPTIONAL, parse_time, AT(start_ms), 0, 0, 0},
    {"end", OPTIONAL, parse_time, AT(end_ms), 0, 0, 0},
    {"duration_s", OPTIONAL, parse_duration, AT(duration_ms), 0, 1, LIMIT_TIME_S},
    {"allocations", REQUIRED, parse_shares, AT(share_count), 0, 0, 0},
};
#undef AT
#define AT(member) offsetof(struct request, booking_amend.member)
static const struct field amend_fields[] = {
    {"type", REQUIRED, NULL, 0, 0, 0, 0},
    {"booking", REQUIRED, parse_int, AT(booking), 0, 1, CLAIMS_BOOKING_ID_MAX},
    {"start", OPTIONAL, parse_time, AT(start_ms), 0, 0, 0},
    {"end", OPTIONAL, parse_time, AT(end_ms), 0, 0, 0},
    {"allocations", OPTIONAL, parse_shares, AT(share_count), AT(has_shares), 0, 0},
};
#undef AT
#define AT(member) offsetof(struct request, booking_cancel.member)
static const struct field cancel_fields[] = {
    {"type", REQUIRED, NULL, 0, 0, 0, 0},
    {"booking", REQUIRED, parse_int, AT(booking), 0, 1, CLAIMS_BOOKING_ID_MAX},
};
#undef AT

static const struct shape request_shapes[REQUEST_TYPE_COUNT] = {
    [REQUEST_MACHINE_REGISTER] = {register_fields, COUNT(register_fields), NULL},
    [REQUEST_MACHINE_UPDATE] = {update_fields, COUNT(update_fields), check_update},
    [REQUEST_BOOKING_CREATE] = {create_fields, COUNT(create_fields), check_create},
    [REQUEST_BOOKING_AMEND] = {amend_fields, COUNT(amend_fields), check_amend},
    [REQUEST_BOOKING_CANCEL] = {cancel_fields, COUNT(cancel_fields), NULL},
};

/* What the fields hold when they are not given. */
static void set_defaults(struct request *request, enum request_type type)
{
    *request = (struct request){.type = type};
    if (type == REQUEST_BOOKING_CREATE) {
        request->booking_create.start_ms = TIME_NONE;
        request->booking_create.end_ms = TIME_NONE;
        request->booking_create.duration_ms = TIME_NONE;
    } else if (type == REQUEST_BOOKING_AMEND) {
        request->booking_amend.start_ms = TIME_NONE;
        request->booking_amend.end_ms = TIME_NONE;
    }
}

static bool unknown_type(struct decoder *d, const struct path *at, const json_t *value)
{
    struct nearest nearest;
    const char *text = text_of(value);
    nearest_init(&nearest, text != NULL ? text : "");
    for (unsigned type = 0; type < REQUEST_TYPE_COUNT; type++)
        nearest_offer(&nearest, request_type_name((enum request_type)type));
    const char *best = text != NULL ? nearest_result(&nearest) : NULL;
    const char *names = "one of machine.register, machine.update, booking.create, booking.amend, "
                        "booking.cancel";
    if (best != NULL)
        return fault(d, at, arena_printf(d->arena, "%s (did you mean %s?)", names, best));
    return unfit(d, at, value, names);
}

static void decode_request(struct decoder *d, json_t *value)
{
    const struct path at = {.member = "request"};
    if (!json_is_object(value)) {
        unfit(d, &at, value, "an object, the request");
        return;
    }
    const struct path type_at = {.up = &at, .member = "type"};
    const json_t *type = json_object_get(value, "type");
    const char *name = text_of(type);
    d->out->type = name == NULL ? REQUEST_TYPE_COUNT : request_type_from_name(name);
    if (d->out->type == REQUEST_TYPE_COUNT) {
        unknown_type(d, &type_at, type);
        return;
    }
    if (d->out->pointer != NULL)
        return; /* the first fault is known, and nobody looks at the request */
    set_defaults(&d->out->request, d->out->type);
    decode_object(d, &at, &request_shapes[d->out->type], value, &d->out->request);
}

/* --- claims --- */

#define AT(member) offsetof(struct claims, member)
static const struct field claim_fields[] = {
    {"iat", REQUIRED, parse_int, AT(iat_s), AT(has_iat), 0, LIMIT_TIME_S},
    {"exp", REQUIRED, parse_int, AT(exp_s), AT(has_exp), 0, LIMIT_TIME_S},
    {"nbf", OPTIONAL, parse_int, AT(nbf_s), AT(has_nbf), 0, LIMIT_TIME_S},
    {"jti", REQUIRED, parse_request_id, AT(id), 0, 0, 0},
    {"sub", REQUIRED, parse_user, AT(user), 0, 0, 0},
};
#undef AT

static bool is_farm_name(const char *text)
{
    size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return len > 0 && len <= LIMIT_FARM_NAME_LEN && text[len] == '\0';
}

/* Goes on after a fault, so that the decision can judge what is there. */
static void decode_claims(struct decoder *d, const json_t *payload)
{
    struct claims *out = d->out;
    const json_t *issuer = json_object_get(payload, "iss");
    if (text_of(issuer) != NULL && name_is_valid(text_of(issuer), LIMIT_NAME_LEN, NULL))
        out->issuer = keep(d, issuer);
    const json_t *audience = json_object_get(payload, "aud");
    if (text_of(audience) != NULL && is_farm_name(text_of(audience)))
        out->audience = keep(d, audience);
    for (size_t i = 0; i < COUNT(claim_fields); i++) {
        const struct field *field = &claim_fields[i];
        const json_t *value = json_object_get(payload, field->name);
        if (value == NULL && field->presence == OPTIONAL)
            continue;
        struct path here = {.member = field->name};
        bool fits = field->parse(d, &here, field, value, (char *)out + field->target);
        if (fits && field->given != 0)
            *(bool *)((char *)out + field->given) = true;
    }
}

/* SHA-256 of {"request": …, "sub": …} as they are in the payload, in their canonical form: what
 * makes two requests with one id the same request. */
static void hash_content(struct decoder *d, const json_t *payload, size_t payload_len)
{
    struct jsonout text;
    jsonout_init(&text, d->arena, payload_len);
    JSONOUT_RAW(&text, "{\"request\":");
    canonical_write(&text, json_object_get(payload, "request"));
    JSONOUT_RAW(&text, ",\"sub\":");
    canonical_write(&text, json_object_get(payload, "sub"));
    JSONOUT_RAW(&text, "}");
    sha256(text.data, text.len, d->out->content_sha256);
}

/* Whether lists and objects are nested at most CLAIMS_DEPTH_MAX deep. Only for what is JSON is the
 * answer right, and jansson, which looks next, refuses everything else. */
static bool is_shallow(const char *text, size_t len)
{
    size_t depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > CLAIMS_DEPTH_MAX)
                return false;
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return true;
}

void claims_decode(const char *payload, size_t len, struct arena *arena, struct claims *out)
{
    assert(payload != NULL || len == 0);
    *out = (struct claims){.type = REQUEST_TYPE_COUNT};
    struct decoder d = {.arena = arena, .out = out};
    if (!is_shallow(payload, len)) {
        fault(&d, NULL, "JSON that is nested at most 32 levels deep");
        return;
    }
    /* NULs are let in to be refused where they are, with a pointer. */
    json_t *root = json_loadb(payload, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    if (!json_is_object(root)) {
        fault(&d, NULL, "one JSON object (RFC 8259) without duplicate members, the claims");
        json_decref(root);
        return;
    }
    decode_claims(&d, root);
    decode_request(&d, json_object_get(root, "request"));
    if (out->pointer == NULL)
        hash_content(&d, root, len);
    json_decref(root);
    assert((out->pointer == NULL) == (out->expected == NULL));
    assert(out->pointer != NULL || out->request.type == out->type);
}
