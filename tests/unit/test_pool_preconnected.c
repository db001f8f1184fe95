/* SPDX-License-Identifier: ISC */
/* Fresh connections and min_idle: the basis of `reuse = never` and of preconnected connections. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "support/pool_fixture.h"

#define BACKOFF_MOST (30 * USEC_PER_SEC)

static struct pool_stats stats_of(const struct fixture *f)
{
    struct pool_stats stats;
    pool_get_stats(f->pool, &stats);
    return stats;
}

static void keeps_preconnected(struct fixture *f, const struct peer *peer)
{
    const struct ask *model = ask_prepare(f, peer);
    assert_int_equal(pool_keep_preconnected(f->pool, &model->endpoint), 0);
    assert_null(pool_check(f->pool));
}

static struct ask *ask_fresh(struct fixture *f, const struct peer *peer)
{
    struct ask *fresh = ask_prepare(f, peer);
    fresh->allocation.fresh = true;
    ask_start(fresh);
    return fresh;
}

/* A fresh allocation takes no used connection, even if one is idle. */
static void fresh_takes_nothing_used(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, NULL);
    ask_release(ask_get(f, &f->a, FROM_NONE));
    struct ask *fresh = ask_fresh(f, &f->a);
    ask_wait(fresh);
    claim_ok(fresh, FROM_NONE);
    assert_false(fresh->allocation.reused);
    claim_stats(f, 1, 0, 1, 0);
}

/* At max_per_host a used idle connection of the same host makes room for it. */
static void fresh_replaces_a_used_one(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 1});
    struct ask *used = ask_get(f, &f->a, FROM_NONE);
    ask_release(used);
    struct ask *fresh = ask_fresh(f, &f->a);
    ask_wait(fresh);
    claim_ok(fresh, FROM_NONE);
    assert_int_equal(ask_far_peek(used, &f->a), PEER_EOF);
    claim_discards(f, DISCARD_EVICTED, 1);
}

/* A released connection passes a fresh waiter and goes to a younger one that takes it. */
static void fresh_has_its_turn(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 1});
    struct ask *holder = ask_get(f, &f->a, FROM_NONE);
    struct ask *fresh = ask_fresh(f, &f->a);
    struct ask *other = ask(f, &f->a);
    ask_release(holder); /* the older one's turn: a new connection takes the used one's place */
    ask_wait(fresh);
    claim_ok(fresh, FROM_NONE);
    claim_pending(other);
    ask_release(fresh);
    ask_wait(other);
    claim_ok(other, FROM_DEFERRED);
}

/* Connections are opened without any waiter, and are an immediate, unused hit. */
static void preconnected_are_opened_ahead(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.min_idle = 2});
    keeps_preconnected(f, &f->a);
    claim_stats(f, 0, 2, 0, 0);
    fixture_iterate(f);
    claim_stats(f, 0, 0, 2, 0);
    assert_int_equal(stats_of(f).preconnects, 2);
    struct ask *hit = ask(f, &f->a);
    claim_stats(f, 1, 1, 1, 0);
    ask_wait(hit);
    claim_ok(hit, FROM_IMMEDIATE);
    assert_false(hit->allocation.reused);
    fixture_iterate(f);
    claim_stats(f, 1, 0, 2, 0);
}

/* max_connecting: one after the other. */
static void preconnected_count_as_connecting(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.min_idle = 3, .max_connecting = 1});
    keeps_preconnected(f, &f->a);
    claim_stats(f, 0, 1, 0, 0);
    struct ask *waiter = ask(f, &f->a); /* takes what the dial ahead brings */
    claim_stats(f, 0, 1, 0, 0);
    fixture_iterate(f);
    claim_ok(waiter, FROM_NONE);
    fixture_iterate(f);
    claim_stats(f, 1, 0, 3, 0);
}

/* A preconnected connection is unused: a fresh allocation takes it, past a used connection that
 * became idle later. */
static void fresh_takes_a_preconnected_one(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.min_idle = 1});
    struct ask *used = ask_get(f, &f->a, FROM_NONE);
    keeps_preconnected(f, &f->a);
    fixture_iterate(f);
    ask_release(used);
    claim_stats(f, 0, 0, 2, 0);
    struct ask *fresh = ask_fresh(f, &f->a);
    ask_wait(fresh);
    claim_ok(fresh, FROM_IMMEDIATE);
    assert_false(fresh->allocation.reused);
    claim_same(ask_get(f, &f->a, FROM_IMMEDIATE), used);
}

