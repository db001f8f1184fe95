/* SPDX-License-Identifier: ISC */
/* The floor: what relaying on reused connections costs when nothing is parsed and nothing checked.
 *
 * floor LISTEN-PORT UPSTREAM-PORT MAX once REQUEST
 * floor LISTEN-PORT UPSTREAM-PORT MAX kept
 *
 * A client's one read is its request, and the upstream's one read is the response, so messages must
 * be small. "once" closes the client after the response and sends REQUEST, with its escapes \r and
 * \n, in place of what it read, since requests of HTTP/1.0 clients would end the upstream
 * connection. "kept" passes on what it read and leaves the client open. At most MAX upstream
 * connections; in "once" further clients wait for one. It is a yardstick for the bench, and has no
 * other use. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 256

enum role { LISTENING, CLIENT, UPSTREAM };

struct peer {
    int fd;
    enum role role;
    struct peer *partner; /* while an exchange is in progress */
    bool queued;          /* a client that is in waiting */
    bool asked;           /* an upstream that owes a response, perhaps to a client that left */
    TAILQ_ENTRY(peer) link;
};

TAILQ_HEAD(peers, peer);

struct floor {
    int epoll;
    struct sockaddr_in upstream;
    int connections, max;
    char *request; /* NULL: kept */
    size_t request_size;
    struct peers idle, waiting, gone;
    char scratch[64 * 1024];
};

static void die(const char *what)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static struct peer *add_peer(struct floor *f, int fd, enum role role)
{
    struct peer *peer = calloc(1, sizeof(*peer));
    if (peer == NULL)
        die("calloc");
    peer->fd = fd;
    peer->role = role;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = peer};
    if (epoll_ctl(f->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        die("epoll_ctl");
    return peer;
}

static void set_no_delay(int fd)
{
    int on = 1;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0)
        die("TCP_NODELAY");
}

static struct peer *open_upstream(struct floor *f)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&f->upstream, sizeof(f->upstream)) < 0)
        die("connect");
    set_no_delay(fd);
    f->connections++;
    return add_peer(f, fd, UPSTREAM);
}

static struct peer *take_upstream(struct floor *f)
{
    struct peer *upstream = TAILQ_FIRST(&f->idle);
    if (upstream != NULL)
        TAILQ_REMOVE(&f->idle, upstream, link);
    else if (f->connections < f->max)
        upstream = open_upstream(f);
    return upstream;
}

static void send_all(int fd, const char *data, size_t size)
{
    ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
    if (sent >= 0 ? (size_t)sent != size : errno != EPIPE && errno != ECONNRESET)
        die("send");
}

static void start_exchange(struct peer *client, struct peer *upstream, const char *data,
                           size_t size)
{
    client->partner = upstream;
    upstream->partner = client;
    upstream->asked = true;
    send_all(upstream->fd, data, size);
}

static void give_back(struct floor *f, struct peer *upstream)
{
    struct peer *client = TAILQ_FIRST(&f->waiting);
    if (client == NULL) {
        TAILQ_INSERT_HEAD(&f->idle, upstream, link);
        return;
    }
    TAILQ_REMOVE(&f->waiting, client, link);
    client->queued = false;
    start_exchange(client, upstream, f->request, f->request_size);
}

/* Freed at the end of the iteration, because another event of the iteration may still point to
 * it. */
static void end_client(struct floor *f, struct peer *client)
{
    if (client->partner != NULL)
        client->partner->partner = NULL;
    if (client->queued)
        TAILQ_REMOVE(&f->waiting, client, link);
    close(client->fd);
    client->fd = -1;
    TAILQ_INSERT_TAIL(&f->gone, client, link);
}

static void hear_client(struct floor *f, struct peer *client)
{
    ssize_t size = recv(client->fd, f->scratch, sizeof(f->scratch), 0);
    if (size <= 0) {
        end_client(f, client);
        return;
    }
    if (client->partner != NULL || client->queued)
        die("a client that does not wait for its answer");
    struct peer *upstream = take_upstream(f);
    if (upstream != NULL) {
        start_exchange(client, upstream, f->request ? f->request : f->scratch,
                       f->request ? f->request_size : (size_t)size);
    } else if (f->request != NULL) {
        client->queued = true;
        TAILQ_INSERT_TAIL(&f->waiting, client, link);
    } else {
        die("more clients than connections");
    }
}

static void hear_upstream(struct floor *f, struct peer *upstream)
{
    struct peer *client = upstream->partner;
    ssize_t size = recv(upstream->fd, f->scratch, sizeof(f->scratch), 0);
    if (size <= 0 || !upstream->asked)
        die("the upstream ended, or sent what nobody asked for");
    upstream->partner = NULL;
    upstream->asked = false;
    if (client != NULL) {
        send_all(client->fd, f->scratch, (size_t)size);
        client->partner = NULL;
        if (f->request != NULL)
            end_client(f, client);
    }
    give_back(f, upstream);
}

static void accept_client(struct floor *f, struct peer *listening)
{
    int fd = accept4(listening->fd, NULL, NULL, SOCK_NONBLOCK);
    if (fd < 0)
        die("accept4");
    add_peer(f, fd, CLIENT);
}

static void hear(struct floor *f, struct peer *peer)
{
    if (peer->fd < 0)
        return; /* it ended in this iteration */
    if (peer->role == LISTENING)
        accept_client(f, peer);
    else if (peer->role == CLIENT)
        hear_client(f, peer);
    else
        hear_upstream(f, peer);
}

static void free_gone(struct floor *f)
{
    struct peer *peer;
    while ((peer = TAILQ_FIRST(&f->gone)) != NULL) {
        TAILQ_REMOVE(&f->gone, peer, link);
        free(peer);
    }
}

static struct sockaddr_in loopback(const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((in_port_t)atoi(port)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return address;
}

static void start_listening(struct floor *f, const char *port)
{
    struct sockaddr_in address = loopback(port);
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 4096) < 0)
        die("listen");
    add_peer(f, fd, LISTENING);
}

/* In place: "\r" and "\n" become the characters they mean. */
static size_t unescape(char *text)
{
    char *to = text;
    for (const char *from = text; *from != '\0'; from++) {
        bool escaped = from[0] == '\\' && (from[1] == 'r' || from[1] == 'n');
        *to++ = !escaped ? *from : *++from == 'r' ? '\r' : '\n';
    }
    *to = '\0';
    return (size_t)(to - text);
}

int main(int argc, char **argv)
{
    static struct floor f;
    bool once = argc == 6 && strcmp(argv[4], "once") == 0;
    if (!once && !(argc == 5 && strcmp(argv[4], "kept") == 0)) {
        fprintf(stderr, "usage: floor LISTEN-PORT UPSTREAM-PORT MAX once REQUEST | kept\n");
        return 2;
    }
    TAILQ_INIT(&f.idle);
    TAILQ_INIT(&f.waiting);
    TAILQ_INIT(&f.gone);
    f.max = atoi(argv[3]);
    f.request = once ? argv[5] : NULL;
    f.request_size = once ? unescape(argv[5]) : 0;
    f.upstream = loopback(argv[2]);
    f.epoll = epoll_create1(0);
    if (f.epoll < 0)
        die("epoll_create1");
    start_listening(&f, argv[1]);
    for (;;) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(f.epoll, events, EVENTS, -1);
        if (count < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < count; i++)
            hear(&f, events[i].data.ptr);
        free_gone(&f);
    }
}
