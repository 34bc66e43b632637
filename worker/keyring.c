#include "worker/keyring.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/base/mem.h"

struct ring_client {
    char name[LIMIT_NAME_LEN + 1];
    struct client_limits limits;
};

struct keyring {
    struct keyring_entry *entries; /* sorted by kid */
    size_t count, capacity;
    struct ring_client *clients; /* sorted by name */
    size_t client_count, client_capacity;
    size_t counted_count; /* clients with a counted limit */
    int64_t generation;
};

static void clear(struct keyring *ring)
{
    for (size_t i = 0; i < ring->count; i++)
        jws_key_free(ring->entries[i].key);
    free(ring->entries);
    free(ring->clients);
    *ring = (struct keyring){0};
}

struct keyring *keyring_new(void)
{
    return xcalloc(1, sizeof(struct keyring));
}

void keyring_free(struct keyring *ring)
{
    if (!ring)
        return;
    clear(ring);
    free(ring);
}

static void copy_text(char *to, size_t size, const char *from)
{
    size_t len = strlen(from);
    assert(len < size); /* the column is no longer than that */
    memcpy(to, from, len + 1);
}

static void add_row(void *arg, const struct key_row *row)
{
    struct keyring *ring = arg;
    ring->entries = xgrow(ring->entries, ring->count, &ring->capacity, sizeof(*ring->entries));
    struct keyring_entry *entry = &ring->entries[ring->count++];
    *entry = (struct keyring_entry){.credential = {.role = row->role,
                                                   .revoked = row->revoked,
                                                   .not_before_ms = row->not_before_ms,
                                                   .not_after_ms = row->not_after_ms},
                                    .alg = row->alg};
    copy_text(entry->kid, sizeof(entry->kid), row->kid);
    copy_text(entry->client, sizeof(entry->client), row->client);
    struct failure f;
    if (jws_key_parse(row->pem, strlen(row->pem), &entry->key, &f) != ERR_OK) {
        struct log_quoted kid, why;
        log_error("a stored key does not parse; its tokens are rejected", "kid=%s err=%s",
                  log_quote(&kid, row->kid), log_quote(&why, f.text));
        entry->key = NULL;
    }
}

static void add_client(void *arg, const struct client_row *row)
{
    struct keyring *ring = arg;
    ring->clients = xgrow(ring->clients, ring->client_count, &ring->client_capacity,
                          sizeof(*ring->clients));
    struct ring_client *client = &ring->clients[ring->client_count++];
    *client = (struct ring_client){.limits = row->limits};
    copy_text(client->name, sizeof(client->name), row->name);
    ring->counted_count += client_limits_count(&row->limits) ? 1 : 0;
}

/* Clients and keys begin with the text that they are sorted by: a pointer to one is a pointer to its
 * text. */
_Static_assert(offsetof(struct ring_client, name) == 0, "a client begins with its name");
_Static_assert(offsetof(struct keyring_entry, kid) == 0, "a key begins with its kid");

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

static const struct ring_client *find_client(const struct keyring *ring, const char *name)
{
    if (ring->client_count == 0)
        return NULL;
    return bsearch(name, ring->clients, ring->client_count, sizeof(*ring->clients), by_text);
}

enum err keyring_load(struct keyring *ring, const struct store *store, int64_t generation,
                      struct failure *f)
{
    struct keyring fresh = {.generation = generation};
    if (store->ops->clients(store->self, add_client, &fresh, f) != ERR_OK ||
        store->ops->keys(store->self, add_row, &fresh, f) != ERR_OK) {
        clear(&fresh);
        return failure_wrap(f, "load the clients and their keys");
    }
    if (fresh.client_count > 0)
        qsort(fresh.clients, fresh.client_count, sizeof(*fresh.clients), by_text);
    if (fresh.count > 0)
        qsort(fresh.entries, fresh.count, sizeof(*fresh.entries), by_text);
    for (size_t i = 0; i < fresh.count; i++) {
        const struct ring_client *client = find_client(&fresh, fresh.entries[i].client);
        if (client) /* else it was added in between, which made a later generation */
            fresh.entries[i].credential.limits = client->limits;
    }
    clear(ring);
    *ring = fresh;
    return ERR_OK;
}

void keyring_expire(struct keyring *ring)
{
    ring->generation = 0; /* generations of farms begin at 1 */
}

int64_t keyring_generation(const struct keyring *ring)
{
    return ring->generation;
}

const struct client_limits *keyring_counted(const struct keyring *ring, const char *client)
{
    const struct ring_client *found = find_client(ring, client);
    return found && client_limits_count(&found->limits) ? &found->limits : NULL;
}

bool keyring_counts(const struct keyring *ring)
{
    return ring->counted_count > 0;
}

const struct keyring_entry *keyring_find(const struct keyring *ring, const char *kid)
{
    if (ring->count == 0)
        return NULL;
    return bsearch(kid, ring->entries, ring->count, sizeof(*ring->entries), by_text);
}
