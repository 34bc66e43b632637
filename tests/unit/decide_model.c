#include "tests/unit/decide_model.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define AHEAD_S  LIMIT_AHEAD_S
#define LENGTH_S LIMIT_BOOKING_S

/* One decision under way; all times in model seconds. */
struct turn {
    struct model *model;
    const struct submission *in;
    struct model_answer *out;
    int64_t floor_s, ceil_s, now_ms;
};

/* What a booking shall hold of one machine over [from, end). */
struct wish {
    int machine;
    struct amount amount;
    bool grows;
};
struct wishes {
    struct model_booking *booking; /* NULL: it is created */
    bool begun, start_given;
    int64_t start_s, end_s, from_s, cut_s;
    size_t count;
    struct wish items[MODEL_MACHINES];
};

int model_machine_index(const char *name)
{
    int index = name[0] == 'm' ? name[1] - '0' : -1;
    return index >= 0 && index < MODEL_MACHINES && name[2] == '\0' ? index : -1;
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

/* Whether the wish is ever more than what the booking holds there now. */
static bool grows(const struct wishes *w, const struct wish *wish)
{
    if (w->booking == NULL)
        return true;
    for (int64_t s = w->from_s; s < w->end_s; s++) {
        if (s >= MODEL_SECONDS)
            return true;
        if (!within(wish->amount, w->booking->held[wish->machine][s]))
            return true;
    }
    return false;
}

static bool wish_shares(struct turn *t, struct wishes *w, const struct share *shares, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!exists(t->model, shares[i].machine))
            return no(t, REASON_UNKNOWN_MACHINE, model_machine_index(shares[i].machine));
        struct wish *wish = &w->items[w->count++];
        *wish = (struct wish){model_machine_index(shares[i].machine), shares[i].amount, false};
        wish->grows = grows(w, wish);
    }
    return true;
}

/* What it holds in its last second, by machine id. */
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
        *wish = (struct wish){next, held, false};
        wish->grows = grows(w, wish);
    }
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
        if (w->end_s <= w->start_s && w->booking == NULL && !w->start_given)
            return no(t, REASON_START_IN_PAST, -1);
        if (w->end_s <= w->start_s)
            return no(t, REASON_INVALID_REQUEST, -1);
        if ((w->start_s + MODEL_BASE_S) * 1000 - t->now_ms > AHEAD_S * INT64_C(1000))
            return no(t, REASON_TOO_FAR_AHEAD, -1);
    }
    return w->end_s - w->start_s <= LENGTH_S || no(t, REASON_TOO_LONG, -1);
}

static bool check_size(struct turn *t, const struct wishes *w)
{
    for (size_t i = 0; i < w->count; i++) {
        const struct wish *wish = &w->items[i];
        if (wish->grows && !within(wish->amount, t->model->machines[wish->machine].capacity))
            return no(t, REASON_EXCEEDS_MACHINE, wish->machine);
    }
    return true;
}

/* What others use: without this booking's own from the cut on. */
static struct amount others(const struct turn *t, const struct wishes *w, int machine, int64_t s)
{
    if (s >= MODEL_SECONDS)
        return (struct amount){0};
    struct amount use = t->model->use[machine][s];
    bool own = w->booking != NULL && s >= w->cut_s;
    return own ? minus(use, w->booking->held[machine][s]) : use;
}

static bool fits_at(const struct turn *t, const struct wishes *w, const struct wish *wish,
                    int64_t from_s)
{
    for (int64_t s = from_s; s < least(from_s + w->end_s - w->from_s, MODEL_SECONDS); s++) {
        if (!within(plus(others(t, w, wish->machine, s), wish->amount),
                    t->model->machines[wish->machine].capacity))
            return false;
    }
    return true;
}

