/* machine.register and machine.update. */
#include "core/limits.h"
#include "lib/codec/claims_request.h"

/* `type` has been read when these are used; it is here because it is a known field. The order is
 * that of docs/messages.md and the one in which faults are found. */
#define AT(member) offsetof(struct request, machine_register.member)
static const struct field register_fields[] = {
    {"type", REQUIRED, NULL, 0, 0, 0, 0},
    {"machine", REQUIRED, parse_name, AT(machine), 0, 0, 0},
    {"gpus", REQUIRED, parse_int, AT(capacity.gpus), 0, 0, LIMIT_GPUS},
    {"memory_gib", REQUIRED, parse_int, AT(capacity.memory_gib), 0, 0, LIMIT_MEMORY_GIB},
    {"labels", OPTIONAL, parse_labels, AT(labels), 0, 0, 0},
    {"id", OPTIONAL, parse_int, AT(id), 0, 1, LIMIT_CHOSEN_MACHINE_ID},
};
#undef AT
#define AT(member) offsetof(struct request, machine_update.member)
static const struct field update_fields[] = {
    {"type", REQUIRED, NULL, 0, 0, 0, 0},
    {"machine", REQUIRED, parse_name, AT(machine), 0, 0, 0},
    {"gpus", OPTIONAL, parse_int, AT(capacity.gpus), AT(has_gpus), 0, LIMIT_GPUS},
    {"memory_gib", OPTIONAL, parse_int, AT(capacity.memory_gib), AT(has_memory_gib), 0,
     LIMIT_MEMORY_GIB},
    {"labels", OPTIONAL, parse_labels, AT(labels), AT(has_labels), 0, 0},
    {"state", OPTIONAL, parse_state, AT(state), AT(has_state), 0, 0},
    {"displace", OPTIONAL, parse_bool, AT(displace), 0, 0, 0},
};
#undef AT

static bool check_update(struct decoder *d, const struct path *at, void *object, uint32_t given)
{
    (void)given;
    const struct machine_update *update = &((struct request *)object)->machine_update;
    if (!update->has_gpus && !update->has_memory_gib && !update->has_labels && !update->has_state)
        return decoder_fault(d, at, "at least one of gpus, memory_gib, labels, state");
    return true;
}

const struct shape claims_machine_register = {register_fields, DECODER_COUNT(register_fields),
                                              NULL};
const struct shape claims_machine_update = {update_fields, DECODER_COUNT(update_fields),
                                            check_update};
