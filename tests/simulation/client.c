#include "tests/simulation/client.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/map.h"
#include "lib/base/timetext.h"
#include "tests/simulation/batches.h"
#include "tests/simulation/cluster.h"
#include "tests/simulation/token.h"

#define CLAIMS_LEN 4096
#define REPEAT_MS  20000

struct clients {
    int64_t left;    /* requests that are still to be sent */
    int64_t pending; /* repeats that are still to be sent */
    int64_t ids;     /* used so far */
};

/* A request under construction. */
struct draft {
    int client;
    int32_t part;
    int64_t id;
    char body[CLAIMS_LEN / 2]; /* of `request`, without the braces */
};

struct repeat {
    struct draft draft;
    const char *token;
};

/* --- parts of requests --- */

static int32_t part_of(struct sim *sim, int32_t right)
{
    if (sim_chance(sim, sim->plan.wrong_key))
        return (int32_t)sim_below(sim, sim->plan.partitions);
    return right % sim->plan.partitions;
}

static int32_t part_of_machine(struct sim *sim, const char *name)
{
    uint64_t hash = map_hash_text(MAP_SEED, name);
    return part_of(sim, (int32_t)(hash % (uint64_t)sim->plan.partitions));
}

static const char *machine_name(struct sim *sim, int64_t number)
{
    return arena_printf(sim->arena, "m-%" PRId64, number);
}

static const char *time_text(struct sim *sim, int64_t ms)
{
    char text[TIMETEXT_LEN];
    return arena_strdup(sim->arena, timetext_format(ms, text));
}

/* The clients' idea of now: their clocks go with the brokers'. */
static int64_t clients_now_ms(const struct sim *sim)
{
    return (sim_wall_ms(sim) + sim->cluster->jump_ms) / 1000 * 1000;
}

static int add(char *text, size_t size, const char *more)
{
    size_t len = strlen(text);
    return snprintf(text + len, size - len, "%s", more);
}

static void add_allocations(struct sim *sim, struct draft *draft, int64_t first)
{
    int64_t count = sim_chance(sim, 600000) ? 1 : sim_between(sim, 0, 3);
    if (count > sim->plan.machines)
        count = sim->plan.machines;
    add(draft->body, sizeof(draft->body), ",\"allocations\":[");
    for (int64_t i = 0; i < count; i++) {
        int64_t number = (first + i) % (sim->plan.machines + (sim_chance(sim, 20000) ? 1 : 0));
        add(draft->body, sizeof(draft->body),
            arena_printf(sim->arena,
                         "%s{\"machine\":\"%s\",\"gpus\":%" PRId64 ",\"memory_gib\":%" PRId64 "}",
                         i ? "," : "", machine_name(sim, number), sim_between(sim, 0, 4),
                         sim_between(sim, 1, 24)));
        if (number == sim->plan.machines)
            break; /* the next would be a name that is there already */
    }
    add(draft->body, sizeof(draft->body), "]");
}

/* Near ones meet what else goes on; far ones are long, so that hours are spent. */
static void add_window(struct sim *sim, struct draft *draft, bool must_start)
{
    int64_t now_ms = clients_now_ms(sim);
    bool far = sim_chance(sim, 150000);
    int64_t start_ms = now_ms +
                       (far ? sim_between(sim, 2, 12) * 1800 : sim_between(sim, -3, 60)) * 1000;
    bool has_start = far || must_start || sim_chance(sim, 700000);
    int64_t length_s = far ? sim_between(sim, 1, 4) * 1800
                           : sim_between(sim, 1, sim_chance(sim, 300000) ? 300 : 40);
    if (has_start) {
        add(draft->body, sizeof(draft->body),
            arena_printf(sim->arena, ",\"start\":\"%s\"", time_text(sim, start_ms)));
    }
    if (sim_chance(sim, 500000)) {
        add(draft->body, sizeof(draft->body),
            arena_printf(sim->arena, ",\"duration_s\":%" PRId64, length_s));
    } else {
        add(draft->body, sizeof(draft->body),
            arena_printf(sim->arena, ",\"end\":\"%s\"",
                         time_text(sim, (has_start ? start_ms : now_ms) + length_s * 1000)));
    }
}

/* --- requests --- */

