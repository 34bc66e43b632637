/* Random requests on small, busy farms, decided by the model (decide_model.h) and by core/ in
 * batches of 1, 7 and all; some batches fail and are decided again.
 *
 *   TEST_SEED=N  another run (the seed is printed)      TEST_OPS=N  its length, in requests: each
 *   is decided three times. make test: 300,000 under sanitizers and 3,400,000 without, over 10 million
 *   decisions (make random-core); make soak: 34,000,000.
 *
 * A farm lives for OPS_PER_FARM requests over two and a half minutes. Its store is a set of tables
 * in memory, loaded as by the worker: timelines only when the version has changed, bookings when a
 * request names them, rows in any order. Checked for each batch size:
 *  - each decision equals the model's and is identical in all three sizes;
 *  - a rejected request does not change the world;
 *  - changed machines are marked as touched and have the version of their rows;
 *  - live rows, timelines and the model agree on the use of machines and of clients with counted
 *    limits in each second, while the world forgets the past;
 *  - from a machine's last capacity change on, no second exceeds its capacity. */
#include "core/decide.h"
#include "tests/unit/core_state.h"
#include "tests/unit/decide_model.h"
#include "tests/unit/support.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OPS_PER_FARM   1000
#define DEFAULT_OPS    300000
#define FIRST_MACHINES 4
#define PARTS          3
#define FIRST_SECOND   20
#define LONGEST_LAG_S  15
#define LAST_SECOND    100
#define LONGEST_S      24
#define FURTHEST_S     24
#define GHOST          "m9" /* never registered */
#define MAX_SHARES     4
#define MAX_WINDOWS    4
/* Hundreds of GPUs, so that GPU-hours matter within a farm's two minutes. */
#define UNIT           100
#define STORE_ROWS     64
#define CHECKS         4 /* full comparisons per farm and size */

struct op {
    struct credential credential;
    struct claims claims;
    struct submission submission;
    struct share shares[MAX_SHARES];
    struct window windows[MAX_WINDOWS];
    struct model_answer answer;
    uint64_t digest; /* of the whole decision in the first batch size */
};

struct stored_booking {
    struct booking row;
    size_t count;
    struct allocation rows[STORE_ROWS];
};

struct store {
    size_t machine_count, booking_count;
    struct machine machines[MODEL_MACHINES];
    int64_t client_versions[MODEL_CLIENTS];
    struct stored_booking bookings[MODEL_BOOKINGS];
};

static const char *const names[MODEL_MACHINES] = {"m0", "m1", "m2", "m3", "m4"};
static const char *const clients[MODEL_CLIENTS] = {"batch-1", "batch-2"};
static const struct label pools[2][1] = {{{"pool", "a"}}, {{"pool", "b"}}};
static struct op ops[OPS_PER_FARM];
static struct model model;
static struct store store;
static uint64_t tally[REASON_COUNT], accepted[REQUEST_TYPE_COUNT], displaced;
/* Coverage of the generator: accepted requests by kind, and rejections with a next start. */
static uint64_t any_accepted, any_nexts, whole_nexts, series_accepted, series_gaps,
    series_cancelled;
static uint64_t in_use_listed, limits_hit[5];
static uint64_t rng, where_seed;
static int where_farm, where_op;

/* --- chance --- */

static int64_t between(int64_t low, int64_t high)
{
    return low + (int64_t)(random_next(&rng) % (uint64_t)(high - low + 1));
}

static bool chance(int percent)
{
    return between(0, 99) < percent;
}

static int64_t ms_of(int64_t second)
{
    return (MODEL_BASE_S + second) * 1000;
}

static int64_t in_life(int64_t second)
{
    return second < 0 ? 0 : second > MODEL_SECONDS ? MODEL_SECONDS : second;
}

/* --- requests --- */

static struct amount random_amount(void)
{
    struct amount amount = {.gpus = between(0, 3) * UNIT, .memory_gib = between(0, 6)};
    if (amount.gpus + amount.memory_gib == 0)
        amount.gpus = UNIT;
    return amount;
}

/* Distinct machines in any order. */
static size_t random_shares(struct op *op)
{
    size_t count = (size_t)between(0, 3);
    size_t first = (size_t)between(0, MODEL_MACHINES - 1);
    size_t step = (size_t)between(1, MODEL_MACHINES - 1);
    for (size_t i = 0; i < count; i++)
        op->shares[i] = (struct share){names[(first + i * step) % MODEL_MACHINES], random_amount()};
    if (count > 0 && chance(2))
        op->shares[count - 1].machine = GHOST;
    return count;
}

static struct labels random_pool(void)
{
    return chance(40) ? (struct labels){0}
                      : (struct labels){.count = 1, .items = pools[between(0, 1)]};
}

/* Windows at equal distances, from the request's own window on. */
static void random_repeat(struct op *op, int64_t start_s, int64_t length_s)
{
    struct booking_create *create = &op->claims.request.booking_create;
    int64_t step_s = between(1, 12);
    create->start_ms = ms_of(start_s);
    create->windows = op->windows;
    create->skip_conflicts = chance(60);
    for (int64_t count = between(1, MAX_WINDOWS); (int64_t)create->window_count < count;) {
        int64_t from_s = start_s + step_s * (int64_t)create->window_count;
        if (from_s + length_s > MODEL_SECONDS)
            break;
        op->windows[create->window_count++] = (struct window){ms_of(from_s),
                                                              ms_of(from_s + length_s)};
    }
}

