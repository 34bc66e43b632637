#include "lib/token/jws.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <openssl/bn.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

#include "core/limits.h"
#include "lib/base/mem.h"
#include "lib/token/pkey.h"

/* RFC 7518 §3.4: r and s of P-256, 32 bytes each. */
#define ES256_LEN 64

struct jws_key {
    EVP_PKEY *pkey;
    enum jws_alg alg;
    /* Setting up a verification costs as much as an RSA verification itself; a prepared context
     * is copied instead. */
    EVP_MD_CTX *prepared;
    EVP_MD_CTX *working;
};

static const char *const alg_names[JWS_ALG_COUNT] = {[JWS_RS256] = "RS256", [JWS_ES256] = "ES256"};

const char *jws_alg_name(enum jws_alg alg)
{
    assert(alg < JWS_ALG_COUNT);
    return alg_names[alg];
}

enum jws_alg jws_alg_from_name(const char *name)
{
    for (size_t i = 0; i < JWS_ALG_COUNT; i++) {
        if (strcmp(name, alg_names[i]) == 0)
            return (enum jws_alg)i;
    }
    return JWS_ALG_COUNT;
}

/* --- base64url, SHA-256 --- */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* A character's six bits plus 1; 0 for all that are not in the alphabet. */
static const unsigned char six_bits[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
    ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['-'] = 63, ['_'] = 64,
};

bool base64url_decode(const char *text, size_t len, unsigned char *out, size_t *out_len)
{
    if (len % 4 == 1)
        return false;
    uint32_t bits = 0;
    size_t written = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char value = six_bits[(unsigned char)text[i]];
        if (value == 0)
            return false;
        bits = (bits << 6 | (value - 1u)) & 0xffffff;
        /* The second, third and fourth character of each group complete a byte. */
        unsigned left = 6 - 2 * (unsigned)(i % 4);
        if (i % 4 != 0)
            out[written++] = (unsigned char)(bits >> left);
    }
    /* The unused bits of the last character must be zero: otherwise one value has several
     * spellings. */
    unsigned unused = len % 4 == 2 ? 15 : len % 4 == 3 ? 3 : 0;
    if (bits & unused)
        return false;
    *out_len = written;
    return true;
}

char *base64url_encode(const void *bytes, size_t len)
{
    const unsigned char *in = bytes;
    assert(len < SIZE_MAX / 4);
    char *text = xmalloc(len * 4 / 3 + 3);
    size_t written = 0;
    uint32_t bits = 0;
    unsigned held = 0;
    for (size_t i = 0; i < len; i++) {
        bits = (bits << 8 | in[i]) & 0xffffff;
        for (held += 8; held >= 6; held -= 6)
            text[written++] = alphabet[bits >> (held - 6) & 63];
    }
    if (held > 0)
        text[written++] = alphabet[bits << (6 - held) & 63];
    text[written] = '\0';
    return text;
}

void sha256(const void *bytes, size_t len, uint8_t out[32])
{
    SHA256(bytes, len, out);
}

/* --- keys --- */

/* Takes pkey. */
static struct jws_key *key_new(EVP_PKEY *pkey)
{
    struct jws_key *key = xcalloc(1, sizeof(*key));
    key->pkey = pkey;
    key->alg = pkey_alg(pkey);
    key->prepared = EVP_MD_CTX_new();
    key->working = EVP_MD_CTX_new();
    assert(key->prepared);
    assert(key->working);
    /* RSA's padding is PKCS #1 v1.5 unless told otherwise. */
    int ready = EVP_DigestVerifyInit(key->prepared, NULL, EVP_sha256(), NULL, pkey);
    assert(ready == 1);
    return key;
}

enum err jws_key_parse(const char *text, size_t len, struct jws_key **out, struct failure *f)
{
    EVP_PKEY *pkey;
    enum err err = pkey_parse(text, len, false, &pkey, f);
    if (err == ERR_OK)
        *out = key_new(pkey);
    return err;
}

void jws_key_free(struct jws_key *key)
{
    if (!key)
        return;
    EVP_MD_CTX_free(key->working);
    EVP_MD_CTX_free(key->prepared);
    EVP_PKEY_free(key->pkey);
    free(key);
}

enum jws_alg jws_key_alg(const struct jws_key *key)
{
    return key->alg;
}

char *jws_key_pem(const struct jws_key *key)
{
    return pkey_pem(key->pkey, false);
}

char *jws_key_jwk(const struct jws_key *key)
{
    return pkey_jwk(key->pkey, false);
}

void jws_key_thumbprint(const struct jws_key *key, char out[44])
{
    pkey_thumbprint(key->pkey, out);
}

/* --- tokens --- */

