#include "worker/lockset.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"

void lockset_fini(struct lockset *set)
{
    wants_fini(&set->wants);
    free(set->clients);
    id_list_fini(&set->machines);
    id_list_fini(&set->bookings);
    id_list_fini(&set->shrinking);
    *set = (struct lockset){0};
}

void lockset_collect(struct lockset *set, struct item *const *items, size_t count)
{
    wants_clear(&set->wants);
    set->loaded = 0;
    set->known_from_ms = INT64_MAX;
    for (size_t i = 0; i < count; i++) {
        const struct item *item = items[i];
        if (time_floor_s(item->now_ms) < set->known_from_ms)
            set->known_from_ms = time_floor_s(item->now_ms);
        if (item->auth.verified && !item->auth.claims.pointer) {
            wants_add(&set->wants, item->auth.credential.client, item->auth.claims.id,
                      &item->auth.claims.request);
        }
    }
    const struct id_list *bookings = &set->wants.bookings;
    for (size_t i = 0; i < bookings->count; i++)
        id_list_add(&set->bookings, bookings->ids[i]);
}

/* Adds the client if it has a counted limit. Returns whether it was added. */
static bool need_client(struct lockset *set, const struct keyring *keys, const char *name)
{
    const struct client_limits *limits = keyring_counted(keys, name);
    if (!limits)
        return false;
    size_t at = set->client_count;
    while (at > 0 && strcmp(set->clients[at - 1].name, name) > 0)
        at--;
    if (at > 0 && strcmp(set->clients[at - 1].name, name) == 0)
        return false;
    set->clients = xgrow(set->clients, set->client_count, &set->client_capacity,
                         sizeof(*set->clients));
    memmove(&set->clients[at + 1], &set->clients[at],
            (set->client_count - at) * sizeof(*set->clients));
    struct client *client = &set->clients[at];
    *client = (struct client){.limits = *limits};
    assert(strlen(name) < sizeof(client->name));
    memcpy(client->name, name, strlen(name) + 1);
    set->client_count++;
    return true;
}

struct owners {
    struct lockset *set;
    const struct keyring *keys;
};

static void need_owner(void *arg, const char *name)
{
    struct owners *owners = arg;
    need_client(owners->set, owners->keys, name);
}

/* Finds the clients whose use the batch may change: those with a booking.create, and the owners of
 * bookings that it may touch. Each attempt starts anew, since limits may have changed. */
static enum err find_clients(struct lockset *set, struct worker *w, struct failure *f)
{
    const struct store_ops *store = w->store->ops;
    struct owners owners = {set, w->keys};
    enum err err = ERR_OK;
    set->client_count = 0;
    if (!keyring_counts(w->keys))
        return ERR_OK;
    for (size_t i = 0; i < set->wants.creator_count; i++)
        need_client(set, w->keys, set->wants.creators[i]);
    if (set->bookings.count)
        err = store->clients_of_bookings(w->store->self, &set->bookings, need_owner, &owners, f);
    if (err == ERR_OK && set->client_count)
        err = store->find_clients(w->store->self, set->clients, set->client_count, w->world, f);
    return err;
}

/* Under the bookings' locks: a booking that appeared since may belong to another client. */
static void add_owners(struct lockset *set, struct worker *w)
{
    if (!keyring_counts(w->keys))
        return;
    for (size_t i = 0; i < set->bookings.count; i++) {
        const struct booking *booking = world_booking(w->world, set->bookings.ids[i]);
        if (booking)
            need_client(set, w->keys, booking->client);
    }
}

static bool is_stale(const struct timeline *timeline, bool current, int64_t known_from_ms)
{
    return !timeline || !current || !timeline_covers(timeline, known_from_ms);
}

