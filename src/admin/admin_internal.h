/* What the files of the admin server share; for them alone.
 *
 *   admin.c          sockets, the sweep, who is asked for what
 *   admin_clients.c  how many are connected, and for how long
 *   admin_reply.c    answers of every kind
 *   admin_pages.c    GET
 *   admin_control.c  POST */
#ifndef KAPROXY_ADMIN_INTERNAL_H
#define KAPROXY_ADMIN_INTERNAL_H

#include <event2/event_struct.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <jansson.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "admin/admin.h"
#include "admin/history.h"
#include "net/bound_socket.h"

/* One client: evhttp has the connection, and this a reference to its bufferevent. */
struct admin_client {
    struct bufferevent *bufferevent;
    usec_t since; /* accepted, or its last answer began */
    bool cut;     /* it was shut down, and evhttp is to see that */
    TAILQ_ENTRY(admin_client) link;
};

struct admin_clients {
    TAILQ_HEAD(, admin_client) list;
    unsigned count;
};

/* A request that is answered later. */
struct admin_pending {
    struct admin *admin;
    struct evhttp_request *request; /* NULL: the client has left, and evhttp has freed it */
    bool json;                      /* GET /status; else the page */
    bool sessions;                  /* ?sessions=1 */
    TAILQ_ENTRY(admin_pending) link;
};
TAILQ_HEAD(admin_pending_list, admin_pending);

/* A POST on its way. */
struct admin_post {
    struct command command;
    struct admin_pending pending;
    TAILQ_ENTRY(admin_post) link;
};

#define ADMIN_POSTS_MAX 16 /* that wait for their turn, before more are refused */

struct admin_socket {
    struct admin *admin;
    struct bound_socket socket;
    struct evconnlistener *listener;
};

struct admin {
    const struct config *config;
    const struct admin_ops *ops; /* NULL: not started */
    struct event_base *base;
    struct evhttp *http;
    struct history *history;
    struct admin_clients clients;
    bool accepting;
    struct event sweep;  /* each second while somebody is connected, or accepting pauses */
    struct event sample; /* history_sample */

    /* Snapshots: the last one, and the one that is asked for. */
    struct snapshot_request request;
    struct snapshot last;
    usec_t last_at; /* when it came, on the monotonic clock; 0: none did, or it is too old */
    bool asked;
    struct event overdue; /* the loop has not answered */
    struct admin_pending_list waiting;

    /* Commands: the first one is being done. */
    TAILQ_HEAD(, admin_post) posts;
    unsigned post_count;

    size_t socket_count;
    struct admin_socket sockets[];
};

usec_t admin_now(void); /* the monotonic clock */

/* admin.c */
void admin_set_accepting(struct admin *admin, bool accepting);
/* A snapshot that is not older than a second, for the pending requests: asks for one if need be,
 * and answers them when it is there, or when it takes too long. */
void admin_want_snapshot(struct admin *admin);

/* admin_clients.c */
void admin_clients_init(struct admin *admin);
void admin_clients_clear(struct admin *admin);
/* Its last answer begins. */
void admin_clients_answered(struct admin *admin, struct evhttp_request *request);
/* Forgets those that have left, and cuts off those whose time is over. */
void admin_clients_sweep(struct admin *admin);

/* admin_reply.c */

/* The sentence that a status is answered with, as JSON if that is asked for. */
void admin_reply_text(struct admin *admin, struct evhttp_request *request, int status,
                      const char *format, ...) PRINTF(4, 5);
/* The body is moved out of the buffer; `policy` is a Content-Security-Policy, or NULL. */
void admin_reply(struct admin *admin, struct evhttp_request *request, int status, const char *type,
                 const char *policy, struct evbuffer *body);
/* Takes the object over. NULL: there was no memory for it. */
void admin_reply_json(struct admin *admin, struct evhttp_request *request, int status,
                      json_t *object);

/* admin_pages.c: GET and HEAD. False: there is no such path. */
bool admin_pages_serve(struct admin *admin, struct evhttp_request *request, const char *path);
bool admin_pages_have(const char *path);
/* Answers those that wait, with the last snapshot, whatever it is. */
void admin_pages_answer(struct admin *admin);

/* admin_control.c: POST. False: there is no such path. */
bool admin_control_serve(struct admin *admin, struct evhttp_request *request, const char *path);
bool admin_control_has(const char *path);

/* The request is to be answered later: it is forgotten when its client leaves. */
void admin_pending_begin(struct admin_pending *pending, struct admin *admin,
                         struct evhttp_request *request);
/* It is answered now; NULL: nobody is there any more. */
struct evhttp_request *admin_pending_end(struct admin_pending *pending);

#endif
