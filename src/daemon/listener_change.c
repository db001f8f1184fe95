/* SPDX-License-Identifier: ISC */
/* From one configuration to the next: which listeners and sockets exist, and whom they serve. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "config/config.h"
#include "daemon/listener_internal.h"
#include "daemon/protocols.h"

/* The result of one plan. */
struct planned {
    struct listener *listener;
    bool is_new;    /* the listener */
    bool unchanged; /* as in the plan */
    struct listener_part *part;
    struct listen_socket **sockets; /* one per address */
    size_t count;                   /* of these: those that exist */
    bool *are_new;
};

struct listeners_change {
    struct planned *list;
    size_t count;
};

/* Parts and listeners: created and freed. */

static void free_part(struct listener_part *part)
{
    assert(TAILQ_EMPTY(&part->context.sessions) && part->sockets == 0);
    listener_context_clear(&part->context);
    config_unref(part->config);
    free(part);
}

static void free_listener(struct listener *listener)
{
    listener_counters_unref(listener->counters);
    free(listener->name);
    free(listener);
}

void listener_free_socket(struct listen_socket *listen_socket)
{
    listener_unwatch(listen_socket);
    bound_socket_unref(listen_socket->socket);
    free(listen_socket);
}

/* NULL with ENOMEM. */
static struct listener *make_listener(struct listeners *listeners, const char *name,
                                      const struct protocol *protocol)
{
    struct listener *listener = calloc(1, sizeof(*listener));
    if (listener == NULL)
        return NULL;
    listener->all = listeners;
    listener->protocol = protocol;
    listener->name = strdup(name);
    listener->counters = listener_counters_new(protocol);
    TAILQ_INIT(&listener->parts);
    TAILQ_INIT(&listener->sockets);
    if (listener->name != NULL && listener->counters != NULL)
        return listener;
    free_listener(listener);
    errno = ENOMEM;
    return NULL;
}

/* NULL with ENOMEM. */
static struct listener_part *make_part(struct listener *listener, const struct listener_plan *plan)
{
    struct listener_part *part = calloc(1, sizeof(*part));
    if (part == NULL)
        return NULL;
    part->listener = listener;
    part->context = (struct listener_context){.config = plan->config,
                                              .protocol = listener->protocol,
                                              .worker = listener->all->worker,
                                              .pool = plan->pool,
                                              .tls = plan->tls,
                                              .counters = listener->counters,
                                              .ended = listener_on_session_ended};
    if (listener_context_init(&part->context) < 0) {
        free(part);
        errno = ENOMEM;
        return NULL;
    }
    part->config = config_ref(plan->whole);
    return part;
}

/* NULL with ENOMEM. */
static struct listen_socket *make_socket(struct listeners *listeners, struct bound_socket *socket)
{
    struct listen_socket *listen_socket = calloc(1, sizeof(*listen_socket));
    if (listen_socket == NULL)
        return NULL;
    listen_socket->all = listeners;
    listen_socket->socket = bound_socket_ref(socket);
    listen_socket->fd = bound_socket_fd(socket);
    listen_socket->watch.ready = listener_on_readable;
    return listen_socket;
}

/* The first step. */

/* 0, or -1 with ENOMEM; what was made so far is in `planned`. */
static int plan_sockets(struct listeners *listeners, const struct listeners_known *known,
                        const struct listener_plan *plan, struct planned *planned)
{
    size_t count = plan->config->addresses.count;
    planned->sockets = calloc(count, sizeof(struct listen_socket *));
    planned->are_new = calloc(count, sizeof(bool));
    if (planned->sockets == NULL || planned->are_new == NULL)
        return -1;
    for (size_t i = 0; i < count; i++) {
        struct listen_socket *listen_socket = listeners_known_find_socket(known, plan->sockets[i]);
        planned->are_new[i] = listen_socket == NULL;
        if (listen_socket == NULL)
            listen_socket = make_socket(listeners, plan->sockets[i]);
        if (listen_socket == NULL)
            return -1;
        planned->sockets[planned->count++] = listen_socket;
    }
    return 0;
}

/* The same. */
static int plan_listener(struct listeners *listeners, const struct listeners_known *known,
                         const struct listener_plan *plan, struct planned *planned)
{
    const char *name = plan->config->name;
    const struct protocol *protocol =
        protocols_find(endpoint_scheme(&plan->config->upstream)->protocol);
    planned->listener = listeners_known_find(known, name, protocol);
    planned->is_new = planned->listener == NULL;
    if (planned->is_new)
        planned->listener = make_listener(listeners, name, protocol);
    if (planned->listener == NULL)
        return -1;
    planned->unchanged = plan->unchanged;
    planned->part = make_part(planned->listener, plan);
    return planned->part == NULL ? -1 : plan_sockets(listeners, known, plan, planned);
}

