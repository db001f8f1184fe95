/* SPDX-License-Identifier: ISC */
/* Hosts that an operator pauses, drains or reconnects, in the pool's core alone [43 to 47]. */
#include "support/core_fixture.h"

static void claim_refused(struct core_fixture *f, struct core_request *request,
                          enum core_request_failure failure)
{
    struct pool_action action = core_fixture_next(f);
    assert_int_equal(action.kind, POOL_FAIL);
    assert_ptr_equal(action.request, request);
    assert_int_equal(request->failure, failure);
    pool_core_delivered(request, FAILED_OTHER);
}

static void claim_closed(struct core_fixture *f, unsigned number, enum pool_discard reason)
{
    struct core_conn *conn = &f->conns[number];
    core_fixture_claim(f, POOL_CLOSE, conn);
    assert_int_equal(conn->reason, reason);
    pool_core_closed(conn);
    *conn = (struct core_conn){0};
}

static void claim_cancelled(struct core_fixture *f, unsigned number)
{
    core_fixture_claim(f, POOL_CANCEL_DIAL, &f->conns[number]);
    pool_core_closed(&f->conns[number]);
    f->conns[number] = (struct core_conn){0};
}

static void claim_nothing(struct core_fixture *f)
{
    core_fixture_claim(f, POOL_NOTHING, NULL);
}

static void dial_for(struct core_fixture *f, unsigned number)
{
    core_fixture_dial(f, &f->a, &f->conns[number]);
    core_fixture_deliver(f, pool_core_connected(&f->conns[number], false, NOW),
                         &f->requests[number]);
}

/* [43, 44] */
static void waiters_keep_their_order(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.max_per_host = 1});
    core_fixture_make_idle(f, &f->a, 0);
    pool_core_set_service(&f->a, SERVICE_PAUSED);
    claim_closed(f, 0, DISCARD_PAUSED);
    for (unsigned i = 0; i < 3; i++)
        core_fixture_ask(&f->a, &f->requests[i]);
    claim_nothing(f);
    assert_int_equal(f->core.queued, 3);
    pool_core_set_service(&f->a, SERVICE_OPEN);
    dial_for(f, 0);
    claim_nothing(f); /* max_per_host */
    core_fixture_deliver(f, pool_core_release(&f->requests[0], POOL_PEEK_QUIET, NOW),
                         &f->requests[1]);
    core_fixture_deliver(f, pool_core_release(&f->requests[1], POOL_PEEK_QUIET, NOW),
                         &f->requests[2]);
}

/* [43] */
static void leases_finish(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.max_tunnels = 1});
    core_fixture_lease(f, &f->a, 0);
    core_fixture_lease(f, &f->a, 1);
    assert_true(pool_core_reserve_hold(&f->requests[1]));
    pool_core_hold(&f->requests[1]);
    core_fixture_ask(&f->a, &f->requests[2]);
    core_fixture_dial(f, &f->a, &f->conns[2]);
    pool_core_set_service(&f->a, SERVICE_PAUSED);
    claim_cancelled(f, 2);
    claim_nothing(f);
    assert_null(pool_core_release(&f->requests[0], POOL_PEEK_QUIET, NOW));
    claim_closed(f, 0, DISCARD_PAUSED);
    assert_null(pool_core_release(&f->requests[1], POOL_PEEK_QUIET, NOW));
    claim_closed(f, 1, DISCARD_PAUSED);
    claim_nothing(f);
    pool_core_set_service(&f->a, SERVICE_OPEN);
    dial_for(f, 2);
}

/* [43] An idle connection that is being peeked at is not granted any more. */
static void offered_is_taken_back(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){0});
    core_fixture_make_idle(f, &f->a, 0);
    core_fixture_ask(&f->a, &f->requests[0]);
    core_fixture_claim(f, POOL_PEEK, &f->conns[0]);
    pool_core_set_service(&f->a, SERVICE_PAUSED);
    assert_null(pool_core_peeked(&f->conns[0], POOL_PEEK_QUIET, NOW));
    claim_closed(f, 0, DISCARD_PAUSED);
    claim_nothing(f);
    assert_int_equal(f->requests[0].state, CORE_REQUEST_WAITING);
    pool_core_set_service(&f->a, SERVICE_OPEN);
    dial_for(f, 0);
}

