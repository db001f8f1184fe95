/* SPDX-License-Identifier: ISC */
/* Streams with TLS: reading and peeking, and what TLS does on its own in between. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <openssl/err.h>
#include <sys/socket.h>

#include "support/tls_stream_fixture.h"

/* Reading */

static void test_nothing_to_read(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_3_VERSION);
    assert_true(stream_is_tls(&f->pair.stream));
    assert_fails(take(f, 1), EAGAIN);
    assert_false(f->pair.stream.readable);
    tls_peer_send(&f->pair, "abc");
    pair_await(&f->pair);
    assert_true(f->pair.stream.readable);
    pair_expect(&f->pair, "abc");
}

/* What is left of a record brings no event: the flag stays set. */
static void test_bytes_in_memory_keep_it_readable(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_3_VERSION);
    tls_peer_send(&f->pair, "abcd");
    pair_await(&f->pair);
    assert_int_equal(take(f, 1), 1);
    assert_true(stream_has_pending(&f->pair.stream));
    for (int i = 0; i < 3; i++) {
        assert_true(f->pair.stream.readable);
        assert_int_equal(take(f, 1), 1);
    }
    assert_fails(take(f, 1), EAGAIN);
    assert_false(f->pair.stream.readable);
    assert_false(stream_has_pending(&f->pair.stream));
}

/* This many key updates, and then data. */
static void send_key_updates(struct fixture *f, int count)
{
    for (int i = 0; i < count; i++) {
        assert_int_equal(SSL_key_update(f->pair.peer, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
        assert_int_equal(SSL_do_handshake(f->pair.peer), 1);
    }
    tls_peer_send(&f->pair, "abc");
    pair_await(&f->pair);
}

/* OpenSSL reads everything that is not data in one go, and meanwhile no other stream is served. */
static void test_messages_without_end(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_3_VERSION);
    for (int i = 0; i < 10; i++) {
        send_key_updates(f, 50);
        assert_int_equal(take(f, 3), 3);
    }
    send_key_updates(f, 1100);
    assert_fails(take(f, 3), EPROTO);
    assert_string_equal(stream_failure(&f->pair.stream),
                        "the upstream keeps sending TLS messages without data");
}

/* The same while the connection is idle. */
static void test_peek_at_messages_without_end(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_3_VERSION);
    send_key_updates(f, 50);
    assert_int_equal(stream_peek(&f->pair.stream), PEEK_DATA);
    assert_int_equal(take(f, 3), 3);
    send_key_updates(f, 1100);
    assert_int_equal(stream_peek(&f->pair.stream), PEEK_ERROR);
    assert_int_equal(errno, EPROTO);
}

/* Several records arrive with one system call, and with one call of stream_read. */
static void test_read_ahead(void **state)
{
    struct fixture *f = *state;
    char block[1000];
    memset(block, 'x', sizeof(block));
    begin(f, TLS1_3_VERSION);
    for (int i = 0; i < 20; i++)
        assert_int_equal(SSL_write(f->pair.peer, block, sizeof(block)), sizeof(block));
    tls_peer_flush(&f->pair);
    pair_await(&f->pair);
    reads = 0;
    assert_int_equal(take(f, sizeof(f->buffer)), 20 * sizeof(block));
    assert_int_equal(reads, 1);
}

/* More than OpenSSL's own buffer holds, of records that end anywhere: the bytes wait where their
 * data is going to be, and it does not reach them. */
static void test_large_read(void **state)
{
    struct fixture *f = *state;
    static char block[250 * 1000], got[512 * 1024];
    size_t sent = 0, size = 0;
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] = (char)(i * 2654435761u >> 13);
    begin(f, TLS1_3_VERSION);
    int room = 4 * sizeof(block);
    assert_int_equal(setsockopt(f->pair.fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)), 0);
    for (size_t i = 0; sent < sizeof(block); i++) {
        static const size_t lengths[] = {16384, 1, 16383, 5000, 16384, 16384, 700};
        size_t length = lengths[i % ARRAY_LEN(lengths)];
        if (length > sizeof(block) - sent)
            length = sizeof(block) - sent;
        assert_int_equal(SSL_write(f->pair.peer, block + sent, (int)length), length);
        sent += length;
        if (i % 5 == 0)
            send_ticket(f);
    }
    reads = 0;
    int taken = 0;
    while (size < sent) {
        tls_peer_flush(&f->pair);
        while (!f->pair.stream.readable)
            pair_await(&f->pair);
        ssize_t n = stream_read(&f->pair.stream, got + size, sizeof(got) - size);
        assert_true(n > 0 || errno == EAGAIN);
        size += n > 0 ? (size_t)n : 0;
        taken++;
    }
    assert_int_equal(size, sent);
    assert_memory_equal(got, block, size);
    assert_int_equal(reads, taken); /* one system call each */
    assert_true(reads < 16);        /* OpenSSL's buffer holds one record */
    assert_false(stream_has_pending(&f->pair.stream));
}

