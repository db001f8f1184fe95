/* SPDX-License-Identifier: ISC */
/* Streams over TCP: when the readiness flags are set and cleared, and every way to end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "net/stream.h"
#include "support/sockets.h"

/* Ends a test that waits forever. */
#define WAIT_MAX 60

/* Replace the C library's, so that a signal can arrive in between. */
static int interruptions;

ssize_t recv(int fd, void *buffer, size_t size, int flags)
{
    if (interruptions > 0) {
        interruptions--;
        errno = EINTR;
        return -1;
    }
    return syscall(SYS_recvfrom, fd, buffer, size, flags, NULL, NULL);
}

ssize_t send(int fd, const void *data, size_t size, int flags)
{
    if (interruptions > 0) {
        interruptions--;
        errno = EINTR;
        return -1;
    }
    return syscall(SYS_sendto, fd, data, size, flags, NULL, 0);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    if (interruptions > 0) {
        interruptions--;
        errno = EINTR;
        return -1;
    }
    return syscall(SYS_sendmsg, fd, message, flags);
}

/* A stream, and the far end of its connection. */
struct fixture {
    struct loop *loop;
    struct stream stream;
    struct stream_handler handler;
    unsigned calls; /* of the handler */
    int peer;       /* blocking; -1: closed */
    char buffer[4096];
};

static void on_ready(struct stream_handler *handler, struct stream *stream)
{
    struct fixture *f = container_of(handler, struct fixture, handler);
    assert_ptr_equal(stream, &f->stream);
    f->calls++;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    int fd;
    alarm(WAIT_MAX);
    interruptions = 0;
    f->loop = loop_new();
    assert_non_null(f->loop);
    sockets_connect(&f->peer, &fd);
    stream_init(&f->stream, fd);
    f->handler.ready = on_ready;
    stream_set_handler(&f->stream, &f->handler);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    stream_close(&f->stream);
    if (f->peer >= 0)
        close(f->peer);
    loop_free(f->loop);
    free(f);
    return 0;
}

static void iterate(struct fixture *f)
{
    loop_iterate(f->loop, 0);
}

/* Waits for the handler's next call. */
static void await_ready(struct fixture *f)
{
    unsigned before = f->calls;
    while (f->calls == before)
        loop_iterate(f->loop, -1);
}

