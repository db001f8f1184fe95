/* SPDX-License-Identifier: ISC */
/* Sessions that are denied something: each ends once, its client sees that, and it leaves nothing
 * behind. */
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
#include <unistd.h>

#include "daemon/protocols.h"
#include "session/http/http_internal.h"
#include "session/session.h"
#include "support/session_world.h"
#include "support/shortage.h"
#include "support/sockets.h"

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

struct fixture {
    struct world *world;
    struct listener_context context;
    unsigned ended;
    int client; /* blocking */
};

static void on_ended(struct listener_context *context)
{
    container_of(context, struct fixture, context)->ended++;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    session_world_setup((void **)&f->world);
    f->client = -1;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    if (f->context.pool_host != NULL)
        listener_context_abort(&f->context);
    listener_context_clear(&f->context);
    if (f->client >= 0)
        close(f->client);
    session_world_teardown((void **)&f->world);
    free(f);
    return 0;
}

static void prepare(struct fixture *f, const char *scheme, const char *lines)
{
    struct world *world = f->world;
    world_configure(world, scheme, "127.0.0.1:1", lines);
    f->context = (struct listener_context){
        .config = world->listener,
        .protocol = protocols_find(endpoint_scheme(&world->listener->upstream)->protocol),
        .worker = {.loop = world->loop,
                   .scratch = world->scratch,
                   .compose = world->compose,
                   .pipes = &world->pipes},
        .pool = world->pool,
        .ended = on_ended};
    assert_int_equal(listener_context_init(&f->context), 0);
}

/* A client that has sent something already. Returns the accepted descriptor. */
static int connect_client(struct fixture *f, const char *text)
{
    int fd;
    if (f->client >= 0)
        close(f->client);
    sockets_connect(&f->client, &fd);
    assert_int_equal(send(f->client, text, strlen(text), 0), (ssize_t)strlen(text));
    return fd;
}

static int start(struct fixture *f, int fd)
{
    union address peer = {.in = {.sin_family = AF_INET}};
    return session_start(&f->context, fd, &peer);
}

static void start_client(struct fixture *f, const char *text)
{
    assert_int_equal(start(f, connect_client(f, text)), 0);
    assert_int_equal(f->ended, 0);
}

/* Waits for the upstream's end of the session's connection, and for the request on it. */
static struct peer_conn *await_request(struct fixture *f)
{
    struct peer *upstream = &f->world->upstream;
    char byte;
    while (TAILQ_EMPTY(&upstream->conns)) {
        loop_iterate(f->world->loop, USEC_PER_MSEC);
        peer_accept(upstream);
    }
    struct peer_conn *conn = TAILQ_FIRST(&upstream->conns);
    while (recv(conn->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) != 1)
        loop_iterate(f->world->loop, USEC_PER_MSEC);
    return conn;
}