static void random_create(struct op *op, int64_t floor_s)
{
    struct booking_create *create = &op->claims.request.booking_create;
    *create = (struct booking_create){
        .start_ms = TIME_NONE, .end_ms = TIME_NONE, .duration_ms = TIME_NONE, .shares = op->shares};
    int64_t start_s = floor_s + 1;
    if (chance(80)) {
        start_s = in_life(floor_s + between(chance(10) ? -3 : 0, FURTHEST_S));
        create->start_ms = ms_of(start_s);
    }
    int64_t length_s = between(1, chance(50) ? 4 : LONGEST_S);
    if (chance(1))
        length_s += LIMIT_BOOKING_S;
    if (chance(1))
        create->start_ms = ms_of(floor_s + LIMIT_AHEAD_S + 2);
    if (chance(50)) {
        create->duration_ms = length_s * 1000;
    } else {
        create->end_ms = ms_of(start_s + length_s - (length_s <= LONGEST_S && chance(3) ? 30 : 0));
    }
    if (chance(30)) {
        create->any = (struct any){
            .count = between(1, 4), .amount = random_amount(), .labels = random_pool()};
    } else {
        create->share_count = random_shares(op);
    }
    if (chance(10) && length_s <= LONGEST_S && start_s >= 0 &&
        model.booking_count + OPS_PER_FARM < MODEL_BOOKINGS)
        random_repeat(op, start_s, length_s);
}

/* A recent booking, or any. */
static const struct model_booking *random_booking(void)
{
    if (model.booking_count == 0)
        return NULL;
    int64_t last = (int64_t)model.booking_count - 1;
    int64_t first = chance(95) && last > 24 ? last - 24 : 0;
    return &model.bookings[between(first, last)];
}

static int64_t random_target(struct op *op)
{
    const struct model_booking *booking = random_booking();
    if (!booking || chance(2))
        return 12345;
    if (chance(95))
        op->credential.client = op->claims.issuer = booking->client;
    return booking->id;
}

static void random_cancel(struct op *op)
{
    struct booking_cancel *cancel = &op->claims.request.booking_cancel;
    *cancel = (struct booking_cancel){.booking = random_target(op)};
    const struct model_booking *booking = model_find(&model, cancel->booking);
    if (chance(30) && (!booking || booking->series != 0)) {
        cancel->series = true;
        if (booking)
            cancel->booking = booking->series;
    } else if (chance(2)) {
        cancel->series = true; /* the booking may belong to no series */
    }
}

static void random_amend(struct op *op, int64_t floor_s)
{
    struct booking_amend *amend = &op->claims.request.booking_amend;
    *amend = (struct booking_amend){.booking = random_target(op),
                                    .start_ms = TIME_NONE,
                                    .end_ms = TIME_NONE,
                                    .shares = op->shares};
    const struct model_booking *booking = model_find(&model, amend->booking);
    int64_t start_s = booking ? booking->start_s : floor_s;
    int64_t end_s = booking ? booking->end_s : floor_s + 2;
    if (chance(30))
        amend->start_ms = ms_of(in_life(start_s + (chance(50) ? between(-6, 6) : 0)));
    if (chance(60))
        amend->end_ms = ms_of(in_life(end_s + between(-6, 8)));
    if (chance(1))
        amend->end_ms = ms_of(end_s + LIMIT_BOOKING_S + 20);
    amend->has_shares = chance(50);
    if (!amend->has_shares)
        return;
    amend->share_count = random_shares(op);
    /* Often the present use, slightly changed, so that rows stay, shrink and grow. */
    for (size_t i = 0; booking && i < amend->share_count; i++) {
        int index = model_machine_index(op->shares[i].machine);
        struct amount held = index < 0 ? (struct amount){0} : booking->held[index][end_s - 1];
        if (held.gpus + held.memory_gib == 0 || chance(20))
            continue;
        op->shares[i].amount = held;
        if (chance(30) && held.gpus > UNIT)
            op->shares[i].amount.gpus -= UNIT;
        if (chance(20))
            op->shares[i].amount.memory_gib++;
    }
}

static void random_update(struct op *op)
{
    struct machine_update *update = &op->claims.request.machine_update;
    const char *name = chance(2) ? GHOST : names[between(0, MODEL_MACHINES - 1)];
    *update = (struct machine_update){.machine = name, .displace = chance(60)};
    update->has_gpus = chance(60);
    update->has_memory_gib = chance(30);
    update->capacity = (struct amount){.gpus = between(2, 5) * UNIT, .memory_gib = between(4, 12)};
    update->has_labels = chance(20);
    update->labels = random_pool();
    update->has_state = chance(40);
    int64_t pick = between(0, 19);
    update->state = pick < 16 ? MACHINE_UP : pick < 19 ? MACHINE_DRAINING : MACHINE_RETIRED;
}

static void random_request(struct op *op, int64_t floor_s)
{
    struct request *request = &op->claims.request;
    int64_t pick = between(0, 99);
    request->type = pick < 48   ? REQUEST_BOOKING_CREATE
                    : pick < 76 ? REQUEST_BOOKING_AMEND
                    : pick < 86 ? REQUEST_BOOKING_CANCEL
                    : pick < 97 ? REQUEST_MACHINE_UPDATE
                                : REQUEST_MACHINE_REGISTER;
    bool for_admins = pick >= 86;
    op->credential.role = chance(for_admins ? 95 : 5) ? ROLE_ADMIN : ROLE_SUBMITTER;
    switch (request->type) {
    case REQUEST_BOOKING_CREATE:
        random_create(op, floor_s);
        break;
    case REQUEST_BOOKING_AMEND:
        random_amend(op, floor_s);
        break;
    case REQUEST_BOOKING_CANCEL:
        random_cancel(op);
        break;
    case REQUEST_MACHINE_UPDATE:
        random_update(op);
        break;
    default:
        request->machine_register = (struct machine_register){
            .machine = names[between(0, MODEL_MACHINES - 1)],
            .capacity = {.gpus = between(2, 5) * UNIT, .memory_gib = between(4, 12)},
            .labels = random_pool(),
            .id = chance(50) ? between(1, 8) : 0};
    }
}

