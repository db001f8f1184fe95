/* SPDX-License-Identifier: ISC */
/* Certificates, a peer and a stream for tests of TLS. */
#include "support/tls_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/sockets.h"

#define DAY (24 * 3600)

/* Certificates */

static void add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static void add_extensions(X509 *certificate, X509 *issuer, const struct identity_options *options)
{
    add_extension(certificate, issuer, NID_basic_constraints,
                  options->ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
    add_extension(certificate, issuer, NID_subject_key_identifier, "hash");
    if (options->issuer != NULL)
        add_extension(certificate, issuer, NID_authority_key_identifier, "keyid");
    if (options->sans != NULL)
        add_extension(certificate, issuer, NID_subject_alt_name, options->sans);
}

void identity_make(struct identity *identity, const struct identity_options *options)
{
    static long serial;
    bool today = options->from == 0 && options->to == 0;
    X509 *certificate = X509_new();
    EVP_PKEY *key = EVP_EC_gen("P-256");
    assert_non_null(certificate);
    assert_non_null(key);
    X509 *issuer = options->issuer != NULL ? options->issuer->certificate : certificate;
    X509_NAME *name = X509_get_subject_name(certificate);
    X509_set_version(certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(certificate), (today ? -1 : options->from) * DAY);
    X509_gmtime_adj(X509_getm_notAfter(certificate), (today ? 365 : options->to) * DAY);
    X509_set_pubkey(certificate, key);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)options->name, -1,
                               -1, 0);
    X509_set_issuer_name(certificate, X509_get_subject_name(issuer));
    add_extensions(certificate, issuer, options);
    EVP_PKEY *signer = options->issuer != NULL ? options->issuer->key : key;
    assert_true(X509_sign(certificate, signer, EVP_sha256()) > 0);
    *identity = (struct identity){.certificate = certificate, .key = key};
}

void identity_clear(struct identity *identity)
{
    X509_free(identity->certificate);
    EVP_PKEY_free(identity->key);
    *identity = (struct identity){.certificate = NULL};
}

void identity_write_certificate(const struct identity *identity, const char *file)
{
    FILE *out = fopen(file, "a");
    assert_non_null(out);
    assert_int_equal(PEM_write_X509(out, identity->certificate), 1);
    assert_int_equal(fclose(out), 0);
}

void identity_write_key(const struct identity *identity, const char *file, const char *passphrase)
{
    FILE *out = fopen(file, "a");
    const EVP_CIPHER *cipher = passphrase != NULL ? EVP_aes_128_cbc() : NULL;
    assert_non_null(out);
    assert_int_equal(PEM_write_PKCS8PrivateKey(out, identity->key, cipher, passphrase,
                                               passphrase != NULL ? (int)strlen(passphrase) : 0,
                                               NULL, NULL),
                     1);
    assert_int_equal(fclose(out), 0);
}

/* The world */

void world_make(struct world *world)
{
    const struct identity_options ca = {.name = "Test CA", .ca = true};
    const struct identity_options good = {
        .name = "good", .sans = "DNS:api.example.com", .issuer = &world->ca};
    signal(SIGPIPE, SIG_IGN);
    snprintf(world->folder, sizeof(world->folder), "/tmp/kaproxy-tls.XXXXXX");
    assert_non_null(mkdtemp(world->folder));
    world_path(world, "ca.pem", world->ca_file);
    identity_make(&world->ca, &ca);
    identity_make(&world->good, &good);
    identity_write_certificate(&world->ca, world->ca_file);
}

void world_clear(struct world *world)
{
    char path[96];
    struct dirent *entry;
    DIR *folder = opendir(world->folder);
    assert_non_null(folder);
    while ((entry = readdir(folder)) != NULL) {
        if (entry->d_name[0] != '.')
            unlink(world_path(world, entry->d_name, path));
    }
    closedir(folder);
    assert_int_equal(rmdir(world->folder), 0);
    identity_clear(&world->good);
    identity_clear(&world->ca);
}

const char *world_path(const struct world *world, const char *name, char path[96])
{
    snprintf(path, 96, "%.60s/%.30s", world->folder, name);
    return path;
}

SSL_CTX *tls_peer_context(const struct identity *identity, const struct identity *between)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    assert_non_null(context);
    assert_int_equal(SSL_CTX_use_certificate(context, identity->certificate), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(context, identity->key), 1);
    if (between != NULL)
        assert_int_equal(SSL_CTX_add1_chain_cert(context, between->certificate), 1);
    SSL_CTX_set_session_id_context(context, (const unsigned char *)"kaproxy", 7);
    return context;
}

/* Pairs */

static void on_ready(struct stream_handler *handler, struct stream *stream)
{
    struct pair *pair = container_of(handler, struct pair, handler);
    assert_ptr_equal(stream, &pair->stream);
    pair->calls++;
}

