/* SPDX-License-Identifier: ISC */
/* Moves one direction's bytes, through scratch memory or, in bulk, through a pipe. */
#include "net/relay.h"

#include <assert.h>
#include <errno.h>

/* The maximum number of reads in a piece, however little they bring. */
#define PIECE_READS 16

static void give_pipe(struct relay *relay)
{
    if (relay->pipe != NULL)
        pipes_give(relay->pipe);
    relay->pipe = NULL;
}

/* Bytes written, or -1 with errno. */
static ssize_t write_some(struct relay *relay, struct stream *to)
{
    ssize_t n;
    if (buffer_length(&relay->kept) > 0) {
        n = stream_write(to, buffer_data(&relay->kept), buffer_length(&relay->kept));
        if (n > 0)
            buffer_consume(&relay->kept, (size_t)n);
        return n;
    }
    n = stream_splice_out(to, relay->pipe);
    if (relay->pipe->held == 0)
        give_pipe(relay);
    return n;
}

enum relay_result relay_flush(struct relay *relay, struct stream *to)
{
    if (relay->sink)
        relay_clear(relay);
    while (relay_keeps(relay)) {
        if (!to->writable)
            return RELAY_BLOCKED;
        ssize_t n = write_some(relay, to);
        if (n < 0)
            return errno == EAGAIN ? RELAY_BLOCKED : RELAY_WRITE_FAILED;
        relay->moved += (uint64_t)n;
    }
    return RELAY_ENDED;
}

/* How many of `size` bytes may be read. */
static size_t allowed(const struct relay *relay, size_t size)
{
    uint64_t rest = relay->limit - relay->taken;
    return relay->limit == 0 || rest > size ? size : (size_t)rest;
}

/* Writes what was read into scratch memory; the rest that the stream does not accept is kept. */
static enum relay_result write_fresh(struct relay *relay, struct stream *to, const char *data,
                                     size_t size)
{
    ssize_t n = stream_write(to, data, size);
    if (n < 0 && errno != EAGAIN)
        return RELAY_WRITE_FAILED;
    size_t written = n < 0 ? 0 : (size_t)n;
    relay->moved += written;
    if (relay_put(relay, data + written, size - written) < 0)
        return RELAY_NO_MEMORY;
    return RELAY_MORE;
}

static bool is_bulk(const struct relay *relay, const struct stream *from, const struct stream *to)
{
    return relay->run_length >= RELAY_BULK && !relay->sink && !from->urgent &&
           !stream_is_tls(from) && !stream_is_tls(to);
}

/* Reads into a pipe. RELAY_MORE without one in `relay`: this direction must be copied. */
static enum relay_result take_spliced(struct relay *relay, struct stream *from, struct pipes *pipes)
{
    struct pipe *pipe = pipes_take(pipes);
    ssize_t n = pipe != NULL ? stream_splice_in(from, pipe, allowed(relay, SIZE_MAX)) : 0;
    if (n > 0) {
        relay->pipe = pipe;
        relay->taken += (uint64_t)n;
        counter_add(&pipes->stats.spliced, (uint64_t)n);
        if (n < RELAY_LITTLE && relay->limit == 0)
            relay->run_length = 0;
        return RELAY_MORE;
    }
    int error = n < 0 ? errno : ENOTSUP;
    if (pipe != NULL)
        pipes_give(pipe);
    if (error == EAGAIN)
        return RELAY_BLOCKED;
    relay->run_length = 0;
    errno = error;
    return error == ENOTSUP ? RELAY_MORE : RELAY_READ_FAILED;
}

static enum relay_result take_copied(struct relay *relay, struct stream *from, struct stream *to,
                                     struct scratch scratch, size_t most)
{
    size_t size = allowed(relay, scratch.size < most ? scratch.size : most);
    ssize_t n = stream_read(from, scratch.data, size);
    if (n < 0)
        return errno == EAGAIN ? RELAY_BLOCKED : RELAY_READ_FAILED;
    if (n == 0) {
        relay->from_ended = true;
        return RELAY_ENDED;
    }
    relay->taken += (uint64_t)n;
    if (n < RELAY_LITTLE)
        relay->run_length = 0;
    else if (relay->run_length < RELAY_BULK)
        relay->run_length += (size_t)n;
    return relay->sink ? RELAY_MORE : write_fresh(relay, to, scratch.data, (size_t)n);
}

enum relay_result relay_move(struct relay *relay, struct stream *from, struct stream *to,
                             struct scratch scratch, struct pipes *pipes)
{
    uint64_t before = relay->taken;
    for (int reads = 0;; reads++) {
        enum relay_result result = relay_flush(relay, to);
        if (result == RELAY_BLOCKED)
            stream_pause_read(from);
        if (result != RELAY_ENDED || relay->from_ended || allowed(relay, 1) == 0)
            return result;
        uint64_t moved = relay->taken - before;
        if (reads == PIECE_READS || moved >= RELAY_PIECE)
            return RELAY_MORE;
        if (!from->readable || (!to->writable && !relay->sink))
            return RELAY_BLOCKED;
        if (is_bulk(relay, from, to))
            result = take_spliced(relay, from, pipes);
        else
            result = take_copied(relay, from, to, scratch, RELAY_PIECE - moved);
        if (result != RELAY_MORE)
            return result;
    }
}

int relay_put(struct relay *relay, const void *data, size_t size)
{
    assert(relay->pipe == NULL);
    return buffer_append(&relay->kept, data, size);
}

void relay_clear(struct relay *relay)
{
    buffer_clear(&relay->kept);
    give_pipe(relay);
}