static enum err load_machines(struct lockset *set, struct worker *w, struct failure *f)
{
    struct machine **stale = xcalloc(set->machines.count + 1, sizeof(struct machine *));
    size_t count = 0;
    for (size_t i = 0; i < set->machines.count; i++) {
        struct machine *machine = world_machine_by_id(w->world, set->machines.ids[i]);
        if (machine && !machine->is_new &&
            is_stale(machine->timeline, machine->timeline_version == machine->version,
                     set->known_from_ms))
            stale[count++] = machine;
    }
    enum err err = count ? w->store->ops->load_timelines(w->store->self, w->world, stale, count,
                                                         set->known_from_ms, f)
                         : ERR_OK;
    set->loaded += count;
    free(stale);
    return err;
}

static enum err load_clients(struct lockset *set, struct worker *w, struct failure *f)
{
    struct client **stale = xcalloc(set->client_count + 1, sizeof(struct client *));
    size_t count = 0;
    for (size_t i = 0; i < set->client_count; i++) {
        struct client *client = world_client(w->world, set->clients[i].name);
        if (client && is_stale(client->timeline, client->timeline_version == client->version,
                               set->known_from_ms))
            stale[count++] = client;
    }
    enum err err = count ? w->store->ops->load_client_timelines(w->store->self, w->world, stale,
                                                                count, set->known_from_ms, f)
                         : ERR_OK;
    set->loaded += count;
    free(stale);
    return err;
}

static enum err load_timelines(struct lockset *set, struct worker *w, struct failure *f)
{
    enum err err = load_machines(set, w, f);
    if (err == ERR_OK)
        err = load_clients(set, w, f);
    return err == ERR_OK ? ERR_OK : failure_wrap(f, "load timelines");
}

/* Adds the ids of the named machines. An unknown name is not remembered: each batch looks it up. */
static void add_named(struct lockset *set, struct world *world)
{
    for (size_t i = 0; i < set->wants.machine_count; i++) {
        const struct machine *machine = world_machine_by_name(world, set->wants.machines[i]);
        if (machine && !machine->is_new)
            id_list_add(&set->machines, machine->id);
    }
}

/* Whether the update may leave less capacity than the machine has by its row, or by an earlier update
 * of the batch. */
static bool may_shrink(const struct wants *wants, size_t index, const struct machine *machine)
{
    const struct machine_update *update = wants->updates[index];
    struct amount most = machine->capacity;
    bool retired = machine->state == MACHINE_RETIRED;
    for (size_t i = 0; i < index; i++) {
        const struct machine_update *earlier = wants->updates[i];
        if (strcmp(earlier->machine, machine->name) != 0)
            continue;
        if (earlier->has_gpus && earlier->capacity.gpus > most.gpus)
            most.gpus = earlier->capacity.gpus;
        if (earlier->has_memory_gib && earlier->capacity.memory_gib > most.memory_gib)
            most.memory_gib = earlier->capacity.memory_gib;
        retired = retired && !earlier->has_state;
    }
    return (update->has_gpus && update->capacity.gpus < most.gpus) ||
           (update->has_memory_gib && update->capacity.memory_gib < most.memory_gib) ||
           (update->has_state && update->state == MACHINE_RETIRED && !retired);
}

static void find_shrinking(struct lockset *set, struct world *world)
{
    id_list_clear(&set->shrinking);
    for (size_t i = 0; i < set->wants.update_count; i++) {
        const struct machine *machine = world_machine_by_name(world,
                                                              set->wants.updates[i]->machine);
        if (machine && !machine->is_new && may_shrink(&set->wants, i, machine))
            id_list_add(&set->shrinking, machine->id);
    }
}

/* Adds the bookings of series, and those that an update may have to name or end. The latter only on
 * machines that may shrink, since a busy machine has many bookings. */
static enum err find_bookings(struct lockset *set, struct worker *w, struct failure *f)
{
    const struct store_ops *store = w->store->ops;
    enum err err = ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < set->wants.series.count; i++) {
        err = store->bookings_of_series(w->store->self, set->wants.series.ids[i], &set->bookings,
                                        f);
    }
    find_shrinking(set, w->world);
    if (err == ERR_OK && set->shrinking.count) {
        err = store->bookings_on_machines(w->store->self, &set->shrinking, set->known_from_ms,
                                          &set->bookings, f);
    }
    return err;
}

