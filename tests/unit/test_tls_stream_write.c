/* SPDX-License-Identifier: ISC */
/* Streams with TLS: writing, directions that wait for each other, and every way to end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/tls_stream_fixture.h"

/* Writing */

static void test_parts_share_a_record(void **state)
{
    struct fixture *f = *state;
    char name[] = "GET ", empty[] = "", value[] = "/ HTTP/1.1";
    const struct iovec parts[] = {{empty, 0}, {name, 4}, {empty, 0}, {value, 10}, {empty, 0}};
    begin(f, TLS1_3_VERSION);
    assert_int_equal(stream_writev(&f->pair.stream, parts, ARRAY_LEN(parts)), 14);
    assert_true(f->pair.stream.writable);
    tls_peer_expect(&f->pair, "GET / HTTP/1.1");
    assert_int_equal(stream_writev(&f->pair.stream, parts, 1), 0);
    assert_fails(recv(f->pair.fd, f->buffer, 1, MSG_DONTWAIT), EAGAIN);
}

/* The linker substitutes this for setsockopt (--wrap). */
int __real_setsockopt(int fd, int level, int name, const void *value, socklen_t length);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t length);

static struct {
    unsigned count; /* how often it was set */
    bool on;
} cork;

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
    if (level == IPPROTO_TCP && name == TCP_CORK) {
        cork.on = *(const int *)value != 0;
        cork.count += cork.on;
    }
    return __real_setsockopt(fd, level, name, value, length);
}

/* The records of one write leave together, and nothing is held back, whatever the result. */
static void test_records_share_a_cork(void **state)
{
    struct fixture *f = *state;
    static char block[40000];
    begin(f, TLS1_3_VERSION);
    cork.count = 0;
    assert_int_equal(stream_write(&f->pair.stream, block, 16384), 16384);
    assert_int_equal(cork.count, 0);
    assert_int_equal(stream_write(&f->pair.stream, block, 16385), 16385);
    assert_int_equal(cork.count, 1);
    assert_false(cork.on);
    while (f->pair.stream.writable) {
        ssize_t n = stream_write(&f->pair.stream, block, sizeof(block));
        assert_true(n > 0 || errno == EAGAIN);
        assert_false(cork.on);
    }
    assert_true(cork.count > 1);
}

/* The bytes of a long transfer: each shows its place. */
static char byte_at(uint64_t offset)
{
    return (char)(offset * 2654435761u >> 13);
}

/* Fills the connection until it takes no more; returns how many bytes it took. */
static uint64_t fill(struct fixture *f, uint64_t from)
{
    char block[40000];
    while (f->pair.stream.writable) {
        for (size_t i = 0; i < sizeof(block); i++)
            block[i] = byte_at(from + i);
        const struct iovec parts[] = {
            {block, 7}, {block + 7, 20000}, {block + 20007, sizeof(block) - 20007}};
        ssize_t n = stream_writev(&f->pair.stream, parts, ARRAY_LEN(parts));
        if (n < 0)
            assert_int_equal(errno, EAGAIN);
        else
            from += (uint64_t)n;
    }
    return from;
}

/* Reads what has arrived at the peer and checks it. */
static uint64_t peer_check(struct fixture *f, uint64_t from)
{
    int n;
    while ((n = tls_peer_read(&f->pair, f->buffer, sizeof(f->buffer))) > 0) {
        for (int i = 0; i < n; i++)
            assert_int_equal(f->buffer[i], byte_at(from + (uint64_t)i));
        from += (uint64_t)n;
    }
    return from;
}

static void test_writable_again_when_the_peer_has_read(void **state)
{
    struct fixture *f = *state;
    uint64_t sent = 0, received = 0;
    begin(f, TLS1_3_VERSION);
    for (int i = 0; i < 3; i++) {
        sent = fill(f, sent);
        assert_true(sent > received);
        assert_true(stream_has_pending(&f->pair.stream)); /* a record, for the next write */
        while (!f->pair.stream.writable) {
            received = peer_check(f, received);
            loop_iterate(f->pair.loop, USEC_PER_MSEC);
        }
    }
    stream_end_write(&f->pair.stream);
}

/* A write that stopped for a reason other than a full socket leaves the flag: no event would report
 * it, but the next try does. */
