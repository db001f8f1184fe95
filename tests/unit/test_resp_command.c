/* SPDX-License-Identifier: ISC */
/* Commands: a table, each split in every way, held and streamed; limits. Names the rules of FRAMED
 * that it tests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "resp/resp.h"

#define MULTIBULK "Protocol error: invalid multibulk length"
#define BULK      "Protocol error: invalid bulk length"
#define CRLF      "Protocol error: expected CRLF after a bulk string"
#define TYPE(c)   "Protocol error: expected '$', got '" c "'"

struct command_case {
    const char *text;
    size_t length;
    enum resp_result result;
    const char *error;   /* BAD */
    const char *args[4]; /* those that were read to their end */
    size_t rest;         /* bytes that are not the command's, or not read */
};

#define CASE(t, ...)                                                                               \
    {                                                                                              \
        .text = (t), .length = sizeof(t) - 1, __VA_ARGS__                                          \
    }
#define PASS(t, ...)           CASE(t, .result = RESP_DONE, .args = {__VA_ARGS__})
#define PASS_REST(t, r, ...)   CASE(t, .result = RESP_DONE, .rest = (r), .args = {__VA_ARGS__})
#define MORE(t, r, ...)        CASE(t, .result = RESP_MORE, .rest = (r), .args = {__VA_ARGS__})
#define FAIL(t, e)             CASE(t, .result = RESP_BAD, .error = (e))
#define FAIL_BEHIND(t, e, ...) CASE(t, .result = RESP_BAD, .error = (e), .args = {__VA_ARGS__})

#define GET "*2\r\n$3\r\nGET\r\n"