/* A partition's clock: never runs backwards, lags seconds behind the others; sometimes it catches
 * up in one step, or falls behind. */
struct part_clock {
    int64_t now_ms, lag_ms, seq;
};

static void clock_step(struct part_clock *clock, int index)
{
    int64_t pace_ms = ms_of(FIRST_SECOND) +
                      (int64_t)index * (LAST_SECOND - FIRST_SECOND) * 1000 / OPS_PER_FARM;
    if (chance(2))
        clock->lag_ms = chance(50) ? 0 : between(0, LONGEST_LAG_S * 1000);
    int64_t now_ms = pace_ms - clock->lag_ms + between(0, 1000);
    if (chance(30))
        now_ms -= now_ms % 1000;
    if (now_ms > clock->now_ms)
        clock->now_ms = now_ms;
}

/* Generates one message. */
static void random_op(struct op *op, struct part_clock *clocks, int index)
{
    int64_t part = between(0, PARTS - 1);
    struct part_clock *clock = &clocks[part];
    clock_step(clock, index);
    *op = (struct op){
        .credential = {.client = clients[between(0, 1)], .not_after_ms = INT64_MAX},
        .claims = {.audience = "test", .user = "alice", .id = "r"},
        .submission = {.part = (int32_t)part,
                       .seq = ++clock->seq,
                       .now_ms = clock->now_ms,
                       .farm = "test"},
    };
    op->claims.issuer = op->credential.client;
    op->submission.credential = &op->credential;
    op->submission.claims = &op->claims;
    random_request(op, clock->now_ms / 1000 - MODEL_BASE_S);
    op->credential.limits = model.limits[model_client_index(op->credential.client)];
    op->claims.type = op->claims.request.type;
}

/* Most machines exist from the start; the order of ids differs from that of names. */
static void first_machines(void)
{
    static const int64_t ids[FIRST_MACHINES] = {3, 1, 4, 2};
    for (int i = 0; i < FIRST_MACHINES; i++) {
        struct machine *row = &store.machines[store.machine_count++];
        *row = (struct machine){.id = ids[i],
                                .capacity = {.gpus = (i + 2) * UNIT, .memory_gib = 4 + 4 * i},
                                .version = 1,
                                .capacity_changed_ms = ms_of(0)};
        snprintf(row->name, sizeof(row->name), "%s", names[i]);
        model.machines[i] = (struct model_machine){
            .exists = true, .id = ids[i], .capacity = row->capacity, .capacity_changed_s = 0};
    }
}

static void count_kinds(const struct op *op)
{
    const struct model_answer *answer = &op->answer;
    const struct request *request = &op->claims.request;
    bool good = answer->reason == REASON_NONE, create = request->type == REQUEST_BOOKING_CREATE;
    bool any = create && request->booking_create.any.count > 0;
    bool later_start = answer->reason == REASON_INSUFFICIENT_CAPACITY && answer->next_s >= 0;
    any_accepted += good && any ? 1 : 0;
    any_nexts += later_start && any ? 1 : 0;
    whole_nexts += later_start && answer->free_count > 1 ? 1 : 0;
    series_accepted += good && create && answer->occurrence_count > 1 ? 1 : 0;
    series_gaps += good && create && request->booking_create.skip_conflicts ? 1 : 0;
    series_cancelled += good && !create && answer->occurrence_count > 1 ? 1 : 0;
    in_use_listed += answer->in_use_count;
    static const char *const limits[] = {"allocations", "booking_s", "ahead_s", "gpus_at_once",
                                         "gpu_hours_ahead"};
    for (int i = 0; i < 5 && answer->limit.name; i++)
        limits_hit[i] += strcmp(limits[i], answer->limit.name) == 0 ? 1 : 0;
}

/* Each client has some limits or none. */
static void random_limits(struct client_limits *limits)
{
    *limits = (struct client_limits){
        .booking_s = chance(15) ? between(8, LONGEST_S) : 0,
        .ahead_s = chance(15) ? between(10, FURTHEST_S) : 0,
        .allocations = chance(15) ? between(1, 3) : 0,
        .gpus_at_once = chance(40) ? between(4, 12) * UNIT : 0,
        .gpu_hours_ahead = chance(40) ? between(1, 5) : 0,
    };
}

static void make_farm(void)
{
    struct model_booking *bookings = model.bookings;
    memset(&model, 0, sizeof(model));
    model.bookings = bookings;
    store.machine_count = store.booking_count = 0;
    for (int i = 0; i < MODEL_CLIENTS; i++)
        random_limits(&model.limits[i]);
    first_machines();
    struct part_clock clocks[PARTS] = {{0}};
    for (int i = 0; i < OPS_PER_FARM; i++) {
        random_op(&ops[i], clocks, i);
        model_decide(&model, &ops[i].submission, &ops[i].answer);
        tally[ops[i].answer.reason]++;
        if (ops[i].answer.reason == REASON_NONE)
            accepted[ops[i].claims.type]++;
        displaced += ops[i].answer.displaced_count;
        count_kinds(&ops[i]);
    }
}

/* --- complaints --- */

__attribute__((noreturn, format(printf, 1, 2))) static void wrong(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "seed %" PRIu64 " farm %d op %d: ", where_seed, where_farm, where_op);
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    fail_msg("see above; run again with TEST_SEED=%" PRIu64, where_seed);
    abort();
}

static void same(const char *what, int64_t got, int64_t wanted)
{
    if (got != wanted)
        wrong("%s is %" PRId64 ", not %" PRId64, what, got, wanted);
}

