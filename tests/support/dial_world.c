/* SPDX-License-Identifier: ISC */
/* Upstreams, a resolver answered by the test, and callers, for tests of the dialer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/dial_world.h"
#include "support/sockets.h"

static int manual_start(struct resolver_backend *base, struct query *query, const char *name)
{
    struct manual *manual = container_of(base, struct manual, base);
    assert_string_equal(name, "name.test");
    if (manual->refuse_with != 0) {
        errno = manual->refuse_with;
        return -1;
    }
    manual->started++;
    manual->query = query;
    return 0;
}

static void manual_stop(struct resolver_backend *base)
{
    (void)base;
}

int dial_world_setup(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    world->loop = loop_new();
    world->manual.base.start = manual_start;
    world->manual.base.stop = manual_stop;
    world->resolver = resolver_new(world->loop, &world->manual.base);
    world->descriptors = sockets_count();
    *state = world;
    return world->loop != NULL && world->resolver != NULL ? 0 : -1;
}

int dial_world_teardown(void **state)
{
    struct world *world = *state;
    for (size_t i = 0; i < world->socket_count; i++)
        close(world->sockets[i]);
    assert_int_equal(sockets_count(), world->descriptors);
    resolver_free(world->resolver);
    loop_free(world->loop);
    free(world);
    return 0;
}

int world_keep(struct world *world, int fd)
{
    assert_true(fd >= 0 && world->socket_count < ARRAY_LEN(world->sockets));
    world->sockets[world->socket_count++] = fd;
    return fd;
}

union address world_address(const char *text)
{
    union address address;
    assert_true(address_parse(&address, text));
    return address;
}

static in_port_t *port_of(union address *address)
{
    return address->sa.sa_family == AF_INET6 ? &address->in6.sin6_port : &address->in.sin_port;
}

int world_bind(struct world *world, const char *text, uint16_t *port)
{
    union address address = world_address(text);
    socklen_t length = address_length(&address);
    int fd = socket(address.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    world_keep(world, fd);
    const int on = 1;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
    *port_of(&address) = htons(*port);
    assert_int_equal(bind(fd, &address.sa, length), 0);
    assert_int_equal(getsockname(fd, &address.sa, &length), 0);
    *port = ntohs(*port_of(&address));
    return fd;
}

int world_open_upstream(struct world *world, const char *text, uint16_t *port)
{
    int fd = world_bind(world, text, port);
    assert_int_equal(listen(fd, 16), 0);
    return fd;
}

void world_open_blackhole(struct world *world, const char *text, uint16_t *port)
{
    int fd = world_bind(world, text, port);
    assert_int_equal(listen(fd, 0), 0);
    union address address = world_address(text);
    *port_of(&address) = htons(*port);
    int filler = world_keep(world, socket(address.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    assert_int_equal(connect(filler, &address.sa, address_length(&address)), 0);
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&ready, 1, -1), 1);
}

bool world_have_in6(void)
{
    union address address = world_address("::1");
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool have = fd >= 0 && bind(fd, &address.sa, address_length(&address)) == 0;
    if (fd >= 0)
        close(fd);
    return have;
}

uint16_t world_free_port(struct world *world)
{
    uint16_t port = 0;
    world_bind(world, world_have_in6() ? "::" : "0.0.0.0", &port);
    return port;
}

static void on_done(struct dial_handler *handler, const struct failure *failure)
{
    struct caller *caller = container_of(handler, struct caller, handler);
    assert_non_null(caller->dial); /* else it ended within dialer_start, or was cancelled */
    caller->dial = NULL;
    caller->ended++;
    caller->failed = failure != NULL;
    if (failure != NULL) {
        caller->failure = *failure;
        assert_int_equal(caller->stream.fd, -1);
    } else {
        assert_true(stream_is_watched(&caller->stream));
        assert_null(caller->stream.handler);
    }
    if (caller->cancel != NULL) {
        dialer_cancel(caller->cancel->dial);
        caller->cancel->dial = NULL;
    }
}

void caller_post(struct world *world, struct caller *caller, const char *addr, uint16_t port)
{
    caller->handler.done = on_done;
    caller->endpoint.port = port;
    snprintf(caller->endpoint.addr, sizeof(caller->endpoint.addr), "%s", addr);
    caller->dial = dialer_start(world->loop, world->resolver, &caller->endpoint, &caller->options,
                                &caller->stream, &caller->handler);
    assert_non_null(caller->dial);
    assert_int_equal(caller->ended, 0);
    /* Endpoint and options were copied. */
    memset(&caller->endpoint, 0, sizeof(caller->endpoint));
    memset(&caller->options, 0, sizeof(caller->options));
}

