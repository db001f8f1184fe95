/* SPDX-License-Identifier: ISC */
/* Hosts that an operator pauses, drains or reconnects, with sockets [43 to 47]; and what an
 * operator sees of a host. */
#include <errno.h>
#include <string.h>

#include "support/pool_fixture.h"

static struct pool_host *host_of(struct fixture *f, const struct peer *peer)
{
    struct pool_host *host = pool_retain(f->pool, &ask_prepare(f, peer)->endpoint, NULL);
    assert_non_null(host);
    return host;
}

static struct pool_view view_of(const struct pool_host *host)
{
    struct pool_view view;
    pool_view(host, &view);
    return view;
}

/* [43, 44] */
static void pause_and_resume(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 1});
    struct pool_host *a = host_of(f, &f->a);
    struct ask *leased = ask_get(f, &f->a, FROM_NONE);
    pool_set_service(f->pool, a, SERVICE_PAUSED);
    assert_int_equal(pool_get_service(a), SERVICE_PAUSED);
    assert_int_equal(pool_leases(a), 1);
    struct ask *first = ask(f, &f->a), *second = ask(f, &f->a);
    ask_release(leased);
    claim_discards(f, DISCARD_PAUSED, 1);
    assert_int_equal(pool_leases(a), 0);
    ask_get(f, &f->b, FROM_NONE); /* another host */
    fixture_iterate(f);
    claim_pending(first);
    claim_pending(second);
    pool_set_service(f->pool, a, SERVICE_OPEN);
    ask_wait(first);
    claim_ok(first, FROM_NONE);
    claim_pending(second);
    ask_release(first);
    ask_wait(second);
    claim_ok(second, FROM_DEFERRED);
}

/* [43] A dial that has begun is withdrawn, and connects nowhere. */
static void dial_is_cancelled(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){0});
    struct ask *waiting = ask(f, fixture_blackhole(f));
    fixture_iterate(f);
    claim_stats(f, 0, 1, 0, 0);
    pool_set_service(f->pool, NULL, SERVICE_PAUSED);
    fixture_iterate(f);
    claim_pending(waiting);
    claim_stats(f, 0, 0, 0, 1);
    claim_discards(f, DISCARD_DIAL_UNWANTED, 1);
}

/* [43, 20] */
static void timeout_names_the_pause(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.timeout = 2 * USEC_PER_SEC});
    pool_set_service(f->pool, host_of(f, &f->a), SERVICE_PAUSED);
    struct ask *waiting = ask(f, &f->a);
    fixture_warp(f, 2 * USEC_PER_SEC);
    claim_failed(waiting, "queue", ETIMEDOUT);
    assert_string_equal(waiting->failure.text, "no connection became free within 2 s (paused by "
                                               "the operator, 1 waiting)");
}

/* Time that had passed before the order still counts, and the text reports all of it. */
static void time_that_is_over(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.timeout = 5 * USEC_PER_SEC});
    struct pool_host *a = host_of(f, &f->a);
    pool_set_service(f->pool, a, SERVICE_PAUSED);
    struct ask *waiting = ask_prepare(f, &f->a), *late = ask_prepare(f, &f->a);
    waiting->allocation.waited = 4 * USEC_PER_SEC;
    late->allocation.waited = 5 * USEC_PER_SEC;
    ask_start(waiting);
    ask_start(late);
    assert_in_range(view_of(a).oldest_wait, 4 * USEC_PER_SEC, 5 * USEC_PER_SEC);
    fixture_iterate(f);
    claim_failed(late, "queue", ETIMEDOUT);
    fixture_warp(f, USEC_PER_SEC / 4);
    claim_pending(waiting);
    fixture_warp(f, USEC_PER_SEC);
    claim_failed(waiting, "queue", ETIMEDOUT);
    assert_non_null(strstr(waiting->failure.text, " within 5 s "));
    assert_int_equal(view_of(a).oldest_wait, 0);
}

