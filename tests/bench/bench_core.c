/* The core on one CPU core: decisions per second at 1k to 1M live bookings on one machine and on
 * 1,000 machines of 100 each, compared with two yardsticks; the search for the earliest start where
 * nothing fits; and the memory of a booking.
 *
 *   make bench-core          BENCH_MS=N  least CPU time per figure (300)
 *
 * A decision is a call of decide() with a decoded request, in batches of 2,000 with all the core's
 * work for a batch: half booking.create, half booking.cancel of a random live booking, which is put
 * into the world like the store does, so the number of live bookings is constant. Rejected creates
 * count; their share is printed. All figures are CPU time of this thread, hardly disturbed by other
 * load. The last line is one JSON object. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/unit/core_state.h"

#include "core/decide.h"

#define BATCH     2000
#define NOW_MS    INT64_C(1800000000000)
#define HOUR_S    3600
#define LONGEST_S (2 * HOUR_S)

struct live {
    int64_t id, version, start_ms, end_ms;
    size_t machine;
    struct amount amount;
};

/* Equal machines, with live bookings spread over them and over `span_s`. */
struct farm {
    size_t machine_count, live_count;
    struct amount capacity;
    int64_t span_s; /* range of the starts */
    struct world *world;
    struct machine **machines;
    struct live *live;
    int64_t seq;
    uint64_t creates, rejected;
};

/* A create, and the index in farm.live of the booking cancelled for it. */
struct message {
    struct claims create, cancel;
    struct share share;
    size_t place;
};

static const struct credential credential = {.client = "batch-1", .not_after_ms = INT64_MAX};
static uint64_t random_state = 1;
static int64_t least_ns;

static int64_t below(int64_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (int64_t)(random_state % (uint64_t)limit);
}

static int64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void *room(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (!memory)
        abort();
    return memory;
}

/* --- a farm --- */

static struct live random_live(const struct farm *farm)
{
    struct live live = {.start_ms = NOW_MS + (1 + below(farm->span_s)) * 1000,
                        .machine = (size_t)below((int64_t)farm->machine_count),
                        .amount = {.gpus = 1 + below(4), .memory_gib = 1 + below(64)}};
    live.end_ms = live.start_ms + (1 + below(LONGEST_S)) * 1000;
    return live;
}

static struct live random_that_fits(const struct farm *farm)
{
    for (;;) {
        struct live live = random_live(farm);
        struct machine *machine = farm->machines[live.machine];
        if (timeline_fits(machine->timeline, machine->capacity, live.start_ms, live.end_ms,
                          live.amount))
            return live;
    }
}

static struct farm farm_new(size_t machine_count, size_t live_count, int64_t gpus, int64_t span_s)
{
    struct farm farm = {.machine_count = machine_count,
                        .live_count = live_count,
                        .capacity = {.gpus = gpus, .memory_gib = gpus * 16},
                        .span_s = span_s,
                        .world = world_new(),
                        .machines = room(machine_count, sizeof(struct machine *)),
                        .live = room(live_count, sizeof(struct live)),
                        .seq = 1000000};
    world_batch_begin(farm.world);
    for (size_t i = 0; i < machine_count; i++) {
        struct machine row = {.id = (int64_t)i + 1, .capacity = farm.capacity, .version = 1};
        snprintf(row.name, sizeof(row.name), "gpu-%04zu", i);
        farm.machines[i] = world_machine_put(farm.world, &row);
        world_timeline_start(farm.world, farm.machines[i], NOW_MS);
    }
    for (size_t i = 0; i < live_count; i++) {
        struct live live = random_that_fits(&farm);
        live.id = (int64_t)i + 1;
        live.version = 1;
        farm.live[i] = live;
        world_timeline_add(farm.world, farm.machines[live.machine], live.start_ms, live.end_ms,
                           live.amount);
    }
    world_batch_end(farm.world, true);
    return farm;
}

static void farm_free(struct farm *farm)
{
    world_free(farm->world);
    free(farm->machines);
    free(farm->live);
}

static void make_messages(struct farm *farm, struct message *messages, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct live live = random_live(farm);
        struct message *m = &messages[i];
        m->place = (size_t)below((int64_t)farm->live_count);
        m->share = (struct share){.machine = farm->machines[live.machine]->name,
                                  .amount = live.amount};
        m->create = (struct claims){.issuer = "batch-1",
                                    .audience = "farm",
                                    .user = "alice",
                                    .id = "r",
                                    .has_iat = true,
                                    .has_exp = true,
                                    .iat_s = NOW_MS / 1000,
                                    .exp_s = NOW_MS / 1000 + 600};
        m->cancel = m->create;
        m->cancel.request.type = REQUEST_BOOKING_CANCEL;
        m->create.request = (struct request){.type = REQUEST_BOOKING_CREATE,
                                             .booking_create = {.start_ms = live.start_ms,
                                                                .end_ms = live.end_ms,
                                                                .duration_ms = TIME_NONE,
                                                                .share_count = 1,
                                                                .shares = &m->share}};
    }
}

