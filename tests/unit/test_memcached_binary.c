/* SPDX-License-Identifier: ISC */
/* Binary packets in both directions: the tables, each split in every way. */
#include <endian.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "memcached/memcached.h"

#define OPAQUE UINT32_C(0xdeadbeef)

struct packet {
    char data[2048];
    size_t length;
};

/* A header, and a body of extras, key and value. */
struct parts {
    uint8_t magic, opcode, data_type;
    uint8_t extras;
    uint16_t key, status;
    uint32_t value;
    int32_t body_off; /* added to the body's length */
};

static struct packet make(struct parts parts)
{
    struct packet packet = {.length = (size_t)MEMCACHED_HEAD_SIZE + parts.extras + parts.key};
    uint16_t key = htobe16(parts.key), status = htobe16(parts.status);
    uint32_t body =
        htobe32(parts.extras + (uint32_t)parts.key + parts.value + (uint32_t)parts.body_off);
    uint32_t opaque = OPAQUE;

    if (parts.value <= 64)
        packet.length += parts.value;
    memset(packet.data, 'x', sizeof(packet.data));
    memset(packet.data, 0, MEMCACHED_HEAD_SIZE);
    packet.data[0] = (char)(parts.magic ? parts.magic : 0x80);
    packet.data[1] = (char)parts.opcode;
    memcpy(packet.data + 2, &key, sizeof(key));
    packet.data[4] = (char)parts.extras;
    packet.data[5] = (char)parts.data_type;
    memcpy(packet.data + 6, &status, sizeof(status));
    memcpy(packet.data + 8, &body, sizeof(body));
    memcpy(packet.data + 12, &opaque, sizeof(opaque));
    return packet;
}

struct command_case {
    struct parts parts;
    enum memcached_result result;
    enum memcached_framing reply;
    unsigned traits;
    uint16_t status;
    bool close;
    uint64_t swallow;
};

#define CASE(...)                                                                                  \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
#define P(op, x, k, v)                                                                             \
    {                                                                                              \
        .opcode = (op), .extras = (x), .key = (k), .value = (v)                                    \
    }
#define PASS(p, t)                                                                                 \
    CASE(.parts = p, .result = MEMCACHED_DONE, .reply = MEMCACHED_PACKET, .traits = (t))
#define STAT(p)                                                                                    \
    CASE(.parts = p, .result = MEMCACHED_DONE, .reply = MEMCACHED_STAT_PACKETS, .traits = 0)
#define CLOSE(p, s)   CASE(.parts = p, .result = MEMCACHED_BAD, .status = (s), .close = true)
#define FAIL(p, s, w) CASE(.parts = p, .result = MEMCACHED_BAD, .status = (s), .swallow = (w))

enum {
    READ = MEMCACHED_READ,
    QUIET = MEMCACHED_QUIET,
    VALUED = MEMCACHED_VALUED,
    OPENS = MEMCACHED_OPENS,
    QUIT = MEMCACHED_QUIT,
    BARRIER = MEMCACHED_BARRIER
};