/* [43] A grant that is in progress stays granted; withdrawn, it goes to no other request. */
static void granted_stays(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){0});
    core_fixture_ask(&f->a, &f->requests[0]);
    core_fixture_ask(&f->a, &f->requests[1]);
    core_fixture_dial(f, &f->a, &f->conns[0]);
    core_fixture_dial(f, &f->a, &f->conns[1]);
    struct core_request *granted = pool_core_connected(&f->conns[0], false, NOW);
    assert_ptr_equal(pool_core_connected(&f->conns[1], false, NOW), &f->requests[1]);
    core_fixture_ask(&f->a, &f->requests[2]);
    pool_core_set_service(&f->a, SERVICE_PAUSED);
    core_fixture_deliver(f, granted, &f->requests[0]);
    pool_core_cancel(&f->core, &f->requests[1]);
    core_fixture_claim(f, POOL_PEEK, &f->conns[1]);
    assert_null(pool_core_peeked(&f->conns[1], POOL_PEEK_QUIET, NOW));
    claim_closed(f, 1, DISCARD_PAUSED);
    claim_nothing(f);
}

/* [43] A dial whose TCP connection is established may finish; then it is closed. No request fails
 * by one that fails, nor by one that cannot begin. */
static void dials_under_way_end(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){0});
    for (unsigned i = 0; i < 3; i++)
        core_fixture_ask(&f->a, &f->requests[i]);
    core_fixture_dial(f, &f->a, &f->conns[0]);
    core_fixture_dial(f, &f->a, &f->conns[1]);
    assert_int_equal(core_fixture_next(f).kind, POOL_DIAL);
    pool_core_set_service(&f->a, SERVICE_PAUSED);
    assert_null(pool_core_dial_refused(&f->a, false, NOW));
    for (int i = 0; i < 2; i++)
        pool_core_dial_kept(core_fixture_next(f).conn);
    assert_null(pool_core_connected(&f->conns[0], false, NOW));
    claim_closed(f, 0, DISCARD_PAUSED);
    assert_null(pool_core_dial_failed(&f->conns[1], true, NOW));
    claim_closed(f, 1, DISCARD_DIAL_FAILED);
    claim_nothing(f);
    assert_int_equal(f->a.waiting, 3);
}

/* [43] */
static void dial_that_was_to_begin(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){0});
    core_fixture_ask(&f->a, &f->requests[0]);
    assert_int_equal(core_fixture_next(f).kind, POOL_DIAL);
    pool_core_set_service(&f->a, SERVICE_PAUSED);
    assert_int_equal(pool_core_dialling(&f->a, &f->conns[0], false), 0);
    claim_cancelled(f, 0);
    claim_nothing(f);
}

/* [43, 20] */
static void waiters_time_out(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.timeout = 10});
    pool_core_set_service(&f->a, SERVICE_PAUSED);
    core_fixture_ask(&f->a, &f->requests[0]);
    core_fixture_ask(&f->a, &f->requests[1]);
    pool_core_tick(&f->core, NOW + 10);
    claim_refused(f, &f->requests[0], CORE_REQUEST_TIMED_OUT);
    assert_true(f->requests[0].paused);
    assert_int_equal(f->requests[0].queued, 2);
    claim_refused(f, &f->requests[1], CORE_REQUEST_TIMED_OUT);
    pool_core_set_service(&f->a, SERVICE_OPEN);
    claim_nothing(f);
}

