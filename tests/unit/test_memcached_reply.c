/* SPDX-License-Identifier: ISC */
/* Replies of the text protocol: the table, each split in every way; limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "memcached/memcached.h"

/* A command's line, and what the server sends; `rest` bytes of that are not this reply's. */
struct reply_case {
    const char *rule; /* of FRAMED */
    const char *command;
    const char *text;
    size_t length;
    enum memcached_result result;
    size_t rest;
    enum memcached_line line;
    bool is_error, unsure;
};

#define CASE(...)                                                                                  \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
#define TEXT(r, c, t)    .rule = (r), .command = (c), .text = (t), .length = sizeof(t) - 1
#define PASS(r, c, t, k) CASE(TEXT(r, c, t), .result = MEMCACHED_DONE, .line = MEMCACHED_LINE_##k)
#define REST(r, c, t, k, n)                                                                        \
    CASE(TEXT(r, c, t), .result = MEMCACHED_DONE, .line = MEMCACHED_LINE_##k, .rest = (n))
#define ERROR(r, c, t)                                                                             \
    CASE(TEXT(r, c, t), .result = MEMCACHED_DONE, .line = MEMCACHED_LINE_ERROR, .is_error = true)
#define UNSURE(r, c, t)                                                                            \
    CASE(TEXT(r, c, t), .result = MEMCACHED_DONE, .line = MEMCACHED_LINE_ERROR, .is_error = true,  \
         .unsure = true)
#define MORE(r, c, t) CASE(TEXT(r, c, t), .result = MEMCACHED_MORE)
#define BAD(r, c, t)  CASE(TEXT(r, c, t), .result = MEMCACHED_BAD)

#define K50  "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"
#define K250 K50 K50 K50 K50 K50

#define GET "get a b\r\n"
#define SET "set a 0 0 2\r\n"
#define MG  "mg a v\r\n"
#define MS  "ms a 2\r\n"

static const struct reply_case cases[] = {
    /* One line. */
    PASS("M1", SET, "STORED\r\n", OTHER),
    REST("M3", SET, "NOT_STORED\r\nSTORED\r\n", OTHER, 8),
    PASS("M1", "incr a 1\r\n", "18446744073709551615\r\n", OTHER),
    PASS("M1", "delete a\r\n", "DELETED\r\n", OTHER),
    PASS("M1", "touch a 0\r\n", "NOT_FOUND\r\n", OTHER),
    PASS("M1", "flush_all\r\n", "OK\r\n", OTHER),
    PASS("M1", "refresh_certs\r\n", "Error TLS not enabled\r\n", OTHER),
    PASS("M1", "lru_crawler crawl all\r\n", "BUSY currently processing crawler request\r\n", OTHER),
    MORE("M1", SET, ""),
    MORE("M1", SET, "STORED"),
    MORE("M1", SET, "STORED\r"),
    BAD("F2", SET, "STORED\n"),
    BAD("F2", SET, "\r\n"),
    BAD("F2", SET, "\n"),
    BAD("F2", SET, "END\r\n"),
    BAD("F2", SET, "VALUE a 0 2\r\n"),
    BAD("F2", SET, "VA 2\r\n"),
    BAD("F2", SET, "HD\r\n"),
    BAD("F2", SET, "MN\r\n"),
    BAD("F2", SET, "VERSION 1\r\n"),
    BAD("F2", SET, "STAT a 1\r\n"),
    UNSURE("M3", SET, "ERROR\r\n"),
    UNSURE("M3", SET, "CLIENT_ERROR bad command line format\r\n"),
    UNSURE("M3", SET, "CLIENT_ERROR bad data chunk\r\n"),
    UNSURE("M3", SET, "SERVER_ERROR Unhandled storage type.\r\n"),
    ERROR("M3", SET, "SERVER_ERROR object too large for cache\r\n"),
    ERROR("M3", SET, "SERVER_ERROR out of memory storing object\r\n"),
    ERROR("M3", "incr a 1\r\n", "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"),
    ERROR("M3", "delete a\r\n", "ERROR\r\n"),
    ERROR("M3", "shutdown\r\n", "ERROR: shutdown not enabled\r\n"),
    BAD("F2", SET, "ERROR\n"),

    /* Values. */
    PASS("M1", GET, "END\r\n", END),
    PASS("M1", GET, "VALUE a 0 2\r\nxx\r\nEND\r\n", END),
    PASS("M1", GET, "VALUE a 4294967295 0\r\n\r\nVALUE b 1 5\r\n\r\nEND\r\nEND\r\n", END),
    PASS("M1", "gets a\r\n", "VALUE a 0 2 18446744073709551615\r\nxx\r\nEND\r\n", END),
    PASS("M1", "gat 0 a\r\n", "VALUE a 0 2\r\nxx\r\nEND\r\n", END),
    REST("M3", GET, "VALUE a 0 2\r\nxx\r\nEND\r\nEND\r\n", END, 5),
    MORE("M1", GET, "VALUE a 0 2\r\n"),
    MORE("M1", GET, "VALUE a 0 2\r\nxx"),
    MORE("M1", GET, "VALUE a 0 2\r\nxx\r\n"),
    MORE("M1", GET, "VALUE a 0 2\r\nxx\r\nEN"),
    BAD("F2", GET, "VALUE a 0 2\r\nxxx\nEND\r\n"),
    BAD("F2", GET, "VALUE a 0 2\r\nxx\n\nEND\r\n"),
    BAD("F2", GET, "VALUE a 0 2\r\nxx\rxEND\r\n"),
    BAD("F2", GET, "VALUE a 0 x\r\nxx\r\nEND\r\n"),
    BAD("F2", GET, "VALUE a 0 -2\r\nxx\r\nEND\r\n"),
    BAD("F2", GET, "VALUE a 0 2147483648\r\nxx\r\nEND\r\n"),
    BAD("F2", GET, "VALUE a 0 2 x\r\nxx\r\nEND\r\n"),
    BAD("F2", GET, "VALUE a 0 2 1 1\r\nxx\r\nEND\r\n"),
    BAD("F2", GET, "VALUE a 0 2 \r\nxx\r\nEND\r\n"),
    BAD("F2", GET, "VALUE a 0\r\nxx\r\nEND\r\n"),
    BAD("F2", GET, "VALUE a\r\n"),
    BAD("F2", GET, "VALUE \r\n"),
    BAD("F2", GET, "VALUE\r\n"),
    BAD("F2", GET, "VALUE  0 2\r\n"),
    BAD("F2", GET, "VALUE a  0 2\r\n"),
    PASS("M1", GET, "VALUE " K250 " 0 2\r\nxx\r\nEND\r\n", END),
    BAD("F2", GET, "VALUE k" K250 " 0 2\r\nxx\r\nEND\r\n"),
    BAD("F2", GET, "STORED\r\n"),
    BAD("F2", GET, "END \r\n"),
    BAD("F2", GET, "HD\r\n"),
    ERROR("M3", GET, "SERVER_ERROR out of memory writing get response\r\n"),
    ERROR("M3", GET, "VALUE a 0 2\r\nxx\r\nSERVER_ERROR out of memory\r\n"),
    ERROR("M3", GET, "CLIENT_ERROR bad command line format\r\n"),

    /* Meta commands. */
    PASS("M1", MG, "EN\r\n", META),
    PASS("M1", MG, "HD s2 t-1\r\n", META),
    PASS("M1", MG, "VA 2\r\nxx\r\n", VA),
    REST("M1", MG, "VA 0 ka s2 W\r\n\r\nEN\r\n", VA, 4),
    PASS("M1", "md a\r\n", "NF Oa\r\n", META),
    PASS("M1", "me a\r\n", "ME a exp=-1 la=1\r\n", META),
    PASS("M1", MS, "OK\r\n", OTHER),
    PASS("M1", MS, "NS\r\n", META),
    PASS("M1", MG, "ZZ\r\n", META),
    MORE("M1", MG, "VA 2\r\nxx\r"),
    BAD("F2", MG, "VA 2\r\nxxx\r"),
    BAD("F2", MG, "VA\r\n"),
    BAD("F2", MG, "VA x\r\n"),
    BAD("F2", MG, "VA 2x\r\n"),
    BAD("F2", MG, "VA  2\r\n"),
    BAD("F2", MG, "MN\r\n"),
    BAD("F2", MG, "END\r\n"),
    BAD("F2", MG, "STORED\r\n"),
    BAD("F2", MG, "OKAY\r\n"),
    BAD("F2", MG, "1\r\n"),
    ERROR("M3", MG, "CLIENT_ERROR invalid flag\r\n"),
    UNSURE("M3", MS, "CLIENT_ERROR invalid flag\r\n"),
    UNSURE("M3", MS, "ERROR\r\n"),
    ERROR("M3", MS, "SERVER_ERROR object too large for cache\r\n"),
    PASS("M2", "mn\r\n", "MN\r\n", MN),
    ERROR("M2", "mn\r\n", "ERROR\r\n"),
    BAD("M2", "mn\r\n", "EN\r\n"),
    BAD("M2", "mn\r\n", "STORED\r\n"),
    PASS("M4", "version\r\n", "VERSION 1.6.18\r\n", VERSION),
    ERROR("M4", "version\r\n", "CLIENT_ERROR unauthenticated\r\n"),
    BAD("M2", "version\r\n", "OK\r\n"),

    /* Statistics. */
    PASS("M1", "stats\r\n", "STAT pid 1\r\nSTAT threads 4\r\nEND\r\n", END),
    PASS("M1", "stats\r\n", "END\r\n", END),
    PASS("M1", "stats\r\n", "RESET\r\n", OTHER),
    REST("M1", "stats reset\r\n", "RESET\r\nEND\r\n", OTHER, 5),
    PASS("M1", "stats detail on\r\n", "OK\r\n", OTHER),
    ERROR("M1", "stats proxy\r\n", "ERROR\r\n"),
    MORE("M1", "stats\r\n", "STAT pid 1\r\n"),
    BAD("F2", "stats\r\n", "STAT pid 1\r\nRESET\r\n"),
    BAD("F2", "stats\r\n", "VALUE a 0 2\r\n"),
    REST("M1", "stats sizes_enable\r\n", "STAT sizes_status enabled\r\nEND\r\n", STAT, 5),
    PASS("M1", "stats sizes_disable\r\n", "STAT sizes_status disabled\r\n", STAT),
    PASS("M1", "stats sizes_enable\r\n",
         "STAT sizes_status error\r\nSTAT sizes_error cas_support_disabled\r\n", STAT),
    MORE("M1", "stats sizes_enable\r\n", "STAT sizes_status error\r\n"),
    BAD("F2", "stats sizes_enable\r\n", "OK\r\n"),

    /* No reply. */
    CASE(TEXT("M2", "set a 0 0 2 noreply\r\n", "MN\r\n"), .result = MEMCACHED_DONE, .rest = 4),

    /* Anything, after quiet meta commands. */
    REST("M2", NULL, "HD\r\nMN\r\n", META, 4),
    REST("M2", NULL, "VA 4\r\nMN\r\n\r\nMN\r\n", VA, 4),
    REST("M2", NULL, "VALUE a 0 4\r\nMN\r\n\r\nEND\r\n", VALUE, 5),
    REST("M2", NULL, "END\r\nMN\r\n", END, 4),
    REST("M2", NULL, "STAT a 1\r\nEND\r\n", STAT, 5),
    REST("M2", NULL, "STORED\r\nMN\r\n", OTHER, 4),
    PASS("M2", NULL, "MN\r\n", MN),
    ERROR("M2", NULL, "CLIENT_ERROR invalid flag\r\n"),
    BAD("M2", NULL, "VA x\r\n"),
    BAD("M2", NULL, "MN\n"),
};

static const struct reply_case *current; /* the case that is being checked */

static struct memcached_expect expect(const char *line)
{
    struct memcached_command command;

    if (!line)
        return (struct memcached_expect){.reply = MEMCACHED_ANY};
    memcached_command_begin(&command, false);
    assert_int_equal(memcached_command_parse(&command, line, strlen(line)), MEMCACHED_DONE);
    return memcached_command_expect(&command);
}

/* Feeds the bytes from *at to `end`, which may be elsewhere in the next call. */
static enum memcached_result feed(struct memcached_reply *reply, const char *text, size_t *at,
                                  size_t end)
{
    size_t length = end - *at, used;
    char *copy = malloc(length > 0 ? length : 1);
    enum memcached_result result;

    assert_non_null(copy);
    memcpy(copy, text + *at, length);
    result = memcached_reply_feed(reply, copy, length, &used);
    assert_true(used <= length);
    *at += used;
    free(copy);
    return result;
}

static void check_reply(const struct memcached_reply *reply, enum memcached_result result,
                        const struct reply_case *expected, size_t used)
{
    assert_int_equal(result, expected->result);
    if (result != MEMCACHED_DONE)
        return;
    assert_int_equal(expected->length - used, expected->rest);
    assert_int_equal(reply->line, expected->line);
    assert_int_equal(reply->is_error, expected->is_error);
    assert_int_equal(reply->sure, !expected->unsure);
}

static void check_case(const struct reply_case *expected)
{
    const struct memcached_expect command = expect(expected->command);
    struct memcached_reply reply;
    enum memcached_result result = MEMCACHED_MORE;
    size_t at = 0;

    memcached_reply_begin(&reply, &command);
    for (size_t i = 0; i <= expected->length; i++)
        result = feed(&reply, expected->text, &at, i > at ? i : at);
    check_reply(&reply, result, expected, at);
    for (size_t i = 0; i <= expected->length; i++) {
        at = 0;
        memcached_reply_begin(&reply, &command);
        (void)!feed(&reply, expected->text, &at, i);
        result = feed(&reply, expected->text, &at, expected->length);
        check_reply(&reply, result, expected, at);
    }
}

static void test_replies(void **state)
{
    (void)state;
    for (current = cases; current < cases + ARRAY_LEN(cases); current++)
        check_case(current);
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

/* F2: no line may be too long, complete or not. */
static void test_line_limit(void **state)
{
    static char line[MEMCACHED_REPLY_LINE_MAX + 1];
    const struct memcached_expect command = expect("version\r\n");

    (void)state;
    for (size_t extra = 0; extra < 2; extra++) {
        size_t length = MEMCACHED_REPLY_LINE_MAX + extra;
        struct memcached_reply reply;
        size_t used, at = 0;

        memset(line, 'x', sizeof(line));
        memcpy(line, "VERSION ", 8);
        memcpy(line + length - 2, "\r\n", 2);
        memcached_reply_begin(&reply, &command);
        assert_int_equal(memcached_reply_feed(&reply, line, length, &used),
                         extra ? MEMCACHED_BAD : MEMCACHED_DONE);
        memcached_reply_begin(&reply, &command);
        assert_int_equal(feed(&reply, line, &at, MEMCACHED_REPLY_LINE_MAX - 1), MEMCACHED_MORE);
        assert_int_equal(feed(&reply, line, &at, MEMCACHED_REPLY_LINE_MAX),
                         extra ? MEMCACHED_BAD : MEMCACHED_DONE);
    }
}

/* Much of a value may be skipped uninterpreted; its end is checked. */
static void test_skipped_value(void **state)
{
    static const char line[] = "VALUE a 0 1000000\r\n";
    const struct memcached_expect command = expect(GET);

    (void)state;
    for (int bad = 0; bad < 2; bad++) {
        struct memcached_reply reply;
        size_t used;

        memcached_reply_begin(&reply, &command);
        assert_false(memcached_reply_started(&reply));
        assert_int_equal(memcached_reply_rest(&reply), 0);
        assert_int_equal(memcached_reply_feed(&reply, line, strlen(line), &used), MEMCACHED_MORE);
        assert_int_equal(used, strlen(line));
        assert_true(memcached_reply_started(&reply));
        assert_int_equal(memcached_reply_rest(&reply), 1000000);
        memcached_reply_skip(&reply, 1000000);
        assert_int_equal(memcached_reply_rest(&reply), 0);
        assert_int_equal(memcached_reply_feed(&reply, bad ? "\rxEND\r\n" : "\r\nEND\r\n", 7, &used),
                         bad ? MEMCACHED_BAD : MEMCACHED_DONE);
    }
}

/* What has ended stays so. */
static void test_ended_reply(void **state)
{
    const struct memcached_expect command = expect(SET);
    struct memcached_reply reply;
    size_t used;

    (void)state;
    memcached_reply_begin(&reply, &command);
    assert_int_equal(memcached_reply_feed(&reply, "STORED\r\n", 8, &used), MEMCACHED_DONE);
    assert_int_equal(memcached_reply_feed(&reply, "STORED\r\n", 8, &used), MEMCACHED_DONE);
    assert_int_equal(used, 0);
    memcached_reply_begin(&reply, &command);
    assert_int_equal(memcached_reply_feed(&reply, "END\r\n", 5, &used), MEMCACHED_BAD);
    assert_int_equal(memcached_reply_feed(&reply, "STORED\r\n", 8, &used), MEMCACHED_BAD);
    assert_int_equal(used, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_replies, name_failed_case),
        cmocka_unit_test(test_line_limit),
        cmocka_unit_test(test_skipped_value),
        cmocka_unit_test(test_ended_reply),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
