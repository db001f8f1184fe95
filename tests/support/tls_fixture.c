/* SPDX-License-Identifier: ISC */
/* A TLS client and its peer, with settings that can be changed before they connect. */
#include "support/tls_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <unistd.h>

/* Ends a test that waits forever. */
#define WAIT_MAX 120

struct world world;

int tls_make_world(void **state)
{
    (void)state;
    world_make(&world);
    return 0;
}

int tls_clear_world(void **state)
{
    (void)state;
    world_clear(&world);
    return 0;
}

int tls_fixture_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    alarm(WAIT_MAX);
    f->options = (struct tls_options){.server_name = "api.example.com",
                                      .verify = true,
                                      .ca_file = world.ca_file,
                                      .cert_file = "",
                                      .key_file = "",
                                      .min_version = "1.2",
                                      .alpn = "http/1.1"};
    *state = f;
    return 0;
}

int tls_fixture_teardown(void **state)
{
    struct fixture *f = *state;
    tls_client_unref(f->client);
    SSL_CTX_free(f->context);
    free(f);
    return 0;
}

void start(struct fixture *f)
{
    struct tls_mistake mistake;
    f->client = tls_client_new(&f->options, &mistake);
    assert_string_equal(mistake.text, "");
    assert_non_null(f->client);
}

/* Makes client and peer unless the test has done so. */
void prepare(struct fixture *f)
{
    if (f->client == NULL)
        start(f);
    if (f->context == NULL)
        f->context = tls_peer_context(&world.good, NULL);
}

void assert_stats(struct fixture *f, unsigned full, unsigned resumed, unsigned failed)
{
    const struct counter *handshakes = tls_client_stats(f->client)->handshakes;
    assert_int_equal(counter_get(&handshakes[TLS_HANDSHAKE_FULL]), full);
    assert_int_equal(counter_get(&handshakes[TLS_HANDSHAKE_RESUMED]), resumed);
    assert_int_equal(counter_get(&handshakes[TLS_HANDSHAKE_FAILED]), failed);
}

/* Connects, and leaves the pair open. */
void connect_ok(struct fixture *f)
{
    prepare(f);
    pair_make(&f->pair, f->client, f->context);
    enum tls_result result = pair_handshake(&f->pair);
    assert_string_equal(stream_failure(&f->pair.stream), "");
    assert_int_equal(result, TLS_DONE);
}

/* A whole connection: the tickets after the handshake are read. */
void visit(struct fixture *f)
{
    connect_ok(f);
    tls_peer_send(&f->pair, "hello");
    pair_expect(&f->pair, "hello");
    pair_clear(&f->pair);
}

void assert_refused(struct fixture *f, const char *text)
{
    prepare(f);
    pair_make(&f->pair, f->client, f->context);
    assert_int_equal(pair_handshake(&f->pair), TLS_FAILED);
    assert_string_equal(stream_failure(&f->pair.stream), text);
    assert_int_equal(stream_handshake(&f->pair.stream), TLS_FAILED);
    pair_clear(&f->pair);
}

/* The peer shows this certificate from now on. */
void show(struct fixture *f, const struct identity_options *options)
{
    struct identity identity;
    identity_make(&identity, options);
    SSL_CTX_free(f->context);
    f->context = tls_peer_context(&identity, NULL);
    identity_clear(&identity);
}
