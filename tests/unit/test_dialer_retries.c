/* SPDX-License-Identifier: ISC */
/* Dials that are retried: which failures, how often, and how such a dial ends (POOL 38). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/dial_world.h"
#include "tls/tls.h"

/* Ends a test that waits forever. */
#define WAIT_MAX 60

static int setup(void **state)
{
    alarm(WAIT_MAX);
    return dial_world_setup(state);
}

#define RETRY_TEST(test) cmocka_unit_test_setup_teardown(test, setup, dial_world_teardown)

/* The dial has failed once more, and waits for its next try. */
static void claim_pause(struct world *world, const struct caller *caller, unsigned retries)
{
    for (int i = 0; i < 5; i++)
        loop_iterate(world->loop, 0);
    assert_int_equal(caller->ended, 0);
    assert_int_equal(caller->handler.retries, retries);
    assert_int_equal(world_open_attempts(world), 0);
}

static void refused_and_again(void **state)
{
    struct world *world = *state;
    struct caller caller = {.options.connect_retries = 2};
    uint16_t port = 0;
    world_bind(world, "127.0.0.1", &port);
    caller_start(world, &caller, "127.0.0.1", port);
    claim_pause(world, &caller, 0);
    loop_warp(world->loop, DIAL_PAUSE - 1000);
    claim_pause(world, &caller, 0);
    loop_warp(world->loop, 1000);
    claim_pause(world, &caller, 1);
    loop_warp(world->loop, DIAL_PAUSE);
    caller_wait(world, &caller);
    caller_assert_failure(&caller, "connect", ECONNREFUSED);
    assert_int_equal(caller.handler.retries, 2);
}

static void comes_back(void **state)
{
    struct world *world = *state;
    struct caller caller = {.options.connect_retries = 1};
    uint16_t port = 0;
    int fd = world_bind(world, "127.0.0.1", &port);
    caller_start(world, &caller, "127.0.0.1", port);
    claim_pause(world, &caller, 0);
    assert_int_equal(listen(fd, 16), 0);
    loop_warp(world->loop, DIAL_PAUSE);
    caller_wait(world, &caller);
    caller_assert_connected(world, &caller, "127.0.0.1");
    assert_int_equal(caller.handler.retries, 1);
}

/* Each try has all of connect_timeout. */
static void timed_out_and_again(void **state)
{
    struct world *world = *state;
    struct caller caller = {.options.connect_timeout = 20 * USEC_PER_SEC,
                            .options.connect_retries = 1};
    uint16_t port = 0;
    world_open_blackhole(world, "127.0.0.1", &port);
    caller_start(world, &caller, "127.0.0.1", port);
    loop_warp(world->loop, 20 * USEC_PER_SEC);
    claim_pause(world, &caller, 0);
    loop_warp(world->loop, DIAL_PAUSE);
    loop_iterate(world->loop, 0);
    assert_int_equal(world_open_attempts(world), 1);
    loop_warp(world->loop, 19 * USEC_PER_SEC);
    loop_iterate(world->loop, 0);
    assert_int_equal(caller.ended, 0);
    loop_warp(world->loop, USEC_PER_SEC);
    caller_wait(world, &caller);
    caller_assert_failure(&caller, "connect", ETIMEDOUT);
}

/* What is reported for a try does not mention the step that the one before was in. */
static void handshake_timed_out_and_again(void **state)
{
    struct world *world = *state;
    const struct tls_options options = {.server_name = "127.0.0.1",
                                        .ca_file = "",
                                        .cert_file = "",
                                        .key_file = "",
                                        .min_version = "1.2"};
    struct tls_mistake mistake;
    struct tls_client *client = tls_client_new(&options, &mistake);
    assert_non_null(client);
    struct caller caller = {.options.connect_timeout = 20 * USEC_PER_SEC,
                            .options.connect_retries = 1,
                            .options.tls = client};
    uint16_t port = 0;
    assert_int_equal(listen(world_bind(world, "127.0.0.1", &port), 0),
                     0); /* accepts one, silently */
    caller_start(world, &caller, "127.0.0.1", port);
    struct failure failure = {0};
    while (failure.function == NULL || strcmp(failure.function, "tls") != 0) {
        loop_iterate(world->loop, 0);
        dialer_time_is_up(caller.dial, "timeout", USEC_PER_SEC, &failure);
    }
    loop_warp(world->loop, 20 * USEC_PER_SEC);
    claim_pause(world, &caller, 0);
    loop_warp(world->loop, DIAL_PAUSE);
    loop_iterate(world->loop, 0);
    assert_int_equal(world_open_attempts(world), 1);
    loop_warp(world->loop, 20 * USEC_PER_SEC);
    caller_wait(world, &caller);
    caller_assert_failure(&caller, "connect", ETIMEDOUT);
    tls_client_unref(client);
}

