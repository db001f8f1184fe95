/* SPDX-License-Identifier: ISC */
/* One direction of a session: moves bytes from one stream to another with back-pressure.
 *
 * Bytes go through the caller's scratch memory; only those that could not be written are kept, at
 * most one scratch memory full, and while any are held nothing more is read.
 *
 * The fast path: between two plain streams, bulk data goes through a pipe instead, by splice(2). A
 * direction switches to it after RELAY_BULK bytes of reads that brought RELAY_LITTLE or more each.
 * It switches back when a splice brings less (unless `limit` says that much is still to come), when
 * no pipe is available, or when urgent data arrives. It holds a pipe only while that has bytes in
 * it. */
#ifndef KAPROXY_RELAY_H
#define KAPROXY_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/scratch.h"
#include "base/util.h"
#include "net/pipes.h"
#include "net/stream.h"

#define RELAY_BULK   (256 * 1024)
#define RELAY_LITTLE (16 * 1024)

/* The most that one call moves before others get their turn: some hundred microseconds of work.
 * (Smaller pieces make every byte more expensive: with TLS by a fifth at half the size.) */
#define RELAY_PIECE (512 * 1024)

/* All zero: nothing has been moved yet. */
struct relay {
    uint64_t taken;     /* bytes read */
    uint64_t moved;     /* bytes written to the far side */
    uint64_t limit;     /* how many may be read; 0: no limit */
    struct buffer kept; /* bytes read but not yet written */
    struct pipe *pipe;  /* the same, after them; NULL: none */
    size_t run_length;  /* bytes of consecutive large reads */
    bool from_ended;    /* EOF was read */
    bool from_broken;   /* EOF, if read, is not an orderly end; for users that move both ways */
    bool sink;          /* what is read is thrown away: it is no longer needed */
};

enum relay_result {
    RELAY_BLOCKED,     /* until one of the streams becomes ready */
    RELAY_MORE,        /* moved its piece; more may be possible at once */
    RELAY_ENDED,       /* EOF was read or the limit reached, and everything before it is written */
    RELAY_READ_FAILED, /* errno says why, also for those below */
    RELAY_WRITE_FAILED,
    RELAY_NO_MEMORY
};

/* Moves what can be moved now, at most one piece. `pipes` may be NULL: then everything is
 * copied. */
enum relay_result relay_move(struct relay *relay, struct stream *from, struct stream *to,
                             struct scratch scratch, struct pipes *pipes);

/* Writes what is held. RELAY_ENDED: all of it is written; RELAY_BLOCKED, RELAY_WRITE_FAILED. */
enum relay_result relay_flush(struct relay *relay, struct stream *to);

/* Inserts bytes before what will be read and after what is already kept; not while a pipe holds
 * bytes. 0, or -1 with ENOMEM. */
MUST_CHECK int relay_put(struct relay *relay, const void *data, size_t size);

/* True if bytes are held that are not yet written. */
static inline bool relay_keeps(const struct relay *relay)
{
    return buffer_length(&relay->kept) > 0 || relay->pipe != NULL;
}

/* Drops what is held. */
void relay_clear(struct relay *relay);

#endif
