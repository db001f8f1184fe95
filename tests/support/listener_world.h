/* SPDX-License-Identifier: ISC */
/* Listeners that move from one configuration to the next, with clients, in a world of a test of
 * sessions. A failed step fails the test. */
#ifndef KAPROXY_TESTS_LISTENER_WORLD_H
#define KAPROXY_TESTS_LISTENER_WORLD_H

/* cmocka requires these four before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <netinet/in.h>

#include "daemon/listener_internal.h"
#include "support/generations.h"
#include "support/session_world.h"

/* Where listeners can be: two ports and two unix sockets. */
enum { A, B, C, D, PLACES };
#define FIRST_UNIX C

struct fixture {
    struct world *world;
    struct listeners listeners;
    struct generation *generation;
    struct sockaddr_in ports[FIRST_UNIX];
    int kept[FIRST_UNIX]; /* keep the ports for us */
    char places[PLACES][80];
    char text[4096]; /* of the next configuration */
    unsigned drained, all_left;
};

int listener_world_setup(void **state);
int listener_world_teardown(void **state);

#define LISTENER_TEST(test)                                                                        \
    cmocka_unit_test_setup_teardown(test, listener_world_setup, listener_world_teardown)

/* One more listener of the next configuration: its addresses, terminated by -1, and further
 * lines. */
void add_of(struct fixture *f, const char *scheme, const char *name, const int *places,
            const char *lines);
#define add(f, name, lines, ...) add_of(f, "tcp", name, (const int[]){__VA_ARGS__, -1}, lines)

/* The next generation, which is not in effect yet. */
struct generation *next_generation(struct fixture *f);
/* What was added takes effect. */
void apply(struct fixture *f);

struct listener *find(struct fixture *f, const char *name);
const struct listener_stats *stats_of(struct fixture *f, const char *name);
unsigned accepted(struct fixture *f, const char *name);
/* How many contexts a listener has. */
unsigned contexts(const struct listener *listener);

/* A client, or -1 with errno. */
int connect_to(struct fixture *f, int place);
void await_clients(struct fixture *f, unsigned clients);
void leave(struct fixture *f, int client);

/* The next client that connects there is served by this listener; or not at all. */
void assert_serves(struct fixture *f, int place, const char *name);
void assert_refuses(struct fixture *f, int place);

#endif
