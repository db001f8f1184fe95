/* SPDX-License-Identifier: ISC */
/* The keep-alive manager's decisions, without its actions: hosts, waiters, limits, order, counts.
 * Numbers in brackets are statements of tests/conformance/POOL.
 *
 * The core is given events, with the time where it matters, and says what is to be done. It does
 * nothing itself: no descriptor, no loop, no clock, no log, no callback, and no memory except that
 * of its tables. Connections, hosts and requests are embedded in the structs of its user,
 * pool_io.c.
 *
 * After one or more events the user calls pool_core_next until nothing is left to do. It may
 * collect actions and do them later (several loops are meant to share a core under one lock, and
 * make the system calls outside it): what it is working on is left alone until it has reported, and
 * a place is counted until close(2) was called. Further events of a connection that is to be closed
 * have no effect.
 *
 *     DIAL         begin to connect to this host: pool_core_dialling, then pool_core_connected or
 *                  pool_core_dial_failed. Or pool_core_dial_refused, if it cannot begin
 *     CANCEL_DIAL  this dial is not needed: end it, and pool_core_closed; but if its TCP
 *                  connection is already established, it is to finish: pool_core_dial_kept
 *     PEEK         peek at this connection's socket: pool_core_peeked
 *     CLOSE        close it, in order or with a reset: pool_core_closed
 *     FAIL         this request will not get a connection: its owner is to be called
 *
 * A request is granted a connection, or fails by a dial, through an event of that connection, which
 * returns the request: its owner is to be called. The user that does so calls pool_core_delivered;
 * until then the request may be cancelled. */
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
    CORE_REQUEST_TOO_LATE,  /* its time had expired when it arrived [21] */
    CORE_REQUEST_TIMED_OUT, /* [20] */
    CORE_REQUEST_TOO_MANY,  /* max_waiting [15] */
    CORE_REQUEST_SHUTDOWN,  /* [27] */
    CORE_REQUEST_DOWN,      /* its host is down [40] */
    CORE_REQUEST_DRAINED,   /* its host is draining [45] */
    CORE_REQUEST_DIAL       /* a dial failed: the user knows why */
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

/* The result of a peek. */
enum pool_peek {
    POOL_PEEK_QUIET,
    /* Not peeked: the last read consumed everything. As good as quiet, unless a waiter would use
     * the connection at once. */
    POOL_PEEK_DRAINED,
    POOL_PEEK_PARTIAL,  /* as quiet, but part of a TLS record is in memory */
    POOL_PEEK_DATA,     /* bytes, and no end after them */
    POOL_PEEK_DATA_END, /* bytes, and possibly an end */
    POOL_PEEK_EOF,
    POOL_PEEK_ERROR
};

TAILQ_HEAD(core_conn_list, core_conn);
TAILQ_HEAD(core_request_list, core_request);
TAILQ_HEAD(core_host_list, core_host);
TAILQ_HEAD(core_pending_list, core_pending);

/* An action for the user. That of a connection stays until the user has reported. */
struct core_pending {
    enum pool_action_kind kind;
    TAILQ_ENTRY(core_pending) link;
};

/* Something that is due at a time. */
struct core_due {
    struct heap_node node;
    enum { DUE_DEADLINE, DUE_IDLE_HINT, DUE_RETRY } kind;
};

/* The fields below are the core's; users read those of the first group in each struct. */

/* What a request needs, and within which time. */
struct core_wish {
    const struct pool_tag *tag; /* the connection it would like best [33]; NULL: any is as good.
                                   Borrowed until the grant */
    usec_t timeout;             /* 0: the pool's; negative: fails at once */
    bool fresh;                 /* only a connection that was not used before */
};

struct core_request {
    enum core_request_state state;
    bool fresh;    /* as requested */
    bool has_dial; /* WAITING: a dial is under way for it; when it failed, whether one was */
    enum from_cache from_cache;        /* GRANTED, with conn */
    enum core_request_failure failure; /* GRANTED, without */
    bool paused;                       /* when it timed out: its host was, */
    enum pool_limit limit;             /* or else the limit that held it up, */
    unsigned queued;                   /* and how many waited for that, without a dial */
    int64_t serial;                    /* in order of arrival */
    struct core_host *host;            /* OFFERED, WAITING, and GRANTED without conn */
    struct core_conn *conn;            /* OFFERED, GRANTED, LEASED */

    const struct pool_tag *tag; /* as requested, and borrowed until the grant */
    usec_t deadline;
    struct core_due due; /* WAITING */
    struct core_pending pending;
    TAILQ_ENTRY(core_request) link;    /* WAITING: in its host's waiters */
    TAILQ_ENTRY(core_request) arrival; /* and in all of them */
};

struct core_conn {
    struct core_host *host;
    enum core_conn_state state, was; /* was: before its last change of state */
    unsigned uses;                   /* grants so far, including the current one */
    bool address_gone;               /* its address is no longer one of its name */
    bool retired;                    /* it must not be used again [46] */
    bool ended_unused;               /* CLOSING: by the upstream, right after the start */
    bool reset;                      /* CLOSING: with a reset */
    enum pool_discard reason;        /* CLOSING */

