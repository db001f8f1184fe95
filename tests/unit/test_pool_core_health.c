/* SPDX-License-Identifier: ISC */
/* Hosts that are down, in the pool's core alone: when they are, which requests are refused, when
 * they are tried again, and what ends the outage [39 to 42]. */
#include "support/core_fixture.h"

#include <string.h>

/* The dial of this connection fails; it is closed. Returns the request that fails with it. */
static struct core_request *fail_at(struct core_fixture *f, unsigned number, usec_t now)
{
    struct core_conn *conn = &f->conns[number];
    struct core_request *failed = pool_core_dial_failed(conn, true, now);
    core_fixture_claim(f, POOL_CLOSE, conn);
    pool_core_closed(conn);
    *conn = (struct core_conn){0};
    return failed;
}

static void claim_refused(struct core_fixture *f, struct core_request *request)
{
    struct pool_action action = core_fixture_next(f);
    assert_int_equal(action.kind, POOL_FAIL);
    assert_ptr_equal(action.request, request);
    assert_int_equal(request->failure, CORE_REQUEST_DOWN);
    pool_core_delivered(request, FAILED_OTHER);
}

static void claim_down(const struct core_fixture *f, bool down)
{
    assert_int_equal(f->a.down, down);
    assert_int_equal(f->core.down, down);
}

/* A request asks for a connection to the first host, and the dial for it fails. */
static void ask_and_fail(struct core_fixture *f, unsigned number, usec_t now)
{
    struct core_request *request = &f->requests[number];
    core_fixture_ask(&f->a, request);
    core_fixture_dial(f, &f->a, &f->conns[number]);
    assert_ptr_equal(fail_at(f, number, now), request);
    pool_core_delivered(request, FAILED_OTHER);
}

/* With fail_after = 1. */
static void go_down(struct core_fixture *f)
{
    ask_and_fail(f, 0, NOW);
    claim_down(f, true);
    core_fixture_claim(f, POOL_NOTHING, NULL);
}

/* Time advances to the end of the pause, which is this long, within its jitter; returns its end. */
static usec_t pause(struct core_fixture *f, usec_t began, usec_t length)
{
    usec_t end = pool_core_next_time(&f->core);
    assert_true(end - began >= length * 3 / 4 && end - began <= length * 5 / 4);
    pool_core_tick(&f->core, end - 1);
    core_fixture_claim(f, POOL_NOTHING, NULL);
    pool_core_tick(&f->core, end);
    return end;
}

/* [39, 40] The remaining waiters are refused, and so are requests that arrive then. */
static void failures_in_a_row(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.max_per_host = 1, .fail_after = 2});
    for (unsigned i = 0; i < 4; i++)
        core_fixture_ask(&f->a, &f->requests[i]);
    core_fixture_dial(f, &f->a, &f->conns[0]);
    assert_ptr_equal(fail_at(f, 0, NOW), &f->requests[0]);
    claim_down(f, false);
    core_fixture_dial(f, &f->a, &f->conns[0]);
    assert_ptr_equal(fail_at(f, 0, NOW), &f->requests[1]);
    claim_down(f, true);
    claim_refused(f, &f->requests[2]);
    claim_refused(f, &f->requests[3]);
    core_fixture_ask(&f->a, &f->requests[3]);
    claim_refused(f, &f->requests[3]);
    core_fixture_claim(f, POOL_NOTHING, NULL);
    assert_int_equal(core_fixture_stats(f).downs, 1);
    assert_int_equal(core_fixture_stats(f).refused, 3);
}

/* [39] */
static void success_between(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.fail_after = 2});
    ask_and_fail(f, 0, NOW);
    core_fixture_lease(f, &f->a, 1);
    ask_and_fail(f, 0, NOW);
    claim_down(f, false);
    ask_and_fail(f, 0, NOW);
    claim_down(f, true);
}

/* [39] A shortage on our side does not count against the host. */
static void shortage_does_not_count(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.fail_after = 1});
    core_fixture_ask(&f->a, &f->requests[0]);
    core_fixture_dial(f, &f->a, &f->conns[0]);
    assert_ptr_equal(pool_core_dial_failed(&f->conns[0], false, NOW), &f->requests[0]);
    claim_down(f, false);
}

static void off_by_default(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){0});
    for (unsigned i = 0; i < 100; i++)
        ask_and_fail(f, 0, NOW);
    claim_down(f, false);
}