struct listeners_change *listeners_prepare(struct listeners *listeners,
                                           const struct listener_plan *plans, size_t count)
{
    struct listeners_known known;
    struct listeners_change *change = calloc(1, sizeof(*change));
    if (change == NULL)
        return NULL;
    change->list = calloc(count, sizeof(*change->list));
    if (change->list == NULL || listeners_known_init(&known, listeners) < 0)
        goto err;
    for (; change->count < count; change->count++) {
        if (plan_listener(listeners, &known, &plans[change->count], &change->list[change->count]) <
            0) {
            change->count++;
            goto err_known;
        }
    }
    listeners_known_clear(&known);
    return change;

err_known:
    listeners_known_clear(&known);
err:
    listeners_drop(listeners, change);
    errno = ENOMEM;
    return NULL;
}

const struct listener_context *listeners_change_context(const struct listeners_change *change,
                                                        size_t index)
{
    return &change->list[index].part->context;
}

static void clear_planned(struct planned *planned)
{
    free(planned->sockets);
    free(planned->are_new);
}

static void drop_planned(struct planned *planned)
{
    for (size_t i = 0; i < planned->count; i++) {
        if (planned->are_new[i])
            listener_free_socket(planned->sockets[i]);
    }
    if (planned->part != NULL)
        free_part(planned->part);
    if (planned->is_new && planned->listener != NULL)
        free_listener(planned->listener);
    clear_planned(planned);
}

void listeners_drop(struct listeners *listeners, struct listeners_change *change)
{
    (void)listeners;
    if (change == NULL)
        return;
    for (size_t i = 0; i < change->count; i++)
        drop_planned(&change->list[i]);
    free(change->list);
    free(change);
}

/* The second step. */

static struct listener_part *present_part(struct listener *listener)
{
    return listener->is_configured ? TAILQ_LAST(&listener->parts, listener_parts) : NULL;
}

/* The sessions of a part that is no longer current. Those of an unchanged listener need not know
 * that there was a change. */
static void supersede(struct listener_part *part, bool unchanged)
{
    if (!unchanged)
        listener_context_retire(&part->context);
}

/* The state that an operator has set applies to the new part too, and so do the current limits of
 * its pool. */
static void take_part(struct listener *listener, struct listener_part *part, bool unchanged)
{
    struct listener_part *before = present_part(listener);
    if (before != NULL)
        supersede(before, unchanged);
    TAILQ_INSERT_TAIL(&listener->parts, part, link);
    listener->is_configured = true;
    part->context.unacked_timeout = pool_unacked_timeout(part->context.pool);
    if (listener->service == SERVICE_PAUSED)
        listener_context_pause(&part->context);
    else if (listener->service == SERVICE_DRAINING && !listener->emptying)
        listener_context_drain(&part->context);
}

static void set_part(struct listen_socket *listen_socket, struct listener_part *part)
{
    if (listen_socket->part != NULL)
        listen_socket->part->sockets--;
    listen_socket->part = part;
    if (part != NULL)
        part->sockets++;
}

/* One socket of a listener: taken from another listener, kept, or new. */
static void take_socket(struct listener *listener, struct listener_part *part,
                        struct listen_socket *listen_socket, bool is_new)
{
    if (is_new)
        log_notice("listening on %s (listener %s, upstream %s)",
                   bound_socket_address(listen_socket->socket)->text, listener->name,
                   part->context.upstream);
    else
        TAILQ_REMOVE(&listen_socket->part->listener->sockets, listen_socket, link);
    set_part(listen_socket, part);
    TAILQ_INSERT_TAIL(&listener->sockets, listen_socket, link);
    if (listener->service == SERVICE_DRAINING)
        listener_empty_socket(listener, listen_socket);
    else if (listener_admit(listen_socket) < 0)
        log_error("listener %s: cannot listen on %s again: %s", listener->name,
                  bound_socket_address(listen_socket->socket)->text, strerror(errno));
}

/* What is left in `before` is no longer configured. */
static void leave_sockets(struct listeners *listeners, struct listener *listener)
{
    struct listen_socket *listen_socket, *next;
    for (listen_socket = TAILQ_FIRST(&listener->sockets); listen_socket != NULL;
         listen_socket = next) {
        next = TAILQ_NEXT(listen_socket, link);
        if (listen_socket->part == present_part(listener))
            continue;
        log_notice("no longer listening on %s (listener %s)",
                   bound_socket_address(listen_socket->socket)->text, listener->name);
        TAILQ_REMOVE(&listener->sockets, listen_socket, link);
        TAILQ_INSERT_TAIL(&listeners->left, listen_socket, link);
        listener_leave_socket(listen_socket);
    }
}