    bool tcp_connected;         /* CONNECTING: TCP is connected, as far as we know */
    bool overdue;               /* CONNECTING: already counted as failed [39] */
    struct core_request *lease; /* BUSY, HELD */
    bool may_hold;              /* BUSY: one of max_tunnels is reserved for it */
    usec_t born;                /* when it was connected */
    usec_t max_age;             /* the pool's, or up to 10 % less; 0: no limit */
    usec_t idle_hint;           /* the upstream's; 0: none */
    usec_t idle_since, idle_until;
    struct pool_tag tag;
    struct core_due due; /* IDLE with a hint shorter than keep_alive */
    struct core_pending pending;
    TAILQ_ENTRY(core_conn) link; /* in its host's list for its state */
    TAILQ_ENTRY(core_conn) lru;  /* IDLE: in the pool's list, longest idle first */
};

struct core_host {
    struct endpoint endpoint;
    bool keeps_preconnected; /* as requested, if the pool's limits and phase allow it */
    enum service service;    /* not open: it has neither dials, except those being ended, nor idle
                                connections [43 to 45] */
    bool down;               /* nothing waits then [39, 40] */

    struct pool_core *core;
    unsigned most_open; /* max_per_host, or its places if these are fewer [55] */
    unsigned most_held; /* the same for max_tunnels */
    bool over;          /* more are open than allowed, since that was lowered [49] */
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
     * waiters) have one, and the next waiter is the one that needs another dial. */
    unsigned have_dial;
    struct core_request *without_dial; /* the oldest waiter without one, or NULL */
    /* In core->needs_dial while that waiter could use a free place, or while the host is down and
     * is to be tried [41]. */
    struct heap_node needs_dial;
    unsigned places, held_places; /* UINT_MAX: as many as max_per_host and max_tunnels allow */
    bool retained;                /* stays when it is empty */
    bool unwanted;                /* the configuration no longer names it [53] */
    bool wishes_preconnected;
    bool sends_greeting;     /* early bytes on an unused connection are for its first user */
    bool wants_preconnected; /* in core->wanting */
    bool has_excess;         /* in core->excess */
    bool settles;            /* in core->settling */
    bool empty;              /* in core->empties */
    bool listed;             /* any of these, or in core->needs_dial */
    unsigned undelivered;    /* requests that failed, whose owners are to be called */
    unsigned failed;         /* consecutive failed dials, until it is down */
    usec_t backoff;          /* the last pause between dials that no waiter needs: for preconnected
                                connections, or while it is down */
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
    struct pool_limits limits; /* those in effect, including defaults */
    enum pool_phase phase;
    enum service service; /* of future hosts */
    unsigned new_places;  /* of future hosts */
    bool over;            /* more than max_open are open, since that was lowered [49] */
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
    struct heap needs_dial; /* hosts by the serial of their oldest waiter without a dial, or of the
                               end of their pause [41] */
    struct core_host_list wanting; /* hosts that need preconnected connections */
    struct core_host_list excess;  /* hosts with dials that no waiter needs */
    /* Hosts with a waiter without a dial, and with idle connections that it likes less than a new
     * one: it settles for one of these if no dial can begin. */
    struct core_host_list settling;
    struct core_host_list empties;    /* hosts to be freed */
    struct core_request_list waiters; /* of all hosts, oldest first */
    struct core_pending_list pending;
    struct heap due;
    usec_t next_time;       /* no later than the first due time or idle limit */
    size_t members;         /* everything that may be in it: hosts, connections, requests */
    unsigned waiting;       /* requests */
    unsigned queued;        /* of these: without a dial under way for them */
    unsigned down;          /* hosts that are */
    struct pool_stats gone; /* the counts of hosts that are gone */
};

/* The core. */

/* `random` spreads what should not happen in step. */
void pool_core_init(struct pool_core *core, const struct pool_limits *limits, uint64_t random);

/* No host may be left. */
void pool_core_clear(struct pool_core *core);

/* The next thing to do; false: nothing, until there is another event. */
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

/* The time is now `now`. */
void pool_core_tick(struct pool_core *core, usec_t now);

/* Closes idle connections and keeps none from now on; with POOL_SHUT waiters fail as well, dials
 * end, and requests are refused [27]. Phases only advance. */
void pool_core_enter_phase(struct pool_core *core, enum pool_phase phase);

void pool_core_get_stats(const struct pool_core *core, struct pool_stats *stats);

/* As pool_set_limits in pool.h; and no host, including future ones, is wanted, or what was set for
 * each applies again. */
void pool_core_set_limits(struct pool_core *core, const struct pool_limits *limits, usec_t now);
void pool_core_set_retired(struct pool_core *core, bool retired);

/* Compares every count with the lists and checks every invariant; NULL, or what is wrong. */
const char *pool_core_check(const struct pool_core *core);

/* When pool_core_next has nothing left to do: has every request been served that could be? */
const char *pool_core_check_served(const struct pool_core *core);

/* Hosts. */

struct core_host *pool_core_find_host(const struct pool_core *core,
                                      const struct endpoint *endpoint);

