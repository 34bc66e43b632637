/* Asks a running reader whether it answers, for container health checks. */
#ifndef BERTH_READER_HEALTHCHECK_H
#define BERTH_READER_HEALTHCHECK_H

#include "lib/base/err.h"

/* GET /healthz at the address of reader.listen; any status but 200 is ERR_FAILED. */
enum err healthcheck(const char *listen_at, struct failure *f);

#endif