/* [43, 15] Connections that are being closed make no room for one more. */
static void max_waiting_holds(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.max_per_host = 4, .max_waiting = 1});
    core_fixture_lease(f, &f->a, 0);
    core_fixture_make_idle(f, &f->a, 1);
    assert_null(pool_core_release(&f->requests[0], POOL_PEEK_QUIET, NOW));
    pool_core_set_service(&f->a, SERVICE_PAUSED);
    core_fixture_ask(&f->a, &f->requests[1]);
    core_fixture_ask(&f->a, &f->requests[2]);
    claim_closed(f, 0, DISCARD_PAUSED);
    claim_closed(f, 1, DISCARD_PAUSED);
    claim_refused(f, &f->requests[2], CORE_REQUEST_TOO_MANY);
    claim_nothing(f);
}

/* [43, 11, 12] At max_open those that wait for a paused host take no place from others, and it
 * keeps none. */
static void others_go_on(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.max_open = 2});
    core_fixture_lease(f, &f->a, 0);
    core_fixture_make_idle(f, &f->a, 1);
    pool_core_set_service(&f->a, SERVICE_PAUSED);
    core_fixture_ask(&f->a, &f->requests[2]);
    core_fixture_ask(&f->b, &f->requests[3]);
    claim_closed(f, 1, DISCARD_PAUSED);
    core_fixture_dial(f, &f->b, &f->conns[3]);
    core_fixture_deliver(f, pool_core_connected(&f->conns[3], false, NOW), &f->requests[3]);
    assert_null(pool_core_release(&f->requests[3], POOL_PEEK_QUIET, NOW));
    claim_nothing(f);
    assert_int_equal(f->conns[3].state, CONN_IDLE); /* and not evicted for the older waiter */
    pool_core_set_service(&f->a, SERVICE_OPEN);
    claim_closed(f, 3, DISCARD_EVICTED);
    dial_for(f, 2);
}

/* [43] */
static void preconnected_ones_wait(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.min_idle = 2});
    pool_core_set_preconnected(&f->a, true);
    core_fixture_dial(f, &f->a, &f->conns[0]);
    assert_null(pool_core_connected(&f->conns[0], false, NOW));
    core_fixture_dial(f, &f->a, &f->conns[1]);
    pool_core_set_service(&f->a, SERVICE_PAUSED);
    claim_closed(f, 0, DISCARD_PAUSED);
    claim_cancelled(f, 1);
    claim_nothing(f);
    pool_core_set_service(&f->a, SERVICE_OPEN);
    core_fixture_dial(f, &f->a, &f->conns[0]);
    core_fixture_dial(f, &f->a, &f->conns[1]);
    claim_nothing(f);
}

static void go_down(struct core_fixture *f)
{
    core_fixture_ask(&f->a, &f->requests[0]);
    core_fixture_dial(f, &f->a, &f->conns[0]);
    assert_ptr_equal(pool_core_dial_failed(&f->conns[0], true, NOW), &f->requests[0]);
    claim_closed(f, 0, DISCARD_DIAL_FAILED);
    pool_core_delivered(&f->requests[0], FAILED_OTHER);
    assert_true(f->a.down);
}

/* [43, 44] */
static void host_that_is_down(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.fail_after = 1});
    go_down(f);
    pool_core_set_service(&f->a, SERVICE_PAUSED);
    core_fixture_ask(&f->a, &f->requests[0]);
    pool_core_tick(&f->core, NOW + 60 * USEC_PER_SEC); /* and is not tried */
    claim_nothing(f);
    assert_int_equal(f->core.down, 0);
    pool_core_set_service(&f->a, SERVICE_OPEN);
    dial_for(f, 0);
}

/* [43, 39] */
static void failures_do_not_count(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.fail_after = 1});
    for (unsigned i = 0; i < 2; i++) {
        core_fixture_ask(&f->a, &f->requests[i]);
        core_fixture_dial(f, &f->a, &f->conns[i]);
    }
    pool_core_set_service(&f->a, SERVICE_PAUSED);
    pool_core_dial_overdue(&f->a, NOW); /* the older one */
    assert_null(pool_core_dial_failed(&f->conns[1], true, NOW));
    claim_cancelled(f, 0);
    claim_closed(f, 1, DISCARD_DIAL_FAILED);
    assert_false(f->a.down);
    pool_core_set_service(&f->a, SERVICE_OPEN);
    dial_for(f, 0);
}

