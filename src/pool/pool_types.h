/* SPDX-License-Identifier: ISC */
/* Shared by the pool's users, its core and its I/O: limits, reasons, counters. Numbers in brackets
 * are statements of tests/conformance/POOL. */
#ifndef KAPROXY_POOL_TYPES_H
#define KAPROXY_POOL_TYPES_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/counter.h"
#include "base/histogram.h"
#include "base/metric.h"
#include "base/util.h"
#include "net/address.h"

#define POOL_MAX_PER_HOST 4
#define POOL_MAX_OPEN     128
#define POOL_KEEP_ALIVE   (15 * USEC_PER_SEC)
#define POOL_TIMEOUT      (120 * USEC_PER_SEC)

struct pool_limits {
    unsigned max_per_host;  /* open connections to one host; 0: POOL_MAX_PER_HOST [3] */
    unsigned max_open;      /* open connections in total; 0: POOL_MAX_OPEN */
    usec_t keep_alive;      /* how long a connection stays idle; 0: POOL_KEEP_ALIVE */
    usec_t timeout;         /* an allocation's total wait; 0: POOL_TIMEOUT */
    usec_t connect_timeout; /* one dial; 0: only the allocation's timeout applies */
    usec_t unacked_timeout; /* for users: a connection is dead if sent data was not acknowledged for
                               this long; 0: no limit */
    unsigned max_waiting;   /* allocations in the queue; 0: no limit */
    usec_t max_age; /* a connection this old, or up to 10 % younger, is not reused; 0: no limit */
    unsigned max_uses;        /* leases of one connection; 0: no limit */
    unsigned max_connecting;  /* dials to one host at a time; 0: max_per_host */
    unsigned max_tunnels;     /* held connections to one host, apart from max_per_host; 0: none */
    unsigned min_idle;        /* preconnected connections for each host that keeps them */
    unsigned connect_retries; /* how often a dial that was refused or timed out is retried before it
                                 counts as failed [38] */
    unsigned fail_after; /* consecutive failed dials after which a host is down [39]; 0: never */
    union address bind_address; /* local address; family AF_UNSPEC: any */
};

/* The session state of a connection, if that determines who can use it: the identity says on whose
 * behalf, the variant what else differs. All zero if nothing has been set, as for a new connection.
 * The pool compares tags, and knows nothing else about them [33]. */
#define POOL_IDENTITY_SIZE 16
struct pool_tag {
    unsigned char identity[POOL_IDENTITY_SIZE];
    uint32_t variant;
};

static inline bool pool_tag_is_of(const struct pool_tag *tag,
                                  const unsigned char identity[POOL_IDENTITY_SIZE])
{
    return memcmp(tag->identity, identity, POOL_IDENTITY_SIZE) == 0;
}

enum from_cache {
    FROM_NONE,      /* made for this host, by any waiter's dial [7] */
    FROM_IMMEDIATE, /* was idle when the allocation arrived [5] */
    FROM_DEFERRED   /* another user had to release it first [6] */
};
const char *pool_from_cache_name(enum from_cache from_cache);

/* Why a connection was closed. Each is counted. */
#define POOL_DISCARD_REASONS(X)                                                                    \
    X(DISCARD_NOT_REUSABLE, "not_reusable") /* according to the protocol or `reuse = never` */     \
    X(DISCARD_UPSTREAM_CLOSED, "upstream_closed") /* EOF from the upstream */                      \
    X(DISCARD_UPSTREAM_ERROR, "upstream_error")   /* a reset or another socket error */            \
    X(DISCARD_UNREAD_DATA, "unread_data")         /* unexpected bytes */                           \
    X(DISCARD_EARLY_RESPONSE, "early_response") /* it answered before it had the whole request */  \
    X(DISCARD_CLIENT_ABORT, "client_abort")     /* the client left in mid-exchange */              \
    X(DISCARD_PROTOCOL_ERROR, "protocol_error") /* the upstream broke its protocol */              \
    X(DISCARD_UNKNOWN_STATE, "unknown_state")   /* its state is unknown, or one client's */        \
    X(DISCARD_UNACKED, "unacked")               /* sent data was not acknowledged */               \
    X(DISCARD_IDLE_TIMEOUT, "idle_timeout")     /* the session's idle_timeout expired */           \
    X(DISCARD_LOGIN_REFUSED, "login_refused")   /* a login like its own was refused */             \
    X(DISCARD_KEEP_ALIVE, "keep_alive")         /* idle for too long */                            \
    X(DISCARD_MAX_AGE, "max_age")                                                                  \
    X(DISCARD_MAX_USES, "max_uses")                                                                \
    X(DISCARD_MAX_PER_HOST, "max_per_host") /* was held, and its host is full [32], or             \
                                               max_per_host was lowered [49] */                    \
    X(DISCARD_MAX_OPEN, "max_open")         /* that was lowered [49] */                            \
    X(DISCARD_ADDRESS_GONE, "address_gone") /* its address is no longer one of its name */         \
    X(DISCARD_EVICTED, "evicted")           /* made room for another host's waiter [12] */         \
    X(DISCARD_DIAL_FAILED, "dial_failed")                                                          \
    X(DISCARD_DIAL_UNWANTED, "dial_unwanted") /* no waiter needs it any more */                    \
    X(DISCARD_PAUSED, "paused")               /* its host is paused or draining [43, 45] */        \
    X(DISCARD_RECONNECT, "reconnect") /* it existed when an operator requested new ones [46] */    \
    X(DISCARD_RELOAD, "reload")       /* the configuration no longer names its host [53] */        \
    X(DISCARD_SHUTDOWN, "shutdown")