/* F4, F6, M2, M4 and M5, as 1.6.18 replies. */
static const struct command_case cases[] = {
    PASS(P(0x00, 0, 1, 0), READ),
    PASS(P(0x00, 0, 250, 0), READ),
    PASS(P(0x09, 0, 1, 0), READ | QUIET),
    PASS(P(0x0c, 0, 1, 0), READ),
    PASS(P(0x0d, 0, 1, 0), READ | QUIET),
    CLOSE(P(0x00, 0, 0, 0), 4),
    CLOSE(P(0x00, 0, 251, 0), 4),
    CLOSE(P(0x00, 4, 1, 0), 4),
    CLOSE(P(0x00, 0, 1, 1), 4),
    PASS(P(0x01, 8, 1, 0), VALUED),
    PASS(P(0x01, 8, 1, 9), VALUED),
    PASS(P(0x02, 8, 1, 9), VALUED),
    PASS(P(0x03, 8, 1, MEMCACHED_VALUE_MAX), VALUED),
    PASS(P(0x11, 8, 250, 9), VALUED | QUIET),
    PASS(P(0x12, 8, 1, 9), VALUED | QUIET),
    PASS(P(0x13, 8, 1, 9), VALUED | QUIET),
    CLOSE(P(0x01, 0, 1, 9), 4),
    CLOSE(P(0x01, 8, 0, 9), 4),
    CLOSE(P(0x01, 9, 1, 9), 4),
    CLOSE(P(0x01, 8, 251, 9), 4),
    FAIL(P(0x01, 8, 1, MEMCACHED_VALUE_MAX + 1), 3, MEMCACHED_VALUE_MAX + 10),
    CLOSE(P(0x01, 8, 1, INT32_MAX), 0x81),
    PASS(P(0x04, 0, 1, 0), 0),
    PASS(P(0x14, 0, 1, 0), QUIET),
    CLOSE(P(0x04, 0, 1, 1), 4),
    PASS(P(0x05, 20, 1, 0), 0),
    PASS(P(0x06, 20, 1, 0), 0),
    PASS(P(0x15, 20, 1, 0), QUIET),
    PASS(P(0x16, 20, 1, 0), QUIET),
    CLOSE(P(0x05, 19, 1, 0), 4),
    PASS(P(0x07, 0, 0, 0), QUIT),
    PASS(P(0x17, 0, 0, 0), QUIT | QUIET),
    CLOSE(P(0x07, 0, 1, 0), 4),
    PASS(P(0x08, 0, 0, 0), 0),
    PASS(P(0x08, 4, 0, 0), 0),
    PASS(P(0x18, 4, 0, 0), QUIET),
    CLOSE(P(0x08, 5, 0, 0), 4),
    CLOSE(P(0x08, 0, 1, 0), 4),
    CLOSE(P(0x08, 0, 0, 4), 4),
    PASS(P(0x0a, 0, 0, 0), BARRIER),
    CLOSE(P(0x0a, 0, 1, 0), 4),
    PASS(P(0x0b, 0, 0, 0), 0),
    CLOSE(P(0x0b, 0, 0, 1), 4),
    PASS(P(0x0e, 0, 1, 9), VALUED),
    PASS(P(0x0f, 0, 1, 9), VALUED),
    PASS(P(0x19, 0, 1, 9), VALUED | QUIET),
    PASS(P(0x1a, 0, 1, 9), VALUED | QUIET),
    CLOSE(P(0x0e, 8, 1, 9), 4),
    STAT(P(0x10, 0, 0, 0)),
    STAT(P(0x10, 0, 8, 0)),
    CLOSE(P(0x10, 0, 8, 1), 4),
    CLOSE(P(0x10, 0, 251, 0), 4),
    PASS(P(0x1c, 4, 1, 0), 0),
    PASS(P(0x1d, 4, 1, 0), 0),
    PASS(P(0x1e, 4, 1, 0), QUIET),
    PASS(P(0x23, 4, 1, 0), 0),
    PASS(P(0x24, 4, 1, 0), QUIET),
    CLOSE(P(0x1d, 4, 1, 1), 4),
    CLOSE(P(0x1c, 0, 1, 0), 4),
    PASS(P(0x20, 0, 0, 0), OPENS),
    PASS(P(0x21, 0, 5, 9), OPENS | VALUED),
    PASS(P(0x22, 0, 5, 9), OPENS | VALUED),
    FAIL(P(0x1b, 4, 0, 0), 0x81, 4),
    FAIL(P(0x1f, 0, 0, 0), 0x81, 0),
    FAIL(P(0x50, 3, 300, 7), 0x81, 310),
    FAIL(P(0xff, 0, 0, 0), 0x81, 0),
    CASE(.parts = {.opcode = 0, .key = 4, .body_off = -1}, .result = MEMCACHED_BAD, .status = 0x81,
         .close = true),
    CASE(.parts = {.opcode = 0xff, .key = 4, .body_off = -1}, .result = MEMCACHED_BAD,
         .status = 0x81, .close = true),
    CASE(.parts = {.opcode = 0, .key = 1, .data_type = 1}, .result = MEMCACHED_BAD, .status = 4,
         .close = true),
    CASE(.parts = {.magic = 0x81, .opcode = 0, .key = 1}, .result = MEMCACHED_BAD, .status = 4,
         .close = true),
    CASE(.parts = {.magic = 'g', .opcode = 'e', .key = 1}, .result = MEMCACHED_BAD, .status = 4,
         .close = true),
};

