/* berth-admin client …, key …: who may send requests.
 *
 * `add` may be repeated with the same values: scripts that set a farm up can run again. */
#include "admin/admin.h"

#include <stdlib.h>
#include <string.h>

#include "admin/client_limits.h"
#include "core/limits.h"
#include "core/request.h"
#include "lib/base/cli_time.h"
#include "lib/base/clock.h"
#include "lib/base/file.h"
#include "lib/token/jws.h"

#define KEY_FILE_MAX (64 * 1024)

/* The client's role; ROLE_COUNT: there is no such client. */
static enum err find_client(struct admin *admin, const char *name, enum role *out,
                            struct failure *f)
{
    MYSQL_ROW row;
    enum err err = admin_row(admin, "look for the client",
                             admin_sql("SELECT role FROM client WHERE name = ?", name), &row, f);
    *out = row ? role_from_name(row[0]) : ROLE_COUNT;
    return err;
}

static enum err insert_client(struct admin *admin, const char *name, enum role role,
                              struct failure *f)
{
    enum err err = admin_exec(
        admin, "add the client",
        admin_sql("INSERT INTO client (name, role, added_at_ms) VALUES (?, ?, #)", name,
                  role_name(role), clock_wall_ms()),
        f);
    return err != ERR_OK ? err : mysql_session_commit(admin->session, f);
}

enum err admin_client_add(struct admin *admin, struct failure *f)
{
    static const struct admin_column columns[] = {{"client", "Client"}, {"role", "Role"}, {0}};
    const char *name = admin_operand(admin, 0);
    const char *given = options_value(admin->opts, "role");
    enum role role = given ? role_from_name(given) : ROLE_COUNT;
    enum err err = admin_name(name, "client", f);
    if (err == ERR_OK && role == ROLE_COUNT) {
        err = failure_set(f, ERR_USAGE, "--role %s: expected submitter or admin",
                          given ? given : "is missing");
    }
    if (err == ERR_OK)
        err = admin_open_database(admin, true, f);
    enum role present = ROLE_COUNT;
    if (err == ERR_OK)
        err = find_client(admin, name, &present, f);
    if (err == ERR_OK && present == ROLE_COUNT) {
        err = insert_client(admin, name, role, f);
    } else if (err == ERR_OK && present != role) {
        err = failure_set(f, ERR_FAILED, "client %s is registered already, with role %s", name,
                          role_name(present));
    } else if (err == ERR_OK) {
        admin_remark(admin, "client %s is registered already", name);
    }
    if (err == ERR_OK) {
        admin_print_object(admin, columns,
                           json_pack("{s:s, s:s}", "client", name, "role", role_name(role)));
    }
    return err;
}

enum err admin_client_list(struct admin *admin, struct failure *f)
{
    static const struct admin_column columns[] = {{"client", "CLIENT"}, {"role", "ROLE"},
                                                  {"keys", "KEYS"},     {"added_at", "ADDED"},
                                                  {"limits", "LIMITS"}, {0}};
    return admin_list(
        admin,
        &(struct admin_list){
            columns, "ssitl", "list the clients",
            "SELECT c.name, c.role, COUNT(k.kid), c.added_at_ms, " ADMIN_LIMIT_COLUMNS(
                c) " FROM "
                   "client c LEFT JOIN client_key k ON k.client = c.name AND k.revoked_at_ms IS "
                   "NULL GROUP "
                   "BY c.name, c.role, c.added_at_ms, " ADMIN_LIMIT_COLUMNS(c) " ORDER BY c.name"},
        f);
}

/* A key to add. */
struct new_key {
    const char *client;
    char *kid, *pem;
    enum jws_alg alg;
    int64_t not_before_ms, not_after_ms; /* INT64_MAX: no end */
};

static void new_key_fini(struct new_key *key)
{
    free(key->kid);
    free(key->pem);
}

