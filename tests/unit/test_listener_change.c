/* SPDX-License-Identifier: ISC */
/* Listeners that move to another configuration: which sockets there are, whom they serve, and what
 * continues. */
#include "support/listener_world.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/shortage.h"
#include "support/sockets.h"

/* Clients that wait in a backlog meanwhile are served by the new configuration; existing sessions
 * keep theirs, until the last one has ended. */
static void test_kept(void **state)
{
    struct fixture *f = *state;
    add(f, "a", "idle_timeout=10\n", A, C);
    apply(f);
    int old = connect_to(f, A);
    await_clients(f, 1);
    const struct listener *listener = find(f, "a");
    int fd = bound_socket_fd(f->generation->sockets[0]);
    int clients[] = {connect_to(f, A), connect_to(f, C)};
    add(f, "a", "idle_timeout=20\n", C, A);
    apply(f);
    assert_ptr_equal(find(f, "a"), listener);
    assert_int_equal(bound_socket_fd(f->generation->sockets[1]), fd);
    await_clients(f, 3);
    assert_int_equal(contexts(listener), 2);
    const struct listener_context *before = listener_next_context(listener, NULL);
    const struct listener_context *now = listener_next_context(listener, before);
    assert_int_equal(before->config->idle_timeout, 10 * USEC_PER_SEC);
    assert_int_equal(now->config->idle_timeout, 20 * USEC_PER_SEC);
    const struct session *session = listener_context_next(before, NULL);
    assert_non_null(session);
    assert_null(listener_context_next(before, session));
    assert_true(before->retiring);
    assert_false(now->retiring);
    assert_int_equal(accepted(f, "a"), 3);
    assert_int_equal(f->all_left, 0);
    leave(f, old);
    world_iterate(f->world);
    assert_int_equal(contexts(listener), 1);
    leave(f, clients[0]);
    leave(f, clients[1]);
    add(f, "a", "", A, C); /* no session whose end would be noticed */
    apply(f);
    world_iterate(f->world);
    assert_int_equal(contexts(listener), 1);
}

/* Sessions need not know of a change to another listener. */
static void test_unchanged(void **state)
{
    struct fixture *f = *state;
    add(f, "a", "", A);
    apply(f);
    int client = connect_to(f, A);
    await_clients(f, 1);
    add(f, "b", "", B);
    add(f, "a", "", A, C);
    apply(f);
    assert_false(listener_next_context(find(f, "a"), NULL)->retiring);
    assert_int_equal(contexts(find(f, "a")), 2);
    leave(f, client);
}

static void test_moved(void **state)
{
    struct fixture *f = *state;
    add(f, "a", "", A, C);
    add(f, "b", "", B);
    apply(f);
    int clients[] = {connect_to(f, A), connect_to(f, C)};
    add(f, "b", "", B, A);
    add(f, "a", "", C);
    apply(f);
    await_clients(f, 2);
    assert_int_equal(accepted(f, "a"), 1);
    assert_int_equal(accepted(f, "b"), 1);
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        leave(f, clients[i]);
    assert_serves(f, A, "b");
    assert_serves(f, B, "b");
    assert_serves(f, C, "a");
}

/* A client that waits at an address being removed is served as it would have been before. */
static void test_removed(void **state)
{
    struct fixture *f = *state;
    add(f, "a", "", A, C);
    add(f, "b", "", B, D);
    apply(f);
    const struct listener_context *gone = listener_get_context(find(f, "b"));
    int clients[] = {connect_to(f, B), connect_to(f, D), connect_to(f, C)};
    add(f, "a", "", A);
    apply(f);
    assert_false(listeners_have_left(&f->listeners));
    await_clients(f, 3);
    while (!listeners_have_left(&f->listeners))
        loop_iterate(f->world->loop, 0);
    assert_int_equal(f->all_left, 1);
    assert_int_equal(counter_get(&gone->counters->stats.accepted), 2);
    assert_int_equal(accepted(f, "a"), 1);
    for (int place = B; place < PLACES; place++)
        assert_int_equal(connect_to(f, place), -1);
    assert_false(TAILQ_EMPTY(&f->listeners.gone));
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        leave(f, clients[i]);
    world_iterate(f->world);
    assert_true(TAILQ_EMPTY(&f->listeners.gone));
    assert_int_equal(contexts(find(f, "a")), 1);
    assert_serves(f, A, "a");
}

static void test_renamed(void **state)
{
    struct fixture *f = *state;
    add(f, "a", "", A, C);
    apply(f);
    int old = connect_to(f, A);
    await_clients(f, 1);
    int client = connect_to(f, C);
    add(f, "b", "", A, C);
    apply(f);
    assert_true(listeners_have_left(&f->listeners));
    await_clients(f, 2);
    assert_int_equal(accepted(f, "b"), 1);
    leave(f, old);
    world_iterate(f->world);
    assert_true(TAILQ_EMPTY(&f->listeners.gone));
    leave(f, client);
}

/* Its sessions end inside the sweep's own iteration, too. */
static void test_back_again(void **state)
{
    struct fixture *f = *state;
    add(f, "a", "", A);
    add(f, "b", "", B);
    apply(f);
    int old = connect_to(f, A);
    await_clients(f, 1);
    add(f, "b", "", B);
    apply(f);
    world_iterate(f->world);
    assert_int_equal(connect_to(f, A), -1);
    add(f, "a", "", A);
    add(f, "b", "", B);
    apply(f);
    assert_true(TAILQ_EMPTY(&f->listeners.gone));
    assert_int_equal(accepted(f, "a"), 1);
    assert_int_equal(gauge_get(&stats_of(f, "a")->sessions), 1);
    assert_true(listener_next_context(find(f, "a"), NULL)->retiring);
    assert_false(listener_get_context(find(f, "a"))->retiring);
    assert_serves(f, A, "a");
    leave(f, old);
    world_iterate(f->world);
    assert_int_equal(contexts(find(f, "a")), 1);
    assert_int_equal(accepted(f, "a"), 2);
}