static void same_amount(const char *what, struct amount got, struct amount wanted)
{
    if (got.gpus != wanted.gpus || got.memory_gib != wanted.memory_gib) {
        wrong("%s is %" PRId64 ":%" PRId64 ", not %" PRId64 ":%" PRId64, what, got.gpus,
              got.memory_gib, wanted.gpus, wanted.memory_gib);
    }
}

/* --- a decision --- */

static void fold_int(uint64_t *digest, int64_t number)
{
    *digest = (*digest ^ (uint64_t)number) * UINT64_C(0x9e3779b97f4a7c15);
    *digest ^= *digest >> 29;
}

static void fold_text(uint64_t *digest, const char *text)
{
    fold_int(digest, !text ? -1 : 1);
    for (; text && *text != '\0'; text++)
        fold_int(digest, (unsigned char)*text);
}

static void fold_shares(uint64_t *digest, const struct share *shares, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        fold_text(digest, shares[i].machine);
        fold_int(digest, shares[i].amount.gpus);
        fold_int(digest, shares[i].amount.memory_gib);
    }
}

/* NULL: none. */
static void fold_booking(uint64_t *digest, const struct booking_view *booking)
{
    if (!booking)
        return;
    fold_int(digest, booking->id);
    fold_int(digest, booking->version * 8 + booking->state);
    fold_int(digest, booking->series);
    fold_text(digest, booking->client);
    fold_text(digest, booking->user);
    fold_int(digest, booking->start_ms);
    fold_int(digest, booking->end_ms);
    fold_shares(digest, booking->shares, booking->share_count);
}

static void fold_series(uint64_t *digest, const struct series_view *series)
{
    if (!series)
        return;
    fold_int(digest, series->id);
    for (size_t i = 0; i < series->count; i++) {
        const struct occurrence *occurrence = &series->occurrences[i];
        fold_int(digest, occurrence->window.start_ms);
        fold_int(digest, occurrence->window.end_ms);
        fold_int(digest, occurrence->booking);
        fold_int(digest, occurrence->version * 8 + occurrence->state);
        fold_int(digest, occurrence->reason);
        fold_text(digest, occurrence->machine);
        fold_shares(digest, occurrence->shares, occurrence->share_count);
        fold_booking(digest, occurrence->previous);
    }
}

static uint64_t digest_of(const struct decision *out)
{
    uint64_t digest = 1;
    fold_int(&digest, out->reason);
    fold_int(&digest, out->verified + 2 * out->uses_id + 4 * out->has_free);
    fold_int(&digest, out->subject_kind);
    fold_int(&digest, out->subject_booking);
    fold_text(&digest, out->subject_machine);
    fold_text(&digest, out->detail);
    fold_text(&digest, out->pointer);
    fold_text(&digest, out->blocking_machine);
    fold_int(&digest, out->next_available_ms);
    fold_int(&digest, out->fitting);
    fold_int(&digest, out->free.gpus * 1000 + out->free.memory_gib);
    for (size_t i = 0; i < out->free_count; i++) {
        fold_text(&digest, out->frees[i].machine);
        fold_int(&digest, out->frees[i].amount.gpus * 1000 + out->frees[i].amount.memory_gib);
    }
    for (size_t i = 0; i < out->in_use_count; i++)
        fold_int(&digest, out->in_use[i]);
    if (out->limit) {
        fold_text(&digest, out->limit->name);
        fold_int(&digest, out->limit->limit);
        fold_int(&digest, out->limit->used);
        fold_int(&digest, out->limit->asked);
    }
    fold_series(&digest, out->series);
    const struct machine_view *machine = out->machine;
    if (machine) {
        fold_text(&digest, machine->name);
        fold_int(&digest, machine->id);
        fold_int(&digest, machine->version);
        fold_int(&digest, machine->capacity.gpus * 1000 + machine->capacity.memory_gib);
        fold_int(&digest, machine->state);
    }
    fold_booking(&digest, out->booking);
    fold_booking(&digest, out->previous);
    fold_int(&digest, out->effective_ms);
    for (size_t i = 0; i < out->displaced_count; i++) {
        fold_booking(&digest, &out->displaced[i].booking);
        fold_booking(&digest, out->displaced[i].previous);
    }
    return digest;
}

static void compare_booking(const struct booking_view *view, const struct model_answer *answer)
{
    same("the booking", view->id, answer->booking);
    same("its version", view->version, answer->version);
    same("its start", view->start_ms, ms_of(answer->start_s));
    same("its end", view->end_ms, ms_of(answer->end_s));
    same("its state", view->state, answer->state);
    size_t held = 0;
    for (int m = 0; m < MODEL_MACHINES; m++)
        held += answer->held[m].gpus + answer->held[m].memory_gib > 0 ? 1 : 0;
    same("the number of shares", (int64_t)view->share_count, (int64_t)held);
    for (size_t i = 0; i < view->share_count; i++) {
        int index = model_machine_index(view->shares[i].machine);
        if (index < 0)
            wrong("a share of %s", view->shares[i].machine);
        same_amount("a share", view->shares[i].amount, answer->held[index]);
        if (i > 0 && model.machines[model_machine_index(view->shares[i - 1].machine)].id >=
                         model.machines[index].id)
            wrong("shares are not in the order of machine ids");
    }
}

static void compare_capacity(const struct decision *out, const struct model_answer *answer)
{
    same("has_free", out->has_free, answer->has_free);
    if (out->has_free)
        same_amount("free", out->free, answer->free);
    same("free_count", (int64_t)out->free_count, (int64_t)answer->free_count);
    for (size_t i = 0; i < out->free_count; i++)
        same_amount("one of frees", out->frees[i].amount, answer->frees[i]);
    same("fitting", out->fitting, answer->fitting);
    same("next_available", out->next_available_ms,
         answer->next_s < 0 ? TIME_NONE : ms_of(answer->next_s));
    same("in_use_count", (int64_t)out->in_use_count, (int64_t)answer->in_use_count);
    for (size_t i = 0; i < out->in_use_count; i++)
        same("a booking in use", out->in_use[i], answer->in_use[i]);
}