static const struct command_case cases[] = {
    PASS("*1\r\n$4\r\nPING\r\n", "PING"),
    PASS(GET "$1\r\nk\r\n", "GET", "k"),
    PASS(GET "$0\r\n\r\n", "GET", ""),
    PASS(GET "$2\r\n\r\n\r\n", "GET", "\r\n"),
    PASS(GET "$4\r\n$1\r\n\r\n", "GET", "$1\r\n"),
    PASS(GET "$10\r\n0123456789\r\n", "GET", "0123456789"),
    PASS("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$101\r\n"
         "01234567890123456789012345678901234567890123456789012345678901234567890123456789012345678"
         "90"
         "1234567890\r\n",
         "SET", "k",
         "01234567890123456789012345678901234567890123456789012345678901234567890123456789012345678"
         "90"
         "1234567890"),
    PASS_REST("*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n", 14, "PING"),
    PASS_REST("*1\r\n$4\r\nPING\r\nx", 1, "PING"),

    /* F7: no reply, dropped. */
    PASS("*0\r\n"),
    PASS_REST("*0\r\n*1\r\n", 4),
    PASS_REST("*0\r\n$1\r\na\r\n", 7),
    PASS("*-1\r\n"),
    PASS("*-10\r\n"),
    PASS("*-1152921504606846976\r\n"),

    MORE("", 0),
    MORE("*", 1),
    MORE("*-", 2),
    MORE("*2", 2),
    MORE("*2\r", 3),
    MORE("*2\r\n", 0),
    MORE("*2\r\n$", 1),
    MORE("*2\r\n$3\r", 3),
    MORE("*2\r\n$3\r\n", 0),
    MORE("*2\r\n$3\r\nGE", 0),
    MORE("*2\r\n$3\r\nGET", 0),
    MORE("*2\r\n$3\r\nGET\r", 0),
    MORE(GET, 0, "GET"),
    MORE(GET "$1", 2, "GET"),
    MORE(GET "$0\r\n\r", 0, "GET"),
    MORE("*1048576\r\n$536870912\r\n", 0),
    MORE("*1048576\r", 9),

    /* F7: a count is a plain decimal number. */
    FAIL("*+1\r\n", MULTIBULK),
    FAIL("* 1\r\n", MULTIBULK),
    FAIL("*1 \r\n", MULTIBULK),
    FAIL("*01\r\n", MULTIBULK),
    FAIL("*00", MULTIBULK),
    FAIL("*-0\r\n", MULTIBULK),
    FAIL("*-01\r\n", MULTIBULK),
    FAIL("*--1\r\n", MULTIBULK),
    FAIL("*-\r\n", MULTIBULK),
    FAIL("*\r\n", MULTIBULK),
    FAIL("*a\r\n", MULTIBULK),
    FAIL("*:\r\n$1\r\n", MULTIBULK),
    FAIL("*1:\r\n$1\r\n", MULTIBULK),
    FAIL("*:1\r\n$1\r\n", MULTIBULK),
    FAIL("*/\r\n$1\r\n", MULTIBULK),
    FAIL("*1a", MULTIBULK),
    FAIL("*0x1\r\n", MULTIBULK),
    FAIL("*1.0\r\n", MULTIBULK),
    FAIL("*1\n", MULTIBULK),
    FAIL("*1\r\r\n", MULTIBULK),
    FAIL("*1\rx", MULTIBULK),
    FAIL("*1\0\r\n", MULTIBULK),
    FAIL("$1\r\n", MULTIBULK),
    FAIL("*1\r\n$+1\r\n", BULK),
    FAIL("*1\r\n$-1\r\n", BULK),
    FAIL("*1\r\n$ 1\r\n", BULK),
    FAIL("*1\r\n$01\r\n", BULK),
    FAIL("*1\r\n$00\r\n", BULK),
    FAIL("*1\r\n$\r\n", BULK),
    FAIL("*1\r\n$a", BULK),
    FAIL("*1\r\n$:\r\n0123456789\r\n", BULK),
    FAIL("*1\r\n$0:\r\n0123456789\r\n", BULK),
    FAIL("*1\r\n$1:\r\n01234567890123456789\r\n", BULK),
    FAIL("*1\r\n$4 \r\n", BULK),
    FAIL("*1\r\n$4\nPING\r\n", BULK),
    FAIL("*1\r\n$4\rxPING\r\n", BULK),
    FAIL("*1\r\n$12x\r\n", BULK),

    /* F7: bounds. */
    FAIL("*1048577\r\n", MULTIBULK),
    FAIL("*9999999999", MULTIBULK),
    FAIL("*18446744073709551617\r\n", MULTIBULK),
    FAIL("*-1152921504606846977\r\n", MULTIBULK),
    FAIL("*1\r\n$536870913\r\n", BULK),
    FAIL("*1\r\n$18446744073709551617\r\n", BULK),

    /* F7: CRLF after a bulk string, which the server does not check. */
    FAIL("*1\r\n$4\r\nPINGxy", CRLF),
    FAIL("*1\r\n$4\r\nPING\n", CRLF),
    FAIL("*1\r\n$4\r\nPING\rx", CRLF),
    FAIL("*1\r\n$0\r\n$", CRLF),
    FAIL_BEHIND(GET "$1\r\nkk\r\n", CRLF, "GET"),

    FAIL("*1\r\nPING\r\n", TYPE("P")),
    FAIL("*1\r\n*1\r\n", TYPE("*")),
    FAIL("*1\r\n\r\n", TYPE(" ")),
    FAIL("*1\r\n\n", TYPE(" ")),
    FAIL("*1\r\n\0", TYPE(" ")),
    FAIL("*1\r\n\xff", TYPE("\xff")),
    FAIL_BEHIND(GET "+1\r\n", TYPE("+"), "GET"),
};

/* What has arrived of a command, in a block of exactly its size. */
struct input {
    char *data;
};

static const char *see(struct input *input, const char *data, size_t length)
{
    free(input->data);
    input->data = malloc(length > 0 ? length : 1);
    assert_non_null(input->data);
    memcpy(input->data, data, length);
    return input->data;
}

static void check_outcome(const struct command_case *one, const struct resp_command *command,
                          enum resp_result result)
{
    uint32_t argc = 0;

