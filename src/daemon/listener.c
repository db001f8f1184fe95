/* SPDX-License-Identifier: ISC */
/* Accepts clients in bursts, and pauses for want of descriptors. */
#include "daemon/listener.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/listener_internal.h"
#include "daemon/protocols.h"

/* Iterations of the loop less than this apart belong to one burst. */
#define AT_ONCE (2 * USEC_PER_MSEC)

/* After how many bursts of the expected size, at most, more clients are expected. */
#define BURSTS_NEEDED_MAX 64

/* How long accepting pauses when there are no descriptors. A session that ends sooner ends the
 * pause. */
#define PAUSE (100 * USEC_PER_MSEC)

void listener_unwatch(struct listen_socket *listen_socket)
{
    if (listen_socket->watched)
        loop_unwatch(listen_socket->all->worker.loop, &listen_socket->watch, listen_socket->fd,
                     false);
    listen_socket->watched = false;
}

void listeners_stop_accepting(struct listeners *listeners)
{
    struct listener *listener;
    struct listen_socket *listen_socket;
    if (!listeners->accepting)
        return;
    listeners->accepting = false;
    TAILQ_FOREACH (listener, &listeners->list, link) {
        TAILQ_FOREACH (listen_socket, &listener->sockets, link)
            listener_unwatch(listen_socket);
    }
}

/* Level-triggered: clients that are not accepted now are reported again. 0, or -1 with errno. */
static int watch(struct listen_socket *listen_socket)
{
    struct loop *loop = listen_socket->all->worker.loop;
    if (loop_watch(loop, &listen_socket->watch, listen_socket->fd, EPOLLIN) < 0)
        return -1;
    listen_socket->watched = true;
    return 0;
}

/* Watches those that should be watched and are not. 0, or -1 with errno. */
static int watch_all(struct listener *listener)
{
    struct listen_socket *listen_socket;
    TAILQ_FOREACH (listen_socket, &listener->sockets, link) {
        bool is_wanted = !listen_socket->shut && !listener->emptying && !listen_socket->watched;
        if (is_wanted && watch(listen_socket) < 0)
            return -1;
    }
    return 0;
}

static int start_accepting(struct listeners *listeners)
{
    struct listener *listener;
    if (listeners->accepting || listeners->stopped || listeners->yielded)
        return 0;
    listeners->accepting = true;
    loop_clear_timer(listeners->worker.loop, &listeners->retry);
    TAILQ_FOREACH (listener, &listeners->list, link) {
        if (watch_all(listener) < 0) {
            int error = errno;
            listeners_stop_accepting(listeners);
            errno = error;
            return -1;
        }
    }
    return 0;
}

static void report(struct listeners *listeners, enum log_level level, const char *what, int error)
{
    const char *text = error != 0 ? error_text(error) : "";
    const struct repeat_key key = {.place = what, .function = "", .number = error, .text = text};
    char rest[160];
    if (!repeats_admit(&listeners->repeats, level, &key))
        return;
    snprintf(rest, sizeof(rest), "%s%s%u clients are connected", text, error != 0 ? "; " : "",
             listeners->clients);
    repeats_log(&listeners->repeats, level, &key, what, NULL, rest);
}

/* No client can be accepted, usually for want of descriptors: clients wait in the backlog. Logged
 * once, until the backlog has been emptied again. */
static void pause_accepting(struct listeners *listeners, int error)
{
    if (!listeners->starved) {
        report(listeners, LOG_LEVEL_ERROR, "accepting pauses:", error);
        listeners->starved = true;
        counter_add(&listeners->stats.pauses, 1);
    }
    listeners_stop_accepting(listeners);
    if (loop_set_timer(listeners->worker.loop, &listeners->retry,
                       loop_now(listeners->worker.loop) + PAUSE) < 0)
        report(listeners, LOG_LEVEL_ERROR, "cannot set a timer:", errno);
}

static void caught_up(struct listeners *listeners)
{
    if (!listeners->starved)
        return;
    listeners->starved = false;
    report(listeners, LOG_LEVEL_NOTICE, "accepting resumes;", 0);
}

