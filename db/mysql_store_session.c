/* The store's calls that are each a transaction of their own, and the rows of farm and partitions. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "core/utf8.h"
#include "db/mysql_store_parts.h"

/* A text column's 500 characters, and a NUL. */
#define HALT_TEXT_LEN  501
#define OWNER_TEXT_LEN 129

void partition_row_read(MYSQL_ROW row, const unsigned long *lens, struct partition_row *out)
{
    *out = (struct partition_row){
        .part = (int32_t)field_int(row[0]),
        .epoch = field_int(row[1]),
        .progress_epoch = field_int(row[2]),
        .connection_id = (uint64_t)field_int(row[3]),
        .next_offset = field_int(row[4]),
        .last_seq = field_int(row[5]),
        .published_seq = field_int(row[6]),
        .clock_ms = field_int(row[7]),
        .ignore_time_until = field_int(row[9]),
        .reject_offset = field_int(row[10]),
    };
    if (row[8] && lens[8] == sizeof(out->last_sha256)) {
        out->has_last_sha256 = true;
        memcpy(out->last_sha256, row[8], sizeof(out->last_sha256));
    }
    utf8_visible(out->halted, sizeof(out->halted), row[11]);
    out->halt_cause = halt_cause_read(row[11], row[12]);
}

enum err farm_row_query(struct mysql_store *store, struct farm_row *out, struct failure *f)
{
    MYSQL_RES *res = NULL;
    enum err err = mysql_session_read(
        store->session, "read the farm",
        "SELECT name, partitions, cluster_id, key_generation, halted, halt_cause FROM farm", &res,
        f);
    if (err != ERR_OK)
        return err;
    MYSQL_ROW row = mysql_fetch_row(res);
    if (row) {
        *out = (struct farm_row){.partitions = (int32_t)field_int(row[1]),
                                 .key_generation = field_int(row[3]),
                                 .halt_cause = halt_cause_read(row[4], row[5])};
        field_text(row[0], out->name, sizeof(out->name));
        field_text(row[2], out->cluster_id, sizeof(out->cluster_id));
        utf8_visible(out->halted, sizeof(out->halted), row[4]);
    } else {
        err = failure_set(f, ERR_NOT_FOUND,
                          "the database holds no farm: run `berth-admin init --farm NAME`");
    }
    mysql_free_result(res);
    return err;
}

/* Ends a transaction of reads, and so its snapshot and its locks on the tables' definitions. */
static enum err end_read(struct mysql_store *store, enum err err)
{
    mysql_session_rollback(store->session);
    return err;
}

/* Commits after ERR_OK, else rolls back. */
static enum err end_write(struct mysql_store *store, enum err err, struct failure *f)
{
    if (err == ERR_OK)
        return mysql_session_commit(store->session, f);
    mysql_session_rollback(store->session);
    return err;
}

static enum err store_farm(void *self, struct farm_row *out, struct failure *f)
{
    struct mysql_store *store = self;
    assert(!store->in_transaction);
    return end_read(store, farm_row_query(store, out, f));
}

/* Begins the statement that sets the columns of a halt. */
static struct buf *halt_update(struct mysql_store *store, const char *table, struct halt halt)
{
    char text[HALT_TEXT_LEN];
    struct buf *sql = &store->sql;
    assert(!store->in_transaction);
    assert(halt.cause != HALT_NONE && halt.why[0] != '\0');
    buf_clear(sql);
    buf_printf(sql, "UPDATE %s SET halted = ", table);
    utf8_visible(text, sizeof(text), halt.why);
    sql_text(sql, text);
    buf_printf(sql, ", halt_cause = '%s' WHERE ", halt_cause_name(halt.cause));
    return sql;
}

static enum err store_halt_farm(void *self, struct halt halt, struct failure *f)
{
    struct mysql_store *store = self;
    struct buf *sql = halt_update(store, "farm", halt);
    buf_puts(sql, "halted = ''");
    enum err err = store_exec(store, "halt the farm", f);
    return end_write(store, err, f);
}

