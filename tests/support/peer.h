/* SPDX-License-Identifier: ISC */
/* The far side for tests of the pool: a listener on loopback, in this very process.
 *
 * It needs no events. The kernel completes connections into the backlog; peer_accept takes them
 * from there when a test wants to know about them. */
#ifndef KAPROXY_PEER_H
#define KAPROXY_PEER_H

#include <netinet/in.h>
#include <sys/queue.h>

#include "base/util.h"

enum peer_mode {
    PEER_ACCEPT,
    PEER_REFUSE,   /* the port is bound, but nothing listens */
    PEER_BLACKHOLE /* the backlog is full: a connect stays in SYN_SENT */
};

/* What the peer sees of one accepted connection. */
enum peer_peek { PEER_OPEN, PEER_DATA, PEER_EOF, PEER_RESET, PEER_CLOSED };
const char *peer_peek_name(enum peer_peek peek);

struct peer_conn {
    TAILQ_ENTRY(peer_conn) link;
    int fd; /* -1: closed by the peer */
    struct sockaddr_in client;
    char label[32]; /* the test's */
};
TAILQ_HEAD(peer_conns, peer_conn);

#define PEER_FILLERS 8

struct peer {
    int fd;
    struct sockaddr_in address;
    struct peer_conns conns; /* in the order they were accepted */
    int fillers[PEER_FILLERS];
    int filler_count;
};

/* Opens a peer on an IPv4 address and a free port, or an accepting one on a given port (network
 * order). 0, or -1 with errno and nothing to close. */
MUST_CHECK int peer_open(struct peer *peer, const char *addr, enum peer_mode mode);
MUST_CHECK int peer_open_port(struct peer *peer, const char *addr, in_port_t port);
void peer_close(struct peer *peer);

/* Turns a black hole into an accepting peer; connects in SYN_SENT get through when the kernel sends
 * their next SYN (a second after the first). */
void peer_unblock(struct peer *peer);

/* Accepts everything in the backlog. */
void peer_accept(struct peer *peer);

/* The newest connection from this address; accepts, and waits for the connection to arrive, if need
 * be. NULL if there is none. */
struct peer_conn *peer_find(struct peer *peer, const struct sockaddr_in *client);

/* One peek with MSG_PEEK. A reset is seen once, then as EOF. */
enum peer_peek peer_conn_peek(const struct peer_conn *conn);
void peer_conn_send(const struct peer_conn *conn);
void peer_conn_close(struct peer_conn *conn);
void peer_conn_reset(struct peer_conn *conn);
/* Closes it and drops the record. */
void peer_conn_forget(struct peer *peer, struct peer_conn *conn);

#endif