static void compare_limit(const struct limit_view *view, const struct limit_view *answer)
{
    same("whether there is a limit", view != NULL, answer->name != NULL);
    if (!view)
        return;
    if (strcmp(view->name, answer->name) != 0)
        wrong("the limit is %s, not %s", view->name, answer->name);
    same("the limit", view->limit, answer->limit);
    same("what is used of it", view->used, answer->used);
    same("what is asked for of it", view->asked, answer->asked);
}

static void compare_series(const struct series_view *view, const struct model_answer *answer)
{
    int64_t sum = 0;
    for (size_t i = 0; view && i < view->count; i++) {
        const struct occurrence *it = &view->occurrences[i];
        int machine = it->machine ? model_machine_index(it->machine) : -1;
        sum += model_occurrence(it->booking, it->reason, machine) * (int64_t)(i + 1);
    }
    same("occurrences", view ? (int64_t)view->count : 0, (int64_t)answer->occurrence_count);
    same("what they are", sum, answer->occurrence_sum);
}

static void compare(const struct decision *out, struct op *op, bool first)
{
    const struct model_answer *answer = &op->answer;
    if (out->reason != answer->reason) {
        wrong("it is %s (%s), not %s", out->reason ? reason_name(out->reason) : "accepted",
              out->detail ? out->detail : "", answer->reason ? reason_name(answer->reason) : "ok");
    }
    if (answer->machine >= 0)
        same("the blocking machine", model_machine_index(out->blocking_machine), answer->machine);
    compare_capacity(out, answer);
    compare_limit(out->limit, &answer->limit);
    compare_series(out->series, answer);
    if (answer->booking != 0 && out->reason == REASON_NONE)
        compare_booking(out->booking, answer);
    same("the number of displaced bookings", (int64_t)out->displaced_count,
         (int64_t)answer->displaced_count);
    uint64_t sum = 0;
    for (size_t i = 0; i < out->displaced_count; i++)
        sum += (uint64_t)out->displaced[i].booking.id * (i + 1);
    same("the displaced bookings", (int64_t)sum, (int64_t)answer->displaced_sum);
    uint64_t digest = digest_of(out);
    if (first) {
        op->digest = digest;
    } else if (digest != op->digest) {
        wrong("the decision depends on the batch: %s", out->detail ? out->detail : "accepted");
    }
}

/* --- the store --- */

static struct stored_booking *stored(int64_t id)
{
    for (size_t i = store.booking_count; i > 0; i--) {
        if (store.bookings[i - 1].row.id == id)
            return &store.bookings[i - 1];
    }
    return NULL;
}

static void load_booking(struct world *world, const struct stored_booking *from)
{
    if (!from || world_booking(world, from->row.id))
        return;
    struct booking *booking = world_booking_put(world, &from->row);
    /* From a random index on, in either direction: the order must not matter. */
    size_t shift = from->count > 0 ? (size_t)between(0, (int64_t)from->count - 1) : 0;
    bool back = chance(50);
    for (size_t i = 0; i < from->count; i++) {
        size_t at = (i + shift) % from->count;
        world_allocation_add(world, booking, &from->rows[back ? from->count - 1 - at : at]);
    }
}

static int64_t known_from(const struct op *first, size_t count)
{
    int64_t known_from_ms = INT64_MAX;
    for (size_t i = 0; i < count; i++) {
        int64_t floor_ms = time_floor_s(first[i].submission.now_ms);
        if (floor_ms < known_from_ms)
            known_from_ms = floor_ms;
    }
    return known_from_ms;
}

static void load_timeline(struct world *world, struct machine *machine, int64_t known_from_ms)
{
    world_timeline_start(world, machine, known_from_ms);
    for (size_t i = 0; i < store.booking_count; i++) {
        for (size_t k = 0; k < store.bookings[i].count; k++) {
            const struct allocation *row = &store.bookings[i].rows[k];
            if (row->machine_id == machine->id && row->live && row->end_ms > known_from_ms)
                world_timeline_add(world, machine, row->start_ms, row->end_ms, row->amount);
        }
    }
}

static void load_client(struct world *world, int index, int64_t known_from_ms)
{
    struct client row = {.limits = model.limits[index], .version = store.client_versions[index]};
    snprintf(row.name, sizeof(row.name), "%s", clients[index]);
    if (!model_is_counted(&row.limits))
        return;
    struct client *client = world_client_put(world, &row);
    if (client->timeline && timeline_covers(client->timeline, known_from_ms))
        return;
    world_client_timeline_start(world, client, known_from_ms);
    for (size_t i = 0; i < store.booking_count; i++) {
        const struct stored_booking *booking = &store.bookings[i];
        for (size_t k = 0; strcmp(booking->row.client, clients[index]) == 0 && k < booking->count;
             k++) {
            const struct allocation *it = &booking->rows[k];
            if (it->live && it->end_ms > known_from_ms)
                world_client_timeline_add(world, client, it->start_ms, it->end_ms, it->amount);
        }
    }
}

static void load_series(struct world *world, int64_t series)
{
    for (size_t i = 0; i < store.booking_count; i++) {
        if (store.bookings[i].row.series == series)
            load_booking(world, &store.bookings[i]);
    }
}

