/* The small words of the command line: MACHINE[:GPUS[:GIB]], k=v, numbers, booking ids. */
#ifndef BERTH_PRODUCER_CLI_SPEC_H
#define BERTH_PRODUCER_CLI_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/limits.h"
#include "lib/err.h"

/* What is asked of one machine. */
struct cli_share {
    char machine[LIMIT_NAME_LEN + 1];
    bool whole; /* a bare name: all that the machine has; the amounts are 0 until asked */
    int64_t gpus, memory_gib;
};

/* `MACHINE[:GPUS[:GIB]]`. GPUS without GIB takes no memory. ERR_USAGE. */
enum err cli_share_parse(const char *text, struct cli_share *out, struct failure *f);

/* A whole number within [min, max]. `what` names it in the message ("--gpus"). ERR_USAGE. */
struct cli_range {
    const char *what;
    int64_t min, max;
};
enum err cli_integer_parse(const char *text, struct cli_range range, int64_t *out,
                           struct failure *f);

/* A machine's name. ERR_USAGE. */
enum err cli_name_check(const char *text, struct failure *f);
/* A booking's id. ERR_USAGE. */
enum err cli_booking_parse(const char *text, int64_t *out, struct failure *f);

/* `key=value`; *key_len is the key's length, the value is behind the '='. ERR_USAGE. */
enum err cli_label_parse(const char *text, size_t *key_len, struct failure *f);

#endif
