/* SPDX-License-Identifier: ISC */
/* The demonstration's clients of Redis: each connects, logs in, selects a database, asks who and
 * where it is, and leaves. */
#ifndef KAPROXY_DEMO_REDIS_H
#define KAPROXY_DEMO_REDIS_H

#include <stddef.h>
#include <stdint.h>

/* Ports on 127.0.0.1. */
struct redis_options {
    uint16_t target;   /* where the clients connect to */
    uint16_t upstream; /* a redis-server with our configuration, asked for its counts */
    size_t clients, at_a_time;
};

/* Prints the configuration of a redis-server on that port of 127.0.0.1, with the users that the
 * clients log in as. It stores nothing but may write to the folder. Returns the exit status. */
int redis_print_config(uint16_t port, const char *folder);

/* Prints "CONNECTIONS MEDIAN PERCENTILE_99": how many connections the upstream accepted for these
 * clients; then the time from a client's connect to its last reply, in ms. The exit status: 0 if
 * each was who and where it should be. */
int redis_load(const struct redis_options *options);

/* Prints the reply to a client that does not log in. The exit status: 0 if it is an error that
 * requires a login. */
int redis_refused(uint16_t target);

#endif
