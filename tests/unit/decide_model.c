#include "tests/unit/decide_model.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* One decision in progress; times in model seconds. */
struct turn {
    struct model *model;
    const struct submission *in;
    struct model_answer *out;
    int64_t floor_s, ceil_s, now_ms;
};

/* A booking's planned use of one machine over [from, end). */
struct wish {
    int machine; /* -1: unknown */
    const char *name;
    struct amount amount;
    bool grows;
};
struct wishes {
    struct model_booking *booking; /* NULL for a create */
    const char *client;
    bool begun, start_given;
    int64_t start_s, end_s, from_s, cut_s;
    const struct any *any; /* NULL: the request names its machines */
    size_t count;
    struct wish items[MODEL_MACHINES];
};

int model_machine_index(const char *name)
{
    int index = name[0] == 'm' ? name[1] - '0' : -1;
    return index >= 0 && index < MODEL_MACHINES ? index : -1;
}

int model_client_index(const char *name)
{
    return name[strlen(name) - 1] - '1';
}

bool model_is_counted(const struct client_limits *limits)
{
    return limits->gpus_at_once > 0 || limits->gpu_hours_ahead > 0;
}

int64_t model_occurrence(int64_t booking, enum reason reason, int machine)
{
    return booking * 1000 + (int64_t)reason * 20 + machine + 1;
}

struct model_booking *model_find(struct model *model, int64_t booking)
{
    for (size_t i = model->booking_count; i > 0; i--) {
        if (model->bookings[i - 1].id == booking)
            return &model->bookings[i - 1];
    }
    return NULL;
}

static bool exists(const struct model *model, const char *name)
{
    int index = model_machine_index(name);
    return index >= 0 && model->machines[index].exists;
}

static bool no(struct turn *t, enum reason reason, int machine)
{
    t->out->reason = reason;
    t->out->machine = machine;
    return false;
}

static bool within(struct amount a, struct amount limit)
{
    return a.gpus <= limit.gpus && a.memory_gib <= limit.memory_gib;
}

static struct amount plus(struct amount a, struct amount b)
{
    return (struct amount){a.gpus + b.gpus, a.memory_gib + b.memory_gib};
}

static struct amount minus(struct amount a, struct amount b)
{
    return (struct amount){a.gpus - b.gpus, a.memory_gib - b.memory_gib};
}

static bool is_some(struct amount a)
{
    return a.gpus > 0 || a.memory_gib > 0;
}

static int64_t seconds(int64_t ms)
{
    return ms / 1000 - MODEL_BASE_S;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void hold(struct model *model, struct model_booking *booking, int machine, int64_t s,
                 struct amount amount)
{
    struct amount *held = &booking->held[machine][s];
    struct amount *use = &model->use[machine][s];
    model->gpus[model_client_index(booking->client)][s] += amount.gpus - held->gpus;
    *use = plus(minus(*use, *held), amount);
    *held = amount;
    assert(use->gpus >= 0 && use->memory_gib >= 0);
}

static void answer_booking(struct turn *t, const struct model_booking *booking)
{
    struct model_answer *out = t->out;
    out->booking = booking->id;
    out->version = booking->version;
    out->start_s = booking->start_s;
    out->end_s = booking->end_s;
    out->state = booking->state;
    for (int m = 0; m < MODEL_MACHINES && booking->end_s > 0; m++)
        out->held[m] = booking->held[m][booking->end_s - 1];
}

/* --- create and amend --- */

/* Whether the wish exceeds the booking's present use in any second. */
static bool grows(const struct wishes *w, const struct wish *wish)
{
    if (!w->booking || wish->machine < 0)
        return true;
    for (int64_t s = w->from_s; s < w->end_s; s++) {
        if (s >= MODEL_SECONDS)
            return true;
        if (!within(wish->amount, w->booking->held[wish->machine][s]))
            return true;
    }
    return false;
}

static void wish_shares(struct turn *t, struct wishes *w, const struct share *shares, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct wish *wish = &w->items[w->count++];
        int machine = exists(t->model, shares[i].machine) ? model_machine_index(shares[i].machine)
                                                          : -1;
        *wish = (struct wish){machine, shares[i].machine, shares[i].amount, false};
        wish->grows = grows(w, wish);
    }
}