static void test_short_count_that_is_no_eagain(void **state)
{
    struct fixture *f = *state;
    static char block[40000];
    begin(f, TLS1_3_VERSION);
    write_fault.error = ENOBUFS;
    write_fault.after = 1;
    assert_int_equal(stream_write(&f->pair.stream, block, sizeof(block)), 16384);
    assert_true(f->pair.stream.writable);
    write_fault.error = 0;
    assert_fails(stream_write(&f->pair.stream, block, sizeof(block) - 16384), ENOBUFS);
}

/* A user that follows the flags, in both directions at once, with a slow peer. */
struct transfer {
    uint64_t size;
    size_t write_size, read_size;
    size_t peer_share; /* bytes the peer moves at a time */
    uint64_t sent, received, peer_sent, peer_received;
};

static void work(struct fixture *f, struct transfer *t)
{
    static char block[300 * 1024];
    while (f->pair.stream.writable && t->sent < t->size) {
        size_t size = t->write_size;
        if (size > t->size - t->sent)
            size = t->size - t->sent;
        for (size_t i = 0; i < size; i++)
            block[i] = byte_at(t->sent + i);
        ssize_t n = stream_write(&f->pair.stream, block, size);
        assert_true(n > 0 || errno == EAGAIN);
        t->sent += n > 0 ? (uint64_t)n : 0;
    }
    while (f->pair.stream.readable) {
        ssize_t n = stream_read(&f->pair.stream, block, t->read_size);
        assert_true(n > 0 || errno == EAGAIN);
        for (ssize_t i = 0; i < n; i++)
            assert_int_equal(block[i], byte_at(t->received + (uint64_t)i));
        t->received += n > 0 ? (uint64_t)n : 0;
    }
}

static void peer_work(struct fixture *f, struct transfer *t)
{
    char block[16 * 1024];
    size_t size = sizeof(block);
    if (size > t->size - t->peer_sent)
        size = t->size - t->peer_sent;
    for (size_t i = 0; i < size; i++)
        block[i] = byte_at(t->peer_sent + i);
    if (size > 0 && BIO_pending(f->pair.to_stream) < 64 * 1024) {
        assert_int_equal(SSL_write(f->pair.peer, block, (int)size), size);
        t->peer_sent += size;
    }
    tls_peer_put(&f->pair, t->peer_share);
    ssize_t n =
        recv(f->pair.fd, f->buffer,
             t->peer_share < sizeof(f->buffer) ? t->peer_share : sizeof(f->buffer), MSG_DONTWAIT);
    if (n > 0)
        assert_int_equal(BIO_write(f->pair.from_stream, f->buffer, (int)n), n);
    int got;
    while ((got = SSL_read(f->pair.peer, block, sizeof(block))) > 0) {
        for (int i = 0; i < got; i++)
            assert_int_equal(block[i], byte_at(t->peer_received + (uint64_t)i));
        t->peer_received += (uint64_t)got;
    }
    ERR_clear_error();
}

static void transfer(struct fixture *f, struct transfer t)
{
    int idle = 0;
    work(f, &t);
    while (t.received < t.size || t.peer_received < t.size) {
        uint64_t before = t.received + t.peer_received;
        unsigned calls = f->pair.calls;
        peer_work(f, &t);
        loop_iterate(f->pair.loop, 0);
        if (f->pair.calls != calls)
            work(f, &t);
        bool waiting = BIO_pending(f->pair.to_stream) == 0;
        idle = before == t.received + t.peer_received && waiting ? idle + 1 : 0;
        assert_true(idle < 100000); /* a stall */
    }
    assert_int_equal(t.sent, t.size);
    assert_false(stream_has_pending(&f->pair.stream));
}

static void test_transfer_huge(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_3_VERSION);
    transfer(f, (struct transfer){.size = 8 << 20,
                                  .write_size = 300 * 1024,
                                  .read_size = 300 * 1024,
                                  .peer_share = 64 * 1024});
}

static void test_transfer_tiny(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_2_VERSION);
    transfer(f, (struct transfer){
                    .size = 20000, .write_size = 1, .read_size = 1, .peer_share = 64 * 1024});
}

static void test_transfer_odd_sizes(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_3_VERSION);
    transfer(f, (struct transfer){
                    .size = 3 << 20, .write_size = 16385, .read_size = 4093, .peer_share = 30011});
}

/* The rest of a record that began in the previous read arrives together with more. */
static void test_transfer_large_reads_of_odd_pieces(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_2_VERSION);
    transfer(
        f, (struct transfer){
               .size = 8 << 20, .write_size = 16385, .read_size = 300 * 1024, .peer_share = 50021});
}

