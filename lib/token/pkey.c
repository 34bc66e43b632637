#include "lib/token/pkey.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "lib/base/mem.h"

#define RSA_BITS_MIN     2048
#define RSA_BITS_MAX     8192
#define RSA_EXPONENT_MIN 65537
#define P256_LEN         32
/* An RSA number of a JWK is never longer. */
#define NUMBER_LEN       (RSA_BITS_MAX / 8)

struct member {
    const char *name;  /* in the JWK */
    const char *param; /* in OpenSSL */
};

/* RFC 7518 §6.3; the public members first. */
#define RSA_PUBLIC_MEMBERS 2
static const struct member rsa_members[] = {
    {"n", OSSL_PKEY_PARAM_RSA_N},          {"e", OSSL_PKEY_PARAM_RSA_E},
    {"d", OSSL_PKEY_PARAM_RSA_D},          {"p", OSSL_PKEY_PARAM_RSA_FACTOR1},
    {"q", OSSL_PKEY_PARAM_RSA_FACTOR2},    {"dp", OSSL_PKEY_PARAM_RSA_EXPONENT1},
    {"dq", OSSL_PKEY_PARAM_RSA_EXPONENT2}, {"qi", OSSL_PKEY_PARAM_RSA_COEFFICIENT1},
};
#define RSA_MEMBERS (sizeof(rsa_members) / sizeof(rsa_members[0]))

/* --- which keys pass --- */

/* Whether the modulus has the form of the keys that a faulty library made: its primes are
 * k * M + 65537^a mod M, where M is the product of the first primes (Nemec et al., "The Return of
 * Coppersmith's Attack", 2017). So modulo each of these primes it is a power of 65537, which a
 * random modulus is for all of them once in 2^27. */
static bool is_roca(const BIGNUM *n)
{
    for (BN_ULONG p = 3; p <= 167; p += 2) {
        bool prime = true;
        for (BN_ULONG i = 3; i * i <= p; i += 2)
            prime = prime && p % i != 0;
        BN_ULONG rest = BN_mod_word(n, p), power = 1;
        do {
            power = power * (RSA_EXPONENT_MIN % p) % p;
        } while (power != rest && power != 1);
        if (prime && power != rest)
            return false;
    }
    return true;
}

static enum err check_rsa(const EVP_PKEY *pkey, struct failure *f)
{
    int bits = EVP_PKEY_get_bits(pkey);
    if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX) {
        return failure_set(f, ERR_CONFIG, "an RSA key of %d bits: %d to %d are allowed", bits,
                           RSA_BITS_MIN, RSA_BITS_MAX);
    }
    BIGNUM *n = NULL;
    BIGNUM *e = NULL;
    const char *wrong = NULL;
    if (EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_N, &n) != 1 ||
        EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_E, &e) != 1) {
        wrong = "an RSA key without modulus or exponent";
    } else if (!BN_is_odd(n)) {
        wrong = "an RSA key whose modulus is even: anybody can find its factors";
    } else if (!BN_is_odd(e) || BN_get_word(e) < RSA_EXPONENT_MIN) {
        wrong = "an RSA key whose exponent is even or below 65537 (FIPS 186-5): make a new one";
    } else if (BN_num_bits(e) > 64) {
        wrong = "an RSA key whose exponent has more than 64 bits: verifying is slow";
    } else if (is_roca(n)) {
        wrong = "an RSA key of the weak kind of CVE-2017-15361 (ROCA): its private key can be "
                "computed; make a new one with other software";
    }
    BN_free(n);
    BN_free(e);
    return wrong ? failure_set(f, ERR_CONFIG, "%s", wrong) : ERR_OK;
}

