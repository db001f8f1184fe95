/* SPDX-License-Identifier: ISC */
/* Pipes for splice(2), which moves bytes between sockets inside the kernel.
 *
 * The relays of one loop share a few. A relay takes a pipe when there is much to move and returns
 * it once it is empty, so while idle only a relay that waits for a slow reader holds one. Not
 * getting one is not an error, whatever the reason (all are taken, no descriptors, pipes(7)'s limit
 * of pages per user): such a relay copies. */
#ifndef KAPROXY_PIPES_H
#define KAPROXY_PIPES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/metric.h"
#include "base/util.h"

/* Maximum number of pipes of one loop, taken and idle; each has PIPE_DESCRIPTORS. */
#define PIPES_MAX        32
#define PIPE_DESCRIPTORS 2

/* Bytes that a pipe holds: the maximum for an unprivileged user. If the system grants less, half of
 * it or a quarter will do; below that copying is cheaper. */
#define PIPE_SIZE     (1024 * 1024)
#define PIPE_SIZE_MIN (256 * 1024)

struct pipe {
    int in, out; /* write end, read end; non-blocking */
    size_t size;
    size_t held; /* bytes in it; maintained by the code that moves them */
    struct pipes *pipes;
    TAILQ_ENTRY(pipe) link;
};

struct pipes {
    unsigned limit; /* at most PIPES_MAX; 0: everything is copied */
    unsigned count; /* taken and idle */
    unsigned idle_count;
    /* A metric block. */
    struct pipes_stats {
        struct gauge limit, pipes, idle;
        struct counter spliced; /* bytes that were read into pipes */
    } stats;
    TAILQ_HEAD(, pipe) idle;
};

extern const struct metric_set pipes_metrics;

/* No pipe is created before the first one is taken. */
void pipes_init(struct pipes *pipes, unsigned limit);

/* Changes the limit at once: idle pipes beyond it are closed, and taken ones when they are
 * returned. */
void pipes_set_max(struct pipes *pipes, unsigned limit);

/* Closes the idle ones; none may be taken afterwards. */
void pipes_clear(struct pipes *pipes);

/* An empty pipe, which the caller has until returning it; NULL: none is available now. `pipes` may
 * also be NULL. */
struct pipe *pipes_take(struct pipes *pipes);

/* Returns a pipe. It is closed if it holds bytes or enough pipes are kept. */
void pipes_give(struct pipe *pipe);

#endif
