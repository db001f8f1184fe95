/* The back end that asks c-ares, whose sockets and time-outs it puts on the loop. */
#include <ares.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include "resolver.h"

struct backend {
    struct resolver_backend base;
    struct loop *loop;
    ares_channel channel;
    struct timer timer; /* c-ares' next time-out */
    TAILQ_HEAD(, request) requests;
    TAILQ_HEAD(, channel_socket) sockets;
};

/* A query under way. The task delivers its answer: c-ares also answers from inside
 * ares_getaddrinfo, and must not be entered anew from inside its callbacks. */
struct request {
    TAILQ_ENTRY(request) link;
    struct backend *backend;
    struct query *query;
    struct task task;
    union address *addresses;
    size_t count;
    const char *error;
};

/* One socket of c-ares. */
struct channel_socket {
    TAILQ_ENTRY(channel_socket) link;
    ares_socket_t fd;
    struct backend *backend;
    struct event event;
};

/* Follows c-ares' next time-out; to be called after each call that may have changed it. */
static void update_timer(struct backend *backend)
{
    struct timeval tv;
    if (ares_timeout(backend->channel, NULL, &tv) == NULL) {
        timer_clear(backend->loop, &backend->timer);
        return;
    }
    /* c-ares cuts to whole milliseconds; one more, or the last one is spent spinning. */
    usec_t wait = tv.tv_sec * USEC_PER_SEC + tv.tv_usec + USEC_PER_MSEC;
    /* A query that could not time out might never be answered. */
    if (timer_set(backend->loop, &backend->timer, loop_now(backend->loop) + wait) < 0)
        ares_cancel(backend->channel);
}

static void on_timer(struct timer *timer)
{
    struct backend *backend = container_of(timer, struct backend, timer);
    ares_process_fd(backend->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    update_timer(backend);
}

static void on_event(evutil_socket_t fd, short what, void *arg)
{
    /* c-ares may close the socket and so free what arg points to. */
    struct backend *backend = ((struct channel_socket *)arg)->backend;
    ares_process_fd(backend->channel, what & EV_READ ? fd : ARES_SOCKET_BAD,
                    what & EV_WRITE ? fd : ARES_SOCKET_BAD);
    update_timer(backend);
}

/* The list is short: c-ares has two sockets a DNS server at most. */
static struct channel_socket *socket_find(const struct backend *backend, ares_socket_t fd)
{
    struct channel_socket *socket;
    TAILQ_FOREACH (socket, &backend->sockets, link) {
        if (socket->fd == fd)
            return socket;
    }
    return NULL;
}

static struct channel_socket *socket_new(struct backend *backend, ares_socket_t fd)
{
    struct channel_socket *socket = calloc(1, sizeof(*socket));
    if (socket == NULL)
        return NULL;
    socket->fd = fd;
    socket->backend = backend;
    TAILQ_INSERT_TAIL(&backend->sockets, socket, link);
    return socket;
}

static void socket_free(struct channel_socket *socket)
{
    TAILQ_REMOVE(&socket->backend->sockets, socket, link);
    free(socket);
}

/* c-ares tells what it wants to know of a socket; nothing more before it closes it. A socket that
 * cannot be watched is dealt with as a server that does not answer: its time-out strikes. */
static void on_socket_state(void *data, ares_socket_t fd, int readable, int writable)
{
    struct backend *backend = data;
    struct channel_socket *socket = socket_find(backend, fd);
    if (socket != NULL)
        event_del(&socket->event);
    else if ((socket = socket_new(backend, fd)) == NULL)
        return;
    if (!readable && !writable) {
        socket_free(socket);
        return;
    }
    int what = EV_PERSIST | (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0);
    event_assign(&socket->event, loop_base(backend->loop), fd, (short)what, on_event, socket);
    event_add(&socket->event, NULL);
}

static void request_free(struct request *request)
{
    loop_unpost(request->backend->loop, &request->task);
    TAILQ_REMOVE(&request->backend->requests, request, link);
    free(request->addresses);
    free(request);
}

static void on_task(struct task *task)
{
    struct request *request = container_of(task, struct request, task);
    struct query *query = request->query;
    union address *addresses = request->addresses;
    size_t count = request->count;
    const char *error = request->error;
    /* The request goes before the askers are told: they may free the resolver. */
    request->addresses = NULL;
    request_free(request);
    query_answer(query, addresses, count, error);
    free(addresses);
}

/* Takes the addresses over, in c-ares' order; ARES_SUCCESS or ARES_ENOMEM. */
static int take_addresses(struct request *request, const struct ares_addrinfo *info)
{
    size_t count = 0;
    const struct ares_addrinfo_node *node;
    for (node = info->nodes; node != NULL; node = node->ai_next)
        count++;
    request->addresses = calloc(count + 1, sizeof(*request->addresses));
    if (request->addresses == NULL)
        return ARES_ENOMEM;
    for (node = info->nodes; node != NULL; node = node->ai_next) {
        union address *address = &request->addresses[request->count];
        if (node->ai_addrlen > (ares_socklen_t)sizeof(*address))
            continue;
        memcpy(address, node->ai_addr, (size_t)node->ai_addrlen);
        request->count++;
    }
    return ARES_SUCCESS;
}

static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
    struct request *request = arg;
    (void)timeouts;
    if (status == ARES_SUCCESS)
        status = take_addresses(request, info);
    if (info != NULL)
        ares_freeaddrinfo(info);
    if (status != ARES_SUCCESS && status != ARES_ENODATA)
        request->error = ares_strerror(status);
    loop_post(request->backend->loop, &request->task);
}

