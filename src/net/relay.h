/* SPDX-License-Identifier: ISC */
/* One direction of a session: moves bytes from one stream to another with back-pressure.
 *
 * Bytes go through the caller's scratch memory; only what could not be written is kept, at most
 * one scratch memory full, and while anything is held nothing more is read.
 *
 * The fast way: between two plain streams much data goes through a pipe instead, by splice(2). A
 * direction takes it after RELAY_BULK bytes of reads that brought RELAY_LITTLE or more each, and
 * leaves it again when a splice brings less (unless `limit` tells that much is still to come), when
 * there is no pipe to be had, and when urgent data comes. It holds a pipe no longer than that has
 * bytes in it. */
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

/* What one call moves at most, before others have their turn: some hundred microseconds of work.
 * (In smaller pieces every byte costs more: with TLS a fifth at half of it.) */
#define RELAY_PIECE (512 * 1024)

/* All zero: nothing was moved yet. */
struct relay {
    uint64_t taken;     /* bytes read */
    uint64_t moved;     /* bytes written to the far side */
    uint64_t limit;     /* no more are taken; 0: as many as come */
    struct buffer kept; /* bytes read but not written yet */
    struct pipe *pipe;  /* the same, behind them; NULL: none */
    size_t run_length;  /* bytes of large reads in a row */
    bool from_ended;    /* EOF was read */
    bool from_broken;   /* EOF, if it is read, is no end in order; for users that move both ways */
    bool sink;          /* what is read is thrown away: nobody wants it any more */
};

enum relay_result {
    RELAY_BLOCKED,     /* until one of the streams becomes ready */
    RELAY_MORE,        /* moved its piece; there may be more to do at once */
    RELAY_ENDED,       /* EOF was read or the limit reached, and everything before it is written */
    RELAY_READ_FAILED, /* errno says why, also below */
    RELAY_WRITE_FAILED,
    RELAY_NO_MEMORY
};

/* Moves what can be moved now, at most one piece. Pipes come from `pipes`, which may be NULL: then
 * all is copied. */
enum relay_result relay_move(struct relay *relay, struct stream *from, struct stream *to,
                             struct scratch scratch, struct pipes *pipes);

/* Writes what is held. RELAY_ENDED: that is all written; RELAY_BLOCKED, RELAY_WRITE_FAILED. */
enum relay_result relay_flush(struct relay *relay, struct stream *to);

/* Puts bytes in front of what will be read, behind what is kept already; not while a pipe holds
 * bytes. 0, or -1 with ENOMEM. */
MUST_CHECK int relay_put(struct relay *relay, const void *data, size_t size);

/* True when bytes are held that were not written yet. */
static inline bool relay_keeps(const struct relay *relay)
{
    return buffer_length(&relay->kept) > 0 || relay->pipe != NULL;
}

/* Drops what is held. */
void relay_clear(struct relay *relay);

#endif
