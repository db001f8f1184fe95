/* SPDX-License-Identifier: ISC */
/* The keep-alive manager's decisions, without its deeds: hosts, waiters, limits, order, counts.
 * Numbers in brackets are statements of tests/conformance/POOL.
 *
 * The core is given events, with the time where it matters, and says what is to be done. It does
 * nothing itself: no descriptor, no loop, no clock, no log, no callback, and no memory but that of
 * its tables. Connections, hosts and requests are embedded in what its user, pool_io.c, has for
 * them.
 *
 * After one or more events the user calls pool_core_next until nothing is left to do. It may
 * collect actions and do them later (several loops are meant to share a core under one lock, and
 * do the system calls outside): what is in its hands is left alone until it has reported, and a
 * place is counted until close(2) was called. What still happens to a connection that is to be
 * closed has no effect.
 *
 *     DIAL         begin to connect to this host: pool_core_dialling, then pool_core_connected or
 *                  pool_core_dial_failed. Or pool_core_dial_refused, where it cannot begin
 *     CANCEL_DIAL  nobody needs this dial: end it, and pool_core_closed; but if its TCP connection
 *                  is made already it is to finish: pool_core_dial_kept
 *     PEEK         look at this connection's socket: pool_core_peeked
 *     CLOSE        close it, in order or with a reset: pool_core_closed
 *     FAIL         this request will have no connection: its owner is to be called
 *
 * A request is granted a connection, or fails by a dial, through an event of that connection, which
 * returns it: its owner is to be called. Whoever does so calls pool_core_delivered; until then it
 * may be cancelled. */
#ifndef KAPROXY_POOL_CORE_H
#define KAPROXY_POOL_CORE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/heap.h"
#include "base/service.h"
#include "base/util.h"
#include "net/endpoint.h"
#include "pool/pool_types.h"

enum core_conn_state {
    CONN_NEW,
    CONN_CONNECTING,
    CONN_BUSY,
    CONN_HELD, /* leased for as long as its user likes: not under max_per_host [31] */
    CONN_IDLE,
    CONN_CLOSING, /* to be closed: its place is not free yet */
    CONN_CLOSED,
    CONN_STATES
};

enum core_request_state {
    CORE_REQUEST_ENDED,   /* not in use */
    CORE_REQUEST_OFFERED, /* an idle connection is peeked at for it */
    CORE_REQUEST_WAITING,
    CORE_REQUEST_GRANTED, /* or failed: to be delivered */
    CORE_REQUEST_LEASED
};

/* Why a request fails. */
enum core_request_failure {
    CORE_REQUEST_TOO_LATE,  /* its time was over when it came [21] */
    CORE_REQUEST_TIMED_OUT, /* [20] */
    CORE_REQUEST_TOO_MANY,  /* max_waiting [15] */
    CORE_REQUEST_SHUTDOWN,  /* [27] */
    CORE_REQUEST_DOWN,      /* its host is down [40] */
    CORE_REQUEST_DRAINED,   /* its host drains [45] */
    CORE_REQUEST_DIAL       /* a dial failed: the user knows how */
};

enum pool_action_kind {
    POOL_NOTHING,
    POOL_DIAL,
    POOL_CANCEL_DIAL,
    POOL_PEEK,
    POOL_CLOSE,
    POOL_FAIL
};

struct pool_action {
    enum pool_action_kind kind;
    bool preconnect;              /* DIAL: ahead of any waiter */
    struct core_host *host;       /* DIAL */
    struct core_conn *conn;       /* CANCEL_DIAL, PEEK, CLOSE */
    struct core_request *request; /* FAIL */
};

/* What a peek finds. */
enum pool_peek {
    POOL_PEEK_QUIET,
    /* Not peeked: the last read took all there was. As good as quiet, unless somebody waits who
     * would use the connection at once. */
    POOL_PEEK_DRAINED,
    POOL_PEEK_PARTIAL,  /* as quiet, but a part of a TLS record is in memory */
    POOL_PEEK_DATA,     /* bytes, and no end behind them */
    POOL_PEEK_DATA_END, /* bytes, and perhaps an end */
    POOL_PEEK_EOF,
    POOL_PEEK_ERROR
};

