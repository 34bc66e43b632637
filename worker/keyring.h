/* All clients with their limits and public keys. Each key is parsed once, and kept until the farm's
 * key_generation changes. */
#ifndef BERTH_WORKER_KEYRING_H
#define BERTH_WORKER_KEYRING_H

#include <stdbool.h>
#include <stdint.h>

#include "core/decide.h"
#include "core/limits.h"
#include "core/request.h"
#include "core/world.h"
#include "db/store.h"
#include "lib/token/jws.h"

struct keyring;

struct keyring_entry {
    char kid[LIMIT_KID_LEN + 1];
    char client[LIMIT_NAME_LEN + 1];
    struct credential credential; /* of a token that the key verifies, without the client's name */
    enum jws_alg alg;
    struct jws_key *key; /* owned; NULL: the stored PEM does not parse, and no token verifies */
};

struct keyring *keyring_new(void);
void keyring_free(struct keyring *ring); /* NULL is fine */
/* Reads all clients and keys, as a generation that was read before them: a change in between makes
 * a later generation, and is loaded with it. On failure the ring is as it was. A stored key that
 * does not parse is logged and kept without its key: its tokens are rejected as bad_signature. */
enum err keyring_load(struct keyring *ring, const struct store *store, int64_t generation,
                      struct failure *f);
/* The next batch must load the keys, whatever the farm's key_generation is. */
void keyring_expire(struct keyring *ring);
/* The farm's key_generation that the ring was loaded as; 0: expired. */
int64_t keyring_generation(const struct keyring *ring);
/* The client's limits, valid until the next load. NULL: none of them is counted over the client's
 * bookings. */
const struct client_limits *keyring_counted(const struct keyring *ring, const char *client);
/* Whether any client has such a limit. */
bool keyring_counts(const struct keyring *ring);
/* NULL: no such key. The entry is valid until the next load. */
const struct keyring_entry *keyring_find(const struct keyring *ring, const char *kid);

#endif
