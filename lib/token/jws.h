/* Compact JWS (RFC 7515) with RS256 or ES256 (RFC 7518): taking tokens apart, verifying them with
 * keys that were parsed once, and naming keys (RFC 7638).
 *
 * Decoding is strict and by the letter of docs/messages.md, since each fault is a reason of its
 * own; a general JWT library reports one error for all of them, so it is used where Berth issues
 * tokens (lib/token/issue.h), not here. */
#ifndef BERTH_LIB_TOKEN_JWS_H
#define BERTH_LIB_TOKEN_JWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

enum jws_alg { JWS_RS256, JWS_ES256, JWS_ALG_COUNT };
const char *jws_alg_name(enum jws_alg alg);       /* "RS256" */
enum jws_alg jws_alg_from_name(const char *name); /* JWS_ALG_COUNT: unknown */

/* A parsed public key. Opaque; made once, used for many tokens by one thread. */
struct jws_key;
/* From a PEM public key (SubjectPublicKeyInfo), or from a JWK (RFC 7517; a private JWK gives its
 * public half) if the first non-blank byte is '{'. The algorithm follows from the key: RSA of 2048
 * to 8192 bits is RS256, P-256 is ES256, others are refused (ERR_CONFIG, says why). Gives *out. */
enum err jws_key_parse(const char *text, size_t len, struct jws_key **out, struct failure *f);
void jws_key_free(struct jws_key *key);
enum jws_alg jws_key_alg(const struct jws_key *key);
/* The key as PEM / public JWK; caller frees. */
char *jws_key_pem(const struct jws_key *key);
char *jws_key_jwk(const struct jws_key *key);
/* RFC 7638 SHA-256 thumbprint, base64url, 43 characters and a NUL. */
void jws_key_thumbprint(const struct jws_key *key, char out[44]);

/* A token taken apart. All pointers are into memory that jws_parts owns, or into the token. */
struct json_t;
struct jws_parts {
    struct json_t *header;     /* a JSON object; owned */
    const char *alg;           /* header's alg if a string, else NULL */
    const char *kid;           /* header's kid if a string, else NULL */
    const char *signing_input; /* into the token: header.payload */
    size_t signing_input_len;
    char *payload; /* decoded bytes with a NUL behind; owned */
    size_t payload_len;
    unsigned char *signature; /* owned */
    size_t signature_len;
};
/* Takes a token of any bytes apart. NULL: done, *out is to be given to jws_parts_fini. Else a
 * static sentence for a person that says what is malformed; nothing to free. Malformed: longer
 * than LIMIT_TOKEN_LEN, not three non-empty parts of base64url without padding and with zero
 * trailing bits, header not one JSON object (duplicate members refused), or with one of
 * crit jku jwk x5u x5c b64. */
const char *jws_split(const void *token, size_t len, struct jws_parts *out);
void jws_parts_fini(struct jws_parts *parts);
/* Whether the signature is the key's over the signing input. ES256 signatures are 64 bytes r||s. */
bool jws_verify(const struct jws_key *key, const struct jws_parts *parts);

/* base64url without padding (RFC 4648 §5). Decode is strict: false for any other character, a
 * length of 1 mod 4, or non-zero trailing bits. out holds 3 * len / 4 + 3 bytes. */
bool base64url_decode(const char *text, size_t len, unsigned char *out, size_t *out_len);
/* Caller frees. */
char *base64url_encode(const void *bytes, size_t len);

void sha256(const void *bytes, size_t len, uint8_t out[32]);

#endif
