/* The database as a fold of the decisions: a world of its own, in which all messages are decided
 * again, one at a time, in the order in which their transactions were committed. Nothing is cached
 * or trimmed there, so what a worker decided on a stale timeline, an old lock set or without a
 * lock comes out different. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/codec/event.h"
#include "lib/codec/labels.h"
#include "tests/simulation/check.h"
#include "tests/simulation/token.h"
#include "tests/simulation/told.h"
#include "worker/authenticate.h"

#define MACHINES_MAX 64

/* Since which commit the machine is what `any` looks for: up, with these labels. */
struct known_machine {
    const struct machine *machine;
    enum machine_state state;
    const char *labels;
    int64_t since;
};

struct replay {
    struct sim *sim;
    struct known_machine known[MACHINES_MAX];
    size_t known_count;
    struct world *world;
    struct arena *arena;
    struct keyring *ring;
    int64_t generation; /* of the keys in the ring */
    struct told told;
};

static enum err keys_of_generation(void *self, store_key_fn *fn, void *arg, struct failure *f)
{
    const struct replay *r = self;
    (void)f;
    database_keys(r->sim->db, r->generation, fn, arg);
    return ERR_OK;
}

static enum err clients_of_generation(void *self, store_client_fn *fn, void *arg, struct failure *f)
{
    const struct replay *r = self;
    (void)f;
    database_clients(r->sim->db, r->generation, fn, arg);
    return ERR_OK;
}

/* All clients count here, those without limits, too: so their use is known when they get one. */
static void put_clients(struct replay *r)
{
    for (int i = 0; i < TOKEN_CLIENTS; i++) {
        struct client row = {.version = 1};
        memcpy(row.name, token_client(i), strlen(token_client(i)) + 1);
        world_client_timeline_start(r->world, world_client_put(r->world, &row), INT64_MIN);
    }
}

static void load_keys(struct replay *r, int64_t generation)
{
    static const struct store_ops ops = {.keys = keys_of_generation,
                                         .clients = clients_of_generation};
    struct failure f;
    if (generation == r->generation)
        return;
    r->generation = generation;
    keyring_load(r->ring, &(struct store){.ops = &ops, .self = r}, generation, &f);
    for (int i = 0; i < TOKEN_CLIENTS; i++) {
        world_client(r->world, token_client(i))->limits = database_limits(r->sim->db, generation,
                                                                          i);
    }
}

/* Registered between the transaction's plain read and its commit, by another one: it was right not
 * to know it. */
static bool born_meanwhile(const struct stored_decision *dec, int64_t born)
{
    return born > dec->seen && born != dec->commit;
}

static bool machine_born_meanwhile(const struct replay *r, const struct stored_decision *dec,
                                   const char *name)
{
    const struct machine_row *row = database_machine_named(r->sim->db, name);
    return row && born_meanwhile(dec, row->born);
}

static bool shares_born_meanwhile(const struct replay *r, const struct stored_decision *dec,
                                  const struct share *shares, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (machine_born_meanwhile(r, dec, shares[i].machine))
            return true;
    }
    return false;
}

static bool series_born_meanwhile(const struct replay *r, const struct stored_decision *dec,
                                  int64_t series)
{
    const struct tables *now = &r->sim->db->now;
    for (size_t i = 0; i < now->bookings.count; i++) {
        if (now->bookings.items[i].series == series &&
            born_meanwhile(dec, now->bookings.items[i].born))
            return true;
    }
    return false;
}

