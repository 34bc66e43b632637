/* The old database: finding its tables and columns, reading them. */
#include "admin/import/import.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/base/file.h"

/* The old tables and columns by the names that the old API's messages have. What is in the database
 * may differ in case and underscores (ressource_reserve). */
enum { MACHINES, BOOKINGS, SHARES, TABLE_COUNT };
#define COLUMNS_MAX 4
static const struct {
    const char *name;
    const char *columns[COLUMNS_MAX + 1];
    const char *kinds; /* of the columns: a number, a date, a text */
} old_names[TABLE_COUNT] = {
    {"Ressource", {"id", "quantiteGPU", "quantiteMemoire", NULL}, "nnn"},
    {"Reservation", {"id", "date_debut", "date_fin", "nomUtilisateur", NULL}, "nddt"},
    {"RessourceReserve", {"idReservation", "idRessource", "nbGPU", "nbmemoire", NULL}, "nnnn"},
};

/* What was found in the catalog, whose rows are (table, column, type); strings are the catalog's. */
struct found {
    const char *table;
    const char *columns[COLUMNS_MAX];
    const char *types[COLUMNS_MAX];
};

#define CATALOG_SQL                                                                                \
    "SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE FROM information_schema.COLUMNS "                   \
    "WHERE TABLE_SCHEMA = DATABASE() ORDER BY TABLE_NAME, ORDINAL_POSITION"

static void replace(char **text, const char *value)
{
    free(*text);
    *text = value ? xstrdup(value) : NULL;
}

/* Berth's own server, unless another one is named. */
static enum err settings_of(const struct admin *admin, struct mysql_settings *out,
                            struct failure *f)
{
    const struct options *opts = admin->opts;
    const char *host = options_value(opts, "from-host"), *port = options_value(opts, "from-port");
    const char *socket = options_value(opts, "from-socket");
    const char *user = options_value(opts, "from-user");
    const char *password = options_value(opts, "from-password-file");
    struct admin_range ports = {"--from-port", 1, 65535};
    if (host && socket)
        return failure_set(f, ERR_USAGE, "--from-host and --from-socket contradict each other");
    enum err err = mysql_settings_read(admin->cfg, "admin", out, f);
    if (err != ERR_OK)
        return err;
    out->io_timeout_s = 3600;
    out->idle_timeout_s = 3600;
    out->read_only = true;
    replace(&out->database, options_value(opts, "from-database"));
    if (host || socket) {
        if (host)
            replace(&out->host, host);
        replace(&out->socket, socket);
        replace(&out->tls_ca, options_value(opts, "from-tls-ca"));
        replace(&out->server_public_key, options_value(opts, "from-public-key"));
        out->port = 3306;
    }
    if (port)
        err = admin_int(port, ports, &out->port, f);
    /* Another account, or another server's, has another password. */
    if (user)
        replace(&out->user, user);
    if (host || socket || user)
        replace(&out->password, NULL);
    if (err == ERR_OK && password) {
        free(out->password);
        out->password = NULL;
        if (file_read_secret(password, &out->password, f) != ERR_OK)
            err = failure_wrap(f, "--from-password-file");
    }
    return err;
}

static enum err open_snapshot(struct mysql_session *session, struct failure *f)
{
    enum err err = mysql_session_connect(session, f);
    return err != ERR_OK ? err : mysql_session_snapshot(session, f);
}

/* Alike but for case and underscores. */
static bool alike(const char *a, const char *b)
{
    while (true) {
        a += strspn(a, "_");
        b += strspn(b, "_");
        if (!*a || !*b)
            return *a == *b;
        if (strncasecmp(a++, b++, 1) != 0)
            return false;
    }
}

/* The NAME of a --column that is about this column; NULL: it is about another one. */
static const char *name_given(const char *value, const char *table, const char *column)
{
    size_t table_len = strlen(table), column_len = strlen(column);
    if (strncmp(value, table, table_len) != 0 || value[table_len] != '.')
        return NULL;
    value += table_len + 1;
    if (strncmp(value, column, column_len) != 0 || value[column_len] != '=')
        return NULL;
    return value[column_len + 1] ? value + column_len + 1 : NULL;
}

/* The column's name by --column, given last; NULL: its usual one. */
static const char *other_column(const struct options *opts, const char *table, const char *column)
{
    const char *name = NULL;
    for (size_t i = 0; i < opts->given_count; i++) {
        if (strcmp(opts->given[i].spec->name, "column") != 0)
            continue;
        const char *given = name_given(opts->given[i].value, table, column);
        name = given ? given : name;
    }
    return name;
}

