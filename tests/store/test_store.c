/* The store against a real server, named by BERTH_DB_*: integration-tests/test_store.py runs this
 * on MySQL and on MariaDB. Empties the tables of that database. */
#include "tests/store/store_env.h"

#include <stdio.h>
#include <string.h>

int main(void)
{
    struct {
        const char *name;
        const struct CMUnitTest *tests;
        size_t count;
    } groups[] = {
        {"session", session_tests, session_test_count},
        {"world", world_tests, world_test_count},
        {"clients", client_tests, client_test_count},
        {"faults", fault_tests, fault_test_count},
    };
    int failed = 0;
    for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
        failed += _cmocka_run_group_tests(groups[i].name, groups[i].tests, groups[i].count,
                                          env_start, env_stop);
    }
    return failed ? 1 : 0;
}