static enum accept_result accept_one(struct listen_socket *listen_socket)
{
    struct listeners *listeners = listen_socket->all;
    union address peer = {.sa.sa_family = AF_UNIX};
    socklen_t length = sizeof(peer);
    bool is_unix = bound_socket_address(listen_socket->socket)->sa.ss_family == AF_UNIX;
    int fd = accept4(listen_socket->fd, is_unix ? NULL : &peer.sa, is_unix ? NULL : &length,
                     SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        switch (errno) {
        case EAGAIN:
            return ACCEPT_NONE;
        case ECONNABORTED: /* the client has left already */
        case EINTR:
        case EPROTO: /* and what accept(2) says to treat like that */
        case ENETDOWN:
        case ENOPROTOOPT:
        case EHOSTDOWN:
        case ENONET:
        case EHOSTUNREACH:
        case EOPNOTSUPP:
        case ENETUNREACH:
            return ACCEPT_NEXT;
        default: /* no descriptors, no memory, or refused by the system */
            return ACCEPT_SHORTAGE;
        }
    }
    if (listen_socket->refuses) {
        close(fd);
        return ACCEPT_NEXT;
    }
    if (session_start(&listen_socket->part->context, fd, &peer) < 0) {
        int error = errno;
        struct stream client;
        stream_init(&client, fd);
        stream_reset(&client);
        errno = error;
        return ACCEPT_SHORTAGE;
    }
    listeners->clients++;
    gauge_set(&listeners->stats.clients, listeners->clients);
    return ACCEPTED;
}

/* How many clients to accept now: as many as came at once lately, and occasionally more. One accept
 * too many costs a system call for nothing, one too few an iteration of the loop; so the more often
 * more were expected in vain, the longer it takes until that is tried again. After a shortage all
 * are accepted, to reach the end of the backlog. */
static int next_burst(struct listen_socket *listen_socket)
{
    struct listeners *listeners = listen_socket->all;
    if (listeners->starved)
        return LISTENER_BURST_MAX;
    if (loop_now(listeners->worker.loop) - listen_socket->filled_at >= AT_ONCE) {
        listen_socket->burst = listen_socket->bursts_needed = 1;
        listen_socket->filled = 0;
    } else if (listen_socket->filled >= listen_socket->bursts_needed &&
               listen_socket->burst < LISTENER_BURST_MAX) {
        listen_socket->burst *= 2;
        listen_socket->filled = 0;
    }
    return listen_socket->burst;
}

static void filled_burst(struct listen_socket *listen_socket)
{
    if (listen_socket->burst > 1 && listen_socket->filled == 0)
        listen_socket->bursts_needed = 1;
    listen_socket->filled++;
    listen_socket->filled_at = loop_now(listen_socket->all->worker.loop);
}

static void missed_burst(struct listen_socket *listen_socket, int count)
{
    listen_socket->burst = count < 1 ? 1 : count < LISTENER_BURST_MAX ? count : LISTENER_BURST_MAX;
    listen_socket->filled = 0;
    if (listen_socket->bursts_needed < BURSTS_NEEDED_MAX)
        listen_socket->bursts_needed *= 2;
    if (count > 0)
        listen_socket->filled_at = loop_now(listen_socket->all->worker.loop);
}

enum accept_result listener_accept_some(struct listen_socket *listen_socket, int most, int *count)
{
    const struct listeners *listeners = listen_socket->all;
    for (*count = 0; *count < most && listeners->clients < listeners->max_clients; (*count)++) {
        enum accept_result result = accept_one(listen_socket);
        if (result == ACCEPT_NONE || result == ACCEPT_SHORTAGE)
            return result;
    }
    return ACCEPTED;
}

/* When more than a burst wait, the socket is readable again at once. */
static void accept_burst(struct listen_socket *listen_socket, int burst)
{
    struct listeners *listeners = listen_socket->all;
    int count;
    enum accept_result result = listener_accept_some(listen_socket, burst, &count);
    if (result == ACCEPT_SHORTAGE) {
        pause_accepting(listeners, errno);
    } else if (result == ACCEPT_NONE) {
        caught_up(listeners);
        missed_burst(listen_socket, count);
    } else {
        filled_burst(listen_socket);
    }
    if (listeners->accepting && listeners->clients >= listeners->max_clients) {
        counter_add(&listeners->stats.full, 1);
        listeners_stop_accepting(listeners);
    }
}

void listener_on_readable(struct watch *watch, uint32_t events)
{
    struct listen_socket *listen_socket = container_of(watch, struct listen_socket, watch);
    (void)events;
    accept_burst(listen_socket, next_burst(listen_socket));
}

static void try_again_later(struct listeners *listeners)
{
    if (loop_set_timer(listeners->worker.loop, &listeners->retry,
                       loop_now(listeners->worker.loop) + PAUSE) < 0)
        report(listeners, LOG_LEVEL_ERROR, "cannot set a timer:", errno);
}

/* After a shortage accept is tried again a little later, to log the recovery even when no other
 * client comes. */
void listeners_accept_again(struct listeners *listeners)
{
    if (listeners->clients >= listeners->max_clients)
        return;
    int result = start_accepting(listeners);
    if (result < 0)
        report(listeners, LOG_LEVEL_ERROR, "cannot watch the listen sockets:", errno);
    if (result < 0 || listeners->starved)
        try_again_later(listeners);
}