/* The use in the booking's last second, by machine id. */
static void wish_current(const struct turn *t, struct wishes *w)
{
    int64_t last_id = 0;
    for (;;) {
        int next = -1;
        for (int m = 0; m < MODEL_MACHINES; m++) {
            const struct model_machine *machine = &t->model->machines[m];
            if (machine->exists && machine->id > last_id &&
                (next < 0 || machine->id < t->model->machines[next].id))
                next = m;
        }
        if (next < 0)
            return;
        last_id = t->model->machines[next].id;
        struct amount held = w->booking->held[next][w->booking->end_s - 1];
        if (!is_some(held))
            continue;
        struct wish *wish = &w->items[w->count++];
        *wish = (struct wish){next, NULL, held, false};
        wish->grows = grows(w, wish);
    }
}

static bool exceeds(struct turn *t, const char *name, int64_t limit, int64_t used, int64_t asked)
{
    t->out->limit = (struct limit_view){name, limit, used, asked};
    return no(t, REASON_LIMIT_EXCEEDED, -1);
}

static int64_t longest_s(const struct turn *t)
{
    int64_t own = t->in->credential->limits.booking_s;
    return own > 0 ? own : LIMIT_BOOKING_S;
}

static int64_t furthest_s(const struct turn *t)
{
    int64_t own = t->in->credential->limits.ahead_s;
    return own > 0 ? own : LIMIT_AHEAD_S;
}

static int64_t machines_held(const struct model_booking *booking)
{
    int64_t count = 0;
    for (int m = 0; m < MODEL_MACHINES; m++)
        count += is_some(booking->held[m][booking->end_s - 1]) ? 1 : 0;
    return booking->state == BOOKING_CANCELLED ? 0 : count;
}

static int64_t length_s(const struct model_booking *booking)
{
    return !booking ? 0 : booking->end_s - booking->start_s;
}

static bool too_far(const struct turn *t, const struct wishes *w)
{
    bool further = !w->booking || w->start_s > w->booking->start_s;
    return further && (w->start_s + MODEL_BASE_S) * 1000 - t->now_ms > furthest_s(t) * 1000;
}

static bool too_long(const struct turn *t, const struct wishes *w)
{
    return w->end_s - w->start_s > longest_s(t) && w->end_s - w->start_s > length_s(w->booking);
}

static bool check_own_limits(struct turn *t, const struct wishes *w)
{
    const struct client_limits *own = &t->in->credential->limits;
    int64_t count = w->any ? w->any->count : (int64_t)w->count;
    if (own->allocations > 0 && count > own->allocations &&
        (!w->booking || count > machines_held(w->booking)))
        return exceeds(t, "allocations", own->allocations, 0, count);
    if (own->booking_s > 0 && too_long(t, w))
        return exceeds(t, "booking_s", own->booking_s, 0, w->end_s - w->start_s);
    int64_t ahead_ms = (w->start_s + MODEL_BASE_S) * 1000 - t->now_ms;
    if (own->ahead_s > 0 && too_far(t, w))
        return exceeds(t, "ahead_s", own->ahead_s, 0, (ahead_ms + 999) / 1000);
    return true;
}

/* The booking's own GPUs in that second, which the plan replaces. */
static int64_t own_gpus(const struct wishes *w, int64_t s)
{
    int64_t gpus = 0;
    for (int m = 0; w->booking && s >= w->cut_s && m < MODEL_MACHINES; m++)
        gpus += w->booking->held[m][s].gpus;
    return gpus;
}

