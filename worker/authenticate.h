/* Finds the sender and the claims of a message. Depends on the bytes and the keyring only: decide()
 * checks what depends on the time (expiry, a key's validity). */
#ifndef BERTH_WORKER_AUTHENTICATE_H
#define BERTH_WORKER_AUTHENTICATE_H

#include <stddef.h>

#include "core/arena.h"
#include "core/decide.h"
#include "worker/keyring.h"

struct authentication {
    struct credential credential;
    bool verified; /* the signature verifies under the key; claims are set */
    struct claims claims;
};

/* Parses and verifies a token; sets all of *out. Strings of *out live in the arena. */
void authenticate(const struct keyring *ring, const void *token, size_t len, struct arena *arena,
                  struct authentication *out);

#endif