enum pool_discard {
#define X(name, text) name,
    POOL_DISCARD_REASONS(X)
#undef X
        POOL_DISCARD_COUNT
};
const char *pool_discard_name(enum pool_discard reason);

/* What a waiter without a dial under way waits for: a limit of its host, or of the pool. */
enum pool_limit { LIMIT_MAX_PER_HOST, LIMIT_MAX_CONNECTING, LIMIT_MAX_OPEN, LIMIT_COUNT };
const char *pool_limit_name(enum pool_limit limit);
unsigned pool_limit_value(const struct pool_limits *limits, enum pool_limit limit);

/* What failed, for a failed allocation. */
#define POOL_FAILURES(X)                                                                           \
    X(FAILED_QUEUE, "queue")       /* it waited for a place, and its time expired */               \
    X(FAILED_ALLOCATE, "allocate") /* refused at once: too many wait, or the host is down */       \
    X(FAILED_RESOLVE, "resolve")                                                                   \
    X(FAILED_CONNECT, "connect")                                                                   \
    X(FAILED_TLS, "tls")                                                                           \
    X(FAILED_SHUTDOWN, "shutdown")                                                                 \
    X(FAILED_OTHER, "other") /* a shortage on our side */

enum pool_failed {
#define X(name, text) name,
    POOL_FAILURES(X)
#undef X
        POOL_FAILED_COUNT
};
const char *pool_failed_name(enum pool_failed failed);
/* By a failure's function. */
enum pool_failed pool_failed_by(const char *function);

/* A host's connections as they are counted and shown. */
enum host_conns { HOST_CONNECTING, HOST_BUSY, HOST_HELD, HOST_IDLE, HOST_CLOSING, HOST_CONNS };

/* What is counted of a host: a metric block. Its writer is the pool's thread. */
struct host_stats {
    struct gauge conns[HOST_CONNS];
    struct gauge waiting;          /* allocations */
    struct gauge queued;           /* of these: no dial is under way for them */
    struct gauge down;             /* 0 or 1 */
    struct gauge paused, draining; /* likewise: by the operator */
    /* since the start */
    struct counter grants[FROM_DEFERRED + 1]; /* connections, by from_cache */
    struct counter failed[POOL_FAILED_COUNT]; /* allocations that failed */
    struct counter refused;                   /* of these: because the host was down */
    struct counter cancelled;                 /* allocations cancelled */
    struct counter dials;                     /* dials started */
    struct counter preconnects;               /* of these, ahead of any waiter */
    struct counter retries;                   /* how often dials that have ended were retried */
    struct counter downs;                     /* how often it went down */
    struct counter released;                  /* leases that ended with a release */
    struct counter discards[POOL_DISCARD_COUNT];
    struct histogram wait;    /* of allocations, until they were granted or failed */
    struct histogram connect; /* of dials that succeeded, with their handshakes */
};
extern const struct metric_set host_metrics;

#define POOL_LIMITS_SHOWN 6

/* The limits of a pool that are in effect: a metric block. */
struct limits_stats {
    struct gauge limits[POOL_LIMITS_SHOWN];
};
extern const struct metric_set limits_metrics;
void limits_stats_set(struct limits_stats *stats, const struct pool_limits *limits);

/* The sums over a pool's hosts, including those that are gone. */
struct pool_stats {
    /* now */
    unsigned busy, held, connecting, idle;
    unsigned queued;  /* allocations that wait without a dial under way for them */
    unsigned waiting; /* allocations that wait, dial or not */
    unsigned down;    /* hosts that are down */
    /* since the start */
    uint64_t grants[FROM_DEFERRED + 1]; /* connections, by from_cache */
    uint64_t failures;                  /* allocations that failed */
    uint64_t cancelled;                 /* allocations cancelled */
    uint64_t dials;                     /* dials started */
    uint64_t preconnects;               /* of these, ahead of any waiter */
    uint64_t retries;                   /* how often dials that have ended were retried */
    uint64_t downs;                     /* how often a host went down */
    uint64_t refused;                   /* allocations that failed because their host was down */
    uint64_t released;                  /* leases that ended with a release */
    uint64_t discards[POOL_DISCARD_COUNT];
};
/* What a host currently uses of its limits. */
struct pool_places {
    unsigned open;   /* under max_per_host: connecting, busy, idle, or being closed */
    unsigned idle;   /* of these */
    unsigned queued; /* allocations that wait without a dial under way for them */
    unsigned held;   /* under max_tunnels, including reserved ones */
};

/* Adds what a host has counted since the start. */
void pool_stats_add(struct pool_stats *sums, const struct host_stats *stats);

#endif
