/* SPDX-License-Identifier: ISC */
/* A loop's pipes: bounds, what is returned, and that a shortage is not an error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <unistd.h>

#include "net/pipes.h"
#include "support/sockets.h"

/* What the system grants to a request for a size; INT_MAX: whatever is requested. */
static int granted_size;
static bool memory_is_short;

int __real_fcntl(int fd, int command, int argument);
int __wrap_fcntl(int fd, int command, int argument);

int __wrap_fcntl(int fd, int command, int argument)
{
    if (command == F_SETPIPE_SZ && argument > granted_size) {
        errno = EPERM;
        return -1;
    }
    return __real_fcntl(fd, command, argument);
}

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

void *__wrap_malloc(size_t size)
{
    return memory_is_short ? NULL : __real_malloc(size);
}

static int setup(void **state)
{
    struct pipes *pipes = calloc(1, sizeof(*pipes));
    granted_size = PIPE_SIZE;
    memory_is_short = false;
    pipes_init(pipes, PIPES_MAX);
    *state = pipes;
    return 0;
}

static int teardown(void **state)
{
    pipes_clear(*state);
    free(*state);
    return 0;
}

static void fill(struct pipe *pipe, size_t size)
{
    char bytes[16] = "";
    assert_true(size <= sizeof(bytes));
    assert_int_equal(write(pipe->in, bytes, size), size);
    pipe->held = size;
}

static void test_made_on_demand(void **state)
{
    struct pipes *pipes = *state;
    int before = sockets_count();
    assert_int_equal(pipes->count, 0);
    struct pipe *pipe = pipes_take(pipes);
    assert_non_null(pipe);
    assert_int_equal(pipes->count, 1);
    assert_int_equal(sockets_count(), before + PIPE_DESCRIPTORS);
    assert_int_equal(pipe->held, 0);
    assert_int_equal(pipe->size, PIPE_SIZE);
    assert_int_equal(fcntl(pipe->in, F_GETPIPE_SZ), PIPE_SIZE);
    for (int i = 0; i < 2; i++) {
        int fd = i == 0 ? pipe->in : pipe->out;
        assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
        assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    }
    pipes_give(pipe);
}

static void test_an_empty_one_is_used_again(void **state)
{
    struct pipes *pipes = *state;
    struct pipe *pipe = pipes_take(pipes);
    pipes_give(pipe);
    assert_int_equal(pipes->idle_count, 1);
    assert_ptr_equal(pipes_take(pipes), pipe);
    assert_int_equal(pipes->idle_count, 0);
    assert_int_equal(pipes->count, 1);
    pipes_give(pipe);
}

static void test_one_that_holds_bytes_is_closed(void **state)
{
    struct pipes *pipes = *state;
    int before = sockets_count();
    struct pipe *pipe = pipes_take(pipes);
    fill(pipe, 3);
    pipes_give(pipe);
    assert_int_equal(pipes->count, 0);
    assert_int_equal(sockets_count(), before);
    pipe = pipes_take(pipes);
    char byte;
    assert_int_equal(read(pipe->out, &byte, 1), -1);
    assert_int_equal(errno, EAGAIN);
    pipes_give(pipe);
}

static void test_limit(void **state)
{
    struct pipes *pipes = *state;
    struct pipe *taken[PIPES_MAX];
    for (int i = 0; i < PIPES_MAX; i++) {
        taken[i] = pipes_take(pipes);
        assert_non_null(taken[i]);
    }
    assert_null(pipes_take(pipes));
    assert_int_equal(pipes->count, PIPES_MAX);
    for (int i = 0; i < PIPES_MAX; i++)
        pipes_give(taken[i]);
    assert_in_range(pipes->idle_count, 1, PIPES_MAX / 2);
    assert_int_equal(pipes->count, pipes->idle_count);
}

static void test_smaller_limits(void **state)
{
    struct pipes none;
    (void)state;
    pipes_init(&none, 0);
    assert_null(pipes_take(&none));
    pipes_clear(&none);
    assert_null(pipes_take(NULL));
    pipes_init(&none, PIPES_MAX + 1);
    assert_int_equal(none.limit, PIPES_MAX);
    pipes_clear(&none);
}

