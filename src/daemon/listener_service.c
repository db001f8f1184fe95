/* SPDX-License-Identifier: ISC */
/* Listeners that are paused, or that accept no more clients: they drain, their addresses are no
 * longer configured, kaproxy stops, or another process serves them. */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "daemon/listener_internal.h"

/* How long clients are accepted from a backlog that never empties. */
#define BACKLOG_TIME USEC_PER_SEC

/* No more clients are to be accepted, but the socket will be needed again. A TCP socket that does
 * not listen refuses connections, and stays bound. A unix socket that was shut down cannot listen
 * again, and binding another one in its place may take privileges that the process has given up: so
 * clients that connect to it are closed at once. */
void listener_refuse(struct listen_socket *listen_socket)
{
    bool is_unix = bound_socket_address(listen_socket->socket)->sa.ss_family == AF_UNIX;
    listen_socket->shut = !is_unix && shutdown(listen_socket->fd, SHUT_RD) == 0;
    listen_socket->refuses = !listen_socket->shut;
}

int listener_admit(struct listen_socket *listen_socket)
{
    if (listen_socket->shut && listen(listen_socket->fd, INT_MAX) < 0)
        return -1;
    listen_socket->shut = listen_socket->refuses = false;
    return 0;
}

/* It is not needed again: it is closed once its backlog is empty. */
static bool is_to_close(const struct listen_socket *listen_socket)
{
    return listen_socket->left || listen_socket->all->stopped;
}

/* Whether a listener that accepts no more clients has finished with this socket. */
static bool is_done(const struct listen_socket *listen_socket)
{
    if (is_to_close(listen_socket))
        return listen_socket->socket == NULL;
    return listen_socket->shut || listen_socket->refuses;
}

/* Ends a backlog, and logs it if clients are left there that will not be served. */
static void end_backlog(struct listen_socket *listen_socket, const char *why)
{
    struct pollfd pollfd = {.fd = listen_socket->fd, .events = POLLIN};
    if (why != NULL && poll(&pollfd, 1, 0) > 0)
        log_warning("listener %s: connections waiting at %s are closed: %s",
                    listen_socket->part->listener->name,
                    bound_socket_address(listen_socket->socket)->text, why);
    if (is_to_close(listen_socket))
        listener_close_socket(listen_socket);
    else
        listener_refuse(listen_socket);
}

/* Accepts at most `most` clients from the backlog of a socket that is no longer watched, and
 * finishes with the socket when there are no more, or when the time is up. Returns how many
 * came. */
static int empty_backlog(struct listen_socket *listen_socket, int most)
{
    struct listeners *listeners = listen_socket->all;
    int count = 0;
    switch (listen_socket->shut ? ACCEPT_NONE : listener_accept_some(listen_socket, most, &count)) {
    case ACCEPT_NONE:
        end_backlog(listen_socket, NULL);
        break;
    case ACCEPT_SHORTAGE:
        end_backlog(listen_socket, error_text(errno));
        break;
    case ACCEPTED:
    case ACCEPT_NEXT:
        if (listeners->clients >= listeners->max_clients)
            end_backlog(listen_socket, "max_clients");
        else if (loop_now(listeners->worker.loop) >= listen_socket->emptied_from + BACKLOG_TIME)
            end_backlog(listen_socket, "they keep arriving");
        break;
    }
    return count;
}

/* One batch of that; *left: how many more clients may be accepted in it. True: all sockets are
 * finished. */
static bool empty_backlogs(struct listener *listener, int *left)
{
    struct listen_socket *listen_socket;
    TAILQ_FOREACH (listen_socket, &listener->sockets, link) {
        if (*left <= 0)
            return false;
        if (!is_done(listen_socket))
            *left -= empty_backlog(listen_socket, *left);
        if (!is_done(listen_socket))
            return false;
    }
    return true;
}

/* The same for those no longer configured, which are then freed. */
static bool empty_left(struct listeners *listeners, int *left)
{
    struct listen_socket *listen_socket;
    while ((listen_socket = TAILQ_FIRST(&listeners->left)) != NULL) {
        if (*left <= 0)
            return false;
        *left -= empty_backlog(listen_socket, *left);
        if (!is_done(listen_socket))
            return false;
        TAILQ_REMOVE(&listeners->left, listen_socket, link);
        listen_socket->part->sockets--;
        listener_free_socket(listen_socket);
    }
    return true;
}

