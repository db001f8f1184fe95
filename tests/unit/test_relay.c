/* SPDX-License-Identifier: ISC */
/* One direction of a session: back-pressure, what is kept, every result, and that no byte is lost
 * or comes out of order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/relay.h"

/* Ends a test that waits forever. */
#define WAIT_MAX 60

#define SCRATCH (64 * 1024)

/* Many pieces, and much more than the kernel's buffers hold. */
#define PLENTY (8 * 1024 * 1024)

/* Replaces the C library's, so that memory can run out. */
static bool memory_is_short;
static size_t largest;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

void *__wrap_malloc(size_t size)
{
    if (memory_is_short) {
        errno = ENOMEM;
        return NULL;
    }
    if (size > largest)
        largest = size;
    return __real_malloc(size);
}

/* source -> from -> relay -> to -> sink */
struct fixture {
    struct loop *loop;
    struct stream from, to;
    int source, sink; /* non-blocking; -1: closed */
    struct relay relay;
    struct scratch scratch;
    char memory[SCRATCH];
    uint64_t sent, received;
};

static void open_pair(struct stream *stream, int *far, struct loop *loop)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    stream_init(stream, fds[0]);
    *far = fds[1];
    assert_int_equal(stream_watch(stream, loop), 0);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    alarm(WAIT_MAX);
    f->loop = loop_new();
    assert_non_null(f->loop);
    open_pair(&f->from, &f->source, f->loop);
    open_pair(&f->to, &f->sink, f->loop);
    f->scratch = (struct scratch){f->memory, sizeof(f->memory)};
    loop_iterate(f->loop, 0);
    *state = f;
    return 0;
}

static void close_far(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    memory_is_short = false;
    relay_clear(&f->relay);
    stream_close(&f->from);
    stream_close(&f->to);
    close_far(&f->source);
    close_far(&f->sink);
    loop_free(f->loop);
    free(f);
    return 0;
}

/* The stream of bytes that all tests send: the position determines the byte. */
static char byte_at(uint64_t position)
{
    return (char)(position * 31 + position / 251);
}

/* Sends at most `size` bytes of it; returns how many the kernel took. */
static size_t send_some(struct fixture *f, size_t size)
{
    static char block[64 * 1024];
    if (size > sizeof(block))
        size = sizeof(block);
    for (size_t i = 0; i < size; i++)
        block[i] = byte_at(f->sent + i);
    ssize_t n = send(f->source, block, size, MSG_NOSIGNAL);
    if (n < 0) {
        assert_int_equal(errno, EAGAIN);
        return 0;
    }
    f->sent += (size_t)n;
    return (size_t)n;
}

static void send_all(struct fixture *f, size_t size)
{
    assert_int_equal(send_some(f, size), size);
}

/* Takes at most `size` bytes at the sink and checks each; returns how many there were. */
static size_t receive_some(struct fixture *f, size_t size)
{
    static char block[64 * 1024];
    if (size > sizeof(block))
        size = sizeof(block);
    ssize_t n = recv(f->sink, block, size, 0);
    if (n < 0) {
        assert_int_equal(errno, EAGAIN);
        return 0;
    }
    for (ssize_t i = 0; i < n; i++) {
        if (block[i] != byte_at(f->received + (uint64_t)i))
            fail_msg("byte %llu is wrong", (unsigned long long)(f->received + (uint64_t)i));
    }
    f->received += (size_t)n;
    return (size_t)n;
}

static void receive_all(struct fixture *f)
{
    while (receive_some(f, SIZE_MAX) > 0)
        ;
}

/* Moves after the loop has reported what is ready; claims what holds after every move. */
static enum relay_result move(struct fixture *f)
{
    loop_iterate(f->loop, 0);
    enum relay_result result = relay_move(&f->relay, &f->from, &f->to, f->scratch, NULL);
    const struct relay *relay = &f->relay;
    size_t kept = buffer_length(&relay->kept);
    assert_int_equal(relay_keeps(relay), kept > 0);
    assert_true(kept <= f->scratch.size);
    assert_true(relay->taken == relay->moved + kept);
    assert_true(relay->taken <= f->sent);
    return result;
}

/* Fills the way to the sink, until something is kept. */
static void fill(struct fixture *f)
{
    while (!relay_keeps(&f->relay)) {
        send_some(f, SCRATCH);
        move(f);
        assert_true(f->sent < PLENTY);
    }
}

/* Leaves so little room on the way to the sink that kept bytes, too, are moved in pieces. */
static void narrow(struct fixture *f)
{
    const int room = SCRATCH / 4;
    assert_int_equal(setsockopt(f->to.fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)), 0);
}

