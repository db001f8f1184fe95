/* SPDX-License-Identifier: ISC */
/* What the access log says about times and connections, with a clock that the test moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/protocols.h"
#include "session/http/http_internal.h"
#include "support/session_world.h"
#include "support/sockets.h"

#define HOUR (3600 * USEC_PER_SEC)

/* No clock step comes near a time limit. */
#define LINES "idle_timeout=24h\ntimeout=24h\n"

struct fixture {
    struct world *world;
    struct listener_context context;
    char path[64]; /* the access log */
    char line[LOG_LINE_MAX + 1];
    int client; /* blocking */
};

static unsigned process_questions;
int __real_getsockopt(int fd, int level, int name, void *value, socklen_t *length);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *length);

int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *length)
{
    process_questions += level == SOL_SOCKET && name == SO_PEERCRED;
    return __real_getsockopt(fd, level, name, value, length);
}

static void on_ended(struct listener_context *context)
{
    (void)context;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    session_world_setup((void **)&f->world);
    snprintf(f->path, sizeof(f->path), "%s/access.log", f->world->folder);
    assert_int_equal(log_access_open(f->path, LOG_FORMAT_LOGFMT), 0);
    f->client = -1;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    listener_context_abort(&f->context);
    listener_context_clear(&f->context);
    if (f->client >= 0)
        close(f->client);
    assert_int_equal(log_access_open("off", LOG_FORMAT_LOGFMT), 0);
    assert_int_equal(unlink(f->path), 0);
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

static void start_client(struct fixture *f, const char *scheme, const char *lines)
{
    union address peer = {.in = {.sin_family = AF_INET}};
    int fd;
    prepare(f, scheme, lines);
    sockets_connect(&f->client, &fd);
    assert_int_equal(session_start(&f->context, fd, &peer), 0);
}

static void start_unix_client(struct fixture *f)
{
    union address peer = {.sa = {.sa_family = AF_UNIX}};
    int fds[2];
    prepare(f, "http", LINES);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    f->client = fds[0];
    process_questions = 0;
    assert_int_equal(session_start(&f->context, fds[1], &peer), 0);
}

static void client_sends(const struct fixture *f, const char *data, size_t length)
{
    assert_int_equal(send(f->client, data, length, 0), (ssize_t)length);
}

/* Moves the clock, and lets nothing happen meanwhile. */
static void warp(struct fixture *f, usec_t by)
{
    loop_warp(f->world->loop, by);
    loop_iterate(f->world->loop, 0);
}

static struct session *only_session(const struct fixture *f)
{
    return TAILQ_FIRST(&f->context.sessions);
}

static void await_state(struct fixture *f, enum session_state state)
{
    while (only_session(f)->state != state)
        loop_iterate(f->world->loop, USEC_PER_MSEC);
}

static struct peer_conn *accept_upstream(struct fixture *f)
{
    struct peer *upstream = &f->world->upstream;
    while (TAILQ_EMPTY(&upstream->conns)) {
        loop_iterate(f->world->loop, USEC_PER_MSEC);
        peer_accept(upstream);
    }
    return TAILQ_FIRST(&upstream->conns);
}

/* The upstream reads this many bytes. */
static void upstream_reads(struct fixture *f, const struct peer_conn *conn, size_t length)
{
    static char buffer[64 * 1024];
    while (length > 0) {
        loop_iterate(f->world->loop, USEC_PER_MSEC);
        size_t size = length < sizeof(buffer) ? length : sizeof(buffer);
        ssize_t n = recv(conn->fd, buffer, size, MSG_DONTWAIT);
        length -= n > 0 ? (size_t)n : 0;
    }
}

static void upstream_sends(const struct peer_conn *conn, const char *text)
{
    assert_int_equal(send(conn->fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* The access log's first line, once it is written. */
static const char *await_line(struct fixture *f)
{
    for (;;) {
        FILE *file = fopen(f->path, "r");
        assert_non_null(file);
        char *got = fgets(f->line, sizeof(f->line), file);
        fclose(file);
        if (got != NULL)
            return f->line;
        loop_iterate(f->world->loop, USEC_PER_MSEC);
    }
}

static void assert_has(const char *line, const char *field)
{
    if (strstr(line, field) == NULL)
        fail_msg("\"%s\" is not in: %s", field, line);
}

/* The field is a time, and at least this long, but not by an hour. */
static void assert_time(const char *line, const char *key, usec_t at_least)
{
    char field[32];
    snprintf(field, sizeof(field), " %s=", key);
    assert_has(line, field);
    double ms = strtod(strstr(line, field) + strlen(field), NULL);
    double least = (double)at_least / (double)USEC_PER_MSEC;
    if (ms < least || ms >= least + (double)HOUR / (double)USEC_PER_MSEC)
        fail_msg("%s is %.1f and not %.1f: %s", key, ms, least, line);
}

/* However a session ends that waits for its connection. */
static void test_wait_that_ends_without_a_connection(void **state)
{
    struct fixture *f = *state;
    start_client(f, "tcp", "reuse=quiet\n" LINES);
    loop_warp(f->world->loop, 2 * HOUR); /* the dial has not begun */
    listener_context_abort(&f->context);
    const char *line = await_line(f);
    assert_has(line, " from_cache=- ");
    assert_has(line, " conn=- uses=- addr=- ");
    assert_has(line, " end=shutdown\n");
    assert_time(line, "wait_ms", 2 * HOUR);
    assert_time(line, "duration_ms", 2 * HOUR);
}

/* An end after the wait adds nothing to it. */
static void test_wait_is_over_with_the_answer(void **state)
{
    struct fixture *f = *state;
    start_client(f, "tcp", "reuse=quiet\n" LINES);
    await_state(f, SESSION_RELAYING);
    warp(f, 2 * HOUR);
    listener_context_abort(&f->context);
    const char *line = await_line(f);
    char addr[32];
    snprintf(addr, sizeof(addr), " addr=127.0.0.1:%u ",
             (unsigned)ntohs(f->world->upstream.address.sin_port));
    assert_has(line, " from_cache=none ");
    assert_has(line, " conn=1 uses=1 ");
    assert_has(line, addr);
    assert_time(line, "wait_ms", 0);
    assert_time(line, "connect_ms", 0);
    assert_null(strstr(line, "tls_ms="));
    assert_time(line, "duration_ms", 2 * HOUR);
}

#define AHEAD 100000
#define REST  1000
#define HEAD  "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 101000\r\nConnection: close\r\n\r\n"

/* Counted from the last byte of the request to the first one of the response, even if of its
 * header. */
static void test_first_byte(void **state)
{
    struct fixture *f = *state;
    static char body[AHEAD + REST];
    start_client(f, "http", LINES);
    client_sends(f, HEAD, strlen(HEAD));
    client_sends(f, body, AHEAD);
    struct peer_conn *conn = accept_upstream(f);
    upstream_reads(f, conn, AHEAD);
    warp(f, 3 * HOUR);
    client_sends(f, body, REST);
    struct exchange *exchange = container_of(only_session(f), struct client, session)->exchange;
    while (!http_request_is_sent(container_of(exchange, struct http_exchange, base)))
        loop_iterate(f->world->loop, USEC_PER_MSEC);
    warp(f, 2 * HOUR);
    upstream_sends(conn, "HTTP/1.1 200 OK\r\n");
    while (exchange->first_byte_at == 0)
        loop_iterate(f->world->loop, USEC_PER_MSEC);
    warp(f, 5 * HOUR);
    upstream_sends(conn, "Content-Length: 0\r\n\r\n");
    const char *line = await_line(f);
    assert_has(line, " end=complete\n");
    assert_time(line, "first_byte_ms", 2 * HOUR);
    assert_time(line, "duration_ms", 10 * HOUR);
}

/* An interim response does not end the wait. */
static void test_first_byte_after_interim(void **state)
{
    struct fixture *f = *state;
    static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    start_client(f, "http", LINES);
    client_sends(f, request, strlen(request));
    struct peer_conn *conn = accept_upstream(f);
    upstream_reads(f, conn, 1);
    upstream_sends(conn, "HTTP/1.1 103 Early Hints\r\n\r\n");
    struct exchange *exchange = container_of(only_session(f), struct client, session)->exchange;
    while (exchange->down_stage != DOWN_INTERIM)
        loop_iterate(f->world->loop, USEC_PER_MSEC);
    warp(f, 2 * HOUR);
    upstream_sends(conn, "HTTP/1.1 204 No Content\r\n\r\n");
    assert_time(await_line(f), "first_byte_ms", 2 * HOUR);
}

#define REQUEST  "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define RESPONSE "HTTP/1.1 204 No Content\r\n\r\n"

static void exchange_once(struct fixture *f)
{
    char byte;
    client_sends(f, REQUEST, strlen(REQUEST));
    struct peer_conn *conn = accept_upstream(f);
    upstream_reads(f, conn, 1);
    while (recv(conn->fd, &byte, 1, MSG_DONTWAIT) == 1)
        ;
    upstream_sends(conn, RESPONSE);
    for (size_t left = strlen(RESPONSE); left > 0;) {
        loop_iterate(f->world->loop, USEC_PER_MSEC);
        left -= recv(f->client, &byte, 1, MSG_DONTWAIT) == 1;
    }
}

/* After a retry the second connection is used; the first one gave no response. */
static void test_first_byte_of_a_second_connection(void **state)
{
    struct fixture *f = *state;
    struct peer *upstream = &f->world->upstream;
    start_client(f, "http", LINES);
    exchange_once(f);
    struct peer_conn *first = accept_upstream(f);
    assert_int_equal(truncate(f->path, 0), 0);
    client_sends(f, REQUEST, strlen(REQUEST));
    upstream_reads(f, first, strlen(REQUEST));
    upstream_sends(first, "no HTTP\r\n");
    while (TAILQ_NEXT(first, link) == NULL) {
        loop_iterate(f->world->loop, USEC_PER_MSEC);
        peer_accept(upstream);
    }
    struct peer_conn *second = TAILQ_NEXT(first, link);
    upstream_reads(f, second, strlen(REQUEST));
    warp(f, 2 * HOUR);
    upstream_sends(second, RESPONSE);
    const char *line = await_line(f);
    assert_has(line, " conn=2 uses=1 ");
    assert_has(line, " retried=1 ");
    assert_time(line, "first_byte_ms", 2 * HOUR);
}

/* However many lines it has. */
static void test_unix_client_is_asked_for_once(void **state)
{
    struct fixture *f = *state;
    char client[64];
    start_unix_client(f);
    for (int i = 0; i < 3; i++)
        exchange_once(f);
    assert_int_equal(process_questions, 1);
    snprintf(client, sizeof(client), " client=unix:uid:%u,pid:%d ", getuid(), getpid());
    assert_has(await_line(f), client);
}

static void test_unix_client_without_lines_is_not_asked_for(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(log_access_open("off", LOG_FORMAT_LOGFMT), 0);
    start_unix_client(f);
    exchange_once(f);
    listener_context_abort(&f->context);
    assert_int_equal(process_questions, 0);
}

#define ACCESS_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ACCESS_TEST(test_wait_that_ends_without_a_connection),
        ACCESS_TEST(test_wait_is_over_with_the_answer),
        ACCESS_TEST(test_first_byte),
        ACCESS_TEST(test_first_byte_after_interim),
        ACCESS_TEST(test_first_byte_of_a_second_connection),
        ACCESS_TEST(test_unix_client_is_asked_for_once),
        ACCESS_TEST(test_unix_client_without_lines_is_not_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