static void test_transfer_slow_peer(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_3_VERSION);
    transfer(f, (struct transfer){
                    .size = 1 << 20, .write_size = 65536, .read_size = 65536, .peer_share = 333});
}

/* A repeated write uses the same memory (the wrapped SSL_write_ex checks). */
static void test_transfer_with_ktls(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_3_VERSION);
    pretend_ktls = true;
    repeated = 0;
    transfer(f, (struct transfer){.size = 8 << 20,
                                  .write_size = 300 * 1024,
                                  .read_size = 300 * 1024,
                                  .peer_share = 64 * 1024});
    assert_true(repeated > 0);
    fill(f, 0); /* one is left for the end */
    assert_non_null(pending);
}

/* One direction waits for the other */

static int give_big_ticket(SSL *ssl, void *arg)
{
    static char data[2000];
    (void)arg;
    return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), data, sizeof(data));
}

/* The first record of a ticket that needs several; returns the size of the rest. */
static size_t send_part_of_ticket(struct fixture *f)
{
    SSL_CTX_set_session_ticket_cb(f->context, give_big_ticket, NULL, NULL);
    SSL_set_max_send_fragment(f->pair.peer, 512);
    send_ticket(f);
    assert_true(BIO_pending(f->pair.to_stream) > 2 * 534);
    assert_int_equal(tls_peer_put(&f->pair, 534), 534); /* 512, header, type, tag */
    return (size_t)BIO_pending(f->pair.to_stream);
}

static void test_ticket_in_pieces(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_3_VERSION);
    send_part_of_ticket(f);
    assert_peek_after_event(f, PEEK_QUIET);
    assert_true(stream_has_pending(&f->pair.stream));
    tls_peer_flush(&f->pair);
    assert_peek_after_event(f, PEEK_QUIET);
    assert_false(stream_has_pending(&f->pair.stream));
    assert_works(f);
}

/* OpenSSL does not write until it has the rest of the ticket. */
static void begin_blocked_write(struct fixture *f)
{
    begin(f, TLS1_3_VERSION);
    send_part_of_ticket(f);
    pair_await(&f->pair);
    assert_fails(take(f, 1), EAGAIN);
    assert_true(f->pair.stream.writable);
}

static void test_write_waits_for_the_rest(void **state)
{
    struct fixture *f = *state;
    begin_blocked_write(f);
    assert_fails(stream_write(&f->pair.stream, "ping", 4), EAGAIN);
    assert_false(f->pair.stream.writable);
    tls_peer_flush(&f->pair);
    pair_await(&f->pair);
    assert_true(f->pair.stream.writable);
    assert_works(f);
}

/* The write itself reads the rest, and the data after it, for which there is no event any more. */
static void test_write_tells_of_what_it_read(void **state)
{
    struct fixture *f = *state;
    begin_blocked_write(f);
    tls_peer_send(&f->pair, "pong");
    assert_false(f->pair.stream.readable);
    assert_int_equal(stream_write(&f->pair.stream, "ping", 4), 4);
    assert_true(f->pair.stream.readable);
    pair_await(&f->pair);
    pair_expect(&f->pair, "pong");
    tls_peer_expect(&f->pair, "ping");
}

/* The read takes the rest before there was an event for the write that waits for it. */
static void test_read_wakes_the_write(void **state)
{
    struct fixture *f = *state;
    begin_blocked_write(f);
    assert_fails(stream_write(&f->pair.stream, "ping", 4), EAGAIN);
    tls_peer_flush(&f->pair);
    assert_fails(take(f, 1), EAGAIN);
    assert_true(f->pair.stream.writable);
    pair_await(&f->pair);
    assert_works(f);
}

static void test_peek_wakes_the_write(void **state)
{
    struct fixture *f = *state;
    begin_blocked_write(f);
    assert_fails(stream_write(&f->pair.stream, "ping", 4), EAGAIN);
    tls_peer_flush(&f->pair);
    assert_int_equal(stream_peek(&f->pair.stream), PEEK_QUIET);
    assert_true(f->pair.stream.writable);
    pair_await(&f->pair);
    assert_works(f);
}

/* The socket has room again, and reports it. */
static void make_room(struct fixture *f)
{
    full = false;
    f->pair.stream.watch.ready(&f->pair.stream.watch, EPOLLOUT);
}