/* [39] A dial that had all of a waiter's time counts, and once. */
static void overdue_dial_counts_once(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.max_per_host = 1, .timeout = 10, .fail_after = 2});
    core_fixture_ask(&f->a, &f->requests[0]);
    core_fixture_dial(f, &f->a, &f->conns[0]);
    core_fixture_claim(f, POOL_NOTHING, NULL);
    const struct core_wish patient = {.timeout = 20};
    assert_int_equal(pool_core_request(&f->a, &f->requests[1], &patient, NOW), 0);
    pool_core_tick(&f->core, NOW + 10);
    assert_int_equal(core_fixture_next(f).kind, POOL_FAIL);
    pool_core_dial_overdue(&f->a, NOW + 10);
    assert_ptr_equal(fail_at(f, 0, NOW + 11), &f->requests[1]);
    claim_down(f, false);
    ask_and_fail(f, 2, NOW + 11);
    claim_down(f, true);
}

/* [39] A dial that is silent for one waiter after the other has failed once. */
static void silent_dial_counts_once(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.max_per_host = 1, .timeout = 10, .fail_after = 2});
    core_fixture_ask(&f->a, &f->requests[0]);
    core_fixture_dial(f, &f->a, &f->conns[0]);
    for (unsigned i = 1; i < 3; i++) {
        const struct core_wish patient = {.timeout = 10 + i};
        assert_int_equal(pool_core_request(&f->a, &f->requests[i], &patient, NOW), 0);
    }
    for (unsigned i = 0; i < 2; i++) {
        pool_core_tick(&f->core, NOW + 10 + i);
        assert_ptr_equal(core_fixture_next(f).request, &f->requests[i]);
        pool_core_dial_overdue(&f->a, NOW + 10 + i);
        core_fixture_claim(f, POOL_NOTHING, NULL);
    }
    claim_down(f, false);
    assert_ptr_equal(fail_at(f, 0, NOW + 12), &f->requests[2]);
    claim_down(f, false);
}

/* [39, 40] The time of a waiter is the last one needed. */
static void overdue_dial_refuses_the_others(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.max_per_host = 2, .timeout = 10, .fail_after = 1});
    core_fixture_ask(&f->a, &f->requests[0]);
    core_fixture_dial(f, &f->a, &f->conns[0]);
    const struct core_wish patient = {.timeout = 20};
    assert_int_equal(pool_core_request(&f->a, &f->requests[1], &patient, NOW), 0);
    core_fixture_dial(f, &f->a, &f->conns[1]);
    pool_core_tick(&f->core, NOW + 10);
    assert_ptr_equal(core_fixture_next(f).request, &f->requests[0]);
    pool_core_dial_overdue(&f->a, NOW + 10);
    core_fixture_claim(f, POOL_CANCEL_DIAL, &f->conns[1]); /* the oldest one continues */
    claim_refused(f, &f->requests[1]);
    pool_core_closed(&f->conns[1]);
    core_fixture_claim(f, POOL_NOTHING, NULL);
    assert_int_equal(f->conns[0].state, CONN_CONNECTING);
}

static const struct pool_tag anna = {.identity = "anna"};

static void ask_tagged(struct core_fixture *f, struct core_request *request)
{
    const struct core_wish wish = {.tag = &anna};
    assert_int_equal(pool_core_request(&f->a, request, &wish, NOW), 0);
    (void)f;
}

/* [40] Idle connections serve any request they can; these are not refused. */
static void idle_ones_serve(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.fail_after = 1});
    core_fixture_make_idle(f, &f->a, 3);
    ask_tagged(f, &f->requests[0]); /* it would like a new one */
    core_fixture_dial(f, &f->a, &f->conns[0]);
    ask_tagged(f, &f->requests[1]);
    core_fixture_dial(f, &f->a, &f->conns[1]);
    ask_tagged(f, &f->requests[2]);
    core_fixture_dial(f, &f->a, &f->conns[2]);
    assert_ptr_equal(pool_core_dial_failed(&f->conns[0], true, NOW), &f->requests[0]);
    claim_down(f, true);
    core_fixture_claim(f, POOL_CLOSE, &f->conns[0]);
    pool_core_closed(&f->conns[0]);
    core_fixture_claim(f, POOL_PEEK, &f->conns[3]);
    claim_refused(f, &f->requests[2]);
    core_fixture_deliver(f, pool_core_peeked(&f->conns[3], POOL_PEEK_QUIET, NOW), &f->requests[1]);
    assert_null(pool_core_release(&f->requests[1], POOL_PEEK_QUIET, NOW));

    ask_tagged(f, &f->requests[1]); /* the remaining dial is not a dial for it */
    core_fixture_claim(f, POOL_CANCEL_DIAL, &f->conns[2]);
    pool_core_closed(&f->conns[2]);
    core_fixture_claim(f, POOL_PEEK, &f->conns[3]);
    assert_null(pool_core_peeked(&f->conns[3], POOL_PEEK_EOF, NOW)); /* stale: none is left */
    core_fixture_claim(f, POOL_CLOSE, &f->conns[3]);
    claim_refused(f, &f->requests[1]);
}

