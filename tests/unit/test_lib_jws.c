/* Tokens and keys against the examples of the RFCs, a corpus of good and bad tokens, and every
 * one-byte change of a valid token. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "core/limits.h"
#include "lib/base/mem.h"
#include "lib/token/jws.h"

#define CORPUS "tests/corpus/token/"

/* RFC 7515 A.2.1 and A.3.1. */
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
/* RFC 7638 §3.1. */
static const char thumbprint_jwk[] =
    "{\"kty\":\"RSA\",\"n\":"
    "\"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPF"
    "FxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-"
    "65"
    "YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-"
    "bFTWhAI"
    "4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw\",\"e\":"
    "\"AQAB\","
    "\"alg\":\"RS256\",\"kid\":\"2011-04-29\"}";

/* Reads a small file and sets *len. The caller frees it. */
static char *slurp(const char *path, size_t *len)
{
    FILE *in = fopen(path, "rb");
    if (!in)
        fail_msg("cannot open %s: run the tests from the repository's root", path);
    struct buf buf = {0};
    char piece[4096];
    size_t got;
    while ((got = fread(piece, 1, sizeof(piece), in)) > 0)
        buf_append(&buf, piece, got);
    fclose(in);
    /* Exactly sized, so that the sanitizer reports a read past the end. */
    char *bytes = xmalloc(buf.len);
    if (buf.len > 0)
        memcpy(bytes, buf.data, buf.len);
    *len = buf.len;
    buf_fini(&buf);
    return bytes;
}

static struct jws_key *key_of(const char *text)
{
    struct jws_key *key = NULL;
    struct failure f = {0};
    if (jws_key_parse(text, strlen(text), &key, &f) != ERR_OK)
        fail_msg("%s", f.text);
    return key;
}

static bool verifies(const struct jws_key *key, const char *token, size_t len)
{
    struct jws_parts parts;
    if (jws_split(token, len, &parts))
        return false;
    bool verified = jws_verify(key, &parts);
    jws_parts_fini(&parts);
    return verified;
}

static void test_rfc_examples_verify(void **state)
{
    (void)state;
    struct jws_key *rsa = key_of(rsa_jwk);
    struct jws_key *ec = key_of(ec_jwk);
    size_t rsa_len, ec_len;
    char *rsa_token = slurp(CORPUS "ok/rfc7515-a2-rs256", &rsa_len);
    char *ec_token = slurp(CORPUS "ok/rfc7515-a3-es256", &ec_len);
    assert_int_equal(jws_key_alg(rsa), JWS_RS256);
    assert_int_equal(jws_key_alg(ec), JWS_ES256);
    for (int i = 0; i < 3; i++) {
        assert_true(verifies(rsa, rsa_token, rsa_len));
        assert_true(verifies(ec, ec_token, ec_len));
        /* A failure in between must not damage the key. */
        assert_false(verifies(rsa, ec_token, ec_len));
        assert_false(verifies(ec, rsa_token, rsa_len));
    }
    struct jws_parts parts;
    assert_null(jws_split(ec_token, ec_len, &parts));
    assert_string_equal(parts.alg, "ES256");
    assert_null(parts.kid);
    assert_string_equal(parts.payload, "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n "
                                       "\"http://example.com/is_root\":true}");
    assert_int_equal(parts.signature_len, 64);
    assert_ptr_equal(parts.signing_input, ec_token);
    jws_parts_fini(&parts);
    free(rsa_token);
    free(ec_token);
    jws_key_free(rsa);
    jws_key_free(ec);
}

static void test_rfc_thumbprint(void **state)
{
    (void)state;
    struct jws_key *key = key_of(thumbprint_jwk);
    char thumbprint[44];
    jws_key_thumbprint(key, thumbprint);
    assert_string_equal(thumbprint, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    jws_key_free(key);
}

static void test_keys_as_pem_and_jwk_round_trip(void **state)
{
    (void)state;
    const char *jwks[] = {rsa_jwk, ec_jwk, thumbprint_jwk};
    for (size_t i = 0; i < 3; i++) {
        struct jws_key *key = key_of(jwks[i]);
        char *pem = jws_key_pem(key);
        struct jws_key *from_pem = key_of(pem);
        char *jwk = jws_key_jwk(from_pem);
        struct jws_key *again = key_of(jwk);
        char before[44], after[44];
        jws_key_thumbprint(key, before);
        jws_key_thumbprint(again, after);
        assert_string_equal(before, after);
        assert_non_null(strstr(jwk, before)); /* as its kid */
        free(pem);
        free(jwk);
        jws_key_free(key);
        jws_key_free(from_pem);
        jws_key_free(again);
    }
    jws_key_free(NULL);
}

/* ---- the corpus -------------------------------------------------------------------------------- */

static size_t split_folder(const char *folder, bool good)
{
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    size_t count = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.')
            continue;
        char *path = xasprintf("%s/%s", folder, entry->d_name);
        size_t len;
        char *token = slurp(path, &len);
        struct jws_parts parts;
        const char *wrong = jws_split(token, len, &parts);
        if (!wrong)
            jws_parts_fini(&parts);
        if (good == (wrong != NULL))
            fail_msg("%s: %s", path, wrong ? wrong : "was taken");
        free(token);
        free(path);
        count++;
    }
    closedir(dir);
    return count;
}

