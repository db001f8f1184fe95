/* The keep-alive manager: limits, waiters, idle connections. Numbers in brackets are statements of
 * tests/conformance/POOL.
 *
 * The pool owns every upstream connection in every state; a user leases one. All answers are
 * posted, so no call here runs a callback of its caller [1]. */
#ifndef KAPROXY_POOL_H
#define KAPROXY_POOL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/failure.h"
#include "base/util.h"
#include "net/dialer.h"
#include "net/endpoint.h"
#include "net/loop.h"
#include "net/resolver.h"
#include "net/stream.h"

struct pool;
struct pool_host;
struct pool_conn;

#define POOL_MAX_PER_HOST 4
#define POOL_MAX_OPEN     128
#define POOL_KEEP_ALIVE   (15 * USEC_PER_SEC)
#define POOL_TIMEOUT      (120 * USEC_PER_SEC)

struct pool_limits {
    unsigned max_per_host;      /* open connections to one host; 0: POOL_MAX_PER_HOST [3] */
    unsigned max_open;          /* open connections in all; 0: POOL_MAX_OPEN */
    usec_t keep_alive;          /* how long a connection stays idle; 0: POOL_KEEP_ALIVE */
    usec_t timeout;             /* an allocation's whole wait; 0: POOL_TIMEOUT */
    usec_t connect_timeout;     /* one dial; 0: the allocation's timeout alone counts */
    usec_t unacked_timeout;     /* for users: a connection on which something was sent and not
                                   acknowledged for so long is dead; 0: none is */
    unsigned max_waiting;       /* allocations in the queue; 0: no limit */
    usec_t max_age;             /* a connection this old, or up to 10 % younger, is not used again;
                                   0: any age */
    unsigned max_uses;          /* leases of one connection; 0: any number */
    unsigned max_connecting;    /* dials to one host at a time; 0: max_per_host */
    unsigned max_tunnels;       /* held connections to one host, apart from max_per_host; 0: none */
    unsigned min_idle;          /* spare connections for each host of pool_keep_spares */
    union address bind_address; /* local address; family AF_UNSPEC: any */
};

enum from_cache {
    FROM_NONE,      /* made for this host anew, by whoever's dial [7] */
    FROM_IMMEDIATE, /* was idle when the allocation came [5] */
    FROM_DEFERRED   /* another user had to release it first [6] */
};
const char *from_cache_name(enum from_cache from_cache);

/* Why a connection was closed. Each is counted. */
#define POOL_DISCARD_REASONS(X)                                                                    \
    X(DISCARD_NOT_REUSABLE, "not_reusable")       /* the protocol or `reuse = never` says so */    \
    X(DISCARD_UPSTREAM_CLOSED, "upstream_closed") /* EOF from the upstream */                      \
    X(DISCARD_UPSTREAM_ERROR, "upstream_error")   /* a reset or another socket error */            \
    X(DISCARD_UNREAD_DATA, "unread_data")         /* bytes that nobody asked for */                \
    X(DISCARD_EARLY_RESPONSE, "early_response") /* it answered before it had the whole request */  \
    X(DISCARD_CLIENT_ABORT, "client_abort")     /* the client went away in mid-exchange */         \
    X(DISCARD_PROTOCOL_ERROR, "protocol_error") /* the upstream broke its protocol */              \
    X(DISCARD_UNACKED, "unacked")               /* what was sent was not acknowledged */           \
    X(DISCARD_IDLE_TIMEOUT, "idle_timeout")     /* the session's idle_timeout struck */            \
    X(DISCARD_KEEP_ALIVE, "keep_alive")         /* idle for too long */                            \
    X(DISCARD_MAX_AGE, "max_age")                                                                  \
    X(DISCARD_MAX_USES, "max_uses")                                                                \
    X(DISCARD_MAX_PER_HOST, "max_per_host") /* was held, and comes back to a full host [32] */     \
    X(DISCARD_ADDRESS_GONE, "address_gone") /* its address is gone from its name */                \
    X(DISCARD_EVICTED, "evicted")           /* made room for another host's waiter [12] */         \
    X(DISCARD_DIAL_FAILED, "dial_failed")                                                          \
    X(DISCARD_DIAL_UNWANTED, "dial_unwanted") /* nobody waits for it any more */                   \
    X(DISCARD_SHUTDOWN, "shutdown")

