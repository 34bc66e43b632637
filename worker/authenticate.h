/* From a message's bytes to who sent it and what it claims. Pure but for the keyring: no clock, no
 * lock. What depends on now (expiry, a key's validity) is left to decide(). */
#ifndef BERTH_WORKER_AUTHENTICATE_H
#define BERTH_WORKER_AUTHENTICATE_H

#include <stddef.h>

#include "core/arena.h"
#include "core/decide.h"
#include "worker/keyring.h"

/* Sets *credential, and *claims when the signature verified: returns whether it did. All strings
 * live in the arena. */
bool authenticate(const struct keyring *ring, const void *token, size_t len, struct arena *arena,
                  struct credential *credential, struct claims *claims);

#endif
