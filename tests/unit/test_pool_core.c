/* SPDX-License-Identifier: ISC */
/* The pool's core alone, one event after the other: what happens between what it says and what is
 * reported, as when several loops share it. */
#include "support/core_fixture.h"

/* A place is counted until the connection was closed. */
static void place_is_free_once_it_is_closed(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.max_per_host = 1});
    core_fixture_lease(f, &f->a, 0);
    core_fixture_ask(&f->a, &f->requests[1]);
    pool_core_discard(&f->requests[0], DISCARD_NOT_REUSABLE, true);
    core_fixture_claim(f, POOL_CLOSE, &f->conns[0]);
    assert_true(f->conns[0].reset);
    core_fixture_claim(f, POOL_NOTHING, NULL);
    pool_core_closed(&f->conns[0]);
    core_fixture_dial(f, &f->a, &f->conns[1]);
}

/* [12] At max_open one idle connection is evicted for a waiter, and no other one while it is being
 * closed. */
static void one_is_evicted_for_one_waiter(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.max_open = 2});
    core_fixture_lease(f, &f->a, 0);
    core_fixture_lease(f, &f->a, 1);
    assert_null(pool_core_release(&f->requests[1], POOL_PEEK_QUIET, NOW));
    assert_null(pool_core_release(&f->requests[0], POOL_PEEK_QUIET, NOW + 1));
    core_fixture_ask(&f->b, &f->requests[2]);
    core_fixture_claim(f, POOL_CLOSE, &f->conns[1]);
    core_fixture_claim(f, POOL_NOTHING, NULL);
    pool_core_closed(&f->conns[1]);
    core_fixture_dial(f, &f->b, &f->conns[2]);
    core_fixture_claim(f, POOL_NOTHING, NULL);
    assert_int_equal(f->conns[0].state, CONN_IDLE);
}

/* A connection that is being peeked at for one request is not offered to another, and not
 * evicted. */
static void offered_is_nobody_elses(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.max_open = 1});
    core_fixture_make_idle(f, &f->a, 0);
    core_fixture_ask(&f->a, &f->requests[0]);
    core_fixture_claim(f, POOL_PEEK, &f->conns[0]);
    core_fixture_ask(&f->a, &f->requests[1]);
    core_fixture_ask(&f->b, &f->requests[2]);
    core_fixture_claim(f, POOL_NOTHING, NULL);
    core_fixture_deliver(f, pool_core_peeked(&f->conns[0], POOL_PEEK_QUIET, NOW), &f->requests[0]);
    assert_int_equal(f->requests[0].from_cache, FROM_IMMEDIATE);
}

/* [18] A peek that finds something: the next idle connection is offered, and then there is none. */
static void refused_offer_goes_on(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.max_per_host = 2});
    core_fixture_lease(f, &f->a, 0);
    core_fixture_lease(f, &f->a, 1);
    assert_null(pool_core_release(&f->requests[0], POOL_PEEK_QUIET, NOW));
    assert_null(pool_core_release(&f->requests[1], POOL_PEEK_QUIET, NOW));
    core_fixture_ask(&f->a, &f->requests[0]);
    core_fixture_claim(f, POOL_PEEK, &f->conns[1]);
    assert_null(pool_core_peeked(&f->conns[1], POOL_PEEK_EOF, NOW));
    assert_int_equal(f->conns[1].reason, DISCARD_UPSTREAM_CLOSED);
    core_fixture_claim(f, POOL_CLOSE, &f->conns[1]);
    core_fixture_claim(f, POOL_PEEK, &f->conns[0]);
    assert_null(pool_core_peeked(&f->conns[0], POOL_PEEK_DATA, NOW));
    assert_int_equal(f->requests[0].state, CORE_REQUEST_WAITING);
    core_fixture_claim(f, POOL_CLOSE, &f->conns[0]);
    assert_true(f->conns[0].reset);
    pool_core_closed(&f->conns[0]);
    core_fixture_dial(f, &f->a, &f->conns[2]);
}

/* [28] What was offered or granted goes to the next one when it is cancelled. */
static void cancelled_goes_to_the_next(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.max_per_host = 1});
    core_fixture_make_idle(f, &f->a, 0);
    core_fixture_ask(&f->a, &f->requests[0]);
    core_fixture_ask(&f->a, &f->requests[1]);
    core_fixture_ask(&f->a, &f->requests[2]);
    core_fixture_claim(f, POOL_PEEK, &f->conns[0]);
    pool_core_cancel(&f->core, &f->requests[0]);
    assert_ptr_equal(pool_core_peeked(&f->conns[0], POOL_PEEK_QUIET, NOW), &f->requests[1]);
    pool_core_cancel(&f->core, &f->requests[1]);
    core_fixture_claim(f, POOL_PEEK, &f->conns[0]);
    core_fixture_deliver(f, pool_core_peeked(&f->conns[0], POOL_PEEK_QUIET, NOW), &f->requests[2]);
    assert_int_equal(f->requests[2].from_cache, FROM_DEFERRED);
    assert_int_equal(f->conns[0].uses, 2);
}