TAILQ_HEAD(core_conn_list, core_conn);
TAILQ_HEAD(core_request_list, core_request);
TAILQ_HEAD(core_host_list, core_host);
TAILQ_HEAD(core_pending_list, core_pending);

/* What the user is to do. A connection's stays until the user has reported. */
struct core_pending {
    enum pool_action_kind kind;
    TAILQ_ENTRY(core_pending) link;
};

/* Something that is due at a time. */
struct core_due {
    struct heap_node node;
    enum { DUE_DEADLINE, DUE_IDLE_HINT, DUE_RETRY } kind;
};

/* The fields below are the core's; users read those that the first group has. */

/* What a request is to get, and within which time. */
struct core_wish {
    const struct pool_tag *tag; /* the connection it would like best [33]; NULL: any is as good.
                                   Borrowed until the grant */
    usec_t timeout;             /* 0: the pool's; negative: fails at once */
    bool fresh;                 /* only a connection that nobody has used before */
};

struct core_request {
    enum core_request_state state;
    bool fresh;                 /* as wished */
    bool has_dial;              /* WAITING: a dial is under way for it; as it was, when it failed */
    enum from_cache from_cache; /* GRANTED, with conn */
    enum core_request_failure failure; /* GRANTED, without */
    bool paused;                       /* of one that timed out: its host was, */
    enum pool_limit limit;             /* or else what held it up, */
    unsigned queued;                   /* and how many waited there, without a dial */
    int64_t serial;                    /* in order of arrival */
    struct core_host *host;            /* OFFERED, WAITING, and GRANTED without conn */
    struct core_conn *conn;            /* OFFERED, GRANTED, LEASED */

    const struct pool_tag *tag; /* as wished, and borrowed until the grant */
    usec_t deadline;
    struct core_due due; /* WAITING */
    struct core_pending pending;
    TAILQ_ENTRY(core_request) link;    /* WAITING: in its host's waiters */
    TAILQ_ENTRY(core_request) arrival; /* and in all of them */
};

struct core_conn {
    struct core_host *host;
    enum core_conn_state state, was; /* was: before its last change of state */
    unsigned uses;                   /* grants so far, the present one included */
    bool address_gone;               /* its address is gone from its name */
    bool retired;                    /* it is not to be used again [46] */
    bool ended_unused;               /* CLOSING: by the upstream, as soon as it had begun */
    bool reset;                      /* CLOSING: with a reset */
    enum pool_discard reason;        /* CLOSING */

    bool tcp_connected;         /* CONNECTING: as far as we know, TCP is connected */
    bool overdue;               /* CONNECTING: it counts as failed already [39] */
    struct core_request *lease; /* BUSY, HELD */
    bool may_hold;              /* BUSY: one of max_tunnels is reserved for it */
    usec_t born;                /* when it was connected */
    usec_t max_age;             /* the pool's, or up to 10 % less; 0: any age */
    usec_t idle_hint;           /* the upstream's; 0: none */
    usec_t idle_since, idle_until;
    struct pool_tag tag;
    struct core_due due; /* IDLE with a hint shorter than keep_alive */
    struct core_pending pending;
    TAILQ_ENTRY(core_conn) link; /* in its host's list of its state */
    TAILQ_ENTRY(core_conn) lru;  /* IDLE: in the pool's list, longest idle first */
};

struct core_host {
    struct endpoint endpoint;
    bool keeps_preconnected; /* what is wished, as far as the pool's limits and phase have it */
    enum service service;    /* not open: it has neither dials, but for those that end, nor idle
                                connections [43 to 45] */
    bool down;               /* nobody waits then [39, 40] */