static void put_live(struct farm *farm, const struct live *live)
{
    if (world_booking(farm->world, live->id))
        return;
    struct booking *booking = world_booking_put(farm->world,
                                                &(struct booking){.id = live->id,
                                                                  .client = "batch-1",
                                                                  .user = "alice",
                                                                  .start_ms = live->start_ms,
                                                                  .end_ms = live->end_ms,
                                                                  .version = live->version});
    world_allocation_add(farm->world, booking,
                         &(struct allocation){.machine_id = (int64_t)live->machine + 1,
                                              .start_ms = live->start_ms,
                                              .end_ms = live->end_ms,
                                              .amount = live->amount,
                                              .live = true});
}

/* A created booking replaces the cancelled one; a rejected create cancels nothing. */
static void decide_pair(struct farm *farm, struct message *m)
{
    struct decision out;
    struct submission in = {.seq = ++farm->seq,
                            .now_ms = NOW_MS,
                            .farm = "farm",
                            .credential = &credential,
                            .claims = &m->create};
    farm->creates++;
    decide(farm->world, &in, &out);
    if (out.reason != REASON_NONE) {
        farm->rejected++;
        return;
    }
    struct live *live = &farm->live[m->place];
    put_live(farm, live);
    m->cancel.request.booking_cancel.booking = live->id;
    in.seq = ++farm->seq;
    in.claims = &m->cancel;
    *live = (struct live){
        .id = out.booking->id,
        .version = 1,
        .start_ms = out.booking->start_ms,
        .end_ms = out.booking->end_ms,
        .machine = (size_t)world_machine_by_name(farm->world, m->share.machine)->id - 1,
        .amount = m->share.amount};
    decide(farm->world, &in, &out);
    if (out.reason != REASON_NONE)
        abort();
}

/* Returns the CPU time. */
static int64_t run_batch(struct farm *farm, struct message *messages)
{
    make_messages(farm, messages, BATCH / 2);
    int64_t began_ns = cpu_ns();
    world_batch_begin(farm->world);
    for (size_t i = 0; i < BATCH / 2; i++)
        decide_pair(farm, &messages[i]);
    world_batch_end(farm->world, true);
    return cpu_ns() - began_ns;
}

/* ns per decision. */
static double time_decisions(struct farm *farm)
{
    struct message *messages = room(BATCH / 2, sizeof(*messages));
    for (int i = 0; i < 20; i++)
        run_batch(farm, messages);
    int64_t ns = 0, seq = farm->seq;
    while (ns < least_ns)
        ns += run_batch(farm, messages);
    free(messages);
    return (double)ns / (double)(farm->seq - seq);
}

/* --- yardsticks: the same bookings --- */

/* A timeline as a sorted array of pieces, each with the use from at_ms on. */
struct piece {
    int64_t at_ms;
    struct amount use;
};
struct array {
    struct piece *pieces;
    size_t count;
};

