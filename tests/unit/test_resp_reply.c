/* SPDX-License-Identifier: ISC */
/* Replies: a table, each split in every way; first lines; limits. Names the rules of FRAMED that it
 * tests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "resp/resp.h"

struct reply_case {
    const char *text;
    size_t length;
    enum resp_result result;
    size_t rest; /* bytes that are not the reply's, or not read */
};

#define CASE(t, r, left)                                                                           \
    {                                                                                              \
        .text = (t), .length = sizeof(t) - 1, .result = (r), .rest = (left)                        \
    }
#define PASS(t)         CASE(t, RESP_DONE, 0)
#define PASS_REST(t, r) CASE(t, RESP_DONE, r)
#define MORE(t, r)      CASE(t, RESP_MORE, r)
#define FAIL(t)         CASE(t, RESP_BAD, 0)

static const struct reply_case cases[] = {
    PASS("+OK\r\n"),
    PASS("+\r\n"),
    PASS("-ERR no\r\n"),
    PASS(":0\r\n"),
    PASS(":-12345678901234567890\r\n"),
    PASS("$0\r\n\r\n"),
    PASS("$3\r\nabc\r\n"),
    PASS("$2\r\n\r\n\r\n"),
    PASS("$12\r\n0123456789ab\r\n"),
    PASS("$101\r\n"
         "01234567890123456789012345678901234567890123456789012345678901234567890123456789012345678"
         "90"
         "1234567890\r\n"),
    PASS("$-1\r\n"),
    PASS("*0\r\n"),
    PASS("*-1\r\n"),
    PASS("*2\r\n$1\r\na\r\n$-1\r\n"),
    PASS("*3\r\n*2\r\n+a\r\n*0\r\n*-1\r\n*1\r\n*1\r\n:1\r\n"),
    PASS_REST("+OK\r\n+OK\r\n", 5),
    PASS_REST("$1\r\na\r\n\r\n", 2),
    PASS_REST("*1\r\n:1\r\n:2\r\n", 4),
    PASS_REST("*1\r\n$-1\r\n*-1\r\n", 5),

    /* RESP3. */
    PASS("_\r\n"),
    PASS("#t\r\n"),
    PASS(",1.5\r\n"),
    PASS(",inf\r\n"),
    PASS("(3492890328409238509324850943850943825024385\r\n"),
    PASS("!9\r\nERR wrong\r\n"),
    PASS("=7\r\ntxt:abc\r\n"),
    PASS("~2\r\n:1\r\n_\r\n"),
    PASS("%0\r\n"),
    PASS_REST("%2\r\n+a\r\n:1\r\n$1\r\nb\r\n*1\r\n:2\r\n+next\r\n", 7),
    PASS(">3\r\n+message\r\n+channel\r\n+text\r\n"),
    PASS(">2\r\n*1\r\n:1\r\n_\r\n"),
    PASS_REST("|1\r\n+ttl\r\n:9\r\n+OK\r\n+OK\r\n", 5), /* an attribute is not an element */
    PASS_REST("*2\r\n|1\r\n+a\r\n+b\r\n:1\r\n:2\r\n:3\r\n", 4),
    PASS("|0\r\n_\r\n"),
    PASS("|1\r\n+a\r\n|1\r\n+b\r\n+c\r\n+d\r\n+e\r\n"),

    MORE("", 0),
    MORE("+", 1),
    MORE("+OK", 3),
    MORE("+OK\r", 4),
    MORE("$", 1),
    MORE("$-", 2),
    MORE("$-1\r", 4),
    MORE("$3", 2),
    MORE("$3\r\n", 0),
    MORE("$3\r\nab", 0),
    MORE("$3\r\nabc", 0),
    MORE("$3\r\nabc\r", 0),
    MORE("*1\r\n", 0),
    MORE("*2\r\n:1\r\n", 0),
    MORE("*2\r\n:1\r\n:", 1),
    MORE("%1\r\n:1\r\n", 0),
    MORE("|1\r\n+a\r\n+b\r\n", 0), /* the value is to follow */
    MORE("_", 1),
    MORE("_\r", 2),
    MORE("*1152921504606846976\r\n", 0),
    MORE("$1152921504606846976\r\n", 0),
    MORE("*4\r\n|576460752303423488\r\n", 0),

    /* F2: malformed. */
    FAIL("OK\r\n"),
    FAIL("\r\n"),
    FAIL("\0"),
    FAIL("\xff"),
    FAIL("+OK\n"),
    FAIL("+OK\rx"),
    FAIL("+O\rK\r\n"),
    FAIL("-ERR a\nb\r\n"),
    FAIL("$+1\r\n"),
    FAIL("$01\r\n"),
    FAIL("$ 1\r\n"),
    FAIL("$\r\n"),
    FAIL("$1x\r\n"),
    FAIL("$1\n"),
    FAIL("$-2\r\n"),
    FAIL("$-1x"),
    FAIL("$-01\r\n"),
    FAIL("$--1\r\n"),
    FAIL("$3\r\nabcd\r\n"),
    FAIL("$3\r\nabc\n"),
    FAIL("$3\r\nabc\rx"),
    FAIL("$0\r\n$0\r\n"),
    FAIL("*-2\r\n"),
    FAIL("*01\r\n"),
    FAIL("*x\r\n"),
    FAIL("*1\r\nx"),
    FAIL("*1\r\n:1x\n"),
    FAIL("_1\r\n"),
    FAIL("~-1\r\n"),
    FAIL("%-1\r\n"),
    FAIL(">-1\r\n"),
    FAIL("!-1\r\n"),
    FAIL("=-1\r\n"),
    FAIL("=1\r\nab\r\n"),

    /* A push is not part of another reply. */
    FAIL("*1\r\n>1\r\n:1\r\n"),
    FAIL(">1\r\n>1\r\n:1\r\n"),
    FAIL("|1\r\n:1\r\n:2\r\n>1\r\n:1\r\n"),

    /* Streamed types. */
    FAIL("$?\r\n"),
    FAIL("*?\r\n"),
    FAIL("%?\r\n"),
    FAIL(";4\r\nabcd\r\n"),
    FAIL(".\r\n"),

    /* Counts whose sum would overflow. */
    FAIL("$1152921504606846977\r\n"),
    FAIL("*1152921504606846977\r\n"),
    FAIL("%576460752303423489\r\n"),
    FAIL("*18446744073709551617\r\n"),
    FAIL("*1152921504606846976\r\n*1152921504606846976\r\n*1152921504606846976\r\n"
         "*1152921504606846976\r\n*1152921504606846976\r\n"),
};