    struct pool_core *core;
    unsigned most_open; /* max_per_host, or its places if these are fewer [55] */
    unsigned most_held; /* the same of max_tunnels */
    bool over;          /* more are open than may be, since that was lowered [49] */
    struct core_conn_list conns[CONN_STATES]; /* IDLE and CONNECTING: newest first */
    unsigned count[CONN_STATES];
    unsigned to_dial;                 /* places of dials that the user has not begun yet */
    unsigned in_question;             /* dials with CANCEL_DIAL */
    unsigned may_hold;                /* connections with that mark */
    unsigned closing_held;            /* of those CLOSING: were held */
    struct core_request_list waiters; /* oldest first */
    unsigned waiting;
    unsigned choosing; /* of these: want a tag, and not a fresh connection */
    /* Dials are not tied to waiters, but each dial under way is for one: the oldest min(dials,
     * waiters) have one, and the next one is the one that wants another dial. */
    unsigned have_dial;
    struct core_request *without_dial; /* the oldest waiter without one, or NULL */
    /* In core->needs_dial while that one could use a free place, or the host is down and is to be
     * tried [41]. */
    struct heap_node needs_dial;
    unsigned places, held_places; /* UINT_MAX: as many as max_per_host and max_tunnels say */
    bool retained;                /* stays when it is empty */
    bool unwanted;                /* the configuration does not name it any more [53] */
    bool wishes_preconnected;
    bool sends_greeting;     /* early bytes on an unused connection are for its first user */
    bool wants_preconnected; /* in core->wanting */
    bool has_excess;         /* in core->excess */
    bool settles;            /* in core->settling */
    bool empty;              /* in core->empties */
    bool listed;             /* any of these, or in core->needs_dial */
    unsigned undelivered;    /* requests that failed, whose owners are to be called */
    unsigned failed;         /* dials in a row that failed, until it is down */
    usec_t backoff;          /* the last pause between dials that nobody waits for: for
                                preconnected connections, or while it is down */
    struct core_due retry;   /* set: such a pause */
    struct host_stats stats;
    TAILQ_ENTRY(core_host) hosts;
    TAILQ_ENTRY(core_host) wanting;
    TAILQ_ENTRY(core_host) excess;
    TAILQ_ENTRY(core_host) settling;
    TAILQ_ENTRY(core_host) empties;
};

enum pool_phase { POOL_OPEN, POOL_DRAINING, POOL_SHUT };

struct pool_core {
    struct pool_limits limits; /* those in effect, defaults included */
    enum pool_phase phase;
    enum service service; /* of hosts to come */
    unsigned new_places;  /* of hosts to come */
    bool over;            /* more is open than max_open, since that was lowered [49] */
    bool retired;         /* no host is wanted [54] */
    bool relaxed;         /* max_connecting or max_tunnels was lowered: there may be more */
    struct core_host_list hosts;

    uint64_t random;
    void *tree; /* tsearch(3): the endpoints of the hosts */
    size_t host_count;
    int64_t serial; /* of the last request */
    unsigned count[CONN_STATES];
    unsigned to_dial, in_question; /* of all hosts */
    struct core_conn_list idle;    /* longest idle first */
    struct heap needs_dial;        /* hosts by the serial of their oldest waiter without a dial, or
                                      of the end of their pause [41] */
    struct core_host_list wanting; /* hosts that want preconnected connections */
    struct core_host_list excess;  /* hosts with dials that nobody waits for */
    /* Hosts with a waiter without a dial, and idle connections that it wants less than a new one:
     * it settles for one of these when no dial can begin. */
    struct core_host_list settling;
    struct core_host_list empties;    /* hosts to be freed */
    struct core_request_list waiters; /* of all hosts, oldest first */
    struct core_pending_list pending;
    struct heap due;
    usec_t next_time;       /* no later than what is due, or idle for too long, first */
    size_t members;         /* who may come to be in it: hosts, connections, requests */
    unsigned waiting;       /* requests */
    unsigned queued;        /* of these: without a dial under way for them */
    unsigned down;          /* hosts that are */
    struct pool_stats gone; /* what hosts that are gone have counted */
};

/* The core. */

/* `random` spreads what should not happen in step. */
void pool_core_init(struct pool_core *core, const struct pool_limits *limits, uint64_t random);

/* No host may be left. */
void pool_core_clear(struct pool_core *core);