/* Loads the booked bookings that use the machine from then on, like the worker. */
static void load_displaceable(struct world *world, const char *name, int64_t known_from_ms)
{
    const struct machine *machine = world_machine_by_name(world, name);
    for (size_t i = 0; machine && i < store.booking_count; i++) {
        const struct stored_booking *booking = &store.bookings[i];
        bool holds = false;
        for (size_t k = 0; k < booking->count; k++) {
            const struct allocation *row = &booking->rows[k];
            holds = holds ||
                    (row->machine_id == machine->id && row->live && row->end_ms > known_from_ms);
        }
        if (holds && booking->row.state == BOOKING_BOOKED)
            load_booking(world, booking);
    }
}

static void load(struct world *world, const struct op *first, size_t count)
{
    int64_t known_from_ms = known_from(first, count);
    for (size_t i = 0; i < store.machine_count; i++) {
        struct machine *machine = world_machine_put(world, &store.machines[i]);
        if (!machine->timeline || !timeline_covers(machine->timeline, known_from_ms))
            load_timeline(world, machine, known_from_ms);
    }
    for (int i = 0; i < MODEL_CLIENTS; i++)
        load_client(world, i, known_from_ms);
    for (size_t i = 0; i < count; i++) {
        const struct request *request = &first[i].claims.request;
        if (request->type == REQUEST_BOOKING_AMEND) {
            load_booking(world, stored(request->booking_amend.booking));
        } else if (request->type == REQUEST_BOOKING_CANCEL && request->booking_cancel.series) {
            load_series(world, request->booking_cancel.booking);
        } else if (request->type == REQUEST_BOOKING_CANCEL) {
            load_booking(world, stored(request->booking_cancel.booking));
        } else if (request->type == REQUEST_MACHINE_UPDATE) {
            load_displaceable(world, request->machine_update.machine, known_from_ms);
        }
    }
}

static struct machine *stored_machine(int64_t id)
{
    for (size_t i = 0; i < store.machine_count; i++) {
        if (store.machines[i].id == id)
            return &store.machines[i];
    }
    return NULL;
}

static struct labels pool_of(const struct machine *machine)
{
    if (machine->labels.count == 0)
        return (struct labels){0};
    bool b = strcmp(machine->labels.items[0].value, "b") == 0;
    return (struct labels){.count = 1, .items = pools[b]};
}

static void save_machines(struct world *world)
{
    for (size_t i = 0; i < world_touched_machine_count(world); i++) {
        const struct machine *machine = world_touched_machine(world, i);
        struct machine *row = stored_machine(machine->id);
        same("whether a machine is new", machine->is_new, !row);
        if (!row) {
            row = &store.machines[store.machine_count++];
        } else if (machine->version <= row->version) {
            wrong("%s is touched, but its version did not grow", machine->name);
        }
        *row = (struct machine){.id = machine->id,
                                .capacity = machine->capacity,
                                .state = machine->state,
                                .version = machine->version,
                                .capacity_changed_ms = machine->capacity_changed_ms};
        snprintf(row->name, sizeof(row->name), "%s", machine->name);
        row->labels = pool_of(machine);
    }
}

static void save_clients(struct world *world)
{
    for (size_t i = 0; i < world_touched_client_count(world); i++) {
        const struct client *client = world_touched_client(world, i);
        int64_t *version = &store.client_versions[model_client_index(client->name)];
        if (client->version <= *version)
            wrong("%s is touched, but its version did not grow", client->name);
        *version = client->version;
    }
}

static struct allocation *stored_row(struct stored_booking *booking, const struct allocation *key)
{
    for (size_t i = 0; i < booking->count; i++) {
        if (booking->rows[i].machine_id == key->machine_id &&
            booking->rows[i].start_ms == key->start_ms)
            return &booking->rows[i];
    }
    return NULL;
}

static void save_row(struct world *world, struct stored_booking *booking,
                     const struct allocation *from)
{
    struct allocation *row = stored_row(booking, from);
    if (!from->touched) {
        if (!row || row->end_ms != from->end_ms || row->live != from->live ||
            row->machine_version != from->machine_version ||
            row->amount.gpus != from->amount.gpus ||
            row->amount.memory_gib != from->amount.memory_gib)
            wrong("booking %" PRId64 ": a row changed without being touched", booking->row.id);
        return;
    }
    const struct machine *machine = world_machine_by_id(world, from->machine_id);
    const struct machine *before = stored_machine(from->machine_id);
    if (!machine->touched || from->machine_version > machine->version ||
        (before && from->machine_version <= before->version))
        wrong("booking %" PRId64 ": a row's machine version", booking->row.id);
    if (!row) {
        if (booking->count == STORE_ROWS)
            wrong("STORE_ROWS is too small");
        row = &booking->rows[booking->count++];
    }
    *row = *from;
    row->touched = false;
}

static void save(struct world *world)
{
    for (size_t i = 0; i < world_touched_booking_count(world); i++) {
        const struct booking *booking = world_touched_booking(world, i);
        struct stored_booking *to = stored(booking->id);
        same("whether a booking is new", booking->is_new, !to);
        if (!to) {
            to = &store.bookings[store.booking_count++];
            *to = (struct stored_booking){.row = *booking};
            to->row.client = strcmp(booking->client, clients[0]) == 0 ? clients[0] : clients[1];
            to->row.user = "alice";
            to->row.is_new = to->row.touched = false;
        }
        to->row.start_ms = booking->start_ms;
        to->row.end_ms = booking->end_ms;
        to->row.state = booking->state;
        to->row.version = booking->version;
        for (size_t k = 0; k < booking->allocation_count; k++)
            save_row(world, to, &booking->allocations[k]);
    }
    save_machines(world);
    save_clients(world);
}

/* --- the whole --- */