/* Each --column must be about a column that is looked for, or it would be ignored silently. */
static enum err check_columns(const struct options *opts, struct failure *f)
{
    for (size_t i = 0; i < opts->given_count; i++) {
        const char *value = opts->given[i].value;
        bool known = strcmp(opts->given[i].spec->name, "column") != 0;
        for (size_t t = 0; t < TABLE_COUNT && !known; t++) {
            for (size_t c = 0; old_names[t].columns[c] && !known; c++)
                known = name_given(value, old_names[t].name, old_names[t].columns[c]) != NULL;
        }
        if (!known) {
            return failure_set(f, ERR_USAGE,
                               "--column %s: expected TABLE.COLUMN=NAME, with the usual names "
                               "of table and column, as Ressource.quantiteGPU=gpus",
                               value);
        }
    }
    return ERR_OK;
}

/* The table of that name; an exact one wins. NULL: none. */
static const char *find_table(MYSQL_RES *catalog, const char *name)
{
    MYSQL_ROW row;
    const char *like = NULL;
    mysql_data_seek(catalog, 0);
    while ((row = mysql_fetch_row(catalog))) {
        if (strcmp(row[0], name) == 0)
            return row[0];
        if (!like && alike(row[0], name))
            like = row[0];
    }
    return like;
}

static void find_column(MYSQL_RES *catalog, struct found *found, size_t column, const char *name)
{
    MYSQL_ROW row;
    mysql_data_seek(catalog, 0);
    while ((row = mysql_fetch_row(catalog))) {
        bool exact = strcmp(row[1], name) == 0;
        if (strcmp(row[0], found->table) != 0 || !(exact || alike(row[1], name)))
            continue;
        if (found->columns[column] && !exact)
            continue;
        found->columns[column] = row[1];
        found->types[column] = row[2];
    }
}

/* "`a`, `b`": all tables, or the columns of one; caller frees. */
static char *list_names(MYSQL_RES *catalog, const char *table)
{
    MYSQL_ROW row;
    struct buf text = {0};
    const char *last = NULL;
    buf_puts(&text, "");
    mysql_data_seek(catalog, 0);
    while ((row = mysql_fetch_row(catalog))) {
        const char *name = table ? row[1] : row[0];
        if ((table && strcmp(row[0], table) != 0) || (last && strcmp(last, name) == 0))
            continue;
        buf_printf(&text, "%s%s", text.len > 0 ? ", " : "", name);
        last = name;
    }
    return text.data;
}

static enum err missing_table(MYSQL_RES *catalog, const char *database,
                              const char *names[TABLE_COUNT], size_t table, struct failure *f)
{
    char *there = list_names(catalog, NULL);
    failure_set(f, ERR_CONFIG,
                "the old database %s has no table %s: looked for %s, %s and %s, in any case and "
                "with or without underscores; there %s %.400s. --tables A,B,C names others",
                database, names[table], names[0], names[1], names[2], *there ? "are" : "is",
                *there ? there : "no table at all");
    free(there);
    return ERR_CONFIG;
}

static enum err missing_column(MYSQL_RES *catalog, const struct found *found, size_t table,
                               const char *name, struct failure *f)
{
    struct buf wanted = {0};
    char *there = list_names(catalog, found->table);
    for (size_t c = 0; old_names[table].columns[c]; c++)
        buf_printf(&wanted, "%s%s", c > 0 ? ", " : "", old_names[table].columns[c]);
    failure_set(f, ERR_CONFIG,
                "the old table %s has no column %s: looked for %s, in any case and with or without "
                "underscores; it has %.400s. --column %s.COLUMN=NAME names others",
                found->table, name, wanted.data, there, old_names[table].name);
    buf_fini(&wanted);
    free(there);
    return ERR_CONFIG;
}

