/* What the files of berth-admin share. The table in admin_commands.c drives dispatch, help and the
 * suggestion for a misspelt command. */
#ifndef BERTH_ADMIN_ADMIN_H
#define BERTH_ADMIN_ADMIN_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "db/mysql_session.h"
#include "lib/base/err.h"
#include "lib/config/config.h"
#include "lib/config/options.h"

enum admin_format { ADMIN_TEXT, ADMIN_JSON, ADMIN_TSV, ADMIN_FORMAT_COUNT };

/* One run of one command. */
struct admin {
    struct config *cfg;
    const struct options *opts; /* the command's own */
    enum admin_format format;
    bool no_headers, quiet;
    bool read_only; /* the command's session with the database only reads */
    struct mysql_settings settings;
    struct mysql_session *session; /* NULL: not opened */
    MYSQL_RES *found;              /* of admin_row */
    enum exit_code exit_code;      /* when the command returns ERR_OK */
};

struct admin_command {
    struct command_spec spec; /* its name is "berth-admin WORD [WORD]" */
    enum err (*run)(struct admin *admin, struct failure *f);
    size_t operand_count; /* exactly this many */
};
/* Ends with a row without a name. */
extern const struct admin_command admin_commands[];
extern const struct option_spec admin_common_options[];

/* The command that the words begin with, and the number of words in its name. ERR_USAGE: unknown;
 * the failure names the nearest command. */
enum err admin_find(const char *const *words, size_t count, const struct admin_command **out,
                    size_t *used_out, struct failure *f);
void admin_help(FILE *out);

/* --- the database (query.c) --- */

/* Opens admin->session. A statement and a wait for a lock may take longer than a worker's. Between
 * statements the server waits no longer than for a worker: the session may lock rows that workers
 * need, and a stopped command must lose its locks. check_schema: the schema must have this program's
 * version. */
enum err admin_open_database(struct admin *admin, bool check_schema, struct failure *f);
/* Lets the server wait for an hour between statements. For commands that read Kafka meanwhile; they
 * lock no partition's row. */
enum err admin_wait_outside(struct admin *admin, struct failure *f);
/* A new session, without that patience: before a partition's row is locked. */
enum err admin_reopen_database(struct admin *admin, struct failure *f);
/* A statement, for one of the next two functions. In `format`, each ? stands for the next argument,
 * a text (NULL: NULL), and each # for an int64_t. */
struct buf admin_sql(const char *format, ...);
/* Runs a query (takes it) and fetches its whole result; the caller frees it with mysql_free_result.
 * `what` names it in the failure. */
enum err admin_query(struct admin *admin, const char *what, struct buf sql, MYSQL_RES **out,
                     struct failure *f);
/* The same for a query of at most one row, which lives until the next call. NULL: there is none. */
enum err admin_row(struct admin *admin, const char *what, struct buf sql, MYSQL_ROW *out,
                   struct failure *f);
/* The same for a statement without a result. */
enum err admin_exec(struct admin *admin, const char *what, struct buf sql, struct failure *f);
/* ERR_NOT_FOUND: the database holds no farm. */
enum err admin_no_farm(struct failure *f);

/* --- operands and options --- */

struct admin_range {
    const char *what; /* "--partitions" */
    int64_t min, max;
};
/* A whole number. ERR_USAGE. */
enum err admin_int(const char *text, struct admin_range range, int64_t *out, struct failure *f);
/* A name of a client or key. ERR_USAGE. */
enum err admin_name(const char *text, const char *what, struct failure *f);
const char *admin_operand(const struct admin *admin, size_t index);

/* --- output: data on stdout in the format of -o, remarks on stderr unless -q --- */

/* A column of a table: a member of each row's JSON object. */
struct admin_column {
    const char *key;     /* NULL ends the table */
    const char *heading; /* of text output */
};
/* Takes `items`, an array of objects. JSON: {"items": […]}. A cell that is an object is shown as
 * "name=value …" in text and TSV. */
void admin_print_rows(const struct admin *admin, const struct admin_column *columns, json_t *items);
/* Sorts the items by a column's key; sort NULL: not. ERR_USAGE: there is no such column. */
enum err admin_sort(const struct admin_column *columns, const char *sort, json_t *items,
                    struct failure *f);
/* A row as an object. `kinds` has a letter for each column, in the order of the query's fields: s
 * text, i integer, t time; l, the last one, the fields ADMIN_LIMIT_COLUMNS. NULL becomes null. */
json_t *admin_json_row(const struct admin_column *columns, const char *kinds, char **fields);
/* A list command: opens the database, runs the query and prints its rows. */
struct admin_list {
    const struct admin_column *columns;
    const char *kinds, *what, *sql;
};
enum err admin_list(struct admin *admin, const struct admin_list *list, struct failure *f);
/* Prints one JSON value and ends the line. */
void admin_print_json(const json_t *value);
/* Takes the object. Text: a line for each column. */
void admin_print_object(const struct admin *admin, const struct admin_column *columns,
                        json_t *object);
/* One sentence for a person. */
void admin_remark(const struct admin *admin, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The failure, as a sentence on stderr and with -o json as a problem object on stdout. */
void admin_print_failure(const struct admin *admin, const struct failure *f);

/* New JSON values; a time is RFC 3339, NULL and "" are null. */
json_t *admin_json_text(const char *text);
json_t *admin_json_time(int64_t ms);

/* --- commands --- */
/* Prints what can stand at the last of the words; `outer` has the options before the command. */
void admin_complete(const struct command_spec *outer, const char *const *words, size_t count);
enum err admin_completion(struct admin *admin, struct failure *f);
enum err admin_init(struct admin *admin, struct failure *f);
enum err admin_migrate(struct admin *admin, struct failure *f);
enum err admin_status(struct admin *admin, struct failure *f);
enum err admin_farm_resume(struct admin *admin, struct failure *f);
enum err admin_client_add(struct admin *admin, struct failure *f);
enum err admin_farm_limit(struct admin *admin, struct failure *f);
enum err admin_client_limit(struct admin *admin, struct failure *f);
enum err admin_client_list(struct admin *admin, struct failure *f);
enum err admin_key_add(struct admin *admin, struct failure *f);
enum err admin_key_list(struct admin *admin, struct failure *f);
enum err admin_key_revoke(struct admin *admin, struct failure *f);
enum err admin_partition_list(struct admin *admin, struct failure *f);
enum err admin_partition_resume(struct admin *admin, struct failure *f);
enum err admin_reject(struct admin *admin, struct failure *f);
enum err admin_audit(struct admin *admin, struct failure *f);
enum err admin_follow(struct admin *admin, struct failure *f); /* audit --follow */
enum err admin_import(struct admin *admin, struct failure *f);

#endif
