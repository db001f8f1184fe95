/* SPDX-License-Identifier: ISC */
/* Lines on their way from one thread to another: a ring of bytes that one thread fills and one
 * empties. Neither waits for the other, and there is no lock; several that fill it need one among
 * themselves. A line is put whole or not at all. */
#ifndef KAPROXY_LOG_RING_H
#define KAPROXY_LOG_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#include "base/util.h"

/* Each counter has a cache line of its own, for each has another writer. */
#define LOG_RING_ALIGNMENT 64

struct log_ring {
    char *bytes;
    size_t size;
    /* Which byte, by the two counters, has the memory's first place: of the one who fills it, and
     * for the one who empties it to read when there is something in it. */
    size_t origin;
    /* Bytes put and taken since the start; they may run over. */
    _Alignas(LOG_RING_ALIGNMENT) atomic_size_t put;
    _Alignas(LOG_RING_ALIGNMENT) atomic_size_t taken;
};

/* An empty ring in the caller's memory, whose size is a power of two. */
void log_ring_init(struct log_ring *ring, char *bytes, size_t size);

/* How many bytes are in it. Either thread may ask: what the other one does at that time may or
 * may not be counted. */
size_t log_ring_used(struct log_ring *ring);

/* For the one who fills it. Puts a line, which ends with its only newline; false when it does not
 * fit. What is put into an empty ring is put at its memory's start, so that no more memory is used,
 * and found in the processor's cache, than the lines need that wait at one time. */
MUST_CHECK bool log_ring_put(struct log_ring *ring, const char *line, size_t length);

/* For the one who empties it. The bytes from `from` on up to `to`, as they follow the first one, in
 * one or two parts; returns how many parts. */
int log_ring_peek(struct log_ring *ring, size_t from, size_t to, struct iovec parts[2]);

/* The length of the whole lines among the first `limit` bytes, which are there; 0: not one. */
size_t log_ring_lines(struct log_ring *ring, size_t limit);

/* The length of the first line; there is one. */
size_t log_ring_first(struct log_ring *ring);

/* Takes so many bytes out of the ring: their room is free. */
void log_ring_take(struct log_ring *ring, size_t length);

#endif
