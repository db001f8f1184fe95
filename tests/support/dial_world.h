/* SPDX-License-Identifier: ISC */
/* What the dialer's tests share: upstreams on loopback, a resolver answered by the test, dials that
 * record what they are given. A failed step fails the test. */
#ifndef KAPROXY_TESTS_DIAL_WORLD_H
#define KAPROXY_TESTS_DIAL_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/dialer.h"

/* The resolver's back end: the test answers the one query itself. */
struct manual {
    struct resolver_backend base;
    struct query *query;
    unsigned started;
    int refuse_with; /* errno for start; 0: none */
};

/* A loop, a resolver and the upstreams' sockets of one test. */
struct world {
    struct loop *loop;
    struct manual manual;
    struct resolver *resolver;
    int descriptors; /* open before the test */
    int sockets[8];  /* opened by the test */
    size_t socket_count;
};

/* One dial and what became of it. */
struct caller {
    struct dial_handler handler;
    struct dial_options options;
    struct endpoint endpoint;
    struct stream stream;
    struct dial *dial; /* NULL once it ended */
    unsigned ended;
    bool failed;
    struct failure failure;
    struct caller *cancel; /* cancel this one's dial from the callback */
};

/* cmocka fixtures. Every test ends with its streams closed; what is still open then was leaked, and
 * fails it. */
int dial_world_setup(void **state);
int dial_world_teardown(void **state);

/* Closes a socket with the test; returns it. */
int world_keep(struct world *world, int fd);

bool world_have_in6(void);
union address world_address(const char *text);

/* A bound socket; *port 0 is replaced. Connecting to it is refused unless it listens. */
int world_bind(struct world *world, const char *text, uint16_t *port);

/* A port that no other process gets on any address, for world_bind and those below. */
uint16_t world_free_port(struct world *world);

int world_open_upstream(struct world *world, const char *text, uint16_t *port);

/* Listens with a backlog that one filler connection has filled: connects get no answer. */
void world_open_blackhole(struct world *world, const char *text, uint16_t *port);

/* Answers the lookup of name.test with these addresses, separated by whitespace. */
void world_answer(struct world *world, const char *list);

/* The same for one family alone, kept for a minute. */
void world_answer_family(struct world *world, sa_family_t family, const char *list);

/* How many sockets the dials have open. */
int world_open_attempts(const struct world *world);

/* Iterations without anything to wait for, in which a late callback would show. */
void world_idle(struct world *world);

/* Moves the clock by DIAL_STAGGER, and iterates once. */
void world_warp_stagger(struct world *world);

/* Sends a byte from the upstream and asserts that the stream, whose handler this sets, notices. */
void world_assert_wakes(struct world *world, struct stream *stream, int upstream);

/* Starts a dial that has not begun yet. */
void caller_post(struct world *world, struct caller *caller, const char *addr, uint16_t port);

/* Starts a dial and lets it begin, to name.test with its lookup answered in the second case. */
void caller_start(struct world *world, struct caller *caller, const char *addr, uint16_t port);
void caller_start_named(struct world *world, struct caller *caller, uint16_t port,
                        const char *addresses);
void caller_cancel(struct caller *caller);
void caller_wait(struct world *world, const struct caller *caller);

void caller_assert_failure(const struct caller *caller, const char *function, int number);

/* Asserts which upstream a dial reached and that no other socket of it is open, and closes its
 * stream. */
void caller_assert_connected(struct world *world, struct caller *caller, const char *text);

#endif