void listeners_watch_again(struct listeners *listeners)
{
    if (!listeners->accepting)
        return;
    listeners_stop_accepting(listeners);
    listeners_accept_again(listeners);
}

/* To reach the end of the backlog without an event: there may be no more clients. */
static void look_for_end(struct listeners *listeners)
{
    struct listener *listener;
    struct listen_socket *listen_socket;
    TAILQ_FOREACH (listener, &listeners->list, link) {
        TAILQ_FOREACH (listen_socket, &listener->sockets, link) {
            if (listeners->accepting && listen_socket->watched)
                accept_burst(listen_socket, LISTENER_BURST_MAX);
        }
    }
}

static void on_retry(struct timer *timer)
{
    struct listeners *listeners = container_of(timer, struct listeners, retry);
    if (listeners->accepting && listeners->starved)
        look_for_end(listeners);
    else
        listeners_accept_again(listeners);
}

void listeners_check_drained(struct listeners *listeners)
{
    if (listeners->closed && listeners->clients == 0)
        loop_post(listeners->worker.loop, &listeners->drained_task);
}

void listener_on_session_ended(struct listener_context *context)
{
    const struct listener_part *part = container_of_const(context, struct listener_part, context);
    struct listeners *listeners = part->listener->all;
    listeners->clients--;
    gauge_set_now(&listeners->stats.clients, listeners->clients);
    if (part->sockets == 0 && TAILQ_EMPTY(&context->sessions))
        loop_post(listeners->worker.loop, &listeners->sweep_task);
    if (listeners->stopped) {
        listeners_check_drained(listeners);
    } else if (!listeners->accepting) {
        listeners_accept_again(listeners);
    }
}

static void on_drained(struct task *task)
{
    struct listeners *listeners = container_of(task, struct listeners, drained_task);
    listeners->drained(listeners);
}

void listener_close_socket(struct listen_socket *listen_socket)
{
    listener_unwatch(listen_socket);
    if (listen_socket->socket != NULL)
        bound_socket_close(listen_socket->socket);
    bound_socket_unref(listen_socket->socket);
    listen_socket->socket = NULL;
    listen_socket->fd = -1;
}

int listeners_start(struct listeners *listeners)
{
    listeners->started = true;
    return start_accepting(listeners);
}

void listeners_init(struct listeners *listeners)
{
    gauge_set(&listeners->stats.max_clients, listeners->max_clients);
    listeners->retry.fire = on_retry;
    listeners->backlog_task.run = listeners_on_backlog;
    listeners->drained_task.run = on_drained;
    listeners->sweep_task.run = listeners_on_sweep;
    repeats_init(&listeners->repeats, listeners->worker.loop);
    TAILQ_INIT(&listeners->list);
    TAILQ_INIT(&listeners->gone);
    TAILQ_INIT(&listeners->left);
}

static void abort_sessions(struct listener *listener)
{
    struct listener_part *part;
    TAILQ_FOREACH (part, &listener->parts, link)
        listener_context_abort(&part->context);
}

void listeners_abort(struct listeners *listeners)
{
    struct listener *listener;
    loop_unpost(listeners->worker.loop, &listeners->backlog_task); /* no more are admitted */
    TAILQ_FOREACH (listener, &listeners->list, link)
        abort_sessions(listener);
    TAILQ_FOREACH (listener, &listeners->gone, link)
        abort_sessions(listener);
}

void listeners_clear(struct listeners *listeners)
{
    assert(listeners->clients == 0);
    listeners_free_all(listeners);
    repeats_clear(&listeners->repeats);
    loop_clear_timer(listeners->worker.loop, &listeners->retry);
    loop_unpost(listeners->worker.loop, &listeners->backlog_task);
    loop_unpost(listeners->worker.loop, &listeners->drained_task);
    loop_unpost(listeners->worker.loop, &listeners->sweep_task);
}

static const struct metric metrics[] = {
    {.name = "clients",
     .help = "Clients connected, of all listeners",
     .type = METRIC_GAUGE,
     .offset = offsetof(struct listeners_stats, clients),
     .count = 1},
    {.name = "max_clients",
     .help = "How many clients there may be",
     .type = METRIC_GAUGE,
     .offset = offsetof(struct listeners_stats, max_clients),
     .count = 1},
    {.name = "accept_pauses",
     .help = "How often accepting paused for want of descriptors or memory",
     .type = METRIC_COUNTER,
     .offset = offsetof(struct listeners_stats, pauses),
     .count = 1},
    {.name = "max_clients_reached",
     .help = "How often max_clients was reached",
     .type = METRIC_COUNTER,
     .offset = offsetof(struct listeners_stats, full),
     .count = 1},
};

const struct metric_set listeners_metrics = {
    .prefix = "", .metrics = metrics, .count = ARRAY_LEN(metrics)};
