/* SPDX-License-Identifier: ISC */
/* What the files of the listeners share; for them alone.
 *
 *   listener.c          accepts clients; max_clients; shortages
 *   listener_change.c   from one configuration to the next
 *   listener_known.c    finds what there is before that
 *   listener_service.c  paused, draining, stopping */
#ifndef KAPROXY_LISTENER_INTERNAL_H
#define KAPROXY_LISTENER_INTERNAL_H

#include "daemon/listener.h"
#include "net/bound_socket.h"

/* Clients taken from one socket at once, at most. */
#define LISTENER_BURST_MAX 64

struct listen_socket {
    TAILQ_ENTRY(listen_socket) link; /* in its listener's sockets, or in `left` */
    struct listeners *all;
    struct listener_part *part;  /* who serves its clients */
    struct bound_socket *socket; /* NULL: it is closed */
    int fd;                      /* its */
    int burst;                   /* how many clients to expect when it is readable */
    int filled;                  /* how often in a row that many came */
    int bursts_needed;           /* how often they must, before more are expected */
    usec_t filled_at;            /* when they came last */
    struct watch watch;
    bool watched;
    bool shut;           /* it does not listen: connecting to it is refused */
    bool refuses;        /* whoever connects is closed at once */
    bool left;           /* its address is not configured any more */
    usec_t emptied_from; /* when taking its backlog began, to be done with it */
};

/* A listener as it is in one configuration. */
struct listener_part {
    struct listener_context context;
    struct listener *listener;
    struct config *config;           /* that the context is of: a reference */
    unsigned sockets;                /* whose clients it serves */
    TAILQ_ENTRY(listener_part) link; /* in its listener's parts */
};

struct listener {
    struct listeners *all;
    char *name;
    const struct protocol *protocol;
    struct listener_counters *counters;
    TAILQ_ENTRY(listener) link;
    bool is_configured;
    TAILQ_HEAD(listener_parts, listener_part)
    parts; /* oldest first; the last one is the present one,
              where it is configured */
    TAILQ_HEAD(, listen_socket) sockets;
    enum service service;
    int64_t resumed_at; /* listener_resumed_at */
    bool emptying;      /* its backlogs are taken, and then it accepts nobody any more */
};

enum accept_result { ACCEPTED, ACCEPT_NEXT, ACCEPT_NONE, ACCEPT_SHORTAGE };

/* Takes up to `most` clients, as far as max_clients allows; *count: those that came, and went
 * again. ACCEPTED: more may wait there. */
enum accept_result listener_accept_some(struct listen_socket *listen_socket, int most, int *count);

/* In the iteration's events: clients have come. */
void listener_on_readable(struct watch *watch, uint32_t events);
void listener_on_session_ended(struct listener_context *context);

void listener_unwatch(struct listen_socket *listen_socket);
void listener_close_socket(struct listen_socket *listen_socket);

/* listener_change.c */

/* Frees one that is closed, or was never watched. */
void listener_free_socket(struct listen_socket *listen_socket);
/* Posted: frees what has no use any more. */
void listeners_on_sweep(struct task *task);
/* Frees all, whatever use it has. */
void listeners_free_all(struct listeners *listeners);

/* listener_known.c */

/* What there is when a change begins, in the order in which it is looked for. */
struct listeners_known {
    struct listener **listeners; /* those that have gone too */
    size_t listener_count;
    struct listen_socket **sockets; /* but for those that are leaving */
    size_t socket_count;
};
/* 0, or -1 with ENOMEM. */
MUST_CHECK int listeners_known_init(struct listeners_known *known, struct listeners *listeners);
void listeners_known_clear(struct listeners_known *known);
/* NULL: there is none. */
struct listener *listeners_known_find(const struct listeners_known *known, const char *name,
                                      const struct protocol *protocol);
struct listen_socket *listeners_known_find_socket(const struct listeners_known *known,
                                                  const struct bound_socket *socket);

/* listener_service.c */

/* A socket that an operator has drained accepts nobody; and does again: 0, or -1 with errno. */
void listener_refuse(struct listen_socket *listen_socket);
int listener_admit(struct listen_socket *listen_socket);
/* One of a listener that drains: when those were taken who wait there it accepts nobody. */
void listener_empty_socket(struct listener *listener, struct listen_socket *listen_socket);
/* The listener is not configured any more, or is a successor's: what an operator wanted of it is
 * over, for nobody could take that back. Sessions that are to end still are. */
void listener_forget_service(struct listener *listener);
/* Takes the backlog of one that left, and closes it. */
void listener_leave_socket(struct listen_socket *listen_socket);

/* No socket is watched. */
void listeners_stop_accepting(struct listeners *listeners);
/* All are, but for those that accept nobody; as soon as max_clients allows. What fails is reported,
 * and tried again. */
void listeners_accept_again(struct listeners *listeners);
/* The same where others are to be watched from now on; where none is, that is left as it is. */
void listeners_watch_again(struct listeners *listeners);

/* The last session may have ended, after listeners_stop. */
void listeners_check_drained(struct listeners *listeners);

/* The listeners' backlog_task. */
void listeners_on_backlog(struct task *task);

#endif