static bool check_free(struct turn *t, const struct wishes *w)
{
    for (size_t i = 0; i < w->count; i++) {
        const struct wish *wish = &w->items[i];
        if (!wish->grows || fits_at(t, w, wish, w->from_s))
            continue;
        struct amount capacity = t->model->machines[wish->machine].capacity;
        struct amount free = capacity;
        for (int64_t s = w->from_s; s < least(w->end_s, MODEL_SECONDS); s++) {
            struct amount here = minus(capacity, others(t, w, wish->machine, s));
            free.gpus = least(free.gpus, here.gpus < 0 ? 0 : here.gpus);
            free.memory_gib = least(free.memory_gib, here.memory_gib < 0 ? 0 : here.memory_gib);
        }
        t->out->has_free = true;
        t->out->free = free;
        int64_t next_s = w->from_s;
        while (!w->begun && !fits_at(t, w, wish, next_s))
            next_s++;
        t->out->next_s = w->begun ? -1 : next_s;
        return no(t, REASON_INSUFFICIENT_CAPACITY, wish->machine);
    }
    return true;
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

static void create(struct turn *t)
{
    const struct booking_create *create = &t->in->claims->request.booking_create;
    struct wishes w = {.start_given = create->start_ms != TIME_NONE};
    w.start_s = w.start_given ? seconds(create->start_ms) : t->ceil_s;
    w.end_s = create->end_ms != TIME_NONE ? seconds(create->end_ms)
                                          : w.start_s + create->duration_ms / 1000;
    w.from_s = w.cut_s = w.start_s;
    if (!wish_shares(t, &w, create->shares, create->share_count) || !check_up(t, &w) ||
        !check_window(t, &w) || !check_size(t, &w) || !check_free(t, &w))
        return;
    assert(t->model->booking_count < MODEL_BOOKINGS);
    struct model_booking *booking = &t->model->bookings[t->model->booking_count++];
    *booking = (struct model_booking){.id = t->in->seq * LIMIT_PARTITIONS + t->in->part,
                                      .client = t->in->credential->client};
    take(t, &w, booking);
}

static bool find_mine(struct turn *t, int64_t id, struct model_booking **booking_out)
{
    *booking_out = model_find(t->model, id);
    if (*booking_out == NULL)
        return no(t, REASON_UNKNOWN_BOOKING, -1);
    if (t->in->credential->role != ROLE_ADMIN &&
        strcmp((*booking_out)->client, t->in->credential->client) != 0)
        return no(t, REASON_FORBIDDEN, -1);
    return true;
}

static bool check_not_over(struct turn *t, const struct model_booking *booking)
{
    bool over = booking->state != BOOKING_BOOKED ||
                (booking->end_s + MODEL_BASE_S) * 1000 <= t->now_ms;
    return !over || no(t, REASON_BOOKING_OVER, -1);
}

static void amend(struct turn *t)
{
    const struct booking_amend *amend = &t->in->claims->request.booking_amend;
    struct model_booking *booking;
    if (!find_mine(t, amend->booking, &booking))
        return;
    struct wishes w = {.booking = booking, .begun = booking->start_s < t->ceil_s};
    w.start_s = amend->start_ms != TIME_NONE ? seconds(amend->start_ms) : booking->start_s;
    w.end_s = amend->end_ms != TIME_NONE ? seconds(amend->end_ms) : booking->end_s;
    w.from_s = w.begun ? t->ceil_s : w.start_s;
    w.cut_s = w.begun ? t->ceil_s : booking->start_s;
    if (!amend->has_shares)
        wish_current(t, &w);
    else if (!wish_shares(t, &w, amend->shares, amend->share_count))
        return;
    if (check_up(t, &w) && check_not_over(t, booking) && check_window(t, &w) && check_size(t, &w) &&
        check_free(t, &w))
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

static void cancel(struct turn *t)
{
    struct model_booking *booking;
    if (!find_mine(t, t->in->claims->request.booking_cancel.booking, &booking) ||
        !check_not_over(t, booking))
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
        .exists = true, .id = id, .capacity = request->capacity, .capacity_changed_s = t->floor_s};
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

/* Adds what the booking holds to `use` if that stays within the room everywhere. */
static bool add_if_fits(const struct turn *t, const struct model_booking *booking, int machine,
                        struct amount *use, struct amount room)
{
    for (int64_t s = t->ceil_s; s < MODEL_SECONDS; s++) {
        struct amount held = booking->held[machine][s];
        if (is_some(held) && !within(plus(use[s], held), room))
            return false;
    }
    for (int64_t s = t->ceil_s; s < MODEL_SECONDS; s++)
        use[s] = plus(use[s], booking->held[machine][s]);
    return true;
}

static bool displace(struct turn *t, int machine, struct amount room)
{
    static struct model_booking *chosen[MODEL_BOOKINGS];
    struct amount use[MODEL_SECONDS] = {{0}};
    size_t count = 0;
    for (size_t i = 0; i < t->model->booking_count; i++) {
        struct model_booking *booking = &t->model->bookings[i];
        if (!holds_after(booking, machine, t->ceil_s))
            continue;
        if (booking->state == BOOKING_BOOKED)
            chosen[count++] = booking;
        else if (!add_if_fits(t, booking, machine, use, room))
            return no(t, REASON_CAPACITY_IN_USE, machine);
    }
    qsort(chosen, count, sizeof(chosen[0]), by_id);
    for (size_t i = 0; i < count; i++) {
        if (add_if_fits(t, chosen[i], machine, use, room))
            continue;
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
        if (!request->displace) {
            no(t, REASON_CAPACITY_IN_USE, index);
            return;
        }
        if (!displace(t, index, room))
            return;
    }
    bool resized = !within(capacity, machine->capacity) || !within(machine->capacity, capacity);
    if (resized && machine->capacity_changed_s < t->ceil_s)
        machine->capacity_changed_s = t->ceil_s;
    machine->capacity = capacity;
    machine->state = state;
}

void model_decide(struct model *model, const struct submission *in, struct model_answer *out)
{
    *out = (struct model_answer){.machine = -1, .next_s = -1};
    struct turn t = {.model = model, .in = in, .out = out, .now_ms = in->now_ms};
    t.floor_s = in->now_ms / 1000 - MODEL_BASE_S;
    t.ceil_s = (in->now_ms + 999) / 1000 - MODEL_BASE_S;
    enum request_type type = in->claims->request.type;
    bool for_admins = type == REQUEST_MACHINE_REGISTER || type == REQUEST_MACHINE_UPDATE;
    if (for_admins && in->credential->role != ROLE_ADMIN)
        no(&t, REASON_FORBIDDEN, -1);
    else if (type == REQUEST_MACHINE_REGISTER)
        enroll(&t);
    else if (type == REQUEST_MACHINE_UPDATE)
        update(&t);
    else if (type == REQUEST_BOOKING_CREATE)
        create(&t);
    else if (type == REQUEST_BOOKING_AMEND)
        amend(&t);
    else
        cancel(&t);
}