/* --tables A,B,C; caller frees *copy. */
static enum err table_names(const struct options *opts, const char *names[TABLE_COUNT], char **copy,
                            struct failure *f)
{
    const char *text = options_value(opts, "tables");
    for (size_t i = 0; i < TABLE_COUNT; i++)
        names[i] = old_names[i].name;
    if (!text)
        return ERR_OK;
    *copy = xstrdup(text);
    char *at = *copy;
    size_t count = 0;
    while (at) {
        char *comma = strchr(at, ',');
        if (comma)
            *comma = '\0';
        if (count == TABLE_COUNT || !*at)
            break;
        names[count++] = at;
        at = comma ? comma + 1 : NULL;
    }
    if (at || count != TABLE_COUNT) {
        return failure_set(f, ERR_USAGE,
                           "--tables %s: expected three names, of the resources, the "
                           "reservations and the reserved resources",
                           text);
    }
    return ERR_OK;
}

static enum err find_all(const struct admin *admin, MYSQL_RES *catalog,
                         struct found found[TABLE_COUNT], struct failure *f)
{
    const char *names[TABLE_COUNT];
    char *copy = NULL;
    enum err err = table_names(admin->opts, names, &copy, f);
    for (size_t t = 0; t < TABLE_COUNT && err == ERR_OK; t++) {
        found[t].table = find_table(catalog, names[t]);
        if (!found[t].table)
            err = missing_table(catalog, options_value(admin->opts, "from-database"), names, t, f);
        for (size_t c = 0; err == ERR_OK && old_names[t].columns[c]; c++) {
            const char *usual = old_names[t].columns[c];
            const char *other = other_column(admin->opts, old_names[t].name, usual);
            find_column(catalog, &found[t], c, other ? other : usual);
            if (!found[t].columns[c])
                err = missing_column(catalog, &found[t], t, other ? other : usual, f);
        }
    }
    free(copy);
    return err;
}

static void add_identifier(struct buf *sql, const char *name)
{
    buf_puts(sql, "`");
    for (; *name; name++)
        buf_printf(sql, "%s%c", *name == '`' ? "`" : "", *name);
    buf_puts(sql, "`");
}

/* What goes before and after a column so that the server gives its value as text without loss. */
struct wrapping {
    const char *type, *before, *after;
};
/* As it is, a FLOAT would come rounded to six digits, a DOUBLE with an exponent, a BIT as bytes. */
static const struct wrapping of_numbers[] = {
    {"float", "CAST(", " AS DECIMAL(60,20))"},
    {"double", "CAST(", " AS DECIMAL(60,20))"},
    {"bit", "", " + 0"},
    {NULL, "", ""},
};
/* Text as UTF-8, whatever character set the old column has. Bytes have none: they are left alone. */
static const struct wrapping of_texts[] = {
    {"binary", "", ""},     {"varbinary", "", ""},
    {"tinyblob", "", ""},   {"blob", "", ""},
    {"mediumblob", "", ""}, {"longblob", "", ""},
    {"bit", "", ""},        {NULL, "CONVERT(", " USING utf8mb4)"},
};
static const struct wrapping of_dates[] = {{NULL, "", ""}};

static const struct wrapping *wrapping_of(char kind, const char *type)
{
    const struct wrapping *w = kind == 'n' ? of_numbers : kind == 't' ? of_texts : of_dates;
    while (w->type && strcasecmp(w->type, type) != 0)
        w++;
    return w;
}

/* The columns in their order here. */
static void build_query(const struct found *found, size_t table, struct buf *sql)
{
    const char *separator = "SELECT ";
    for (size_t c = 0; old_names[table].columns[c]; c++) {
        const struct wrapping *w = wrapping_of(old_names[table].kinds[c], found->types[c]);
        buf_printf(sql, "%s%s", separator, w->before);
        add_identifier(sql, found->columns[c]);
        buf_puts(sql, w->after);
        separator = ", ";
    }
    buf_puts(sql, " FROM ");
    add_identifier(sql, found->table);
    buf_printf(sql, " LIMIT %d", IMPORT_ROWS_MAX + 1);
}

/* A table's cells, row after row, as strings in the arena. */
struct cells {
    const char **at;
    size_t row_count;
};

