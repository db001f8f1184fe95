/* SPDX-License-Identifier: ISC */
/* POOL 1 to 4, 7, 10 and 20 to 25: answers, keys, time, names and connecting. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "support/pool_fixture.h"

/* [1] No answer is given inside allocate (ask_start claims it), and exactly one afterwards. */
static void answers_once_and_later(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, NULL);
    struct ask *first = ask(f, &f->a);
    claim_pending(first);
    ask_wait(first);
    fixture_warp(f, 2 * POOL_TIMEOUT);
    claim_ok(first, FROM_NONE);
    ask_release(first);
    struct ask *second = ask(f, &f->a);
    claim_pending(second);
    ask_wait(second);
    fixture_warp(f, 2 * POOL_TIMEOUT);
    claim_ok(second, FROM_IMMEDIATE);
}

/* [2] The grant brings the caller's struct, which is the context, with what was requested. */
static void answer_echoes_the_question(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, NULL);
    struct ask *good = ask(f, &f->a);
    struct ask *bad = ask(f, &f->refusing);
    ask_wait(good);
    ask_wait(bad);
    claim_ok(good, FROM_NONE);
    assert_ptr_equal(good->allocation.endpoint, &good->endpoint);
    assert_non_null(good->allocation.stream);
    assert_true(good->allocation.stream->fd >= 0);
    assert_false(good->allocation.reused);
    claim_failed(bad, "connect", ECONNREFUSED);
    assert_string_equal(bad->failure.text, strerror(ECONNREFUSED));
    assert_null(bad->allocation.stream);
}

/* [2] The stream that the grant brings is connected to the endpoint that was requested. */
static void stream_leads_to_the_endpoint(void **state)
{
    struct fixture *f = *state;
    char byte = 'x';
    fixture_pool(f, NULL);
    struct ask *to_b = ask_get(f, &f->b, FROM_NONE);
    assert_int_equal(stream_write(to_b->allocation.stream, &byte, 1), 1);
    assert_int_equal(ask_far_peek(to_b, &f->b), PEER_DATA);
}

/* [3] */
static void default_max_per_host_is_four(void **state)
{
    struct fixture *f = *state;
    struct ask *asks[5];
    fixture_pool(f, NULL);
    for (int i = 0; i < 5; i++)
        asks[i] = ask(f, &f->a);
    fixture_iterate(f);
    claim_ok(asks[3], FROM_NONE);
    claim_pending(asks[4]);
    claim_stats(f, 4, 0, 0, 1);
}

/* [3] */
static void default_max_open_is_128(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 2});
    for (int i = 0; i < 130; i++) {
        struct ask *next = ask_prepare(f, &f->a);
        snprintf(next->endpoint.scheme, sizeof(next->endpoint.scheme), "tcp+%d", i / 2);
        ask_start(next);
    }
    fixture_iterate(f);
    claim_stats(f, 128, 0, 0, 2);
}

/* [3] */
static void default_keep_alive_is_15_seconds(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, NULL);
    ask_release(ask_get(f, &f->a, FROM_NONE));
    fixture_warp(f, POOL_KEEP_ALIVE - USEC_PER_SEC);
    claim_stats(f, 0, 0, 1, 0);
    fixture_warp(f, USEC_PER_SEC);
    claim_stats(f, 0, 0, 0, 0);
}

/* [3] */
static void default_timeout_is_120_seconds(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, NULL);
    struct ask *lost = ask(f, fixture_blackhole(f));
    fixture_warp(f, POOL_TIMEOUT - USEC_PER_SEC);
    claim_pending(lost);
    fixture_warp(f, USEC_PER_SEC);
    claim_failed(lost, "connect", ETIMEDOUT);
}

/* [4] Scheme, addr and port make the key. */
static void schemes_and_ports_are_different_hosts(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, NULL);
    struct ask *first = ask_get(f, &f->a, FROM_NONE);
    ask_release(first);
    struct ask *other = ask_prepare(f, &f->a);
    memcpy(other->endpoint.scheme, "tcp+x", sizeof("tcp+x"));
    ask_start(other);
    ask_wait(other);
    claim_ok(other, FROM_NONE);
    ask_get(f, &f->b, FROM_NONE);
    claim_same(ask_get(f, &f->a, FROM_IMMEDIATE), first);
}

