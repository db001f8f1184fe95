/* SPDX-License-Identifier: ISC */
/* For tests of the loop: a timer, a task and a watched socket that record when they are called. */
#ifndef KAPROXY_LOOP_PROBE_H
#define KAPROXY_LOOP_PROBE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include <cmocka.h>

#include "net/loop.h"

#define HOUR (3600 * USEC_PER_SEC)

#define PROBE_EVENTS (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)

/* Ends a test that waits forever; seconds. */
#define WAIT_MAX 60

/* What happened, in order: each probe adds its name. */
extern char story[4096];

struct probe {
    const char *name;
    struct loop *loop;
    struct timer timer;
    struct task task;
    struct watch watch;
    int fd, peer;
    uint32_t events;                   /* of the last report */
    void (*then)(struct probe *probe); /* what else to do when called; NULL: nothing */
    struct probe *other;               /* for `then` */
    usec_t seen;                       /* for `then` */
};

/* A new loop, and an empty record; the teardown claims that no descriptor was left open. */
int probe_setup(void **state);
int probe_teardown(void **state);

struct probe probe_of(struct loop *loop, const char *name);
/* Sets the timer; a negative time has passed already. */
void probe_set(struct probe *probe, usec_t in);
void probe_watch(struct probe *probe);
/* A pair of sockets, one of them watched. */
void probe_open(struct probe *probe);
void probe_close(struct probe *probe);
/* Makes the watched socket readable. */
void probe_feed(struct probe *probe);

/* Forgets what was reported so far, including the first report of writability. */
void probe_settle(struct loop *loop);

#define PROBE_TEST(test) cmocka_unit_test_setup_teardown(test, probe_setup, probe_teardown)

#endif