/* [43] A host that is not retained stays, so that the operator's order is not forgotten. */
static void empty_host_stays(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){0});
    pool_core_set_service(&f->a, SERVICE_PAUSED);
    assert_ptr_equal(pool_core_empty_host(&f->core), &f->b);
    pool_core_set_service(&f->a, SERVICE_OPEN);
    pool_core_set_service(&f->b, SERVICE_DRAINING);
    assert_ptr_equal(pool_core_empty_host(&f->core), &f->a);
    pool_core_enter_phase(&f->core, POOL_SHUT);
    assert_true(f->b.empty);
}

/* [45] */
static void draining(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.max_per_host = 2});
    core_fixture_lease(f, &f->a, 0);
    core_fixture_make_idle(f, &f->a, 1);
    core_fixture_lease(f, &f->b, 3);
    assert_null(pool_core_release(&f->requests[3], POOL_PEEK_QUIET, NOW));
    pool_core_set_service(&f->a, SERVICE_DRAINING);
    claim_closed(f, 1, DISCARD_PAUSED);
    core_fixture_ask(&f->a, &f->requests[2]);
    claim_refused(f, &f->requests[2], CORE_REQUEST_DRAINED);
    assert_null(pool_core_release(&f->requests[0], POOL_PEEK_QUIET, NOW));
    claim_closed(f, 0, DISCARD_PAUSED);
    claim_nothing(f);
    pool_core_set_service(&f->a, SERVICE_OPEN);
    core_fixture_ask(&f->a, &f->requests[0]);
    dial_for(f, 0);
}

/* [45] Those that wait, with a dial and without, and the one whose idle connection is peeked at. */
static void draining_refuses_waiters(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.max_per_host = 2});
    core_fixture_make_idle(f, &f->a, 3);
    core_fixture_ask(&f->a, &f->requests[3]);
    core_fixture_claim(f, POOL_PEEK, &f->conns[3]);
    core_fixture_ask(&f->a, &f->requests[0]);
    core_fixture_ask(&f->a, &f->requests[1]);
    core_fixture_dial(f, &f->a, &f->conns[0]);
    pool_core_set_service(&f->a, SERVICE_DRAINING);
    claim_refused(f, &f->requests[0], CORE_REQUEST_DRAINED);
    claim_refused(f, &f->requests[1], CORE_REQUEST_DRAINED);
    claim_cancelled(f, 0);
    assert_null(pool_core_peeked(&f->conns[3], POOL_PEEK_QUIET, NOW));
    claim_closed(f, 3, DISCARD_PAUSED);
    claim_refused(f, &f->requests[3], CORE_REQUEST_DRAINED);
    claim_nothing(f);
}

/* [46] */
static void reconnecting(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.max_tunnels = 1});
    core_fixture_lease(f, &f->a, 0);
    core_fixture_lease(f, &f->a, 1);
    assert_true(pool_core_reserve_hold(&f->requests[1]));
    pool_core_hold(&f->requests[1]);
    core_fixture_make_idle(f, &f->a, 2);
    core_fixture_make_idle(f, &f->b, 3);
    pool_core_reconnect(&f->a);
    claim_closed(f, 2, DISCARD_RECONNECT);
    claim_nothing(f);
    assert_int_equal(f->conns[3].state, CONN_IDLE);
    core_fixture_ask(&f->a, &f->requests[2]);
    dial_for(f, 2); /* no request waits for the old ones */
    assert_null(pool_core_release(&f->requests[0], POOL_PEEK_QUIET, NOW));
    claim_closed(f, 0, DISCARD_RECONNECT);
    assert_null(pool_core_release(&f->requests[1], POOL_PEEK_QUIET, NOW));
    claim_closed(f, 1, DISCARD_RECONNECT);
    assert_null(pool_core_release(&f->requests[2], POOL_PEEK_QUIET, NOW));
    claim_nothing(f);
    assert_int_equal(f->conns[2].state, CONN_IDLE); /* a new one stays */
}

