/* The core's small parts: arena, map, names of reasons and requests, and the world's batches. */
#include "core/arena.h"
#include "core/map.h"
#include "core/world.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/core_state.h"
#include "tests/unit/support.h"

static uint64_t random_state = 1;

/* --- arena --- */

static void test_arena_pieces_are_zeroed_aligned_and_apart(void **state)
{
    (void)state;
    struct arena *memory = arena_new();
    for (int round = 0; round < 3; round++) {
        unsigned char *pieces[300];
        size_t sizes[300];
        for (size_t i = 0; i < 300; i++) {
            sizes[i] = i % 50 == 49 ? 200000 : random_next(&random_state) % 700;
            pieces[i] = arena_alloc(memory, sizes[i]);
            assert_int_equal((uintptr_t)pieces[i] % _Alignof(max_align_t), 0);
            for (size_t k = 0; k < sizes[i]; k++)
                assert_int_equal(pieces[i][k], 0);
            memset(pieces[i], (int)(i % 255) + 1, sizes[i]);
        }
        for (size_t i = 0; i < 300; i++) {
            for (size_t k = 0; k < sizes[i]; k++)
                assert_int_equal(pieces[i][k], i % 255 + 1);
        }
        arena_reset(memory);
    }
    assert_ptr_not_equal(arena_alloc(memory, 0), arena_alloc(memory, 0));
    arena_free(memory);
    arena_free(NULL);
}

static void test_arena_texts(void **state)
{
    (void)state;
    struct arena *memory = arena_new();
    assert_string_equal(arena_strdup(memory, "berth"), "berth");
    assert_string_equal(arena_strdup(memory, ""), "");
    assert_string_equal(arena_strndup(memory, "berth", 2), "be");
    assert_string_equal(arena_printf(memory, "%s-%d", "gpu", 7), "gpu-7");
    for (int len = 250; len < 260; len++) {
        char *text = arena_printf(memory, "%*s", len, "x");
        assert_int_equal(strlen(text), len);
        assert_int_equal(text[len - 1], 'x');
    }
    arena_free(memory);
}

/* --- map --- */

struct entry {
    int64_t key;
};

static bool entry_equals(const void *value, const void *key)
{
    return ((const struct entry *)value)->key == *(const int64_t *)key;
}

/* Compares with an array of flags. `collide`: few distinct hashes, so long runs and many moves. */
static void map_against_array(bool collide)
{
    enum { KEYS = 400 };
    struct entry entries[KEYS];
    bool present[KEYS] = {false};
    size_t count = 0;
    struct map map = {0};
    for (int64_t i = 0; i < KEYS; i++)
        entries[i].key = i;
    for (int step = 0; step < 60000; step++) {
        int64_t key = (int64_t)(random_next(&random_state) % KEYS);
        uint64_t hash = collide ? (uint64_t)(key % 5) * 61 : map_hash_int(key);
        void *found = map_get(&map, hash, entry_equals, &key);
        assert_ptr_equal(found, present[key] ? &entries[key] : NULL);
        if (step % 20000 == 19999) {
            map_clear(&map);
            memset(present, 0, sizeof(present));
            count = 0;
        } else if (random_next(&random_state) % 2 == 0) {
            assert_ptr_equal(map_remove(&map, hash, entry_equals, &key), found);
            count -= present[key] ? 1 : 0;
            present[key] = false;
        } else if (!present[key]) {
            map_put(&map, hash, &entries[key]);
            present[key] = true;
            count++;
        }
        assert_int_equal(map.count, count);
    }
    map_fini(&map);
}

static void test_map_is_an_array_of_flags(void **state)
{
    (void)state;
    map_against_array(false);
    map_against_array(true);
}