static enum err key_row_read(MYSQL_ROW row, struct key_row *out, struct failure *f)
{
    *out = (struct key_row){
        .kid = row[0],
        .client = row[1],
        .role = role_from_name(row[2]),
        .alg = jws_alg_from_name(row[3]),
        .pem = row[4],
        .not_before_ms = field_int(row[5]),
        .not_after_ms = row[6] ? field_int(row[6]) : INT64_MAX,
        .revoked = field_int(row[7]) != 0,
    };
    if (out->role == ROLE_COUNT || out->alg == JWS_ALG_COUNT)
        return failure_set(f, ERR_DB_ERROR, "key %s: unknown role or algorithm", out->kid);
    return ERR_OK;
}

static enum err store_keys(void *self, store_key_fn *fn, void *arg, struct failure *f)
{
    struct mysql_store *store = self;
    assert(!store->in_transaction);
    MYSQL_RES *res = NULL;
    enum err err = mysql_session_read(
        store->session, "read keys",
        "SELECT k.kid, k.client, c.role, k.algorithm, k.public_pem, k.not_before_ms, "
        "k.not_after_ms, k.revoked_at_ms IS NOT NULL "
        "FROM client_key k JOIN client c ON c.name = k.client ORDER BY k.kid",
        &res, f);
    MYSQL_ROW row;
    while (err == ERR_OK && (row = mysql_fetch_row(res))) {
        struct key_row key;
        err = key_row_read(row, &key, f);
        if (err == ERR_OK)
            fn(arg, &key);
    }
    mysql_free_result(res);
    return end_read(store, err);
}

/* The client's own limit where it has one, else the farm's. */
#define OWN_OR_FARM(column) ", IF(c." #column " > 0, c." #column ", f." #column ")"

static enum err store_clients(void *self, store_client_fn *fn, void *arg, struct failure *f)
{
    struct mysql_store *store = self;
    assert(!store->in_transaction);
    MYSQL_RES *res = NULL;
    enum err err = mysql_session_read(
        store->session, "read clients",
        "SELECT c.name, c.role" CLIENT_LIMIT_TABLE(
            OWN_OR_FARM) " FROM client c CROSS JOIN farm f ORDER BY c.name",
        &res, f);
    MYSQL_ROW row;
    while (err == ERR_OK && (row = mysql_fetch_row(res))) {
        size_t at = 2;
        struct client_row client = {.name = row[0], .role = role_from_name(row[1])};
#define READ_LIMIT(column) client.limits.column = field_int(row[at++]);
        CLIENT_LIMIT_TABLE(READ_LIMIT)
#undef READ_LIMIT
        if (client.role == ROLE_COUNT) {
            err = failure_set(f, ERR_DB_ERROR, "client %s: unknown role", client.name);
        } else {
            fn(arg, &client);
        }
    }
    mysql_free_result(res);
    return end_read(store, err);
}

static enum err partition_query(struct mysql_store *store, int32_t part, const char *lock,
                                struct partition_row *out, struct failure *f)
{
    MYSQL_RES *res = NULL;
    struct buf *sql = &store->sql;
    buf_clear(sql);
    buf_printf(sql,
               "SELECT " PARTITION_COLUMNS " FROM request_partition WHERE part = %" PRId32 "%s",
               part, lock);
    enum err err = store_query(store, "read the partition", &res, f);
    if (err != ERR_OK)
        return err;
    MYSQL_ROW row = mysql_fetch_row(res);
    if (row) {
        partition_row_read(row, mysql_fetch_lengths(res), out);
    } else {
        err = failure_set(f, ERR_NOT_FOUND,
                          "the database has no row for partition %" PRId32
                          ": were partitions added to the topic after `berth-admin init`?",
                          part);
    }
    mysql_free_result(res);
    return err;
}

static enum err store_partition(void *self, int32_t part, struct partition_row *out,
                                struct failure *f)
{
    struct mysql_store *store = self;
    assert(!store->in_transaction);
    return end_read(store, partition_query(store, part, "", out, f));
}

static enum err claim_once(struct mysql_store *store, int32_t part, const char *owner,
                           struct partition_row *out, struct failure *f)
{
    struct partition_row row;
    enum err err = partition_query(store, part, " FOR UPDATE", &row, f);
    if (err != ERR_OK)
        return end_write(store, err, f);
    row.epoch++;
    row.connection_id = mysql_session_id(store->session);
    char text[OWNER_TEXT_LEN];
    struct buf *sql = &store->sql;
    buf_clear(sql);
    buf_printf(sql, "UPDATE request_partition SET epoch = %" PRId64 ", connection_id = %" PRIu64,
               row.epoch, row.connection_id);
    buf_puts(sql, ", owner = ");
    utf8_visible(text, sizeof(text), owner);
    sql_text(sql, text);
    buf_printf(sql, " WHERE part = %" PRId32, part);
    err = store_exec(store, "claim the partition", f);
    err = end_write(store, err, f);
    if (err == ERR_OK)
        *out = row;
    return err;
}