/* A loop that was busy: the pause arrives before the first try has begun, and takes its place. */
static void timed_out_before_it_begins(void **state)
{
    struct world *world = *state;
    struct caller caller = {.options.connect_timeout = 20 * USEC_PER_SEC,
                            .options.connect_retries = 1};
    uint16_t port = 0;
    world_open_blackhole(world, "127.0.0.1", &port);
    caller_post(world, &caller, "127.0.0.1", port);
    loop_warp(world->loop, 20 * USEC_PER_SEC);
    claim_pause(world, &caller, 0);
    loop_warp(world->loop, DIAL_PAUSE);
    loop_iterate(world->loop, 0);
    assert_int_equal(world_open_attempts(world), 1);
    caller_cancel(&caller);
}

/* The name is looked up again, and all of its addresses are tried. */
static void name_is_looked_up_again(void **state)
{
    struct world *world = *state;
    struct caller caller = {.options.connect_retries = 1};
    uint16_t port = world_free_port(world);
    world_bind(world, "127.0.0.1", &port);
    world_bind(world, "127.0.0.2", &port);
    caller_start_named(world, &caller, port, "127.0.0.1 127.0.0.2");
    claim_pause(world, &caller, 0);
    assert_int_equal(world->manual.started, 1);
    loop_warp(world->loop, DIAL_PAUSE);
    loop_iterate(world->loop, 0);
    assert_int_equal(world->manual.started, 2);
    world_open_upstream(world, "127.0.0.3", &port);
    world_answer(world, "127.0.0.1 127.0.0.3");
    caller_wait(world, &caller);
    caller_assert_connected(world, &caller, "127.0.0.3");
}

/* Failures that will not go away within a second. */
static void other_failures_are_final(void **state)
{
    struct world *world = *state;
    struct caller caller = {.options.connect_retries = 3};
    caller_start(world, &caller, "name.test", 9);
    resolver_query_answer(world->manual.query, NULL, 0, "no such name");
    caller_wait(world, &caller);
    caller_assert_failure(&caller, "resolve", 0);
    assert_int_equal(caller.handler.retries, 0);
}

static void cancelled_in_the_pause(void **state)
{
    struct world *world = *state;
    struct caller caller = {.options.connect_retries = 1};
    uint16_t port = 0;
    world_bind(world, "127.0.0.1", &port);
    caller_start(world, &caller, "127.0.0.1", port);
    claim_pause(world, &caller, 0);
    assert_false(dialer_is_connected(caller.dial));
    caller_cancel(&caller);
    loop_warp(world->loop, DIAL_PAUSE);
    world_idle(world);
    assert_int_equal(caller.ended, 0);
}

/* A waiter's time expires in the pause: the text says why the last try failed. */
static void time_is_up_in_the_pause(void **state)
{
    struct world *world = *state;
    struct caller caller = {.options.connect_retries = 1};
    struct failure failure;
    uint16_t port = 0;
    world_bind(world, "127.0.0.1", &port);
    caller_start(world, &caller, "127.0.0.1", port);
    claim_pause(world, &caller, 0);
    dialer_time_is_up(caller.dial, "timeout", 3 * USEC_PER_SEC, &failure);
    assert_string_equal(failure.function, "connect");
    assert_int_equal(failure.number, ETIMEDOUT);
    assert_string_equal(failure.text, "no connection within timeout = 3 s (Connection refused)");
    caller_cancel(&caller);
}

static void last_try(void **state)
{
    struct world *world = *state;
    struct caller caller = {.options.connect_retries = 5};
    uint16_t port = 0;
    world_bind(world, "127.0.0.1", &port);
    caller_start(world, &caller, "127.0.0.1", port);
    claim_pause(world, &caller, 0);
    loop_warp(world->loop, DIAL_PAUSE - 1);
    dialer_last_try(caller.dial);
    loop_warp(world->loop, 1);
    caller_wait(world, &caller);
    caller_assert_failure(&caller, "connect", ECONNREFUSED);
    assert_int_equal(caller.handler.retries, 1);
}