static void test_map_hashes_texts_apart(void **state)
{
    (void)state;
    assert_true(map_hash_text(MAP_SEED, "gpu-01") != map_hash_text(MAP_SEED, "gpu-02"));
    assert_true(map_hash_text(MAP_SEED, "") != map_hash_text(MAP_SEED, "a"));
    uint64_t both = map_hash_text(map_hash_text(MAP_SEED, "a"), "b");
    assert_true(both != map_hash_text(map_hash_text(MAP_SEED, "b"), "a"));
}

/* --- names --- */

static void test_names_go_there_and_back(void **state)
{
    (void)state;
    assert_null(reason_name(REASON_NONE));
    for (int i = REASON_NONE + 1; i < REASON_COUNT; i++) {
        assert_int_equal(reason_from_name(reason_name((enum reason)i)), i);
        assert_true(strlen(reason_text((enum reason)i)) > 10);
    }
    assert_int_equal(reason_from_name("Malformed"), REASON_NONE);
    assert_int_equal(reason_from_name(""), REASON_NONE);
    for (int i = 0; i < REQUEST_TYPE_COUNT; i++)
        assert_int_equal(request_type_from_name(request_type_name((enum request_type)i)), i);
    for (int i = 0; i < MACHINE_STATE_COUNT; i++)
        assert_int_equal(machine_state_from_name(machine_state_name((enum machine_state)i)), i);
    for (int i = 0; i < BOOKING_STATE_COUNT; i++)
        assert_int_equal(booking_state_from_name(booking_state_name((enum booking_state)i)), i);
    for (int i = 0; i < ROLE_COUNT; i++)
        assert_int_equal(role_from_name(role_name((enum role)i)), i);
    assert_int_equal(request_type_from_name("booking"), REQUEST_TYPE_COUNT);
    assert_int_equal(role_from_name("root"), ROLE_COUNT);
}

static void test_name_is_valid(void **state)
{
    (void)state;
    assert_true(name_is_valid("gpu-01.rack_2", 64, NULL));
    assert_true(name_is_valid("AZaz09", 6, NULL));
    assert_false(name_is_valid("AZaz099", 6, NULL));
    assert_false(name_is_valid("", 64, NULL));
    assert_false(name_is_valid("a b", 64, NULL));
    assert_false(name_is_valid("a:b", 64, NULL));
    assert_true(name_is_valid("a:b", 64, ":"));
    assert_false(name_is_valid("a\xC3\xA9", 64, ":"));
    assert_false(name_is_valid("a/b", 64, ":"));
    assert_true(farm_name_is_valid("farm-2"));
    assert_true(farm_name_is_valid("01234567890123456789012345678901"));
    assert_false(farm_name_is_valid("012345678901234567890123456789012"));
    assert_false(farm_name_is_valid("Farm"));
    assert_false(farm_name_is_valid(""));
}

/* --- world --- */

static struct machine machine_row(int64_t id, const char *name, int64_t version)
{
    struct machine row = {.id = id, .capacity = {.gpus = 4, .memory_gib = 64}, .version = version};
    snprintf(row.name, sizeof(row.name), "%s", name);
    return row;
}

static struct machine *put_with_timeline(struct world *world, int64_t id, const char *name,
                                         int64_t version)
{
    struct machine row = machine_row(id, name, version);
    struct machine *machine = world_machine_put(world, &row);
    world_timeline_start(world, machine, 1000);
    world_timeline_add(world, machine, 2000, 3000, (struct amount){.gpus = 2, .memory_gib = 5});
    return machine;
}

