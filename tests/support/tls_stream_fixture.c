/* SPDX-License-Identifier: ISC */
/* A stream with TLS after its handshake, and system calls that can be made to fail. */
#include "support/tls_stream_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Ends a test that waits forever. */
#define WAIT_MAX 120

/* Replace the C library's, which tls.c reads with and OpenSSL writes with, so that a signal can
 * arrive in between, and calls on one descriptor can be counted. */
int interruptions, watched_fd, reads;
bool full; /* the socket takes nothing */

static bool interrupt(void)
{
    if (interruptions == 0)
        return false;
    interruptions--;
    errno = EINTR;
    return true;
}

ssize_t recv(int fd, void *buffer, size_t size, int flags)
{
    if (fd == watched_fd) {
        reads += (flags & MSG_PEEK) == 0;
        if (interrupt())
            return -1;
    }
    return syscall(SYS_recvfrom, fd, buffer, size, flags, NULL, NULL);
}

ssize_t readv(int fd, const struct iovec *parts, int count)
{
    if (fd == watched_fd) {
        reads++;
        if (interrupt())
            return -1;
    }
    return syscall(SYS_readv, fd, parts, count);
}

struct write_fault write_fault;

ssize_t write(int fd, const void *data, size_t size)
{
    if (fd == watched_fd && interrupt())
        return -1;
    if (fd == watched_fd && full) {
        errno = EAGAIN;
        return -1;
    }
    if (fd == watched_fd && write_fault.error != 0 && write_fault.after-- == 0) {
        errno = write_fault.error;
        return -1;
    }
    return syscall(SYS_write, fd, data, size);
}

/* Between tls.c and OpenSSL (ld's --wrap): kTLS as far as tls.c can see, and what it requires of a
 * repeated write. */
bool pretend_ktls;
const void *pending; /* the memory of the write that has to be repeated, or NULL */
static size_t pending_size;
static char pending_copy[SSL3_RT_MAX_PLAIN_LENGTH];
unsigned repeated;

long __real_BIO_ctrl(BIO *bio, int command, long number, void *arg);
long __wrap_BIO_ctrl(BIO *bio, int command, long number, void *arg);
int __real_SSL_write_ex(SSL *ssl, const void *data, size_t size, size_t *written);
int __wrap_SSL_write_ex(SSL *ssl, const void *data, size_t size, size_t *written);

long __wrap_BIO_ctrl(BIO *bio, int command, long number, void *arg)
{
    if (command == BIO_CTRL_GET_KTLS_SEND && pretend_ktls)
        return 1;
    return __real_BIO_ctrl(bio, command, number, arg);
}

int __wrap_SSL_write_ex(SSL *ssl, const void *data, size_t size, size_t *written)
{
    if (pretend_ktls && pending != NULL) {
        assert_ptr_equal(data, pending);
        assert_int_equal(size, pending_size);
        assert_memory_equal(data, pending_copy, size);
        repeated++;
    }
    assert_true(size > 0);
    int result = __real_SSL_write_ex(ssl, data, size, written);
    pending = NULL;
    if (pretend_ktls && result != 1 && SSL_want_write(ssl)) {
        assert_in_range(size, 1, sizeof(pending_copy));
        pending = data;
        pending_size = size;
        memcpy(pending_copy, data, size);
    }
    return result;
}

static struct tls_client *make_client(const struct fixture *f, bool bare_end)
{
    const struct tls_options options = {.server_name = "api.example.com",
                                        .verify = true,
                                        .ca_file = f->world.ca_file,
                                        .cert_file = "",
                                        .key_file = "",
                                        .min_version = "1.2",
                                        .bare_end = bare_end};
    struct tls_mistake mistake;
    struct tls_client *client = tls_client_new(&options, &mistake);
    assert_non_null(client);
    return client;
}

int tls_fixture_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    alarm(WAIT_MAX);
    interruptions = 0;
    watched_fd = -1;
    full = pretend_ktls = false;
    pending = NULL;
    world_make(&f->world);
    f->client = make_client(f, false);
    f->context = tls_peer_context(&f->world.good, NULL);
    SSL_CTX_set_num_tickets(f->context, 0);
    *state = f;
    return 0;
}

int tls_fixture_teardown(void **state)
{
    struct fixture *f = *state;
    pair_clear(&f->pair);
    SSL_CTX_free(f->context);
    tls_client_unref(f->client);
    world_clear(&f->world);
    free(f);
    return 0;
}

/* Connects; the first edges have been reported, and nothing is pending. */
void begin(struct fixture *f, int version)
{
    SSL_CTX_set_max_proto_version(f->context, version);
    pair_make(&f->pair, f->client, f->context);
    assert_int_equal(pair_handshake(&f->pair), TLS_DONE);
    assert_true(f->pair.stream.readable && f->pair.stream.writable);
    loop_iterate(f->pair.loop, 0);
    assert_int_equal(stream_peek(&f->pair.stream), PEEK_QUIET);
    assert_false(f->pair.stream.readable);
    watched_fd = f->pair.stream.fd;
}

void begin_bare(struct fixture *f, int version)
{
    tls_client_unref(f->client);
    f->client = make_client(f, true);
    begin(f, version);
}

ssize_t take(struct fixture *f, size_t size)
{
    return stream_read(&f->pair.stream, f->buffer, size);
}

void assert_fails(ssize_t result, int error)
{
    int number = errno;
    assert_int_equal(result, -1);
    assert_int_equal(number, error);
}

/* The handler is called, and then the peek finds this. */
void assert_peek_after_event(struct fixture *f, enum stream_peek peek)
{
    pair_await(&f->pair);
    assert_int_equal(stream_peek(&f->pair.stream), peek);
}

void put_raw(struct fixture *f, const void *data, size_t size)
{
    assert_int_equal(send(f->pair.fd, data, size, MSG_NOSIGNAL), size);
}

/* Bytes pass in both directions. */
void assert_works(struct fixture *f)
{
    assert_int_equal(stream_write(&f->pair.stream, "ping", 4), 4);
    tls_peer_expect(&f->pair, "ping");
    tls_peer_send(&f->pair, "pong");
    pair_expect(&f->pair, "pong");
}

void send_ticket(struct fixture *f)
{
    assert_int_equal(SSL_new_session_ticket(f->pair.peer), 1);
    assert_int_equal(SSL_do_handshake(f->pair.peer), 1);
}
