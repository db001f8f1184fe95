/* SPDX-License-Identifier: ISC */
/* A listener's configuration, a pool and an upstream for tests of sessions. */
#include "support/session_world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "support/ini_text.h"
#include "support/names.h"
#include "support/shortage.h"
#include "support/sockets.h"

/* Ends a test that waits forever. */
#define WAIT_MAX 60

int session_world_setup(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    static const struct pool_limits limits = {.max_tunnels = 1};
    assert_non_null(world);
    alarm(WAIT_MAX);
    assert_int_equal(log_open("/dev/null", LOG_LEVEL_ERROR), 0);
    snprintf(world->folder, sizeof(world->folder), "/tmp/kaproxy-test.XXXXXX");
    assert_non_null(mkdtemp(world->folder));
    world->descriptors = sockets_count();
    world->loop = loop_new();
    assert_non_null(world->loop);
    world->resolver = resolver_new(world->loop, names_backend(names_new(world->loop)));
    assert_non_null(world->resolver);
    world->pool = pool_new(world->loop, world->resolver, &limits);
    assert_non_null(world->pool);
    assert_int_equal(peer_open(&world->upstream, "127.0.0.1", PEER_ACCEPT), 0);
    pipes_init(&world->pipes, PIPES_MAX);
    world->scratch = (struct scratch){world->scratch_memory, sizeof(world->scratch_memory)};
    world->compose = (struct scratch){world->compose_memory, sizeof(world->compose_memory)};
    *state = world;
    return 0;
}

int session_world_teardown(void **state)
{
    struct world *world = *state;
    shortage_of_epoll_ctl(0);
    shortage_of_calloc(0);
    pool_free(world->pool);
    resolver_free(world->resolver);
    loop_free(world->loop);
    peer_close(&world->upstream);
    pipes_clear(&world->pipes);
    config_unref(world->config);
    assert_int_equal(rmdir(world->folder), 0);
    assert_int_equal(sockets_count(), world->descriptors);
    free(world);
    return 0;
}

void world_configure(struct world *world, const char *scheme, const char *listen, const char *lines)
{
    char text[512];
    snprintf(text, sizeof(text), "[listener a]\nlisten=%s\nupstream=%s://127.0.0.1:%u\n%s", listen,
             scheme, (unsigned)ntohs(world->upstream.address.sin_port), lines);
    world->config = ini_load(text);
    world->listener = &world->config->listeners[0];
}

void world_iterate(struct world *world)
{
    for (int i = 0; i < 4; i++)
        loop_iterate(world->loop, 0);
}

bool world_receive(struct world *world, int client, char *text, size_t size)
{
    size_t length = 0;
    ssize_t n;
    do {
        loop_iterate(world->loop, USEC_PER_MSEC);
        n = recv(client, text + length, size - 1 - length, MSG_DONTWAIT);
        length += n > 0 ? (size_t)n : 0;
        assert_true(length < size - 1);
    } while (n > 0 || (n < 0 && errno == EAGAIN));
    text[length] = '\0';
    return n == 0;
}
