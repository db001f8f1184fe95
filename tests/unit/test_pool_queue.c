/* SPDX-License-Identifier: ISC */
/* POOL 8, 9 and 11 to 15: limits and the queue. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "support/pool_fixture.h"

/* [8] Connecting, busy and idle count alike for max_per_host, and a dial from its lookup on. */
static void max_per_host_counts_every_state(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 2});
    names_set(f->names, "x.test", "127.0.0.1", NULL, 0);
    struct ask *one = ask_name(f, "x.test", &f->a);
    ask_wait(one);
    names_set(f->names, "x.test", NULL, NULL, NAMES_NEVER);
    ask_name(f, "x.test", &f->a);
    fixture_begin(f);
    claim_stats(f, 1, 1, 0, 0);
    struct ask *third = ask_name(f, "x.test", &f->a);
    fixture_iterate(f);
    claim_stats(f, 1, 1, 0, 1);
    claim_pending(third);
    peer_accept(&f->a);
    assert_ptr_equal(TAILQ_FIRST(&f->a.conns), TAILQ_LAST(&f->a.conns, peer_conns));
}

/* [8] A connect that stays in SYN_SENT holds its place under max_open. */
static void max_open_counts_connecting(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_open = 2});
    struct ask *stuck = ask(f, fixture_blackhole(f));
    ask_get(f, &f->a, FROM_NONE);
    struct ask *third = ask(f, &f->b);
    fixture_iterate(f);
    claim_pending(third);
    claim_stats(f, 1, 1, 0, 1);
    ask_cancel(stuck);
    ask_wait(third);
    claim_ok(third, FROM_NONE);
}

/* [8] An idle connection counts: only max_per_host - 1 others are opened besides it. */
static void idle_counts_towards_the_limits(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 2, .max_open = 2});
    ask_release(ask_get(f, &f->a, FROM_NONE));
    ask_get(f, &f->a, FROM_IMMEDIATE);
    ask_get(f, &f->a, FROM_NONE);
    struct ask *third = ask(f, &f->a);
    fixture_iterate(f);
    claim_pending(third);
    claim_stats(f, 2, 0, 0, 1);
}

/* [9] At every limit an idle connection is still handed out. */
static void immediate_hit_passes_the_limits(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 2, .max_open = 2, .max_waiting = 1});
    struct ask *one = ask_get(f, &f->a, FROM_NONE);
    ask_get(f, &f->b, FROM_NONE);
    struct ask *queued = ask(f, &f->b);
    ask_discard(one, false);
    ask_wait(queued);
    ask_release(queued);
    claim_stats(f, 1, 0, 1, 0);
    claim_same(ask_get(f, &f->b, FROM_IMMEDIATE), queued);
}

/* [11] */
static void waiters_are_served_in_order(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 1});
    struct ask *first = ask_get(f, &f->a, FROM_NONE);
    struct ask *waiters[4];
    for (int i = 0; i < 4; i++)
        waiters[i] = ask(f, &f->a);
    ask_release(first);
    for (int i = 0; i < 4; i++) {
        ask_wait(waiters[i]);
        claim_ok(waiters[i], FROM_DEFERRED);
        fixture_iterate(f);
        assert_int_equal(f->answers, 2 + i);
        ask_release(waiters[i]);
    }
}

/* [11] A full host's waiters delay no other host, whenever it arrives. */
static void full_host_holds_up_nobody_else(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 1});
    ask_get(f, &f->a, FROM_NONE);
    struct ask *queued = ask(f, &f->a);
    ask_get(f, &f->b, FROM_NONE);
    fixture_iterate(f);
    ask_get(f, &f->c, FROM_NONE);
    claim_pending(queued);
}

/* [11] At max_open, waiters of several hosts are served in order of arrival. */
static void order_goes_across_hosts(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_open = 1});
    struct ask *holder = ask_get(f, &f->a, FROM_NONE);
    struct ask *for_c = ask(f, &f->c);
    struct ask *for_b = ask(f, &f->b);
    struct ask *for_a = ask(f, &f->a);
    ask_release(holder);
    ask_wait(for_c);
    assert_int_equal(for_b->answers + for_a->answers, 0);
    ask_release(for_c);
    ask_wait(for_b);
    claim_pending(for_a);
    ask_release(for_b);
    ask_wait(for_a);
    claim_ok(for_a, FROM_NONE);
}

