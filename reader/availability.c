/* GET /v1/availability. The answer is the worker's: the same function decides, on timelines of the
 * same rows (decide_preview). Timelines are kept between calls; the version of a machine's row says
 * whether its timeline still holds, so a call reads the machines' rows and the allocations of those
 * that changed.
 *
 * All calls share one world under one lock, which nobody holds while the database is asked: a call
 * reads what it needs without the lock, then takes the lock to put that into the world and to work
 * out the answer. Meanwhile another call may have put a newer version of a machine there. The newer
 * one stays and is used, so an answer can show one machine as it was a moment after the others. */
#include "reader/availability.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/decide.h"
#include "db/mysql_rows.h"
#include "lib/base/mem.h"
#include "lib/codec/views.h"
#include "reader/handlers.h"
#include "reader/session_pool.h"

#define DAY_MS          (INT64_C(24) * 3600 * 1000)
#define HORIZON_MS      (30 * DAY_MS)
#define WINDOWS_DEFAULT 10
/* Timelines have this much of the past, for calls that began earlier and are still under way. */
#define KEPT_MS         60000

/* Machines have a timeline in this world, or are not in it. */
struct availability {
    pthread_mutex_t mutex;
    struct world *world;
    int64_t reconnects; /* of the session pool, when the world was made */
};

struct availability *availability_new(void)
{
    struct availability *availability = xcalloc(1, sizeof(*availability));
    pthread_mutex_init(&availability->mutex, NULL);
    availability->world = world_new();
    return availability;
}

void availability_free(struct availability *availability)
{
    if (!availability)
        return;
    world_free(availability->world);
    pthread_mutex_destroy(&availability->mutex);
    free(availability);
}

/* What is asked for. */
struct question {
    struct booking_create create;
    const char *machine; /* NULL: any that carry the labels */
    struct share share;  /* of that machine */
    int64_t from_ms, until_ms, limit;
    int64_t last_end_ms; /* what ends later is beyond `until`, or begins later than may be booked */
};

/* False: the answer is a problem already. */
static bool read_need(struct call *call, struct question *q)
{
    struct amount need = {0};
    int64_t count = 1;
    if (!call_number(call, PARAM_GPUS, 0, LIMIT_GPUS, &need.gpus) ||
        !call_number(call, PARAM_MEMORY_GIB, 0, LIMIT_MEMORY_GIB, &need.memory_gib) ||
        !call_number(call, PARAM_COUNT, 1, LIMIT_ALLOCATIONS, &count) ||
        !call_labels(call, &q->create.any.labels) || !call_name(call, PARAM_MACHINE, &q->machine))
        return false;
    if (need.gpus == 0 && need.memory_gib == 0) {
        return call_invalid(
            call, PARAM_GPUS,
            "gpus or memory_gib must be at least 1: how much is wanted of each machine.");
    }
    if (q->machine && (call->label_count > 0 || call->params[PARAM_COUNT])) {
        return call_invalid(call, PARAM_MACHINE,
                            "machine names the one that is wanted: without label and count.");
    }
    q->create.any.count = count;
    q->create.any.amount = need;
    return true;
}

static bool read_question(struct call *call, struct question *q)
{
    int64_t horizon_ms = HORIZON_MS;
    *q = (struct question){.create = {.end_ms = TIME_NONE}, .limit = WINDOWS_DEFAULT};
    q->from_ms = time_ceil_s(call->now_ms);
    if (!call_required(call, PARAM_DURATION) ||
        !call_duration(call, PARAM_DURATION, &q->create.duration_ms) || !read_need(call, q) ||
        !call_end_time(call, PARAM_FROM, &q->from_ms) || /* bookings start on whole seconds */
        !call_duration(call, PARAM_HORIZON, &horizon_ms) ||
        !call_number(call, PARAM_LIMIT, 1, PAGE_MAX, &q->limit))
        return false;
    if (q->create.duration_ms > LIMIT_BOOKING_S * INT64_C(1000)) {
        return call_invalid(call, PARAM_DURATION,
                            "duration must be %d days at most: no booking is longer.",
                            LIMIT_BOOKING_S / (24 * 3600));
    }
    /* The past is over: nothing can be booked in it. */
    if (q->from_ms < time_ceil_s(call->now_ms))
        q->from_ms = time_ceil_s(call->now_ms);
    q->until_ms = call_time_within(q->from_ms + horizon_ms);
    q->last_end_ms = call->now_ms + LIMIT_AHEAD_S * INT64_C(1000) + q->create.duration_ms;
    if (q->last_end_ms > q->until_ms)
        q->last_end_ms = q->until_ms;
    if (q->machine) {
        q->share = (struct share){.machine = q->machine, .amount = q->create.any.amount};
        q->create.any = (struct any){0};
        q->create.shares = &q->share;
        q->create.share_count = 1;
    }
    return true;
}

/* --- reading ------------------------------------------------------------------------------------ */