static void test_machine_keeps_its_timeline_by_version(void **state)
{
    (void)state;
    struct world *world = world_new();
    struct label labels[] = {{.key = "gpu", .value = "a100"}, {.key = "rack", .value = ""}};
    struct machine row = machine_row(7, "gpu-07", 3);
    row.labels = (struct labels){.count = 2, .items = labels};
    struct machine *machine = world_machine_put(world, &row);
    assert_null(machine->timeline);
    assert_ptr_not_equal(machine->labels.items, labels);
    assert_string_equal(machine->labels.items[0].value, "a100");
    assert_string_equal(machine->labels.items[1].key, "rack");
    assert_ptr_equal(world_machine_by_name(world, "gpu-07"), machine);
    assert_ptr_equal(world_machine_by_id(world, 7), machine);
    assert_null(world_machine_by_name(world, "GPU-07"));
    assert_null(world_machine_by_id(world, 8));

    world_timeline_start(world, machine, 1000);
    assert_int_equal(timeline_known_from(machine->timeline), 1000);
    row.capacity.gpus = 8;
    row.labels.count = 1;
    assert_ptr_equal(world_machine_put(world, &row), machine);
    assert_non_null(machine->timeline);
    assert_int_equal(machine->capacity.gpus, 8);
    assert_int_equal(machine->labels.count, 1);
    row.version = 4;
    world_machine_put(world, &row);
    assert_null(machine->timeline);
    /* A machine's own labels may be put again. */
    world_machine_put(world, machine);
    assert_string_equal(machine->labels.items[0].value, "a100");
    world_free(world);
    world_free(NULL);
}

static void test_touch_counts_once_per_decision(void **state)
{
    (void)state;
    struct world *world = world_new();
    struct machine *machine = put_with_timeline(world, 1, "a", 5);
    struct machine *other = put_with_timeline(world, 2, "b", 9);
    world_batch_begin(world);
    world_decision_begin(world);
    world_touch_machine(world, other);
    world_touch_machine(world, machine);
    world_touch_machine(world, other);
    assert_int_equal(other->version, 10);
    world_decision_begin(world);
    world_touch_machine(world, other);
    assert_int_equal(other->version, 11);
    assert_int_equal(other->timeline_version, 11);
    assert_int_equal(world_touched_machine_count(world), 2);
    assert_ptr_equal(world_touched_machine(world, 0), other);
    assert_ptr_equal(world_touched_machine(world, 1), machine);
    world_batch_end(world, true);
    assert_int_equal(world_touched_machine_count(world), 0);
    assert_false(other->touched);
    assert_non_null(other->timeline);
    world_free(world);
}

static void test_failed_batch_drops_what_it_touched(void **state)
{
    (void)state;
    struct world *world = world_new();
    struct machine *touched = put_with_timeline(world, 1, "a", 5);
    struct machine *other = put_with_timeline(world, 2, "b", 9);
    for (int round = 0; round < 100; round++) {
        world_batch_begin(world);
        world_decision_begin(world);
        world_touch_machine(world, touched);
        char name[16];
        for (int i = 0; i < 3; i++) {
            snprintf(name, sizeof(name), "new-%d", i);
            struct machine row = machine_row(100 + i, name, 0);
            struct machine *machine = world_machine_register(world, &row);
            assert_int_equal(machine->version, 1);
            assert_true(machine->is_new && machine->touched);
            assert_true(timeline_covers(machine->timeline, INT64_MIN));
        }
        assert_int_equal(world_touched_machine_count(world), 4);
        world_batch_end(world, false);
        assert_null(world_machine_by_name(world, "new-0"));
        assert_null(world_machine_by_id(world, 102));
        assert_null(touched->timeline);
        assert_int_equal(touched->version, 0);
        assert_non_null(other->timeline);
        assert_int_equal(other->version, 9);
        assert_ptr_equal(put_with_timeline(world, 1, "a", 5), touched);
    }
    /* Another partition may have registered the name meanwhile. */
    struct machine row = machine_row(555, "new-0", 2);
    assert_int_equal(world_machine_put(world, &row)->id, 555);
    world_batch_begin(world);
    world_decision_begin(world);
    row = machine_row(556, "new-1", 0);
    struct machine *kept = world_machine_register(world, &row);
    world_batch_end(world, true);
    assert_ptr_equal(world_machine_by_name(world, "new-1"), kept);
    assert_false(kept->is_new);
    assert_non_null(kept->timeline);
    world_free(world);
}