/* Whether the rejection is about something that appeared while it was decided. */
static bool raced(const struct replay *r, const struct stored_decision *dec,
                  const struct request *req)
{
    if (dec->row.reason != REASON_UNKNOWN_MACHINE && dec->row.reason != REASON_UNKNOWN_BOOKING &&
        dec->row.reason != REASON_MACHINE_EXISTS)
        return false;
    int64_t id = 0;
    switch (req->type) {
    case REQUEST_MACHINE_UPDATE:
        return machine_born_meanwhile(r, dec, req->machine_update.machine);
    case REQUEST_BOOKING_CREATE:
        return shares_born_meanwhile(r, dec, req->booking_create.shares,
                                     req->booking_create.share_count);
    case REQUEST_BOOKING_AMEND:
        id = req->booking_amend.booking;
        if (shares_born_meanwhile(r, dec, req->booking_amend.shares,
                                  req->booking_amend.share_count))
            return true;
        break;
    case REQUEST_BOOKING_CANCEL:
        id = req->booking_cancel.booking;
        if (req->booking_cancel.series)
            return series_born_meanwhile(r, dec, id);
        break;
    case REQUEST_MACHINE_REGISTER: /* its id is taken, and meanwhile its name is */
        return machine_born_meanwhile(r, dec, req->machine_register.machine);
    case REQUEST_TYPE_COUNT:
        break;
    }
    const struct booking_row *row = database_booking(r->sim->db, id);
    return row && born_meanwhile(dec, row->born);
}

/* --- candidates of `any` --- */

/* After a decision that may have changed a machine. */
static void note_machine(struct replay *r, const struct stored_decision *dec, const char *name)
{
    const struct machine *machine = world_machine_by_name(r->world, name);
    if (!machine)
        return;
    size_t i = 0;
    while (i < r->known_count && r->known[i].machine != machine)
        i++;
    const char *labels = labels_to_json(r->arena, &machine->labels);
    struct known_machine *known = &r->known[i];
    if (i < r->known_count && known->state == machine->state && strcmp(known->labels, labels) == 0)
        return;
    if (i == r->known_count && ++r->known_count > MACHINES_MAX) {
        sim_fail(r->sim, "more than %d machines", MACHINES_MAX);
        return;
    }
    *known = (struct known_machine){machine, machine->state, labels, dec->commit};
}

static void note_change(struct replay *r, const struct stored_decision *dec,
                        const struct request *req)
{
    if (req->type == REQUEST_MACHINE_REGISTER)
        note_machine(r, dec, req->machine_register.machine);
    if (req->type == REQUEST_MACHINE_UPDATE)
        note_machine(r, dec, req->machine_update.machine);
}

/* A machine that came up, or got these labels, behind the batch's back, is none of its candidates:
 * it was decided before that. All others must have been locked. */
static bool is_hidden(struct replay *r, const struct stored_decision *dec,
                      const struct machine *machine)
{
    if (database_has_id(dec->locked, machine->id))
        return false;
    for (size_t i = 0; i < r->known_count; i++) {
        const struct known_machine *known = &r->known[i];
        if (known->machine != machine || known->since == dec->commit)
            continue;
        if (known->since <= dec->seen) {
            sim_fail(r->sim,
                     "decision %" PRId32 "-%" PRId64 " is about any machine, and %s is not locked",
                     dec->row.part, dec->row.seq, machine->name);
        }
        return true;
    }
    return false;
}

static void count_decision(struct sim_counts *count, const struct request *req,
                           const struct decision *dec)
{
    bool accepted = dec->reason == REASON_NONE && !dec->duplicate_of;
    bool creates = req->type == REQUEST_BOOKING_CREATE;
    count->any += accepted && creates && req->booking_create.any.count > 0;
    count->series += accepted && creates && dec->series;
    count->series_cancelled += accepted && !creates && dec->series;
    count->amended += accepted && req->type == REQUEST_BOOKING_AMEND;
    count->limited += !dec->duplicate_of && dec->reason == REASON_LIMIT_EXCEEDED;
    count->in_use += !dec->duplicate_of && dec->reason == REASON_CAPACITY_IN_USE;
    count->displaced += (int64_t)dec->displaced_count;
}

/* Decides with the machines hidden that the batch could not know. */
static void decide_hiding(struct replay *r, const struct stored_decision *dec,
                          const struct submission *submission, struct decision *out)
{
    const struct request *req = submission->claims && !submission->claims->pointer
                                    ? &submission->claims->request
                                    : NULL;
    struct machine *hidden[MACHINES_MAX];
    uint64_t seen_in[MACHINES_MAX];
    size_t count = 0, hidden_count = 0;
    if (req && req->type == REQUEST_BOOKING_CREATE && req->booking_create.any.count > 0) {
        struct machine **machines = world_machines_matching(
            r->world, &req->booking_create.any.labels, &count);
        for (size_t i = 0; i < count; i++) {
            if (is_hidden(r, dec, machines[i])) {
                seen_in[hidden_count] = machines[i]->seen_in;
                machines[i]->seen_in = 0; /* as if this batch had not put it */
                hidden[hidden_count++] = machines[i];
            }
        }
    }
    decide(r->world, submission, out);
    for (size_t i = 0; i < hidden_count; i++)
        hidden[i]->seen_in = seen_in[i];
    r->sim->count.unknown_machines += (int64_t)hidden_count;
    if (req) {
        note_change(r, dec, req);
        count_decision(&r->sim->count, req, out);
    }
}