static void watch(struct fixture *f)
{
    assert_int_equal(stream_watch(&f->stream, f->loop), 0);
    iterate(f); /* reports what is there already */
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

static ssize_t take(struct fixture *f, size_t size)
{
    return stream_read(&f->stream, f->buffer, size);
}

static void assert_reads(struct fixture *f, const char *text)
{
    assert_int_equal(take(f, sizeof(f->buffer)), (ssize_t)strlen(text));
    assert_memory_equal(f->buffer, text, strlen(text));
}

static void assert_fails(ssize_t result, int error)
{
    int number = errno;
    assert_int_equal(result, -1);
    assert_int_equal(number, error);
}

/* Readiness */

struct meaning {
    uint32_t events;
    bool readable, writable, hangup;
};

static const struct meaning meanings[] = {
    {EPOLLIN, true, false, false}, {EPOLLOUT, false, true, false}, {EPOLLRDHUP, true, false, true},
    {EPOLLHUP, true, true, true},  {EPOLLERR, true, true, true},   {0, false, false, false},
};

static void test_what_each_event_means(void **state)
{
    struct fixture *f = *state;
    watch(f);
    for (size_t i = 0; i < ARRAY_LEN(meanings); i++) {
        f->stream.readable = f->stream.writable = f->stream.hangup = false;
        f->stream.watch.ready(&f->stream.watch, meanings[i].events);
        assert_int_equal(f->stream.readable, meanings[i].readable);
        assert_int_equal(f->stream.writable, meanings[i].writable);
        assert_int_equal(f->stream.hangup, meanings[i].hangup);
        assert_int_equal(f->calls, i + 1);
    }
}

/* Reading */

static void test_starts_ready(void **state)
{
    struct fixture *f = *state;
    assert_true(f->stream.readable && f->stream.writable);
    assert_false(stream_is_watched(&f->stream));
    assert_fails(take(f, 1), EAGAIN);
    assert_false(f->stream.readable);
    assert_true(f->stream.writable);
}

static void test_readable_again_with_new_bytes(void **state)
{
    struct fixture *f = *state;
    watch(f);
    assert_fails(take(f, 1), EAGAIN);
    peer_send(f, "abc");
    await_ready(f);
    assert_true(f->stream.readable);
    assert_false(f->stream.hangup);
    assert_reads(f, "abc");
}

static void test_full_count_leaves_readable(void **state)
{
    struct fixture *f = *state;
    peer_send(f, "abcd");
    watch(f);
    assert_int_equal(take(f, 2), 2);
    assert_true(f->stream.readable);
    assert_int_equal(take(f, 2), 2);
    assert_true(f->stream.readable);
    assert_fails(take(f, 2), EAGAIN);
    assert_false(f->stream.readable);
}

static void test_short_count_clears_readable(void **state)
{
    struct fixture *f = *state;
    peer_send(f, "abc");
    watch(f);
    assert_reads(f, "abc");
    assert_false(f->stream.readable);
    peer_send(f, "d");
    await_ready(f);
    assert_true(f->stream.readable);
    assert_reads(f, "d");
}

/* The EOF arrived together with the bytes, and there is no second edge for it. */
static void test_eof_right_behind_data(void **state)
{
    struct fixture *f = *state;
    peer_send(f, "abc");
    assert_int_equal(shutdown(f->peer, SHUT_WR), 0);
    watch(f);
    assert_true(f->stream.hangup);
    assert_reads(f, "abc");
    assert_true(f->stream.readable);
    assert_int_equal(take(f, 1), 0);
}

/* The EOF arrived after the event and before the short read: it has its own event. */
static void test_eof_between_event_and_read(void **state)
{
    struct fixture *f = *state;
    peer_send(f, "abc");
    watch(f);
    assert_false(f->stream.hangup);
    assert_int_equal(shutdown(f->peer, SHUT_WR), 0);
    assert_reads(f, "abc");
    assert_false(f->stream.readable);
    await_ready(f);
    assert_true(f->stream.readable && f->stream.hangup);
    assert_int_equal(take(f, 1), 0);
}

static void test_reset_right_behind_data(void **state)
{
    struct fixture *f = *state;
    peer_send(f, "abc");
    peer_reset(f);
    watch(f);
    assert_true(f->stream.hangup);
    assert_reads(f, "abc");
    assert_true(f->stream.readable);
    assert_fails(take(f, 1), ECONNRESET);
    assert_false(f->stream.readable);
}

static void test_reset_between_event_and_read(void **state)
{
    struct fixture *f = *state;
    peer_send(f, "abc");
    watch(f);
    peer_reset(f);
    assert_reads(f, "abc");
    await_ready(f);
    assert_true(f->stream.readable && f->stream.writable && f->stream.hangup);
    assert_fails(take(f, 1), ECONNRESET);
}

/* recv stops at the mark that urgent data leaves, though more follows it. */
static void test_short_count_at_urgent_data(void **state)
{
    struct fixture *f = *state;
    peer_send(f, "abc");
    assert_int_equal(send(f->peer, "!", 1, MSG_OOB), 1);
    peer_send(f, "def");
    watch(f);
    size_t n = 0;
    while (f->stream.readable) {
        ssize_t got = stream_read(&f->stream, f->buffer + n, sizeof(f->buffer) - n);
        if (got > 0)
            n += (size_t)got;
    }
    f->buffer[n] = '\0';
    assert_non_null(strstr(f->buffer, "def"));
}

/* recvmsg stops after the bytes that a descriptor arrived with, though there are more: no event
 * reports that. The descriptor is discarded. */
static void test_short_count_behind_a_passed_descriptor(void **state)
{
    struct fixture *f = *state;
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    char text[] = "abc";
    struct iovec part = {.iov_base = text, .iov_len = 3};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    stream_close(&f->stream);
    stream_init(&f->stream, fds[0]);
    f->stream.local = true;
    control.header = (struct cmsghdr){
        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
    memcpy(CMSG_DATA(&control.header), &fds[1], sizeof(int));
    assert_int_equal(sendmsg(fds[1], &message, 0), 3);
    assert_int_equal(send(fds[1], "def", 3, 0), 3);
    int before = sockets_count();
    assert_reads(f, "abc");
    assert_true(f->stream.readable);
    assert_reads(f, "def");
    assert_false(f->stream.readable);
    assert_int_equal(sockets_count(), before);
    close(fds[1]);
}

static void test_pause_read(void **state)
{
    struct fixture *f = *state;
    peer_send(f, "abc");
    watch(f);
    assert_true(f->stream.readable);
    stream_pause_read(&f->stream);
    unsigned before = f->calls;
    for (int i = 0; i < 10; i++) {
        peer_send(f, "def");
        iterate(f);
    }
    assert_int_equal(f->calls, before);
    assert_true(f->stream.readable);
    /* Bytes that arrived meanwhile are reported as soon as reading resumes. */
    assert_int_equal(take(f, 1), 1);
    await_ready(f);
    assert_int_equal(take(f, sizeof(f->buffer)), 32);
    assert_false(f->stream.readable);
    peer_send(f, "x");
    await_ready(f);
    assert_reads(f, "x");
}

/* That it is writable, if that is waited for, and the end, are reported all the same, without the
 * bytes. */
static void test_pause_is_for_bytes_alone(void **state)
{
    struct fixture *f = *state;
    f->stream.writable = false;
    peer_send(f, "abc");
    watch(f);
    stream_pause_read(&f->stream);
    iterate(f);
    assert_true(f->stream.writable);
    unsigned before = f->calls;
    peer_send(f, "def");
    iterate(f);
    assert_int_equal(f->calls, before);
    assert_int_equal(shutdown(f->peer, SHUT_WR), 0);
    await_ready(f);
    assert_true(f->stream.hangup);
    assert_reads(f, "abcdef");
    assert_int_equal(take(f, 1), 0);
}

/* No event would resume a paused stream with nothing to read. */
static void test_drained_stream_is_not_paused(void **state)
{
    struct fixture *f = *state;
    stream_pause_read(&f->stream); /* not watched */
    watch(f);
    assert_fails(take(f, 1), EAGAIN);
    stream_pause_read(&f->stream);
    peer_send(f, "abc");
    await_ready(f);
    stream_pause_read(&f->stream);
    stream_unwatch(&f->stream);
    watch(f);
    peer_send(f, "def");
    await_ready(f);
    assert_reads(f, "abcdef");
}

static void test_peek_ends_a_pause(void **state)
{
    struct fixture *f = *state;
    watch(f);
    stream_pause_read(&f->stream); /* readable, as far as is known */
    assert_int_equal(stream_peek(&f->stream), PEEK_QUIET);
    peer_send(f, "abc");
    await_ready(f);
}

static void test_urgent_data_while_dozing(void **state)
{
    struct fixture *f = *state;
    peer_send(f, "abc");
    watch(f);
    stream_pause_read(&f->stream);
    unsigned before = f->calls;
    assert_int_equal(send(f->peer, "!", 1, MSG_OOB), 1);
    iterate(f);
    assert_int_equal(f->calls, before);
    assert_int_equal(take(f, 1), 1);
    await_ready(f);
    assert_true(f->stream.urgent);
}

static void test_interrupted_calls_are_repeated(void **state)
{
    struct fixture *f = *state;
    peer_send(f, "abc");
    watch(f);
    interruptions = 2;
    assert_reads(f, "abc");
    interruptions = 2;
    assert_int_equal(stream_write(&f->stream, "x", 1), 1);
    char x = 'x', y = 'y';
    const struct iovec parts[] = {{&x, 1}, {&y, 1}};
    interruptions = 2;
    assert_int_equal(stream_writev(&f->stream, parts, ARRAY_LEN(parts)), 2);
    interruptions = 2;
    assert_int_equal(stream_peek(&f->stream), PEEK_QUIET);
    assert_int_equal(interruptions, 0);
}

/* Writing */

/* Writes until nothing more fits; returns how much did. */
static size_t fill(struct fixture *f)
{
    static const char block[64 * 1024];
    size_t sum = 0;
    while (f->stream.writable) {
        ssize_t n = stream_write(&f->stream, block, sizeof(block));
        if (n < 0)
            assert_int_equal(errno, EAGAIN);
        else
            sum += (size_t)n;
    }
    return sum;
}

static void test_writable_again_when_the_peer_has_read(void **state)
{
    struct fixture *f = *state;
    static char block[64 * 1024];
    watch(f);
    size_t left = fill(f);
    assert_true(left > 0);
    assert_fails(stream_write(&f->stream, "x", 1), EAGAIN);
    assert_false(f->stream.writable);
    iterate(f);
    assert_false(f->stream.writable);
    while (left > 0) {
        ssize_t n = read(f->peer, block, sizeof(block));
        assert_true(n > 0);
        left -= (size_t)n;
    }
    await_ready(f);
    assert_true(f->stream.writable);
}

/* As long as it is writable no handler is called. */
static void test_writable_is_no_event_until_it_is_missed(void **state)
{
    struct fixture *f = *state;
    static char block[64 * 1024];
    watch(f);
    assert_int_equal(stream_write(&f->stream, "x", 1), 1);
    iterate(f);
    assert_int_equal(f->calls, 0);
    fill(f);
    iterate(f);
    assert_int_equal(f->calls, 0);
    while (f->calls == 0) {
        assert_true(recv(f->peer, block, sizeof(block), MSG_DONTWAIT) > 0);
        iterate(f);
    }
    assert_true(f->stream.writable);
}

/* The stream was full before it was watched. */
static void test_writable_is_reported_to_a_late_watcher(void **state)
{
    struct fixture *f = *state;
    static char block[64 * 1024];
    fill(f);
    watch(f);
    assert_int_equal(f->calls, 0);
    while (!f->stream.writable) {
        assert_true(recv(f->peer, block, sizeof(block), MSG_DONTWAIT) > 0);
        iterate(f);
    }
    assert_int_equal(f->calls, 1);
}

static void test_drained_within_the_iteration(void **state)
{
    struct fixture *f = *state;
    watch(f);
    assert_false(stream_is_drained(&f->stream));
    peer_send(f, "abcd");
    await_ready(f);
    assert_int_equal(take(f, 2), 2);
    assert_false(stream_is_drained(&f->stream)); /* a full count */
    assert_int_equal(take(f, 4), 2);
    assert_true(stream_is_drained(&f->stream));
    iterate(f);
    assert_false(stream_is_drained(&f->stream)); /* things may have changed */
    peer_send(f, "e");
    assert_int_equal(shutdown(f->peer, SHUT_WR), 0);
    await_ready(f);
    assert_int_equal(take(f, 4), 1);
    assert_false(stream_is_drained(&f->stream)); /* the end follows */
}

static void test_short_write_clears_writable(void **state)
{
    struct fixture *f = *state;
    static char huge[32 * 1024 * 1024]; /* more than the kernel's buffers hold */
    const struct iovec parts[] = {{huge, sizeof(huge)}, {huge, 1}};
    ssize_t n = stream_write(&f->stream, huge, sizeof(huge));
    assert_in_range(n, 1, sizeof(huge) - 1);
    assert_false(f->stream.writable);
    for (size_t left = (size_t)n; left > 0;) {
        n = recv(f->peer, huge, left, 0);
        assert_true(n > 0);
        left -= (size_t)n;
    }
    f->stream.writable = true;
    n = stream_writev(&f->stream, parts, ARRAY_LEN(parts));
    assert_in_range(n, 1, sizeof(huge) - 1);
    assert_false(f->stream.writable);
}

static void test_writev_joins_its_parts(void **state)
{
    struct fixture *f = *state;
    char name[] = "GET ", empty[] = "", value[] = "/";
    const struct iovec parts[] = {{name, 4}, {empty, 0}, {value, 1}};
    assert_int_equal(stream_writev(&f->stream, parts, ARRAY_LEN(parts)), 5);
    assert_true(f->stream.writable);
    assert_int_equal(recv(f->peer, f->buffer, sizeof(f->buffer), 0), 5);
    assert_memory_equal(f->buffer, "GET /", 5);
}

/* Without a signal, which would end this program. */
static void test_write_to_a_broken_connection(void **state)
{
    struct fixture *f = *state;
    peer_reset(f);
    watch(f);
    assert_true(f->stream.hangup);
    assert_fails(stream_write(&f->stream, "x", 1), ECONNRESET);
    assert_fails(stream_write(&f->stream, "x", 1), EPIPE);
    assert_false(f->stream.writable);
}

/* Checking */

static void test_peek_takes_nothing(void **state)
{
    struct fixture *f = *state;
    watch(f);
    assert_int_equal(stream_peek(&f->stream), PEEK_QUIET);
    peer_send(f, "abc");
    assert_int_equal(shutdown(f->peer, SHUT_WR), 0);
    await_ready(f);
    assert_int_equal(stream_peek(&f->stream), PEEK_DATA);
    assert_int_equal(stream_peek(&f->stream), PEEK_DATA);
    assert_reads(f, "abc");
    assert_int_equal(stream_peek(&f->stream), PEEK_EOF);
    assert_int_equal(take(f, 1), 0);
}

static void test_peek_finds_a_reset(void **state)
{
    struct fixture *f = *state;
    peer_reset(f);
    watch(f);
    errno = 0;
    assert_int_equal(stream_peek(&f->stream), PEEK_ERROR);
    assert_int_equal(errno, ECONNRESET);
}

static void test_error_is_reported_and_cleared(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(stream_error(&f->stream), 0);
    peer_reset(f);
    watch(f);
    assert_int_equal(stream_error(&f->stream), ECONNRESET);
    assert_int_equal(stream_error(&f->stream), 0);
    int fd = f->stream.fd;
    f->stream.fd = -1;
    assert_int_equal(stream_error(&f->stream), EBADF);
    f->stream.fd = fd;
}

/* Ending */

static void test_end_write_is_half_a_close(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(stream_write(&f->stream, "abc", 3), 3);
    assert_int_equal(stream_end_write(&f->stream), 0);
    assert_int_equal(recv(f->peer, f->buffer, sizeof(f->buffer), MSG_WAITALL), 3);
    assert_int_equal(recv(f->peer, f->buffer, sizeof(f->buffer), 0), 0);
    peer_send(f, "def");
    watch(f);
    assert_reads(f, "def");
    peer_reset(f);
    await_ready(f);
    assert_fails(stream_end_write(&f->stream), ENOTCONN);
}

/* What has been written, including an end, reaches the peer's system sooner or later. */
static void await_delivery(struct fixture *f)
{
    while (!stream_is_delivered(&f->stream))
        sched_yield();
}

static void test_delivered_when_the_peer_has_it(void **state)
{
    struct fixture *f = *state;
    static char block[64 * 1024];
    assert_true(stream_is_delivered(&f->stream));
    size_t left = fill(f); /* more than the peer's system accepts */
    assert_false(stream_is_delivered(&f->stream));
    while (left > 0) {
        ssize_t n = read(f->peer, block, sizeof(block));
        assert_true(n > 0);
        left -= (size_t)n;
    }
    await_delivery(f);
    assert_int_equal(stream_end_write(&f->stream), 0);
    await_delivery(f);
    stream_close(&f->stream);
    assert_false(stream_is_delivered(&f->stream));
}

static void test_close_sends_eof(void **state)
{
    struct fixture *f = *state;
    int fd = f->stream.fd;
    watch(f);
    stream_close(&f->stream);
    assert_int_equal(f->stream.fd, -1);
    assert_false(stream_is_watched(&f->stream));
    assert_fails(fcntl(fd, F_GETFD), EBADF);
    assert_int_equal(recv(f->peer, f->buffer, 1, 0), 0);
    stream_close(&f->stream);
    stream_reset(&f->stream);
}

static void test_reset_drops_what_was_not_sent(void **state)
{
    struct fixture *f = *state;
    watch(f);
    fill(f);
    stream_reset(&f->stream);
    assert_int_equal(f->stream.fd, -1);
    ssize_t n;
    do
        n = recv(f->peer, f->buffer, sizeof(f->buffer), 0);
    while (n > 0);
    assert_fails(n, ECONNRESET);
}

/* Watching and handing on */

static void test_watching_twice_is_harmless(void **state)
{
    struct fixture *f = *state;
    watch(f);
    assert_int_equal(stream_watch(&f->stream, f->loop), 0);
    assert_true(stream_is_watched(&f->stream));
    stream_unwatch(&f->stream);
    stream_unwatch(&f->stream);
    assert_false(stream_is_watched(&f->stream));
}

static void test_watch_fails_on_what_is_no_socket(void **state)
{
    struct fixture *f = *state;
    struct stream stream;
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    stream_init(&stream, fd);
    assert_fails(stream_watch(&stream, f->loop), EPERM);
    assert_false(stream_is_watched(&stream));
    stream_close(&stream);
    assert_fails(fcntl(fd, F_GETFD), EBADF);
}

static void test_unwatched_stream_is_left_alone(void **state)
{
    struct fixture *f = *state;
    watch(f);
    assert_fails(take(f, 1), EAGAIN);
    stream_unwatch(&f->stream);
    peer_send(f, "abc");
    iterate(f);
    assert_int_equal(f->calls, 0);
    assert_false(f->stream.readable);
    watch(f);
    assert_true(f->stream.readable);
    assert_reads(f, "abc");
}

/* What arrived while it was not watched is in the flags for the next handler. */
static void test_flags_are_kept_without_a_handler(void **state)
{
    struct fixture *f = *state;
    watch(f);
    assert_fails(take(f, 1), EAGAIN);
    stream_set_handler(&f->stream, NULL);
    peer_send(f, "abc");
    assert_int_equal(shutdown(f->peer, SHUT_WR), 0);
    while (!f->stream.hangup)
        loop_iterate(f->loop, -1);
    assert_int_equal(f->calls, 0);
    assert_true(f->stream.readable);
}

#define STREAM_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STREAM_TEST(test_starts_ready),
        STREAM_TEST(test_what_each_event_means),
        STREAM_TEST(test_readable_again_with_new_bytes),
        STREAM_TEST(test_full_count_leaves_readable),
        STREAM_TEST(test_short_count_clears_readable),
        STREAM_TEST(test_eof_right_behind_data),
        STREAM_TEST(test_eof_between_event_and_read),
        STREAM_TEST(test_reset_right_behind_data),
        STREAM_TEST(test_reset_between_event_and_read),
        STREAM_TEST(test_short_count_at_urgent_data),
        STREAM_TEST(test_short_count_behind_a_passed_descriptor),
        STREAM_TEST(test_interrupted_calls_are_repeated),
        STREAM_TEST(test_pause_read),
        STREAM_TEST(test_pause_is_for_bytes_alone),
        STREAM_TEST(test_drained_stream_is_not_paused),
        STREAM_TEST(test_peek_ends_a_pause),
        STREAM_TEST(test_urgent_data_while_dozing),
        STREAM_TEST(test_writable_again_when_the_peer_has_read),
        STREAM_TEST(test_writable_is_no_event_until_it_is_missed),
        STREAM_TEST(test_writable_is_reported_to_a_late_watcher),
        STREAM_TEST(test_drained_within_the_iteration),
        STREAM_TEST(test_short_write_clears_writable),
        STREAM_TEST(test_writev_joins_its_parts),
        STREAM_TEST(test_write_to_a_broken_connection),
        STREAM_TEST(test_peek_takes_nothing),
        STREAM_TEST(test_peek_finds_a_reset),
        STREAM_TEST(test_error_is_reported_and_cleared),
        STREAM_TEST(test_end_write_is_half_a_close),
        STREAM_TEST(test_delivered_when_the_peer_has_it),
        STREAM_TEST(test_close_sends_eof),
        STREAM_TEST(test_reset_drops_what_was_not_sent),
        STREAM_TEST(test_watching_twice_is_harmless),
        STREAM_TEST(test_watch_fails_on_what_is_no_socket),
        STREAM_TEST(test_unwatched_stream_is_left_alone),
        STREAM_TEST(test_flags_are_kept_without_a_handler),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