enum pool_discard {
#define X(name, text) name,
    POOL_DISCARD_REASONS(X)
#undef X
        POOL_DISCARD_COUNT
};
const char *pool_discard_name(enum pool_discard reason);

/* One allocation and the lease it turns into, embedded in its owner, who sets the first group and
 * leaves the rest zero. It may be used again once it has ended. */
struct allocation {
    const struct endpoint *endpoint; /* borrowed until the answer */
    struct pool_host *pinned;        /* that endpoint's host, by pool_pin: saves looking for it */
    usec_t timeout;                  /* 0: the pool's; negative: fails at once [21] */
    bool fresh;                      /* only a connection that nobody has used before */
    /* The answer [2]. On success failure is NULL and the lease has begun: stream may be used and
     * its handler is this allocation's owner's to set. Else failure says why, and is valid during
     * the call. The allocation may be freed or used again from inside. */
    void (*answered)(struct allocation *allocation, const struct failure *failure);

    /* Set with the answer. */
    enum from_cache from_cache;
    struct stream *stream;
    bool reused; /* somebody leased the connection before */

    /* The pool's. */
    enum allocation_state {
        ALLOCATION_ENDED, /* not in use */
        ALLOCATION_WAITING,
        ALLOCATION_ANSWERED, /* the answer is posted */
        ALLOCATION_LEASED
    } state;
    bool covered;      /* a dial is under way for it */
    usec_t held_up_at; /* since when a limit makes it wait; 0: none does */
    int64_t serial;
    struct pool *pool;
    struct pool_host *host;
    struct pool_conn *conn;
    struct failure *failure;
    struct timer deadline;
    TAILQ_ENTRY(allocation) link;    /* in its host's waiters, or in the pool's answers */
    TAILQ_ENTRY(allocation) arrival; /* in the pool's waiters */
};

/* The resolver is borrowed and must live longer. NULL with errno. */
struct pool *pool_new(struct loop *loop, struct resolver *resolver,
                      const struct pool_limits *limits);

/* Closes everything at once. Waiters are never answered; no lease may be left, and it is not called
 * from inside an answer. NULL is harmless. */
void pool_free(struct pool *pool);

/* What its limits say; users, who know what they send, ask the kernel for it. */
usec_t pool_unacked_timeout(const struct pool *pool);

/* Names the pool in its log lines; borrowed. */
void pool_set_name(struct pool *pool, const char *name);

/* The host of an endpoint, which from now on stays as long as the pool, for callers that allocate
 * from it again and again, and how TLS is spoken to it: borrowed, the same one each time, and NULL
 * where it is not. An endpoint that has TLS must be pinned before anything else is asked of it.
 * NULL with ENOMEM. */
struct pool_host *pool_pin(struct pool *pool, const struct endpoint *endpoint,
                           struct tls_client *tls);

/* How often the log was told that this host is reachable again: what fails from then on is news,
 * whatever failed before. Once in 10 s at most. */
unsigned pool_recoveries(const struct pool_host *host);

/* Asks for a connection. 0: `answered` will be called, later, unless cancelled. -1 with errno
 * ESHUTDOWN after a shutdown, ENOMEM: it will not. A full queue is answered with function
 * allocate, EAGAIN, "too many waiting (max_waiting = 1024)" [15]; an allocation whose time is over
 * with ETIMEDOUT [20] and function resolve, connect or tls, which is what a dial for it was at, or
 * else queue, with the limit that held it up. */
MUST_CHECK int pool_allocate(struct pool *pool, struct allocation *allocation);

/* Takes an allocation back in any stage before its answer [28]. */
void pool_cancel(struct allocation *allocation);

