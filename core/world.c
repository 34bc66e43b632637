#include "core/world.h"

#include "core/heap.h"
#include "core/map.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Pointers in the order in which they came. */
struct list {
    void **items;
    size_t count, room;
};

struct world {
    struct pool *pool;
    struct arena *arena;
    struct map machines_by_name, machines_by_id;
    struct list machines; /* all of them */
    struct list sorted;   /* all of them by name, unless `unsorted` */
    bool unsorted;
    struct list spare; /* taken again for the next new machine */
    struct map clients_by_name;
    struct list clients;
    struct map bookings;
    struct list booking_list; /* all of `bookings` */
    struct map priors;
    struct list touched_machines, touched_clients, touched_bookings;
    uint64_t decision, batch;
    /* world_forget_before: the instant at which the last round began, and its next timeline. */
    int64_t forget_ms;
    size_t forget_next;
};

static void list_add(struct list *list, void *item)
{
    assert(item);
    if (list->count == list->room) {
        list->room = list->room == 0 ? 64 : list->room * 2;
        list->items = heap_array(list->items, list->room, sizeof(*list->items));
    }
    list->items[list->count++] = item;
}

/* --- keys --- */

static bool machine_has_name(const void *value, const void *key)
{
    return strcmp(((const struct machine *)value)->name, key) == 0;
}

static bool machine_has_id(const void *value, const void *key)
{
    return ((const struct machine *)value)->id == *(const int64_t *)key;
}

static bool client_has_name(const void *value, const void *key)
{
    return strcmp(((const struct client *)value)->name, key) == 0;
}

static bool booking_has_id(const void *value, const void *key)
{
    return ((const struct booking *)value)->id == *(const int64_t *)key;
}

struct prior_key {
    const char *client, *request_id;
};

static bool prior_has_key(const void *value, const void *key)
{
    const struct prior *prior = value;
    const struct prior_key *wanted = key;
    return strcmp(prior->request_id, wanted->request_id) == 0 &&
           strcmp(prior->client, wanted->client) == 0;
}

static uint64_t prior_hash(const char *client, const char *request_id)
{
    return map_hash_text(map_hash_text(MAP_SEED, client), request_id);
}

/* --- the world and its batches --- */

struct world *world_new(void)
{
    struct world *world = heap_alloc(sizeof(*world));
    world->pool = pool_new();
    world->arena = arena_new();
    world->forget_ms = INT64_MIN;
    return world;
}

static void timeline_drop(struct machine *machine)
{
    timeline_free(machine->timeline);
    machine->timeline = NULL;
    machine->timeline_version = 0;
}

static void client_timeline_drop(struct client *client)
{
    timeline_free(client->timeline);
    client->timeline = NULL;
    client->timeline_version = 0;
    client->known_gpu_ms = 0;
}

/* Leaves the struct itself alone: pointers to it stay valid. */
static void machine_clear(struct machine *machine)
{
    timeline_drop(machine);
    free((void *)machine->labels.items);
    *machine = (struct machine){0};
}

void world_free(struct world *world)
{
    if (!world)
        return;
    for (size_t i = 0; i < world->machines.count; i++) {
        machine_clear(world->machines.items[i]);
        free(world->machines.items[i]);
    }
    for (size_t i = 0; i < world->spare.count; i++)
        free(world->spare.items[i]);
    for (size_t i = 0; i < world->clients.count; i++) {
        client_timeline_drop(world->clients.items[i]);
        free(world->clients.items[i]);
    }
    struct list *lists[] = {&world->machines,        &world->sorted,
                            &world->spare,           &world->clients,
                            &world->booking_list,    &world->touched_machines,
                            &world->touched_clients, &world->touched_bookings};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        free(lists[i]->items);
    map_fini(&world->machines_by_name);
    map_fini(&world->machines_by_id);
    map_fini(&world->clients_by_name);
    map_fini(&world->bookings);
    map_fini(&world->priors);
    arena_free(world->arena);
    pool_free(world->pool);
    free(world);
}

static void batch_clear(struct world *world)
{
    map_clear(&world->bookings);
    map_clear(&world->priors);
    world->booking_list.count = 0;
    world->touched_machines.count = 0;
    world->touched_clients.count = 0;
    world->touched_bookings.count = 0;
}

