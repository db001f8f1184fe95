/* SPDX-License-Identifier: ISC */
/* POOL 26 to 30: calls from inside a grant, shutdown, cancel, and a lease ended twice. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/pool_fixture.h"

static void release_inside(struct ask *ask)
{
    ask_release(ask);
}

/* Returns its connection, then asks for one more. */
static void release_and_ask_inside(struct ask *asked)
{
    struct fixture *f = asked->fixture;
    ask_release(asked);
    ask(f, &f->a);
}

/* [26] Older waiters of the key precede the one that asks again from inside. */
static void release_and_allocate_inside_an_answer(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 1});
    struct ask *first = ask(f, &f->a);
    struct ask *second = ask(f, &f->a);
    first->then = release_and_ask_inside;
    second->then = release_inside;
    fixture_iterate(f);
    struct ask *third = &f->asks[2];
    assert_int_equal(f->ask_count, 3);
    claim_ok(first, FROM_NONE);
    claim_ok(second, FROM_DEFERRED);
    claim_ok(third, FROM_DEFERRED);
    assert_int_equal(second->order, 2);
    assert_int_equal(third->order, 3);
    claim_same(third, first);
}

static void cancel_the_next(struct ask *ask)
{
    ask_cancel(ask + 1);
}

/* [26] A callback may withdraw a grant that is posted behind its own. */
static void cancel_inside_an_answer(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, NULL);
    struct ask *one = ask_get(f, &f->a, FROM_NONE);
    struct ask *two = ask_get(f, &f->a, FROM_NONE);
    ask_release(one);
    ask_release(two);
    struct ask *third = ask(f, &f->a);
    struct ask *fourth = ask(f, &f->a);
    third->then = cancel_the_next;
    fixture_iterate(f);
    claim_ok(third, FROM_IMMEDIATE);
    claim_pending(fourth);
    claim_stats(f, 1, 0, 1, 0);
}

static void shut_down_inside(struct ask *ask)
{
    pool_shutdown(ask->pool);
}

/* [26, 27] */
static void shutdown_inside_an_answer(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 1});
    struct ask *first = ask(f, &f->a);
    struct ask *second = ask(f, &f->a);
    first->then = shut_down_inside;
    fixture_iterate(f);
    claim_ok(first, FROM_NONE);
    claim_failed(second, "shutdown", ECANCELED);
}

/* Asks again with the very struct that was answered. */
static void ask_again_inside(struct ask *asked)
{
    asked->answers = 0;
    asked->then = NULL;
    ask_start(asked);
}

/* [26] A struct may be reused from inside its grant. */
static void struct_is_free_inside_a_failure(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, NULL);
    struct ask *refused = ask(f, &f->refusing);
    refused->then = ask_again_inside;
    fixture_iterate(f);
    claim_failed(refused, "connect", ECONNREFUSED);
    assert_int_equal(f->answers, 2);
}

/* [27] */
static void shutdown_closes_what_is_idle(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, NULL);
    struct ask *idle = ask_get(f, &f->a, FROM_NONE);
    struct ask *busy = ask_get(f, &f->a, FROM_NONE);
    ask_release(idle);
    pool_shutdown(f->pool);
    claim_stats(f, 1, 0, 0, 0);
    assert_int_equal(ask_far_peek(idle, &f->a), PEER_EOF);
    assert_int_equal(ask_far_peek(busy, &f->a), PEER_OPEN);
    fixture_iterate(f);
    ask_release(busy);
    claim_stats(f, 0, 0, 0, 0);
    assert_int_equal(ask_far_peek(busy, &f->a), PEER_EOF);
    claim_discards(f, DISCARD_SHUTDOWN, 2);
}

/* [27] Every waiter is answered once, the oldest first, in whatever stage it is; dials end. */
static void shutdown_answers_who_waits(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 1});
    names_set(f->names, "slow.test", NULL, NULL, NAMES_NEVER);
    ask_get(f, &f->a, FROM_NONE);
    struct ask *waiters[] = {ask(f, fixture_blackhole(f)), ask(f, &f->a),
                             ask_name(f, "slow.test", &f->b), ask(f, &f->a)};
    fixture_iterate(f);
    claim_stats(f, 1, 2, 0, 2);
    pool_shutdown(f->pool);
    claim_stats(f, 1, 0, 0, 0);
    claim_pending(waiters[0]);
    fixture_warp(f, 2 * POOL_TIMEOUT);
    for (unsigned i = 0; i < ARRAY_LEN(waiters); i++) {
        claim_failed(waiters[i], "shutdown", ECANCELED);
        assert_int_equal(waiters[i]->order, 2 + i);
    }
}

