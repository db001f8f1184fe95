/* SPDX-License-Identifier: ISC */
/* TLS sessions: which are resumed, which are not; memory over many handshakes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <malloc.h>
#include <sys/socket.h>
#include <time.h>

#include "support/tls_fixture.h"

/* Between tls_session.c and the C library (ld's --wrap). */
static time_t skew;

time_t __real_time(time_t *at);
time_t __wrap_time(time_t *at);

time_t __wrap_time(time_t *at)
{
    return __real_time(at) + skew;
}

/* Resumption */

static void test_resumption_1_2(void **state)
{
    struct fixture *f = *state;
    prepare(f);
    SSL_CTX_set_max_proto_version(f->context, TLS1_2_VERSION);
    for (int i = 0; i < 4; i++)
        visit(f);
    assert_stats(f, 1, 3, 0);
}

/* Session identifiers, if the upstream has no tickets. */
static void test_resumption_1_2_without_tickets(void **state)
{
    struct fixture *f = *state;
    prepare(f);
    SSL_CTX_set_max_proto_version(f->context, TLS1_2_VERSION);
    SSL_CTX_set_options(f->context, SSL_OP_NO_TICKET);
    for (int i = 0; i < 4; i++)
        visit(f);
    assert_stats(f, 1, 3, 0);
}

static void test_resumption_1_3(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 6; i++)
        visit(f);
    assert_stats(f, 1, 5, 0);
}

/* Two tickets arrived with the first handshake, and each serves once. */
static void test_tickets_of_1_3_serve_once(void **state)
{
    struct fixture *f = *state;
    visit(f);
    SSL_CTX_set_num_tickets(f->context, 0);
    for (int i = 0; i < 4; i++)
        visit(f);
    assert_stats(f, 3, 2, 0);
}

/* The newest are kept. */
static void test_tickets_are_bounded(void **state)
{
    struct fixture *f = *state;
    prepare(f);
    SSL_CTX_set_num_tickets(f->context, 100);
    visit(f);
    SSL_CTX_set_num_tickets(f->context, 0);
    for (int i = 0; i < 20; i++)
        visit(f);
    assert_stats(f, 13, 8, 0);
}

/* A connection that was not closed in order is not a reason to forget its session. */
static void test_resumption_after_truncation(void **state)
{
    struct fixture *f = *state;
    char byte;
    prepare(f);
    for (int i = 0; i < 4; i++) {
        SSL_CTX_set_max_proto_version(f->context, TLS1_2_VERSION);
        connect_ok(f);
        tls_peer_close(&f->pair);
        while (stream_read(&f->pair.stream, &byte, 1) < 0 && errno == EAGAIN)
            pair_await(&f->pair);
        pair_clear(&f->pair);
    }
    assert_stats(f, 1, 3, 0);
}

/* Of more than are kept the newest stay. */
static void test_newest_tickets_are_kept(void **state)
{
    struct fixture *f = *state;
    prepare(f);
    SSL_CTX_set_num_tickets(f->context, 100);
    visit(f);
    SSL_CTX_free(f->context); /* an upstream with other keys: one ticket is lost on it */
    f->context = tls_peer_context(&world.good, NULL);
    visit(f);
    SSL_CTX_set_num_tickets(f->context, 0);
    for (int i = 0; i < 3; i++)
        visit(f);
    assert_stats(f, 3, 2, 0);
}

/* Whatever the upstream says, and however the clock is set. */
static void age_session(struct fixture *f, int version, long lifetime, time_t age, bool resumed)
{
    prepare(f);
    SSL_CTX_set_max_proto_version(f->context, version);
    SSL_CTX_set_timeout(f->context, lifetime);
    visit(f);
    skew = age;
    visit(f);
    skew = 0;
    assert_stats(f, resumed ? 1 : 2, resumed ? 1 : 0, 0);
    tls_client_unref(f->client);
    f->client = NULL;
}

static void test_sessions_age(void **state)
{
    struct fixture *f = *state;
    const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        age_session(f, versions[i], 100, 50, true);
        age_session(f, versions[i], 100, 110, false);
        age_session(f, versions[i], 7 * 86400, 86400 + 10, false);
        age_session(f, versions[i], 100, -50, false);
    }
    age_session(f, TLS1_3_VERSION, 7 * 86400, 86400 - 10, true);
}

/* RFC 5246 7.2.2 */
static void test_session_of_a_broken_connection(void **state)
{
    struct fixture *f = *state;
    char byte;
    ssize_t n;
    visit(f);
    connect_ok(f);
    assert_stats(f, 1, 1, 0);
    assert_int_equal(send(f->pair.fd, "HTTP/1.1 400 Bad\r\n", 18, 0), 18);
    while ((n = stream_read(&f->pair.stream, &byte, 1)) < 0 && errno == EAGAIN)
        pair_await(&f->pair);
    assert_int_equal(n, -1);
    assert_int_equal(errno, EPROTO);
    pair_clear(&f->pair);
    visit(f);
    assert_stats(f, 2, 1, 0);
}