/* A read that took everything saves the next one, and a peek. */
static void test_drained(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_3_VERSION);
    tls_peer_send(&f->pair, "abc");
    send_ticket(f);
    tls_peer_flush(&f->pair);
    pair_await(&f->pair);
    reads = 0;
    assert_int_equal(take(f, 10), 3);
    assert_int_equal(reads, 1);
    assert_false(f->pair.stream.readable);
    assert_true(stream_is_drained(&f->pair.stream));
    tls_peer_send(&f->pair, "def");
    pair_await(&f->pair);
    assert_false(stream_is_drained(&f->pair.stream));
    pair_expect(&f->pair, "def");
}

/* What is left in memory is more than a peek must find. */
static void test_not_drained(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_3_VERSION);
    for (size_t size = 2; size <= 4; size += 2) { /* data is left, or only a part of a record */
        assert_int_equal(SSL_write(f->pair.peer, "abc", 3), 3);
        size_t record = (size_t)BIO_pending(f->pair.to_stream);
        assert_int_equal(SSL_write(f->pair.peer, "def", 3), 3);
        assert_int_equal(tls_peer_put(&f->pair, record + 10), record + 10);
        pair_await(&f->pair);
        assert_int_equal(take(f, size), size < 3 ? size : 3);
        assert_int_equal(f->pair.stream.readable, size < 3);
        assert_false(stream_is_drained(&f->pair.stream));
        pair_expect(&f->pair, size < 3 ? "c" : "");
        tls_peer_flush(&f->pair);
        pair_expect(&f->pair, "def");
    }
}

/* If bytes arrived together with the end, the end has no event of its own. */
static void test_not_drained_before_the_end(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_3_VERSION);
    tls_peer_send(&f->pair, "abc");
    tls_peer_close(&f->pair);
    while (!f->pair.stream.hangup)
        pair_await(&f->pair);
    assert_int_equal(take(f, 10), 3);
    assert_true(f->pair.stream.readable);
    assert_false(stream_is_drained(&f->pair.stream));
}

static void test_record_in_pieces(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_3_VERSION);
    assert_int_equal(SSL_write(f->pair.peer, "abc", 3), 3);
    assert_int_equal(tls_peer_put(&f->pair, 10), 10);
    pair_await(&f->pair);
    assert_fails(take(f, 10), EAGAIN);
    assert_false(f->pair.stream.readable);
    assert_true(stream_has_pending(&f->pair.stream));
    tls_peer_flush(&f->pair);
    pair_expect(&f->pair, "abc");
}

static void assert_end_follows(struct fixture *f, ssize_t result, int error)
{
    ssize_t n;
    assert_int_equal(take(f, 3), 3);
    while ((n = take(f, 1)) < 0 && errno == EAGAIN)
        pair_await(&f->pair);
    assert_int_equal(errno, n < 0 ? error : errno);
    assert_int_equal(n, result);
    assert_int_equal(take(f, 1), result); /* and stays so */
}

static void test_close_notify_is_the_end(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_3_VERSION);
    assert_int_equal(SSL_write(f->pair.peer, "abc", 3), 3);
    SSL_shutdown(f->pair.peer);
    tls_peer_flush(&f->pair);
    pair_await(&f->pair);
    assert_int_equal(take(f, 10), 3); /* the end after it waits in memory */
    assert_true(f->pair.stream.readable);
    assert_int_equal(take(f, 10), 0);
    assert_int_equal(take(f, 10), 0);
    assert_string_equal(stream_failure(&f->pair.stream), "");
    assert_int_equal(stream_write(&f->pair.stream, "x", 1), 1); /* our direction is open */
}

