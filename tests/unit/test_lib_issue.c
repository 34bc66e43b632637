/* Signing keys in files, and their tokens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>
#include <jwt.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "lib/base/mem.h"
#include "lib/token/issue.h"

static char folder[] = "/tmp/berth-test-issue-XXXXXX";
static char key_path[64];

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(key_path, sizeof(key_path), "%s/key", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(key_path);
    return rmdir(folder);
}

static void write_key(const char *text, mode_t mode)
{
    unlink(key_path);
    FILE *out = fopen(key_path, "w");
    assert_non_null(out);
    fputs(text, out);
    fclose(out);
    assert_int_equal(chmod(key_path, mode), 0);
}

static struct signing_key *generate(enum jws_alg alg)
{
    struct signing_key *key = NULL;
    struct failure f = {0};
    if (signing_key_generate(alg, &key, &f) != ERR_OK)
        fail_msg("%s", f.text);
    return key;
}

static const char claims[] =
    "{\"sub\": \"alice\", "
    "\"iss\":\"batch-1\",\"aud\":\"lab\",\"iat\":1795531074,\"exp\":1795531674,"
    "\"jti\":\"r-1\",\"request\":{\"type\":\"booking.create\",\"allocations\":[{\"machine\":\"gpu-"
    "01\","
    "\"gpus\":4,\"memory_gib\":64}],\"big\":9007199254740993,\"text\":\"\\u00e4 \\\"\\\\\"}}";

typedef enum err issue_fn(const struct signing_key *key, const char *kid, const char *claims_json,
                          char **token_out, struct failure *f);

static void verifies_with_these_claims(const struct signing_key *key, const char *token)
{
    struct jws_parts parts;
    assert_null(jws_split(token, strlen(token), &parts));
    assert_true(jws_verify(signing_key_public(key), &parts));
    assert_string_equal(parts.alg, jws_alg_name(jws_key_alg(signing_key_public(key))));
    assert_string_equal(parts.kid, "key-1");
    assert_string_equal(json_string_value(json_object_get(parts.header, "typ")), "JWT");
    assert_int_equal(json_object_size(parts.header), 3);
    json_t *sent = json_loads(claims, 0, NULL);
    json_t *received = json_loads(parts.payload, 0, NULL);
    assert_true(json_equal(sent, received));
    json_decref(sent);
    json_decref(received);
    jws_parts_fini(&parts);
}

static void test_tokens_verify(void **state)
{
    (void)state;
    issue_fn *const ways[] = {issue_token, issue_token_quick};
    for (enum jws_alg alg = 0; alg < JWS_ALG_COUNT; alg++) {
        struct signing_key *key = generate(alg);
        struct signing_key *other = generate(alg);
        for (size_t way = 0; way < 2; way++) {
            /* ES256 signatures are random: r or s is sometimes short. */
            for (int i = 0; i < (alg == JWS_ES256 ? 300 : 3); i++) {
                char *token = NULL;
                assert_int_equal(ways[way](key, "key-1", claims, &token, NULL), ERR_OK);
                verifies_with_these_claims(key, token);
                struct jws_parts parts;
                assert_null(jws_split(token, strlen(token), &parts));
                assert_false(jws_verify(signing_key_public(other), &parts));
                jws_parts_fini(&parts);
                free(token);
            }
        }
        signing_key_free(key);
        signing_key_free(other);
    }
}

