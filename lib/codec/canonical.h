/* JSON values in one agreed form: no blanks, members sorted by name (bytewise, which is by code
 * point), strings as jsonout_string writes them. It is what jansson writes with JSON_COMPACT and
 * JSON_SORT_KEYS and Python with json.dumps(value, sort_keys=True, separators=(",", ":"),
 * ensure_ascii=False), but without their bookkeeping: for the content hash of every request. */
#ifndef BERTH_LIB_CODEC_CANONICAL_H
#define BERTH_LIB_CODEC_CANONICAL_H

#include <jansson.h>

#include "lib/codec/jsonout.h"

/* The most members of one object that can be written. */
#define CANONICAL_MEMBERS_MAX 64

/* Writes what can occur in a valid request: objects of at most CANONICAL_MEMBERS_MAX members,
 * lists, strings without a NUL, integers, true, false, null (all asserted). */
void canonical_write(struct jsonout *out, const json_t *value);

#endif
