/* GET /v1/availability. The answer is the worker's: the same function decides, on timelines of the
 * same rows (decide_ask). Timelines are kept; a machine's version says whether its own still holds,
 * so a call reads the machines' rows and the allocations of those that changed. */
#include "reader/availability.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/decide.h"
#include "lib/base/mem.h"
#include "lib/codec/views.h"
#include "reader/handlers.h"
#include "reader/rows.h"

#define DAY_MS          (INT64_C(24) * 3600 * 1000)
#define HORIZON_MS      (30 * DAY_MS)
#define WINDOWS_DEFAULT 10
/* Machines whose allocations are fetched at once: bounds the memory of one result. */
#define LOAD_AT_ONCE    64

struct availability {
    pthread_mutex_t mutex;
    struct world *world;
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
        call_problem(call, PROBLEM_INVALID_PARAMETER, "gpus",
                     "gpus or memory_gib must be at least 1: how much is wanted of each machine.");
        return false;
    }
    if (q->machine && (call->label_count > 0 || call->params[PARAM_COUNT])) {
        call_problem(call, PROBLEM_INVALID_PARAMETER, "machine",
                     "machine names the one that is wanted: without label and count.");
        return false;
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
        !call_time(call, PARAM_FROM, &q->from_ms) ||
        !call_duration(call, PARAM_HORIZON, &horizon_ms) ||
        !call_number(call, PARAM_LIMIT, 1, PAGE_MAX, &q->limit))
        return false;
    if (q->create.duration_ms > LIMIT_BOOKING_S * INT64_C(1000)) {
        call_problem(call, PROBLEM_INVALID_PARAMETER, "duration",
                     "duration must be %d days at most: no booking is longer.",
                     LIMIT_BOOKING_S / (24 * 3600));
        return false;
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

/* --- filling the world ---------------------------------------------------------------------- */

/* The machines that come into question, as they are now. One that is named also if it is not up:
 * then the decision says so, and not what the world remembers of it. */
static enum err put_machines(struct call *call, const struct question *q, struct world *world,
                             struct failure *f)
{
    struct buf sql = {0};
    MYSQL_RES *rows = NULL;
    MYSQL_ROW row;
    buf_puts(&sql, "SELECT " MACHINE_ROW_COLUMNS " FROM machine WHERE ");
    buf_puts(&sql, q->machine ? "name = " : "state = 'up'");
    if (q->machine)
        sql_text(&sql, q->machine);
    rows_add_labels(&sql, call->arena, &q->create.any.labels);
    enum err err = mysql_session_query(call->db, "read machines", sql.data, sql.len, &rows, f);
    while (err == ERR_OK && (row = mysql_fetch_row(rows))) {
        struct machine_view view;
        err = rows_machine(row, mysql_fetch_lengths(rows), world_arena(world), &view, f);
        if (err != ERR_OK)
            break;
        struct machine machine = {.id = view.id,
                                  .capacity = view.capacity,
                                  .labels = view.labels,
                                  .state = view.state,
                                  .version = view.version};
        snprintf(machine.name, sizeof(machine.name), "%s", view.name);
        world_machine_put(world, &machine);
    }
    mysql_free_result(rows);
    buf_fini(&sql);
    return err;
}

static enum err load_some(struct call *call, struct world *world, struct machine *const *machines,
                          size_t count, int64_t known_from_ms, struct failure *f)
{
    struct buf sql = {0};
    MYSQL_RES *rows = NULL;
    MYSQL_ROW row;
    buf_puts(&sql, "SELECT machine, start_ms, end_ms, gpus, memory_gib FROM allocation "
                   "FORCE INDEX (allocation_timeline) WHERE machine IN ");
    for (size_t i = 0; i < count; i++)
        buf_printf(&sql, "%s%" PRId64, i == 0 ? "(" : ",", machines[i]->id);
    buf_printf(&sql, ") AND end_ms > %" PRId64 " AND live = 1", known_from_ms);
    enum err err = mysql_session_query(call->db, "load timelines", sql.data, sql.len, &rows, f);
    for (size_t i = 0; err == ERR_OK && i < count; i++)
        world_timeline_start(world, machines[i], known_from_ms);
    while (err == ERR_OK && (row = mysql_fetch_row(rows))) {
        world_timeline_add(world, world_machine_by_id(world, field_int(row[0])), field_int(row[1]),
                           field_int(row[2]),
                           (struct amount){field_int(row[3]), field_int(row[4])});
    }
    mysql_free_result(rows);
    buf_fini(&sql);
    return err;
}

static enum err load_stale(struct call *call, struct world *world, struct machine *const *machines,
                           size_t count, struct failure *f)
{
    int64_t known_from_ms = time_floor_s(call->now_ms);
    struct machine *stale[LOAD_AT_ONCE];
    size_t stale_count = 0;
    enum err err = ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < count; i++) {
        if (!machines[i]->timeline || machines[i]->timeline_version != machines[i]->version ||
            !timeline_covers(machines[i]->timeline, known_from_ms))
            stale[stale_count++] = machines[i];
        if (stale_count == LOAD_AT_ONCE) {
            err = load_some(call, world, stale, stale_count, known_from_ms, f);
            stale_count = 0;
        }
    }
    if (err == ERR_OK && stale_count > 0)
        err = load_some(call, world, stale, stale_count, known_from_ms, f);
    return err;
}