/* One exchange of a client that stays; what it receives. */
static const char *exchange(struct fixture *f, int client, const char *host)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    static const char response[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    static char text[512];
    struct peer *upstream = &f->world->upstream;
    ssize_t n = -1;
    assert_int_equal(send(client, request, strlen(request), 0), (ssize_t)strlen(request));
    while (n < 0) {
        loop_iterate(f->world->loop, USEC_PER_MSEC);
        peer_accept(upstream);
        struct peer_conn *conn = TAILQ_LAST(&upstream->conns, peer_conns);
        n = conn == NULL ? -1 : recv(conn->fd, text, sizeof(text) - 1, MSG_DONTWAIT);
        if (n > 0)
            assert_int_equal(send(conn->fd, response, strlen(response), 0),
                             (ssize_t)strlen(response));
    }
    text[n] = '\0';
    assert_non_null(strstr(text, host));
    while ((n = recv(client, text, sizeof(text) - 1, MSG_DONTWAIT)) < 0)
        loop_iterate(f->world->loop, USEC_PER_MSEC);
    text[n] = '\0';
    return text;
}

/* A session keeps the configuration that it began with, to its end, which comes with the next
 * response if its listener is another one now. */
static void test_http(void **state)
{
    struct fixture *f = *state;
    static const int a[] = {A, -1}, b[] = {B, -1};
    add_of(f, "http", "a", a, "host=one\nidle_timeout=10\n");
    add_of(f, "http", "b", b, "host=two\n");
    apply(f);
    int clients[] = {connect_to(f, A), connect_to(f, B)};
    assert_null(strstr(exchange(f, clients[0], "Host: one\r\n"), "close"));
    assert_null(strstr(exchange(f, clients[1], "Host: two\r\n"), "close"));
    add_of(f, "http", "a", a, "host=three\nidle_timeout=20\n");
    add_of(f, "http", "b", b, "host=two\n");
    apply(f);
    world_iterate(f->world);
    assert_int_equal(f->listeners.clients, 2); /* no session is reset */
    const struct listener_context *before = listener_next_context(find(f, "a"), NULL);
    assert_int_equal(before->config->idle_timeout, 10 * USEC_PER_SEC);
    assert_null(strstr(exchange(f, clients[1], "Host: two\r\n"), "close"));
    assert_non_null(strstr(exchange(f, clients[0], "Host: one\r\n"), "Connection: close\r\n"));
    close(clients[0]);
    await_clients(f, 1);
    clients[0] = connect_to(f, A);
    assert_null(strstr(exchange(f, clients[0], "Host: three\r\n"), "close"));
    leave(f, clients[0]);
    leave(f, clients[1]);
}

static void test_max_clients(void **state)
{
    struct fixture *f = *state;
    int clients[3];
    for (unsigned limit = 1; limit <= 2; limit++) {
        snprintf(f->text, sizeof(f->text), "[kaproxy]\nmax_clients=%u\n", limit);
        add(f, "a", "", A);
        apply(f);
        if (limit == 1) {
            for (size_t i = 0; i < ARRAY_LEN(clients); i++)
                clients[i] = connect_to(f, A);
        }
        await_clients(f, limit);
        world_iterate(f->world);
        assert_int_equal(f->listeners.clients, limit);
        assert_int_equal(gauge_get(&f->listeners.stats.max_clients), limit);
    }
    snprintf(f->text, sizeof(f->text), "[kaproxy]\nmax_clients=1\n");
    add(f, "a", "", A);
    apply(f);
    leave(f, clients[0]);
    world_iterate(f->world);
    assert_int_equal(f->listeners.clients, 1);
    close(clients[1]);
    while (accepted(f, "a") < 3)
        loop_iterate(f->world->loop, USEC_PER_MSEC);
    leave(f, clients[2]);
    assert_serves(f, A, "a");
}

/* Without memory nothing changes, and nothing is left of what was made. */
static void test_shortage(void **state)
{
    struct fixture *f = *state;
    struct listeners_change *change = NULL;
    add(f, "a", "", A);
    add(f, "b", "", B);
    apply(f);
    add(f, "c", "", A, C);
    add(f, "b", "idle_timeout=10\n", D);
    struct generation *generation = next_generation(f);
    int failed = 0, sockets = sockets_count();
    for (; change == NULL; failed++) {
        shortage_of_calloc(failed + 1);
        change = generation_prepare(&f->listeners, generation, f->world->pool);
        bool came = shortage_came();
        shortage_of_calloc(0);
        assert_true(came == (change == NULL));
        assert_int_equal(sockets_count(), sockets);
        assert_int_equal(contexts(find(f, "a")) + contexts(find(f, "b")), 2);
        assert_null(listener_next(&f->listeners, find(f, "b")));
    }
    assert_true(failed > 10);
    listeners_drop(&f->listeners, change);
    generation_free(generation);
    world_iterate(f->world);
    assert_int_equal(connect_to(f, D), -1);
    assert_serves(f, A, "a");
    assert_serves(f, B, "b");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LISTENER_TEST(test_kept),     LISTENER_TEST(test_unchanged),
        LISTENER_TEST(test_moved),    LISTENER_TEST(test_removed),
        LISTENER_TEST(test_renamed),  LISTENER_TEST(test_back_again),
        LISTENER_TEST(test_http),     LISTENER_TEST(test_max_clients),
        LISTENER_TEST(test_shortage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