/* [27] */
static void shutdown_refuses_allocate(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, NULL);
    pool_shutdown(f->pool);
    pool_shutdown(f->pool);
    struct ask *refused = ask_prepare(f, &f->a);
    assert_int_equal(pool_allocate(f->pool, &refused->allocation), -1);
    assert_int_equal(errno, ESHUTDOWN);
    fixture_iterate(f);
    claim_pending(refused);
}

/* [27] A grant that is posted already is not withdrawn by a shutdown. */
static void posted_answer_survives_shutdown(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, NULL);
    ask_release(ask_get(f, &f->a, FROM_NONE));
    struct ask *hit = ask(f, &f->a);
    pool_shutdown(f->pool);
    fixture_iterate(f);
    claim_ok(hit, FROM_IMMEDIATE);
}

/* A drained pool serves current and new requests, and keeps nothing idle. */
static void drain_serves_waiters(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 1});
    ask_release(ask_get(f, &f->b, FROM_NONE));
    struct ask *holder = ask_get(f, &f->a, FROM_NONE);
    struct ask *queued = ask(f, &f->a);
    pool_drain(f->pool);
    claim_stats(f, 1, 0, 0, 1);
    ask_release(holder);
    ask_wait(queued);
    claim_ok(queued, FROM_DEFERRED);
    struct ask *late = ask_get(f, &f->b, FROM_NONE);
    ask_release(queued);
    ask_release(late);
    claim_stats(f, 0, 0, 0, 0);
    pool_shutdown(f->pool);
    assert_int_equal(pool_allocate(f->pool, &ask_prepare(f, &f->a)->allocation), -1);
}

/* [28] */
static void cancel_in_the_queue(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 1});
    struct ask *holder = ask_get(f, &f->a, FROM_NONE);
    struct ask *queued = ask(f, &f->a);
    ask_cancel(queued);
    claim_stats(f, 1, 0, 0, 0);
    ask_release(holder);
    fixture_warp(f, 2 * POOL_KEEP_ALIVE + POOL_TIMEOUT);
    claim_pending(queued);
}

/* [28] */
static void cancel_in_look_up(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, NULL);
    names_set(f->names, "slow.test", "127.0.0.1", NULL, USEC_PER_SEC);
    struct ask *gone = ask_name(f, "slow.test", &f->a);
    fixture_begin(f);
    claim_stats(f, 0, 1, 0, 0);
    assert_int_equal(names_count(f->names, "slow.test"), 1);
    ask_cancel(gone);
    claim_stats(f, 0, 0, 0, 0);
    fixture_warp(f, USEC_PER_SEC);
    claim_pending(gone);
    peer_accept(&f->a);
    assert_true(TAILQ_EMPTY(&f->a.conns));
}

/* [28] */
static void cancel_while_connecting(void **state)
{
    struct fixture *f = *state;
    struct pool_stats stats;
    fixture_pool(f, NULL);
    struct ask *gone = ask(f, fixture_blackhole(f));
    fixture_iterate(f);
    claim_stats(f, 0, 1, 0, 0);
    ask_cancel(gone);
    claim_stats(f, 0, 0, 0, 0);
    fixture_warp(f, 2 * POOL_TIMEOUT);
    claim_pending(gone);
    pool_get_stats(f->pool, &stats);
    assert_int_equal(stats.cancelled, 1);
    assert_int_equal(stats.failures, 0);
}

/* [28] The grant is decided, but its owner has not seen it: the connection is returned, not
 * wasted. */
static void cancel_a_posted_answer(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 1});
    ask_release(ask_get(f, &f->a, FROM_NONE));
    struct ask *gone = ask(f, &f->a);
    struct ask *next = ask(f, &f->a);
    claim_stats(f, 1, 0, 0, 1);
    ask_cancel(gone);
    ask_wait(next);
    claim_ok(next, FROM_DEFERRED);
    claim_pending(gone);
}

/* [28] The same with a failure. */
static void cancel_a_posted_failure(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, NULL);
    struct ask *gone = ask_prepare(f, &f->a);
    gone->allocation.timeout = -1;
    ask_start(gone);
    ask_cancel(gone);
    fixture_iterate(f);
    claim_pending(gone);
    /* Once more is harmless. */
    ask_cancel(gone);
}

/* [29] In a child: returns a connection twice while another request holds it. */
static void release_twice(struct fixture *f)
{
    struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    signal(SIGABRT, SIG_DFL); /* cmocka's handler would run the next test here */
    if (freopen("/dev/null", "w", stderr) == NULL)
        _exit(3);
    struct ask *first = &f->asks[0];
    struct ask *second = &f->asks[1];
    pool_release(&first->allocation, RELEASE_PEEK);
    _exit(pool_is_leased(&second->allocation) && pool_check(f->pool) == NULL ? 0 : 2);
}

