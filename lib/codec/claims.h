/* From a token's payload to struct claims: the only way in which a request enters Berth. It says
 * the same as schemas/request-claims.schema.json; schemas/README.md lists the few rules that a
 * JSON Schema cannot express. */
#ifndef BERTH_LIB_CODEC_CLAIMS_H
#define BERTH_LIB_CODEC_CLAIMS_H

#include <stddef.h>
#include <stdint.h>

#include "core/arena.h"
#include "core/decide.h"

/* The highest booking id in JSON, 2^53 - 1 (RFC 8259 §6): all JSON readers keep it exact. An id
 * is (occurrence * 2^32 + seq) * 4096 + partition: decisions and occurrences stay below it as long
 * as a partition has made less than 2^32 of them. */
#define CLAIMS_BOOKING_ID_MAX INT64_C(9007199254740991)
/* How deep lists and objects may be nested in a payload; a request needs 4 levels. */
#define CLAIMS_DEPTH_MAX      32

/* Decodes any bytes; never fails. *out is set completely, its strings live in the arena (the
 * payload may go away).
 *
 * The first fault, in the order iat, exp, nbf, jti, sub, request and then its fields (unknown
 * fields first, then those of the request's type in the order of docs/messages.md), is left in
 * out->pointer (RFC 6901; "" when the payload is not one JSON object; `expected` then says what is wrong with it, and where) with out->expected, a phrase
 * that completes "expected …". What is there and valid is set even then, except out->request and
 * out->content_sha256, which mean something only when out->pointer is NULL.
 *
 * A faulty iss or aud is no fault here: issuer or audience is then NULL (the decision has reasons
 * of its own for them). Other claims are ignored, whatever they hold. */
void claims_decode(const char *payload, size_t len, struct arena *arena, struct claims *out);

#endif