static void test_another_limit(void **state)
{
    struct pipes *pipes = *state;
    struct pipe *taken[4];
    int before = sockets_count();
    for (int i = 0; i < 4; i++)
        taken[i] = pipes_take(pipes);
    pipes_give(taken[3]);
    pipes_set_max(pipes, 3);
    assert_int_equal(gauge_get(&pipes->stats.limit), 3);
    assert_int_equal(pipes->count, 3);
    assert_int_equal(pipes->idle_count, 0);
    pipes_set_max(pipes, 1);
    assert_null(pipes_take(pipes));
    for (int i = 0; i < 3; i++)
        pipes_give(taken[i]);
    assert_int_equal(pipes->count, 1);
    assert_int_equal(pipes->idle_count, 1);
    pipes_set_max(pipes, 0);
    assert_int_equal(pipes->count, 0);
    assert_int_equal(sockets_count(), before);
    assert_null(pipes_take(pipes));
    pipes_set_max(pipes, PIPES_MAX + 1);
    assert_int_equal(pipes->limit, PIPES_MAX);
    taken[0] = pipes_take(pipes);
    assert_non_null(taken[0]);
    pipes_give(taken[0]);
}

static void test_takes_what_is_granted(void **state)
{
    struct pipes *pipes = *state;
    granted_size = PIPE_SIZE - 1;
    struct pipe *pipe = pipes_take(pipes);
    assert_int_equal(pipe->size, PIPE_SIZE / 2);
    granted_size = PIPE_SIZE_MIN;
    struct pipe *small = pipes_take(pipes);
    assert_int_equal(small->size, PIPE_SIZE_MIN);
    pipes_give(small);
    pipes_give(pipe);
}

static void test_too_small_a_pipe_is_none(void **state)
{
    struct pipes *pipes = *state;
    int before = sockets_count();
    granted_size = PIPE_SIZE_MIN - 1;
    assert_null(pipes_take(pipes));
    assert_int_equal(pipes->count, 0);
    assert_int_equal(sockets_count(), before);
}

static void test_no_descriptors(void **state)
{
    struct pipes *pipes = *state;
    struct rlimit limit, low;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    int free_fd = dup(STDERR_FILENO);
    close(free_fd);
    low = limit;
    for (int room = 0; room < PIPE_DESCRIPTORS; room++) {
        low.rlim_cur = (rlim_t)(free_fd + room);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
        struct pipe *pipe = pipes_take(pipes);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        assert_null(pipe);
        assert_int_equal(pipes->count, 0);
    }
    struct pipe *pipe = pipes_take(pipes);
    assert_non_null(pipe);
    pipes_give(pipe);
}

static void test_no_memory(void **state)
{
    struct pipes *pipes = *state;
    int before = sockets_count();
    memory_is_short = true;
    struct pipe *pipe = pipes_take(pipes);
    memory_is_short = false;
    assert_null(pipe);
    assert_int_equal(pipes->count, 0);
    assert_int_equal(sockets_count(), before);
}

static void test_clear_closes_the_idle_ones(void **state)
{
    struct pipes *pipes = *state;
    int before = sockets_count();
    struct pipe *first = pipes_take(pipes), *second = pipes_take(pipes);
    pipes_give(first);
    pipes_give(second);
    pipes_clear(pipes);
    assert_int_equal(pipes->count, 0);
    assert_int_equal(pipes->idle_count, 0);
    assert_int_equal(sockets_count(), before);
}

#define PIPES_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PIPES_TEST(test_made_on_demand),
        PIPES_TEST(test_an_empty_one_is_used_again),
        PIPES_TEST(test_one_that_holds_bytes_is_closed),
        PIPES_TEST(test_limit),
        PIPES_TEST(test_another_limit),
        PIPES_TEST(test_smaller_limits),
        PIPES_TEST(test_another_limit),
        PIPES_TEST(test_takes_what_is_granted),
        PIPES_TEST(test_too_small_a_pipe_is_none),
        PIPES_TEST(test_no_descriptors),
        PIPES_TEST(test_no_memory),
        PIPES_TEST(test_clear_closes_the_idle_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