static bool check_limits(struct turn *t, const struct wishes *w)
{
    if (!check_own_limits(t, w))
        return false;
    const int64_t *held = t->model->gpus[model_client_index(w->client)];
    const struct client_limits *limits = &t->model->limits[model_client_index(w->client)];
    int64_t asked = 0;
    for (size_t i = 0; i < w->count; i++)
        asked += w->items[i].amount.gpus;
    if (w->any)
        asked = w->any->count * w->any->amount.gpus;
    int64_t from_s = w->from_s > t->floor_s ? w->from_s : t->floor_s;
    int64_t ahead_from_s = w->from_s > t->ceil_s ? w->from_s : t->ceil_s;
    if (w->end_s <= from_s)
        return true;
    int64_t others_peak = -1, ahead = 0, others_ahead = 0;
    for (int64_t s = 0; s < MODEL_SECONDS; s++) {
        int64_t others = held[s] - own_gpus(w, s);
        if (s >= t->ceil_s) {
            ahead += held[s];
            others_ahead += others;
        }
        /* Seconds in which the booking does not grow are not checked. */
        if (s >= from_s && s < w->end_s && asked > own_gpus(w, s) && others > others_peak)
            others_peak = others;
    }
    if (w->end_s > MODEL_SECONDS && asked > 0 && others_peak < 0)
        others_peak = 0; /* no use after the farm's life */
    if (limits->gpus_at_once > 0 && others_peak >= 0 && others_peak + asked > limits->gpus_at_once)
        return exceeds(t, "gpus_at_once", limits->gpus_at_once, others_peak, asked);
    int64_t new_ahead = w->end_s > ahead_from_s ? asked * (w->end_s - ahead_from_s) : 0;
    if (limits->gpu_hours_ahead > 0 && others_ahead + new_ahead > limits->gpu_hours_ahead * 3600 &&
        others_ahead + new_ahead > ahead) {
        return exceeds(t, "gpu_hours_ahead", limits->gpu_hours_ahead, (others_ahead + 3599) / 3600,
                       (new_ahead + 3599) / 3600);
    }
    return true;
}

static bool check_known(struct turn *t, const struct wishes *w)
{
    for (size_t i = 0; i < w->count; i++) {
        if (w->items[i].machine < 0)
            return no(t, REASON_UNKNOWN_MACHINE, model_machine_index(w->items[i].name));
    }
    return true;
}

static bool check_up(struct turn *t, const struct wishes *w)
{
    for (size_t i = 0; i < w->count; i++) {
        if (w->items[i].grows && t->model->machines[w->items[i].machine].state != MACHINE_UP)
            return no(t, REASON_MACHINE_NOT_UP, w->items[i].machine);
    }
    return true;
}

static bool check_window(struct turn *t, const struct wishes *w)
{
    if (w->begun) {
        if (w->start_s != w->booking->start_s || w->end_s <= t->ceil_s)
            return no(t, REASON_START_IN_PAST, -1);
    } else {
        if (w->start_s < t->floor_s)
            return no(t, REASON_START_IN_PAST, -1);
        if (w->end_s <= w->start_s && !w->booking && !w->start_given)
            return no(t, REASON_START_IN_PAST, -1);
        if (w->end_s <= w->start_s)
            return no(t, REASON_INVALID_REQUEST, -1);
        if (too_far(t, w))
            return no(t, REASON_TOO_FAR_AHEAD, -1);
    }
    return !too_long(t, w) || no(t, REASON_TOO_LONG, -1);
}

/* Whether `any` may choose the machine: up, with the label. */
static bool is_candidate(const struct turn *t, const struct wishes *w, int machine)
{
    const struct model_machine *it = &t->model->machines[machine];
    const struct labels *labels = &w->any->labels;
    return it->exists && it->state == MACHINE_UP &&
           (labels->count == 0 || labels->items[0].value[0] == it->pool);
}