static void test_nothing_to_move(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(move(f), RELAY_BLOCKED);
    assert_false(f->from.readable);
    assert_int_equal(f->relay.taken, 0);
}

static void test_moves_what_there_is(void **state)
{
    struct fixture *f = *state;
    send_all(f, 1000);
    assert_int_equal(move(f), RELAY_BLOCKED);
    assert_int_equal(f->relay.moved, 1000);
    receive_all(f);
    assert_int_equal(f->received, 1000);
    assert_false(relay_keeps(&f->relay));
}

static void test_uses_no_memory_while_all_is_taken(void **state)
{
    struct fixture *f = *state;
    memory_is_short = true;
    for (int i = 0; i < 10; i++) {
        send_all(f, 3000);
        assert_int_equal(move(f), RELAY_BLOCKED);
        receive_all(f);
    }
    assert_int_equal(f->received, 30000);
}

static void test_end_comes_after_the_bytes(void **state)
{
    struct fixture *f = *state;
    send_all(f, 10);
    close_far(&f->source);
    assert_int_equal(move(f), RELAY_ENDED);
    assert_int_equal(f->relay.moved, 10);
    receive_all(f);
    assert_int_equal(f->received, 10);
    assert_int_equal(relay_move(&f->relay, &f->from, &f->to, f->scratch, NULL), RELAY_ENDED);
}

static void test_reads_of_a_piece_are_limited(void **state)
{
    struct fixture *f = *state;
    f->scratch.size = 10;
    send_all(f, 1000);
    assert_int_equal(move(f), RELAY_MORE);
    assert_int_equal(f->relay.taken % 10, 0);
    assert_in_range(f->relay.taken, 10, 500);
    int moves = 1;
    while (move(f) == RELAY_MORE)
        moves++;
    assert_true(moves > 1);
    receive_all(f);
    assert_int_equal(f->received, 1000);
}

static void test_nothing_is_read_while_anything_is_kept(void **state)
{
    struct fixture *f = *state;
    fill(f);
    assert_int_equal(send_some(f, SCRATCH), SCRATCH);
    uint64_t taken = f->relay.taken;
    uint64_t moved = f->relay.moved;
    for (int i = 0; i < 3; i++)
        assert_int_equal(move(f), RELAY_BLOCKED);
    assert_true(f->relay.taken == taken);
    assert_true(f->relay.moved == moved);
    assert_true(f->from.readable);
}

static void test_nothing_is_read_that_cannot_be_written(void **state)
{
    struct fixture *f = *state;
    send_all(f, 100);
    loop_iterate(f->loop, 0);
    f->to.writable = false;
    assert_int_equal(relay_move(&f->relay, &f->from, &f->to, f->scratch, NULL), RELAY_BLOCKED);
    assert_int_equal(f->relay.taken, 0);
    assert_true(f->from.readable);
    f->to.writable = true;
    assert_int_equal(move(f), RELAY_BLOCKED);
    assert_int_equal(f->relay.moved, 100);
}

static void test_nothing_is_read_before_it_is_ready(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(move(f), RELAY_BLOCKED);
    send_all(f, 100);
    assert_int_equal(relay_move(&f->relay, &f->from, &f->to, f->scratch, NULL), RELAY_BLOCKED);
    assert_int_equal(f->relay.taken, 0);
}

/* Readiness is a hint: what does not fit yet is not a failure. */
static void test_false_alarms(void **state)
{
    struct fixture *f = *state;
    f->from.readable = true;
    assert_int_equal(move(f), RELAY_BLOCKED);
    fill(f);
    f->to.writable = true;
    assert_int_equal(relay_move(&f->relay, &f->from, &f->to, f->scratch, NULL), RELAY_BLOCKED);
    assert_false(f->to.writable);
}

static void test_short_writes_lose_nothing(void **state)
{
    struct fixture *f = *state;
    bool was_short = false;
    narrow(f);
    while (f->received < PLENTY) {
        uint64_t taken = f->relay.taken, moved = f->relay.moved;
        send_some(f, SCRATCH);
        move(f);
        was_short |= relay_keeps(&f->relay) && f->relay.taken > taken && f->relay.moved > moved;
        receive_some(f, SCRATCH / 2);
    }
    assert_true(was_short);
}

/* Bytes that arrive after the EOF. */
static void test_end_is_final(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(shutdown(f->source, SHUT_WR), 0);
    assert_int_equal(move(f), RELAY_ENDED);
    assert_int_equal(stream_write(&f->from, "x", 1), 1);
    close_far(&f->source); /* a reset */
    assert_int_equal(move(f), RELAY_ENDED);
}