/* The machine's use in each second, from the live rows. */
static void fold_rows(int64_t machine_id, struct amount use[MODEL_SECONDS])
{
    memset(use, 0, sizeof(struct amount) * MODEL_SECONDS);
    for (size_t i = 0; i < store.booking_count; i++) {
        for (size_t k = 0; k < store.bookings[i].count; k++) {
            const struct allocation *row = &store.bookings[i].rows[k];
            if (row->machine_id != machine_id || !row->live)
                continue;
            for (int64_t ms = row->start_ms; ms < row->end_ms; ms += 1000) {
                use[(ms - ms_of(0)) / 1000].gpus += row->amount.gpus;
                use[(ms - ms_of(0)) / 1000].memory_gib += row->amount.memory_gib;
            }
        }
    }
}

/* The client's use in each second, from its rows. */
static void check_client(struct world *world, int index)
{
    int64_t gpus[MODEL_SECONDS] = {0}, sum = 0;
    const struct client *client = world_client(world, clients[index]);
    same("whether a client is counted", client != NULL, model_is_counted(&model.limits[index]));
    if (!client)
        return;
    for (size_t i = 0; i < store.booking_count; i++) {
        const struct stored_booking *booking = &store.bookings[i];
        for (size_t k = 0; strcmp(booking->row.client, clients[index]) == 0 && k < booking->count;
             k++) {
            const struct allocation *row = &booking->rows[k];
            for (int64_t ms = row->start_ms; row->live && ms < row->end_ms; ms += 1000)
                gpus[(ms - ms_of(0)) / 1000] += row->amount.gpus;
        }
    }
    int64_t known_s = (timeline_known_from(client->timeline) - ms_of(0)) / 1000;
    for (int64_t s = MODEL_SECONDS - 1; s >= known_s; s--) {
        sum += gpus[s] * 1000;
        same("a client's use", timeline_use_at(client->timeline, ms_of(s)).gpus, gpus[s]);
        same("a client's GPU time", (int64_t)quota_ahead(client, ms_of(s)), sum);
    }
    same("a client's whole GPU time", (int64_t)client->known_gpu_ms, sum);
}

/* `all`: the model has reached the same point, which it has only after the last batch. */
static void check_machines(struct world *world, bool all)
{
    for (size_t i = 0; i < store.machine_count; i++) {
        const struct machine *row = &store.machines[i];
        const struct machine *machine = world_machine_by_id(world, row->id);
        const struct timeline *tl = machine->timeline;
        struct amount use[MODEL_SECONDS];
        fold_rows(row->id, use);
        if (!tl || !timeline_check(tl))
            wrong("%s: its timeline is not in order", row->name);
        int index = model_machine_index(row->name);
        for (int64_t s = 0; s < MODEL_SECONDS; s++) {
            if (ms_of(s) >= row->capacity_changed_ms &&
                (use[s].gpus > row->capacity.gpus || use[s].memory_gib > row->capacity.memory_gib))
                wrong("%s is over capacity at second %" PRId64, row->name, s);
            if (ms_of(s) >= timeline_known_from(tl))
                same_amount("a timeline's use", timeline_use_at(tl, ms_of(s)), use[s]);
            if (all)
                same_amount("the use by rows", use[s], model.use[index][s]);
        }
        if (!all)
            continue;
        same("the capacity's change", row->capacity_changed_ms,
             ms_of(model.machines[index].capacity_changed_s));
        same_amount("the capacity", row->capacity, model.machines[index].capacity);
    }
    for (int i = 0; i < MODEL_CLIENTS; i++)
        check_client(world, i);
}

static int64_t state_sum(struct world *world, const struct op *op)
{
    int64_t sum = (int64_t)(world_touched_machine_count(world) * 1000003 +
                            world_touched_booking_count(world) * 10007);
    for (int i = 0; i < MODEL_MACHINES; i++) {
        const struct machine *machine = world_machine_by_name(world, names[i]);
        if (machine)
            sum += machine->version * 7 + (int64_t)timeline_point_count(machine->timeline);
    }
    for (int i = 0; i < MODEL_CLIENTS; i++) {
        const struct client *client = world_client(world, clients[i]);
        if (client) {
            sum += client->version * 13 + (int64_t)client->known_gpu_ms +
                   (int64_t)timeline_point_count(client->timeline);
        }
    }
    const struct request *request = &op->claims.request;
    int64_t id = request->type == REQUEST_BOOKING_AMEND    ? request->booking_amend.booking
                 : request->type == REQUEST_BOOKING_CANCEL ? request->booking_cancel.booking
                                                           : 0;
    const struct booking *booking = world_booking(world, id);
    return !booking ? sum
                    : sum + booking->version * 31 + (int64_t)booking->allocation_count +
                          booking->end_ms - booking->start_ms;
}

static void decide_batch(struct world *world, struct op *first, size_t count, bool first_size)
{
    for (size_t i = 0; i < count; i++) {
        struct op *op = &first[i];
        struct decision out;
        where_op = (int)(op - ops);
        int64_t before = state_sum(world, op);
        decide(world, &op->submission, &out);
        compare(&out, op, first_size);
        if (out.reason != REASON_NONE)
            same("the state after a rejection", state_sum(world, op), before);
    }
}

static void run_farm(size_t batch_size, bool first_size)
{
    struct world *world = world_new();
    size_t checks = 0;
    for (size_t from = 0, count; from < OPS_PER_FARM; from += count) {
        count = batch_size < OPS_PER_FARM - from ? batch_size : OPS_PER_FARM - from;
        for (bool committed = false; !committed;) {
            committed = !chance(10);
            world_batch_begin(world);
            load(world, &ops[from], count);
            decide_batch(world, &ops[from], count, first_size);
            if (committed)
                save(world);
            world_batch_end(world, committed);
        }
        if (chance(1)) { /* like a lost session */
            world_free(world);
            world = world_new();
        }
        if (from + count < OPS_PER_FARM && chance(20))
            world_forget_before(world, known_from(&ops[from + count], OPS_PER_FARM - from - count));
        bool last = from + count == OPS_PER_FARM;
        if (last || from * CHECKS > checks * OPS_PER_FARM) {
            world_batch_begin(world);
            load(world, &ops[from], count);
            check_machines(world, last);
            world_batch_end(world, true);
            checks++;
        }
    }
    world_free(world);
}

