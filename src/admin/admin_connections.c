/* SPDX-License-Identifier: ISC */
/* Counts evhttp's connections, which it does not limit itself, and closes those that take too long:
 * evhttp's own timeout restarts with each byte. */
#include "admin/admin_internal.h"

#include "base/log.h"

#define SWEEP USEC_PER_SEC

/* The most that is read ahead of what evhttp has consumed. While it sends, it consumes nothing, and
 * would buffer everything that arrives. Must be larger than a header or a body may be, or its end
 * would never be seen. */
#define READ_AHEAD 16384

static void release(struct admin_connection *connection)
{
    struct admin *admin = connection->admin;
    connection->state = ADMIN_FREE;
    admin->connection_count--;
    if (admin->connection_count == 0)
        event_del(&admin->sweep);
    admin_accept_again(admin);
}

/* evhttp is about to free it, and the request too, unless it has left that to us: after an error in
 * what it sent on its own (100 Continue) while we had the request. */
static void on_close(struct evhttp_connection *http, void *arg)
{
    struct admin_connection *connection = arg;
    struct evhttp_request *request = connection->request;
    (void)http;
    if (connection->state == ADMIN_WAITING) {
        if (connection->order != NULL)
            admin_forget_order(connection->order);
        if (connection->reload != NULL)
            admin_forget_reload(connection->reload);
        if (evhttp_request_get_connection(request) == NULL)
            evhttp_request_free(request);
    }
    connection->request = NULL;
    connection->http = NULL;
    connection->order = NULL;
    connection->reload = NULL;
    release(connection);
}

/* Finds evhttp's object for a connection just accepted: the argument of its callbacks. If there is
 * none evhttp has failed, and has closed it already. */
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

/* Called by evhttp for each client that it accepts, before it makes a connection of it; we adopt
 * that as soon as we are back in the loop, before anything can happen to it.
 *
 * It must not close the descriptor when it is freed: evhttp has another call for that. */
static struct bufferevent *on_accept(struct event_base *base, void *arg)
{
    struct admin *admin = arg;
    const struct timeval sweep = {.tv_sec = SWEEP / USEC_PER_SEC};
    struct admin_connection *connection = find_free(admin);
    struct bufferevent *bufferevent = bufferevent_socket_new(base, -1, 0);
    if (connection == NULL || bufferevent == NULL)
        return bufferevent; /* evhttp's timeout is its only limit */
    bufferevent_setwatermark(bufferevent, EV_READ, 0, READ_AHEAD);
    bufferevent_incref(bufferevent);
    connection->admin = admin;
    connection->state = ADMIN_ACCEPTED;
    connection->bufferevent = bufferevent;
    connection->since = admin_now();
    if (admin->connection_count++ == 0)
        event_add(&admin->sweep, &sweep);
    if (admin->connection_count == CONFIG_ADMIN_CONNECTIONS)
        admin_stop_accepting(admin);
    if (admin->starved)
        log_notice("[admin]: accepting resumes");
    admin->starved = false;
    event_active(&admin->adopt, EV_TIMEOUT, 0);
    return bufferevent;
}

/* Loading may take long: on a disk that hangs, for instance. */
static bool may_stay(const struct admin_connection *connection)
{
    return connection->state == ADMIN_WAITING && connection->reload != NULL;
}

/* Closes those that would be too old before the next sweep. */
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
        if (connection->http != NULL && now - connection->since >= limit && !may_stay(connection))
            evhttp_connection_free(connection->http);
    }
}

void admin_connections_start(struct admin *admin)
{
    event_assign(&admin->adopt, admin->base, -1, 0, on_adopt, admin);
    event_assign(&admin->sweep, admin->base, -1, EV_PERSIST, on_sweep, admin);
    evhttp_set_bevcb(admin->http, on_accept, admin);
    admin_sockets_start(admin);
}

void admin_connections_clear(struct admin *admin)
{
    admin_sockets_clear(admin);
    if (!event_initialized(&admin->adopt))
        return;
    for (size_t i = 0; i < ARRAY_LEN(admin->connections); i++) {
        if (admin->connections[i].state == ADMIN_ACCEPTED)
            bufferevent_decref(admin->connections[i].bufferevent);
    }
    event_del(&admin->adopt);
    event_del(&admin->sweep);
}
