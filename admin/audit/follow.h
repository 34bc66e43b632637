/* What the files of berth-admin audit --follow share (docs/database.md).
 *
 * The events alone tell each machine's capacity and bookings. Events of different partitions
 * arrive in any order, so a machine that looks over-booked is only suspected at first. A suspicion
 * is judged half a second later, when everything is read that the topic held then. */
#ifndef BERTH_ADMIN_AUDIT_FOLLOW_H
#define BERTH_ADMIN_AUDIT_FOLLOW_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "admin/audit/event_fold.h"
#include "core/pool.h"
#include "core/timeline.h"

/* Which event: "3-1042". */
struct follow_event {
    int32_t part;
    int64_t seq;
    int64_t floor_ms, ceil_ms; /* its time in whole seconds */
};

/* What --follow keeps of a machine, beside the fold. */
struct follow_machine {
    struct fold_machine *base;
    bool told;                 /* that no event registered it */
    int64_t changed_ms;        /* use counts from here on: the last change of capacity */
    struct follow_event event; /* the one with that version; until registered, one that books it */
    struct timeline *use;
};

/* A booking's hold on a machine over [start, end). */
struct follow_piece {
    struct follow_machine *machine;
    int64_t start_ms, end_ms;
    struct amount amount;
};

struct follow_booking {
    struct fold_booking *base;
    int64_t start_ms;
    struct follow_event event; /* the one with that version */
    struct follow_piece *pieces;
    size_t piece_count;
};

/* A part of a machine's timeline that an event made too full, or seems to have made too full. */
struct follow_suspicion {
    struct follow_machine *machine;
    struct follow_event event;
    int64_t start_ms, end_ms;
    int64_t seen_ms; /* clock_mono_ms */
    bool explained;  /* it fitted after a later event: what is too full now is another one's */
};

struct follow_fold {
    struct event_fold base;
    struct arena *arena;   /* of machines and bookings */
    struct arena *scratch; /* of the event at hand */
    struct pool *pool;
    struct follow_event event; /* the one at hand */
    /* By the fold's indexes; NULL: not needed so far. */
    struct follow_machine **machines;
    struct follow_booking **bookings;
    size_t machine_room, booking_room;
    bool looking; /* false until the past is read: nothing is suspected */
    struct follow_suspicion *suspicions;
    size_t suspicion_count, suspicion_room;
};

void follow_fold_init(struct follow_fold *fold);
void follow_fold_fini(struct follow_fold *fold);
/* Takes an event's bytes, which anybody may have written. False: it is not the event with that
 * sequence, or does not say what it must; whatever of it could be read counts. */
bool follow_fold_event(struct follow_fold *fold, int32_t part, int64_t seq, const char *bytes,
                       size_t len);
/* To be called when the past is read: suspects each machine that is too full anywhere; from now on
 * every event is checked. */
void follow_fold_look(struct follow_fold *fold);

/* Whether an event said what the machine has. */
bool follow_is_registered(const struct follow_machine *machine);

struct follow_excess {
    int64_t at_ms;
    struct amount use, capacity;
};
/* Whether the suspicion's machine is too full anywhere in its window; *out then says where
 * first. */
bool follow_exceeds(const struct follow_suspicion *suspicion, struct follow_excess *out);

#endif
