/* A plan: what a booking shall hold, of which machines, over [from, end). Create and amend are one
 * thing here: what the booking holds from the cut on makes room for the plan. A created booking
 * holds nothing yet; one that has not begun is replaced from its start on; a begun one keeps its
 * past, so its cut is now rounded up to the second.
 *
 *      begun:        start ........ cut ............ end            not begun:   start ..... end
 *      before        [===== row, 4 GPUs ==============)             before       [== row, 4 ==)
 *      amend to 2    [== row, 4 ===)[== new row, 2 ===)             amend to 2   [== row, 2 ==)
 *
 * Where a check looks at several machines it looks at all of them before the next check begins, so
 * the reason does not depend on the order in which a request names its machines. */
#ifndef BERTH_CORE_PLAN_H
#define BERTH_CORE_PLAN_H

#include "core/decider.h"

struct ask {
    const char *name;        /* as the request says it */
    struct machine *machine; /* NULL: no machine has that name */
    struct amount amount;
    bool grows;   /* more than the booking holds there now, at some instant, in some component */
    bool settled; /* an old row shows it already */
};

struct plan {
    struct booking *booking; /* NULL: it is created */
    struct client *client;   /* the booking's, if a limit of it is counted; else NULL */
    bool begun;              /* start < now rounded up; always false for a created one */
    bool start_given, end_given;
    int64_t start_ms, end_ms; /* the booking's window afterwards */
    int64_t from_ms;          /* it holds the asks over [from, end) */
    int64_t cut_ms;           /* what it held from here on is replaced; amend only */
    const struct any *any;    /* NULL: the machines are named; else plan_check_capacity chooses */
    size_t candidate_count;   /* any: those that are up and carry the labels, by name */
    struct machine **candidates;
    size_t ask_count;
    struct ask *asks;
};

/* The plan of a booking.create for that window; its asks, or for `any` the candidates. */
struct plan plan_create(struct decider *d, const struct booking_create *create);
/* The same for another window. */
void plan_move(struct plan *plan, const struct window *window);
struct plan plan_amend(struct decider *d, struct booking *booking,
                       const struct booking_amend *amend);

/* Whether the plan replaces the row's part from the cut on. */
static inline bool plan_replaces(const struct plan *plan, const struct allocation *row)
{
    return row->live && row->end_ms > plan->cut_ms;
}
/* GPUs on all machines together. */
int64_t plan_gpus(const struct plan *plan);
size_t plan_machine_count(const struct plan *plan);
struct ask *plan_find_ask(const struct plan *plan, int64_t machine_id);
/* Rows of the booking that are part of what it holds at its end. */
bool plan_row_is_current(const struct booking *booking, const struct allocation *row);
size_t plan_current_count(const struct booking *booking);

/* The checks from limit_exceeded to exceeds_machine (plan.c, plan_limits.c). */
bool plan_check_request(struct decider *d, const struct plan *plan);
/* limit_exceeded. */
bool plan_check_limits(struct decider *d, const struct plan *plan);
/* booking_over. */
bool plan_check_not_over(struct decider *d, const struct booking *booking);
/* The longest booking and the furthest start: the client's own, else the farm's. */
int64_t plan_longest_ms(const struct decider *d);
int64_t plan_furthest_ms(const struct decider *d);
/* insufficient_capacity (plan_capacity.c); `any` becomes asks. What the plan replaces must be out
 * of the timelines (plan_move_old_use). */
bool plan_check_capacity(struct decider *d, struct plan *plan);
/* `any`: whether enough of the candidates are large enough; exceeds_machine. */
bool plan_check_candidates(struct decider *d, const struct plan *plan);

/* Takes what the booking holds from the cut on out of the timelines, its client's too, or puts it
 * back; a created booking holds nothing. */
void plan_move_old_use(struct decider *d, const struct plan *plan, bool back);
/* The client's part of that. */
void plan_move_client_use(const struct plan *plan, bool back);
/* Puts the asks into the timelines, its client's too, or takes them out again. */
void plan_book(const struct plan *plan);
void plan_unbook(const struct plan *plan);

#endif
