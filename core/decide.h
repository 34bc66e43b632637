/* The decision function: total and pure. The same world, message and now give the same decision,
 * on every machine, in a batch of one or of two thousand. It looks at no clock and does no I/O.
 *
 * The checks run in the order of core/reason.h; the first that fails gives the reason, and a check
 * looks at all machines of the request before the next one begins. Two exceptions: an operator's
 * rejection comes before everything, and an amend that leaves its booking with an end that is not
 * after its start is invalid_request where start_in_past is checked, because that takes the booking
 * to know. An accepted request has changed the world when decide() returns; a rejected one has not.
 */
#ifndef BERTH_CORE_DECIDE_H
#define BERTH_CORE_DECIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/request.h"
#include "core/world.h"

/* What authentication found out about a message, without looking at any clock. */
struct credential {
    /* REASON_NONE, or the first of MALFORMED, UNSUPPORTED_ALGORITHM, UNKNOWN_KEY, BAD_SIGNATURE
     * that applies. The key's validity is judged by decide(), which knows now. */
    enum reason failure;
    const char *detail; /* a sentence, when failure is set; says nothing that the sender wrote */
    /* The key named by kid; client is NULL for MALFORMED, UNSUPPORTED_ALGORITHM (when the key is
     * not known) and UNKNOWN_KEY. */
    const char *client;
    enum role role;
    /* The client's limits, as its row says; of the counted ones the world's client is asked. */
    struct client_limits limits;
    bool revoked;
    int64_t not_before_ms, not_after_ms; /* the key's validity, half-open; INT64_MAX: no end */
};

/* A token's payload. Each field is what the claim said, or NULL/absent where it was missing or not
 * of its type; `pointer` then names the first fault, unless it is iss or aud. */
struct claims {
    const char *issuer;   /* iss */
    const char *audience; /* aud */
    const char *user;     /* sub */
    const char *id;       /* jti, only if valid */
    bool has_iat, has_exp, has_nbf;
    int64_t iat_s, exp_s, nbf_s;
    enum request_type type; /* REQUEST_TYPE_COUNT: not known */
    uint8_t content_sha256[32];
    const char *pointer;    /* JSON pointer of what does not fit the schema; NULL: all is well */
    const char *expected;   /* what was expected there, a phrase */
    struct request request; /* only if pointer is NULL */
};

/* The message to decide. */
struct submission {
    int32_t part;
    int64_t seq;    /* the decision's number in its partition; gives new ids */
    int64_t now_ms; /* max(partition clock, append time) */
    const char *farm;
    const struct credential *credential;
    const struct claims *claims; /* NULL when the credential failed */
    bool operator_rejects; /* an operator had this offset rejected: nothing else is looked at */
};

enum subject_kind { SUBJECT_NONE, SUBJECT_BOOKING, SUBJECT_MACHINE };

/* A booking as the event shows it: a snapshot in the batch's arena. `shares` are what it holds:
 * its live rows that last until its end, in the order of its rows (by machine id, so that the order
 * does not depend on the batch); none when cancelled. */
struct booking_view {
    int64_t id, version;
    const char *client, *user;
    enum booking_state state;
    int64_t start_ms, end_ms;
    size_t share_count;
    const struct share *shares;
};
struct machine_view {
    int64_t id, version;
    const char *name;
    struct amount capacity;
    struct labels labels;
    enum machine_state state;
};
struct displaced {
    int64_t id, version;
    const char *client;
    enum booking_state state;
    int64_t end_ms;
};

/* An occurrence of a recurring booking, booked or left out. */
struct occurrence {
    struct window window;
    int64_t booking;      /* its id; 0: left out */
    enum reason reason;   /* why it was left out */
    const char *machine;  /* that was in the way, or NULL */
};
struct series_view {
    int64_t id;
    size_t count; /* of the windows asked for */
    const struct occurrence *occurrences;
};
/* What is free on one machine that a rejected request asked for. */
struct machine_free {
    const char *machine;
    struct amount free;
};
/* The limit that a request would exceed. */
struct limit_view {
    const char *name; /* as in client_limits: "gpus_at_once" */
    int64_t limit, used, asked;
};

struct decision {
    enum reason reason; /* REASON_NONE: accepted */
    bool verified;      /* the signature verified: what the token said may be repeated */
    bool uses_id;       /* this decision uses up (client, request id) */
    const struct prior *duplicate_of; /* NULL, or the first answer that this one repeats */
    enum subject_kind subject_kind;
    int64_t subject_booking;     /* SUBJECT_BOOKING */
    const char *subject_machine; /* SUBJECT_MACHINE */
    /* accepted, and not a duplicate: the subject afterwards */
    const struct booking_view *booking;
    const struct machine_view *machine;
    const struct series_view *series; /* recurring: `booking` is then its first occurrence */
    size_t displaced_count;
    const struct displaced *displaced;
    /* rejected */
    const char *detail;           /* a sentence for a person; never NULL when rejected */
    const char *pointer;          /* invalid_request: where; else NULL */
    const char *blocking_machine; /* the machine that the reason is about, or NULL */
    bool has_free;
    struct amount free; /* the least that is free on it over the window, component by component */
    /* The earliest start at which this window's length fits on it, or TIME_NONE: none is near
     * enough, or the booking has begun and its start cannot move. */
    size_t free_count; /* insufficient_capacity of several machines: each one's, in their order */
    const struct machine_free *frees;
    int64_t fitting; /* any: how many machines would have fitted; -1: not asked */
    size_t in_use_count; /* capacity_in_use: the first LIMIT_LISTED_BOOKINGS in the way */
    const int64_t *in_use;
    const struct limit_view *limit; /* limit_exceeded */
    int64_t next_available_ms;
};

/* Decides. Strings and snapshots in *out live in the world's arena until world_batch_end. The
 * world must hold what the request names: its machines (with timelines known from now cut to the
 * second), its booking and that booking's machines, for a displacing update the bookings on the
 * machine, and the prior answer to its id. What it does not hold does not exist. */
void decide(struct world *world, const struct submission *in, struct decision *out);

/* now cut to the second, and rounded up to it. */
int64_t time_floor_s(int64_t ms);
int64_t time_ceil_s(int64_t ms);

#endif
