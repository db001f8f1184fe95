/* SPDX-License-Identifier: ISC */
/* A run of bytes: what was appended comes out again, in order, and an empty one holds no memory. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"

static void assert_holds(const struct buffer *buffer, const char *text)
{
    assert_int_equal(buffer_length(buffer), strlen(text));
    if (*text != '\0')
        assert_memory_equal(buffer_data(buffer), text, strlen(text));
}

static void assert_empty(const struct buffer *buffer)
{
    assert_int_equal(buffer_length(buffer), 0);
    assert_null(buffer->memory);
}

static void append(struct buffer *buffer, const char *text)
{
    assert_int_equal(buffer_append(buffer, text, strlen(text)), 0);
}

static void test_begins_empty(void **state)
{
    struct buffer buffer = {0};

    (void)state;
    assert_empty(&buffer);
    buffer_consume(&buffer, 0);
    assert_int_equal(buffer_append(&buffer, NULL, 0), 0);
    buffer_clear(&buffer);
    assert_empty(&buffer);
}

static void test_appends_behind(void **state)
{
    struct buffer buffer = {0};

    (void)state;
    append(&buffer, "abc");
    append(&buffer, "");
    append(&buffer, "defgh");
    assert_holds(&buffer, "abcdefgh");
    buffer_clear(&buffer);
}

static void test_consumes_in_front(void **state)
{
    struct buffer buffer = {0};

    (void)state;
    append(&buffer, "abcdef");
    buffer_consume(&buffer, 2);
    assert_holds(&buffer, "cdef");
    buffer_consume(&buffer, 0);
    assert_holds(&buffer, "cdef");
    append(&buffer, "gh");
    assert_holds(&buffer, "cdefgh");
    buffer_clear(&buffer);
}

static void test_empty_holds_no_memory(void **state)
{
    struct buffer buffer = {0};

    (void)state;
    append(&buffer, "abc");
    buffer_consume(&buffer, 1);
    assert_non_null(buffer.memory);
    buffer_consume(&buffer, 2);
    assert_empty(&buffer);
    append(&buffer, "x");
    assert_holds(&buffer, "x");
    buffer_clear(&buffer);
    assert_empty(&buffer);
    buffer_clear(&buffer);
    append(&buffer, "y");
    assert_holds(&buffer, "y");
    buffer_clear(&buffer);
}

/* Consumed bytes free their space: a buffer that is emptied as fast as it is filled stays small. */
static void test_reuses_room(void **state)
{
    struct buffer buffer = {0};

    (void)state;
    append(&buffer, "0123456789");
    size_t size = buffer.size;
    const char *memory = buffer.memory;
    for (int i = 0; i < 1000; i++) {
        buffer_consume(&buffer, 7);
        assert_holds(&buffer, "789");
        append(&buffer, "0123456");
        assert_holds(&buffer, "7890123456");
        buffer_consume(&buffer, 3);
        append(&buffer, "789");
        assert_holds(&buffer, "0123456789");
    }
    assert_int_equal(buffer.size, size);
    assert_ptr_equal(buffer.memory, memory);
    buffer_clear(&buffer);
}

/* Growing by doubling: bytes that arrive one by one are not copied again and again. */
static void test_grows_in_few_steps(void **state)
{
    struct buffer buffer = {0};
    const char *memory = NULL;
    int steps = 0;

    (void)state;
    for (int i = 0; i < 100000; i++) {
        assert_int_equal(buffer_append(&buffer, "x", 1), 0);
        steps += buffer.memory != memory;
        memory = buffer.memory;
    }
    assert_int_equal(buffer_length(&buffer), 100000);
    assert_in_range(steps, 1, 20);
    buffer_clear(&buffer);
}

