/* Keeps count of evhttp's connections, which has no limit of its own, and ends those that take too
 * long: its timeout begins again with each byte. */
#include "admin/admin_internal.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"

#define SWEEP USEC_PER_SEC

/* How long accepting pauses when there are no descriptors. */
#define PAUSE (100 * USEC_PER_MSEC)

/* What is read ahead of what evhttp has taken, at most. While it sends, it takes nothing, and would
 * buffer all that comes. More than a head or a body may have, or no end of it would be seen. */
#define READ_AHEAD 16384

static struct timeval timeval_of(usec_t time)
{
    return (struct timeval){.tv_sec = time / USEC_PER_SEC, .tv_usec = time % USEC_PER_SEC};
}

static void stop_accepting(struct admin *admin)
{
    admin->accepting = false;
    for (size_t i = 0; i < admin->socket_count; i++) {
        if (admin->sockets[i].listener != NULL)
            evconnlistener_disable(admin->sockets[i].listener);
    }
}

static void retry_later(struct admin *admin)
{
    const struct timeval pause = timeval_of(PAUSE);
    stop_accepting(admin);
    event_add(&admin->retry, &pause);
}

static void accept_again(struct admin *admin)
{
    if (admin->accepting || admin->connection_count == CONFIG_ADMIN_CONNECTIONS)
        return;
    admin->accepting = true;
    for (size_t i = 0; i < admin->socket_count; i++) {
        struct evconnlistener *listener = admin->sockets[i].listener;
        if (listener != NULL && evconnlistener_enable(listener) < 0) {
            retry_later(admin);
            return;
        }
    }
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    accept_again(arg);
}

static int find_admin(const struct event_base *base, const struct event *event, void *arg)
{
    struct admin **admin = arg;
    (void)base;
    if (event_get_callback(event) == admin_on_tick)
        *admin = event_get_callback_arg(event);
    return *admin != NULL;
}

/* For want of descriptors, as a rule: whoever waits stays in the backlog. The argument is evhttp,
 * which does not know us: we are found by an event of ours. */
static void on_accept_error(struct evconnlistener *listener, void *arg)
{
    struct admin *admin = NULL;
    (void)arg;
    event_base_foreach_event(evconnlistener_get_base(listener), find_admin, &admin);
    if (admin == NULL) {
        evconnlistener_disable(listener);
        return;
    }
    if (!admin->starved)
        log_error("[admin]: accepting pauses: %s", error_text(errno));
    admin->starved = true;
    retry_later(admin);
}

static void release(struct admin_connection *connection)
{
    struct admin *admin = connection->admin;
    connection->state = ADMIN_FREE;
    admin->connection_count--;
    if (admin->connection_count == 0)
        event_del(&admin->sweep);
    if (!event_pending(&admin->retry, EV_TIMEOUT, NULL))
        accept_again(admin);
}

/* evhttp is about to free it, and the request too, unless it has given that up to us: after an
 * error in what it sent by itself (100 Continue) while we had the request. */
static void on_close(struct evhttp_connection *http, void *arg)
{
    struct admin_connection *connection = arg;
    struct evhttp_request *request = connection->request;
    (void)http;
    if (connection->state == ADMIN_WAITING) {
        if (connection->order != NULL)
            admin_forget_order(connection->order);
        if (evhttp_request_get_connection(request) == NULL)
            evhttp_request_free(request);
    }
    connection->request = NULL;
    connection->http = NULL;
    connection->order = NULL;
    release(connection);
}

/* Finds evhttp's object behind a connection just accepted: the argument of its callbacks. Without
 * one evhttp has failed, and closed it already. */
static void adopt(struct admin_connection *connection)
{
    void *http = NULL;
    bufferevent_getcb(connection->bufferevent, NULL, NULL, NULL, &http);
    bufferevent_decref(connection->bufferevent);
    connection->bufferevent = NULL;
    if (http == NULL) {
        release(connection);
        return;
    }
    connection->http = http;
    connection->state = ADMIN_READING;
    evhttp_connection_set_closecb(connection->http, on_close, connection);
}

static void on_adopt(evutil_socket_t fd, short what, void *arg)
{
    struct admin *admin = arg;
    (void)fd;
    (void)what;
    for (size_t i = 0; i < CONFIG_ADMIN_CONNECTIONS; i++) {
        if (admin->connections[i].state == ADMIN_ACCEPTED)
            adopt(&admin->connections[i]);
    }
}