/* [40] One that insists on an unused connection is not served by another. */
static void fresh_is_refused(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.fail_after = 1});
    core_fixture_make_idle(f, &f->a, 3);
    ask_tagged(f, &f->requests[0]);
    core_fixture_dial(f, &f->a, &f->conns[0]);
    (void)fail_at(f, 0, NOW);
    claim_down(f, true);
    const struct core_wish wish = {.fresh = true};
    assert_int_equal(pool_core_request(&f->a, &f->requests[1], &wish, NOW), 0);
    claim_refused(f, &f->requests[1]);
    assert_int_equal(f->conns[3].state, CONN_IDLE);
}

/* [41] One dial at a time, even without requests, and longer and longer pauses between them. */
static void tried_one_at_a_time(void **state)
{
    struct core_fixture *f = *state;
    usec_t now = NOW;
    core_fixture_open(f, &(struct pool_limits){.fail_after = 1});
    go_down(f);
    for (usec_t length = USEC_PER_SEC; length < 60 * USEC_PER_SEC; length *= 2) {
        now = pause(f, now, length);
        core_fixture_dial(f, &f->a, &f->conns[1]);
        core_fixture_claim(f, POOL_NOTHING, NULL);
        assert_null(fail_at(f, 1, now));
        core_fixture_claim(f, POOL_NOTHING, NULL);
    }
    for (unsigned i = 0; i < 20; i++) {
        assert_true(pool_core_next_time(&f->core) - now <= 30 * USEC_PER_SEC);
        now = pause(f, now, 30 * USEC_PER_SEC);
        core_fixture_dial(f, &f->a, &f->conns[1]);
        assert_null(fail_at(f, 1, now));
    }
    assert_int_equal(core_fixture_stats(f).downs, 1);
    assert_int_equal(core_fixture_stats(f).preconnects, 0);
}

/* [41] */
static void attempt_that_cannot_begin(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.fail_after = 1});
    go_down(f);
    usec_t now = pause(f, NOW, USEC_PER_SEC);
    assert_int_equal(core_fixture_next(f).kind, POOL_DIAL);
    assert_null(pool_core_dial_refused(&f->a, false, now));
    core_fixture_claim(f, POOL_NOTHING, NULL);
    pause(f, now, 2 * USEC_PER_SEC);
    core_fixture_dial(f, &f->a, &f->conns[1]);
}

/* [42] */
static void success_lets_all_in(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.fail_after = 1});
    go_down(f);
    usec_t now = pause(f, NOW, USEC_PER_SEC);
    core_fixture_dial(f, &f->a, &f->conns[1]);
    core_fixture_ask(&f->a, &f->requests[1]); /* it is still down */
    claim_refused(f, &f->requests[1]);
    assert_null(pool_core_connected(&f->conns[1], false, now));
    claim_down(f, false);
    assert_int_equal(f->conns[1].state, CONN_IDLE);
    core_fixture_ask(&f->a, &f->requests[1]);
    core_fixture_claim(f, POOL_PEEK, &f->conns[1]);
    core_fixture_ask(&f->a, &f->requests[2]);
    core_fixture_dial(f, &f->a, &f->conns[2]);
    core_fixture_deliver(f, pool_core_peeked(&f->conns[1], POOL_PEEK_QUIET, now), &f->requests[1]);
    core_fixture_deliver(f, pool_core_connected(&f->conns[2], false, now), &f->requests[2]);
}