static void test_end_without_close_notify_is_a_truncation(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_3_VERSION);
    tls_peer_send(&f->pair, "abc");
    tls_peer_close(&f->pair);
    pair_await(&f->pair);
    assert_end_follows(f, -1, ECONNRESET);
    assert_string_equal(stream_failure(&f->pair.stream), "the upstream closed the connection");
}

static void test_end_in_the_middle_of_a_record(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_2_VERSION);
    tls_peer_send(&f->pair, "abc");
    assert_int_equal(SSL_write(f->pair.peer, "def", 3), 3);
    assert_int_equal(tls_peer_put(&f->pair, 10), 10);
    tls_peer_close(&f->pair);
    pair_await(&f->pair);
    assert_end_follows(f, -1, ECONNRESET);
}

/* The same with bare_end: EOF between records is an end. */
static void test_bare_end(void **state)
{
    struct fixture *f = *state;
    begin_bare(f, TLS1_3_VERSION);
    tls_peer_send(&f->pair, "abc");
    tls_peer_close(&f->pair);
    pair_await(&f->pair);
    assert_end_follows(f, 0, 0);
    assert_int_equal(stream_peek(&f->pair.stream), PEEK_EOF);
    assert_string_equal(stream_failure(&f->pair.stream), "");
}

static void check_bare_end_in_a_record(struct fixture *f, size_t size)
{
    begin_bare(f, TLS1_3_VERSION);
    tls_peer_send(&f->pair, "abc");
    assert_int_equal(SSL_write(f->pair.peer, "def", 3), 3);
    assert_int_equal(tls_peer_put(&f->pair, size), size);
    tls_peer_close(&f->pair);
    pair_await(&f->pair);
    assert_end_follows(f, -1, ECONNRESET);
    assert_int_equal(stream_peek(&f->pair.stream), PEEK_EOF);
    assert_string_equal(stream_failure(&f->pair.stream), "the upstream closed the connection");
}

static void test_bare_end_in_a_record(void **state)
{
    check_bare_end_in_a_record(*state, 10);
}

static void test_bare_end_in_a_header(void **state)
{
    check_bare_end_in_a_record(*state, 3);
}

static void test_bare_end_behind_a_header(void **state)
{
    check_bare_end_in_a_record(*state, SSL3_RT_HEADER_LENGTH);
}

static void test_close_notify_before_a_bare_end(void **state)
{
    struct fixture *f = *state;
    begin_bare(f, TLS1_3_VERSION);
    tls_peer_send(&f->pair, "abc");
    SSL_shutdown(f->pair.peer);
    tls_peer_flush(&f->pair);
    put_raw(f, "xyz", 3);
    tls_peer_close(&f->pair);
    pair_await(&f->pair);
    assert_end_follows(f, 0, 0);
}

static void test_reset_by_the_peer(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_3_VERSION);
    tls_peer_reset(&f->pair);
    pair_await(&f->pair);
    assert_fails(take(f, 1), ECONNRESET);
    assert_string_equal(stream_failure(&f->pair.stream), "Connection reset by peer");
    assert_fails(stream_write(&f->pair.stream, "x", 1), ECONNRESET);
}

static void test_write_to_a_broken_connection(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_3_VERSION);
    tls_peer_reset(&f->pair);
    ssize_t n = stream_write(&f->pair.stream, "x", 1);
    assert_true(n < 0 && (errno == ECONNRESET || errno == EPIPE));
    assert_false(f->pair.stream.writable);
}

static void test_garbage(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_3_VERSION);
    put_raw(f, "\x17\x03\x03\x00\x20 thirty-two bytes that are none..", 5 + 32);
    pair_await(&f->pair);
    assert_fails(take(f, 1), EPROTO);
    assert_string_not_equal(stream_failure(&f->pair.stream), "");
    assert_fails(take(f, 1), EPROTO);
    assert_fails(stream_write(&f->pair.stream, "x", 1), EPROTO);
}

