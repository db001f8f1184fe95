/* SPDX-License-Identifier: ISC */
/* Listen sockets: accept, back-off when descriptors run out, the limit of clients.
 *
 * A listener is identified by its name and protocol, and lives as long as it is configured or has
 * sessions. What its sessions share belongs to one configuration, in a listener_context: the
 * current one serves new clients, and earlier ones remain until their last session has ended.
 * Counters belong to the listener, and so does the state that an operator has set, as long as it is
 * configured. */
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

/* Counters of all listeners together: a metric block. */
struct listeners_stats {
    struct gauge clients, max_clients;
    struct counter pauses; /* times accepting paused for want of descriptors */
    struct counter full;   /* times max_clients was reached */
};
extern const struct metric_set listeners_metrics;

/* The listeners of one loop, which share the limit of clients. Embedded in its owner, which sets
 * the first group of fields before listeners_init. */
struct listeners {
    struct session_worker worker;
    unsigned max_clients;
    /* After listeners_stop: the last session has ended. Called once, from the loop. */
    void (*drained)(struct listeners *listeners);

    /* After listeners_commit: the last removed socket is closed. NULL: nobody waits for that. */
    void (*all_left)(struct listeners *listeners);

    unsigned clients;
    bool started;       /* listeners_start was called */
    bool accepting;     /* the listen sockets are watched */
    bool yielded;       /* listeners_yield was called, and not listeners_resume */
    bool stopped;       /* listeners_stop was called */
    bool closed;        /* all sockets are closed */
    bool starved;       /* accept ran out of descriptors or memory, and has not caught up yet */
    struct timer retry; /* ends the pause */
    struct repeats repeats;
    struct task backlog_task; /* queued: accepts from the backlog without waiting for an event */
    struct task drained_task;
    struct listeners_stats stats;
    struct task sweep_task;           /* posted: there may be unused contexts */
    TAILQ_HEAD(, listener) list;      /* in the order of the configuration */
    TAILQ_HEAD(, listener) gone;      /* no longer configured, but with sessions */
    TAILQ_HEAD(, listen_socket) left; /* no longer configured: their backlogs are being emptied */
};

void listeners_init(struct listeners *listeners);

/* What a configuration says of one listener; all is borrowed, except for references that are
 * taken. */
struct listener_plan {
    struct config *whole; /* the config belongs to */
    const struct config_listener *config;
    struct pool *pool;
    struct tls_client *tls;              /* TLS to its upstream; NULL: none */
    struct bound_socket *const *sockets; /* for its addresses, in order */
    bool unchanged; /* unchanged since the previous configuration, apart from its addresses */
};

/* The change to another configuration, in two steps: the first can fail, the second cannot. */
struct listeners_change;

/* Creates what does not exist yet, and changes nothing. NULL with ENOMEM. */
struct listeners_change *listeners_prepare(struct listeners *listeners,
                                           const struct listener_plan *plans, size_t count);
/* What the sessions of a plan's listener will share. */
const struct listener_context *listeners_change_context(const struct listeners_change *change,
                                                        size_t index);
/* Nothing was changed, and nothing will be. NULL is harmless. */
void listeners_drop(struct listeners *listeners, struct listeners_change *change);

/* New clients are served by the new configuration from now on, within its max_clients; pools have
 * its limits already. Sockets in both configurations stay open, with the clients in their backlogs;
 * those no longer configured are closed after their backlogs are emptied. Sessions continue; those
 * of a listener that was changed or removed are retired (listener_context_retire). Frees the
 * change. */
void listeners_commit(struct listeners *listeners, struct listeners_change *change,
                      unsigned max_clients);

/* Accepts from now on. 0, or -1 with errno. */
MUST_CHECK int listeners_start(struct listeners *listeners);

/* Accepts the clients in the backlogs, as far as max_clients allows, since for them they are
 * connected already, and closes the listen sockets, in batches; sessions continue. */
void listeners_stop(struct listeners *listeners);

/* Are all sockets closed that are no longer configured? */
bool listeners_have_left(const struct listeners *listeners);

/* Iterates over the listeners in the order in which they were added; NULL: the first. NULL: no
 * more. */
struct listener *listener_next(const struct listeners *listeners, const struct listener *after);

/* Sets the state that an operator wants. PAUSED: clients are accepted, and wait for a connection
 * until the listener is resumed (listener_context_pause). DRAINING, not after listeners_stop: the
 * backlogs are emptied, and then no client is accepted: TCP refuses connections, and on unix
 * sockets new clients are closed at once; sessions end as soon as they can. OPEN: neither. The last
 * call wins. 0, or -1 with errno and *address, which cannot be listened on again; then nothing
 * changed. */
MUST_CHECK int listener_set_service(struct listener *listener, enum service service,
                                    const char **address);
enum service listener_get_service(const struct listener *listener);

/* When its last pause ended, in microseconds of Unix time; 0: never. */
int64_t listener_resumed_at(const struct listener *listener);

/* What sessions share that are accepted now. */
struct listener_context *listener_get_context(struct listener *listener);

/* Iterates over that and the contexts of earlier configurations, oldest first: the one after this;
 * NULL: the first. NULL: no more. */
const struct listener_context *listener_next_context(const struct listener *listener,
                                                     const struct listener_context *after);

/* Stops accepting, for a handover: sessions continue, and new clients wait in the backlogs until
 * listeners_resume. Sockets that an operator had drained listen too. 0, or -1 with errno. */
MUST_CHECK int listeners_yield(struct listeners *listeners);

/* Ends what listeners_yield began. */
void listeners_resume(struct listeners *listeners);

/* Files of unix sockets that the predecessor has left to us are ours to remove from now on. */
void listeners_take_files(struct listeners *listeners);

/* The end of a handover: another process serves the sockets, which are closed here without emptying
 * their backlogs and without removing files. Sessions are retired. `drained` is called as after
 * listeners_stop. */
void listeners_leave(struct listeners *listeners);

/* Ends sessions as soon as they can: after listeners_leave, when shutdown_timeout has nearly
 * passed. */
void listeners_drain(struct listeners *listeners);

/* Ends every session at once, and admits no more. Call it after listeners_stop. */
void listeners_abort(struct listeners *listeners);

/* Frees everything; no session may exist. */
void listeners_clear(struct listeners *listeners);

/* Iterates over the current contexts of all listeners, in the order in which they were added; NULL
 * is before the first and after the last. */
const struct listener_context *listeners_next(const struct listeners *listeners,
                                              const struct listener_context *context);

#endif
