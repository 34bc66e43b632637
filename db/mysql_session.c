#include "db/mysql_session.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "db/session_variables.h"

/* The account's user and password: `own`.db_user and `own`.db_password_file, each if it is set. */
static enum err read_account(const struct config *cfg, const char *own, char **user_out,
                             char **password_out, struct failure *f)
{
    char user[64], file[64];
    snprintf(user, sizeof(user), "%s.db_user", own ? own : "");
    snprintf(file, sizeof(file), "%s.db_password_file", own ? own : "");
    bool own_user = own && config_string(cfg, user);
    bool own_password = own && config_string(cfg, file);
    enum err err = config_secret(cfg, own_password ? file : "db.password_file", password_out, f);
    if (err == ERR_OK)
        *user_out = xstrdup(config_string(cfg, own_user ? user : "db.user"));
    return err;
}

enum err mysql_settings_read(const struct config *cfg, const char *own, struct mysql_settings *out,
                             struct failure *f)
{
    char *user = NULL, *password = NULL;
    enum err err = read_account(cfg, own, &user, &password, f);
    if (err != ERR_OK)
        return err;
    const char *socket = config_string(cfg, "db.socket");
    const char *tls_ca = config_string(cfg, "db.tls_ca");
    const char *public_key = config_string(cfg, "db.server_public_key");
    *out = (struct mysql_settings){
        .socket = socket ? xstrdup(socket) : NULL,
        .tls_ca = tls_ca ? xstrdup(tls_ca) : NULL,
        .server_public_key = public_key ? xstrdup(public_key) : NULL,
        .host = xstrdup(config_string(cfg, "db.host")),
        .port = config_int(cfg, "db.port"),
        .user = user,
        .password = password,
        .database = xstrdup(config_string(cfg, "db.name")),
        .connect_timeout_s = 5,
        .io_timeout_s = 10,
        .lock_timeout_s = 3,
        .idle_timeout_s = 10,
    };
    return ERR_OK;
}

void mysql_settings_fini(struct mysql_settings *settings)
{
    if (settings->password)
        memset(settings->password, 0, strlen(settings->password));
    free(settings->host);
    free(settings->user);
    free(settings->password);
    free(settings->database);
    free(settings->socket);
    free(settings->tls_ca);
    free(settings->server_public_key);
    *settings = (struct mysql_settings){0};
}

struct mysql_session {
    const struct mysql_settings *settings;
    MYSQL *mysql; /* NULL: not connected */
    uint64_t id;
    char version[64];
};

struct mysql_session *mysql_session_new(const struct mysql_settings *settings)
{
    struct mysql_session *session = xcalloc(1, sizeof(*session));
    session->settings = settings;
    return session;
}

static void session_close(struct mysql_session *session)
{
    if (session->mysql)
        mysql_close(session->mysql);
    session->mysql = NULL;
    session->id = 0;
    session->version[0] = '\0';
}

void mysql_session_free(struct mysql_session *session)
{
    if (!session)
        return;
    session_close(session);
    free(session);
}

/* Fails with the library's number and text. */
static enum err session_failed(struct mysql_session *session, const char *what, struct failure *f)
{
    unsigned number = mysql_errno(session->mysql);
    enum err err = mysql_error_class(number);
    const char *advice = "";
    if (err == ERR_DB_SCHEMA)
        advice = " (run `berth-admin migrate`)";
    return failure_set(f, err, "%s: %s (%u)%s", what, mysql_error(session->mysql), number, advice);
}

static enum err not_connected(const char *what, struct failure *f)
{
    return failure_set(f, ERR_DB_CONNECTION, "%s: not connected to the database", what);
}

unsigned mysql_session_error(const struct mysql_session *session)
{
    return session->mysql ? mysql_errno(session->mysql) : 0;
}

static void require_tls(MYSQL *mysql, const char *ca)
{
    mysql_options(mysql, MYSQL_OPT_SSL_CA, ca);
    char yes = 1;
    mysql_options(mysql, MYSQL_OPT_SSL_ENFORCE, &yes);
    mysql_options(mysql, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &yes);
}

/* Over plain TCP anybody on the way can pose as the server. Such a server must not learn the password:
 * neither as it is (mysql_clear_password, dialog) nor encrypted with an RSA key that the server sent
 * (sha256_password, caching_sha2_password). The library asks the server for a key when it cannot read
 * one from a file; a file without a key makes it give up instead. */
