/* SPDX-License-Identifier: ISC */
/* POOL 5, 6 and 16 to 19: which connections are reused, and for how long. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "support/pool_fixture.h"

/* [5] */
static void immediate_when_it_was_idle(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, NULL);
    struct ask *first = ask_get(f, &f->a, FROM_NONE);
    assert_false(first->allocation.reused);
    ask_release(first);
    struct ask *second = ask_get(f, &f->a, FROM_IMMEDIATE);
    claim_same(second, first);
    assert_true(second->allocation.reused);
}

/* [6] */
static void deferred_when_somebody_had_to_release(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 1});
    struct ask *first = ask_get(f, &f->a, FROM_NONE);
    struct ask *second = ask(f, &f->a);
    ask_release(first);
    claim_stats(f, 1, 0, 0, 0);
    ask_wait(second);
    claim_ok(second, FROM_DEFERRED);
    claim_same(second, first);
    assert_true(second->allocation.reused);
}

/* [16] */
static void newest_released_goes_first(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, NULL);
    struct ask *one = ask_get(f, &f->a, FROM_NONE);
    struct ask *two = ask_get(f, &f->a, FROM_NONE);
    struct ask *three = ask_get(f, &f->a, FROM_NONE);
    ask_release(two);
    ask_release(three);
    ask_release(one);
    claim_same(ask_get(f, &f->a, FROM_IMMEDIATE), one);
    claim_same(ask_get(f, &f->a, FROM_IMMEDIATE), three);
    claim_same(ask_get(f, &f->a, FROM_IMMEDIATE), two);
}

/* [17] */
static void keep_alive_starts_with_each_release(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.keep_alive = 10 * USEC_PER_SEC});
    struct ask *first = ask_get(f, &f->a, FROM_NONE);
    fixture_warp(f, 20 * USEC_PER_SEC);
    ask_release(first);
    fixture_warp(f, 7 * USEC_PER_SEC);
    ask_release(ask_get(f, &f->a, FROM_IMMEDIATE));
    fixture_warp(f, 7 * USEC_PER_SEC);
    claim_stats(f, 0, 0, 1, 0);
    fixture_warp(f, 4 * USEC_PER_SEC);
    claim_stats(f, 0, 0, 0, 0);
    claim_discards(f, DISCARD_KEEP_ALIVE, 1);
    assert_int_equal(ask_far_peek(first, &f->a), PEER_EOF);
}

/* [17] One timer serves all: each connection is closed when its own time expires. */
static void keep_alive_ends_one_by_one(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.keep_alive = 10 * USEC_PER_SEC});
    struct ask *to_a = ask_get(f, &f->a, FROM_NONE);
    struct ask *to_b = ask_get(f, &f->b, FROM_NONE);
    struct ask *to_c = ask_get(f, &f->c, FROM_NONE);
    ask_release(to_a);
    fixture_warp(f, 3 * USEC_PER_SEC);
    ask_release(to_b);
    fixture_warp(f, 3 * USEC_PER_SEC);
    ask_release(to_c);
    claim_stats(f, 0, 0, 3, 0);
    fixture_warp(f, 5 * USEC_PER_SEC);
    claim_stats(f, 0, 0, 2, 0);
    assert_int_equal(ask_far_peek(to_a, &f->a), PEER_EOF);
    fixture_warp(f, 3 * USEC_PER_SEC);
    claim_stats(f, 0, 0, 1, 0);
    fixture_warp(f, 3 * USEC_PER_SEC);
    claim_stats(f, 0, 0, 0, 0);
}

/* [17] A connection whose time has expired is not handed out, even before the timer has run. */
static void stale_by_the_clock_is_not_handed_out(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.keep_alive = 10 * USEC_PER_SEC});
    ask_release(ask_get(f, &f->a, FROM_NONE));
    loop_warp(f->loop, 10 * USEC_PER_SEC);
    ask_get(f, &f->a, FROM_NONE);
}

/* [18] */
static void closed_by_the_peer_is_not_kept(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, NULL);
    struct ask *first = ask_get(f, &f->a, FROM_NONE);
    peer_conn_close(ask_far_end(first, &f->a));
    ask_release(first);
    claim_stats(f, 0, 0, 0, 0);
    claim_discards(f, DISCARD_UPSTREAM_CLOSED, 1);
    ask_get(f, &f->a, FROM_NONE);
}

/* [18] Unread data is answered with a reset. */
static void unread_data_is_not_kept(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, NULL);
    struct ask *first = ask_get(f, &f->a, FROM_NONE);
    peer_conn_send(ask_far_end(first, &f->a));
    ask_release(first);
    claim_stats(f, 0, 0, 0, 0);
    claim_discards(f, DISCARD_UNREAD_DATA, 1);
    assert_int_equal(ask_far_peek(first, &f->a), PEER_RESET);
}

