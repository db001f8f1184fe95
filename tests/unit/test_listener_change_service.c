/* SPDX-License-Identifier: ISC */
/* Listeners that are paused, or drain, or stop, when another configuration arrives. */
#include "support/listener_world.h"

#include <unistd.h>

static void set_service(struct fixture *f, const char *name, enum service service)
{
    const char *address;
    assert_int_equal(listener_set_service(find(f, name), service, &address), 0);
}

static void drain(struct fixture *f, const char *name)
{
    set_service(f, name, SERVICE_DRAINING);
    while (!listener_get_context(find(f, name))->draining)
        loop_iterate(f->world->loop, 0);
}

/* New sockets of one that drains, and sockets that were another listener's, accept no client
 * either, after those in their backlogs. */
static void test_draining(void **state)
{
    struct fixture *f = *state;
    add(f, "a", "", A, C);
    add(f, "b", "", B);
    apply(f);
    drain(f, "a");
    for (int i = 0; i < 2; i++) {
        add(f, "a", i == 0 ? "idle_timeout=10\n" : "", A, C);
        add(f, "b", "", B);
        apply(f);
        world_iterate(f->world);
        assert_refuses(f, A);
        assert_refuses(f, C);
        assert_int_equal(counter_get(&f->listeners.stats.pauses), 0);
        assert_true(listener_get_context(find(f, "a"))->draining);
        assert_serves(f, B, "b");
    }
    int client = connect_to(f, B);
    add(f, "a", "", A, B, C, D);
    apply(f);
    await_clients(f, 1);
    assert_int_equal(accepted(f, "a"), 1);
    while (find(f, "a")->emptying)
        loop_iterate(f->world->loop, 0);
    for (int place = 0; place < PLACES; place++)
        assert_refuses(f, place);
    leave(f, client);
    add(f, "a", "", B, C, D);
    add(f, "b", "", A); /* which an operator has not drained */
    apply(f);
    world_iterate(f->world);
    assert_refuses(f, B);
    assert_serves(f, A, "b");
    set_service(f, "a", SERVICE_OPEN);
    for (int place = B; place < PLACES; place++)
        assert_serves(f, place, "a");
    assert_int_equal(counter_get(&f->listeners.stats.pauses), 0);
}

/* A change, or its listener's end, interrupts a drain that has not reached the backlogs yet. */
static void test_drain_begins(void **state)
{
    struct fixture *f = *state;
    add(f, "a", "", A, C);
    add(f, "b", "", B);
    apply(f);
    int client = connect_to(f, A);
    set_service(f, "a", SERVICE_DRAINING);
    add(f, "a", "idle_timeout=10\n", A, C);
    add(f, "b", "", B);
    apply(f);
    await_clients(f, 1);
    while (find(f, "a")->emptying)
        loop_iterate(f->world->loop, 0);
    assert_true(listener_get_context(find(f, "a"))->draining);
    assert_refuses(f, A);
    set_service(f, "a", SERVICE_OPEN);
    set_service(f, "a", SERVICE_DRAINING);
    add(f, "b", "", B);
    apply(f);
    assert_true(TAILQ_FIRST(&TAILQ_FIRST(&f->listeners.gone)->parts)->context.draining);
    add(f, "b", "", B);
    add(f, "a", "", C); /* the operator's order is forgotten */
    world_iterate(f->world);
    apply(f);
    assert_int_equal(listener_get_service(find(f, "a")), SERVICE_OPEN);
    assert_int_equal(gauge_get(&stats_of(f, "a")->draining), 0);
    assert_serves(f, C, "a");
    leave(f, client);
}

static void test_paused(void **state)
{
    struct fixture *f = *state;
    add(f, "a", "", A);
    add(f, "b", "", B);
    apply(f);
    set_service(f, "a", SERVICE_PAUSED);
    int old = connect_to(f, A);
    await_clients(f, 1);
    add(f, "a", "idle_timeout=10\n", A, B);
    apply(f);
    int clients[] = {connect_to(f, A), connect_to(f, B)};
    await_clients(f, 3);
    const struct listener *listener = find(f, "a");
    assert_int_equal(listener_next_context(listener, NULL)->paused_count, 1);
    assert_int_equal(listener_get_context(find(f, "a"))->paused_count, 2);
    assert_int_equal(gauge_get(&stats_of(f, "a")->paused), 1);
    add(f, "b", "", B);
    apply(f); /* there is no way left to resume it */
    listener = TAILQ_FIRST(&f->listeners.gone);
    world_iterate(f->world);
    const struct listener_context *context = NULL;
    while ((context = listener_next_context(listener, context)) != NULL)
        assert_int_equal(context->paused_count, 0);
    leave(f, old);
    leave(f, clients[0]);
    leave(f, clients[1]);
    assert_serves(f, B, "b");
}

/* A stop finds sockets that are leaving. */
static void test_stop(void **state)
{
    struct fixture *f = *state;
    add(f, "a", "", A, B);
    apply(f);
    int clients[] = {connect_to(f, A), connect_to(f, B)};
    add(f, "a", "", A);
    apply(f);
    listeners_stop(&f->listeners);
    await_clients(f, 2);
    while (!f->listeners.closed)
        loop_iterate(f->world->loop, 0);
    assert_int_equal(f->all_left, 1);
    assert_int_equal(connect_to(f, A), -1);
    leave(f, clients[0]);
    assert_int_equal(f->drained, 0);
    leave(f, clients[1]);
    world_iterate(f->world);
    assert_int_equal(f->drained, 1);
}

/* What an operator drains meanwhile is not shut down for the successor, which has the same
 * sockets. */
static void test_yield(void **state)
{
    struct fixture *f = *state;
    for (int resumes = 0; resumes < 2; resumes++) {
        add(f, "a", "", A);
        add(f, "b", "", B);
        apply(f);
        drain(f, "b");
        assert_int_equal(listeners_yield(&f->listeners), 0);
        int clients[] = {connect_to(f, A), connect_to(f, B)};
        assert_true(clients[0] >= 0 && clients[1] >= 0);
        set_service(f, "a", SERVICE_DRAINING);
        world_iterate(f->world);
        assert_int_equal(f->listeners.clients, 0);
        if (resumes == 1) {
            close(clients[0]);
            close(clients[1]);
            break;
        }
        listeners_resume(&f->listeners); /* they are served, and no other clients */
        await_clients(f, 2);
        while (find(f, "a")->emptying || find(f, "b")->emptying)
            loop_iterate(f->world->loop, 0);
        leave(f, clients[0]);
        leave(f, clients[1]);
        assert_refuses(f, A);
        assert_refuses(f, B);
        set_service(f, "a", SERVICE_OPEN);
        assert_serves(f, A, "a");
        set_service(f, "b", SERVICE_OPEN);
        assert_serves(f, B, "b");
    }
    int fd = dup(bound_socket_fd(f->generation->sockets[0])); /* the successor's */
    listeners_leave(&f->listeners);
    world_iterate(f->world);
    int client = connect_to(f, A);
    assert_true(client >= 0);
    assert_int_equal(f->drained, 1);
    close(client);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LISTENER_TEST(test_draining), LISTENER_TEST(test_drain_begins), LISTENER_TEST(test_paused),
        LISTENER_TEST(test_stop),     LISTENER_TEST(test_yield),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