void pair_make(struct pair *pair, struct tls_client *client, SSL_CTX *context)
{
    int fd, on = 1;
    *pair = (struct pair){.loop = loop_new(), .handler.ready = on_ready};
    assert_non_null(pair->loop);
    sockets_connect(&fd, &pair->fd);
    assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), 0);
    assert_int_equal(setsockopt(pair->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    stream_init(&pair->stream, fd);
    stream_set_handler(&pair->stream, &pair->handler);
    assert_int_equal(stream_start_tls(&pair->stream, client), 0);
    assert_int_equal(stream_watch(&pair->stream, pair->loop), 0);
    pair->peer = SSL_new(context);
    pair->from_stream = BIO_new(BIO_s_mem());
    pair->to_stream = BIO_new(BIO_s_mem());
    SSL_set_bio(pair->peer, pair->from_stream, pair->to_stream);
    SSL_set_accept_state(pair->peer);
}

void pair_clear(struct pair *pair)
{
    stream_close(&pair->stream);
    SSL_set_shutdown(pair->peer,
                     SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* keeps its sessions */
    SSL_free(pair->peer);
    if (pair->fd >= 0)
        close(pair->fd);
    loop_free(pair->loop);
    ERR_clear_error();
}

void tls_peer_take(struct pair *pair)
{
    char block[16 * 1024];
    ssize_t n;
    while (pair->fd >= 0 && (n = recv(pair->fd, block, sizeof(block), MSG_DONTWAIT)) >= 0) {
        pair->ended = n == 0;
        if (n == 0)
            return;
        assert_int_equal(BIO_write(pair->from_stream, block, (int)n), n);
    }
}

size_t tls_peer_put(struct pair *pair, size_t size)
{
    static char sink[64 * 1024];
    char *data;
    long waiting = BIO_get_mem_data(pair->to_stream, &data);
    if (waiting <= 0 || pair->fd < 0)
        return 0;
    if (size > (size_t)waiting)
        size = (size_t)waiting;
    if (size > sizeof(sink))
        size = sizeof(sink);
    ssize_t n = send(pair->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n <= 0)
        return 0;
    assert_int_equal(BIO_read(pair->to_stream, sink, (int)n), n);
    return (size_t)n;
}

void tls_peer_flush(struct pair *pair)
{
    while (tls_peer_put(pair, SIZE_MAX) > 0)
        ;
}

void tls_peer_send(struct pair *pair, const char *text)
{
    assert_int_equal(SSL_write(pair->peer, text, (int)strlen(text)), strlen(text));
    tls_peer_flush(pair);
}

int tls_peer_read(struct pair *pair, void *buffer, int size)
{
    tls_peer_take(pair);
    ERR_clear_error();
    int n = SSL_read(pair->peer, buffer, size);
    tls_peer_flush(pair); /* what reading made it send */
    if (n > 0)
        return n;
    return SSL_get_error(pair->peer, n) == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}

static void peer_wait(const struct pair *pair)
{
    struct pollfd wait = {.fd = pair->fd, .events = POLLIN};
    assert_true(poll(&wait, 1, -1) > 0);
}

void tls_peer_expect(struct pair *pair, const char *text)
{
    char buffer[1024];
    int n;
    while ((n = tls_peer_read(pair, buffer, sizeof(buffer))) < 0) {
        assert_int_equal(SSL_get_error(pair->peer, n), SSL_ERROR_WANT_READ);
        peer_wait(pair);
    }
    assert_int_equal(n, strlen(text));
    assert_memory_equal(buffer, text, strlen(text));
}

void tls_peer_close(struct pair *pair)
{
    tls_peer_take(pair);
    close(pair->fd);
    pair->fd = -1;
}

void tls_peer_reset(struct pair *pair)
{
    const struct linger hard = {.l_onoff = 1, .l_linger = 0};
    assert_int_equal(setsockopt(pair->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0);
    close(pair->fd);
    pair->fd = -1;
}

void pair_await(struct pair *pair)
{
    unsigned before = pair->calls;
    while (pair->calls == before)
        loop_iterate(pair->loop, -1);
}

static bool peer_is_shaking(const struct pair *pair)
{
    return SSL_in_init(pair->peer) && SSL_want_read(pair->peer) && pair->fd >= 0 && !pair->ended;
}

static void peer_step(struct pair *pair)
{
    tls_peer_take(pair);
    ERR_clear_error();
    SSL_do_handshake(pair->peer);
    ERR_clear_error();
    tls_peer_flush(pair);
}

/* No reads or writes yet: the flags are left to the handshake. */
static enum tls_result shake(struct pair *pair)
{
    pair->stream.readable = pair->stream.writable = false;
    return stream_handshake(&pair->stream);
}

enum tls_result pair_handshake(struct pair *pair)
{
    enum tls_result result = shake(pair);
    peer_step(pair);
    while (result == TLS_WANTS_READ || result == TLS_WANTS_WRITE) {
        unsigned before = pair->calls;
        loop_iterate(pair->loop, USEC_PER_MSEC);
        if (pair->calls != before)
            result = shake(pair);
        peer_step(pair);
    }
    while (result == TLS_DONE && peer_is_shaking(pair)) {
        peer_wait(pair);
        peer_step(pair);
    }
    return result;
}

void pair_expect(struct pair *pair, const char *text)
{
    char buffer[1024];
    size_t got = 0;
    while (got < strlen(text)) {
        while (!pair->stream.readable)
            pair_await(pair);
        ssize_t n = stream_read(&pair->stream, buffer + got, sizeof(buffer) - got);
        if (n < 0)
            assert_int_equal(errno, EAGAIN);
        else
            got += (size_t)n;
        assert_true(n != 0);
    }
    assert_int_equal(got, strlen(text));
    assert_memory_equal(buffer, text, got);
}
