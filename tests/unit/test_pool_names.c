/* SPDX-License-Identifier: ISC */
/* Names that move: which addresses the pool keeps connections to, and when it asks. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "support/pool_fixture.h"

#define SECOND USEC_PER_SEC
#define NAME   "name.test"

/* Where the name points; all peers of a test share a port there. */
#define HERE  "127.0.0.1"
#define THERE "127.0.0.2"

struct moving {
    struct fixture *f;
    struct peer there; /* the same port as f->a */
};

static void begin(struct moving *m, struct fixture *f, const struct pool_limits *limits)
{
    *m = (struct moving){.f = f};
    fixture_pool(f, limits);
    assert_int_equal(peer_open_port(&m->there, THERE, f->a.address.sin_port), 0);
    names_set(f->names, NAME, HERE, NULL, 0);
    names_set_ttl(f->names, NAME, 10 * SECOND);
}

static void end(struct moving *m)
{
    peer_close(&m->there);
}

static void move(const struct moving *m, const char *addresses)
{
    names_set(m->f->names, NAME, addresses, NULL, 0);
}

static void fail_lookups(const struct moving *m)
{
    names_set(m->f->names, NAME, NULL, "Timeout", 0);
}

static struct ask *get(const struct moving *m, enum from_cache from_cache)
{
    struct ask *got = ask_name(m->f, NAME, &m->f->a);
    ask_wait(got);
    claim_ok(got, from_cache);
    return got;
}

/* Which address a connection goes to. */
static void claim_at(const struct ask *ask, const char *addr)
{
    struct sockaddr_in far;
    socklen_t length = sizeof(far);
    char text[INET_ADDRSTRLEN];
    assert_int_equal(getpeername(ask->allocation.stream->fd, (struct sockaddr *)&far, &length), 0);
    assert_non_null(inet_ntop(AF_INET, &far.sin_addr, text, sizeof(text)));
    assert_string_equal(text, addr);
}

static void claim_queries(const struct moving *m, unsigned count)
{
    assert_int_equal(names_count(m->f->names, NAME), count);
}

/* If the pool has connections to a missing address, the name is looked up after 10 s, whatever its
 * TTL, and after 20 s more; then it is gone. The host is not used meanwhile. */
static void wait_gone(const struct moving *m)
{
    unsigned queries = names_count(m->f->names, NAME);
    names_set_ttl(m->f->names, NAME, 1000 * SECOND);
    claim_discards(m->f, DISCARD_ADDRESS_GONE, 0);
    fixture_warp(m->f, 9 * SECOND);
    claim_queries(m, queries);
    fixture_warp(m->f, SECOND);
    claim_queries(m, queries + 1);
    fixture_warp(m->f, 19 * SECOND);
    claim_queries(m, queries + 1);
    claim_discards(m->f, DISCARD_ADDRESS_GONE, 0);
    fixture_warp(m->f, SECOND);
    claim_queries(m, queries + 2);
    fixture_warp(m->f, 500 * SECOND);
    claim_queries(m, queries + 2);
}

static const struct pool_limits patient = {.keep_alive = 1000 * SECOND};

/* The answer has expired; the allocation has its connection immediately, and what the background
 * lookup finds closes the idle connection to the old address. */
static void idle_ones_go(void **state)
{
    struct moving m;
    begin(&m, *state, &patient);
    struct ask *first = get(&m, FROM_NONE);
    struct ask *second = get(&m, FROM_NONE);
    ask_release(first);
    move(&m, THERE);
    fixture_warp(m.f, 11 * SECOND);
    claim_stats(m.f, 1, 0, 1, 0); /* the host is not used: there is no lookup */
    claim_queries(&m, 1);
    struct ask *third = get(&m, FROM_IMMEDIATE);
    claim_at(third, HERE);
    fixture_iterate(m.f);
    claim_queries(&m, 2);
    ask_release(third);
    claim_stats(m.f, 1, 0, 1, 0); /* one answer does not mean that it is gone */
    wait_gone(&m);
    claim_stats(m.f, 1, 0, 0, 0);
    claim_discards(m.f, DISCARD_ADDRESS_GONE, 1); /* the other one is busy */
    ask_release(second);
    claim_stats(m.f, 0, 0, 0, 0);
    claim_discards(m.f, DISCARD_ADDRESS_GONE, 2);
    claim_at(get(&m, FROM_NONE), THERE);
    end(&m);
}

