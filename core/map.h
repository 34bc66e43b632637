/* A hash map of pointers. A value holds its own key, and the caller gives the function that
 * compares it. Open addressing with linear probing and the hash beside the pointer; a removal moves
 * the values behind it back, without tombstones; at most three quarters full. Borrows all values.
 * Out of memory aborts. */
#ifndef BERTH_CORE_MAP_H
#define BERTH_CORE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map_slot {
    uint64_t hash;
    void *value; /* NULL: empty */
};

/* Zeroed is an empty map. The members belong to map.c. */
struct map {
    struct map_slot *slots;
    size_t room; /* 0 or a power of two */
    size_t count;
};

/* Whether `value` has the key `key`. */
typedef bool map_equal_fn(const void *value, const void *key);

void map_fini(struct map *map);
/* Forgets all values, keeps the memory. */
void map_clear(struct map *map);
/* The value with this key; NULL: none. */
void *map_get(const struct map *map, uint64_t hash, map_equal_fn *equal, const void *key);
/* Adds a value (not NULL), whose key must not be in the map yet. */
void map_put(struct map *map, uint64_t hash, void *value);
/* Removes and returns the value with this key; NULL: there was none. */
void *map_remove(struct map *map, uint64_t hash, map_equal_fn *equal, const void *key);

/* FNV-1a of a string, continued from `seed` (the first one is MAP_SEED). Without a key: a client
 * that picks colliding names only causes a linear search through the request ids of one batch. */
#define MAP_SEED UINT64_C(0xcbf29ce484222325)
uint64_t map_hash_text(uint64_t seed, const char *text);
uint64_t map_hash_int(int64_t number);

#endif