/* --- decisions --- */

static void note_prior(struct replay *r, const struct decision_row *row)
{
    struct prior prior = {.client = row->client,
                          .request_id = row->request_id,
                          .part = row->part,
                          .seq = row->seq,
                          .reason = row->reason,
                          .subject = row->subject,
                          .event = row->event,
                          .event_len = row->event_len};
    memcpy(prior.content_sha256, row->content_sha256, sizeof(prior.content_sha256));
    world_prior_put(r->world, &prior);
}

static void compare(struct replay *r, const struct decision_row *row, const struct event *event,
                    const struct decision *again)
{
    bool id_used = row->request_id != NULL;
    if (event->len == row->event_len && memcmp(event->bytes, row->event, event->len) == 0 &&
        again->uses_id == id_used && again->reason == row->reason)
        return;
    sim_fail(r->sim,
             "decision %" PRId32 "-%" PRId64 " is not what deciding it alone gives: %.400s instead "
             "of %.400s",
             row->part, row->seq, row->event, event->bytes);
}

static void check_told(struct replay *r, const struct decision_row *row)
{
    const char *wrong = told_take(&r->told, row->event, row->event_len);
    if (wrong) {
        sim_fail(r->sim, "decision %" PRId32 "-%" PRId64 " does not tell all: %s: %.800s",
                 row->part, row->seq, wrong, row->event);
    }
}

static void decide_again(struct replay *r, const struct stored_decision *dec)
{
    const struct decision_row *row = &dec->row;
    const struct request_entry *entry = cluster_request_ever(r->sim, row->part, row->log_offset,
                                                             row->message_sha256);
    if (!entry) {
        sim_fail(r->sim, "decision %" PRId32 "-%" PRId64 " is about no message", row->part,
                 row->seq);
        return;
    }
    struct authentication auth = {.credential.not_after_ms = INT64_MAX};
    bool rejected = row->reason == REASON_REJECTED_BY_OPERATOR;
    load_keys(r, dec->key_generation);
    if (!rejected)
        authenticate(r->ring, entry->value, entry->len, r->arena, &auth);
    if (row->request_id && auth.verified && raced(r, dec, &auth.claims.request)) {
        note_prior(r, row);
        return;
    }
    struct submission submission = {.part = row->part,
                                    .seq = row->seq,
                                    .now_ms = row->time_ms,
                                    .farm = SIM_FARM,
                                    .credential = &auth.credential,
                                    .claims = auth.verified ? &auth.claims : NULL,
                                    .operator_rejects = rejected};
    struct decision again;
    decide_hiding(r, dec, &submission, &again);
    struct event_input input = {.farm = SIM_FARM,
                                .part = row->part,
                                .seq = row->seq,
                                .log_offset = row->log_offset,
                                .now_ms = row->time_ms,
                                .message_sha256 = row->message_sha256,
                                .credential = &auth.credential,
                                .claims = submission.claims,
                                .decision = &again};
    struct event event;
    event_encode(&input, r->arena, &event);
    compare(r, row, &event, &again);
    if (row->request_id)
        note_prior(r, row);
}

/* --- tables --- */

static bool amounts_equal(struct amount a, struct amount b)
{
    return a.gpus == b.gpus && a.memory_gib == b.memory_gib;
}

static void compare_machine(struct replay *r, const struct machine_row *row)
{
    const struct machine *machine = world_machine_by_id(r->world, row->id);
    if (!machine || strcmp(machine->name, row->name) != 0 ||
        !amounts_equal(machine->capacity, row->capacity) || machine->state != row->state ||
        machine->version != row->version ||
        machine->capacity_changed_ms != row->capacity_changed_ms ||
        strcmp(labels_to_json(r->arena, &machine->labels), row->labels) != 0)
        sim_fail(r->sim, "the row of machine %s is not the fold of the decisions", row->name);
}

