/* Errors, memory, logs, clocks, back-off, nearest names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "lib/base/backoff.h"
#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/nearest.h"

static void test_err_names_are_the_enum_in_lower_case(void **state)
{
    (void)state;
    static const char *const enums[ERR_COUNT] = {
#define UPPER(id, text) #id,
        ERR_TABLE(UPPER)
#undef UPPER
    };
    for (int i = 0; i < ERR_COUNT; i++) {
        const char *name = err_name((enum err)i);
        assert_int_equal(strlen(name), strlen(enums[i]));
        for (size_t c = 0; name[c]; c++)
            assert_int_equal(name[c], tolower((unsigned char)enums[i][c]));
    }
}

static void test_err_classes_and_exit_codes(void **state)
{
    (void)state;
    assert_true(err_is_retryable(ERR_DB_DEADLOCK));
    assert_true(err_is_retryable(ERR_DB_CONNECTION));
    assert_true(err_is_retryable(ERR_WORLD_GREW));
    /* A commit with an unknown result is checked first, never simply repeated. */
    assert_false(err_is_retryable(ERR_DB_COMMIT_UNKNOWN));
    assert_false(err_is_retryable(ERR_EPOCH_LOST));
    assert_false(err_is_retryable(ERR_OK));
    assert_true(err_is_connection(ERR_DB_COMMIT_UNKNOWN));
    assert_false(err_is_connection(ERR_DB_DEADLOCK));
    assert_int_equal(err_exit_code(ERR_OK), 0);
    assert_int_equal(err_exit_code(ERR_USAGE), 2);
    assert_int_equal(err_exit_code(ERR_CONFIG), 2);
    assert_int_equal(err_exit_code(ERR_NOT_FOUND), 5);
    assert_int_equal(err_exit_code(ERR_TIMEOUT), 4);
    assert_int_equal(err_exit_code(ERR_DB_ERROR), 1);
}

static void test_failure_wraps_outermost_first(void **state)
{
    (void)state;
    struct failure f;
    assert_int_equal(failure_set(&f, ERR_DB_DEADLOCK, "execute: %s", "deadlock"), ERR_DB_DEADLOCK);
    assert_int_equal(failure_wrap(&f, "load %d timelines", 3), ERR_DB_DEADLOCK);
    assert_string_equal(f.text, "load 3 timelines: execute: deadlock");
    assert_int_equal(failure_set(NULL, ERR_IO, "nobody asks"), ERR_IO);
}

static void test_failure_too_long_is_cut(void **state)
{
    (void)state;
    struct failure f;
    char *text = xmalloc(3000);
    memset(text, 'y', 2999);
    text[2999] = '\0';
    failure_set(&f, ERR_IO, "%s", text);
    assert_int_equal(strlen(f.text), FAILURE_TEXT_LEN - 1);
    failure_wrap(&f, "open");
    assert_int_equal(strlen(f.text), FAILURE_TEXT_LEN - 1);
    assert_memory_equal(f.text, "open: yyy", 9);
    failure_wrap(&f, "%s", text);
    assert_int_equal(strlen(f.text), FAILURE_TEXT_LEN - 1);
    free(text);
}

static void test_buf_grows_and_keeps_its_nul(void **state)
{
    (void)state;
    struct buf buf = {0};
    buf_append(&buf, NULL, 0);
    assert_string_equal(buf.data, "");
    for (int i = 0; i < 1000; i++)
        buf_printf(&buf, "%d,", i);
    assert_int_equal(buf.len, 3890);
    assert_int_equal(buf.data[buf.len], '\0');
    assert_memory_equal(buf.data, "0,1,2,", 6);
    buf_clear(&buf);
    assert_int_equal(buf.len, 0);
    buf_hex(&buf, "\x00\x1f\xff", 3);
    assert_string_equal(buf.data, "001fff");
    buf_append(&buf, "a\0b", 3);
    assert_int_equal(buf.len, 9);
    buf_fini(&buf);
    assert_null(buf.data);
    buf_clear(&buf);
    buf_puts(&buf, "again");
    assert_string_equal(buf.data, "again");
    buf_fini(&buf);
}

static void test_copies_of_text(void **state)
{
    (void)state;
    char *text = xstrndup("abcdef", 3);
    assert_string_equal(text, "abc");
    free(text);
    text = xstrndup("ab", 10);
    assert_string_equal(text, "ab");
    free(text);
    text = xasprintf("%s-%0200d", "x", 7);
    assert_int_equal(strlen(text), 202);
    free(text);
    free(xmalloc(0));
    free(xcalloc(0, 0));
    text = xrealloc(NULL, 1);
    free(text);
}

/* Returns fn's output to stderr; the caller frees it. */
static char *stderr_of(void (*fn)(void))
{
    char path[] = "/tmp/berth-test-log-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    int saved = dup(STDERR_FILENO);
    dup2(fd, STDERR_FILENO);
    fn();
    dup2(saved, STDERR_FILENO);
    close(saved);
    off_t len = lseek(fd, 0, SEEK_END);
    char *text = xcalloc(1, (size_t)len + 1);
    lseek(fd, 0, SEEK_SET);
    assert_int_equal(read(fd, text, (size_t)len), len);
    close(fd);
    return text;
}

static void log_some(void)
{
    log_debug("not at this level", "%s", "");
    log_info("claimed", "part=%d epoch=%" PRIu64, 3, UINT64_C(7));
    struct log_quoted quoted;
    log_warn("say \"hi\"", "why=%s raw=%s", log_quote(&quoted, "a \"b\"\\\n\x1b[0m\xc3\xa4"),
             "line\nbreak");
    log_set_level(LOG_ERROR);
    log_warn("too low", "%s", "");
    log_set_level(LOG_INFO);
    log_info("no fields", "%s", "");
}