static enum err read_public_key(const char *path, struct new_key *out, struct failure *f)
{
    char *text = NULL;
    enum err err = file_read_text(path, KEY_FILE_MAX, &text, f);
    if (err != ERR_OK)
        return err;
    struct jws_key *key = NULL;
    err = jws_key_parse(text, strlen(text), &key, f);
    free(text);
    if (err != ERR_OK)
        return failure_wrap(f, "%s", path);
    out->pem = jws_key_pem(key);
    out->alg = jws_key_alg(key);
    if (!out->kid) {
        out->kid = xmalloc(44);
        jws_key_thumbprint(key, out->kid);
    }
    jws_key_free(key);
    return ERR_OK;
}

static enum err read_moment(const struct admin *admin, const char *option, int64_t *out,
                            struct failure *f)
{
    const char *text = options_value(admin->opts, option);
    if (!text)
        return ERR_OK;
    enum err err = cli_time_check_environment(f);
    if (err == ERR_OK)
        err = cli_time_parse(text, clock_wall_ms(), NULL, out, f);
    return err != ERR_OK ? failure_wrap(f, "--%s", option) : ERR_OK;
}

static enum err check_kid(const char *kid, struct failure *f)
{
    if (name_is_valid(kid, LIMIT_KID_LEN, ":@/+=~"))
        return ERR_OK;
    return failure_set(f, ERR_USAGE,
                       "key id '%s': expected 1 to %d of A-Z a-z 0-9 . _ - : @ / + = ~", kid,
                       LIMIT_KID_LEN);
}

static enum err read_new_key(const struct admin *admin, struct new_key *out, struct failure *f)
{
    const char *path = options_value(admin->opts, "public-key");
    const char *kid = options_value(admin->opts, "kid");
    *out = (struct new_key){.client = admin_operand(admin, 0), .not_after_ms = INT64_MAX};
    enum err err = admin_name(out->client, "client", f);
    if (err == ERR_OK && kid)
        err = check_kid(kid, f);
    if (err == ERR_OK && !path)
        err = failure_set(f, ERR_USAGE, "--public-key FILE is missing");
    if (err == ERR_OK)
        err = read_moment(admin, "not-before", &out->not_before_ms, f);
    if (err == ERR_OK)
        err = read_moment(admin, "not-after", &out->not_after_ms, f);
    if (err == ERR_OK && out->not_before_ms >= out->not_after_ms)
        err = failure_set(f, ERR_USAGE, "--not-after must be later than --not-before");
    if (err == ERR_OK && kid)
        out->kid = xstrdup(kid);
    return err != ERR_OK ? err : read_public_key(path, out, f);
}

/* A worker reads the keys again when a batch sees another generation. */
static enum err bump_generation(struct admin *admin, struct failure *f)
{
    enum err err = mysql_session_execf(admin->session, f, "note the change of keys",
                                       "UPDATE farm SET key_generation = key_generation + 1");
    if (err == ERR_OK && mysql_session_matched(admin->session) != 1)
        err = admin_no_farm(f);
    return err != ERR_OK ? err : mysql_session_commit(admin->session, f);
}

static enum err insert_key(struct admin *admin, const struct new_key *key, struct failure *f)
{
    enum err err = admin_exec(admin, "add the key",
                              admin_sql("INSERT INTO client_key (kid, client, algorithm, "
                                        "public_pem, not_before_ms, not_after_ms, "
                                        "added_at_ms) VALUES (?, ?, ?, ?, #, NULLIF(#, #), #)",
                                        key->kid, key->client, jws_alg_name(key->alg), key->pem,
                                        key->not_before_ms, key->not_after_ms, INT64_MAX,
                                        clock_wall_ms()),
                              f);
    return err != ERR_OK ? err : bump_generation(admin, f);
}

/* Looks for a key with this kid. *same: this key is registered already. Another key with the same
 * kid is refused. */
static enum err find_key(struct admin *admin, const struct new_key *key, bool *same,
                         struct failure *f)
{
    MYSQL_ROW row;
    enum err err = admin_row(
        admin, "look for the key",
        admin_sql("SELECT client, public_pem, revoked_at_ms FROM client_key WHERE kid = ?",
                  key->kid),
        &row, f);
    *same = row && strcmp(row[0], key->client) == 0 && strcmp(row[1], key->pem) == 0 && !row[2];
    if (!row || *same)
        return err;
    return failure_set(f, ERR_FAILED,
                       "key %s is registered already, %s client %s: choose another --kid", key->kid,
                       row[2] ? "and revoked, of" : "for", row[0]);
}

