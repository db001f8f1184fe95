/* SPDX-License-Identifier: ISC */
/* Text commands: the table, each split in every way; limits; keys that are passed on early. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "memcached_commands.h"

static const struct memcached_case *current; /* the case that is being checked */

/* A copy, so that reads past its end are detected. The same bytes may be elsewhere in the next
 * call. */
static enum memcached_result see(struct memcached_command *command, const char *text, size_t length)
{
    char *copy = malloc(length > 0 ? length : 1);
    enum memcached_result result;

    assert_non_null(copy);
    memcpy(copy, text, length);
    result = memcached_command_parse(command, copy, length);
    free(copy);
    return result;
}

static void check_command(const struct memcached_command *command, enum memcached_result result,
                          const struct memcached_case *expected)
{
    const char *lf = memchr(expected->text, '\n', expected->length);

    assert_int_equal(result, expected->result);
    if (result == MEMCACHED_MORE)
        return;
    assert_int_equal(command->quiet, expected->quiet);
    if (!expected->close)
        assert_int_equal(command->length, lf + 1 - expected->text);
    if (result == MEMCACHED_BAD) {
        assert_string_equal(command->error, expected->error);
        assert_int_equal(command->close, expected->close);
        assert_int_equal(command->swallow, expected->swallow);
        return;
    }
    assert_int_equal(command->reply, expected->reply);
    assert_int_equal(command->traits, expected->traits);
    assert_int_equal(command->value_length, expected->value);
    assert_int_equal(command->value_left,
                     expected->traits & MEMCACHED_VALUED ? expected->value + UINT64_C(2) : 0);
}

static void check_case(const struct memcached_case *expected)
{
    struct memcached_command command;
    enum memcached_result result = MEMCACHED_MORE;

    memcached_command_begin(&command, false);
    for (size_t i = 0; i <= expected->length; i++)
        result = see(&command, expected->text, i);
    check_command(&command, result, expected);
    for (size_t i = 0; i <= expected->length; i++) {
        memcached_command_begin(&command, false);
        (void)!see(&command, expected->text, i);
        check_command(&command, see(&command, expected->text, expected->length), expected);
    }
}

static void test_commands(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(memcached_commands); i++) {
        current = &memcached_commands[i];
        check_case(current);
    }
    current = NULL;
}

/* Reports which case failed, in one line of printable characters. */
static int name_failed_case(void **state)
{
    (void)state;
    if (!current)
        return 0;
    fprintf(stderr, "# %s: ", current->rule);
    for (size_t i = 0; i < current->length; i++)
        fputc(current->text[i] < ' ' || current->text[i] > '~' ? '.' : current->text[i], stderr);
    fputc('\n', stderr);
    current = NULL;
    return 0;
}

static char line[2 * MEMCACHED_KEYS_LINE_MAX];

/* Whole and in pieces; the same verdict. */
static enum memcached_result parse_both(struct memcached_command *command, const char *text,
                                        size_t length)
{
    struct memcached_command pieces;
    enum memcached_result result, other = MEMCACHED_MORE;

    memcached_command_begin(command, false);
    result = memcached_command_parse(command, text, length);
    memcached_command_begin(&pieces, false);
    for (size_t i = 1; i < length && other == MEMCACHED_MORE; i += 1 + i / 100)
        other = memcached_command_parse(&pieces, text, i);
    if (other == MEMCACHED_MORE)
        other = memcached_command_parse(&pieces, text, length);
    assert_int_equal(other, result);
    assert_ptr_equal(pieces.error, command->error);
    assert_int_equal(pieces.close, command->close);
    return result;
}

