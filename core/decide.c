/* The checks that do not depend on the request's type: key, token, schema, request id, role. The
 * request itself is decided in decide_booking.c, decide_series.c and decide_machine.c. */
#include "core/decide.h"

#include "core/decider.h"

#include <assert.h>
#include <string.h>

/* The role that a request type needs, and the function that decides it. */
static const struct {
    bool admin_only;
    bool (*decide)(struct decider *d);
} types[REQUEST_TYPE_COUNT] = {
    [REQUEST_MACHINE_REGISTER] = {true, decide_machine_register},
    [REQUEST_MACHINE_UPDATE] = {true, decide_machine_update},
    [REQUEST_BOOKING_CREATE] = {false, decide_booking_create},
    [REQUEST_BOOKING_AMEND] = {false, decide_booking_amend},
    [REQUEST_BOOKING_CANCEL] = {false, decide_booking_cancel},
};

int64_t time_floor_s(int64_t ms)
{
    int64_t rest = ms % 1000;
    return ms - rest - (rest < 0 ? 1000 : 0);
}

int64_t time_ceil_s(int64_t ms)
{
    int64_t floor = time_floor_s(ms);
    return floor == ms ? ms : floor + 1000;
}

/* Whether the message comes from a client of the farm. Until this is known, no sentence repeats
 * anything of the message. */
static bool check_signature(struct decider *d)
{
    const struct credential *credential = d->in->credential;
    enum reason failure = credential->failure;
    const char *detail = credential->detail ? credential->detail : reason_text(failure);
    if (failure != REASON_NONE && failure != REASON_BAD_SIGNATURE) {
        assert(failure == REASON_MALFORMED || failure == REASON_UNSUPPORTED_ALGORITHM ||
               failure == REASON_UNKNOWN_KEY);
        return decider_reject(d, failure, "%s", detail);
    }
    assert(credential->client);
    if (credential->revoked) {
        return decider_reject(d, REASON_KEY_REVOKED,
                              "The key was revoked. Sign with another key of the client.");
    }
    if (d->in->now_ms < credential->not_before_ms) {
        return decider_reject(d, REASON_KEY_REVOKED,
                              "The key is not valid yet: it counts from %s on.",
                              decide_time_text(credential->not_before_ms).text);
    }
    if (d->in->now_ms >= credential->not_after_ms) {
        return decider_reject(
            d, REASON_KEY_REVOKED,
            "The key is not valid any more: it ran out at %s. Register a new one.",
            decide_time_text(credential->not_after_ms).text);
    }
    if (failure != REASON_NONE)
        return decider_reject(d, failure, "%s", detail);
    return true;
}

/* A claim's seconds as a time for a sentence. Any number is allowed. */
static struct text claim_time_text(int64_t seconds)
{
    if (seconds > LIMIT_TIME_S)
        seconds = LIMIT_TIME_S + 1;
    return decide_time_text(seconds < 0 ? -1 : seconds * 1000);
}

static bool check_payload(struct decider *d)
{
    const struct claims *claims = d->in->claims;
    if (!claims->pointer || claims->pointer[0] != '\0')
        return true;
    d->out->pointer = arena_strdup(world_arena(d->world), claims->pointer);
    return decider_reject(d, REASON_INVALID_REQUEST, "The token's payload must be %s.",
                          claims->expected ? claims->expected : "one JSON object");
}

/* Rejects a token whose iss or aud is not `name`; `kind` is as in struct claims. */
static bool reject_name(struct decider *d, enum reason reason, const char *kind, const char *name)
{
    bool issuer = reason == REASON_WRONG_ISSUER;
    const char *claim = issuer ? "iss" : "aud";
    const char *whose = issuer ? "the client that owns the key" : "the name of this farm";
    if (kind) {
        return decider_reject(d, reason, "%s must be one string, %s, %s; it is %s.", claim, name,
                              whose, kind);
    }
    return decider_reject(d, reason, "%s must be %s, %s.", claim, name, whose);
}

/* Whether the token is for this farm and valid now. Times are compared in seconds, as claims have
 * them: a claim in milliseconds could overflow. */
static bool check_token(struct decider *d)
{
    const struct claims *claims = d->in->claims;
    int64_t now_s = d->floor_ms / 1000;
    if (!claims->issuer || strcmp(claims->issuer, d->in->credential->client) != 0)
        return reject_name(d, REASON_WRONG_ISSUER, claims->issuer_kind, d->in->credential->client);
    if (!claims->audience || strcmp(claims->audience, d->in->farm) != 0)
        return reject_name(d, REASON_WRONG_AUDIENCE, claims->audience_kind, d->in->farm);
    if (claims->has_exp && now_s - LIMIT_LEEWAY_S >= claims->exp_s) {
        return decider_reject(
            d, REASON_EXPIRED, "The token expired at %s and arrived at %s. Sign the request again.",
            claim_time_text(claims->exp_s).text, decide_time_text(d->in->now_ms).text);
    }
    bool early_nbf = claims->has_nbf && now_s + LIMIT_LEEWAY_S < claims->nbf_s;
    if (early_nbf || (claims->has_iat && now_s + LIMIT_LEEWAY_S < claims->iat_s)) {
        return decider_reject(
            d, REASON_NOT_YET_VALID,
            "The token counts from %s (%s) on and arrived at %s. Check the sender's clock.",
            claim_time_text(early_nbf ? claims->nbf_s : claims->iat_s).text,
            early_nbf ? "nbf" : "iat", decide_time_text(d->in->now_ms).text);
    }
    if (!claims->has_iat || !claims->has_exp)
        return true; /* check_schema rejects it */
    if (claims->exp_s <= claims->iat_s)
        return decider_reject(d, REASON_LIFETIME_TOO_LONG, "exp must be later than iat.");
    if ((uint64_t)claims->exp_s - (uint64_t)claims->iat_s > LIMIT_LIFETIME_S) {
        return decider_reject(d, REASON_LIFETIME_TOO_LONG,
                              "exp - iat is more than %d seconds. Sign shortly before sending.",
                              LIMIT_LIFETIME_S);
    }
    return true;
}

