/* The decision function: total and pure. The same world, message and now give the same decision,
 * on every machine, in a batch of one or of two thousand. It looks at no clock and does no I/O.
 *
 * The checks run in the order of core/reason.h; the first that fails gives the reason, and a check
 * looks at all machines of the request before the next one begins. Two exceptions: an operator's
 * rejection comes before everything, and an amend that leaves its booking with an end that is not
 * after its start is invalid_request where start_in_past is checked, because that takes the booking
 * to know. Of the limits, those of one booking come before those that are counted: allocations,
 * booking_s, ahead_s, gpus_at_once, gpu_hours_ahead. An accepted request has changed the world when
 * decide() returns; a rejected one has not. */
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
    /* The client's limits, as its row says: those of one booking that this client makes or changes.
     * The counted ones are taken from the world's client, which its row's lock protects, and belong
     * to the booking's client. */
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

struct displaced {
    int64_t id, version;
    const char *client;
    enum booking_state state;
    int64_t end_ms;
};

/* An occurrence of a recurring booking: booked, left out, or cancelled with its series. */
struct occurrence {
    struct window window; /* cancelled with its series: as it is afterwards */
    int64_t booking;      /* its id; 0: left out */
    int64_t version;
    enum booking_state state;
    enum reason reason; /* why it was left out: insufficient_capacity, start_in_past, too_far_ahead,
                          * too_long or limit_exceeded */
    const char *machine; /* that was in the way, or NULL */
    /* What it holds, by machine id. The same for all unless the request said `any`; none when
     * cancelled before it began. */
    size_t share_count;
    const struct share *shares;
};
/* booking.create: all windows asked for, in their order. booking.cancel: the occurrences that it
 * cancelled or released, by ascending id. The series has the id that its first occurrence has or,
 * if that one was left out, would have. */
struct series_view {
    int64_t id;
    size_t count;
    const struct occurrence *occurrences;
};
/* What is free on one machine that a rejected request asked for. */
struct machine_free {
    const char *machine;
    struct amount free;
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
    bool verified;      /* the signature verified: what the token said may be repeated */
    bool uses_id;       /* this decision uses up (client, request id) */
    const struct prior *duplicate_of; /* NULL, or the first answer that this one repeats */
    enum subject_kind subject_kind;
    int64_t subject_booking;     /* SUBJECT_BOOKING */
    const char *subject_machine; /* SUBJECT_MACHINE */
    /* accepted, and not a duplicate: the subject afterwards */
    const struct booking_view *booking;
    const struct machine_view *machine;
    /* Recurring: `booking` is then the first one that was booked, or cancelled. */
    const struct series_view *series;
    size_t displaced_count;
    const struct displaced *displaced;
    /* rejected */
    const char *detail;           /* a sentence for a person; never NULL when rejected */
    const char *pointer;          /* invalid_request: where; else NULL */
    const char *blocking_machine; /* the machine that the reason is about, or NULL */
    /* insufficient_capacity of named machines: the least that is free over the window, component by
     * component, on the blocking machine, and on each machine asked for, in the request's order. */
    bool has_free;
    struct amount free;
    size_t free_count;
    const struct machine_free *frees;
    /* `any`: how many machines would have fitted (insufficient_capacity), or are large enough at all
     * (exceeds_machine); -1: not asked. */
    int64_t fitting;
    /* insufficient_capacity: the earliest start, from the window's on, at which its length would fit
     * on all machines asked for at once (`any`: on as many of the matching ones as were asked for);
     * of a recurring booking that of the occurrence that failed. TIME_NONE: none is near enough, the
     * booking has begun and its start cannot move, a machine that it holds is not up, or
     * LIMIT_SEARCH_STEPS did not suffice (the sentence says which). */
    int64_t next_available_ms;
    /* capacity_in_use: the first LIMIT_LISTED_BOOKINGS of those that displace would end. */
    size_t in_use_count;
    const int64_t *in_use;
    const struct limit_view *limit; /* limit_exceeded */
};

/* Decides. Strings and snapshots in *out live in the world's arena until world_batch_end. The
 * world must hold what the request names, put in this batch: its machines (with timelines known from
 * now cut to the second), for `any` all machines that are up and carry the labels; its booking or
 * its series' bookings, and all their machines; for an update that shrinks or retires a machine the
 * booked bookings on it from now on and all their machines; the clients with counted limits among
 * the sender and those bookings' clients; and the prior answer to its id. What it does not hold does
 * not exist. */
void decide(struct world *world, const struct submission *in, struct decision *out);

struct asked {
    struct decision decision; /* without booking */
    size_t share_count;       /* reason REASON_NONE: what it would hold */
    const struct share *shares;
};

/* What decide() would answer to this booking.create by a client without limits of its own; nothing
 * is changed. A rejection has its reason, detail, what is free and the next start. Strings and
 * shares live in the world's arena. Not for recurring bookings (asserted). */
void decide_ask(struct world *world, const struct booking_create *create, int64_t now_ms,
                struct asked *out);

/* now cut to the second, and rounded up to it. */
int64_t time_floor_s(int64_t ms);
int64_t time_ceil_s(int64_t ms);

#endif
