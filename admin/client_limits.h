/* Limits of clients as columns and as JSON. */
#ifndef BERTH_ADMIN_CLIENT_LIMITS_H
#define BERTH_ADMIN_CLIENT_LIMITS_H

#include <jansson.h>

/* How many there are, and their columns in the table that has them under that name. */
#define ADMIN_LIMITS 5
#define ADMIN_LIMIT_COLUMNS(table)                                                                 \
#table ".booking_s, " #table ".ahead_s, " #table ".allocations, " #table                       \
           ".gpus_at_once, " #table ".gpu_hours_ahead"

/* {"gpus_at_once": 16, …}, of those columns: only what is set. */
json_t *admin_json_limits(char **fields);

#endif