static bool check_size(struct turn *t, const struct wishes *w)
{
    for (size_t i = 0; i < w->count; i++) {
        const struct wish *wish = &w->items[i];
        if (wish->grows && !within(wish->amount, t->model->machines[wish->machine].capacity))
            return no(t, REASON_EXCEEDS_MACHINE, wish->machine);
    }
    int64_t large = 0;
    for (int m = 0; w->any && m < MODEL_MACHINES; m++) {
        if (is_candidate(t, w, m) && within(w->any->amount, t->model->machines[m].capacity))
            large++;
    }
    if (!w->any || large >= w->any->count)
        return true;
    t->out->fitting = large;
    return no(t, REASON_EXCEEDS_MACHINE, -1);
}

/* Use by other bookings: the total without this booking's own use from the cut on. */
static struct amount others(const struct turn *t, const struct wishes *w, int machine, int64_t s)
{
    if (s >= MODEL_SECONDS)
        return (struct amount){0};
    struct amount use = t->model->use[machine][s];
    bool own = w->booking && s >= w->cut_s;
    return own ? minus(use, w->booking->held[machine][s]) : use;
}

/* Minimum free GPUs and memory over the window; negative where use exceeds capacity. */
static struct amount free_over(const struct turn *t, const struct wishes *w, int machine,
                               int64_t from_s)
{
    struct amount capacity = t->model->machines[machine].capacity;
    struct amount free = capacity;
    for (int64_t s = from_s; s < least(from_s + w->end_s - w->from_s, MODEL_SECONDS); s++) {
        struct amount here = minus(capacity, others(t, w, machine, s));
        free.gpus = least(free.gpus, here.gpus);
        free.memory_gib = least(free.memory_gib, here.memory_gib);
    }
    return free;
}

/* Whether all wishes fit into a window that starts at from_s. */
static bool all_fit(const struct turn *t, const struct wishes *w, int64_t from_s)
{
    for (size_t i = 0; i < w->count; i++) {
        if (!within(w->items[i].amount, free_over(t, w, w->items[i].machine, from_s)))
            return false;
    }
    int64_t fitting = 0;
    for (int m = 0; w->any && m < MODEL_MACHINES; m++) {
        if (is_candidate(t, w, m) && within(w->any->amount, free_over(t, w, m, from_s)))
            fitting++;
    }
    return !w->any || fitting >= w->any->count;
}

static int64_t next_start(const struct turn *t, const struct wishes *w)
{
    if (w->begun)
        return -1;
    for (size_t i = 0; i < w->count; i++) {
        if (t->model->machines[w->items[i].machine].state != MACHINE_UP)
            return -1;
    }
    /* After the farm's life everything is free. */
    for (int64_t s = w->from_s; s <= MODEL_SECONDS && s <= t->floor_s + furthest_s(t); s++) {
        if (all_fit(t, w, s))
            return s;
    }
    return -1;
}

static struct amount not_negative(struct amount amount)
{
    return (struct amount){amount.gpus < 0 ? 0 : amount.gpus,
                           amount.memory_gib < 0 ? 0 : amount.memory_gib};
}

static bool check_free(struct turn *t, const struct wishes *w)
{
    struct model_answer *out = t->out;
    for (size_t i = 0; i < w->count; i++) {
        const struct wish *wish = &w->items[i];
        struct amount free = free_over(t, w, wish->machine, w->from_s);
        if (!wish->grows || within(wish->amount, free))
            continue;
        out->has_free = true;
        out->free = not_negative(free);
        for (; out->free_count < w->count; out->free_count++) {
            out->frees[out->free_count] = not_negative(
                free_over(t, w, w->items[out->free_count].machine, w->from_s));
        }
        out->next_s = next_start(t, w);
        return no(t, REASON_INSUFFICIENT_CAPACITY, wish->machine);
    }
    return true;
}