static void protect_password(MYSQL *mysql, const struct mysql_settings *settings)
{
    const char *key = settings->server_public_key;
    mysql_options(mysql, MARIADB_OPT_RESTRICTED_AUTH,
                  "mysql_native_password,client_ed25519,caching_sha2_password");
    mysql_options(mysql, MYSQL_SERVER_PUBLIC_KEY, key ? key : "/dev/null");
}

static void set_options(MYSQL *mysql, const struct mysql_settings *settings)
{
    unsigned connect_s = (unsigned)settings->connect_timeout_s;
    unsigned io_s = (unsigned)settings->io_timeout_s;
    unsigned no = 0;
    /* Without it, the library takes the host name localhost for a Unix socket. */
    unsigned protocol = settings->socket ? MYSQL_PROTOCOL_SOCKET : MYSQL_PROTOCOL_TCP;
    mysql_options(mysql, MYSQL_OPT_PROTOCOL, &protocol);
    mysql_options(mysql, MYSQL_OPT_CONNECT_TIMEOUT, &connect_s);
    mysql_options(mysql, MYSQL_OPT_READ_TIMEOUT, &io_s);
    mysql_options(mysql, MYSQL_OPT_WRITE_TIMEOUT, &io_s);
    mysql_options(mysql, MYSQL_SET_CHARSET_NAME, "binary");
    /* Else a server can answer any statement by asking for a file of this machine. */
    mysql_options(mysql, MYSQL_OPT_LOCAL_INFILE, &no);
    if (settings->tls_ca) {
        require_tls(mysql, settings->tls_ca);
    } else if (!settings->socket) {
        protect_password(mysql, settings);
    }
    /* MYSQL_OPT_RECONNECT stays off: a session that reconnected by itself would lose its
     * transaction, its locks and its settings unnoticed. */
}

static enum err prepare(struct mysql_session *session, struct failure *f)
{
    enum err err = session_variables_set(session, session->settings, f);
    if (err != ERR_OK)
        return err;
    MYSQL_RES *res = NULL;
    err = mysql_session_read(session, "prepare the session",
                             "SELECT CONNECTION_ID(), VERSION(), @@max_allowed_packet", &res, f);
    if (err != ERR_OK)
        return err;
    MYSQL_ROW row = mysql_fetch_row(res);
    assert(row && row[0] && row[1] && row[2]);
    session->id = strtoull(row[0], NULL, 10);
    snprintf(session->version, sizeof(session->version), "%s", row[1]);
    int64_t packet = field_int(row[2]);
    mysql_free_result(res);
    if (packet < MYSQL_MIN_PACKET) {
        return failure_set(f, ERR_DB_ERROR,
                           "the server's max_allowed_packet is %" PRId64
                           " bytes; set it to at least %d, better 16 MiB, and restart the server",
                           packet, MYSQL_MIN_PACKET);
    }
    return ERR_OK;
}

/* What went wrong and what to do, after "…: ". */
static void connect_text(MYSQL *mysql, char *text, size_t size)
{
    enum { UNKNOWN = 2000, PLUGIN_NOT_ALLOWED = 5010 };
    unsigned number = mysql_errno(mysql);
    const char *said = mysql_error(mysql), *advice = "";
    switch (number) {
    case 1044:
    case 1045:
    case 1698:
        advice = ": check db.user and db.password_file";
        break;
    case 1049:
        advice = ": create it, or check db.name";
        break;
    case PLUGIN_NOT_ALLOWED: /* the library's text names the plugin from overwritten memory */
        said = "it asks for a login in which whoever poses as the server gets the password";
        advice = ": set db.tls_ca, or give the account mysql_native_password, ed25519 or "
                 "caching_sha2_password";
        break;
    case UNKNOWN: /* the plugin gives no other number when it has no key */
        said = "the login failed";
        advice = ": an account with caching_sha2_password needs db.tls_ca, db.socket or the "
                 "server's key in db.server_public_key";
        break;
    default:
        break;
    }
    snprintf(text, size, "%s (%u)%s", said, number, advice);
}

