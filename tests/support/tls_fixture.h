/* SPDX-License-Identifier: ISC */
/* A client and a peer with settings that a test can change before they connect. */
#ifndef KAPROXY_TLS_FIXTURE_H
#define KAPROXY_TLS_FIXTURE_H

#include "support/tls_world.h"

struct fixture {
    struct tls_options options;
    struct tls_client *client;
    SSL_CTX *context; /* the peer's */
    struct pair pair;
};

/* One for all tests of a program: it is never changed. */
extern struct world world;

int tls_make_world(void **state);
int tls_clear_world(void **state);
int tls_fixture_setup(void **state);
int tls_fixture_teardown(void **state);
void start(struct fixture *f);
void prepare(struct fixture *f);
void assert_stats(struct fixture *f, unsigned full, unsigned resumed, unsigned failed);
void connect_ok(struct fixture *f);
void visit(struct fixture *f);
void assert_refused(struct fixture *f, const char *text);
void show(struct fixture *f, const struct identity_options *options);

#endif