static struct booking *put_booking(struct world *world, int64_t id)
{
    return world_booking_put(world, &(struct booking){.id = id,
                                                      .client = "batch-1",
                                                      .user = "bob",
                                                      .start_ms = 1000,
                                                      .end_ms = 9000,
                                                      .version = 1});
}

static void put_row(struct world *world, struct booking *booking, struct allocation row)
{
    world_allocation_add(world, booking, &row);
}

static void test_rows_are_ordered_whatever_the_order(void **state)
{
    (void)state;
    struct world *world = world_new();
    for (int round = 0; round < 50; round++) {
        world_batch_begin(world);
        struct booking *booking = put_booking(world, 1);
        bool seen[5][12] = {{false}};
        for (int i = 0; i < 40; i++) {
            int64_t machine = (int64_t)(random_next(&random_state) % 5),
                    slot = (int64_t)(random_next(&random_state) % 12);
            struct allocation *found = world_allocation_find(booking, machine, slot * 10);
            assert_int_equal(found != NULL, seen[machine][slot]);
            if (!found) {
                put_row(world, booking,
                        (struct allocation){machine, slot * 10, slot * 10 + 10, .live = true});
            }
            seen[machine][slot] = true;
        }
        for (size_t i = 1; i < booking->allocation_count; i++) {
            const struct allocation *a = &booking->allocations[i - 1], *b = a + 1;
            assert_true(a->machine_id < b->machine_id ||
                        (a->machine_id == b->machine_id && a->start_ms < b->start_ms));
        }
        world_batch_end(world, true);
        assert_null(world_booking(world, 1));
    }
    world_free(world);
}

static void test_bookings_on_a_machine(void **state)
{
    (void)state;
    struct world *world = world_new();
    struct machine row = machine_row(3, "c", 1);
    struct machine *machine = world_machine_put(world, &row);
    world_batch_begin(world);
    put_row(world, put_booking(world, 30), (struct allocation){3, 1000, 5001, .live = true});
    put_row(world, put_booking(world, 20),
            (struct allocation){3, 1000, 5000, .live = true}); /* over by then */
    put_row(world, put_booking(world, 25),
            (struct allocation){3, 1000, 9000, .live = false}); /* not live */
    put_row(world, put_booking(world, 26),
            (struct allocation){4, 1000, 9000, .live = true}); /* on another machine */
    struct booking *booking = put_booking(world, 10);
    put_row(world, booking, (struct allocation){2, 1000, 9000, .live = true});
    put_row(world, booking, (struct allocation){3, 1000, 2000, .live = true});
    put_row(world, booking, (struct allocation){3, 2000, 9000, .live = true});
    put_booking(world, 5);
    size_t count = 0;
    struct booking **found = world_bookings_on(world, machine, 5000, &count);
    assert_int_equal(count, 2);
    assert_int_equal(found[0]->id, 10);
    assert_int_equal(found[1]->id, 30);

    /* A booking read again under its lock has its present state. */
    assert_ptr_equal(put_booking(world, 10), booking);
    assert_int_equal(booking->allocation_count, 0);
    world_bookings_on(world, machine, 5000, &count);
    assert_int_equal(count, 1);
    world_touch_booking(world, booking);
    world_touch_booking(world, booking);
    assert_int_equal(world_touched_booking_count(world), 1);
    assert_ptr_equal(world_touched_booking(world, 0), booking);
    world_batch_end(world, false);
    assert_int_equal(world_touched_booking_count(world), 0);
    world_free(world);
}