static enum memcached_result see(struct memcached_command *command, const struct packet *packet,
                                 size_t length)
{
    char *copy = malloc(length > 0 ? length : 1);
    enum memcached_result result;

    assert_non_null(copy);
    memcpy(copy, packet->data, length);
    result = memcached_command_parse(command, copy, length);
    free(copy);
    return result;
}

static void check_command(const struct memcached_command *command, enum memcached_result result,
                          const struct command_case *expected)
{
    const struct parts *parts = &expected->parts;

    assert_int_equal(result, expected->result);
    if (result == MEMCACHED_BAD) {
        assert_int_equal(command->status, expected->status);
        assert_int_equal(command->close, expected->close);
        assert_int_equal(command->swallow, expected->swallow);
        assert_non_null(command->error);
        assert_false(command->quiet); /* errors are never left out */
        return;
    }
    assert_int_equal(command->length, MEMCACHED_HEAD_SIZE + parts->extras + parts->key);
    assert_int_equal(command->value_length, parts->value);
    assert_int_equal(command->value_left, parts->value);
    assert_int_equal(command->reply, expected->reply);
    assert_int_equal(command->traits, expected->traits);
    assert_int_equal(command->quiet, (expected->traits & QUIET) != 0);
    assert_int_equal(command->opcode, parts->opcode);
    assert_int_equal(command->opaque, OPAQUE);
}

static void test_commands(void **state)
{
    (void)state;
    for (size_t c = 0; c < ARRAY_LEN(cases); c++) {
        struct packet packet = make(cases[c].parts);
        struct memcached_command command;
        enum memcached_result result = MEMCACHED_MORE;

        memcached_command_begin(&command, true);
        for (size_t i = 0; i <= packet.length; i++)
            result = see(&command, &packet, i);
        check_command(&command, result, &cases[c]);
        for (size_t i = 0; i <= packet.length; i++) {
            memcached_command_begin(&command, true);
            result = see(&command, &packet, i);
            if (result == MEMCACHED_DONE)
                assert_true(i >= command.length);
            check_command(&command, see(&command, &packet, packet.length), &cases[c]);
        }
    }
}

/* There is nothing after a value. */
static void test_values(void **state)
{
    struct packet packet = make((struct parts)P(0x01, 8, 1, 9));
    struct memcached_command command;
    size_t used;

    (void)state;
    memcached_command_begin(&command, true);
    assert_int_equal(memcached_command_parse(&command, packet.data, packet.length), MEMCACHED_DONE);
    assert_int_equal(memcached_command_value_rest(&command), 9);
    assert_int_equal(memcached_command_value(&command, "1234", 4, &used), MEMCACHED_MORE);
    assert_int_equal(used, 4);
    memcached_command_value_skip(&command, 2);
    assert_int_equal(memcached_command_value(&command, "789\x80", 4, &used), MEMCACHED_DONE);
    assert_int_equal(used, 3);
}

/* Several replies in a row: what is expected, and what arrives. */
struct reply_case {
    struct parts command;
    const char *key; /* the command's; NULL: any */
    struct parts replies[3];
    size_t count; /* how many of them are taken; not what follows */
    enum memcached_result result;
    bool is_error, unsure;
    uint16_t status;
};