static enum err add_key(struct admin *admin, const struct new_key *key, struct failure *f)
{
    enum role role = ROLE_COUNT;
    enum err err = find_client(admin, key->client, &role, f);
    if (err == ERR_OK && role == ROLE_COUNT) {
        err = failure_set(f, ERR_NOT_FOUND,
                          "there is no client %s: berth-admin client add %s --role ROLE",
                          key->client, key->client);
    }
    bool same = false;
    if (err == ERR_OK)
        err = find_key(admin, key, &same, f);
    if (err == ERR_OK && same) {
        admin_remark(admin, "key %s is registered already", key->kid);
    } else if (err == ERR_OK) {
        err = insert_key(admin, key, f);
    }
    return err;
}

enum err admin_key_add(struct admin *admin, struct failure *f)
{
    static const struct admin_column columns[] = {
        {"kid", "Key"}, {"client", "Client"}, {"algorithm", "Algorithm"}, {0}};
    struct new_key key;
    enum err err = read_new_key(admin, &key, f);
    if (err == ERR_OK)
        err = admin_open_database(admin, true, f);
    if (err == ERR_OK)
        err = add_key(admin, &key, f);
    if (err == ERR_OK) {
        admin_print_object(admin, columns,
                           json_pack("{s:s, s:s, s:s}", "kid", key.kid, "client", key.client,
                                     "algorithm", jws_alg_name(key.alg)));
    }
    new_key_fini(&key);
    return err;
}

enum err admin_key_list(struct admin *admin, struct failure *f)
{
    static const struct admin_column columns[] = {{"kid", "KEY"},
                                                  {"client", "CLIENT"},
                                                  {"algorithm", "ALGORITHM"},
                                                  {"not_before", "NOT BEFORE"},
                                                  {"not_after", "NOT AFTER"},
                                                  {"revoked_at", "REVOKED"},
                                                  {"added_at", "ADDED"},
                                                  {0}};
    return admin_list(
        admin,
        &(struct admin_list){
            columns, "ssstttt", "list the keys",
            "SELECT kid, client, algorithm, NULLIF(not_before_ms, 0), not_after_ms, "
            "revoked_at_ms, added_at_ms FROM client_key ORDER BY client, added_at_ms, kid"},
        f);
}

/* The time of the revocation, which an earlier run may have made. */
static enum err revoke(struct admin *admin, const char *kid, int64_t *at_ms, struct failure *f)
{
    MYSQL_ROW row;
    enum err err = admin_row(
        admin, "look for the key",
        admin_sql("SELECT revoked_at_ms FROM client_key WHERE kid = ? FOR UPDATE", kid), &row, f);
    *at_ms = row ? field_int(row[0]) : -1;
    if (err == ERR_OK && *at_ms < 0)
        err = failure_set(f, ERR_NOT_FOUND, "there is no key %s: see berth-admin key list", kid);
    if (err == ERR_OK && *at_ms == 0) {
        *at_ms = clock_wall_ms();
        err = admin_exec(
            admin, "revoke the key",
            admin_sql("UPDATE client_key SET revoked_at_ms = # WHERE kid = ?", *at_ms, kid), f);
        if (err == ERR_OK)
            err = bump_generation(admin, f);
    } else if (err == ERR_OK) {
        admin_remark(admin, "key %s was revoked before", kid);
    }
    return err;
}

enum err admin_key_revoke(struct admin *admin, struct failure *f)
{
    static const struct admin_column columns[] = {{"kid", "Key"}, {"revoked_at", "Revoked"}, {0}};
    const char *kid = admin_operand(admin, 0);
    int64_t at_ms = -1;
    enum err err = check_kid(kid, f);
    if (err == ERR_OK)
        err = admin_open_database(admin, true, f);
    if (err == ERR_OK)
        err = revoke(admin, kid, &at_ms, f);
    if (err == ERR_OK) {
        admin_print_object(
            admin, columns,
            json_pack("{s:s, s:o}", "kid", kid, "revoked_at", admin_json_time(at_ms)));
    }
    return err;
}