/* A digest of the store's rows, independent of their order. */
static uint64_t store_digest(void)
{
    uint64_t digest = 0;
    for (size_t i = 0; i < store.machine_count; i++) {
        const struct machine *row = &store.machines[i];
        uint64_t one = 1;
        fold_text(&one, row->name);
        fold_int(&one, row->id);
        fold_int(&one, row->version * 8 + row->state);
        fold_int(&one, row->capacity_changed_ms);
        digest += one;
    }
    for (size_t i = 0; i < store.booking_count; i++) {
        const struct booking *booking = &store.bookings[i].row;
        for (size_t k = 0; k < store.bookings[i].count; k++) {
            const struct allocation *row = &store.bookings[i].rows[k];
            uint64_t one = 2;
            fold_int(&one, booking->id);
            fold_int(&one, booking->version);
            fold_int(&one, row->machine_id * 2 + row->live);
            fold_int(&one, row->start_ms);
            fold_int(&one, row->end_ms);
            fold_int(&one, row->amount.gpus * 1000 + row->amount.memory_gib);
            fold_int(&one, row->machine_version);
            digest += one;
        }
    }
    return digest;
}

static uint64_t number_from(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text && text[0] != '\0' ? strtoull(text, NULL, 10) : otherwise;
}

/* Fails if the generator does not reach enough cases of each kind. */
static void check_aim(bool long_enough)
{
    for (int i = 0; i < REASON_COUNT; i++) {
        if (tally[i] > 0) {
            print_message("%8" PRIu64 " %s\n", tally[i],
                          i > 0 ? reason_name((enum reason)i) : "ok");
        }
    }
    for (int i = 0; i < REQUEST_TYPE_COUNT; i++) {
        print_message("%8" PRIu64 " accepted %s\n", accepted[i],
                      request_type_name((enum request_type)i));
    }
    print_message("%8" PRIu64 " bookings displaced\n", displaced);
    const struct {
        const char *what;
        uint64_t count;
    } kinds[] = {
        {"any accepted", any_accepted},
        {"any rejected with a later start", any_nexts},
        {"several machines rejected with a later start", whole_nexts},
        {"series accepted", series_accepted},
        {"series that may skip accepted", series_gaps},
        {"series cancelled", series_cancelled},
        {"bookings listed as in use", in_use_listed},
        {"limit allocations", limits_hit[0]},
        {"limit booking_s", limits_hit[1]},
        {"limit ahead_s", limits_hit[2]},
        {"limit gpus_at_once", limits_hit[3]},
        {"limit gpu_hours_ahead", limits_hit[4]},
    };
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        print_message("%8" PRIu64 " %s\n", kinds[i].count, kinds[i].what);
    static const enum reason reached[] = {REASON_NONE,
                                          REASON_FORBIDDEN,
                                          REASON_UNKNOWN_BOOKING,
                                          REASON_INVALID_REQUEST,
                                          REASON_LIMIT_EXCEEDED,
                                          REASON_UNKNOWN_MACHINE,
                                          REASON_MACHINE_EXISTS,
                                          REASON_MACHINE_NOT_UP,
                                          REASON_BOOKING_OVER,
                                          REASON_START_IN_PAST,
                                          REASON_TOO_FAR_AHEAD,
                                          REASON_TOO_LONG,
                                          REASON_EXCEEDS_MACHINE,
                                          REASON_CAPACITY_IN_USE,
                                          REASON_INSUFFICIENT_CAPACITY};
    for (size_t i = 0; long_enough && i < sizeof(reached) / sizeof(reached[0]); i++)
        assert_true(tally[reached[i]] > 0);
    assert_true(!long_enough || displaced > 0);
    for (size_t i = 0; long_enough && i < sizeof(kinds) / sizeof(kinds[0]); i++)
        assert_true(kinds[i].count > 0);
}

static void test_decisions_are_the_models(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 7, 2000};
    where_seed = number_from("TEST_SEED", 1);
    uint64_t farms = (number_from("TEST_OPS", DEFAULT_OPS) + OPS_PER_FARM - 1) / OPS_PER_FARM;
    print_message("TEST_SEED=%" PRIu64 " TEST_OPS=%" PRIu64 "\n", where_seed, farms * OPS_PER_FARM);
    rng = where_seed;
    model.bookings = calloc(MODEL_BOOKINGS, sizeof(*model.bookings));
    for (uint64_t farm = 0; farm < farms; farm++) {
        where_farm = (int)farm;
        make_farm();
        uint64_t digest = 0;
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            store.machine_count = FIRST_MACHINES;
            store.booking_count = 0;
            memset(store.client_versions, 0, sizeof(store.client_versions));
            static struct machine fresh[FIRST_MACHINES];
            if (i == 0)
                memcpy(fresh, store.machines, sizeof(fresh));
            memcpy(store.machines, fresh, sizeof(fresh));
            run_farm(sizes[i], i == 0);
            if (i > 0 && store_digest() != digest)
                wrong("the rows depend on the batch");
            digest = store_digest();
        }
    }
    free(model.bookings);
    check_aim(farms >= 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_decisions_are_the_models)};
    return cmocka_run_group_tests_name("decide_random", tests, NULL, NULL);
}
