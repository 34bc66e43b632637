#include "core/request.h"

#include <assert.h>
#include <string.h>

#include "core/limits.h"

static const char *const type_names[REQUEST_TYPE_COUNT] = {
#define REQUEST_TYPE_NAME(id, name) [REQUEST_##id] = name,
    REQUEST_TYPE_TABLE(REQUEST_TYPE_NAME)
#undef REQUEST_TYPE_NAME
};
static const char *const machine_state_names[MACHINE_STATE_COUNT] = {
    [MACHINE_UP] = "up", [MACHINE_DRAINING] = "draining", [MACHINE_RETIRED] = "retired"};
static const char *const booking_state_names[BOOKING_STATE_COUNT] = {
    [BOOKING_BOOKED] = "booked",
    [BOOKING_CANCELLED] = "cancelled",
    [BOOKING_RELEASED] = "released"};
static const char *const role_names[ROLE_COUNT] = {
    [ROLE_SUBMITTER] = "submitter", [ROLE_ADMIN] = "admin"};

/* The index of `name`, or `count`. */
static unsigned find(const char *const *names, unsigned count, const char *name)
{
    assert(name);
    unsigned i = 0;
    while (i < count && strcmp(names[i], name) != 0)
        i++;
    return i;
}

const char *request_type_name(enum request_type type)
{
    assert((unsigned)type < REQUEST_TYPE_COUNT);
    return type_names[type];
}

enum request_type request_type_from_name(const char *name)
{
    return (enum request_type)find(type_names, REQUEST_TYPE_COUNT, name);
}

const char *machine_state_name(enum machine_state state)
{
    assert((unsigned)state < MACHINE_STATE_COUNT);
    return machine_state_names[state];
}

enum machine_state machine_state_from_name(const char *name)
{
    return (enum machine_state)find(machine_state_names, MACHINE_STATE_COUNT, name);
}

const char *booking_state_name(enum booking_state state)
{
    assert((unsigned)state < BOOKING_STATE_COUNT);
    return booking_state_names[state];
}

enum booking_state booking_state_from_name(const char *name)
{
    return (enum booking_state)find(booking_state_names, BOOKING_STATE_COUNT, name);
}

const char *role_name(enum role role)
{
    assert((unsigned)role < ROLE_COUNT);
    return role_names[role];
}

enum role role_from_name(const char *name)
{
    return (enum role)find(role_names, ROLE_COUNT, name);
}

/* Spelled out because isalnum() asks the locale. */
static bool is_name_char(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

bool name_is_valid(const char *text, size_t max_len, const char *extra)
{
    assert(text);
    size_t len = 0;
    for (; text[len] != '\0'; len++) {
        bool allowed = is_name_char(text[len]) || (extra && strchr(extra, text[len]));
        if (len >= max_len || !allowed)
            return false;
    }
    return len > 0;
}

bool farm_name_is_valid(const char *text)
{
    size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return len >= 1 && len <= LIMIT_FARM_NAME_LEN && text[len] == '\0';
}