/* Held connections are in use as well. */
static void held_ones_go_when_they_are_released(void **state)
{
    struct moving m;
    begin(&m, *state, &(struct pool_limits){.keep_alive = 1000 * SECOND, .max_tunnels = 1});
    struct ask *held = get(&m, FROM_NONE);
    ask_hold(held);
    move(&m, THERE);
    fixture_warp(m.f, 11 * SECOND);
    ask_discard(get(&m, FROM_NONE), false); /* asks */
    wait_gone(&m);
    claim_held(m.f, 1);
    ask_release(held);
    claim_discards(m.f, DISCARD_ADDRESS_GONE, 1);
    claim_held(m.f, 0);
    end(&m);
}

/* New connections go where the name points, from the first answer on. */
static void new_ones_follow_at_once(void **state)
{
    struct moving m;
    begin(&m, *state, &patient);
    struct ask *first = get(&m, FROM_NONE);
    move(&m, THERE);
    fixture_warp(m.f, 11 * SECOND);
    claim_at(get(&m, FROM_NONE), THERE);
    claim_at(first, HERE);
    end(&m);
}

/* The release asks as well, and then the idle connection is closed without any further use. */
static void release_asks(void **state)
{
    struct moving m;
    begin(&m, *state, &patient);
    struct ask *first = get(&m, FROM_NONE);
    move(&m, THERE);
    fixture_warp(m.f, 11 * SECOND);
    claim_queries(&m, 1);
    ask_release(first);
    claim_stats(m.f, 0, 0, 1, 0);
    fixture_iterate(m.f);
    claim_queries(&m, 2);
    claim_stats(m.f, 0, 0, 1, 0);
    wait_gone(&m);
    claim_stats(m.f, 0, 0, 0, 0);
    claim_discards(m.f, DISCARD_ADDRESS_GONE, 1);
    assert_int_equal(ask_far_peek(first, &m.f->a), PEER_EOF);
    end(&m);
}

/* Nor does a waiter get a released one: a connection to the new address is dialled for it. */
static void waiters_get_no_old_one(void **state)
{
    struct moving m;
    begin(&m, *state, &(struct pool_limits){.max_per_host = 1, .timeout = 1000 * SECOND});
    struct ask *holder = get(&m, FROM_NONE);
    move(&m, THERE);
    fixture_warp(m.f, 11 * SECOND);
    struct ask *waiter = ask_name(m.f, NAME, &m.f->a); /* asks */
    fixture_iterate(m.f);
    wait_gone(&m);
    ask_release(holder);
    ask_wait(waiter);
    claim_ok(waiter, FROM_NONE);
    claim_at(waiter, THERE);
    claim_discards(m.f, DISCARD_ADDRESS_GONE, 1);
    end(&m);
}

/* Only the addresses are considered, not their order; and one that stays keeps its connections. */
static void those_that_stay_are_kept(void **state)
{
    struct moving m;
    begin(&m, *state, NULL);
    move(&m, HERE "," THERE);
    struct ask *first = get(&m, FROM_NONE);
    move(&m, THERE "," HERE);
    fixture_warp(m.f, 11 * SECOND);
    ask_release(first);
    fixture_iterate(m.f);
    claim_stats(m.f, 0, 0, 1, 0);
    move(&m, "127.0.0.3," HERE);
    fixture_warp(m.f, 11 * SECOND);
    claim_same(get(&m, FROM_IMMEDIATE), first);
    fixture_iterate(m.f);
    claim_queries(&m, 3);
    ask_release(&m.f->asks[m.f->ask_count - 1]);
    claim_stats(m.f, 0, 0, 1, 0);
    claim_discards(m.f, DISCARD_ADDRESS_GONE, 0);
    end(&m);
}