/* [29] An assertion if the build has them; in any case the other's lease is left alone. */
static void lease_ended_twice(void **state)
{
    struct fixture *f = *state;
    int status;
    fixture_pool(f, NULL);
    struct ask *first = ask_get(f, &f->a, FROM_NONE);
    ask_release(first);
    ask_get(f, &f->a, FROM_IMMEDIATE);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        release_twice(f);
    assert_int_equal(waitpid(child, &status, 0), child);
#ifdef NDEBUG
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
#else
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
#endif
}

/* One dial to an address and one to a name that is known, neither begun. */
static void ask_both(struct fixture *f, struct ask *asks[2])
{
    fixture_pool(f, NULL);
    names_set(f->names, "a.test", "127.0.0.1", NULL, 0);
    asks[0] = ask(f, &f->a);
    asks[1] = ask_name(f, "a.test", &f->a);
    claim_stats(f, 0, 2, 0, 0);
}

/* Nothing left this process for them, and nothing is left of them. */
static void claim_never_started(struct fixture *f)
{
    claim_stats(f, 0, 0, 0, 0);
    fixture_iterate(f);
    claim_stats(f, 0, 0, 0, 0);
    assert_int_equal(names_count(f->names, "a.test"), 0);
    peer_accept(&f->a);
    assert_true(TAILQ_EMPTY(&f->a.conns));
    claim_discards(f, DISCARD_DIAL_UNWANTED, 2);
}

/* [30] */
static void cancelled_at_once_dials_nothing(void **state)
{
    struct fixture *f = *state;
    struct ask *asks[2];
    ask_both(f, asks);
    ask_cancel(asks[0]);
    ask_cancel(asks[1]);
    claim_never_started(f);
    claim_pending(asks[0]);
    claim_pending(asks[1]);
}

/* [30] */
static void shut_down_at_once_dials_nothing(void **state)
{
    struct fixture *f = *state;
    struct ask *asks[2];
    ask_both(f, asks);
    pool_shutdown(f->pool);
    claim_never_started(f);
    claim_failed(asks[0], "shutdown", ECANCELED);
    claim_failed(asks[1], "shutdown", ECANCELED);
}

/* pool_free frees everything; waiters are not called. (The teardown checks for leaked
 * descriptors.) */
static void free_in_full_swing(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 1});
    names_set(f->names, "slow.test", NULL, NULL, NAMES_NEVER);
    ask_release(ask_get(f, &f->a, FROM_NONE));
    ask(f, &f->a);
    ask(f, &f->a);
    ask(f, fixture_blackhole(f));
    ask_name(f, "slow.test", &f->b);
    fixture_begin(f);
    ask_release(ask_get(f, &f->c, FROM_NONE));
    struct ask *late = ask_prepare(f, &f->a);
    late->allocation.timeout = -1;
    ask_start(late);
    /* A grant that was delivered meanwhile is a lease that has to end first. */
    for (unsigned i = 0; i < f->ask_count; i++) {
        if (f->asks[i].held)
            ask_discard(&f->asks[i], false);
    }
    unsigned answers = f->answers;
    pool_free(f->pool);
    f->pools[0] = NULL;
    fixture_iterate(f);
    assert_int_equal(f->answers, answers);
    pool_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(release_and_allocate_inside_an_answer),
        FIXTURE_TEST(cancel_inside_an_answer),
        FIXTURE_TEST(shutdown_inside_an_answer),
        FIXTURE_TEST(struct_is_free_inside_a_failure),
        FIXTURE_TEST(shutdown_closes_what_is_idle),
        FIXTURE_TEST(shutdown_answers_who_waits),
        FIXTURE_TEST(shutdown_refuses_allocate),
        FIXTURE_TEST(posted_answer_survives_shutdown),
        FIXTURE_TEST(drain_serves_waiters),
        FIXTURE_TEST(cancel_in_the_queue),
        FIXTURE_TEST(cancel_in_look_up),
        FIXTURE_TEST(cancel_while_connecting),
        FIXTURE_TEST(cancel_a_posted_answer),
        FIXTURE_TEST(cancel_a_posted_failure),
        FIXTURE_TEST(lease_ended_twice),
        FIXTURE_TEST(cancelled_at_once_dials_nothing),
        FIXTURE_TEST(shut_down_at_once_dials_nothing),
        FIXTURE_TEST(free_in_full_swing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