/* Tokens signed by another library with the key verify with the key. */
static void test_libjwt_takes_the_quick_ones(void **state)
{
    (void)state;
    for (enum jws_alg alg = 0; alg < JWS_ALG_COUNT; alg++) {
        struct signing_key *key = generate(alg);
        struct signing_key *other = generate(alg);
        char *pem = jws_key_pem(signing_key_public(key));
        char *other_pem = jws_key_pem(signing_key_public(other));
        for (int i = 0; i < (alg == JWS_ES256 ? 300 : 3); i++) {
            char *token = NULL;
            jwt_t *jwt = NULL;
            assert_int_equal(issue_token_quick(key, "key-1", claims, &token, NULL), ERR_OK);
            assert_int_equal(jwt_decode(&jwt, token, (const unsigned char *)pem, (int)strlen(pem)),
                             0);
            assert_string_equal(jwt_get_grant(jwt, "iss"), "batch-1");
            assert_string_equal(jwt_get_header(jwt, "kid"), "key-1");
            jwt_free(jwt);
            jwt = NULL;
            assert_int_not_equal(
                jwt_decode(&jwt, token, (const unsigned char *)other_pem, (int)strlen(other_pem)),
                0);
            free(token);
        }
        free(pem);
        free(other_pem);
        signing_key_free(key);
        signing_key_free(other);
    }
}

/* RS256 signatures and libjwt's JSON are deterministic. */
static void test_both_ways_give_the_same_token(void **state)
{
    (void)state;
    struct signing_key *key = generate(JWS_RS256);
    char *slow = NULL;
    char *quick = NULL;
    assert_int_equal(issue_token(key, "key-1", claims, &slow, NULL), ERR_OK);
    assert_int_equal(issue_token_quick(key, "key-1", claims, &quick, NULL), ERR_OK);
    assert_string_equal(slow, quick);
    free(slow);
    free(quick);
    signing_key_free(key);
}

static void test_claims_that_are_no_object(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "[]", "7", "{", "{} {}", "null"};
    issue_fn *const ways[] = {issue_token, issue_token_quick};
    struct signing_key *key = generate(JWS_ES256);
    for (size_t i = 0; i < 2 * sizeof(bad) / sizeof(bad[0]); i++) {
        char *token = NULL;
        struct failure f = {0};
        enum err err = ways[i % 2](key, "key-1", bad[i / 2], &token, &f);
        if (err != ERR_FAILED || token)
            fail_msg("way %zu took '%s'", i % 2, bad[i / 2]);
        assert_string_equal(f.text, "the claims are not one JSON object");
    }
    signing_key_free(key);
}

static void test_key_files_round_trip(void **state)
{
    (void)state;
    for (enum jws_alg alg = 0; alg < JWS_ALG_COUNT; alg++) {
        struct signing_key *key = generate(alg);
        char before[44];
        jws_key_thumbprint(signing_key_public(key), before);
        char *texts[] = {signing_key_pem(key), signing_key_jwk(key)};
        for (size_t i = 0; i < 2; i++) {
            write_key(texts[i], i == 0 ? 0600 : 0400);
            struct signing_key *again = NULL;
            struct failure f = {0};
            if (signing_key_read(key_path, &again, &f) != ERR_OK)
                fail_msg("%s", f.text);
            char after[44];
            jws_key_thumbprint(signing_key_public(again), after);
            assert_string_equal(before, after);
            char *token = NULL;
            assert_int_equal(issue_token(again, "key-1", claims, &token, NULL), ERR_OK);
            verifies_with_these_claims(key, token);
            free(token);
            signing_key_free(again);
            free(texts[i]);
        }
        signing_key_free(key);
    }
    signing_key_free(NULL);
}

static void refused(const char *text, mode_t mode, const char *why)
{
    write_key(text, mode);
    struct signing_key *key = NULL;
    struct failure f = {0};
    assert_int_equal(signing_key_read(key_path, &key, &f), ERR_CONFIG);
    assert_null(key);
    if (!strstr(f.text, why) || !strstr(f.text, key_path))
        fail_msg("'%s' does not say '%s'", f.text, why);
}

static void test_key_files_that_others_may_use(void **state)
{
    (void)state;
    struct signing_key *key = generate(JWS_ES256);
    char *pem = signing_key_pem(key);
    static const mode_t modes[] = {0644, 0640, 0604, 0620, 0602, 0610, 0601, 0444};
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
        refused(pem, modes[i], "chmod 600");
    free(pem);
    signing_key_free(key);
}

