/* SPDX-License-Identifier: ISC */
/* How many file descriptors a configuration can take, and how many clients that leaves room for, so
 * that no dial fails for want of a descriptor which a client has. Pipes get what clients leave.
 * Pure. */
#ifndef KAPROXY_DESCRIPTORS_H
#define KAPROXY_DESCRIPTORS_H

#include <stdint.h>

#include "config/config.h"

/* What clients must leave alone. Whatever else comes to hold descriptors is added here. */
struct descriptors {
    uint64_t connections; /* to upstreams, all pools together */
    uint64_t held;        /* more of them, but no more than there are clients to hold them */
    uint64_t attempts;    /* that run beside those, in dials to names with several addresses */
    uint64_t own;         /* listening sockets, logs, the loop, the resolver, signals */
};

struct descriptors descriptors_needed(const struct config *config);

/* The most connections that so many clients can lead to, attempts included. */
uint64_t descriptors_connections(const struct descriptors *needed, uint64_t clients);

/* max_clients, or as many clients as a limit of descriptors leaves room for; 0: for none. */
unsigned descriptors_clients(const struct config *config, const struct descriptors *needed,
                             uint64_t limit);

/* How many pipes (pipes.h) there is room for beside all clients, at most PIPES_MAX. */
unsigned descriptors_pipes(const struct config *config, const struct descriptors *needed,
                           uint64_t limit);

#endif
