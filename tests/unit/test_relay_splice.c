/* SPDX-License-Identifier: ISC */
/* The fast path of a direction: when it is taken, when it is left, and that bytes, ends and errors
 * are those that copying would have shown. Over TCP. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/relay.h"
#include "support/sockets.h"

/* Ends a test that waits forever. */
#define WAIT_MAX 60

#define SCRATCH (64 * 1024)

/* What the far ends send and take at once, enough for the fast path. */
#define PLENTY (4 * RELAY_BULK)

/* source -> from -> relay -> to -> sink */
struct fixture {
    struct loop *loop;
    struct stream from, to;
    int source, sink; /* blocking; -1: closed */
    struct relay relay;
    struct scratch scratch;
    char memory[SCRATCH];
    struct pipes pipes;
    uint64_t sent, received;
};

static void open_pair(struct stream *stream, int *far, struct loop *loop)
{
    int near;
    sockets_connect(far, &near);
    stream_init(stream, near);
    assert_int_equal(stream_watch(stream, loop), 0);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    alarm(WAIT_MAX);
    signal(SIGPIPE, SIG_IGN);
    f->loop = loop_new();
    assert_non_null(f->loop);
    open_pair(&f->from, &f->source, f->loop);
    open_pair(&f->to, &f->sink, f->loop);
    f->scratch = (struct scratch){f->memory, sizeof(f->memory)};
    pipes_init(&f->pipes, PIPES_MAX);
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

static void reset_far(int *fd)
{
    const struct linger hard = {.l_onoff = 1, .l_linger = 0};
    assert_int_equal(setsockopt(*fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0);
    close_far(fd);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    relay_clear(&f->relay);
    assert_int_equal(f->pipes.count, f->pipes.idle_count);
    pipes_clear(&f->pipes);
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

/* Sends as much of `size` bytes as the kernel takes now. */
static void send_some(struct fixture *f, size_t size)
{
    static char block[64 * 1024];
    while (size > 0) {
        size_t part = size < sizeof(block) ? size : sizeof(block);
        for (size_t i = 0; i < part; i++)
            block[i] = byte_at(f->sent + i);
        ssize_t n = send(f->source, block, part, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0) {
            assert_int_equal(errno, EAGAIN);
            return;
        }
        f->sent += (size_t)n;
        size -= (size_t)n;
    }
}

/* Takes what has arrived at the sink, and checks it. */
static void receive_all(struct fixture *f)
{
    static char block[64 * 1024];
    ssize_t n;
    while ((n = recv(f->sink, block, sizeof(block), MSG_DONTWAIT)) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            if (block[i] != byte_at(f->received + (uint64_t)i))
                fail_msg("byte %llu is wrong", (unsigned long long)(f->received + (uint64_t)i));
        }
        f->received += (size_t)n;
    }
}

/* Moves after the loop has reported what is ready; claims what holds after every move. */
static enum relay_result move(struct fixture *f)
{
    loop_iterate(f->loop, 0);
    enum relay_result result = relay_move(&f->relay, &f->from, &f->to, f->scratch, &f->pipes);
    const struct relay *relay = &f->relay;
    size_t held = buffer_length(&relay->kept) + (relay->pipe != NULL ? relay->pipe->held : 0);
    assert_int_equal(relay_keeps(relay), held > 0);
    assert_true(relay->taken == relay->moved + held);
    assert_int_equal(f->pipes.count, f->pipes.idle_count + (relay->pipe != NULL));
    return result;
}

/* Brings all bytes sent so far to the sink. */
static void pass_on(struct fixture *f)
{
    while (f->received < f->sent) {
        assert_true(move(f) <= RELAY_ENDED);
        receive_all(f);
    }
}

/* Sends enough to be bulk, with a full socket for each move. */
static void be_bulk(struct fixture *f)
{
    for (uint64_t end = f->sent + PLENTY; f->sent < end || f->relay.run_length < RELAY_BULK;) {
        send_some(f, PLENTY);
        pass_on(f);
    }
}

/* Fills the way to the sink, until the pipe holds what no longer fits. */
static void block(struct fixture *f)
{
    be_bulk(f);
    while (f->relay.pipe == NULL) {
        f->relay.run_length = RELAY_BULK; /* not if little arrived in between */
        send_some(f, PLENTY);
        move(f);
        if (buffer_length(&f->relay.kept) > 0)
            pass_on(f);
    }
}

static void test_bulk_is_spliced(void **state)
{
    struct fixture *f = *state;
    be_bulk(f);
    assert_in_range(counter_get(&f->pipes.stats.spliced), RELAY_LITTLE, f->sent - RELAY_BULK);
    assert_int_equal(f->pipes.count, 1);
    assert_int_equal(f->pipes.idle_count, 1);
}

static void test_little_is_copied(void **state)
{
    struct fixture *f = *state;
    while (f->sent < 2 * PLENTY) {
        send_some(f, RELAY_LITTLE - 1);
        pass_on(f);
    }
    assert_true(counter_get(&f->pipes.stats.spliced) == 0);
    assert_int_equal(f->pipes.count, 0);
}

/* A sender that waits for its bytes to be taken brings no more than the socket holds. */
static void test_bulk_need_not_fill_every_read(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 20; i++) {
        send_some(f, SCRATCH + SCRATCH / 2);
        pass_on(f);
    }
    assert_true(counter_get(&f->pipes.stats.spliced) > 0);
}

static void test_goes_back_to_copying(void **state)
{
    struct fixture *f = *state;
    be_bulk(f);
    send_some(f, RELAY_LITTLE - 1);
    pass_on(f);
    uint64_t spliced = counter_get(&f->pipes.stats.spliced);
    for (int i = 0; i < 10; i++) {
        send_some(f, RELAY_LITTLE - 1);
        pass_on(f);
    }
    assert_true(counter_get(&f->pipes.stats.spliced) == spliced);
    be_bulk(f);
    assert_true(counter_get(&f->pipes.stats.spliced) > spliced);
}

static void test_without_pipes_all_is_copied(void **state)
{
    struct fixture *f = *state;
    f->pipes.limit = 0;
    while (f->sent < 4 * PLENTY) {
        send_some(f, PLENTY);
        pass_on(f);
    }
    assert_true(counter_get(&f->pipes.stats.spliced) == 0);
    assert_int_equal(f->pipes.count, 0);
}

/* The only pipe is in use elsewhere for a while. */
static void test_pipe_is_not_to_be_had_for_a_while(void **state)
{
    struct fixture *f = *state;
    f->pipes.limit = 1;
    be_bulk(f);
    struct pipe *pipe = pipes_take(&f->pipes);
    uint64_t spliced = counter_get(&f->pipes.stats.spliced);
    for (uint64_t end = f->sent + PLENTY; f->sent < end;) {
        send_some(f, PLENTY);
        while (f->received < f->sent) {
            loop_iterate(f->loop, 0);
            assert_true(relay_move(&f->relay, &f->from, &f->to, f->scratch, &f->pipes) <=
                        RELAY_ENDED);
            receive_all(f);
        }
    }
    assert_true(counter_get(&f->pipes.stats.spliced) == spliced);
    pipes_give(pipe);
    be_bulk(f);
    assert_true(counter_get(&f->pipes.stats.spliced) > spliced);
}

/* However much there is, others have their turn after a piece, of which the last splice may be a
 * pipe full. */
static void test_piece_is_limited(void **state)
{
    struct fixture *f = *state;
    enum relay_result result = RELAY_BLOCKED;
    be_bulk(f);
    struct pipe *pipe = pipes_take(&f->pipes); /* a small one */
    pipe->size = 64 * 1024;
    pipes_give(pipe);
    while (result != RELAY_MORE) {
        uint64_t taken = f->relay.taken;
        send_some(f, 8 * PLENTY);
        f->relay.run_length = RELAY_BULK;
        result = move(f);
        assert_true(f->relay.taken - taken < RELAY_PIECE + pipe->size);
        receive_all(f);
    }
    assert_true(f->from.readable);
    pass_on(f);
}

/* The same if bytes are copied, and if they are discarded. */
static void test_copied_piece_is_limited(void **state)
{
    struct fixture *f = *state;
    be_bulk(f);
    for (int sink = 0; sink < 2; sink++) {
        uint64_t taken = 0, before = 0;
        f->relay.sink = sink;
        while (taken < RELAY_PIECE) { /* until this much was there at once */
            send_some(f, 8 * PLENTY);
            loop_iterate(f->loop, 0);
            before = f->relay.taken;
            enum relay_result result = relay_move(&f->relay, &f->from, &f->to, f->scratch, NULL);
            taken = f->relay.taken - before;
            assert_true(taken <= RELAY_PIECE);
            assert_true(taken < RELAY_PIECE || result == RELAY_MORE || relay_keeps(&f->relay));
            receive_all(f);
        }
    }
}

static void test_nothing_is_read_while_the_pipe_holds(void **state)
{
    struct fixture *f = *state;
    block(f);
    send_some(f, SCRATCH);
    uint64_t taken = f->relay.taken;
    for (int i = 0; i < 3; i++)
        assert_int_equal(move(f), RELAY_BLOCKED);
    assert_true(f->relay.taken == taken);
    assert_true(relay_keeps(&f->relay));
    assert_true(f->from.read_paused); /* more bytes are not reported */
    pass_on(f);
    assert_false(f->from.read_paused);
    assert_false(relay_keeps(&f->relay));
}

static void test_end_comes_after_the_bytes(void **state)
{
    struct fixture *f = *state;
    block(f);
    close_far(&f->source);
    while (f->received < f->sent) {
        /* The last byte may be the last of a piece: then the end is part of the next one. */
        enum relay_result result = move(f);
        assert_true(result == RELAY_MORE || (result == RELAY_ENDED) == (f->relay.moved == f->sent));
        receive_all(f);
    }
    while (move(f) != RELAY_ENDED)
        loop_iterate(f->loop, -1);
    assert_true(f->relay.from_ended);
}

static void test_reset_is_no_end(void **state)
{
    struct fixture *f = *state;
    enum relay_result result;
    be_bulk(f);
    reset_far(&f->source);
    while ((result = move(f)) == RELAY_BLOCKED)
        loop_iterate(f->loop, -1);
    assert_int_equal(result, RELAY_READ_FAILED);
    assert_int_equal(errno, ECONNRESET);
    assert_false(f->relay.from_ended);
}

static void test_write_fails(void **state)
{
    struct fixture *f = *state;
    enum relay_result result;
    block(f);
    reset_far(&f->sink);
    while ((result = move(f)) == RELAY_BLOCKED)
        loop_iterate(f->loop, -1);
    assert_int_equal(result, RELAY_WRITE_FAILED);
    assert_true(errno == EPIPE || errno == ECONNRESET);
}

static void test_sink_empties_the_pipe(void **state)
{
    struct fixture *f = *state;
    block(f);
    uint64_t moved = f->relay.moved, spliced = counter_get(&f->pipes.stats.spliced);
    f->relay.sink = true;
    f->from.readable = true;
    loop_iterate(f->loop, 0);
    while (relay_move(&f->relay, &f->from, &f->to, f->scratch, &f->pipes) == RELAY_MORE)
        ;
    assert_false(relay_keeps(&f->relay));
    assert_true(f->relay.moved == moved);
    assert_true(f->relay.taken > moved);
    assert_true(counter_get(&f->pipes.stats.spliced) == spliced);
    assert_int_equal(f->pipes.count, f->pipes.idle_count);
}

/* Sends urgent data between other data, and waits until the loop knows. */
static void send_urgent(struct fixture *f, bool end)
{
    be_bulk(f);
    send_some(f, 2 * RELAY_LITTLE);
    assert_int_equal(send(f->source, "!", 1, MSG_OOB), 1);
    send_some(f, 1000);
    if (end)
        assert_int_equal(shutdown(f->source, SHUT_WR), 0);
    while (!f->from.urgent || f->from.hangup != end)
        loop_iterate(f->loop, -1);
}

/* At the mark there is nothing that splice would take, but more follows it. */
static void test_urgent_data(void **state)
{
    struct fixture *f = *state;
    send_urgent(f, false);
    pass_on(f);
}

/* All of it arrives after the loop's last poll: with the FIN after it splice takes the mark for the
 * end of all. */
static void test_urgent_data_that_was_not_reported(void **state)
{
    struct fixture *f = *state;
    enum relay_result result;
    send_urgent(f, true);
    f->from.urgent = false;
    while ((result = relay_move(&f->relay, &f->from, &f->to, f->scratch, &f->pipes)) !=
           RELAY_ENDED) {
        assert_true(result == RELAY_BLOCKED || result == RELAY_MORE);
        loop_iterate(f->loop, -1);
    }
    while (f->received < f->sent)
        receive_all(f);
}

static void test_limit(void **state)
{
    struct fixture *f = *state;
    be_bulk(f);
    f->relay.limit = f->relay.taken + PLENTY + 1;
    uint64_t end = f->relay.limit;
    char byte;
    while (f->received < end) {
        send_some(f, f->sent < end + 1 ? end + 1 - f->sent : 0);
        enum relay_result result = move(f);
        assert_true(f->relay.taken <= end);
        assert_int_equal(result == RELAY_ENDED, f->relay.moved == end);
        receive_all(f);
    }
    assert_false(f->relay.from_ended);
    while (stream_read(&f->from, &byte, 1) < 0)
        loop_iterate(f->loop, -1);
    assert_int_equal(byte, byte_at(end));
}

/* With a limit it is known that much is still to arrive, however little arrives now. */
static void test_little_is_spliced_on_the_way_to_the_limit(void **state)
{
    struct fixture *f = *state;
    be_bulk(f);
    f->relay.limit = f->relay.taken + PLENTY;
    uint64_t spliced = counter_get(&f->pipes.stats.spliced);
    for (int i = 1; i <= 10; i++) {
        send_some(f, RELAY_LITTLE / 2);
        pass_on(f);
    }
    assert_true(counter_get(&f->pipes.stats.spliced) == spliced + 10 * (RELAY_LITTLE / 2));
}

static void test_clear_drops_what_the_pipe_holds(void **state)
{
    struct fixture *f = *state;
    block(f);
    relay_clear(&f->relay);
    assert_false(relay_keeps(&f->relay));
    assert_int_equal(f->pipes.count, 0);
}

#define RELAY_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RELAY_TEST(test_bulk_is_spliced),
        RELAY_TEST(test_little_is_copied),
        RELAY_TEST(test_bulk_need_not_fill_every_read),
        RELAY_TEST(test_goes_back_to_copying),
        RELAY_TEST(test_without_pipes_all_is_copied),
        RELAY_TEST(test_pipe_is_not_to_be_had_for_a_while),
        RELAY_TEST(test_piece_is_limited),
        RELAY_TEST(test_copied_piece_is_limited),
        RELAY_TEST(test_nothing_is_read_while_the_pipe_holds),
        RELAY_TEST(test_end_comes_after_the_bytes),
        RELAY_TEST(test_reset_is_no_end),
        RELAY_TEST(test_write_fails),
        RELAY_TEST(test_sink_empties_the_pipe),
        RELAY_TEST(test_urgent_data),
        RELAY_TEST(test_urgent_data_that_was_not_reported),
        RELAY_TEST(test_limit),
        RELAY_TEST(test_little_is_spliced_on_the_way_to_the_limit),
        RELAY_TEST(test_clear_drops_what_the_pipe_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
