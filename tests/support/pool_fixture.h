/* SPDX-License-Identifier: ISC */
/* What the tests of the pool share: a loop, scripted names, peers on loopback, and allocations that
 * record what became of them. The loop's clock is moved by loop_warp. */
#ifndef KAPROXY_POOL_FIXTURE_H
#define KAPROXY_POOL_FIXTURE_H

/* cmocka requires these four before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>

#include "net/loop.h"
#include "net/resolver.h"
#include "pool/pool.h"
#include "support/names.h"
#include "support/peer.h"

#define FIXTURE_ASKS  160
#define FIXTURE_POOLS 2

/* One allocation and what became of it. */
struct ask {
    struct fixture *fixture;
    struct pool *pool;
    struct endpoint endpoint;
    struct allocation allocation;
    void (*then)(struct ask *ask); /* run inside the grant */
    unsigned answers;              /* how often it was answered */
    unsigned order;                /* its position among all answers */
    bool succeeded;
    bool held; /* leased now */
    struct failure failure;
    struct sockaddr_in local; /* of the connection */
};

struct fixture {
    struct loop *loop;
    struct names *names;
    struct resolver *resolver;
    struct pool *pools[FIXTURE_POOLS];
    struct pool *pool;      /* the first */
    struct peer a, b, c;    /* accepting */
    struct peer refusing;   /* refusing */
    struct peer *blackhole; /* once fixture_blackhole was called */
    struct peer blackhole_peer;
    struct ask asks[FIXTURE_ASKS];
    unsigned ask_count;
    unsigned answers;
    int descriptors; /* open before the test */
};

/* For cmocka. The teardown ends leases and pools and detects leaked descriptors. */
int fixture_setup(void **state);
int fixture_teardown(void **state);
#define FIXTURE_TEST(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

/* Makes the test's pool, or its second one. */
struct pool *fixture_pool(struct fixture *f, const struct pool_limits *limits);
struct peer *fixture_blackhole(struct fixture *f);

/* One iteration of the loop, in which the dials that were started begin [30], and none is given its
 * connection. */
void fixture_begin(struct fixture *f);
/* Some iterations of the loop, enough for whatever is in flight on loopback; checks the pools. */
void fixture_iterate(struct fixture *f);
/* Moves the clock and iterates the loop. */
void fixture_warp(struct fixture *f, usec_t by);

/* An allocation for tcp://127.0.0.1:PORT from the first pool, not yet started. */
struct ask *ask_prepare(struct fixture *f, const struct peer *peer);
void ask_start(struct ask *ask);
/* Both in one. */
struct ask *ask(struct fixture *f, const struct peer *peer);
/* The same for a name instead of the address. */
struct ask *ask_name(struct fixture *f, const char *name, const struct peer *peer);
/* Runs the loop until it is answered. */
void ask_wait(struct ask *ask);
/* Asks, waits, and claims success. */
struct ask *ask_get(struct fixture *f, const struct peer *peer, enum from_cache from_cache);

/* Makes a lease held. */
void ask_hold(struct ask *ask);
void ask_cancel(struct ask *ask);
void ask_release(struct ask *ask);
void ask_discard(struct ask *ask, bool reset);

/* The peer's end of an ask's connection. */
struct peer_conn *ask_far_end(const struct ask *ask, struct peer *peer);
enum peer_peek ask_far_peek(const struct ask *ask, struct peer *peer);

/* Claims. */
void claim_ok(const struct ask *ask, enum from_cache from_cache);
void claim_failed(const struct ask *ask, const char *function, int number);
void claim_pending(const struct ask *ask);
void claim_same(const struct ask *one, const struct ask *other);
void claim_stats(const struct fixture *f, unsigned busy, unsigned connecting, unsigned idle,
                 unsigned queued);
/* How many connections are held. */
void claim_held(const struct fixture *f, unsigned held);
void claim_discards(const struct fixture *f, enum pool_discard reason, unsigned count);

#endif