static bool check_schema(struct decider *d)
{
    const struct claims *claims = d->in->claims;
    if (claims->pointer) {
        d->out->pointer = arena_strdup(world_arena(d->world), claims->pointer);
        return decider_reject(d, REASON_INVALID_REQUEST, "Expected %s at %s.",
                              claims->expected ? claims->expected : "something else",
                              claims->pointer);
    }
    assert(claims->id);
    assert(claims->user);
    return true;
}

/* Whether the request id is new. A repeated request gets its first answer again, so false means
 * either a rejection or a duplicate. */
static bool check_id(struct decider *d)
{
    const struct claims *claims = d->in->claims;
    struct decision *out = d->out;
    const struct prior *prior = world_prior(d->world, d->in->credential->client, claims->id);
    if (!prior)
        return true;
    if (memcmp(prior->content_sha256, claims->content_sha256, sizeof(prior->content_sha256)) != 0) {
        return decider_reject(
            d, REASON_REQUEST_ID_REUSED,
            "The request id %s was used for another request or user, answered by %d-%lld. "
            "Give every request an id of its own.",
            claims->id, prior->part, (long long)prior->seq);
    }
    out->duplicate_of = prior;
    out->subject_kind = SUBJECT_NONE;
    if (prior->reason != REASON_NONE)
        decider_reject(d, prior->reason, "%s", reason_text(prior->reason));
    return false;
}

static void name_booking(struct decider *d, int64_t id)
{
    d->out->subject_kind = SUBJECT_BOOKING;
    d->out->subject_booking = id;
}

static void name_machine(struct decider *d, const char *name)
{
    d->out->subject_kind = SUBJECT_MACHINE;
    d->out->subject_machine = arena_strdup(world_arena(d->world), name);
}

/* Sets the subject to what the request names. */
static void name_subject(struct decider *d)
{
    const struct request *request = d->request;
    switch (request->type) {
    case REQUEST_MACHINE_REGISTER:
        name_machine(d, request->machine_register.machine);
        break;
    case REQUEST_MACHINE_UPDATE:
        name_machine(d, request->machine_update.machine);
        break;
    case REQUEST_BOOKING_AMEND:
        name_booking(d, request->booking_amend.booking);
        break;
    case REQUEST_BOOKING_CANCEL:
        name_booking(d, request->booking_cancel.booking);
        break;
    case REQUEST_BOOKING_CREATE: /* later, with its booking */
    case REQUEST_TYPE_COUNT:
        break;
    }
}

static bool check_role(struct decider *d)
{
    enum request_type type = d->request->type;
    if (types[type].admin_only && d->in->credential->role != ROLE_ADMIN) {
        return decider_reject(d, REASON_FORBIDDEN, "%s needs the role admin; %s has the role %s.",
                              request_type_name(type), d->in->credential->client,
                              role_name(d->in->credential->role));
    }
    return true;
}

static void run(struct decider *d)
{
    struct decision *out = d->out;
    if (d->in->operator_rejects) {
        decider_reject(d, REASON_REJECTED_BY_OPERATOR,
                       "An operator had this message rejected without looking into it.");
        return;
    }
    if (!check_signature(d))
        return;
    out->verified = true;
    assert(d->in->claims);
    if (!check_payload(d) || !check_token(d) || !check_schema(d))
        return;
    d->request = &d->in->claims->request;
    assert((unsigned)d->request->type < REQUEST_TYPE_COUNT);
    name_subject(d);
    if (!check_id(d))
        return;
    out->uses_id = true;
    if (!check_role(d))
        return;
    world_decision_begin(d->world);
    bool accepted = types[d->request->type].decide(d);
    assert(accepted == (out->reason == REASON_NONE));
    assert(!accepted || (out->booking != NULL) != (out->machine != NULL));
}

void decide(struct world *world, const struct submission *in, struct decision *out)
{
    assert(in->part >= 0 && in->part < LIMIT_PARTITIONS);
    assert(in->seq > 0 && in->seq < INT64_MAX / LIMIT_PARTITIONS - 1);
    assert(in->now_ms >= 0 && in->now_ms < TIMELINE_MS_LIMIT / 2);
    assert(in->farm);
    *out = (struct decision){.next_available_ms = TIME_NONE, .fitting = -1};
    struct decider d = {
        .world = world,
        .in = in,
        .out = out,
        .floor_ms = time_floor_s(in->now_ms),
        .ceil_ms = time_ceil_s(in->now_ms),
    };
    run(&d);
    assert((out->detail != NULL) == (out->reason != REASON_NONE));
    assert(!out->uses_id || out->verified);
}