/* An address that returns while its connection is in use saves it. */
static void address_comes_back(void **state)
{
    struct moving m;
    begin(&m, *state, &patient);
    struct ask *keeper = get(&m, FROM_NONE);
    move(&m, THERE);
    fixture_warp(m.f, 11 * SECOND);
    struct ask *other = get(&m, FROM_NONE);
    claim_at(other, THERE);
    wait_gone(&m);
    ask_release(other);
    claim_stats(m.f, 1, 0, 1, 0);
    move(&m, HERE "," THERE);
    fixture_warp(m.f, 501 * SECOND);
    ask_release(get(&m, FROM_IMMEDIATE)); /* asks */
    fixture_iterate(m.f);
    ask_release(keeper);
    claim_stats(m.f, 0, 0, 2, 0);
    claim_discards(m.f, DISCARD_ADDRESS_GONE, 0);
    end(&m);
}

/* While the name is looked up without success, nothing is closed; then it is looked up again. */
static void recheck_that_fails(void **state)
{
    struct moving m;
    begin(&m, *state, &patient);
    struct ask *first = get(&m, FROM_NONE);
    move(&m, THERE);
    fixture_warp(m.f, 11 * SECOND);
    ask_release(first);
    fixture_iterate(m.f);
    fail_lookups(&m);
    for (unsigned i = 0; i < 30; i++)
        fixture_warp(m.f, 2 * SECOND);
    assert_in_range(names_count(m.f->names, NAME), 8, 14);
    claim_stats(m.f, 0, 0, 1, 0);
    move(&m, THERE);
    for (unsigned i = 0; i < 10; i++)
        fixture_warp(m.f, 2 * SECOND);
    claim_discards(m.f, DISCARD_ADDRESS_GONE, 1);
    unsigned queries = names_count(m.f->names, NAME);
    fixture_warp(m.f, 100 * SECOND);
    claim_queries(&m, queries);
    end(&m);
}

/* A family that cannot be looked up keeps its connections, however often the other one arrives. */
static void lost_family_keeps_its_connections(void **state)
{
    struct moving m;
    begin(&m, *state, &patient);
    move(&m, HERE ",::1"); /* where no process listens */
    ask_release(get(&m, FROM_NONE));
    names_lose_family(m.f->names, NAME, AF_INET);
    for (unsigned i = 0; i < 10; i++) {
        fixture_warp(m.f, 11 * SECOND);
        struct ask *again = get(&m, FROM_IMMEDIATE);
        claim_at(again, HERE);
        ask_release(again);
        fixture_iterate(m.f);
        claim_queries(&m, 2 + i);
        claim_stats(m.f, 0, 0, 1, 0);
    }
    names_lose_family(m.f->names, NAME, 0);
    move(&m, "::1"); /* now it is known */
    fixture_warp(m.f, 11 * SECOND);
    ask_release(get(&m, FROM_IMMEDIATE));
    fixture_iterate(m.f);
    wait_gone(&m);
    claim_discards(m.f, DISCARD_ADDRESS_GONE, 1);
    end(&m);
}

/* One client a second, while each answer has another one of four addresses and is valid for a
 * second: no connection is lost. Then one of them is removed permanently. */
static void rotating(void **state)
{
    static const char *const addresses[] = {HERE, THERE, "127.0.0.3", "127.0.0.4"};
    struct moving m;
    struct peer more[2];
    struct ask *asks[4];
    begin(&m, *state, &patient);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(peer_open_port(&more[i], addresses[2 + i], m.f->a.address.sin_port), 0);
    names_set_ttl(m.f->names, NAME, SECOND);
    for (unsigned i = 0; i < 4; i++) {
        move(&m, addresses[i]);
        fixture_warp(m.f, 2 * SECOND);
        asks[i] = get(&m, FROM_NONE);
        claim_at(asks[i], addresses[i]);
    }
    for (unsigned i = 0; i < 4; i++)
        ask_release(asks[i]);
    for (unsigned i = 0; i < 60; i++) {
        unsigned queries = names_count(m.f->names, NAME);
        move(&m, addresses[i % 4]);
        fixture_warp(m.f, 2 * SECOND);
        ask_release(get(&m, FROM_IMMEDIATE));
        fixture_iterate(m.f);
        assert_in_range(names_count(m.f->names, NAME), queries + 1, queries + 2);
        claim_stats(m.f, 0, 0, 4, 0);
    }
    for (unsigned i = 0; i < 30; i++) { /* a minute */
        move(&m, addresses[i % 3]);
        fixture_warp(m.f, 2 * SECOND);
        ask_release(get(&m, FROM_IMMEDIATE));
        fixture_iterate(m.f);
    }
    claim_stats(m.f, 0, 0, 3, 0);
    claim_discards(m.f, DISCARD_ADDRESS_GONE, 1);
    assert_int_equal(ask_far_peek(asks[3], &more[1]), PEER_EOF);
    peer_close(&more[0]);
    peer_close(&more[1]);
    end(&m);
}

