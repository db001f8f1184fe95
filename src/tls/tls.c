/* SPDX-License-Identifier: ISC */
/* One TLS connection: handshake, reads, writes, closure, and OpenSSL's results. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "tls/tls_internal.h"

/* More steps than any upstream needs in one call; a ticket or a key update takes up to three. */
#define STEPS_MAX 1000

/* Called by OpenSSL at each step of a handshake, and of a TLS protocol message after it. OpenSSL
 * keeps reading such messages until there is data, so an upstream that sends them endlessly would
 * block everyone. OpenSSL stops because this looks like the end of the connection. */
static void on_step(const SSL *ssl, int where, int result)
{
    struct tls *tls = SSL_get_app_data(ssl);
    (void)result;
    if (tls->open && (where & SSL_CB_LOOP) != 0 && ++tls->steps > STEPS_MAX)
        SSL_set_shutdown(tls->ssl, SSL_RECEIVED_SHUTDOWN);
}

/* Reads go through tls_input.c. Writes do not: only OpenSSL's own BIO can leave encryption to the
 * kernel, and gathering records before the socket would save no more than corking it. */
static int attach(struct tls *tls)
{
    BIO *bio = tls_input_bio(&tls->input, tls->client->input);
    if (bio == NULL)
        return -1;
    SSL_set0_rbio(tls->ssl, bio);
    return SSL_set_wfd(tls->ssl, tls->fd) == 1 ? 0 : -1;
}

struct tls *tls_new(struct tls_client *client, int fd)
{
    struct tls *tls = calloc(1, sizeof(*tls));
    if (tls == NULL)
        return NULL;
    tls->client = tls_client_ref(client);
    tls->fd = tls->input.fd = fd;
    ERR_clear_error();
    tls->ssl = SSL_new(client->context);
    if (tls->ssl == NULL || attach(tls) < 0 || SSL_set_app_data(tls->ssl, tls) != 1)
        goto err_tls;
    SSL_set_info_callback(tls->ssl, on_step);
    if (!client->is_address && *client->name != '\0' &&
        SSL_set_tlsext_host_name(tls->ssl, client->name) != 1)
        goto err_tls;
    SSL_SESSION *session = tls_session_take(client);
    if (session != NULL) {
        tls->offered = SSL_set_session(tls->ssl, session) == 1;
        SSL_SESSION_free(session);
    }
    return tls;

err_tls:
    ERR_clear_error();
    tls_free(tls);
    errno = ENOMEM;
    return NULL;
}

void tls_free(struct tls *tls)
{
    if (tls == NULL)
        return;
    SSL_free(tls->ssl);
    tls_client_unref(tls->client);
    tls_input_drop(&tls->input);
    free(tls->record);
    free(tls);
}

const char *tls_failure(const struct tls *tls)
{
    return tls->failure;
}

enum tls_fault tls_fault(const struct tls *tls)
{
    if (tls->failure[0] == '\0')
        return TLS_FAULT_NONE;
    return tls->fault != TLS_FAULT_NONE ? tls->fault : TLS_FAULT_PROTOCOL;
}

/* OpenSSL reports errors through its queue and errno, both of which must be clean before a call.
 * The queue nearly always is, as the code that finds errors removes them; and checking is cheaper
 * than clearing. */
static void begin_call(void)
{
    if (ERR_peek_error() != 0)
        ERR_clear_error();
    errno = 0;
}

static int broken(struct tls *tls, int number)
{
    tls->error = number;
    /* RFC 5246 7.2.2: the sessions of a connection that failed must be forgotten. */
    if (number == EPROTO)
        tls_session_forget_all(tls->client);
    errno = number;
    return -1;
}

/* OpenSSL consumes a record's header, and then holds nothing while it waits for the rest. */
static bool is_inside_record(const struct tls *tls)
{
    return strcmp(SSL_rstate_string(tls->ssl), "RB") == 0;
}

/* Whether bytes from the socket are waiting in memory. */
static bool holds_bytes(const struct tls *tls)
{
    return tls->input.left > 0 || SSL_has_pending(tls->ssl) == 1;
}

/* EOF without close_notify; with bare_end OpenSSL reports both the same way. */
static bool is_truncation(const struct tls *tls, int error)
{
    if (error == SSL_ERROR_ZERO_RETURN)
        return tls->input.ended && (is_inside_record(tls) || holds_bytes(tls));
    return error == SSL_ERROR_SSL &&
           ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
}