/* [4] A name and the address it resolves to are different hosts. */
static void name_and_address_are_different_hosts(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, NULL);
    names_set(f->names, "a.test", "127.0.0.1", NULL, 0);
    struct ask *by_name = ask_name(f, "a.test", &f->a);
    ask_wait(by_name);
    ask_release(by_name);
    ask_get(f, &f->a, FROM_NONE);
    struct ask *again = ask_name(f, "a.test", &f->a);
    ask_wait(again);
    claim_ok(again, FROM_IMMEDIATE);
    claim_same(again, by_name);
}

/* [7] A connection made for one waiter and taken by another is still "none": the dial of a waiter
 * who gave up serves the next one. */
static void dial_serves_whoever_waits(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 1});
    names_set(f->names, "a.test", "127.0.0.1", NULL, USEC_PER_SEC);
    struct ask *first = ask_name(f, "a.test", &f->a);
    struct ask *second = ask_name(f, "a.test", &f->a);
    fixture_begin(f);
    ask_cancel(first);
    claim_stats(f, 0, 1, 0, 0);
    fixture_warp(f, USEC_PER_SEC);
    claim_ok(second, FROM_NONE);
    assert_int_equal(names_count(f->names, "a.test"), 1);
}

/* [10] */
static void pools_share_nothing(void **state)
{
    struct fixture *f = *state;
    struct pool_limits limits = {.max_open = 1};
    fixture_pool(f, &limits);
    struct pool *other = fixture_pool(f, &limits);
    ask_release(ask_get(f, &f->a, FROM_NONE));
    struct ask *in_other = ask_prepare(f, &f->a);
    in_other->pool = other;
    ask_start(in_other);
    ask_wait(in_other);
    claim_ok(in_other, FROM_NONE);
    claim_stats(f, 0, 0, 1, 0);
    pool_shutdown(f->pool);
    struct ask *next = ask_prepare(f, &f->a);
    next->pool = other;
    ask_start(next);
    ask_release(in_other);
    ask_wait(next);
    claim_ok(next, FROM_DEFERRED);
}

/* [20] */
static void clock_covers_look_up_and_connect(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.timeout = 2 * USEC_PER_SEC});
    names_set(f->names, "slow.test", "127.0.0.1", NULL, 1500 * USEC_PER_MSEC);
    struct ask *lost = ask_name(f, "slow.test", fixture_blackhole(f));
    fixture_begin(f);
    fixture_warp(f, 1600 * USEC_PER_MSEC);
    claim_pending(lost);
    claim_stats(f, 0, 1, 0, 0);
    fixture_warp(f, 500 * USEC_PER_MSEC);
    claim_failed(lost, "connect", ETIMEDOUT);
    claim_stats(f, 0, 0, 0, 0);
}

/* [20] */
static void clock_covers_queue_and_look_up(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 1, .timeout = 2 * USEC_PER_SEC});
    names_set(f->names, "a.test", "127.0.0.1", NULL, 0);
    struct ask *holder = ask_name(f, "a.test", &f->a);
    ask_wait(holder);
    struct ask *queued = ask_name(f, "a.test", &f->a);
    fixture_warp(f, USEC_PER_SEC);
    names_set(f->names, "a.test", "127.0.0.1", NULL, NAMES_NEVER);
    ask_discard(holder, false);
    fixture_warp(f, 900 * USEC_PER_MSEC);
    claim_pending(queued);
    fixture_warp(f, 200 * USEC_PER_MSEC);
    claim_failed(queued, "resolve", ETIMEDOUT);
}

/* [20] An allocation's own timeout takes precedence over the pool's, and is its own alone. */
static void own_timeout_overrides(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.timeout = 2 * USEC_PER_SEC});
    struct peer *blackhole = fixture_blackhole(f);
    struct ask *slow = ask(f, blackhole);
    struct ask *quick = ask_prepare(f, blackhole);
    quick->allocation.timeout = USEC_PER_SEC;
    ask_start(quick);
    fixture_warp(f, USEC_PER_SEC);
    claim_failed(quick, "connect", ETIMEDOUT);
    claim_pending(slow);
    claim_stats(f, 0, 1, 0, 0);
    fixture_warp(f, USEC_PER_SEC);
    claim_failed(slow, "connect", ETIMEDOUT);
}

