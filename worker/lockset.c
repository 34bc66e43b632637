#include "worker/lockset.h"

#include <assert.h>
#include <stdlib.h>

#include "lib/mem.h"

void lockset_fini(struct lockset *set)
{
    free(set->names);
    free(set->refs);
    free(set->displacing_names);
    id_list_fini(&set->chosen_ids);
    id_list_fini(&set->bookings);
    id_list_fini(&set->machines);
    id_list_fini(&set->displacing);
    *set = (struct lockset){0};
}

static void push_name(const char ***names, size_t *count, size_t *capacity, const char *name)
{
    if (*count == *capacity) {
        *capacity = *capacity ? 2 * *capacity : 64;
        *names = xrealloc(*names, *capacity * sizeof(**names));
    }
    (*names)[(*count)++] = name;
}

static void need_machine(struct lockset *set, const char *name)
{
    push_name(&set->names, &set->name_count, &set->name_capacity, name);
}

static void need_shares(struct lockset *set, const struct share *shares, size_t count)
{
    for (size_t i = 0; i < count; i++)
        need_machine(set, shares[i].machine);
}

static void need_ref(struct lockset *set, const char *client, const char *request_id)
{
    if (set->ref_count == set->ref_capacity) {
        set->ref_capacity = set->ref_capacity ? 2 * set->ref_capacity : 64;
        set->refs = xrealloc(set->refs, set->ref_capacity * sizeof(*set->refs));
    }
    set->refs[set->ref_count++] = (struct request_ref){client, request_id};
}

static void collect_request(struct lockset *set, const struct request *req)
{
    assert(req->type < REQUEST_TYPE_COUNT);
    switch (req->type) {
    case REQUEST_MACHINE_REGISTER:
        need_machine(set, req->machine_register.machine);
        if (req->machine_register.id > 0)
            id_list_add(&set->chosen_ids, req->machine_register.id);
        break;
    case REQUEST_MACHINE_UPDATE:
        need_machine(set, req->machine_update.machine);
        if (req->machine_update.displace)
            push_name(&set->displacing_names, &set->displacing_name_count,
                      &set->displacing_name_capacity, req->machine_update.machine);
        break;
    case REQUEST_BOOKING_CREATE:
        need_shares(set, req->booking_create.shares, req->booking_create.share_count);
        break;
    case REQUEST_BOOKING_AMEND:
        id_list_add(&set->bookings, req->booking_amend.booking);
        need_shares(set, req->booking_amend.shares, req->booking_amend.share_count);
        break;
    case REQUEST_BOOKING_CANCEL:
        id_list_add(&set->bookings, req->booking_cancel.booking);
        break;
    case REQUEST_TYPE_COUNT:
        break;
    }
}

void lockset_collect(struct lockset *set, struct item *const *items, size_t count)
{
    set->name_count = set->ref_count = set->displacing_name_count = 0;
    id_list_clear(&set->chosen_ids);
    set->known_from_ms = INT64_MAX;
    for (size_t i = 0; i < count; i++) {
        const struct item *item = items[i];
        if (time_floor_s(item->now_ms) < set->known_from_ms)
            set->known_from_ms = time_floor_s(item->now_ms);
        if (!item->auth.verified || item->auth.claims.pointer)
            continue;
        need_ref(set, item->auth.credential.client, item->auth.claims.id);
        collect_request(set, &item->auth.claims.request);
    }
}

static bool needs_loading(const struct machine *machine, int64_t known_from_ms)
{
    return !machine->is_new &&
           (!machine->timeline || machine->timeline_version != machine->version ||
            !timeline_covers(machine->timeline, known_from_ms));
}

static enum err load_timelines(struct lockset *set, struct worker *w, struct failure *f)
{
    struct machine **stale = xcalloc(set->machines.count + 1, sizeof(struct machine *));
    size_t count = 0;
    for (size_t i = 0; i < set->machines.count; i++) {
        struct machine *machine = world_machine_by_id(w->world, set->machines.ids[i]);
        if (machine && needs_loading(machine, set->known_from_ms))
            stale[count++] = machine;
    }
    enum err err = count ? w->store->ops->load_timelines(w->store->self, w->world, stale, count,
                                                         set->known_from_ms, f)
                         : ERR_OK;
    free(stale);
    return err == ERR_OK ? ERR_OK : failure_wrap(f, "load timelines");
}