/* [18] */
static void reset_by_the_peer_is_not_kept(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, NULL);
    struct ask *first = ask_get(f, &f->a, FROM_NONE);
    peer_conn_reset(ask_far_end(first, &f->a));
    ask_release(first);
    claim_stats(f, 0, 0, 0, 0);
    claim_discards(f, DISCARD_UPSTREAM_ERROR, 1);
}

/* [18] Before it is handed out the socket is peeked at again: the next one is taken. */
static void dead_idle_is_passed_over(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, NULL);
    struct ask *one = ask_get(f, &f->a, FROM_NONE);
    struct ask *two = ask_get(f, &f->a, FROM_NONE);
    struct ask *three = ask_get(f, &f->a, FROM_NONE);
    ask_release(one);
    ask_release(two);
    ask_release(three);
    peer_conn_close(ask_far_end(three, &f->a));
    peer_conn_send(ask_far_end(two, &f->a));
    /* The loop has not run since. */
    struct ask *next = ask(f, &f->a);
    claim_stats(f, 1, 0, 0, 0);
    ask_wait(next);
    claim_ok(next, FROM_IMMEDIATE);
    claim_same(next, one);
    assert_int_equal(ask_far_peek(two, &f->a), PEER_RESET);
}

/* [19] */
static void idle_ends_with_the_peer(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, NULL);
    struct ask *to_a = ask_get(f, &f->a, FROM_NONE);
    struct ask *to_b = ask_get(f, &f->b, FROM_NONE);
    struct ask *to_c = ask_get(f, &f->c, FROM_NONE);
    ask_release(to_a);
    ask_release(to_b);
    ask_release(to_c);
    fixture_iterate(f);
    claim_stats(f, 0, 0, 3, 0);
    peer_conn_close(ask_far_end(to_a, &f->a));
    fixture_iterate(f);
    claim_stats(f, 0, 0, 2, 0);
    claim_discards(f, DISCARD_UPSTREAM_CLOSED, 1);
    peer_conn_send(ask_far_end(to_b, &f->b));
    fixture_iterate(f);
    claim_stats(f, 0, 0, 1, 0);
    claim_discards(f, DISCARD_UNREAD_DATA, 1);
    peer_conn_reset(ask_far_end(to_c, &f->c));
    fixture_iterate(f);
    claim_stats(f, 0, 0, 0, 0);
    claim_discards(f, DISCARD_UPSTREAM_ERROR, 1);
}

/* A connection older than max_age is not reused. */
static void max_age_ends_a_connection(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_age = 10 * USEC_PER_SEC});
    struct ask *first = ask_get(f, &f->a, FROM_NONE);
    fixture_warp(f, 6 * USEC_PER_SEC);
    ask_release(first);
    struct ask *second = ask_get(f, &f->a, FROM_IMMEDIATE);
    fixture_warp(f, 6 * USEC_PER_SEC);
    ask_release(second);
    claim_stats(f, 0, 0, 0, 0);
    claim_discards(f, DISCARD_MAX_AGE, 1);
}

/* Each connection's own limit is up to 10 % below max_age, and never above. */
static void max_age_differs(void **state)
{
    struct fixture *f = *state;
    enum { MANY = 40 };
    fixture_pool(f, &(struct pool_limits){.max_age = 10 * USEC_PER_SEC, .max_per_host = MANY});
    struct ask *asks[MANY];
    for (unsigned i = 0; i < MANY; i++)
        asks[i] = ask_get(f, &f->a, FROM_NONE);
    unsigned young = 0; /* none at 8.5 s, and about half of them at 9.5 s */
    fixture_warp(f, 9 * USEC_PER_SEC - USEC_PER_SEC / 2);
    for (unsigned i = 0; i < MANY; i++)
        ask_release(asks[i]);
    claim_discards(f, DISCARD_MAX_AGE, 0);
    fixture_warp(f, USEC_PER_SEC);
    for (unsigned i = 0; i < MANY; i++) {
        struct ask *again = ask(f, &f->a);
        ask_wait(again);
        young += again->allocation.from_cache == FROM_IMMEDIATE;
    }
    claim_stats(f, MANY, 0, 0, 0);
    claim_discards(f, DISCARD_MAX_AGE, MANY - young);
    assert_in_range(young, 1, MANY - 1);
}

/* A connection is leased max_uses times. */
static void max_uses_ends_a_connection(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_uses = 2});
    ask_release(ask_get(f, &f->a, FROM_NONE));
    ask_release(ask_get(f, &f->a, FROM_IMMEDIATE));
    claim_stats(f, 0, 0, 0, 0);
    claim_discards(f, DISCARD_MAX_USES, 1);
    ask_get(f, &f->a, FROM_NONE);
}