/* What has arrived and was not consumed, in a block of exactly its size. */
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

/* The first bytes arrive, and then the others in pieces of `step`. */
static void check_pieces(const struct reply_case *one, size_t first, size_t step)
{
    struct input input = {0};
    struct resp_reply reply;
    enum resp_result result;
    size_t at = 0, used, end = first;

    resp_reply_begin(&reply);
    for (;;) {
        result = resp_reply_feed(&reply, see(&input, one->text + at, end - at), end - at, &used);
        assert_in_range(used, 0, end - at);
        at += used;
        if (result != RESP_MORE || end == one->length)
            break;
        assert_in_range(end - at, 0, RESP_LINE_MAX + 2);
        end = one->length - end < step ? one->length : end + step;
    }
    assert_int_equal(result, one->result);
    if (result != RESP_BAD)
        assert_int_equal(one->length - at, one->rest);
    if (result != RESP_MORE)
        assert_int_equal(resp_reply_body_left(&reply), 0);
    if (result == RESP_DONE)
        assert_int_equal(reply.type, one->text[0]);
    free(input.data);
}

static const struct reply_case *current; /* the case that is being checked */

static void test_replies(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        current = &cases[i];
        for (size_t first = 0; first <= current->length; first++) {
            check_pieces(current, first, 1);
            check_pieces(current, first, 3);
            check_pieces(current, first, current->length);
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

static void check_head(const char *text, bool null, uint64_t count)
{
    struct resp_head head;
    size_t length = strlen(text);
    struct input input = {0};

    for (size_t i = 0; i < length; i++)
        assert_int_equal(resp_head_parse(&head, see(&input, text, i), i), RESP_MORE);

    const char *data = see(&input, text, length);
    assert_int_equal(resp_head_parse(&head, data, length), RESP_DONE);
    assert_int_equal(head.type, text[0]);
    assert_int_equal(head.size, length);
    assert_ptr_equal(head.line, data + 1);
    assert_int_equal(head.length, length - 3);
    assert_int_equal(head.null, null);
    assert_int_equal(head.count, count);
    free(input.data);
}

static void test_heads(void **state)
{
    struct resp_head head;

    (void)state;
    check_head("+OK\r\n", false, 0);
    check_head("+\r\n", false, 0);
    check_head("-NOAUTH Authentication required.\r\n", false, 0);
    check_head(":12\r\n", false, 0);
    check_head("$0\r\n", false, 0);
    check_head("$12\r\n", false, 12);
    check_head("$-1\r\n", true, 0);
    check_head("*-1\r\n", true, 0);
    check_head("*3\r\n", false, 3);
    check_head("_\r\n", true, 0);
    check_head("#t\r\n", false, 0);
    check_head(",1.5\r\n", false, 0);
    check_head("(1\r\n", false, 0);
    check_head("!3\r\n", false, 3);
    check_head("=3\r\n", false, 3);
    check_head("~3\r\n", false, 3);
    check_head(">3\r\n", false, 3);
    check_head("%3\r\n", false, 6);
    check_head("|3\r\n", false, 6);
    assert_int_equal(resp_head_parse(&head, "x", 1), RESP_BAD);
    assert_int_equal(resp_head_parse(&head, "+a\n", 3), RESP_BAD);
    assert_int_equal(resp_head_parse(&head, "$3\r\nabc\r\n", 9), RESP_DONE);
    assert_int_equal(head.size, 4);
}

/* 64 KiB of a line pass, one byte more does not, and is not waited for. */
static void test_line_limit(void **state)
{
    static char text[RESP_LINE_MAX + 8];
    struct resp_reply reply;
    struct resp_head head;

    (void)state;
    for (size_t extra = 0; extra < 2; extra++) {
        size_t used, length = 1 + RESP_LINE_MAX + extra;

        memset(text, 'a', sizeof(text));
        text[0] = '-';
        resp_reply_begin(&reply);
        assert_int_equal(resp_reply_feed(&reply, text, length, &used),
                         extra ? RESP_BAD : RESP_MORE);
        assert_int_equal(used, 0);
        assert_int_equal(resp_head_parse(&head, text, length), extra ? RESP_BAD : RESP_MORE);
        memcpy(text + length, "\r\n", 2);
        resp_reply_begin(&reply);
        assert_int_equal(resp_reply_feed(&reply, text, length + 2, &used),
                         extra ? RESP_BAD : RESP_DONE);
        assert_int_equal(resp_head_parse(&head, text, length + 2), extra ? RESP_BAD : RESP_DONE);
    }
}

/* A huge value is skipped uninterpreted; its end is seen. */
static void test_skip(void **state)
{
    static const char begin[] = "*2\r\n$100000000\r\nabc";
    static const char end[] = "\r\n:1\r\n+next";
    struct resp_reply reply;
    size_t used;

    (void)state;
    resp_reply_begin(&reply);
    assert_int_equal(resp_reply_feed(&reply, begin, strlen(begin), &used), RESP_MORE);
    assert_int_equal(used, strlen(begin));
    assert_int_equal(resp_reply_body_left(&reply), 100000000 - 3);
    resp_reply_skip(&reply, 1000);
    assert_int_equal(resp_reply_feed(&reply, "x", 1, &used), RESP_MORE);
    assert_int_equal(resp_reply_body_left(&reply), 100000000 - 1004);
    resp_reply_skip(&reply, 100000000 - 1004);
    assert_int_equal(resp_reply_feed(&reply, end, strlen(end), &used), RESP_DONE);
    assert_int_equal(used, 6);

    resp_reply_begin(&reply);
    assert_int_equal(resp_reply_feed(&reply, begin, strlen(begin), &used), RESP_MORE);
    resp_reply_skip(&reply, 100000000 - 3);
    assert_int_equal(resp_reply_feed(&reply, "xx", 2, &used), RESP_BAD);
}

/* A verdict stays, and an ended reply accepts nothing more. */
static void test_verdict_stays(void **state)
{
    struct resp_reply reply;
    size_t used;

    (void)state;
    resp_reply_begin(&reply);
    assert_int_equal(resp_reply_feed(&reply, "x", 1, &used), RESP_BAD);
    assert_int_equal(resp_reply_feed(&reply, "+OK\r\n", 5, &used), RESP_BAD);
    assert_int_equal(resp_reply_feed(&reply, "\n+OK\r\n", 6, &used), RESP_BAD);
    assert_int_equal(resp_reply_feed(&reply, "", 0, &used), RESP_BAD);
    assert_int_equal(used, 0);
    resp_reply_begin(&reply);
    assert_int_equal(resp_reply_feed(&reply, "+OK\r\n", 5, &used), RESP_DONE);
    assert_int_equal(resp_reply_feed(&reply, "+OK\r\n", 5, &used), RESP_DONE);
    assert_int_equal(used, 0);
}

/* Arrays in arrays, deeper than any stack. */
static void test_deep(void **state)
{
    enum { DEPTH = 1000000 };
    char *text = malloc(4 * DEPTH + 4);
    struct resp_reply reply;
    size_t used;

    (void)state;
    assert_non_null(text);
    for (size_t i = 0; i < DEPTH; i++)
        memcpy(text + 4 * i, "*1\r\n", 4);
    memcpy(text + 4 * (size_t)DEPTH, ":1\r\n", 4);
    resp_reply_begin(&reply);
    assert_int_equal(resp_reply_feed(&reply, text, 4 * DEPTH, &used), RESP_MORE);
    assert_int_equal(used, 4 * DEPTH);
    assert_int_equal(resp_reply_feed(&reply, text + used, 4, &used), RESP_DONE);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_replies, name_failed_case),
        cmocka_unit_test(test_heads),
        cmocka_unit_test(test_line_limit),
        cmocka_unit_test(test_skip),
        cmocka_unit_test(test_verdict_stays),
        cmocka_unit_test(test_deep),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
