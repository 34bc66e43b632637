#include "worker/wants.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"

void wants_fini(struct wants *wants)
{
    free(wants->machines);
    free(wants->updates);
    free(wants->labels);
    free(wants->creators);
    free(wants->refs);
    id_list_fini(&wants->chosen_ids);
    id_list_fini(&wants->bookings);
    id_list_fini(&wants->series);
    *wants = (struct wants){0};
}

void wants_clear(struct wants *wants)
{
    wants->machine_count = wants->update_count = wants->label_count = 0;
    wants->creator_count = wants->ref_count = 0;
    id_list_clear(&wants->chosen_ids);
    id_list_clear(&wants->bookings);
    id_list_clear(&wants->series);
}

static void add_machine(struct wants *wants, const char *name)
{
    wants->machines = xgrow(wants->machines, wants->machine_count, &wants->machine_capacity,
                            sizeof(*wants->machines));
    wants->machines[wants->machine_count++] = name;
}

static void add_shares(struct wants *wants, const struct share *shares, size_t count)
{
    for (size_t i = 0; i < count; i++)
        add_machine(wants, shares[i].machine);
}

static void add_update(struct wants *wants, const struct machine_update *update)
{
    add_machine(wants, update->machine);
    wants->updates = xgrow(wants->updates, wants->update_count, &wants->update_capacity,
                           sizeof(*wants->updates));
    wants->updates[wants->update_count++] = update;
}

static bool labels_equal(const struct labels *a, const struct labels *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        if (strcmp(a->items[i].key, b->items[i].key) != 0 ||
            strcmp(a->items[i].value, b->items[i].value) != 0)
            return false;
    }
    return true;
}

/* Each set of labels is one query. */
static void add_labels(struct wants *wants, const struct labels *labels)
{
    for (size_t i = 0; i < wants->label_count; i++) {
        if (labels_equal(wants->labels[i], labels))
            return;
    }
    wants->labels = xgrow(wants->labels, wants->label_count, &wants->label_capacity,
                          sizeof(*wants->labels));
    wants->labels[wants->label_count++] = labels;
}

static void add_create(struct wants *wants, const char *client, const struct booking_create *create)
{
    add_shares(wants, create->shares, create->share_count);
    if (create->any.count > 0)
        add_labels(wants, &create->any.labels);
    wants->creators = xgrow(wants->creators, wants->creator_count, &wants->creator_capacity,
                            sizeof(*wants->creators));
    wants->creators[wants->creator_count++] = client;
}

static void add_request(struct wants *wants, const char *client, const struct request *req)
{
    assert(req->type < REQUEST_TYPE_COUNT);
    switch (req->type) {
    case REQUEST_MACHINE_REGISTER:
        add_machine(wants, req->machine_register.machine);
        if (req->machine_register.id > 0)
            id_list_add(&wants->chosen_ids, req->machine_register.id);
        break;
    case REQUEST_MACHINE_UPDATE:
        add_update(wants, &req->machine_update);
        break;
    case REQUEST_BOOKING_CREATE:
        add_create(wants, client, &req->booking_create);
        break;
    case REQUEST_BOOKING_AMEND:
        id_list_add(&wants->bookings, req->booking_amend.booking);
        add_shares(wants, req->booking_amend.shares, req->booking_amend.share_count);
        break;
    case REQUEST_BOOKING_CANCEL:
        id_list_add(req->booking_cancel.series ? &wants->series : &wants->bookings,
                    req->booking_cancel.booking);
        break;
    case REQUEST_TYPE_COUNT:
        break;
    }
}

void wants_add(struct wants *wants, const char *client, const char *request_id,
               const struct request *req)
{
    wants->refs = xgrow(wants->refs, wants->ref_count, &wants->ref_capacity, sizeof(*wants->refs));
    wants->refs[wants->ref_count++] = (struct request_ref){client, request_id};
    add_request(wants, client, req);
}
