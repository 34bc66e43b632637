/* The clients' public keys, parsed once and kept until the database says that they changed. */
#ifndef BERTH_WORKER_KEYRING_H
#define BERTH_WORKER_KEYRING_H

#include <stdbool.h>
#include <stdint.h>

#include "core/limits.h"
#include "core/request.h"
#include "db/store.h"
#include "lib/jws.h"

struct keyring;

struct keyring_entry {
    char kid[LIMIT_KID_LEN + 1];
    char client[LIMIT_NAME_LEN + 1];
    enum role role;
    enum jws_alg alg;
    bool revoked;
    int64_t not_before_ms, not_after_ms;
    struct jws_key *key; /* owned; NULL: the stored PEM does not parse, nothing verifies under it */
};

struct keyring *keyring_new(void);
void keyring_free(struct keyring *ring); /* NULL is fine */
/* Reads all keys. On failure the ring is as it was. A key that does not parse is logged and kept
 * without its key: its tokens are rejected as bad_signature, the others go on. */
enum err keyring_load(struct keyring *ring, const struct store *store, struct failure *f);
/* NULL: no such key. The entry lives until the next load. */
const struct keyring_entry *keyring_find(const struct keyring *ring, const char *kid);

#endif