static const char *some_labels(struct sim *sim)
{
    static const char *const labels[] = {"{}",
                                         "{\"rack\":\"r1\"}",
                                         "{\"rack\":\"r2\"}",
                                         "{\"gpu\":\"a\"}",
                                         "{\"gpu\":\"a\",\"rack\":\"r1\"}",
                                         "{\"gpu\":\"a\",\"rack\":\"r2\"}"};
    return labels[sim_below(sim, 6)];
}

static void draft_register(struct sim *sim, struct draft *draft, int64_t number)
{
    const char *name = machine_name(sim, number);
    draft->client = sim_chance(sim, 950000) ? 0 : 1;
    draft->part = part_of_machine(sim, name);
    snprintf(draft->body, sizeof(draft->body),
             "\"type\":\"machine.register\",\"machine\":\"%s\",\"gpus\":%" PRId64
             ",\"memory_gib\":%" PRId64,
             name, sim_between(sim, 2, 8), sim_between(sim, 16, 64));
    if (sim_chance(sim, 300000)) {
        add(draft->body, sizeof(draft->body),
            arena_printf(sim->arena, ",\"id\":%" PRId64, sim_between(sim, 1, 8)));
    }
    if (sim_chance(sim, 300000)) {
        add(draft->body, sizeof(draft->body),
            arena_printf(sim->arena, ",\"labels\":%s", some_labels(sim)));
    }
}

static void draft_update(struct sim *sim, struct draft *draft)
{
    static const char *const states[] = {"up", "up", "up", "draining", "retired"};
    const char *name = machine_name(sim, sim_below(sim, sim->plan.machines));
    draft->client = 0;
    draft->part = part_of_machine(sim, name);
    snprintf(draft->body, sizeof(draft->body), "\"type\":\"machine.update\",\"machine\":\"%s\"",
             name);
    if (sim_chance(sim, 600000)) {
        add(draft->body, sizeof(draft->body),
            arena_printf(sim->arena, ",\"gpus\":%" PRId64, sim_between(sim, 1, 8)));
    }
    if (sim_chance(sim, 300000)) {
        add(draft->body, sizeof(draft->body),
            arena_printf(sim->arena, ",\"memory_gib\":%" PRId64, sim_between(sim, 12, 64)));
    }
    if (sim_chance(sim, 400000)) {
        add(draft->body, sizeof(draft->body),
            arena_printf(sim->arena, ",\"state\":\"%s\"", states[sim_below(sim, 5)]));
    }
    if (sim_chance(sim, 100000)) {
        add(draft->body, sizeof(draft->body),
            arena_printf(sim->arena, ",\"labels\":%s", some_labels(sim)));
    }
    if (sim_chance(sim, 500000))
        add(draft->body, sizeof(draft->body), ",\"displace\":true");
}

static void add_any(struct sim *sim, struct draft *draft)
{
    add(draft->body, sizeof(draft->body),
        arena_printf(sim->arena,
                     ",\"any\":{\"count\":%" PRId64 ",\"gpus\":%" PRId64 ",\"memory_gib\":%" PRId64,
                     sim_chance(sim, 600000) ? 1 : sim_between(sim, 1, 3), sim_between(sim, 0, 4),
                     sim_between(sim, 1, 24)));
    if (sim_chance(sim, 600000)) {
        add(draft->body, sizeof(draft->body),
            arena_printf(sim->arena, ",\"labels\":%s", some_labels(sim)));
    }
    add(draft->body, sizeof(draft->body), "}");
}

/* Series of one client meet those of others, day by day. */
static void add_repeat(struct sim *sim, struct draft *draft)
{
    static const char *const zones[] = {"UTC", "Europe/Paris", "America/New_York"};
    int64_t count = sim_chance(sim, 700000) ? sim_between(sim, 1, 4) : sim_between(sim, 5, 12);
    if (sim_chance(sim, 5000))
        count = LIMIT_OCCURRENCES;
    add(draft->body, sizeof(draft->body),
        arena_printf(sim->arena,
                     ",\"repeat\":{\"every\":\"%s\",\"count\":%" PRId64 ",\"zone\":\"%s\"}",
                     sim_chance(sim, 900000) ? "day" : "week", count, zones[sim_below(sim, 3)]));
    if (sim_chance(sim, 600000))
        add(draft->body, sizeof(draft->body), ",\"skip_conflicts\":true");
}

