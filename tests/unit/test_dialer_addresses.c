/* SPDX-License-Identifier: ISC */
/* A dial over several addresses: order, stagger, which failure is reported. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "support/dial_world.h"
#include "support/skip.h"

/* POOL 24: a failed attempt is followed by the next at once, not after DIAL_STAGGER; the clock
 * is not moved here, and the timer would be seen in the count of attempts. */
static void test_next_address_after_failure(void **state)
{
    struct world *world = *state;
    struct caller caller = {0};
    uint16_t port = world_free_port(world);
    world_bind(world, "127.0.0.2", &port);
    world_open_upstream(world, "127.0.0.1", &port);
    usec_t started = loop_now(world->loop);
    caller_start_named(world, &caller, port, "127.0.0.2 127.0.0.1 127.0.0.3");
    caller_wait(world, &caller);
    if (loop_now(world->loop) - started >= DIAL_STAGGER)
        skip_because("the machine is too slow to tell");
    caller_assert_connected(world, &caller, "127.0.0.1");
}

static void test_all_addresses_refused(void **state)
{
    struct world *world = *state;
    struct caller caller = {0};
    uint16_t port = world_free_port(world);
    caller_start_named(world, &caller, port, "127.0.0.2 127.0.0.3 127.0.0.4");
    caller_wait(world, &caller);
    caller_assert_failure(&caller, "connect", ECONNREFUSED);
}

/* The failure reported is the last one's. */
static void test_last_failure_counts(void **state)
{
    struct world *world = *state;
    struct caller caller = {0};
    uint16_t port = world_free_port(world);
    caller_start_named(world, &caller, port, "255.255.255.255 127.0.0.2");
    caller_wait(world, &caller);
    caller_assert_failure(&caller, "connect", ECONNREFUSED);
}

/* An attempt that fails within connect(2) does not leak its socket when the next one is opened. */
static void test_failed_attempt_is_closed(void **state)
{
    struct world *world = *state;
    struct caller caller = {0};
    uint16_t port = world_free_port(world);
    world_open_blackhole(world, "127.0.0.2", &port);
    caller_start_named(world, &caller, port, "255.255.255.255 127.0.0.2");
    assert_int_equal(world_open_attempts(world), 1);
    caller_cancel(&caller);
}

/* RFC 8305 section 5: an address that does not answer delays the next one by DIAL_STAGGER only; the
 * first that connects wins, though it was not the first to start. */
static void test_stagger(void **state)
{
    struct world *world = *state;
    struct caller caller = {0};
    uint16_t port = world_free_port(world);
    world_open_blackhole(world, "127.0.0.2", &port);
    world_open_blackhole(world, "127.0.0.3", &port);
    int upstream = world_open_upstream(world, "127.0.0.1", &port);
    usec_t started = loop_now(world->loop);
    caller_start_named(world, &caller, port, "127.0.0.2 127.0.0.3 127.0.0.1");
    loop_iterate(world->loop, 0);
    if (loop_now(world->loop) - started < DIAL_STAGGER)
        assert_int_equal(world_open_attempts(world), 1);
    world_warp_stagger(world);
    assert_true(world_open_attempts(world) >= 2);
    world_warp_stagger(world);
    caller_wait(world, &caller);
    world_assert_wakes(world, &caller.stream, upstream);
    caller_assert_connected(world, &caller, "127.0.0.1");
}

/* The connect time counts from the first attempt on, and not from the lookup. */
static void test_connect_time(void **state)
{
    struct world *world = *state;
    struct caller caller = {0};
    uint16_t port = world_free_port(world);
    world_open_blackhole(world, "127.0.0.2", &port);
    world_open_upstream(world, "127.0.0.1", &port);
    caller_start(world, &caller, "name.test", port);
    loop_warp(world->loop, 10000 * USEC_PER_SEC);
    world_idle(world);
    world_answer(world, "127.0.0.2 127.0.0.1");
    loop_iterate(world->loop, 0);
    world_warp_stagger(world);
    caller_wait(world, &caller);
    assert_in_range(caller.handler.connect_time, DIAL_STAGGER, 5000 * USEC_PER_SEC);
    assert_int_equal(caller.handler.handshake_time, 0);
    caller_assert_connected(world, &caller, "127.0.0.1");
}