static enum err read_cells(struct mysql_session *session, const struct found *found, size_t table,
                           struct arena *arena, struct cells *out, struct failure *f)
{
    struct buf sql = {0};
    MYSQL_RES *rows = NULL;
    MYSQL_ROW row;
    size_t width = table == MACHINES ? 3 : COLUMNS_MAX, at = 0;
    build_query(found, table, &sql);
    enum err err = mysql_session_query(session, found->table, sql.data, sql.len, &rows, f);
    buf_fini(&sql);
    if (err != ERR_OK)
        return err;
    size_t count = (size_t)mysql_num_rows(rows);
    if (count > IMPORT_ROWS_MAX) {
        mysql_free_result(rows);
        return failure_set(f, ERR_CONFIG, "the old table %s has more than %d rows", found->table,
                           IMPORT_ROWS_MAX);
    }
    const char **cells = arena_alloc(arena, (count * width + 1) * sizeof(*cells));
    while ((row = mysql_fetch_row(rows))) {
        const unsigned long *lens = mysql_fetch_lengths(rows);
        for (size_t c = 0; c < width; c++)
            cells[at++] = row[c] ? arena_strndup(arena, row[c], lens[c]) : NULL;
    }
    assert(at == count * width);
    mysql_free_result(rows);
    *out = (struct cells){cells, count};
    return ERR_OK;
}

static struct old_id id_of(const char *text)
{
    struct old_id id = {.text = text, .number = -1};
    int64_t number;
    if (import_whole(text, &number))
        id.number = number;
    return id;
}

static int compare(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

/* Machines and bookings begin with their ids. */
static int compare_ids(const void *a, const void *b)
{
    const struct old_id *left = a, *right = b;
    return compare(left->number, right->number);
}

static int compare_shares(const void *a, const void *b)
{
    const struct old_share *left = a, *right = b;
    int by_booking = compare(left->booking.number, right->booking.number);
    return by_booking ? by_booking : compare(left->machine.number, right->machine.number);
}

/* Reads a table and fills the arrays of *out that are its. */
static enum err read_table(struct mysql_session *session, const struct found *found, size_t table,
                           struct arena *arena, struct old_tables *out, struct failure *f)
{
    struct cells cells = {0};
    enum err err = read_cells(session, &found[table], table, arena, &cells, f);
    if (err != ERR_OK)
        return err;
    size_t count = cells.row_count;
    const char **at = cells.at;
    switch (table) {
    case MACHINES:
        out->machine_count = count;
        out->machines = arena_alloc(arena, (count + 1) * sizeof(*out->machines));
        for (size_t i = 0; i < count; i++, at += 3)
            out->machines[i] = (struct old_machine){id_of(at[0]), at[1], at[2]};
        qsort(out->machines, count, sizeof(*out->machines), compare_ids);
        break;
    case BOOKINGS:
        out->booking_count = count;
        out->bookings = arena_alloc(arena, (count + 1) * sizeof(*out->bookings));
        for (size_t i = 0; i < count; i++, at += 4)
            out->bookings[i] = (struct old_booking){id_of(at[0]), at[1], at[2], at[3]};
        out->start_is_utc = strcasecmp(found[table].types[1], "timestamp") == 0;
        out->end_is_utc = strcasecmp(found[table].types[2], "timestamp") == 0;
        qsort(out->bookings, count, sizeof(*out->bookings), compare_ids);
        break;
    case SHARES:
        out->share_count = count;
        out->shares = arena_alloc(arena, (count + 1) * sizeof(*out->shares));
        for (size_t i = 0; i < count; i++, at += 4)
            out->shares[i] = (struct old_share){id_of(at[0]), id_of(at[1]), at[2], at[3]};
        qsort(out->shares, count, sizeof(*out->shares), compare_shares);
    }
    return ERR_OK;
}

enum err import_read(const struct admin *admin, struct arena *arena, struct old_tables *out,
                     struct failure *f)
{
    struct mysql_settings settings = {0};
    struct mysql_session *session = NULL;
    MYSQL_RES *catalog = NULL;
    struct found found[TABLE_COUNT] = {0};
    enum err err = check_columns(admin->opts, f);
    if (err == ERR_OK)
        err = settings_of(admin, &settings, f);
    if (err == ERR_OK) {
        session = mysql_session_new(&settings);
        err = open_snapshot(session, f);
    }
    if (err == ERR_OK)
        err = mysql_session_read(session, "read the list of tables", CATALOG_SQL, &catalog, f);
    if (err == ERR_OK)
        err = find_all(admin, catalog, found, f);
    for (size_t table = 0; err == ERR_OK && table < TABLE_COUNT; table++)
        err = read_table(session, found, table, arena, out, f);
    if (catalog)
        mysql_free_result(catalog);
    mysql_session_free(session);
    mysql_settings_fini(&settings);
    return err != ERR_OK && err != ERR_USAGE ? failure_wrap(f, "read the old database") : err;
}
