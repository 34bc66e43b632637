#include "lib/config/service.h"
#include "lib/base/print.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/standard.h"
#include "lib/base/stop.h"
#include "lib/base/version.h"

const struct option_spec service_options[] = {
    {"config", 'c', "FILE", "read this configuration file instead of the usual ones"},
    {"set", 0, "KEY=VALUE", "set a configuration key; wins over file and environment"},
    {"print-config", 0, NULL, "print every setting and where it comes from, and exit"},
    {"check-config", 0, NULL, "check the configuration and exit, 0: good, 2: not"},
    {"version", 0, NULL, "print the version and exit"},
    {0},
};

static volatile sig_atomic_t stopping;

static void stop(int signal_number)
{
    (void)signal_number;
    stopping = 1;
    stop_soon(EXIT_CODE_OK);
}

bool service_stopping(void)
{
    return stopping != 0;
}

bool service_can_pass(enum err err)
{
    return err != ERR_CONFIG && err != ERR_USAGE && err != ERR_NOT_FOUND && err != ERR_DB_SCHEMA &&
           err != ERR_LOG_TOPIC && err != ERR_INTERRUPTED;
}

static enum err configure(const struct options *opts, struct config *cfg, struct failure *f)
{
    enum err err = config_load(cfg, options_value(opts, "config"), NULL, f);
    for (size_t i = 0; err == ERR_OK && i < opts->given_count; i++) {
        if (strcmp(opts->given[i].spec->name, "set") == 0)
            err = config_set_pair(cfg, opts->given[i].value, f);
    }
    return err;
}

static enum err configure_and_run(const struct service *service, const struct options *opts,
                                  struct config *cfg, struct failure *f)
{
    enum err err = configure(opts, cfg, f);
    if (err != ERR_OK)
        return err;
    if (options_has(opts, "print-config")) {
        config_print(cfg, stdout);
        return ERR_OK;
    }
    err = config_check(cfg, f);
    if (err != ERR_OK || options_has(opts, "check-config"))
        return err;
    return service->run(cfg, opts, f);
}

int service_main(const struct service *service, int argc, char **argv)
{
    standard_open();
    struct options opts = {0};
    struct failure f;
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);

    enum err err = options_parse(service->command, argc, argv, &opts, &f);
    if (err == ERR_OK && opts.help) {
        options_help(service->command, stdout);
    } else if (err == ERR_OK && options_has(&opts, "version")) {
        print_line(stdout, "%s %s", service->command->name, BERTH_VERSION);
    } else if (err == ERR_OK) {
        struct config *cfg = config_new(service->program);
        err = configure_and_run(service, &opts, cfg, &f);
        config_free(cfg);
    }
    options_fini(&opts);
    if (err == ERR_OK)
        err = standard_flush(&f);
    if (err == ERR_OK || err == ERR_INTERRUPTED)
        return EXIT_CODE_OK;
    print_line(stderr, "%s: %s", service->command->name, f.text);
    return service_can_pass(err) ? EXIT_CODE_FAILURE : EXIT_CODE_USAGE;
}