static void all_send(struct peer *peer)
{
    const struct peer_conn *conn;
    peer_accept(peer);
    TAILQ_FOREACH (conn, &peer->conns, link)
        peer_conn_send(conn);
}

/* A greeting stays unread for the first user of a preconnected connection. */
static void greeting_waits_for_the_first_user(void **state)
{
    struct fixture *f = *state;
    char bytes[8];
    fixture_pool(f, &(struct pool_limits){.min_idle = 1});
    keeps_preconnected(f, &f->a);
    pool_expect_greeting(f->pool, &f->asks[0].endpoint);
    fixture_iterate(f);
    all_send(&f->a);
    fixture_iterate(f);
    claim_stats(f, 0, 0, 1, 0);
    struct ask *first = ask_get(f, &f->a, FROM_IMMEDIATE);
    assert_int_equal(stream_read(first->allocation.stream, bytes, sizeof(bytes)), 3);
    /* What arrives once it has been used is not a greeting. */
    peer_conn_send(ask_far_end(first, &f->a));
    ask_release(first);
    claim_discards(f, DISCARD_UNREAD_DATA, 1);
}

/* A greeting and then the end: the connection is useless. */
static void greeting_and_end_is_of_no_use(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.min_idle = 1});
    keeps_preconnected(f, &f->a);
    pool_expect_greeting(f->pool, &f->asks[0].endpoint);
    fixture_iterate(f);
    all_send(&f->a);
    peer_conn_close(TAILQ_FIRST(&f->a.conns));
    fixture_iterate(f);
    claim_stats(f, 0, 0, 0, 0);
}

/* Unless the host's owner allows them, early bytes end a preconnected connection. */
static void unexpected_bytes_end_a_preconnected_one(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.min_idle = 1});
    keeps_preconnected(f, &f->a);
    fixture_iterate(f);
    all_send(&f->a);
    fixture_iterate(f);
    claim_stats(f, 0, 0, 0, 0);
    claim_discards(f, DISCARD_UNREAD_DATA, 1);
}

/* Only hosts that asked for them have preconnected connections. */
static void other_hosts_have_none_preconnected(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.min_idle = 2});
    ask_discard(ask_get(f, &f->a, FROM_NONE), false);
    fixture_iterate(f);
    claim_stats(f, 0, 0, 0, 0);
}

/* The limits hold for preconnected connections as well. */
static void preconnected_respect_the_limits(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.min_idle = 3, .max_per_host = 2, .max_open = 3});
    keeps_preconnected(f, &f->a);
    keeps_preconnected(f, &f->b);
    fixture_iterate(f);
    claim_stats(f, 0, 0, 3, 0);
    ask_get(f, &f->a, FROM_IMMEDIATE);
    ask_get(f, &f->a, FROM_IMMEDIATE);
    fixture_iterate(f);
    claim_stats(f, 2, 0, 1, 0);
}

/* A preconnected connection is not an obstacle: at max_open it is evicted for a waiter of another
 * host, idle or not. */
static void waiters_go_before_preconnecting(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.min_idle = 2, .max_open = 2});
    keeps_preconnected(f, &f->a);
    fixture_begin(f);
    struct ask *one = ask(f, &f->b);
    claim_stats(f, 0, 2, 0, 0);
    ask_wait(one);
    claim_ok(one, FROM_NONE);
    fixture_iterate(f);
    claim_stats(f, 1, 0, 1, 0);
    struct ask *two = ask(f, &f->c);
    ask_wait(two);
    claim_ok(two, FROM_NONE);
    claim_stats(f, 2, 0, 0, 0);
}

/* A waiter uses a dial ahead that is in progress, without a dial of its own. */
static void waiter_takes_a_dial_ahead(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.min_idle = 1, .max_per_host = 1});
    keeps_preconnected(f, &f->a);
    fixture_begin(f);
    claim_stats(f, 0, 1, 0, 0);
    struct ask *waiter = ask(f, &f->a);
    claim_stats(f, 0, 1, 0, 0);
    ask_wait(waiter);
    claim_ok(waiter, FROM_NONE);
    assert_int_equal(stats_of(f).dials, 1);
}