/* `any` takes one machine at a time, always the one with the least free capacity. */
static bool choose(struct turn *t, struct wishes *w)
{
    const struct any *any = w->any;
    bool taken[MODEL_MACHINES] = {false};
    int64_t fitting = 0;
    for (; any; fitting++) {
        int best = -1;
        struct amount least_free = {0};
        for (int m = 0; m < MODEL_MACHINES; m++) {
            struct amount free = free_over(t, w, m, w->from_s);
            if (taken[m] || !is_candidate(t, w, m) || !within(any->amount, free))
                continue;
            if (best < 0 || free.gpus < least_free.gpus ||
                (free.gpus == least_free.gpus && free.memory_gib < least_free.memory_gib)) {
                best = m;
                least_free = free;
            }
        }
        if (best < 0)
            break;
        taken[best] = true;
        if (fitting < any->count)
            w->items[w->count++] = (struct wish){best, NULL, any->amount, true};
    }
    if (!any || fitting >= any->count)
        return true;
    w->count = 0;
    t->out->fitting = fitting;
    t->out->next_s = next_start(t, w);
    return no(t, REASON_INSUFFICIENT_CAPACITY, -1);
}

static void take(struct turn *t, const struct wishes *w, struct model_booking *booking)
{
    for (int m = 0; m < MODEL_MACHINES; m++) {
        for (int64_t s = w->cut_s; s < MODEL_SECONDS; s++)
            hold(t->model, booking, m, s, (struct amount){0});
    }
    for (size_t i = 0; i < w->count; i++) {
        for (int64_t s = w->from_s; s < w->end_s; s++)
            hold(t->model, booking, w->items[i].machine, s, w->items[i].amount);
    }
    booking->start_s = w->start_s;
    booking->end_s = w->end_s;
    booking->version++;
    answer_booking(t, booking);
}

static bool check_not_over(struct turn *t, const struct model_booking *booking)
{
    bool over = booking->state != BOOKING_BOOKED ||
                (booking->end_s + MODEL_BASE_S) * 1000 <= t->now_ms;
    return !over || no(t, REASON_BOOKING_OVER, -1);
}

static bool check_all(struct turn *t, struct wishes *w)
{
    return check_limits(t, w) && check_known(t, w) && check_up(t, w) &&
           (!w->booking || check_not_over(t, w->booking)) && check_window(t, w) &&
           check_size(t, w) && check_free(t, w) && choose(t, w);
}

static bool create_one(struct turn *t, struct wishes *w, int64_t index, int64_t series)
{
    const struct booking_create *create = &t->in->claims->request.booking_create;
    w->client = t->in->credential->client;
    w->from_s = w->cut_s = w->start_s;
    if (create->any.count > 0)
        w->any = &create->any;
    wish_shares(t, w, create->shares, create->share_count);
    if (!check_all(t, w))
        return false;
    assert(t->model->booking_count < MODEL_BOOKINGS);
    struct model_booking *booking = &t->model->bookings[t->model->booking_count++];
    int64_t id = ((index << 32) + t->in->seq) * LIMIT_PARTITIONS + t->in->part;
    *booking = (struct model_booking){.id = id, .series = series, .client = w->client};
    take(t, w, booking);
    return true;
}

static void take_back(struct turn *t, size_t count)
{
    for (; t->model->booking_count > count; t->model->booking_count--) {
        for (int m = 0; m < MODEL_MACHINES; m++) {
            for (int64_t s = 0; s < MODEL_SECONDS; s++) {
                hold(t->model, &t->model->bookings[t->model->booking_count - 1], m, s,
                     (struct amount){0});
            }
        }
    }
}

static void tell_occurrence(struct model_answer *out, int64_t what)
{
    out->occurrence_sum += what * (int64_t)++out->occurrence_count;
}

