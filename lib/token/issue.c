#include "lib/token/issue.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>
#include <jwt.h>
#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/token/pkey.h"

/* A JWK of an 8192-bit RSA key has 6 KiB. */
#define KEY_FILE_LEN (64 * 1024)
#define RSA_BITS     2048

struct signing_key {
    EVP_PKEY *pkey;
    struct jws_key *public;
    char *pem;            /* what libjwt takes */
    EVP_MD_CTX *prepared; /* what OpenSSL takes: copied for each signature */
};

/* Takes pkey. Signs and verifies once: a key file whose halves do not belong together would else
 * show as `bad_signature` of every request. */
static enum err wrap(EVP_PKEY *pkey, struct signing_key **out, struct failure *f)
{
    struct signing_key *key = xcalloc(1, sizeof(*key));
    key->pkey = pkey;
    key->pem = pkey_pem(pkey, true);
    key->prepared = EVP_MD_CTX_new();
    assert(key->prepared);
    int ready = EVP_DigestSignInit(key->prepared, NULL, EVP_sha256(), NULL, pkey);
    assert(ready == 1);
    char *public_pem = pkey_pem(pkey, false);
    enum err err = jws_key_parse(public_pem, strlen(public_pem), &key->public, f);
    free(public_pem);
    char *token = NULL;
    struct jws_parts parts;
    if (err == ERR_OK)
        err = issue_token(key, "self-test", "{}", &token, f);
    if (err == ERR_OK) {
        const char *wrong = jws_split(token, strlen(token), &parts);
        assert(!wrong);
        if (!jws_verify(key->public, &parts))
            err = failure_set(f, ERR_CONFIG, "its private and public half do not belong together");
        jws_parts_fini(&parts);
    }
    free(token);
    if (err != ERR_OK) {
        signing_key_free(key);
        return err;
    }
    *out = key;
    return ERR_OK;
}

enum err signing_key_generate(enum jws_alg alg, struct signing_key **out, struct failure *f)
{
    EVP_PKEY *pkey = alg == JWS_RS256 ? EVP_RSA_gen(RSA_BITS) : EVP_EC_gen("P-256");
    if (!pkey)
        return failure_set(f, ERR_FAILED, "cannot make a key: OpenSSL error %lu", ERR_get_error());
    return wrap(pkey, out, f);
}

/* Gives *pkey. What is no private key is refused as that, whoever may read it. */
static enum err read_guarded(int fd, char text[KEY_FILE_LEN], size_t *len_out, EVP_PKEY **pkey,
                             struct failure *f)
{
    struct stat stat;
    if (fstat(fd, &stat) != 0)
        return failure_set(f, ERR_IO, "%s", strerror(errno));
    if (!S_ISREG(stat.st_mode))
        return failure_set(f, ERR_CONFIG, "not a regular file");
    enum err err = file_read_fd(fd, text, KEY_FILE_LEN, len_out, f);
    if (err == ERR_OK)
        err = pkey_parse(text, *len_out, true, pkey, f);
    if (err == ERR_OK && stat.st_mode & (S_IRWXG | S_IRWXO)) {
        EVP_PKEY_free(*pkey);
        err = failure_set(f, ERR_CONFIG,
                          "others may use this private key (mode %04o): chmod 600 it",
                          (unsigned)stat.st_mode & 07777u);
    }
    return err;
}

enum err signing_key_read(const char *path, struct signing_key **out, struct failure *f)
{
    struct failure inner = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return failure_set(f, ERR_CONFIG, "key file %s: %s", path, strerror(errno));
    char *text = xmalloc(KEY_FILE_LEN);
    size_t len = 0;
    EVP_PKEY *pkey = NULL;
    enum err err = read_guarded(fd, text, &len, &pkey, &inner);
    close(fd);
    if (err == ERR_OK)
        err = wrap(pkey, out, &inner);
    OPENSSL_cleanse(text, len);
    free(text);
    if (err != ERR_OK)
        return failure_set(f, err, "key file %s: %s", path, inner.text);
    return ERR_OK;
}