static void drain_sessions(struct listener *listener)
{
    struct listener_part *part;
    TAILQ_FOREACH (part, &listener->parts, link)
        listener_context_drain(&part->context);
}

void listeners_drain(struct listeners *listeners)
{
    struct listener *listener;
    TAILQ_FOREACH (listener, &listeners->list, link)
        drain_sessions(listener);
    TAILQ_FOREACH (listener, &listeners->gone, link)
        drain_sessions(listener);
}

/* From here on no more clients come: the existing sessions end as soon as they can. */
static void end_emptying(struct listener *listener)
{
    struct listeners *listeners = listener->all;
    listener->emptying = false;
    if (!listeners->stopped)
        listeners_watch_again(listeners);
    drain_sessions(listener);
}

/* True: there is more to do. A listener that drains does not finish its sockets while they are
 * yielded: the clients in the backlog may be the other process's, and shutting a socket down would
 * shut down its as well. */
static bool empty_all(struct listeners *listeners)
{
    struct listener *listener;
    int left = LISTENER_BURST_MAX;
    bool had_left = !TAILQ_EMPTY(&listeners->left), more = false;
    TAILQ_FOREACH (listener, &listeners->list, link) {
        if (listeners->yielded && !listeners->stopped)
            break;
        if (listener->emptying && empty_backlogs(listener, &left))
            end_emptying(listener);
        more |= listener->emptying;
    }
    more |= !empty_left(listeners, &left);
    if (had_left && TAILQ_EMPTY(&listeners->left)) {
        loop_post(listeners->worker.loop, &listeners->sweep_task);
        if (listeners->all_left != NULL)
            listeners->all_left(listeners);
    }
    return more;
}

void listeners_on_backlog(struct task *task)
{
    struct listeners *listeners = container_of(task, struct listeners, backlog_task);
    if (empty_all(listeners)) {
        loop_queue(listeners->worker.loop, &listeners->backlog_task);
    } else if (listeners->stopped) {
        listeners->closed = true;
        listeners_check_drained(listeners);
    }
}

static void begin_socket(struct listen_socket *listen_socket)
{
    listener_unwatch(listen_socket);
    listen_socket->emptied_from = loop_now(listen_socket->all->worker.loop);
}

static void begin_emptying(struct listener *listener)
{
    struct listen_socket *listen_socket;
    TAILQ_FOREACH (listen_socket, &listener->sockets, link)
        begin_socket(listen_socket);
    listener->emptying = true;
    loop_queue(listener->all->worker.loop, &listener->all->backlog_task);
}

void listener_empty_socket(struct listener *listener, struct listen_socket *listen_socket)
{
    if (listen_socket->shut || listen_socket->refuses)
        return;
    begin_socket(listen_socket);
    listener->emptying = true;
    loop_queue(listener->all->worker.loop, &listener->all->backlog_task);
}

void listener_leave_socket(struct listen_socket *listen_socket)
{
    begin_socket(listen_socket);
    listen_socket->left = true;
    loop_queue(listen_socket->all->worker.loop, &listen_socket->all->backlog_task);
}

void listeners_stop(struct listeners *listeners)
{
    struct listener *listener;
    if (listeners->stopped)
        return;
    listeners_stop_accepting(listeners);
    loop_clear_timer(listeners->worker.loop, &listeners->retry);
    listeners->stopped = true;
    loop_queue(listeners->worker.loop, &listeners->backlog_task);
    TAILQ_FOREACH (listener, &listeners->list, link)
        begin_emptying(listener);
    TAILQ_FOREACH (listener, &listeners->gone, link)
        drain_sessions(listener);
}

/* Handover. */

/* 0, or -1 with errno; then the sockets changed so far are restored. */
static int admit_all(struct listener *listener)
{
    struct listen_socket *listen_socket;
    TAILQ_FOREACH (listen_socket, &listener->sockets, link) {
        if (listen_socket->shut && listen(listen_socket->fd, INT_MAX) < 0)
            return -1;
    }
    return 0;
}

