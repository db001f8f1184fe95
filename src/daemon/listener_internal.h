/* What the files of the listeners share; for them alone.
 *
 *   listener.c          accepts clients; max_clients; shortages
 *   listener_service.c  paused, draining, stopping */
#ifndef KAPROXY_LISTENER_INTERNAL_H
#define KAPROXY_LISTENER_INTERNAL_H

#include "daemon/listener.h"
#include "net/bound_socket.h"

/* Clients taken from one socket at once, at most. */
#define LISTENER_BURST_MAX 64

struct listen_socket {
    struct listener *listener;
    struct bound_socket *socket; /* NULL: it is closed */
    int burst;         /* how many clients to expect when it is readable */
    int filled;        /* how often in a row that many came */
    int bursts_needed; /* how often they must, before more are expected */
    usec_t filled_at;  /* when they came last */
    struct watch watch;
    bool watched;
    bool shut;    /* it does not listen: connecting to it is refused */
    bool refuses; /* whoever connects is closed at once */
};

struct listener {
    struct listeners *all;
    struct listener_context context;
    TAILQ_ENTRY(listener) link;
    enum service service;
    bool emptying; /* its backlog is taken, and then it accepts nobody any more */
    usec_t emptying_since;
    size_t count;
    struct listen_socket sockets[];
};

enum accept_result { ACCEPTED, ACCEPT_NEXT, ACCEPT_NONE, ACCEPT_SHORTAGE };

/* Takes up to `most` clients, as far as max_clients allows; *count: those that came, and went
 * again. ACCEPTED: more may wait there. */
enum accept_result listener_accept_some(struct listen_socket *listen_socket, int most, int *count);

void listener_unwatch(struct listen_socket *listen_socket);
void listener_close_socket(struct listen_socket *listen_socket);

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