/* In the order of the configuration; removed ones leave the list. */
static void order_listeners(struct listeners *listeners, const struct listeners_change *change)
{
    struct listener *listener;
    TAILQ_CONCAT(&listeners->gone, &listeners->list, link);
    for (size_t i = 0; i < change->count; i++) {
        listener = change->list[i].listener;
        if (!change->list[i].is_new)
            TAILQ_REMOVE(&listeners->gone, listener, link);
        TAILQ_INSERT_TAIL(&listeners->list, listener, link);
    }
    TAILQ_FOREACH (listener, &listeners->gone, link) {
        if (!listener->is_configured)
            continue;
        supersede(present_part(listener), false);
        listener_forget_service(listener);
        listener->is_configured = false;
    }
}

void listeners_commit(struct listeners *listeners, struct listeners_change *change,
                      unsigned max_clients)
{
    struct listener *listener;
    bool was_accepting = listeners->accepting;
    listeners_stop_accepting(listeners);
    order_listeners(listeners, change);
    for (size_t i = 0; i < change->count; i++)
        take_part(change->list[i].listener, change->list[i].part, change->list[i].unchanged);
    for (size_t i = 0; i < change->count; i++) {
        struct planned *planned = &change->list[i];
        for (size_t k = 0; k < planned->count; k++)
            take_socket(planned->listener, planned->part, planned->sockets[k], planned->are_new[k]);
        clear_planned(planned);
    }
    TAILQ_FOREACH (listener, &listeners->list, link)
        leave_sockets(listeners, listener);
    TAILQ_FOREACH (listener, &listeners->gone, link)
        leave_sockets(listeners, listener);
    free(change->list);
    free(change);
    bool was_full = !was_accepting && listeners->clients >= listeners->max_clients;
    listeners->max_clients = max_clients;
    gauge_set(&listeners->stats.max_clients, max_clients);
    if (listeners->started && (was_accepting || was_full))
        listeners_accept_again(listeners);
    loop_post(listeners->worker.loop, &listeners->sweep_task);
}

/* Frees what is not used any more. */

static bool is_used(const struct listener_part *part)
{
    return part->sockets > 0 || !TAILQ_EMPTY(&part->context.sessions);
}

static void sweep_parts(struct listener *listener)
{
    struct listener_part *part, *next;
    for (part = TAILQ_FIRST(&listener->parts); part != NULL; part = next) {
        next = TAILQ_NEXT(part, link);
        if (is_used(part) || part == present_part(listener))
            continue;
        TAILQ_REMOVE(&listener->parts, part, link);
        free_part(part);
    }
}

void listeners_on_sweep(struct task *task)
{
    struct listeners *listeners = container_of(task, struct listeners, sweep_task);
    struct listener *listener, *next;
    TAILQ_FOREACH (listener, &listeners->list, link)
        sweep_parts(listener);
    for (listener = TAILQ_FIRST(&listeners->gone); listener != NULL; listener = next) {
        next = TAILQ_NEXT(listener, link);
        sweep_parts(listener);
        if (!TAILQ_EMPTY(&listener->parts))
            continue;
        TAILQ_REMOVE(&listeners->gone, listener, link);
        free_listener(listener);
    }
}

static void free_sockets(struct listen_socket *listen_socket)
{
    struct listen_socket *next;
    for (; listen_socket != NULL; listen_socket = next) {
        next = TAILQ_NEXT(listen_socket, link);
        set_part(listen_socket, NULL);
        listener_close_socket(listen_socket);
        free(listen_socket);
    }
}

void listeners_free_all(struct listeners *listeners)
{
    struct listener *listener;
    free_sockets(TAILQ_FIRST(&listeners->left));
    TAILQ_INIT(&listeners->left);
    TAILQ_CONCAT(&listeners->gone, &listeners->list, link);
    TAILQ_FOREACH (listener, &listeners->gone, link) {
        free_sockets(TAILQ_FIRST(&listener->sockets));
        TAILQ_INIT(&listener->sockets);
        listener->is_configured = false;
    }
    listeners_on_sweep(&listeners->sweep_task);
}

bool listeners_have_left(const struct listeners *listeners)
{
    return TAILQ_EMPTY(&listeners->left);
}

/* Iterating. */

const struct listener_context *listeners_next(const struct listeners *listeners,
                                              const struct listener_context *context)
{
    struct listener *listener = TAILQ_FIRST(&listeners->list);
    if (context != NULL)
        listener =
            TAILQ_NEXT(container_of_const(context, struct listener_part, context)->listener, link);
    return listener == NULL ? NULL : &present_part(listener)->context;
}

struct listener *listener_next(const struct listeners *listeners, const struct listener *after)
{
    return after == NULL ? TAILQ_FIRST(&listeners->list) : TAILQ_NEXT(after, link);
}

struct listener_context *listener_get_context(struct listener *listener)
{
    return &present_part(listener)->context;
}

const struct listener_context *listener_next_context(const struct listener *listener,
                                                     const struct listener_context *after)
{
    const struct listener_part *part =
        after == NULL ? TAILQ_FIRST(&listener->parts)
                      : TAILQ_NEXT(container_of_const(after, struct listener_part, context), link);
    return part == NULL ? NULL : &part->context;
}