/* A grant that was withdrawn is not a use. */
static void taken_back_answer_is_no_use(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_uses = 2});
    ask_release(ask_get(f, &f->a, FROM_NONE));
    ask_cancel(ask(f, &f->a));
    claim_stats(f, 0, 0, 1, 0);
    ask_get(f, &f->a, FROM_IMMEDIATE);
}

/* The upstream's hint shortens keep_alive for its connection, and never lengthens it. */
static void idle_hint_shortens_keep_alive(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.keep_alive = 10 * USEC_PER_SEC});
    struct ask *to_a = ask_get(f, &f->a, FROM_NONE);
    struct ask *to_b = ask_get(f, &f->b, FROM_NONE);
    pool_set_idle_hint(&to_a->allocation, 4 * USEC_PER_SEC);
    pool_set_idle_hint(&to_b->allocation, 100 * USEC_PER_SEC);
    ask_release(to_a);
    ask_release(to_b);
    fixture_warp(f, 3 * USEC_PER_SEC);
    claim_stats(f, 0, 0, 2, 0);
    fixture_warp(f, USEC_PER_SEC);
    claim_stats(f, 0, 0, 1, 0);
    fixture_warp(f, 7 * USEC_PER_SEC);
    claim_stats(f, 0, 0, 0, 0);
}

static bool offer(struct ask *ask)
{
    bool taken = pool_release(&ask->allocation, RELEASE_IF_QUIET);
    ask->held = !taken;
    assert_null(pool_check(ask->pool));
    return taken;
}

/* An offer is a release if the connection is quiet. */
static void offer_of_a_quiet_connection(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 1, .max_uses = 2});
    struct ask *first = ask_get(f, &f->a, FROM_NONE);
    struct ask *waiter = ask(f, &f->a);
    assert_true(offer(first));
    ask_wait(waiter);
    claim_ok(waiter, FROM_DEFERRED);
    assert_true(offer(waiter));
    claim_stats(f, 0, 0, 0, 0);
    claim_discards(f, DISCARD_MAX_USES, 1);
}

/* A connection that has something to read stays with its user. */
static void offer_of_a_readable_connection(void **state)
{
    struct fixture *f = *state;
    char bytes[8];
    fixture_pool(f, NULL);
    struct ask *first = ask_get(f, &f->a, FROM_NONE);
    peer_conn_send(ask_far_end(first, &f->a));
    assert_false(offer(first));
    claim_stats(f, 1, 0, 0, 0);
    assert_int_equal(stream_read(first->allocation.stream, bytes, sizeof(bytes)), 3);
    assert_true(offer(first));
    claim_stats(f, 0, 0, 1, 0);
    struct ask *second = ask_get(f, &f->a, FROM_IMMEDIATE);
    peer_conn_close(ask_far_end(second, &f->a));
    assert_false(offer(second));
    ask_release(second);
    claim_discards(f, DISCARD_UPSTREAM_CLOSED, 1);
}

/* discard closes in order, or with a reset. */
static void discard_can_reset(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, NULL);
    struct ask *one = ask_get(f, &f->a, FROM_NONE);
    struct ask *two = ask_get(f, &f->a, FROM_NONE);
    ask_discard(one, false);
    ask_discard(two, true);
    assert_int_equal(ask_far_peek(one, &f->a), PEER_EOF);
    assert_int_equal(ask_far_peek(two, &f->a), PEER_RESET);
    claim_discards(f, DISCARD_NOT_REUSABLE, 2);
    claim_stats(f, 0, 0, 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(immediate_when_it_was_idle),
        FIXTURE_TEST(deferred_when_somebody_had_to_release),
        FIXTURE_TEST(newest_released_goes_first),
        FIXTURE_TEST(keep_alive_starts_with_each_release),
        FIXTURE_TEST(keep_alive_ends_one_by_one),
        FIXTURE_TEST(stale_by_the_clock_is_not_handed_out),
        FIXTURE_TEST(closed_by_the_peer_is_not_kept),
        FIXTURE_TEST(unread_data_is_not_kept),
        FIXTURE_TEST(reset_by_the_peer_is_not_kept),
        FIXTURE_TEST(dead_idle_is_passed_over),
        FIXTURE_TEST(idle_ends_with_the_peer),
        FIXTURE_TEST(max_age_ends_a_connection),
        FIXTURE_TEST(max_age_differs),
        FIXTURE_TEST(max_uses_ends_a_connection),
        FIXTURE_TEST(taken_back_answer_is_no_use),
        FIXTURE_TEST(idle_hint_shortens_keep_alive),
        FIXTURE_TEST(offer_of_a_quiet_connection),
        FIXTURE_TEST(offer_of_a_readable_connection),
        FIXTURE_TEST(discard_can_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