static enum err store_claim(void *self, int32_t part, const char *owner, struct partition_row *out,
                            struct failure *f)
{
    enum { TRIES = 3 };
    struct mysql_store *store = self;
    assert(!store->in_transaction);
    enum err err = claim_once(store, part, owner, out, f);
    for (int i = 1; i < TRIES && err == ERR_DB_LOCK_TIMEOUT; i++) {
        /* The lock wait was the 3 s that an owner gets (docs/architecture.md, Sessions). */
        struct partition_row row;
        err = store_partition(self, part, &row, f);
        if (err == ERR_OK)
            err = mysql_session_kill(store->session, row.connection_id, f);
        if (err == ERR_OK)
            err = claim_once(store, part, owner, out, f);
    }
    return err;
}

enum err store_check_epoch(struct mysql_store *store, int32_t part, int64_t epoch,
                           struct failure *f)
{
    if (mysql_session_matched(store->session) == 1)
        return ERR_OK;
    return failure_set(f, ERR_EPOCH_LOST,
                       "partition %" PRId32 " is not at epoch %" PRId64 " any more", part, epoch);
}

static enum err store_halt_partition(void *self, int32_t part, int64_t epoch, struct halt halt,
                                     struct failure *f)
{
    struct mysql_store *store = self;
    struct buf *sql = halt_update(store, "request_partition", halt);
    buf_printf(sql, "part = %" PRId32 " AND epoch = %" PRId64, part, epoch);
    enum err err = store_exec(store, "halt the partition", f);
    if (err == ERR_OK)
        err = store_check_epoch(store, part, epoch, f);
    return end_write(store, err, f);
}

static enum err store_set_published(void *self, int32_t part, int64_t epoch, int64_t seq,
                                    struct failure *f)
{
    struct mysql_store *store = self;
    assert(!store->in_transaction);
    enum err err = mysql_session_execf(
        store->session, f, "note what is published",
        "UPDATE request_partition SET published_seq = GREATEST(published_seq, %" PRId64
        ") WHERE part = %" PRId32 " AND epoch = %" PRId64,
        seq, part, epoch);
    if (err == ERR_OK)
        err = store_check_epoch(store, part, epoch, f);
    return end_write(store, err, f);
}

static enum err store_outbox(void *self, int32_t part, int64_t after_seq, size_t limit,
                             store_event_fn *fn, void *arg, struct failure *f)
{
    struct mysql_store *store = self;
    assert(!store->in_transaction);
    struct buf *sql = &store->sql;
    buf_clear(sql);
    buf_printf(sql,
               "SELECT seq, reason IS NULL, subject, event FROM decision WHERE part = %" PRId32
               " AND seq > %" PRId64 " ORDER BY seq LIMIT %zu",
               part, after_seq, limit);
    /* Row by row: a thousand of the largest events would be half a gigabyte. */
    MYSQL_RES *res = NULL;
    enum err err = mysql_session_stream(store->session, "read the outbox", sql->data, sql->len,
                                        &res, f);
    MYSQL_ROW row;
    while (err == ERR_OK && (row = mysql_fetch_row(res))) {
        struct stored_event event = {
            .part = part,
            .seq = field_int(row[0]),
            .accepted = field_int(row[1]) != 0,
            .subject = row[2],
            .event = row[3],
            .event_len = mysql_fetch_lengths(res)[3],
        };
        err = fn(arg, &event, f);
    }
    if (err == ERR_OK)
        err = mysql_session_stream_end(store->session, "read the outbox", f);
    mysql_free_result(res); /* drains what was not read */
    return end_read(store, err);
}

void store_add_session(struct store_ops *ops)
{
    ops->farm = store_farm;
    ops->halt_farm = store_halt_farm;
    ops->keys = store_keys;
    ops->clients = store_clients;
    ops->claim = store_claim;
    ops->partition = store_partition;
    ops->halt_partition = store_halt_partition;
    ops->set_published = store_set_published;
    ops->outbox = store_outbox;
}
