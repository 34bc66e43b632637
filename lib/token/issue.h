/* Signing keys and issuing tokens, for clients (libberth). */
#ifndef BERTH_LIB_TOKEN_ISSUE_H
#define BERTH_LIB_TOKEN_ISSUE_H

#include "lib/base/err.h"
#include "lib/token/jws.h"

/* A private key that signs. */
struct signing_key;
/* Makes a new key. Gives *out. */
enum err signing_key_generate(enum jws_alg alg, struct signing_key **out, struct failure *f);
/* Reads a private key file, PEM or JWK. Refused (ERR_CONFIG): a file that group or others may read
 * (its mode must be 0600 or 0400), a public key, another kind of key. */
enum err signing_key_read(const char *path, struct signing_key **out, struct failure *f);
void signing_key_free(struct signing_key *key);
/* Its public half; borrowed, lives as long as the key. */
const struct jws_key *signing_key_public(const struct signing_key *key);
/* The private key as PEM (PKCS #8) / JWK; caller frees. */
char *signing_key_pem(const struct signing_key *key);
char *signing_key_jwk(const struct signing_key *key);

/* Signs the claims (one JSON object as text) under header {"alg", "kid", "typ": "JWT"}, by libjwt;
 * *token_out is a compact JWS, caller frees. Every key that is read or made signs its first token
 * in this way. */
enum err issue_token(const struct signing_key *key, const char *kid, const char *claims_json,
                     char **token_out, struct failure *f);
/* The same token, byte for byte (RS256; an ES256 signature is another one each time), by OpenSSL
 * with the key parsed once: what libberth signs with. libjwt parses the PEM for each token, which
 * makes it 15 times slower with ES256 and 4 times with RS256 (tests/bench/bench_token.c). */
enum err issue_token_quick(const struct signing_key *key, const char *kid, const char *claims_json,
                           char **token_out, struct failure *f);

#endif
