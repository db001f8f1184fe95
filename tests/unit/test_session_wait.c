/* SPDX-License-Identifier: ISC */
/* Sessions of a listener that is paused: they wait in order, within their time, and continue when
 * that is over. */
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
#include <unistd.h>

#include "daemon/protocols.h"
#include "session/protocol.h"
#include "support/session_world.h"
#include "support/shortage.h"
#include "support/sockets.h"
#include "tls/keyed_digest.h"

#define CLIENTS 4

struct fixture {
    struct world *world;
    struct pool *pool;
    struct keyed_digest *digest;
    struct listener_context context, other; /* `other` has the same upstream */
    unsigned ended;
    int clients[CLIENTS]; /* -1: none */
};

static struct fixture *the_fixture;

static void on_ended(struct listener_context *context)
{
    (void)context;
    the_fixture->ended++;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    session_world_setup((void **)&f->world);
    for (int i = 0; i < CLIENTS; i++)
        f->clients[i] = -1;
    f->digest = keyed_digest_new();
    *state = the_fixture = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    struct listener_context *contexts[] = {&f->context, &f->other};
    for (size_t i = 0; i < ARRAY_LEN(contexts); i++) {
        if (contexts[i]->pool_host != NULL)
            listener_context_abort(contexts[i]);
        listener_context_clear(contexts[i]);
    }
    pool_free(f->pool);
    keyed_digest_free(f->digest);
    for (int i = 0; i < CLIENTS; i++) {
        if (f->clients[i] >= 0)
            close(f->clients[i]);
    }
    session_world_teardown((void **)&f->world);
    free(f);
    return 0;
}

/* A kind that asks, and records its answer. */
struct probe {
    struct session session;
    unsigned order; /* its position among all answers; 0: none arrived */
    struct failure failure;
};

static unsigned answers;

static void probe_begin(struct session *session)
{
    session_open_access(session);
    session_request_connection(session, false);
}

static void probe_answered(struct session *session, const struct failure *failure)
{
    struct probe *probe = container_of(session, struct probe, session);
    assert_int_equal(probe->order, 0);
    probe->order = ++answers;
    if (failure != NULL)
        probe->failure = *failure;
}

static void probe_work(struct session *session)
{
    if (stream_peek(&session->client) == PEEK_EOF)
        session_finish(session, SESSION_CLIENT_LEFT);
}

static void probe_clear(struct session *session)
{
    (void)session;
}

static const struct protocol probe_kind = {.session_size = sizeof(struct probe),
                                           .first_state = SESSION_WAITING,
                                           .start = probe_begin,
                                           .on_connection = probe_answered,
                                           .run = probe_work,
                                           .destroy = probe_clear};

static void prepare(struct fixture *f, const char *scheme, const struct pool_limits *limits)
{
    struct world *world = f->world;
    answers = 0;
    world_configure(world, scheme, "127.0.0.1:1",
                    strcmp(scheme, "tcp") == 0 ? "reuse=quiet\ntimeout=10s\n" : "timeout=10s\n");
    f->pool = pool_new(world->loop, world->resolver, limits);
    struct listener_context context = {
        .config = world->listener,
        .protocol = strcmp(scheme, "tcp") == 0
                        ? &probe_kind
                        : protocols_find(endpoint_scheme(&world->listener->upstream)->protocol),
        .worker = {.loop = world->loop,
                   .scratch = world->scratch,
                   .compose = world->compose,
                   .pipes = &world->pipes,
                   .digest = f->digest},
        .pool = f->pool,
        .ended = on_ended};
    f->context = f->other = context;
    assert_int_equal(listener_context_init(&f->context), 0);
    assert_int_equal(listener_context_init(&f->other), 0);
}

static struct session *start(struct fixture *f, struct listener_context *context, int number)
{
    union address peer = {.in = {.sin_family = AF_INET}};
    int fd;
    sockets_connect(&f->clients[number], &fd);
    assert_int_equal(session_start(context, fd, &peer), 0);
    return TAILQ_LAST(&context->sessions, session_list);
}

static const struct probe *probe_of(struct session *session)
{
    return container_of_const(session, struct probe, session);
}

static struct pool_stats stats_of(const struct fixture *f)
{
    struct pool_stats stats;
    pool_get_stats(f->pool, &stats);
    return stats;
}

static void await_order(struct fixture *f, struct session *session, unsigned order)
{
    while (probe_of(session)->order == 0)
        loop_iterate(f->world->loop, USEC_PER_MSEC);
    assert_int_equal(probe_of(session)->order, order);
}

static void assert_failed(struct session *session, const char *function, int number,
                          const char *text)
{
    const struct probe *probe = probe_of(session);
    assert_int_not_equal(probe->order, 0);
    assert_string_equal(probe->failure.function, function);
    assert_int_equal(probe->failure.number, number);
    assert_string_equal(probe->failure.text, text);
}

/* Nothing is requested from the pool, and its other sessions continue; then all are served in
 * order. */