/* Adds a host whose `endpoint` is set and the rest is zero. 0, or -1 with ENOMEM. */
MUST_CHECK int pool_core_add_host(struct pool_core *core, struct core_host *host);

/* A host that is no longer needed, for the user to remove and free; NULL: none. */
static inline struct core_host *pool_core_empty_host(const struct pool_core *core)
{
    return TAILQ_FIRST(&core->empties);
}
void pool_core_remove_host(struct core_host *host);

/* Whether it stays when it is empty. */
void pool_core_retain_host(struct core_host *host, bool retain);

/* Keeps min_idle preconnected connections to it from now on, while the pool is open. */
void pool_core_set_preconnected(struct core_host *host, bool keep);
void pool_core_set_greeting(struct core_host *host, bool sends);

/* As pool_set_wanted in pool.h. */
void pool_core_set_wanted(struct core_host *host, bool wanted);
/* As pool_set_places, pool_set_new_places and pool_set_held_places. */
void pool_core_set_places(struct core_host *host, unsigned places);
void pool_core_set_new_places(struct pool_core *core, unsigned places);
void pool_core_set_held_places(struct core_host *host, unsigned places);
struct pool_places pool_core_view_places(const struct core_host *host);

/* The limit that holds up its waiters without a dial, if it is open. */
enum pool_limit pool_core_limit(const struct core_host *host);

/* From now on it is open, paused or draining [43 to 45]. */
void pool_core_set_service(struct core_host *host, enum service service);
/* The same for all hosts, including those added later. */
void pool_core_set_all_service(struct pool_core *core, enum service service);

/* Existing connections to it, including those being dialled, are not used again [46]. */
void pool_core_reconnect(struct core_host *host);

/* When a host that is down is tried again; 0: it is not delayed by a pause. */
static inline usec_t pool_core_next_try(const struct core_host *host)
{
    return heap_contains(&host->retry.node) ? host->retry.node.key : 0;
}

/* Dials. */

/* A dial has begun, with this connection, which is all zero. 0, or -1 with ENOMEM, and nothing has
 * changed. */
MUST_CHECK int pool_core_dialling(struct core_host *host, struct core_conn *conn, bool preconnect);

/* The dial cannot begin. Returns the waiter that fails by it, or NULL; its owner is to be
 * called. */
MUST_CHECK struct core_request *pool_core_dial_refused(struct core_host *host, bool preconnect,
                                                       usec_t now);

void pool_core_dial_kept(struct core_conn *conn);

/* The dial has failed. This fails the oldest waiter of its host, and only that one, unless it takes
 * the host down [39]: returned, or NULL; its owner is to be called. `by_host`: not because of a
 * shortage or a mistake on our side. */
MUST_CHECK struct core_request *pool_core_dial_failed(struct core_conn *conn, bool by_host,
                                                      usec_t now);

/* A waiter has timed out, and a dial for it had all that time: this counts as a failure of the
 * oldest of the host's dials that has not yet failed in this way, which is not counted again when
 * it fails; if there is no such dial, nothing is counted [39]. */
void pool_core_dial_overdue(struct core_host *host, usec_t now);

/* A dial has ended that was retried so often. */
static inline void pool_core_count_retries(struct core_host *host, unsigned retries)
{
    counter_add(&host->stats.retries, retries);
}

/* `readable`: something arrived right after the connection was made, for which there will be no
 * other event. Returns the request that has the connection now, or NULL. */
MUST_CHECK struct core_request *pool_core_connected(struct core_conn *conn, bool readable,
                                                    usec_t now);

/* Connections. */

/* Returns the request that has it now, or NULL. */
MUST_CHECK struct core_request *pool_core_peeked(struct core_conn *conn, enum pool_peek peek,
                                                 usec_t now);

/* Something happened on an idle connection, with this result of a peek [19]. A connection that is
 * no longer idle is left alone. */
void pool_core_idle_event(struct core_conn *conn, enum pool_peek peek, usec_t now);

/* Whether its address is no longer one of its name. If so it is not used again. */
void pool_core_set_address_gone(struct core_conn *conn, bool gone);

/* It is closed; the core no longer knows it. */
void pool_core_closed(struct core_conn *conn);

/* Requests. */

/* Asks for a connection to a host. 0, or -1 with ENOMEM. Not after POOL_SHUT. */
MUST_CHECK int pool_core_request(struct core_host *host, struct core_request *request,
                                 const struct core_wish *wish, usec_t now);

/* Cancels it in any stage before it is delivered [28]. A granted connection is peeked at, and goes
 * to the next request. */
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

/* The connection of a lease. NULL if there is none: a programming error [29], which must not affect
 * another lease's connection. */
struct core_conn *pool_core_leased(const struct core_request *lease);

/* Whether a returned connection may be for a waiter: then POOL_PEEK_DRAINED is not enough. */
static inline bool pool_core_has_waiters(const struct core_conn *conn)
{
    return conn->host->waiting > 0;
}

/* The end of a lease: its connection is fit for reuse as far as its user knows, and according to a
 * peek. Returns the request that has it now, or NULL. */
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
