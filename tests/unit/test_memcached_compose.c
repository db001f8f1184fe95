/* SPDX-License-Identifier: ISC */
/* Barriers and local errors: the parsers read what we compose. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "memcached/memcached_compose.h"

#define OPAQUE UINT32_C(0xdeadbeef)

/* M2: our barrier is a command, and the server's reply to it is recognized by its opaque. */
static void test_compose_noop(void **state)
{
    char out[MEMCACHED_HEAD_SIZE];
    struct memcached_command command;

    (void)state;
    assert_int_equal(memcached_compose_noop(out, OPAQUE), sizeof(out));
    memcached_command_begin(&command, true);
    assert_int_equal(memcached_command_parse(&command, out, sizeof(out)), MEMCACHED_DONE);
    assert_int_equal(command.traits, MEMCACHED_BARRIER);
    assert_int_equal(command.opaque, OPAQUE);
}

/* F5: an error in the client's protocol is a complete reply to its command. */
static void test_compose_packet(void **state)
{
    static char text[2 * MEMCACHED_COMPOSE_MAX];
    const struct memcached_expect expected = {
        .opaque = OPAQUE, .opcode = 0x0c, .reply = MEMCACHED_PACKET};
    char out[MEMCACHED_COMPOSE_MAX];

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    for (const char *say = text; say <= text + sizeof(text) - 1; say += 37) {
        struct memcached_reply reply;
        size_t used,
            length = memcached_compose_packet(out, &expected, MEMCACHED_STATUS_TEMPORARY, say);

        assert_true(length <= sizeof(out));
        memcached_reply_begin(&reply, &expected);
        assert_int_equal(memcached_reply_feed(&reply, out, length, &used), MEMCACHED_DONE);
        assert_int_equal(used, length);
        assert_int_equal(reply.status, MEMCACHED_STATUS_TEMPORARY);
    }
}

static void check_line(const char *first, const char *text, const char *expected)
{
    char out[MEMCACHED_COMPOSE_MAX];
    size_t length = memcached_compose_line(out, first, text);

    assert_int_equal(length, strlen(expected));
    assert_memory_equal(out, expected, length);
}

static void test_compose_line(void **state)
{
    static char text[2 * MEMCACHED_COMPOSE_MAX];
    char out[MEMCACHED_COMPOSE_MAX];

    (void)state;
    check_line("ERROR", "", "ERROR\r\n");
    check_line("SERVER_ERROR kaproxy: ", "connect: Connection refused",
               "SERVER_ERROR kaproxy: connect: Connection refused\r\n");
    check_line("SERVER_ERROR ", "a\r\nEND\x01z", "SERVER_ERROR a  END z\r\n");
    memset(text, 'x', sizeof(text) - 1);
    assert_int_equal(memcached_compose_line(out, "SERVER_ERROR ", text), sizeof(out));
    assert_memory_equal(out + sizeof(out) - 3, "x\r\n", 3);
}

/* M2: the lines are the barriers that the parser knows. */
static void test_barrier_lines(void **state)
{
    struct memcached_command command;

    (void)state;
    memcached_command_begin(&command, false);
    assert_int_equal(memcached_command_parse(&command, MEMCACHED_MN_LINE, 4), MEMCACHED_DONE);
    assert_int_equal(command.reply, MEMCACHED_MN);
    memcached_command_begin(&command, false);
    assert_int_equal(memcached_command_parse(&command, MEMCACHED_VERSION_LINE, 9), MEMCACHED_DONE);
    assert_int_equal(command.reply, MEMCACHED_VERSION);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compose_noop),
        cmocka_unit_test(test_compose_packet),
        cmocka_unit_test(test_compose_line),
        cmocka_unit_test(test_barrier_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
