/* SPDX-License-Identifier: ISC */
/* The ring between the threads that log and the writer: whole lines, at any place in the ring. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "base/log_ring.h"

#define SIZE 64

static char bytes[SIZE];
static struct log_ring ring;

static int setup(void **state)
{
    (void)state;
    memset(bytes, '#', sizeof(bytes));
    log_ring_init(&ring, bytes, sizeof(bytes));
    return 0;
}

static bool put(const char *line)
{
    return log_ring_put(&ring, line, strlen(line));
}

/* Bytes of the ring as one text. */
static const char *peek(size_t from, size_t to)
{
    static char text[SIZE + 1];
    struct iovec parts[2];
    size_t n = 0;
    int count = log_ring_peek(&ring, from, to, parts);
    assert_in_range(count, 1, 2);
    for (int i = 0; i < count; i++) {
        memcpy(text + n, parts[i].iov_base, parts[i].iov_len);
        n += parts[i].iov_len;
    }
    assert_int_equal(n, to - from);
    text[n] = '\0';
    return text;
}

/* A ring that contains one line of one byte, and whose next line begins this far from the start of
 * its memory. */
static void start_at(size_t at)
{
    char filling[SIZE];
    setup(NULL);
    memset(filling, 'x', SIZE);
    size_t before = at == 0 ? SIZE - 1 : at - 1;
    filling[before == 0 ? 0 : before - 1] = '\n';
    if (before > 0)
        assert_true(log_ring_put(&ring, filling, before));
    assert_true(put("\n"));
    log_ring_take(&ring, before);
}

static void test_lines_in_and_out(void **state)
{
    (void)state;
    assert_int_equal(log_ring_used(&ring), 0);
    assert_true(put("one\n"));
    assert_true(put("two, longer\n"));
    assert_int_equal(log_ring_used(&ring), 16);
    assert_int_equal(log_ring_first(&ring), 4);
    assert_string_equal(peek(0, 16), "one\ntwo, longer\n");
    assert_string_equal(peek(4, 7), "two");
    log_ring_take(&ring, 4);
    assert_int_equal(log_ring_first(&ring), 12);
    assert_string_equal(peek(0, 12), "two, longer\n");
    log_ring_take(&ring, 12);
    assert_int_equal(log_ring_used(&ring), 0);
}

static void test_whole_lines(void **state)
{
    (void)state;
    assert_true(put("one\n"));
    assert_true(put("two\n"));
    assert_int_equal(log_ring_lines(&ring, 0), 0);
    assert_int_equal(log_ring_lines(&ring, 3), 0);
    assert_int_equal(log_ring_lines(&ring, 4), 4);
    assert_int_equal(log_ring_lines(&ring, 7), 4);
    assert_int_equal(log_ring_lines(&ring, 8), 8);
}

static void test_filled_to_the_last_byte(void **state)
{
    static const char half[] = "0123456789012345678901234567890\n";
    (void)state;
    for (size_t at = 0; at < SIZE; at++) {
        start_at(at);
        assert_true(put(half));
        assert_false(put(half));
        log_ring_take(&ring, 1);
        assert_true(put(half));
        assert_int_equal(log_ring_used(&ring), SIZE);
        assert_false(put("\n"));
        assert_string_equal(peek(0, SIZE / 2), half);
        assert_string_equal(peek(SIZE / 2, SIZE), half);
        log_ring_take(&ring, 2);
        assert_false(put("ab\n"));
        assert_true(put("c\n"));
        assert_false(put("\n"));
        assert_string_equal(peek(SIZE - 2, SIZE), "c\n");
    }
}

static void test_line_that_never_fits(void **state)
{
    char line[SIZE + 2];
    (void)state;
    memset(line, 'x', sizeof(line));
    line[SIZE] = '\n';
    assert_false(log_ring_put(&ring, line, SIZE + 1));
    assert_int_equal(log_ring_used(&ring), 0);
    assert_true(log_ring_put(&ring, line + 1, SIZE));
}

/* Lines that begin at every place of the ring, and wrap around the end of its memory. */
static void test_around_the_end(void **state)
{
    (void)state;
    for (size_t at = 0; at < SIZE; at++) {
        start_at(at);
        assert_true(put("first line\n"));
        log_ring_take(&ring, 1);
        assert_true(put("second\n"));
        assert_ptr_equal(memchr(bytes, 'f', SIZE), bytes + at);
        assert_int_equal(log_ring_first(&ring), 11);
        for (size_t limit = 0; limit <= 18; limit++)
            assert_int_equal(log_ring_lines(&ring, limit), limit < 11 ? 0 : limit < 18 ? 11 : 18);
        assert_string_equal(peek(0, 18), "first line\nsecond\n");
        assert_string_equal(peek(3, 13), "st line\nse");
        log_ring_take(&ring, 11);
        assert_string_equal(peek(0, 7), "second\n");
    }
}

/* Lines that are taken as they arrive use the same memory again and again. */
static void test_empty_ring_begins_again(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 10 * SIZE; i++) {
        assert_true(put("one line\n"));
        assert_true(put("another\n"));
        assert_string_equal(peek(0, 17), "one line\nanother\n");
        log_ring_take(&ring, 9);
        log_ring_take(&ring, 8);
    }
    for (size_t i = 17; i < SIZE; i++)
        assert_int_equal(bytes[i], '#');
}

/* The counters overflow, as they do after 4 GB where a size has 32 bits. */
static void test_counters_run_over(void **state)
{
    (void)state;
    for (size_t before = 0; before <= SIZE; before++) {
        setup(NULL);
        atomic_store(&ring.put, (size_t)0 - before);
        atomic_store(&ring.taken, (size_t)0 - before);
        assert_true(put("0123456789012345678901234567890\n"));
        assert_true(put("a\n"));
        assert_int_equal(log_ring_used(&ring), 34);
        assert_false(put("0123456789012345678901234567890\n"));
        assert_string_equal(peek(30, 34), "0\na\n");
        log_ring_take(&ring, 34);
        assert_int_equal(log_ring_used(&ring), 0);
    }
}

#define LINES 100000

static size_t compose(char line[32], unsigned number)
{
    return (size_t)snprintf(line, 32, "%0*u\n", 1 + (int)(number % 23), number);
}

static void *put_many(void *arg)
{
    (void)arg;
    for (unsigned number = 0; number < LINES; number++) {
        char line[32];
        size_t length = compose(line, number);
        while (!log_ring_put(&ring, line, length))
            sched_yield();
    }
    return NULL;
}

static void test_two_threads(void **state)
{
    pthread_t thread;
    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, put_many, NULL), 0);
    for (unsigned number = 0; number < LINES; number++) {
        char line[32];
        compose(line, number);
        while (log_ring_used(&ring) == 0)
            sched_yield();
        size_t length = log_ring_first(&ring);
        assert_string_equal(peek(0, length), line);
        log_ring_take(&ring, length);
    }
    pthread_join(thread, NULL);
    assert_int_equal(log_ring_used(&ring), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_lines_in_and_out, setup),
        cmocka_unit_test_setup(test_whole_lines, setup),
        cmocka_unit_test_setup(test_filled_to_the_last_byte, setup),
        cmocka_unit_test_setup(test_line_that_never_fits, setup),
        cmocka_unit_test_setup(test_around_the_end, setup),
        cmocka_unit_test_setup(test_empty_ring_begins_again, setup),
        cmocka_unit_test_setup(test_counters_run_over, setup),
        cmocka_unit_test_setup(test_two_threads, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