void caller_start(struct world *world, struct caller *caller, const char *addr, uint16_t port)
{
    caller_post(world, caller, addr, port);
    loop_iterate(world->loop, 0);
}

void caller_cancel(struct caller *caller)
{
    dialer_cancel(caller->dial);
    caller->dial = NULL;
    assert_int_equal(caller->stream.fd, -1);
}

void caller_wait(struct world *world, const struct caller *caller)
{
    while (caller->ended == 0)
        loop_iterate(world->loop, -1);
    assert_int_equal(caller->ended, 1);
}

void world_idle(struct world *world)
{
    for (int i = 0; i < 3; i++)
        loop_iterate(world->loop, 0);
}

void caller_assert_failure(const struct caller *caller, const char *function, int number)
{
    assert_int_equal(caller->ended, 1);
    assert_true(caller->failed);
    assert_string_equal(caller->failure.function, function);
    assert_int_equal(caller->failure.number, number);
    if (number == ETIMEDOUT)
        assert_non_null(strstr(caller->failure.text, " within connect_timeout = "));
    else if (strcmp(function, "bind") == 0)
        assert_non_null(strstr(caller->failure.text, "bind_address"));
    else if (number != 0 && strcmp(function, "resolve") != 0)
        assert_string_equal(caller->failure.text, error_text(number));
}

void caller_assert_connected(struct world *world, struct caller *caller, const char *text)
{
    assert_int_equal(caller->ended, 1);
    assert_false(caller->failed);
    char got[INET6_ADDRSTRLEN] = "";
    union address peer;
    socklen_t length = sizeof(peer);
    assert_int_equal(getpeername(caller->stream.fd, &peer.sa, &length), 0);
    const void *bytes = peer.sa.sa_family == AF_INET6 ? (const void *)&peer.in6.sin6_addr
                                                      : (const void *)&peer.in.sin_addr;
    assert_non_null(inet_ntop(peer.sa.sa_family, bytes, got, sizeof(got)));
    assert_string_equal(got, text);
    /* The winner's descriptor is the only one left. */
    assert_int_equal(sockets_count(), world->descriptors + (int)world->socket_count + 1);
    stream_close(&caller->stream);
}

static size_t parse_list(union address *addresses, size_t size, const char *list)
{
    int count = address_parse_list(addresses, size, list, 0);
    assert_true(count >= 0);
    return (size_t)count;
}

void world_answer(struct world *world, const char *list)
{
    union address addresses[32];
    size_t count = parse_list(addresses, ARRAY_LEN(addresses), list);
    resolver_query_answer(world->manual.query, addresses, count, NULL);
}

void world_answer_family(struct world *world, sa_family_t family, const char *list)
{
    union address addresses[32];
    size_t count = parse_list(addresses, ARRAY_LEN(addresses), list);
    resolver_query_answer_family(world->manual.query, family, addresses, count, 60 * USEC_PER_SEC);
}

void caller_start_named(struct world *world, struct caller *caller, uint16_t port,
                        const char *addresses)
{
    caller_start(world, caller, "name.test", port);
    world_answer(world, addresses);
    assert_int_equal(caller->ended, 0);
}

int world_open_attempts(const struct world *world)
{
    return sockets_count() - world->descriptors - (int)world->socket_count;
}

struct reader {
    struct stream_handler handler;
    unsigned woken;
};

static void on_ready(struct stream_handler *handler, struct stream *stream)
{
    (void)stream;
    container_of(handler, struct reader, handler)->woken++;
}

void world_assert_wakes(struct world *world, struct stream *stream, int upstream)
{
    struct reader reader = {.handler.ready = on_ready};
    stream_set_handler(stream, &reader.handler);
    int fd = accept(upstream, NULL, NULL);
    assert_true(fd >= 0);
    assert_int_equal(send(fd, "x", 1, 0), 1);
    while (reader.woken == 0 || !stream->readable)
        loop_iterate(world->loop, -1);
    char byte;
    assert_int_equal(stream_read(stream, &byte, 1), 1);
    close(fd);
}

void world_warp_stagger(struct world *world)
{
    loop_warp(world->loop, DIAL_STAGGER);
    loop_iterate(world->loop, 0);
}
