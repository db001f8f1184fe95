/* Listeners that are paused, or that accept nobody any more: they drain, or kaproxy stops. */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "daemon/listener_internal.h"

/* How long clients are taken from the backlog, where they come without an end. */
#define BACKLOG_TIME USEC_PER_SEC

/* Nobody is to be accepted any more, but the socket will be needed again. TCP refuses when it does
 * not listen, and stays bound. A unix socket that was shut down stays so; another one could be
 * bound in its place only with rights that the process may have given up: so whoever connects
 * there meets an end at once. */
static void refuse(struct listen_socket *listen_socket)
{
    bool is_unix = bound_socket_address(listen_socket->socket)->sa.ss_family == AF_UNIX;
    listen_socket->shut =
        !is_unix && shutdown(bound_socket_fd(listen_socket->socket), SHUT_RD) == 0;
    listen_socket->refuses = !listen_socket->shut;
}

/* 0, or -1 with errno. */
static int listen_again(struct listen_socket *listen_socket)
{
    if (listen_socket->shut && listen(bound_socket_fd(listen_socket->socket), INT_MAX) < 0)
        return -1;
    listen_socket->shut = listen_socket->refuses = false;
    return 0;
}

/* Whether a listener that accepts nobody any more is done with this one. */
static bool is_done(const struct listen_socket *listen_socket)
{
    if (listen_socket->listener->all->stopped)
        return listen_socket->socket == NULL;
    return listen_socket->shut || listen_socket->refuses;
}

/* Ends a backlog, and says so where clients wait there whom nobody serves any more. */
static void end_backlog(struct listen_socket *listen_socket, const char *why)
{
    struct pollfd pollfd = {.fd = bound_socket_fd(listen_socket->socket), .events = POLLIN};
    if (why != NULL && poll(&pollfd, 1, 0) > 0)
        log_warning("listener %s: clients that wait at %s are cut off: %s",
                    listen_socket->listener->context.config->name,
                    bound_socket_address(listen_socket->socket)->text, why);
    if (listen_socket->listener->all->stopped)
        listener_close_socket(listen_socket);
    else
        refuse(listen_socket);
}

/* Takes clients from the backlog of a socket that nobody watches any more, at most `most`, and is
 * done with it when that was all, or when there is an end to it. Returns how many came. */
static int empty_backlog(struct listen_socket *listen_socket, int most)
{
    const struct listener *listener = listen_socket->listener;
    struct listeners *listeners = listener->all;
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
        else if (loop_now(listeners->worker.loop) >= listener->emptying_since + BACKLOG_TIME)
            end_backlog(listen_socket, "they come without an end");
        break;
    }
    return count;
}

/* A piece of that; *left: how many clients may come yet. True: all sockets are done. */
static bool empty_backlogs(struct listener *listener, int *left)
{
    for (size_t i = 0; i < listener->count; i++) {
        if (*left <= 0)
            return false;
        if (!is_done(&listener->sockets[i]))
            *left -= empty_backlog(&listener->sockets[i], *left);
        if (!is_done(&listener->sockets[i]))
            return false;
    }
    return true;
}

/* From here on nobody else comes: the sessions that there are end as soon as they can. */
static void end_emptying(struct listener *listener)
{
    struct listeners *listeners = listener->all;
    listener->emptying = false;
    if (!listeners->stopped)
        listeners_watch_again(listeners);
    listener_context_drain(&listener->context);
}

void listeners_on_backlog(struct task *task)
{
    struct listeners *listeners = container_of(task, struct listeners, backlog_task);
    struct listener *listener;
    int left = LISTENER_BURST_MAX;
    bool more = false;
    TAILQ_FOREACH (listener, &listeners->list, link) {
        if (listener->emptying && empty_backlogs(listener, &left))
            end_emptying(listener);
        more |= listener->emptying;
    }
    if (more) {
        loop_queue(listeners->worker.loop, &listeners->backlog_task);
    } else if (listeners->stopped) {
        listeners->closed = true;
        listeners_check_drained(listeners);
    }
}

static void begin_emptying(struct listener *listener)
{
    struct loop *loop = listener->all->worker.loop;
    for (size_t i = 0; i < listener->count; i++)
        listener_unwatch(&listener->sockets[i]);
    listener->emptying = true;
    listener->emptying_since = loop_now(loop);
    loop_queue(loop, &listener->all->backlog_task);
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
}

/* 0, or -1 with *address, where it cannot be listened again, and errno; then nothing changed. */
static int accept_again(struct listener *listener, const char **address)
{
    for (size_t i = 0; i < listener->count; i++) {
        if (listen_again(&listener->sockets[i]) == 0)
            continue;
        int error = errno;
        *address = bound_socket_address(listener->sockets[i].socket)->text;
        while (i-- > 0)
            refuse(&listener->sockets[i]);
        errno = error;
        return -1;
    }
    listener->emptying = false;
    listeners_watch_again(listener->all);
    listener_context_undrain(&listener->context);
    return 0;
}

int listener_set_service(struct listener *listener, enum service service, const char **address)
{
    assert(!listener->all->stopped || service != SERVICE_DRAINING);
    if (service == listener->service)
        return 0;
    if (listener->service == SERVICE_DRAINING && !listener->all->stopped &&
        accept_again(listener, address) < 0)
        return -1;
    listener->service = service;
    if (service == SERVICE_PAUSED)
        listener_context_pause(&listener->context);
    else
        listener_context_resume(&listener->context);
    if (service == SERVICE_DRAINING)
        begin_emptying(listener);
    return 0;
}

enum service listener_get_service(const struct listener *listener)
{
    return listener->service;
}

struct listener_context *listener_get_context(struct listener *listener)
{
    return &listener->context;
}

struct listener *listener_next(const struct listeners *listeners, const struct listener *after)
{
    return after == NULL ? TAILQ_FIRST(&listeners->list) : TAILQ_NEXT(after, link);
}