static void claim_time_was_up(const struct caller *caller)
{
    assert_true(caller->failed);
    assert_int_equal(caller->failure.number, ETIMEDOUT);
    assert_string_equal(caller->failure.text, "no connection within timeout = 500 ms");
}

/* A limit that comes later. */
static void limited_later(void **state)
{
    struct world *world = *state;
    struct caller caller = {0};
    uint16_t port = 0;
    world_open_blackhole(world, "127.0.0.1", &port);
    caller_start(world, &caller, "127.0.0.1", port);
    loop_warp(world->loop, 30 * USEC_PER_SEC);
    dialer_limit(caller.dial, "timeout", 500 * USEC_PER_MSEC);
    dialer_limit(caller.dial, "other", 100 * USEC_PER_MSEC); /* it has one */
    loop_warp(world->loop, 400 * USEC_PER_MSEC);
    loop_iterate(world->loop, 0);
    assert_int_equal(caller.ended, 0);
    loop_warp(world->loop, 100 * USEC_PER_MSEC);
    caller_wait(world, &caller);
    claim_time_was_up(&caller);
}

/* In the pause it applies to the next try. */
static void limited_in_the_pause(void **state)
{
    struct world *world = *state;
    struct caller caller = {.options.connect_retries = 1};
    uint16_t port = world_free_port(world);
    caller_start(world, &caller, "127.0.0.1", port);
    claim_pause(world, &caller, 0);
    dialer_limit(caller.dial, "timeout", 500 * USEC_PER_MSEC);
    world_open_blackhole(world, "127.0.0.1", &port);
    loop_warp(world->loop, 600 * USEC_PER_MSEC);
    claim_pause(world, &caller, 0);
    loop_warp(world->loop, DIAL_PAUSE - 600 * USEC_PER_MSEC);
    loop_iterate(world->loop, 0);
    assert_int_equal(world_open_attempts(world), 1);
    loop_warp(world->loop, 500 * USEC_PER_MSEC);
    caller_wait(world, &caller);
    claim_time_was_up(&caller);
}

/* One that has ended, which is only to be reported, is left alone. */
static void limited_too_late(void **state)
{
    struct world *world = *state;
    struct caller caller = {0};
    caller_start(world, &caller, "name.test", 9);
    resolver_query_answer(world->manual.query, NULL, 0, "no such name");
    assert_int_equal(caller.ended, 0);
    dialer_limit(caller.dial, "timeout", 20 * USEC_PER_SEC);
    caller_wait(world, &caller);
    caller_assert_failure(&caller, "resolve", 0);
    loop_warp(world->loop, 20 * USEC_PER_SEC);
    world_idle(world);
    assert_int_equal(caller.ended, 1);
}

static void whose_fault_it_is(void **state)
{
    (void)state;
    static const struct {
        struct failure failure;
        bool here;
    } cases[] = {
        {{.function = "connect", .number = ECONNREFUSED}, false},
        {{.function = "connect", .number = ETIMEDOUT}, false},
        {{.function = "connect", .number = ENETUNREACH}, false},
        {{.function = "connect", .number = EADDRNOTAVAIL}, true},
        {{.function = "connect", .number = ENOBUFS}, true},
        {{.function = "resolve", .number = 0}, false},
        {{.function = "resolve", .number = ENOMEM}, true},
        {{.function = "tls", .number = 0}, false},
        {{.function = "socket", .number = EMFILE}, true},
        {{.function = "socket", .number = EAFNOSUPPORT}, true},
        {{.function = "bind", .number = EINVAL}, true},
        {{.function = "epoll_ctl", .number = ENOSPC}, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(dialer_failed_here(&cases[i].failure), cases[i].here);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RETRY_TEST(refused_and_again),
        RETRY_TEST(comes_back),
        RETRY_TEST(timed_out_before_it_begins),
        RETRY_TEST(handshake_timed_out_and_again),
        RETRY_TEST(timed_out_and_again),
        RETRY_TEST(name_is_looked_up_again),
        RETRY_TEST(other_failures_are_final),
        RETRY_TEST(cancelled_in_the_pause),
        RETRY_TEST(time_is_up_in_the_pause),
        RETRY_TEST(last_try),
        RETRY_TEST(limited_later),
        RETRY_TEST(limited_in_the_pause),
        RETRY_TEST(limited_too_late),
        cmocka_unit_test(whose_fault_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