static void test_key_files_with_something_else(void **state)
{
    (void)state;
    struct signing_key *key = generate(JWS_ES256);
    char *pem = jws_key_pem(signing_key_public(key));
    char *jwk = jws_key_jwk(signing_key_public(key));
    refused(pem, 0600, "this is a public key");
    refused(pem, 0644, "this is a public key");
    refused(jwk, 0644, "this is a public key");
    refused(jwk, 0600, "this is a public key");
    free(pem);
    free(jwk);
    signing_key_free(key);
    key = generate(JWS_RS256);
    jwk = jws_key_jwk(signing_key_public(key));
    refused(jwk, 0600, "this is a public key");
    free(jwk);
    signing_key_free(key);
    refused("", 0600, "neither a PEM private key nor a JWK");
    refused("hello", 0600, "neither a PEM private key nor a JWK");
    char *large = xmalloc(70001);
    memset(large, 'x', 70000);
    large[70000] = '\0';
    refused(large, 0600, "longer than");
    free(large);
    struct failure f = {0};
    assert_int_equal(signing_key_read(folder, &key, &f), ERR_CONFIG);
    assert_non_null(strstr(f.text, "not a regular file"));
    assert_int_equal(signing_key_read("/nowhere/key", &key, &f), ERR_CONFIG);
    assert_non_null(strstr(f.text, "No such file"));
}

static void test_key_file_with_a_passphrase(void **state)
{
    (void)state;
    EVP_PKEY *pkey = EVP_EC_gen("P-256");
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PKCS8PrivateKey(bio, pkey, EVP_aes_128_cbc(), "secret", 6, NULL, NULL);
    BIO_write(bio, "", 1);
    char *text;
    BIO_get_mem_data(bio, &text);
    refused(text, 0600, "has a passphrase");
    BIO_free(bio);
    EVP_PKEY_free(pkey);
}

/* The private part of one key with the public part of another. */
static void test_key_file_with_halves_of_two_keys(void **state)
{
    (void)state;
    struct signing_key *keys[] = {generate(JWS_ES256), generate(JWS_ES256)};
    char *texts[] = {signing_key_jwk(keys[0]), signing_key_jwk(keys[1])};
    json_t *jwk = json_loads(texts[0], 0, NULL);
    json_t *other = json_loads(texts[1], 0, NULL);
    json_object_set(jwk, "d", json_object_get(other, "d"));
    char *mixed = json_dumps(jwk, 0);
    refused(mixed, 0600, "");
    free(mixed);
    json_decref(jwk);
    json_decref(other);
    for (size_t i = 0; i < 2; i++) {
        free(texts[i]);
        signing_key_free(keys[i]);
    }
}

/* The traditional format of `openssl ecparam -genkey`, with the parameters first. */
static void test_traditional_key_file(void **state)
{
    (void)state;
    EVP_PKEY *pkey = EVP_EC_gen("P-256");
    BIO *bio = BIO_new(BIO_s_mem());
    BIO_puts(bio, "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n");
    PEM_write_bio_PrivateKey_traditional(bio, pkey, NULL, NULL, 0, NULL, NULL);
    BIO_write(bio, "", 1);
    char *text;
    BIO_get_mem_data(bio, &text);
    write_key(text, 0600);
    struct signing_key *key = NULL;
    struct failure f = {0};
    if (signing_key_read(key_path, &key, &f) != ERR_OK)
        fail_msg("%s", f.text);
    signing_key_free(key);
    BIO_free(bio);
    EVP_PKEY_free(pkey);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens_verify),
        cmocka_unit_test(test_libjwt_takes_the_quick_ones),
        cmocka_unit_test(test_both_ways_give_the_same_token),
        cmocka_unit_test(test_claims_that_are_no_object),
        cmocka_unit_test(test_key_files_round_trip),
        cmocka_unit_test(test_key_files_that_others_may_use),
        cmocka_unit_test(test_key_files_with_something_else),
        cmocka_unit_test(test_key_file_with_a_passphrase),
        cmocka_unit_test(test_key_file_with_halves_of_two_keys),
        cmocka_unit_test(test_traditional_key_file),
    };
    return cmocka_run_group_tests_name("lib issue", tests, make_folder, remove_folder);
}
