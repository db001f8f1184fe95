/* SPDX-License-Identifier: ISC */
/* What the control thread cannot read by itself, for it is made of strings and lists that the
 * worker's thread changes: copied there on request. Numbers are in metric blocks.
 *
 * Who asks allocates everything; the worker's thread fills it in, allocating nothing. */
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
    int64_t resumed_at;        /* microseconds of Unix time: a pause of it ended; 0: never */
    bool down;                 /* by fail_after */
    int64_t down_since;        /* microseconds of Unix time; 0: it is not */
    struct failure last_error; /* of a dial, the last one ever */
    int64_t last_error_at;     /* microseconds of Unix time; 0: there was none */
    int64_t last_connected_at; /* the same, of the last dial that went well */
    usec_t oldest_wait;        /* of who waits for longest; 0: nobody does */
};

struct snapshot_listener {
    const char *name; /* borrowed from the configuration */
    enum service service;
    int64_t resumed_at;    /* microseconds of Unix time: a pause of it ended; 0: never */
    usec_t oldest_session; /* age; 0: there is none */
    usec_t longest_quiet;  /* of the sessions looked at: since when nothing moved */
};

#define SNAPSHOT_SESSIONS_MAX 1000 /* rows */
#define SNAPSHOT_CLIENT_MAX   64

struct snapshot_session {
    const char *listener; /* borrowed from the configuration */
    char client[SNAPSHOT_CLIENT_MAX];
    const char *state; /* "reading", "waiting", "relaying", "draining", "lingering" */
    usec_t age;        /* since it was accepted, or since its exchange began */
    usec_t quiet;      /* since a byte moved last */
    usec_t waiting;    /* since it asked for a connection; 0: it has one, or needs none */
    uint64_t bytes_up, bytes_down;
    uint64_t conn;         /* the number of the connection that it leases; 0: none */
    bool waits_for_client; /* it relays, and its client is to send or to take more; never opaque */
};

struct snapshot {
    int64_t taken_at; /* microseconds of Unix time; 0: it was not, for the worker has ended */
    /* Of the configuration that strings are borrowed from, and rows are of. */
    uint64_t generation;
    /* Hosts and listeners in the order of their metric blocks. */
    struct snapshot_host *hosts;
    size_t host_count;
    struct snapshot_listener *listeners;
    size_t listener_count;
    /* The oldest of each listener; NULL: not wanted. */
    struct snapshot_session *sessions;
    size_t session_count;
    uint64_t sessions_left_out; /* that there was no row for */
};

/* Asked for by the control thread, one at a time. */
struct snapshot_request {
    /* Counts say how many rows there is room for, then how many are used. */
    struct snapshot snapshot;
    /* On the control thread; may free it, and ask for the next one. */
    void (*done)(struct snapshot_request *request);
};

#endif
