/* What the services' main functions share: options, configuration, signals, exit codes. */
#ifndef BERTH_LIB_CONFIG_SERVICE_H
#define BERTH_LIB_CONFIG_SERVICE_H

#include <stdbool.h>

#include "lib/base/err.h"
#include "lib/config/config.h"
#include "lib/config/options.h"

/* --config, --set, --print-config, --check-config, --version: for command_spec.common. */
extern const struct option_spec service_options[];

struct service {
    const struct command_spec *command; /* its name is the program's */
    enum program program;
    /* Runs until service_stopping(). The configuration is complete, the log level is set. */
    enum err (*run)(const struct config *cfg, const struct options *opts, struct failure *f);
};

/* Returns the exit code: 0 also after SIGTERM or SIGINT, after which the program ends within 2 s even
 * if it waits for a server (stop_soon); 2 when starting again unchanged does not
 * help (usage, configuration, no farm, other schema version, topics not as they should be). */
int service_main(const struct service *service, int argc, char **argv);
/* Whether SIGTERM or SIGINT has arrived. */
bool service_stopping(void);
/* Whether waiting can cure the error: false for those that exit with 2. */
bool service_can_pass(enum err err);

#endif