/* A failed attempt's place is taken, while an earlier one still waits for an answer. */
static void test_fallback_beside_a_pending_attempt(void **state)
{
    struct world *world = *state;
    struct caller caller = {0};
    uint16_t port = world_free_port(world);
    world_open_blackhole(world, "127.0.0.2", &port);
    world_bind(world, "127.0.0.3", &port);
    world_open_upstream(world, "127.0.0.1", &port);
    caller_start_named(world, &caller, port, "127.0.0.2 127.0.0.3 127.0.0.1");
    loop_iterate(world->loop, 0);
    world_warp_stagger(world);
    caller_wait(world, &caller);
    caller_assert_connected(world, &caller, "127.0.0.1");
}

/* With every other address refused the dial still waits for the one that has not answered. */
static void test_waits_for_the_pending_attempt(void **state)
{
    struct world *world = *state;
    struct caller caller = {.options.connect_timeout = 10 * USEC_PER_SEC};
    uint16_t port = world_free_port(world);
    world_open_blackhole(world, "127.0.0.2", &port);
    caller_start_named(world, &caller, port, "127.0.0.2 127.0.0.3");
    loop_iterate(world->loop, 0);
    world_warp_stagger(world);
    world_idle(world);
    assert_int_equal(caller.ended, 0);
    assert_int_equal(world_open_attempts(world), 1);
    loop_warp(world->loop, 10 * USEC_PER_SEC);
    caller_wait(world, &caller);
    caller_assert_failure(&caller, "connect", ETIMEDOUT);
}

/* RFC 8305 section 4: the families take turns. */
static void test_families_interleaved(void **state)
{
    struct world *world = *state;
    struct caller caller = {0};
    uint16_t port = world_free_port(world);
    if (!world_have_in6())
        skip_because("IPv6 is not available");
    world_open_upstream(world, "::1", &port);
    world_open_upstream(world, "127.0.0.3", &port);
    caller_start_named(world, &caller, port, "127.0.0.2 127.0.0.3 ::1");
    caller_wait(world, &caller);
    caller_assert_connected(world, &caller, "::1");
}

/* When a family has run out, the rest is the other one's, in the order given. */
static void test_one_family_runs_out(void **state)
{
    struct world *world = *state;
    struct caller caller = {0};
    uint16_t port = world_free_port(world);
    if (!world_have_in6())
        skip_because("IPv6 is not available");
    world_bind(world, "::1", &port);
    world_open_upstream(world, "127.0.0.4", &port);
    caller_start_named(world, &caller, port, "::1 127.0.0.2 127.0.0.3 127.0.0.4");
    caller_wait(world, &caller);
    caller_assert_connected(world, &caller, "127.0.0.4");
}

static const char MANY[] = "127.0.0.101 127.0.0.102 127.0.0.103 127.0.0.104 127.0.0.105 "
                           "127.0.0.106 127.0.0.107 127.0.0.108 127.0.0.109 127.0.0.110 "
                           "127.0.0.111 127.0.0.112 127.0.0.113 127.0.0.114 127.0.0.115 "
                           "127.0.0.116 127.0.0.117 127.0.0.118";

static void test_addresses_up_to_the_limit(void **state)
{
    struct world *world = *state;
    struct caller caller = {0};
    uint16_t port = world_free_port(world);
    assert_int_equal(DIAL_ADDRESSES_MAX, 16);
    world_open_upstream(world, "127.0.0.116", &port);
    caller_start_named(world, &caller, port, MANY);
    caller_wait(world, &caller);
    caller_assert_connected(world, &caller, "127.0.0.116");
}

static void test_addresses_beyond_the_limit(void **state)
{
    struct world *world = *state;
    struct caller caller = {0};
    uint16_t port = world_free_port(world);
    world_open_upstream(world, "127.0.0.117", &port);
    caller_start_named(world, &caller, port, MANY);
    caller_wait(world, &caller);
    caller_assert_failure(&caller, "connect", ECONNREFUSED);
}