static void draft_create(struct sim *sim, struct draft *draft)
{
    int64_t first = sim_below(sim, sim->plan.machines);
    bool any = sim_chance(sim, 300000), repeats = sim_chance(sim, 150000);
    draft->client = (int)sim_below(sim, sim->plan.clients);
    draft->part = any ? (int32_t)sim_below(sim, sim->plan.partitions)
                      : part_of_machine(sim, machine_name(sim, first));
    add(draft->body, sizeof(draft->body), "\"type\":\"booking.create\"");
    add_window(sim, draft, repeats);
    if (any) {
        add_any(sim, draft);
    } else {
        add_allocations(sim, draft, first);
    }
    if (repeats)
        add_repeat(sim, draft);
}

/* A booking that is there, or one that may be there by then. */
static int64_t choose_booking(struct sim *sim, struct draft *draft)
{
    const struct tables *now = &sim->db->now;
    int64_t id;
    draft->client = (int)sim_below(sim, sim->plan.clients);
    if (now->bookings.count == 0 || sim_chance(sim, 40000)) {
        int32_t part = (int32_t)sim_below(sim, sim->plan.partitions);
        id = (database_partition(sim->db, part)->last_seq + sim_between(sim, 1, 3)) *
                 LIMIT_PARTITIONS +
             part;
    } else {
        int64_t count = (int64_t)now->bookings.count;
        int64_t recent = count > 12 && sim_chance(sim, 800000) ? count - 12 : 0;
        const struct booking_row *row = &now->bookings.items[sim_between(sim, recent, count - 1)];
        id = row->id;
        for (int i = 0; i < sim->plan.clients && sim_chance(sim, 950000); i++)
            draft->client = strcmp(token_client(i), row->client) == 0 ? i : draft->client;
    }
    draft->part = part_of(sim, (int32_t)(id % LIMIT_PARTITIONS));
    /* Two partitions that change one booking at a time make each other's lock sets grow. */
    if (sim->plan.wrong_key > 100000 && sim_chance(sim, 300000))
        draft->part = (int32_t)sim_below(sim, sim->plan.partitions);
    return id;
}

static void draft_amend(struct sim *sim, struct draft *draft)
{
    int64_t now_ms = clients_now_ms(sim);
    int64_t id = choose_booking(sim, draft);
    int64_t what = sim_between(sim, 1, 7);
    snprintf(draft->body, sizeof(draft->body), "\"type\":\"booking.amend\",\"booking\":%" PRId64,
             id);
    if (what & 1)
        add_allocations(sim, draft, sim_below(sim, sim->plan.machines));
    if (what & 2) {
        add(draft->body, sizeof(draft->body),
            arena_printf(sim->arena, ",\"end\":\"%s\"",
                         time_text(sim, now_ms + sim_between(sim, 0, 120) * 1000)));
    }
    if (what & 4) {
        add(draft->body, sizeof(draft->body),
            arena_printf(sim->arena, ",\"start\":\"%s\"",
                         time_text(sim, now_ms + sim_between(sim, -2, 60) * 1000)));
    }
}

/* The series of that booking; for one of no series what its id would be. */
static int64_t series_of(struct sim *sim, int64_t id)
{
    const struct booking_row *row = database_booking(sim->db, id);
    return row && row->series > 0 ? row->series : id;
}

static void draft_cancel(struct sim *sim, struct draft *draft)
{
    int64_t id = choose_booking(sim, draft);
    int64_t series = series_of(sim, id);
    if (sim_chance(sim, series != id ? 500000 : 60000)) {
        snprintf(draft->body, sizeof(draft->body),
                 "\"type\":\"booking.cancel\",\"series\":%" PRId64, series);
        return;
    }
    snprintf(draft->body, sizeof(draft->body), "\"type\":\"booking.cancel\",\"booking\":%" PRId64,
             id);
}

static void draft_any(struct sim *sim, struct draft *draft)
{
    int64_t kind = sim_below(sim, 100);
    if (kind < 6) {
        draft_register(sim, draft, sim_below(sim, sim->plan.machines + 1));
    } else if (kind < 16) {
        draft_update(sim, draft);
    } else if (kind < 64) {
        draft_create(sim, draft);
    } else if (kind < 88) {
        draft_amend(sim, draft);
    } else {
        draft_cancel(sim, draft);
    }
}

/* --- limits --- */

#define LIMITS_MS 6000

