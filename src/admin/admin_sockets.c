/* SPDX-License-Identifier: ISC */
/* The listen sockets that evhttp accepts from, and when it does. */
#include "admin/admin_internal.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"

/* How long accepting pauses when there are no descriptors. */
#define PAUSE (100 * USEC_PER_MSEC)

static struct evconnlistener *listener_of(const struct admin_socket *admin_socket)
{
    return evhttp_bound_socket_get_listener(admin_socket->http);
}

void admin_stop_accepting(struct admin *admin)
{
    admin->accepting = false;
    for (size_t i = 0; i < admin->socket_count; i++)
        evconnlistener_disable(listener_of(&admin->sockets[i]));
}

static void retry_later(struct admin *admin)
{
    const struct timeval pause = {.tv_usec = PAUSE};
    admin_stop_accepting(admin);
    event_add(&admin->retry, &pause);
}

static bool may_accept(const struct admin *admin)
{
    return admin->is_open && admin->connection_count < CONFIG_ADMIN_CONNECTIONS &&
           !event_pending(&admin->retry, EV_TIMEOUT, NULL);
}

void admin_accept_again(struct admin *admin)
{
    if (admin->accepting || !may_accept(admin))
        return;
    admin->accepting = true;
    for (size_t i = 0; i < admin->socket_count; i++) {
        if (evconnlistener_enable(listener_of(&admin->sockets[i])) < 0) {
            retry_later(admin);
            return;
        }
    }
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    admin_accept_again(arg);
}

static int find_admin(const struct event_base *base, const struct event *event, void *arg)
{
    struct admin **admin = arg;
    (void)base;
    if (event_get_callback(event) == admin_on_tick)
        *admin = event_get_callback_arg(event);
    return *admin != NULL;
}

/* Usually for want of descriptors: clients stay in the backlog. The argument is evhttp, which does
 * not know us: an event of ours leads back. */
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

/* Initially disabled. 0, or -1 with ENOMEM. The bound socket keeps the descriptor. */
static int listen_at(struct admin *admin, struct admin_socket *admin_socket)
{
    struct evconnlistener *listener =
        evconnlistener_new(admin->base, NULL, NULL, LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_DISABLED, 0,
                           bound_socket_fd(admin_socket->bound));
    admin_socket->http = listener == NULL ? NULL : evhttp_bind_listener(admin->http, listener);
    if (admin_socket->http != NULL) {
        evconnlistener_set_error_cb(listener, on_accept_error);
        return 0;
    }
    if (listener != NULL)
        evconnlistener_free(listener);
    errno = ENOMEM;
    return -1;
}

/* The admin's own that is the same. */
static const struct admin_socket *find_socket(const struct admin *admin,
                                              const struct bound_socket *bound)
{
    for (size_t i = 0; i < admin->socket_count; i++) {
        if (admin->sockets[i].bound == bound)
            return &admin->sockets[i];
    }
    return NULL;
}

/* A list in preparation; so far only evhttp knows its new members. */
struct list {
    struct admin_socket *sockets;
    size_t count;
};

static void undo(struct admin *admin, struct list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct admin_socket *kept = find_socket(admin, list->sockets[i].bound);
        bool is_new = list->sockets[i].http != NULL && (kept == NULL || kept->http == NULL);
        if (is_new)
            evhttp_del_accept_socket(admin->http, list->sockets[i].http);
    }
    free(list->sockets);
}

/* 0, or -1 with errno. */
static int make(struct admin *admin, struct list *list, struct bound_socket *const *sockets,
                size_t count)
{
    list->sockets = calloc(count + 1, sizeof(*list->sockets));
    if (list->sockets == NULL)
        return -1;
    for (list->count = 0; list->count < count; list->count++) {
        struct admin_socket *next = &list->sockets[list->count];
        const struct admin_socket *kept = find_socket(admin, sockets[list->count]);
        next->bound = sockets[list->count];
        next->http = kept == NULL ? NULL : kept->http;
        if (admin->http != NULL && next->http == NULL && listen_at(admin, next) < 0)
            break;
    }
    if (list->count == count && (count == 0 || admin->http == NULL || admin_start_tick(admin) == 0))
        return 0;
    int error = errno;
    undo(admin, list);
    errno = error;
    return -1;
}

/* Installs a prepared list, and frees the previous one. */
static void take(struct admin *admin, const struct list *list)
{
    struct list old = {admin->sockets, admin->socket_count};
    admin->sockets = list->sockets;
    admin->socket_count = list->count;
    for (size_t i = 0; i < list->count; i++)
        bound_socket_ref(list->sockets[i].bound);
    for (size_t i = 0; i < old.count; i++) {
        bool goes = find_socket(admin, old.sockets[i].bound) == NULL;
        if (goes && old.sockets[i].http != NULL)
            evhttp_del_accept_socket(admin->http, old.sockets[i].http);
        bound_socket_unref(old.sockets[i].bound);
    }
    free(old.sockets);
}

int admin_set_sockets(struct admin *admin, struct bound_socket *const *sockets, size_t count)
{
    struct list list;
    if (make(admin, &list, sockets, count) < 0)
        return -1;
    take(admin, &list);
    if (admin->http == NULL)
        return 0;
    if (count == 0)
        admin_stop_tick(admin);
    admin->accepting = false; /* new ones are disabled */
    admin_accept_again(admin);
    return 0;
}

void admin_accept(struct admin *admin, bool accept)
{
    admin->is_open = accept;
    if (admin->http == NULL)
        return;
    if (accept)
        admin_accept_again(admin);
    else
        admin_stop_accepting(admin);
}

void admin_sockets_start(struct admin *admin)
{
    event_assign(&admin->retry, admin->base, -1, 0, on_retry, admin);
}

/* evhttp has gone, with its part of them. */
void admin_sockets_clear(struct admin *admin)
{
    if (event_initialized(&admin->retry))
        event_del(&admin->retry);
    for (size_t i = 0; i < admin->socket_count; i++)
        bound_socket_unref(admin->sockets[i].bound);
    free(admin->sockets);
}
