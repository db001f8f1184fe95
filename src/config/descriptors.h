/* SPDX-License-Identifier: ISC */
/* How many file descriptors a configuration can use, and how many clients that leaves room for, so
 * that no dial fails because a client has taken its descriptor. Pipes get what clients leave.
 * Pure. */
#ifndef KAPROXY_DESCRIPTORS_H
#define KAPROXY_DESCRIPTORS_H

#include <stdint.h>

#include "config/config.h"

/* What clients must leave free. Anything new that uses descriptors is to be added here. */
struct descriptors {
    uint64_t connections; /* to upstreams, all pools together */
    uint64_t held;        /* in addition, but no more than there are clients to hold them */
    uint64_t attempts;    /* that run alongside those, in dials to names with several addresses */
    uint64_t own;         /* listen sockets, logs, the loop, the resolver, signals */
};

struct descriptors descriptors_needed(const struct config *config);

/* The maximum number of connections that so many clients can cause, including attempts. */
uint64_t descriptors_connections(const struct descriptors *needed, uint64_t clients);

/* max_clients, or as many clients as a limit of descriptors leaves room for; 0: for none. */
unsigned descriptors_clients(const struct config *config, const struct descriptors *needed,
                             uint64_t limit);

/* How many pipes (pipes.h) there is room for in addition to all clients, at most PIPES_MAX. */
unsigned descriptors_pipes(const struct config *config, const struct descriptors *needed,
                           uint64_t limit);

#endif