/* [12] The least recently used idle connection is closed, and just one. */
static void longest_idle_makes_room(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_open = 2});
    struct ask *to_a = ask_get(f, &f->a, FROM_NONE);
    struct ask *to_b = ask_get(f, &f->b, FROM_NONE);
    ask_release(to_b);
    ask_release(to_a);
    ask_get(f, &f->c, FROM_NONE);
    claim_stats(f, 1, 0, 1, 0);
    claim_discards(f, DISCARD_EVICTED, 1);
    assert_int_equal(ask_far_peek(to_a, &f->a), PEER_OPEN);
    assert_int_equal(ask_far_peek(to_b, &f->b), PEER_EOF);
}

/* [12] Use renews the place in that order. */
static void use_saves_from_eviction(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_open = 2});
    struct ask *to_a = ask_get(f, &f->a, FROM_NONE);
    struct ask *to_b = ask_get(f, &f->b, FROM_NONE);
    ask_release(to_a);
    ask_release(to_b);
    ask_release(ask_get(f, &f->a, FROM_IMMEDIATE));
    ask_get(f, &f->c, FROM_NONE);
    assert_int_equal(ask_far_peek(to_a, &f->a), PEER_OPEN);
    assert_int_equal(ask_far_peek(to_b, &f->b), PEER_EOF);
}

/* [12] A full host cannot use the room, so nothing is closed for it. */
static void full_host_evicts_nobody(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 1, .max_open = 2});
    ask_get(f, &f->a, FROM_NONE);
    ask_release(ask_get(f, &f->b, FROM_NONE));
    struct ask *queued = ask(f, &f->a);
    fixture_iterate(f);
    claim_pending(queued);
    claim_stats(f, 1, 0, 1, 1);
}

/* [12] A connection that was just handed out is never the one that is closed. */
static void handed_out_is_not_evicted(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_open = 1});
    ask_release(ask_get(f, &f->a, FROM_NONE));
    struct ask *hit = ask(f, &f->a);
    struct ask *other = ask(f, &f->b);
    fixture_iterate(f);
    claim_ok(hit, FROM_IMMEDIATE);
    claim_pending(other);
    assert_int_equal(ask_far_peek(hit, &f->a), PEER_OPEN);
    ask_release(hit);
    ask_wait(other);
    claim_ok(other, FROM_NONE);
}

/* [12] Fairness before reuse: an older waiter of another host gets the slot of a released
 * connection, although a younger one could have used it. */
static void older_waiter_goes_before_reuse(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_open = 1});
    struct ask *holder = ask_get(f, &f->a, FROM_NONE);
    struct ask *older = ask(f, &f->b);
    struct ask *younger = ask(f, &f->a);
    ask_release(holder);
    ask_wait(older);
    claim_ok(older, FROM_NONE);
    claim_pending(younger);
    claim_discards(f, DISCARD_EVICTED, 1);
    assert_int_equal(ask_far_peek(holder, &f->a), PEER_EOF);
}

/* [12] The other way round the connection is reused. */
static void reuse_goes_before_younger_waiter(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_open = 1});
    struct ask *holder = ask_get(f, &f->a, FROM_NONE);
    struct ask *older = ask(f, &f->a);
    struct ask *younger = ask(f, &f->b);
    ask_release(holder);
    ask_wait(older);
    claim_ok(older, FROM_DEFERRED);
    claim_pending(younger);
    claim_discards(f, DISCARD_EVICTED, 0);
}

/* [12] The same if the host is full and waits for nothing but a release. */
static void reuse_in_a_full_host(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 1, .max_open = 1});
    struct ask *holder = ask_get(f, &f->a, FROM_NONE);
    struct ask *older = ask(f, &f->a);
    ask(f, &f->b);
    ask_release(holder);
    ask_wait(older);
    claim_ok(older, FROM_DEFERRED);
    claim_discards(f, DISCARD_EVICTED, 0);
}

