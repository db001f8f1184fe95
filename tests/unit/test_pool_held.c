/* SPDX-License-Identifier: ISC */
/* POOL 31 and 32: connections that one user holds for as long as it likes. */
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/pool_fixture.h"

/* [31] Held ones leave max_per_host to others; a request that waits for it is served
 * immediately. */
static void held_makes_room_in_its_host(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 1, .max_tunnels = 2});
    struct ask *first = ask_get(f, &f->a, FROM_NONE);
    struct ask *second = ask(f, &f->a);
    struct ask *third = ask(f, &f->a);
    claim_stats(f, 1, 0, 0, 2);
    ask_hold(first);
    claim_stats(f, 0, 1, 0, 1);
    claim_held(f, 1);
    ask_wait(second);
    claim_ok(second, FROM_NONE);
    ask_hold(second);
    ask_wait(third);
    claim_ok(third, FROM_NONE);
    claim_stats(f, 1, 0, 0, 0);
    claim_held(f, 2);
    assert_int_equal(ask_far_peek(first, &f->a), PEER_OPEN);
}

/* [31] max_tunnels is hard, and is counted per host. */
static void max_tunnels_is_hard(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 3, .max_tunnels = 1});
    struct ask *holder = ask_get(f, &f->a, FROM_NONE);
    struct ask *other = ask_get(f, &f->a, FROM_NONE);
    struct ask *elsewhere = ask_get(f, &f->b, FROM_NONE);
    ask_hold(holder);
    assert_false(pool_reserve_hold(&other->allocation));
    claim_stats(f, 2, 0, 0, 0);
    ask_hold(elsewhere);
    claim_held(f, 2);
    ask_discard(holder, false);
    ask_hold(other);
    claim_held(f, 2);
}

/* [31] Where there are to be none. */
static void no_tunnels_at_all(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, NULL);
    struct ask *asked = ask_get(f, &f->a, FROM_NONE);
    assert_false(pool_reserve_hold(&asked->allocation));
    ask_release(asked);
    claim_stats(f, 0, 0, 1, 0);
}

/* [31] A reservation takes one of max_tunnels, and leaves the lease where it counts. */
static void reservation_counts(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 2, .max_tunnels = 1});
    struct ask *one = ask_get(f, &f->a, FROM_NONE);
    struct ask *two = ask_get(f, &f->a, FROM_NONE);
    struct ask *waiter = ask(f, &f->a);
    const struct pool_host *host = pool_retain(f->pool, &one->endpoint, NULL);
    assert_true(pool_can_hold(host));
    assert_true(pool_reserve_hold(&one->allocation));
    assert_false(pool_can_hold(host));
    assert_true(pool_reserve_hold(&one->allocation)); /* once more takes no second one */
    assert_false(pool_reserve_hold(&two->allocation));
    fixture_iterate(f);
    claim_pending(waiter);
    claim_stats(f, 2, 0, 0, 1);
    claim_held(f, 0);
    assert_true(pool_unhold(&one->allocation));
    assert_true(pool_reserve_hold(&two->allocation));
    ask_release(two); /* to the waiter, which has reserved nothing */
    ask_wait(waiter);
    claim_ok(waiter, FROM_DEFERRED);
    claim_same(waiter, two);
    assert_true(pool_reserve_hold(&one->allocation));
    assert_false(pool_reserve_hold(&waiter->allocation));
    ask_discard(one, false);
    assert_true(pool_reserve_hold(&waiter->allocation));
    ask_release(waiter);
    claim_stats(f, 0, 0, 1, 0);
    struct ask *next = ask_get(f, &f->a, FROM_IMMEDIATE);
    assert_true(pool_reserve_hold(&next->allocation));
}

/* [31] max_open counts held connections, for every host. */
static void held_counts_under_max_open(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_open = 2, .max_tunnels = 4});
    ask_hold(ask_get(f, &f->a, FROM_NONE));
    struct ask *last = ask_get(f, &f->a, FROM_NONE);
    ask_hold(last);
    struct ask *waiter = ask(f, &f->b);
    fixture_iterate(f);
    claim_pending(waiter);
    ask_discard(last, false);
    ask_wait(waiter);
    claim_ok(waiter, FROM_NONE);
}

/* [32] Released with room in its host it is like any other. */
static void held_comes_back(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 1, .max_tunnels = 1});
    struct ask *held = ask_get(f, &f->a, FROM_NONE);
    ask_hold(held);
    ask_release(held);
    claim_stats(f, 0, 0, 1, 0);
    claim_held(f, 0);
    struct ask *next = ask_get(f, &f->a, FROM_IMMEDIATE);
    claim_same(next, held);
    ask_hold(next);
}

