/* A request that is sent again: what became of it the first time. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "lib/base/mem.h"
#include "lib/codec/event.h"
#include "lib/codec/member.h"

static bool same_text(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

/* Whether the booking has exactly the allocations asked for, in any order. */
static bool same_shares(const json_t *asked, const json_t *booked)
{
    size_t i, k;
    const json_t *share, *other;
    json_array_foreach(asked, i, share)
    {
        bool found = false;
        json_array_foreach(booked, k, other) found |= json_equal((json_t *)share, (json_t *)other);
        if (!found)
            return false;
    }
    return json_array_size(asked) == json_array_size(booked);
}

/* Whether an accepted event tells of what the request names. A member that the request lacks says
 * nothing, as the allocations of a cancel or of `any`. */
static bool same_subject(const json_t *request, const json_t *data)
{
    const json_t *booking = json_object_get(request, "booking");
    const json_t *series = json_object_get(request, "series");
    const json_t *shares = json_object_get(request, "allocations");
    const json_t *machine = json_object_get(request, "machine");
    if (booking && !json_equal((json_t *)booking, (json_t *)member(data, "booking.id")))
        return false;
    if (series && !json_equal((json_t *)series, (json_t *)member(data, "series.id")))
        return false;
    if (machine && !same_text(json_string_value(machine), member_text(data, "machine.name")))
        return false;
    return !shares || json_object_get(data, "series") ||
           same_shares(shares, member(data, "booking.allocations"));
}

static bool can_be(const json_t *request, const char *user, const json_t *event)
{
    const json_t *data = json_object_get(event, "data");
    if (!same_text(member_text(request, "type"), member_text(data, "request.type")) ||
        !same_text(user, member_text(data, "request.user")))
        return false;
    return !same_text(member_text(event, "type"), EVENT_TYPE_ACCEPTED) ||
           same_subject(request, data);
}

bool cli_print_earlier(struct cli *cli, const json_t *request, int *code)
{
    const char *id = cli_value(cli, "request-id");
    char *client = cli_escape(config_string(cli->cfg, "client.name")), *part = cli_escape(id);
    char *bytes = NULL;
    json_t *event = NULL;
    bool known = cli_get_if_there(cli, &event, &bytes, "/v1/decisions/%s/%s", client, part) &&
                 can_be(request, cli_user(cli), event);
    if (known) {
        *code = cli_print_decision(cli, event, bytes, NULL);
        if (cli->format == CLI_TEXT) {
            cli_note(cli, "request %s was decided before, as %s; nothing is sent", id,
                     member_shown(event, "id"));
        }
    }
    free(client);
    free(part);
    free(bytes);
    json_decref(event);
    return known;
}

char *cli_advice(const char *request_id)
{
    return xasprintf("`berth why %s` tells what became of it; the same command with --request-id "
                     "%s asks that first, and sends it again if nothing did",
                     request_id, request_id);
}