/* [12] Below max_open no waiter of another host needs the slot. */
static void below_max_open_nothing_is_evicted(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 1, .max_open = 3});
    struct ask *holder = ask_get(f, &f->a, FROM_NONE);
    ask_get(f, &f->b, FROM_NONE);
    ask(f, &f->b);
    struct ask *queued = ask(f, &f->a);
    ask_release(holder);
    ask_wait(queued);
    claim_ok(queued, FROM_DEFERRED);
    claim_discards(f, DISCARD_EVICTED, 0);
}

/* [13] A discard makes room. */
static void discard_wakes_the_queue(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 1});
    struct ask *holder = ask_get(f, &f->a, FROM_NONE);
    struct ask *queued = ask(f, &f->a);
    fixture_iterate(f);
    ask_discard(holder, false);
    ask_wait(queued);
    claim_ok(queued, FROM_NONE);
    assert_int_equal(ask_far_peek(holder, &f->a), PEER_EOF);
}

/* [13] A connection that is returned unfit makes room as well. */
static void unfit_release_wakes_the_queue(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 1});
    struct ask *holder = ask_get(f, &f->a, FROM_NONE);
    struct ask *queued = ask(f, &f->a);
    peer_conn_close(ask_far_end(holder, &f->a));
    ask_release(holder);
    ask_wait(queued);
    claim_ok(queued, FROM_NONE);
}

/* [13] A cancelled dial makes room, for its own host and for another one. */
static void cancelled_dial_wakes_the_queue(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_open = 1});
    struct ask *stuck = ask(f, fixture_blackhole(f));
    struct ask *other = ask(f, &f->a);
    fixture_iterate(f);
    claim_pending(other);
    ask_cancel(stuck);
    ask_wait(other);
    claim_ok(other, FROM_NONE);
    claim_discards(f, DISCARD_DIAL_UNWANTED, 1);
}

/* [13] A waiter that times out ends its dial with it, and the slot goes to another one. */
static void timed_out_dial_wakes_the_queue(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_open = 1});
    struct ask *stuck = ask_prepare(f, fixture_blackhole(f));
    stuck->allocation.timeout = USEC_PER_SEC;
    ask_start(stuck);
    struct ask *other = ask(f, &f->a);
    fixture_warp(f, USEC_PER_SEC);
    claim_failed(stuck, "connect", ETIMEDOUT);
    ask_wait(other);
    claim_ok(other, FROM_NONE);
}

/* [13] A failed dial wakes the next waiter of the same host. */
static void failed_dial_wakes_its_host(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 1});
    struct ask *first = ask(f, &f->refusing);
    struct ask *second = ask(f, &f->refusing);
    ask_wait(first);
    ask_wait(second);
    claim_failed(first, "connect", ECONNREFUSED);
    claim_failed(second, "connect", ECONNREFUSED);
    assert_true(first->order < second->order);
}

/* [14] */
static void who_gave_up_holds_up_nobody(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 1});
    struct ask *holder = ask_get(f, &f->a, FROM_NONE);
    struct ask *timed_out = ask_prepare(f, &f->a);
    timed_out->allocation.timeout = USEC_PER_SEC;
    ask_start(timed_out);
    struct ask *cancelled = ask(f, &f->a);
    struct ask *last = ask(f, &f->a);
    ask_cancel(cancelled);
    claim_stats(f, 1, 0, 0, 2);
    fixture_warp(f, USEC_PER_SEC);
    claim_failed(timed_out, "queue", ETIMEDOUT);
    claim_stats(f, 1, 0, 0, 1);
    ask_release(holder);
    ask_wait(last);
    claim_ok(last, FROM_DEFERRED);
    claim_pending(cancelled);
}