static struct admin_connection *find_free(struct admin *admin)
{
    for (size_t i = 0; i < CONFIG_ADMIN_CONNECTIONS; i++) {
        if (admin->connections[i].state == ADMIN_FREE)
            return &admin->connections[i];
    }
    return NULL;
}

/* Called by evhttp for each client that it has accepted, before it makes a connection of it; that
 * is adopted as soon as it is back in the loop, before anything can happen to it.
 *
 * It must not close the descriptor when it is freed: evhttp has another call for that. */
static struct bufferevent *on_accept(struct event_base *base, void *arg)
{
    struct admin *admin = arg;
    const struct timeval sweep = timeval_of(SWEEP);
    struct admin_connection *connection = find_free(admin);
    struct bufferevent *bufferevent = bufferevent_socket_new(base, -1, 0);
    if (connection == NULL || bufferevent == NULL)
        return bufferevent; /* evhttp's timeout is all that it has */
    bufferevent_setwatermark(bufferevent, EV_READ, 0, READ_AHEAD);
    bufferevent_incref(bufferevent);
    connection->admin = admin;
    connection->state = ADMIN_ACCEPTED;
    connection->bufferevent = bufferevent;
    connection->since = admin_now();
    if (admin->connection_count++ == 0)
        event_add(&admin->sweep, &sweep);
    if (admin->connection_count == CONFIG_ADMIN_CONNECTIONS)
        stop_accepting(admin);
    if (admin->starved)
        log_notice("[admin]: accepting goes on");
    admin->starved = false;
    event_active(&admin->adopt, EV_TIMEOUT, 0);
    return bufferevent;
}

/* Ends those that would be too old before the next sweep. */
static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
    struct admin *admin = arg;
    usec_t now = admin_now();
    bool crowded = admin->connection_count == CONFIG_ADMIN_CONNECTIONS;
    (void)fd;
    (void)what;
    for (size_t i = 0; i < CONFIG_ADMIN_CONNECTIONS; i++) {
        struct admin_connection *connection = &admin->connections[i];
        usec_t limit = crowded && connection->state == ADMIN_READING ? ADMIN_AGE_CROWDED
                                                                     : ADMIN_AGE_MAX - SWEEP;
        if (connection->http != NULL && now - connection->since >= limit)
            evhttp_connection_free(connection->http);
    }
}

/* 0, or -1 with errno. The descriptor stays the bound socket's. */
static int listen_at(struct admin_socket *admin_socket)
{
    struct admin *admin = admin_socket->admin;
    struct evconnlistener *listener = evconnlistener_new(
        admin->base, NULL, NULL, LEV_OPT_CLOSE_ON_EXEC, 0, bound_socket_fd(admin_socket->bound));
    if (listener == NULL)
        return -1;
    if (evhttp_bind_listener(admin->http, listener) == NULL) {
        evconnlistener_free(listener);
        return -1;
    }
    evconnlistener_set_error_cb(listener, on_accept_error);
    admin_socket->listener = listener;
    return 0;
}

int admin_connections_start(struct admin *admin)
{
    event_assign(&admin->adopt, admin->base, -1, 0, on_adopt, admin);
    event_assign(&admin->sweep, admin->base, -1, EV_PERSIST, on_sweep, admin);
    event_assign(&admin->retry, admin->base, -1, 0, on_retry, admin);
    evhttp_set_bevcb(admin->http, on_accept, admin);
    for (size_t i = 0; i < admin->socket_count; i++) {
        if (listen_at(&admin->sockets[i]) < 0)
            return -1;
    }
    admin->accepting = true;
    return 0;
}

void admin_connections_stop(struct admin *admin)
{
    for (size_t i = 0; i < admin->socket_count; i++)
        admin->sockets[i].listener = NULL;
}

void admin_connections_clear(struct admin *admin)
{
    if (!event_initialized(&admin->adopt))
        return;
    for (size_t i = 0; i < ARRAY_LEN(admin->connections); i++) {
        if (admin->connections[i].state == ADMIN_ACCEPTED)
            bufferevent_decref(admin->connections[i].bufferevent);
    }
    event_del(&admin->adopt);
    event_del(&admin->sweep);
    event_del(&admin->retry);
}
