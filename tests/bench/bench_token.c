/* Tokens per second on one core: verified like the worker, and issued with libjwt and with
 * OpenSSL. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/token/issue.h"

#define LEAST_MS 1500

static const char claims[] =
    "{\"iss\":\"batch-1\",\"sub\":\"alice\",\"aud\":\"lab\",\"iat\":1795531074,\"exp\":1795531674,"
    "\"jti\":\"0192f3a4-5b6c-7d8e-9fa0-b1c2d3e4f506\",\"request\":{\"type\":\"booking.create\","
    "\"start\":\"2026-12-01T02:00:00Z\",\"end\":\"2026-12-01T04:00:00Z\",\"allocations\":"
    "[{\"machine\":\"gpu-01\",\"gpus\":4,\"memory_gib\":64}]}}";

typedef enum err issue_fn(const struct signing_key *key, const char *kid, const char *claims_json,
                          char **token_out, struct failure *f);

static void print_rate(const char *what, enum jws_alg alg, int count, int64_t ms)
{
    printf("%-30s %s %8.0f/s\n", what, jws_alg_name(alg), count * 1000.0 / (double)ms);
}

/* Returns a token. */
static char *time_issue(const struct signing_key *key, issue_fn *issue, const char *what)
{
    char *token = NULL;
    int count = 0;
    int64_t begin = clock_mono_ms();
    while (clock_mono_ms() - begin < LEAST_MS) {
        free(token);
        if (issue(key, "key-1", claims, &token, NULL) != ERR_OK)
            abort();
        count++;
    }
    print_rate(what, jws_key_alg(signing_key_public(key)), count, clock_mono_ms() - begin);
    return token;
}

static void time_verify(const struct jws_key *key, const char *token)
{
    int count = 0;
    int64_t begin = clock_mono_ms();
    for (; clock_mono_ms() - begin < LEAST_MS; count++) {
        struct jws_parts parts;
        if (jws_split(token, strlen(token), &parts) || !jws_verify(key, &parts))
            abort();
        jws_parts_fini(&parts);
    }
    print_rate("split and verify", jws_key_alg(key), count, clock_mono_ms() - begin);
}

int main(void)
{
    for (enum jws_alg alg = 0; alg < JWS_ALG_COUNT; alg++) {
        struct signing_key *key;
        if (signing_key_generate(alg, &key, NULL) != ERR_OK)
            abort();
        free(time_issue(key, issue_token, "issue_token (libjwt)"));
        char *token = time_issue(key, issue_token_quick, "issue_token_quick (OpenSSL)");
        time_verify(signing_key_public(key), token);
        free(token);
        signing_key_free(key);
    }
    return 0;
}
