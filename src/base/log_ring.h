/* SPDX-License-Identifier: ISC */
/* Lines on their way from one thread to another: a ring of bytes that one thread fills and one
 * empties. Neither waits for the other, and there is no lock; several threads that fill it need one
 * among themselves. A line is put whole or not at all. */
#ifndef KAPROXY_LOG_RING_H
#define KAPROXY_LOG_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#include "base/util.h"

/* Each counter has its own cache line, as each has a different writer. */
#define LOG_RING_ALIGNMENT 64

struct log_ring {
    char *bytes;
    size_t size;
    /* The counter value that the start of the memory corresponds to: written by the filling thread,
     * and read by the emptying thread only when the ring is not empty. */
    size_t origin;
    /* Bytes put and taken since the start; they may wrap around. */
    _Alignas(LOG_RING_ALIGNMENT) atomic_size_t put;
    _Alignas(LOG_RING_ALIGNMENT) atomic_size_t taken;
};

/* An empty ring in the caller's memory; its size is a power of two. */
void log_ring_init(struct log_ring *ring, char *bytes, size_t size);

/* How many bytes are in it. Either thread may ask: what the other one is doing at that moment may
 * or may not be included. */
size_t log_ring_used(struct log_ring *ring);

/* For the filling thread. Puts a line, which ends in its only newline; false if it does not fit. In
 * an empty ring the line is put at the start of the memory, so that no more memory (and cache) is
 * used than the pending lines need. */
MUST_CHECK bool log_ring_put(struct log_ring *ring, const char *line, size_t length);

/* For the emptying thread. The bytes from `from` up to `to`, relative to the first one, in one or
 * two parts; returns how many parts. */
int log_ring_peek(struct log_ring *ring, size_t from, size_t to, struct iovec parts[2]);

/* The length of the complete lines within the first `limit` bytes, which must be present; 0:
 * none. */
size_t log_ring_lines(struct log_ring *ring, size_t limit);

/* The length of the first line, which must be present. */
size_t log_ring_first(struct log_ring *ring);

/* Removes so many bytes from the ring: their room is free. */
void log_ring_take(struct log_ring *ring, size_t length);

#endif
