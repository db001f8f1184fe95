/* SPDX-License-Identifier: ISC */
/* Listening sockets when something is denied: either all of them are watched or none, and what
 * failed is tried again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

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
#include "support/sockets.h"

/* As in listener.c. */
#define PAUSE (100 * USEC_PER_MSEC)

#define SOCKETS 2

struct fixture {
    struct world *world;
    struct listeners listeners;
    char paths[SOCKETS][64];
};

static void on_drained(struct listeners *listeners)
{
    (void)listeners;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    char listen[160];
    session_world_setup((void **)&f->world);
    for (int i = 0; i < SOCKETS; i++)
        snprintf(f->paths[i], sizeof(f->paths[i]), "%s/%d", f->world->folder, i);
    snprintf(listen, sizeof(listen), "unix:%s unix:%s", f->paths[0], f->paths[1]);
    world_configure(f->world, "tcp", listen, "reuse=quiet\n");
    f->listeners.worker.loop = f->world->loop;
    f->listeners.worker.scratch = f->world->scratch;
    f->listeners.worker.compose = f->world->compose;
    f->listeners.worker.pipes = &f->world->pipes;
    f->listeners.drained = on_drained;
    listeners_init(&f->listeners);
    generation_listen_first(&f->listeners, f->world->config, f->world->pool, 1);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    listeners_abort(&f->listeners);
    listeners_clear(&f->listeners);
    session_world_teardown((void **)&f->world);
    free(f);
    return 0;
}

static int connect_to(struct fixture *f, int index)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    memcpy(address.sun_path, f->paths[index], strlen(f->paths[index]));
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* One client after the other, on each of the sockets. */
static void assert_accepts(struct fixture *f)
{
    for (int i = 0; i < SOCKETS; i++) {
        int client = connect_to(f, i);
        while (f->listeners.clients == 0)
            loop_iterate(f->world->loop, USEC_PER_MSEC);
        close(client);
        while (f->listeners.clients > 0)
            loop_iterate(f->world->loop, USEC_PER_MSEC);
    }
}

static void assert_accepts_nobody(struct fixture *f)
{
    int clients[SOCKETS];
    for (int i = 0; i < SOCKETS; i++)
        clients[i] = connect_to(f, i);
    world_iterate(f->world);
    assert_int_equal(f->listeners.clients, 0);
    for (int i = 0; i < SOCKETS; i++)
        close(clients[i]);
}

static void test_all_are_watched_or_none(void **state)
{
    struct fixture *f = *state;
    for (int nth = 1; nth <= SOCKETS; nth++) {
        shortage_of_epoll_ctl(nth);
        errno = 0;
        assert_int_equal(listeners_start(&f->listeners), -1);
        assert_int_equal(errno, ENOMEM);
        assert_false(f->listeners.accepting);
    }
    int client = connect_to(f, 0);
    world_iterate(f->world);
    assert_int_equal(f->listeners.clients, 0);
    assert_int_equal(listeners_start(&f->listeners), 0);
    while (f->listeners.clients == 0)
        loop_iterate(f->world->loop, USEC_PER_MSEC);
    close(client);
    while (f->listeners.clients > 0)
        loop_iterate(f->world->loop, USEC_PER_MSEC);
    assert_accepts(f);
}

/* At max_clients no client is accepted. When there is room again, the sockets cannot all be
 * watched: that is retried a little later. */
static void test_watching_is_tried_again(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(listeners_start(&f->listeners), 0);
    int client = connect_to(f, 0);
    while (f->listeners.clients == 0)
        loop_iterate(f->world->loop, USEC_PER_MSEC);
    assert_false(f->listeners.accepting);
    world_iterate(f->world);
    shortage_of_epoll_ctl(SOCKETS);
    listeners_abort(&f->listeners);
    assert_true(shortage_came());
    close(client);
    assert_false(f->listeners.accepting);
    assert_accepts_nobody(f);
    loop_warp(f->world->loop, PAUSE);
    loop_iterate(f->world->loop, 0);
    assert_true(f->listeners.accepting);
    assert_accepts(f);
}

/* A client for which there is no memory sees a reset; the next one is served. */
static void test_no_memory_for_a_session(void **state)
{
    struct fixture *f = *state;
    char text[2];
    assert_int_equal(listeners_start(&f->listeners), 0);
    int client = connect_to(f, 1);
    int before = sockets_count();
    shortage_of_calloc(1);
    world_iterate(f->world);
    assert_true(shortage_came());
    assert_int_equal(sockets_count(), before);
    world_receive(f->world, client, text, sizeof(text)); /* a unix socket has no reset */
    close(client);
    assert_int_equal(f->listeners.clients, 0);
    assert_int_equal(counter_get(&f->listeners.stats.pauses), 1);
    assert_false(f->listeners.accepting);
    loop_warp(f->world->loop, PAUSE);
    assert_accepts(f);
    assert_int_equal(counter_get(&f->listeners.stats.pauses), 1);
}

#define LISTENER_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LISTENER_TEST(test_all_are_watched_or_none),
        LISTENER_TEST(test_watching_is_tried_again),
        LISTENER_TEST(test_no_memory_for_a_session),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
