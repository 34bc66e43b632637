#include "reader/routes.h"

#include <string.h>

#define PAGE ((1u << PARAM_LIMIT) | (1u << PARAM_AFTER))

static const struct route routes[] = {
    {"/v1/machines", handle_machines, PAGE | 1u << PARAM_STATE, "all machines, by name"},
    {"/v1/machines/{name}", handle_machine, 0, "one machine"},
    {"/v1/bookings", handle_bookings,
     PAGE | 1u << PARAM_CLIENT | 1u << PARAM_MACHINE | 1u << PARAM_STATE, "bookings, by id"},
    {"/v1/bookings/{id}", handle_booking, 0, "one booking"},
    {"/v1/decisions/{client}/{request_id}", handle_decision, 0,
     "the event of the decision that used a request id up"},
    {"/v1/farm", handle_farm, 0, "the farm, and what it understands"},
    {"/healthz", NULL, 0, "whether the process answers"},
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
    return *want == '\0' && *path == '\0';
}

const struct route *route_find(const char *path, struct arena *arena,
                               const char *args[CALL_PATH_ARGS])
{
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++)
        if (matches(&routes[i], path, arena, args))
            return &routes[i];
    return NULL;
}