void signing_key_free(struct signing_key *key)
{
    if (!key)
        return;
    EVP_MD_CTX_free(key->prepared);
    EVP_PKEY_free(key->pkey);
    jws_key_free(key->public);
    OPENSSL_cleanse(key->pem, strlen(key->pem));
    free(key->pem);
    free(key);
}

const struct jws_key *signing_key_public(const struct signing_key *key)
{
    return key->public;
}

char *signing_key_pem(const struct signing_key *key)
{
    return xstrdup(key->pem);
}

char *signing_key_jwk(const struct signing_key *key)
{
    return pkey_jwk(key->pkey, true);
}

enum err issue_token(const struct signing_key *key, const char *kid, const char *claims_json,
                     char **token_out, struct failure *f)
{
    jwt_t *jwt = NULL;
    jwt_alg_t alg = jws_key_alg(key->public) == JWS_RS256 ? JWT_ALG_RS256 : JWT_ALG_ES256;
    char *text = NULL;
    enum err err = ERR_OK;
    int failed = jwt_new(&jwt);
    if (!failed && jwt_add_grants_json(jwt, claims_json) != 0) {
        err = failure_set(f, ERR_FAILED, "the claims are not one JSON object");
        goto out;
    }
    failed = failed || jwt_add_header(jwt, "kid", kid) != 0 ||
             jwt_set_alg(jwt, alg, (const unsigned char *)key->pem, (int)strlen(key->pem)) != 0;
    if (!failed)
        text = jwt_encode_str(jwt);
    if (!text) {
        err = failure_set(f, ERR_FAILED, "cannot sign the token: %s", strerror(errno));
        goto out;
    }
    *token_out = xstrdup(text);
out:
    free(text);
    jwt_free(jwt);
    ERR_clear_error();
    return err;
}

/* The JSON object in compact form as base64url, as libjwt writes it. Releases the object. */
static void append_part(struct buf *token, json_t *object)
{
    char *text = json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS);
    assert(text);
    char *part = base64url_encode(text, strlen(text));
    buf_puts(token, part);
    free(part);
    free(text);
    json_decref(object);
}

/* OpenSSL's ES256 signature as RFC 7518 §3.4 has it: r and s, 32 bytes each. */
static void der_to_raw(unsigned char *signature, size_t *len)
{
    const unsigned char *der = signature;
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)*len);
    assert(sig);
    int r_len = BN_bn2binpad(ECDSA_SIG_get0_r(sig), signature, 32);
    int s_len = BN_bn2binpad(ECDSA_SIG_get0_s(sig), signature + 32, 32);
    assert(r_len == 32);
    assert(s_len == 32);
    ECDSA_SIG_free(sig);
    *len = 64;
}

enum err issue_token_quick(const struct signing_key *key, const char *kid, const char *claims_json,
                           char **token_out, struct failure *f)
{
    json_t *claims = json_loads(claims_json, 0, NULL);
    if (!json_is_object(claims)) {
        json_decref(claims);
        return failure_set(f, ERR_FAILED, "the claims are not one JSON object");
    }
    enum jws_alg alg = jws_key_alg(key->public);
    json_t *header = json_pack("{s:s, s:s, s:s}", "alg", jws_alg_name(alg), "kid", kid, "typ",
                               "JWT");
    if (!header) {
        json_decref(claims);
        return failure_set(f, ERR_FAILED, "the kid is not UTF-8");
    }
    struct buf token = {0};
    append_part(&token, header);
    buf_puts(&token, ".");
    append_part(&token, claims);
    unsigned char signature[1024]; /* of an RSA key of 8192 bits */
    size_t len = sizeof(signature);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert(ctx);
    if (EVP_MD_CTX_copy_ex(ctx, key->prepared) != 1 ||
        EVP_DigestSign(ctx, signature, &len, (const unsigned char *)token.data, token.len) != 1)
        len = 0;
    EVP_MD_CTX_free(ctx);
    if (len == 0) {
        buf_fini(&token);
        return failure_set(f, ERR_FAILED, "cannot sign the token: OpenSSL error %lu",
                           ERR_get_error());
    }
    if (alg == JWS_ES256)
        der_to_raw(signature, &len);
    char *part = base64url_encode(signature, len);
    buf_printf(&token, ".%s", part);
    free(part);
    *token_out = token.data;
    return ERR_OK;
}