/* The first piece that begins at or after `at_ms`. */
static size_t array_find(const struct array *array, int64_t at_ms)
{
    size_t low = 0, high = array->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (array->pieces[middle].at_ms < at_ms) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Splits the array so that a piece begins there. */
static size_t array_cut(struct array *array, int64_t at_ms)
{
    size_t i = array_find(array, at_ms);
    if (i < array->count && array->pieces[i].at_ms == at_ms)
        return i;
    memmove(&array->pieces[i + 1], &array->pieces[i], (array->count - i) * sizeof(struct piece));
    array->pieces[i] = (struct piece){at_ms, i > 0 ? array->pieces[i - 1].use : (struct amount){0}};
    array->count++;
    return i;
}

static void array_add(struct array *array, const struct live *live, int sign)
{
    size_t from = array_cut(array, live->start_ms);
    size_t to = array_cut(array, live->end_ms);
    for (size_t i = from; i < to; i++) {
        array->pieces[i].use.gpus += sign * live->amount.gpus;
        array->pieces[i].use.memory_gib += sign * live->amount.memory_gib;
    }
}

/* Removes a piece that is no change any more. */
static void array_join(struct array *array, int64_t at_ms)
{
    size_t i = array_find(array, at_ms);
    struct piece *piece = &array->pieces[i];
    struct amount before = i > 0 ? piece[-1].use : (struct amount){0};
    if (piece->use.gpus != before.gpus || piece->use.memory_gib != before.memory_gib)
        return;
    memmove(piece, piece + 1, (--array->count - i) * sizeof(*piece));
}

static void array_change(struct array *array, const struct live *live, int sign)
{
    array_add(array, live, sign);
    array_join(array, live->start_ms);
    array_join(array, live->end_ms);
}

static struct amount array_peak(const struct array *array, int64_t start_ms, int64_t end_ms)
{
    struct amount peak = {0};
    size_t i = array_find(array, start_ms + 1);
    for (i -= i > 0 ? 1 : 0; i < array->count && array->pieces[i].at_ms < end_ms; i++) {
        const struct amount *use = &array->pieces[i].use;
        peak.gpus = use->gpus > peak.gpus ? use->gpus : peak.gpus;
        peak.memory_gib = use->memory_gib > peak.memory_gib ? use->memory_gib : peak.memory_gib;
    }
    return peak;
}

static int compare_pieces(const void *a, const void *b)
{
    const struct piece *left = a, *right = b;
    return (left->at_ms > right->at_ms) - (left->at_ms < right->at_ms);
}

/* Adds all at once, to avoid O(n^2) in the set-up. */
static struct array array_of(const struct farm *farm)
{
    struct array array = {.pieces = room(2 * farm->live_count + 4, sizeof(struct piece))};
    for (size_t i = 0; i < farm->live_count; i++) {
        const struct live *live = &farm->live[i];
        array.pieces[2 * i] = (struct piece){live->start_ms, live->amount};
        array.pieces[2 * i + 1] = (struct piece){live->end_ms,
                                                 {-live->amount.gpus, -live->amount.memory_gib}};
    }
    qsort(array.pieces, 2 * farm->live_count, sizeof(struct piece), compare_pieces);
    struct amount use = {0};
    for (size_t i = 0; i < 2 * farm->live_count; i++) {
        use.gpus += array.pieces[i].use.gpus;
        use.memory_gib += array.pieces[i].use.memory_gib;
        if (array.count == 0 || array.pieces[array.count - 1].at_ms != array.pieces[i].at_ms)
            array.count++;
        array.pieces[array.count - 1] = (struct piece){array.pieces[i].at_ms, use};
    }
    return array;
}

/* The sum of all bookings in the window: an upper bound of the peak, cheaper to compute. */
static struct amount scan_peak(const struct farm *farm, const struct live *window)
{
    struct amount sum = {0};
    for (size_t i = 0; i < farm->live_count; i++) {
        const struct live *live = &farm->live[i];
        if (live->machine != window->machine || live->start_ms >= window->end_ms ||
            live->end_ms <= window->start_ms)
            continue;
        sum.gpus += live->amount.gpus;
        sum.memory_gib += live->amount.memory_gib;
    }
    return sum;
}

enum way { TREE, ARRAY, SCAN };

/* ns per step: a query, a removal and an insertion, without the rest of a decision. */
static double time_steps(struct farm *farm, enum way way)
{
    struct array array = way == ARRAY ? array_of(farm) : (struct array){0};
    struct timeline *tl = farm->machines[0]->timeline;
    int64_t steps = 0, seen = 0, began_ns = cpu_ns();
    for (; cpu_ns() - began_ns < least_ns; steps++) {
        struct live live = random_live(farm);
        struct live *old = &farm->live[below((int64_t)farm->live_count)];
        if (way == TREE) {
            seen += timeline_peak(tl, live.start_ms, live.end_ms).gpus;
            timeline_remove(tl, old->start_ms, old->end_ms, old->amount);
            timeline_add(tl, live.start_ms, live.end_ms, live.amount);
        } else if (way == ARRAY) {
            seen += array_peak(&array, live.start_ms, live.end_ms).gpus;
            array_change(&array, old, -1);
            array_change(&array, &live, 1);
        } else {
            seen += scan_peak(farm, &live).gpus;
        }
        live.id = old->id;
        live.version = old->version;
        *old = live;
    }
    free(array.pieces);
    if (seen < 0)
        abort();
    return (double)(cpu_ns() - began_ns) / (double)steps;
}

/* --- the earliest start where nothing fits --- */

/* Two uses in alternating seconds, so that `need` never fits for long enough. */
static double time_earliest(size_t count, struct amount even, struct amount odd, struct amount need)
{
    struct pool *pool = pool_new();
    struct timeline *tl = timeline_new(pool, 0);
    int64_t end_ms = (int64_t)count * 1000, start_ms = 0;
    for (int64_t i = 0; i < (int64_t)count; i++) {
        /* Not in time order: the nodes are then scattered in memory like a live tree's. */
        int64_t k = i * 7919 % (int64_t)count;
        timeline_add(tl, k * 1000, (k + 1) * 1000, k % 2 == 0 ? even : odd);
    }
    struct timeline_search search = {.capacity = {.gpus = 8, .memory_gib = 64},
                                     .need = need,
                                     .duration_ms = 2000,
                                     .horizon_ms = end_ms};
    int64_t runs = 0, began_ns = cpu_ns();
    for (; cpu_ns() - began_ns < least_ns; runs++) {
        if (timeline_earliest(tl, &search, &start_ms))
            abort();
    }
    double ns = (double)(cpu_ns() - began_ns) / (double)runs;
    timeline_free(tl);
    pool_free(pool);
    return ns / 1e6;
}

/* --- the report --- */

struct figures {
    double per_second[5], step_ns[4][3], earliest_ms[3], bytes;
};

static const struct {
    const char *name;
    size_t machines, live;
    int64_t gpus, span_s; /* chosen so that some creates, at most a tenth, are rejected */
} farms[5] = {
    {"1k", 1, 1000, 330, 1000 * 36},           {"10k", 1, 10000, 330, 10000 * 36},
    {"100k", 1, 100000, 330, 100000 * 36},     {"1M", 1, 1000000, 330, INT64_C(1000000) * 36},
    {"1000x100", 1000, 100000, 8, 200 * 3600},
};

static void run_farm(int i, struct figures *figures)
{
    struct farm farm = farm_new(farms[i].machines, farms[i].live, farms[i].gpus, farms[i].span_s);
    double ns = time_decisions(&farm);
    figures->per_second[i] = 1e9 / ns;
    printf("%-9s %9.0f decisions/s %7.0f ns each, %4.1f %% of the creates rejected\n",
           farms[i].name, 1e9 / ns, ns, 100.0 * (double)farm.rejected / (double)farm.creates);
    if (farms[i].machines == 1) {
        for (int way = TREE; way <= SCAN; way++)
            figures->step_ns[i][way] = time_steps(&farm, (enum way)way);
        /* The tree differs from farm.live from here on, so the farm is not reusable. */
    }
    fflush(stdout);
    farm_free(&farm);
}

/* Random windows on whole seconds, unsorted. */
static double bytes_per_booking(void)
{
    const size_t count = 1000000;
    struct farm farm = {.machine_count = 1, .span_s = INT64_C(1000000) * 36};
    struct pool *pool = pool_new();
    struct timeline *tl = timeline_new(pool, NOW_MS);
    for (size_t i = 0; i < count; i++) {
        struct live live = random_live(&farm);
        timeline_add(tl, live.start_ms, live.end_ms, live.amount);
    }
    double bytes = (double)pool_bytes(pool) / (double)count;
    timeline_free(tl);
    pool_free(pool);
    return bytes;
}

static void report_more(const struct figures *figures)
{
    static const char *const cases[3] = {"one blocked run", "gaps that are too short",
                                         "GPUs and memory block in turns"};
    printf("\none step (ask, take one off, put one on), ns, without a decision around it\n"
           "%-9s %12s %12s %16s\n",
           "", "timeline", "sorted array", "linear scan (ask)");
    for (int i = 0; i < 4; i++) {
        printf("%-9s %12.0f %12.0f %16.0f\n", farms[i].name, figures->step_ns[i][TREE],
               figures->step_ns[i][ARRAY], figures->step_ns[i][SCAN]);
    }
    printf("\nearliest start among 100k bookings when nothing fits, ms\n");
    for (int i = 0; i < 3; i++)
        printf("  %-32s %8.4f\n", cases[i], figures->earliest_ms[i]);
    printf("\nstate per booking: %.1f bytes (1M bookings on one machine)\n", figures->bytes);
}

int main(void)
{
    const char *text = getenv("BENCH_MS");
    struct figures figures = {0};
    least_ns = (text ? strtoll(text, NULL, 10) : 300) * 1000000;
    for (int i = 0; i < 5; i++)
        run_farm(i, &figures);
    const struct amount one = {1, 1};
    figures.earliest_ms[0] = time_earliest(100000, (struct amount){8, 1}, (struct amount){7, 2},
                                           (struct amount){2, 1});
    figures.earliest_ms[1] = time_earliest(100000, (struct amount){8, 1}, one, one);
    figures.earliest_ms[2] = time_earliest(100000, (struct amount){8, 1}, (struct amount){1, 64},
                                           one);
    figures.bytes = bytes_per_booking();
    report_more(&figures);
    double worst_ms = 0;
    for (int i = 0; i < 3; i++)
        worst_ms = figures.earliest_ms[i] > worst_ms ? figures.earliest_ms[i] : worst_ms;
    printf("{\"decisions_per_second\":{");
    for (int i = 0; i < 5; i++)
        printf("%s\"%s\":%.0f", i > 0 ? "," : "", farms[i].name, figures.per_second[i]);
    printf("},\"cost_ratio_1M_1k\":%.2f,\"earliest_start_ms_100k_full\":%.4f,"
           "\"bytes_per_booking\":%.1f}\n",
           figures.per_second[0] / figures.per_second[3], worst_ms, figures.bytes);
    return 0;
}
