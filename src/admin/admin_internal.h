/* SPDX-License-Identifier: ISC */
/* What the files of the admin server share. */
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
 *   FREE       there is none
 *   ACCEPTED   evhttp is about to have it
 *   READING    evhttp reads a request, or refuses one
 *   WAITING    the answer waits for a snapshot, a command, or a reload
 *   SENDING    evhttp has the answer */
enum admin_state { ADMIN_FREE, ADMIN_ACCEPTED, ADMIN_READING, ADMIN_WAITING, ADMIN_SENDING };

struct admin_connection {
    struct admin *admin;
    enum admin_state state;
    struct bufferevent *bufferevent; /* ACCEPTED: with a reference of ours */
    struct evhttp_connection *http;  /* from READING on */
    struct evhttp_request *request;  /* WAITING, SENDING */
    usec_t since; /* when it was accepted, or its last answer was sent, or its reload was over */
    /* WAITING: what it waits for; both NULL: for a snapshot. */
    struct admin_order *order;
    struct admin_reloading *reload;
};

/* A command that somebody asked for. */
struct admin_order {
    TAILQ_ENTRY(admin_order) link; /* queued */
    struct admin *admin;
    struct admin_connection *connection; /* NULL: nobody waits for the answer any more */
    struct command command;
};

#define ADMIN_ORDERS_MAX 16 /* the one that is carried out among them; and as many reloads */

/* With room for what a view has. */
struct admin_snapshot {
    struct admin *admin;
    size_t room; /* for hosts, and for listeners */
    struct snapshot_request request;
};

/* The last snapshot, and the one that the loop was asked for. */
struct admin_snapshots {
    struct admin_snapshot *both[2];
    unsigned last;                /* which one of them is the last that came */
    bool any;                     /* one did */
    bool is_old;                  /* something was changed since */
    usec_t came_at;               /* the last one */
    struct admin_snapshot *asked; /* the loop's: the other one, or an old view's; NULL: none */
    usec_t asked_at;
    unsigned tries; /* snapshots of another generation that came instead of it */
    bool is_late;   /* ADMIN_SNAPSHOT_WAIT has passed since somebody began to wait */
    struct event late;
};

struct admin_socket {
    struct bound_socket *bound;
    struct evhttp_bound_socket *http; /* NULL: not yet */
};

struct admin {
    struct event_base *base;
    struct admin_ops ops;
    struct admin_view view;      /* with blocks of our own */
    struct metric_block *blocks; /* the view's, and those of the ops */
    struct evhttp *http;         /* NULL: it was not started */
    struct history *history;
    struct event tick; /* samples the history, and asks whether the loop is alive; with sockets */
    usec_t sampled_at;

    /* admin_sockets.c */
    struct admin_socket *sockets;
    size_t socket_count;
    bool is_open;   /* admin_accept */
    bool accepting; /* the listeners are enabled */
    bool starved;   /* accept ran out of descriptors, and nobody was accepted since */
    struct event retry;

    /* admin_connections.c */
    struct admin_connection connections[CONFIG_ADMIN_CONNECTIONS];
    unsigned connection_count;
    struct event adopt, sweep;

    /* admin_orders.c */
    TAILQ_HEAD(, admin_order) orders; /* the first one is carried out */
    unsigned order_count;

    unsigned reload_count; /* that were asked for, and are not answered */

    struct admin_snapshots snapshots;
};

usec_t admin_now(void);
void admin_on_tick(evutil_socket_t fd, short what, void *arg);

/* Sockets */

void admin_sockets_start(struct admin *admin);
void admin_sockets_clear(struct admin *admin);
void admin_stop_accepting(struct admin *admin);
/* Unless there is a reason not to: no room, no descriptors, not open. */
void admin_accept_again(struct admin *admin);

/* Connections */

void admin_connections_start(struct admin *admin);
void admin_connections_clear(struct admin *admin); /* evhttp, which had the listeners, has gone */

/* admin_set_sockets sees to it that there is one if there are sockets. */
MUST_CHECK int admin_start_tick(struct admin *admin);
void admin_stop_tick(struct admin *admin);

/* Requests: the callback of evhttp. */
void admin_on_request(struct evhttp_request *request, void *arg);

/* The connection waits: its answer comes later. Then one of the functions below is called, unless
 * it is closed before. */
void admin_wait(struct admin_connection *connection);

/* Answers. Each is the last thing done with a request. */

/* Takes what is in the body; NULL: memory is short, and the connection is closed. */
void admin_answer(struct admin_connection *connection, int status, const char *type,
                  struct evbuffer *body);

/* A sentence, as text, or as JSON for whom that is right. */
void admin_say(struct admin_connection *connection, int status, const char *format, ...)
    PRINTF(3, 4);

/* Lines of text; the end of the last one is added where there is none. */
void admin_answer_text(struct admin_connection *connection, int status, const char *text);

bool admin_wants_json(const struct admin_connection *connection);

/* A header of the answer that is to come. */
void admin_add_header(struct admin_connection *connection, const char *name, const char *value);

/* Takes the reference; NULL: memory is short. */
void admin_answer_json(struct admin_connection *connection, int status, json_t *json);

/* Pages */

void admin_show(struct admin_connection *connection, const char *path);
/* Once there is a snapshot, or none is to be had. */
void admin_show_status(struct admin_connection *connection);

/* Snapshots */

void admin_snapshots_init(struct admin *admin);
void admin_snapshots_clear(struct admin *admin);
/* With room for what a configuration has. NULL with ENOMEM. */
struct admin_snapshot *admin_snapshot_new(struct admin *admin, const struct config *config);
void admin_snapshot_free(struct admin_snapshot *snapshot);
/* Throws away what there is, and takes these in its place. */
void admin_snapshots_renew(struct admin *admin, struct admin_snapshot *both[2]);
/* Calls admin_show_status, now or later. */
void admin_want_snapshot(struct admin_connection *connection);
const struct snapshot *admin_last_snapshot(const struct admin *admin, usec_t *age);

/* Orders */

/* Has the command carried out and answers, or refuses. */
void admin_order(struct admin_connection *connection, enum command_verb verb);
void admin_forget_order(struct admin_order *order); /* nobody waits for it */
void admin_orders_clear(struct admin *admin);

/* Why somebody may not change anything; NULL: he may. */
const char *admin_forbidden(struct admin_connection *connection);

/* The same for a reload, which does not wait for commands, nor these for it. */
void admin_ask_reload(struct admin_connection *connection);
void admin_forget_reload(struct admin_reloading *reloading);

/* Who asks: "unix:uid:0,pid:123", or ADDR:PORT. */
#define ADMIN_PEER_MAX 128
void admin_peer(const struct admin_connection *connection, char text[ADMIN_PEER_MAX]);
bool admin_is_unix(const struct admin_connection *connection);

#endif
