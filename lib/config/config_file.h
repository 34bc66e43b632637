/* The syntax of configuration files: `key = value` lines, # comments. For config.c. */
#ifndef BERTH_LIB_CONFIG_CONFIG_FILE_H
#define BERTH_LIB_CONFIG_CONFIG_FILE_H

#include "lib/base/err.h"

/* Gets one setting; the strings live until it returns. An error ends the parse. */
typedef enum err config_file_fn(void *arg, const char *key, const char *value, int line,
                                struct failure *f);
/* Calls fn for each setting in the text, and modifies the text. Failures begin with "NAME:LINE: ".
 * */
enum err config_file_parse(const char *name, char *text, config_file_fn *fn, void *arg,
                           struct failure *f);

#endif
