/* SPDX-License-Identifier: ISC */
/* A pool with peers and names, and allocations that record what became of them. */
#include "support/pool_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "support/sockets.h"

#define WAIT_MAX (10 * USEC_PER_SEC)

int fixture_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    assert_int_equal(log_open("stderr", LOG_LEVEL_ERROR), 0);
    f->descriptors = sockets_count();
    f->loop = loop_new();
    assert_non_null(f->loop);
    f->names = names_new(f->loop);
    f->resolver = resolver_new(f->loop, names_backend(f->names));
    assert_non_null(f->resolver);
    assert_int_equal(peer_open(&f->a, "127.0.0.1", PEER_ACCEPT), 0);
    assert_int_equal(peer_open(&f->b, "127.0.0.1", PEER_ACCEPT), 0);
    assert_int_equal(peer_open(&f->c, "127.0.0.1", PEER_ACCEPT), 0);
    assert_int_equal(peer_open(&f->refusing, "127.0.0.1", PEER_REFUSE), 0);
    *state = f;
    return 0;
}

int fixture_teardown(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < f->ask_count; i++) {
        if (f->asks[i].held)
            pool_discard(&f->asks[i].allocation, DISCARD_CLIENT_ABORT, false);
    }
    for (int i = 0; i < FIXTURE_POOLS; i++)
        pool_free(f->pools[i]);
    resolver_free(f->resolver);
    loop_free(f->loop);
    peer_close(&f->a);
    peer_close(&f->b);
    peer_close(&f->c);
    peer_close(&f->refusing);
    if (f->blackhole != NULL)
        peer_close(f->blackhole);
    int leaked = sockets_count() - f->descriptors;
    free(f);
    if (leaked != 0)
        print_error("%d descriptors leaked\n", leaked);
    return leaked == 0 ? 0 : -1;
}

struct pool *fixture_pool(struct fixture *f, const struct pool_limits *limits)
{
    static const struct pool_limits defaults;
    int i = f->pools[0] != NULL;
    assert_null(f->pools[i]);
    f->pools[i] = pool_new(f->loop, f->resolver, limits != NULL ? limits : &defaults);
    assert_non_null(f->pools[i]);
    f->pool = f->pools[0];
    return f->pools[i];
}

struct peer *fixture_blackhole(struct fixture *f)
{
    assert_int_equal(peer_open(&f->blackhole_peer, "127.0.0.1", PEER_BLACKHOLE), 0);
    f->blackhole = &f->blackhole_peer;
    return f->blackhole;
}

static void check(const struct fixture *f)
{
    for (int i = 0; i < FIXTURE_POOLS; i++) {
        const char *wrong = f->pools[i] != NULL ? pool_check(f->pools[i]) : NULL;
        if (wrong != NULL)
            fail_msg("pool_check: %s", wrong);
    }
}

void fixture_begin(struct fixture *f)
{
    loop_iterate(f->loop, 0);
    check(f);
}

void fixture_iterate(struct fixture *f)
{
    for (int i = 0; i < 8; i++)
        fixture_begin(f);
}

void fixture_warp(struct fixture *f, usec_t by)
{
    loop_warp(f->loop, by);
    fixture_iterate(f);
}

static void on_answered(struct allocation *allocation, const struct failure *failure)
{
    struct ask *ask = container_of(allocation, struct ask, allocation);
    socklen_t length = sizeof(ask->local);
    ask->answers++;
    ask->order = ++ask->fixture->answers;
    ask->succeeded = failure == NULL;
    ask->held = failure == NULL;
    if (failure != NULL)
        ask->failure = *failure;
    else
        assert_int_equal(
            getsockname(allocation->stream->fd, (struct sockaddr *)&ask->local, &length), 0);
    if (ask->then != NULL)
        ask->then(ask);
}

struct ask *ask_prepare(struct fixture *f, const struct peer *peer)
{
    assert_true(f->ask_count < FIXTURE_ASKS);
    struct ask *ask = &f->asks[f->ask_count++];
    ask->fixture = f;
    ask->pool = f->pool;
    ask->endpoint = (struct endpoint){
        .scheme = "tcp", .addr = "127.0.0.1", .port = ntohs(peer->address.sin_port)};
    ask->allocation.endpoint = &ask->endpoint;
    ask->allocation.on_connection = on_answered;
    return ask;
}