static enum err connect_failed(struct mysql_session *session, struct failure *f)
{
    const struct mysql_settings *settings = session->settings;
    char at[256], text[FAILURE_TEXT_LEN];
    if (settings->socket) {
        snprintf(at, sizeof(at), "%s", settings->socket);
    } else {
        snprintf(at, sizeof(at), "%s:%" PRId64, settings->host, settings->port);
    }
    connect_text(session->mysql, text, sizeof(text));
    return failure_set(f, mysql_error_class(mysql_errno(session->mysql)),
                       "connect to the database at %s as %s: %s", at, settings->user, text);
}

enum err mysql_session_connect(struct mysql_session *session, struct failure *f)
{
    const struct mysql_settings *settings = session->settings;
    session_close(session);
    session->mysql = mysql_init(NULL);
    if (!session->mysql)
        abort(); /* out of memory */
    set_options(session->mysql, settings);
    enum err err = ERR_OK;
    const char *host = settings->socket ? NULL : settings->host;
    /* Without a password the library would take one from $MYSQL_PWD. */
    const char *password = settings->password ? settings->password : "";
    if (!mysql_real_connect(session->mysql, host, settings->user, password, settings->database,
                            (unsigned)settings->port, settings->socket, CLIENT_FOUND_ROWS)) {
        err = connect_failed(session, f);
    } else {
        err = prepare(session, f);
    }
    /* sql_quoted relies on it: other character sets are not escaped byte by byte. */
    assert(err != ERR_OK || strcmp(mysql_character_set_name(session->mysql), "binary") == 0);
    if (err != ERR_OK)
        session_close(session);
    return err;
}

uint64_t mysql_session_id(const struct mysql_session *session)
{
    return session->id;
}

const char *mysql_session_version(const struct mysql_session *session)
{
    return session->version;
}

enum err mysql_session_ping(struct mysql_session *session, struct failure *f)
{
    if (!session->mysql)
        return not_connected("ping", f);
    return mysql_ping(session->mysql) ? session_failed(session, "ping", f) : ERR_OK;
}

enum err mysql_session_kill(struct mysql_session *session, uint64_t id, struct failure *f)
{
    enum { NO_SUCH_THREAD = 1094 };
    if (id == 0 || id == session->id)
        return ERR_OK;
    enum err err = mysql_session_execf(session, f, "kill a session", "KILL %" PRIu64, id);
    if (err != ERR_OK && session->mysql && mysql_errno(session->mysql) == NO_SUCH_THREAD)
        return ERR_OK;
    return err;
}

static enum err send(struct mysql_session *session, const char *what, const char *sql, size_t len,
                     struct failure *f)
{
    if (!session->mysql)
        return not_connected(what, f);
    if (mysql_real_query(session->mysql, sql, (unsigned long)len))
        return session_failed(session, what, f);
    return ERR_OK;
}

enum err mysql_session_exec(struct mysql_session *session, const char *what, const char *sql,
                            size_t len, struct failure *f)
{
    enum err err = send(session, what, sql, len, f);
    if (err == ERR_OK && mysql_field_count(session->mysql) != 0) {
        err = failure_set(f, ERR_DB_CONNECTION,
                          "%s: the server sends rows, which this statement has not: the session is "
                          "out of step",
                          what);
    }
    return err;
}

enum err mysql_session_execf(struct mysql_session *session, struct failure *f, const char *what,
                             const char *format, ...)
{
    struct buf sql = {0};
    va_list args;
    va_start(args, format);
    buf_vprintf(&sql, format, args);
    va_end(args);
    enum err err = mysql_session_exec(session, what, sql.data, sql.len, f);
    buf_fini(&sql);
    return err;
}

uint64_t mysql_session_matched(const struct mysql_session *session)
{
    return session->mysql ? mysql_affected_rows(session->mysql) : 0;
}

enum err mysql_session_query(struct mysql_session *session, const char *what, const char *sql,
                             size_t len, MYSQL_RES **out, struct failure *f)
{
    enum err err = send(session, what, sql, len, f);
    if (err != ERR_OK)
        return err;
    MYSQL_RES *res = mysql_store_result(session->mysql);
    if (!res)
        return session_failed(session, what, f);
    *out = res;
    return ERR_OK;
}

enum err mysql_session_read(struct mysql_session *session, const char *what, const char *sql,
                            MYSQL_RES **out, struct failure *f)
{
    return mysql_session_query(session, what, sql, strlen(sql), out, f);
}

