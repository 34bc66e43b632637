#include "tests/store/store_env.h"
static void test_nothing(void **state)
{
    (void)state;
}
const struct CMUnitTest session_tests[] = {cmocka_unit_test(test_nothing)};
const size_t session_test_count = 1;
