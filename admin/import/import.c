/* berth-admin import: the old web API's data becomes signed requests. */
#include "admin/import/import.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "admin/farm.h"
#include "core/request.h"
#include "core/utf8.h"
#include "lib/base/cli_time.h"

#define WAIT_MS 60000

static const char *const kind_names[IMPORT_KIND_COUNT] = {"machine", "booking", "allocation"};
static const char *const outcome_names[IMPORT_OUTCOME_COUNT] = {"taken", "taken_before", "planned",
                                                                "over",  "rejected",     "unknown"};

/* A text of the old database, which may have any bytes: visible if it is not UTF-8. */
static json_t *text_json(const char *text)
{
    json_t *json = json_string(text);
    if (json)
        return json;
    size_t room = strlen(text) * UTF8_VISIBLE_MAX + 1;
    char *visible = xmalloc(room);
    utf8_visible(visible, room, text);
    json = json_string(visible);
    free(visible);
    return json;
}

static json_t *id_json(const struct old_id *id)
{
    if (!id)
        return json_null();
    if (id->number >= 0)
        return json_integer(id->number);
    return id->text ? text_json(id->text) : json_null();
}

json_t *import_item(struct import *import, enum import_kind kind, const struct old_id *machine,
                    const struct old_id *booking)
{
    json_t *item = json_pack("{s:s, s:o, s:o}", "kind", kind_names[kind], "ressource",
                             id_json(machine), "reservation", id_json(booking));
    json_array_append_new(import->items, item);
    return item;
}

/* Sentences are joined by "; ". */
static void add_detail(json_t *item, const char *text)
{
    const char *before = json_string_value(json_object_get(item, "detail"));
    char *all = before ? xasprintf("%s; %s", before, text) : xstrdup(text);
    json_object_set_new(item, "detail", text_json(all));
    free(all);
}

void import_remark(json_t *item, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    add_detail(item, text);
}

void import_settle(struct import *import, json_t *item, enum import_outcome outcome,
                   const char *reason, const char *detail)
{
    const char *kind = json_string_value(json_object_get(item, "kind"));
    json_object_set_new(item, "outcome", json_string(outcome_names[outcome]));
    if (reason)
        json_object_set_new(item, "reason", json_string(reason));
    if (detail)
        add_detail(item, detail);
    for (size_t i = 0; i < IMPORT_KIND_COUNT; i++)
        import->counts[i][outcome] += strcmp(kind, kind_names[i]) == 0;
}

static int64_t count_of(const struct import *import, enum import_outcome outcome)
{
    int64_t count = 0;
    for (size_t i = 0; i < IMPORT_KIND_COUNT; i++)
        count += import->counts[i][outcome];
    return count;
}

/* {"machines": {"taken": 4, …}, …} */
static json_t *counts_json(const struct import *import)
{
    static const char *const names[IMPORT_KIND_COUNT] = {"machines", "bookings", "allocations"};
    json_t *all = json_object();
    for (size_t i = 0; i < IMPORT_KIND_COUNT; i++) {
        json_t *counts = json_object();
        for (size_t k = 0; k < IMPORT_OUTCOME_COUNT; k++)
            json_object_set_new(counts, outcome_names[k], json_integer(import->counts[i][k]));
        json_object_set_new(all, names[i], counts);
    }
    return all;
}

/* "bookings: 12 taken, 3 rejected" */
static void remark_counts(const struct import *import)
{
    static const char *const names[IMPORT_KIND_COUNT] = {"machines", "bookings",
                                                         "rows of reserved resources left out"};
    static const char *const words[IMPORT_OUTCOME_COUNT] = {
        "taken", "taken before", "would be sent", "over", "could not be taken", "not decided yet"};
    for (size_t i = 0; i < IMPORT_KIND_COUNT; i++) {
        struct buf text = {0};
        for (size_t k = 0; k < IMPORT_OUTCOME_COUNT; k++) {
            if (import->counts[i][k] > 0) {
                buf_printf(&text, "%s%" PRId64 " %s", text.len > 0 ? ", " : "",
                           import->counts[i][k], words[k]);
            }
        }
        if (text.len > 0 || i != IMPORT_ALLOCATION)
            admin_remark(import->admin, "%s: %s", names[i], text.len > 0 ? text.data : "none");
        buf_fini(&text);
    }
}

static void report(const struct import *import)
{
    static const struct admin_column columns[] = {
        {"kind", "KIND"},       {"ressource", "RESSOURCE"}, {"reservation", "RESERVATION"},
        {"outcome", "OUTCOME"}, {"reason", "REASON"},       {"subject", "IN BERTH"},
        {"request", "REQUEST"}, {"detail", "DETAIL"},       {0}};
    if (import->admin->format == ADMIN_JSON) {
        json_t *object = json_pack("{s:b, s:o, s:O}", "dry_run", import->dry_run, "counts",
                                   counts_json(import), "items", import->items);
        admin_print_object(import->admin, columns, object);
    } else {
        admin_print_rows(import->admin, columns, json_incref(import->items));
    }
    remark_counts(import);
}