#define R(op, st, x, k, v)                                                                         \
    {                                                                                              \
        .magic = 0x81, .opcode = (op), .status = (st), .extras = (x), .key = (k), .value = (v)     \
    }

/* M1 and M3. */
static const struct reply_case reply_cases[] = {
    {P(0x00, 0, 1, 0),
     NULL,
     {R(0x00, 0, 4, 0, 5), R(0x00, 0, 0, 0, 0)},
     1,
     MEMCACHED_DONE,
     .is_error = false},
    {P(0x0c, 0, 1, 0), NULL, {R(0x0c, 0, 4, 1, 5)}, 1, MEMCACHED_DONE, .is_error = false},
    {P(0x00, 0, 1, 0),
     NULL,
     {R(0x00, 1, 0, 0, 9)},
     1,
     MEMCACHED_DONE,
     .is_error = true,
     .status = 1},
    {P(0x0a, 0, 0, 0), NULL, {R(0x0a, 0, 0, 0, 0)}, 1, MEMCACHED_DONE, .is_error = false},
    {P(0x01, 8, 1, 9),
     NULL,
     {R(0x01, 3, 0, 0, 10)},
     1,
     MEMCACHED_DONE,
     .is_error = true,
     .status = 3},
    {P(0x01, 8, 1, 9),
     NULL,
     {R(0x01, 0x82, 0, 0, 10)},
     1,
     MEMCACHED_DONE,
     .is_error = true,
     .status = 0x82},
    {P(0x01, 8, 1, 9),
     NULL,
     {R(0x01, 4, 0, 0, 10)},
     1,
     MEMCACHED_DONE,
     .is_error = true,
     .unsure = true,
     .status = 4},
    {P(0x01, 8, 1, 9),
     NULL,
     {R(0x01, 0x20, 0, 0, 10)},
     1,
     MEMCACHED_DONE,
     .is_error = true,
     .unsure = true,
     .status = 0x20},
    {P(0x1d, 4, 1, 0),
     NULL,
     {R(0x1d, 0x81, 0, 0, 15)},
     1,
     MEMCACHED_DONE,
     .is_error = true,
     .unsure = true,
     .status = 0x81},
    {P(0x20, 0, 0, 0),
     NULL,
     {R(0x20, 0x81, 0, 0, 15)},
     1,
     MEMCACHED_DONE,
     .is_error = true,
     .status = 0x81},
    {P(0x00, 0, 1, 0), NULL, {R(0x01, 0, 0, 0, 0)}, 0, MEMCACHED_BAD, .is_error = false},
    {P(0x00, 0, 1, 0), NULL, {{.magic = 0x80}}, 0, MEMCACHED_BAD, .is_error = false},
    {P(0x00, 0, 1, 0), NULL, {{.magic = 'E'}}, 0, MEMCACHED_BAD, .is_error = false},
    {P(0x00, 0, 1, 0),
     NULL,
     {{.magic = 0x81, .key = 4, .body_off = -1}},
     0,
     MEMCACHED_BAD,
     .is_error = false},
    {P(0x00, 0, 1, 0), NULL, {R(0x00, 0, 4, 0, INT32_MAX)}, 0, MEMCACHED_BAD, .is_error = false},
    {P(0x10, 0, 0, 0),
     NULL,
     {R(0x10, 0, 0, 3, 5), R(0x10, 0, 0, 7, 1), R(0x10, 0, 0, 0, 0)},
     3,
     MEMCACHED_DONE,
     .is_error = false},
    {P(0x10, 0, 0, 0),
     NULL,
     {R(0x10, 0, 0, 3, 5), R(0x10, 0, 0, 7, 1)},
     2,
     MEMCACHED_MORE,
     .is_error = false},
    {P(0x10, 0, 0, 0),
     NULL,
     {R(0x10, 0, 0, 0, 0), R(0x10, 0, 0, 3, 5)},
     1,
     MEMCACHED_DONE,
     .is_error = false},
    {P(0x10, 0, 3, 0),
     "foo",
     {R(0x10, 1, 0, 0, 9), R(0x10, 0, 0, 3, 5)},
     1,
     MEMCACHED_DONE,
     .is_error = true,
     .status = 1},
    {P(0x10, 0, 12, 0),
     "sizes_enable",
     {R(0x10, 0, 0, 12, 7), R(0x10, 0, 0, 0, 0)},
     1,
     MEMCACHED_DONE,
     .is_error = false},
    {P(0x10, 0, 13, 0),
     "sizes_disable",
     {R(0x10, 0, 0, 12, 8), R(0x10, 0, 0, 0, 0)},
     1,
     MEMCACHED_DONE,
     .is_error = false},
    {P(0x10, 0, 12, 0),
     "sizes_enable",
     {R(0x10, 0, 0, 12, 5), R(0x10, 0, 0, 11, 20)},
     2,
     MEMCACHED_DONE,
     .is_error = false},
    {P(0x10, 0, 12, 0),
     "sizes_enable",
     {R(0x10, 0, 0, 12, 5), R(0x10, 0, 0, 0, 17)},
     2,
     MEMCACHED_DONE,
     .is_error = false},
};