static void test_pause_and_resume(void **state)
{
    struct fixture *f = *state;
    prepare(f, "tcp", &(struct pool_limits){.max_per_host = 2});
    listener_context_pause(&f->context);
    struct session *first = start(f, &f->context, 0), *second = start(f, &f->context, 1);
    struct session *third = start(f, &f->context, 2);
    await_order(f, start(f, &f->other, 3), 1);
    world_iterate(f->world);
    assert_int_equal(f->context.paused_count, 3);
    assert_int_equal(gauge_get(&f->context.counters->stats.waiting), 3);
    assert_int_equal(stats_of(f).waiting, 0);
    assert_int_equal(stats_of(f).dials, 1);
    assert_int_equal(answers, 1);
    listener_context_resume(&f->context);
    await_order(f, first, 2);
    assert_int_equal(f->context.paused_count, 0);
    assert_int_equal(gauge_get(&f->context.counters->stats.waiting), 0);
    session_finish(TAILQ_FIRST(&f->other.sessions), SESSION_COMPLETE);
    await_order(f, second, 3);
    session_finish(first, SESSION_COMPLETE);
    await_order(f, third, 4);
    assert_false(f->context.queues);
}

/* Those that wait in the pool's queue are taken out of it, and return in order, behind others; one
 * that is granted a connection already has it. */
static void test_waiters_are_taken_out(void **state)
{
    struct fixture *f = *state;
    prepare(f, "tcp", &(struct pool_limits){.max_per_host = 1});
    struct session *served = start(f, &f->context, 0);
    await_order(f, served, 1);
    struct session *first = start(f, &f->context, 1);
    listener_context_pause(&f->context);
    assert_int_equal(stats_of(f).waiting, 0);
    struct session *second = start(f, &f->context, 2), *other = start(f, &f->other, 3);
    session_finish(served, SESSION_COMPLETE);
    await_order(f, other, 2);
    listener_context_resume(&f->context);
    world_iterate(f->world);
    assert_int_equal(stats_of(f).waiting, 2);
    listener_context_pause(&f->context); /* and once more */
    assert_int_equal(f->context.paused_count, 2);
    assert_ptr_equal(TAILQ_FIRST(&f->context.paused), first);
    listener_context_resume(&f->context);
    session_finish(other, SESSION_COMPLETE);
    await_order(f, first, 3);
    session_finish(first, SESSION_COMPLETE);
    await_order(f, second, 4);
}

/* Revoked before any was let go, which costs none its place in the end. */
static void test_resume_is_taken_back(void **state)
{
    struct fixture *f = *state;
    prepare(f, "tcp", &(struct pool_limits){.max_per_host = 1});
    listener_context_pause(&f->context);
    struct session *first = start(f, &f->context, 0);
    listener_context_resume(&f->context);
    start(f, &f->context, 1); /* behind the first one */
    listener_context_pause(&f->context);
    world_iterate(f->world);
    assert_int_equal(f->context.paused_count, 2);
    assert_int_equal(stats_of(f).dials, 0);
    listener_context_resume(&f->context);
    await_order(f, first, 1);
}

static void test_time_is_over(void **state)
{
    struct fixture *f = *state;
    prepare(f, "tcp", &(struct pool_limits){0});
    listener_context_pause(&f->context);
    struct session *first = start(f, &f->context, 0);
    loop_warp(f->world->loop, 4 * USEC_PER_SEC);
    world_iterate(f->world);
    struct session *second = start(f, &f->context, 1);
    loop_warp(f->world->loop, 6 * USEC_PER_SEC);
    world_iterate(f->world);
    assert_failed(first, "queue", ETIMEDOUT,
                  "no connection became free within 10 s (the listener is paused by the operator, "
                  "2 waiting)");
    assert_true(first->access.waited >= 10 * USEC_PER_SEC);
    assert_int_equal(probe_of(second)->order, 0);
    loop_warp(f->world->loop, 4 * USEC_PER_SEC);
    world_iterate(f->world);
    assert_int_equal(probe_of(second)->order, 2);
    assert_int_equal(f->context.paused_count, 0);
}

/* Time that had expired in the pause has expired for the pool as well. */
static void test_time_goes_on(void **state)
{
    struct fixture *f = *state;
    prepare(f, "tcp", &(struct pool_limits){0});
    pool_set_service(f->pool, NULL, SERVICE_PAUSED);
    listener_context_pause(&f->context);
    struct session *session = start(f, &f->context, 0);
    loop_warp(f->world->loop, 6 * USEC_PER_SEC);
    world_iterate(f->world);
    listener_context_resume(&f->context);
    world_iterate(f->world);
    assert_int_equal(stats_of(f).waiting, 1);
    loop_warp(f->world->loop, 4 * USEC_PER_SEC);
    world_iterate(f->world);
    assert_failed(session, "queue", ETIMEDOUT,
                  "no connection became free within 10 s (paused by the operator, 1 waiting)");
}

static void test_max_waiting(void **state)
{
    struct fixture *f = *state;
    prepare(f, "tcp", &(struct pool_limits){.max_waiting = 1});
    listener_context_pause(&f->context);
    start(f, &f->context, 0);
    struct session *second = start(f, &f->context, 1);
    world_iterate(f->world);
    assert_failed(second, "allocate", EAGAIN, "too many waiting (max_waiting = 1)");
    assert_int_equal(f->context.paused_count, 1);
}