/* Adds the ids of the machines that the names stand for. A name that is not there is not cached
 * as missing: each batch looks again. */
static void add_named(struct id_list *ids, struct world *world, const char *const *names,
                      size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct machine *machine = world_machine_by_name(world, names[i]);
        if (machine && !machine->is_new)
            id_list_add(ids, machine->id);
    }
}

/* The bookings that a displacing update may cancel join the set. */
static enum err add_displaceable(struct lockset *set, struct worker *w, struct failure *f)
{
    id_list_clear(&set->displacing);
    add_named(&set->displacing, w->world, set->displacing_names, set->displacing_name_count);
    if (set->displacing.count == 0)
        return ERR_OK;
    return w->store->ops->bookings_on_machines(w->store->self, &set->displacing, set->known_from_ms,
                                               &set->bookings, f);
}

enum err lockset_warm(struct lockset *set, struct worker *w, struct failure *f)
{
    const struct store_ops *store = w->store->ops;
    void *self = w->store->self;
    enum err err = ERR_OK;
    if (set->name_count)
        err = store->find_machines(self, set->names, set->name_count, w->world, f);
    if (err == ERR_OK && set->chosen_ids.count)
        err = store->find_machines_by_id(self, set->chosen_ids.ids, set->chosen_ids.count, w->world,
                                         f);
    if (err == ERR_OK)
        add_named(&set->machines, w->world, set->names, set->name_count);
    for (size_t i = 0; err == ERR_OK && i < set->chosen_ids.count; i++)
        if (world_machine_by_id(w->world, set->chosen_ids.ids[i]))
            id_list_add(&set->machines, set->chosen_ids.ids[i]);
    if (err == ERR_OK)
        err = add_displaceable(set, w, f);
    if (err == ERR_OK && set->bookings.count)
        err = store->machines_of_bookings(self, &set->bookings, &set->machines, f);
    if (err == ERR_OK && set->bookings.count && set->machines.count)
        err = store->find_machines_by_id(self, set->machines.ids, set->machines.count, w->world, f);
    if (err != ERR_OK)
        return failure_wrap(f, "find machines");
    return load_timelines(set, w, f);
}

/* Under the locks: does the set still hold all that its bookings touch? */
static enum err check_grown(struct lockset *set, struct worker *w, struct failure *f)
{
    size_t machines = set->machines.count, bookings = set->bookings.count;
    enum err err = add_displaceable(set, w, f);
    if (err == ERR_OK && set->bookings.count)
        err = w->store->ops->machines_of_bookings(w->store->self, &set->bookings, &set->machines,
                                                  f);
    if (err != ERR_OK)
        return err;
    if (set->machines.count != machines || set->bookings.count != bookings)
        return failure_set(f, ERR_WORLD_GREW, "%zu machines and %zu bookings more to lock",
                           set->machines.count - machines, set->bookings.count - bookings);
    return ERR_OK;
}

enum err lockset_take(struct lockset *set, struct worker *w, struct failure *f)
{
    const struct store_ops *store = w->store->ops;
    void *self = w->store->self;
    enum err err = ERR_OK;
    if (set->machines.count)
        err = store->lock_machines(self, &set->machines, w->world, f);
    if (err == ERR_OK && set->bookings.count)
        err = store->lock_bookings(self, &set->bookings, w->world, f);
    if (err == ERR_OK && (set->bookings.count || set->displacing_name_count))
        err = check_grown(set, w, f);
    if (err != ERR_OK)
        return failure_wrap(f, "lock machines and bookings");
    if (load_timelines(set, w, f) != ERR_OK)
        return f->err;
    if (set->ref_count &&
        store->find_priors(self, set->refs, set->ref_count, w->world, f) != ERR_OK)
        return failure_wrap(f, "look up request ids");
    return ERR_OK;
}
