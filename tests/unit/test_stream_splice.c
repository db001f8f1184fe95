/* SPDX-License-Identifier: ISC */
/* Streams and pipes over TCP: bytes pass unharmed, and the readiness flags are right. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/stream.h"
#include "support/sockets.h"

/* Ends a test that waits forever. */
#define WAIT_MAX 60

/* The C library's splice, except for signals that arrive in between, and for refusals. */
static int interruptions;
static int failure;   /* errno; 0: none */
static size_t cut_at; /* what a signal leaves of a call that has begun; 0: all */

ssize_t __real_splice(int from, off64_t *from_offset, int to, off64_t *to_offset, size_t size,
                      unsigned flags);
ssize_t __wrap_splice(int from, off64_t *from_offset, int to, off64_t *to_offset, size_t size,
                      unsigned flags);

ssize_t __wrap_splice(int from, off64_t *from_offset, int to, off64_t *to_offset, size_t size,
                      unsigned flags)
{
    if (interruptions > 0) {
        interruptions--;
        errno = EINTR;
        return -1;
    }
    if (failure != 0) {
        errno = failure;
        return -1;
    }
    if (cut_at > 0 && size > cut_at)
        size = cut_at;
    return __real_splice(from, from_offset, to, to_offset, size, flags);
}

struct fixture {
    struct loop *loop;
    struct stream stream;
    struct stream_handler handler;
    unsigned calls; /* of the handler */
    int peer;       /* blocking; -1: closed */
    struct pipes pipes;
    struct pipe *pipe;
};

static void on_ready(struct stream_handler *handler, struct stream *stream)
{
    struct fixture *f = container_of(handler, struct fixture, handler);
    (void)stream;
    f->calls++;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    int fd;
    alarm(WAIT_MAX);
    signal(SIGPIPE, SIG_IGN);
    interruptions = failure = 0;
    cut_at = 0;
    f->loop = loop_new();
    assert_non_null(f->loop);
    sockets_connect(&f->peer, &fd);
    stream_init(&f->stream, fd);
    f->handler.ready = on_ready;
    stream_set_handler(&f->stream, &f->handler);
    assert_int_equal(stream_watch(&f->stream, f->loop), 0);
    loop_iterate(f->loop, 0);
    pipes_init(&f->pipes, 1);
    f->pipe = pipes_take(&f->pipes);
    assert_non_null(f->pipe);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    stream_close(&f->stream);
    if (f->peer >= 0)
        close(f->peer);
    pipes_give(f->pipe);
    pipes_clear(&f->pipes);
    loop_free(f->loop);
    free(f);
    return 0;
}

static void await_ready(struct fixture *f)
{
    unsigned before = f->calls;
    while (f->calls == before)
        loop_iterate(f->loop, -1);
}

