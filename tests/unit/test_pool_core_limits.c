/* SPDX-License-Identifier: ISC */
/* Limits that change while connections are open, and hosts that the configuration no longer names,
 * in the pool's core alone [48 to 55]. */
#include <limits.h>

#include "support/core_fixture.h"

static void claim_closed(struct core_fixture *f, unsigned number, enum pool_discard reason)
{
    struct core_conn *conn = &f->conns[number];
    core_fixture_claim(f, POOL_CLOSE, conn);
    assert_int_equal(conn->reason, reason);
    pool_core_closed(conn);
    *conn = (struct core_conn){0};
}

static void claim_nothing(struct core_fixture *f)
{
    core_fixture_claim(f, POOL_NOTHING, NULL);
}

static void set_limits(struct core_fixture *f, const struct pool_limits *limits)
{
    pool_core_set_limits(&f->core, limits, NOW);
    assert_null(pool_core_check(&f->core));
}

/* This many idle connections to `a`, number 0 idle for longest. */
static void make_idle(struct core_fixture *f, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        core_fixture_lease(f, &f->a, i);
    for (unsigned i = 0; i < count; i++)
        assert_null(pool_core_release(&f->requests[i], POOL_PEEK_QUIET, NOW));
}

/* [48] */
static void raised_limit_serves_waiters(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.max_per_host = 1, .max_open = 1});
    core_fixture_lease(f, &f->a, 0);
    core_fixture_ask(&f->a, &f->requests[1]);
    core_fixture_ask(&f->b, &f->requests[2]);
    claim_nothing(f);
    set_limits(f, &(struct pool_limits){.max_per_host = 2, .max_open = 3});
    core_fixture_dial(f, &f->a, &f->conns[1]);
    core_fixture_dial(f, &f->b, &f->conns[2]);
    claim_nothing(f);
}

/* [49] */
static void idle_goes_first(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.max_per_host = 4});
    make_idle(f, 3);
    core_fixture_lease(f, &f->b, 3);
    set_limits(f, &(struct pool_limits){.max_per_host = 2});
    claim_closed(f, 0, DISCARD_MAX_PER_HOST);
    claim_nothing(f);
    assert_int_equal(f->a.count[CONN_IDLE], 2);
}

/* [49] It is granted to no request, and nothing is dialled, before there is a place. */
static void leased_goes_at_its_release(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.max_per_host = 2});
    core_fixture_lease(f, &f->a, 0);
    core_fixture_lease(f, &f->a, 1);
    core_fixture_ask(&f->a, &f->requests[2]);
    set_limits(f, &(struct pool_limits){.max_per_host = 1});
    claim_nothing(f);
    assert_null(pool_core_release(&f->requests[0], POOL_PEEK_QUIET, NOW));
    claim_closed(f, 0, DISCARD_MAX_PER_HOST);
    claim_nothing(f);
    core_fixture_deliver(f, pool_core_release(&f->requests[1], POOL_PEEK_QUIET, NOW),
                         &f->requests[2]);
}

/* [49] */
static void max_open_takes_of_all_hosts(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.max_open = 4});
    core_fixture_lease(f, &f->a, 0);
    core_fixture_lease(f, &f->a, 1);
    core_fixture_lease(f, &f->b, 2);
    core_fixture_lease(f, &f->b, 3);
    assert_null(pool_core_release(&f->requests[2], POOL_PEEK_QUIET, NOW));
    assert_null(pool_core_release(&f->requests[0], POOL_PEEK_QUIET, NOW + 1));
    set_limits(f, &(struct pool_limits){.max_open = 3});
    claim_closed(f, 2, DISCARD_MAX_OPEN);
    claim_nothing(f);
    set_limits(f, &(struct pool_limits){.max_open = 1});
    claim_closed(f, 0, DISCARD_MAX_OPEN);
    core_fixture_ask(&f->b, &f->requests[0]);
    assert_null(pool_core_release(&f->requests[3], POOL_PEEK_QUIET, NOW));
    claim_closed(f, 3, DISCARD_MAX_OPEN);
    claim_nothing(f);
    pool_core_discard(&f->requests[1], DISCARD_NOT_REUSABLE, false);
    claim_closed(f, 1, DISCARD_NOT_REUSABLE);
    core_fixture_dial(f, &f->b, &f->conns[0]);
}