/* The outcome of a call that did not succeed: 0 at the end; -1 with errno, EINTR: call again. */
static int end_call(struct tls *tls, int result)
{
    int number = errno;
    int error = SSL_get_error(tls->ssl, result);
    if (tls->steps > STEPS_MAX) {
        snprintf(tls->failure, sizeof(tls->failure), TLS_TEXT_FLOOD);
        return broken(tls, EPROTO);
    }
    switch (error) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        errno = number == EINTR ? EINTR : EAGAIN;
        return -1;
    case SSL_ERROR_SYSCALL:
        number = number != 0 ? number : ECONNRESET;
        break;
    default:
        tls->truncated = is_truncation(tls, error);
        if (error == SSL_ERROR_ZERO_RETURN && !tls->truncated)
            return 0;
        number = tls->truncated ? ECONNRESET : EPROTO;
    }
    tls_text_failure(tls, error, error == SSL_ERROR_SYSCALL ? number : 0);
    return broken(tls, number);
}

/* An upstream that answers the offer with another protocol is going to speak that one. */
static bool chose_other_protocol(struct tls *tls)
{
    const unsigned char *name;
    unsigned length;
    SSL_get0_alpn_selected(tls->ssl, &name, &length);
    const char *offered = tls->client->alpn;
    if (offered == NULL || length == 0)
        return false;
    if (length == strlen(offered) && memcmp(name, offered, length) == 0)
        return false;
    snprintf(tls->failure, sizeof(tls->failure), TLS_TEXT_ALPN);
    return true;
}

static enum tls_result fail_handshake(struct tls *tls)
{
    counter_add(&tls->client->stats.handshakes[TLS_HANDSHAKE_FAILED], 1);
    if (tls->offered)
        tls_session_forget_all(tls->client);
    return TLS_FAILED;
}

static void finish_full_handshake(struct tls *tls)
{
    counter_add(&tls->client->stats.handshakes[TLS_HANDSHAKE_FULL], 1);
    tls_expiry_handshake(tls);
}

static enum tls_result finish_handshake(struct tls *tls)
{
    if (chose_other_protocol(tls)) {
        broken(tls, EPROTO);
        return fail_handshake(tls);
    }
    tls->open = true;
    if (tls->client->bare_end)
        SSL_set_options(tls->ssl, SSL_OP_IGNORE_UNEXPECTED_EOF);
    if (SSL_session_reused(tls->ssl))
        counter_add(&tls->client->stats.handshakes[TLS_HANDSHAKE_RESUMED], 1);
    else
        finish_full_handshake(tls);
    return TLS_DONE;
}

/* An upstream that rejects us sends an alert and closes. It may then be a write that fails, and
 * OpenSSL does not read any more; before the keys are in use, the alert can be read without it. */
static void find_alert(struct tls *tls)
{
    unsigned char record[SSL3_RT_HEADER_LENGTH + 2];
    ssize_t n = recv(tls->fd, record, sizeof(record), MSG_DONTWAIT);
    if (n == sizeof(record) && record[0] == SSL3_RT_ALERT && record[4] == 2)
        tls_text_alert(tls, record[6]);
}

enum tls_result tls_handshake(struct tls *tls)
{
    if (tls->open || tls->error != 0)
        return tls->open ? TLS_DONE : TLS_FAILED;
    int result;
    do {
        begin_call();
        result = SSL_connect(tls->ssl);
        if (result == 1)
            return finish_handshake(tls);
        result = end_call(tls, result);
    } while (result < 0 && errno == EINTR);
    if (result < 0 && errno == EAGAIN)
        return SSL_want_write(tls->ssl) ? TLS_WANTS_WRITE : TLS_WANTS_READ;
    if (result == 0) { /* close_notify */
        tls_text_failure(tls, SSL_ERROR_ZERO_RETURN, 0);
        broken(tls, ECONNRESET);
    }
    if (tls->error == ECONNRESET || tls->error == EPIPE)
        find_alert(tls);
    return fail_handshake(tls);
}

/* The data of at most one record: its size, 0 for close_notify, -1 with errno. */
static ssize_t read_record(struct tls *tls, void *buffer, size_t size)
{
    int result;
    if (tls->error != 0) {
        errno = tls->error;
        return -1;
    }
    do {
        size_t got;
        begin_call();
        result = SSL_read_ex(tls->ssl, buffer, size, &got);
        if (result == 1)
            return (ssize_t)got;
        result = end_call(tls, result);
    } while (result < 0 && errno == EINTR);
    return result;
}

/* `last` is the result of the last record read. Bytes that could not be kept because memory is
 * short leave a gap that cannot be read past. */
static void end_read(struct tls *tls, ssize_t last)
{
    int error = errno;
    if (last == 0 || tls->error != 0)
        tls_input_drop(&tls->input);
    if (tls_input_own(&tls->input) < 0)
        broken(tls, ENOMEM);
    bool all = last > 0 ? !holds_bytes(tls) : last < 0 && !tls_is_busy(tls);
    tls->drained = tls->input.drained && tls->error == 0 && all;
    errno = error;
}

