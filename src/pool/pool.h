/* SPDX-License-Identifier: ISC */
/* The keep-alive manager: limits, waiters, idle connections. Numbers in brackets are statements of
 * tests/conformance/POOL.
 *
 * The pool owns every upstream connection in every state; a user leases one. Grants are posted, so
 * no call here runs a callback of its caller [1]. */
#ifndef KAPROXY_POOL_H
#define KAPROXY_POOL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/failure.h"
#include "base/service.h"
#include "base/util.h"
#include "net/dialer.h"
#include "net/endpoint.h"
#include "net/loop.h"
#include "net/resolver.h"
#include "net/stream.h"
#include "pool/pool_core.h"
#include "pool/pool_types.h"

struct pool;
struct pool_host;

/* An allocation and the lease it turns into, embedded in its owner, which sets the first group and
 * leaves the rest zero. It may be used again once it has ended. */
struct allocation {
    const struct endpoint *endpoint; /* borrowed until the grant */
    struct pool_host *retained;      /* that endpoint's host, from pool_retain: saves a search */
    usec_t timeout;                  /* 0: the pool's; negative: fails at once [21] */
    usec_t waited;                   /* how much of that had expired before the request */
    bool fresh;                      /* only a connection that was not used before */
    const struct pool_tag *tag; /* the preferred tag [33]: the connection that is granted may have
                                   another one. NULL: no preference. Borrowed until the grant */
    /* The grant [2]. On success failure is NULL and the lease has begun: stream may be used, and
     * its handler is for this allocation's owner to set. Otherwise failure says why, and is valid
     * during the call. The allocation may be freed or used again from within. */
    void (*on_connection)(struct allocation *allocation, const struct failure *failure);

    /* Set with the grant. */
    enum from_cache from_cache;
    struct stream *stream;
    bool reused; /* the connection was leased before */

    /* The pool's. */
    struct core_request request;
    struct pool *pool;
    struct pool_host *host; /* the host that it waits for */
    usec_t asked_at;
    usec_t held_up_at;              /* since when a limit makes it wait; 0: none does */
    struct failure *failure;        /* NULL if it fails: there is no memory for one */
    TAILQ_ENTRY(allocation) posted; /* granted and not delivered yet */
};

static inline bool pool_is_leased(const struct allocation *allocation)
{
    return allocation->request.state == CORE_REQUEST_LEASED;
}

/* Also false once the grant is under way. */
static inline bool pool_is_waiting(const struct allocation *allocation)
{
    return allocation->request.state == CORE_REQUEST_WAITING;
}

/* The resolver is borrowed and must outlive the pool. NULL with errno. */
struct pool *pool_new(struct loop *loop, struct resolver *resolver,
                      const struct pool_limits *limits);

/* Closes everything at once. Waiters are never called; no lease may be left, and it must not be
 * called from within a grant. NULL is allowed. */
void pool_free(struct pool *pool);

/* The limit from its configuration; users, which know what they send, check it with the kernel. */
usec_t pool_unacked_timeout(const struct pool *pool);

/* Names the pool in its log lines, truncated to POOL_NAME_MAX characters; copied. "" until then. */
#define POOL_NAME_MAX 63
void pool_set_name(struct pool *pool, const char *name);
const char *pool_get_name(const struct pool *pool);

/* Changes the limits, which apply at once [48 to 52]. */
void pool_set_limits(struct pool *pool, const struct pool_limits *limits);

/* The host of an endpoint, which stays from now on, for callers that allocate from it repeatedly;
 * and how TLS is spoken to it, NULL without TLS. The host keeps the first client that it is given,
 * and refers to it while the host exists: other clients of the same endpoint are equivalent, and so
 * is NULL then. An endpoint with TLS must be retained before anything else is requested for it.
 * NULL with ENOMEM.
 *
 * unretain is the opposite, to be called as often as it was retained: after the last time the host
 * is freed as soon as nothing is left of it. The same applies to everything obtained from it. */
struct pool_host *pool_retain(struct pool *pool, const struct endpoint *endpoint,
                              struct tls_client *tls);
void pool_unretain(struct pool_host *host);

/* How TLS is spoken to it: valid while it is retained. NULL: without TLS. */
struct tls_client *pool_get_tls(const struct pool_host *host);

/* Whether the configuration names this host; true initially. False: idle connections are closed at
 * once, and leased ones when the lease ends, unless a request waits for them; it keeps no
 * preconnected connections and expects no greeting until these are set again. Requests are served
 * as usual [53]. */
void pool_set_wanted(struct pool_host *host, bool wanted);

