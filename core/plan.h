/* A plan: what a booking shall hold, on which machines, over [from, end). Create and amend share
 * it: the plan replaces what the booking holds from the cut on. A new booking holds nothing. A
 * booking that has not begun is replaced from its start on. A begun booking keeps its past: its cut
 * is now rounded up to the second.
 *
 *      begun:        start ........ cut ............ end            not begun:   start ..... end
 *      before        [===== row, 4 GPUs ==============)             before       [== row, 4 ==)
 *      amend to 2    [== row, 4 ===)[== new row, 2 ===)             amend to 2   [== row, 2 ==)
 *
 * Each check looks at all machines before the next check begins, so the reason does not depend on
 * the order of the machines in the request. */
#ifndef BERTH_CORE_PLAN_H
#define BERTH_CORE_PLAN_H

#include "core/decider.h"

struct ask {
    const char *name;        /* as the request says it */
    struct machine *machine; /* NULL: no machine has that name */
    struct amount amount;
    bool grows;   /* at some instant more than the booking holds there now, in GPUs or memory */
    bool settled; /* a row of the booking has been changed to show it */
};

struct plan {
    struct booking *booking; /* NULL: the booking is new */
    struct client *client;   /* of the booking; NULL: the client has no counted limit */
    bool begun;              /* start < now rounded up; false for a new booking */
    bool start_given, end_given;
    int64_t start_ms, end_ms; /* the booking's new window */
    int64_t from_ms;          /* the booking holds the asks over [from, end) */
    int64_t cut_ms;           /* what the booking holds from here on is replaced; amend only */
    const struct any *any;    /* NULL: machines are named; else plan_check_capacity chooses them */
    size_t candidate_count;   /* any: machines that are up and carry the labels, by name */
    struct machine **candidates;
    size_t ask_count;
    struct ask *asks;
};

/* The plan of a booking.create, with its asks or, for `any`, its candidates. */
struct plan plan_create(struct decider *d, const struct booking_create *create);
/* Moves the plan of a new booking to another window. */
void plan_move(struct plan *plan, const struct window *window);
struct plan plan_amend(struct decider *d, struct booking *booking,
                       const struct booking_amend *amend);

/* Whether the plan replaces the row's part from the cut on. */
static inline bool plan_replaces(const struct plan *plan, const struct allocation *row)
{
    return row->live && row->end_ms > plan->cut_ms;
}
/* The GPUs of all asks together. */
int64_t plan_gpus(const struct plan *plan);
size_t plan_machine_count(const struct plan *plan);
struct ask *plan_find_ask(const struct plan *plan, int64_t machine_id);
/* Whether the row is live and lasts until the booking's end; the number of such rows. */
bool plan_row_is_current(const struct booking *booking, const struct allocation *row);
size_t plan_current_count(const struct booking *booking);

/* The checks from limit_exceeded to exceeds_machine (plan.c, plan_limits.c). */
bool plan_check_request(struct decider *d, const struct plan *plan);
/* limit_exceeded. */
bool plan_check_limits(struct decider *d, const struct plan *plan);
/* booking_over. */
bool plan_check_not_over(struct decider *d, const struct booking *booking);
/* The limits for a booking's length and for how far ahead it starts: the client's, else the
 * farm's. */
int64_t plan_longest_ms(const struct decider *d);
int64_t plan_furthest_ms(const struct decider *d);
/* insufficient_capacity (plan_capacity.c); for `any` it makes the asks. What the plan replaces must
 * be out of the timelines (plan_move_old_use). */
bool plan_check_capacity(struct decider *d, struct plan *plan);
/* exceeds_machine for `any`: whether enough candidates are large enough. */
bool plan_check_candidates(struct decider *d, const struct plan *plan);

/* Takes what the booking holds from the cut on out of the timelines of machines and client, or puts
 * it back. A new booking holds nothing. */
void plan_move_old_use(struct decider *d, const struct plan *plan, bool back);
/* The same for the client's timeline only. */
void plan_move_client_use(const struct plan *plan, bool back);
/* Puts the asks into the timelines of machines and client, or takes them back out. */
void plan_book(const struct plan *plan, bool back);

#endif