    assert_int_equal(result, one->result);
    for (; argc < ARRAY_LEN(one->args) && one->args[argc] != NULL; argc++) {
        const struct resp_arg *arg = &command->args[argc];

        assert_in_range(argc, 0, command->argc);
        assert_int_equal(arg->length, strlen(one->args[argc]));
        assert_memory_equal(one->text + arg->offset, one->args[argc], arg->length);
    }
    assert_int_equal(command->argc, argc);
    if (result == RESP_BAD)
        assert_string_equal(command->error, one->error);
    else
        assert_int_equal(command->length, one->length - one->rest);
    if (result == RESP_DONE)
        assert_int_equal(command->announced, argc);
    if (result != RESP_MORE)
        assert_int_equal(resp_command_body_left(command), 0);
}

/* The first `first` bytes, and then all. */
static void check_split(const struct command_case *one, size_t first)
{
    struct input input = {0};
    struct resp_command command;

    resp_command_begin(&command);
    enum resp_result result = resp_command_parse(&command, see(&input, one->text, first), first);
    if (result == RESP_MORE || one->result != RESP_MORE)
        result = resp_command_parse(&command, see(&input, one->text, one->length), one->length);
    check_outcome(one, &command, result);
    free(input.data);
}

static void check_bytes(const struct command_case *one)
{
    struct input input = {0};
    struct resp_command command;
    enum resp_result result = RESP_MORE;

    resp_command_begin(&command);
    for (size_t i = 0; i <= one->length && result == RESP_MORE; i++)
        result = resp_command_parse(&command, see(&input, one->text, i), i);
    check_outcome(one, &command, result);
    free(input.data);
}

/* The first bytes are held; what was read of them is then dropped, and the others arrive in pieces
 * of `step`, after what was left of those before. */
static void check_feed(const struct command_case *one, size_t first, size_t step)
{
    struct input input = {0};
    struct resp_command command;
    size_t end = first;

    resp_command_begin(&command);
    enum resp_result result = resp_command_parse(&command, see(&input, one->text, first), first);
    while (result == RESP_MORE && end < one->length) {
        size_t before = command.length, used;

        end = one->length - end < step ? one->length : end + step;
        result = resp_command_feed(&command, see(&input, one->text + before, end - before),
                                   end - before, &used);
        assert_int_equal(command.length, before + used);
    }
    check_outcome(one, &command, result);
    free(input.data);
}

static const struct command_case *current; /* the case that is being checked */

static void test_commands(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        current = &cases[i];
        check_bytes(current);
        for (size_t first = 0; first <= current->length; first++) {
            check_split(current, first);
            check_feed(current, first, 1);
            check_feed(current, first, 3);
            check_feed(current, first, current->length);
        }
    }
    current = NULL;
}

/* Reports which case failed, in one line of printable characters. */
static int name_failed_case(void **state)
{
    (void)state;
    if (!current)
        return 0;
    fprintf(stderr, "# ");
    for (size_t i = 0; i < current->length; i++)
        fputc(current->text[i] < ' ' || current->text[i] > '~' ? '.' : current->text[i], stderr);
    fputc('\n', stderr);
    current = NULL;
    return 0;
}

static enum resp_result parse(struct resp_command *command, const char *text)
{
    resp_command_begin(command);
    return resp_command_parse(command, text, strlen(text));
}

/* F7: neither a verdict nor an end changes with what follows it. */
static void test_verdict_stays(void **state)
{
    static const char done[] = "*1\r\n$4\r\nPING\r\n";
    struct resp_command command;
    size_t used = 1;

    (void)state;
    assert_int_equal(parse(&command, "*x"), RESP_BAD);
    assert_int_equal(resp_command_parse(&command, done, strlen(done)), RESP_BAD);
    assert_int_equal(resp_command_feed(&command, done, strlen(done), &used), RESP_BAD);
    assert_int_equal(used, 0);
    assert_string_equal(command.error, MULTIBULK);
    assert_int_equal(parse(&command, done), RESP_DONE);
    assert_int_equal(resp_command_parse(&command, done, strlen(done)), RESP_DONE);
    assert_int_equal(resp_command_feed(&command, done, strlen(done), &used), RESP_DONE);
    assert_int_equal(used, 0);
    assert_int_equal(command.length, strlen(done));
}