/* Books occurrence by occurrence; undoes all if one fails and the request needs all. */
static void create_series(struct turn *t)
{
    const struct booking_create *create = &t->in->claims->request.booking_create;
    int64_t series = t->in->seq * LIMIT_PARTITIONS + t->in->part;
    size_t before = t->model->booking_count;
    const struct model_answer clean = *t->out;
    struct model_answer all = clean, first_full = clean, first = clean;
    for (size_t i = 0; i < create->window_count; i++) {
        struct wishes w = {.start_given = true,
                           .start_s = seconds(create->windows[i].start_ms),
                           .end_s = seconds(create->windows[i].end_ms)};
        *t->out = clean;
        bool fits = create_one(t, &w, (int64_t)i, series);
        enum reason reason = t->out->reason;
        bool passes = reason == REASON_INSUFFICIENT_CAPACITY || reason == REASON_START_IN_PAST ||
                      reason == REASON_TOO_FAR_AHEAD || reason == REASON_TOO_LONG ||
                      reason == REASON_LIMIT_EXCEEDED;
        if (!fits && (!create->skip_conflicts || !passes)) {
            take_back(t, before);
            return;
        }
        if (fits && all.booking == 0) {
            int64_t sum = all.occurrence_sum;
            all = *t->out;
            all.occurrence_sum = sum;
            all.occurrence_count = i;
        }
        if (i == 0)
            first = *t->out;
        if (reason == REASON_INSUFFICIENT_CAPACITY && first_full.reason == REASON_NONE)
            first_full = *t->out;
        tell_occurrence(&all, model_occurrence(t->out->booking, reason, t->out->machine));
    }
    bool none = t->model->booking_count == before;
    *t->out = !none ? all : first_full.reason != REASON_NONE ? first_full : first;
}

static void create(struct turn *t)
{
    const struct booking_create *create = &t->in->claims->request.booking_create;
    if (create->window_count > 0) {
        create_series(t);
        return;
    }
    struct wishes w = {.start_given = create->start_ms != TIME_NONE};
    w.start_s = w.start_given ? seconds(create->start_ms) : t->ceil_s;
    w.end_s = create->end_ms != TIME_NONE ? seconds(create->end_ms)
                                          : w.start_s + create->duration_ms / 1000;
    create_one(t, &w, 0, 0);
}

static bool find_mine(struct turn *t, int64_t id, struct model_booking **booking_out)
{
    *booking_out = model_find(t->model, id);
    if (!*booking_out)
        return no(t, REASON_UNKNOWN_BOOKING, -1);
    if (t->in->credential->role != ROLE_ADMIN &&
        strcmp((*booking_out)->client, t->in->credential->client) != 0)
        return no(t, REASON_FORBIDDEN, -1);
    return true;
}

static void amend(struct turn *t)
{
    const struct booking_amend *amend = &t->in->claims->request.booking_amend;
    struct model_booking *booking;
    if (!find_mine(t, amend->booking, &booking))
        return;
    struct wishes w = {
        .booking = booking, .client = booking->client, .begun = booking->start_s < t->ceil_s};
    w.start_s = amend->start_ms != TIME_NONE ? seconds(amend->start_ms) : booking->start_s;
    w.end_s = amend->end_ms != TIME_NONE ? seconds(amend->end_ms) : booking->end_s;
    w.from_s = w.begun ? t->ceil_s : w.start_s;
    w.cut_s = w.begun ? t->ceil_s : booking->start_s;
    if (!amend->has_shares) {
        wish_current(t, &w);
    } else {
        wish_shares(t, &w, amend->shares, amend->share_count);
    }
    if (check_all(t, &w))
        take(t, &w, booking);
}

/* --- cancel --- */

static void release(struct turn *t, struct model_booking *booking)
{
    bool begun = booking->start_s < t->ceil_s;
    for (int m = 0; m < MODEL_MACHINES; m++) {
        for (int64_t s = begun ? t->ceil_s : 0; s < MODEL_SECONDS; s++)
            hold(t->model, booking, m, s, (struct amount){0});
    }
    booking->state = begun ? BOOKING_RELEASED : BOOKING_CANCELLED;
    if (begun)
        booking->end_s = least(booking->end_s, t->ceil_s);
    booking->version++;
}