static void test_corpus(void **state)
{
    (void)state;
    assert_true(split_folder(CORPUS "ok", true) >= 9);
    assert_true(split_folder(CORPUS "bad", false) >= 46);
}

static void test_reasons_for_people(void **state)
{
    (void)state;
    static const struct {
        const char *file, *wrong;
    } rows[] = {
        {"empty", "the message is empty"},
        {"too-long", "the message is longer than 16384 bytes"},
        {"two-parts", "the message is not a compact JWS: three parts with dots between them"},
        {"alg-none-unsigned", "a part of the message is empty"},
        {"padded-signature", "the signature is not base64url without padding"},
        {"trailing-bits-payload", "the payload is not base64url without padding"},
        {"header-duplicate", "the header is not one JSON object"},
        {"header-jwk", "the header has \"jwk\": keys are registered, not sent along"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *path = xasprintf(CORPUS "bad/%s", rows[i].file);
        size_t len;
        char *token = slurp(path, &len);
        struct jws_parts parts;
        assert_string_equal(jws_split(token, len, &parts), rows[i].wrong);
        free(token);
        free(path);
    }
}

static void test_longest_token(void **state)
{
    (void)state;
    size_t len;
    char *token = slurp(CORPUS "ok/longest", &len);
    assert_int_equal(len, LIMIT_TOKEN_LEN);
    free(token);
    /* Much longer tokens are refused by their length alone. */
    token = xmalloc(100 * 1024 * 1024);
    struct jws_parts parts;
    assert_non_null(jws_split(token, 100 * 1024 * 1024, &parts));
    free(token);
}

/* ---- signatures that must not verify ----------------------------------------------------------- */

static void no_change_verifies(const struct jws_key *key, const char *path)
{
    size_t len;
    char *token = slurp(path, &len);
    assert_true(verifies(key, token, len));
    for (size_t i = 0; i < len; i++) {
        const char original = token[i];
        for (int bit = 0; bit < 8; bit++) {
            token[i] = (char)(original ^ (1 << bit));
            assert_false(verifies(key, token, len));
        }
        const char others[] = {'A', '_', '.', '=', '\0', '\n'};
        for (size_t c = 0; c < sizeof(others); c++) {
            token[i] = others[c];
            assert_int_equal(verifies(key, token, len), others[c] == original);
        }
        token[i] = original;
        assert_false(verifies(key, token, i)); /* cut off */
    }
    free(token);
}

static void test_no_changed_byte_verifies(void **state)
{
    (void)state;
    struct jws_key *rsa = key_of(rsa_jwk);
    struct jws_key *ec = key_of(ec_jwk);
    no_change_verifies(rsa, CORPUS "ok/rfc7515-a2-rs256");
    no_change_verifies(ec, CORPUS "ok/rfc7515-a3-es256");
    jws_key_free(rsa);
    jws_key_free(ec);
}

/* header.payload.signature with raw bytes as signature. Caller frees. */
static char *token_with(const char *header, const void *signature, size_t len)
{
    char *parts[] = {base64url_encode(header, strlen(header)), base64url_encode("{}", 2),
                     base64url_encode(signature, len)};
    char *token = xasprintf("%s.%s.%s", parts[0], parts[1], parts[2]);
    for (size_t i = 0; i < 3; i++)
        free(parts[i]);
    return token;
}

/* Algorithm confusion: an HMAC with the public key's text as its secret. */
static void test_public_key_is_no_hmac_secret(void **state)
{
    (void)state;
    const char *jwks[] = {rsa_jwk, ec_jwk};
    const char *headers[] = {"{\"alg\":\"HS256\"}", "{\"alg\":\"RS256\"}", "{\"alg\":\"ES256\"}"};
    for (size_t i = 0; i < 6; i++) {
        struct jws_key *key = key_of(jwks[i % 2]);
        char *pem = jws_key_pem(key);
        char *unsigned_token = token_with(headers[i / 2], "x", 1);
        *strrchr(unsigned_token, '.') = '\0';
        unsigned char mac[32];
        unsigned mac_len;
        HMAC(EVP_sha256(), pem, (int)strlen(pem), (const unsigned char *)unsigned_token,
             strlen(unsigned_token), mac, &mac_len);
        char *token = token_with(headers[i / 2], mac, sizeof(mac));
        assert_false(verifies(key, token, strlen(token)));
        free(token);
        free(unsigned_token);
        free(pem);
        jws_key_free(key);
    }
}

static void test_odd_signatures(void **state)
{
    (void)state;
    struct jws_key *rsa = key_of(rsa_jwk);
    struct jws_key *ec = key_of(ec_jwk);
    /* The curve's order: r and s must be below it, and not zero (CVE-2022-21449 took zeros). */
    static const unsigned char order[32] = {0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00,
                                            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                            0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84,
                                            0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51};
    unsigned char signature[600];
    for (size_t len = 1; len < sizeof(signature); len += len < 70 ? 1 : 31) {
        for (int fill = 0; fill < 3; fill++) {
            memset(signature, fill == 0 ? 0 : fill == 1 ? 1 : 0xff, sizeof(signature));
            char *token = token_with("{\"alg\":\"ES256\"}", signature, len);
            assert_false(verifies(ec, token, strlen(token)));
            assert_false(verifies(rsa, token, strlen(token)));
            free(token);
        }
    }
    memcpy(signature, order, 32);
    memcpy(signature + 32, order, 32);
    char *token = token_with("{\"alg\":\"ES256\"}", signature, 64);
    assert_false(verifies(ec, token, strlen(token)));
    free(token);
    jws_key_free(rsa);
    jws_key_free(ec);
}

/* ---- keys that are refused --------------------------------------------------------------------- */

static void refused(const char *text, const char *why)
{
    struct jws_key *key = NULL;
    struct failure f = {0};
    if (jws_key_parse(text, strlen(text), &key, &f) == ERR_OK)
        fail_msg("taken: %s", text);
    assert_int_equal(f.err, ERR_CONFIG);
    if (!strstr(f.text, why))
        fail_msg("'%s' does not say '%s' of %s", f.text, why, text);
}

static void test_refused_jwks(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"{}", "\"kty\""},
        {"{", "not JSON"},
        {"{\"kty\":\"oct\",\"k\":\"AAAA\"}", "\"kty\""},
        {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AA\"}", "\"kty\""},
        {"{\"kty\":5}", "\"kty\""},
        {"{\"kty\":\"RSA\",\"kty\":\"EC\"}", "not JSON"},
        {"{\"kty\":\"RSA\"}", "\"n\" is missing"},
        {"{\"kty\":\"RSA\",\"n\":\"AQAB\"}", "\"e\" is missing"},
        {"{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQ=\"}", "\"e\" is missing or not"},
        {"{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}", "bits"},
        {"{\"kty\":\"RSA\",\"n\":\"\",\"e\":\"AQAB\"}", "\"n\" is missing"},
        {"{\"kty\":\"RSA\",\"alg\":\"PS256\"}", "another algorithm"},
        {"{\"kty\":\"RSA\",\"use\":\"enc\"}", "not for signatures"},
        {"{\"kty\":\"RSA\",\"key_ops\":[\"encrypt\"]}", "does not allow \"verify\""},
        {"{\"kty\":\"EC\",\"key_ops\":[\"sign\"]}", "does not allow \"verify\""},
        {"{\"kty\":\"EC\",\"key_ops\":\"verify\"}", "does not allow \"verify\""},
        {"{\"kty\":\"EC\",\"crv\":\"P-256\",\"d\":\"AA\"}", "private key, which must not leave"},
        {"{\"keys\":[]}", "a set of JWKs"},
        {"{\"kty\":\"EC\"}", "curve"},
        {"{\"kty\":\"EC\",\"crv\":\"P-384\"}", "curve"},
        {"{\"kty\":\"EC\",\"crv\":\"P-256\"}", "\"x\", \"y\" is missing"},
        {"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\"}", "32 bytes"},
        {"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
         "\"y\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\"}",
         "not on the curve"},
        {"{\"kty\":\"EC\",\"alg\":\"ES384\"}", "another algorithm"},
        {"", "neither a PEM"},
        {"ssh-rsa AAAAB3NzaC1yc2EAAAADAQAB", "neither a PEM"},
        {"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "damaged"},
        {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificate"},
        {"-----BEGIN RSA PUBLIC KEY-----\nAAAA\n-----END RSA PUBLIC KEY-----\n", "PKCS #1"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        refused(rows[i][0], rows[i][1]);
}

static void test_refused_rsa_numbers(void **state)
{
    (void)state;
    /* Exponents 1 (anyone can sign), 2, 0 and 3. */
    static const char *const exponents[] = {"AAAB", "AAAC", "AAAA", "AAAD"};
    for (size_t i = 0; i < 4; i++) {
        char *text = xstrdup(rsa_jwk);
        memcpy(strstr(text, "AQAB\""), exponents[i], 4);
        refused(text, "exponent is even or below 65537");
        free(text);
    }
    /* A number of 20,000 bits. */
    struct buf long_key = {0};
    buf_puts(&long_key, "{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"");
    for (int i = 0; i < 800; i++)
        buf_puts(&long_key, "_f39");
    buf_puts(&long_key, "\"}");
    refused(long_key.data, "\"n\"");
    buf_fini(&long_key);
}

/* The modulus 65537^100 + k * M, of 2048 bits and odd, M being the product of the first 39 primes, has
 * the mark of CVE-2017-15361; one that is 2 larger has not. */
static void test_refused_roca(void **state)
{
    (void)state;
    BN_CTX *ctx = BN_CTX_new();
    BIGNUM *product = BN_new(), *n = BN_new(), *power = BN_new(), *k = BN_new();
    BN_one(product);
    for (BN_ULONG p = 2; p <= 167; p++) {
        bool prime = true;
        for (BN_ULONG i = 2; i * i <= p; i++)
            prime = prime && p % i != 0;
        if (prime)
            BN_mul_word(product, p);
    }
    BN_set_word(n, 65537);
    BN_set_word(k, 100);
    BN_mod_exp(power, n, k, product, ctx);
    BN_set_bit(k, 2047 - BN_num_bits(product) + 1);
    BN_mul(n, product, k, ctx);
    BN_add(n, n, power);
    for (int i = 0; i < 2; i++, BN_add_word(n, 2)) {
        unsigned char bytes[256];
        assert_int_equal(BN_bn2binpad(n, bytes, sizeof(bytes)), sizeof(bytes));
        char *text = base64url_encode(bytes, sizeof(bytes));
        char *jwk = xasprintf("{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"%s\"}", text);
        if (i == 0) {
            refused(jwk, "ROCA");
        } else {
            jws_key_free(key_of(jwk));
        }
        free(jwk);
        free(text);
    }
    BN_free(product);
    BN_free(n);
    BN_free(power);
    BN_free(k);
    BN_CTX_free(ctx);
}

/* Takes pkey. */
static char *pem_of(EVP_PKEY *pkey, bool private)
{
    BIO *bio = BIO_new(BIO_s_mem());
    if (private) {
        PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL);
    } else {
        PEM_write_bio_PUBKEY(bio, pkey);
    }
    char *bytes;
    long len = BIO_get_mem_data(bio, &bytes);
    char *pem = xstrndup(bytes, (size_t)len);
    BIO_free(bio);
    EVP_PKEY_free(pkey);
    return pem;
}

static void test_refused_pems(void **state)
{
    (void)state;
    struct {
        char *pem;
        const char *why;
    } rows[] = {
        {pem_of(EVP_RSA_gen(1024), false), "1024 bits"},
        {pem_of(EVP_EC_gen("P-384"), false), "secp384r1"},
        {pem_of(EVP_EC_gen("secp256k1"), false), "secp256k1"},
        {pem_of(EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), false), "ED25519"},
        {pem_of(EVP_PKEY_Q_keygen(NULL, NULL, "X25519"), false), "X25519"},
        {pem_of(EVP_EC_gen("P-256"), true), "private key, which must not leave"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        refused(rows[i].pem, rows[i].why);
        free(rows[i].pem);
    }
}

static void test_pem_cut_or_changed(void **state)
{
    (void)state;
    struct jws_key *key = key_of(ec_jwk);
    char *pem = jws_key_pem(key);
    size_t len = strlen(pem);
    for (size_t i = 0; i + 1 < len; i++) {
        struct jws_key *cut = NULL;
        char *copy = xmalloc(i ? i : 1);
        memcpy(copy, pem, i);
        /* OpenSSL tolerates damaged dashes at the end. */
        if (jws_key_parse(copy, i, &cut, NULL) == ERR_OK)
            assert_true(i > len - 10);
        jws_key_free(cut);
        free(copy);
    }
    free(pem);
    jws_key_free(key);
}

/* ---- base64url, SHA-256, names ----------------------------------------------------------------- */

static void test_base64url_round_trips(void **state)
{
    (void)state;
    unsigned char bytes[200];
    for (size_t len = 0; len <= sizeof(bytes); len++) {
        for (size_t i = 0; i < len; i++)
            bytes[i] = (unsigned char)(i * 37 + len * 11);
        char *text = base64url_encode(bytes, len);
        unsigned char *back = xmalloc(3 * strlen(text) / 4 + 3);
        size_t back_len;
        assert_true(base64url_decode(text, strlen(text), back, &back_len));
        assert_int_equal(back_len, len);
        assert_memory_equal(back, bytes, len);
        free(text);
        free(back);
    }
    /* RFC 4648 §10, without padding. */
    static const char *const rows[][2] = {
        {"", ""},           {"f", "Zg"},          {"fo", "Zm8"},          {"foo", "Zm9v"},
        {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}, {"\xff\xef\xfe", "_-_-"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *text = base64url_encode(rows[i][0], strlen(rows[i][0]));
        assert_string_equal(text, rows[i][1]);
        free(text);
    }
}

/* Of all texts of two or three characters exactly the canonical ones decode. */
static void test_base64url_is_strict(void **state)
{
    (void)state;
    size_t twos = 0;
    size_t threes = 0;
    for (int a = 0; a < 256; a++) {
        for (int b = 0; b < 256; b++) {
            const char text[3] = {(char)a, (char)b, 'c'};
            const char shifted[3] = {'c', (char)a, (char)b};
            unsigned char out[6];
            size_t len;
            twos += base64url_decode(text, 2, out, &len);
            threes += base64url_decode(shifted, 3, out, &len);
        }
    }
    assert_int_equal(twos, 256);
    /* 'c' fixes 6 of 16 bits. */
    assert_int_equal(threes, 1024);
    unsigned char out[6];
    size_t len;
    assert_false(base64url_decode("A", 1, out, &len));
    assert_false(base64url_decode("AAAAA", 5, out, &len));
    assert_false(base64url_decode("AAA=", 4, out, &len));
    assert_false(base64url_decode("AA+A", 4, out, &len));
    assert_false(base64url_decode("AA/A", 4, out, &len));
    assert_false(base64url_decode("AA A", 4, out, &len));
    assert_true(base64url_decode("", 0, out, &len));
    assert_int_equal(len, 0);
}

static void test_sha256(void **state)
{
    (void)state;
    uint8_t digest[32];
    sha256("abc", 3, digest);
    struct buf hex = {0};
    buf_hex(&hex, digest, 32);
    assert_string_equal(hex.data,
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    buf_fini(&hex);
}

static void test_algorithm_names(void **state)
{
    (void)state;
    assert_string_equal(jws_alg_name(JWS_ES256), "ES256");
    assert_int_equal(jws_alg_from_name("RS256"), JWS_RS256);
    static const char *const unknown[] = {"", "none", "HS256", "rs256", "RS384", "PS256", "ES256 "};
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
        assert_int_equal(jws_alg_from_name(unknown[i]), JWS_ALG_COUNT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc_examples_verify),
        cmocka_unit_test(test_rfc_thumbprint),
        cmocka_unit_test(test_keys_as_pem_and_jwk_round_trip),
        cmocka_unit_test(test_corpus),
        cmocka_unit_test(test_reasons_for_people),
        cmocka_unit_test(test_longest_token),
        cmocka_unit_test(test_no_changed_byte_verifies),
        cmocka_unit_test(test_public_key_is_no_hmac_secret),
        cmocka_unit_test(test_odd_signatures),
        cmocka_unit_test(test_refused_jwks),
        cmocka_unit_test(test_refused_rsa_numbers),
        cmocka_unit_test(test_refused_roca),
        cmocka_unit_test(test_refused_pems),
        cmocka_unit_test(test_pem_cut_or_changed),
        cmocka_unit_test(test_base64url_round_trips),
        cmocka_unit_test(test_base64url_is_strict),
        cmocka_unit_test(test_sha256),
        cmocka_unit_test(test_algorithm_names),
    };
    return cmocka_run_group_tests_name("lib jws", tests, NULL, NULL);
}