static enum err check_kind(const EVP_PKEY *pkey, struct failure *f)
{
    if (EVP_PKEY_is_a(pkey, "RSA"))
        return check_rsa(pkey, f);
    char group[64] = "";
    if (EVP_PKEY_is_a(pkey, "EC"))
        EVP_PKEY_get_group_name(pkey, group, sizeof(group), NULL);
    if (strcmp(group, "prime256v1") == 0)
        return ERR_OK;
    const char *type = EVP_PKEY_get0_type_name(pkey);
    return failure_set(f, ERR_CONFIG,
                       "a key of type %s %s: only RSA (RS256) and P-256 (ES256) are allowed",
                       type ? type : "unknown", group);
}

enum jws_alg pkey_alg(const EVP_PKEY *pkey)
{
    return EVP_PKEY_is_a(pkey, "RSA") ? JWS_RS256 : JWS_ES256;
}

/* --- PEM --- */

static const char is_private[] =
    "this is a private key, which must not leave its owner: give the public key";
static const char is_public[] = "this is a public key: signing takes the private one";

/* Keys with a passphrase are refused: a service cannot ask for one. */
static int no_passphrase(char *buf, int size, int writing, void *arg)
{
    (void)buf;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

static const char *why_not_public(const char *name)
{
    if (strstr(name, "PRIVATE KEY"))
        return is_private;
    if (strcmp(name, "RSA PUBLIC KEY") == 0)
        return "a PKCS #1 public key: convert it with `openssl rsa -RSAPublicKey_in -pubout`";
    if (strstr(name, "CERTIFICATE"))
        return "a certificate: take its key with `openssl x509 -pubkey -noout`";
    return "not a PEM public key (-----BEGIN PUBLIC KEY-----)";
}

static enum err read_public(BIO *bio, EVP_PKEY **out, struct failure *f)
{
    char *name = NULL;
    char *header = NULL;
    unsigned char *der = NULL;
    long der_len = 0;
    if (PEM_read_bio(bio, &name, &header, &der, &der_len) != 1)
        return failure_set(f, ERR_CONFIG, "neither a PEM public key nor a JWK");
    enum err err = ERR_OK;
    const unsigned char *end = der;
    if (strcmp(name, "PUBLIC KEY") != 0) {
        err = failure_set(f, ERR_CONFIG, "%s", why_not_public(name));
    } else if (!(*out = d2i_PUBKEY(NULL, &end, der_len)) || end != der + der_len) {
        err = failure_set(f, ERR_CONFIG, "a damaged public key, or one of an unknown kind");
    }
    OPENSSL_clear_free(der, (size_t)der_len);
    OPENSSL_free(header);
    OPENSSL_free(name);
    return err;
}

static enum err read_private(BIO *bio, const char *pem, EVP_PKEY **out, struct failure *f)
{
    *out = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    if (*out)
        return ERR_OK;
    if (strstr(pem, "ENCRYPTED")) {
        return failure_set(f, ERR_CONFIG,
                           "the key has a passphrase: remove it with `openssl pkey`, and guard the "
                           "file by its mode");
    }
    if (strstr(pem, "PUBLIC KEY-----"))
        return failure_set(f, ERR_CONFIG, "%s", is_public);
    if (strstr(pem, "CERTIFICATE-----")) {
        return failure_set(f, ERR_CONFIG,
                           "this is a certificate, which is public: signing takes its private key");
    }
    return failure_set(f, ERR_CONFIG, "neither a PEM private key nor a JWK");
}

static enum err pkey_from_pem(const char *pem, size_t len, bool private, EVP_PKEY **out,
                              struct failure *f)
{
    char *text = xstrndup(pem, len);
    BIO *bio = BIO_new_mem_buf(text, (int)strlen(text));
    assert(bio);
    enum err err = private ? read_private(bio, text, out, f) : read_public(bio, out, f);
    BIO_free(bio);
    OPENSSL_cleanse(text, strlen(text));
    free(text);
    return err;
}

char *pkey_pem(const EVP_PKEY *pkey, bool private)
{
    BIO *bio = BIO_new(BIO_s_mem());
    assert(bio);
    int done = private ? PEM_write_bio_PKCS8PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL)
                       : PEM_write_bio_PUBKEY(bio, pkey);
    assert(done == 1);
    char *bytes = NULL;
    long len = BIO_get_mem_data(bio, &bytes);
    assert(len > 0);
    char *pem = xstrndup(bytes, (size_t)len);
    OPENSSL_cleanse(bytes, (size_t)len);
    BIO_free(bio);
    return pem;
}