/* connect_timeout ends one dial, well before the allocation's clock. */
static void connect_timeout_ends_a_dial(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.connect_timeout = USEC_PER_SEC});
    struct ask *lost = ask(f, fixture_blackhole(f));
    fixture_warp(f, 900 * USEC_PER_MSEC);
    claim_pending(lost);
    fixture_warp(f, 200 * USEC_PER_MSEC);
    claim_failed(lost, "connect", ETIMEDOUT);
    claim_discards(f, DISCARD_DIAL_FAILED, 1);
}

/* [21] */
static void negative_timeout_dials_nothing(void **state)
{
    struct fixture *f = *state;
    struct pool_stats stats;
    fixture_pool(f, NULL);
    struct ask *late = ask_prepare(f, &f->a);
    late->allocation.timeout = -1;
    ask_start(late);
    claim_pending(late);
    claim_stats(f, 0, 0, 0, 0);
    fixture_iterate(f);
    claim_failed(late, "queue", ETIMEDOUT);
    pool_get_stats(f->pool, &stats);
    assert_int_equal(stats.dials, 0);
    peer_accept(&f->a);
    assert_true(TAILQ_EMPTY(&f->a.conns));
}

/* [22] */
static void numeric_address_skips_the_look_up(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, NULL);
    ask_get(f, &f->a, FROM_NONE);
    assert_int_equal(names_count(f->names, "127.0.0.1"), 0);
}

/* [22] */
static void look_ups_of_one_name_share_a_query(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, NULL);
    names_set(f->names, "x.test", "127.0.0.1", NULL, USEC_PER_SEC);
    struct ask *to_a = ask_name(f, "x.test", &f->a);
    struct ask *to_b = ask_name(f, "x.test", &f->b);
    struct ask *given_up = ask_name(f, "x.test", &f->c);
    fixture_begin(f);
    assert_int_equal(names_count(f->names, "x.test"), 1);
    ask_cancel(given_up);
    fixture_warp(f, USEC_PER_SEC);
    claim_ok(to_a, FROM_NONE);
    claim_ok(to_b, FROM_NONE);
    claim_pending(given_up);
    assert_int_equal(names_count(f->names, "x.test"), 1);
}

/* [22] The asker that started the query gives up: the others do not notice. */
static void first_asker_may_give_up(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, NULL);
    names_set(f->names, "x.test", "127.0.0.1", NULL, USEC_PER_SEC);
    struct ask *given_up = ask_name(f, "x.test", &f->a);
    struct ask *other = ask_name(f, "x.test", &f->b);
    fixture_begin(f);
    ask_cancel(given_up);
    fixture_warp(f, USEC_PER_SEC);
    claim_ok(other, FROM_NONE);
}

/* [23] */
static void failed_look_up_brings_the_resolvers_text(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, NULL);
    names_set(f->names, "bad.test", NULL, "No such name", 0);
    struct ask *bad = ask_name(f, "bad.test", &f->a);
    ask_wait(bad);
    claim_failed(bad, "resolve", 0);
    assert_string_equal(bad->failure.text, "No such name");
    claim_stats(f, 0, 0, 0, 0);
}

/* [22] The asker that started the query gives up: the others do not notice. */
static void name_without_address_fails(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, NULL);
    names_set(f->names, "empty.test", NULL, NULL, 0);
    struct ask *empty = ask_name(f, "empty.test", &f->a);
    ask_wait(empty);
    claim_failed(empty, "resolve", 0);
    assert_string_equal(empty->failure.text, "Host has no address.");
}

/* [24] */
static void every_address_is_tried(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, NULL);
    names_set(f->names, "many.test", "127.0.0.2,127.0.0.3,127.0.0.1", NULL, 0);
    struct ask *found = ask_name(f, "many.test", &f->a);
    ask_wait(found);
    claim_ok(found, FROM_NONE);
    names_set(f->names, "none.test", "127.0.0.2,127.0.0.3", NULL, 0);
    struct ask *lost = ask_name(f, "none.test", &f->a);
    ask_wait(lost);
    claim_failed(lost, "connect", ECONNREFUSED);
}