static void peer_send(struct fixture *f, const char *text)
{
    assert_int_equal(send(f->peer, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static void peer_reset(struct fixture *f)
{
    const struct linger hard = {.l_onoff = 1, .l_linger = 0};
    assert_int_equal(setsockopt(f->peer, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0);
    close(f->peer);
    f->peer = -1;
}

static void assert_fails(ssize_t result, int error)
{
    int number = errno;
    assert_int_equal(result, -1);
    assert_int_equal(number, error);
}

/* In */

static void test_in(void **state)
{
    struct fixture *f = *state;
    char text[8] = "";
    peer_send(f, "abc");
    await_ready(f);
    assert_int_equal(stream_splice_in(&f->stream, f->pipe, SIZE_MAX), 3);
    assert_int_equal(f->pipe->held, 3);
    /* The pipe's slots might have been the reason for stopping. */
    assert_true(f->stream.readable);
    assert_int_equal(read(f->pipe->out, text, sizeof(text)), 3);
    assert_string_equal(text, "abc");
    f->pipe->held = 0;
}

static void test_in_takes_no_more_than_asked_for(void **state)
{
    struct fixture *f = *state;
    char text[8] = "";
    peer_send(f, "abcdef");
    await_ready(f);
    assert_int_equal(stream_splice_in(&f->stream, f->pipe, 4), 4);
    assert_int_equal(f->pipe->held, 4);
    assert_int_equal(stream_read(&f->stream, text, sizeof(text)), 2);
    assert_string_equal(text, "ef");
}

static void test_in_finds_nothing(void **state)
{
    struct fixture *f = *state;
    f->stream.readable = true;
    assert_fails(stream_splice_in(&f->stream, f->pipe, SIZE_MAX), EAGAIN);
    assert_false(f->stream.readable);
    assert_int_equal(f->pipe->held, 0);
    peer_send(f, "abc");
    await_ready(f);
    assert_true(f->stream.readable);
    assert_int_equal(stream_splice_in(&f->stream, f->pipe, SIZE_MAX), 3);
}

static void test_in_ends_a_pause(void **state)
{
    struct fixture *f = *state;
    peer_send(f, "abc");
    await_ready(f);
    stream_pause_read(&f->stream);
    assert_int_equal(stream_splice_in(&f->stream, f->pipe, SIZE_MAX), 3);
    loop_iterate(f->loop, 0);
    peer_send(f, "def");
    await_ready(f);
}

static void test_in_at_the_end(void **state)
{
    struct fixture *f = *state;
    char byte;
    peer_send(f, "abc");
    assert_int_equal(shutdown(f->peer, SHUT_WR), 0);
    while (!f->stream.hangup)
        loop_iterate(f->loop, -1);
    assert_int_equal(stream_splice_in(&f->stream, f->pipe, SIZE_MAX), 3);
    assert_int_equal(read(f->pipe->out, (char[3]){0}, 3), 3);
    f->pipe->held = 0;
    assert_int_equal(stream_splice_in(&f->stream, f->pipe, SIZE_MAX), 0);
    assert_true(f->stream.readable);
    assert_int_equal(stream_read(&f->stream, &byte, 1), 0);
}

static void test_in_after_a_reset(void **state)
{
    struct fixture *f = *state;
    peer_send(f, "abc");
    peer_reset(f);
    await_ready(f);
    ssize_t n = stream_splice_in(&f->stream, f->pipe, SIZE_MAX);
    if (n == 3) { /* the bytes passed before */
        assert_int_equal(read(f->pipe->out, (char[3]){0}, 3), 3);
        f->pipe->held = 0;
        n = stream_splice_in(&f->stream, f->pipe, SIZE_MAX);
    }
    assert_fails(n, ECONNRESET);
    assert_false(f->stream.readable);
}

/* Whatever forbids splicing, the stream can be read. */
static void test_in_is_not_possible(void **state)
{
    struct fixture *f = *state;
    const int reasons[] = {EINVAL, ENOSYS, EPERM, ENOMEM};
    char text[8] = "";
    peer_send(f, "abc");
    await_ready(f);
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
        failure = reasons[i];
        assert_fails(stream_splice_in(&f->stream, f->pipe, SIZE_MAX), ENOTSUP);
        assert_int_equal(f->pipe->held, 0);
        assert_true(f->stream.readable);
    }
    failure = 0;
    assert_int_equal(stream_read(&f->stream, text, sizeof(text)), 3);
    assert_string_equal(text, "abc");
}

/* Out */

/* Fills the pipe and writes it, until the socket takes no more; returns how much it took. */
static size_t fill(struct fixture *f)
{
    static char block[64 * 1024];
    size_t sum = 0;
    while (f->stream.writable) {
        if (f->pipe->held == 0) {
            ssize_t n = write(f->pipe->in, block, sizeof(block));
            assert_true(n > 0);
            f->pipe->held = (size_t)n;
        }
        size_t before = f->pipe->held;
        ssize_t n = stream_splice_out(&f->stream, f->pipe);
        if (n < 0) {
            assert_int_equal(errno, EAGAIN);
            break;
        }
        assert_int_equal(f->pipe->held, before - (size_t)n);
        sum += (size_t)n;
    }
    return sum;
}

static void test_out(void **state)
{
    struct fixture *f = *state;
    char text[8] = "";
    assert_int_equal(write(f->pipe->in, "abc", 3), 3);
    f->pipe->held = 3;
    assert_int_equal(stream_splice_out(&f->stream, f->pipe), 3);
    assert_int_equal(f->pipe->held, 0);
    assert_true(f->stream.writable);
    assert_int_equal(recv(f->peer, text, sizeof(text), 0), 3);
    assert_string_equal(text, "abc");
}

/* A full socket says so, and later reports that there is room. */
static void test_out_blocks(void **state)
{
    struct fixture *f = *state;
    static char block[64 * 1024];
    size_t sum = fill(f), received = 0;
    assert_false(f->stream.writable);
    assert_true(f->stream.watches_writable);
    assert_true(f->pipe->held > 0);
    while (received < sum) {
        ssize_t n = recv(f->peer, block, sizeof(block), 0);
        assert_true(n > 0);
        received += (size_t)n;
    }
    while (!f->stream.writable)
        loop_iterate(f->loop, -1);
    size_t held = f->pipe->held;
    assert_int_equal(stream_splice_out(&f->stream, f->pipe), held);
    assert_int_equal(f->pipe->held, 0);
}

/* A signal ends a splice that has moved something: no event will ever report space that was there
 * all the time. */
static void test_out_cut_short_by_a_signal(void **state)
{
    struct fixture *f = *state;
    static char block[10000];
    assert_int_equal(write(f->pipe->in, block, sizeof(block)), sizeof(block));
    f->pipe->held = sizeof(block);
    cut_at = 4096;
    assert_int_equal(stream_splice_out(&f->stream, f->pipe), 4096);
    assert_true(f->stream.writable);
    assert_false(f->stream.watches_writable);
    cut_at = 0;
    assert_int_equal(stream_splice_out(&f->stream, f->pipe), sizeof(block) - 4096);
    assert_int_equal(f->pipe->held, 0);
}

static void test_out_fails(void **state)
{
    struct fixture *f = *state;
    peer_reset(f);
    await_ready(f);
    f->stream.writable = true;
    assert_int_equal(write(f->pipe->in, "abc", 3), 3);
    f->pipe->held = 3;
    ssize_t n = stream_splice_out(&f->stream, f->pipe);
    assert_true(n < 0 && (errno == EPIPE || errno == ECONNRESET));
    assert_int_equal(f->pipe->held, 3);
}

static void test_interrupted_calls_are_repeated(void **state)
{
    struct fixture *f = *state;
    peer_send(f, "abc");
    await_ready(f);
    interruptions = 2;
    assert_int_equal(stream_splice_in(&f->stream, f->pipe, SIZE_MAX), 3);
    interruptions = 2;
    assert_int_equal(stream_splice_out(&f->stream, f->pipe), 3);
    assert_int_equal(interruptions, 0);
}

#define SPLICE_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SPLICE_TEST(test_in),
        SPLICE_TEST(test_in_takes_no_more_than_asked_for),
        SPLICE_TEST(test_in_finds_nothing),
        SPLICE_TEST(test_in_ends_a_pause),
        SPLICE_TEST(test_in_at_the_end),
        SPLICE_TEST(test_in_after_a_reset),
        SPLICE_TEST(test_in_is_not_possible),
        SPLICE_TEST(test_out),
        SPLICE_TEST(test_out_blocks),
        SPLICE_TEST(test_out_cut_short_by_a_signal),
        SPLICE_TEST(test_out_fails),
        SPLICE_TEST(test_interrupted_calls_are_repeated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
