/* The decision function: total and pure. The same world, message and now give the same decision, on
 * every machine, in a batch of one or of two thousand. The function reads no clock and does no I/O.
 *
 * The checks run in the order of core/reason.h, and the first that fails gives the reason. Each
 * check looks at all machines of the request before the next check begins. There are two
 * exceptions. An operator's rejection comes before all checks. An amend that leaves an empty window
 * is invalid_request where start_in_past is checked, because only the booking shows that the window
 * is empty. Limits are checked in the order allocations, booking_s, ahead_s, gpus_at_once,
 * gpu_hours_ahead. When decide() returns, an accepted request has changed the world and a rejected
 * request has not. */
#ifndef BERTH_CORE_DECIDE_H
#define BERTH_CORE_DECIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/request.h"
#include "core/world.h"

/* What authentication found out about a message. No clock was read for it. */
struct credential {
    /* REASON_NONE, or the first of MALFORMED, UNSUPPORTED_ALGORITHM, UNKNOWN_KEY, BAD_SIGNATURE
     * that applies. decide() checks the key's validity, because it knows now. */
    enum reason failure;
    const char *detail; /* a sentence if failure is set; it repeats nothing of the message */
    /* The owner of the key that kid names. NULL: no key is known (MALFORMED, UNKNOWN_KEY,
     * sometimes UNSUPPORTED_ALGORITHM). */
    const char *client;
    enum role role;
    /* The sender's limits for a single booking, as in its row. Counted limits are those of the
     * booking's client, and come from the world, because the lock of the client's row protects
     * them. */
    struct client_limits limits;
    bool revoked;
    int64_t not_before_ms, not_after_ms; /* the key's validity, half-open; INT64_MAX: no end */
};

/* A token's payload. A field is NULL or absent if its claim is missing or has the wrong type;
 * `pointer` then names the first such claim, unless it is iss or aud. */
struct claims {
    const char *issuer;   /* iss */
    const char *audience; /* aud */
    /* What stands there instead of a string ("a list", "missing"); NULL: a string. */
    const char *issuer_kind, *audience_kind;
    const char *user; /* sub */
    const char *id;   /* jti, only if valid */
    bool has_iat, has_exp, has_nbf;
    int64_t iat_s, exp_s, nbf_s;
    enum request_type type; /* REQUEST_TYPE_COUNT: not known */
    uint8_t content_sha256[32];
    const char *pointer;  /* JSON pointer of the first fault; NULL: none */
    const char *expected; /* what was expected there, a phrase; if pointer is "", the payload could
                               not be read, and nothing else is set */
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
    bool operator_rejects;       /* an operator had this offset rejected: nothing else is checked */
};

enum subject_kind { SUBJECT_NONE, SUBJECT_BOOKING, SUBJECT_MACHINE };

/* A booking as the event shows it: a snapshot in the batch's arena. `shares` are its live rows that
 * last until its end, by machine id, so that the order does not depend on the batch. A cancelled
 * booking has none. */
