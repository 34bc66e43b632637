/* `berth-admin completion`, and what it completes. */
#include <string.h>

#include "admin/admin.h"
#include "lib/config/completion.h"

static const struct command_spec *command_at(size_t index)
{
    const struct command_spec *spec = &admin_commands[index].spec;
    return spec->name ? spec : NULL;
}

/* The first line of the command's description. */
static const char *summary_of(size_t index)
{
    static char line[128];
    const char *text = admin_commands[index].spec.description;
    snprintf(line, sizeof(line), "%.*s", (int)strcspn(text, "\n"), text);
    return line;
}

/* Offers the values of a query's only column. A database that cannot be asked offers nothing. */
static void offer_column(struct completion *completion, const char *sql)
{
    struct failure f;
    MYSQL_RES *res = NULL;
    MYSQL_ROW row;
    struct admin admin = {.cfg = config_new(PROGRAM_ADMIN)};
    enum err err = config_load(admin.cfg, completion_value(completion, "config"), NULL, &f);
    if (err == ERR_OK)
        err = admin_open_database(&admin, true, &f);
    if (err == ERR_OK)
        err = mysql_session_read(admin.session, "complete", sql, &res, &f);
    while (err == ERR_OK && (row = mysql_fetch_row(res)))
        completion_offer(completion, row[0], NULL);
    mysql_free_result(res);
    mysql_session_free(admin.session);
    mysql_settings_fini(&admin.settings);
    config_free(admin.cfg);
}

static void offer_values(struct completion *completion, const char *kind)
{
    static const char *const queries[][2] = {
        {"CLIENT", "SELECT name FROM client ORDER BY name"},
        {"KID", "SELECT kid FROM client_key WHERE revoked_at_ms IS NULL ORDER BY kid"},
        {"PARTITION", "SELECT part FROM request_partition ORDER BY part"},
    };
    for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++) {
        if (strcmp(kind, queries[i][0]) == 0)
            offer_column(completion, queries[i][1]);
    }
}

void admin_complete(const struct command_spec *outer, const char *const *words, size_t count)
{
    const struct completion_program program = {.name = "berth-admin",
                                               .outer = outer,
                                               .command = command_at,
                                               .summary = summary_of,
                                               .values = offer_values};
    completion_print(&program, words, count);
}

enum err admin_completion(struct admin *admin, struct failure *f)
{
    return completion_print_script("berth-admin", admin_operand(admin, 0), f);
}