/* If the connection ends or breaks after some bytes, the next read finds that again. */
ssize_t tls_read(struct tls *tls, void *buffer, size_t size)
{
    char *bytes = buffer;
    size_t sum = 0;
    ssize_t n;
    tls->steps = 0;
    tls->input.drained = false;
    do {
        tls_input_borrow(&tls->input, bytes + sum, size - sum, sum > 0);
        n = read_record(tls, bytes + sum, size - sum);
        if (n > 0)
            sum += (size_t)n;
    } while (n > 0 && sum < size && holds_bytes(tls));
    end_read(tls, n);
    return sum > 0 ? (ssize_t)sum : n;
}

bool tls_is_drained(const struct tls *tls)
{
    return tls->drained;
}

/* A write has failed: if the socket is the cause, bytes received before can still be read. */
static void keep_reading(struct tls *tls)
{
    if (tls->error == 0 || tls->error == EPROTO)
        return;
    tls->write_error = tls->error;
    tls->error = 0;
}

/* Writes at most one record; returns how many bytes, or -1 with errno. */
static ssize_t write_some(struct tls *tls, const void *data, size_t size)
{
    int result;
    do {
        size_t taken;
        begin_call();
        result = SSL_write_ex(tls->ssl, data, size, &taken);
        if (result == 1)
            return (ssize_t)taken;
        result = end_call(tls, result);
    } while (result < 0 && errno == EINTR);
    if (result == 0) /* impossible for a write */
        errno = EPIPE;
    tls->blocked = errno == EAGAIN;
    keep_reading(tls);
    return -1;
}

/* With kTLS, OpenSSL repeats a write from the memory of the first attempt, whatever
 * SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER says, and without having copied it. */
static ssize_t write_from_own_memory(struct tls *tls, const void *data, size_t size)
{
    if (tls->record == NULL) {
        tls->record_length = size < SSL3_RT_MAX_PLAIN_LENGTH ? size : SSL3_RT_MAX_PLAIN_LENGTH;
        tls->record = malloc(tls->record_length);
        if (tls->record == NULL)
            return -1;
        memcpy(tls->record, data, tls->record_length);
    }
    ssize_t n = write_some(tls, tls->record, tls->record_length);
    if (n < 0 && errno == EAGAIN)
        return -1;
    int error = errno;
    free(tls->record);
    tls->record = NULL;
    errno = error;
    return n;
}

static ssize_t write_record(struct tls *tls, const void *data, size_t size)
{
    if (tls->record != NULL || BIO_get_ktls_send(SSL_get_wbio(tls->ssl)))
        return write_from_own_memory(tls, data, size);
    return write_some(tls, data, size);
}

/* The position of a write in its parts. */
struct cursor {
    const struct iovec *parts;
    int count;
    size_t offset; /* in the first part */
};

static void advance(struct cursor *cursor, size_t size)
{
    while (cursor->count > 0 && size >= cursor->parts->iov_len - cursor->offset) {
        size -= cursor->parts->iov_len - cursor->offset;
        cursor->offset = 0;
        cursor->parts++;
        cursor->count--;
    }
    cursor->offset += size;
}

/* Copies as many bytes as fit; returns how many. */
static size_t gather(const struct cursor *cursor, char *buffer, size_t size)
{
    struct cursor from = *cursor;
    size_t sum = 0;
    while (from.count > 0 && sum < size) {
        size_t part = from.parts->iov_len - from.offset;
        if (part > size - sum)
            part = size - sum;
        if (part > 0)
            memcpy(buffer + sum, (const char *)from.parts->iov_base + from.offset, part);
        sum += part;
        advance(&from, part);
    }
    return sum;
}

/* Small parts share a record, as each record costs a message on the wire and a system call. */
static ssize_t write_next(struct tls *tls, const struct cursor *cursor)
{
    char record[SSL3_RT_MAX_PLAIN_LENGTH];
    size_t first = cursor->parts->iov_len - cursor->offset;
    if (cursor->count == 1 || first >= sizeof(record))
        return write_record(tls, (const char *)cursor->parts->iov_base + cursor->offset, first);
    return write_record(tls, record, gather(cursor, record, sizeof(record)));
}

/* Writes everything from the cursor on, or as much as the socket accepts; -1 with errno if that is
 * nothing. */
static ssize_t write_all(struct tls *tls, struct cursor *cursor)
{
    size_t sum = 0;
    while (cursor->count > 0) {
        ssize_t n = write_next(tls, cursor);
        if (n < 0)
            return sum > 0 ? (ssize_t)sum : -1;
        sum += (size_t)n;
        advance(cursor, (size_t)n);
    }
    return (ssize_t)sum;
}