/* F1: a value is streamed, and may be skipped uninterpreted. */
static void test_skip(void **state)
{
    static const char begin[] = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nabc";
    static const char behind[] = "\r\n*1";
    struct resp_command command;
    size_t used;

    (void)state;
    assert_int_equal(parse(&command, begin), RESP_MORE);
    assert_int_equal(command.argc, 2);
    assert_int_equal(resp_command_body_left(&command), RESP_BULK_MAX - 3);
    resp_command_skip(&command, 97);
    assert_int_equal(resp_command_body_left(&command), RESP_BULK_MAX - 100);
    assert_int_equal(resp_command_feed(&command, "xx", 2, &used), RESP_MORE);
    assert_int_equal(used, 2);
    resp_command_skip(&command, RESP_BULK_MAX - 102);
    assert_int_equal(resp_command_body_left(&command), 0);
    resp_command_skip(&command, 0);
    assert_int_equal(resp_command_feed(&command, "", 0, &used), RESP_MORE);
    assert_int_equal(resp_command_feed(&command, behind, strlen(behind), &used), RESP_DONE);
    assert_int_equal(used, 2);
    assert_int_equal(command.argc, 3);
    assert_int_equal(command.length, strlen(begin) - 3 + RESP_BULK_MAX + 2);
}

/* What follows a value that was skipped is checked all the same. */
static void test_skip_to_wrong_end(void **state)
{
    struct resp_command command;
    size_t used;

    (void)state;
    assert_int_equal(parse(&command, "*1\r\n$100\r\n"), RESP_MORE);
    resp_command_skip(&command, 100);
    assert_int_equal(resp_command_feed(&command, "\r", 1, &used), RESP_MORE);
    assert_int_equal(resp_command_feed(&command, "x", 1, &used), RESP_BAD);
    assert_string_equal(command.error, CRLF);
}

/* This many empty arguments, in pieces of `step`. */
static void check_many(uint32_t count, size_t step)
{
    static const char empty[] = "$0\r\n\r\n";
    size_t size = 32 + count * strlen(empty), used;
    char *text = malloc(size);

    assert_non_null(text);
    size_t length = (size_t)snprintf(text, size, "*%u\r\n", (unsigned)count), end = length;
    for (uint32_t i = 0; i < count; i++, length += strlen(empty))
        memcpy(text + length, empty, strlen(empty));

    struct resp_command command;
    memset(&command, 0xff, sizeof(command));
    resp_command_begin(&command);
    enum resp_result result = resp_command_parse(&command, text, end);
    while (result == RESP_MORE && end < length) {
        end = length - end < step ? length : end + step;
        result = resp_command_feed(&command, text + command.length, end - command.length, &used);
    }
    assert_int_equal(result, RESP_DONE);
    assert_int_equal(command.argc, count);
    assert_int_equal(command.length, length);
    for (uint32_t i = 0; i < RESP_ARGS_KEPT && i < count; i++) {
        assert_int_equal(command.args[i].length, 0);
        assert_int_equal(command.args[i].offset, command.args[0].offset + i * strlen(empty));
    }
    free(text);
}

/* F7: 1,048,576 arguments; the first RESP_ARGS_KEPT are noted. */
static void test_many_arguments(void **state)
{
    (void)state;
    check_many(RESP_ARGS_KEPT - 1, 100);
    check_many(RESP_ARGS_KEPT, 100);
    check_many(RESP_ARGS_KEPT + 1, 1);
    check_many(100, 7);
    check_many(RESP_ARGUMENTS_MAX, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_commands, name_failed_case),
        cmocka_unit_test(test_verdict_stays),
        cmocka_unit_test(test_skip),
        cmocka_unit_test(test_skip_to_wrong_end),
        cmocka_unit_test(test_many_arguments),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
