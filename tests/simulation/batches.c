#include "tests/simulation/batches.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/map.h"
#include "lib/base/mem.h"
#include "tests/simulation/cluster.h"

#define REQUESTS    500
#define WORKLOAD_MS 60000
#define SEEKS_MORE  5

void batches_plan(struct sim *sim)
{
    struct plan old = sim->plan;
    int64_t size = sim->batches->size;
    sim->plan = (struct plan){
        .workers = 1,
        .partitions = 1,
        .machines = old.machines,
        .clients = old.clients,
        .requests = REQUESTS,
        .workload_ms = WORKLOAD_MS,
        .batch_max = size ? size : 50,
        .batch_max_bytes = INT64_C(64) * 1024 * 1024,
        .unpublished_max = 10 * REQUESTS,
        .queue_max = 10 * REQUESTS,
        .latency_us = 200,
        .garbage = old.garbage,
        .repeated = old.repeated,
        .limits = !sim->batches->written,
    };
}

void batches_open(struct sim *sim)
{
    const struct batches *batches = sim->batches;
    struct request_log *log = &sim->cluster->requests[0];
    for (size_t i = 0; i < batches->count; i++) {
        const struct batches_message *message = &batches->log[i];
        cluster_append_request(sim, 0, message->value, message->len);
        log->entries.items[log->entries.count - 1].append_ms = message->append_ms;
    }
}

/* --- what a run came to --- */

static uint64_t text_digest(uint64_t digest, const char *text)
{
    return map_hash_text(digest, text ? text : "");
}

static uint64_t int_digest(uint64_t digest, int64_t value)
{
    char text[24];
    snprintf(text, sizeof(text), "%lld,", (long long)value);
    return map_hash_text(digest, text);
}

static uint64_t decisions_digest(const struct tables *now)
{
    uint64_t digest = MAP_SEED;
    for (size_t i = 0; i < now->decisions.count; i++) {
        const struct decision_row *row = &now->decisions.items[i].row;
        for (size_t k = 0; k < row->event_len; k++)
            digest = (digest ^ (unsigned char)row->event[k]) * UINT64_C(0x100000001b3);
    }
    return digest;
}

/* Of all rows, in whatever order they were written. */
static uint64_t tables_digest(const struct tables *now)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < now->machines.count; i++) {
        const struct machine_row *row = &now->machines.items[i];
        uint64_t one = text_digest(text_digest(MAP_SEED, row->name), row->labels);
        sum += int_digest(int_digest(one, row->version), (int64_t)row->state);
    }
    for (size_t i = 0; i < now->bookings.count; i++) {
        const struct booking_row *row = &now->bookings.items[i];
        uint64_t one = int_digest(int_digest(MAP_SEED, row->id), row->series);
        one = int_digest(int_digest(one, row->start_ms), row->end_ms);
        sum += int_digest(int_digest(one, row->version), (int64_t)row->state);
    }
    for (size_t i = 0; i < now->allocations.count; i++) {
        const struct allocation_row *row = &now->allocations.items[i];
        uint64_t one = int_digest(int_digest(MAP_SEED, row->booking), row->machine);
        one = int_digest(int_digest(one, row->start_ms), row->end_ms);
        one = int_digest(int_digest(one, row->amount.gpus), row->amount.memory_gib);
        sum += int_digest(int_digest(one, row->live), row->machine_version);
    }
    for (size_t i = 0; i < now->clients.count; i++) {
        sum += int_digest(text_digest(MAP_SEED, now->clients.items[i].name),
                          now->clients.items[i].version);
    }
    return sum;
}

/* There is a hole behind each message: two seeks back are needed for each batch, not one for each
 * hole. */
static void check_seeks(struct sim *sim)
{
    int64_t needed = 2 * (int64_t)sim->batches->count / sim->batches->size + SEEKS_MORE;
    if (sim->count.seeks > needed)
        sim_fail(sim, "%" PRId64 " seeks in a log that needs %" PRId64, sim->count.seeks, needed);
}

void batches_close(struct sim *sim)
{
    struct batches *batches = sim->batches;
    const struct request_log *log = &sim->cluster->requests[0];
    batches->digest = decisions_digest(&sim->db->now) ^ tables_digest(&sim->db->now);
    if (batches->size > 0) {
        check_seeks(sim);
        return;
    }
    batches->count = log->entries.count;
    batches->log = xcalloc(batches->count + 1, sizeof(*batches->log));
    for (size_t i = 0; i < batches->count; i++) {
        const struct request_entry *entry = &log->entries.items[i];
        batches->log[i] = (struct batches_message){
            .append_ms = entry->append_ms, .value = xmalloc(entry->len + 1), .len = entry->len};
        memcpy(batches->log[i].value, entry->value, entry->len);
    }
}

static void run_all(uint64_t seed, struct batches batches, struct sim_result *out)
{
    static const int64_t sizes[] = {0, 1, 7, 2000};
    uint64_t first = 0;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        batches.size = sizes[i];
        sim_run_batches(seed, &batches, out);
        if (i == 0)
            first = batches.digest;
        if (!out->failed && batches.digest != first) {
            out->failed = true;
            snprintf(out->failure, sizeof(out->failure),
                     "batches of %lld decide otherwise than whatever batches came at first",
                     (long long)sizes[i]);
        }
        if (out->failed)
            break;
    }
    for (size_t i = 0; i < batches.count; i++)
        free(batches.log[i].value);
    free(batches.log);
}

void batches_run(uint64_t seed, struct sim_result *out)
{
    run_all(seed, (struct batches){0}, out);
}

void batches_run_written(const char *const *requests, size_t count, struct sim_result *out)
{
    run_all(1, (struct batches){.written = requests, .written_count = count}, out);
}