static void cancel_series(struct turn *t, int64_t series)
{
    struct model_booking *first = NULL;
    const struct model_answer clean = *t->out;
    bool any = false, mine = true;
    for (size_t i = 0; i < t->model->booking_count && mine; i++) {
        struct model_booking *booking = &t->model->bookings[i];
        if (booking->series != series)
            continue;
        any = true;
        mine = find_mine(t, booking->id, &booking);
        if (!mine || !check_not_over(t, booking))
            continue;
        release(t, booking);
        tell_occurrence(t->out, model_occurrence(booking->id, REASON_NONE, -1));
        first = !first ? booking : first;
    }
    if (!any)
        no(t, REASON_UNKNOWN_BOOKING, -1);
    if (!first)
        return; /* the reason is set */
    t->out->reason = clean.reason;
    answer_booking(t, first);
}

static void cancel(struct turn *t)
{
    const struct booking_cancel *cancel = &t->in->claims->request.booking_cancel;
    struct model_booking *booking;
    if (cancel->series) {
        cancel_series(t, cancel->booking);
        return;
    }
    if (!find_mine(t, cancel->booking, &booking) || !check_not_over(t, booking))
        return;
    release(t, booking);
    answer_booking(t, booking);
}

/* --- machines --- */

static void enroll(struct turn *t)
{
    const struct machine_register *request = &t->in->claims->request.machine_register;
    int index = model_machine_index(request->machine);
    int64_t id = request->id > 0 ? request->id : t->in->seq * LIMIT_PARTITIONS + t->in->part;
    if (exists(t->model, request->machine)) {
        no(t, REASON_MACHINE_EXISTS, index);
        return;
    }
    for (int m = 0; m < MODEL_MACHINES; m++) {
        if (t->model->machines[m].exists && t->model->machines[m].id == id) {
            no(t, REASON_MACHINE_EXISTS, m);
            return;
        }
    }
    t->model->machines[index] = (struct model_machine){
        .exists = true,
        .id = id,
        .capacity = request->capacity,
        .capacity_changed_s = t->floor_s,
        .pool = request->labels.count > 0 ? request->labels.items[0].value[0] : '\0'};
}

static bool holds_after(const struct model_booking *booking, int machine, int64_t from_s)
{
    for (int64_t s = from_s; s < booking->end_s; s++) {
        if (is_some(booking->held[machine][s]))
            return true;
    }
    return false;
}

static int by_id(const void *a, const void *b)
{
    int64_t left = (*(struct model_booking *const *)a)->id;
    int64_t right = (*(struct model_booking *const *)b)->id;
    return (left > right) - (left < right);
}

/* Whether `use` plus the booking's use stays within `room` in every second. */
static bool fits_beside(const struct turn *t, const struct model_booking *booking, int machine,
                        const struct amount *use, struct amount room)
{
    for (int64_t s = t->ceil_s; s < MODEL_SECONDS; s++) {
        struct amount held = booking->held[machine][s];
        if (is_some(held) && !within(plus(use[s], held), room))
            return false;
    }
    return true;
}

static void add(const struct turn *t, const struct model_booking *booking, int machine,
                struct amount *use)
{
    for (int64_t s = t->ceil_s; s < MODEL_SECONDS; s++)
        use[s] = plus(use[s], booking->held[machine][s]);
}