/* The configuration no longer names this pool: none of its hosts is wanted, including later ones.
 * `gone` is called from the loop, once, when it has no hosts, and may free it. revive: what was set
 * for each host applies again, and gone is not called [54]. */
void pool_retire(struct pool *pool, void (*gone)(struct pool *pool, void *arg), void *arg);
void pool_revive(struct pool *pool);

/* A share of a host's max_per_host, and of its max_tunnels, if another process has the rest: no
 * more connections are open, or held, than that, as if the limit were that low [55]. UINT_MAX: no
 * share. */
void pool_set_places(struct pool_host *host, unsigned places);
void pool_set_held_places(struct pool_host *host, unsigned places);
/* The places of hosts that are added later. */
void pool_set_new_places(struct pool *pool, unsigned places);

void pool_view_places(const struct pool_host *host, struct pool_places *view);

/* Called whenever a host may have been added, or its places or limits may have changed, from within
 * the call or event that caused it: it may post a task, and nothing else. NULL: none. */
void pool_on_change(struct pool *pool, void (*changed)(struct pool *pool, void *arg), void *arg);

/* How often it was logged that this host is reachable again: failures after that are news, whatever
 * failed before. At most once in 10 s. */
unsigned pool_recoveries(const struct pool_host *host);

/* Requests a connection. 0: `on_connection` will be called, later, unless cancelled. -1 with errno
 * ESHUTDOWN after a shutdown, ENOMEM: it will not. With a full queue it fails with function
 * allocate, EAGAIN, "too many waiting (max_waiting = 1024)" [15]; when its time has expired with
 * ETIMEDOUT [20] and function resolve, connect or tls, the stage that a dial for it had reached, or
 * else queue, with the limit that held it up; while its host is down and has nothing idle, with
 * function allocate, EHOSTDOWN, since when that is and why [40]; while it is draining, with
 * function allocate, ESHUTDOWN [45]. */
MUST_CHECK int pool_allocate(struct pool *pool, struct allocation *allocation);

/* Cancels an allocation in any stage before its grant is delivered [28]. */
void pool_cancel(struct allocation *allocation);

/* What is known of a lease's connection, for logs. */
struct conn_info {
    uint64_t number;                     /* unique among the loop's connections; 0: there is none */
    unsigned uses;                       /* leases so far, including this one */
    union address address;               /* the upstream's */
    usec_t connect_time, handshake_time; /* as reported by the dial */
    usec_t dialled_at; /* when connect(2) was called: not after the upstream accepted it */
};
void pool_describe(const struct allocation *lease, struct conn_info *info);

/* Whether any allocation waits for a connection to the host of this lease. */
bool pool_has_waiters(const struct allocation *lease);

/* The tag of a lease's connection: as it was last set, and all zero before. The connection keeps it
 * for later leases [33]. */
const struct pool_tag *pool_get_tag(const struct allocation *lease);
void pool_set_tag(struct allocation *lease, const struct pool_tag *tag);

/* A protocol's data about a lease's connection, which stays with it from lease to lease and until
 * it ends: then, or when other data is attached, it is passed to free_attached (once), which must
 * not call the pool. NULL: nothing is attached. */
void *pool_attached(const struct allocation *lease);
void pool_attach(struct allocation *lease, void *attached, void (*free_attached)(void *));

/* What a user that releases a connection knows about it. */
enum pool_release {
    RELEASE_PEEK,     /* it is fit for reuse; the pool peeks itself [18] */
    RELEASE_DRAINED,  /* it has just read all of a response: if that read consumed everything
                         (stream_is_drained), it is the peek, unless allocations wait for the
                         connection */
    RELEASE_IF_QUIET, /* it is, unless there is something to read (bytes, EOF, an error): then it
                         stays with its user */
};

/* Ends a lease. release: the connection is fit for reuse as far as its user knows; false: it stays
 * leased, see RELEASE_IF_QUIET. discard: it is to be closed, in order or (reset) with RST. Ending a
 * lease twice is a programming error [29]. */
bool pool_release(struct allocation *lease, enum pool_release release);
void pool_discard(struct allocation *lease, enum pool_discard reason, bool reset);

/* Closes all idle connections of the host that have this identity, whatever their variant [36]. */
void pool_discard_tagged(struct pool_host *host, const unsigned char identity[POOL_IDENTITY_SIZE],
                         enum pool_discard reason);