/* OpenSSL would take an old error for one of the current call. */
static void test_old_errors_are_no_verdict(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_3_VERSION);
    ERR_raise(ERR_LIB_SSL, SSL_R_BAD_LENGTH);
    assert_fails(take(f, 1), EAGAIN);
    tls_peer_send(&f->pair, "abc");
    pair_await(&f->pair);
    ERR_raise(ERR_LIB_SSL, SSL_R_BAD_LENGTH);
    assert_int_equal(stream_peek(&f->pair.stream), PEEK_DATA);
    pair_expect(&f->pair, "abc");
    ERR_raise(ERR_LIB_SSL, SSL_R_BAD_LENGTH);
    full = true;
    assert_fails(stream_write(&f->pair.stream, "x", 1), EAGAIN);
    full = false;
}

static void test_interrupted_calls_are_repeated(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_3_VERSION);
    tls_peer_send(&f->pair, "abc");
    pair_await(&f->pair);
    interruptions = 2;
    assert_int_equal(take(f, 10), 3);
    interruptions = 2;
    assert_int_equal(stream_write(&f->pair.stream, "x", 1), 1);
    tls_peer_send(&f->pair, "abc");
    interruptions = 2;
    assert_int_equal(stream_peek(&f->pair.stream), PEEK_DATA);
    interruptions = 2;
    stream_end_write(&f->pair.stream);
    assert_int_equal(interruptions, 0);
}

/* Peeking */

static void test_peek_at_data(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_3_VERSION);
    tls_peer_send(&f->pair, "abc");
    assert_peek_after_event(f, PEEK_DATA);
    assert_int_equal(stream_peek(&f->pair.stream), PEEK_DATA);
    pair_expect(&f->pair, "abc");
}

/* The peek takes the bytes into memory before there was an event, and so there is none. A socket
 * that is writable would report that instead: this one is not. */
static void test_peek_tells_of_what_it_took(void **state)
{
    struct fixture *f = *state;
    static char block[64 * 1024];
    begin(f, TLS1_3_VERSION);
    while (f->pair.stream.writable)
        assert_true(stream_write(&f->pair.stream, block, sizeof(block)) > 0 || errno == EAGAIN);
    loop_iterate(f->pair.loop, 0);
    assert_false(f->pair.stream.writable);
    tls_peer_send(&f->pair, "abc");
    assert_int_equal(stream_peek(&f->pair.stream), PEEK_DATA);
    assert_true(f->pair.stream.readable);
    pair_await(&f->pair);
    pair_expect(&f->pair, "abc");
}

static void test_quiet_peek_takes_no_buffer(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_3_VERSION);
    reads = 0;
    assert_int_equal(stream_peek(&f->pair.stream), PEEK_QUIET);
    assert_int_equal(reads, 0); /* OpenSSL was not asked */
}

static void test_tickets_leave_it_quiet(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_3_VERSION);
    for (int i = 0; i < 3; i++) {
        send_ticket(f);
        tls_peer_flush(&f->pair);
        assert_peek_after_event(f, PEEK_QUIET);
        assert_false(f->pair.stream.readable);
    }
    assert_works(f);
    send_ticket(f);
    tls_peer_send(&f->pair, "abc");
    assert_peek_after_event(f, PEEK_DATA);
}

static void test_key_updates_leave_it_quiet(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_3_VERSION);
    for (int type = 0; type <= 1; type++) { /* not requested, requested */
        assert_int_equal(SSL_key_update(f->pair.peer, type), 1);
        assert_int_equal(SSL_do_handshake(f->pair.peer), 1);
        tls_peer_flush(&f->pair);
        assert_peek_after_event(f, PEEK_QUIET);
        assert_works(f);
        assert_works(f);
    }
}

static void test_renegotiation_is_refused(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_2_VERSION);
    assert_int_equal(SSL_renegotiate(f->pair.peer), 1);
    assert_int_equal(SSL_do_handshake(f->pair.peer), 1); /* HelloRequest */
    tls_peer_flush(&f->pair);
    assert_peek_after_event(f, PEEK_QUIET);
    assert_int_equal(tls_peer_read(&f->pair, f->buffer, 1), -1);
    assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_NO_RENEGOTIATION);
}

static void test_peek_at_close_notify(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_3_VERSION);
    SSL_shutdown(f->pair.peer);
    tls_peer_flush(&f->pair);
    assert_peek_after_event(f, PEEK_EOF);
    assert_int_equal(stream_peek(&f->pair.stream), PEEK_EOF);
}

static void test_peek_at_end_without_close_notify(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_3_VERSION);
    tls_peer_close(&f->pair);
    assert_peek_after_event(f, PEEK_EOF);
    assert_int_equal(stream_peek(&f->pair.stream), PEEK_EOF);
    assert_fails(take(f, 1), ECONNRESET);
}