/* The machines in question as the call's snapshot has them; in the call's arena. */
struct candidates {
    struct machine *machines;
    size_t count;
    int64_t known_from_ms; /* where their timelines must begin, or before */
};

/* Reads all machines that are up and carry the labels, or the one that is named: that one also if
 * it is not up, so that the decision says so. */
static enum err read_candidates(struct call *call, const struct question *q, struct candidates *out,
                                struct failure *f)
{
    struct buf sql = {0};
    MYSQL_RES *rows;
    MYSQL_ROW row;
    buf_puts(&sql, "SELECT " MACHINE_COLUMNS " FROM machine WHERE ");
    buf_puts(&sql, q->machine ? "name = " : "state = 'up'");
    if (q->machine)
        sql_text(&sql, q->machine);
    sql_labels(&sql, call->arena, &q->create.any.labels);
    enum err err = call_query(call, "read machines", &sql, &rows, f);
    if (err != ERR_OK)
        return err;
    *out = (struct candidates){.known_from_ms = time_floor_s(call->now_ms)};
    out->machines = arena_alloc(call->arena, (size_t)mysql_num_rows(rows) * sizeof(*out->machines));
    while (err == ERR_OK && (row = mysql_fetch_row(rows))) {
        err = machine_row_read(row, mysql_fetch_lengths(rows), call->arena,
                               &out->machines[out->count++], f);
    }
    mysql_free_result(rows);
    return err;
}

/* --- the shared world, under its lock ---------------------------------------------------------- */

/* The world. A lost session may mean a fail-over to an older state of the database. Then the
 * versions that the world knows prove nothing (core/world.h), so an empty world takes its place. */
static struct world *current_world(struct availability *availability, int64_t reconnects)
{
    if (availability->reconnects != reconnects) {
        world_free(availability->world);
        availability->world = world_new();
        availability->reconnects = reconnects;
    }
    return availability->world;
}

/* The machine in the world if it is as new as the candidate's row and its timeline reaches back far
 * enough; else NULL. */
static struct machine *find_usable(struct world *world, const struct machine *row,
                                   int64_t known_from_ms)
{
    struct machine *machine = world_machine_by_id(world, row->id);
    bool usable = machine && machine->version >= row->version &&
                  timeline_covers(machine->timeline, known_from_ms);
    return usable ? machine : NULL;
}

/* Puts what was fetched into the world, but for machines that another call has loaded meanwhile. */
static void install(struct world *world, const struct candidates *candidates,
                    const struct use_wanted *fetched, MYSQL_RES *rows)
{
    struct use_wanted missing = {.known_from_ms = fetched->known_from_ms};
    for (size_t i = 0, at = 0; i < fetched->count; i++, at++) {
        while (candidates->machines[at].id != fetched->machines[i])
            at++;
        const struct machine *row = &candidates->machines[at];
        if (find_usable(world, row, candidates->known_from_ms))
            continue;
        world_machine_put(world, row);
        missing.machines[missing.count++] = row->id;
    }
    use_load(&missing, rows, world);
}

/* Puts all candidates into the batch. Those that have no usable timeline are listed in *missing
 * instead, as many as can be fetched at once. */
static void confirm(struct world *world, const struct candidates *candidates,
                    struct use_wanted *missing)
{
    *missing = (struct use_wanted){.known_from_ms = candidates->known_from_ms - KEPT_MS};
    for (size_t i = 0; i < candidates->count && missing->count < USE_MACHINES_MAX; i++) {
        const struct machine *row = &candidates->machines[i];
        struct machine *machine = find_usable(world, row, candidates->known_from_ms);
        if (machine) {
            world_machine_confirm(world, machine);
        } else {
            missing->machines[missing->count++] = row->id;
        }
    }
}

/* --- the answer -------------------------------------------------------------------------------- */

static void put_window(struct jsonout *out, int64_t start_ms, int64_t duration_ms)
{
    JSONOUT_TIME(out, "\"start\":", start_ms);
    JSONOUT_TIME(out, ",\"end\":", start_ms + duration_ms);
}

/* Writes the windows in which all that is asked for is free at once, each after the one before. The
 * first start is decided in any case: *detail_out says why there is none. */
static void put_windows(struct jsonout *out, struct world *world, const struct call *call,
                        const struct question *q, const char **detail_out)
{
    struct booking_create create = q->create;
    create.start_ms = q->from_ms;
    *detail_out = NULL;
    for (int64_t count = 0; count < q->limit;) {
        struct preview preview;
        if (count > 0 && create.start_ms + create.duration_ms > q->last_end_ms)
            break;
        decide_preview(world, &create, call->now_ms, &preview);
        bool later = preview.decision.reason == REASON_INSUFFICIENT_CAPACITY &&
                     preview.decision.next_available_ms != TIME_NONE;
        if (later) {
            create.start_ms = preview.decision.next_available_ms;
        } else if (preview.decision.reason != REASON_NONE) {
            *detail_out = preview.decision.detail;
        }
        if (*detail_out || create.start_ms + create.duration_ms > q->last_end_ms)
            break;
        if (later)
            continue;
        jsonout_comma(out);
        JSONOUT_RAW(out, "{");
        put_window(out, create.start_ms, create.duration_ms);
        JSONOUT_RAW(out, ",\"allocations\":");
        jsonout_shares(out, preview.shares, preview.share_count);
        JSONOUT_RAW(out, "}");
        create.start_ms += create.duration_ms;
        count++;
    }
}