static struct client_limits some_limits(struct sim *sim)
{
    struct client_limits limits = {0};
    if (sim_chance(sim, 600000))
        limits.gpus_at_once = sim_between(sim, 1, 12);
    if (sim_chance(sim, 400000))
        limits.gpu_hours_ahead = sim_between(sim, 1, 20);
    if (sim_chance(sim, 150000))
        limits.allocations = sim_between(sim, 1, 2);
    if (sim_chance(sim, 150000))
        limits.booking_s = sim_between(sim, 20, 4000);
    if (sim_chance(sim, 150000))
        limits.ahead_s = sim_between(sim, 30, 100000);
    return limits;
}

/* The operator's transaction waits for the batches under way. number 0: once only. */
static void change_limits(struct sim *sim, void *arg, int64_t number)
{
    struct client_limits limits = some_limits(sim);
    int client = (int)sim_between(sim, -1, sim->plan.clients - 1);
    (void)arg;
    if (sim->db->down || !database_set_limits(sim, client, &limits)) {
        sim_after_ms(sim, 1, change_limits, NULL, number);
    } else if (number != 0 && !clients_are_done(sim)) {
        sim_after_ms(sim, sim_between(sim, 1, 2 * LIMITS_MS), change_limits, NULL, number);
    }
}

void client_change_limits(struct sim *sim)
{
    change_limits(sim, NULL, 0);
}

/* Before anything is decided: they then hold for the same messages, whatever the batches are. */
static void set_all_limits(struct sim *sim)
{
    for (int client = -1; client < sim->plan.clients; client++) {
        struct client_limits limits = some_limits(sim);
        if (sim_chance(sim, 500000))
            database_set_limits(sim, client, &limits);
    }
}

/* --- sending --- */

static const char *claims_of(struct sim *sim, const struct draft *draft)
{
    int64_t iat_s = clients_now_ms(sim) / 1000 - 7200 - sim_below(sim, 60);
    int64_t exp_s = iat_s + 20 * 3600;
    if (sim_chance(sim, 20000))
        exp_s = iat_s + 7200 + sim_between(sim, -120, 120); /* about to expire */
    const char *issuer = token_client(draft->client);
    if (sim_chance(sim, 10000))
        issuer = "somebody-else";
    return arena_printf(sim->arena,
                        "{\"iss\":\"%s\",\"sub\":\"user-%d\",\"aud\":\"%s\",\"iat\":%" PRId64
                        ",\"exp\":%" PRId64 ",\"jti\":\"r-%" PRId64 "\",\"request\":{%s}}",
                        issuer, draft->client, sim_chance(sim, 10000) ? "other" : SIM_FARM, iat_s,
                        exp_s, draft->id, draft->body);
}

static void send(struct sim *sim, int32_t part, const char *value, size_t len)
{
    cluster_append_request(sim, part, value, len);
}

static void send_garbage(struct sim *sim, const struct draft *draft)
{
    char *token = token_sign(sim, draft->client, claims_of(sim, draft));
    size_t len = strlen(token);
    switch (sim_below(sim, 6)) {
    case 0:
        len = 0;
        break;
    case 1:
        len = (size_t)sim_below(sim, (int64_t)len); /* cut */
        break;
    case 2:
        /* Before the signature, which differs from run to run if it is a real one. */
        token[sim_below(sim, (int64_t)len - 100)] = (char)sim_below(sim, 256);
        break;
    case 3:
        token = token_sign_unknown(sim, claims_of(sim, draft));
        len = strlen(token);
        break;
    case 4:
        token = token_sign(sim, draft->client, "{\"iss\":\"batch-1\",\"request\":[]}");
        len = strlen(token);
        break;
    default:
        token = arena_strdup(sim->arena, "a.b.c");
        len = strlen(token);
    }
    send(sim, draft->part, token, len);
}

static void send_again(struct sim *sim, void *arg, int64_t number)
{
    struct repeat *repeat = arg;
    const char *token = repeat->token;
    (void)number;
    sim->clients->pending--;
    if (sim_chance(sim, 300000)) /* signed anew: the same content */
        token = token_sign(sim, repeat->draft.client, claims_of(sim, &repeat->draft));
    if (sim_chance(sim, 150000)) { /* the same id for something else */
        add(repeat->draft.body, sizeof(repeat->draft.body), " ");
        struct draft other = {.id = repeat->draft.id};
        draft_create(sim, &other);
        other.client = repeat->draft.client;
        token = token_sign(sim, other.client, claims_of(sim, &other));
    }
    send(sim, part_of(sim, repeat->draft.part), token, strlen(token));
}

