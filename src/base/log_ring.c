/* SPDX-License-Identifier: ISC */
/* The ring between the loggers and the writer: two counters, no lock between the threads. */
#include "base/log_ring.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

/* The counters are accessed in one order that all threads agree on (C11's default): a thread that
 * puts a line and then finds that the writer does not ask to be woken can rely on the writer seeing
 * the line. */

void log_ring_init(struct log_ring *ring, char *bytes, size_t size)
{
    assert(size > 0 && (size & (size - 1)) == 0);
    ring->bytes = bytes;
    ring->size = size;
    ring->origin = 0;
    atomic_init(&ring->put, 0);
    atomic_init(&ring->taken, 0);
}

size_t log_ring_used(struct log_ring *ring)
{
    size_t taken = atomic_load(&ring->taken);
    return atomic_load(&ring->put) - taken;
}

bool log_ring_put(struct log_ring *ring, const char *line, size_t length)
{
    size_t put = atomic_load_explicit(&ring->put, memory_order_relaxed);
    size_t taken = atomic_load_explicit(&ring->taken, memory_order_acquire);
    if (length > ring->size - (put - taken))
        return false;
    if (put == taken) /* the reader reads nothing of it until something is put */
        ring->origin = put;
    size_t at = (put - ring->origin) & (ring->size - 1), before_end = ring->size - at;
    size_t first = length < before_end ? length : before_end;
    memcpy(ring->bytes + at, line, first);
    memcpy(ring->bytes, line + first, length - first);
    atomic_store(&ring->put, put + length);
    return true;
}

int log_ring_peek(struct log_ring *ring, size_t from, size_t to, struct iovec parts[2])
{
    size_t taken = atomic_load_explicit(&ring->taken, memory_order_relaxed);
    size_t at = (taken + from - ring->origin) & (ring->size - 1), before_end = ring->size - at;
    size_t length = to - from;
    if (length <= before_end) {
        parts[0] = (struct iovec){ring->bytes + at, length};
        return 1;
    }
    parts[0] = (struct iovec){ring->bytes + at, before_end};
    parts[1] = (struct iovec){ring->bytes, length - before_end};
    return 2;
}

size_t log_ring_lines(struct log_ring *ring, size_t limit)
{
    struct iovec parts[2];
    int count = log_ring_peek(ring, 0, limit, parts);
    size_t before = count == 2 ? parts[0].iov_len : 0;
    for (int i = count - 1; i >= 0; i--) {
        const char *start = parts[i].iov_base;
        const char *newline = memrchr(start, '\n', parts[i].iov_len);
        if (newline != NULL)
            return before + (size_t)(newline - start) + 1;
        before = 0;
    }
    return 0;
}

size_t log_ring_first(struct log_ring *ring)
{
    struct iovec parts[2];
    int count = log_ring_peek(ring, 0, log_ring_used(ring), parts);
    size_t before = 0;
    for (int i = 0; i < count; i++) {
        const char *start = parts[i].iov_base;
        const char *newline = memchr(start, '\n', parts[i].iov_len);
        if (newline != NULL)
            return before + (size_t)(newline - start) + 1;
        before += parts[i].iov_len;
    }
    assert(false); /* every line has an end */
    return before;
}

void log_ring_take(struct log_ring *ring, size_t length)
{
    size_t taken = atomic_load_explicit(&ring->taken, memory_order_relaxed);
    atomic_store(&ring->taken, taken + length);
}