/* What is to be done next; false: nothing, until there is another event. */
bool pool_core_take(struct pool_core *core, struct pool_action *action);
static inline bool pool_core_next(struct pool_core *core, struct pool_action *action)
{
    bool idle = TAILQ_EMPTY(&core->pending) && core->needs_dial.count == 0 &&
                TAILQ_EMPTY(&core->wanting) && TAILQ_EMPTY(&core->settling); /* mostly */
    return !idle && pool_core_take(core, action);
}

/* When pool_core_tick is due, or some time before that; INT64_MAX: never. */
static inline usec_t pool_core_next_time(const struct pool_core *core)
{
    return core->next_time;
}

/* Time has come to `now`. */
void pool_core_tick(struct pool_core *core, usec_t now);

/* Closes what is idle and keeps nothing idle from now on; with POOL_SHUT waiters fail as well,
 * dials end, and requests are refused [27]. A phase is not left for an earlier one. */
void pool_core_enter_phase(struct pool_core *core, enum pool_phase phase);

void pool_core_get_stats(const struct pool_core *core, struct pool_stats *stats);

/* As pool_set_limits in pool.h; and none of the hosts, nor of those to come, is wanted, or what was
 * said of each holds again. */
void pool_core_set_limits(struct pool_core *core, const struct pool_limits *limits, usec_t now);
void pool_core_set_retired(struct pool_core *core, bool retired);

/* Compares every count with the lists and every invariant; NULL, or what is wrong. */
const char *pool_core_check(const struct pool_core *core);

/* When pool_core_next says that nothing is left to do: has whoever could be served been served? */
const char *pool_core_check_served(const struct pool_core *core);

/* Hosts. */

struct core_host *pool_core_find_host(const struct pool_core *core,
                                      const struct endpoint *endpoint);

/* Takes a host in whose `endpoint` is set and the rest is zero. 0, or -1 with ENOMEM. */
MUST_CHECK int pool_core_add_host(struct pool_core *core, struct core_host *host);

/* A host that nothing needs any more, for the user to remove and free; NULL: none. */
static inline struct core_host *pool_core_empty_host(const struct pool_core *core)
{
    return TAILQ_FIRST(&core->empties);
}
void pool_core_remove_host(struct core_host *host);

/* Whether it stays when it is empty. */
void pool_core_retain_host(struct core_host *host, bool retain);

/* Keeps min_idle preconnected connections to it from now on, as long as the pool is open. */
void pool_core_set_preconnected(struct core_host *host, bool keep);
void pool_core_set_greeting(struct core_host *host, bool sends);

/* As pool_set_wanted in pool.h. */
void pool_core_set_wanted(struct core_host *host, bool wanted);
/* As pool_set_places, pool_set_new_places and pool_set_held_places. */
void pool_core_set_places(struct core_host *host, unsigned places);
void pool_core_set_new_places(struct pool_core *core, unsigned places);
void pool_core_set_held_places(struct core_host *host, unsigned places);
struct pool_places pool_core_view_places(const struct core_host *host);

/* Which limit holds up those of its waiters that have no dial, where it is open. */
enum pool_limit pool_core_limit(const struct core_host *host);

/* From now on it is open, paused or draining [43 to 45]. */
void pool_core_set_service(struct core_host *host, enum service service);
/* All hosts are, and those that are added later. */
void pool_core_set_all_service(struct pool_core *core, enum service service);

/* Whatever connection there is to it now, or is being dialled, is not used again [46]. */
void pool_core_reconnect(struct core_host *host);

/* When a host that is down is tried again; 0: no pause holds that up. */
static inline usec_t pool_core_next_try(const struct core_host *host)
{
    return heap_contains(&host->retry.node) ? host->retry.node.key : 0;
}

/* Dials. */

/* A dial has begun, with this connection, all of which is zero. 0, or -1 with ENOMEM, and nothing
 * has changed. */
MUST_CHECK int pool_core_dialling(struct core_host *host, struct core_conn *conn, bool preconnect);

/* It cannot begin. The waiter that fails by it, or NULL; its owner is to be called. */
MUST_CHECK struct core_request *pool_core_dial_refused(struct core_host *host, bool preconnect,
                                                       usec_t now);

void pool_core_dial_kept(struct core_conn *conn);