static void test_client_leaves(void **state)
{
    struct fixture *f = *state;
    prepare(f, "tcp", &(struct pool_limits){0});
    listener_context_pause(&f->context);
    start(f, &f->context, 0);
    struct session *second = start(f, &f->context, 1);
    close(f->clients[0]);
    f->clients[0] = -1;
    world_iterate(f->world);
    assert_int_equal(f->ended, 1);
    assert_int_equal(f->context.paused_count, 1);
    loop_warp(f->world->loop, 5 * USEC_PER_SEC);
    listener_context_resume(&f->context);
    await_order(f, second, 1);
}

/* Those that wait are closed at the end as others are. What one of them sees. */
static void test_abort(void **state)
{
    struct fixture *f = *state;
    struct session_view view;
    prepare(f, "tcp", &(struct pool_limits){0});
    listener_context_pause(&f->context);
    struct session *session = start(f, &f->context, 0);
    loop_warp(f->world->loop, 2 * USEC_PER_SEC);
    world_iterate(f->world);
    session_view(session, &view);
    assert_string_equal(view.state, "waiting");
    assert_int_equal(view.conn, 0);
    assert_in_range(view.waiting, 2 * USEC_PER_SEC, 9 * USEC_PER_SEC);
    assert_int_equal(view.age, view.waiting);
    listener_context_abort(&f->context);
    assert_int_equal(f->ended, 1);
    assert_int_equal(f->context.paused_count, 0);
}

static void send_text(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* What a socket receives, which is this. */
static void expect(struct fixture *f, int fd, const char *text)
{
    char received[256] = "";
    size_t length = 0;
    while (length < strlen(text)) {
        loop_iterate(f->world->loop, USEC_PER_MSEC);
        ssize_t n = recv(fd, received + length, sizeof(received) - 1 - length, MSG_DONTWAIT);
        assert_true(n > 0 || (n < 0 && errno == EAGAIN));
        length += n > 0 ? (size_t)n : 0;
        received[length] = '\0';
    }
    assert_memory_equal(received, text, strlen(text));
}

static struct peer_conn *accept_upstream(struct fixture *f)
{
    struct peer *upstream = &f->world->upstream;
    while (TAILQ_EMPTY(&upstream->conns)) {
        loop_iterate(f->world->loop, USEC_PER_MSEC);
        peer_accept(upstream);
    }
    return TAILQ_LAST(&upstream->conns, peer_conns);
}

static void assert_silent(struct fixture *f, int fd)
{
    char byte;
    world_iterate(f->world);
    assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), -1);
    assert_int_equal(errno, EAGAIN);
}

/* A client that was served before, and keeps its connection: its next request waits. The upstream
 * receives the first request before the pause, and the second one after it. */
static void keeps_waiting(struct fixture *f, const char *scheme, const char *question,
                          const char *asked, const char *answer, const char *answered)
{
    prepare(f, scheme, &(struct pool_limits){0});
    start(f, &f->context, 0);
    send_text(f->clients[0], question);
    struct peer_conn *conn = accept_upstream(f);
    expect(f, conn->fd, asked);
    listener_context_pause(&f->context); /* exchanges in progress continue */
    send_text(conn->fd, answer);
    expect(f, f->clients[0], answered);
    send_text(f->clients[0], question);
    while (f->context.paused_count == 0)
        loop_iterate(f->world->loop, USEC_PER_MSEC);
    assert_silent(f, f->clients[0]);
    assert_int_equal(stats_of(f).idle, 1);
    listener_context_resume(&f->context);
    while (f->context.paused_count > 0)
        loop_iterate(f->world->loop, USEC_PER_MSEC);
    loop_iterate(f->world->loop, USEC_PER_MSEC);
    char rest[256];
    while (recv(conn->fd, rest, sizeof(rest), MSG_DONTWAIT) < 0)
        loop_iterate(f->world->loop, USEC_PER_MSEC);
    send_text(conn->fd, answer);
    expect(f, f->clients[0], answered);
}

static void test_http(void **state)
{
    keeps_waiting(*state, "http", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\n",
                  "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 204 No Content\r\n");
}

static void test_redis(void **state)
{
    keeps_waiting(*state, "redis", "*2\r\n$3\r\nGET\r\n$1\r\na\r\n", "*2\r\n$3\r\nGET\r\n",
                  "$1\r\nx\r\n", "$1\r\nx\r\n");
}

#define WAIT_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WAIT_TEST(test_pause_and_resume),
        WAIT_TEST(test_waiters_are_taken_out),
        WAIT_TEST(test_resume_is_taken_back),
        WAIT_TEST(test_time_is_over),
        WAIT_TEST(test_time_goes_on),
        WAIT_TEST(test_max_waiting),
        WAIT_TEST(test_client_leaves),
        WAIT_TEST(test_abort),
        WAIT_TEST(test_http),
        WAIT_TEST(test_redis),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
