/* The machine's clocks, as the loop sees them; tests have simulated ones. */
#ifndef BERTH_WORKER_REAL_ENV_H
#define BERTH_WORKER_REAL_ENV_H

#include "worker/worker_settings.h"

extern const struct worker_env real_env;

#endif
