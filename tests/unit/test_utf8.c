/* The visible form of text from outside, and what prints it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "core/utf8.h"
#include "lib/base/print.h"

/* Characters that no editor shows, by their bytes. */
#define CSI             "\xc2\x9b"         /* U+009B, ESC [ in one character */
#define NO_BREAK_SPACE  "\xc2\xa0"         /* U+00A0, a blank that is seen */
#define SOFT_HYPHEN     "\xc2\xad"         /* U+00AD */
#define ZERO_SPACE      "\xe2\x80\x8b"     /* U+200B */
#define NON_JOINER      "\xe2\x80\x8c"     /* U+200C */
#define JOINER          "\xe2\x80\x8d"     /* U+200D */
#define LINE_SEPARATOR  "\xe2\x80\xa8"     /* U+2028 */
#define RIGHT_TO_LEFT   "\xe2\x80\xae"     /* U+202E */
#define END_DIRECTION   "\xe2\x80\xac"     /* U+202C */
#define FILLER          "\xe3\x85\xa4"     /* U+3164 */
#define VARIATION       "\xef\xb8\x8f"     /* U+FE0F */
#define BYTE_ORDER_MARK "\xef\xbb\xbf"     /* U+FEFF */
#define TAG             "\xf3\xa0\x81\x81" /* U+E0041 */

static const struct {
    const char *text, *visible;
} rows[] = {
    {"", ""},
    {"gpu-01, Łukasz 🍣, 東京 & \"x\\y\"", "gpu-01, Łukasz 🍣, 東京 & \"x\\y\""},
    /* A line that a terminal would show as Berth's own. */
    {"a\x1b]0;x\x07\n2026-11-24 accepted", "a\\u001b]0;x\\u0007\\u000a2026-11-24 accepted"},
    {"\x01\t\r\x7f", "\\u0001\\u0009\\u000d\\u007f"},
    {"x" CSI "2Jy" NO_BREAK_SPACE "z", "x\\u009b2Jy" NO_BREAK_SPACE "z"},
    {RIGHT_TO_LEFT "live" END_DIRECTION LINE_SEPARATOR, "\\u202elive\\u202c\\u2028"},
    {"al" ZERO_SPACE "ice al" SOFT_HYPHEN "ice " BYTE_ORDER_MARK "x" FILLER,
     "al\\u200bice al\\u00adice \\ufeffx\\u3164"},
    /* Between Latin letters a joiner is not seen; behind an emoji or an Arabic letter it is. */
    {"al" JOINER "ice" VARIATION, "al\\u200dice\\ufe0f"},
    {"👩" JOINER "💻 ❤" VARIATION " می" NON_JOINER "خ",
     "👩" JOINER "💻 ❤" VARIATION " می" NON_JOINER "خ"},
    {TAG, "\\udb40\\udc41"},
    /* Bytes that are not UTF-8: C1 of an 8-bit terminal, cut, overlong, a surrogate. */
    {"\x9b#\xff#\xe2\x82#\xc1\xbf#\xed\xa0\x80",
     "\\x9b#\\xff#\\xe2\\x82#\\xc1\\xbf#\\xed\\xa0\\x80"},
};

static void visible_forms(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *visible = print_visible(rows[i].text);
        assert_string_equal(visible, rows[i].visible);
        char *again = print_visible(visible);
        assert_string_equal(again, visible);
        free(again);
        free(visible);
    }
}

static void what_does_not_fit_is_cut_between_characters(void **state)
{
    (void)state;
    static const struct {
        size_t room;
        const char *out;
    } cuts[] = {{1, ""}, {2, "a"}, {7, "a"}, {8, "a\\u001b"}, {11, "a\\u001b"}, {12, "a\\u001b🍣"}};
    for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
        char out[16];
        memset(out, '!', sizeof(out));
        size_t len = utf8_visible(out, cuts[i].room, "a\x1b🍣z");
        assert_string_equal(out, cuts[i].out);
        assert_int_equal(len, strlen(cuts[i].out));
        assert_int_equal(out[cuts[i].room], '!');
    }
}

static void print_all(FILE *out)
{
    print_part(out, "%s=%d ", "a\nb", 3);
    print_line(out, "%s", CSI);
    print_lines(out, "{\n  \"a\": \"" CSI "\"\n}");
    print_json(out, "{\"a\":\"" CSI "\\u001b\"}");
}

static void printed(void **state)
{
    (void)state;
    char text[200] = "";
    FILE *file = tmpfile();
    assert_non_null(file);
    print_all(file);
    rewind(file);
    assert_true(fread(text, 1, sizeof(text) - 1, file) > 0);
    assert_string_equal(text, "a\\u000ab=3 \\u009b\n{\n  \"a\": \"\\u009b\"\n}\n"
                              "{\"a\":\"" CSI "\\u001b\"}\n");
    fclose(file);
}

static void json_on_a_terminal(void **state)
{
    (void)state;
    char text[200] = "";
    int master, fd;
    struct termios mode;
    assert_int_equal(openpty(&master, &fd, NULL, NULL, NULL), 0);
    assert_int_equal(tcgetattr(fd, &mode), 0);
    mode.c_oflag &= ~(tcflag_t)OPOST;
    assert_int_equal(tcsetattr(fd, TCSANOW, &mode), 0);
    FILE *terminal = fdopen(fd, "w");
    print_json(terminal, "{\"a\":\"" CSI "\\u001b\"}");
    assert_int_equal(fflush(terminal), 0);
    assert_true(read(master, text, sizeof(text) - 1) > 0);
    assert_string_equal(text, "{\"a\":\"\\u009b\\u001b\"}\n");
    fclose(terminal);
    close(master);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(visible_forms),
        cmocka_unit_test(what_does_not_fit_is_cut_between_characters),
        cmocka_unit_test(printed),
        cmocka_unit_test(json_on_a_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
