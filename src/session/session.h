/* SPDX-License-Identifier: ISC */
/* One client from accept to close: requests a connection from the pool, relays, releases it. */
#ifndef KAPROXY_SESSION_H
#define KAPROXY_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/metric.h"
#include "base/scratch.h"
#include "base/service.h"
#include "base/util.h"
#include "config/config.h"
#include "net/loop.h"
#include "net/relay.h"
#include "net/repeats.h"
#include "pool/pool.h"

struct protocol;
struct session;
TAILQ_HEAD(session_list, session);

/* A client's address as text. */
#define SESSION_PEER_MAX 64

/* How a session ended; each has a counter. */
#define SESSION_ENDS(X)                                                                            \
    X(SESSION_COMPLETE, "complete")         /* both sides ended in order */                        \
    X(SESSION_CLIENT_LEFT, "client_left")   /* before it got a connection, or abort_on_close */    \
    X(SESSION_CLIENT_RESET, "client_reset") /* the client broke the connection */                  \
    X(SESSION_UPSTREAM_RESET, "upstream_reset")   /* the upstream broke the connection */          \
    X(SESSION_UPSTREAM_CLOSED, "upstream_closed") /* framed: before the end of a response */       \
    X(SESSION_BAD_REQUEST, "bad_request")         /* framed: rejected, with a local reply */       \
    X(SESSION_BAD_RESPONSE, "bad_response")       /* framed: the upstream violated the framing */  \
    X(SESSION_ALLOC_FAILED, "alloc_failed")       /* no connection was available */                \
    X(SESSION_IDLE_TIMEOUT, "idle_timeout")       /* nothing moved for too long */                 \
    X(SESSION_SHUTDOWN, "shutdown")               /* reset at the end of shutdown_timeout */       \
    X(SESSION_ERROR, "error")                     /* a shortage of our own: memory */

enum session_end {
#define X(name, text) name,
    SESSION_ENDS(X)
#undef X
        SESSION_END_COUNT
};
const char *session_end_name(enum session_end end);

/* Counters of a listener: a metric block. Written by the worker's thread. */
struct listener_stats {
    struct gauge sessions;
    struct gauge waiting;          /* for the end of a pause */
    struct gauge paused, draining; /* 0 or 1: by the operator; draining also at a stop */
    struct counter accepted;
    struct counter bytes[2];                /* up, down: of those that have ended */
    struct counter ends[SESSION_END_COUNT]; /* of sessions, or exchanges (framed) */
    struct histogram duration;              /* of these */
    struct counter local_replies;
};
extern const struct metric_set listener_metrics;

/* All counters of a listener. Its contexts share them, each with a reference, so that they continue
 * across configurations. For the worker's thread. */
struct listener_counters {
    unsigned references;
    struct listener_stats stats;
    max_align_t of_protocol[]; /* its protocol's block (struct protocol: metrics) */
};
/* One reference is the caller's. NULL with ENOMEM. */
struct protocol;
struct listener_counters *listener_counters_new(const struct protocol *protocol);
struct listener_counters *listener_counters_ref(struct listener_counters *counters);
void listener_counters_unref(struct listener_counters *counters); /* NULL is harmless */

/* What all sessions of a worker use; borrowed. */
struct session_worker {
    struct loop *loop;
    struct scratch scratch;
    struct scratch compose;      /* http: HTTP1_COMPOSE_MAX bytes */
    struct pipes *pipes;         /* NULL: nothing is spliced */
    struct keyed_digest *digest; /* redis: for identities */
};

/* What the sessions of one listener share. */
struct listener_context {
    /* Constant. Set by the listener, except for the last one. */
    const struct config_listener *config;
    const struct protocol *protocol;
    /* A session has ended and was freed. */
    void (*ended)(struct listener_context *context);
    char upstream[ENDPOINT_TEXT_MAX];

    /* For the worker: the listener sets the first three. */
    struct session_worker worker;
    struct pool *pool;
    struct tls_client *tls;      /* TLS to the upstream; NULL: none. From
                                    listener_context_init on the host's, which may be another
                                    one with the same settings */
    struct pool_host *pool_host; /* the upstream's, retained */
    usec_t unacked_timeout;      /* the pool's */
    bool draining;               /* sessions end as soon as they can */
    bool retiring;               /* responses tell clients to reconnect; none is truncated */
    bool is_paused;              /* by the operator: no session requests a connection */
    bool queues; /* it is paused, or sessions that waited for its end are still waiting */
    struct session_list sessions;      /* oldest first */
    struct session_list free_sessions; /* ended ones, a free list */
    unsigned free_session_count;
    struct session *drain_next; /* the next one for drain_task; NULL: it has finished */
    struct task drain_task;
    struct session_list paused; /* sessions that wait for the end of the pause, oldest first */
    unsigned paused_count;
    struct timer pause_timer; /* set no later than the end of the first one's time */
    struct task resume_task;
    struct repeats repeats;             /* of messages about its sessions */
    struct listener_counters *counters; /* NULL before listener_context_init: its own */

    /* The protocol's, created by its listener_init. */
    void *of_protocol;
};

/* Prepares a context whose listener's part is set. 0, or -1 with ENOMEM. */
MUST_CHECK int listener_context_init(struct listener_context *context);

/* Frees its contents; no session may exist. Harmless when it was not initialized. */
void listener_context_clear(struct listener_context *context);

/* Takes an accepted, non-blocking descriptor. A failure ends the session, with its line in the
 * logs. `ended` is never called from inside. -1 with ENOMEM: fd is still the caller's. */
MUST_CHECK int session_start(struct listener_context *context, int fd, const union address *peer);

/* Ends sessions without work under way, and the others when theirs is complete; in batches. After
 * undrain the remaining ones continue, and new ones are as usual. */
void listener_context_drain(struct listener_context *context);
void listener_context_undrain(struct listener_context *context);

/* Others serve new clients from now on: existing ones continue, but if the protocol can tell a
 * client to reconnect (http: Connection: close) its next response does. */
void listener_context_retire(struct listener_context *context);

/* No session is granted a connection from now on: those that need one wait, in order, within their
 * time and max_waiting, and after the resume go to the pool, behind those of other listeners that
 * wait there by then. Sessions continue with what they have. Both may be called repeatedly. */
void listener_context_pause(struct listener_context *context);
void listener_context_resume(struct listener_context *context);

/* What can be seen of a session. */
struct session_view {
    char client[SESSION_PEER_MAX];
    const char *state; /* "reading" and so on; static */
    usec_t age;        /* of the exchange under way, or else since it was accepted */
    usec_t quiet;      /* since a byte last moved */
    usec_t waiting;    /* since it requested a connection; 0: it does not wait for one */
    uint64_t bytes_up, bytes_down; /* of the exchange, or session, under way */
    uint64_t conn;                 /* the number of the connection that it leases; 0: none */
    bool waits_for_client;         /* it relays, and does not wait for the upstream */
};
void session_view(const struct session *session, struct session_view *view);

/* Iterates over sessions in the order in which they were accepted; NULL: the first. NULL: no
 * more. */
const struct session *listener_context_next(const struct listener_context *context,
                                            const struct session *after);

/* How long ago it was accepted. */
usec_t session_age(const struct session *session);

/* Ends all sessions at once, resetting each client. */
void listener_context_abort(struct listener_context *context);

#endif
