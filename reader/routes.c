#include "reader/routes.h"

#include <assert.h>
#include <string.h>

#define BIT(param) (1u << PARAM_##param)
#define PAGE       (BIT(LIMIT) | BIT(AFTER))
#define WINDOW     (BIT(FROM) | BIT(TO))

static const struct route routes[] = {
    {.path = "/v1/farm",
     .one_statement = true,
     .handler = handle_farm,
     .doc = "the farm, and what it understands"},
    {.path = "/v1/machines",
     .one_statement = true,
     .handler = handle_machines,
     .params = PAGE | BIT(STATE) | BIT(LABEL),
     .doc = "machines, by name"},
    {.path = "/v1/machines/{name}",
     .one_statement = true,
     .handler = handle_machine,
     .doc = "one machine"},
    {.path = "/v1/machines/{name}/timeline",
     .handler = handle_timeline,
     .params = WINDOW,
     .doc = "who holds what of it over a window, and what is free"},
    {.path = "/v1/bookings",
     .handler = handle_bookings,
     .params = PAGE | WINDOW | BIT(CLIENT) | BIT(USER) | BIT(MACHINE) | BIT(STATE),
     .doc = "bookings, by id"},
    {.path = "/v1/bookings/{id}",
     .without_database = true,
     .looks_up = true,
     .handler = handle_booking,
     .doc = "one booking"},
    {.path = "/v1/bookings/{id}/decisions",
     .handler = handle_booking_decisions,
     .doc = "the events of the decisions that made and changed it"},
    {.path = "/v1/series/{id}",
     .handler = handle_series,
     .doc = "the bookings of a recurring one, by id"},
    {.path = "/v1/decisions/{client}/{request_id}",
     .one_statement = true,
     .handler = handle_decision,
     .doc = "the event of the decision that used a request id up"},
    {.path = "/v1/partitions/{part}/decisions",
     .one_statement = true,
     .handler = handle_partition_decisions,
     .params = PAGE,
     .doc = "a partition's events after a sequence"},
    {.path = "/v1/clients",
     .one_statement = true,
     .handler = handle_clients,
     .params = PAGE,
     .doc = "clients with their limits, by name"},
    {.path = "/v1/clients/{name}",
     .handler = handle_client,
     .doc = "one client, with what it uses of its limits"},
    {.path = "/v1/availability",
     .handler = handle_availability,
     .params = BIT(GPUS) | BIT(MEMORY_GIB) | BIT(DURATION) | BIT(COUNT) | BIT(LABEL) |
               BIT(MACHINE) | BIT(FROM) | BIT(HORIZON) | BIT(LIMIT),
     .doc = "when something is free"},
    {.path = "/v1/usage",
     .handler = handle_usage,
     .params = WINDOW,
     .doc = "GPU-hours booked and offered"},
    {.path = "/v1/events",
     .one_statement = true,
     .handler = handle_events,
     .params = BIT(AFTER) | BIT(MACHINE) | BIT(CLIENT) | BIT(OUTCOME),
     .doc = "events as they happen (server-sent events)"},
    {.path = "/healthz",
     .handler = handle_healthz,
     .without_database = true,
     .doc = "whether the process answers"},
    {.path = "/readyz",
     .one_statement = true,
     .handler = handle_readyz,
     .doc = "whether the database answers"},
    {.path = "/metrics",
     .handler = handle_metrics,
     .without_database = true,
     .doc = "numbers for Prometheus"},
    {.path = "/openapi.json",
     .handler = handle_openapi,
     .without_database = true,
     .doc = "all routes, for programs"},
    {.path = "/Ressource", .one_statement = true, .handler = handle_flask_machines, .old = true},
    {.path = "/Ressource/{id}",
     .one_statement = true,
     .handler = handle_flask_machine,
     .old = true},
    {.path = "/Reservation", .one_statement = true, .handler = handle_flask_bookings, .old = true},
    {.path = "/Reservation/{id}",
     .one_statement = true,
     .handler = handle_flask_booking,
     .old = true},
    {.path = "/RessourceReserve",
     .one_statement = true,
     .handler = handle_flask_shares,
     .old = true},
    {.path = "/RessourceReserve/idRessource/{id}",
     .one_statement = true,
     .handler = handle_flask_shares_of_machine,
     .old = true},
    {.path = "/RessourceReserve/idReservation/{id}",
     .one_statement = true,
     .handler = handle_flask_shares_of_booking,
     .old = true},
};

/* One segment: up to the next '/' or the end. */
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
    if (route->old && strcmp(path, "/") == 0)
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
