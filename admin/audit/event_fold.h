/* The state in which events leave each booking and machine: one fold for audit and audit --follow.
 * The highest version of each booking and machine counts, in whatever order events arrive. Memory
 * grows with the number of bookings and machines, not of events. */
#ifndef BERTH_ADMIN_AUDIT_EVENT_FOLD_H
#define BERTH_ADMIN_AUDIT_EVENT_FOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/map.h"
#include "lib/codec/event_read.h"

struct fold_machine {
    size_t index; /* in the fold's list */
    const char *name;
    int64_t id, version; /* version 0: no event registered it */
    struct amount capacity;
    enum machine_state state;
    char *labels; /* canonical JSON; NULL: version 0 */
    bool seen;    /* the audit's mark: the table has it */
};

struct fold_share {
    struct fold_machine *machine;
    struct amount amount;
    int rows; /* the audit's count: live rows of the table that are just this */
};

struct fold_booking {
    size_t index; /* in the fold's list */
    int64_t id;
    int64_t version; /* of the newest event about it, a displacement included */
    int64_t facts;   /* events about it, duplicates aside: as many as it has versions */
    enum booking_state state;
    int64_t end_ms;
    struct fold_share *shares; /* what it holds until its end */
    size_t share_count;
    bool shares_known; /* the newest event may not repeat them */
    /* From the newest event that tells them, as all do but a displacement in short; told_version 0,
     * client and user NULL: there was none. */
    int64_t told_version, series, start_ms; /* series 0: none */
    char *client, *user;
    bool seen; /* the audit's mark: the table has it */
};

/* Functions called after each change; each may be NULL. */
struct fold_watch {
    void *arg;
    /* The booking has a newer version than `old_version`; `in_short`: the event does not tell its
     * start. */
    void (*booking)(void *arg, struct fold_booking *booking, int64_t old_version, bool in_short);
    /* An event told of the machine, perhaps of an older version than the machine has (`told`).
     * `before`: the machine before the event, without its labels. */
    void (*machine)(void *arg, struct fold_machine *machine, const struct fold_machine *before,
                    const struct machine_view *told);
};

struct event_fold {
    struct arena *arena;
    struct fold_watch watch;
    struct map booking_map, machine_map;
    struct fold_booking **bookings; /* of booking_map.count */
    struct fold_machine **machines; /* of machine_map.count */
    size_t booking_room, machine_room;
};

void event_fold_init(struct event_fold *fold, const struct fold_watch *watch);
/* Zeroed is fine. */
void event_fold_fini(struct event_fold *fold);
/* Takes an accepted event; others, and duplicates, change nothing. The fold keeps nothing in
 * `scratch`. Returns the member that contradicts the events taken before or the event's time (what a
 * change replaced, and from when on it counts), such as "data.previous"; NULL: none. The rest of the
 * event counts all the same. */
const char *event_fold_take(struct event_fold *fold, const struct event_view *event,
                            struct arena *scratch);
struct fold_booking *event_fold_booking(const struct event_fold *fold, int64_t id); /* NULL: none */
/* NULL: no event named it. */
struct fold_machine *event_fold_machine(const struct event_fold *fold, const char *name);

#endif
