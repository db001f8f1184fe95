/* SPDX-License-Identifier: ISC */
/* What is reported when an allocation fails for lack of time or of a place: what the time was spent
 * on, and which limit delayed it. */
#include "support/pool_fixture.h"

#include <errno.h>

static void claim_text(const struct ask *ask, const char *function, const char *text)
{
    claim_failed(ask, function, ETIMEDOUT);
    assert_string_equal(ask->failure.text, text);
}

static void max_per_host_holds_up(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_per_host = 1, .timeout = 3 * USEC_PER_SEC});
    ask_get(f, &f->a, FROM_NONE);
    struct ask *first = ask(f, &f->a);
    fixture_warp(f, USEC_PER_SEC);
    struct ask *second = ask(f, &f->a);
    ask_get(f, &f->b, FROM_NONE);
    fixture_warp(f, 2 * USEC_PER_SEC);
    claim_text(first, "queue",
               "no connection became free within 3 s (max_per_host = 1, 2 waiting)");
    claim_pending(second);
    fixture_warp(f, USEC_PER_SEC);
    claim_text(second, "queue",
               "no connection became free within 3 s (max_per_host = 1, 1 waiting)");
}

/* Those of other hosts wait for the same. */
static void max_open_holds_up(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_open = 1, .timeout = 120 * USEC_PER_SEC});
    ask_get(f, &f->a, FROM_NONE);
    struct ask *first = ask(f, &f->b);
    fixture_warp(f, USEC_PER_SEC);
    ask(f, &f->c);
    fixture_warp(f, 119 * USEC_PER_SEC);
    claim_text(first, "queue", "no connection became free within 2 m (max_open = 1, 2 waiting)");
}

/* Held connections fill a pool, but not their host. */
static void held_connections_fill_the_pool(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f,
                 &(struct pool_limits){
                     .max_per_host = 1, .max_open = 1, .max_tunnels = 1, .timeout = USEC_PER_SEC});
    ask_hold(ask_get(f, &f->a, FROM_NONE));
    struct ask *waiter = ask(f, &f->a);
    fixture_warp(f, USEC_PER_SEC);
    claim_text(waiter, "queue", "no connection became free within 1 s (max_open = 1, 1 waiting)");
}

/* The first has a dial, the second waits for one, with its own time. */
static void max_connecting_holds_up(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.max_connecting = 1, .timeout = 3 * USEC_PER_SEC});
    struct ask *first = ask(f, fixture_blackhole(f));
    struct ask *second = ask_prepare(f, f->blackhole);
    second->allocation.timeout = 500 * USEC_PER_MSEC;
    ask_start(second);
    fixture_warp(f, 500 * USEC_PER_MSEC);
    claim_text(second, "queue",
               "no connection became free within 500 ms (max_connecting = 1, 1 waiting)");
    fixture_warp(f, 2500 * USEC_PER_MSEC);
    claim_text(first, "connect", "no connection within timeout = 3 s");
}

static void dial_resolves(void **state)
{
    struct fixture *f = *state;
    fixture_pool(f, &(struct pool_limits){.timeout = 3 * USEC_PER_SEC});
    names_set(f->names, "a.test", "127.0.0.1", NULL, NAMES_NEVER);
    struct ask *lost = ask_name(f, "a.test", &f->a);
    fixture_begin(f);
    fixture_warp(f, 3 * USEC_PER_SEC);
    claim_text(lost, "resolve", "no answer from the name servers within timeout = 3 s");
}

/* The dial's own limit is another one. */
static void dial_is_over_first(void **state)
{
    struct fixture *f = *state;
    fixture_pool(
        f, &(struct pool_limits){.timeout = 3 * USEC_PER_SEC, .connect_timeout = 2 * USEC_PER_SEC});
    struct ask *lost = ask(f, fixture_blackhole(f));
    fixture_warp(f, 2 * USEC_PER_SEC);
    claim_text(lost, "connect", "no connection within connect_timeout = 2 s");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(max_per_host_holds_up),
        FIXTURE_TEST(max_open_holds_up),
        FIXTURE_TEST(held_connections_fill_the_pool),
        FIXTURE_TEST(max_connecting_holds_up),
        FIXTURE_TEST(dial_resolves),
        FIXTURE_TEST(dial_is_over_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
