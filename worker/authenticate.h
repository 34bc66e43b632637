/* From a message's bytes to who sent it and what it claims. Pure but for the keyring: no clock, no
 * lock. What depends on now (expiry, a key's validity) is left to decide(). */
#ifndef BERTH_WORKER_AUTHENTICATE_H
#define BERTH_WORKER_AUTHENTICATE_H

#include <stddef.h>

#include "core/arena.h"
#include "core/decide.h"
#include "worker/keyring.h"

/* What a message turned out to be. */
struct authentication {
    struct credential credential;
    bool verified; /* the signature is that of the key's owner: claims are set */
    struct claims claims;
};

/* Takes a token apart and verifies it; sets *out completely. All strings live in the arena. */
void authenticate(const struct keyring *ring, const void *token, size_t len, struct arena *arena,
                  struct authentication *out);

#endif
