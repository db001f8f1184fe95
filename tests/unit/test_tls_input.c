/* SPDX-License-Identifier: ISC */
/* Bytes from the socket on their way to OpenSSL. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tls/tls_internal.h"

#define RECORD SSL3_RT_MAX_PACKET_SIZE

struct fixture {
    BIO_METHOD *method;
    BIO *bio;
    struct tls_input input;
    int peer;
    char room[200 * 1024], taken[32 * 1024];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    int fds[2];
    assert_non_null(f);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    f->input.fd = fds[0];
    f->peer = fds[1];
    f->method = tls_input_method();
    assert_non_null(f->method);
    f->bio = tls_input_bio(&f->input, f->method);
    assert_non_null(f->bio);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    BIO_free(f->bio);
    BIO_meth_free(f->method);
    tls_input_drop(&f->input);
    close(f->input.fd);
    if (f->peer >= 0)
        close(f->peer);
    free(f);
    return 0;
}

static char byte_at(size_t offset)
{
    return (char)(offset * 2654435761u >> 13);
}

static void send_bytes(struct fixture *f, size_t size)
{
    char *bytes = malloc(size);
    for (size_t i = 0; i < size; i++)
        bytes[i] = byte_at(i);
    assert_int_equal(send(f->peer, bytes, size, 0), size);
    free(bytes);
}

/* As OpenSSL does; checks that these are the bytes from `offset` on. */
static size_t take(struct fixture *f, size_t offset, size_t size)
{
    int n = BIO_read(f->bio, f->taken, (int)size);
    assert_true(n > 0);
    for (int i = 0; i < n; i++)
        assert_int_equal(f->taken[i], byte_at(offset + (size_t)i));
    return (size_t)n;
}

static void assert_nothing(struct fixture *f)
{
    assert_int_equal(BIO_read(f->bio, f->taken, 1), -1);
    assert_int_equal(errno, EAGAIN);
    assert_true(BIO_should_read(f->bio));
}

static void test_without_a_loan(void **state)
{
    struct fixture *f = *state;
    send_bytes(f, 100);
    assert_int_equal(take(f, 0, 60), 60);
    assert_false(f->input.drained);
    assert_int_equal(take(f, 60, 60), 40);
    assert_true(f->input.drained);
    assert_int_equal(f->input.left, 0);
    assert_nothing(f);
    assert_true(f->input.drained);
}

static void test_more_waits_in_borrowed_memory(void **state)
{
    struct fixture *f = *state;
    send_bytes(f, 50000);
    tls_input_borrow(&f->input, f->room, sizeof(f->room), false);
    assert_int_equal(take(f, 0, 5), 5);
    assert_true(f->input.drained);
    assert_int_equal(f->input.left, 49995);
    size_t offset = 5;
    while (offset < 50000)
        offset += take(f, offset, 16000);
    assert_int_equal(offset, 50000);
    assert_nothing(f);
}

/* At worst OpenSSL holds all but a byte of a record when it asks, and has used everything that it
 * ever got when it asks again. */
static void test_plain_text_does_not_reach_what_waits(void **state)
{
    struct fixture *f = *state;
    size_t held = RECORD - 1, taken = 0;
    send_bytes(f, 120000);
    tls_input_borrow(&f->input, f->room, sizeof(f->room), false);
    while (taken < 120000) {
        taken += take(f, taken, 16000);
        memset(f->room, 0, held + taken);
    }
}

static void test_a_small_loan_is_of_no_use(void **state)
{
    struct fixture *f = *state;
    send_bytes(f, 100);
    tls_input_borrow(&f->input, f->room, RECORD + 60, false);
    assert_int_equal(take(f, 0, 60), 60);
    assert_int_equal(f->input.left, 0);
    tls_input_borrow(&f->input, f->room, RECORD + 31, false);
    assert_int_equal(take(f, 60, 30), 30);
    assert_int_equal(f->input.left, 1);
}

static void test_enough(void **state)
{
    struct fixture *f = *state;
    send_bytes(f, 100);
    tls_input_borrow(&f->input, f->room, sizeof(f->room), true);
    assert_nothing(f);
    assert_false(f->input.drained); /* the socket was not read */
    tls_input_borrow(&f->input, f->room, sizeof(f->room), false);
    assert_int_equal(take(f, 0, 60), 60);
    tls_input_borrow(&f->input, f->room, sizeof(f->room), true);
    assert_int_equal(take(f, 60, 60), 40); /* it was at hand */
}

static void test_what_waits_outlives_the_loan(void **state)
{
    struct fixture *f = *state;
    send_bytes(f, 50000);
    tls_input_borrow(&f->input, f->room, sizeof(f->room), false);
    assert_int_equal(take(f, 0, 60), 60);
    assert_int_equal(tls_input_own(&f->input), 0);
    memset(f->room, 0, sizeof(f->room));
    assert_int_equal(take(f, 60, 60), 60);
    tls_input_borrow(&f->input, f->room, sizeof(f->room), false); /* the next one */
    assert_int_equal(take(f, 120, 60), 60);
    assert_int_equal(tls_input_own(&f->input), 0);
    memset(f->room, 0, sizeof(f->room));
    for (size_t offset = 180; offset < 50000;)
        offset += take(f, offset, 16000);
    assert_null(f->input.kept);
    assert_nothing(f);
}

static void test_drop(void **state)
{
    struct fixture *f = *state;
    send_bytes(f, 50000);
    tls_input_borrow(&f->input, f->room, sizeof(f->room), false);
    assert_int_equal(take(f, 0, 60), 60);
    assert_int_equal(tls_input_own(&f->input), 0);
    tls_input_drop(&f->input);
    assert_nothing(f);
}

static void test_end(void **state)
{
    struct fixture *f = *state;
    assert_nothing(f);
    assert_false(BIO_eof(f->bio));
    close(f->peer);
    f->peer = -1;
    assert_int_equal(BIO_read(f->bio, f->taken, 1), 0);
    assert_false(BIO_should_retry(f->bio));
    assert_true(BIO_eof(f->bio));
}

static void test_failure(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(send(f->input.fd, "x", 1, 0), 1); /* unread bytes make it a reset */
    close(f->peer);
    f->peer = -1;
    assert_int_equal(BIO_read(f->bio, f->taken, 1), -1);
    assert_int_equal(errno, ECONNRESET);
    assert_false(BIO_should_retry(f->bio));
    assert_false(BIO_eof(f->bio));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_without_a_loan),
        TEST(test_more_waits_in_borrowed_memory),
        TEST(test_plain_text_does_not_reach_what_waits),
        TEST(test_a_small_loan_is_of_no_use),
        TEST(test_enough),
        TEST(test_what_waits_outlives_the_loan),
        TEST(test_drop),
        TEST(test_end),
        TEST(test_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