/* [49] A dial that a request waits for is used, and no other one. */
static void dials_go_on(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.max_per_host = 3, .min_idle = 1});
    pool_core_set_preconnected(&f->a, true);
    core_fixture_ask(&f->a, &f->requests[0]);
    core_fixture_dial(f, &f->a, &f->conns[0]);
    core_fixture_ask(&f->a, &f->requests[1]);
    core_fixture_dial(f, &f->a, &f->conns[1]);
    core_fixture_dial(f, &f->a, &f->conns[2]); /* ahead of any waiter */
    set_limits(f, &(struct pool_limits){.max_per_host = 1, .min_idle = 1});
    core_fixture_claim(f, POOL_CANCEL_DIAL, &f->conns[2]);
    pool_core_closed(&f->conns[2]);
    claim_nothing(f);
    core_fixture_deliver(f, pool_core_connected(&f->conns[0], false, NOW), &f->requests[0]);
    core_fixture_deliver(f, pool_core_connected(&f->conns[1], false, NOW), &f->requests[1]);
    assert_null(pool_core_release(&f->requests[0], POOL_PEEK_QUIET, NOW));
    claim_closed(f, 0, DISCARD_MAX_PER_HOST);
    assert_null(pool_core_release(&f->requests[1], POOL_PEEK_QUIET, NOW));
    claim_nothing(f);
    assert_int_equal(f->a.count[CONN_IDLE], 1);
}

/* [49] A full queue refuses new requests, as before: a connection being closed frees no place. */
static void no_place_comes_of_what_is_too_much(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.max_per_host = 3, .max_waiting = 1});
    for (unsigned i = 0; i < 3; i++)
        core_fixture_lease(f, &f->a, i);
    core_fixture_ask(&f->a, &f->requests[3]);
    set_limits(f, &(struct pool_limits){.max_per_host = 1, .max_waiting = 1});
    assert_null(pool_core_release(&f->requests[0], POOL_PEEK_QUIET, NOW));
    assert_null(pool_core_release(&f->requests[1], POOL_PEEK_QUIET, NOW));
    core_fixture_ask(&f->a, &f->requests[0]);
    claim_closed(f, 0, DISCARD_MAX_PER_HOST);
    claim_closed(f, 1, DISCARD_MAX_PER_HOST);
    struct pool_action action = core_fixture_next(f);
    assert_int_equal(action.kind, POOL_FAIL);
    assert_ptr_equal(action.request, &f->requests[0]);
    assert_int_equal(f->requests[0].failure, CORE_REQUEST_TOO_MANY);
}

/* [49] What is held stays so, and what is reserved may be. */
static void held_ones_stay(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.max_tunnels = 2});
    core_fixture_lease(f, &f->a, 0);
    core_fixture_lease(f, &f->a, 1);
    core_fixture_lease(f, &f->a, 2);
    assert_true(pool_core_reserve_hold(&f->requests[0]));
    pool_core_hold(&f->requests[0]);
    assert_true(pool_core_reserve_hold(&f->requests[1]));
    set_limits(f, &(struct pool_limits){.max_tunnels = 1});
    assert_false(pool_core_reserve_hold(&f->requests[2]));
    pool_core_hold(&f->requests[1]);
    assert_int_equal(f->a.count[CONN_HELD], 2);
    pool_core_discard(&f->requests[0], DISCARD_NOT_REUSABLE, false);
    claim_closed(f, 0, DISCARD_NOT_REUSABLE);
    assert_false(pool_core_can_hold(&f->a));
    set_limits(f, &(struct pool_limits){.max_tunnels = 2});
    assert_true(pool_core_reserve_hold(&f->requests[2]));
    claim_nothing(f);
}

/* [50] */
static void keep_alive_holds_for_what_is_idle(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.keep_alive = 10});
    core_fixture_lease(f, &f->a, 0);
    core_fixture_lease(f, &f->a, 1);
    pool_core_set_idle_hint(&f->requests[1], 15);
    assert_null(pool_core_release(&f->requests[0], POOL_PEEK_QUIET, NOW));
    assert_null(pool_core_release(&f->requests[1], POOL_PEEK_QUIET, NOW));
    set_limits(f, &(struct pool_limits){.keep_alive = 20});
    assert_int_equal(pool_core_next_time(&f->core), NOW + 15);
    pool_core_tick(&f->core, NOW + 15);
    claim_closed(f, 1, DISCARD_KEEP_ALIVE);
    claim_nothing(f);
    pool_core_set_limits(&f->core, &(struct pool_limits){.keep_alive = 12}, NOW + 15);
    claim_closed(f, 0, DISCARD_KEEP_ALIVE);
}

