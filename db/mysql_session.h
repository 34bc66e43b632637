/* One session with MySQL 8 or MariaDB 10.11, prepared as docs/architecture.md says, and functions
 * that build statements for it. Built on libmariadb, the client library that the Makefile links.
 *
 * The session's character set is binary: bytes go in and come out as they are, and a literal takes
 * the character set of the column that it is compared with or stored in. A streamed result must be
 * freed before the next statement. No call retries or reconnects. One thread. */
#ifndef BERTH_DB_MYSQL_SESSION_H
#define BERTH_DB_MYSQL_SESSION_H

#include <mysql.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/mem.h"
#include "lib/config/config.h"

/* The smallest max_allowed_packet that a server may have. A statement is cut at SQL_CUT_BYTES; the
 * last row that is added to it can hold an event whose bytes are all escaped. */
#define MYSQL_MIN_PACKET (4 * 1024 * 1024)
#define SQL_CUT_BYTES    (1024 * 1024)

/* Where the server is and how patient the session is. Owns its strings. */
struct mysql_settings {
    char *host, *user, *password, *database;
    char *socket; /* a Unix socket, used instead of host and port; or NULL */
    char *tls_ca; /* PEM file; TLS to a server that it vouches for, or nothing; or NULL */
    char *server_public_key; /* PEM file: encrypts passwords on TCP without TLS; or NULL */
    int64_t port;
    int connect_timeout_s;
    int io_timeout_s;   /* how long one read or write may take */
    int lock_timeout_s; /* how long to wait for a lock of a row or a table */
    int idle_timeout_s; /* wait_timeout: after it, an owner that is cut off loses its locks */
    /* Each statement is a transaction, and a transaction is a snapshot that cannot write. Otherwise
     * no autocommit, and READ COMMITTED. */
    bool read_only;
};
/* Reads db.* keys and the password file. `own`: the program's prefix in OWN.db_user and
 * OWN.db_password_file, which go before those of db; NULL: it has none. Gives *out. */
enum err mysql_settings_read(const struct config *cfg, const char *own, struct mysql_settings *out,
                             struct failure *f);
void mysql_settings_fini(struct mysql_settings *settings);

struct mysql_session;
/* Does not connect. Borrows the settings. */
struct mysql_session *mysql_session_new(const struct mysql_settings *settings);
void mysql_session_free(struct mysql_session *session);
/* Opens the session, or closes it and opens a new one. */
enum err mysql_session_connect(struct mysql_session *session, struct failure *f);
/* The server's number of this session; 0: not connected. */
uint64_t mysql_session_id(const struct mysql_session *session);
/* "8.0.15", "10.11.6-MariaDB…"; "" when not connected. */
const char *mysql_session_version(const struct mysql_session *session);
enum err mysql_session_ping(struct mysql_session *session, struct failure *f);
/* KILLs another session of the same account. ERR_OK also when it is gone, is 0 or is this one. */
enum err mysql_session_kill(struct mysql_session *session, uint64_t id, struct failure *f);

/* Runs a statement without a result. `what` names it in the failure ("insert decisions"). */
enum err mysql_session_exec(struct mysql_session *session, const char *what, const char *sql,
                            size_t len, struct failure *f);
/* The same for a statement that is constant, or whose values are all integers. */
enum err mysql_session_execf(struct mysql_session *session, struct failure *f, const char *what,
                             const char *format, ...) __attribute__((format(printf, 4, 5)));
/* Rows that the last statement matched, changed or not. */
uint64_t mysql_session_matched(const struct mysql_session *session);
/* Runs a query and fetches its whole result; caller frees it with mysql_free_result. */
enum err mysql_session_query(struct mysql_session *session, const char *what, const char *sql,
                             size_t len, MYSQL_RES **out, struct failure *f);
/* The same for a constant statement. */
enum err mysql_session_read(struct mysql_session *session, const char *what, const char *sql,
                            MYSQL_RES **out, struct failure *f);
/* Runs a query whose rows are then fetched one by one. */
enum err mysql_session_stream(struct mysql_session *session, const char *what, const char *sql,
                              size_t len, MYSQL_RES **out, struct failure *f);
/* Call it when mysql_fetch_row on a stream has given NULL: ERR_OK at the end, else the error. */
enum err mysql_session_stream_end(struct mysql_session *session, const char *what,
                                  struct failure *f);
/* Begins a transaction that sees one state of the database and cannot write. On read_only settings. */
enum err mysql_session_snapshot(struct mysql_session *session, struct failure *f);
/* Any error is ERR_DB_COMMIT_UNKNOWN, unless the server said that it rolled back. */
enum err mysql_session_commit(struct mysql_session *session, struct failure *f);
/* Never fails: if it cannot be sent, the session is dead, and its transaction with it. */
void mysql_session_rollback(struct mysql_session *session);

/* The number of the last statement's error; 0: none. */
unsigned mysql_session_error(const struct mysql_session *session);
/* The class of an error number of server or client library. */
enum err mysql_error_class(unsigned number);

/* Text of statements. A value that is not an integer becomes a literal of its bytes. */
void sql_int(struct buf *sql, int64_t value);
/* x'…' */
void sql_bytes(struct buf *sql, const void *bytes, size_t len);
void sql_text(struct buf *sql, const char *text);
/* The same, or NULL. */
void sql_bytes_or_null(struct buf *sql, const void *bytes, size_t len);
void sql_text_or_null(struct buf *sql, const char *text);
/* '…' with escapes, half as long as x'…': for large values. */
void sql_quoted(struct buf *sql, struct mysql_session *session, const void *bytes, size_t len);
/* "COLUMN = x'…' AND LENGTH(COLUMN) = …": exactly this text. For text in which anybody may have put
 * blanks, as users' names: `=` ignores blanks at the end in the collations that both servers have.
 * Valid names (name_is_valid) hold none and are compared with = alone. */
void sql_equals(struct buf *sql, const char *column, const char *text);
/* "(1,2,3)"; at least one id. */
void sql_ids(struct buf *sql, const int64_t *ids, size_t count);

/* A decimal integer; NULL counts as 0. */
int64_t field_int(const char *field);
/* Copies a text; cuts it if it is longer than the column should allow. */
void field_text(const char *field, char *out, size_t size);

#endif