/* [14] The same at max_open, across hosts. */
static void oldest_of_all_gives_up(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_open = 1});
    struct ask *holder = ask_get(f, &f->a, FROM_NONE);
    struct ask *oldest = ask(f, &f->b);
    struct ask *next = ask(f, &f->c);
    ask_cancel(oldest);
    ask_release(holder);
    ask_wait(next);
    claim_ok(next, FROM_NONE);
}

/* [15] */
static void too_many_waiting(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 1, .max_waiting = 2});
    struct ask *holder = ask_get(f, &f->a, FROM_NONE);
    struct ask *first = ask(f, &f->a);
    struct ask *second = ask(f, &f->a);
    struct ask *third = ask(f, &f->a);
    fixture_iterate(f);
    claim_failed(third, "allocate", EAGAIN);
    assert_string_equal(third->failure.text, "too many waiting (max_waiting = 2)");
    claim_pending(first);
    claim_pending(second);
    claim_stats(f, 1, 0, 0, 2);
    /* A request that need not wait is not refused. */
    ask_get(f, &f->b, FROM_NONE);
    ask_release(holder);
    ask_wait(first);
    struct ask *fourth = ask(f, &f->a);
    fixture_iterate(f);
    claim_pending(fourth);
}

/* [15] Nor is one that finds its host's idle connection stale: its place becomes free. */
static void place_of_a_stale_connection_is_no_wait(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){
                        .max_per_host = 1, .max_waiting = 1, .keep_alive = 10 * USEC_PER_SEC});
    ask_get(f, &f->b, FROM_NONE);
    struct ask *queued = ask(f, &f->b);
    ask_release(ask_get(f, &f->a, FROM_NONE));
    loop_warp(f->loop, 10 * USEC_PER_SEC);
    ask_get(f, &f->a, FROM_NONE);
    claim_pending(queued);
}

/* Late binding: whichever connection is ready first goes to the oldest waiter; the dial that has no
 * waiter any more is cancelled. */
static void released_overtakes_the_dial(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 2});
    names_set(f->names, "x.test", "127.0.0.1", NULL, 0);
    struct ask *holder = ask_name(f, "x.test", &f->a);
    ask_wait(holder);
    names_set(f->names, "x.test", "127.0.0.1", NULL, USEC_PER_SEC);
    struct ask *waiter = ask_name(f, "x.test", &f->a);
    fixture_begin(f);
    claim_stats(f, 1, 1, 0, 0);
    ask_release(holder);
    claim_stats(f, 1, 0, 0, 0);
    fixture_iterate(f);
    claim_ok(waiter, FROM_DEFERRED);
    claim_same(waiter, holder);
    claim_discards(f, DISCARD_DIAL_UNWANTED, 1);
}

/* Late binding: two waiters, one dial: the dial that the first one requested is kept. */
static void dial_is_kept_for_the_next_waiter(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 2});
    names_set(f->names, "x.test", "127.0.0.1", NULL, 0);
    struct ask *holder = ask_name(f, "x.test", &f->a);
    ask_wait(holder);
    names_set(f->names, "x.test", "127.0.0.1", NULL, USEC_PER_SEC);
    struct ask *first = ask_name(f, "x.test", &f->a);
    struct ask *second = ask_name(f, "x.test", &f->a);
    fixture_begin(f);
    claim_stats(f, 1, 1, 0, 1);
    ask_release(holder);
    claim_stats(f, 1, 1, 0, 0);
    fixture_warp(f, USEC_PER_SEC);
    claim_ok(first, FROM_DEFERRED);
    claim_ok(second, FROM_NONE);
    claim_discards(f, DISCARD_DIAL_UNWANTED, 0);
}

/* max_connecting: the others wait, and get a dial as soon as one has ended. */
static void max_connecting_holds_back_dials(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 4, .max_connecting = 2});
    names_set(f->names, "x.test", "127.0.0.1", NULL, USEC_PER_SEC);
    struct ask *first = ask_name(f, "x.test", &f->a);
    struct ask *second = ask_name(f, "x.test", &f->a);
    struct ask *third = ask_name(f, "x.test", &f->a);
    fixture_begin(f);
    claim_stats(f, 0, 2, 0, 1);
    ask(f, &f->b); /* another host has its own limit */
    claim_stats(f, 0, 3, 0, 1);
    fixture_warp(f, USEC_PER_SEC);
    claim_ok(first, FROM_NONE);
    claim_ok(second, FROM_NONE);
    claim_pending(third);
    claim_stats(f, 3, 1, 0, 0);
    fixture_warp(f, USEC_PER_SEC);
    claim_ok(third, FROM_NONE);
}

