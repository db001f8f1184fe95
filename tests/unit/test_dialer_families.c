/* SPDX-License-Identifier: ISC */
/* Dials to a name one of whose families arrives late. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <sys/socket.h>

#include "support/dial_world.h"
#include "support/skip.h"

/* A family has arrived, and the other one has not for as long as it is waited for. */
static void come_alone(struct world *world, sa_family_t family, const char *list)
{
    world_answer_family(world, family, list);
    loop_warp(world->loop, RESOLVER_DELAY);
    loop_iterate(world->loop, 0);
}

static void assert_waits(struct world *world, const struct caller *caller)
{
    world_idle(world);
    assert_int_equal(caller->ended, 0);
    assert_int_equal(world_open_attempts(world), 0);
}

/* Waits until this many sockets of dials are left. */
static void wait_for_attempts(struct world *world, int count)
{
    while (world_open_attempts(world) != count)
        loop_iterate(world->loop, -1);
}

static void test_late_family_is_for_the_next_dial(void **state)
{
    struct world *world = *state;
    struct caller first = {0}, second = {0};
    uint16_t port = world_free_port(world);
    if (!world_have_in6())
        skip_because("IPv6 is not available");
    world_open_upstream(world, "127.0.0.1", &port);
    world_open_upstream(world, "::1", &port);
    caller_start(world, &first, "name.test", port);
    come_alone(world, AF_INET, "127.0.0.1");
    caller_wait(world, &first);
    caller_assert_connected(world, &first, "127.0.0.1");
    world_answer_family(world, AF_INET6, "::1");
    caller_start(world, &second, "name.test", port);
    caller_wait(world, &second);
    assert_int_equal(world->manual.started, 1);
    caller_assert_connected(world, &second, "::1");
}

/* It does not disturb a dial that continues. */
static void test_late_family_beside_a_pending_attempt(void **state)
{
    struct world *world = *state;
    struct caller caller = {0};
    uint16_t port = world_free_port(world);
    world_open_blackhole(world, "127.0.0.1", &port);
    caller_start(world, &caller, "name.test", port);
    come_alone(world, AF_INET, "127.0.0.1");
    wait_for_attempts(world, 1);
    world_answer_family(world, AF_INET6, "::1");
    world_warp_stagger(world);
    world_idle(world);
    assert_int_equal(world_open_attempts(world), 1);
    caller_cancel(&caller);
}

/* All addresses so far refuse, and more are to arrive. */
static void test_waits_for_the_late_family(void **state)
{
    struct world *world = *state;
    struct caller caller = {0};
    uint16_t port = world_free_port(world);
    if (!world_have_in6())
        skip_because("IPv6 is not available");
    world_open_upstream(world, "::1", &port);
    caller_start(world, &caller, "name.test", port);
    come_alone(world, AF_INET, "127.0.0.1 127.0.0.2");
    assert_waits(world, &caller);
    world_answer_family(world, AF_INET6, "::1");
    caller_wait(world, &caller);
    caller_assert_connected(world, &caller, "::1");
}

/* An address that was tried is not tried again, and its failure is the one to report. */
static void test_late_family_fails(void **state)
{
    struct world *world = *state;
    struct caller caller = {0};
    uint16_t port = world_free_port(world);
    int refusing = world_bind(world, "127.0.0.1", &port);
    caller_start(world, &caller, "name.test", port);
    come_alone(world, AF_INET, "127.0.0.1");
    assert_waits(world, &caller);
    assert_int_equal(listen(refusing, 1), 0);
    resolver_query_fail_family(world->manual.query, AF_INET6,
                               "Timeout while contacting DNS servers");
    caller_wait(world, &caller);
    caller_assert_failure(&caller, "connect", ECONNREFUSED);
}

static void test_late_family_refuses_too(void **state)
{
    struct world *world = *state;
    struct caller caller = {0};
    uint16_t port = world_free_port(world);
    caller_start(world, &caller, "name.test", port);
    come_alone(world, AF_INET, "127.0.0.1");
    assert_waits(world, &caller);
    world_answer_family(world, AF_INET6, "::1");
    caller_wait(world, &caller);
    assert_true(caller.failed);
    assert_string_equal(caller.failure.function, "connect");
}

static void test_timeout_while_the_late_family_is_awaited(void **state)
{
    struct world *world = *state;
    struct caller caller = {.options.connect_timeout = 20 * USEC_PER_SEC};
    uint16_t port = world_free_port(world);
    caller_start(world, &caller, "name.test", port);
    come_alone(world, AF_INET, "127.0.0.1");
    assert_waits(world, &caller);
    loop_warp(world->loop, 20 * USEC_PER_SEC);
    caller_wait(world, &caller);
    caller_assert_failure(&caller, "resolve", ETIMEDOUT);
}

static void test_cancelled_while_the_late_family_is_awaited(void **state)
{
    struct world *world = *state;
    struct caller caller = {0};
    uint16_t port = world_free_port(world);
    caller_start(world, &caller, "name.test", port);
    come_alone(world, AF_INET, "127.0.0.1");
    assert_waits(world, &caller);
    caller_cancel(&caller);
    world_answer_family(world, AF_INET6, "::1");
    world_idle(world);
    assert_int_equal(caller.ended, 0);
}

/* The family that bind_address needs is the late one. */
static void test_bind_address_of_the_late_family(void **state)
{
    struct world *world = *state;
    union address local = world_address("127.0.0.5");
    struct caller caller = {.options.bind_address = &local}, other = {.options = caller.options};
    uint16_t port = world_free_port(world);
    world_open_upstream(world, "127.0.0.1", &port);
    caller_start(world, &caller, "name.test", port);
    come_alone(world, AF_INET6, "::1 ::2");
    assert_waits(world, &caller);
    world_answer_family(world, AF_INET, "127.0.0.1");
    caller_wait(world, &caller);
    caller_assert_connected(world, &caller, "127.0.0.1");

    loop_warp(world->loop, 61 * USEC_PER_SEC);
    caller_start(world, &other, "name.test", port);
    world_answer_family(world, AF_INET6, "::1");
    world_answer_family(world, AF_INET, "");
    caller_wait(world, &other);
    caller_assert_failure(&other, "bind", EAFNOSUPPORT);
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, dial_world_setup, dial_world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_late_family_is_for_the_next_dial),
        TEST(test_late_family_beside_a_pending_attempt),
        TEST(test_waits_for_the_late_family),
        TEST(test_late_family_fails),
        TEST(test_late_family_refuses_too),
        TEST(test_timeout_while_the_late_family_is_awaited),
        TEST(test_cancelled_while_the_late_family_is_awaited),
        TEST(test_bind_address_of_the_late_family),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