void ask_start(struct ask *ask)
{
    unsigned answers = ask->fixture->answers;
    assert_int_equal(pool_allocate(ask->pool, &ask->allocation), 0);
    assert_int_equal(ask->fixture->answers, answers); /* never from inside [1] */
    check(ask->fixture);
}

struct ask *ask(struct fixture *f, const struct peer *peer)
{
    struct ask *ask = ask_prepare(f, peer);
    ask_start(ask);
    return ask;
}

struct ask *ask_name(struct fixture *f, const char *name, const struct peer *peer)
{
    struct ask *ask = ask_prepare(f, peer);
    snprintf(ask->endpoint.addr, sizeof(ask->endpoint.addr), "%s", name);
    ask_start(ask);
    return ask;
}

void ask_wait(struct ask *ask)
{
    struct fixture *f = ask->fixture;
    usec_t end = loop_now(f->loop) + WAIT_MAX;
    while (ask->answers == 0 && loop_now(f->loop) < end) {
        loop_iterate(f->loop, end - loop_now(f->loop));
        check(f);
    }
    assert_int_equal(ask->answers, 1);
}

struct ask *ask_get(struct fixture *f, const struct peer *peer, enum from_cache from_cache)
{
    struct ask *got = ask(f, peer);
    ask_wait(got);
    claim_ok(got, from_cache);
    return got;
}

void ask_cancel(struct ask *ask)
{
    pool_cancel(&ask->allocation);
    check(ask->fixture);
}

void ask_hold(struct ask *ask)
{
    assert_true(pool_reserve_hold(&ask->allocation));
    check(ask->fixture);
    pool_hold(&ask->allocation);
    check(ask->fixture);
}

void ask_release(struct ask *ask)
{
    unsigned answers = ask->fixture->answers;
    ask->held = false;
    pool_release(&ask->allocation, RELEASE_PEEK);
    assert_int_equal(ask->fixture->answers, answers);
    check(ask->fixture);
}

void ask_discard(struct ask *ask, bool reset)
{
    unsigned answers = ask->fixture->answers;
    ask->held = false;
    pool_discard(&ask->allocation, DISCARD_NOT_REUSABLE, reset);
    assert_int_equal(ask->fixture->answers, answers);
    check(ask->fixture);
}

struct peer_conn *ask_far_end(const struct ask *ask, struct peer *peer)
{
    struct peer_conn *conn = peer_find(peer, &ask->local);
    assert_non_null(conn);
    return conn;
}

enum peer_peek ask_far_peek(const struct ask *ask, struct peer *peer)
{
    return peer_conn_peek(ask_far_end(ask, peer));
}

void claim_ok(const struct ask *ask, enum from_cache from_cache)
{
    assert_int_equal(ask->answers, 1);
    if (!ask->succeeded)
        fail_msg("failed: %s: %s", ask->failure.function, ask->failure.text);
    assert_string_equal(pool_from_cache_name(ask->allocation.from_cache),
                        pool_from_cache_name(from_cache));
}

void claim_failed(const struct ask *ask, const char *function, int number)
{
    assert_int_equal(ask->answers, 1);
    assert_false(ask->succeeded);
    assert_string_equal(ask->failure.function, function);
    assert_int_equal(ask->failure.number, number);
    assert_true(ask->failure.text[0] != '\0');
}

void claim_pending(const struct ask *ask)
{
    assert_int_equal(ask->answers, 0);
}

void claim_same(const struct ask *one, const struct ask *other)
{
    assert_int_equal(ntohs(one->local.sin_port), ntohs(other->local.sin_port));
}

void claim_stats(const struct fixture *f, unsigned busy, unsigned connecting, unsigned idle,
                 unsigned queued)
{
    struct pool_stats stats;
    pool_get_stats(f->pool, &stats);
    assert_int_equal(stats.busy, busy);
    assert_int_equal(stats.connecting, connecting);
    assert_int_equal(stats.idle, idle);
    assert_int_equal(stats.queued, queued);
}

void claim_held(const struct fixture *f, unsigned held)
{
    struct pool_stats stats;
    pool_get_stats(f->pool, &stats);
    assert_int_equal(stats.held, held);
}

void claim_discards(const struct fixture *f, enum pool_discard reason, unsigned count)
{
    struct pool_stats stats;
    pool_get_stats(f->pool, &stats);
    if (stats.discards[reason] != count)
        fail_msg("discards[%s] is %u, not %u", pool_discard_name(reason),
                 (unsigned)stats.discards[reason], count);
}
