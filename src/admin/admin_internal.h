/* SPDX-License-Identifier: ISC */
/* Shared by the files of the admin server. */
#ifndef KAPROXY_ADMIN_INTERNAL_H
#define KAPROXY_ADMIN_INTERNAL_H

#include "admin/admin.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event_struct.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <jansson.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "admin/history.h"
#include "net/bound_socket.h"

/* A connection's state:
 *
 *   FREE       unused
 *   ACCEPTED   evhttp is about to take it
 *   READING    evhttp reads a request, or rejects one
 *   WAITING    the response waits for a snapshot, a command, or a reload
 *   SENDING    evhttp has the response */
enum admin_state { ADMIN_FREE, ADMIN_ACCEPTED, ADMIN_READING, ADMIN_WAITING, ADMIN_SENDING };

struct admin_connection {
    struct admin *admin;
    enum admin_state state;
    struct bufferevent *bufferevent; /* ACCEPTED: with a reference of our own */
    struct evhttp_connection *http;  /* from READING on */
    struct evhttp_request *request;  /* WAITING, SENDING */
    usec_t since; /* when it was accepted, its last response was sent, or its reload was over */
    /* WAITING: what it waits for; both NULL: for a snapshot. */
    struct admin_order *order;
    struct admin_reloading *reload;
};

/* A command that a client requested. */
struct admin_order {
    TAILQ_ENTRY(admin_order) link; /* queued */
    struct admin *admin;
    struct admin_connection *connection; /* NULL: the client has gone */
    struct command command;
};

#define ADMIN_ORDERS_MAX 16 /* including the one being carried out; and as many reloads */

/* Sized for a view. */
struct admin_snapshot {
    struct admin *admin;
    size_t room; /* for hosts, and for listeners */
    struct snapshot_request request;
};

/* The last snapshot, and the one that was requested from the loop. */
struct admin_snapshots {
    struct admin_snapshot *both[2];
    unsigned last;                /* which of the two came last */
    bool any;                     /* one did */
    bool is_old;                  /* something was changed since */
    usec_t came_at;               /* the last one */
    struct admin_snapshot *asked; /* with the loop: the other one, or an old view's; NULL: none */
    usec_t asked_at;
    unsigned tries; /* snapshots of another generation that came instead */
    bool is_late;   /* ADMIN_SNAPSHOT_WAIT has passed since the oldest client began to wait */
    struct event late;
};

struct admin_socket {
    struct bound_socket *bound;
    struct evhttp_bound_socket *http; /* NULL: none */
};

struct admin {
    struct event_base *base;
    struct admin_ops ops;
    struct admin_view view;      /* with our own blocks */
    struct metric_block *blocks; /* the view's, and those of the ops */
    struct evhttp *http;         /* NULL: not started */
    struct history *history;
    struct event tick; /* samples the history, and pings the loop; with sockets */
    usec_t sampled_at;

    /* admin_sockets.c */
    struct admin_socket *sockets;
    size_t socket_count;
    bool is_open;   /* admin_accept */
    bool accepting; /* the listeners are enabled */
    bool starved;   /* accept ran out of descriptors, and has not succeeded since */
    struct event retry;

    /* admin_connections.c */
    struct admin_connection connections[CONFIG_ADMIN_CONNECTIONS];
    unsigned connection_count;
    struct event adopt, sweep;

    /* admin_orders.c */
    TAILQ_HEAD(, admin_order) orders; /* the first one is being carried out */
    unsigned order_count;

    unsigned reload_count; /* requested and not answered */

    struct admin_snapshots snapshots;
};

usec_t admin_now(void);
void admin_on_tick(evutil_socket_t fd, short what, void *arg);

/* Sockets. */

void admin_sockets_start(struct admin *admin);
void admin_sockets_clear(struct admin *admin);
void admin_stop_accepting(struct admin *admin);
/* Unless there is a reason not to: no room, no descriptors, not open. */
void admin_accept_again(struct admin *admin);

/* Connections. */

void admin_connections_start(struct admin *admin);
void admin_connections_clear(struct admin *admin); /* evhttp, which owned the listeners, has gone */

/* admin_set_sockets ensures that it exists if there are sockets. */
MUST_CHECK int admin_start_tick(struct admin *admin);
void admin_stop_tick(struct admin *admin);

/* Requests: the callback of evhttp. */
void admin_on_request(struct evhttp_request *request, void *arg);

/* The connection waits: its response comes later. Then one of the functions below is called, unless
 * it is closed before. */
void admin_wait(struct admin_connection *connection);

/* Responses. Each is the last thing done with a request. */

/* Takes the body's contents; NULL: out of memory, and the connection is closed. */
void admin_answer(struct admin_connection *connection, int status, const char *type,
                  struct evbuffer *body);

/* A sentence, as text or as JSON, whichever the client accepts. */
void admin_say(struct admin_connection *connection, int status, const char *format, ...)
    PRINTF(3, 4);

/* Lines of text; a missing newline at the end is added. */
void admin_answer_text(struct admin_connection *connection, int status, const char *text);

bool admin_wants_json(const struct admin_connection *connection);

/* A field of the response to come. */
void admin_add_header(struct admin_connection *connection, const char *name, const char *value);

/* Takes the reference; NULL: out of memory. */
void admin_answer_json(struct admin_connection *connection, int status, json_t *json);

/* Pages. */

void admin_show(struct admin_connection *connection, const char *path);
/* Once there is a snapshot, or it is known that there will be none. */
void admin_show_status(struct admin_connection *connection);

/* Snapshots. */

void admin_snapshots_init(struct admin *admin);
void admin_snapshots_clear(struct admin *admin);
/* Sized for a configuration. NULL with ENOMEM. */
struct admin_snapshot *admin_snapshot_new(struct admin *admin, const struct config *config);
void admin_snapshot_free(struct admin_snapshot *snapshot);
/* Replaces the existing ones by these. */
void admin_snapshots_renew(struct admin *admin, struct admin_snapshot *both[2]);
/* Calls admin_show_status, now or later. */
void admin_want_snapshot(struct admin_connection *connection);
const struct snapshot *admin_last_snapshot(const struct admin *admin, usec_t *age);

/* Orders. */

/* Has the command carried out and responds, or rejects it. */
void admin_order(struct admin_connection *connection, enum command_verb verb);
void admin_forget_order(struct admin_order *order); /* its client has gone */
void admin_orders_clear(struct admin *admin);

/* Why a client may not change anything; NULL: it may. */
const char *admin_forbidden(struct admin_connection *connection);

/* The same for a reload, which does not wait for commands, nor they for it. */
void admin_ask_reload(struct admin_connection *connection);
void admin_forget_reload(struct admin_reloading *reloading);

/* Who the client is: "unix:uid:0,pid:123", or ADDR:PORT. */
#define ADMIN_PEER_MAX 128
void admin_peer(const struct admin_connection *connection, char text[ADMIN_PEER_MAX]);
bool admin_is_unix(const struct admin_connection *connection);

#endif
