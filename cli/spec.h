/* Operands and values of options: MACHINE[:GPUS[:GIB]], k=v, numbers, booking ids. Pure. */
#ifndef BERTH_CLI_SPEC_H
#define BERTH_CLI_SPEC_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/limits.h"
#include "lib/base/err.h"

/* The amounts wanted on one machine. */
struct cli_share {
    char machine[LIMIT_NAME_LEN + 1];
    bool whole; /* a bare name: the whole machine; amounts are 0 until resolved */
    int64_t gpus, memory_gib;
};

/* Shares on distinct machines. */
struct cli_shares {
    struct cli_share items[LIMIT_ALLOCATIONS];
    size_t count;
};

/* `MACHINE[:GPUS[:GIB]]`. GPUS without GIB takes no memory. ERR_USAGE. */
enum err cli_share_parse(const char *text, struct cli_share *out, struct failure *f);
/* Parses and adds a share. ERR_USAGE, also for a machine given twice and for too many machines. */
enum err cli_shares_add(struct cli_shares *shares, const char *text, struct failure *f);
/* The share of this machine; NULL: none. */
struct cli_share *cli_shares_find(struct cli_shares *shares, const char *machine);
/* Adds the share to `held`, or replaces the share on that machine. ERR_USAGE: too many machines. */
enum err cli_shares_set(struct cli_shares *held, const struct cli_share *share, struct failure *f);
/* Removes the machine from `held`. ERR_NOT_FOUND: it has none. */
enum err cli_shares_drop(struct cli_shares *held, const char *machine, struct failure *f);
/* The shares of an event's JSON array (NULL: empty) as `berth book` takes them:
 * "gpu-01:4:64,gpu-02:8:0"; caller frees. */
char *cli_shares_text(const json_t *shares);

/* A whole number within [min, max]. `what` names it in the message ("--gpus"). ERR_USAGE. */
struct cli_range {
    const char *what;
    int64_t min, max;
};
enum err cli_integer_parse(const char *text, struct cli_range range, int64_t *out,
                           struct failure *f);

/* The same of an option's value that may be missing: -1 when text is NULL. */
enum err cli_amount_parse(const char *text, struct cli_range range, int64_t *out,
                          struct failure *f);
extern const struct cli_range cli_gpus_range, cli_memory_range; /* of --gpus and --mem */

/* A machine's name. ERR_USAGE. */
enum err cli_name_check(const char *text, struct failure *f);
/* The id of a booking or of a series: `kind` is "booking" or "series" and may stand before the
 * number, as in "booking/7". ERR_USAGE. */
enum err cli_id_parse(const char *kind, const char *text, int64_t *out, struct failure *f);

/* Adds `key=value` to an object of labels. ERR_USAGE, also for a key given twice. */
enum err cli_label_add(json_t *labels, const char *text, struct failure *f);

#endif