/* A used connection passes a waiter that requires a fresh one, for which a dial is in progress. */
static void fresh_is_passed_over(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.max_per_host = 2});
    core_fixture_lease(f, &f->a, 0);
    const struct core_wish wish = {.fresh = true};
    assert_int_equal(pool_core_request(&f->a, &f->requests[1], &wish, NOW), 0);
    core_fixture_dial(f, &f->a, &f->conns[1]);
    core_fixture_ask(&f->a, &f->requests[2]);
    core_fixture_deliver(f, pool_core_release(&f->requests[0], POOL_PEEK_QUIET, NOW),
                         &f->requests[2]);
    core_fixture_claim(f, POOL_NOTHING, NULL);
    core_fixture_deliver(f, pool_core_connected(&f->conns[1], false, NOW), &f->requests[1]);
}

static const struct pool_tag anna = {.identity = "anna"}, bert = {.identity = "bert"};

static void ask_tagged(struct core_host *host, struct core_request *request,
                       const struct pool_tag *tag)
{
    const struct core_wish wish = {.tag = tag};
    assert_int_equal(pool_core_request(host, request, &wish, NOW), 0);
}

/* [33, 34] A place that was free when the request arrived is taken before its dial begins: an idle
 * connection will do. */
static void place_is_gone_before_the_dial(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.max_per_host = 2, .max_tunnels = 1});
    core_fixture_lease(f, &f->a, 0);
    assert_true(pool_core_reserve_hold(&f->requests[0]));
    pool_core_hold(&f->requests[0]);
    core_fixture_make_idle(f, &f->a, 1);
    ask_tagged(&f->a, &f->requests[1], &anna);
    assert_int_equal(f->requests[1].state, CORE_REQUEST_WAITING);
    assert_true(pool_core_unhold(&f->requests[0]));
    core_fixture_claim(f, POOL_PEEK, &f->conns[1]);
    core_fixture_deliver(f, pool_core_peeked(&f->conns[1], POOL_PEEK_QUIET, NOW), &f->requests[1]);
    assert_int_equal(f->requests[1].from_cache, FROM_IMMEDIATE);
}

/* [34] At max_open an older waiter of another host has the last place. */
static void older_waiter_has_the_place(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.max_open = 2});
    core_fixture_make_idle(f, &f->a, 0);
    core_fixture_ask(&f->b, &f->requests[1]);
    ask_tagged(&f->a, &f->requests[2], &anna);
    core_fixture_dial(f, &f->b, &f->conns[1]);
    core_fixture_claim(f, POOL_PEEK, &f->conns[0]);
    core_fixture_deliver(f, pool_core_peeked(&f->conns[0], POOL_PEEK_QUIET, NOW), &f->requests[2]);
}

/* [34] A fresh one of another host that is full makes room for itself first: that delays no other
 * request. */
static void full_host_is_no_obstacle(void **state)
{
    struct core_fixture *f = *state;
    const struct core_wish fresh = {.fresh = true};
    core_fixture_open(f, &(struct pool_limits){.max_per_host = 2});
    core_fixture_lease(f, &f->a, 0);
    core_fixture_make_idle(f, &f->a, 1);
    core_fixture_make_idle(f, &f->b, 2);
    assert_int_equal(pool_core_request(&f->a, &f->requests[1], &fresh, NOW), 0);
    ask_tagged(&f->b, &f->requests[2], &anna);
    core_fixture_claim(f, POOL_CLOSE, &f->conns[1]);
    core_fixture_dial(f, &f->b, &f->conns[3]);
    assert_int_equal(f->conns[2].state, CONN_IDLE);
}

/* [33, 34] Its dial is gone, and so is the place: an idle connection will do. */
static void dial_is_gone(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.max_open = 2});
    core_fixture_make_idle(f, &f->a, 0);
    ask_tagged(&f->a, &f->requests[0], &anna);
    core_fixture_dial(f, &f->a, &f->conns[1]);
    pool_core_cancel(&f->core, &f->requests[0]);
    core_fixture_claim(f, POOL_CANCEL_DIAL,
                       &f->conns[1]); /* in our hands, and the next one's dial */
    core_fixture_ask(&f->b, &f->requests[1]);
    ask_tagged(&f->a, &f->requests[2], &anna);
    assert_true(f->requests[2].has_dial);
    core_fixture_claim(f, POOL_NOTHING, NULL);
    pool_core_closed(&f->conns[1]);
    assert_false(f->requests[2].has_dial);
    core_fixture_dial(f, &f->b, &f->conns[2]);
    core_fixture_claim(f, POOL_PEEK, &f->conns[0]);
    core_fixture_deliver(f, pool_core_peeked(&f->conns[0], POOL_PEEK_QUIET, NOW), &f->requests[2]);
    core_fixture_claim(f, POOL_NOTHING, NULL);
}

