#include "tests/simulation/token.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/token/issue.h"
#include "tests/simulation/database.h"

/* Keys are made once in a process; the same one serves several kids. */
static struct signing_key *keys[TOKEN_CLIENTS];
static char *pems[TOKEN_CLIENTS];

const char *token_client(int client)
{
    static const char *const names[TOKEN_CLIENTS] = {"admin", "batch-1", "batch-2", "batch-3",
                                                     "batch-4"};
    assert(client >= 0 && client < TOKEN_CLIENTS);
    return names[client];
}

static void make_keys(void)
{
    struct failure f;
    struct sim *sim = sim_now;
    sim_now = NULL; /* no doubles: a new key tries itself */
    for (int i = 0; i < TOKEN_CLIENTS && !keys[i]; i++) {
        enum err err = signing_key_generate(JWS_ES256, &keys[i], &f);
        assert(err == ERR_OK);
        pems[i] = jws_key_pem(signing_key_public(keys[i]));
    }
    sim_now = sim;
}

static size_t key_count(const struct sim *sim, int client)
{
    size_t count = 0;
    for (size_t i = 0; i < sim->db->keys.count; i++)
        count += strcmp(sim->db->keys.items[i].client, token_client(client)) == 0;
    return count;
}

static const char *kid_of(struct sim *sim, int client, size_t number)
{
    return arena_printf(sim->arena, "key-%s-%zu", token_client(client), number);
}

void token_key_add(struct sim *sim, int client)
{
    struct database *db = sim->db;
    const char *kid = kid_of(sim, client, key_count(sim, client));
    *LIST_ADD(sim, &db->keys) = (struct key_row){.kid = kid,
                                                 .client = token_client(client),
                                                 .role = client == 0 ? ROLE_ADMIN : ROLE_SUBMITTER,
                                                 .alg = JWS_ES256,
                                                 .pem = pems[client],
                                                 .not_after_ms = INT64_MAX};
    *LIST_ADD(sim, &db->key_since) = ++db->now.farm.key_generation;
    *LIST_ADD(sim, &db->key_revoked) = INT64_MAX;
    sim_note(sim, 94, "key added", client, db->now.farm.key_generation);
}

void token_key_revoke(struct sim *sim, int client)
{
    struct database *db = sim->db;
    for (size_t i = 0; i < db->keys.count; i++) {
        if (strcmp(db->keys.items[i].client, token_client(client)) != 0 ||
            db->key_revoked.items[i] != INT64_MAX)
            continue;
        db->key_revoked.items[i] = ++db->now.farm.key_generation;
        sim_note(sim, 94, "key revoked", client, db->now.farm.key_generation);
        return;
    }
}

void tokens_add_keys(struct sim *sim)
{
    make_keys();
    for (int i = 0; i < TOKEN_CLIENTS; i++)
        token_key_add(sim, i);
}

void token_digest(const char *kid, const char *input, size_t len, unsigned char out[64])
{
    struct buf text = {0};
    buf_puts(&text, kid);
    buf_append(&text, input, len);
    sha256(text.data, text.len, out);
    sha256(out, 32, out + 32);
    buf_fini(&text);
}

static char *sign_quick(struct sim *sim, const char *kid, const char *claims_json)
{
    char header[256];
    snprintf(header, sizeof(header), "{\"alg\":\"ES256\",\"kid\":\"%s\",\"typ\":\"JWT\"}", kid);
    char *head = base64url_encode(header, strlen(header));
    char *payload = base64url_encode(claims_json, strlen(claims_json));
    char *input = arena_printf(sim->arena, "%s.%s", head, payload);
    unsigned char digest[64];
    token_digest(kid, input, strlen(input), digest);
    char *signature = base64url_encode(digest, sizeof(digest));
    char *token = arena_printf(sim->arena, "%s.%s", input, signature);
    free(head);
    free(payload);
    free(signature);
    return token;
}

static char *sign(struct sim *sim, int client, const char *kid, const char *claims_json)
{
    if (!sim->plan.real_keys)
        return sign_quick(sim, kid, claims_json);
    char *token;
    struct failure f;
    enum err err = issue_token_quick(keys[client], kid, claims_json, &token, &f);
    assert(err == ERR_OK);
    char *copy = arena_strdup(sim->arena, token);
    free(token);
    return copy;
}

char *token_sign(struct sim *sim, int client, const char *claims_json)
{
    return sign(sim, client, kid_of(sim, client, key_count(sim, client) - 1), claims_json);
}

char *token_sign_unknown(struct sim *sim, const char *claims_json)
{
    return sign(sim, 0, "key-of-nobody", claims_json);
}