/* --- the answer ----------------------------------------------------------------------------- */

static json_t *window_json(int64_t start_ms, int64_t duration_ms)
{
    return json_pack("{s:o, s:o}", "start", time_json(start_ms), "end",
                     time_json(start_ms + duration_ms));
}

/* The windows in which all that is asked for is free at once, each after the one before. The first
 * start is decided in any case: the decision says why there is none. */
static json_t *together(struct world *world, const struct call *call, const struct question *q,
                        const char **detail_out)
{
    struct booking_create create = q->create;
    json_t *list = json_array();
    create.start_ms = q->from_ms;
    *detail_out = NULL;
    for (int64_t count = 0; count < q->limit;) {
        struct asked asked;
        if (count > 0 && create.start_ms + create.duration_ms > q->last_end_ms)
            break;
        decide_ask(world, &create, call->now_ms, &asked);
        bool later = asked.decision.reason == REASON_INSUFFICIENT_CAPACITY &&
                     asked.decision.next_available_ms != TIME_NONE;
        if (later) {
            create.start_ms = asked.decision.next_available_ms;
        } else if (asked.decision.reason != REASON_NONE) {
            *detail_out = asked.decision.detail;
        }
        if (*detail_out || create.start_ms + create.duration_ms > q->last_end_ms)
            break;
        if (later)
            continue;
        json_t *window = window_json(create.start_ms, create.duration_ms);
        json_object_set_new(window, "allocations", shares_json(asked.shares, asked.share_count));
        json_array_append_new(list, window);
        create.start_ms += create.duration_ms;
        count++;
    }
    return list;
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

/* Each machine's earliest window, the first of them. */
static json_t *by_machine(struct world *world, struct machine *const *machines, size_t count,
                          const struct question *q)
{
    struct earliest *found = arena_alloc(world_arena(world), (count + 1) * sizeof(*found));
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
    json_t *list = json_array();
    for (size_t i = 0; i < found_count && (int64_t)i < q->limit; i++) {
        json_t *item = json_pack("{s:s}", "machine", found[i].machine->name);
        json_object_update_new(item, window_json(found[i].start_ms, q->create.duration_ms));
        json_array_append_new(list, item);
    }
    return list;
}

static enum err answer(struct call *call, const struct question *q, struct world *world,
                       struct failure *f)
{
    size_t count;
    const char *detail;
    struct labels none = {0};
    enum err err = put_machines(call, q, world, f);
    if (err != ERR_OK)
        return err;
    struct machine **machines = world_machines_matching(
        world, q->machine ? &none : &q->create.any.labels, &count);
    err = load_stale(call, world, machines, count, f);
    if (err != ERR_OK)
        return err;
    json_t *windows = together(world, call, q, &detail);
    call->body = json_pack("{s:o, s:o, s:I, s:o, s:o}", "from", time_json(q->from_ms), "until",
                           time_json(q->until_ms), "matching", (json_int_t)count, "windows",
                           windows, "machines", by_machine(world, machines, count, q));
    if (detail)
        json_object_set_new(call->body, "detail", json_string(detail));
    return ERR_OK;
}

enum err handle_availability(struct call *call, struct failure *f)
{
    struct availability *availability = call->reader->availability;
    struct question q;
    if (!read_question(call, &q))
        return ERR_OK;
    pthread_mutex_lock(&availability->mutex);
    world_batch_begin(availability->world);
    enum err err = answer(call, &q, availability->world, f);
    world_batch_end(availability->world, true); /* nothing was changed */
    world_forget_before(availability->world, time_floor_s(call->now_ms));
    pthread_mutex_unlock(&availability->mutex);
    return err;
}
