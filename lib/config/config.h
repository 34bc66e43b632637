/* Configuration of all programs: flag > environment > file > default.
 *
 * One const table (config_keys in config_table.c) says each key's type, default, bounds, the
 * programs that take it and a sentence; it drives --help, --print-config, docs/configuration.md and
 * the checks. Files are `key = value`, dotted keys, # comments; key a.b_c is BERTH_A_B_C in the
 * environment. `kafka.*` keys that the table does not know are librdkafka's. A key that is not
 * known is an error that names the nearest known key. `log.level` takes effect as it is set. */
#ifndef BERTH_LIB_CONFIG_CONFIG_H
#define BERTH_LIB_CONFIG_CONFIG_H

#include <stdint.h>
#include <stdio.h>

#include "lib/base/err.h"

/* Programs, as bits. */
enum program { PROGRAM_BERTH = 1, PROGRAM_ADMIN = 2, PROGRAM_WORKER = 4, PROGRAM_READER = 8 };

struct config;

/* Holds the defaults. */
struct config *config_new(enum program program);
void config_free(struct config *cfg);
/* Reads the file(s): `path` (from --config) or, when NULL, $BERTH_CONFIG, or the program's usual
 * places if they exist (/etc/berth/berth.conf and conf.d/ *.conf; berth:
 * $XDG_CONFIG_HOME/berth/berth.conf); then the environment. ERR_CONFIG with file, line and what to
 * do. For `berth`, keys under `profile.NAME.` count only when that profile is chosen. */
enum err config_load(struct config *cfg, const char *path, const char *profile, struct failure *f);
/* Calls fn for each profile in berth's configuration file, as config_load finds it: once for each of
 * its keys. */
void config_each_profile(const char *path, void (*fn)(void *arg, const char *name), void *arg);
/* Sets one key with the rank of a flag, the highest. `key` may also be "kafka.…". */
enum err config_set(struct config *cfg, const char *key, const char *value, const char *origin,
                    struct failure *f);
/* The same from "KEY=VALUE", the argument of --set. */
enum err config_set_pair(struct config *cfg, const char *pair, struct failure *f);
/* Checks that all required keys of the program are set. For `berth` these are the keys for sending
 * a request; other commands, and those of berth-admin, use config_require. */
enum err config_check(const struct config *cfg, struct failure *f);
/* ERR_CONFIG if the key is not set; the failure says how to set it. */
enum err config_require(const struct config *cfg, const char *name, struct failure *f);

/* The key's value. Asserts that the table has the key, with that type and for the program. NULL:
 * not set. */
const char *config_string(const struct config *cfg, const char *key);
int64_t config_int(const struct config *cfg, const char *key);
/* Reads the secret in the file that the key names, without a trailing newline; caller frees.
 * *out is NULL when the key is not set. */
enum err config_secret(const struct config *cfg, const char *file_key, char **out,
                       struct failure *f);
/* Calls fn for each setting of librdkafka, kafka.bootstrap.servers included, with its key
 * ("kafka.NAME") and value, both borrowed. */
void config_each_kafka(const struct config *cfg,
                       void (*fn)(void *arg, const char *name, const char *value), void *arg);

/* Prints `key = value   # origin` for all of the program's keys, itself a valid configuration file.
 * Secrets stay in their files. */
void config_print(const struct config *cfg, FILE *out);
/* Prints docs/configuration.md; a test compares it with the file. */
void config_print_markdown(FILE *out);

#endif