void world_batch_begin(struct world *world)
{
    assert(world->touched_machines.count == 0);
    assert(world->touched_bookings.count == 0);
    batch_clear(world);
    world->batch++;
}

static void machine_forget(struct world *world, struct machine *machine)
{
    void *by_name = map_remove(&world->machines_by_name, map_hash_text(MAP_SEED, machine->name),
                               machine_has_name, machine->name);
    void *by_id = map_remove(&world->machines_by_id, map_hash_int(machine->id), machine_has_id,
                             &machine->id);
    assert(by_name == machine);
    assert(by_id == machine);
    /* New machines are at the end. */
    size_t i = world->machines.count;
    do {
        assert(i > 0);
        i--;
    } while (world->machines.items[i] != machine);
    world->machines.items[i] = world->machines.items[--world->machines.count];
    world->unsorted = true;
    machine_clear(machine);
    list_add(&world->spare, machine);
}

static void clients_end(struct world *world, bool committed)
{
    for (size_t i = 0; i < world->touched_clients.count; i++) {
        struct client *client = world->touched_clients.items[i];
        assert(!client->timeline || client->timeline_version == client->version);
        if (!committed) {
            client_timeline_drop(client);
            client->version = 0;
        }
        client->touched = false;
    }
}

void world_batch_end(struct world *world, bool committed)
{
    for (size_t i = world->touched_machines.count; i > 0; i--) {
        struct machine *machine = world->touched_machines.items[i - 1];
        assert(machine->touched);
        assert(!machine->timeline || machine->timeline_version == machine->version);
        if (!committed && machine->is_new) {
            machine_forget(world, machine);
            continue;
        }
        if (!committed) {
            timeline_drop(machine);
            machine->version = 0;
        }
        machine->is_new = false;
        machine->touched = false;
    }
    clients_end(world, committed);
    batch_clear(world);
    arena_reset(world->arena);
}

struct arena *world_arena(struct world *world)
{
    return world->arena;
}

/* --- machines --- */

struct machine *world_machine_by_name(struct world *world, const char *name)
{
    assert(name);
    return map_get(&world->machines_by_name, map_hash_text(MAP_SEED, name), machine_has_name, name);
}

struct machine *world_machine_by_id(struct world *world, int64_t id)
{
    return map_get(&world->machines_by_id, map_hash_int(id), machine_has_id, &id);
}

/* One block: the items, then their strings. */
void world_machine_set_labels(struct machine *machine, struct labels labels)
{
    assert(labels.count <= LIMIT_LABELS);
    size_t size = labels.count * sizeof(struct label);
    for (size_t i = 0; i < labels.count; i++)
        size += strlen(labels.items[i].key) + strlen(labels.items[i].value) + 2;
    struct label *items = heap_alloc(size);
    char *text = (char *)(items + labels.count);
    for (size_t i = 0; i < labels.count; i++) {
        const char *parts[2] = {labels.items[i].key, labels.items[i].value};
        char *copies[2];
        for (size_t k = 0; k < 2; k++) {
            size_t len = strlen(parts[k]) + 1;
            copies[k] = memcpy(text, parts[k], len);
            text += len;
        }
        items[i] = (struct label){.key = copies[0], .value = copies[1]};
    }
    free((void *)machine->labels.items);
    machine->labels = (struct labels){.count = labels.count, .items = items};
}

static struct machine *machine_add(struct world *world, int64_t id, const char *name)
{
    assert(id > 0);
    assert(name[0] != '\0');
    struct machine *machine = world->spare.count > 0 ? world->spare.items[--world->spare.count]
                                                     : heap_alloc(sizeof(*machine));
    machine->id = id;
    memcpy(machine->name, name, strlen(name) + 1);
    list_add(&world->machines, machine);
    world->unsorted = true;
    map_put(&world->machines_by_name, map_hash_text(MAP_SEED, name), machine);
    map_put(&world->machines_by_id, map_hash_int(id), machine);
    return machine;
}