static const struct allocation_row *find_allocation(const struct tables *tables, int64_t booking,
                                                    const struct allocation *key)
{
    for (size_t i = 0; i < tables->allocations.count; i++) {
        const struct allocation_row *row = &tables->allocations.items[i];
        if (row->booking == booking && row->machine == key->machine_id &&
            row->start_ms == key->start_ms)
            return row;
    }
    return NULL;
}

/* The events told the booking as it is. */
static void compare_told(struct replay *r, const struct booking *booking)
{
    struct booking_view view = booking_view_of(booking);
    for (size_t i = 0; i < booking->allocation_count; i++) {
        const struct allocation *row = &booking->allocations[i];
        view.share_count += row->live && row->end_ms == booking->end_ms;
    }
    if (!told_left(&r->told, &view))
        sim_fail(r->sim, "booking %" PRId64 " is not what the events told of it", booking->id);
}

static void compare_booking(struct replay *r, const struct booking_row *row, size_t *allocations)
{
    struct booking *booking = world_booking(r->world, row->id);
    if (!booking || strcmp(booking->client, row->client) != 0 || booking->series != row->series ||
        strcmp(booking->user, row->user) != 0 || booking->start_ms != row->start_ms ||
        booking->end_ms != row->end_ms || booking->state != row->state ||
        booking->version != row->version) {
        sim_fail(r->sim, "the row of booking %" PRId64 " is not the fold of the decisions",
                 row->id);
        return;
    }
    for (size_t i = 0; i < booking->allocation_count; i++) {
        const struct allocation *want = &booking->allocations[i];
        const struct allocation_row *have = find_allocation(&r->sim->db->now, row->id, want);
        if (!have || have->end_ms != want->end_ms || have->live != want->live ||
            !amounts_equal(have->amount, want->amount) ||
            have->machine_version != want->machine_version) {
            sim_fail(r->sim,
                     "an allocation of booking %" PRId64 " on machine %" PRId64
                     " is not the fold of the decisions",
                     row->id, want->machine_id);
        }
    }
    *allocations += booking->allocation_count;
    compare_told(r, booking);
}

static void compare_tables(struct replay *r)
{
    const struct tables *now = &r->sim->db->now;
    size_t machines = 0, bookings = 0, allocations = 0;
    for (size_t i = 0; i < now->machines.count; i++)
        compare_machine(r, &now->machines.items[i]);
    for (size_t i = 0; i < now->bookings.count && !r->sim->failed; i++)
        compare_booking(r, &now->bookings.items[i], &allocations);
    for (size_t i = 0; i < world_touched_machine_count(r->world); i++)
        machines += world_touched_machine(r->world, i)->version > 0;
    bookings = world_touched_booking_count(r->world);
    if (machines != now->machines.count || bookings != now->bookings.count ||
        allocations != now->allocations.count) {
        sim_fail(r->sim,
                 "the tables hold %zu machines, %zu bookings, %zu allocations; the fold %zu, "
                 "%zu, %zu",
                 now->machines.count, now->bookings.count, now->allocations.count, machines,
                 bookings, allocations);
    }
}

void replay_check(struct sim *sim)
{
    struct replay r = {.sim = sim,
                       .world = world_new(),
                       .arena = arena_new(),
                       .ring = keyring_new(),
                       .generation = -1};
    r.told.arena = r.arena;
    world_batch_begin(r.world);
    put_clients(&r);
    for (size_t i = 0; i < sim->db->now.decisions.count && !sim->failed; i++)
        decide_again(&r, &sim->db->now.decisions.items[i]);
    for (size_t i = 0; i < sim->db->now.decisions.count && !sim->failed; i++)
        check_told(&r, &sim->db->now.decisions.items[i].row);
    if (!sim->failed)
        compare_tables(&r);
    told_fini(&r.told);
    world_free(r.world);
    arena_free(r.arena);
    keyring_free(r.ring);
}