static void request_key_update(struct fixture *f)
{
    assert_int_equal(SSL_key_update(f->pair.peer, SSL_KEY_UPDATE_REQUESTED), 1);
    assert_int_equal(SSL_do_handshake(f->pair.peer), 1);
    tls_peer_flush(&f->pair);
}

/* The answer to a key update precedes our bytes, and both find no room at first. */
static void test_key_update_on_a_full_connection(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_3_VERSION);
    request_key_update(f);
    full = true;
    assert_peek_after_event(f, PEEK_QUIET);
    assert_fails(stream_write(&f->pair.stream, "ping", 4), EAGAIN);
    assert_false(f->pair.stream.writable);
    tls_peer_send(&f->pair, "abc");
    pair_await(&f->pair);
    ssize_t n = take(f, 3); /* may have to wait for the answer */
    make_room(f);
    assert_true(f->pair.stream.writable);
    assert_true(n == 3 || f->pair.stream.readable);
    if (n != 3)
        pair_expect(&f->pair, "abc");
    assert_works(f);
}

/* A read that cannot continue until the answer is out continues when a write got it out. */
static void test_write_wakes_the_read(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_3_VERSION);
    request_key_update(f);
    full = true;
    assert_peek_after_event(f, PEEK_QUIET);
    assert_fails(stream_write(&f->pair.stream, "ping", 4), EAGAIN);
    assert_true(tls_is_busy(f->pair.stream.tls));
    assert_fails(take(f, 3), EAGAIN);
    assert_false(f->pair.stream.readable);
    full = false;
    assert_int_equal(stream_write(&f->pair.stream, "ping", 4), 4);
    assert_true(f->pair.stream.readable);
    pair_await(&f->pair);
    tls_peer_expect(&f->pair, "ping");
    assert_works(f);
}

/* A task that was posted for a stream does not outlive its watch. */
static void test_wake_ends_with_the_watch(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_3_VERSION);
    tls_peer_send(&f->pair, "abc");
    assert_int_equal(stream_peek(&f->pair.stream), PEEK_DATA);
    unsigned calls = f->pair.calls;
    stream_unwatch(&f->pair.stream);
    loop_iterate(f->pair.loop, 0);
    assert_int_equal(f->pair.calls, calls);
    assert_int_equal(stream_watch(&f->pair.stream, f->pair.loop), 0);
    pair_await(&f->pair);
    pair_expect(&f->pair, "abc");
}

/* Ending */

static void assert_peer_end(struct fixture *f, bool close_notify)
{
    while (!f->pair.ended)
        tls_peer_take(&f->pair);
    assert_int_equal(tls_peer_read(&f->pair, f->buffer, 1), close_notify ? 0 : -1);
}

static void test_close_sends_close_notify(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_3_VERSION);
    stream_close(&f->pair.stream);
    assert_false(stream_is_tls(&f->pair.stream));
    assert_string_equal(stream_failure(&f->pair.stream), "");
    assert_peer_end(f, true);
    stream_close(&f->pair.stream);
}

static void test_close_in_the_handshake_sends_nothing(void **state)
{
    struct fixture *f = *state;
    pair_make(&f->pair, f->client, f->context);
    stream_close(&f->pair.stream);
    assert_peer_end(f, false);
}

static void test_reset_sends_no_close_notify(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_3_VERSION);
    stream_reset(&f->pair.stream);
    ssize_t n;
    while ((n = recv(f->pair.fd, f->buffer, sizeof(f->buffer), 0)) < 0 && errno == EAGAIN)
        ;
    assert_fails(n, ECONNRESET);
}

/* It reads close_notify, and then TCP's end. */
static void assert_peer_half_closed(struct fixture *f)
{
    while (tls_peer_read(&f->pair, f->buffer, 1) != 0)
        ;
    while (!f->pair.ended)
        tls_peer_take(&f->pair);
}

static void half_close(struct fixture *f, int version)
{
    begin(f, version);
    assert_int_equal(stream_write(&f->pair.stream, "ping", 4), 4);
    assert_int_equal(stream_end_write(&f->pair.stream), 0);
    assert_int_equal(stream_end_write(&f->pair.stream), 0);
    assert_fails(stream_write(&f->pair.stream, "x", 1), EPIPE);
    tls_peer_expect(&f->pair, "ping");
    assert_peer_half_closed(f);
    tls_peer_send(&f->pair, "pong"); /* the other direction continues */
    pair_expect(&f->pair, "pong");
    SSL_shutdown(f->pair.peer);
    tls_peer_flush(&f->pair);
    assert_peek_after_event(f, PEEK_EOF);
}