struct machine *world_machine_put(struct world *world, const struct machine *row)
{
    assert(memchr(row->name, '\0', sizeof(row->name)));
    struct machine *machine = world_machine_by_id(world, row->id);
    assert(machine == world_machine_by_name(world, row->name));
    if (!machine)
        machine = machine_add(world, row->id, row->name);
    assert(!machine->touched);
    if (machine->timeline && machine->timeline_version != row->version)
        timeline_drop(machine);
    world_machine_set_labels(machine, row->labels);
    machine->capacity = row->capacity;
    machine->state = row->state;
    machine->version = row->version;
    machine->capacity_changed_ms = row->capacity_changed_ms;
    machine->seen_in = world->batch;
    return machine;
}

void world_machine_confirm(struct world *world, struct machine *machine)
{
    assert(world_machine_by_id(world, machine->id) == machine);
    machine->seen_in = world->batch;
}

struct machine *world_machine_register(struct world *world, const struct machine *row)
{
    assert(row->version == 0);
    assert(!world_machine_by_id(world, row->id));
    struct machine *machine = world_machine_put(world, row);
    /* Nothing can be on it, so its timeline is complete from ever: a message of this batch may have
     * an older now than the one that registers it. */
    world_timeline_start(world, machine, INT64_MIN);
    machine->is_new = true;
    world_touch_machine(world, machine);
    return machine;
}

void world_timeline_start(struct world *world, struct machine *machine, int64_t known_from_ms)
{
    assert(!machine->touched);
    timeline_drop(machine);
    machine->timeline = timeline_new(world->pool, known_from_ms);
    machine->timeline_version = machine->version;
}

void world_timeline_add(struct world *world, struct machine *machine, int64_t start_ms,
                        int64_t end_ms, struct amount use)
{
    assert(world_machine_by_id(world, machine->id) == machine);
    assert(machine->timeline);
    timeline_add(machine->timeline, start_ms, end_ms, use);
}

void world_forget_before(struct world *world, int64_t at_ms)
{
    size_t all = world->machines.count + world->clients.count;
    assert(world->touched_machines.count == 0);
    assert(world->touched_bookings.count == 0);
    bool idle = world->forget_next >= all || world->forget_ms == INT64_MIN;
    if (idle && at_ms >= world->forget_ms + WORLD_FORGET_STEP_MS) {
        world->forget_ms = at_ms;
        world->forget_next = 0;
    }
    for (int i = 0; i < WORLD_FORGET_TIMELINES && world->forget_next < all; i++) {
        size_t next = world->forget_next++;
        struct machine *machine = next < world->machines.count ? world->machines.items[next] : NULL;
        struct client *client = !machine ? world->clients.items[next - world->machines.count]
                                         : NULL;
        if (machine && machine->timeline)
            timeline_forget_before(machine->timeline, at_ms);
        if (client && client->timeline)
            quota_forget_before(client, at_ms);
    }
}

void world_decision_begin(struct world *world)
{
    world->decision++;
}

void world_touch_machine(struct world *world, struct machine *machine)
{
    assert(world->decision > 0);
    if (machine->touched_by == world->decision)
        return;
    machine->touched_by = world->decision;
    machine->version++;
    if (machine->timeline)
        machine->timeline_version++;
    assert(!machine->timeline || machine->timeline_version == machine->version);
    if (!machine->touched)
        list_add(&world->touched_machines, machine);
    machine->touched = true;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp((*(struct machine *const *)a)->name, (*(struct machine *const *)b)->name);
}

/* Sorting is put off until somebody asks: machines come rarely. */
static void sort_machines(struct world *world)
{
    if (!world->unsorted)
        return;
    world->sorted.count = 0;
    for (size_t i = 0; i < world->machines.count; i++)
        list_add(&world->sorted, world->machines.items[i]);
    if (world->sorted.count > 0)
        qsort(world->sorted.items, world->sorted.count, sizeof(void *), compare_names);
    world->unsorted = false;
}

/* Both are sorted by key. */
static bool labels_carry(const struct labels *all, const struct labels *wanted)
{
    size_t i = 0;
    for (size_t k = 0; k < wanted->count; k++) {
        while (i < all->count && strcmp(all->items[i].key, wanted->items[k].key) < 0)
            i++;
        if (i == all->count || strcmp(all->items[i].key, wanted->items[k].key) != 0 ||
            strcmp(all->items[i].value, wanted->items[k].value) != 0)
            return false;
    }
    return true;
}

