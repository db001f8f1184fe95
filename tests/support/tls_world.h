/* SPDX-License-Identifier: ISC */
/* What tests of TLS share: certificates made on the fly, and a stream whose peer speaks TLS only as
 * far as the test lets it. */
#ifndef KAPROXY_TLS_WORLD_H
#define KAPROXY_TLS_WORLD_H

#include <stdbool.h>
#include <stddef.h>

#include <openssl/ssl.h>

#include "net/loop.h"
#include "net/stream.h"
#include "tls/tls.h"

/* A certificate and its key. */
struct identity {
    X509 *certificate;
    EVP_PKEY *key;
};

struct identity_options {
    const char *name; /* of the subject */
    const char *sans; /* "DNS:a.example.com,IP:127.0.0.1"; NULL: none */
    long from, to;    /* days from now; both 0: valid today */
    bool ca;
    const struct identity *issuer; /* NULL: itself */
};

void identity_make(struct identity *identity, const struct identity_options *options);
void identity_clear(struct identity *identity);

/* Append to a PEM file; a passphrase may be NULL. */
void identity_write_certificate(const struct identity *identity, const char *file);
void identity_write_key(const struct identity *identity, const char *file, const char *passphrase);

/* A CA's certificate in ca_file, and a valid identity of api.example.com, in a folder of their own.
 * Ignores SIGPIPE. */
struct world {
    char folder[64];
    char ca_file[96];
    struct identity ca;
    struct identity good;
};

void world_make(struct world *world);
void world_clear(struct world *world);
/* The path of a file in the folder, which is removed with it. */
const char *world_path(const struct world *world, const char *name, char path[96]);

/* The settings of a test's peer: `identity`, and any certificate between it and the CA. */
SSL_CTX *tls_peer_context(const struct identity *identity, const struct identity *between);

/* A stream with TLS, watched, and its peer, joined by TCP. The peer's bytes pass through memory:
 * nothing of them moves on its own. */
struct pair {
    struct loop *loop;
    struct stream stream;
    struct stream_handler handler; /* counts calls */
    unsigned calls;
    SSL *peer;
    BIO *from_stream, *to_stream; /* the peer's memory */
    int fd;                       /* of the peer; -1: closed */
    bool ended;                   /* the peer has read TCP's EOF */
};

/* Connected, the handshake not begun. */
void pair_make(struct pair *pair, struct tls_client *client, SSL_CTX *context);
void pair_clear(struct pair *pair);

/* The whole handshake; the stream acts only when the test says so. */
enum tls_result pair_handshake(struct pair *pair);

/* Moves what was sent to the peer into its memory. */
void tls_peer_take(struct pair *pair);
/* Sends at most this many of the bytes that the peer has to send; returns how many. */
size_t tls_peer_put(struct pair *pair, size_t size);
/* Everything. */
void tls_peer_flush(struct pair *pair);
/* Lets the peer send text, or read it: all of it, as one record. */
void tls_peer_send(struct pair *pair, const char *text);
void tls_peer_expect(struct pair *pair, const char *text);
/* SSL_read of the peer; bytes, 0 for close_notify, -1: there is nothing to read, or TLS is
 * broken. */
int tls_peer_read(struct pair *pair, void *buffer, int size);
/* Ends the connection. */
void tls_peer_close(struct pair *pair);
void tls_peer_reset(struct pair *pair);

/* Waits for the handler's next call. */
void pair_await(struct pair *pair);
/* Reads all of text through the handler. */
void pair_expect(struct pair *pair, const char *text);

#endif
