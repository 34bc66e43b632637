/* The machine's clocks for the loop; tests use simulated clocks. */
#ifndef BERTH_WORKER_REAL_ENV_H
#define BERTH_WORKER_REAL_ENV_H

#include "worker/worker_settings.h"

extern const struct worker_env real_env;

#endif
