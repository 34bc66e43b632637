#include <assert.h>
#include <stdlib.h>

#include "db/migrate.h"
#include "db/mysql_store_parts.h"

static enum err store_connect(void *self, struct failure *f)
{
    struct mysql_store *store = self;
    store->in_transaction = false;
    enum err err = mysql_session_connect(store->session, f);
    return err ? err : migrate_check(store->session, f);
}

static uint64_t store_connection_id(void *self)
{
    struct mysql_store *store = self;
    return mysql_session_id(store->session);
}

static enum err store_ping(void *self, struct failure *f)
{
    struct mysql_store *store = self;
    return mysql_session_ping(store->session, f);
}

static enum err store_kill(void *self, uint64_t connection_id, struct failure *f)
{
    struct mysql_store *store = self;
    return mysql_session_kill(store->session, connection_id, f);
}

/* Sends nothing: with autocommit = 0 the first statement begins the transaction. Plain reads of the
 * warm-up may be part of it already. That does no harm: at READ COMMITTED each statement has a
 * snapshot of its own, and plain reads lock nothing. */
static enum err store_begin(void *self, struct failure *f)
{
    struct mysql_store *store = self;
    assert(!store->in_transaction);
    (void)f;
    store->in_transaction = true;
    return ERR_OK;
}

static enum err store_commit(void *self, struct failure *f)
{
    struct mysql_store *store = self;
    assert(store->in_transaction);
    store->in_transaction = false;
    return mysql_session_commit(store->session, f);
}

static void store_rollback(void *self)
{
    struct mysql_store *store = self;
    store->in_transaction = false;
    mysql_session_rollback(store->session);
}

static const struct store_ops mysql_store_ops = {
    .connect = store_connect,
    .connection_id = store_connection_id,
    .ping = store_ping,
    .kill = store_kill,
    .farm = store_farm,
    .halt_farm = store_halt_farm,
    .keys = store_keys,
    .clients = store_clients,
    .claim = store_claim,
    .partition = store_partition,
    .halt_partition = store_halt_partition,
    .set_published = store_set_published,
    .outbox = store_outbox,
    .begin = store_begin,
    .lock_partitions = store_lock_partitions,
    .find_machines = store_find_machines,
    .find_machines_by_id = store_find_machines_by_id,
    .machines_matching = store_machines_matching,
    .find_clients = store_find_clients,
    .lock_clients = store_lock_clients,
    .load_client_timelines = store_load_client_timelines,
    .lock_machines = store_lock_machines,
    .load_timelines = store_load_timelines,
    .machines_of_bookings = store_machines_of_bookings,
    .bookings_on_machines = store_bookings_on_machines,
    .bookings_of_series = store_bookings_of_series,
    .clients_of_bookings = store_clients_of_bookings,
    .lock_bookings = store_lock_bookings,
    .find_priors = store_find_priors,
    .write = store_write,
    .commit = store_commit,
    .rollback = store_rollback,
};

enum err mysql_store_new(const struct config *cfg, struct store *out, struct failure *f)
{
    struct mysql_store *store = xcalloc(1, sizeof(*store));
    enum err err = mysql_settings_read(cfg, &store->settings, f);
    if (err != ERR_OK) {
        free(store);
        return err;
    }
    store->session = mysql_session_new(&store->settings);
    *out = (struct store){.ops = &mysql_store_ops, .self = store};
    return ERR_OK;
}

void mysql_store_free(struct store *store)
{
    struct mysql_store *self = store->self;
    if (!self)
        return;
    mysql_session_free(self->session);
    mysql_settings_fini(&self->settings);
    buf_fini(&self->sql);
    free(self);
    *store = (struct store){0};
}
