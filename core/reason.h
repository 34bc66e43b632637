/* The reasons of a rejection: stable names, never reused, in the order in which the decision
 * function checks them, except that the operator's rejection comes before all others
 * (docs/messages.md). One table drives codec, schemas, documentation and
 * tests. */
#ifndef BERTH_CORE_REASON_H
#define BERTH_CORE_REASON_H

#define REASON_TABLE(X)                                                                            \
    X(MALFORMED, "malformed", "The message is not a compact JWS that Berth takes.")                \
    X(UNSUPPORTED_ALGORITHM, "unsupported_algorithm",                                              \
      "alg is not RS256 or ES256, or not the key's.")                                              \
    X(UNKNOWN_KEY, "unknown_key", "No key with this kid is registered.")                           \
    X(KEY_REVOKED, "key_revoked", "The key was revoked, or is outside of its validity.")           \
    X(BAD_SIGNATURE, "bad_signature", "The signature does not verify under the key.")              \
    X(WRONG_ISSUER, "wrong_issuer", "iss is not the client that owns the key.")                    \
    X(WRONG_AUDIENCE, "wrong_audience", "aud is not this farm.")                                   \
    X(EXPIRED, "expired", "The message was appended after exp.")                                   \
    X(NOT_YET_VALID, "not_yet_valid", "The message was appended before iat or nbf.")               \
    X(LIFETIME_TOO_LONG, "lifetime_too_long", "exp - iat is more than 24 hours, or not positive.") \
    X(INVALID_REQUEST, "invalid_request", "The claims or the request do not fit their schema.")    \
    X(REQUEST_ID_REUSED, "request_id_reused", "The client used this jti for another request.")     \
    X(FORBIDDEN, "forbidden", "The client's role does not allow it, or it is not the owner.")      \
    X(UNKNOWN_BOOKING, "unknown_booking", "No booking has this id.")                               \
    X(LIMIT_EXCEEDED, "limit_exceeded", "The client has used up one of its limits.")               \
    X(UNKNOWN_MACHINE, "unknown_machine", "No machine has this name.")                             \
    X(MACHINE_EXISTS, "machine_exists", "A machine with this name or id is registered already.")   \
    X(MACHINE_NOT_UP, "machine_not_up", "The machine is draining or retired.")                     \
    X(BOOKING_OVER, "booking_over", "The booking has ended, or was cancelled or released.")        \
    X(START_IN_PAST, "start_in_past",                                                              \
      "The window's start (or a running one's new end) has passed.")                               \
    X(TOO_FAR_AHEAD, "too_far_ahead", "The window starts further ahead than the farm allows.")     \
    X(TOO_LONG, "too_long", "The window is longer than the farm allows.")                          \
    X(EXCEEDS_MACHINE, "exceeds_machine", "The machine is smaller than that: it can never fit.")   \
    X(INSUFFICIENT_CAPACITY, "insufficient_capacity", "The machine has not that much free then.")  \
    X(CAPACITY_IN_USE, "capacity_in_use", "Bookings stand in the way of the update.")              \
    X(TOO_MANY_BOOKINGS, "too_many_bookings", "The update would displace too many bookings.")      \
    X(REJECTED_BY_OPERATOR, "rejected_by_operator", "An operator had this message rejected.")

enum reason {
    REASON_NONE = 0, /* accepted */
#define REASON_ENUM(id, name, text) REASON_##id,
    REASON_TABLE(REASON_ENUM)
#undef REASON_ENUM
        REASON_COUNT
};

/* The stable name, as in events ("insufficient_capacity"); NULL for REASON_NONE. */
const char *reason_name(enum reason reason);
/* One sentence on what it means, for help and documentation. */
const char *reason_text(enum reason reason);
/* The reason with this name; REASON_NONE when there is none. */
enum reason reason_from_name(const char *name);

#endif
