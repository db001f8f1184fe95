/* Listening sockets: accept, back-off when descriptors run out, the limit of clients. */
#ifndef KAPROXY_LISTENER_H
#define KAPROXY_LISTENER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/scratch.h"
#include "base/service.h"
#include "base/util.h"
#include "config/config.h"
#include "net/loop.h"
#include "net/repeats.h"
#include "pool/pool.h"
#include "session/session.h"

struct listener;

/* What is counted of all listeners: a metric block. */
struct listeners_stats {
    struct gauge clients, max_clients;
    struct counter pauses; /* how often accepting paused for want of descriptors */
    struct counter full;   /* how often max_clients was reached */
};
extern const struct metric_set listeners_metrics;

/* The listeners of one loop, which share the limit of clients. Embedded in its owner, who sets the
 * first group before listeners_init. */
struct listeners {
    struct session_worker worker;
    unsigned max_clients;
    /* After listeners_stop: the last session has ended. Called once, from the loop. */
    void (*drained)(struct listeners *listeners);

    unsigned clients;
    bool accepting;     /* the listening sockets are watched */
    bool stopped;       /* listeners_stop was called */
    bool closed;        /* no socket is open any more */
    bool starved;       /* accept ran out of descriptors or memory, and has not caught up since */
    struct timer retry; /* ends the pause */
    struct repeats repeats;
    struct task backlog_task; /* queued: takes clients from the backlog, without an event */
    struct task drained_task;
    struct listeners_stats stats;
    TAILQ_HEAD(, listener) list;
};

void listeners_init(struct listeners *listeners);

/* Binds and listens on all addresses of a listener; its pool and how TLS is spoken to its upstream
 * (NULL: not) are borrowed. 0, or -1; then it was logged, and what was
 * bound is closed again. */
MUST_CHECK int listeners_add(struct listeners *listeners, const struct config_listener *config,
                             struct pool *pool, struct tls_client *tls);

/* Accepts from now on. 0, or -1 with errno. */
MUST_CHECK int listeners_start(struct listeners *listeners);

/* Takes those who wait in the backlog, as far as max_clients allows, for they have a connection as
 * far as they know, and closes the listening sockets, piece by piece; sessions go on. */
void listeners_stop(struct listeners *listeners);

/* The listeners in the order in which they were added; NULL: the first. NULL: there is none. */
struct listener *listener_next(const struct listeners *listeners, const struct listener *after);

/* What an operator wants of one. PAUSED: clients are accepted, and wait for a connection as long as
 * that lasts (listener_context_pause). DRAINING, not after listeners_stop: those that wait in the
 * backlog are taken, and then nobody: TCP refuses, and who connects to a unix socket meets an end
 * at once; sessions end as soon as they can. OPEN: all that is over. What was wanted last holds.
 * 0, or -1 with errno and *address, which cannot be listened on again; then nothing changed. */
MUST_CHECK int listener_set_service(struct listener *listener, enum service service,
                                    const char **address);
enum service listener_get_service(const struct listener *listener);

/* What its sessions share. */
struct listener_context *listener_get_context(struct listener *listener);

/* Ends every session at once, and takes no one in any more. To be called after listeners_stop. */
void listeners_abort(struct listeners *listeners);

/* Frees all; no session may be left. */
void listeners_clear(struct listeners *listeners);

/* The contexts of all listeners, one after the other, in the order in which they were added; NULL
 * stands before the first and behind the last one. */
const struct listener_context *listeners_next(const struct listeners *listeners,
                                              const struct listener_context *context);

#endif
