/* SPDX-License-Identifier: ISC */
/* Inline commands: where the line ends, and how it is split. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "resp/resp.h"

#define QUOTES "Protocol error: unbalanced quotes in request"
#define NUL    "Protocol error: NUL in an inline request"

struct line_case {
    const char *line;
    size_t length;
    const char *error;
    const char *words; /* each followed by a ';' */
    size_t words_length;
};

#define SPLIT(l, w)                                                                                \
    {                                                                                              \
        .line = (l), .length = sizeof(l) - 1, .words = (w), .words_length = sizeof(w) - 1          \
    }
#define FAIL(l, e)                                                                                 \
    {                                                                                              \
        .line = (l), .length = sizeof(l) - 1, .error = (e)                                         \
    }

/* F7: split as by sdssplitargs of redis 7.0. */
static const struct line_case cases[] = {
    SPLIT("PING", "PING;"),
    SPLIT("PING\n", "PING;"),
    SPLIT("PING\r\n", "PING;"),
    SPLIT("PING\r\r\n", "PING;"),
    SPLIT("set key value\r\n", "set;key;value;"),
    SPLIT(" \tset \v \fkey\t value \r\n", "set;key;value;"),
    SPLIT("a\vb c\fd e\v", "a\vb;c\fd;e\v;"), /* these do not end a word */
    SPLIT("a\rb", "a;b;"),
    SPLIT("a\\nb \\x41", "a\\nb;\\x41;"), /* escapes are for quotes */
    SPLIT("\xff\x80 \x01", "\xff\x80;\x01;"),

    /* Empty lines have no reply. */
    SPLIT("", ""),
    SPLIT("\n", ""),
    SPLIT("\r\n", ""),
    SPLIT(" \t\v\f\r\n", ""),

    SPLIT("\"\"", ";"),
    SPLIT("''", ";"),
    SPLIT("set \"\" ''", "set;;;"),
    SPLIT("\"a b\" 'c d'", "a b;c d;"),
    SPLIT("\"\\n\\r\\t\\b\\a\"", "\n\r\t\b\a;"),
    SPLIT("\"\\\\ \\\" \\q \\0\"", "\\ \" q 0;"),
    SPLIT("\"\\x41\\x6f\\x6F\\xff\\x00\\x3b\"", "Aoo\xff\0;;"),
    SPLIT("\"\\x4\\x4g\\xg4\\x\"", "x4x4gxg4x;"),
    SPLIT("\"\\X41\"", "X41;"),
    SPLIT("'\\n \\x41 \\\\ \"'", "\\n \\x41 \\\\ \";"),
    SPLIT("'it\\'s'", "it's;"),
    SPLIT("\"it's\"", "it's;"),
    SPLIT("ab\"c d\" e", "abc d;e;"), /* a quote within a word begins what ends it */
    SPLIT("ab'c d'\te", "abc d;e;"),
    SPLIT("\"a\"\v\"b\"", "a;b;"),

    FAIL("\"", QUOTES),
    FAIL("'", QUOTES),
    FAIL("set \"a", QUOTES),
    FAIL("set 'a\r\n", QUOTES),
    FAIL("\"a\\\"", QUOTES),
    FAIL("\"a\\", QUOTES),
    FAIL("\"a\\x", QUOTES),
    FAIL("\"a\\x4", QUOTES),
    FAIL("\"a\\x41", QUOTES),
    FAIL("\"a\\\n", QUOTES),
    FAIL("'a\\'", QUOTES),
    FAIL("\"a\"b", QUOTES),
    FAIL("'a'b", QUOTES),
    FAIL("\"a\"'b'", QUOTES),
    FAIL("a \"b\"\"c\"", QUOTES),

    /* F7: the server would not reply. */
    FAIL("PING\0", NUL),
    FAIL("\0\r\n", NUL),
    FAIL("\"\0", NUL),
};

static char out[RESP_INLINE_MAX];

/* Compares with the words as RESP. */
static void check_words(const struct line_case *one, const char *data, size_t length)
{
    struct resp_command command;
    const char *word = one->words;

    resp_command_begin(&command);
    assert_int_equal(resp_command_parse(&command, data, length), RESP_DONE);
    assert_int_equal(command.length, length);
    for (uint32_t i = 0; i < command.argc; i++) {
        const struct resp_arg *arg = &command.args[i];

        assert_true((size_t)(word - one->words) + arg->length < one->words_length);
        assert_memory_equal(data + arg->offset, word, arg->length);
        word += arg->length;
        assert_int_equal(*word++, ';');
    }
    assert_int_equal(word - one->words, one->words_length);
}