/* [32] At max_open it goes to the oldest waiter of its host, or makes room for one elsewhere. */
static void held_comes_back_to_a_waiter(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_open = 1, .max_tunnels = 1});
    struct ask *held = ask_get(f, &f->a, FROM_NONE);
    ask_hold(held);
    struct ask *here = ask(f, &f->a);
    struct ask *there = ask(f, &f->b);
    ask_release(held);
    ask_wait(here);
    claim_ok(here, FROM_DEFERRED);
    claim_same(here, held);
    ask_hold(here);
    ask_release(here);
    ask_wait(there);
    claim_ok(there, FROM_NONE);
    claim_discards(f, DISCARD_EVICTED, 1);
}

/* [32] Without room it is closed, even if a request waits: max_per_host is hard. */
static void held_finds_its_host_full(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 1, .max_tunnels = 1});
    struct ask *held = ask_get(f, &f->a, FROM_NONE);
    ask_hold(held);
    struct ask *other = ask_get(f, &f->a, FROM_NONE);
    struct ask *waiter = ask(f, &f->a);
    assert_false(pool_unhold(&held->allocation));
    claim_held(f, 1);
    ask_release(held);
    claim_held(f, 0);
    claim_stats(f, 1, 0, 0, 1);
    claim_discards(f, DISCARD_MAX_PER_HOST, 1);
    assert_int_equal(ask_far_peek(held, &f->a), PEER_EOF);
    ask_release(other);
    ask_wait(waiter);
    claim_same(waiter, other);
}

/* [32] One that is not fit for reuse is closed for that reason. */
static void held_comes_back_unfit(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 1, .max_tunnels = 1});
    struct ask *held = ask_get(f, &f->a, FROM_NONE);
    ask_hold(held);
    peer_conn_send(ask_far_end(held, &f->a));
    ask_release(held);
    claim_held(f, 0);
    claim_discards(f, DISCARD_UNREAD_DATA, 1);
    claim_discards(f, DISCARD_MAX_PER_HOST, 0);
}

/* A lease can be held, stop being held, and be held again. */
static void held_for_a_while(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 1, .max_tunnels = 1});
    struct ask *held = ask_get(f, &f->a, FROM_NONE);
    ask_hold(held);
    pool_hold(&held->allocation); /* once more changes nothing */
    assert_true(pool_reserve_hold(&held->allocation));
    claim_held(f, 1);
    assert_true(pool_unhold(&held->allocation));
    claim_held(f, 0);
    claim_stats(f, 1, 0, 0, 0);
    struct ask *waiter = ask(f, &f->a);
    claim_stats(f, 1, 0, 0, 1);
    ask_hold(held);
    ask_wait(waiter);
    claim_ok(waiter, FROM_NONE);
}

/* The place that it frees is also for a preconnected connection. */
static void preconnected_take_the_place(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 1, .max_tunnels = 1, .min_idle = 1});
    struct ask *held = ask_get(f, &f->a, FROM_NONE);
    assert_int_equal(pool_keep_preconnected(f->pool, &held->endpoint), 0);
    fixture_iterate(f);
    claim_stats(f, 1, 0, 0, 0);
    ask_hold(held);
    fixture_iterate(f);
    claim_stats(f, 0, 0, 1, 0);
}

/* Its host stays as long as it is held, and a shutdown leaves it to its user. */
static void held_outlives_a_shutdown(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_tunnels = 1});
    struct ask *held = ask_get(f, &f->a, FROM_NONE);
    ask_hold(held);
    pool_shutdown(f->pool);
    fixture_iterate(f);
    claim_held(f, 1);
    assert_int_equal(ask_far_peek(held, &f->a), PEER_OPEN);
    ask_release(held);
    claim_held(f, 0);
    claim_discards(f, DISCARD_SHUTDOWN, 1);
}

/* In a child: holds a lease for which nothing is reserved. */
static void hold_unreserved(struct ask *asked)
{
    struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    signal(SIGABRT, SIG_DFL); /* cmocka's handler would run the next test here */
    if (freopen("/dev/null", "w", stderr) == NULL)
        _exit(3);
    pool_hold(&asked->allocation);
    _exit(pool_check(asked->pool) == NULL ? 0 : 2);
}

/* That is a programming error: an assertion if the build has them. */
static void hold_needs_a_reservation(void **state)
{
    struct fixture *f = *state;
    int status;
    fixture_pool(f, NULL);
    struct ask *asked = ask_get(f, &f->a, FROM_NONE);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        hold_unreserved(asked);
    assert_int_equal(waitpid(child, &status, 0), child);
#ifdef NDEBUG
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
#else
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(held_makes_room_in_its_host), FIXTURE_TEST(max_tunnels_is_hard),
        FIXTURE_TEST(no_tunnels_at_all),           FIXTURE_TEST(reservation_counts),
        FIXTURE_TEST(held_counts_under_max_open),  FIXTURE_TEST(held_comes_back),
        FIXTURE_TEST(held_comes_back_to_a_waiter), FIXTURE_TEST(held_finds_its_host_full),
        FIXTURE_TEST(held_comes_back_unfit),       FIXTURE_TEST(held_for_a_while),
        FIXTURE_TEST(preconnected_take_the_place), FIXTURE_TEST(held_outlives_a_shutdown),
        FIXTURE_TEST(hold_needs_a_reservation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