struct booking_view {
    int64_t id, version;
    int64_t series; /* 0: not recurring */
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
/* The views of a booking, without its shares, and of a machine. Strings and labels are borrowed. */
static inline struct booking_view booking_view_of(const struct booking *booking)
{
    return (struct booking_view){
        .id = booking->id,
        .version = booking->version,
        .series = booking->series,
        .client = booking->client,
        .user = booking->user,
        .state = booking->state,
        .start_ms = booking->start_ms,
        .end_ms = booking->end_ms,
    };
}
static inline struct machine_view machine_view_of(const struct machine *machine)
{
    return (struct machine_view){
        .id = machine->id,
        .version = machine->version,
        .name = machine->name,
        .capacity = machine->capacity,
        .labels = machine->labels,
        .state = machine->state,
    };
}

/* A booking that the update of a machine ended. */
struct displaced {
    struct booking_view booking;         /* after the decision */
    const struct booking_view *previous; /* before it */
};

/* An occurrence of a recurring booking: booked, left out, or cancelled with its series. */
struct occurrence {
    struct window window; /* of a cancelled occurrence: as it is after the cancel */
    int64_t booking;      /* its id; 0: left out */
    int64_t version;
    enum booking_state state;
    enum reason reason; /* why it was left out: insufficient_capacity, start_in_past, too_far_ahead,
                          * too_long or limit_exceeded */
    const char *machine; /* the machine that the reason is about, or NULL */
    /* What the occurrence holds, by machine id: the same for all occurrences unless the request
     * said `any`; none if it was cancelled before it began. */
    size_t share_count;
    const struct share *shares;
    const struct booking_view *previous; /* cancelled: the booking before; else NULL */
};
/* booking.create: all windows of the request, in their order. booking.cancel: the occurrences that
 * were cancelled or released, by ascending id. A series has the id of its first occurrence, also if
 * that occurrence was left out. */
struct series_view {
    int64_t id;
    size_t count;
    const struct occurrence *occurrences;
};
/* The limit that a request would exceed: used + asked > limit. Hours are rounded up. */
struct limit_view {
    const char *name; /* as in client_limits: "gpus_at_once" */
    int64_t limit;
    int64_t used;  /* by other bookings; 0 for a limit of one booking */
    int64_t asked; /* by this request */
};

struct decision {
    enum reason reason; /* REASON_NONE: accepted */
    bool verified;      /* the signature verified: the event may repeat the token's claims */
    bool uses_id;       /* this decision uses up (client, request id) */
    const struct prior *duplicate_of; /* the first answer, if this decision repeats it; else NULL */
    enum subject_kind subject_kind;
    int64_t subject_booking;     /* SUBJECT_BOOKING */
    const char *subject_machine; /* SUBJECT_MACHINE */
    /* Accepted, and not a duplicate: the subject after the decision. */
    const struct booking_view *booking;
    const struct machine_view *machine;
    /* An amend or cancel: `booking` before the decision; else NULL. */
    const struct booking_view *previous;
    /* An amend or cancel of a begun booking: until this instant it holds what `previous` says, from
     * then on what `booking` says. 0: the booking had not begun, and is replaced as a whole. */
    int64_t effective_ms;
    /* A recurring booking: `booking` is the first occurrence that was booked or cancelled. */
    const struct series_view *series;
    size_t displaced_count;
    const struct displaced *displaced;
    /* rejected */
    const char *detail;           /* a sentence for a person; never NULL when rejected */
    const char *pointer;          /* invalid_request: the place of the fault; else NULL */
    const char *blocking_machine; /* the machine that the reason is about, or NULL */
    /* insufficient_capacity of named machines: the minimum that is free in the window, for each
     * component, on the blocking machine and on each machine of the request, in its order. */
    bool has_free;
    struct amount free;
    size_t free_count;
    const struct share *frees;
    /* `any`: the number of machines that have room (insufficient_capacity) or are large enough
     * (exceeds_machine); -1: not an `any` request. */
    int64_t fitting;
    /* insufficient_capacity: the earliest start, not before the window's, at which a window of this
     * length fits on all machines of the request at once (`any`: on the wanted number of matching
     * machines). For a recurring booking: the next start of the occurrence that failed. TIME_NONE:
     * no start is near enough, the booking has begun, one of its machines is not up, or the search
     * ran out of LIMIT_SEARCH_STEPS; the sentence says which. */
    int64_t next_available_ms;
    /* capacity_in_use: the first LIMIT_LISTED_BOOKINGS of those that displace would end. */
    size_t in_use_count;
    const int64_t *in_use;
    const struct limit_view *limit; /* limit_exceeded */
};

/* Decides. Strings and snapshots in *out live in the world's arena until world_batch_end. Before
 * the call, this batch must have put into the world all that the request names:
 *  - its machines, with timelines known from now cut to the second; for `any` all machines that are
 *    up and carry the labels;
 *  - its booking, or the bookings of its series, and all machines of these bookings;
 *  - for an update that shrinks or retires a machine, the booked bookings on that machine from now
 *    on, and all machines of these bookings;
 *  - of the sender and the clients of these bookings, those with counted limits;
 *  - the prior answer to its request id.
 * What the world does not hold does not exist for the decision. */
void decide(struct world *world, const struct submission *in, struct decision *out);

struct preview {
    struct decision decision; /* without booking */
    size_t share_count;       /* REASON_NONE: what the booking would hold */
    const struct share *shares;
};

/* What decide() would answer to this booking.create of a client without limits; changes nothing. A
 * rejection has its reason, its detail, what is free and the next start. Strings and shares live in
 * the world's arena. Not for recurring bookings (asserted). */
void decide_preview(struct world *world, const struct booking_create *create, int64_t now_ms,
                    struct preview *out);

/* now cut to the second, and rounded up to it. */
int64_t time_floor_s(int64_t ms);
int64_t time_ceil_s(int64_t ms);

#endif