/* [42] An earlier dial that succeeds in the pause ends it as well. */
static void older_dial_succeeds(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.fail_after = 1});
    core_fixture_ask(&f->a, &f->requests[0]);
    core_fixture_ask(&f->a, &f->requests[1]);
    core_fixture_dial(f, &f->a, &f->conns[0]);
    core_fixture_dial(f, &f->a, &f->conns[1]);
    assert_ptr_equal(fail_at(f, 0, NOW), &f->requests[0]);
    claim_refused(f, &f->requests[1]);
    core_fixture_claim(f, POOL_NOTHING, NULL);
    assert_null(pool_core_connected(&f->conns[1], false, NOW));
    claim_down(f, false);
    assert_true(pool_core_next_try(&f->a) == 0);
}

/* [41] An earlier connection, granted again, says nothing about new ones. */
static void old_connection_ends_no_pause(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.keep_alive = 60 * USEC_PER_SEC, .fail_after = 1});
    core_fixture_make_idle(f, &f->a, 3);
    ask_tagged(f, &f->requests[0]);
    core_fixture_dial(f, &f->a, &f->conns[0]);
    (void)fail_at(f, 0, NOW);
    core_fixture_ask(&f->a, &f->requests[1]);
    core_fixture_claim(f, POOL_PEEK, &f->conns[3]);
    core_fixture_deliver(f, pool_core_peeked(&f->conns[3], POOL_PEEK_QUIET, NOW), &f->requests[1]);
    core_fixture_claim(f, POOL_NOTHING, NULL);
    claim_down(f, true);
    pause(f, NOW, USEC_PER_SEC);
    core_fixture_dial(f, &f->a, &f->conns[1]);
}

/* The host has room for one connection, which was leased when it went down, and is back. */
static usec_t fill_while_down(struct core_fixture *f)
{
    core_fixture_open(f, &(struct pool_limits){.max_per_host = 1,
                                               .max_tunnels = 1,
                                               .keep_alive = 60 * USEC_PER_SEC,
                                               .fail_after = 1});
    core_fixture_lease(f, &f->a, 3);
    assert_true(pool_core_reserve_hold(&f->requests[3]));
    pool_core_hold(&f->requests[3]);
    go_down(f);
    assert_true(pool_core_unhold(&f->requests[3]));
    usec_t now = pause(f, NOW, USEC_PER_SEC);
    core_fixture_claim(f, POOL_NOTHING, NULL);
    core_fixture_ask(&f->a, &f->requests[1]);
    claim_refused(f, &f->requests[1]);
    return now;
}

/* [42] If no attempt can begin, connections that continue to be useful end the outage. */
static void useful_ones_let_all_in(void **state)
{
    struct core_fixture *f = *state;
    usec_t now = fill_while_down(f);
    assert_null(pool_core_release(&f->requests[3], POOL_PEEK_QUIET, now));
    core_fixture_claim(f, POOL_NOTHING, NULL); /* and are not closed for an attempt [41] */
    claim_down(f, true);
    core_fixture_ask(&f->a, &f->requests[1]);
    core_fixture_claim(f, POOL_PEEK, &f->conns[3]);
    core_fixture_deliver(f, pool_core_peeked(&f->conns[3], POOL_PEEK_QUIET, now), &f->requests[1]);
    claim_down(f, false);
    core_fixture_ask(&f->a, &f->requests[2]);
    core_fixture_claim(f, POOL_NOTHING, NULL);
    core_fixture_deliver(f, pool_core_release(&f->requests[1], POOL_PEEK_QUIET, now),
                         &f->requests[2]);
}

/* [41] Their end makes room for an attempt. */
static void useless_one_gives_way(void **state)
{
    struct core_fixture *f = *state;
    usec_t now = fill_while_down(f);
    assert_null(pool_core_release(&f->requests[3], POOL_PEEK_QUIET, now));
    core_fixture_ask(&f->a, &f->requests[1]);
    core_fixture_claim(f, POOL_PEEK, &f->conns[3]);
    assert_null(pool_core_peeked(&f->conns[3], POOL_PEEK_EOF, now));
    core_fixture_claim(f, POOL_CLOSE, &f->conns[3]);
    claim_refused(f, &f->requests[1]);
    claim_down(f, true);
    pool_core_closed(&f->conns[3]);
    core_fixture_dial(f, &f->a, &f->conns[0]);
}

/* [41, 12] At max_open an attempt has the same priority as a waiter that arrived when the pause was
 * over. */