static void test_first_answer_stands(void **state)
{
    (void)state;
    struct world *world = world_new();
    world_batch_begin(world);
    struct prior prior = {.client = "batch-1", .request_id = "r1", .seq = 1};
    world_prior_put(world, &prior);
    prior.seq = 2;
    world_prior_put(world, &prior);
    prior = (struct prior){.client = "batch-1r", .request_id = "1", .seq = 3};
    world_prior_put(world, &prior);
    assert_int_equal(world_prior(world, "batch-1", "r1")->seq, 1);
    assert_int_equal(world_prior(world, "batch-1r", "1")->seq, 3);
    assert_null(world_prior(world, "batch-1", "r2"));
    assert_null(world_prior(world, "batch-2", "r1"));
    world_batch_end(world, true);
    assert_null(world_prior(world, "batch-1", "r1"));
    world_free(world);
}

static void test_machines_that_match_are_up_and_carry_the_labels(void **state)
{
    (void)state;
    struct world *world = world_new();
    struct label a[] = {{.key = "gpu", .value = "a100"}, {.key = "rack", .value = "1"}};
    struct label b[] = {{.key = "gpu", .value = "a100"}, {.key = "rack", .value = "2"}};
    struct label more[] = {{.key = "aa", .value = ""}, {.key = "gpu", .value = "a100"}};
    static const struct {
        const char *name;
        enum machine_state state;
    } rows[] = {{"z", MACHINE_UP}, {"B", MACHINE_UP}, {"a", MACHINE_UP}, {"d", MACHINE_DRAINING}};
    const struct labels labels[] = {{2, a}, {2, b}, {2, more}, {2, a}};
    size_t count = 1;
    world_batch_begin(world);
    world_machines_matching(world, &(struct labels){0}, &count);
    assert_int_equal(count, 0); /* no machines */
    for (int i = 0; i < 4; i++) {
        struct machine row = machine_row(10 - i, rows[i].name, 1);
        row.state = rows[i].state;
        row.labels = labels[i];
        world_machine_put(world, &row);
    }
    struct machine **found = world_machines_matching(world, &(struct labels){0}, &count);
    assert_int_equal(count, 3);
    assert_string_equal(found[0]->name, "B");
    assert_string_equal(found[1]->name, "a");
    assert_string_equal(found[2]->name, "z");
    found = world_machines_matching(world, &(struct labels){1, &a[1]}, &count);
    assert_int_equal(count, 1);
    assert_string_equal(found[0]->name, "z");
    world_machines_matching(world, &(struct labels){1, a}, &count);
    assert_int_equal(count, 3);
    world_machines_matching(world, &(struct labels){2, b}, &count);
    assert_int_equal(count, 1);
    world_machines_matching(world, &(struct labels){2, more}, &count);
    assert_int_equal(count, 1);
    world_batch_end(world, true);
    world_free(world);
}

/* A machine put by an earlier batch only is not locked by this batch. */
static void test_machines_that_match_are_of_this_batch(void **state)
{
    (void)state;
    struct world *world = world_new();
    struct machine row = machine_row(9, "a", 1), **found;
    size_t count = 0;
    world_batch_begin(world);
    world_machine_put(world, &row);
    world_batch_end(world, true);
    world_batch_begin(world);
    row = machine_row(10, "z", 1);
    world_machine_put(world, &row);
    world_decision_begin(world);
    row = machine_row(11, "c", 0);
    world_machine_register(world, &row);
    found = world_machines_matching(world, &(struct labels){0}, &count);
    assert_int_equal(count, 2);
    assert_string_equal(found[0]->name, "c");
    world_batch_end(world, false);
    world_batch_begin(world);
    world_machines_matching(world, &(struct labels){0}, &count);
    assert_int_equal(count, 0);
    world_batch_end(world, true);
    world_free(world);
}

static struct client *put_client(struct world *world, const char *name, int64_t version)
{
    struct client row = {.limits.gpus_at_once = 8, .version = version};
    snprintf(row.name, sizeof(row.name), "%s", name);
    return world_client_put(world, &row);
}