/* malloc must fail rather than abort, under a sanitizer too. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static void test_no_memory(void **state)
{
    struct buffer buffer = {0};

    (void)state;
    append(&buffer, "abc");
    buffer_consume(&buffer, 1);
    assert_int_equal(buffer_append(&buffer, "", PTRDIFF_MAX), -1);
    assert_int_equal(errno, ENOMEM);
    assert_holds(&buffer, "bc");
    append(&buffer, "d");
    assert_holds(&buffer, "bcd");
    buffer_clear(&buffer);
}

static void test_written_in_place(void **state)
{
    struct buffer buffer = {0};
    char *room = buffer_reserve(&buffer, 10);

    (void)state;
    assert_non_null(room);
    buffer_extend(&buffer, 0);
    assert_empty(&buffer);
    room = buffer_reserve(&buffer, 10);
    memcpy(room, "abc", 3);
    buffer_extend(&buffer, 3);
    assert_holds(&buffer, "abc");
    assert_ptr_equal(buffer_reserve(&buffer, 7), room + 3);
    room = buffer_reserve(&buffer, 100);
    memset(room, 'x', 100);
    buffer_extend(&buffer, 1);
    assert_holds(&buffer, "abcx");
    assert_null(buffer_reserve(&buffer, PTRDIFF_MAX));
    assert_holds(&buffer, "abcx");
    buffer_clear(&buffer);
}

/* Borrowed bytes stay where they are until others follow them. */
static void test_borrowed_bytes(void **state)
{
    struct buffer buffer = {0};
    char text[] = "abcdef";

    (void)state;
    buffer_borrow(&buffer, text, 6);
    assert_ptr_equal(buffer_data(&buffer), text);
    buffer_consume(&buffer, 2);
    assert_ptr_equal(buffer_data(&buffer), text + 2);
    append(&buffer, "gh");
    assert_holds(&buffer, "cdefgh");
    assert_memory_equal(text, "abcdef", 6);
    memset(text, '-', 6);
    assert_holds(&buffer, "cdefgh");
    buffer_clear(&buffer);
    buffer_borrow(&buffer, text, 6);
    buffer_consume(&buffer, 6);
    assert_empty(&buffer);
    buffer_borrow(&buffer, text, 0);
    assert_empty(&buffer);
    buffer_borrow(&buffer, text, 6);
    buffer_clear(&buffer);
    assert_empty(&buffer);
}

static void test_borrowed_bytes_are_owned(void **state)
{
    struct buffer buffer = {0};
    char text[] = "abcdef";

    (void)state;
    assert_int_equal(buffer_own(&buffer), 0);
    assert_empty(&buffer);
    buffer_borrow(&buffer, text, 6);
    buffer_consume(&buffer, 4);
    assert_int_equal(buffer_own(&buffer), 0);
    memset(text, '-', 6);
    assert_holds(&buffer, "ef");
    const char *memory = buffer_data(&buffer);
    assert_int_equal(buffer_own(&buffer), 0);
    assert_ptr_equal(buffer_data(&buffer), memory);
    append(&buffer, "g");
    assert_holds(&buffer, "efg");
    buffer_clear(&buffer);
}

/* Against a plain array. */
static void test_random(void **state)
{
    static char expected[300000], piece[3000];
    struct buffer buffer = {0};
    size_t start = 0, end = 0;
    unsigned seed = 1;

    (void)state;
    for (int round = 0; round < 1000; round++) {
        size_t length = (size_t)rand_r(&seed) % sizeof(piece);
        if (end + length > sizeof(expected))
            break;
        for (size_t i = 0; i < length; i++)
            piece[i] = (char)rand_r(&seed);
        memcpy(expected + end, piece, length);
        end += length;
        assert_int_equal(buffer_append(&buffer, piece, length), 0);
        assert_int_equal(buffer_length(&buffer), end - start);
        if (end > start)
            assert_memory_equal(buffer_data(&buffer), expected + start, end - start);
        size_t drop = (size_t)rand_r(&seed) % (end - start + 1);
        buffer_consume(&buffer, drop);
        start += drop;
    }
    assert_true(end > sizeof(expected) / 2);
    buffer_clear(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_begins_empty),
        cmocka_unit_test(test_appends_behind),
        cmocka_unit_test(test_consumes_in_front),
        cmocka_unit_test(test_empty_holds_no_memory),
        cmocka_unit_test(test_reuses_room),
        cmocka_unit_test(test_grows_in_few_steps),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_borrowed_bytes),
        cmocka_unit_test(test_borrowed_bytes_are_owned),
        cmocka_unit_test(test_written_in_place),
        cmocka_unit_test(test_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
