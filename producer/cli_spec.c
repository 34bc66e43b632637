#include "producer/cli_spec.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/request.h"
#include "schemas/claims.h"

enum err cli_integer_parse(const char *text, struct cli_range range, int64_t *out,
                           struct failure *f)
{
    size_t digits = strspn(text, "0123456789");
    bool whole = digits > 0 && text[digits] == '\0' && digits <= 18;
    int64_t value = whole ? strtoll(text, NULL, 10) : -1;
    if (!whole || value < range.min || value > range.max)
        return failure_set(f, ERR_USAGE,
                           "%s '%.60s': a whole number %" PRId64 "..%" PRId64 " is expected",
                           range.what, text, range.min, range.max);
    *out = value;
    return ERR_OK;
}

enum err cli_name_check(const char *text, struct failure *f)
{
    if (!name_is_valid(text, LIMIT_NAME_LEN, NULL))
        return failure_set(f, ERR_USAGE,
                           "'%.100s' is not a machine's name: 1..%d of A-Z a-z 0-9 . _ -", text,
                           LIMIT_NAME_LEN);
    return ERR_OK;
}

enum err cli_booking_parse(const char *text, int64_t *out, struct failure *f)
{
    struct cli_range range = {"booking", 1, CLAIMS_BOOKING_ID_MAX};
    if (strncmp(text, "booking/", 8) == 0)
        text += 8;
    return cli_integer_parse(text, range, out, f);
}

enum err cli_share_parse(const char *text, struct cli_share *out, struct failure *f)
{
    struct cli_share share = {.whole = true};
    const char *colon = strchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : strlen(text);
    if (len > LIMIT_NAME_LEN)
        return failure_set(f, ERR_USAGE, "'%.100s': a machine's name has at most %d characters",
                           text, LIMIT_NAME_LEN);
    memcpy(share.machine, text, len);
    share.machine[len] = '\0';
    enum err err = cli_name_check(share.machine, f);
    if (err != ERR_OK || !colon) {
        if (err == ERR_OK)
            *out = share;
        return err;
    }

    char gpus[24] = "";
    const char *second = strchr(colon + 1, ':');
    len = second ? (size_t)(second - colon - 1) : strlen(colon + 1);
    if (len >= sizeof gpus)
        return failure_set(f, ERR_USAGE, "'%.100s': MACHINE[:GPUS[:GIB]] is expected", text);
    memcpy(gpus, colon + 1, len);
    share.whole = false;
    err = cli_integer_parse(gpus, (struct cli_range){"GPUs", 0, LIMIT_GPUS}, &share.gpus, f);
    if (err == ERR_OK && second)
        err = cli_integer_parse(second + 1, (struct cli_range){"GiB", 0, LIMIT_MEMORY_GIB},
                                &share.memory_gib, f);
    if (err != ERR_OK)
        return failure_wrap(f, "'%.100s'", text);
    if (share.gpus == 0 && share.memory_gib == 0)
        return failure_set(f, ERR_USAGE, "'%.100s' asks for nothing of the machine", text);
    *out = share;
    return ERR_OK;
}

enum err cli_label_parse(const char *text, size_t *key_len, struct failure *f)
{
    const char *equals = strchr(text, '=');
    if (!equals || equals == text)
        return failure_set(f, ERR_USAGE, "label '%.100s': KEY=VALUE is expected", text);
    *key_len = (size_t)(equals - text);
    return ERR_OK;
}