static const char *parse_header(struct jws_parts *parts, const char *text, size_t len)
{
    json_t *header = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(header)) {
        json_decref(header);
        return "the header is not one JSON object";
    }
    parts->header = header;
    /* Each of these would let the sender choose the key or change what is signed. */
    static const struct {
        const char *name, *sentence;
    } refused[] = {
        {"crit", "the header has \"crit\", and no extension is understood"},
        {"jku", "the header has \"jku\": keys are registered, not sent along"},
        {"jwk", "the header has \"jwk\": keys are registered, not sent along"},
        {"x5u", "the header has \"x5u\": keys are registered, not sent along"},
        {"x5c", "the header has \"x5c\": keys are registered, not sent along"},
        {"b64", "the header has \"b64\", and payloads are always encoded"},
    };
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        if (json_object_get(header, refused[i].name))
            return refused[i].sentence;
    }
    parts->alg = json_string_value(json_object_get(header, "alg"));
    parts->kid = json_string_value(json_object_get(header, "kid"));
    return NULL;
}

/* Decodes one part into new memory with a NUL behind. NULL: not base64url. */
static void *decode_part(const char *text, size_t len, size_t *out_len)
{
    unsigned char *bytes = xmalloc(3 * len / 4 + 3);
    if (!base64url_decode(text, len, bytes, out_len)) {
        free(bytes);
        return NULL;
    }
    bytes[*out_len] = '\0';
    return bytes;
}

/* Finds the token's two dots. */
static const char *find_dots(const char *token, size_t len, const char *dots[2])
{
    if (len == 0)
        return "the message is empty";
    if (len > LIMIT_TOKEN_LEN)
        return "the message is longer than 16384 bytes";
    _Static_assert(LIMIT_TOKEN_LEN == 16384, "the sentence above");
    const char *end = token + len;
    dots[0] = memchr(token, '.', len);
    dots[1] = dots[0] ? memchr(dots[0] + 1, '.', (size_t)(end - dots[0] - 1)) : NULL;
    if (!dots[1] || memchr(dots[1] + 1, '.', (size_t)(end - dots[1] - 1)))
        return "the message is not a compact JWS: three parts with dots between them";
    if (dots[0] == token || dots[1] == dots[0] + 1 || dots[1] + 1 == end)
        return "a part of the message is empty";
    return NULL;
}

const char *jws_split(const void *token, size_t len, struct jws_parts *out)
{
    const char *text = token, *dots[2], *wrong = find_dots(text, len, dots);
    if (wrong)
        return wrong;
    size_t first = (size_t)(dots[0] - text), second = (size_t)(dots[1] - text), header_len;
    struct jws_parts parts = {.signing_input = text, .signing_input_len = second};
    char *header = decode_part(text, first, &header_len);
    parts.payload = decode_part(dots[0] + 1, second - first - 1, &parts.payload_len);
    parts.signature = decode_part(dots[1] + 1, len - second - 1, &parts.signature_len);
    if (!header) {
        wrong = "the header is not base64url without padding";
    } else if (!parts.payload) {
        wrong = "the payload is not base64url without padding";
    } else if (!parts.signature) {
        wrong = "the signature is not base64url without padding";
    } else {
        wrong = parse_header(&parts, header, header_len);
    }
    free(header);
    if (wrong) {
        jws_parts_fini(&parts);
    } else {
        *out = parts;
    }
    return wrong;
}

void jws_parts_fini(struct jws_parts *parts)
{
    json_decref(parts->header);
    free(parts->payload);
    free(parts->signature);
    *parts = (struct jws_parts){0};
}

/* r||s as the DER that OpenSSL takes; returns its length, at most 72. */
static size_t ecdsa_der(const unsigned char raw[ES256_LEN], unsigned char der[80])
{
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(raw, ES256_LEN / 2, NULL);
    BIGNUM *s = BN_bin2bn(raw + ES256_LEN / 2, ES256_LEN / 2, NULL);
    assert(sig);
    assert(r);
    assert(s);
    ECDSA_SIG_set0(sig, r, s);
    int len = i2d_ECDSA_SIG(sig, &der);
    assert(len > 0 && len <= 72);
    ECDSA_SIG_free(sig);
    return (size_t)len;
}

bool jws_verify(const struct jws_key *key, const struct jws_parts *parts)
{
    const unsigned char *signature = parts->signature;
    size_t signature_len = parts->signature_len;
    unsigned char der[80];
    if (key->alg == JWS_ES256) {
        if (signature_len != ES256_LEN)
            return false;
        signature_len = ecdsa_der(signature, der);
        signature = der;
    }
    int copied = EVP_MD_CTX_copy_ex(key->working, key->prepared);
    assert(copied == 1);
    int verified = EVP_DigestVerify(key->working, signature, signature_len,
                                    (const unsigned char *)parts->signing_input,
                                    parts->signing_input_len);
    /* A bad signature leaves errors in the thread's queue, which the next TLS call, of another
     * library, would take for its own. */
    if (verified != 1)
        ERR_clear_error();
    return verified == 1;
}