/* It has failed, which fails the oldest waiter of its host, and only that one, unless the host is
 * down by it [39]: returned, or NULL; its owner is to be called. `by_host`: not for a shortage or a
 * mistake of ours. */
MUST_CHECK struct core_request *pool_core_dial_failed(struct core_conn *conn, bool by_host,
                                                      usec_t now);

/* A waiter's time is over, all of which a dial for it had: that counts as a failure of the oldest
 * one of the host's dials that has not failed so yet, and is not counted again when it fails; of
 * none if there is no such dial [39]. */
void pool_core_dial_overdue(struct core_host *host, usec_t now);

/* A dial has ended that was tried again so often. */
static inline void pool_core_count_retries(struct core_host *host, unsigned retries)
{
    counter_add(&host->stats.retries, retries);
}

/* `readable`: something has come right behind the connection, of which no other event will tell.
 * Returned is the request that has it now, or NULL. */
MUST_CHECK struct core_request *pool_core_connected(struct core_conn *conn, bool readable,
                                                    usec_t now);

/* Connections. */

/* Returned is the request that has it now, or NULL. */
MUST_CHECK struct core_request *pool_core_peeked(struct core_conn *conn, enum pool_peek peek,
                                                 usec_t now);

/* Something happened on an idle connection, and this is what a peek found [19]. One that is not
 * idle any more is left alone. */
void pool_core_idle_event(struct core_conn *conn, enum pool_peek peek, usec_t now);

/* Whether its address is gone from its name. If so it is not used again. */
void pool_core_set_address_gone(struct core_conn *conn, bool gone);

/* It is closed; the core knows it no longer. */
void pool_core_closed(struct core_conn *conn);

/* Requests. */

/* Asks for a connection to a host. 0, or -1 with ENOMEM. Not after POOL_SHUT. */
MUST_CHECK int pool_core_request(struct core_host *host, struct core_request *request,
                                 const struct core_wish *wish, usec_t now);

/* Takes it back in any stage before it is delivered [28]. What was granted is peeked at, and goes
 * to the next one. */
void pool_core_cancel(struct pool_core *core, struct core_request *request);

/* Its owner is about to be called: with a connection, or because of what failed. */
void pool_core_failure_delivered(struct core_request *request, enum pool_failed failed);
static inline void pool_core_delivered(struct core_request *request, enum pool_failed failed)
{
    if (request->conn == NULL) {
        pool_core_failure_delivered(request, failed);
        return;
    }
    request->state = CORE_REQUEST_LEASED;
    counter_add(&request->conn->host->stats.grants[request->from_cache], 1);
}

/* The connection of a lease. NULL when there is none: a programming error [29], which must not end
 * up as somebody else's connection. */
struct core_conn *pool_core_leased(const struct core_request *lease);

/* Whether a connection that comes back may be for somebody who waits: then POOL_PEEK_DRAINED will
 * not do. */
static inline bool pool_core_has_waiters(const struct core_conn *conn)
{
    return conn->host->waiting > 0;
}

/* The end of a lease: its connection is fit for reuse as far as its user knows, and as a peek says.
 * Returned is the request that has it now, or NULL. */
MUST_CHECK struct core_request *pool_core_release(struct core_request *lease, enum pool_peek peek,
                                                  usec_t now);
void pool_core_discard(struct core_request *lease, enum pool_discard reason, bool reset);

/* As pool_can_hold, pool_reserve_hold, pool_hold, pool_unhold and pool_set_idle_hint in pool.h. */
bool pool_core_can_hold(const struct core_host *host);
MUST_CHECK bool pool_core_reserve_hold(struct core_request *lease);
void pool_core_hold(struct core_request *lease);
MUST_CHECK bool pool_core_unhold(struct core_request *lease);
void pool_core_set_idle_hint(struct core_request *lease, usec_t idle_hint);

/* As pool_set_tag and pool_discard_tagged in pool.h. */
void pool_core_set_tag(struct core_request *lease, const struct pool_tag *tag);
void pool_core_discard_tagged(struct core_host *host,
                              const unsigned char identity[POOL_IDENTITY_SIZE],
                              enum pool_discard reason);

#endif