static void test_bind_address(void **state)
{
    struct world *world = *state;
    union address local = world_address("127.0.0.5"), seen;
    struct caller caller = {.options.bind_address = &local};
    uint16_t port = 0;
    int upstream = world_open_upstream(world, "127.0.0.1", &port);
    caller_start(world, &caller, "127.0.0.1", port);
    caller_wait(world, &caller);
    socklen_t length = sizeof(seen);
    world_keep(world, accept(upstream, &seen.sa, &length));
    assert_int_equal(seen.in.sin_addr.s_addr, local.in.sin_addr.s_addr);
    int late = 0; /* else a bound port serves one upstream only */
    length = sizeof(late);
    assert_int_equal(
        getsockopt(caller.stream.fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &late, &length), 0);
    assert_int_equal(late, 1);
    caller_assert_connected(world, &caller, "127.0.0.1");
}

static void test_bind_address_unset(void **state)
{
    struct world *world = *state;
    union address any = {.sa.sa_family = AF_UNSPEC};
    struct caller caller = {.options.bind_address = &any};
    uint16_t port = 0;
    world_open_upstream(world, "127.0.0.1", &port);
    caller_start(world, &caller, "127.0.0.1", port);
    caller_wait(world, &caller);
    caller_assert_connected(world, &caller, "127.0.0.1");
}

/* 192.0.2.0/24 is for documentation: no machine has it. */
static void test_bind_address_not_ours(void **state)
{
    struct world *world = *state;
    union address local = world_address("192.0.2.1");
    struct caller caller = {.options.bind_address = &local};
    caller_start(world, &caller, "127.0.0.1", 9);
    caller_wait(world, &caller);
    caller_assert_failure(&caller, "bind", EADDRNOTAVAIL);
    assert_string_equal(caller.failure.text, "bind_address: Cannot assign requested address");
}

static void test_bind_address_skips_the_other_family(void **state)
{
    struct world *world = *state;
    union address local = world_address("127.0.0.1");
    struct caller caller = {.options.bind_address = &local};
    uint16_t port = 0;
    world_open_upstream(world, "127.0.0.1", &port);
    caller_start_named(world, &caller, port, "::1 ::2 127.0.0.1");
    caller_wait(world, &caller);
    caller_assert_connected(world, &caller, "127.0.0.1");
}

static void test_bind_address_of_the_wrong_family(void **state)
{
    struct world *world = *state;
    union address local = world_address("127.0.0.1");
    struct caller caller = {.options.bind_address = &local};
    caller_start_named(world, &caller, 9, "::1 ::2");
    caller_wait(world, &caller);
    caller_assert_failure(&caller, "bind", EAFNOSUPPORT);
    assert_string_equal(caller.failure.text,
                        "bind_address is IPv4, but the upstream has only IPv6 addresses");
}

static void test_bind_address_of_the_wrong_family_in6(void **state)
{
    struct world *world = *state;
    union address local = world_address("::1");
    struct caller caller = {.options.bind_address = &local};
    caller_start(world, &caller, "127.0.0.1", 9);
    caller_wait(world, &caller);
    caller_assert_failure(&caller, "bind", EAFNOSUPPORT);
    assert_string_equal(caller.failure.text,
                        "bind_address is IPv6, but the upstream has only IPv4 addresses");
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, dial_world_setup, dial_world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_next_address_after_failure),
        TEST(test_all_addresses_refused),
        TEST(test_last_failure_counts),
        TEST(test_failed_attempt_is_closed),
        TEST(test_stagger),
        TEST(test_connect_time),
        TEST(test_fallback_beside_a_pending_attempt),
        TEST(test_waits_for_the_pending_attempt),
        TEST(test_families_interleaved),
        TEST(test_one_family_runs_out),
        TEST(test_addresses_up_to_the_limit),
        TEST(test_addresses_beyond_the_limit),
        TEST(test_bind_address),
        TEST(test_bind_address_unset),
        TEST(test_bind_address_not_ours),
        TEST(test_bind_address_skips_the_other_family),
        TEST(test_bind_address_of_the_wrong_family),
        TEST(test_bind_address_of_the_wrong_family_in6),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
