/* SPDX-License-Identifier: ISC */
/* Listening sockets: accept, back-off when descriptors run out, the limit of clients.
 *
 * A listener is known by its name and protocol, and lives as long as it is configured or has
 * sessions. What its sessions share is of one configuration, a listener_context: of the present
 * one, which serves new clients, and of earlier ones, each to the end of its last session. What is
 * counted is the listener's, and so is what an operator wants, as long as it is configured. */
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

    /* After listeners_commit: the last of the sockets that left is closed. NULL: nobody waits. */
    void (*all_left)(struct listeners *listeners);

    unsigned clients;
    bool started;       /* listeners_start was called */
    bool accepting;     /* the listening sockets are watched */
    bool yielded;       /* listeners_yield was called, and listeners_resume not since */
    bool stopped;       /* listeners_stop was called */
    bool closed;        /* no socket is open any more */
    bool starved;       /* accept ran out of descriptors or memory, and has not caught up since */
    struct timer retry; /* ends the pause */
    struct repeats repeats;
    struct task backlog_task; /* queued: takes clients from the backlog, without an event */
    struct task drained_task;
    struct listeners_stats stats;
    struct task sweep_task;           /* posted: contexts may be without a use */
    TAILQ_HEAD(, listener) list;      /* the configuration's, in its order */
    TAILQ_HEAD(, listener) gone;      /* no longer configured, and with sessions */
    TAILQ_HEAD(, listen_socket) left; /* not configured any more: their backlogs are taken */
};

void listeners_init(struct listeners *listeners);

/* What a configuration says of one listener; all is borrowed but for references that are taken. */
struct listener_plan {
    struct config *whole; /* that the config is of */
    const struct config_listener *config;
    struct pool *pool;
    struct tls_client *tls;              /* how TLS is spoken to its upstream; NULL: not */
    struct bound_socket *const *sockets; /* of its addresses, in order */
    bool unchanged; /* it is as in the configuration before this one, wherever it listens */
};

/* The change to another configuration, in two steps: the first one can fail, the other not. */
struct listeners_change;

/* Makes what there is not yet, and changes nothing. NULL with ENOMEM. */
struct listeners_change *listeners_prepare(struct listeners *listeners,
                                           const struct listener_plan *plans, size_t count);
/* What the sessions of a plan's listener will share. */
const struct listener_context *listeners_change_context(const struct listeners_change *change,
                                                        size_t index);
/* Nothing was changed, and will not be. NULL is harmless. */
void listeners_drop(struct listeners *listeners, struct listeners_change *change);

/* New clients are served by the new configuration from now on, with max_clients of it; pools have
 * the limits of it already. Sockets that
 * are in both stay as they are, with whoever waits there; those that are in none any more are
 * closed, after those who wait there were taken. Sessions go on as they are; those of a listener
 * that is another one now, or gone, are retired (listener_context_retire). Frees the change. */
void listeners_commit(struct listeners *listeners, struct listeners_change *change,
                      unsigned max_clients);

/* Accepts from now on. 0, or -1 with errno. */
MUST_CHECK int listeners_start(struct listeners *listeners);

/* Takes those who wait in the backlog, as far as max_clients allows, for they have a connection as
 * far as they know, and closes the listening sockets, piece by piece; sessions go on. */
void listeners_stop(struct listeners *listeners);

/* Is each socket closed that a configuration does not have any more? */
bool listeners_have_left(const struct listeners *listeners);

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

/* When it was paused last and that ended, in microseconds of Unix time; 0: never. */
int64_t listener_resumed_at(const struct listener *listener);

/* What its sessions share that are accepted now. */
struct listener_context *listener_get_context(struct listener *listener);

/* The same of those accepted before as well, the oldest first: whatever comes behind this one;
 * NULL: the first. NULL: there is none. */
const struct listener_context *listener_next_context(const struct listener *listener,
                                                     const struct listener_context *after);

/* Those that there are go on; nobody is accepted, and who comes waits in the backlog, until
 * listeners_resume. For a handover: the sockets listen also where an operator had them drained. 0,
 * or -1 with errno. */
MUST_CHECK int listeners_yield(struct listeners *listeners);

/* What was yielded is ours again. */
void listeners_resume(struct listeners *listeners);

/* Unix sockets' files that the process before has left to us are ours to remove. */
void listeners_take_files(struct listeners *listeners);

/* The end of a handover: another process serves the sockets, which are closed here, with nobody
 * taken from their backlogs and no file removed. Sessions are retired. `drained` is called as after
 * listeners_stop. */
void listeners_leave(struct listeners *listeners);

/* Sessions end as soon as they can: after listeners_leave, when time is nearly over. */
void listeners_drain(struct listeners *listeners);

/* Ends every session at once, and takes no one in any more. To be called after listeners_stop. */
void listeners_abort(struct listeners *listeners);

/* Frees all; no session may be left. */
void listeners_clear(struct listeners *listeners);

/* The present contexts of all listeners, one after the other, in the order in which they were
 * added; NULL stands before the first and behind the last one. */
const struct listener_context *listeners_next(const struct listeners *listeners,
                                              const struct listener_context *context);

#endif