/* A lease whose user may keep it for as long as it likes (a tunnel, a connection with affinity) is
 * held: it counts towards max_tunnels and no longer towards max_per_host, where its place goes to a
 * waiter [31].
 *
 * reserve: takes one of its host's max_tunnels for it, before anything irreversible is done; the
 * lease counts as before. False: none is free. hold: from now on it is held; it must have reserved.
 * Both may be called again for the same lease, without effect. can_hold: whether one is free now,
 * for callers that should not wait for a connection that would be of no use.
 *
 * unhold: it is an ordinary lease again, and nothing is reserved for it. False: max_per_host has no
 * room for it, and it stays held. The end of a lease is the end of both: a held connection that is
 * released is kept if there is room, otherwise it is closed (DISCARD_MAX_PER_HOST) [32]. */
bool pool_can_hold(const struct pool_host *host);
MUST_CHECK bool pool_reserve_hold(struct allocation *lease);
void pool_hold(struct allocation *lease);
bool pool_unhold(struct allocation *lease);

/* The upstream's hint how long it keeps an unused connection (Keep-Alive: timeout=), counted from
 * the next release; shortens keep_alive, never lengthens it. */
void pool_set_idle_hint(struct allocation *lease, usec_t idle_hint);

/* Keeps min_idle preconnected connections to this endpoint from now on. 0, or -1 with errno. */
MUST_CHECK int pool_keep_preconnected(struct pool *pool, const struct endpoint *endpoint);
void pool_set_preconnected(struct pool_host *host, bool keep);

/* Early bytes on an unused connection are a greeting for its first user: they stay unread, and the
 * connection stays idle. For this endpoint's host, which must keep preconnected connections. */
void pool_expect_greeting(struct pool *pool, const struct endpoint *endpoint);
void pool_set_greeting(struct pool_host *host, bool sends);

/* Set by an operator, until it is called again; NULL for a host: all hosts of the pool, and later
 * ones.
 *
 * PAUSED: nothing is granted and nothing dialled; idle connections are closed, and leased ones when
 * the lease ends. Allocations wait in order, within their time and max_waiting [43]. DRAINING: the
 * same, but nothing waits: allocations fail with function allocate, ESHUTDOWN [45]. OPEN: waiting
 * allocations are served in order. A grant is not withdrawn, even if it has not been delivered
 * yet. */
void pool_set_service(struct pool *pool, struct pool_host *host, enum service service);
enum service pool_get_service(const struct pool_host *host);

/* Retires all existing connections, including those being dialled: idle ones are closed at once,
 * and leased ones when the lease ends; nothing waits for that [46]. NULL: of all hosts. */
void pool_reconnect(struct pool *pool, struct pool_host *host);

/* How many connections to it are leased, including held ones. */
unsigned pool_leases(const struct pool_host *host);

/* The hosts, in the order in which they were added, and the allocations waiting for one, oldest
 * first: the next one after this one; NULL: the first. Returns NULL if there is none. */
struct pool_host *pool_next_host(const struct pool *pool, const struct pool_host *after);
struct allocation *pool_next_waiting(const struct pool_host *host, const struct allocation *after);

/* A host's visible state, besides numbers. Times are microseconds of Unix time, 0: never; pointers
 * are valid until the next event. */
struct pool_view {
    const struct endpoint *endpoint;
    enum service service;
    int64_t resumed_at; /* when its last pause ended */
    bool down;
    int64_t down_since;
    const struct failure *last_error; /* of a dial, the last one ever */
    int64_t last_error_at;
    int64_t last_connected_at; /* when a dial last succeeded */
    usec_t oldest_wait;        /* how long the oldest waiter has waited; 0: none */
};
void pool_view(const struct pool_host *host, struct pool_view *view);

/* For a soft stop: closes idle connections and keeps none from now on; waiters are served. */
void pool_drain(struct pool *pool);

/* The end [27]: as pool_drain, and waiters fail with function shutdown, ECANCELED, dials end, and
 * allocate is refused. A second call does nothing. */
void pool_shutdown(struct pool *pool);

/* The limits in effect, including defaults, which pool_set_limits changes; valid as long as the
 * pool. */
const struct pool_limits *pool_get_limits(const struct pool *pool);

/* Metric blocks (host_metrics, limits_metrics): any thread may read them, those of a retained host
 * as long as the pool exists. */
const struct host_stats *pool_host_stats(const struct pool_host *host);
const struct limits_stats *pool_limits_stats(const struct pool *pool);

void pool_get_stats(const struct pool *pool, struct pool_stats *stats);

/* For tests: compares every count with the lists and checks every invariant; NULL, or what is
 * wrong. */
const char *pool_check(const struct pool *pool);

#endif
