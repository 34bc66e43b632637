/* The table of configuration keys, for config.c. A new key is a row in config_table.c; then
 * generate docs/configuration.md again (UPDATE_DOCS=1 make unit). */
#ifndef BERTH_LIB_CONFIG_CONFIG_TABLE_H
#define BERTH_LIB_CONFIG_CONFIG_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/config/config.h"

enum config_type { CONFIG_STRING, CONFIG_INT, CONFIG_PATH, CONFIG_TYPE_COUNT };

struct config_key {
    const char *name;
    enum config_type type;
    unsigned programs;    /* enum program bits: programs that take it */
    unsigned required;    /* programs that require it (config_check) */
    const char *fallback; /* the default as text; NULL: not set */
    int64_t min, max;     /* of a CONFIG_INT, both included */
    /* Of a CONFIG_STRING: the check of a value, and the phrase for a valid one; NULL: any. */
    bool (*valid)(const char *value);
    const char *expected;
    const char *doc; /* sentences */
};

extern const struct config_key config_keys[];
extern const size_t config_key_count;

/* NULL: not in the table. */
const struct config_key *config_key_find(const char *name);
/* "BERTH_A_B_C" of "a.b_c"; caller frees. */
char *config_key_environment(const char *name);
/* ERR_CONFIG: the value is not valid, and the failure says what is. */
enum err config_key_check(const struct config_key *key, const char *value, struct failure *f);
/* The number of a valid CONFIG_INT. */
int64_t config_key_number(const char *value);

#endif