/* F7: lines have a limit, except those of keys. Their end is included. */
static void check_line_limit(const char *start, const char *end, size_t max)
{
    struct memcached_command command;

    for (size_t extra = 0; extra < 2; extra++) {
        size_t length = max + extra;

        memset(line, ' ', length);
        memcpy(line, start, strlen(start));
        memcpy(line + length - strlen(end), end, strlen(end));
        assert_int_equal(parse_both(&command, line, length),
                         extra ? MEMCACHED_BAD : MEMCACHED_DONE);
        if (!extra)
            continue;
        assert_true(command.close);
        assert_string_equal(command.error, "CLIENT_ERROR line too long");
        line[max - 1] = ' ';
        assert_int_equal(parse_both(&command, line, max), MEMCACHED_BAD);
        assert_int_equal(parse_both(&command, line, max - 1), MEMCACHED_MORE);
    }
}

static void test_line_limits(void **state)
{
    (void)state;
    check_line_limit("set a 0 0 2", "\r\n", MEMCACHED_LINE_MAX);
    check_line_limit("delete a", "\n", MEMCACHED_LINE_MAX);
    check_line_limit("gat 0 a", "\r\n", MEMCACHED_KEYS_LINE_MAX);
    check_line_limit("gats 0 a", "\n", MEMCACHED_KEYS_LINE_MAX);
}

/* F7: the rest of a rejected line of keys is discarded, up to a limit. */
static void test_refused_keys_limit(void **state)
{
    struct memcached_command command;

    (void)state;
    memset(line, 'a', sizeof(line));
    memcpy(line, "get ", 4);
    line[MEMCACHED_KEYS_LINE_MAX - 1] = '\n';
    assert_int_equal(parse_both(&command, line, MEMCACHED_KEYS_LINE_MAX), MEMCACHED_BAD);
    assert_false(command.close);
    assert_int_equal(command.length, MEMCACHED_KEYS_LINE_MAX);
    line[MEMCACHED_KEYS_LINE_MAX - 1] = 'a';
    line[MEMCACHED_KEYS_LINE_MAX] = '\n';
    assert_int_equal(parse_both(&command, line, MEMCACHED_KEYS_LINE_MAX + 1), MEMCACHED_BAD);
    assert_true(command.close);
}

/* A client sends a line of keys, and what is known to be complete keys is passed on at once. */
static size_t pass_keys(struct memcached_command *command, const char *text, size_t length,
                        size_t piece, enum memcached_result *result)
{
    size_t begin = 0, end = 0;

    memcached_command_begin(command, false);
    do {
        end = length - end < piece ? length : end + piece;
        *result = memcached_command_parse(command, text + begin, end - begin);
        if (*result == MEMCACHED_MORE && command->passable > 0) {
            begin += command->passable;
            assert_int_equal(text[begin - 1], ' ');
            memcached_command_pass(command);
            assert_int_equal(command->passed, begin);
        }
    } while (*result == MEMCACHED_MORE && end < length);
    return begin;
}

/* F7: get and gets have no limit. */
static void test_keys_are_passed_on_early(void **state)
{
    static const size_t pieces[] = {1, 2, 3, 7, 250, 4096};
    static const char *const ends[] = {"\r\n", "\n", " \r\n"};
    struct memcached_command command;
    enum memcached_result result;

    (void)state;
    for (size_t e = 0; e < ARRAY_LEN(ends); e++)
        for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
            size_t length = (size_t)sprintf(line, "gets");

            while (length < sizeof(line) - 300)
                length += (size_t)sprintf(line + length, " key%zu", length);
            length += (size_t)sprintf(line + length, "%s", ends[e]);

            size_t passed = pass_keys(&command, line, length, pieces[i], &result);

            assert_int_equal(result, MEMCACHED_DONE);
            assert_int_equal(passed + command.length, length);
            assert_true(command.length <= 20 + pieces[i]);
            assert_int_equal(command.reply, MEMCACHED_VALUES);
        }
}

