/* SPDX-License-Identifier: ISC */
/* Pipes for splice(2), through which bytes go from socket to socket inside the kernel.
 *
 * The relays of one loop share a few. A relay takes a pipe when there is much to move and gives it
 * back once it is empty, so at rest only a relay that waits for a slow reader holds one. To get
 * none is no error, whatever the reason (all are taken, no descriptors, pipes(7)'s limit of pages
 * per user): a relay that gets none copies. */
#ifndef KAPROXY_PIPES_H
#define KAPROXY_PIPES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/metric.h"
#include "base/util.h"

/* Pipes of one loop, taken and idle, at most; each has PIPE_DESCRIPTORS. */
#define PIPES_MAX        32
#define PIPE_DESCRIPTORS 2

/* Bytes that a pipe holds: as much as an ordinary user may ask for. Where the system grants less,
 * half of it will do, or a quarter; below that copying is cheaper. */
#define PIPE_SIZE     (1024 * 1024)
#define PIPE_SIZE_MIN (256 * 1024)

struct pipe {
    int in, out; /* to write to, to read from; non-blocking */
    size_t size;
    size_t held; /* bytes that are in it; kept by whoever moves them */
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

/* No pipe is made before one is taken. */
void pipes_init(struct pipes *pipes, unsigned limit);

/* Another limit, at once: idle ones beyond it are closed, and taken ones once they are given back.
 */
void pipes_set_max(struct pipes *pipes, unsigned limit);

/* Closes the idle ones; none may be taken any more. */
void pipes_clear(struct pipes *pipes);

/* An empty pipe, the caller's until it gives it back; NULL: none to be had now. `pipes` may be NULL
 * as well. */
struct pipe *pipes_take(struct pipes *pipes);

/* Takes a pipe back. One that holds bytes, or is one too many to be kept, is closed. */
void pipes_give(struct pipe *pipe);

#endif
