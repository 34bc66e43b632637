/* The health check of a container: asks a running reader for /healthz. */
#ifndef BERTH_READER_HEALTHCHECK_H
#define BERTH_READER_HEALTHCHECK_H

#include "lib/base/err.h"

/* GET /healthz at the address of reader.listen. ERR_CONFIG: the address is malformed. ERR_IO: no
 * connection. ERR_FAILED: the status is not 200. */
enum err healthcheck(const char *listen_at, struct failure *f);

#endif
