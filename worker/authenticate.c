#include "worker/authenticate.h"

#include "lib/codec/claims.h"
#include "lib/token/jws.h"

static void fail(struct credential *credential, enum reason reason, const char *detail)
{
    credential->failure = reason;
    credential->detail = detail;
}

/* The key that the header names. NULL, with the failure set: there is none, or the header names
 * another algorithm than the key's record, which alone decides (RFC 8725 §3.1). */
static const struct keyring_entry *choose_key(const struct keyring *ring,
                                              const struct jws_parts *parts, struct arena *arena,
                                              struct credential *credential)
{
    if (!parts->alg || jws_alg_from_name(parts->alg) == JWS_ALG_COUNT) {
        fail(credential, REASON_UNSUPPORTED_ALGORITHM,
             "The token's alg must be RS256 or ES256; sign it with such a key.");
        return NULL;
    }
    const struct keyring_entry *entry = parts->kid ? keyring_find(ring, parts->kid) : NULL;
    if (!entry) {
        fail(credential, REASON_UNKNOWN_KEY,
             parts->kid ? "No key with the header's kid is registered with this farm; register it "
                          "with berth-admin key add."
                        : "The header has no kid; name the key that signed the token there.");
        return NULL;
    }
    if (jws_alg_from_name(parts->alg) != entry->alg) {
        fail(credential, REASON_UNSUPPORTED_ALGORITHM,
             "The token's alg is not the one of the key that its kid names.");
        return NULL;
    }
    *credential = entry->credential;
    credential->client = arena_strdup(arena, entry->client);
    return entry;
}

void authenticate(const struct keyring *ring, const void *token, size_t len, struct arena *arena,
                  struct authentication *out)
{
    struct credential *credential = &out->credential;
    *credential = (struct credential){.not_after_ms = INT64_MAX};
    out->verified = false;
    struct jws_parts parts;
    const char *fault = jws_split(token, len, &parts);
    if (fault) {
        fail(credential, REASON_MALFORMED, fault);
        return;
    }
    const struct keyring_entry *entry = choose_key(ring, &parts, arena, credential);
    if (entry && !entry->key) {
        fail(credential, REASON_BAD_SIGNATURE,
             "The key that the token's kid names cannot be used by this release; register a new "
             "one.");
    } else if (entry && !jws_verify(entry->key, &parts)) {
        fail(credential, REASON_BAD_SIGNATURE,
             "The signature does not verify under the key that the token's kid names.");
    }
    out->verified = credential->failure == REASON_NONE;
    if (out->verified)
        claims_decode(parts.payload, parts.payload_len, arena, &out->claims);
    jws_parts_fini(&parts);
}