int listeners_yield(struct listeners *listeners)
{
    struct listener *listener;
    TAILQ_FOREACH (listener, &listeners->list, link) {
        if (admit_all(listener) < 0)
            return -1;
    }
    listeners_stop_accepting(listeners);
    loop_clear_timer(listeners->worker.loop, &listeners->retry);
    listeners->yielded = true;
    return 0;
}

void listeners_resume(struct listeners *listeners)
{
    struct listener *listener;
    struct listen_socket *listen_socket;
    TAILQ_FOREACH (listener, &listeners->list, link) {
        TAILQ_FOREACH (listen_socket, &listener->sockets, link) {
            if (!listen_socket->shut)
                continue;
            listen_socket->shut = false; /* clients that came meanwhile are served */
            listener_empty_socket(listener, listen_socket);
        }
    }
    listeners->yielded = false;
    loop_queue(listeners->worker.loop, &listeners->backlog_task); /* of all draining ones */
    listeners_accept_again(listeners);
}

void listeners_take_files(struct listeners *listeners)
{
    struct listener *listener;
    struct listen_socket *listen_socket;
    TAILQ_FOREACH (listener, &listeners->list, link) {
        TAILQ_FOREACH (listen_socket, &listener->sockets, link)
            bound_socket_give_file(listen_socket->socket, false);
    }
}

static void give_sockets(struct listener *listener)
{
    struct listen_socket *listen_socket;
    struct listener_part *part;
    TAILQ_FOREACH (listen_socket, &listener->sockets, link) {
        bound_socket_give_file(listen_socket->socket, true);
        listener_close_socket(listen_socket);
    }
    listener->emptying = false;
    listener_forget_service(listener);
    TAILQ_FOREACH (part, &listener->parts, link)
        listener_context_retire(&part->context);
}

void listeners_leave(struct listeners *listeners)
{
    struct listener *listener;
    if (listeners->stopped)
        return;
    listeners_stop_accepting(listeners);
    loop_clear_timer(listeners->worker.loop, &listeners->retry);
    listeners->stopped = true;
    TAILQ_FOREACH (listener, &listeners->list, link)
        give_sockets(listener);
    loop_queue(listeners->worker.loop, &listeners->backlog_task); /* of those removed */
}

/* What an operator wants. */

/* 0, or -1 with errno and *address, which cannot be listened on again; then nothing changed. */
static int accept_again(struct listener *listener, const char **address)
{
    struct listen_socket *listen_socket, *again;
    struct listener_part *part;
    TAILQ_FOREACH (listen_socket, &listener->sockets, link) {
        if (listener_admit(listen_socket) == 0)
            continue;
        int error = errno;
        *address = bound_socket_address(listen_socket->socket)->text;
        for (again = TAILQ_FIRST(&listener->sockets); again != listen_socket;
             again = TAILQ_NEXT(again, link))
            listener_refuse(again);
        errno = error;
        return -1;
    }
    listener->emptying = false;
    listeners_watch_again(listener->all);
    TAILQ_FOREACH (part, &listener->parts, link)
        listener_context_undrain(&part->context);
    return 0;
}

static void set_paused(struct listener *listener, bool paused)
{
    struct listener_part *part;
    TAILQ_FOREACH (part, &listener->parts, link) {
        if (paused)
            listener_context_pause(&part->context);
        else
            listener_context_resume(&part->context);
    }
}

void listener_forget_service(struct listener *listener)
{
    if (listener->emptying)
        drain_sessions(listener);
    listener->emptying = false;
    listener->service = SERVICE_OPEN;
    set_paused(listener, false);
    gauge_set(&listener->counters->stats.draining, 0);
}

int listener_set_service(struct listener *listener, enum service service, const char **address)
{
    assert(!listener->all->stopped || service != SERVICE_DRAINING);
    if (service == listener->service)
        return 0;
    if (listener->service == SERVICE_DRAINING && !listener->all->stopped &&
        accept_again(listener, address) < 0)
        return -1;
    if (listener->service == SERVICE_PAUSED)
        listener->resumed_at = unix_time();
    listener->service = service;
    set_paused(listener, service == SERVICE_PAUSED);
    if (service == SERVICE_DRAINING)
        begin_emptying(listener);
    return 0;
}

enum service listener_get_service(const struct listener *listener)
{
    return listener->service;
}

int64_t listener_resumed_at(const struct listener *listener)
{
    return listener->resumed_at;
}