/* [46] A request that waits for a dial gets its connection; one without a waiter is not kept. */
static void dials_are_retired(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.min_idle = 1});
    pool_core_set_preconnected(&f->b, true);
    core_fixture_dial(f, &f->b, &f->conns[1]);
    core_fixture_ask(&f->a, &f->requests[0]);
    core_fixture_dial(f, &f->a, &f->conns[0]);
    pool_core_reconnect(&f->a);
    pool_core_reconnect(&f->b);
    core_fixture_deliver(f, pool_core_connected(&f->conns[0], false, NOW), &f->requests[0]);
    assert_null(pool_core_release(&f->requests[0], POOL_PEEK_QUIET, NOW));
    claim_closed(f, 0, DISCARD_RECONNECT);
    assert_null(pool_core_connected(&f->conns[1], false, NOW));
    claim_closed(f, 1, DISCARD_RECONNECT);
    core_fixture_dial(f, &f->b, &f->conns[1]);
    assert_null(pool_core_connected(&f->conns[1], false, NOW));
    claim_nothing(f);
}

/* [47] */
static void whole_pool(void **state)
{
    struct core_fixture *f = *state;
    struct core_host later = {.endpoint.port = 3};
    core_fixture_open(f, &(struct pool_limits){0});
    pool_core_set_all_service(&f->core, SERVICE_PAUSED);
    assert_int_equal(pool_core_add_host(&f->core, &later), 0);
    core_fixture_ask(&later, &f->requests[2]);
    core_fixture_ask(&f->a, &f->requests[0]);
    core_fixture_ask(&f->b, &f->requests[1]);
    claim_nothing(f);
    pool_core_set_service(&f->b, SERVICE_OPEN);
    core_fixture_dial(f, &f->b, &f->conns[1]);
    claim_nothing(f);
    pool_core_set_all_service(&f->core, SERVICE_OPEN);
    core_fixture_dial(f, &later, &f->conns[2]); /* it arrived first */
    core_fixture_dial(f, &f->a, &f->conns[0]);
    assert_ptr_equal(pool_core_dial_failed(&f->conns[2], true, NOW), &f->requests[2]);
    claim_closed(f, 2, DISCARD_DIAL_FAILED);
    pool_core_delivered(&f->requests[2], FAILED_OTHER);
    pool_core_remove_host(&later);
}

/* [27] */
static void shutdown_ends_it(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){0});
    core_fixture_lease(f, &f->a, 0);
    pool_core_set_service(&f->a, SERVICE_PAUSED);
    core_fixture_ask(&f->a, &f->requests[1]);
    pool_core_enter_phase(&f->core, POOL_DRAINING);
    claim_nothing(f);
    pool_core_enter_phase(&f->core, POOL_SHUT);
    claim_refused(f, &f->requests[1], CORE_REQUEST_SHUTDOWN);
    pool_core_set_service(&f->a, SERVICE_OPEN);
    claim_nothing(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CORE_TEST(waiters_keep_their_order),
        CORE_TEST(leases_finish),
        CORE_TEST(offered_is_taken_back),
        CORE_TEST(granted_stays),
        CORE_TEST(dials_under_way_end),
        CORE_TEST(dial_that_was_to_begin),
        CORE_TEST(waiters_time_out),
        CORE_TEST(max_waiting_holds),
        CORE_TEST(others_go_on),
        CORE_TEST(preconnected_ones_wait),
        CORE_TEST(host_that_is_down),
        CORE_TEST(failures_do_not_count),
        CORE_TEST(empty_host_stays),
        CORE_TEST(draining),
        CORE_TEST(draining_refuses_waiters),
        CORE_TEST(reconnecting),
        CORE_TEST(dials_are_retired),
        CORE_TEST(whole_pool),
        CORE_TEST(shutdown_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
