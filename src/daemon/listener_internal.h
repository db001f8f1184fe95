/* SPDX-License-Identifier: ISC */
/* Shared by the files of the listeners; for them alone.
 *
 *   listener.c          accepts clients; max_clients; shortages
 *   listener_change.c   from one configuration to the next
 *   listener_known.c    finds what exists before that
 *   listener_service.c  paused, draining, stopping */
#ifndef KAPROXY_LISTENER_INTERNAL_H
#define KAPROXY_LISTENER_INTERNAL_H

#include "daemon/listener.h"
#include "net/bound_socket.h"

/* The most clients accepted from one socket at a time. */
#define LISTENER_BURST_MAX 64

struct listen_socket {
    TAILQ_ENTRY(listen_socket) link; /* in its listener's sockets, or in `left` */
    struct listeners *all;
    struct listener_part *part;  /* who serves its clients */
    struct bound_socket *socket; /* NULL: closed */
    int fd;                      /* of the socket */
    int burst;                   /* how many clients to expect when it is readable */
    int filled;                  /* how often in a row that many came */
    int bursts_needed;           /* how often that must happen before more are expected */
    usec_t filled_at;            /* when the last came */
    struct watch watch;
    bool watched;
    bool shut;           /* it does not listen: connections are refused */
    bool refuses;        /* new clients are closed at once */
    bool left;           /* its address is no longer configured */
    usec_t emptied_from; /* when emptying its backlog began, which is bounded */
};

/* A listener as one configuration has it. */
struct listener_part {
    struct listener_context context;
    struct listener *listener;
    struct config *config;           /* the context belongs to: a reference */
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
    parts; /* oldest first; the last one is the current one,
              if it is configured */
    TAILQ_HEAD(, listen_socket) sockets;
    enum service service;
    int64_t resumed_at; /* listener_resumed_at */
    bool emptying;      /* its backlogs are being emptied; then it accepts no more */
};

enum accept_result { ACCEPTED, ACCEPT_NEXT, ACCEPT_NONE, ACCEPT_SHORTAGE };

/* Accepts up to `most` clients, as far as max_clients allows; *count: those that came, including
 * any that left again. ACCEPTED: more may wait. */
enum accept_result listener_accept_some(struct listen_socket *listen_socket, int most, int *count);

/* Called among the iteration's events: clients have come. */
void listener_on_readable(struct watch *watch, uint32_t events);
void listener_on_session_ended(struct listener_context *context);

void listener_unwatch(struct listen_socket *listen_socket);
void listener_close_socket(struct listen_socket *listen_socket);

/* listener_change.c */

/* Frees one that is closed, or was never watched. */
void listener_free_socket(struct listen_socket *listen_socket);
/* Posted: frees contexts that are not used any more. */
void listeners_on_sweep(struct task *task);
/* Frees all, whether used or not. */
void listeners_free_all(struct listeners *listeners);

/* listener_known.c */

/* What exists when a change begins, sorted for lookups. */
struct listeners_known {
    struct listener **listeners; /* including removed ones */
    size_t listener_count;
    struct listen_socket **sockets; /* except for those that are leaving */
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

/* Drains a socket: it accepts no client; or undoes that: 0, or -1 with errno. */
void listener_refuse(struct listen_socket *listen_socket);
int listener_admit(struct listen_socket *listen_socket);
/* A socket of a draining listener: stops accepting once its backlog is empty. */
void listener_empty_socket(struct listener *listener, struct listen_socket *listen_socket);
/* The listener was removed, or belongs to a successor: the state that an operator had set ends,
 * since nobody could undo it. Sessions that are to end still are. */
void listener_forget_service(struct listener *listener);
/* Empties the backlog of a socket that was removed, and closes it. */
void listener_leave_socket(struct listen_socket *listen_socket);

/* Stops watching all sockets. */
void listeners_stop_accepting(struct listeners *listeners);
/* Watches all sockets, except for those that accept no clients; as soon as max_clients allows.
 * Failures are logged, and retried. */
void listeners_accept_again(struct listeners *listeners);
/* Updates which sockets are watched; does nothing while none is. */
void listeners_watch_again(struct listeners *listeners);

/* The last session may have ended, after listeners_stop. */
void listeners_check_drained(struct listeners *listeners);

/* The listeners' backlog_task. */
void listeners_on_backlog(struct task *task);

#endif
