/* SPDX-License-Identifier: ISC */
/* Listeners that drain, and listen again: over IPv4, IPv6 and unix sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "support/generations.h"
#include "support/session_world.h"
#include "support/shortage.h"

enum { V4, V6, UNIX, SOCKETS };

struct fixture {
    struct world *world;
    struct listeners listeners;
    struct listener *listener;
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    } addresses[SOCKETS];
    int kept[SOCKETS]; /* keep the ports for us */
    unsigned drained;
};

static void on_drained(struct listeners *listeners)
{
    container_of(listeners, struct fixture, listeners)->drained++;
}

static socklen_t length_of(const struct fixture *f, int index)
{
    return f->addresses[index].sa.sa_family == AF_INET ? sizeof(struct sockaddr_in)
           : index == V6                               ? sizeof(struct sockaddr_in6)
                                                       : sizeof(struct sockaddr_un);
}

/* A socket next to which others may be bound, as long as none listens. */
static int bind_beside(struct fixture *f, int index)
{
    int on = 1, fd = socket(f->addresses[index].sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t length = length_of(f, index);
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    assert_int_equal(bind(fd, &f->addresses[index].sa, length), 0);
    assert_int_equal(getsockname(fd, &f->addresses[index].sa, &length), 0);
    return fd;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    char listen[200];
    session_world_setup((void **)&f->world);
    f->addresses[V4].in =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    f->addresses[V6].in6 =
        (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    f->addresses[UNIX].un.sun_family = AF_UNIX;
    snprintf(f->addresses[UNIX].un.sun_path, sizeof(f->addresses[UNIX].un.sun_path), "%s/s",
             f->world->folder);
    for (int i = V4; i <= V6; i++)
        f->kept[i] = bind_beside(f, i);
    snprintf(listen, sizeof(listen), "127.0.0.1:%u [::1]:%u unix:%s",
             ntohs(f->addresses[V4].in.sin_port), ntohs(f->addresses[V6].in6.sin6_port),
             f->addresses[UNIX].un.sun_path);
    world_configure(f->world, "tcp", listen, "reuse=quiet\n");
    f->listeners.worker.loop = f->world->loop;
    f->listeners.worker.scratch = f->world->scratch;
    f->listeners.worker.compose = f->world->compose;
    f->listeners.worker.pipes = &f->world->pipes;
    f->listeners.drained = on_drained;
    listeners_init(&f->listeners);
    generation_listen_first(&f->listeners, f->world->config, f->world->pool, 20);
    assert_int_equal(listeners_start(&f->listeners), 0);
    f->listener = listener_next(&f->listeners, NULL);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    for (int i = V4; i <= V6; i++)
        close(f->kept[i]);
    listeners_abort(&f->listeners);
    listeners_clear(&f->listeners);
    session_world_teardown((void **)&f->world);
    free(f);
    return 0;
}

/* A client, or -1 with errno. */
static int connect_to(struct fixture *f, int index)
{
    int fd = socket(f->addresses[index].sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (connect(fd, &f->addresses[index].sa, length_of(f, index)) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static void await_clients(struct fixture *f, unsigned clients)
{
    while (f->listeners.clients != clients)
        loop_iterate(f->world->loop, USEC_PER_MSEC);
}

static void assert_serves(struct fixture *f)
{
    for (int i = 0; i < SOCKETS; i++) {
        unsigned before = f->listeners.clients;
        int client = connect_to(f, i);
        assert_true(client >= 0);
        await_clients(f, before + 1);
        close(client);
        await_clients(f, before);
    }
}

static void assert_refuses(struct fixture *f)
{
    unsigned before = f->listeners.clients;
    char text[8];
    for (int i = V4; i <= V6; i++) {
        assert_int_equal(connect_to(f, i), -1);
        assert_int_equal(errno, ECONNREFUSED);
    }
    int client = connect_to(f, UNIX);
    assert_true(client >= 0);
    assert_true(world_receive(f->world, client, text, sizeof(text)));
    assert_string_equal(text, "");
    close(client);
    assert_int_equal(f->listeners.clients, before);
}

static void set_service(struct fixture *f, enum service service)
{
    const char *address;
    assert_int_equal(listener_set_service(f->listener, service, &address), 0);
    assert_int_equal(listener_get_service(f->listener), service);
}

/* Clients in the backlog are served first. */
static void test_drain_and_resume(void **state)
{
    struct fixture *f = *state;
    int clients[SOCKETS];
    assert_serves(f);
    for (int i = 0; i < SOCKETS; i++)
        clients[i] = connect_to(f, i);
    assert_int_equal(f->listeners.clients, 0);
    set_service(f, SERVICE_DRAINING);
    await_clients(f, SOCKETS);
    while (!listener_get_context(f->listener)->draining)
        loop_iterate(f->world->loop, 0);
    assert_refuses(f);
    world_iterate(f->world);
    assert_int_equal(f->listeners.clients, SOCKETS); /* opaque ones continue */
    assert_int_equal(f->drained, 0);
    set_service(f, SERVICE_OPEN);
    assert_false(listener_get_context(f->listener)->draining);
    assert_serves(f);
    for (int i = 0; i < SOCKETS; i++)
        close(clients[i]);
    await_clients(f, 0);
    set_service(f, SERVICE_DRAINING);
    set_service(f, SERVICE_OPEN); /* before the backlog was checked */
    world_iterate(f->world);
    assert_serves(f);
}

/* The loop does not spin over sockets that accept no client. */
static void test_drained_is_quiet(void **state)
{
    struct fixture *f = *state;
    set_service(f, SERVICE_DRAINING);
    while (!listener_get_context(f->listener)->draining)
        loop_iterate(f->world->loop, 0);
    world_iterate(f->world);
    uint64_t before = loop_iterations(f->world->loop);
    usec_t began = loop_now(f->world->loop);
    loop_iterate(f->world->loop, 20 * USEC_PER_MSEC);
    loop_iterate(f->world->loop, 0);
    assert_int_equal(loop_iterations(f->world->loop), before + 2);
    assert_true(loop_now(f->world->loop) - began >= 20 * USEC_PER_MSEC);
}

/* Another process has the port by then. */
static void test_port_is_taken(void **state)
{
    struct fixture *f = *state;
    const char *address = NULL;
    set_service(f, SERVICE_DRAINING);
    while (!listener_get_context(f->listener)->draining)
        loop_iterate(f->world->loop, 0);
    int taken = bind_beside(f, V6);
    assert_int_equal(listen(taken, 1), 0);
    assert_int_equal(listener_set_service(f->listener, SERVICE_OPEN, &address), -1);
    assert_int_equal(errno, EADDRINUSE);
    assert_memory_equal(address, "[::1]:", 6);
    assert_int_equal(listener_get_service(f->listener), SERVICE_DRAINING);
    assert_int_equal(connect_to(f, V4), -1);
    close(taken);
    assert_refuses(f);
    set_service(f, SERVICE_PAUSED); /* accepts, too */
    assert_serves(f);
}

/* The sockets cannot be watched again immediately: that is retried a little later. */
static void test_watching_is_tried_again(void **state)
{
    struct fixture *f = *state;
    set_service(f, SERVICE_DRAINING);
    while (!listener_get_context(f->listener)->draining)
        loop_iterate(f->world->loop, 0);
    shortage_of_epoll_ctl(2);
    set_service(f, SERVICE_OPEN);
    assert_true(shortage_came());
    assert_false(f->listeners.accepting);
    loop_warp(f->world->loop, USEC_PER_SEC);
    world_iterate(f->world);
    assert_serves(f);
}

/* A stop finds a listener that drains: it is done when the last session is. */
static void test_stop_while_draining(void **state)
{
    struct fixture *f = *state;
    int client = connect_to(f, UNIX);
    await_clients(f, 1);
    set_service(f, SERVICE_DRAINING);
    while (!listener_get_context(f->listener)->draining)
        loop_iterate(f->world->loop, 0);
    listeners_stop(&f->listeners);
    while (!f->listeners.closed)
        loop_iterate(f->world->loop, 0);
    assert_int_equal(connect_to(f, UNIX), -1);
    assert_int_equal(f->drained, 0);
    close(client);
    await_clients(f, 0);
    world_iterate(f->world);
    assert_int_equal(f->drained, 1);
}

/* An operator's orders are possible while it stops, except to accept. */
static void test_stop_while_paused(void **state)
{
    struct fixture *f = *state;
    set_service(f, SERVICE_PAUSED);
    int client = connect_to(f, V4);
    await_clients(f, 1);
    listeners_stop(&f->listeners);
    while (!f->listeners.closed)
        loop_iterate(f->world->loop, 0);
    assert_int_equal(listener_get_context(f->listener)->paused_count, 1);
    set_service(f, SERVICE_OPEN);
    while (TAILQ_EMPTY(&f->world->upstream.conns)) {
        loop_iterate(f->world->loop, USEC_PER_MSEC);
        peer_accept(&f->world->upstream);
    }
    close(client);
    await_clients(f, 0);
    world_iterate(f->world);
    assert_int_equal(f->drained, 1);
}

#define SERVICE_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERVICE_TEST(test_drain_and_resume),    SERVICE_TEST(test_drained_is_quiet),
        SERVICE_TEST(test_port_is_taken),       SERVICE_TEST(test_watching_is_tried_again),
        SERVICE_TEST(test_stop_while_draining), SERVICE_TEST(test_stop_while_paused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