/* What is known of a lease's connection, for logs. */
struct conn_info {
    uint64_t number;       /* no other connection on the loop has it; 0: there is none */
    unsigned uses;         /* leases so far, this one included */
    union address address; /* the upstream's */
    usec_t connect_time, handshake_time; /* as a dial tells them */
};
void pool_describe(const struct allocation *lease, struct conn_info *info);

/* Ends a lease. release: the connection is fit for reuse as far as its user knows; the pool looks
 * for itself [18]. discard: it is to be closed, in order or (reset) with RST. A lease ended
 * twice is a programming error [29]. */
void pool_release(struct allocation *lease);

/* As pool_release, for who has just read all of an answer: when that read took all there was
 * (stream_is_drained), it was the look, as long as nobody waits for the connection. */
void pool_release_drained(struct allocation *lease);

/* As pool_release, but a connection on which there is something to read (bytes, EOF, an error)
 * stays with its user, who is told so by false. */
MUST_CHECK bool pool_offer(struct allocation *lease);

/* A lease whose user may keep it for as long as it likes (a tunnel, a connection with affinity) is
 * held: it counts under max_tunnels and no longer under max_per_host, whose place goes to who waits
 * for it [31].
 *
 * reserve: takes one of its host's max_tunnels for it, before anything is done that cannot be taken
 * back; the lease counts as before. False: none is free. hold: from now on it is held; it must have
 * reserved. Both may be called again for the same lease, and change nothing then. can_hold: whether
 * one is free now, for who need not wait for a connection that would be of no use.
 *
 * unhold: it is a lease as any other again, and nothing is reserved for it. False: max_per_host has
 * no room for it, and it stays held. The end of a lease is the end of both: a held one that is
 * released goes back when there is room, else it is closed (DISCARD_MAX_PER_HOST) [32]. */
bool pool_can_hold(const struct pool_host *host);
MUST_CHECK bool pool_reserve_hold(struct allocation *lease);
void pool_hold(struct allocation *lease);
bool pool_unhold(struct allocation *lease);

void pool_discard(struct allocation *lease, enum pool_discard reason, bool reset);

/* The upstream's hint how long an unused connection will live (Keep-Alive: timeout=), counted from
 * the next release; shortens keep_alive, never lengthens it. */
void pool_set_stay(struct allocation *lease, usec_t stay);

/* Keeps min_idle spare connections to this endpoint from now on. 0, or -1 with errno. */
MUST_CHECK int pool_keep_spares(struct pool *pool, const struct endpoint *endpoint);

/* Bytes that come early on a connection that nobody has used yet are a greeting for its first user:
 * they stay unread, and the connection stays idle. For this endpoint's host, which must have
 * spares. */
void pool_expect_greeting(struct pool *pool, const struct endpoint *endpoint);

/* For a soft stop: closes what is idle and keeps nothing idle from now on; waiters are served. */
void pool_drain(struct pool *pool);

/* The end [27]: as pool_drain, and waiters are answered with function shutdown, ECANCELED, dials
 * end, and allocate is refused. A second call does nothing. */
void pool_shutdown(struct pool *pool);

struct pool_stats {
    /* now */
    unsigned busy, held, connecting, idle;
    unsigned queued;  /* allocations that wait without a dial under way for them */
    unsigned waiting; /* allocations that wait, dial or not */
    /* since the start */
    uint64_t answers[FROM_DEFERRED + 1]; /* by from_cache */
    uint64_t failures;                   /* allocations answered with a failure */
    uint64_t cancelled;                  /* allocations taken back */
    uint64_t dials;                      /* dials started */
    uint64_t spares;                     /* of these, ahead of any waiter */
    uint64_t released;                   /* leases that ended with a release */
    uint64_t discards[POOL_DISCARD_COUNT];
};
/* The limits in effect, defaults included; valid as long as the pool. */
const struct pool_limits *pool_get_limits(const struct pool *pool);

void pool_get_stats(const struct pool *pool, struct pool_stats *stats);

/* Test seam: compares every count with the lists and every invariant; NULL, or what is wrong. */
const char *pool_check(const struct pool *pool);

#endif
