/* Shared by the store's tests: two sessions with the database named by BERTH_DB_*, emptied before
 * each test, and a small farm changed through the real decision function. */
#ifndef BERTH_TESTS_STORE_ENV_H
#define BERTH_TESTS_STORE_ENV_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/decide.h"
#include "db/mysql_session.h"
#include "db/mysql_store.h"

#define NOW_MS  INT64_C(1796083200000) /* 2026-12-01T00:00:00Z */
#define HOUR_MS INT64_C(3600000)

struct env {
    struct config *cfg;
    struct mysql_settings settings;
    struct mysql_session *admin; /* the tests' own session */
    struct store a, b;           /* two workers */
};
extern struct env env;

/* cmocka fixtures: of the whole group, and before each test. */
int env_start(void **state);
int env_stop(void **state);
int env_reset(void **state);

/* Drops the schema; the caller must migrate again. */
void env_drop_tables(void);

/* The call must succeed; prints the failure if not. */
#define must(call)                                                                                 \
    do {                                                                                           \
        struct failure f = {0};                                                                    \
        enum err must_err = (call);                                                                \
        if (must_err)                                                                              \
            print_error("%s: %s\n", #call, f.text);                                                \
        assert_int_equal(must_err, ERR_OK);                                                        \
    } while (0)
/* The call must fail with this error. */
#define must_fail(call, expected)                                                                  \
    do {                                                                                           \
        struct failure f = {0};                                                                    \
        enum err fail_err = (call);                                                                \
        if (fail_err != (expected))                                                                \
            print_error("%s: %s: %s\n", #call, err_name(fail_err), f.text);                        \
        assert_int_equal(fail_err, expected);                                                      \
        assert_string_not_equal(f.text, "");                                                       \
    } while (0)

/* Runs SQL on env.admin and commits. */
void admin_run(const char *sql);
/* Runs a query on env.admin; returns its integer. */
int64_t admin_int(const char *sql);
/* KILLs the worker's session and waits until the server has removed it. */
void admin_kill(struct store *store);

/* --- one worker's batch --- */
#define BATCH_MAX 4096
struct batch {
    struct store *store;
    struct world *world;
    struct partition_row part;
    struct decision_row *decisions;
    size_t count;
    const char *event; /* of the next decisions; NULL: a short one */
    size_t event_len;
};
/* Claims the partition and starts with an empty world. */
void batch_open(struct batch *batch, struct store *store, int32_t part);
void batch_close(struct batch *batch);
/* Begins a transaction and locks the partition. */
void batch_begin(struct batch *batch);
/* Decides a request of `client` (an admin), adds the decision to the batch, returns the reason. */
enum reason batch_decide(struct batch *batch, const char *client, const char *user,
                         const struct request *request);
enum err batch_write(struct batch *batch, struct failure *f);
/* Ends the batch in the world and in the partition's row. */
void batch_end(struct batch *batch, bool committed);
/* batch_write, commit, batch_end(true). */
void batch_commit(struct batch *batch);
/* Finds, locks and loads the named machines. */
void batch_take(struct batch *batch, const char *const *names, size_t count);
/* Locks the client's row and loads its timeline. To be called before machines are locked. */
void batch_take_client(struct batch *batch, const char *name, const struct client_limits *limits);

/* Build requests. */
struct request register_machine(const char *name, int64_t gpus, int64_t memory_gib);
struct request create_booking(const struct share *shares, size_t count, int64_t start_ms,
                              int64_t end_ms);

extern const struct CMUnitTest session_tests[], world_tests[], client_tests[], fault_tests[];
extern const size_t session_test_count, world_test_count, client_test_count, fault_test_count;

#endif