/* A key that is rejected after others were passed on leaves no line that the server would run. */
static void test_bad_key_late(void **state)
{
    static const char *const bad[] = {"k" K250, "a\tb", "a\rb", "\x01", "noreply"};
    struct memcached_command command;
    enum memcached_result result;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        size_t length = (size_t)sprintf(line, "get a b c %s\r\n", bad[i]);

        assert_int_equal(pass_keys(&command, line, length, 1, &result), strlen("get a b c "));
        assert_int_equal(result, MEMCACHED_BAD);
        assert_true(command.close);
        assert_int_equal(command.swallow, 0);
    }
}

/* What precedes a bad key is not passed on once that is known. */
static void test_nothing_is_passable_behind_a_bad_key(void **state)
{
    struct memcached_command command;

    (void)state;
    memcached_command_begin(&command, false);
    assert_int_equal(memcached_command_parse(&command, "get a b", 7), MEMCACHED_MORE);
    assert_int_equal(command.passable, strlen("get a "));
    assert_int_equal(memcached_command_parse(&command, "get a b\tc d", 11), MEMCACHED_MORE);
    assert_int_equal(command.passable, 0);
}

/* One row for a value, what follows its header, and how it ends. */
static void check_value(const char *value, uint64_t value_length, enum memcached_result expected)
{
    size_t length = strlen(value);
    char header[64];
    int header_length = snprintf(header, sizeof(header), "set a 0 0 %d\r\n", (int)value_length);

    for (size_t cut = 0; cut <= length; cut++) {
        struct memcached_command command;
        enum memcached_result result;
        size_t used, second;

        memcached_command_begin(&command, false);
        assert_int_equal(memcached_command_parse(&command, header, (size_t)header_length),
                         MEMCACHED_DONE);
        assert_int_equal(memcached_command_value_rest(&command), value_length);
        result = memcached_command_value(&command, value, cut, &used);
        assert_true(used <= cut);
        if (result == MEMCACHED_MORE) {
            result = memcached_command_value(&command, value + used, length - used, &second);
            used += second;
        }
        assert_int_equal(result, expected);
        if (result == MEMCACHED_DONE)
            assert_int_equal(used, value_length + 2);
        if (result == MEMCACHED_BAD) {
            assert_string_equal(command.error, "CLIENT_ERROR bad data chunk");
            assert_true(command.close);
        }
    }
}

/* F7, M5: a value must end with CRLF. */
static void test_values(void **state)
{
    (void)state;
    check_value("mn\r\n", 2, MEMCACHED_DONE);
    check_value("mn\r\nget a\r\n", 2, MEMCACHED_DONE);
    check_value("\r\n", 0, MEMCACHED_DONE);
    check_value("\r\n\r\n", 2, MEMCACHED_DONE);
    check_value("mn\r", 2, MEMCACHED_MORE);
    check_value("m", 2, MEMCACHED_MORE);
    check_value("mnx\n", 2, MEMCACHED_BAD);
    check_value("mn\rx", 2, MEMCACHED_BAD);
    check_value("mn\nm", 2, MEMCACHED_BAD);
    check_value("x", 0, MEMCACHED_BAD);
    check_value("mnx", 2, MEMCACHED_BAD);
}

/* Bytes moved uninterpreted are counted. */
static void test_skipped_value(void **state)
{
    static const char header[] = "set a 0 0 1000000\r\n";
    struct memcached_command command;
    size_t used;

    (void)state;
    memcached_command_begin(&command, false);
    assert_int_equal(memcached_command_parse(&command, header, strlen(header)), MEMCACHED_DONE);
    memcached_command_value_skip(&command, 999999);
    assert_int_equal(memcached_command_value_rest(&command), 1);
    assert_int_equal(memcached_command_value(&command, "x\r\nget", 6, &used), MEMCACHED_DONE);
    assert_int_equal(used, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_commands, name_failed_case),
        cmocka_unit_test(test_line_limits),
        cmocka_unit_test(test_refused_keys_limit),
        cmocka_unit_test(test_keys_are_passed_on_early),
        cmocka_unit_test(test_bad_key_late),
        cmocka_unit_test(test_nothing_is_passable_behind_a_bad_key),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_skipped_value),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