/* --- JWK (RFC 7517, 7518 §6) --- */

/* Decodes a member; NULL: missing, or not base64url of 1 to NUMBER_LEN bytes. */
static BIGNUM *member_number(const json_t *jwk, const char *name)
{
    const json_t *member = json_object_get(jwk, name);
    if (!json_is_string(member) || json_string_length(member) > 4 * NUMBER_LEN / 3 + 4)
        return NULL;
    unsigned char bytes[NUMBER_LEN + 8];
    size_t len;
    BIGNUM *number = NULL;
    if (base64url_decode(json_string_value(member), json_string_length(member), bytes, &len) &&
        len > 0)
        number = BN_bin2bn(bytes, (int)len, NULL);
    OPENSSL_cleanse(bytes, sizeof(bytes));
    return number;
}

static EVP_PKEY *build(const char *type, OSSL_PARAM_BLD *builder, bool private)
{
    EVP_PKEY *pkey = NULL;
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(builder);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    assert(params);
    assert(ctx);
    if (EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &pkey, private ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY, params) !=
            1)
        pkey = NULL;
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    return pkey;
}

static bool has_operation(const json_t *operations, const char *name)
{
    size_t i;
    const json_t *item;
    json_array_foreach(operations, i, item)
    {
        if (json_is_string(item) && strcmp(json_string_value(item), name) == 0)
            return true;
    }
    return false;
}

/* "alg", "use" and "key_ops" are optional, but must match the key and what it is read for. */
static enum err check_purpose(const json_t *jwk, const char *alg, bool private, struct failure *f)
{
    const json_t *operations = json_object_get(jwk, "key_ops");
    const char *needed = private ? "sign" : "verify";
    bool secret = json_object_get(jwk, "d") != NULL;
    if (secret != private)
        return failure_set(f, ERR_CONFIG, "%s", secret ? is_private : is_public);
    if (operations && !has_operation(operations, needed)) {
        return failure_set(f, ERR_CONFIG,
                           "a JWK whose \"key_ops\" does not allow \"%s\", which it is for",
                           needed);
    }
    const json_t *given_alg = json_object_get(jwk, "alg");
    const json_t *use = json_object_get(jwk, "use");
    if (given_alg && (!json_is_string(given_alg) || strcmp(json_string_value(given_alg), alg) != 0))
        return failure_set(f, ERR_CONFIG, "a JWK for another algorithm than %s", alg);
    if (use && (!json_is_string(use) || strcmp(json_string_value(use), "sig") != 0)) {
        return failure_set(f, ERR_CONFIG,
                           "a JWK that is not for signatures (\"use\" is not \"sig\")");
    }
    return ERR_OK;
}

static enum err rsa_from_jwk(const json_t *jwk, bool private, EVP_PKEY **out, struct failure *f)
{
    BIGNUM *numbers[RSA_MEMBERS] = {NULL};
    size_t count = private ? RSA_MEMBERS : RSA_PUBLIC_MEMBERS;
    enum err err = check_purpose(jwk, "RS256", private, f);
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    assert(builder);
    for (size_t i = 0; i < count && err == ERR_OK; i++) {
        numbers[i] = member_number(jwk, rsa_members[i].name);
        if (!numbers[i]) {
            err = failure_set(f, ERR_CONFIG, "an RSA JWK whose \"%s\" is missing or not base64url",
                              rsa_members[i].name);
        } else if (OSSL_PARAM_BLD_push_BN(builder, rsa_members[i].param, numbers[i]) != 1) {
            err = failure_set(f, ERR_FAILED, "cannot build the key");
        }
    }
    if (err == ERR_OK && !(*out = build("RSA", builder, private)))
        err = failure_set(f, ERR_CONFIG, "an RSA JWK with impossible numbers");
    OSSL_PARAM_BLD_free(builder);
    for (size_t i = 0; i < RSA_MEMBERS; i++)
        BN_clear_free(numbers[i]);
    return err;
}

