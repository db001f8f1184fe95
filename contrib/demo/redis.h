/* SPDX-License-Identifier: ISC */
/* The demonstration's clients of Redis: each connects, logs in, selects a database, asks who and
 * where it is, and goes. */
#ifndef KAPROXY_DEMO_REDIS_H
#define KAPROXY_DEMO_REDIS_H

#include <stddef.h>
#include <stdint.h>

/* Ports on 127.0.0.1. */
struct redis_options {
    uint16_t target;   /* where the clients go */
    uint16_t upstream; /* a redis-server with our configuration, asked for its counts */
    size_t clients, at_a_time;
};

/* Prints the configuration of a redis-server on that port of 127.0.0.1, with the users that the
 * clients log in as, which keeps nothing but may write in the folder. The exit status. */
int redis_print_config(uint16_t port, const char *folder);

/* Prints "CONNECTIONS MEDIAN PERCENTILE_99": how many connections the upstream accepted for these
 * clients; then the time that a client took from connect to its last reply, in ms. The exit status:
 * 0 when each was who and where it should be. */
int redis_load(const struct redis_options *options);

/* Prints the reply to a client that does not log in. The exit status: 0 when that is an error which
 * says that it has to. */
int redis_refused(uint16_t target);

#endif