/* [34] Behind one that insists on an unused connection, and waits for a place. */
static void settles_behind_a_fresh_one(void **state)
{
    struct core_fixture *f = *state;
    const struct core_wish fresh = {.fresh = true};
    core_fixture_open(f, &(struct pool_limits){.max_connecting = 1});
    core_fixture_make_idle(f, &f->a, 0);
    assert_int_equal(pool_core_request(&f->a, &f->requests[0], &fresh, NOW), 0);
    core_fixture_dial(f, &f->a, &f->conns[1]);
    assert_int_equal(pool_core_request(&f->a, &f->requests[1], &fresh, NOW), 0);
    ask_tagged(&f->a, &f->requests[2], &anna);
    core_fixture_claim(f, POOL_PEEK, &f->conns[0]);
    core_fixture_deliver(f, pool_core_peeked(&f->conns[0], POOL_PEEK_QUIET, NOW), &f->requests[2]);
    core_fixture_claim(f, POOL_NOTHING, NULL);
}

/* [34] A host to which dials have failed, and which is in a pause. */
static void settles_in_a_pause(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.min_idle = 1});
    core_fixture_make_idle(f, &f->a, 0);
    pool_core_set_preconnected(&f->a, true);
    f->core.limits.min_idle = 2;
    pool_core_set_preconnected(&f->a, true);
    core_fixture_dial(f, &f->a, &f->conns[1]);
    assert_null(pool_core_dial_failed(&f->conns[1], true, NOW));
    core_fixture_claim(f, POOL_CLOSE, &f->conns[1]);
    pool_core_closed(&f->conns[1]);
    core_fixture_claim(f, POOL_NOTHING, NULL);
    ask_tagged(&f->a, &f->requests[0], &anna);
    core_fixture_claim(f, POOL_PEEK, &f->conns[0]);
    core_fixture_deliver(f, pool_core_peeked(&f->conns[0], POOL_PEEK_QUIET, NOW), &f->requests[0]);
    ask_tagged(&f->a, &f->requests[2], &anna); /* nothing is idle: it dials all the same */
    core_fixture_dial(f, &f->a, &f->conns[2]);
}

/* [33] With its dial in progress it waits while others are idle; those without a tag take these. */
static void waits_beside_what_is_idle(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.max_per_host = 2});
    core_fixture_lease(f, &f->a, 0);
    pool_core_set_tag(&f->requests[0], &anna);
    assert_null(pool_core_release(&f->requests[0], POOL_PEEK_QUIET, NOW));
    ask_tagged(&f->a, &f->requests[0], &bert);
    core_fixture_dial(f, &f->a, &f->conns[1]);
    core_fixture_claim(f, POOL_NOTHING, NULL);
    assert_int_equal(f->conns[0].state, CONN_IDLE);
    core_fixture_ask(&f->a, &f->requests[1]);
    core_fixture_claim(f, POOL_PEEK, &f->conns[0]);
    core_fixture_deliver(f, pool_core_peeked(&f->conns[0], POOL_PEEK_QUIET, NOW), &f->requests[1]);
    core_fixture_deliver(f, pool_core_connected(&f->conns[1], false, NOW), &f->requests[0]);
}

/* A drained connection for which a request waits is peeked at after all. */
static void drained_is_peeked_at_for_a_waiter(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.max_per_host = 1});
    core_fixture_lease(f, &f->a, 0);
    core_fixture_ask(&f->a, &f->requests[1]);
    assert_null(pool_core_release(&f->requests[0], POOL_PEEK_DRAINED, NOW));
    core_fixture_claim(f, POOL_PEEK, &f->conns[0]);
    core_fixture_deliver(f, pool_core_peeked(&f->conns[0], POOL_PEEK_QUIET, NOW), &f->requests[1]);
    assert_null(pool_core_release(&f->requests[1], POOL_PEEK_DRAINED, NOW));
    core_fixture_claim(f, POOL_NOTHING, NULL);
}