/* [50] */
static void max_age_and_max_uses_hold_for_what_is_there(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){0});
    make_idle(f, 3);
    core_fixture_lease(f, &f->b, 3);
    core_fixture_ask(&f->a, &f->requests[0]);
    core_fixture_claim(f, POOL_PEEK, &f->conns[2]);
    core_fixture_deliver(f, pool_core_peeked(&f->conns[2], POOL_PEEK_QUIET, NOW), &f->requests[0]);
    assert_null(pool_core_release(&f->requests[0], POOL_PEEK_QUIET, NOW));
    set_limits(f, &(struct pool_limits){.max_uses = 2});
    claim_closed(f, 2, DISCARD_MAX_USES);
    claim_nothing(f);
    pool_core_set_limits(&f->core, &(struct pool_limits){.max_age = 5}, NOW + 5);
    claim_closed(f, 0, DISCARD_MAX_AGE);
    claim_closed(f, 1, DISCARD_MAX_AGE);
    assert_null(pool_core_release(&f->requests[3], POOL_PEEK_QUIET, NOW + 5));
    claim_closed(f, 3, DISCARD_MAX_AGE);
}

static void fail_dial(struct core_fixture *f)
{
    core_fixture_ask(&f->a, &f->requests[0]);
    core_fixture_dial(f, &f->a, &f->conns[0]);
    struct core_request *failed = pool_core_dial_failed(&f->conns[0], true, NOW);
    assert_ptr_equal(failed, &f->requests[0]);
    pool_core_delivered(failed, FAILED_CONNECT);
    claim_closed(f, 0, DISCARD_DIAL_FAILED);
}

/* [51] */
static void fail_after(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.fail_after = 3});
    fail_dial(f);
    fail_dial(f);
    set_limits(f, &(struct pool_limits){.fail_after = 1});
    assert_false(f->a.down);
    fail_dial(f);
    assert_true(f->a.down);
    set_limits(f, &(struct pool_limits){.fail_after = 2});
    assert_true(f->a.down);
    set_limits(f, &(struct pool_limits){.fail_after = 0});
    assert_false(f->a.down);
    assert_int_equal(f->core.down, 0);
    core_fixture_ask(&f->a, &f->requests[1]);
    core_fixture_dial(f, &f->a, &f->conns[1]);
}

/* [52] Waiting requests keep the time that they arrived with. */
static void waiters_keep_their_time(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.max_per_host = 1, .timeout = 20});
    core_fixture_lease(f, &f->a, 0);
    core_fixture_ask(&f->a, &f->requests[1]);
    set_limits(f, &(struct pool_limits){.max_per_host = 1, .timeout = 10, .max_waiting = 1});
    core_fixture_ask(&f->b, &f->requests[2]);
    core_fixture_dial(f, &f->b, &f->conns[2]);
    pool_core_tick(&f->core, NOW + 10);
    assert_int_equal(core_fixture_next(f).request == &f->requests[2], true);
    assert_int_equal(f->requests[1].state, CORE_REQUEST_WAITING);
    pool_core_tick(&f->core, NOW + 20);
    assert_int_equal(f->requests[1].state, CORE_REQUEST_GRANTED);
}

/* [52] */
static void another_bind_address_retires_all(void **state)
{
    struct core_fixture *f = *state;
    struct pool_limits limits = {0};
    core_fixture_open(f, &limits);
    make_idle(f, 1);
    core_fixture_lease(f, &f->b, 1);
    set_limits(f, &limits);
    claim_nothing(f);
    assert_true(address_parse(&limits.bind_address, "127.0.0.2"));
    set_limits(f, &limits);
    claim_closed(f, 0, DISCARD_RECONNECT);
    assert_null(pool_core_release(&f->requests[1], POOL_PEEK_QUIET, NOW));
    claim_closed(f, 1, DISCARD_RECONNECT);
}

/* [48] min_idle holds for hosts that were to keep preconnected ones, though there were none. */
static void min_idle(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){0});
    pool_core_set_preconnected(&f->a, true);
    claim_nothing(f);
    set_limits(f, &(struct pool_limits){.min_idle = 1});
    core_fixture_dial(f, &f->a, &f->conns[0]);
    claim_nothing(f);
    set_limits(f, &(struct pool_limits){0});
    core_fixture_claim(f, POOL_CANCEL_DIAL, &f->conns[0]);
    pool_core_closed(&f->conns[0]);
    set_limits(f, &(struct pool_limits){.min_idle = 1});
    f->conns[1] = (struct core_conn){0};
    core_fixture_dial(f, &f->a, &f->conns[1]);
    pool_core_set_preconnected(&f->a, false);
    core_fixture_claim(f, POOL_CANCEL_DIAL, &f->conns[1]);
    pool_core_closed(&f->conns[1]);
    claim_nothing(f);
}