static void test_half_close_1_3(void **state)
{
    half_close(*state, TLS1_3_VERSION);
}

static void test_half_close_1_2(void **state)
{
    half_close(*state, TLS1_2_VERSION);
}

/* Tickets and the like still arrive after our end. */
static void test_half_close_with_tickets(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_3_VERSION);
    assert_int_equal(stream_end_write(&f->pair.stream), 0);
    send_ticket(f);
    tls_peer_send(&f->pair, "pong");
    pair_expect(&f->pair, "pong");
    send_ticket(f);
    tls_peer_flush(&f->pair);
    assert_peek_after_event(f, PEEK_QUIET);
    tls_peer_send(&f->pair, "pong");
    pair_expect(&f->pair, "pong");
}

/* The answer to a key update can no longer be sent; what arrives with it can be read. */
static void test_half_close_with_key_updates(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_3_VERSION);
    assert_int_equal(stream_end_write(&f->pair.stream), 0);
    for (int i = 0; i < 2; i++) {
        request_key_update(f);
        tls_peer_send(&f->pair, "pong");
        pair_expect(&f->pair, "pong");
    }
    assert_peer_half_closed(f);
    SSL_shutdown(f->pair.peer);
    tls_peer_flush(&f->pair);
    assert_peek_after_event(f, PEEK_EOF);
}

/* Our close_notify finds no room at first, and the FIN is not sent before it. */
static void half_close_when_full(struct fixture *f, int version)
{
    begin(f, version);
    assert_int_equal(stream_write(&f->pair.stream, "ping", 4), 4);
    full = true;
    assert_int_equal(stream_end_write(&f->pair.stream), 0);
    f->pair.stream.watch.ready(&f->pair.stream.watch, EPOLLOUT); /* for nothing */
    tls_peer_expect(&f->pair, "ping");
    assert_int_equal(tls_peer_read(&f->pair, f->buffer, 1), -1);
    assert_false(f->pair.ended);
    make_room(f);
    assert_peer_half_closed(f);
    tls_peer_send(&f->pair, "pong");
    pair_expect(&f->pair, "pong");
}

static void test_half_close_when_full_1_3(void **state)
{
    half_close_when_full(*state, TLS1_3_VERSION);
}

static void test_half_close_when_full_1_2(void **state)
{
    half_close_when_full(*state, TLS1_2_VERSION);
}

/* Our close_notify waits for the rest of a ticket, as a write would. */
static void test_half_close_in_the_middle_of_a_ticket(void **state)
{
    struct fixture *f = *state;
    begin_blocked_write(f);
    assert_int_equal(stream_end_write(&f->pair.stream), 0);
    assert_int_equal(tls_peer_read(&f->pair, f->buffer, 1), -1);
    tls_peer_send(&f->pair, "pong");
    assert_false(f->pair.ended);
    while (take(f, 4) != 4) /* and no event comes in between */
        assert_int_equal(errno, EAGAIN);
    assert_peer_half_closed(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tls_fixture_setup, tls_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_parts_share_a_record),
        TEST(test_records_share_a_cork),
        TEST(test_short_count_that_is_no_eagain),
        TEST(test_writable_again_when_the_peer_has_read),
        TEST(test_transfer_huge),
        TEST(test_transfer_tiny),
        TEST(test_transfer_odd_sizes),
        TEST(test_transfer_large_reads_of_odd_pieces),
        TEST(test_transfer_slow_peer),
        TEST(test_transfer_with_ktls),
        TEST(test_ticket_in_pieces),
        TEST(test_write_waits_for_the_rest),
        TEST(test_write_tells_of_what_it_read),
        TEST(test_read_wakes_the_write),
        TEST(test_peek_wakes_the_write),
        TEST(test_key_update_on_a_full_connection),
        TEST(test_write_wakes_the_read),
        TEST(test_wake_ends_with_the_watch),
        TEST(test_close_sends_close_notify),
        TEST(test_close_in_the_handshake_sends_nothing),
        TEST(test_reset_sends_no_close_notify),
        TEST(test_half_close_1_3),
        TEST(test_half_close_1_2),
        TEST(test_half_close_with_tickets),
        TEST(test_half_close_with_key_updates),
        TEST(test_half_close_when_full_1_3),
        TEST(test_half_close_when_full_1_2),
        TEST(test_half_close_in_the_middle_of_a_ticket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
