/* SPDX-License-Identifier: ISC */
/* Dials that are denied a resource: each ends once, with the function that failed, and leaves
 * nothing open; if another address may work, it is tried. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "support/dial_world.h"
#include "support/shortage.h"
#include "tls/tls.h"

/* Ends a test that waits forever. */
#define WAIT_MAX 60

static int setup(void **state)
{
    alarm(WAIT_MAX);
    return dial_world_setup(state);
}

static int teardown(void **state)
{
    shortage_of_epoll_ctl(0);
    shortage_of_calloc(0);
    return dial_world_teardown(state);
}

static void test_socket_cannot_be_watched(void **state)
{
    struct world *world = *state;
    struct caller caller = {.options.connect_timeout = USEC_PER_SEC};
    uint16_t port = 0;
    world_open_upstream(world, "127.0.0.1", &port);
    shortage_of_epoll_ctl(1);
    caller_start(world, &caller, "127.0.0.1", port);
    assert_int_equal(world_open_attempts(world), 0);
    caller_wait(world, &caller);
    caller_assert_failure(&caller, "epoll_ctl", ENOMEM);
    loop_warp(world->loop, USEC_PER_SEC);
    world_idle(world);
    assert_int_equal(caller.ended, 1);
}

/* The kernel has connected the first socket, but that cannot be noticed: it is closed before the
 * next address is tried, and is not taken for a connection. */
static void test_the_next_address_is_tried(void **state)
{
    struct world *world = *state;
    struct caller caller = {0};
    uint16_t port = world_free_port(world);
    world_open_upstream(world, "127.0.0.1", &port);
    world_open_blackhole(world, "127.0.0.2", &port);
    caller_start(world, &caller, "name.test", port);
    shortage_of_epoll_ctl(1);
    world_answer(world, "127.0.0.1 127.0.0.2");
    assert_true(shortage_came());
    assert_int_equal(world_open_attempts(world), 1);
    assert_false(dialer_is_connected(caller.dial));
    caller_cancel(&caller);
}

static void test_the_next_address_is_reached(void **state)
{
    struct world *world = *state;
    struct caller caller = {0};
    uint16_t port = world_free_port(world);
    world_open_upstream(world, "127.0.0.1", &port);
    world_open_upstream(world, "127.0.0.2", &port);
    caller_start(world, &caller, "name.test", port);
    shortage_of_epoll_ctl(1);
    world_answer(world, "127.0.0.1 127.0.0.2");
    caller_wait(world, &caller);
    caller_assert_connected(world, &caller, "127.0.0.2");
}

/* The second attempt wins, but its socket cannot be moved to the owner's stream. */
static void test_winner_cannot_be_moved(void **state)
{
    struct world *world = *state;
    struct caller caller = {0};
    uint16_t port = world_free_port(world);
    world_open_blackhole(world, "127.0.0.1", &port);
    world_open_upstream(world, "127.0.0.2", &port);
    caller_start_named(world, &caller, port, "127.0.0.1 127.0.0.2");
    world_warp_stagger(world);
    shortage_of_epoll_ctl(2); /* the first stops watching for the attempt */
    caller_wait(world, &caller);
    caller_assert_failure(&caller, "epoll_ctl", ENOMEM);
    assert_int_equal(world_open_attempts(world), 0);
}

/* Without memory for all attempts there is at least one. */
static void test_one_address_is_better_than_none(void **state)
{
    struct world *world = *state;
    struct caller caller = {0};
    uint16_t port = world_free_port(world);
    world_open_upstream(world, "127.0.0.1", &port);
    caller_start(world, &caller, "name.test", port);
    shortage_of_calloc(1);
    world_answer(world, "127.0.0.1 127.0.0.2");
    caller_wait(world, &caller);
    caller_assert_connected(world, &caller, "127.0.0.1");
}

static void test_one_address_fails(void **state)
{
    struct world *world = *state;
    struct caller caller = {0};
    uint16_t port = world_free_port(world);
    world_open_upstream(world, "127.0.0.2", &port);
    world_bind(world, "127.0.0.1", &port);
    caller_start(world, &caller, "name.test", port);
    shortage_of_calloc(1);
    world_answer(world, "127.0.0.1 127.0.0.2");
    caller_wait(world, &caller);
    caller_assert_failure(&caller, "connect", ECONNREFUSED);
}

static void test_no_descriptor(void **state)
{
    struct world *world = *state;
    struct caller caller = {0};
    uint16_t port = 0;
    struct rlimit limit, low;
    world_open_upstream(world, "127.0.0.1", &port);
    int free_fd = dup(STDERR_FILENO);
    close(free_fd);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    low = limit;
    low.rlim_cur = (rlim_t)free_fd;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    caller_start(world, &caller, "127.0.0.1", port);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    caller_wait(world, &caller);
    caller_assert_failure(&caller, "socket", EMFILE);
    assert_non_null(strstr(caller.failure.text, "raise LimitNOFILE or lower max_open"));
}

/* The connection is established, but TLS cannot begin on it. */
static void test_tls_cannot_start(void **state)
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
    struct caller caller = {.options.tls = client};
    uint16_t port = 0;
    world_open_upstream(world, "127.0.0.1", &port);
    caller_start(world, &caller, "127.0.0.1", port);
    shortage_of_calloc(1);
    caller_wait(world, &caller);
    caller_assert_failure(&caller, "tls", ENOMEM);
    assert_int_equal(world_open_attempts(world), 0);
    tls_client_unref(client);
}

static void test_no_memory_at_all(void **state)
{
    struct world *world = *state;
    struct caller caller = {.endpoint.addr = "127.0.0.1", .endpoint.port = 9};
    shortage_of_calloc(1);
    errno = 0;
    assert_null(dialer_start(world->loop, world->resolver, &caller.endpoint, &caller.options,
                             &caller.stream, &caller.handler));
    assert_int_equal(errno, ENOMEM);
    world_idle(world);
}

#define SHORTAGE_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHORTAGE_TEST(test_socket_cannot_be_watched),
        SHORTAGE_TEST(test_the_next_address_is_tried),
        SHORTAGE_TEST(test_the_next_address_is_reached),
        SHORTAGE_TEST(test_winner_cannot_be_moved),
        SHORTAGE_TEST(test_one_address_is_better_than_none),
        SHORTAGE_TEST(test_one_address_fails),
        SHORTAGE_TEST(test_no_descriptor),
        SHORTAGE_TEST(test_tls_cannot_start),
        SHORTAGE_TEST(test_no_memory_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