/* A dial without a waiter is cancelled, unless its connection is established. */
static void unwanted_dial(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.max_per_host = 4});
    core_fixture_ask(&f->a, &f->requests[0]);
    core_fixture_ask(&f->a, &f->requests[1]);
    core_fixture_dial(f, &f->a, &f->conns[0]);
    core_fixture_dial(f, &f->a, &f->conns[1]);
    pool_core_cancel(&f->core, &f->requests[0]);
    core_fixture_claim(f, POOL_CANCEL_DIAL, &f->conns[1]); /* the newest */
    core_fixture_claim(f, POOL_NOTHING, NULL);
    pool_core_dial_kept(&f->conns[1]);
    core_fixture_claim(f, POOL_CANCEL_DIAL, &f->conns[0]);
    pool_core_closed(&f->conns[0]);
    core_fixture_claim(f, POOL_NOTHING, NULL);
    pool_core_cancel(&f->core, &f->requests[1]); /* the current ones are not asked about again */
    core_fixture_claim(f, POOL_NOTHING, NULL);
    assert_null(pool_core_connected(&f->conns[1], false, NOW));
    assert_int_equal(f->conns[1].state, CONN_IDLE);
    assert_int_equal(core_fixture_stats(f).discards[DISCARD_DIAL_UNWANTED], 1);
}

/* The waiter of a dial leaves before it has begun. */
static void waiter_leaves_before_its_dial(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.max_per_host = 1});
    core_fixture_ask(&f->a, &f->requests[0]);
    assert_int_equal(core_fixture_next(f).kind, POOL_DIAL);
    pool_core_cancel(&f->core, &f->requests[0]);
    core_fixture_claim(f, POOL_NOTHING, NULL);
    assert_int_equal(pool_core_dialling(&f->a, &f->conns[0], false), 0);
    core_fixture_claim(f, POOL_CANCEL_DIAL, &f->conns[0]);
    pool_core_closed(&f->conns[0]);
    assert_ptr_equal(pool_core_empty_host(&f->core), &f->b);
}

/* What happens to a connection that is to be closed has no effect. */
static void closing_is_past(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.max_open = 1, .min_idle = 1});
    pool_core_set_preconnected(&f->a, true);
    core_fixture_dial(f, &f->a, &f->conns[0]);
    core_fixture_ask(&f->b, &f->requests[0]);
    core_fixture_claim(f, POOL_CLOSE, &f->conns[0]);
    assert_null(pool_core_connected(&f->conns[0], false, NOW));
    assert_int_equal(f->conns[0].state, CONN_CLOSING);
    pool_core_closed(&f->conns[0]);
    core_fixture_dial(f, &f->b, &f->conns[1]);
}

/* Each kind of time is one of those that the next time is the first of. */
static void next_time(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.keep_alive = 10, .timeout = 20, .min_idle = 1});
    assert_true(pool_core_next_time(&f->core) == INT64_MAX);
    core_fixture_lease(f, &f->a, 0);
    pool_core_tick(&f->core, NOW + 20);
    assert_true(pool_core_next_time(&f->core) == INT64_MAX);
    assert_null(pool_core_release(&f->requests[0], POOL_PEEK_QUIET, NOW + 20));
    assert_int_equal(pool_core_next_time(&f->core), NOW + 30);
    pool_core_tick(&f->core, NOW + 29);
    core_fixture_claim(f, POOL_NOTHING, NULL);
    pool_core_tick(&f->core, NOW + 30);
    core_fixture_claim(f, POOL_CLOSE, &f->conns[0]);
    assert_int_equal(f->conns[0].reason, DISCARD_KEEP_ALIVE);
    core_fixture_lease(f, &f->b, 1);
    pool_core_set_idle_hint(&f->requests[1], 5);
    pool_core_tick(&f->core, NOW + 40);
    assert_null(pool_core_release(&f->requests[1], POOL_PEEK_QUIET, NOW + 40));
    assert_int_equal(pool_core_next_time(&f->core), NOW + 45);
    pool_core_tick(&f->core, NOW + 45);
    core_fixture_claim(f, POOL_CLOSE, &f->conns[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CORE_TEST(place_is_free_once_it_is_closed),
        CORE_TEST(one_is_evicted_for_one_waiter),
        CORE_TEST(offered_is_nobody_elses),
        CORE_TEST(refused_offer_goes_on),
        CORE_TEST(cancelled_goes_to_the_next),
        CORE_TEST(fresh_is_passed_over),
        CORE_TEST(place_is_gone_before_the_dial),
        CORE_TEST(older_waiter_has_the_place),
        CORE_TEST(full_host_is_no_obstacle),
        CORE_TEST(dial_is_gone),
        CORE_TEST(settles_behind_a_fresh_one),
        CORE_TEST(settles_in_a_pause),
        CORE_TEST(waits_beside_what_is_idle),
        CORE_TEST(drained_is_peeked_at_for_a_waiter),
        CORE_TEST(unwanted_dial),
        CORE_TEST(waiter_leaves_before_its_dial),
        CORE_TEST(closing_is_past),
        CORE_TEST(next_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