/* An upstream that has forgotten its keys. */
static void test_ticket_not_accepted(void **state)
{
    struct fixture *f = *state;
    visit(f);
    SSL_CTX_free(f->context);
    f->context = tls_peer_context(&world.good, NULL);
    visit(f);
    visit(f);
    assert_stats(f, 2, 1, 0);
}

static void fail_with_session(struct fixture *f, int version)
{
    prepare(f);
    SSL_CTX_set_max_proto_version(f->context, version);
    visit(f);
    pair_make(&f->pair, f->client, f->context);
    assert_int_equal(stream_handshake(&f->pair.stream), TLS_WANTS_READ);
    tls_peer_close(&f->pair);
    enum tls_result result = TLS_WANTS_READ;
    while (result == TLS_WANTS_READ) {
        pair_await(&f->pair);
        result = stream_handshake(&f->pair.stream);
    }
    assert_int_equal(result, TLS_FAILED);
    pair_clear(&f->pair);
    assert_stats(f, 1, 0, 1);
    visit(f);
    assert_stats(f, 2, 0, 1);
    visit(f);
    assert_stats(f, 2, 1, 1);
}

static void test_session_thrown_away_1_2(void **state)
{
    fail_with_session(*state, TLS1_2_VERSION);
}

static void test_session_thrown_away_1_3(void **state)
{
    fail_with_session(*state, TLS1_3_VERSION);
}

static void test_failure_without_session_keeps_them(void **state)
{
    struct fixture *f = *state;
    prepare(f);
    SSL_CTX_set_max_proto_version(f->context, TLS1_2_VERSION);
    pair_make(&f->pair, f->client, f->context); /* offers nothing yet */
    struct pair early = f->pair;
    stream_unwatch(&f->pair.stream);
    early = f->pair;
    visit(f);
    f->pair = early;
    assert_int_equal(stream_watch(&f->pair.stream, f->pair.loop), 0);
    assert_int_equal(stream_handshake(&f->pair.stream), TLS_WANTS_READ);
    tls_peer_reset(&f->pair);
    assert_int_equal(stream_handshake(&f->pair.stream), TLS_FAILED);
    pair_clear(&f->pair);
    visit(f);
    assert_stats(f, 1, 1, 1);
}

/* Memory */

/* Good connections of both versions, and failures of several kinds. */
static void visit_mixed(struct fixture *f, SSL_CTX *wrong, int i)
{
    SSL_CTX_set_max_proto_version(f->context, i % 2 == 0 ? TLS1_2_VERSION : TLS1_3_VERSION);
    pair_make(&f->pair, f->client, i % 5 == 1 ? wrong : f->context);
    if (i % 5 == 2) {
        tls_peer_close(&f->pair);
    } else if (i % 5 == 3) {
        assert_int_equal(send(f->pair.fd, "HTTP/1.1 400 Bad\r\n", 18, 0), 18);
        while (stream_handshake(&f->pair.stream) == TLS_WANTS_READ)
            pair_await(&f->pair);
    } else {
        (void)!pair_handshake(&f->pair);
        (void)!stream_peek(&f->pair.stream);
    }
    pair_clear(&f->pair);
}

static void test_memory_is_flat(void **state)
{
    struct fixture *f = *state;
    const char *count = getenv("KAPROXY_SLOW");
    int rounds = count != NULL && *count != '\0' ? 300 : 4000; /* sanitizers take their time */
    size_t before = 0;
    prepare(f);
    SSL_CTX *good = f->context;
    f->context = NULL;
    show(f, &(struct identity_options){.name = "x", .issuer = &world.ca});
    SSL_CTX *wrong = f->context;
    f->context = good;
    SSL_CTX_set_session_cache_mode(good, SSL_SESS_CACHE_OFF); /* the peer's own memory */
    for (int i = 0; i < rounds; i++) {
        if (i == rounds / 2)
            before = mallinfo2().uordblks;
        visit_mixed(f, wrong, i);
    }
    size_t after = mallinfo2().uordblks;
    print_message("# %zu bytes in use before, %zu after\n", before, after);
    assert_true(after < before + 64 * 1024);
    SSL_CTX_free(wrong);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tls_fixture_setup, tls_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_resumption_1_2),
        TEST(test_resumption_1_2_without_tickets),
        TEST(test_resumption_1_3),
        TEST(test_tickets_of_1_3_serve_once),
        TEST(test_tickets_are_bounded),
        TEST(test_resumption_after_truncation),
        TEST(test_newest_tickets_are_kept),
        TEST(test_sessions_age),
        TEST(test_session_of_a_broken_connection),
        TEST(test_ticket_not_accepted),
        TEST(test_session_thrown_away_1_2),
        TEST(test_session_thrown_away_1_3),
        TEST(test_failure_without_session_keeps_them),
        TEST(test_memory_is_flat),
    };
    return cmocka_run_group_tests(tests, tls_make_world, tls_clear_world);
}
