/* The store on MySQL 8 and MariaDB 10.11. */
#ifndef BERTH_DB_MYSQL_STORE_H
#define BERTH_DB_MYSQL_STORE_H

#include "db/store.h"
#include "lib/config/config.h"

/* Reads the db.* keys; does not connect. The caller frees *out with mysql_store_free. */
enum err mysql_store_new(const struct config *cfg, struct store *out, struct failure *f);
void mysql_store_free(struct store *store);

#endif