static void answer(const struct peer_conn *conn, const char *text)
{
    assert_int_equal(send(conn->fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* The session has ended that way, by a reset, and holds nothing any more. */
static void assert_ended(struct fixture *f, enum session_end end)
{
    struct pool_stats stats;
    char text[8];
    assert_false(world_receive(f->world, f->client, text, sizeof(text)));
    assert_string_equal(text, "");
    assert_int_equal(f->ended, 1);
    assert_int_equal(counter_get(&f->context.counters->stats.ends[end]), 1);
    assert_true(TAILQ_EMPTY(&f->context.sessions));
    pool_get_stats(f->world->pool, &stats);
    assert_int_equal(stats.busy, 0);
    assert_int_equal(stats.waiting, 0);
}

static void test_no_memory(void **state)
{
    struct fixture *f = *state;
    char byte;
    prepare(f, "tcp", "reuse=quiet\n");
    int fd = connect_client(f, "x");
    shortage_of_calloc(1);
    errno = 0;
    assert_int_equal(start(f, fd), -1);
    assert_int_equal(errno, ENOMEM);
    assert_true(TAILQ_EMPTY(&f->context.sessions));
    assert_int_equal(counter_get(&f->context.counters->stats.accepted), 0);
    world_iterate(f->world);
    assert_int_equal(f->ended, 0);
    assert_int_equal(recv(fd, &byte, 1, 0), 1); /* it is still the caller's */
    close(fd);
}

/* A kind that asks, and records the grant. */
struct probe {
    struct session session;
    unsigned answers;
    struct failure failure;
};

static void probe_begin(struct session *session)
{
    session_open_access(session);
    session_request_connection(session, false);
}

static void probe_answered(struct session *session, const struct failure *failure)
{
    struct probe *probe = container_of(session, struct probe, session);
    assert_non_null(failure);
    assert_ptr_equal(failure, session->access.failure);
    probe->answers++;
    probe->failure = *failure;
}

static void probe_work(struct session *session)
{
    (void)session;
    fail(); /* only the failure is to be reported */
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

/* The failure is reported once, and later. */
static void assert_given(struct fixture *f, const char *function, int number)
{
    struct pool_stats stats;
    struct session *session = TAILQ_FIRST(&f->context.sessions);
    struct probe *probe = container_of(session, struct probe, session);
    assert_true(shortage_came());
    assert_int_equal(probe->answers, 0);
    world_iterate(f->world);
    assert_int_equal(probe->answers, 1);
    assert_string_equal(probe->failure.function, function);
    assert_int_equal(probe->failure.number, number);
    assert_string_equal(probe->failure.text, strerror(number));
    pool_get_stats(f->world->pool, &stats);
    assert_int_equal(stats.waiting, 0);
}

static void test_waiting_client_cannot_be_watched(void **state)
{
    struct fixture *f = *state;
    prepare(f, "tcp", "reuse=quiet\n");
    f->context.protocol = &probe_kind;
    shortage_of_epoll_ctl(1); /* a dial begins later */
    start_client(f, "x");
    assert_given(f, "epoll_ctl", ENOMEM);
}

static void test_pool_refuses(void **state)
{
    struct fixture *f = *state;
    prepare(f, "tcp", "reuse=quiet\n");
    f->context.protocol = &probe_kind;
    pool_shutdown(f->world->pool);
    start_client(f, "x");
    assert_given(f, "allocate", ESHUTDOWN);
}

static void test_opaque_client_cannot_be_watched(void **state)
{
    struct fixture *f = *state;
    prepare(f, "tcp", "reuse=quiet\n");
    shortage_of_epoll_ctl(2);
    start_client(f, "x");
    assert_ended(f, SESSION_ALLOC_FAILED);
}

/* If an idle connection is available the client is watched only once it has that. */
static void test_opaque_client_cannot_be_watched_later(void **state)
{
    struct fixture *f = *state;
    prepare(f, "tcp", "reuse=quiet\n");
    struct pool_stats stats = {0};
    start_client(f, "");
    while (stats.busy == 0) {
        loop_iterate(f->world->loop, USEC_PER_MSEC);
        pool_get_stats(f->world->pool, &stats);
    }
    shutdown(f->client, SHUT_WR);
    while (f->ended == 0)
        loop_iterate(f->world->loop, USEC_PER_MSEC);
    assert_int_equal(counter_get(&f->context.counters->stats.ends[SESSION_COMPLETE]), 1);
    f->ended = 0;
    shortage_of_epoll_ctl(1);
    start_client(f, "x");
    assert_ended(f, SESSION_ERROR);
}

/* The client gets its response, and what it sent after its request is discarded until it ends. */
static void test_http_pool_refuses(void **state)
{
    struct fixture *f = *state;
    char text[1024];
    prepare(f, "http", "");
    pool_shutdown(f->world->pool);
    start_client(f, GET GET);
    assert_true(world_receive(f->world, f->client, text, sizeof(text)));
    assert_non_null(strstr(text, "HTTP/1.1 503 "));
    assert_non_null(strstr(text, "\r\nRetry-After: "));
    assert_non_null(strstr(text, "\nallocate: "));
    assert_non_null(strstr(text, strerror(ESHUTDOWN)));
    assert_int_equal(counter_get(&f->context.counters->stats.ends[SESSION_ALLOC_FAILED]), 1);
    assert_int_equal(f->ended, 0);
    shutdown(f->client, SHUT_WR);
    world_iterate(f->world);
    assert_int_equal(f->ended, 1);
}

static void test_http_client_cannot_be_watched(void **state)
{
    struct fixture *f = *state;
    prepare(f, "http", "");
    shortage_of_epoll_ctl(1);
    start_client(f, "GET / HTTP/1.1\r\n");
    assert_ended(f, SESSION_ERROR);
}

/* Nothing depends on the client, so it is not watched in its first second. */
static void test_http_client_cannot_be_watched_later(void **state)
{
    struct fixture *f = *state;
    prepare(f, "http", "");
    start_client(f, GET);
    await_request(f);
    world_iterate(f->world);
    assert_false(stream_is_watched(&TAILQ_FIRST(&f->context.sessions)->client));
    shortage_of_epoll_ctl(1);
    loop_warp(f->world->loop, EXCHANGE_WATCH_AFTER);
    assert_ended(f, SESSION_ERROR);
    assert_true(shortage_came());
}

/* But it is once it does not take what a pipe holds for it. */
static void test_http_client_that_takes_nothing_is_watched(void **state)
{
    struct fixture *f = *state;
    static char block[64 * 1024];
    prepare(f, "http", "");
    start_client(f, GET);
    struct peer_conn *conn = await_request(f);
    answer(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
    struct session *session = TAILQ_FIRST(&f->context.sessions);
    struct client *client = container_of(session, struct client, session);
    while (session->client.writable || !relay_keeps(&client->exchange->bulk_down)) {
        (void)!send(conn->fd, block, sizeof(block), MSG_NOSIGNAL | MSG_DONTWAIT);
        loop_iterate(f->world->loop, 0);
    }
    assert_int_equal(buffer_length(&client->down), 0);
    assert_true(stream_is_watched(&session->client));
}

static void test_http_no_memory_for_a_tunnel(void **state)
{
    struct fixture *f = *state;
    prepare(f, "http", "");
    start_client(f,
                 "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    answer(await_request(f), "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    shortage_of_calloc(1);
    assert_ended(f, SESSION_ERROR);
    assert_true(shortage_came());
}

/* Its next request has arrived, but no event has reported it yet: closing would reset the
 * connection. */
static void test_http_stop_meets_an_unread_request(void **state)
{
    struct fixture *f = *state;
    char text[256];
    prepare(f, "http", "");
    start_client(f, GET);
    answer(await_request(f), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    while (counter_get(&f->context.counters->stats.ends[SESSION_COMPLETE]) == 0)
        loop_iterate(f->world->loop, USEC_PER_MSEC);
    while (recv(f->client, text, sizeof(text), MSG_DONTWAIT) > 0)
        continue;
    assert_int_equal(send(f->client, GET, strlen(GET), 0), (ssize_t)strlen(GET));
    listener_context_drain(&f->context);
    assert_true(world_receive(f->world, f->client, text, sizeof(text)));
    assert_string_equal(text, "");
}

/* A request that is this long once it is composed for the upstream. */
static const char *long_request(const struct listener_context *context, size_t length)
{
    const struct http_listener *listener = context->of_protocol;
    static char request[2048], filler[1024];
    size_t rest = strlen("GET / HTTP/1.1\r\nHost: \r\nX: \r\n\r\n") + strlen(listener->host);
    memset(filler, 'y', sizeof(filler));
    snprintf(request, sizeof(request), "GET / HTTP/1.1\r\nHost: a\r\nX:%.*s\r\n\r\n",
             (int)(length - rest), filler);
    return request;
}

/* A message that is composed again may be longer than the one received. */
static void test_http_header_does_not_fit(void **state)
{
    struct fixture *f = *state;
    char text[1024];
    prepare(f, "http", "");
    f->context.worker.compose.size = 1000;
    start_client(f, long_request(&f->context, 1000));
    await_request(f);
    listener_context_abort(&f->context);
    f->ended = 0;
    start_client(f, long_request(&f->context, 1001));
    assert_true(world_receive(f->world, f->client, text, sizeof(text)));
    assert_non_null(strstr(text, "HTTP/1.1 431 Request Header Fields Too Large\r\n"));
    assert_non_null(strstr(text, "too large to pass on"));
    assert_int_equal(counter_get(&f->context.counters->stats.ends[SESSION_BAD_REQUEST]), 1);
    const struct http_counters *counters =
        (const struct http_counters *)f->context.counters->of_protocol;
    assert_int_equal(counter_get(&counters->responses[4]), 1);
}

#define SESSION_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SESSION_TEST(test_no_memory),
        SESSION_TEST(test_waiting_client_cannot_be_watched),
        SESSION_TEST(test_pool_refuses),
        SESSION_TEST(test_opaque_client_cannot_be_watched),
        SESSION_TEST(test_opaque_client_cannot_be_watched_later),
        SESSION_TEST(test_http_pool_refuses),
        SESSION_TEST(test_http_client_cannot_be_watched),
        SESSION_TEST(test_http_client_cannot_be_watched_later),
        SESSION_TEST(test_http_client_that_takes_nothing_is_watched),
        SESSION_TEST(test_http_no_memory_for_a_tunnel),
        SESSION_TEST(test_http_stop_meets_an_unread_request),
        SESSION_TEST(test_http_header_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
