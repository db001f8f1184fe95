/* SPDX-License-Identifier: ISC */
/* What the tests of listeners and sessions share: a loop, a pool, an upstream on loopback, and the
 * configuration of one listener. A failed step fails the test. */
#ifndef KAPROXY_TESTS_SESSION_WORLD_H
#define KAPROXY_TESTS_SESSION_WORLD_H

#include <stdbool.h>

#include "config/config.h"
#include "daemon/listener.h"
#include "http1/http1_compose.h"
#include "net/loop.h"
#include "net/pipes.h"
#include "net/resolver.h"
#include "pool/pool.h"
#include "support/peer.h"

#define WORLD_SCRATCH (64 * 1024)

struct world {
    struct loop *loop;
    struct resolver *resolver;
    struct pool *pool;
    struct peer upstream;
    struct config *config;
    const struct config_listener *listener; /* its only one */
    struct pipes pipes;
    char folder[32]; /* where unix sockets can be */
    int descriptors; /* open before the test */
    char scratch_memory[WORLD_SCRATCH], compose_memory[HTTP1_COMPOSE_MAX];
    struct scratch scratch, compose;
};

/* cmocka fixtures. A descriptor that is still open at the end was leaked, and fails the test. */
int session_world_setup(void **state);
int session_world_teardown(void **state);

/* The listener: a scheme, addresses to listen on, further lines. */
void world_configure(struct world *world, const char *scheme, const char *listen,
                     const char *lines);

/* Iterations of the loop, enough for whatever is in flight on loopback. */
void world_iterate(struct world *world);

/* What a client receives until its end, as a string of at most size - 1 bytes; true: it was closed
 * in order, false: a reset. The loop iterates meanwhile. */
bool world_receive(struct world *world, int client, char *text, size_t size);

#endif