static int backend_start(struct resolver_backend *base, struct query *query, const char *name)
{
    struct backend *backend = container_of(base, struct backend, base);
    struct request *request = calloc(1, sizeof(*request));
    if (request == NULL)
        return -1;
    request->backend = backend;
    request->query = query;
    request->task.run = on_task;
    TAILQ_INSERT_TAIL(&backend->requests, request, link);
    const struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    ares_getaddrinfo(backend->channel, name, NULL, &hints, on_answer, request);
    update_timer(backend);
    return 0;
}

static void backend_stop(struct resolver_backend *base)
{
    struct backend *backend = container_of(base, struct backend, base);
    /* Closes the sockets, which empties their list, and answers what is under way. Those answers
     * are posted, and go with their requests. */
    ares_destroy(backend->channel);
    timer_clear(backend->loop, &backend->timer);
    struct request *request;
    while ((request = TAILQ_FIRST(&backend->requests)) != NULL)
        request_free(request);
    free(backend);
    ares_library_cleanup();
}

static int errno_of(int status)
{
    switch (status) {
    case ARES_SUCCESS:
        return 0;
    case ARES_ENOMEM:
        return ENOMEM;
    case ARES_EBADSTR:
        return EINVAL;
    default:
        return EIO;
    }
}

struct resolver_backend *resolver_ares_new(struct loop *loop)
{
    struct backend *backend = calloc(1, sizeof(*backend));
    if (backend == NULL)
        return NULL;
    backend->base = (struct resolver_backend){.start = backend_start, .stop = backend_stop};
    backend->loop = loop;
    backend->timer.fire = on_timer;
    TAILQ_INIT(&backend->requests);
    TAILQ_INIT(&backend->sockets);
    int status = ares_library_init(ARES_LIB_INIT_ALL);
    if (status != ARES_SUCCESS)
        goto err_backend;
    struct ares_options options = {.sock_state_cb = on_socket_state, .sock_state_cb_data = backend};
    status = ares_init_options(&backend->channel, &options, ARES_OPT_SOCK_STATE_CB);
    if (status != ARES_SUCCESS)
        goto err_library;
    return &backend->base;

err_library:
    ares_library_cleanup();
err_backend:
    free(backend);
    errno = errno_of(status);
    return NULL;
}

int resolver_ares_set_servers(struct resolver_backend *base, const char *servers)
{
    struct backend *backend = container_of(base, struct backend, base);
    errno = errno_of(ares_set_servers_ports_csv(backend->channel, servers));
    return errno == 0 ? 0 : -1;
}
