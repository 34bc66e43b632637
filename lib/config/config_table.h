/* The one table of configuration keys, for config.c. A new setting is a row in config_table.c, and
 * docs/configuration.md made anew (the unit test says how). */
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
    unsigned programs;    /* enum program bits: who takes it */
    unsigned required;    /* which of them cannot do without (config_check) */
    const char *fallback; /* the default as text; NULL: not set */
    int64_t min, max;     /* of a CONFIG_INT, both included */
    /* Of a CONFIG_STRING: whether the value is one, and what one is; NULL: any. */
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
/* NULL: the value suits the key. Else a sentence that says what does; caller frees. */
char *config_key_refuse(const struct config_key *key, const char *value);
/* The value of a CONFIG_INT that was not refused. */
int64_t config_key_number(const char *value);

#endif