/* Picks the bookings to displace from the machine; false if it stays over-booked without them. */
static bool pick(struct turn *t, int machine, struct amount room, struct model_booking **chosen,
                 size_t *count_out)
{
    struct amount use[MODEL_SECONDS] = {{0}};
    size_t count = 0;
    bool rest_fits = true;
    for (size_t i = 0; i < t->model->booking_count; i++) {
        struct model_booking *booking = &t->model->bookings[i];
        if (!holds_after(booking, machine, t->ceil_s))
            continue;
        if (booking->state == BOOKING_BOOKED) {
            chosen[count++] = booking;
        } else {
            add(t, booking, machine, use);
        }
    }
    for (int64_t s = t->ceil_s; s < MODEL_SECONDS; s++)
        rest_fits = rest_fits && within(use[s], room);
    qsort(chosen, count, sizeof(struct model_booking *), by_id);
    *count_out = 0;
    for (size_t i = 0; i < count; i++) {
        if (fits_beside(t, chosen[i], machine, use, room)) {
            add(t, chosen[i], machine, use);
        } else {
            chosen[(*count_out)++] = chosen[i];
        }
    }
    return rest_fits;
}

static bool make_room(struct turn *t, int machine, struct amount room, bool displace)
{
    static struct model_booking *chosen[MODEL_BOOKINGS];
    size_t count;
    bool rest_fits = pick(t, machine, room, chosen, &count);
    for (size_t i = 0; !displace && i < count && i < LIMIT_LISTED_BOOKINGS; i++)
        t->out->in_use[t->out->in_use_count++] = chosen[i]->id;
    if (!displace || !rest_fits)
        return no(t, REASON_CAPACITY_IN_USE, machine);
    for (size_t i = 0; i < count; i++) {
        release(t, chosen[i]);
        t->out->displaced_sum += (uint64_t)chosen[i]->id * ++t->out->displaced_count;
    }
    return true;
}

static void update(struct turn *t)
{
    const struct machine_update *request = &t->in->claims->request.machine_update;
    int index = model_machine_index(request->machine);
    if (!exists(t->model, request->machine)) {
        no(t, REASON_UNKNOWN_MACHINE, index);
        return;
    }
    struct model_machine *machine = &t->model->machines[index];
    struct amount capacity = machine->capacity;
    if (request->has_gpus)
        capacity.gpus = request->capacity.gpus;
    if (request->has_memory_gib)
        capacity.memory_gib = request->capacity.memory_gib;
    enum machine_state state = request->has_state ? request->state : machine->state;
    bool retires = state == MACHINE_RETIRED && machine->state != MACHINE_RETIRED;
    struct amount room = retires ? (struct amount){0} : capacity;
    bool over = false;
    for (int64_t s = t->ceil_s; s < MODEL_SECONDS; s++)
        over = over || !within(t->model->use[index][s], room);
    if (over && !within(machine->capacity, room)) {
        if (!make_room(t, index, room, request->displace))
            return;
    }
    bool resized = !within(capacity, machine->capacity) || !within(machine->capacity, capacity);
    if (resized && machine->capacity_changed_s < t->ceil_s)
        machine->capacity_changed_s = t->ceil_s;
    machine->capacity = capacity;
    machine->state = state;
    if (request->has_labels)
        machine->pool = request->labels.count > 0 ? request->labels.items[0].value[0] : '\0';
}

void model_decide(struct model *model, const struct submission *in, struct model_answer *out)
{
    *out = (struct model_answer){.machine = -1, .next_s = -1, .fitting = -1};
    struct turn t = {.model = model, .in = in, .out = out, .now_ms = in->now_ms};
    t.floor_s = in->now_ms / 1000 - MODEL_BASE_S;
    t.ceil_s = (in->now_ms + 999) / 1000 - MODEL_BASE_S;
    enum request_type type = in->claims->request.type;
    bool for_admins = type == REQUEST_MACHINE_REGISTER || type == REQUEST_MACHINE_UPDATE;
    if (for_admins && in->credential->role != ROLE_ADMIN) {
        no(&t, REASON_FORBIDDEN, -1);
    } else if (type == REQUEST_MACHINE_REGISTER) {
        enroll(&t);
    } else if (type == REQUEST_MACHINE_UPDATE) {
        update(&t);
    } else if (type == REQUEST_BOOKING_CREATE) {
        create(&t);
    } else if (type == REQUEST_BOOKING_AMEND) {
        amend(&t);
    } else {
        cancel(&t);
    }
}