static void attempt_is_a_waiter(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(
        f, &(struct pool_limits){.max_open = 1, .keep_alive = 60 * USEC_PER_SEC, .fail_after = 1});
    go_down(f);
    core_fixture_lease(f, &f->b, 2);
    core_fixture_ask(&f->b, &f->requests[3]);
    usec_t now = pause(f, NOW, USEC_PER_SEC);
    core_fixture_claim(f, POOL_NOTHING, NULL);
    core_fixture_deliver(f, pool_core_release(&f->requests[2], POOL_PEEK_QUIET, now),
                         &f->requests[3]); /* which waited before */
    core_fixture_ask(&f->b, &f->requests[2]);
    assert_null(pool_core_release(&f->requests[3], POOL_PEEK_QUIET, now)); /* which arrives after */
    core_fixture_claim(f, POOL_CLOSE, &f->conns[2]);
    pool_core_closed(&f->conns[2]);
    core_fixture_dial(f, &f->a, &f->conns[1]);
    core_fixture_claim(f, POOL_NOTHING, NULL); /* and its place is not taken */
}

/* [41] */
static void idle_one_goes_for_an_attempt(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(
        f, &(struct pool_limits){.max_open = 1, .keep_alive = 60 * USEC_PER_SEC, .fail_after = 1});
    go_down(f);
    core_fixture_make_idle(f, &f->b, 2);
    pause(f, NOW, USEC_PER_SEC);
    core_fixture_claim(f, POOL_CLOSE, &f->conns[2]);
    pool_core_closed(&f->conns[2]);
    core_fixture_dial(f, &f->a, &f->conns[1]);
}

/* [41] Preconnected ones are dialled when it is up again; the pause holds for them as well. */
static void preconnected_ones_wait(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.min_idle = 2, .fail_after = 2});
    pool_core_set_preconnected(&f->a, true);
    core_fixture_dial(f, &f->a, &f->conns[0]);
    core_fixture_dial(f, &f->a, &f->conns[1]);
    assert_null(fail_at(f, 0, NOW));
    claim_down(f, false);
    assert_null(fail_at(f, 1, NOW));
    claim_down(f, true);
    usec_t now = pause(f, NOW, USEC_PER_SEC);
    core_fixture_dial(f, &f->a, &f->conns[0]);
    core_fixture_claim(f, POOL_NOTHING, NULL);
    assert_null(pool_core_connected(&f->conns[0], false, now));
    core_fixture_dial(f, &f->a, &f->conns[1]);
    core_fixture_claim(f, POOL_NOTHING, NULL);
    assert_int_equal(core_fixture_stats(f).preconnects, 3);
}

/* A host that is freed is no longer down. */
static void removed_while_down(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.fail_after = 1});
    go_down(f);
    pool_core_remove_host(&f->a);
    assert_int_equal(f->core.down, 0);
    f->a = (struct core_host){.endpoint.port = 1};
    assert_int_equal(pool_core_add_host(&f->core, &f->a), 0);
    claim_down(f, false);
}

/* [27] After a shutdown nothing is tried. */
static void shutdown_ends_it(void **state)
{
    struct core_fixture *f = *state;
    core_fixture_open(f, &(struct pool_limits){.fail_after = 1});
    go_down(f);
    pause(f, NOW, USEC_PER_SEC);
    core_fixture_dial(f, &f->a, &f->conns[1]);
    pool_core_enter_phase(&f->core, POOL_SHUT);
    core_fixture_claim(f, POOL_CLOSE, &f->conns[1]);
    pool_core_closed(&f->conns[1]);
    pool_core_tick(&f->core, NOW + 100 * USEC_PER_SEC);
    core_fixture_claim(f, POOL_NOTHING, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CORE_TEST(failures_in_a_row),
        CORE_TEST(success_between),
        CORE_TEST(shortage_does_not_count),
        CORE_TEST(off_by_default),
        CORE_TEST(overdue_dial_counts_once),
        CORE_TEST(silent_dial_counts_once),
        CORE_TEST(overdue_dial_refuses_the_others),
        CORE_TEST(idle_ones_serve),
        CORE_TEST(fresh_is_refused),
        CORE_TEST(tried_one_at_a_time),
        CORE_TEST(attempt_that_cannot_begin),
        CORE_TEST(success_lets_all_in),
        CORE_TEST(older_dial_succeeds),
        CORE_TEST(old_connection_ends_no_pause),
        CORE_TEST(useful_ones_let_all_in),
        CORE_TEST(useless_one_gives_way),
        CORE_TEST(attempt_is_a_waiter),
        CORE_TEST(idle_one_goes_for_an_attempt),
        CORE_TEST(preconnected_ones_wait),
        CORE_TEST(removed_while_down),
        CORE_TEST(shutdown_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
