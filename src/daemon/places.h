/* SPDX-License-Identifier: ISC */
/* Two processes share each host's max_per_host during a handover, so that together they open no
 * more connections than that. Each has one of these, on its worker's loop, at one end of a channel
 * (places_channel.h). A place is the permission to have one connection.
 *
 * The old process keeps the places that it uses at places_begin, and none for idle connections. As
 * it needs fewer it gives them up, and says so afterwards; when one of its waiters needs more it
 * asks for them. The new process begins without places. It then has all that the old one neither
 * has nor asks for, and grants what is asked for as soon as its own connections leave room: idle
 * ones are closed for that at once, others when they are released. So the clients of the old
 * process, whose number only falls, take precedence. Only requests of the old process raise what it
 * has, and only the answer to its latest request counts. Of max_tunnels the new process has what
 * the old one does not use.
 *
 * Hosts are matched by the name of their pool, scheme, addr, port and TLS settings. They are
 * retained, so that none is freed; the pools, which must be named, must outlive this. */
#ifndef KAPROXY_PLACES_H
#define KAPROXY_PLACES_H

#include <stdbool.h>
#include <stddef.h>

#include "net/loop.h"
#include "pool/pool.h"

struct places;

/* Embedded in its owner. Called from the loop, each at most once; may free the places. */
struct places_handler {
    void (*all)(struct places_handler *handler);   /* new: the old one's places are all known */
    void (*ended)(struct places_handler *handler); /* the other end closed: all is ours */
};

/* Takes the descriptor, a SOCK_SEQPACKET socket. At the new end no host has places from now on.
 * NULL with errno: the descriptor is still the caller's. */
struct places *places_new(struct loop *loop, int fd, struct pool *const *pools, size_t pool_count,
                          bool is_old, struct places_handler *handler);

/* The old end: shares from now on, and reports what it has. 0, or -1 with ENOMEM: it shares
 * nothing. */
MUST_CHECK int places_begin(struct places *places);

/* All places are ours again; the other end learns it from the channel's end. NULL is harmless. */
void places_free(struct places *places);

#endif