/* A coordinate or the private number: exactly 32 bytes (RFC 7518 §6.2.1.2). */
static bool p256_member(const json_t *jwk, const char *name, unsigned char out[P256_LEN + 3])
{
    const json_t *member = json_object_get(jwk, name);
    size_t len;
    return json_is_string(member) && json_string_length(member) == 43 &&
           base64url_decode(json_string_value(member), 43, out, &len) && len == P256_LEN;
}

static enum err ec_from_jwk(const json_t *jwk, bool private, EVP_PKEY **out, struct failure *f)
{
    enum err err = check_purpose(jwk, "ES256", private, f);
    if (err != ERR_OK)
        return err;
    const char *curve = json_string_value(json_object_get(jwk, "crv"));
    if (!curve || strcmp(curve, "P-256") != 0)
        return failure_set(f, ERR_CONFIG, "a JWK of another curve: only P-256 (ES256) is allowed");
    /* An uncompressed point: 4, x, y (SEC 1 §2.3.3). */
    unsigned char point[1 + 2 * P256_LEN + 3] = {4};
    unsigned char secret[P256_LEN + 3];
    if (!p256_member(jwk, "x", point + 1) || !p256_member(jwk, "y", point + 1 + P256_LEN) ||
        (private && !p256_member(jwk, "d", secret))) {
        return failure_set(f, ERR_CONFIG,
                           "an EC JWK whose \"x\", \"y\"%s is missing or not base64url of 32 bytes",
                           private ? " or \"d\"" : "");
    }
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    BIGNUM *number = private ? BN_bin2bn(secret, P256_LEN, NULL) : NULL;
    assert(builder);
    bool pushed = OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1",
                                                  0) == 1 &&
                  OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point,
                                                   1 + 2 * P256_LEN) == 1 &&
                  (!private ||
                   OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_PRIV_KEY, number) == 1);
    assert(pushed);
    *out = build("EC", builder, private);
    OSSL_PARAM_BLD_free(builder);
    BN_clear_free(number);
    OPENSSL_cleanse(secret, sizeof(secret));
    return *out ? ERR_OK : failure_set(f, ERR_CONFIG, "an EC JWK whose point is not on the curve");
}

static enum err pkey_from_jwk(const char *json, size_t len, bool private, EVP_PKEY **out,
                              struct failure *f)
{
    json_error_t why;
    json_t *jwk = json_loadb(json, len, JSON_REJECT_DUPLICATES, &why);
    if (!jwk) {
        return failure_set(f, ERR_CONFIG, "a JWK that is not JSON: line %d: %s", why.line,
                           why.text);
    }
    const char *kty = json_string_value(json_object_get(jwk, "kty"));
    enum err err;
    if (json_object_get(jwk, "keys")) {
        err = failure_set(f, ERR_CONFIG, "a set of JWKs: give one of its \"keys\" alone");
    } else if (kty && strcmp(kty, "RSA") == 0) {
        err = rsa_from_jwk(jwk, private, out, f);
    } else if (kty && strcmp(kty, "EC") == 0) {
        err = ec_from_jwk(jwk, private, out, f);
    } else {
        err = failure_set(f, ERR_CONFIG, "a JWK whose \"kty\" is neither \"RSA\" nor \"EC\"");
    }
    json_decref(jwk);
    return err;
}

