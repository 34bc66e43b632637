/* Compares the fold with the tables, and looks for machines over capacity at any instant. */
#include "admin/audit/audit.h"

#include <inttypes.h>
#include <string.h>

#define BOOKINGS_SQL                                                                               \
    "SELECT id, client, user_name, start_ms, end_ms, state, version, series FROM booking "         \
    "ORDER BY id"

static const char *find_booking_difference(MYSQL_ROW row, const struct fold_booking *booking)
{
    if (field_int(row[6]) != booking->version)
        return "version";
    if (booking_state_from_name(row[5]) != booking->state)
        return "state";
    if (field_int(row[4]) != booking->end_ms)
        return "end_ms";
    if (!booking->client)
        return NULL; /* only displacements are known: reported as its missing versions */
    if (strcmp(row[1], booking->client) != 0)
        return "client";
    if (strcmp(row[2], booking->user) != 0)
        return "user_name";
    if (field_int(row[7]) != booking->series)
        return "series";
    return field_int(row[3]) != booking->start_ms ? "start_ms" : NULL;
}

static void compare_booking(struct audit *audit, MYSQL_ROW row)
{
    char at[AUDIT_AT_LEN];
    struct fold_booking *booking = event_fold_booking(&audit->fold, field_int(row[0]));
    audit_at(at, "booking/%s", row[0]);
    audit->counts.bookings++;
    if (!booking) {
        audit_differ(audit, "booking_unknown", at, "no decision made this booking");
        return;
    }
    booking->seen = true;
    const char *column = find_booking_difference(row, booking);
    if (column) {
        audit_differ(audit, "booking_different", at,
                     "the booking's %s is not what the decisions left it with", column);
    }
}

#define ALLOCATIONS_SQL                                                                            \
    "SELECT a.booking, m.name, a.start_ms, a.end_ms, a.gpus, a.memory_gib, a.live "                \
    "FROM allocation a LEFT JOIN machine m ON m.id = a.machine"

static struct fold_share *find_share(const struct fold_booking *booking, const char *machine,
                                     struct amount amount)
{
    for (size_t i = 0; i < booking->share_count; i++) {
        struct fold_share *share = &booking->shares[i];
        if (strcmp(share->machine->name, machine) == 0 && share->amount.gpus == amount.gpus &&
            share->amount.memory_gib == amount.memory_gib)
            return share;
    }
    return NULL;
}

static void compare_allocation(struct audit *audit, MYSQL_ROW row)
{
    char at[AUDIT_AT_LEN];
    audit_at(at, "booking/%s", row[0]);
    struct fold_booking *booking = event_fold_booking(&audit->fold, field_int(row[0]));
    const char *machine = row[1] ? row[1] : "?";
    bool live = field_int(row[6]) != 0;
    int64_t end_ms = field_int(row[3]);
    audit->counts.allocations++;
    if (!booking || !row[1]) {
        audit_differ(audit, "allocation_unknown", at, "an allocation of no known %s",
                     booking ? "machine" : "booking");
    }
    if (!booking || !row[1] || !live)
        return;
    if (booking->state == BOOKING_CANCELLED || end_ms > booking->end_ms) {
        audit_differ(audit, "allocation_different", at,
                     "a live allocation of %s lasts longer than the booking", machine);
        return;
    }
    /* Allocations that ended before are history, which no event repeats. */
    if (end_ms < booking->end_ms || !booking->shares_known)
        return;
    struct amount amount = {field_int(row[4]), field_int(row[5])};
    struct fold_share *share = find_share(booking, machine, amount);
    if (share) {
        share->rows++;
    } else {
        audit_differ(audit, "allocation_different", at,
                     "an allocation of %" PRId64 " GPUs and %" PRId64
                     " GiB of %s that the decisions did not leave it with",
                     amount.gpus, amount.memory_gib, machine);
    }
}

/* Reports what the decisions made and the tables lack. */
static void find_missing(struct audit *audit)
{
    char at[AUDIT_AT_LEN];
    for (size_t i = 0; i < audit->fold.booking_map.count; i++) {
        const struct fold_booking *booking = audit->fold.bookings[i];
        audit_at(at, "booking/%" PRId64, booking->id);
        if (!booking->seen)
            audit_differ(audit, "booking_missing", at, "the decisions made it, the table lacks it");
        if (booking->facts != booking->version) {
            audit_differ(audit, "booking_versions", at,
                         "%" PRId64 " decisions changed it, but its version is %" PRId64,
                         booking->facts, booking->version);
        }
        for (size_t k = 0; booking->seen && k < booking->share_count; k++) {
            if (booking->shares[k].rows != 1) {
                audit_differ(audit, "allocation_missing", at,
                             "%d live allocations of %s where the decisions left one",
                             booking->shares[k].rows, booking->shares[k].machine->name);
            }
        }
    }
    for (size_t i = 0; i < audit->fold.machine_map.count; i++) {
        const struct fold_machine *machine = audit->fold.machines[i];
        if (machine->version > 0 && !machine->seen) {
            audit_differ(audit, "machine_missing", audit_at(at, "machine/%s", machine->name),
                         "a decision registered it, the table lacks it");
        }
    }
}

