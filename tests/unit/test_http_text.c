/* reader/http_text.c: URLs and lists in headers, by tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "reader/http_text.h"

static void test_paths(void **state)
{
    static const struct {
        const char *target, *path, *query;
    } rows[] = {
        {"/v1/farm", "/v1/farm", ""},
        {"/v1/farm?", "/v1/farm", ""},
        {"/v1?a=b?c", "/v1", "a=b?c"},
        {"http://host:80/v1?x", "/v1", "x"},
        {"HTTPS://host", "", ""},
        {"http://host?x=/y", "", "x=/y"},
        {"*", "*", ""},
        {"", "", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t len;
        const char *query, *path = http_path(rows[i].target, &len, &query);
        assert_int_equal(len, strlen(rows[i].path));
        assert_memory_equal(path, rows[i].path, len);
        assert_string_equal(query, rows[i].query);
    }
}

static void test_decoding(void **state)
{
    static const struct {
        const char *text;
        bool plus;
        const char *decoded; /* NULL: refused */
    } rows[] = {
        {"", false, ""},
        {"a%2Fb", false, "a/b"},
        {"%41%6a", false, "Aj"},
        {"a+b", false, "a+b"},
        {"a+b%2B", true, "a b+"},
        {"%252D", false, "%2D"},
        {"a%00x", true, NULL},
        {"%", true, NULL},
        {"%4", true, NULL},
        {"%4g", true, NULL},
        {"%%41", true, NULL},
        {"%ff", true, NULL},
        {"%C5%81", true, "\xC5\x81"},
        {"%C5", true, NULL},
        {"%c0%80", true, NULL},
        {"%-1", true, NULL},
        {"% 1", true, NULL},
    };
    struct arena *arena = arena_new();
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *decoded = http_decode(arena, rows[i].text, strlen(rows[i].text), rows[i].plus);
        if (rows[i].decoded) {
            assert_non_null(decoded);
            assert_string_equal(decoded, rows[i].decoded);
        } else {
            assert_null(decoded);
        }
    }
    /* Not a byte behind the length. */
    assert_string_equal(http_decode(arena, "ab%41", 2, false), "ab");
    assert_null(http_decode(arena, "%41", 2, false));
    arena_free(arena);
}

static void test_etags(void **state)
{
    static const char tag[] = "\"abc\"";
    static const char *const has[] = {"\"abc\"",
                                      "W/\"abc\"",
                                      "*",
                                      " * ",
                                      "\"x\", \"abc\"",
                                      "\"x\",W/\"abc\"",
                                      ",, \"abc\" , \"y\"",
                                      "\"a,b\", \"abc\""};
    static const char *const lacks[] = {"",         "abc",           "\"abcd\"", "\"x\\\"abc\"",
                                        "\"abc",    "W/abc",         "*, \"x\"", "\"a\"abc\"\"",
                                        "x\"abc\"", "\"x\" \"abc\"", "w/\"abc\""};
    (void)state;
    for (size_t i = 0; i < sizeof(has) / sizeof(has[0]); i++)
        assert_true(http_etag_listed(has[i], tag));
    for (size_t i = 0; i < sizeof(lacks) / sizeof(lacks[0]); i++)
        assert_false(http_etag_listed(lacks[i], tag));
    assert_false(http_etag_listed(NULL, tag));
    /* The tag of the compressed form is another one. */
    assert_false(http_etag_listed("\"abc-gz\"", tag));
}

static void test_accepted_codings(void **state)
{
    static const char *const takes[] = {
        "gzip",           "GZIP",     "br, gzip",    "gzip;q=0.5",
        "gzip ; q=0.001", "gzip;q=1", "br;q=1,gzip", "identity,gzip;Q=0.1"};
    static const char *const refuses[] = {"",         "notgzip",     "gzipped",      "x-gzip2",
                                          "gzip;q=0", "gzip; q=0.0", "gzip;q=0.000", "*",
                                          "br",       "br;x=gzip",   "gzip x",       "gzip ;Q=0"};
    (void)state;
    for (size_t i = 0; i < sizeof(takes) / sizeof(takes[0]); i++)
        assert_true(http_accepts(takes[i], "gzip"));
    for (size_t i = 0; i < sizeof(refuses) / sizeof(refuses[0]); i++)
        assert_false(http_accepts(refuses[i], "gzip"));
    assert_false(http_accepts(NULL, "gzip"));
    assert_true(http_accepts("text/event-stream", "text/event-stream"));
    assert_false(http_accepts("text/*, */*;q=0.8", "text/event-stream"));
}

static void test_origins(void **state)
{
    static const char list[] = "https://a.example, https://b.example:8443";
    (void)state;
    assert_true(http_names_origin(list, "https://a.example"));
    assert_true(http_names_origin(list, "https://b.example:8443"));
    assert_false(http_names_origin(list, "https://b.example"));
    assert_false(http_names_origin(list, "https://a.example.evil"));
    assert_false(http_names_origin(list, "null"));
    assert_false(http_names_origin("", ""));
}

static void test_digits(void **state)
{
    (void)state;
    assert_true(http_is_digits("0") && http_is_digits("0123456789"));
    assert_false(http_is_digits("") || http_is_digits("-5") || http_is_digits("5 ") ||
                 http_is_digits("0, 0") || http_is_digits("+5"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),   cmocka_unit_test(test_decoding),
        cmocka_unit_test(test_etags),   cmocka_unit_test(test_accepted_codings),
        cmocka_unit_test(test_origins), cmocka_unit_test(test_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