static void send_draft(struct sim *sim, struct draft *draft)
{
    struct clients *clients = sim->clients;
    draft->id = ++clients->ids;
    if (sim_chance(sim, sim->plan.garbage)) {
        send_garbage(sim, draft);
        return;
    }
    const char *token = token_sign(sim, draft->client, claims_of(sim, draft));
    send(sim, draft->part, token, strlen(token));
    for (int i = 0; i < 2 && sim_chance(sim, sim->plan.repeated); i++) {
        struct repeat *repeat = arena_alloc(sim->arena, sizeof(*repeat));
        *repeat = (struct repeat){.draft = *draft, .token = token};
        clients->pending++;
        sim_after_ms(sim, sim_between(sim, 0, REPEAT_MS), send_again, repeat, 0);
    }
}

static void next(struct sim *sim, void *arg, int64_t number)
{
    struct draft draft = {0};
    (void)arg;
    sim->clients->left--;
    if (number < sim->plan.machines) {
        draft_register(sim, &draft, number);
    } else {
        draft_any(sim, &draft);
    }
    send_draft(sim, &draft);
}

/* The administrator's, in partition 0. */
static void send_written(struct sim *sim, void *arg, int64_t number)
{
    struct draft draft = {.id = ++sim->clients->ids};
    (void)arg;
    sim->clients->left--;
    add(draft.body, sizeof(draft.body), sim->batches->written[number]);
    const char *token = token_sign(sim, draft.client, claims_of(sim, &draft));
    send(sim, draft.part, token, strlen(token));
}

static void send_all_written(struct sim *sim)
{
    sim->clients->left = (int64_t)sim->batches->written_count;
    for (int64_t i = 0; i < sim->clients->left; i++)
        sim_after_ms(sim, i * 1000, send_written, NULL, i);
}

void client_send_one(struct sim *sim)
{
    struct draft draft = {0};
    draft_any(sim, &draft);
    send_draft(sim, &draft);
}

int64_t client_send_to(struct sim *sim, int32_t part)
{
    struct draft draft = {0};
    draft_any(sim, &draft);
    draft.id = ++sim->clients->ids;
    const char *token = token_sign(sim, draft.client, claims_of(sim, &draft));
    return cluster_append_request(sim, part, token, strlen(token));
}

int64_t client_send_booking(struct sim *sim, int32_t part, const struct machine_row *machine,
                            int64_t start_ms, int64_t length_ms)
{
    struct draft draft = {.id = ++sim->clients->ids, .part = part};
    snprintf(draft.body, sizeof(draft.body),
             "\"type\":\"booking.create\",\"start\":\"%s\",\"duration_s\":%" PRId64
             ",\"allocations\":[{\"machine\":\"%s\",\"gpus\":%" PRId64 ",\"memory_gib\":1}]",
             time_text(sim, start_ms), length_ms / 1000, machine->name, machine->capacity.gpus);
    const char *token = token_sign(sim, draft.client, claims_of(sim, &draft));
    return cluster_append_request(sim, part, token, strlen(token));
}

int64_t client_send_poison(struct sim *sim, int32_t part)
{
    const char *token = token_sign(sim, 1, "{\"sub\":\"poison\"}");
    return cluster_append_request(sim, part, token, strlen(token));
}

void clients_open(struct sim *sim)
{
    sim->clients = arena_alloc(sim->arena, sizeof(*sim->clients));
    if (sim->plan.limits && sim->batches) {
        set_all_limits(sim);
    } else if (sim->plan.limits) {
        sim_after_ms(sim, sim_below(sim, LIMITS_MS), change_limits, NULL, 1);
    }
    if (sim->batches && sim->batches->size > 0) {
        batches_open(sim);
        return;
    }
    if (sim->batches && sim->batches->written) {
        send_all_written(sim);
        return;
    }
    sim->clients->left = sim->plan.requests;
    for (int64_t i = 0; i < sim->plan.requests; i++) {
        int64_t at_ms = i < sim->plan.machines ? sim_below(sim, 3000)
                                               : sim_below(sim, sim->plan.workload_ms);
        sim_after_ms(sim, at_ms, next, NULL, i);
    }
}

void clients_close(struct sim *sim)
{
    (void)sim;
}

bool clients_are_done(const struct sim *sim)
{
    return sim->clients->left == 0 && sim->clients->pending == 0;
}