static enum err take_options(struct import *import, struct failure *f)
{
    const struct options *opts = import->admin->opts;
    const char *zone = options_value(opts, "zone"), *wait = options_value(opts, "wait");
    const char *format = options_value(opts, "name-format");
    char name[LIMIT_NAME_LEN + 1];
    import->dry_run = options_has(opts, "dry-run");
    import->name_format = format ? format : "gpu-%02d";
    import->wait_ms = WAIT_MS;
    import->zone = zone_find(zone ? zone : "UTC");
    if (!options_value(opts, "from-database"))
        return failure_set(f, ERR_USAGE, "--from-database NAME is missing");
    if (!import->zone) {
        return failure_set(f, ERR_USAGE, "--zone %s: there is no such time zone",
                           zone ? zone : "UTC");
    }
    if (!import_name(import->name_format, 1, name)) {
        return failure_set(
            f, ERR_USAGE, "--name-format '%s': expected one %%d or %%02d between A-Z a-z 0-9 . _ -",
            import->name_format);
    }
    if (wait && cli_time_parse_duration(wait, &import->wait_ms, f) != ERR_OK)
        return failure_wrap(f, "--wait");
    if (import->wait_ms == 0)
        return failure_set(f, ERR_USAGE, "--wait: expected a second or more");
    return ERR_OK;
}

/* Who is no admin would have each machine rejected. */
static enum err check_client(struct import *import, struct failure *f)
{
    MYSQL_RES *rows = NULL;
    enum err err = config_require(import->admin->cfg, "client.name", f);
    if (err != ERR_OK)
        return err;
    import->client_name = config_string(import->admin->cfg, "client.name");
    err = admin_query(import->admin, "look for the client",
                      admin_sql("SELECT role FROM client WHERE name = ?", import->client_name),
                      &rows, f);
    if (err != ERR_OK)
        return err;
    MYSQL_ROW row = mysql_fetch_row(rows);
    if (!row) {
        err = failure_set(f, ERR_NOT_FOUND,
                          "there is no client %s: run `berth-admin client add %s --role admin`",
                          import->client_name, import->client_name);
    } else if (role_from_name(row[0]) != ROLE_ADMIN) {
        err = failure_set(f, ERR_CONFIG,
                          "client %s is no admin, and only an admin registers machines: set "
                          "client.name and client.key_file to one that is",
                          import->client_name);
    }
    mysql_free_result(rows);
    mysql_session_rollback(import->admin->session);
    return err;
}

static enum err open_farm(struct import *import, struct admin_farm *farm, struct failure *f)
{
    const char *name = config_string(import->admin->cfg, "farm.name");
    enum err err = admin_open_database(import->admin, true, f);
    if (err == ERR_OK)
        err = admin_farm_read(import->admin, farm, f);
    if (err == ERR_OK && !farm->name[0])
        err = admin_no_farm(f);
    if (err == ERR_OK && name && strcmp(name, farm->name) != 0) {
        err = failure_set(f, ERR_CONFIG, "farm.name is %s, but the database is that of the farm %s",
                          name, farm->name);
    }
    if (err == ERR_OK)
        err = admin_wait_outside(import->admin, f);
    return err != ERR_OK ? err : check_client(import, f);
}

enum err admin_import(struct admin *admin, struct failure *f)
{
    struct import import = {.admin = admin, .arena = arena_new(), .items = json_array()};
    struct admin_farm farm;
    enum err err = take_options(&import, f);
    if (err == ERR_OK)
        err = open_farm(&import, &farm, f);
    if (err == ERR_OK)
        err = import_read(admin, import.arena, &import.old, f);
    if (err == ERR_OK)
        err = import_open_client(&import, farm.name, f);
    if (err == ERR_OK)
        err = import_send_all(&import, f);
    if (err == ERR_OK)
        report(&import);
    if (count_of(&import, IMPORT_UNKNOWN) > 0) {
        admin->exit_code = EXIT_CODE_NO_DECISION;
    } else if (count_of(&import, IMPORT_REJECTED) > 0) {
        admin->exit_code = EXIT_CODE_REJECTED;
    }
    if (err != ERR_OK && err != ERR_USAGE && json_array_size(import.items) > 0)
        failure_wrap(f, "stopped on the way; run it again, nothing is taken twice");
    berth_close(import.client);
    json_decref(import.items);
    arena_free(import.arena);
    return err;
}
