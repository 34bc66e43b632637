/* OpenSSL's keys from and to PEM and JWK, for jws.c and issue.c. Only what Berth signs with passes:
 * RSA of 2048 to 8192 bits, and P-256. */
#ifndef BERTH_LIB_TOKEN_PKEY_H
#define BERTH_LIB_TOKEN_PKEY_H

#include <stdbool.h>
#include <stddef.h>

#include <openssl/evp.h>

#include "lib/base/err.h"
#include "lib/token/jws.h"

/* From a PEM: a SubjectPublicKeyInfo, or with `private` a PKCS #8 or traditional private key without
 * passphrase; or from a JWK if the first non-blank byte is '{', which must have all private members
 * if `private` is set (otherwise they are ignored). Gives *out; ERR_CONFIG says what is wrong with
 * the text. */
enum err pkey_parse(const char *text, size_t len, bool private, EVP_PKEY **out, struct failure *f);

enum jws_alg pkey_alg(const EVP_PKEY *pkey);
/* Caller frees. */
char *pkey_pem(const EVP_PKEY *pkey, bool private);
/* One line with "alg", "use" and the thumbprint as "kid"; caller frees. */
char *pkey_jwk(const EVP_PKEY *pkey, bool private);
void pkey_thumbprint(const EVP_PKEY *pkey, char out[44]);

#endif