/* [24] RFC 8305 section 5: an address that does not answer delays the next one only a little. */
static void silent_address_holds_up_little(void **state)
{
    struct fixture *f = *state;
    struct peer black, good;
    struct ask *found;
    fixture_pool(f, NULL);
    /* One port, silent on one address and accepting on another, where another process may have
     * it. */
    assert_int_equal(peer_open(&black, "127.0.0.2", PEER_BLACKHOLE), 0);
    while (peer_open_port(&good, "127.0.0.1", black.address.sin_port) < 0) {
        assert_int_equal(errno, EADDRINUSE);
        peer_close(&black);
        assert_int_equal(peer_open(&black, "127.0.0.2", PEER_BLACKHOLE), 0);
    }
    names_set(f->names, "two.test", "127.0.0.2,127.0.0.1", NULL, 0);
    found = ask_name(f, "two.test", &black);
    fixture_iterate(f);
    claim_pending(found);
    fixture_warp(f, DIAL_STAGGER);
    claim_ok(found, FROM_NONE);
    ask_discard(found, false);
    peer_close(&black);
    peer_close(&good);
}

/* [25] */
static void refused_frees_the_slot(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_open = 1});
    struct ask *refused = ask(f, &f->refusing);
    struct ask *next = ask(f, &f->a);
    claim_stats(f, 0, 1, 0, 1);
    ask_wait(refused);
    claim_failed(refused, "connect", ECONNREFUSED);
    ask_wait(next);
    claim_ok(next, FROM_NONE);
    claim_discards(f, DISCARD_DIAL_FAILED, 1);
}

static void mend_the_name(struct ask *ask)
{
    names_set(ask->fixture->names, "x.test", "127.0.0.1", NULL, USEC_PER_SEC);
}

/* A failed dial fails the oldest waiter of its host, and only that one. */
static void failed_dial_fails_one_waiter(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 1});
    names_set(f->names, "x.test", NULL, "No such name", USEC_PER_SEC);
    struct ask *first = ask_name(f, "x.test", &f->a);
    struct ask *second = ask_name(f, "x.test", &f->a);
    fixture_begin(f);
    first->then = mend_the_name;
    fixture_warp(f, USEC_PER_SEC);
    claim_failed(first, "resolve", 0);
    claim_pending(second);
    claim_stats(f, 0, 1, 0, 0);
    fixture_warp(f, USEC_PER_SEC);
    claim_ok(second, FROM_NONE);
}

/* bind_address is the local end of every connection; one that is not ours is an error. */
static void bind_address_is_used(void **state)
{
    struct fixture *f = *state;
    struct pool_limits limits = {0};
    assert_true(address_parse(&limits.bind_address, "127.0.0.3"));
    fixture_pool(f, &limits);
    struct ask *bound = ask_get(f, &f->a, FROM_NONE);
    assert_int_equal(ntohl(bound->local.sin_addr.s_addr), 0x7f000003);

    assert_true(address_parse(&limits.bind_address, "192.0.2.1"));
    struct ask *stranger = ask_prepare(f, &f->a);
    stranger->pool = fixture_pool(f, &limits);
    ask_start(stranger);
    ask_wait(stranger);
    claim_failed(stranger, "bind", EADDRNOTAVAIL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(answers_once_and_later),
        FIXTURE_TEST(answer_echoes_the_question),
        FIXTURE_TEST(stream_leads_to_the_endpoint),
        FIXTURE_TEST(default_max_per_host_is_four),
        FIXTURE_TEST(default_max_open_is_128),
        FIXTURE_TEST(default_keep_alive_is_15_seconds),
        FIXTURE_TEST(default_timeout_is_120_seconds),
        FIXTURE_TEST(schemes_and_ports_are_different_hosts),
        FIXTURE_TEST(name_and_address_are_different_hosts),
        FIXTURE_TEST(dial_serves_whoever_waits),
        FIXTURE_TEST(pools_share_nothing),
        FIXTURE_TEST(clock_covers_look_up_and_connect),
        FIXTURE_TEST(clock_covers_queue_and_look_up),
        FIXTURE_TEST(own_timeout_overrides),
        FIXTURE_TEST(connect_timeout_ends_a_dial),
        FIXTURE_TEST(negative_timeout_dials_nothing),
        FIXTURE_TEST(numeric_address_skips_the_look_up),
        FIXTURE_TEST(look_ups_of_one_name_share_a_query),
        FIXTURE_TEST(first_asker_may_give_up),
        FIXTURE_TEST(failed_look_up_brings_the_resolvers_text),
        FIXTURE_TEST(name_without_address_fails),
        FIXTURE_TEST(every_address_is_tried),
        FIXTURE_TEST(silent_address_holds_up_little),
        FIXTURE_TEST(refused_frees_the_slot),
        FIXTURE_TEST(failed_dial_fails_one_waiter),
        FIXTURE_TEST(bind_address_is_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
