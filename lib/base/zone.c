#include "lib/base/zone.h"

#include <assert.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"

#define DAY_S      86400
/* Spans of constant offset that are remembered for a zone: those of seven years with two changes
 * each, the longest that a weekly booking can reach, and some more. */
#define SPAN_COUNT 16

/* Half-open, in seconds since 1970. */
struct span {
    int64_t from_s, until_s;
    int64_t offset_s;
};

struct zone {
    char name[ZONE_NAME_LEN + 1];
    GTimeZone *rules;
    uint64_t last_use;
    size_t span_count, next_span;
    struct span spans[SPAN_COUNT]; /* in no order; GLib's own search is a walk from 1900 on */
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

/* Whether the database has the zone: a file that begins as RFC 8536 §3.1 says. GLib would take a
 * name without a file for a POSIX rule, and complain about a file that holds something else. */
static bool has_file(const char *name)
{
    const char *folder = getenv("TZDIR");
    char path[512], magic[4];
    int len = snprintf(path, sizeof(path), "%s/%s",
                       folder && folder[0] != '\0' ? folder : "/usr/share/zoneinfo", name);
    if (len < 0 || (size_t)len >= sizeof(path))
        return false;
    FILE *file = fopen(path, "rbe");
    if (!file)
        return false;
    bool found = fread(magic, 1, sizeof(magic), file) == sizeof(magic) &&
                 memcmp(magic, "TZif", sizeof(magic)) == 0;
    fclose(file);
    return found;
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
    g_time_zone_unref(zone->rules);
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
    if (!has_file(name))
        return NULL;
    GTimeZone *rules = g_time_zone_new_identifier(name);
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

static int interval_at(struct zone *zone, int64_t utc_s)
{
    int interval = g_time_zone_find_interval(zone->rules, G_TIME_TYPE_UNIVERSAL, utc_s);
    assert(interval >= 0);
    return interval;
}

/* The last second of GLib's interval around `utc_s` in a direction (1 or -1). */
static int64_t reach(struct zone *zone, int64_t utc_s, int interval, int64_t direction)
{
    const int64_t bound_s = direction > 0 ? ZONE_TIME_MAX_S + 2 * DAY_S : -2 * DAY_S;
    int64_t inside = utc_s;
    for (int64_t step = 64 * DAY_S;; step *= 2) {
        int64_t outside = inside + direction * step;
        if ((bound_s - outside) * direction <= 0) {
            if (interval_at(zone, bound_s) == interval)
                return bound_s;
            outside = bound_s;
        }
        if (interval_at(zone, outside) == interval) {
            inside = outside;
            continue;
        }
        while (outside - inside != direction) {
            int64_t middle = inside + (outside - inside) / 2;
            if (interval_at(zone, middle) == interval) {
                inside = middle;
            } else {
                outside = middle;
            }
        }
        return inside;
    }
}

static const struct span *find_span(struct zone *zone, int64_t utc_s)
{
    int interval = interval_at(zone, utc_s);
    struct span *span = &zone->spans[zone->next_span];
    zone->next_span = (zone->next_span + 1) % SPAN_COUNT;
    if (zone->span_count < SPAN_COUNT)
        zone->span_count++;
    *span = (struct span){
        .from_s = reach(zone, utc_s, interval, -1),
        .until_s = reach(zone, utc_s, interval, 1) + 1,
        .offset_s = g_time_zone_get_offset(zone->rules, interval),
    };
    assert(span->from_s <= utc_s && utc_s < span->until_s);
    return span;
}

int64_t zone_offset_s(struct zone *zone, int64_t utc_s)
{
    assert(utc_s >= -2 * DAY_S && utc_s <= ZONE_TIME_MAX_S + 2 * DAY_S);
    for (size_t i = 0; i < zone->span_count; i++) {
        const struct span *span = &zone->spans[i];
        if (span->from_s <= utc_s && utc_s < span->until_s)
            return span->offset_s;
    }
    return find_span(zone, utc_s)->offset_s;
}

/* Offsets are less than a day, and changes of them more than two days apart: whatever the clocks
 * show now, they run by the offset of a day ago or by that of a day ahead. */
int zone_instants(struct zone *zone, int64_t local_s, int64_t utc_s_out[2])
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

int64_t zone_utc_s(struct zone *zone, int64_t local_s)
{
    int64_t instants[2];
    if (zone_instants(zone, local_s, instants) > 0)
        return instants[0];
    return local_s - zone_offset_s(zone, local_s - DAY_S);
}