/* [45] */
static void drained(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 1});
    struct pool_host *a = host_of(f, &f->a);
    struct ask *leased = ask_get(f, &f->a, FROM_NONE), *waiting = ask(f, &f->a);
    pool_set_service(f->pool, a, SERVICE_DRAINING);
    struct ask *later = ask(f, &f->a);
    ask_wait(later);
    claim_failed(waiting, "allocate", ESHUTDOWN);
    claim_failed(later, "allocate", ESHUTDOWN);
    assert_string_equal(later->failure.text, "the upstream is drained by the operator");
    ask_release(leased);
    claim_discards(f, DISCARD_PAUSED, 1);
    pool_set_service(f->pool, NULL, SERVICE_OPEN);
    ask_get(f, &f->a, FROM_NONE);
}

/* [46] */
static void reconnect(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){0});
    struct ask *idle = ask_get(f, &f->a, FROM_NONE), *leased = ask_get(f, &f->a, FROM_NONE);
    struct ask *other = ask_get(f, &f->b, FROM_NONE);
    ask_release(idle);
    ask_release(other);
    pool_reconnect(f->pool, host_of(f, &f->a));
    claim_discards(f, DISCARD_RECONNECT, 1);
    ask_get(f, &f->b, FROM_IMMEDIATE);
    ask_release(leased);
    claim_discards(f, DISCARD_RECONNECT, 2);
    struct ask *next = ask_get(f, &f->a, FROM_NONE);
    ask_release(next);
    ask_get(f, &f->a, FROM_IMMEDIATE);
    pool_reconnect(f->pool, NULL);
    fixture_iterate(f);
    claim_discards(f, DISCARD_RECONNECT, 2);
}

/* [47] Also of a host that was never requested. */
static void whole_pool(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){0});
    pool_set_service(f->pool, NULL, SERVICE_DRAINING);
    struct ask *refused = ask(f, &f->a);
    ask_wait(refused);
    claim_failed(refused, "allocate", ESHUTDOWN);
}

/* The last failure of a dial is remembered, also without fail_after. */
static void what_is_seen(void **state)
{
    struct fixture *f = *state;
    int64_t began = unix_time();
    fixture_pool(f, &(struct pool_limits){0});
    struct pool_host *a = host_of(f, &f->a), *refusing = host_of(f, &f->refusing);
    assert_ptr_equal(pool_next_host(f->pool, NULL), a);
    assert_ptr_equal(pool_next_host(f->pool, a), refusing);
    assert_null(pool_next_host(f->pool, refusing));
    ask_get(f, &f->a, FROM_NONE);
    ask_wait(ask(f, &f->refusing));
    struct pool_view view = view_of(a);
    assert_in_range(view.last_connected_at, began, unix_time());
    assert_int_equal(view.last_error_at, 0);
    view = view_of(refusing);
    assert_int_equal(view.last_connected_at, 0);
    assert_in_range(view.last_error_at, began, unix_time());
    assert_string_equal(view.last_error->function, "connect");
    assert_int_equal(view.last_error->number, ECONNREFUSED);
    assert_string_equal(view.last_error->text, "Connection refused");
    assert_false(view.down);
}

static void since_when_it_is_down(void **state)
{
    struct fixture *f = *state;
    int64_t began = unix_time();
    fixture_pool(f, &(struct pool_limits){.fail_after = 1});
    struct pool_host *refusing = host_of(f, &f->refusing);
    ask_wait(ask(f, &f->refusing));
    assert_true(view_of(refusing).down);
    assert_in_range(view_of(refusing).down_since, began, unix_time());
    pool_set_service(f->pool, refusing, SERVICE_PAUSED);
    assert_false(view_of(refusing).down);
    assert_int_equal(view_of(refusing).down_since, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(pause_and_resume),
        FIXTURE_TEST(dial_is_cancelled),
        FIXTURE_TEST(timeout_names_the_pause),
        FIXTURE_TEST(time_that_is_over),
        FIXTURE_TEST(drained),
        FIXTURE_TEST(reconnect),
        FIXTURE_TEST(whole_pool),
        FIXTURE_TEST(what_is_seen),
        FIXTURE_TEST(since_when_it_is_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
