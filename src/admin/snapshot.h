/* SPDX-License-Identifier: ISC */
/* What the control thread cannot read directly, since it consists of strings and lists that the
 * worker's thread changes: copied on request. Numbers are in metric blocks.
 *
 * The requester allocates everything; the worker's thread fills it in, allocating nothing. */
#ifndef KAPROXY_SNAPSHOT_H
#define KAPROXY_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/failure.h"
#include "base/service.h"
#include "base/util.h"
#include "net/address.h"
#include "net/endpoint.h"

struct snapshot_host {
    const char *pool; /* borrowed from the configuration */
    char upstream[ENDPOINT_TEXT_MAX];
    enum service service;
    int64_t resumed_at;        /* microseconds of Unix time: when its last pause ended; 0: never */
    bool down;                 /* by fail_after */
    int64_t down_since;        /* microseconds of Unix time; 0: it is not down */
    struct failure last_error; /* of the last failed dial */
    int64_t last_error_at;     /* microseconds of Unix time; 0: there was none */
    int64_t last_connected_at; /* the same, of the last successful dial */
    usec_t oldest_wait;        /* of the client that has waited longest; 0: none waits */
};

struct snapshot_listener {
    const char *name; /* borrowed from the configuration */
    enum service service;
    int64_t resumed_at;    /* microseconds of Unix time: when its last pause ended; 0: never */
    usec_t oldest_session; /* age; 0: there is none */
    usec_t longest_quiet;  /* of the sessions visited: the longest time without a byte moving */
};

#define SNAPSHOT_SESSIONS_MAX 1000 /* rows */
#define SNAPSHOT_CLIENT_MAX   64

struct snapshot_session {
    const char *listener; /* borrowed from the configuration */
    char client[SNAPSHOT_CLIENT_MAX];
    const char *state; /* "reading", "waiting", "relaying", "draining", "lingering" */
    usec_t age;        /* since it was accepted, or since its exchange began */
    usec_t quiet;      /* since a byte moved last */
    usec_t waiting;    /* since it requested a connection; 0: it has one, or needs none */
    uint64_t bytes_up, bytes_down;
    uint64_t conn;         /* the number of the connection that it leases; 0: none */
    bool waits_for_client; /* it relays, and its client is to send or receive more; never opaque */
};

struct snapshot {
    int64_t taken_at; /* microseconds of Unix time; 0: not taken, since the worker has ended */
    /* The generation that strings are borrowed from, and rows belong to. */
    uint64_t generation;
    /* Hosts and listeners in the order of their metric blocks. */
    struct snapshot_host *hosts;
    size_t host_count;
    struct snapshot_listener *listeners;
    size_t listener_count;
    /* The oldest of each listener; NULL: not wanted. */
    struct snapshot_session *sessions;
    size_t session_count;
    uint64_t sessions_left_out; /* for which there was no row */
};

/* Requested by the control thread, one at a time. */
struct snapshot_request {
    /* Counts say how many rows there is room for, then how many are used. */
    struct snapshot snapshot;
    /* On the control thread; may free it, and make the next request. */
    void (*done)(struct snapshot_request *request);
};

#endif
