#include "worker/part.h"

#include <assert.h>
#include <inttypes.h>

#include "lib/base/log.h"

#define TO(state) (1u << PART_##state)
/* Which states may follow, as part.h lists them. */
static const unsigned transitions[PART_STATE_COUNT] = {
    [PART_FOREIGN] = TO(CLAIMING),
    [PART_CLAIMING] = TO(FOREIGN) | TO(CHECKING) | TO(HALTED),
    [PART_CHECKING] = TO(FOREIGN) | TO(RUNNING) | TO(HALTED) | TO(LOST),
    [PART_RUNNING] = TO(FOREIGN) | TO(CHECKING) | TO(WAITING) | TO(HALTED) | TO(LOST),
    [PART_WAITING] = TO(FOREIGN) | TO(CHECKING) | TO(LOST),
    [PART_HALTED] = TO(FOREIGN) | TO(CLAIMING) | TO(LOST),
    [PART_LOST] = TO(FOREIGN) | TO(CLAIMING),
};
#undef TO

const char *part_state_name(enum part_state state)
{
    static const char *const names[PART_STATE_COUNT] = {
        [PART_FOREIGN] = "foreign", [PART_CLAIMING] = "claiming", [PART_CHECKING] = "checking",
        [PART_RUNNING] = "running", [PART_WAITING] = "waiting",   [PART_HALTED] = "halted",
        [PART_LOST] = "lost",
    };
    assert(state < PART_STATE_COUNT);
    return names[state];
}

void part_set(struct part *part, enum part_state state, const char *why)
{
    assert(state < PART_STATE_COUNT);
    if (part->state == state)
        return;
    assert(transitions[part->state] & (1u << state));
    struct log_quoted quoted;
    enum log_level level = state == PART_HALTED                          ? LOG_ERROR
                           : part->wait_told                             ? LOG_DEBUG
                           : state == PART_WAITING || state == PART_LOST ? LOG_WARN
                           : state == PART_CHECKING && !why              ? LOG_DEBUG
                                                                         : LOG_INFO;
    part->wait_told = state == PART_WAITING ||
                      (part->wait_told && (state == PART_CHECKING || state == PART_RUNNING));
    log_line(level, "partition",
             "part=%" PRId32 " from=%s to=%s epoch=%" PRId64 " next_offset=%" PRId64 "%s%s",
             part->number, part_state_name(part->state), part_state_name(state), part->row.epoch,
             part->row.next_offset, why ? " why=" : "", why ? log_quote(&quoted, why) : "");
    part->state = state;
    part->full = false;
    part->hole_count = 0;
    part->look_again_ms = 0;
}

enum err part_epoch_lost(const struct part *part, struct failure *f)
{
    return failure_set(f, ERR_EPOCH_LOST, "partition %" PRId32 " has another owner", part->number);
}

bool part_is_claimed(const struct part *part)
{
    return part->state == PART_CHECKING || part->state == PART_RUNNING ||
           part->state == PART_WAITING || part->state == PART_HALTED;
}

void part_moved(struct part *part, int64_t now_ms)
{
    part->moved_ms = now_ms;
    part->asked_end = -1;
}

int64_t part_unpublished(const struct part *part)
{
    return part->row.last_seq - part->acked_seq;
}
