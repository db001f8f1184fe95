/* SPDX-License-Identifier: ISC */
/* A stream with TLS that has completed the handshake with its peer, and a system whose calls can be
 * made to fail. To be linked with --wrap=BIO_ctrl and --wrap=SSL_write_ex. */
#ifndef KAPROXY_TLS_STREAM_FIXTURE_H
#define KAPROXY_TLS_STREAM_FIXTURE_H

#include "support/tls_world.h"

struct fixture {
    struct world world;
    struct tls_client *client;
    SSL_CTX *context;
    struct pair pair;
    char buffer[64 * 1024];
};

extern int interruptions; /* this many calls on the stream's socket will be interrupted */
extern int watched_fd;    /* the stream's socket */
extern int reads;         /* this many calls read from it */
extern bool full;         /* it takes nothing */
extern struct write_fault {
    int error; /* errno; 0: none */
    int after; /* this many writes succeed before */
} write_fault;
extern bool pretend_ktls;   /* tls.c sees kTLS; then a repeated write must be the same */
extern const void *pending; /* the memory of a write that has to be repeated, or NULL */
extern unsigned repeated;   /* how many were */

int tls_fixture_setup(void **state);
int tls_fixture_teardown(void **state);
void begin(struct fixture *f, int version);
void begin_bare(struct fixture *f, int version); /* with bare_end */
ssize_t take(struct fixture *f, size_t size);
void assert_fails(ssize_t result, int error);
void assert_peek_after_event(struct fixture *f, enum stream_peek peek);
void put_raw(struct fixture *f, const void *data, size_t size);
void assert_works(struct fixture *f);
void send_ticket(struct fixture *f); /* only into the peer's memory */

#endif