static void test_log_lines_are_logfmt(void **state)
{
    (void)state;
    char *text = stderr_of(log_some);
    const char *escaped =
        " level=warn msg=\"say \\\"hi\\\"\" "
        "why=\"a \\\"b\\\"\\\\\\\\u000a\\\\u001b[0m\xc3\xa4\" raw=line\\u000abreak\n";
    const char *expected[] = {
        " level=info msg=\"claimed\" part=3 epoch=7\n",
        escaped,
        " level=info msg=\"no fields\"\n",
    };
    const char *line = text;
    for (size_t i = 0; i < 3; i++) {
        assert_memory_equal(line, "ts=2", 4);
        const char *behind_time = strchr(line, ' ');
        assert_memory_equal(behind_time, expected[i], strlen(expected[i]));
        line = behind_time + strlen(expected[i]);
    }
    assert_string_equal(line, "");
    free(text);
}

static void log_much(void)
{
    char *much = xmalloc(20000);
    memset(much, '\x01', 19999);
    much[19999] = '\0';
    log_error("much", "raw=%s", much);
    struct log_quoted quoted;
    log_error(much, "quoted=%s", log_quote(&quoted, much));
    free(much);
}

static void test_log_line_too_long_is_cut(void **state)
{
    (void)state;
    char *text = stderr_of(log_much);
    char *end = strchr(text, '\n');
    assert_non_null(end);
    assert_true(end - text < 4096);
    char *second = strchr(end + 1, '\n');
    assert_true(second - end <= 4096);
    assert_int_equal(second[1], '\0');
    free(text);
}

static void test_log_levels_have_names(void **state)
{
    (void)state;
    assert_int_equal(log_level_from_name("debug"), LOG_DEBUG);
    assert_int_equal(log_level_from_name("error"), LOG_ERROR);
    assert_int_equal(log_level_from_name("INFO"), LOG_LEVEL_COUNT);
    assert_int_equal(log_level_from_name(""), LOG_LEVEL_COUNT);
}

static void test_backoff_stays_in_its_bounds(void **state)
{
    (void)state;
    struct backoff b;
    backoff_init(&b, 10, 1000);
    int64_t least = 10;
    int64_t most = 20;
    for (int i = 0; i < 50; i++) {
        int64_t pause = backoff_next(&b);
        assert_in_range(pause, least, most);
        most = most * 2 > 1000 ? 1000 : most * 2;
        least = most / 2;
    }
    backoff_reset(&b);
    assert_in_range(backoff_next(&b), 10, 20);
    backoff_init(&b, 5, 5);
    for (int i = 0; i < 5; i++)
        assert_int_equal(backoff_next(&b), 5);
}

static void test_backoff_jitters(void **state)
{
    (void)state;
    struct backoff b;
    backoff_init(&b, 1000000, 1000000000);
    int64_t first = backoff_next(&b);
    bool differs = false;
    for (int i = 0; i < 5; i++) {
        backoff_reset(&b);
        differs = differs || backoff_next(&b) != first;
    }
    assert_true(differs);
}

static void nothing(int number)
{
    (void)number;
}

static void test_clocks(void **state)
{
    (void)state;
    assert_true(clock_wall_ms() > INT64_C(1700000000000));
    int64_t before = clock_mono_ms();
    clock_sleep_ms(-5);
    clock_sleep_ms(0);
    clock_sleep_ms(20);
    assert_true(clock_mono_ms() - before >= 20);
}

static void test_sleep_ends_at_a_signal(void **state)
{
    (void)state;
    struct sigaction action = {.sa_handler = nothing};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval timer = {.it_value = {.tv_usec = 20000}};
    int64_t before = clock_mono_ms();
    setitimer(ITIMER_REAL, &timer, NULL);
    clock_sleep_ms(60000);
    assert_true(clock_mono_ms() - before < 30000);
}

static const char *nearest_of(const char *word)
{
    static const char *const names[] = {"start", "end", "wait", "no-wait", "request-id", "user"};
    struct nearest nearest;
    nearest_init(&nearest, word);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        nearest_offer(&nearest, names[i]);
    return nearest_result(&nearest);
}

static void test_nearest_name(void **state)
{
    (void)state;
    assert_string_equal(nearest_of("strat"), "start");
    assert_string_equal(nearest_of("START"), "start");
    assert_string_equal(nearest_of("requestid"), "request-id");
    assert_string_equal(nearest_of("request_id"), "request-id");
    assert_string_equal(nearest_of("usr"), "user");
    assert_null(nearest_of("colour"));
    assert_null(nearest_of("x"));
    assert_null(
        nearest_of("a-word-that-is-longer-than-any-name-could-ever-be-in-a-table-of-names"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_err_names_are_the_enum_in_lower_case),
        cmocka_unit_test(test_err_classes_and_exit_codes),
        cmocka_unit_test(test_failure_wraps_outermost_first),
        cmocka_unit_test(test_failure_too_long_is_cut),
        cmocka_unit_test(test_buf_grows_and_keeps_its_nul),
        cmocka_unit_test(test_copies_of_text),
        cmocka_unit_test(test_log_lines_are_logfmt),
        cmocka_unit_test(test_log_line_too_long_is_cut),
        cmocka_unit_test(test_log_levels_have_names),
        cmocka_unit_test(test_backoff_stays_in_its_bounds),
        cmocka_unit_test(test_backoff_jitters),
        cmocka_unit_test(test_clocks),
        cmocka_unit_test(test_sleep_ends_at_a_signal),
        cmocka_unit_test(test_nearest_name),
    };
    return cmocka_run_group_tests_name("lib basics", tests, NULL, NULL);
}