/* A dial that fails, or that is abandoned, makes room as well. */
static void max_connecting_after_a_failure(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_connecting = 1});
    names_set(f->names, "x.test", NULL, "No such name", USEC_PER_SEC);
    struct ask *failing = ask_name(f, "x.test", &f->a);
    struct ask *cancelled = ask_name(f, "x.test", &f->a);
    struct ask *last = ask_name(f, "x.test", &f->a);
    fixture_begin(f);
    claim_stats(f, 0, 1, 0, 2);
    names_set(f->names, "x.test", "127.0.0.1", NULL, USEC_PER_SEC);
    ask_cancel(cancelled);
    claim_stats(f, 0, 1, 0, 1);
    ask_cancel(failing);
    claim_stats(f, 0, 1, 0, 0);
    fixture_warp(f, USEC_PER_SEC);
    claim_ok(last, FROM_NONE);
}

/* A request that waits for a dial takes a released connection. */
static void max_connecting_leaves_reuse(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_connecting = 1});
    names_set(f->names, "x.test", "127.0.0.1", NULL, 0);
    struct ask *holder = ask_name(f, "x.test", &f->a);
    ask_wait(holder);
    names_set(f->names, "x.test", "127.0.0.1", NULL, USEC_PER_SEC);
    struct ask *first = ask_name(f, "x.test", &f->a);
    struct ask *second = ask_name(f, "x.test", &f->a);
    fixture_begin(f);
    claim_stats(f, 1, 1, 0, 1);
    ask_release(holder);
    fixture_iterate(f);
    claim_ok(first, FROM_DEFERRED);
    claim_stats(f, 1, 1, 0, 0);
    fixture_warp(f, USEC_PER_SEC);
    claim_ok(second, FROM_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(max_per_host_counts_every_state),
        FIXTURE_TEST(max_open_counts_connecting),
        FIXTURE_TEST(idle_counts_towards_the_limits),
        FIXTURE_TEST(immediate_hit_passes_the_limits),
        FIXTURE_TEST(waiters_are_served_in_order),
        FIXTURE_TEST(full_host_holds_up_nobody_else),
        FIXTURE_TEST(order_goes_across_hosts),
        FIXTURE_TEST(longest_idle_makes_room),
        FIXTURE_TEST(use_saves_from_eviction),
        FIXTURE_TEST(full_host_evicts_nobody),
        FIXTURE_TEST(handed_out_is_not_evicted),
        FIXTURE_TEST(older_waiter_goes_before_reuse),
        FIXTURE_TEST(reuse_goes_before_younger_waiter),
        FIXTURE_TEST(reuse_in_a_full_host),
        FIXTURE_TEST(below_max_open_nothing_is_evicted),
        FIXTURE_TEST(discard_wakes_the_queue),
        FIXTURE_TEST(unfit_release_wakes_the_queue),
        FIXTURE_TEST(cancelled_dial_wakes_the_queue),
        FIXTURE_TEST(timed_out_dial_wakes_the_queue),
        FIXTURE_TEST(failed_dial_wakes_its_host),
        FIXTURE_TEST(who_gave_up_holds_up_nobody),
        FIXTURE_TEST(oldest_of_all_gives_up),
        FIXTURE_TEST(too_many_waiting),
        FIXTURE_TEST(place_of_a_stale_connection_is_no_wait),
        FIXTURE_TEST(released_overtakes_the_dial),
        FIXTURE_TEST(dial_is_kept_for_the_next_waiter),
        FIXTURE_TEST(max_connecting_holds_back_dials),
        FIXTURE_TEST(max_connecting_after_a_failure),
        FIXTURE_TEST(max_connecting_leaves_reuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
