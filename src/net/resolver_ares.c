/* SPDX-License-Identifier: ISC */
/* The c-ares back end: puts its sockets and timeouts on the loop. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/log.h"
#include "net/resolver_ares_internal.h"

#define RESOLV_CONF "/etc/resolv.conf"
#define DNS_PORT    53

/* How often the file is checked. */
#define CHECK_INTERVAL (2 * USEC_PER_SEC)

/* The maximum time, in milliseconds, after which a DNS server is asked again; it doubles with each
 * try. In c-ares before 1.20 it is 5 s: a lost packet then costs half of connect_timeout, and where
 * queries for AAAA are dropped, as by some servers, a name is not known for 75 s. */
#define QUERY_TIMEOUT 500

/* One of c-ares' sockets, which is watched. */
struct channel_socket {
    TAILQ_ENTRY(channel_socket) link;
    ares_socket_t fd;
    struct channel *channel;
    struct watch watch;
};

void resolver_ares_channel_update_timer(struct channel *channel)
{
    struct loop *loop = channel->backend->loop;
    struct timeval tv;
    if (ares_timeout(channel->ares, NULL, &tv) == NULL) {
        loop_clear_timer(loop, &channel->timer);
        return;
    }
    /* c-ares truncates to whole milliseconds; without one more, the last one would be spent
     * spinning. */
    usec_t wait = tv.tv_sec * USEC_PER_SEC + tv.tv_usec + USEC_PER_MSEC;
    /* A query that cannot time out might never be answered. */
    if (loop_set_timer(loop, &channel->timer, loop_now(loop) + wait) < 0)
        ares_cancel(channel->ares);
}