/* While it is on, records wait in the kernel and leave together. */
static void cork(struct tls *tls, int on)
{
    int error = errno;
    setsockopt(tls->fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on));
    errno = error;
}

/* OpenSSL writes record by record: each would be a separate packet, and wake the upstream. */
static ssize_t write_corked(struct tls *tls, struct cursor *cursor)
{
    cork(tls, 1);
    ssize_t n = write_all(tls, cursor);
    cork(tls, 0);
    return n;
}

static bool takes_records(const struct cursor *cursor)
{
    size_t size = 0;
    for (int i = 0; i < cursor->count; i++)
        size += cursor->parts[i].iov_len;
    return size > SSL3_RT_MAX_PLAIN_LENGTH;
}

ssize_t tls_writev(struct tls *tls, const struct iovec *parts, int count)
{
    struct cursor cursor = {.parts = parts, .count = count};
    tls->steps = 0;
    tls->blocked = false;
    int error = tls->error != 0 ? tls->error : tls->write_error;
    if (error != 0 || tls->end != END_OPEN) {
        errno = error != 0 ? error : EPIPE;
        return -1;
    }
    advance(&cursor, 0); /* skip empty parts */
    return takes_records(&cursor) ? write_corked(tls, &cursor) : write_all(tls, &cursor);
}

bool tls_is_blocked(const struct tls *tls)
{
    return tls->blocked;
}

bool tls_has_pending(const struct tls *tls)
{
    return holds_bytes(tls) || is_inside_record(tls) || tls_is_busy(tls);
}

bool tls_is_busy(const struct tls *tls)
{
    return tls->open && tls->error == 0 && SSL_in_init(tls->ssl);
}

/* True if the socket has nothing at all, or is broken: cheaper than asking OpenSSL, which would
 * allocate a buffer first. */
static bool socket_is_empty(struct tls *tls)
{
    char byte;
    if (recv(tls->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno == EINTR)
        return false;
    if (errno != EAGAIN && errno != EWOULDBLOCK) {
        int number = errno; /* the next call would no longer find it */
        tls_text_failure(tls, SSL_ERROR_SYSCALL, number);
        broken(tls, number);
    }
    return true;
}

/* 1: bytes can be read; 0: close_notify; -1 with errno. */
static int peek(struct tls *tls)
{
    char byte;
    int result;
    do {
        size_t got;
        begin_call();
        result = SSL_peek_ex(tls->ssl, &byte, 1, &got);
        if (result != 1)
            result = end_call(tls, result);
    } while (result < 0 && errno == EINTR);
    return result;
}

/* Whether OpenSSL holds nothing that a peek would find. */
static bool memory_is_empty(const struct tls *tls)
{
    return !tls_has_pending(tls) && (SSL_get_shutdown(tls->ssl) & SSL_RECEIVED_SHUTDOWN) == 0;
}

int tls_peek(struct tls *tls)
{
    int found = -1;
    tls->steps = 0;
    if (tls->error == 0 && (!memory_is_empty(tls) || !socket_is_empty(tls)))
        found = peek(tls);
    if (found > 0)
        return 1;
    if (found < 0 && tls->error == 0)
        return 0;
    errno = found == 0 || tls->truncated ? 0 : tls->error;
    return -1;
}

int tls_end_write(struct tls *tls)
{
    if (!tls->open || tls->error != 0 || tls->write_error != 0 || tls->end == END_SENT)
        return 0;
    tls->end = END_PENDING;
    if (tls_is_busy(tls)) {
        errno = EAGAIN;
        return -1;
    }
    int result;
    do {
        begin_call();
        result = SSL_shutdown(tls->ssl);
        if (result >= 0) {
            tls->end = END_SENT;
            return 0;
        }
        result = end_call(tls, result);
    } while (result < 0 && errno == EINTR);
    keep_reading(tls);
    return result;
}

bool tls_is_ending(const struct tls *tls)
{
    return tls->end == END_PENDING && tls->error == 0 && tls->write_error == 0;
}

bool tls_has_ended(const struct tls *tls)
{
    return tls->end == END_SENT;
}

/* If the socket refused OpenSSL's reply, OpenSSL would treat the connection as failed and stop
 * reading. */
int tls_mute(struct tls *tls)
{
    BIO *sink = BIO_new(BIO_s_null());
    if (sink == NULL) {
        ERR_clear_error();
        errno = ENOMEM;
        return -1;
    }
    SSL_set0_wbio(tls->ssl, sink);
    return 0;
}