static void test_kept_bytes_go_first(void **state)
{
    struct fixture *f = *state;
    narrow(f);
    fill(f);
    send_all(f, SCRATCH);
    while (f->received < f->sent) {
        receive_all(f);
        move(f);
    }
    assert_false(relay_keeps(&f->relay));
    assert_true(f->relay.moved == f->sent);
}

/* A stream that stays writable is written to without waiting for an event. */
static void test_end_comes_after_the_kept_bytes(void **state)
{
    struct fixture *f = *state;
    narrow(f);
    fill(f);
    close_far(&f->source);
    while (f->received < f->sent) {
        enum relay_result result = move(f);
        assert_int_equal(result == RELAY_ENDED, f->relay.moved == f->sent);
        assert_int_equal(f->relay.from_ended, result == RELAY_ENDED);
        receive_some(f, 10000);
    }
    assert_int_equal(move(f), RELAY_ENDED);
    assert_false(relay_keeps(&f->relay));
}

static void test_read_fails(void **state)
{
    struct fixture *f = *state;
    /* An AF_UNIX socket closed with bytes unread resets its peer. */
    assert_int_equal(stream_write(&f->from, "x", 1), 1);
    close_far(&f->source);
    errno = 0;
    assert_int_equal(move(f), RELAY_READ_FAILED);
    assert_int_equal(errno, ECONNRESET);
}

static void test_write_fails(void **state)
{
    struct fixture *f = *state;
    send_all(f, 100);
    close_far(&f->sink);
    errno = 0;
    enum relay_result result = relay_move(&f->relay, &f->from, &f->to, f->scratch, NULL);
    assert_int_equal(errno, EPIPE);
    assert_int_equal(result, RELAY_WRITE_FAILED);
}

static void test_write_of_kept_bytes_fails(void **state)
{
    struct fixture *f = *state;
    fill(f);
    close_far(&f->sink);
    assert_int_equal(move(f), RELAY_WRITE_FAILED);
}

static void test_no_memory_to_own(void **state)
{
    struct fixture *f = *state;
    enum relay_result result;
    memory_is_short = true;
    do {
        send_some(f, SCRATCH);
        loop_iterate(f->loop, 0);
        result = relay_move(&f->relay, &f->from, &f->to, f->scratch, NULL);
    } while (result == RELAY_BLOCKED || result == RELAY_MORE);
    assert_int_equal(result, RELAY_NO_MEMORY);
    assert_false(relay_keeps(&f->relay));
}

static void test_put_bytes_go_before_those_to_be_read(void **state)
{
    struct fixture *f = *state;
    char text[16];
    assert_int_equal(relay_put(&f->relay, NULL, 0), 0);
    assert_false(relay_keeps(&f->relay));
    assert_int_equal(write(f->source, "third", 5), 5);
    assert_int_equal(relay_put(&f->relay, "first", 5), 0);
    assert_int_equal(relay_put(&f->relay, "second", 6), 0);
    assert_true(relay_keeps(&f->relay));
    loop_iterate(f->loop, 0);
    assert_int_equal(relay_move(&f->relay, &f->from, &f->to, f->scratch, NULL), RELAY_BLOCKED);
    assert_int_equal(f->relay.taken, 5);
    assert_int_equal(f->relay.moved, 16);
    assert_int_equal(recv(f->sink, text, sizeof(text), 0), 16);
    assert_memory_equal(text, "firstsecondthird", 16);
}

static void test_no_memory_to_put(void **state)
{
    struct fixture *f = *state;
    memory_is_short = true;
    assert_int_equal(relay_put(&f->relay, "first", 5), -1);
    assert_int_equal(errno, ENOMEM);
    assert_false(relay_keeps(&f->relay));
}

static void test_clear_drops_what_is_kept(void **state)
{
    struct fixture *f = *state;
    relay_clear(&f->relay);
    fill(f);
    relay_clear(&f->relay);
    assert_false(relay_keeps(&f->relay));
    relay_clear(&f->relay);
}

/* The bytes are no longer needed: they are read and discarded, though the far side is full. */
static void test_throws_away(void **state)
{
    struct fixture *f = *state;
    fill(f);
    assert_false(f->to.writable);
    uint64_t moved = f->relay.moved;
    f->relay.sink = true;
    send_some(f, SCRATCH);
    loop_iterate(f->loop, 0);
    while (relay_move(&f->relay, &f->from, &f->to, f->scratch, NULL) == RELAY_MORE)
        loop_iterate(f->loop, 0);
    assert_true(f->relay.taken == f->sent);
    assert_true(f->relay.moved == moved);
    assert_false(relay_keeps(&f->relay));
    close_far(&f->source);
    loop_iterate(f->loop, 0);
    assert_int_equal(relay_move(&f->relay, &f->from, &f->to, f->scratch, NULL), RELAY_ENDED);
}