struct earliest {
    const struct machine *machine;
    int64_t start_ms;
};

static int compare_earliest(const void *a, const void *b)
{
    const struct earliest *left = a, *right = b;
    if (left->start_ms != right->start_ms)
        return left->start_ms < right->start_ms ? -1 : 1;
    return strcmp(left->machine->name, right->machine->name);
}

/* Writes each machine's earliest window, the first of them. */
static void put_machines(struct jsonout *out, struct machine *const *machines, size_t count,
                         const struct question *q)
{
    struct earliest *found = arena_alloc(out->arena, (count + 1) * sizeof(*found));
    size_t found_count = 0;
    for (size_t i = 0; i < count; i++) {
        struct timeline_search search = {
            .capacity = machines[i]->capacity,
            .need = q->machine ? q->share.amount : q->create.any.amount,
            .from_ms = q->from_ms,
            .duration_ms = q->create.duration_ms,
            .horizon_ms = q->last_end_ms,
        };
        found[found_count].machine = machines[i];
        if (timeline_earliest(machines[i]->timeline, &search, &found[found_count].start_ms))
            found_count++;
    }
    qsort(found, found_count, sizeof(*found), compare_earliest);
    for (size_t i = 0; i < found_count && (int64_t)i < q->limit; i++) {
        jsonout_comma(out);
        JSONOUT_STRING(out, "{\"machine\":", found[i].machine->name);
        JSONOUT_RAW(out, ",");
        put_window(out, found[i].start_ms, q->create.duration_ms);
        JSONOUT_RAW(out, "}");
    }
}

/* Works the answer out; all candidates are in the batch. */
static void answer(struct call *call, const struct question *q, struct world *world)
{
    size_t count;
    const char *detail;
    struct labels none = {0};
    struct jsonout out;
    struct machine **machines = world_machines_matching(
        world, q->machine ? &none : &q->create.any.labels, &count);
    jsonout_init(&out, call->arena, 4096);
    JSONOUT_TIME(&out, "{\"from\":", q->from_ms);
    JSONOUT_TIME(&out, ",\"until\":", q->until_ms);
    JSONOUT_INT(&out, ",\"matching\":", (int64_t)count);
    JSONOUT_RAW(&out, ",\"windows\":[");
    put_windows(&out, world, call, q, &detail);
    JSONOUT_RAW(&out, "],\"machines\":[");
    put_machines(&out, machines, count, q);
    JSONOUT_RAW(&out, "]");
    if (detail)
        JSONOUT_STRING(&out, ",\"detail\":", detail);
    JSONOUT_RAW(&out, "}");
    call_text(call, &out);
}

/* One turn with the world: puts what was fetched into it (rows NULL: nothing was), and answers if no
 * candidate's timeline is missing. */
static void take_turn(struct call *call, const struct question *q,
                      const struct candidates *candidates, struct use_wanted *use, MYSQL_RES *rows)
{
    struct availability *availability = call->reader->availability;
    pthread_mutex_lock(&availability->mutex);
    struct world *world = current_world(availability,
                                        session_pool_reconnects(call->reader->slow_pool));
    world_batch_begin(world);
    if (rows)
        install(world, candidates, use, rows);
    confirm(world, candidates, use);
    if (use->count == 0)
        answer(call, q, world);
    world_batch_end(world, true); /* nothing was changed */
    world_forget_before(world, candidates->known_from_ms - KEPT_MS);
    pthread_mutex_unlock(&availability->mutex);
}

/* Takes turns until no timeline is missing. Each turn installs what the one before missed, and what
 * is installed is only replaced by something newer, so a call takes one turn more than it fetches
 * pieces. (A call that lasts longer than KEPT_MS may have to fetch some machines again.) */
enum err handle_availability(struct call *call, struct failure *f)
{
    struct question q;
    struct candidates candidates;
    struct use_wanted use = {0};
    if (!read_question(call, &q))
        return ERR_OK;
    enum err err = read_candidates(call, &q, &candidates, f);
    if (err == ERR_OK)
        take_turn(call, &q, &candidates, &use, NULL);
    while (err == ERR_OK && use.count > 0) {
        MYSQL_RES *rows = NULL;
        err = use_fetch(call->db, &use, &rows, f);
        if (err == ERR_OK)
            take_turn(call, &q, &candidates, &use, rows);
        mysql_free_result(rows);
    }
    return err;
}
