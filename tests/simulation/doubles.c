/* Doubles of functions below the loop, put in their place by the linker (build.mk): those that
 * would make two runs of a seed differ, and the one that costs too much. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/backoff.h"
#include "lib/base/log.h"
#include "lib/token/jws.h"
#include "tests/simulation/process.h"
#include "tests/simulation/token.h"

/* --- chance: the jitter of pauses --- */

void __real_backoff_init(struct backoff *b, int64_t min_ms, int64_t max_ms);
void __wrap_backoff_init(struct backoff *b, int64_t min_ms, int64_t max_ms);
void __wrap_backoff_init(struct backoff *b, int64_t min_ms, int64_t max_ms)
{
    __real_backoff_init(b, min_ms, max_ms);
    if (sim_now)
        b->randomness = sim_random(sim_now);
}

/* --- what the loop logs: shown with -v --- */

void __real_log_line(enum log_level level, const char *msg, const char *fields, ...);
void __wrap_log_line(enum log_level level, const char *msg, const char *fields, ...)
    __attribute__((format(printf, 3, 4)));
void __wrap_log_line(enum log_level level, const char *msg, const char *fields, ...)
{
    if (sim_now && !sim_now->verbose)
        return;
    char text[4096];
    va_list args;
    va_start(args, fields);
    vsnprintf(text, sizeof(text), fields, args);
    va_end(args);
    if (!sim_now) {
        __real_log_line(level, msg, "%s", text);
    } else {
        printf("%12.6f       log %d: %s %s\n", (double)sim_now->now_us / 1e6, (int)level, msg,
               text);
    }
}

/* --- signatures; and the message that kills its reader (DISASTER_POISON) --- */

bool __real_jws_verify(const struct jws_key *key, const struct jws_parts *parts);
bool __wrap_jws_verify(const struct jws_key *key, const struct jws_parts *parts);
bool __wrap_jws_verify(const struct jws_key *key, const struct jws_parts *parts)
{
    struct sim *sim = sim_now;
    if (!sim)
        return __real_jws_verify(key, parts);
    if (sim->plan.disaster == DISASTER_POISON && fiber_running() &&
        strstr(parts->payload, "poison")) {
        for (int i = 0; i < sim->plan.workers; i++) {
            struct process *p = process_at(sim, i);
            if (p->fiber == fiber_running()) {
                sim->count.crashes++;
                process_die(p);
            }
        }
    }
    if (sim->plan.real_keys)
        return __real_jws_verify(key, parts);
    unsigned char digest[64];
    token_digest(parts->kid, parts->signing_input, parts->signing_input_len, digest);
    return parts->signature_len == sizeof(digest) &&
           memcmp(parts->signature, digest, sizeof(digest)) == 0;
}