struct machine **world_machines_matching(struct world *world, const struct labels *labels,
                                         size_t *count_out)
{
    sort_machines(world);
    size_t count = 0;
    struct machine **found = arena_alloc(world->arena, world->sorted.count * sizeof(*found));
    for (size_t i = 0; i < world->sorted.count; i++) {
        struct machine *machine = world->sorted.items[i];
        if (machine->seen_in == world->batch && machine->state == MACHINE_UP &&
            labels_carry(&machine->labels, labels))
            found[count++] = machine;
    }
    *count_out = count;
    return found;
}

/* --- clients --- */

static struct client *client_find(struct world *world, const char *name)
{
    return map_get(&world->clients_by_name, map_hash_text(MAP_SEED, name), client_has_name, name);
}

struct client *world_client(struct world *world, const char *name)
{
    assert(name);
    struct client *client = client_find(world, name);
    return client && client->seen_in == world->batch ? client : NULL;
}

struct client *world_client_put(struct world *world, const struct client *row)
{
    assert(memchr(row->name, '\0', sizeof(row->name)));
    struct client *client = client_find(world, row->name);
    if (!client) {
        client = heap_alloc(sizeof(*client));
        memcpy(client->name, row->name, sizeof(client->name));
        list_add(&world->clients, client);
        map_put(&world->clients_by_name, map_hash_text(MAP_SEED, client->name), client);
    }
    assert(!client->touched);
    if (client->timeline && client->timeline_version != row->version)
        client_timeline_drop(client);
    client->limits = row->limits;
    client->version = row->version;
    client->seen_in = world->batch;
    return client;
}

void world_client_timeline_start(struct world *world, struct client *client, int64_t known_from_ms)
{
    assert(!client->touched);
    client_timeline_drop(client);
    client->timeline = timeline_new(world->pool, known_from_ms);
    client->timeline_version = client->version;
}

void world_client_timeline_add(struct world *world, struct client *client, int64_t start_ms,
                               int64_t end_ms, struct amount use)
{
    assert(client_find(world, client->name) == client);
    quota_change(client, start_ms, end_ms, use.gpus, true);
}

void world_touch_client(struct world *world, struct client *client)
{
    assert(world->decision > 0);
    if (!client || client->touched_by == world->decision)
        return;
    assert(client->seen_in == world->batch);
    client->touched_by = world->decision;
    client->version++;
    if (client->timeline)
        client->timeline_version++;
    if (!client->touched)
        list_add(&world->touched_clients, client);
    client->touched = true;
}

/* --- bookings --- */

struct booking *world_booking(struct world *world, int64_t id)
{
    return map_get(&world->bookings, map_hash_int(id), booking_has_id, &id);
}

struct booking *world_booking_put(struct world *world, const struct booking *row)
{
    assert(row->client);
    assert(row->user);
    struct booking *booking = world_booking(world, row->id);
    if (!booking) {
        booking = arena_alloc(world->arena, sizeof(*booking));
        booking->id = row->id;
        map_put(&world->bookings, map_hash_int(row->id), booking);
        list_add(&world->booking_list, booking);
    }
    assert(!booking->touched);
    *booking = (struct booking){
        .id = row->id,
        .series = row->series,
        .client = arena_strdup(world->arena, row->client),
        .user = arena_strdup(world->arena, row->user),
        .start_ms = row->start_ms,
        .end_ms = row->end_ms,
        .state = row->state,
        .version = row->version,
    };
    return booking;
}

