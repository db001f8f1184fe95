/* SPDX-License-Identifier: ISC */
/* Creates pipes up to a limit, and keeps a few empty ones. */
#include "net/pipes.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* How many are kept for the next user. A relay that is not blocked empties its pipe before another
 * relay gets its turn, so most of the time one is enough. */
#define IDLE_MAX 8

static void set_limit(struct pipes *pipes, unsigned limit)
{
    pipes->limit = limit < PIPES_MAX ? limit : PIPES_MAX;
    gauge_set(&pipes->stats.limit, pipes->limit);
}

void pipes_init(struct pipes *pipes, unsigned limit)
{
    *pipes = (struct pipes){0};
    set_limit(pipes, limit);
    TAILQ_INIT(&pipes->idle);
}

static void count_pipes(struct pipes *pipes)
{
    gauge_set(&pipes->stats.pipes, pipes->count);
    gauge_set(&pipes->stats.idle, pipes->idle_count);
}

static void close_pipe(struct pipe *pipe)
{
    pipe->pipes->count--;
    count_pipes(pipe->pipes);
    close(pipe->in);
    close(pipe->out);
    free(pipe);
}

/* Closes an idle one, which must exist. */
static void close_idle(struct pipes *pipes)
{
    struct pipe *pipe = TAILQ_FIRST(&pipes->idle);
    TAILQ_REMOVE(&pipes->idle, pipe, link);
    pipes->idle_count--;
    close_pipe(pipe);
}

void pipes_set_max(struct pipes *pipes, unsigned limit)
{
    set_limit(pipes, limit);
    while (pipes->count > pipes->limit && pipes->idle_count > 0)
        close_idle(pipes);
}

void pipes_clear(struct pipes *pipes)
{
    while (pipes->idle_count > 0)
        close_idle(pipes);
    assert(pipes->count == 0);
}

/* Returns the pipe's size in bytes, as close to PIPE_SIZE as the system permits. */
static size_t enlarge(int fd)
{
    for (int size = PIPE_SIZE; size >= PIPE_SIZE_MIN; size /= 2) {
        int got = fcntl(fd, F_SETPIPE_SZ, size);
        if (got >= 0)
            return (size_t)got;
    }
    return 0;
}

static struct pipe *make_pipe(struct pipes *pipes)
{
    struct pipe *pipe = malloc(sizeof(*pipe));
    int fds[2];
    if (pipe == NULL)
        return NULL;
    if (pipe2(fds, O_NONBLOCK | O_CLOEXEC) < 0) {
        free(pipe);
        return NULL;
    }
    *pipe = (struct pipe){.in = fds[1], .out = fds[0], .size = enlarge(fds[1]), .pipes = pipes};
    pipes->count++;
    count_pipes(pipes);
    if (pipe->size > 0)
        return pipe;
    close_pipe(pipe);
    return NULL;
}

struct pipe *pipes_take(struct pipes *pipes)
{
    if (pipes == NULL)
        return NULL;
    struct pipe *pipe = TAILQ_FIRST(&pipes->idle);
    if (pipe == NULL)
        return pipes->count < pipes->limit ? make_pipe(pipes) : NULL;
    TAILQ_REMOVE(&pipes->idle, pipe, link);
    pipes->idle_count--;
    count_pipes(pipes);
    return pipe;
}

void pipes_give(struct pipe *pipe)
{
    struct pipes *pipes = pipe->pipes;
    if (pipe->held > 0 || pipes->idle_count == IDLE_MAX || pipes->count > pipes->limit) {
        close_pipe(pipe);
        return;
    }
    TAILQ_INSERT_HEAD(&pipes->idle, pipe, link);
    pipes->idle_count++;
    count_pipes(pipes);
}

static const struct metric metrics[] = {
    {.name = "pipes_limit",
     .help = "Limit on pipes for bulk data",
     .type = METRIC_GAUGE,
     .offset = offsetof(struct pipes_stats, limit),
     .count = 1},
    {.name = "pipes",
     .help = "Pipes for bulk data",
     .type = METRIC_GAUGE,
     .offset = offsetof(struct pipes_stats, pipes),
     .count = 1},
    {.name = "pipes_idle",
     .help = "Pipes for bulk data that are not in use",
     .type = METRIC_GAUGE,
     .offset = offsetof(struct pipes_stats, idle),
     .count = 1},
    {.name = "spliced",
     .help = "Bytes moved through pipes",
     .type = METRIC_COUNTER,
     .unit = METRIC_BYTES,
     .offset = offsetof(struct pipes_stats, spliced),
     .count = 1,
     .log = "spliced"},
};

const struct metric_set pipes_metrics = {
    .prefix = "", .metrics = metrics, .count = ARRAY_LEN(metrics)};
