#include "lib/base/zone.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/base/zone_rules.h"

#define DAY_S 86400

struct zone {
    char name[ZONE_NAME_LEN + 1];
    struct zone_rules *rules;
    uint64_t last_use;
};

static _Thread_local struct {
    struct zone *zones[ZONE_CACHE_COUNT];
    size_t count;
    uint64_t uses;
} cache;

bool zone_name_is_valid(const char *name)
{
    size_t len = 0;
    char before = '/';
    for (; name[len] != '\0'; len++) {
        char c = name[len];
        bool capital = c >= 'A' && c <= 'Z';
        bool other = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '+' ||
                     c == '-' || c == '/';
        if (len >= ZONE_NAME_LEN || !(capital || (other && before != '/')))
            return false;
        before = c;
    }
    return before != '/';
}

static const char *database(void)
{
    const char *folder = getenv("TZDIR");
    return folder && folder[0] != '\0' ? folder : "/usr/share/zoneinfo";
}

/* The rules in the database's file of that name; NULL: it has none. */
static struct zone_rules *read_rules(const char *name)
{
    char *path = xasprintf("%s/%s", database(), name);
    struct zone_rules *rules = zone_rules_read(path);
    free(path);
    return rules;
}

/* Lines are "Z NAME …" for a zone, and "L TARGET NAME" for another name of one. */
void zone_each(bool (*fn)(void *arg, const char *name), void *arg)
{
    char line[512], *path = xasprintf("%s/tzdata.zi", database());
    FILE *file = fopen(path, "rbe");
    bool goes_on = true;
    free(path);
    while (file && goes_on && fgets(line, sizeof(line), file)) {
        char *name = line + 2;
        if (line[0] != 'Z' && line[0] != 'L')
            continue;
        if (line[0] == 'L')
            name += strcspn(name, " ") + 1;
        name[strcspn(name, " \n")] = '\0';
        if (zone_name_is_valid(name))
            goes_on = fn(arg, name);
    }
    if (file)
        fclose(file);
}

static struct zone *remembered(const char *name)
{
    for (size_t i = 0; i < cache.count; i++) {
        if (strcmp(cache.zones[i]->name, name) == 0)
            return cache.zones[i];
    }
    return NULL;
}

static void zone_free(struct zone *zone)
{
    zone_rules_free(zone->rules);
    free(zone);
}

/* The place for the next zone: a free one, or that of the least recently used zone. */
static struct zone **place_for_one(void)
{
    if (cache.count < ZONE_CACHE_COUNT)
        return &cache.zones[cache.count++];
    struct zone **oldest = &cache.zones[0];
    for (size_t i = 1; i < cache.count; i++) {
        if (cache.zones[i]->last_use < (*oldest)->last_use)
            oldest = &cache.zones[i];
    }
    zone_free(*oldest);
    return oldest;
}

static struct zone *load(const char *name)
{
    struct zone_rules *rules = read_rules(name);
    if (!rules)
        return NULL;
    struct zone *zone = xcalloc(1, sizeof(*zone));
    memcpy(zone->name, name, strlen(name) + 1);
    zone->rules = rules;
    *place_for_one() = zone;
    return zone;
}

struct zone *zone_find(const char *name)
{
    if (!zone_name_is_valid(name))
        return NULL;
    struct zone *zone = remembered(name);
    if (!zone)
        zone = load(name);
    if (zone)
        zone->last_use = ++cache.uses;
    return zone;
}

void zone_forget(void)
{
    for (size_t i = 0; i < cache.count; i++)
        zone_free(cache.zones[i]);
    cache.count = 0;
}

enum err zone_check_database(struct failure *f)
{
    struct zone_rules *rules = read_rules("Etc/UTC");
    if (!rules) {
        return failure_set(f, ERR_CONFIG,
                           "there is no time zone database in %s: install tzdata, or set TZDIR to "
                           "the folder of one",
                           database());
    }
    zone_rules_free(rules);
    return ERR_OK;
}

bool zone_setting_is_valid(const char *tz)
{
    if (*tz == ':')
        tz++;
    if (*tz == '\0' || strcmp(tz, "UTC") == 0 || zone_rules_is_posix(tz))
        return true;
    struct zone_rules *rules = *tz == '/' ? zone_rules_read(tz) : read_rules(tz);
    if (rules)
        zone_rules_free(rules);
    return rules != NULL;
}

int64_t zone_offset_s(const struct zone *zone, int64_t utc_s)
{
    assert(utc_s >= -2 * DAY_S && utc_s <= ZONE_TIME_MAX_S + 2 * DAY_S);
    return zone_rules_offset_s(zone->rules, utc_s);
}

/* Offsets are less than a day, and changes of them more than two days apart: whatever the clocks
 * show now, they run by the offset of a day ago or by that of a day ahead. */
int zone_instants(const struct zone *zone, int64_t local_s, int64_t utc_s_out[2])
{
    int64_t before_s = zone_offset_s(zone, local_s - DAY_S);
    int64_t after_s = zone_offset_s(zone, local_s + DAY_S);
    int count = 0;
    if (zone_offset_s(zone, local_s - before_s) == before_s)
        utc_s_out[count++] = local_s - before_s;
    if (after_s != before_s && zone_offset_s(zone, local_s - after_s) == after_s)
        utc_s_out[count++] = local_s - after_s;
    return count;
}

int64_t zone_utc_s(const struct zone *zone, int64_t local_s)
{
    int64_t instants[2];
    if (zone_instants(zone, local_s, instants) > 0)
        return instants[0];
    return local_s - zone_offset_s(zone, local_s - DAY_S);
}