static void test_peek_at_reset(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_3_VERSION);
    tls_peer_reset(&f->pair);
    assert_peek_after_event(f, PEEK_ERROR);
    assert_int_equal(errno, ECONNRESET);
}

/* The alert is what the peer's own TLS makes of garbage. */
static void test_peek_at_alert(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_3_VERSION);
    BIO_write(f->pair.from_stream, "\x17\x03\x03\x00\x20 thirty-two bytes that are none..", 5 + 32);
    assert_int_equal(tls_peer_read(&f->pair, f->buffer, 1), -1);
    assert_peek_after_event(f, PEEK_ERROR);
    assert_int_equal(errno, EPROTO);
    assert_string_equal(stream_failure(&f->pair.stream), "alert from the upstream: bad record mac");
    assert_int_equal(stream_peek(&f->pair.stream), PEEK_ERROR);
}

static void test_peek_at_garbage(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_3_VERSION);
    put_raw(f, "HTTP/1.1 408 Request Timeout\r\n\r\n", 32);
    assert_peek_after_event(f, PEEK_ERROR);
    assert_int_equal(errno, EPROTO);
}

/* Part of a record is neither data nor permanently quiet. */
static void test_peek_at_part_of_a_record(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_3_VERSION);
    assert_false(stream_has_pending(&f->pair.stream));
    assert_int_equal(SSL_write(f->pair.peer, "abc", 3), 3);
    assert_int_equal(tls_peer_put(&f->pair, 10), 10);
    assert_peek_after_event(f, PEEK_QUIET);
    assert_true(stream_has_pending(&f->pair.stream));
    tls_peer_flush(&f->pair);
    assert_peek_after_event(f, PEEK_DATA);
}

/* OpenSSL has taken the header, and holds nothing any more. */
static void test_peek_at_the_header_of_a_record(void **state)
{
    struct fixture *f = *state;
    begin(f, TLS1_3_VERSION);
    assert_int_equal(SSL_write(f->pair.peer, "abc", 3), 3);
    assert_int_equal(tls_peer_put(&f->pair, SSL3_RT_HEADER_LENGTH), SSL3_RT_HEADER_LENGTH);
    assert_peek_after_event(f, PEEK_QUIET);
    assert_true(stream_has_pending(&f->pair.stream));
    tls_peer_flush(&f->pair);
    pair_await(&f->pair);
    pair_expect(&f->pair, "abc");
    assert_false(stream_has_pending(&f->pair.stream));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tls_fixture_setup, tls_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_nothing_to_read),
        TEST(test_bytes_in_memory_keep_it_readable),
        TEST(test_messages_without_end),
        TEST(test_peek_at_messages_without_end),
        TEST(test_read_ahead),
        TEST(test_large_read),
        TEST(test_drained),
        TEST(test_not_drained),
        TEST(test_not_drained_before_the_end),
        TEST(test_record_in_pieces),
        TEST(test_close_notify_is_the_end),
        TEST(test_end_without_close_notify_is_a_truncation),
        TEST(test_end_in_the_middle_of_a_record),
        TEST(test_bare_end),
        TEST(test_bare_end_in_a_record),
        TEST(test_bare_end_in_a_header),
        TEST(test_bare_end_behind_a_header),
        TEST(test_close_notify_before_a_bare_end),
        TEST(test_reset_by_the_peer),
        TEST(test_write_to_a_broken_connection),
        TEST(test_garbage),
        TEST(test_old_errors_are_no_verdict),
        TEST(test_interrupted_calls_are_repeated),
        TEST(test_peek_at_data),
        TEST(test_peek_tells_of_what_it_took),
        TEST(test_quiet_peek_takes_no_buffer),
        TEST(test_tickets_leave_it_quiet),
        TEST(test_key_updates_leave_it_quiet),
        TEST(test_renegotiation_is_refused),
        TEST(test_peek_at_close_notify),
        TEST(test_peek_at_end_without_close_notify),
        TEST(test_peek_at_reset),
        TEST(test_peek_at_alert),
        TEST(test_peek_at_garbage),
        TEST(test_peek_at_part_of_a_record),
        TEST(test_peek_at_the_header_of_a_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
