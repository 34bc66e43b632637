/* Tokens of any bytes: parsing stays within the buffer, and the parts re-encode to exactly the same
 * token. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "lib/token/jws.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The keys of RFC 7515 A.2 and A.3; the corpus has their tokens. */
static const char rsa_jwk[] =
    "{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_"
    "wWJcyQoTbji9k0l8W26mPddx"
    "HmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wG"
    "zjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxv"
    "b3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWy"
    "uXpoQ\"}";
static const char ec_jwk[] = "{\"kty\":\"EC\",\"crv\":\"P-256\","
                             "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
                             "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}";

static void check(bool holds)
{
    if (!holds)
        abort();
}

static const struct jws_key *key(const char *jwk)
{
    struct jws_key *key = NULL;
    check(jws_key_parse(jwk, strlen(jwk), &key, NULL) == ERR_OK);
    return key;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct jws_key *rsa, *ec;
    if (!rsa) {
        rsa = key(rsa_jwk);
        ec = key(ec_jwk);
    }
    struct jws_parts parts;
    if (jws_split(data, size, &parts))
        return 0;
    check(size <= LIMIT_TOKEN_LEN);
    check((const uint8_t *)parts.signing_input == data);
    check(parts.payload[parts.payload_len] == '\0');
    char *payload = base64url_encode(parts.payload, parts.payload_len);
    char *signature = base64url_encode(parts.signature, parts.signature_len);
    size_t payload_len = strlen(payload);
    size_t signature_len = strlen(signature);
    check(parts.signing_input_len + 1 + signature_len == size);
    check(memcmp(data + parts.signing_input_len + 1, signature, signature_len) == 0);
    check(memcmp(data + parts.signing_input_len - payload_len, payload, payload_len) == 0);
    free(payload);
    free(signature);
    check(!(jws_verify(rsa, &parts) && jws_verify(ec, &parts)));
    jws_parts_fini(&parts);
    return 0;
}
