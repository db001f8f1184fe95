/* SPDX-License-Identifier: ISC */
/* TLS for the cross-talk test's upstreams. */
#include "crosstalk.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>

static SSL_CTX *context;

static unsigned long take_error(void)
{
    unsigned long error = ERR_get_error();
    ERR_clear_error();
    return error;
}

void tls_prepare(const char *certificate, const char *key)
{
    /* Connections may still be served while the process ends. */
    OPENSSL_init_ssl(OPENSSL_INIT_NO_ATEXIT, NULL);
    context = SSL_CTX_new(TLS_server_method());
    if (context == NULL || SSL_CTX_use_certificate_chain_file(context, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1) {
        ERR_print_errors_fp(stderr);
        exit(2);
    }
}

/* The outcome of a call that did not succeed: as of recv. kaproxy may abort a connection, by a
 * reset or in the handshake; else it must announce its close, and send nothing that is not TLS. */
static ssize_t tell_failure(struct wire *wire, int result)
{
    int number = errno;
    switch (SSL_get_error(wire->tls, result)) {
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        errno = number == EINTR ? EINTR : EAGAIN;
        return -1;
    case SSL_ERROR_SSL: {
        unsigned long error = take_error();
        if (SSL_is_init_finished(wire->tls) ||
            ERR_GET_REASON(error) != SSL_R_UNEXPECTED_EOF_WHILE_READING)
            complain("TLS: %s", ERR_reason_error_string(error));
        break;
    }
    default:
        break;
    }
    wire->broken = true;
    errno = ECONNRESET;
    return -1;
}

bool tls_accept(struct wire *wire, struct random *random)
{
    ssize_t n;
    wire->tls = SSL_new(context);
    if (wire->tls == NULL || SSL_set_fd(wire->tls, wire->fd) != 1)
        abort();
    if (random_below(random, 4) == 0)
        SSL_set_max_proto_version(wire->tls, TLS1_2_VERSION);
    do {
        ERR_clear_error();
        int result = SSL_accept(wire->tls);
        n = result > 0 ? result : tell_failure(wire, result);
    } while (n < 0 && errno == EINTR);
    wire->broken |= n <= 0;
    return n > 0;
}

ssize_t tls_receive(struct wire *wire, void *data, size_t size)
{
    ERR_clear_error();
    int n = SSL_read(wire->tls, data, (int)size);
    return n > 0 ? n : tell_failure(wire, n);
}

ssize_t tls_send(struct wire *wire, const void *data, size_t length)
{
    ERR_clear_error();
    int n = SSL_write(wire->tls, data, (int)length);
    if (n <= 0 && tell_failure(wire, n) == 0) {
        errno = EPIPE;
        return -1;
    }
    return n > 0 ? n : -1;
}

void tls_end(struct wire *wire)
{
    ERR_clear_error();
    if (!wire->broken)
        SSL_shutdown(wire->tls);
}

void tls_free(struct wire *wire)
{
    SSL_free(wire->tls);
    wire->tls = NULL;
}