/* A preconnected connection that ages past keep_alive is replaced. */
static void old_preconnected_are_replaced(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.min_idle = 1, .keep_alive = 10 * USEC_PER_SEC});
    keeps_preconnected(f, &f->a);
    fixture_iterate(f);
    fixture_warp(f, 10 * USEC_PER_SEC);
    claim_stats(f, 0, 0, 1, 0);
    claim_discards(f, DISCARD_KEEP_ALIVE, 1);
    assert_int_equal(stats_of(f).preconnects, 2);
}

/* While the upstream is down the pauses grow from a second to half a minute, plus or minus a
 * quarter, and they do not delay a waiter. */
static void preconnected_back_off(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.min_idle = 1});
    keeps_preconnected(f, &f->refusing);
    fixture_iterate(f);
    usec_t pause = USEC_PER_SEC;
    for (unsigned dials = 1; dials < 9; dials++) {
        assert_int_equal(stats_of(f).dials, dials);
        fixture_warp(f, pause * 7 / 10);
        assert_int_equal(stats_of(f).dials, dials);
        fixture_warp(f, pause * 6 / 10);
        pause = pause * 2 < BACKOFF_MOST ? pause * 2 : BACKOFF_MOST;
    }
    struct ask *waiter = ask(f, &f->refusing);
    ask_wait(waiter);
    claim_failed(waiter, "connect", ECONNREFUSED);
}

/* An upstream that closes preconnected connections immediately is backed off from as well. */
static void closed_preconnected_back_off(void **state)
{
    struct fixture *f = *state;
    struct peer_conn *conn;
    fixture_pool(f, &(struct pool_limits){.min_idle = 1});
    keeps_preconnected(f, &f->a);
    fixture_iterate(f);
    peer_accept(&f->a);
    TAILQ_FOREACH (conn, &f->a.conns, link)
        peer_conn_close(conn);
    fixture_iterate(f);
    claim_stats(f, 0, 0, 0, 0);
    assert_int_equal(stats_of(f).dials, 1);
    fixture_warp(f, 2 * USEC_PER_SEC);
    claim_stats(f, 0, 0, 1, 0);
}

/* The same when one event reports the connection and its end. */
static void preconnected_closed_at_once_back_off(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.min_idle = 1});
    keeps_preconnected(f, &f->a);
    fixture_begin(f);
    peer_accept(&f->a);
    peer_conn_close(TAILQ_FIRST(&f->a.conns));
    fixture_iterate(f);
    claim_stats(f, 0, 0, 0, 0);
    claim_discards(f, DISCARD_UPSTREAM_CLOSED, 1);
    assert_int_equal(stats_of(f).dials, 1);
    fixture_warp(f, 2 * USEC_PER_SEC);
    claim_stats(f, 0, 0, 1, 0);
}

/* Neither a drained nor a shut down pool keeps preconnected connections. */
static void drained_pools_keep_none_preconnected(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.min_idle = 2});
    keeps_preconnected(f, &f->a);
    fixture_iterate(f);
    keeps_preconnected(f, fixture_blackhole(f));
    fixture_begin(f);
    claim_stats(f, 0, 2, 2, 0);
    pool_drain(f->pool);
    claim_stats(f, 0, 0, 0, 0);
    keeps_preconnected(f, &f->b);
    pool_shutdown(f->pool);
    keeps_preconnected(f, &f->c);
    fixture_iterate(f);
    claim_stats(f, 0, 0, 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(fresh_takes_nothing_used),
        FIXTURE_TEST(fresh_replaces_a_used_one),
        FIXTURE_TEST(fresh_has_its_turn),
        FIXTURE_TEST(preconnected_are_opened_ahead),
        FIXTURE_TEST(fresh_takes_a_preconnected_one),
        FIXTURE_TEST(greeting_waits_for_the_first_user),
        FIXTURE_TEST(greeting_and_end_is_of_no_use),
        FIXTURE_TEST(unexpected_bytes_end_a_preconnected_one),
        FIXTURE_TEST(other_hosts_have_none_preconnected),
        FIXTURE_TEST(preconnected_respect_the_limits),
        FIXTURE_TEST(waiters_go_before_preconnecting),
        FIXTURE_TEST(waiter_takes_a_dial_ahead),
        FIXTURE_TEST(old_preconnected_are_replaced),
        FIXTURE_TEST(preconnected_back_off),
        FIXTURE_TEST(closed_preconnected_back_off),
        FIXTURE_TEST(drained_pools_keep_none_preconnected),
        FIXTURE_TEST(preconnected_count_as_connecting),
        FIXTURE_TEST(preconnected_closed_at_once_back_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