/* [53] */
static void unwanted_host(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.max_per_host = 2, .min_idle = 1});
    pool_core_retain_host(&f->a, true);
    pool_core_set_preconnected(&f->a, true);
    core_fixture_dial(f, &f->a, &f->conns[0]);
    assert_null(pool_core_connected(&f->conns[0], false, NOW));
    core_fixture_ask(&f->a, &f->requests[0]);
    core_fixture_claim(f, POOL_PEEK, &f->conns[0]);
    core_fixture_deliver(f, pool_core_peeked(&f->conns[0], POOL_PEEK_QUIET, NOW), &f->requests[0]);
    core_fixture_dial(f, &f->a, &f->conns[1]);
    assert_null(pool_core_connected(&f->conns[1], false, NOW));
    pool_core_set_wanted(&f->a, false);
    claim_closed(f, 1, DISCARD_RELOAD);
    claim_nothing(f);
    core_fixture_ask(&f->a, &f->requests[1]); /* of an older session */
    core_fixture_dial(f, &f->a, &f->conns[1]);
    core_fixture_deliver(f, pool_core_release(&f->requests[0], POOL_PEEK_QUIET, NOW),
                         &f->requests[1]);
    core_fixture_claim(f, POOL_CANCEL_DIAL, &f->conns[1]);
    pool_core_closed(&f->conns[1]);
    assert_null(pool_core_release(&f->requests[1], POOL_PEEK_QUIET, NOW));
    claim_closed(f, 0, DISCARD_RELOAD);
    claim_nothing(f);
    pool_core_set_wanted(&f->a, true);
    claim_nothing(f); /* preconnected ones are to be requested again */
    make_idle(f, 1);
}

/* [53, 54] */
static void unwanted_host_goes(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){0});
    pool_core_retain_host(&f->a, true);
    pool_core_retain_host(&f->b, true);
    pool_core_set_all_service(&f->core, SERVICE_PAUSED);
    pool_core_retain_host(&f->a, false);
    assert_null(pool_core_empty_host(&f->core)); /* it is paused */
    pool_core_set_wanted(&f->a, false);
    assert_ptr_equal(pool_core_empty_host(&f->core), &f->a);
    pool_core_set_wanted(&f->a, true);
    assert_null(pool_core_empty_host(&f->core));
    pool_core_set_retired(&f->core, true);
    assert_ptr_equal(pool_core_empty_host(&f->core), &f->a);
    pool_core_set_retired(&f->core, false);
    assert_null(pool_core_empty_host(&f->core));
}

/* [55] */
static void places(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.max_per_host = 3});
    make_idle(f, 2);
    core_fixture_ask(&f->a, &f->requests[0]);
    core_fixture_claim(f, POOL_PEEK, &f->conns[1]);
    core_fixture_deliver(f, pool_core_peeked(&f->conns[1], POOL_PEEK_QUIET, NOW), &f->requests[0]);
    pool_core_set_places(&f->a, 1);
    claim_closed(f, 0, DISCARD_MAX_PER_HOST);
    core_fixture_ask(&f->a, &f->requests[1]);
    claim_nothing(f);
    pool_core_set_places(&f->a, 0);
    assert_null(pool_core_release(&f->requests[0], POOL_PEEK_QUIET, NOW));
    claim_closed(f, 1, DISCARD_MAX_PER_HOST);
    claim_nothing(f);
    struct pool_places view = pool_core_view_places(&f->a);
    assert_int_equal(view.open, 0);
    assert_int_equal(view.queued, 1);
    pool_core_set_places(&f->a, UINT_MAX);
    core_fixture_dial(f, &f->a, &f->conns[0]);
    view = pool_core_view_places(&f->a);
    assert_int_equal(view.open, 1);
    assert_int_equal(view.queued, 0);
}

/* [55] */
static void held_places(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.max_tunnels = 2});
    core_fixture_lease(f, &f->a, 0);
    core_fixture_lease(f, &f->a, 1);
    pool_core_set_held_places(&f->a, 1);
    assert_true(pool_core_reserve_hold(&f->requests[0]));
    assert_false(pool_core_reserve_hold(&f->requests[1]));
    assert_int_equal(pool_core_view_places(&f->a).held, 1);
    pool_core_set_held_places(&f->a, UINT_MAX);
    assert_true(pool_core_reserve_hold(&f->requests[1]));
    claim_nothing(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CORE_TEST(raised_limit_serves_waiters),
        CORE_TEST(idle_goes_first),
        CORE_TEST(leased_goes_at_its_release),
        CORE_TEST(max_open_takes_of_all_hosts),
        CORE_TEST(dials_go_on),
        CORE_TEST(no_place_comes_of_what_is_too_much),
        CORE_TEST(held_ones_stay),
        CORE_TEST(keep_alive_holds_for_what_is_idle),
        CORE_TEST(max_age_and_max_uses_hold_for_what_is_there),
        CORE_TEST(fail_after),
        CORE_TEST(waiters_keep_their_time),
        CORE_TEST(another_bind_address_retires_all),
        CORE_TEST(min_idle),
        CORE_TEST(unwanted_host),
        CORE_TEST(unwanted_host_goes),
        CORE_TEST(places),
        CORE_TEST(held_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