static const struct line_case *current;

static void check_line(const struct line_case *one)
{
    const char *error = NULL;
    char *line = malloc(one->length + 1); /* of exactly its size, with a byte before it */

    assert_non_null(line);
    memcpy(line + 1, one->line, one->length);
    ssize_t length = resp_inline_compose(out, sizeof(out), line + 1, one->length, &error);

    if (one->error != NULL) {
        assert_int_equal(length, -1);
        assert_string_equal(error, one->error);
    } else if (one->words_length == 0) {
        assert_int_equal(length, 0);
    } else {
        assert_true(length > 0);
        check_words(one, out, (size_t)length);
        /* Into exactly its size, and into less. */
        char *tight = malloc((size_t)length);
        assert_non_null(tight);
        assert_int_equal(resp_inline_compose(tight, (size_t)length, line + 1, one->length, &error),
                         length);
        assert_memory_equal(tight, out, (size_t)length);
        free(tight);
        for (size_t size = 0; size < (size_t)length; size++) {
            tight = malloc(size > 0 ? size : 1);
            assert_non_null(tight);
            assert_int_equal(resp_inline_compose(tight, size, line + 1, one->length, &error), -1);
            free(tight);
        }
    }
    free(line);
}

static void test_lines(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        current = &cases[i];
        check_line(current);
    }
    current = NULL;
}

static int name_failed_case(void **state)
{
    (void)state;
    if (!current)
        return 0;
    fprintf(stderr, "# ");
    for (size_t i = 0; i < current->length; i++)
        fputc(current->line[i] < ' ' || current->line[i] > '~' ? '.' : current->line[i], stderr);
    fputc('\n', stderr);
    current = NULL;
    return 0;
}

static void test_find(void **state)
{
    size_t length = 0;

    (void)state;
    assert_int_equal(resp_inline_find(NULL, 0, &length), RESP_MORE);
    assert_int_equal(resp_inline_find("PING", 4, &length), RESP_MORE);
    assert_int_equal(resp_inline_find("PING\r", 5, &length), RESP_MORE);
    assert_int_equal(resp_inline_find("PING\r\nPING\r\n", 12, &length), RESP_DONE);
    assert_int_equal(length, 6);
    assert_int_equal(resp_inline_find("PING\nPING\r\n", 11, &length), RESP_DONE);
    assert_int_equal(length, 5);
    assert_int_equal(resp_inline_find("\n", 1, &length), RESP_DONE);
    assert_int_equal(length, 1);
}

/* F7: 64 KiB before the LF; the verdict does not wait for more, nor change with it. */
static void test_find_limit(void **state)
{
    static char text[RESP_LINE_MAX + 16];
    size_t length = 0;

    (void)state;
    memset(text, 'a', sizeof(text));
    assert_int_equal(resp_inline_find(text, RESP_LINE_MAX, &length), RESP_MORE);
    assert_int_equal(resp_inline_find(text, RESP_LINE_MAX + 1, &length), RESP_BAD);
    text[RESP_LINE_MAX] = '\n';
    assert_int_equal(resp_inline_find(text, RESP_LINE_MAX + 1, &length), RESP_DONE);
    assert_int_equal(length, RESP_LINE_MAX + 1);
    text[RESP_LINE_MAX] = 'a';
    text[RESP_LINE_MAX + 1] = '\n';
    assert_int_equal(resp_inline_find(text, RESP_LINE_MAX + 2, &length), RESP_BAD);
}

/* The longest lines, of words that grow most: RESP_INLINE_MAX suffices. */
static void test_longest(void **state)
{
    static const char *const parts[] = {"a ", "\"\" ", "a", "aaaaaaaaaa ", "'' ", "\"\\x41\" "};
    static char line[RESP_LINE_MAX + 1];
    const char *error;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        size_t part = strlen(parts[i]), length = 0;

        for (; length + part <= RESP_LINE_MAX; length += part)
            memcpy(line + length, parts[i], part);
        for (; length < RESP_LINE_MAX; length++)
            line[length] = ' ';
        line[length++] = '\n';
        assert_true(resp_inline_compose(out, sizeof(out), line, length, &error) > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_lines, name_failed_case),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_find_limit),
        cmocka_unit_test(test_longest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