static void failed_refresh_changes_nothing(void **state)
{
    struct moving m;
    begin(&m, *state, NULL);
    struct ask *first = get(&m, FROM_NONE);
    fail_lookups(&m);
    fixture_warp(m.f, 11 * SECOND);
    ask_release(first);
    fixture_iterate(m.f);
    claim_queries(&m, 2);
    claim_stats(m.f, 0, 0, 1, 0);
    struct ask *again = get(&m, FROM_IMMEDIATE);
    claim_at(get(&m, FROM_NONE), HERE); /* the old answer serves */
    ask_release(again);
    claim_stats(m.f, 1, 0, 1, 0);
    claim_discards(m.f, DISCARD_ADDRESS_GONE, 0);
    end(&m);
}

static void keeps_preconnected(const struct moving *m, const struct peer *peer)
{
    struct endpoint endpoint = ask_prepare(m->f, peer)->endpoint;
    snprintf(endpoint.addr, sizeof(endpoint.addr), NAME);
    assert_int_equal(pool_keep_preconnected(m->f->pool, &endpoint), 0);
    fixture_iterate(m->f);
}

/* Preconnected connections are replaced by some to the new address, even without a client. */
static void preconnected_follow(void **state)
{
    struct moving m;
    begin(&m, *state, &(struct pool_limits){.min_idle = 2, .keep_alive = 1000 * SECOND});
    keeps_preconnected(&m, &m.f->a);
    claim_stats(m.f, 0, 0, 2, 0);
    fail_lookups(&m);
    fixture_warp(m.f, 11 * SECOND);
    claim_stats(m.f, 0, 0, 2, 0);
    move(&m, THERE);
    fixture_warp(m.f, RESOLVER_RETRY + SECOND);
    claim_discards(m.f, DISCARD_ADDRESS_GONE, 0);
    for (unsigned i = 0; i < 3; i++)
        fixture_warp(m.f, 11 * SECOND);
    claim_stats(m.f, 0, 0, 2, 0);
    claim_discards(m.f, DISCARD_ADDRESS_GONE, 2);
    claim_at(get(&m, FROM_IMMEDIATE), THERE);
    pool_drain(m.f->pool); /* none preconnected: no more lookups */
    fixture_iterate(m.f);
    unsigned queries = names_count(m.f->names, NAME);
    fixture_warp(m.f, 100 * SECOND);
    claim_queries(&m, queries);
    end(&m);
}

/* A connection that was being preconnected when the name moved, and then reaches the old
 * address. */
static void dialled_to_an_old_address(void **state)
{
    struct moving m;
    struct peer there;
    begin(&m, *state, &(struct pool_limits){.min_idle = 1, .keep_alive = 1000 * SECOND});
    struct peer *here = fixture_blackhole(m.f);
    assert_int_equal(peer_open_port(&there, THERE, here->address.sin_port), 0);
    keeps_preconnected(&m, here);
    move(&m, THERE);
    for (unsigned i = 0; i < 4; i++)
        fixture_warp(m.f, 11 * SECOND);
    claim_stats(m.f, 0, 1, 0, 0);
    claim_queries(&m, 5);
    peer_unblock(here);
    struct pool_stats stats;
    do {
        loop_iterate(m.f->loop, 10 * SECOND);
        pool_get_stats(m.f->pool, &stats);
    } while (stats.idle == 0);
    claim_discards(m.f, DISCARD_ADDRESS_GONE, 1);
    struct ask *ask = ask_name(m.f, NAME, here);
    ask_wait(ask);
    claim_at(ask, THERE);
    peer_close(&there);
    end(&m);
}

