/* berth-admin: sets a farm up and looks after it. Parses, wires and runs. */
#include "admin/admin.h"
#include "lib/base/print.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/standard.h"
#include "lib/base/version.h"
#include "lib/config/completion.h"
#include "lib/config/service.h"
#include "lib/print/pager.h"

static const struct command_spec program = {
    .name = "berth-admin",
    .operands = "COMMAND [ARGUMENT]...",
    .description = "Sets a farm up and looks after it.",
    .common = service_options,
    .stop_at_operand = true,
};

/* Options may precede or follow the command; those that follow win. */
static enum err configure(struct config *cfg, const struct options *before,
                          const struct options *behind, struct failure *f)
{
    const char *path = options_value(behind, "config");
    if (!path)
        path = options_value(before, "config");
    enum err err = config_load(cfg, path, NULL, f);
    const struct options *both[] = {before, behind};
    for (size_t i = 0; i < 2; i++) {
        for (size_t k = 0; err == ERR_OK && k < both[i]->given_count; k++) {
            if (strcmp(both[i]->given[k].spec->name, "set") == 0)
                err = config_set_pair(cfg, both[i]->given[k].value, f);
        }
    }
    return err;
}

static enum err choose_format(struct admin *admin, struct failure *f)
{
    static const char *const names[ADMIN_FORMAT_COUNT] = {
        [ADMIN_TEXT] = "text", [ADMIN_JSON] = "json", [ADMIN_TSV] = "tsv"};
    const char *name = options_value(admin->opts, "output");
    for (int i = 0; name && i < ADMIN_FORMAT_COUNT; i++) {
        if (strcmp(name, names[i]) == 0)
            admin->format = (enum admin_format)i;
    }
    if (name && strcmp(name, names[admin->format]) != 0)
        return failure_set(f, ERR_USAGE, "-o %s: expected text, json or tsv", name);
    admin->no_headers = options_has(admin->opts, "no-headers");
    admin->quiet = options_has(admin->opts, "quiet");
    return ERR_OK;
}

static enum err run(struct admin *admin, const struct admin_command *command,
                    const struct options *before, struct failure *f)
{
    enum err err = choose_format(admin, f);
    if (err == ERR_OK && admin->opts->operand_count != command->operand_count) {
        err = failure_set(f, ERR_USAGE, "%s wants %s; see %s --help", command->spec.name,
                          command->spec.operands ? command->spec.operands : "no operand",
                          command->spec.name);
    }
    if (err == ERR_OK)
        err = configure(admin->cfg, before, admin->opts, f);
    if (err == ERR_OK)
        err = config_check(admin->cfg, f);
    if (err != ERR_OK)
        return err;
    return command->run(admin, f);
}

/* Options that need no command. */
static enum err about_itself(const struct options *opts, struct admin *admin, struct failure *f)
{
    if (options_has(opts, "version")) {
        print_line(stdout, "berth-admin %s", BERTH_VERSION);
        return ERR_OK;
    }
    if (!options_has(opts, "print-config") && !options_has(opts, "check-config")) {
        admin_help(stderr);
        return failure_set(f, ERR_USAGE, "no command given");
    }
    enum err err = configure(admin->cfg, opts, opts, f);
    if (err == ERR_OK && options_has(opts, "print-config")) {
        config_print(admin->cfg, stdout);
    } else if (err == ERR_OK) {
        err = config_check(admin->cfg, f);
    }
    return err;
}

static enum err dispatch(struct admin *admin, const struct options *before, int argc, char **argv,
                         struct failure *f)
{
    const struct admin_command *command = NULL;
    size_t words = 0;
    enum err err = admin_find(before->operands, before->operand_count, &command, &words, f);
    if (err != ERR_OK)
        return err;
    /* options_parse skips argv[0]: here the command's last word. */
    int first = argc - (int)(before->operand_count - words) - 1;
    struct options opts;
    err = options_parse(&command->spec, argc - first, argv + first, &opts, f);
    if (err != ERR_OK)
        return err;
    admin->opts = &opts;
    if (opts.help) {
        options_help(&command->spec, stdout);
    } else {
        err = run(admin, command, before, f);
    }
    options_fini(&opts);
    admin->opts = NULL;
    return err;
}

int main(int argc, char **argv)
{
    standard_open();
    standard_hide_memory();
    struct failure f = {0};
    struct options before = {0};
    struct admin admin = {.cfg = config_new(PROGRAM_ADMIN)};
    signal(SIGPIPE, SIG_IGN);
    enum err err = ERR_OK;
    bool completes = argc > 1 && strcmp(argv[1], COMPLETION_COMMAND) == 0;
    if (!completes)
        err = options_parse(&program, argc, argv, &before, &f);
    if (completes) {
        admin_complete(&program, (const char *const *)argv + 2, (size_t)argc - 2);
    } else if (err == ERR_OK && before.help) {
        admin_help(stdout);
    } else if (err == ERR_OK && before.operand_count == 0) {
        err = about_itself(&before, &admin, &f);
    } else if (err == ERR_OK) {
        err = dispatch(&admin, &before, argc, argv, &f);
    }
    pager_end();
    /* stdout is data, so a failed write must not end with exit code 0. */
    if (err == ERR_OK)
        err = standard_flush(&f);
    if (err != ERR_OK)
        admin_print_failure(&admin, &f);
    mysql_free_result(admin.found);
    mysql_session_free(admin.session);
    mysql_settings_fini(&admin.settings);
    options_fini(&before);
    config_free(admin.cfg);
    return err != ERR_OK ? (int)err_exit_code(err) : (int)admin.exit_code;
}
