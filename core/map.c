#include "core/map.h"

#include "core/heap.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_ROOM ((size_t)64)

void map_fini(struct map *map)
{
    free(map->slots);
    *map = (struct map){0};
}

void map_clear(struct map *map)
{
    if (map->count == 0)
        return;
    memset(map->slots, 0, map->room * sizeof(*map->slots));
    map->count = 0;
}

/* The slot with the key, or the empty slot where the search ends. */
static struct map_slot *find(const struct map *map, uint64_t hash, map_equal_fn *equal,
                             const void *key)
{
    assert(map->count < map->room);
    size_t i = (size_t)hash & (map->room - 1);
    while (map->slots[i].value) {
        if (map->slots[i].hash == hash && equal && equal(map->slots[i].value, key))
            break;
        i = (i + 1) & (map->room - 1);
    }
    return &map->slots[i];
}

void *map_get(const struct map *map, uint64_t hash, map_equal_fn *equal, const void *key)
{
    assert(equal);
    return map->count == 0 ? NULL : find(map, hash, equal, key)->value;
}

static void grow(struct map *map)
{
    struct map old = *map;
    map->room = old.room == 0 ? FIRST_ROOM : old.room * 2;
    assert(map->room > old.room && (map->room & (map->room - 1)) == 0);
    map->slots = heap_alloc(map->room * sizeof(*map->slots));
    for (size_t i = 0; i < old.room; i++) {
        if (old.slots[i].value)
            *find(map, old.slots[i].hash, NULL, NULL) = old.slots[i];
    }
    free(old.slots);
}

void map_put(struct map *map, uint64_t hash, void *value)
{
    assert(value);
    if ((map->count + 1) * 4 > map->room * 3)
        grow(map);
    struct map_slot *slot = find(map, hash, NULL, NULL);
    assert(!slot->value);
    *slot = (struct map_slot){.hash = hash, .value = value};
    map->count++;
}

void *map_remove(struct map *map, uint64_t hash, map_equal_fn *equal, const void *key)
{
    assert(equal);
    if (map->count == 0)
        return NULL;
    struct map_slot *slot = find(map, hash, equal, key);
    void *removed = slot->value;
    if (!removed)
        return NULL;
    /* A value behind the hole may move into it unless its home is in (hole, next]. */
    size_t mask = map->room - 1;
    size_t hole = (size_t)(slot - map->slots);
    for (size_t next = (hole + 1) & mask; map->slots[next].value; next = (next + 1) & mask) {
        size_t home = (size_t)map->slots[next].hash & mask;
        if (((next - home) & mask) >= ((next - hole) & mask)) {
            map->slots[hole] = map->slots[next];
            hole = next;
        }
    }
    map->slots[hole] = (struct map_slot){0};
    map->count--;
    return removed;
}

uint64_t map_hash_text(uint64_t seed, const char *text)
{
    uint64_t hash = seed;
    for (; *text != '\0'; text++)
        hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    /* Mix the high bits into the low ones, which choose the slot. */
    return hash ^ (hash >> 32);
}

uint64_t map_hash_int(int64_t number)
{
    uint64_t hash = (uint64_t)number;
    hash = (hash ^ (hash >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    hash = (hash ^ (hash >> 27)) * UINT64_C(0x94d049bb133111eb);
    return hash ^ (hash >> 31);
}
