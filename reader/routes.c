#include "reader/routes.h"

#include <assert.h>
#include <string.h>

#define BIT(param) (1u << PARAM_##param)
#define PAGE       (BIT(LIMIT) | BIT(AFTER))
#define WINDOW     (BIT(FROM) | BIT(TO))

static const struct route routes[] = {
    {"/v1/farm", handle_farm, ROUTE_ONE_STATEMENT, 0},
    {"/v1/machines", handle_machines, ROUTE_ONE_STATEMENT, PAGE | BIT(STATE) | BIT(LABEL)},
    {"/v1/machines/{name}", handle_machine, ROUTE_ONE_STATEMENT, 0},
    {"/v1/machines/{name}/timeline", handle_timeline, ROUTE_SNAPSHOT, WINDOW},
    {"/v1/bookings", handle_bookings, ROUTE_SNAPSHOT,
     PAGE | WINDOW | BIT(CLIENT) | BIT(USER) | BIT(MACHINE) | BIT(STATE)},
    {"/v1/bookings/{id}", handle_booking, ROUTE_LOOKUP, 0},
    {"/v1/bookings/{id}/decisions", handle_booking_decisions, ROUTE_SNAPSHOT, 0},
    {"/v1/series/{id}", handle_series, ROUTE_SNAPSHOT, 0},
    {"/v1/decisions/{client}/{request_id}", handle_decision, ROUTE_ONE_STATEMENT, 0},
    {"/v1/partitions/{part}/decisions", handle_partition_decisions, ROUTE_ONE_STATEMENT, PAGE},
    {"/v1/clients", handle_clients, ROUTE_ONE_STATEMENT, PAGE},
    {"/v1/clients/{name}", handle_client, ROUTE_SNAPSHOT, 0},
    {"/v1/availability", handle_availability, ROUTE_SNAPSHOT,
     BIT(GPUS) | BIT(MEMORY_GIB) | BIT(DURATION) | BIT(COUNT) | BIT(LABEL) | BIT(MACHINE) |
         BIT(FROM) | BIT(HORIZON) | BIT(LIMIT)},
    {"/v1/usage", handle_usage, ROUTE_SNAPSHOT, WINDOW},
    {"/v1/events", handle_events, ROUTE_ONE_STATEMENT,
     BIT(AFTER) | BIT(MACHINE) | BIT(CLIENT) | BIT(OUTCOME)},
    {"/healthz", handle_healthz, ROUTE_NO_DATABASE, 0},
    {"/readyz", handle_readyz, ROUTE_ONE_STATEMENT, 0},
    {"/metrics", handle_metrics, ROUTE_NO_DATABASE, 0},
    {"/openapi.json", handle_openapi, ROUTE_NO_DATABASE, 0},
    {"/Ressource", handle_flask_machines, ROUTE_ONE_STATEMENT, ROUTE_OLD},
    {"/Ressource/{id}", handle_flask_machine, ROUTE_ONE_STATEMENT, ROUTE_OLD},
    {"/Reservation", handle_flask_bookings, ROUTE_ONE_STATEMENT, ROUTE_OLD},
    {"/Reservation/{id}", handle_flask_booking, ROUTE_ONE_STATEMENT, ROUTE_OLD},
    {"/RessourceReserve", handle_flask_shares, ROUTE_ONE_STATEMENT, ROUTE_OLD},
    {"/RessourceReserve/idRessource/{id}", handle_flask_shares_of_machine, ROUTE_ONE_STATEMENT,
     ROUTE_OLD},
    {"/RessourceReserve/idReservation/{id}", handle_flask_shares_of_booking, ROUTE_ONE_STATEMENT,
     ROUTE_OLD},
};

/* Length of the segment: up to the next '/' or the end. */
static size_t segment_len(const char *at)
{
    return strcspn(at, "/");
}

static bool matches(const struct route *route, const char *path, struct arena *arena,
                    const char *args[CALL_PATH_ARGS])
{
    const char *want = route->path;
    size_t arg = 0;
    while (*want == '/' && *path == '/') {
        size_t want_len = segment_len(++want), len = segment_len(++path);
        if (want_len > 0 && *want == '{') {
            if (len == 0)
                return false;
            args[arg++] = arena_strndup(arena, path, len);
        } else if (want_len != len || memcmp(want, path, len) != 0) {
            return false;
        }
        want += want_len;
        path += len;
    }
    if ((route->params & ROUTE_OLD) && strcmp(path, "/") == 0)
        path++;
    return *want == '\0' && *path == '\0';
}

const struct route *route_find(const char *path, struct arena *arena,
                               const char *args[CALL_PATH_ARGS])
{
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        if (matches(&routes[i], path, arena, args))
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
