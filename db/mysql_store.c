#include <assert.h>
#include <stdlib.h>

#include "db/migrate.h"
#include "db/mysql_store_parts.h"

static enum err store_connect(void *self, struct failure *f)
{
    struct mysql_store *store = self;
    store->in_transaction = false;
    enum err err = mysql_session_connect(store->session, f);
    return err != ERR_OK ? err : migrate_check(store->session, f);
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

enum err mysql_store_new(const struct config *cfg, struct store *out, struct failure *f)
{
    struct mysql_store *store = xcalloc(1, sizeof(*store));
    enum err err = mysql_settings_read(cfg, NULL, &store->settings, f);
    if (err != ERR_OK) {
        free(store);
        return err;
    }
    store->session = mysql_session_new(&store->settings);
    store->ops = (struct store_ops){.connect = store_connect,
                                    .connection_id = store_connection_id,
                                    .ping = store_ping,
                                    .kill = store_kill,
                                    .begin = store_begin,
                                    .commit = store_commit,
                                    .rollback = store_rollback};
    store_add_session(&store->ops);
    store_add_reads(&store->ops);
    store_add_write(&store->ops);
    *out = (struct store){.ops = &store->ops, .self = store};
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