enum err mysql_session_stream(struct mysql_session *session, const char *what, const char *sql,
                              size_t len, MYSQL_RES **out, struct failure *f)
{
    enum err err = send(session, what, sql, len, f);
    if (err != ERR_OK)
        return err;
    MYSQL_RES *res = mysql_use_result(session->mysql);
    if (!res)
        return session_failed(session, what, f);
    *out = res;
    return ERR_OK;
}

enum err mysql_session_stream_end(struct mysql_session *session, const char *what,
                                  struct failure *f)
{
    return mysql_errno(session->mysql) ? session_failed(session, what, f) : ERR_OK;
}

enum err mysql_session_snapshot(struct mysql_session *session, struct failure *f)
{
    assert(session->settings->read_only);
    return mysql_session_execf(session, f, "begin to read",
                               "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY");
}

/* Errors with which the server refuses a COMMIT before it writes anything, so that it has certainly
 * rolled back. Any other error, disk full among them, can come after the commit record. */
static bool is_definite_rollback(unsigned number)
{
    switch (number) {
    case 1205: /* lock wait time-out */
    case 1213: /* deadlock, also Galera's certification */
    case 3101: /* group replication rolled back */
    case 1290: /* read-only server */
    case 1836:
        return true;
    default:
        return false;
    }
}

enum err mysql_session_commit(struct mysql_session *session, struct failure *f)
{
    if (!session->mysql)
        return failure_set(f, ERR_DB_COMMIT_UNKNOWN, "commit: not connected to the database");
    if (mysql_real_query(session->mysql, "COMMIT", 6) == 0)
        return ERR_OK;
    unsigned number = mysql_errno(session->mysql);
    if (is_definite_rollback(number))
        return session_failed(session, "commit", f);
    return failure_set(f, ERR_DB_COMMIT_UNKNOWN, "commit: %s (%u)", mysql_error(session->mysql),
                       number);
}

void mysql_session_rollback(struct mysql_session *session)
{
    if (session->mysql)
        mysql_real_query(session->mysql, "ROLLBACK", 8);
}

void sql_int(struct buf *sql, int64_t value)
{
    char digits[24];
    size_t at = sizeof(digits);
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        digits[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (value < 0)
        digits[--at] = '-';
    buf_append(sql, digits + at, sizeof(digits) - at);
}

void sql_bytes(struct buf *sql, const void *bytes, size_t len)
{
    buf_append(sql, "x'", 2);
    buf_hex(sql, bytes, len);
    buf_append(sql, "'", 1);
}

void sql_text(struct buf *sql, const char *text)
{
    sql_bytes(sql, text, strlen(text));
}

void sql_bytes_or_null(struct buf *sql, const void *bytes, size_t len)
{
    if (bytes) {
        sql_bytes(sql, bytes, len);
    } else {
        buf_append(sql, "NULL", 4);
    }
}

void sql_text_or_null(struct buf *sql, const char *text)
{
    sql_bytes_or_null(sql, text, text ? strlen(text) : 0);
}

void sql_quoted(struct buf *sql, struct mysql_session *session, const void *bytes, size_t len)
{
    assert(session->mysql);
    buf_append(sql, "'", 1);
    char chunk[2 * 4096 + 1];
    const char *from = bytes;
    while (len > 0) {
        unsigned long part = len < 4096 ? (unsigned long)len : 4096;
        unsigned long escaped = mysql_real_escape_string(session->mysql, chunk, from, part);
        assert(escaped >= part && escaped < sizeof(chunk));
        buf_append(sql, chunk, escaped);
        from += part;
        len -= part;
    }
    buf_append(sql, "'", 1);
}

void sql_equals(struct buf *sql, const char *column, const char *text)
{
    buf_printf(sql, "%s = ", column);
    sql_text(sql, text);
    buf_printf(sql, " AND LENGTH(%s) = %zu", column, strlen(text));
}

void sql_ids(struct buf *sql, const int64_t *ids, size_t count)
{
    assert(count > 0);
    for (size_t i = 0; i < count; i++) {
        buf_append(sql, i == 0 ? "(" : ",", 1);
        sql_int(sql, ids[i]);
    }
    buf_append(sql, ")", 1);
}

int64_t field_int(const char *field)
{
    return field ? strtoll(field, NULL, 10) : 0;
}

void field_text(const char *field, char *out, size_t size)
{
    size_t len = strnlen(field, size - 1);
    memcpy(out, field, len);
    out[len] = '\0';
}
