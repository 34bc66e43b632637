/* Making a message: claims, key, signature. No network, no shared state. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <jansson.h>

#include "core/arena.h"
#include "core/limits.h"
#include "lib/base/clock.h"
#include "lib/base/mem.h"
#include "lib/base/print.h"
#include "lib/codec/claims.h"
#include "producer/libberth_internal.h"

void berth_uuid7(char out[BERTH_UUID_LEN])
{
    uint8_t b[16];
    uint64_t now_ms = (uint64_t)clock_wall_ms();
    /* getrandom(2) never returns fewer bytes than asked for up to 256. */
    if (getrandom(b, sizeof(b), 0) != (ssize_t)sizeof(b)) {
        print_line(stderr, "libberth: no random numbers: %s", strerror(errno));
        abort();
    }
    for (int i = 0; i < 6; i++)
        b[i] = (uint8_t)(now_ms >> (40 - 8 * i));
    b[6] = (uint8_t)(0x70 | (b[6] & 0x0f));
    b[8] = (uint8_t)(0x80 | (b[8] & 0x3f));
    snprintf(out, BERTH_UUID_LEN,
             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
             b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
             b[15]);
}

static enum berth_status check_identity(const struct berth_client *client, const char *user,
                                        struct berth_error *error)
{
    if (!client->farm)
        return lb_error(error, BERTH_CONFIG, "farm.name is not set: it is part of every request");
    if (!client->name) {
        return lb_error(error, BERTH_CONFIG,
                        "client.name is not set: the name under which the farm knows you");
    }
    if (!client->key) {
        return lb_error(error, BERTH_CONFIG,
                        "client.key_file is not set: the private key that signs requests");
    }
    if (!user)
        return lb_error(error, BERTH_CONFIG, "client.user is not set: whom the request is for");
    return BERTH_OK;
}

/* *body_out is a new reference. */
static enum berth_status parse_body(const char *text, json_t **body_out, struct berth_error *error)
{
    json_error_t where;
    json_t *body = json_loads(text, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &where);
    if (!body) {
        return lb_error(error, BERTH_INVALID, "not JSON: %s (line %d, column %d)", where.text,
                        where.line, where.column);
    }
    *body_out = body;
    return BERTH_OK;
}

/* The token's claims, JSON; NULL: a string is not UTF-8. Takes a reference of body. */
static char *make_claims(const struct berth_client *client, const struct berth_request *request,
                         const char *request_id, json_t *body)
{
    int64_t now_s = clock_wall_ms() / 1000;
    int64_t lifetime_s = request->lifetime_s ? request->lifetime_s : DEFAULT_LIFETIME_S;
    json_t *claims = json_pack("{s:s, s:s, s:s, s:I, s:I, s:s, s:o}", "iss", client->name, "sub",
                               request->user ? request->user : client->user, "aud", client->farm,
                               "iat", (json_int_t)now_s, "exp", (json_int_t)now_s + lifetime_s,
                               "jti", request_id, "request", body);
    char *text = claims ? json_dumps(claims, JSON_COMPACT) : NULL;
    json_decref(claims);
    return text;
}

static enum berth_status check_claims(const char *claims, struct berth_error *error)
{
    struct arena *arena = arena_new();
    struct claims decoded;
    enum berth_status status = BERTH_OK;
    claims_decode(claims, strlen(claims), arena, &decoded);
    if (decoded.pointer) {
        const char *pointer = decoded.pointer;
        status = lb_error(error, BERTH_INVALID, "the request is not valid at %s: expected %s",
                          pointer, decoded.expected ? decoded.expected : "something else");
        if (error)
            snprintf(error->pointer, sizeof(error->pointer), "%s", pointer);
    }
    arena_free(arena);
    return status;
}

static const char *text_member(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text && *text ? text : NULL;
}

/* Sets the message's key or slot (docs/messages.md). */
static void route(struct berth_message *message, const json_t *body)
{
    static const char *const ids[] = {"booking", "series"};
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        const json_t *id = json_object_get(body, ids[i]);
        if (json_is_integer(id) && json_integer_value(id) >= 0) {
            message->slot = json_integer_value(id) % LIMIT_PARTITIONS;
            return;
        }
    }
    const json_t *first = json_array_get(json_object_get(body, "allocations"), 0);
    const char *key = text_member(first, "machine");
    if (!key)
        key = text_member(body, "machine");
    message->slot = -1;
    message->key = xstrdup(key ? key : message->request_id);
}

static enum berth_status sign(const struct berth_client *client, struct berth_message *message,
                              struct berth_error *error)
{
    struct failure f;
    if (issue_token_quick(client->key, client->kid, message->claims, &message->token, &f) != ERR_OK)
        return lb_error(error, BERTH_CONFIG, "%s", f.text);
    size_t len = strlen(message->token);
    if (len > LIMIT_TOKEN_LEN) {
        return lb_error(error, BERTH_TOO_LARGE,
                        "the signed request has %zu bytes, a farm takes %d: ask for less at once",
                        len, LIMIT_TOKEN_LEN);
    }
    return BERTH_OK;
}

enum berth_status berth_message_new(const struct berth_client *client,
                                    const struct berth_request *request,
                                    struct berth_message **message_out, struct berth_error *error)
{
    json_t *body = NULL;
    const char *user = request->user ? request->user : client->user;
    enum berth_status status = check_identity(client, user, error);
    if (status == BERTH_OK)
        status = parse_body(request->request_json, &body, error);
    if (status != BERTH_OK)
        return status;

    char id[BERTH_UUID_LEN];
    if (!request->request_id)
        berth_uuid7(id);
    struct berth_message *message = xcalloc(1, sizeof(*message));
    message->request_id = xstrdup(request->request_id ? request->request_id : id);
    route(message, body);
    message->claims = make_claims(client, request, message->request_id, body);
    if (!message->claims)
        status = lb_error(error, BERTH_INVALID, "the user or the request id is not UTF-8");
    if (status == BERTH_OK && !request->unchecked)
        status = check_claims(message->claims, error);
    if (status == BERTH_OK)
        status = sign(client, message, error);
    if (status != BERTH_OK) {
        berth_message_free(message);
        return status;
    }
    *message_out = message;
    return BERTH_OK;
}

void berth_message_free(struct berth_message *message)
{
    if (!message)
        return;
    free(message->request_id);
    free(message->claims);
    free(message->token);
    free(message->key);
    free(message);
}