/* A source and a sink of random speed, the sink the slower one; readiness comes from the loop
 * alone, as in a session, so that a lost edge stops everything. */
static void transfer(struct fixture *f, unsigned seed)
{
    enum relay_result result = RELAY_BLOCKED;
    f->scratch.size = 1 + (size_t)rand_r(&seed) % SCRATCH;
    size_t pace = 1 + (size_t)rand_r(&seed) % (64 * 1024);
    unsigned idle = 0;
    if (seed % 2 == 0)
        narrow(f);
    largest = 0;
    while (result != RELAY_ENDED || f->received < f->sent) {
        size_t progress = 0;
        if (f->source >= 0 && f->sent < PLENTY / 8)
            progress += send_some(f, 1 + (size_t)rand_r(&seed) % (2 * pace));
        else
            close_far(&f->source);
        if (result != RELAY_ENDED) {
            uint64_t before = f->relay.taken + f->relay.moved;
            result = move(f);
            assert_true(result <= RELAY_ENDED);
            progress += f->relay.taken + f->relay.moved != before;
        }
        progress += receive_some(f, 1 + (size_t)rand_r(&seed) % pace);
        idle = progress > 0 ? 0 : idle + 1;
        if (idle > 100)
            fail_msg("stuck after %llu bytes", (unsigned long long)f->received);
    }
    assert_true(f->relay.moved == f->sent);
    assert_true(largest <= f->scratch.size);
}

static void test_random_transfers(void **state)
{
    for (unsigned seed = 1; seed <= 20; seed++) {
        transfer(*state, seed);
        teardown(state);
        setup(state);
    }
}

static void test_limit(void **state)
{
    struct fixture *f = *state;
    char rest[16];
    f->relay.limit = 1000;
    send_all(f, 600);
    assert_int_equal(move(f), RELAY_BLOCKED);
    send_all(f, 410);
    assert_int_equal(move(f), RELAY_ENDED);
    assert_int_equal(f->relay.moved, 1000);
    assert_false(f->relay.from_ended);
    receive_all(f);
    assert_int_equal(f->received, 1000);
    /* What follows it is left unread. */
    assert_int_equal(move(f), RELAY_ENDED);
    assert_true(f->from.readable);
    assert_int_equal(stream_read(&f->from, rest, sizeof(rest)), 10);
}

static void test_limit_is_reached_before_all_is_written(void **state)
{
    struct fixture *f = *state;
    narrow(f);
    f->relay.limit = PLENTY / 4;
    while (f->relay.taken < f->relay.limit) {
        send_some(f, SCRATCH);
        move(f);
        assert_true(f->relay.taken <= f->relay.limit);
        if (f->relay.taken < f->relay.limit)
            receive_some(f, SCRATCH);
    }
    while (f->received < f->relay.limit) {
        enum relay_result result = relay_flush(&f->relay, &f->to);
        assert_int_equal(result == RELAY_ENDED, !relay_keeps(&f->relay));
        receive_all(f);
        loop_iterate(f->loop, 0);
    }
    assert_int_equal(relay_flush(&f->relay, &f->to), RELAY_ENDED);
    assert_true(f->relay.moved == f->relay.limit);
}

#define RELAY_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RELAY_TEST(test_nothing_to_move),
        RELAY_TEST(test_moves_what_there_is),
        RELAY_TEST(test_uses_no_memory_while_all_is_taken),
        RELAY_TEST(test_end_comes_after_the_bytes),
        RELAY_TEST(test_reads_of_a_piece_are_limited),
        RELAY_TEST(test_nothing_is_read_while_anything_is_kept),
        RELAY_TEST(test_nothing_is_read_that_cannot_be_written),
        RELAY_TEST(test_nothing_is_read_before_it_is_ready),
        RELAY_TEST(test_false_alarms),
        RELAY_TEST(test_short_writes_lose_nothing),
        RELAY_TEST(test_end_is_final),
        RELAY_TEST(test_kept_bytes_go_first),
        RELAY_TEST(test_end_comes_after_the_kept_bytes),
        RELAY_TEST(test_read_fails),
        RELAY_TEST(test_write_fails),
        RELAY_TEST(test_write_of_kept_bytes_fails),
        RELAY_TEST(test_no_memory_to_own),
        RELAY_TEST(test_put_bytes_go_before_those_to_be_read),
        RELAY_TEST(test_no_memory_to_put),
        RELAY_TEST(test_clear_drops_what_is_kept),
        RELAY_TEST(test_throws_away),
        RELAY_TEST(test_limit),
        RELAY_TEST(test_limit_is_reached_before_all_is_written),
        RELAY_TEST(test_random_transfers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
