/* SPDX-License-Identifier: ISC */
/* Two processes share each host's max_per_host during a handover: together they open no more. Each
 * has one of these, on its worker's loop, at one end of a channel (places_channel.h).
 *
 * The old process keeps the places that it uses at places_begin, and none for what is idle. As it
 * needs fewer it gives them away, by saying so after it has; when somebody waits who would need
 * more it asks for them. The new one begins without places, has all that the old one neither has
 * nor asks for, and grants what is asked for as soon as its own connections leave room: idle ones
 * are closed for that at once, others as they are released. So the old process's clients, of whom
 * there are ever fewer, come first. Only the old one's requests raise what it has, and only answers
 * to its last one do. Of max_tunnels the new process has what the old one does not use.
 *
 * Hosts are the same by the name of their pool, scheme, addr, port and TLS settings. They are
 * retained, so that none goes; the pools, which must have their names, must live longer. */
#ifndef KAPROXY_PLACES_H
#define KAPROXY_PLACES_H

#include <stdbool.h>
#include <stddef.h>

#include "net/loop.h"
#include "pool/pool.h"

struct places;

/* Embedded in its owner. Called from the loop, once each at most; may free the places. */
struct places_handler {
    void (*all)(struct places_handler *handler);   /* new: all that the old one has is known */
    void (*ended)(struct places_handler *handler); /* the other end is gone: all is ours */
};

/* Takes the descriptor, a SOCK_SEQPACKET socket. At the new end no host has places from now on.
 * NULL with errno: the descriptor is the caller's as before. */
struct places *places_new(struct loop *loop, int fd, struct pool *const *pools, size_t pool_count,
                          bool is_old, struct places_handler *handler);

/* The old end: shares from now on, and tells what it has. 0, or -1 with ENOMEM: it shares nothing.
 */
MUST_CHECK int places_begin(struct places *places);

/* All places are ours again; the other end, if it is there, is told by the channel's end. NULL is
 * harmless. */
void places_free(struct places *places);

#endif
