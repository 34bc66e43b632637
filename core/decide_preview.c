/* A preview: the answer to a booking.create that nobody has sent. Nothing is changed. */
#include "core/plan.h"

#include <assert.h>

void decide_preview(struct world *world, const struct booking_create *create, int64_t now_ms,
                    struct preview *out)
{
    /* No client has the name "", so no counted limit applies. */
    const struct credential credential = {.role = ROLE_SUBMITTER, .client = ""};
    const struct submission in = {.now_ms = now_ms, .credential = &credential};
    struct decider d = {
        .world = world,
        .in = &in,
        .out = &out->decision,
        .floor_ms = time_floor_s(now_ms),
        .ceil_ms = time_ceil_s(now_ms),
    };
    assert(create->window_count == 0);
    *out = (struct preview){.decision = {.next_available_ms = TIME_NONE, .fitting = -1}};
    struct plan plan = plan_create(&d, create);
    if (!plan_check_request(&d, &plan) || !plan_check_capacity(&d, &plan))
        return;
    struct share *shares = arena_alloc(world_arena(world), plan.ask_count * sizeof(*shares));
    for (size_t i = 0; i < plan.ask_count; i++)
        shares[i] = (struct share){.machine = plan.asks[i].name, .amount = plan.asks[i].amount};
    out->shares = shares;
    out->share_count = plan.ask_count;
}