static void test_a_client_counts_its_gpus_and_gpu_hours(void **state)
{
    (void)state;
    struct world *world = world_new();
    world_batch_begin(world);
    assert_null(world_client(world, "batch-1"));
    struct client *client = put_client(world, "batch-1", 3);
    put_client(world, "batch-2", 1);
    assert_ptr_equal(world_client(world, "batch-1"), client);
    assert_null(world_client(world, "Batch-1"));
    world_client_timeline_start(world, client, 1000);
    world_client_timeline_add(world, client, 500, 3000, (struct amount){2, 99});
    world_client_timeline_add(world, client, 2000, 4000, (struct amount){3, 99});
    assert_int_equal(quota_peak(client, 1000, 5000), 5);
    assert_int_equal(quota_peak(client, 3000, 5000), 3);
    assert_int_equal((int64_t)quota_ahead(client, 1000), 4000 + 6000);
    assert_int_equal((int64_t)quota_ahead(client, 2500), 1000 + 4500);
    assert_int_equal((int64_t)quota_ahead(client, 9000), 0);
    world_decision_begin(world);
    world_touch_client(world, NULL);
    world_touch_client(world, client);
    world_touch_client(world, client);
    assert_int_equal(client->version, 4);
    assert_int_equal(world_touched_client_count(world), 1);
    assert_ptr_equal(world_touched_client(world, 0), client);
    world_batch_end(world, true);
    assert_false(client->touched);
    world_free(world);
}

/* A client's timeline is kept if a later batch puts the client at the same version. */
static void test_a_client_keeps_its_timeline_at_its_version(void **state)
{
    (void)state;
    struct world *world = world_new();
    world_batch_begin(world);
    struct client *client = put_client(world, "batch-1", 4);
    world_client_timeline_start(world, client, 1000);
    world_client_timeline_add(world, client, 500, 3000, (struct amount){2, 99});
    world_client_timeline_add(world, client, 2000, 4000, (struct amount){3, 99});
    world_batch_end(world, true);
    world_batch_begin(world);
    assert_null(world_client(world, "batch-1"));
    assert_ptr_equal(put_client(world, "batch-1", 4), client);
    assert_non_null(client->timeline);
    quota_forget_before(client, 2500);
    assert_int_equal((int64_t)quota_ahead(client, 2500), 1000 + 4500);
    quota_change(client, 500, 3000, 2, false);
    assert_int_equal((int64_t)quota_ahead(client, 2500), 4500);
    quota_change(client, 2000, 4000, 3, false);
    assert_int_equal((int64_t)client->known_gpu_ms, 0);
    world_decision_begin(world);
    world_touch_client(world, client);
    world_batch_end(world, false);
    assert_null(client->timeline);
    assert_int_equal(client->version, 0);
    world_batch_begin(world);
    put_client(world, "batch-1", 4);
    world_client_timeline_start(world, client, INT64_MIN);
    world_client_timeline_add(world, client, 500, 3000, (struct amount){2, 0});
    assert_int_equal((int64_t)quota_ahead(client, 1000), 4000);
    put_client(world, "batch-1", 5);
    assert_null(client->timeline);
    world_batch_end(world, true);
    world_free(world);
}

static void test_hours_are_rounded_up(void **state)
{
    (void)state;
    assert_int_equal(quota_hours(0), 0);
    assert_int_equal(quota_hours(1), 1);
    assert_int_equal(quota_hours(QUOTA_HOUR_MS), 1);
    assert_int_equal(quota_hours((gpu_ms)QUOTA_HOUR_MS * 7 + 1), 8);
    assert_true(quota_hours((gpu_ms)INT64_MAX * INT64_MAX) == INT64_MAX);
}