static enum err find_machines(struct lockset *set, struct worker *w, struct failure *f)
{
    const struct store_ops *store = w->store->ops;
    void *self = w->store->self;
    const struct wants *wants = &set->wants;
    enum err err = ERR_OK;
    if (wants->machine_count)
        err = store->find_machines(self, wants->machines, wants->machine_count, w->world, f);
    if (err == ERR_OK && wants->chosen_ids.count) {
        err = store->find_machines_by_id(self, wants->chosen_ids.ids, wants->chosen_ids.count,
                                         w->world, f);
    }
    if (err != ERR_OK)
        return err;
    add_named(set, w->world);
    for (size_t i = 0; i < wants->chosen_ids.count; i++) {
        if (world_machine_by_id(w->world, wants->chosen_ids.ids[i]))
            id_list_add(&set->machines, wants->chosen_ids.ids[i]);
    }
    for (size_t i = 0; err == ERR_OK && i < wants->label_count; i++)
        err = store->machines_matching(self, wants->labels[i], w->world, &set->machines, f);
    return err;
}

enum err lockset_warm(struct lockset *set, struct worker *w, struct failure *f)
{
    const struct store_ops *store = w->store->ops;
    void *self = w->store->self;
    enum err err = find_machines(set, w, f);
    if (err == ERR_OK)
        err = find_bookings(set, w, f);
    if (err == ERR_OK && set->bookings.count)
        err = store->machines_of_bookings(self, &set->bookings, &set->machines, f);
    if (err == ERR_OK && set->bookings.count && set->machines.count)
        err = store->find_machines_by_id(self, set->machines.ids, set->machines.count, w->world, f);
    if (err == ERR_OK)
        err = find_clients(set, w, f);
    if (err != ERR_OK)
        return failure_wrap(f, "find machines, bookings and clients");
    return load_timelines(set, w, f);
}

/* Under the locks: ERR_WORLD_GREW if the requests touch rows that are not in the set. */
static enum err check_grown(struct lockset *set, struct worker *w, struct failure *f)
{
    size_t machines = set->machines.count, bookings = set->bookings.count;
    size_t clients = set->client_count;
    enum err err = find_bookings(set, w, f);
    if (err == ERR_OK && set->bookings.count) {
        err = w->store->ops->machines_of_bookings(w->store->self, &set->bookings, &set->machines,
                                                  f);
    }
    if (err != ERR_OK)
        return err;
    add_owners(set, w);
    if (set->machines.count != machines || set->bookings.count != bookings ||
        set->client_count != clients) {
        return failure_set(f, ERR_WORLD_GREW,
                           "%zu machines, %zu bookings, %zu clients more to lock",
                           set->machines.count - machines, set->bookings.count - bookings,
                           set->client_count - clients);
    }
    return ERR_OK;
}

enum err lockset_take(struct lockset *set, struct worker *w, struct failure *f)
{
    const struct store_ops *store = w->store->ops;
    void *self = w->store->self;
    const struct wants *wants = &set->wants;
    enum err err = ERR_OK;
    if (set->client_count)
        err = store->lock_clients(self, set->clients, set->client_count, w->world, f);
    if (err == ERR_OK && set->machines.count)
        err = store->lock_machines(self, &set->machines, w->world, f);
    if (err == ERR_OK && set->bookings.count)
        err = store->lock_bookings(self, &set->bookings, w->world, f);
    if (err == ERR_OK && (set->bookings.count || wants->update_count || wants->series.count))
        err = check_grown(set, w, f);
    if (err != ERR_OK)
        return failure_wrap(f, "lock clients, machines and bookings");
    if (load_timelines(set, w, f) != ERR_OK)
        return f->err;
    if (wants->ref_count &&
        store->find_priors(self, wants->refs, wants->ref_count, w->world, f) != ERR_OK)
        return failure_wrap(f, "look up request ids");
    return ERR_OK;
}
