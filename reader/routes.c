#include "reader/routes.h"

#include <assert.h>
#include <string.h>

#include "reader/http_text.h"

#define BIT(param) (1u << PARAM_##param)
#define PAGE       (BIT(LIMIT) | BIT(AFTER))
#define WINDOW     (BIT(FROM) | BIT(TO))

static const struct route routes[] = {
    {"/v1/farm", handle_farm, ROUTE_ONE_STATEMENT, ROUTE_QUICK, 0},
    {"/v1/machines", handle_machines, ROUTE_ONE_STATEMENT, ROUTE_SLOW,
     PAGE | BIT(STATE) | BIT(LABEL)},
    {"/v1/machines/{name}", handle_machine, ROUTE_ONE_STATEMENT, ROUTE_QUICK, 0},
    {"/v1/machines/{name}/timeline", handle_timeline, ROUTE_SNAPSHOT, ROUTE_SLOW, WINDOW},
    {"/v1/bookings", handle_bookings, ROUTE_SNAPSHOT, ROUTE_SLOW,
     PAGE | WINDOW | BIT(CLIENT) | BIT(USER) | BIT(MACHINE) | BIT(STATE)},
    {"/v1/bookings/{id}", handle_booking, ROUTE_LOOKUP, ROUTE_HTTP, 0},
    {"/v1/bookings/{id}/decisions", handle_booking_decisions, ROUTE_SNAPSHOT, ROUTE_SLOW, 0},
    {"/v1/series/{id}", handle_series, ROUTE_SNAPSHOT, ROUTE_QUICK, 0},
    {"/v1/decisions/{client}/{request_id}", handle_decision, ROUTE_ONE_STATEMENT, ROUTE_QUICK, 0},
    {"/v1/partitions/{part}/decisions", handle_partition_decisions, ROUTE_ONE_STATEMENT, ROUTE_SLOW,
     PAGE},
    {"/v1/clients", handle_clients, ROUTE_ONE_STATEMENT, ROUTE_SLOW, PAGE},
    {"/v1/clients/{name}", handle_client, ROUTE_SNAPSHOT, ROUTE_SLOW, 0},
    {"/v1/availability", handle_availability, ROUTE_SNAPSHOT, ROUTE_SLOW,
     BIT(GPUS) | BIT(MEMORY_GIB) | BIT(DURATION) | BIT(COUNT) | BIT(LABEL) | BIT(MACHINE) |
         BIT(FROM) | BIT(HORIZON) | BIT(LIMIT)},
    {"/v1/usage", handle_usage, ROUTE_SNAPSHOT, ROUTE_SLOW, WINDOW},
    {"/v1/events", handle_events, ROUTE_ONE_STATEMENT, ROUTE_QUICK,
     BIT(AFTER) | BIT(MACHINE) | BIT(CLIENT) | BIT(OUTCOME)},
    {"/healthz", handle_healthz, ROUTE_NO_DATABASE, ROUTE_HTTP, 0},
    {"/readyz", handle_readyz, ROUTE_ONE_STATEMENT, ROUTE_QUICK, 0},
    {"/metrics", handle_metrics, ROUTE_NO_DATABASE, ROUTE_SCRAPE, 0},
    {"/openapi.json", handle_openapi, ROUTE_NO_DATABASE, ROUTE_HTTP, 0},
    {"/Ressource", handle_flask_machines, ROUTE_ONE_STATEMENT, ROUTE_SLOW, ROUTE_OLD},
    {"/Ressource/{id}", handle_flask_machine, ROUTE_ONE_STATEMENT, ROUTE_QUICK, ROUTE_OLD},
    {"/Reservation", handle_flask_bookings, ROUTE_ONE_STATEMENT, ROUTE_SLOW, ROUTE_OLD},
    {"/Reservation/{id}", handle_flask_booking, ROUTE_ONE_STATEMENT, ROUTE_QUICK, ROUTE_OLD},
    {"/RessourceReserve", handle_flask_shares, ROUTE_ONE_STATEMENT, ROUTE_SLOW, ROUTE_OLD},
    {"/RessourceReserve/idRessource/{id}", handle_flask_shares_of_machine, ROUTE_ONE_STATEMENT,
     ROUTE_SLOW, ROUTE_OLD},
    {"/RessourceReserve/idReservation/{id}", handle_flask_shares_of_booking, ROUTE_ONE_STATEMENT,
     ROUTE_SLOW, ROUTE_OLD},
};

/* Segments of the longest path, and one more. */
#define SEGMENTS_MAX 8

/* A path in decoded segments: those between its slashes. */
struct path {
    size_t count;
    const char *segments[SEGMENTS_MAX];
};

/* False: no route has such a path. */
static bool split(const char *text, size_t len, struct arena *arena, struct path *out)
{
    const char *at = text, *end = text + len;
    *out = (struct path){0};
    while (at < end && *at == '/' && out->count < SEGMENTS_MAX) {
        at++;
        const char *slash = memchr(at, '/', (size_t)(end - at));
        size_t segment_len = (size_t)((slash ? slash : end) - at);
        const char *segment = http_decode(arena, at, segment_len, false);
        if (!segment)
            return false;
        out->segments[out->count++] = segment;
        at += segment_len;
    }
    return at == end;
}

static bool matches(const struct route *route, const struct path *path,
                    const char *args[CALL_PATH_ARGS])
{
    const char *want = route->path;
    size_t arg = 0, count = path->count;
    if ((route->params & ROUTE_OLD) && count > 1 && path->segments[count - 1][0] == '\0')
        count--;
    for (size_t i = 0; i < count; i++) {
        if (*want != '/')
            return false;
        size_t want_len = strcspn(++want, "/"), len = strlen(path->segments[i]);
        if (*want == '{') {
            if (len == 0)
                return false;
            args[arg++] = path->segments[i];
        } else if (want_len != len || memcmp(want, path->segments[i], len) != 0) {
            return false;
        }
        want += want_len;
    }
    return *want == '\0';
}

const struct route *route_find(const char *path, size_t len, struct arena *arena,
                               const char *args[CALL_PATH_ARGS])
{
    struct path segments;
    if (!split(path, len, arena, &segments))
        return NULL;
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        if (matches(&routes[i], &segments, args))
            return &routes[i];
    }
    return NULL;
}

size_t route_count(void)
{
    return sizeof(routes) / sizeof(routes[0]);
}

const struct route *route_at(size_t number)
{
    assert(number < route_count());
    return &routes[number];
}

size_t route_number(const struct route *route)
{
    assert(route >= routes && route < routes + route_count());
    return (size_t)(route - routes);
}