/* A connection to an address that is only missing makes the pool check whether it is gone. */
static void dialled_to_a_missing_address(void **state)
{
    struct moving m;
    begin(&m, *state, &patient);
    struct peer *here = fixture_blackhole(m.f);
    struct ask *ask = ask_name(m.f, NAME, here);
    fixture_iterate(m.f);
    move(&m, THERE);
    fixture_warp(m.f, 11 * SECOND);
    ask_cancel(ask_name(m.f, NAME, here)); /* asks */
    fixture_iterate(m.f);
    claim_queries(&m, 2);
    peer_unblock(here);
    ask_wait(ask);
    claim_at(ask, HERE);
    ask_release(ask);
    claim_stats(m.f, 0, 0, 1, 0);
    for (unsigned i = 0; i < 4; i++)
        fixture_warp(m.f, 10 * SECOND);
    claim_queries(&m, 4);
    claim_discards(m.f, DISCARD_ADDRESS_GONE, 1);
    end(&m);
}

/* Hosts of one name, in two pools, each follow it. */
static void every_pool_follows(void **state)
{
    struct moving m;
    begin(&m, *state, &patient);
    struct pool *other = fixture_pool(m.f, &patient);
    struct ask *first = get(&m, FROM_NONE);
    struct ask *second = ask_prepare(m.f, &m.f->a);
    snprintf(second->endpoint.addr, sizeof(second->endpoint.addr), NAME);
    second->pool = other;
    ask_start(second);
    ask_wait(second);
    claim_queries(&m, 1); /* one answer for both */
    ask_release(first);
    ask_release(second);
    move(&m, THERE);
    fixture_warp(m.f, 11 * SECOND);
    claim_at(get(&m, FROM_IMMEDIATE), HERE);
    fixture_iterate(m.f);
    wait_gone(&m);
    struct pool_stats stats;
    pool_get_stats(other, &stats);
    assert_int_equal(stats.discards[DISCARD_ADDRESS_GONE], 1);
    end(&m);
}

/* The pool ends before it could follow a move: teardown finds what is left behind. */
static void ended_in_mid_move(void **state)
{
    struct moving m;
    begin(&m, *state, NULL);
    ask_release(get(&m, FROM_NONE));
    move(&m, THERE);
    fixture_warp(m.f, 11 * SECOND);
    struct ask *last = get(&m, FROM_IMMEDIATE); /* asks */
    pool_shutdown(m.f->pool);
    ask_release(last);
    fixture_iterate(m.f);
    end(&m);
}

/* Without a TTL nothing is followed, and there are no queries except for dials. */
static void without_ttl(void **state)
{
    struct moving m;
    begin(&m, *state, NULL);
    names_set_ttl(m.f->names, NAME, 0);
    struct ask *first = get(&m, FROM_NONE);
    move(&m, THERE);
    fixture_warp(m.f, 11 * SECOND);
    ask_release(first);
    fixture_iterate(m.f);
    claim_at(get(&m, FROM_IMMEDIATE), HERE);
    claim_queries(&m, 1);
    claim_at(get(&m, FROM_NONE), THERE);
    claim_queries(&m, 2);
    claim_discards(m.f, DISCARD_ADDRESS_GONE, 0);
    end(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(idle_ones_go),
        FIXTURE_TEST(held_ones_go_when_they_are_released),
        FIXTURE_TEST(new_ones_follow_at_once),
        FIXTURE_TEST(release_asks),
        FIXTURE_TEST(waiters_get_no_old_one),
        FIXTURE_TEST(those_that_stay_are_kept),
        FIXTURE_TEST(address_comes_back),
        FIXTURE_TEST(recheck_that_fails),
        FIXTURE_TEST(lost_family_keeps_its_connections),
        FIXTURE_TEST(rotating),
        FIXTURE_TEST(failed_refresh_changes_nothing),
        FIXTURE_TEST(preconnected_follow),
        FIXTURE_TEST(dialled_to_an_old_address),
        FIXTURE_TEST(dialled_to_a_missing_address),
        FIXTURE_TEST(every_pool_follows),
        FIXTURE_TEST(ended_in_mid_move),
        FIXTURE_TEST(without_ttl),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