static struct memcached_expect expect(const struct reply_case *expected)
{
    struct packet packet = make(expected->command);
    struct memcached_command command;

    if (expected->key)
        memcpy(packet.data + MEMCACHED_HEAD_SIZE, expected->key, strlen(expected->key));
    memcached_command_begin(&command, true);
    assert_int_equal(memcached_command_parse(&command, packet.data, packet.length), MEMCACHED_DONE);
    return memcached_command_expect(&command);
}

/* Feeds the bytes from *at to `end`. */
static enum memcached_result feed(struct memcached_reply *reply, const struct packet *packet,
                                  size_t *at, size_t end)
{
    size_t length = end - *at, used;
    char *copy = malloc(length > 0 ? length : 1);
    enum memcached_result result;

    assert_non_null(copy);
    memcpy(copy, packet->data + *at, length);
    result = memcached_reply_feed(reply, copy, length, &used);
    assert_true(used <= length);
    *at += used;
    free(copy);
    return result;
}

static void check_reply(const struct memcached_reply *reply, enum memcached_result result,
                        const struct reply_case *expected, size_t used)
{
    size_t length = 0;

    for (size_t i = 0; i < expected->count; i++)
        length += make(expected->replies[i]).length;
    assert_int_equal(result, expected->result);
    assert_int_equal(used, length);
    if (result == MEMCACHED_BAD)
        return;
    assert_int_equal(reply->is_error, expected->is_error);
    assert_int_equal(reply->sure, !expected->unsure);
    assert_int_equal(reply->status, expected->status);
}

static void test_replies(void **state)
{
    (void)state;
    for (size_t c = 0; c < ARRAY_LEN(reply_cases); c++) {
        const struct memcached_expect expected = expect(&reply_cases[c]);
        struct packet all = {.length = 0};
        struct memcached_reply reply;
        enum memcached_result result = MEMCACHED_MORE;
        size_t at = 0;

        for (size_t i = 0; i < 3 && reply_cases[c].replies[i].magic; i++) {
            struct packet one = make(reply_cases[c].replies[i]);

            memcpy(all.data + all.length, one.data, one.length);
            all.length += one.length;
        }
        memcached_reply_begin(&reply, &expected);
        assert_false(memcached_reply_started(&reply));
        for (size_t i = 0; i <= all.length; i++)
            result = feed(&reply, &all, &at, i > at ? i : at);
        check_reply(&reply, result, &reply_cases[c], at);
        for (size_t i = 0; i <= all.length; i++) {
            at = 0;
            memcached_reply_begin(&reply, &expected);
            (void)!feed(&reply, &all, &at, i);
            result = feed(&reply, &all, &at, all.length);
            check_reply(&reply, result, &reply_cases[c], at);
        }
    }
}