static void on_timer(struct timer *timer)
{
    struct channel *channel = container_of(timer, struct channel, timer);
    ares_process_fd(channel->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    resolver_ares_channel_update_timer(channel);
}

/* An error is found by reading or by writing, whichever c-ares is doing. */
static void on_ready(struct watch *watch, uint32_t events)
{
    /* c-ares may close the socket and so free it. */
    struct channel_socket *socket = container_of(watch, struct channel_socket, watch);
    struct channel *channel = socket->channel;
    ares_socket_t fd = socket->fd;
    bool failed = (events & (EPOLLERR | EPOLLHUP)) != 0;
    ares_process_fd(channel->ares, failed || (events & EPOLLIN) != 0 ? fd : ARES_SOCKET_BAD,
                    failed || (events & EPOLLOUT) != 0 ? fd : ARES_SOCKET_BAD);
    resolver_ares_channel_update_timer(channel);
}

/* The list is short: c-ares has at most two sockets per DNS server. */
static struct channel_socket *socket_find(const struct channel *channel, ares_socket_t fd)
{
    struct channel_socket *socket;
    TAILQ_FOREACH (socket, &channel->sockets, link) {
        if (socket->fd == fd)
            return socket;
    }
    return NULL;
}

/* Level-triggered: how much c-ares reads at once is up to c-ares. */
static void socket_watch(struct channel *channel, ares_socket_t fd, uint32_t events)
{
    struct channel_socket *socket = calloc(1, sizeof(*socket));
    if (socket == NULL)
        return;
    socket->fd = fd;
    socket->channel = channel;
    socket->watch.ready = on_ready;
    if (loop_watch(channel->backend->loop, &socket->watch, fd, events) == 0)
        TAILQ_INSERT_TAIL(&channel->sockets, socket, link);
    else
        free(socket);
}

static void socket_unwatch(struct channel_socket *socket)
{
    struct channel *channel = socket->channel;
    loop_unwatch(channel->backend->loop, &socket->watch, socket->fd, false);
    TAILQ_REMOVE(&channel->sockets, socket, link);
    free(socket);
}

/* c-ares says which events of a socket it is interested in; none before closing it. A socket that
 * cannot be watched is treated like a server that does not answer: it times out. */
static void on_socket_state(void *data, ares_socket_t fd, int readable, int writable)
{
    struct channel *channel = data;
    struct channel_socket *socket = socket_find(channel, fd);
    uint32_t events = (readable ? EPOLLIN : 0) | (writable ? EPOLLOUT : 0);
    if (socket != NULL)
        socket_unwatch(socket);
    if (events != 0)
        socket_watch(channel, fd, events);
}

static void channel_free(struct channel *channel)
{
    struct loop *loop = channel->backend->loop;
    if (channel->ares != NULL) /* closes the sockets, which empties their list */
        ares_destroy(channel->ares);
    search_list_clear(&channel->search);
    loop_clear_timer(loop, &channel->timer);
    loop_unpost(loop, &channel->end);
    TAILQ_REMOVE(&channel->backend->channels, channel, link);
    free(channel);
}

static void on_end(struct task *task)
{
    channel_free(container_of(task, struct channel, end));
}

void resolver_ares_channel_put(struct channel *channel)
{
    if (--channel->users == 0)
        loop_post(channel->backend->loop, &channel->end);
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

/* Sets the servers from the options; returns an ARES_ status. */
static int set_servers(struct channel *channel)
{
    struct ares_addr_port_node nodes[RESOLVER_SERVERS_MAX] = {0};
    union address servers[RESOLVER_SERVERS_MAX];
    const char *text = channel->backend->servers;
    if (text == NULL || *text == '\0')
        return ARES_SUCCESS;
    int count = address_parse_list(servers, RESOLVER_SERVERS_MAX, text, DNS_PORT);
    if (count <= 0)
        return ARES_EBADSTR;
    for (int i = 0; i < count; i++) {
        struct ares_addr_port_node *node = &nodes[i];
        node->next = i + 1 < count ? node + 1 : NULL;
        node->family = servers[i].sa.sa_family;
        node->udp_port = node->tcp_port = ntohs(*address_port(&servers[i]));
        if (node->family == AF_INET)
            node->addr.addr4 = servers[i].in.sin_addr;
        else
            memcpy(&node->addr.addr6, &servers[i].in6.sin6_addr, sizeof(node->addr.addr6));
    }
    return ares_set_servers_ports(channel->ares, nodes);
}

/* Writes the list of servers, as far as it fits. */
static void note_servers(struct channel *channel)
{
    struct ares_addr_port_node *nodes = NULL;
    char *at = channel->servers, *end = at + sizeof(channel->servers);
    if (ares_get_servers_ports(channel->ares, &nodes) != ARES_SUCCESS)
        return;
    for (const struct ares_addr_port_node *node = nodes; node != NULL; node = node->next) {
        union address address = {.sa.sa_family = (sa_family_t)node->family};
        char text[ADDRESS_TEXT_MAX];
        if (node->family == AF_INET)
            address.in.sin_addr = node->addr.addr4;
        else
            memcpy(&address.in6.sin6_addr, &node->addr.addr6, sizeof(node->addr.addr6));
        *address_port(&address) = htons(node->udp_port != 0 ? (uint16_t)node->udp_port : DNS_PORT);
        address_format(&address, text);
        bool fits = strlen(text) + sizeof(", , ...") <= (size_t)(end - at);
        at += snprintf(at, (size_t)(end - at), "%s%s", node == nodes ? "" : ", ",
                       fits ? text : "...");
        if (!fits)
            break;
    }
    ares_free_data(nodes);
}

/* Reads `timeout` from the system's configuration, unless that is too long; returns an ARES_
 * status. Newer versions of c-ares do not report it. */
static int read_timeout(struct ares_options *options, int mask)
{
    struct ares_options all = {0};
    ares_channel ares;
    int all_mask;
    int status = ares_init_options(&ares, options, mask);
    if (status != ARES_SUCCESS)
        return status;
    status = ares_save_options(ares, &all, &all_mask);
    bool known = status == ARES_SUCCESS && (all_mask & ARES_OPT_TIMEOUTMS) != 0;
    options->timeout = known && all.timeout < QUERY_TIMEOUT ? all.timeout : QUERY_TIMEOUT;
    ares_destroy_options(&all);
    ares_destroy(ares);
    return status;
}

/* Initializes c-ares with the system's configuration, except for a timeout that is too long and the
 * cache of c-ares 1.31: the resolver keeps answers itself, and queries before they expire if it
 * needs to know more. Returns an ARES_ status. */
static int init_ares(struct channel *channel)
{
    int mask = ARES_OPT_SOCK_STATE_CB | ARES_OPT_RESOLVCONF | ARES_OPT_LOOKUPS;
#ifdef ARES_OPT_QUERY_CACHE
    mask |= ARES_OPT_QUERY_CACHE; /* with a time of 0 */
#endif
    char *file = strdup(channel->backend->resolv_conf), lookups[] = "b"; /* DNS only */
    struct ares_options options = {.sock_state_cb = on_socket_state,
                                   .sock_state_cb_data = channel,
                                   .resolvconf_path = file,
                                   .lookups = lookups};
    int status = file == NULL ? ARES_ENOMEM : read_timeout(&options, mask);
    if (status == ARES_SUCCESS)
        status = ares_init_options(&channel->ares, &options, mask | ARES_OPT_TIMEOUTMS);
    free(file);
    return status;
}

/* Creates a channel that serves new requests from now on. 0, or -1 with errno. */
static int channel_new(struct backend *backend)
{
    struct channel *channel = calloc(1, sizeof(*channel));
    if (channel == NULL)
        return -1;
    channel->backend = backend;
    channel->users = 1;
    channel->timer.fire = on_timer;
    channel->end.run = on_end;
    TAILQ_INIT(&channel->sockets);
    int number, status;
    if (search_list_read(&channel->search, backend->resolv_conf) < 0) {
        number = errno;
        goto err_channel;
    }
    status = init_ares(channel);
    number = errno_of(status);
    if (status != ARES_SUCCESS)
        goto err_search;
    status = set_servers(channel);
    number = errno_of(status);
    if (status != ARES_SUCCESS)
        goto err_ares;
    note_servers(channel);
    resolver_ares_channel_watch_answers(channel);
    TAILQ_INSERT_HEAD(&backend->channels, channel, link);
    return 0;

err_ares:
    ares_destroy(channel->ares);
err_search:
    search_list_clear(&channel->search);
err_channel:
    free(channel);
    errno = number;
    return -1;
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Whether the file is a different one than the one last read; `now` is set to its current state. A
 * file that cannot be opened has not changed: c-ares would continue without any servers, and not
 * report it. */
static bool has_changed(struct backend *backend, struct stat *now)
{
    if (loop_now(backend->loop) < backend->check_at)
        return false;
    backend->check_at = loop_now(backend->loop) + CHECK_INTERVAL;
    int fd = open(backend->resolv_conf, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool seen = fstat(fd, now) == 0;
    close(fd);
    return seen && !is_same_file(now, &backend->seen);
}

/* Follows a change of the file. If a new channel cannot be created, the old one serves on until the
 * next check. */
static void follow_file(struct backend *backend)
{
    struct stat now;
    if (!has_changed(backend, &now))
        return;
    struct channel *old = TAILQ_FIRST(&backend->channels);
    if (channel_new(backend) < 0) {
        log_error("cannot read %s again: %s", backend->resolv_conf, strerror(errno));
        return;
    }
    backend->seen = now;
    resolver_ares_channel_put(old);
    log_info("%s has changed and was read again", backend->resolv_conf);
}

struct channel *resolver_ares_channel_get(struct backend *backend)
{
    follow_file(backend);
    struct channel *channel = TAILQ_FIRST(&backend->channels);
    channel->users++;
    return channel;
}

static int backend_start(struct resolver_backend *base, struct query *query, const char *name)
{
    return resolver_ares_request_start(container_of(base, struct backend, base), query, name);
}

static void backend_free(struct backend *backend)
{
    free(backend->servers);
    free(backend->resolv_conf);
    free(backend);
}

static void backend_stop(struct resolver_backend *base)
{
    struct backend *backend = container_of(base, struct backend, base);
    struct channel *channel;
    /* This answers everything under way. Those answers are posted, and freed with their
     * requests. */
    ares_destroy(backend->hosts);
    TAILQ_FOREACH (channel, &backend->channels, link) {
        ares_destroy(channel->ares);
        channel->ares = NULL;
    }
    resolver_ares_requests_end(backend);
    while ((channel = TAILQ_FIRST(&backend->channels)) != NULL)
        channel_free(channel);
    backend_free(backend);
    ares_library_cleanup();
}

static const char *backend_servers(struct resolver_backend *base)
{
    struct backend *backend = container_of(base, struct backend, base);
    const struct channel *channel = TAILQ_FIRST(&backend->channels);
    return channel != NULL ? channel->servers : "";
}

/* c-ares reads the hosts file for each query, or when it has changed. Returns an ARES_ status. */
static int init_hosts(struct backend *backend)
{
    char lookups[] = "f";
    struct ares_options options = {.lookups = lookups};
    return ares_init_options(&backend->hosts, &options, ARES_OPT_LOOKUPS);
}

/* 0, or -1 with ENOMEM. */
static int copy_options(struct backend *backend, const struct resolver_ares_options *options)
{
    const char *file = options->resolv_conf;
    backend->hosts_by_environment = options->hosts_by_environment;
    backend->resolv_conf = strdup(file != NULL ? file : RESOLV_CONF);
    if (options->servers != NULL)
        backend->servers = strdup(options->servers);
    bool failed =
        backend->resolv_conf == NULL || (options->servers != NULL && backend->servers == NULL);
    return failed ? -1 : 0;
}

struct resolver_backend *resolver_ares_new(struct loop *loop,
                                           const struct resolver_ares_options *options)
{
    struct backend *backend = calloc(1, sizeof(*backend));
    if (backend == NULL)
        return NULL;
    backend->base = (struct resolver_backend){
        .start = backend_start, .stop = backend_stop, .servers = backend_servers};
    backend->loop = loop;
    TAILQ_INIT(&backend->channels);
    TAILQ_INIT(&backend->requests);
    int number = ENOMEM;
    if (copy_options(backend, options) < 0)
        goto err_backend;
    number = errno_of(ares_library_init(ARES_LIB_INIT_ALL));
    if (number != 0)
        goto err_backend;
    number = errno_of(init_hosts(backend));
    if (number != 0)
        goto err_library;
    has_changed(backend, &backend->seen); /* records its current state */
    if (channel_new(backend) < 0) {
        number = errno;
        goto err_hosts;
    }
    return &backend->base;

err_hosts:
    ares_destroy(backend->hosts);
err_library:
    ares_library_cleanup();
err_backend:
    backend_free(backend);
    errno = number;
    return NULL;
}
