/* The farm's row, and both ends of it open. */
#ifndef BERTH_ADMIN_FARM_H
#define BERTH_ADMIN_FARM_H

#include "admin/admin.h"
#include "admin/admin_kafka.h"
#include "core/limits.h"

struct admin_farm {
    char name[LIMIT_FARM_NAME_LEN + 1]; /* "": there is none */
    int32_t partitions;
    char cluster_id[TOPIC_CLUSTER_ID_LEN];
    char halted[2048];
};

enum err admin_farm_read(struct admin *admin, struct admin_farm *out, struct failure *f);
/* Opens the database and Kafka and checks that they belong to each other. *kafka must be zeroed and
 * is to be closed in any case. */
enum err admin_farm_open(struct admin *admin, struct admin_farm *farm, struct admin_kafka *kafka,
                         struct failure *f);

#endif
