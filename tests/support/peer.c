/* SPDX-License-Identifier: ISC */
/* A listener on loopback, and what its ends of connections see. */
#include "support/peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Loopback connects immediately or not at all. */
#define FILLER_MSEC  30
#define ARRIVAL_MSEC 1000

const char *peer_peek_name(enum peer_peek peek)
{
    static const char *const names[] = {
        [PEER_OPEN] = "open",   [PEER_DATA] = "data",     [PEER_EOF] = "eof",
        [PEER_RESET] = "reset", [PEER_CLOSED] = "closed",
    };
    return names[peek];
}

/* The client's end of a connection that occupies a place in the backlog, or -1 once it is full. */
static int connect_filler(const struct peer *peer)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    struct pollfd wait = {.fd = fd, .events = POLLOUT};
    const struct sockaddr *address = (const struct sockaddr *)&peer->address;
    if (connect(fd, address, sizeof(peer->address)) == 0 ||
        (errno == EINPROGRESS && poll(&wait, 1, FILLER_MSEC) == 1))
        return fd;
    close(fd);
    return -1;
}

static int listen_as(struct peer *peer, enum peer_mode mode)
{
    if (mode == PEER_REFUSE)
        return 0;
    if (listen(peer->fd, mode == PEER_BLACKHOLE ? 0 : SOMAXCONN) < 0)
        return -1;
    if (mode == PEER_ACCEPT)
        return 0;
    int fd;
    while (peer->filler_count < PEER_FILLERS && (fd = connect_filler(peer)) >= 0)
        peer->fillers[peer->filler_count++] = fd;
    return 0;
}

static int open_as(struct peer *peer, const char *addr, in_port_t port, enum peer_mode mode)
{
    *peer = (struct peer){.address = {.sin_family = AF_INET, .sin_port = port}};
    TAILQ_INIT(&peer->conns);
    if (inet_pton(AF_INET, addr, &peer->address.sin_addr) != 1) {
        errno = EINVAL;
        return -1;
    }
    peer->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (peer->fd < 0)
        return -1;
    socklen_t length = sizeof(peer->address);
    struct sockaddr *address = (struct sockaddr *)&peer->address;
    if (bind(peer->fd, address, length) < 0 || getsockname(peer->fd, address, &length) < 0 ||
        listen_as(peer, mode) < 0) {
        int error = errno;
        close(peer->fd);
        errno = error;
        return -1;
    }
    return 0;
}

int peer_open(struct peer *peer, const char *addr, enum peer_mode mode)
{
    return open_as(peer, addr, 0, mode);
}

int peer_open_port(struct peer *peer, const char *addr, in_port_t port)
{
    return open_as(peer, addr, port, PEER_ACCEPT);
}

static void close_fillers(struct peer *peer)
{
    while (peer->filler_count > 0)
        close(peer->fillers[--peer->filler_count]);
}

void peer_close(struct peer *peer)
{
    struct peer_conn *conn;
    while ((conn = TAILQ_FIRST(&peer->conns)) != NULL)
        peer_conn_forget(peer, conn);
    close_fillers(peer);
    close(peer->fd);
}

void peer_unblock(struct peer *peer)
{
    /* Whatever is in the backlog now is a filler. */
    int fd;
    while ((fd = accept4(peer->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0)
        close(fd);
    close_fillers(peer);
    (void)listen(peer->fd, SOMAXCONN);
}

void peer_accept(struct peer *peer)
{
    if (peer->filler_count > 0)
        return;
    for (;;) {
        struct sockaddr_in client;
        socklen_t length = sizeof(client);
        int fd =
            accept4(peer->fd, (struct sockaddr *)&client, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        struct peer_conn *conn = calloc(1, sizeof(*conn));
        if (conn == NULL)
            abort();
        conn->fd = fd;
        conn->client = client;
        TAILQ_INSERT_TAIL(&peer->conns, conn, link);
    }
}

static struct peer_conn *find_accepted(const struct peer *peer, const struct sockaddr_in *client)
{
    struct peer_conn *conn;
    TAILQ_FOREACH_REVERSE(conn, &peer->conns, peer_conns, link)
    {
        if (conn->client.sin_port == client->sin_port &&
            conn->client.sin_addr.s_addr == client->sin_addr.s_addr)
            return conn;
    }
    return NULL;
}

struct peer_conn *peer_find(struct peer *peer, const struct sockaddr_in *client)
{
    peer_accept(peer);
    struct peer_conn *conn = find_accepted(peer, client);
    if (conn == NULL) {
        struct pollfd wait = {.fd = peer->fd, .events = POLLIN};
        if (poll(&wait, 1, ARRIVAL_MSEC) == 1) {
            peer_accept(peer);
            conn = find_accepted(peer, client);
        }
    }
    return conn;
}

enum peer_peek peer_conn_peek(const struct peer_conn *conn)
{
    char byte;
    if (conn->fd < 0)
        return PEER_CLOSED;
    ssize_t n = recv(conn->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n > 0)
        return PEER_DATA;
    if (n == 0)
        return PEER_EOF;
    return errno == EAGAIN || errno == EWOULDBLOCK ? PEER_OPEN : PEER_RESET;
}

void peer_conn_send(const struct peer_conn *conn)
{
    (void)!send(conn->fd, "abc", 3, MSG_NOSIGNAL);
}

void peer_conn_close(struct peer_conn *conn)
{
    if (conn->fd >= 0)
        close(conn->fd);
    conn->fd = -1;
}

void peer_conn_reset(struct peer_conn *conn)
{
    struct linger hard = {.l_onoff = 1, .l_linger = 0};
    if (conn->fd >= 0)
        (void)setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    peer_conn_close(conn);
}

void peer_conn_forget(struct peer *peer, struct peer_conn *conn)
{
    peer_conn_close(conn);
    TAILQ_REMOVE(&peer->conns, conn, link);
    free(conn);
}