/* The first row that does not come before the key. */
static size_t allocation_place(const struct booking *booking, int64_t machine_id, int64_t start_ms)
{
    size_t low = 0, high = booking->allocation_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct allocation *row = &booking->allocations[middle];
        bool before = row->machine_id < machine_id ||
                      (row->machine_id == machine_id && row->start_ms < start_ms);
        if (before) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct allocation *world_allocation_find(const struct booking *booking, int64_t machine_id,
                                         int64_t start_ms)
{
    size_t i = allocation_place(booking, machine_id, start_ms);
    if (i == booking->allocation_count)
        return NULL;
    struct allocation *row = &booking->allocations[i];
    return row->machine_id == machine_id && row->start_ms == start_ms ? row : NULL;
}

struct allocation *world_allocation_add(struct world *world, struct booking *booking,
                                        const struct allocation *row)
{
    assert(row->start_ms < row->end_ms);
    assert(!world_allocation_find(booking, row->machine_id, row->start_ms));
    size_t count = booking->allocation_count;
    if (count == booking->allocation_capacity) {
        size_t room = count == 0 ? 4 : count * 2;
        struct allocation *rows = arena_alloc(world->arena, room * sizeof(*rows));
        if (count > 0)
            memcpy(rows, booking->allocations, count * sizeof(*rows));
        booking->allocations = rows;
        booking->allocation_capacity = room;
    }
    size_t i = allocation_place(booking, row->machine_id, row->start_ms);
    struct allocation *place = &booking->allocations[i];
    memmove(place + 1, place, (count - i) * sizeof(*place));
    *place = *row;
    booking->allocation_count++;
    return place;
}

void world_touch_booking(struct world *world, struct booking *booking)
{
    assert(world_booking(world, booking->id) == booking);
    if (!booking->touched)
        list_add(&world->touched_bookings, booking);
    booking->touched = true;
}

/* What world_bookings_on and world_series look for. */
struct wanted {
    int64_t machine_id, from_ms; /* live use of the machine after from_ms, if series is 0 */
    int64_t series;
};

static bool is_wanted(const struct booking *booking, const struct wanted *wanted)
{
    if (wanted->series != 0)
        return booking->series == wanted->series;
    for (size_t i = allocation_place(booking, wanted->machine_id, INT64_MIN);
         i < booking->allocation_count && booking->allocations[i].machine_id == wanted->machine_id;
         i++) {
        if (booking->allocations[i].live && booking->allocations[i].end_ms > wanted->from_ms)
            return true;
    }
    return false;
}

static int compare_booking_ids(const void *a, const void *b)
{
    int64_t left = (*(struct booking *const *)a)->id;
    int64_t right = (*(struct booking *const *)b)->id;
    return (left > right) - (left < right);
}

/* By ascending id, in the batch's arena. */
static struct booking **find_bookings(struct world *world, const struct wanted *wanted,
                                      size_t *count_out)
{
    struct booking **found = arena_alloc(world->arena, world->booking_list.count * sizeof(*found));
    size_t count = 0;
    for (size_t i = 0; i < world->booking_list.count; i++) {
        struct booking *booking = world->booking_list.items[i];
        if (is_wanted(booking, wanted))
            found[count++] = booking;
    }
    qsort(found, count, sizeof(struct booking *), compare_booking_ids);
    *count_out = count;
    return found;
}

struct booking **world_bookings_on(struct world *world, const struct machine *machine,
                                   int64_t from_ms, size_t *count_out)
{
    assert(machine->id > 0);
    return find_bookings(world, &(struct wanted){.machine_id = machine->id, .from_ms = from_ms},
                         count_out);
}

struct booking **world_series(struct world *world, int64_t series, size_t *count_out)
{
    assert(series > 0);
    return find_bookings(world, &(struct wanted){.series = series}, count_out);
}

/* --- prior answers --- */

const struct prior *world_prior(struct world *world, const char *client, const char *request_id)
{
    assert(client);
    assert(request_id);
    struct prior_key key = {.client = client, .request_id = request_id};
    return map_get(&world->priors, prior_hash(client, request_id), prior_has_key, &key);
}

void world_prior_put(struct world *world, const struct prior *prior)
{
    if (world_prior(world, prior->client, prior->request_id))
        return;
    struct prior *copy = arena_alloc(world->arena, sizeof(*copy));
    *copy = *prior;
    map_put(&world->priors, prior_hash(prior->client, prior->request_id), copy);
}

/* --- what the batch changed --- */

size_t world_touched_machine_count(const struct world *world)
{
    return world->touched_machines.count;
}

struct machine *world_touched_machine(struct world *world, size_t index)
{
    assert(index < world->touched_machines.count);
    return world->touched_machines.items[index];
}

size_t world_touched_client_count(const struct world *world)
{
    return world->touched_clients.count;
}

struct client *world_touched_client(struct world *world, size_t index)
{
    assert(index < world->touched_clients.count);
    return world->touched_clients.items[index];
}

size_t world_touched_booking_count(const struct world *world)
{
    return world->touched_bookings.count;
}

struct booking *world_touched_booking(struct world *world, size_t index)
{
    assert(index < world->touched_bookings.count);
    return world->touched_bookings.items[index];
}