static void test_forgets_the_past_bit_by_bit(void **state)
{
    (void)state;
    enum { MACHINES = 3 * WORLD_FORGET_TIMELINES };
    struct world *world = world_new();
    struct machine *machines[MACHINES];
    const int64_t first_ms = 10 * WORLD_FORGET_STEP_MS;
    world_forget_before(world, 0);
    for (int i = 0; i < MACHINES; i++) {
        char name[16];
        snprintf(name, sizeof(name), "m-%d", i);
        machines[i] = put_with_timeline(world, i + 1, name, 1);
    }
    world_batch_begin(world);
    struct client *client = put_client(world, "batch-1", 1);
    world_client_timeline_start(world, client, 1000);
    world_client_timeline_add(world, client, 2000, 2 * first_ms, (struct amount){2, 0});
    world_batch_end(world, true);
    for (int call = 0; call < 3; call++) {
        world_forget_before(world, first_ms + call);
        for (int i = 0; i < MACHINES; i++) {
            assert_int_equal(
                timeline_known_from(machines[i]->timeline),
                i / WORLD_FORGET_TIMELINES <= call ? first_ms + i / WORLD_FORGET_TIMELINES : 1000);
        }
    }
    assert_int_equal(timeline_point_count(machines[7]->timeline), 0);
    world_forget_before(world, first_ms);
    assert_int_equal(timeline_known_from(client->timeline), first_ms);
    assert_int_equal((int64_t)client->known_gpu_ms, 2 * first_ms);

    /* The next round starts one step later and does not exceed its limit. */
    world_forget_before(world, WORLD_FORGET_STEP_MS - 1);
    assert_int_equal(timeline_known_from(machines[0]->timeline), first_ms);
    world_forget_before(world, first_ms + WORLD_FORGET_STEP_MS);
    assert_int_equal(timeline_known_from(machines[0]->timeline), first_ms + WORLD_FORGET_STEP_MS);
    world_forget_before(world, first_ms + 5);
    int next = WORLD_FORGET_TIMELINES;
    assert_int_equal(timeline_known_from(machines[next]->timeline), first_ms + 5);
    world_free(world);
}

static void test_bookings_of_a_series(void **state)
{
    (void)state;
    struct world *world = world_new();
    static const int64_t ids[] = {40, 7, 30, 20}, series[] = {7, 7, 0, 20};
    world_batch_begin(world);
    for (int i = 0; i < 4; i++) {
        world_booking_put(world, &(struct booking){.id = ids[i],
                                                   .series = series[i],
                                                   .client = "batch-1",
                                                   .user = "bob",
                                                   .version = 1});
    }
    size_t count = 0;
    struct booking **found = world_series(world, 7, &count);
    assert_int_equal(count, 2);
    assert_int_equal(found[0]->id, 7);
    assert_int_equal(found[1]->id, 40);
    assert_int_equal(found[1]->series, 7);
    world_series(world, 30, &count);
    assert_int_equal(count, 0);
    world_batch_end(world, true);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arena_pieces_are_zeroed_aligned_and_apart),
        cmocka_unit_test(test_arena_texts),
        cmocka_unit_test(test_map_is_an_array_of_flags),
        cmocka_unit_test(test_map_hashes_texts_apart),
        cmocka_unit_test(test_names_go_there_and_back),
        cmocka_unit_test(test_name_is_valid),
        cmocka_unit_test(test_machine_keeps_its_timeline_by_version),
        cmocka_unit_test(test_touch_counts_once_per_decision),
        cmocka_unit_test(test_failed_batch_drops_what_it_touched),
        cmocka_unit_test(test_rows_are_ordered_whatever_the_order),
        cmocka_unit_test(test_bookings_on_a_machine),
        cmocka_unit_test(test_first_answer_stands),
        cmocka_unit_test(test_machines_that_match_are_up_and_carry_the_labels),
        cmocka_unit_test(test_machines_that_match_are_of_this_batch),
        cmocka_unit_test(test_a_client_counts_its_gpus_and_gpu_hours),
        cmocka_unit_test(test_a_client_keeps_its_timeline_at_its_version),
        cmocka_unit_test(test_hours_are_rounded_up),
        cmocka_unit_test(test_forgets_the_past_bit_by_bit),
        cmocka_unit_test(test_bookings_of_a_series),
    };
    return cmocka_run_group_tests_name("world", tests, NULL, NULL);
}
