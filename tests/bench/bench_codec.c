/* CPU time of decoding a request's claims and of encoding its event, for a booking of two machines;
 * and of the steps done by jansson, now or as an alternative.
 *
 *   make tests && build/bench/bench_codec [rounds] */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/codec/canonical.h"
#include "lib/codec/claims.h"
#include "lib/codec/event.h"
#include "lib/token/jws.h"

/* Messages between two resets of the arena, like a worker's batch. */
#define BATCH 2000

static const char payload[] =
    "{\"iss\":\"batch-1\",\"sub\":\"alice\",\"aud\":\"demo\",\"iat\":1795531074,"
    "\"exp\":1795531674,\"jti\":\"0192f3a1-7c1e-7b6e-8f00-0123456789ab\",\"request\":{"
    "\"type\":\"booking.create\",\"start\":\"2026-12-01T02:00:00Z\","
    "\"end\":\"2026-12-01T04:00:00Z\",\"allocations\":["
    "{\"machine\":\"gpu-01\",\"gpus\":4,\"memory_gib\":64},"
    "{\"machine\":\"gpu-02\",\"gpus\":4,\"memory_gib\":64}]}}";
/* Every day of a year, across both clock changes. */
static const char series[] =
    "{\"iss\":\"batch-1\",\"sub\":\"alice\",\"aud\":\"demo\",\"iat\":1795531074,"
    "\"exp\":1795531674,\"jti\":\"0192f3a1-7c1e-7b6e-8f00-0123456789ab\",\"request\":{"
    "\"type\":\"booking.create\",\"start\":\"2026-12-01T02:00:00Z\","
    "\"end\":\"2026-12-01T04:00:00Z\",\"allocations\":["
    "{\"machine\":\"gpu-01\",\"gpus\":4,\"memory_gib\":64}],"
    "\"repeat\":{\"every\":\"day\",\"count\":366,\"zone\":\"Europe/Paris\"}}}";
static const uint8_t no_hash[32];

struct bench {
    struct arena *arena;
    struct event_input input;
    json_t *document; /* the event as a jansson object */
    json_t *request;  /* the payload's */
};

static void decode(struct bench *bench)
{
    struct claims claims;
    claims_decode(payload, sizeof(payload) - 1, bench->arena, &claims);
}

static void decode_series(struct bench *bench)
{
    struct claims claims;
    claims_decode(series, sizeof(series) - 1, bench->arena, &claims);
}

static void read_only(struct bench *bench)
{
    (void)bench;
    json_decref(json_loadb(payload, sizeof(payload) - 1, JSON_REJECT_DUPLICATES, NULL));
}

static void hash_own(struct bench *bench)
{
    struct jsonout out;
    uint8_t hash[32];
    jsonout_init(&out, bench->arena, sizeof(payload));
    canonical_write(&out, bench->request);
    sha256(out.data, out.len, hash);
}

static void hash_dump(struct bench *bench)
{
    uint8_t hash[32];
    char *text = json_dumps(bench->request, JSON_COMPACT | JSON_SORT_KEYS);
    sha256(text, strlen(text), hash);
    free(text);
}

static void encode(struct bench *bench)
{
    struct event event;
    event_encode(&bench->input, bench->arena, &event);
}

static void build_and_dump(struct bench *bench)
{
    json_t *copy = json_deep_copy(bench->document);
    free(json_dumps(copy, JSON_COMPACT));
    json_decref(copy);
}

static void measure(const char *what, struct bench *bench, void (*run)(struct bench *bench),
                    long rounds)
{
    struct timespec begin, end;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
    for (long i = 0; i < rounds; i++) {
        run(bench);
        if (i % BATCH == 0)
            arena_reset(bench->arena);
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    double s = (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
    printf("%-40s %9.0f /s %7.2f us\n", what, (double)rounds / s, s / (double)rounds * 1e6);
}

/* The event of an amend has what it replaced, too. */
static void measure_amend(struct bench *bench, long rounds)
{
    struct decision amended = *bench->input.decision;
    struct event event;
    amended.previous = amended.booking;
    amended.effective_ms = amended.booking->start_ms;
    bench->input.decision = &amended;
    event_encode(&bench->input, bench->arena, &event);
    printf("event of an amend %zu bytes\n", event.len);
    measure("event_encode, an amend", bench, encode, rounds);
}

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? strtol(argv[1], NULL, 10) : 300000;
    struct arena *kept = arena_new();
    struct claims claims;
    claims_decode(payload, sizeof(payload) - 1, kept, &claims);
    const struct booking_create *asked = &claims.request.booking_create;
    const struct credential credential = {.client = "batch-1"};
    const struct booking_view booking = {.id = 4268035,
                                         .version = 1,
                                         .client = "batch-1",
                                         .user = claims.user,
                                         .start_ms = asked->start_ms,
                                         .end_ms = asked->end_ms,
                                         .share_count = asked->share_count,
                                         .shares = asked->shares};
    const struct decision decision = {.verified = true,
                                      .booking = &booking,
                                      .subject_kind = SUBJECT_BOOKING,
                                      .subject_booking = booking.id,
                                      .next_available_ms = TIME_NONE,
                                      .fitting = -1};
    struct bench bench = {.arena = arena_new(),
                          .input = {.farm = "demo",
                                    .part = 3,
                                    .seq = 1042,
                                    .log_offset = 1187,
                                    .now_ms = INT64_C(1795531074123),
                                    .message_sha256 = no_hash,
                                    .credential = &credential,
                                    .claims = &claims,
                                    .decision = &decision}};
    struct event event;
    event_encode(&bench.input, kept, &event);
    bench.document = json_loadb(event.bytes, event.len, 0, NULL);
    json_t *claims_object = json_loadb(payload, sizeof(payload) - 1, 0, NULL);
    bench.request = json_object_get(claims_object, "request");
    printf("payload %zu bytes, event %zu bytes\n", sizeof(payload) - 1, event.len);
    measure("claims_decode", &bench, decode, rounds);
    measure("  of it: jansson reads the payload", &bench, read_only, rounds);
    measure("  of it: the content's hash", &bench, hash_own, rounds);
    measure("  instead: jansson's sorted dump", &bench, hash_dump, rounds);
    measure("claims_decode, a series of 366", &bench, decode_series, rounds / 10);
    measure("event_encode", &bench, encode, rounds);
    measure("  instead: jansson builds and dumps it", &bench, build_and_dump, rounds);
    measure_amend(&bench, rounds);
    json_decref(claims_object);
    json_decref(bench.document);
    arena_free(bench.arena);
    arena_free(kept);
    return 0;
}