enum err pkey_parse(const char *text, size_t len, bool private, EVP_PKEY **out, struct failure *f)
{
    EVP_PKEY *pkey = NULL;
    size_t blanks = 0;
    while (blanks < len && isspace((unsigned char)text[blanks]))
        blanks++;
    bool is_jwk = blanks < len && text[blanks] == '{';
    enum err err = is_jwk ? pkey_from_jwk(text, len, private, &pkey, f)
                          : pkey_from_pem(text, len, private, &pkey, f);
    if (err == ERR_OK)
        err = check_kind(pkey, f);
    ERR_clear_error();
    if (err != ERR_OK) {
        EVP_PKEY_free(pkey);
        return err;
    }
    *out = pkey;
    return ERR_OK;
}

/* Sets jwk[name] to the number, padded to pad_len bytes if that is not 0. */
static void set_number(json_t *jwk, const char *name, const EVP_PKEY *pkey, const char *param,
                       int pad_len)
{
    BIGNUM *number = NULL;
    int got = EVP_PKEY_get_bn_param(pkey, param, &number);
    assert(got == 1);
    unsigned char bytes[NUMBER_LEN];
    int len = pad_len > 0 ? pad_len : BN_num_bytes(number);
    assert(len > 0 && len <= NUMBER_LEN);
    int written = BN_bn2binpad(number, bytes, len);
    assert(written == len);
    char *text = base64url_encode(bytes, (size_t)len);
    json_object_set_new(jwk, name, json_string(text));
    OPENSSL_cleanse(bytes, sizeof(bytes));
    BN_clear_free(number);
    free(text);
}

/* Exactly the members that RFC 7638 §3.2 hashes. */
static json_t *required_members(const EVP_PKEY *pkey)
{
    json_t *jwk = json_object();
    assert(jwk);
    if (pkey_alg(pkey) == JWS_RS256) {
        json_object_set_new(jwk, "kty", json_string("RSA"));
        for (size_t i = 0; i < RSA_PUBLIC_MEMBERS; i++)
            set_number(jwk, rsa_members[i].name, pkey, rsa_members[i].param, 0);
    } else {
        json_object_set_new(jwk, "kty", json_string("EC"));
        json_object_set_new(jwk, "crv", json_string("P-256"));
        set_number(jwk, "x", pkey, OSSL_PKEY_PARAM_EC_PUB_X, P256_LEN);
        set_number(jwk, "y", pkey, OSSL_PKEY_PARAM_EC_PUB_Y, P256_LEN);
    }
    return jwk;
}

static char *dump(json_t *jwk)
{
    char *text = json_dumps(jwk, JSON_COMPACT | JSON_SORT_KEYS);
    assert(text);
    char *copy = xstrdup(text);
    OPENSSL_cleanse(text, strlen(text));
    free(text);
    json_decref(jwk);
    return copy;
}

void pkey_thumbprint(const EVP_PKEY *pkey, char out[44])
{
    char *canonical = dump(required_members(pkey));
    uint8_t digest[32];
    sha256(canonical, strlen(canonical), digest);
    char *text = base64url_encode(digest, sizeof(digest));
    assert(strlen(text) == 43);
    memcpy(out, text, 44);
    free(text);
    free(canonical);
}

char *pkey_jwk(const EVP_PKEY *pkey, bool private)
{
    char kid[44];
    pkey_thumbprint(pkey, kid);
    json_t *jwk = required_members(pkey);
    json_object_set_new(jwk, "kid", json_string(kid));
    json_object_set_new(jwk, "alg", json_string(jws_alg_name(pkey_alg(pkey))));
    json_object_set_new(jwk, "use", json_string("sig"));
    if (private && pkey_alg(pkey) == JWS_ES256)
        set_number(jwk, "d", pkey, OSSL_PKEY_PARAM_PRIV_KEY, P256_LEN);
    for (size_t i = RSA_PUBLIC_MEMBERS; private && pkey_alg(pkey) == JWS_RS256 && i < RSA_MEMBERS;
         i++)
        set_number(jwk, rsa_members[i].name, pkey, rsa_members[i].param, 0);
    return dump(jwk);
}
