/* SPDX-License-Identifier: ISC */
/* One dial: steps, time limits, cancelling, failures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "support/dial_world.h"
#include "support/skip.h"

static int socket_option(const struct stream *stream, int level, int name)
{
    int value = 0;
    socklen_t length = sizeof(value);
    assert_int_equal(getsockopt(stream->fd, level, name, &value, &length), 0);
    return value;
}

/* POOL 22: numeric addresses skip the lookup. */
static void test_numeric(void **state)
{
    struct world *world = *state;
    struct caller caller = {0};
    uint16_t port = 0;
    world_open_upstream(world, "127.0.0.1", &port);
    caller_start(world, &caller, "127.0.0.1", port);
    assert_true(
        dialer_is_connected(caller.dial)); /* by the kernel, over loopback; not reported yet */
    caller_wait(world, &caller);
    assert_int_equal(world->manual.started, 0);
    assert_int_equal(socket_option(&caller.stream, IPPROTO_TCP, TCP_NODELAY), 1);
    assert_int_equal(socket_option(&caller.stream, SOL_SOCKET, SO_KEEPALIVE), 1);
    assert_true(fcntl(caller.stream.fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(caller.stream.fd, F_GETFD) & FD_CLOEXEC);
    assert_true(caller.stream.writable);
    assert_false(caller.stream.readable);
    caller_assert_connected(world, &caller, "127.0.0.1");
}

static void test_numeric_in6(void **state)
{
    struct world *world = *state;
    struct caller caller = {0};
    uint16_t port = 0;
    if (!world_have_in6())
        skip_because("IPv6 is not available");
    world_open_upstream(world, "::1", &port);
    caller_start(world, &caller, "::1", port);
    caller_wait(world, &caller);
    caller_assert_connected(world, &caller, "::1");
}

static void test_stream_is_watched(void **state)
{
    struct world *world = *state;
    struct caller caller = {0};
    uint16_t port = 0;
    int upstream = world_open_upstream(world, "127.0.0.1", &port);
    caller_start(world, &caller, "127.0.0.1", port);
    caller_wait(world, &caller);
    world_assert_wakes(world, &caller.stream, upstream);
    caller_assert_connected(world, &caller, "127.0.0.1");
}

/* POOL 25. */
static void test_refused(void **state)
{
    struct world *world = *state;
    struct caller caller = {0};
    uint16_t port = 0;
    world_bind(world, "127.0.0.1", &port);
    caller_start(world, &caller, "127.0.0.1", port);
    caller_wait(world, &caller);
    caller_assert_failure(&caller, "connect", ECONNREFUSED);
}

/* A task that checks a dial between its begin and its answer. */
struct between {
    struct task task;
    struct caller *caller;
    bool cancel;
    bool ran;
};

static void look_between(struct task *task)
{
    struct between *between = container_of(task, struct between, task);
    between->ran = true;
    assert_int_equal(between->caller->ended, 0);
    if (between->cancel)
        caller_cancel(between->caller);
}

/* connect(2) itself fails; the answer is posted all the same. */
static void test_fails_at_once(void **state)
{
    struct world *world = *state;
    struct caller caller = {0};
    struct between between = {.task.run = look_between, .caller = &caller};
    caller_post(world, &caller, "255.255.255.255", 9);
    loop_post(world->loop, &between.task);
    caller_wait(world, &caller);
    assert_true(between.ran);
    assert_true(caller.failed);
    assert_string_equal(caller.failure.function, "connect");
}

static void test_fails_at_once_and_cancelled(void **state)
{
    struct world *world = *state;
    struct caller caller = {0};
    struct between between = {.task.run = look_between, .caller = &caller, .cancel = true};
    caller_post(world, &caller, "255.255.255.255", 9);
    loop_post(world->loop, &between.task);
    world_idle(world);
    assert_true(between.ran);
    assert_int_equal(caller.ended, 0);
}

static void test_name(void **state)
{
    struct world *world = *state;
    struct caller caller = {0};
    uint16_t port = 0;
    world_open_upstream(world, "127.0.0.1", &port);
    caller_start_named(world, &caller, port, "127.0.0.1");
    assert_int_equal(world->manual.started, 1);
    caller_wait(world, &caller);
    caller_assert_connected(world, &caller, "127.0.0.1");
}

/* POOL 23. */
static void test_resolve_error(void **state)
{
    struct world *world = *state;
    struct caller caller = {0};
    caller_start(world, &caller, "name.test", 9);
    resolver_query_answer(world->manual.query, NULL, 0, "Domain name not found");
    caller_wait(world, &caller);
    caller_assert_failure(&caller, "resolve", 0);
    assert_string_equal(caller.failure.text, "Domain name not found");
}

static void test_resolve_empty(void **state)
{
    struct world *world = *state;
    struct caller caller = {0};
    caller_start(world, &caller, "name.test", 9);
    resolver_query_answer(world->manual.query, NULL, 0, NULL);
    caller_wait(world, &caller);
    caller_assert_failure(&caller, "resolve", 0);
    assert_string_equal(caller.failure.text, "Host has no address.");
}

static void test_lookup_cannot_start(void **state)
{
    struct world *world = *state;
    struct caller caller = {.options.connect_timeout = USEC_PER_SEC};
    world->manual.refuse_with = ENOMEM;
    caller_start(world, &caller, "name.test", 9);
    caller_wait(world, &caller);
    caller_assert_failure(&caller, "resolve", ENOMEM);
    assert_string_equal(caller.failure.text, strerror(ENOMEM));
    loop_warp(world->loop, 2 * USEC_PER_SEC);
    world_idle(world);
    assert_int_equal(caller.ended, 1);
}

/* POOL 20. */
static void test_timeout_while_connecting(void **state)
{
    struct world *world = *state;
    struct caller caller = {.options.connect_timeout = 20 * USEC_PER_SEC};
    uint16_t port = 0;
    world_open_blackhole(world, "127.0.0.1", &port);
    caller_start(world, &caller, "127.0.0.1", port);
    loop_iterate(world->loop, 0);
    assert_int_equal(caller.ended, 0);
    loop_warp(world->loop, 20 * USEC_PER_SEC);
    caller_wait(world, &caller);
    caller_assert_failure(&caller, "connect", ETIMEDOUT);
    assert_string_equal(caller.failure.text, "no connection within connect_timeout = 20 s");
}

/* The time counts from the lookup on, and is not renewed by the connect. */
static void test_timeout_includes_the_lookup(void **state)
{
    struct world *world = *state;
    struct caller caller = {.options.connect_timeout = 20 * USEC_PER_SEC};
    uint16_t port = 0;
    world_open_blackhole(world, "127.0.0.1", &port);
    caller_start(world, &caller, "name.test", port);
    loop_warp(world->loop, 15 * USEC_PER_SEC);
    loop_iterate(world->loop, 0);
    assert_int_equal(caller.ended, 0);
    world_answer(world, "127.0.0.1");
    loop_warp(world->loop, 5 * USEC_PER_SEC);
    loop_iterate(world->loop, 0);
    caller_wait(world, &caller);
    caller_assert_failure(&caller, "connect", ETIMEDOUT);
}

/* The failed step is named: DNS. */
static void test_timeout_while_resolving(void **state)
{
    struct world *world = *state;
    struct caller caller = {.options.connect_timeout = 20 * USEC_PER_SEC};
    caller_start(world, &caller, "name.test", 9);
    loop_warp(world->loop, 20 * USEC_PER_SEC);
    caller_wait(world, &caller);
    caller_assert_failure(&caller, "resolve", ETIMEDOUT);
    assert_string_equal(caller.failure.text,
                        "no answer from the name servers within connect_timeout = 20 s");
    world_answer(world, "127.0.0.1"); /* no callback is called any more */
    world_idle(world);
}

static void test_no_timeout(void **state)
{
    struct world *world = *state;
    struct caller caller = {0};
    caller_start(world, &caller, "name.test", 9);
    loop_warp(world->loop, 24 * 3600 * USEC_PER_SEC);
    world_idle(world);
    assert_int_equal(caller.ended, 0);
    caller_cancel(&caller);
}

static void test_timeout_is_gone_once_connected(void **state)
{
    struct world *world = *state;
    struct caller caller = {.options.connect_timeout = 20 * USEC_PER_SEC};
    uint16_t port = 0;
    world_open_upstream(world, "127.0.0.1", &port);
    caller_start(world, &caller, "127.0.0.1", port);
    caller_wait(world, &caller);
    loop_warp(world->loop, 20 * USEC_PER_SEC);
    world_idle(world);
    caller_assert_connected(world, &caller, "127.0.0.1");
}

/* POOL 30: one that is cancelled immediately connects nowhere. */
static void test_cancel_before_it_connects(void **state)
{
    struct world *world = *state;
    struct caller caller = {.options.connect_timeout = USEC_PER_SEC};
    uint16_t port = 0;
    int upstream = world_open_upstream(world, "127.0.0.1", &port);
    caller_post(world, &caller, "127.0.0.1", port);
    assert_int_equal(world_open_attempts(world), 0);
    assert_false(dialer_is_connected(caller.dial));
    caller_cancel(&caller);
    loop_warp(world->loop, USEC_PER_SEC);
    world_idle(world);
    assert_int_equal(caller.ended, 0);
    assert_int_equal(accept(upstream, NULL, NULL), -1);
    assert_int_equal(errno, EAGAIN);
}

/* POOL 30: and it looks up no name. */
static void test_cancel_before_it_resolves(void **state)
{
    struct world *world = *state;
    struct caller caller = {.options.connect_timeout = USEC_PER_SEC};
    caller_post(world, &caller, "name.test", 9);
    caller_cancel(&caller);
    loop_warp(world->loop, USEC_PER_SEC);
    world_idle(world);
    assert_int_equal(caller.ended, 0);
    assert_int_equal(world->manual.started, 0);
}

/* The time counts from the start on, even if the loop is late. */
static void test_timeout_before_it_begins(void **state)
{
    struct world *world = *state;
    struct caller caller = {.options.connect_timeout = 20 * USEC_PER_SEC};
    uint16_t port = 0;
    world_open_blackhole(world, "127.0.0.1", &port);
    caller_post(world, &caller, "127.0.0.1", port);
    loop_warp(world->loop, 20 * USEC_PER_SEC);
    caller_wait(world, &caller);
    caller_assert_failure(&caller, "connect", ETIMEDOUT);
    world_idle(world);
}

static void test_cancel_while_resolving(void **state)
{
    struct world *world = *state;
    struct caller caller = {.options.connect_timeout = USEC_PER_SEC};
    caller_start(world, &caller, "name.test", 9);
    caller_cancel(&caller);
    world_answer(world, "127.0.0.1");
    loop_warp(world->loop, USEC_PER_SEC);
    world_idle(world);
    assert_int_equal(caller.ended, 0);
    assert_int_equal(world_open_attempts(world), 0);
}

static void test_cancel_while_connecting(void **state)
{
    struct world *world = *state;
    struct caller caller = {.options.connect_timeout = USEC_PER_SEC};
    uint16_t port = 0;
    world_open_blackhole(world, "127.0.0.1", &port);
    caller_start(world, &caller, "127.0.0.1", port);
    assert_int_equal(world_open_attempts(world), 1);
    assert_false(dialer_is_connected(caller.dial));
    caller_cancel(&caller);
    assert_int_equal(world_open_attempts(world), 0);
    loop_warp(world->loop, USEC_PER_SEC);
    world_idle(world);
    assert_int_equal(caller.ended, 0);
}

static void test_cancel_with_several_attempts(void **state)
{
    struct world *world = *state;
    struct caller caller = {.options.connect_timeout = 60 * USEC_PER_SEC};
    uint16_t port = world_free_port(world);
    world_open_blackhole(world, "127.0.0.1", &port);
    world_open_blackhole(world, "127.0.0.2", &port);
    caller_start_named(world, &caller, port, "127.0.0.1 127.0.0.2 127.0.0.3");
    world_warp_stagger(world);
    assert_int_equal(world_open_attempts(world), 2);
    caller_cancel(&caller);
    assert_int_equal(world_open_attempts(world), 0);
    loop_warp(world->loop, 60 * USEC_PER_SEC);
    world_idle(world);
    assert_int_equal(caller.ended, 0);
}

static void test_cancel_null(void **state)
{
    (void)state;
    dialer_cancel(NULL);
}

/* Both dials are connected within one iteration; the one that is called first cancels the other. */
static void test_callback_cancels_a_sibling(void **state)
{
    struct world *world = *state;
    struct caller a = {0}, b = {0};
    uint16_t port = 0;
    int upstream = world_open_upstream(world, "127.0.0.1", &port);
    a.cancel = &b;
    b.cancel = &a;
    caller_post(world, &a, "127.0.0.1", port);
    caller_post(world, &b, "127.0.0.1", port);
    loop_iterate(world->loop, 0);
    for (int i = 0; i < 2; i++) {
        struct pollfd ready = {.fd = upstream, .events = POLLIN};
        assert_int_equal(poll(&ready, 1, -1), 1);
        world_keep(world, accept(upstream, NULL, NULL));
    }
    while (a.ended + b.ended == 0)
        loop_iterate(world->loop, -1);
    world_idle(world);
    assert_int_equal(a.ended + b.ended, 1);
    struct caller *called = a.ended ? &a : &b, *cancelled = a.ended ? &b : &a;
    assert_int_equal(cancelled->stream.fd, -1);
    caller_assert_connected(world, called, "127.0.0.1");
}

/* The local port is fixed to the upstream's, as the kernel may happen to choose it. */
static void test_self_connect(void **state)
{
    struct world *world = *state;
    union address local = world_address("127.0.0.1");
    struct caller caller = {.options.bind_address = &local};
    uint16_t port = 0;
    world_bind(world, "127.0.0.1", &port);
    close(world->sockets[--world->socket_count]);
    local.in.sin_port = htons(port);
    caller_start(world, &caller, "127.0.0.1", port);
    caller_wait(world, &caller);
    caller_assert_failure(&caller, "connect", ECONNREFUSED);
}

/* The same port on both sides is not a self-connect if the addresses differ. */
static void test_same_port_on_both_sides(void **state)
{
    struct world *world = *state;
    union address local = world_address("127.0.0.2");
    struct caller caller = {.options.bind_address = &local};
    uint16_t port = 0;
    world_open_upstream(world, "127.0.0.1", &port);
    local.in.sin_port = htons(port);
    caller_start(world, &caller, "127.0.0.1", port);
    caller_wait(world, &caller);
    caller_assert_connected(world, &caller, "127.0.0.1");
}

/* A shortage of descriptors is reported, and leaves the loop as it was. */
static void test_no_descriptors(void **state)
{
    struct world *world = *state;
    struct caller caller = {0}, later = {0};
    uint16_t port = 0;
    world_open_upstream(world, "127.0.0.1", &port);
    struct rlimit limit, low;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    int lowest = dup(world->sockets[0]);
    close(lowest);
    low = limit;
    low.rlim_cur = (rlim_t)lowest;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    caller_start(world, &caller, "127.0.0.1", port);
    caller_wait(world, &caller);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    caller_assert_failure(&caller, "socket", EMFILE);
    caller_start(world, &later, "127.0.0.1", port);
    caller_wait(world, &later);
    caller_assert_connected(world, &later, "127.0.0.1");
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, dial_world_setup, dial_world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_numeric),
        TEST(test_numeric_in6),
        TEST(test_stream_is_watched),
        TEST(test_refused),
        TEST(test_fails_at_once),
        TEST(test_fails_at_once_and_cancelled),
        TEST(test_name),
        TEST(test_resolve_error),
        TEST(test_resolve_empty),
        TEST(test_lookup_cannot_start),
        TEST(test_timeout_while_connecting),
        TEST(test_timeout_includes_the_lookup),
        TEST(test_timeout_while_resolving),
        TEST(test_no_timeout),
        TEST(test_timeout_is_gone_once_connected),
        TEST(test_cancel_before_it_connects),
        TEST(test_cancel_before_it_resolves),
        TEST(test_timeout_before_it_begins),
        TEST(test_cancel_while_resolving),
        TEST(test_cancel_while_connecting),
        TEST(test_cancel_with_several_attempts),
        TEST(test_cancel_null),
        TEST(test_callback_cancels_a_sibling),
        TEST(test_self_connect),
        TEST(test_same_port_on_both_sides),
        TEST(test_no_descriptors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
