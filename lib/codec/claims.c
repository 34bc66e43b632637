#include "lib/codec/claims.h"

#include <assert.h>
#include <jansson.h>
#include <stdbool.h>
#include <string.h>

#include "core/limits.h"
#include "core/request.h"
#include "core/utf8.h"
#include "lib/base/nearest.h"
#include "lib/codec/canonical.h"
#include "lib/codec/claims_request.h"
#include "lib/codec/jsonout.h"
#include "lib/token/jws.h"

/* --- requests --- */

static const struct shape *const request_shapes[REQUEST_TYPE_COUNT] = {
    [REQUEST_MACHINE_REGISTER] = &claims_machine_register,
    [REQUEST_MACHINE_UPDATE] = &claims_machine_update,
    [REQUEST_BOOKING_CREATE] = &claims_booking_create,
    [REQUEST_BOOKING_AMEND] = &claims_booking_amend,
    [REQUEST_BOOKING_CANCEL] = &claims_booking_cancel,
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
    const char *text = decoder_text(value);
    nearest_init(&nearest, text ? text : "");
    for (unsigned type = 0; type < REQUEST_TYPE_COUNT; type++)
        nearest_offer(&nearest, request_type_name((enum request_type)type));
    const char *best = text ? nearest_result(&nearest) : NULL;
#define NAME(id, name) ", " name
    const char *names = arena_printf(d->arena, "one of %s", &REQUEST_TYPE_TABLE(NAME)[2]);
#undef NAME
    if (best)
        return decoder_fault(d, at, arena_printf(d->arena, "%s (did you mean %s?)", names, best));
    return decoder_unfit(d, at, value, names);
}

static void decode_request(struct decoder *d, json_t *value)
{
    const struct path at = {.member = "request"};
    if (!json_is_object(value)) {
        decoder_unfit(d, &at, value, "an object, the request");
        return;
    }
    const struct path type_at = {.up = &at, .member = "type"};
    const json_t *type = json_object_get(value, "type");
    const char *name = decoder_text(type);
    d->out->type = !name ? REQUEST_TYPE_COUNT : request_type_from_name(name);
    if (d->out->type == REQUEST_TYPE_COUNT) {
        unknown_type(d, &type_at, type);
        return;
    }
    if (d->out->pointer)
        return; /* the first fault is known, so the request is not needed */
    set_defaults(&d->out->request, d->out->type);
    decoder_object(d, &at, request_shapes[d->out->type], value, &d->out->request);
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

/* What the value is when it is not a string; NULL: a string. */
static const char *kind_of(const json_t *value)
{
    if (!value)
        return "missing";
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "a list";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
        return "true";
    case JSON_FALSE:
        return "false";
    case JSON_NULL:
        return "null";
    case JSON_STRING:
        break;
    }
    return NULL;
}

/* Continues after a fault, so that the decision can use the valid claims. */
static void decode_claims(struct decoder *d, const json_t *payload)
{
    struct claims *out = d->out;
    const json_t *issuer = json_object_get(payload, "iss");
    if (decoder_text(issuer) && name_is_valid(decoder_text(issuer), LIMIT_NAME_LEN, NULL))
        out->issuer = decoder_keep(d, issuer);
    out->issuer_kind = kind_of(issuer);
    const json_t *audience = json_object_get(payload, "aud");
    if (decoder_text(audience) && farm_name_is_valid(decoder_text(audience)))
        out->audience = decoder_keep(d, audience);
    out->audience_kind = kind_of(audience);
    for (size_t i = 0; i < DECODER_COUNT(claim_fields); i++) {
        const struct field *field = &claim_fields[i];
        const json_t *value = json_object_get(payload, field->name);
        if (!value && field->presence == OPTIONAL)
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

/* The offset at which lists and objects are nested deeper than CLAIMS_DEPTH_MAX; len: nowhere. The
 * answer is right for JSON only; jansson refuses everything else afterwards. */
static size_t too_deep_at(const char *text, size_t len)
{
    size_t depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\') {
                i++;
            } else if (c == '"') {
                in_string = false;
            }
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > CLAIMS_DEPTH_MAX)
                return i;
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return len;
}

/* The offset of the first byte that is not part of valid UTF-8; len: there is none. */
static size_t bad_utf8_at(const char *text, size_t len, struct arena *arena)
{
    const char *copy = arena_strndup(arena, text, len); /* with a NUL behind */
    size_t i = 0;
    while (i < len) {
        size_t own = utf8_sequence_len(copy + i);
        if (own == 0 && copy[i] != '\0')
            return i;
        i += own > 0 ? own : 1;
    }
    return len;
}

/* Why jansson refused the text. `near` is behind what it could not read. */
static const char *why_refused(struct arena *arena, const char *text, size_t len,
                               const json_error_t *error)
{
    size_t bad = bad_utf8_at(text, len, arena);
    int near = error->position;
    if (len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
        return "a byte order mark precedes it";
    switch (json_error_code(error)) {
    case json_error_invalid_utf8:
        return arena_printf(arena, "the byte at offset %zu, 0x%02x, is not UTF-8", bad,
                            bad < len ? (unsigned char)text[bad] : 0U);
    case json_error_duplicate_key:
        return arena_printf(arena, "an object has two members with the name before offset %d",
                            near);
    case json_error_numeric_overflow:
        return arena_printf(arena, "the number before offset %d is too large", near);
    case json_error_null_byte_in_key:
        return arena_printf(arena, "the member's name before offset %d has a NUL in it", near);
    case json_error_premature_end_of_input:
        return arena_printf(arena, "it ends too early, at offset %zu", len);
    case json_error_end_of_input_expected:
        return arena_printf(arena, "something follows it, before offset %d", near);
    default:
        return arena_printf(arena, "it is no JSON at or before offset %d", near);
    }
}

/* Parses the payload; NULL: it is not one JSON object, and the fault is set. */
static json_t *parse_payload(struct decoder *d, const char *payload, size_t len)
{
    static const char wanted[] = "one JSON object (RFC 8259) without duplicate members";
    size_t deep = too_deep_at(payload, len);
    if (deep < len) {
        decoder_fault(d, NULL,
                      arena_printf(d->arena,
                                   "JSON that is nested at most %d levels deep; it is deeper at "
                                   "offset %zu",
                                   CLAIMS_DEPTH_MAX, deep));
        return NULL;
    }
    json_error_t error;
    /* JSON_ALLOW_NUL: a NUL is refused later, with a pointer to it. */
    json_t *root = json_loadb(payload, len,
                              JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &error);
    if (json_is_object(root))
        return root;
    const char *why = root ? kind_of(root) : why_refused(d->arena, payload, len, &error);
    const char *is = !root ? "" : "it is ";
    decoder_fault(d, NULL, arena_printf(d->arena, "%s; %s%s", wanted, is, why ? why : "a string"));
    json_decref(root);
    return NULL;
}

void claims_decode(const char *payload, size_t len, struct arena *arena, struct claims *out)
{
    assert(payload || len == 0);
    *out = (struct claims){.type = REQUEST_TYPE_COUNT};
    struct decoder d = {.arena = arena, .out = out};
    json_t *root = parse_payload(&d, payload, len);
    if (!root)
        return;
    decode_claims(&d, root);
    decode_request(&d, json_object_get(root, "request"));
    if (!out->pointer)
        hash_content(&d, root, len);
    json_decref(root);
    assert((!out->pointer) == (!out->expected));
    assert(out->pointer || out->request.type == out->type);
}
