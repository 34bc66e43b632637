#include "cli/spec.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/request.h"
#include "lib/base/mem.h"
#include "lib/codec/claims.h"
#include "lib/codec/member.h"

enum err cli_integer_parse(const char *text, struct cli_range range, int64_t *out,
                           struct failure *f)
{
    size_t digits = strspn(text, "0123456789");
    bool whole = digits > 0 && text[digits] == '\0' && digits <= 18;
    int64_t value = whole ? strtoll(text, NULL, 10) : -1;
    if (!whole || value < range.min || value > range.max) {
        return failure_set(f, ERR_USAGE,
                           "%s '%.60s': expected a whole number %" PRId64 "..%" PRId64, range.what,
                           text, range.min, range.max);
    }
    *out = value;
    return ERR_OK;
}

const struct cli_range cli_gpus_range = {"--gpus", 0, LIMIT_GPUS};
const struct cli_range cli_memory_range = {"--mem, in GiB,", 0, LIMIT_MEMORY_GIB};

enum err cli_amount_parse(const char *text, struct cli_range range, int64_t *out, struct failure *f)
{
    *out = -1;
    return text ? cli_integer_parse(text, range, out, f) : ERR_OK;
}

enum err cli_name_check(const char *text, struct failure *f)
{
    if (!name_is_valid(text, LIMIT_NAME_LEN, NULL)) {
        return failure_set(f, ERR_USAGE,
                           "'%.100s' is not a machine's name: 1..%d of A-Z a-z 0-9 . _ -", text,
                           LIMIT_NAME_LEN);
    }
    return ERR_OK;
}

enum err cli_id_parse(const char *kind, const char *text, int64_t *out, struct failure *f)
{
    struct cli_range range = {kind, 1, CLAIMS_BOOKING_ID_MAX};
    size_t len = strlen(kind);
    if (strncmp(text, kind, len) == 0 && text[len] == '/')
        text += len + 1;
    return cli_integer_parse(text, range, out, f);
}

enum err cli_share_parse(const char *text, struct cli_share *out, struct failure *f)
{
    struct cli_share share = {.whole = true};
    const char *colon = strchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : strlen(text);
    if (len > LIMIT_NAME_LEN) {
        return failure_set(f, ERR_USAGE, "'%.100s': a machine's name has at most %d characters",
                           text, LIMIT_NAME_LEN);
    }
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
    if (len >= sizeof(gpus))
        return failure_set(f, ERR_USAGE, "'%.100s': expected MACHINE[:GPUS[:GIB]]", text);
    memcpy(gpus, colon + 1, len);
    share.whole = false;
    err = cli_integer_parse(gpus, (struct cli_range){"GPUs", 0, LIMIT_GPUS}, &share.gpus, f);
    if (err == ERR_OK && second) {
        err = cli_integer_parse(second + 1, (struct cli_range){"GiB", 0, LIMIT_MEMORY_GIB},
                                &share.memory_gib, f);
    }
    if (err != ERR_OK)
        return failure_wrap(f, "'%.100s'", text);
    if (share.gpus == 0 && share.memory_gib == 0)
        return failure_set(f, ERR_USAGE, "'%.100s' asks for nothing of the machine", text);
    *out = share;
    return ERR_OK;
}

struct cli_share *cli_shares_find(struct cli_shares *shares, const char *machine)
{
    for (size_t i = 0; i < shares->count; i++) {
        if (strcmp(shares->items[i].machine, machine) == 0)
            return &shares->items[i];
    }
    return NULL;
}

enum err cli_shares_set(struct cli_shares *held, const struct cli_share *share, struct failure *f)
{
    struct cli_share *place = cli_shares_find(held, share->machine);
    if (!place && held->count == LIMIT_ALLOCATIONS)
        return failure_set(f, ERR_USAGE, "a booking has at most %d machines", LIMIT_ALLOCATIONS);
    if (!place)
        place = &held->items[held->count++];
    *place = *share;
    return ERR_OK;
}

enum err cli_shares_add(struct cli_shares *shares, const char *text, struct failure *f)
{
    struct cli_share share;
    enum err err = cli_share_parse(text, &share, f);
    if (err == ERR_OK && cli_shares_find(shares, share.machine))
        err = failure_set(f, ERR_USAGE, "machine %s is given twice", share.machine);
    return err == ERR_OK ? cli_shares_set(shares, &share, f) : err;
}

enum err cli_shares_drop(struct cli_shares *held, const char *machine, struct failure *f)
{
    struct cli_share *place = cli_shares_find(held, machine);
    if (!place)
        return failure_set(f, ERR_NOT_FOUND, "the booking holds nothing of %.100s", machine);
    size_t behind = held->count - 1 - (size_t)(place - held->items);
    memmove(place, place + 1, behind * sizeof(*place));
    held->count--;
    return ERR_OK;
}

char *cli_shares_text(const json_t *shares)
{
    struct buf text = {0};
    size_t i;
    const json_t *share;
    buf_puts(&text, "");
    json_array_foreach(shares, i, share)
    {
        buf_printf(&text, "%s%s:%" PRId64 ":%" PRId64, i > 0 ? "," : "",
                   member_shown(share, "machine"), member_number(share, "gpus"),
                   member_number(share, "memory_gib"));
    }
    return text.data;
}

enum err cli_label_add(json_t *labels, const char *text, struct failure *f)
{
    const char *equals = strchr(text, '=');
    if (!equals || equals == text)
        return failure_set(f, ERR_USAGE, "label '%.100s': expected KEY=VALUE", text);
    char key[LIMIT_LABEL_KEY_LEN + 1];
    size_t len = (size_t)(equals - text);
    if (len >= sizeof(key)) {
        return failure_set(f, ERR_USAGE, "label '%.100s': a key has at most %d characters", text,
                           LIMIT_LABEL_KEY_LEN);
    }
    memcpy(key, text, len);
    key[len] = '\0';
    if (json_object_get(labels, key))
        return failure_set(f, ERR_USAGE, "label '%s' is given twice", key);
    if (json_object_set_new(labels, key, json_string(equals + 1)) != 0)
        return failure_set(f, ERR_USAGE, "label '%.100s' is not UTF-8", text);
    return ERR_OK;
}
