/* The canonical form of a JSON value: no blanks, members sorted by name (bytewise, which is by code
 * point), strings as jsonout_string writes them. The content hash of each request is made of it.
 *
 * jansson writes the same bytes with JSON_COMPACT and JSON_SORT_KEYS, and a test compares the two, but
 * needs 1.5 us more for a request (2.6 us instead of 1.1: tests/bench/bench_codec.c), 4 % of a
 * decision. Python: json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False). */
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
