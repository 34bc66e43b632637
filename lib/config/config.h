/* Configuration of all programs: flag > environment > file > default.
 *
 * One const table (config_keys in config_table.c) says each key's type, default, bounds, the
 * programs that take it and a sentence; it drives --help, --print-config, docs/configuration.md and
 * the checks. Files are `key = value`, dotted keys, # comments; key a.b_c is BERTH_A_B_C in the
 * environment. `kafka.*` keys that the table does not know are librdkafka's. A key that is not
 * known is an error that names the nearest known key. `log.level` takes effect as it is set. */
#ifndef BERTH_LIB_CONFIG_CONFIG_H
#define BERTH_LIB_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "lib/base/err.h"

/* Programs, as bits. */
enum program { PROGRAM_BERTH = 1, PROGRAM_ADMIN = 2, PROGRAM_WORKER = 4, PROGRAM_READER = 8 };

struct config;

/* Defaults only. */
struct config *config_new(enum program program);
void config_free(struct config *cfg);
/* Reads the file(s): `path` (from --config) or, when NULL, $BERTH_CONFIG, or the program's usual
 * places if they exist (/etc/berth/berth.conf and conf.d/ *.conf; berth:
 * $XDG_CONFIG_HOME/berth/berth.conf); then the environment. ERR_CONFIG with file, line and what to
 * do. For `berth`, keys under `profile.NAME.` count only when that profile is chosen. */
enum err config_load(struct config *cfg, const char *path, const char *profile, struct failure *f);
/* Sets one key as a flag would (wins over all). `key` may also be "kafka.…". */
enum err config_set(struct config *cfg, const char *key, const char *value, const char *origin,
                    struct failure *f);
/* The same from "KEY=VALUE", the argument of --set. */
enum err config_set_pair(struct config *cfg, const char *pair, struct failure *f);
/* Checks that all required keys of the program are there. For `berth` these are what sending a
 * request takes; its other commands, and berth-admin's, ask for what they need one by one. */
enum err config_check(const struct config *cfg, struct failure *f);
/* ERR_CONFIG, with a sentence that says how to set it, if the key is not set. */
enum err config_require(const struct config *cfg, const char *name, struct failure *f);

/* The key must be in the table, of that type and the program's (asserted). NULL: not set. */
const char *config_string(const struct config *cfg, const char *key);
int64_t config_int(const struct config *cfg, const char *key);
/* Reads the secret in the file that the key names, without a trailing newline; caller frees.
 * *out is NULL when the key is not set. */
enum err config_secret(const struct config *cfg, const char *file_key, char **out,
                       struct failure *f);
/* Calls fn for each librdkafka setting (its key, "kafka.NAME"), kafka.bootstrap.servers among them.
 * Both texts are the configuration's. */
void config_each_kafka(const struct config *cfg,
                       void (*fn)(void *arg, const char *name, const char *value), void *arg);

/* `key = value   # origin` lines of all the program's keys, which are a configuration file
 * themselves. Secrets do not appear: they are in files. */
void config_print(const struct config *cfg, FILE *out);
/* The table as Markdown, for docs/configuration.md (the file is generated and compared in a test).
 */
void config_print_markdown(FILE *out);

#endif