/* Another command's opaque: not our reply. */
static void test_opaque(void **state)
{
    struct memcached_expect expected = expect(&reply_cases[0]);
    struct packet packet = make(reply_cases[0].replies[0]);
    struct memcached_reply reply;
    size_t at = 0;

    (void)state;
    expected.opaque++;
    memcached_reply_begin(&reply, &expected);
    assert_int_equal(feed(&reply, &packet, &at, packet.length), MEMCACHED_BAD);
    assert_int_equal(at, 0);
}

/* Much of a body may be skipped uninterpreted. */
static void test_skipped_body(void **state)
{
    struct memcached_expect expected = expect(&reply_cases[0]);
    struct packet packet = make((struct parts)R(0x00, 0, 4, 0, 1000000));
    struct memcached_reply reply;
    size_t at = 0, used;

    (void)state;
    memcached_reply_begin(&reply, &expected);
    assert_int_equal(feed(&reply, &packet, &at, MEMCACHED_HEAD_SIZE), MEMCACHED_MORE);
    assert_true(memcached_reply_started(&reply));
    assert_int_equal(memcached_reply_rest(&reply), 1000004);
    memcached_reply_skip(&reply, 1000003);
    assert_int_equal(memcached_reply_feed(&reply, "xx", 2, &used), MEMCACHED_DONE);
    assert_int_equal(used, 1);
}

/* A body may be skipped uninterpreted to its last byte. */
static void test_skipped_to_the_end(void **state)
{
    struct memcached_expect expected = expect(&reply_cases[0]);
    struct packet packet = make((struct parts)R(0x00, 0, 4, 0, 5));
    struct memcached_reply reply;
    size_t at = 0, used;

    (void)state;
    memcached_reply_begin(&reply, &expected);
    assert_int_equal(feed(&reply, &packet, &at, MEMCACHED_HEAD_SIZE), MEMCACHED_MORE);
    memcached_reply_skip(&reply, memcached_reply_rest(&reply));
    assert_int_equal(memcached_reply_feed(&reply, "", 0, &used), MEMCACHED_DONE);
    assert_int_equal(used, 0);

    expected.reply = MEMCACHED_STAT_PACKETS;
    at = 0;
    memcached_reply_begin(&reply, &expected);
    assert_int_equal(feed(&reply, &packet, &at, MEMCACHED_HEAD_SIZE), MEMCACHED_MORE);
    memcached_reply_skip(&reply, memcached_reply_rest(&reply));
    assert_int_equal(memcached_reply_feed(&reply, "x", 1, &used), MEMCACHED_BAD);
}

static void test_head(void **state)
{
    struct packet packet = make((struct parts)R(0x12, 2, 4, 3, 5));
    struct memcached_head head;

    (void)state;
    for (size_t i = 0; i < MEMCACHED_HEAD_SIZE; i++)
        assert_int_equal(memcached_head_parse(&head, packet.data, i), MEMCACHED_MORE);
    assert_int_equal(memcached_head_parse(&head, packet.data, MEMCACHED_HEAD_SIZE), MEMCACHED_DONE);
    assert_int_equal(head.opcode, 0x12);
    assert_int_equal(head.status, 2);
    assert_int_equal(head.extras, 4);
    assert_int_equal(head.key, 3);
    assert_int_equal(head.body, 12);
    assert_int_equal(head.opaque, OPAQUE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commands),     cmocka_unit_test(test_values),
        cmocka_unit_test(test_replies),      cmocka_unit_test(test_opaque),
        cmocka_unit_test(test_skipped_body), cmocka_unit_test(test_skipped_to_the_end),
        cmocka_unit_test(test_head),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