static const char *find_machine_difference(MYSQL_ROW row, const struct fold_machine *machine)
{
    if (field_int(row[0]) != machine->id)
        return "id";
    if (field_int(row[2]) != machine->capacity.gpus)
        return "gpus";
    if (field_int(row[3]) != machine->capacity.memory_gib)
        return "memory_gib";
    if (strcmp(row[4], machine->labels) != 0)
        return "labels";
    if (machine_state_from_name(row[5]) != machine->state)
        return "state";
    /* The version grows with every booking on the machine, too. */
    return field_int(row[6]) < machine->version ? "version" : NULL;
}

#define MACHINES_SQL                                                                               \
    "SELECT id, name, gpus, memory_gib, labels, state, version FROM machine ORDER BY id"

static void compare_machine(struct audit *audit, MYSQL_ROW row)
{
    char at[AUDIT_AT_LEN];
    struct fold_machine *machine = event_fold_machine(&audit->fold, row[1]);
    audit_at(at, "machine/%s", row[1]);
    audit->counts.machines++;
    if (!machine || machine->version == 0) {
        audit_differ(audit, "machine_unknown", at, "no decision registered this machine");
        return;
    }
    machine->seen = true;
    const char *column = find_machine_difference(row, machine);
    if (column) {
        audit_differ(audit, "machine_different", at,
                     "the machine's %s is not what the decisions left it with", column);
    }
}

/* For each machine the first instant at which it is over-booked, from its last change of capacity
 * on. Every live allocation adds at its start and subtracts at its end. The window frame (RANGE)
 * takes all changes at one instant together, so that a booking that ends when another begins does
 * not overlap it. */
#define OVERBOOKED_SQL                                                                             \
    "SELECT m.name, m.gpus, m.memory_gib, s.gpus, s.memory_gib, s.at_ms FROM ("                    \
    "SELECT machine, at_ms, "                                                                      \
    "SUM(gpus) OVER (PARTITION BY machine ORDER BY at_ms RANGE UNBOUNDED PRECEDING) AS gpus, "     \
    "SUM(memory_gib) OVER (PARTITION BY machine ORDER BY at_ms RANGE UNBOUNDED PRECEDING) "        \
    "AS memory_gib FROM ("                                                                         \
    "SELECT a.machine, GREATEST(a.start_ms, n.capacity_changed_ms) AS at_ms, "                     \
    "CAST(a.gpus AS SIGNED) AS gpus, CAST(a.memory_gib AS SIGNED) AS memory_gib "                  \
    "FROM allocation a JOIN machine n ON n.id = a.machine "                                        \
    "WHERE a.live = 1 AND a.end_ms > n.capacity_changed_ms "                                       \
    "UNION ALL "                                                                                   \
    "SELECT a.machine, a.end_ms, -CAST(a.gpus AS SIGNED), -CAST(a.memory_gib AS SIGNED) "          \
    "FROM allocation a JOIN machine n ON n.id = a.machine "                                        \
    "WHERE a.live = 1 AND a.end_ms > n.capacity_changed_ms) changes) s "                           \
    "JOIN machine m ON m.id = s.machine "                                                          \
    "WHERE s.gpus > m.gpus OR s.memory_gib > m.memory_gib ORDER BY m.name, s.at_ms"

static void tell_overbooked(struct audit *audit, MYSQL_ROW row)
{
    char at[AUDIT_AT_LEN];
    audit_at(at, "machine/%s", row[0]);
    if (strcmp(at, audit->overbooked) == 0)
        return;
    memcpy(audit->overbooked, at, sizeof(at));
    json_t *time = admin_json_time(field_int(row[5]));
    audit_differ(audit, "overbooked", at,
                 "%s GPUs and %s GiB are booked from %s on, it has %s and %s", row[3], row[4],
                 json_string_value(time), row[1], row[2]);
    json_decref(time);
}

enum err audit_state(struct audit *audit, struct failure *f)
{
    enum err err = audit_each_row(audit, "read machines", MACHINES_SQL, compare_machine, f);
    if (err == ERR_OK)
        err = audit_each_row(audit, "read bookings", BOOKINGS_SQL, compare_booking, f);
    if (err == ERR_OK)
        err = audit_each_row(audit, "read allocations", ALLOCATIONS_SQL, compare_allocation, f);
    if (err != ERR_OK)
        return err;
    find_missing(audit);
    return audit_each_row(audit, "look for over-booking", OVERBOOKED_SQL, tell_overbooked, f);
}
