/* SPDX-License-Identifier: ISC */
/* The pool's core alone, for tests that drive it one event after the other: two hosts, and as many
 * connections and requests as a test needs. Each step checks the core. */
#ifndef KAPROXY_CORE_FIXTURE_H
#define KAPROXY_CORE_FIXTURE_H

/* cmocka requires these four before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pool/pool_core.h"

#define NOW USEC_PER_SEC

struct core_fixture {
    struct pool_core core;
    struct core_host a, b;
    struct core_conn conns[4];
    struct core_request requests[4];
};

/* For cmocka. Whatever a test has left is ended. */
int core_fixture_setup(void **state);
int core_fixture_teardown(void **state);
#define CORE_TEST(test)                                                                            \
    cmocka_unit_test_setup_teardown(test, core_fixture_setup, core_fixture_teardown)

void core_fixture_open(struct core_fixture *f, const struct pool_limits *limits);

/* What is to be done next; POOL_NOTHING: nothing, and every request that could be served has been
 * served. */
struct pool_action core_fixture_next(struct core_fixture *f);
void core_fixture_claim(struct core_fixture *f, enum pool_action_kind kind,
                        const struct core_conn *conn);

void core_fixture_ask(struct core_host *host, struct core_request *request);

/* The next thing to do is a dial for this host, and it begins. */
void core_fixture_dial(struct core_fixture *f, struct core_host *host, struct core_conn *conn);

/* This request, and no other one, is granted a connection, and its owner is called. */
void core_fixture_deliver(struct core_fixture *f, struct core_request *granted,
                          struct core_request *wanted);

/* A request that has its connection, newly dialled: those with this number. */
void core_fixture_lease(struct core_fixture *f, struct core_host *host, unsigned number);

/* The sums of the counters. */
struct pool_stats core_fixture_stats(const struct core_fixture *f);

/* An idle connection. */
void core_fixture_make_idle(struct core_fixture *f, struct core_host *host, unsigned number);

#endif
