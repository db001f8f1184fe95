/* One direction of a session: moves bytes from one stream to another with back-pressure.
 *
 * Bytes go through the caller's scratch memory; only what could not be written is kept, at most
 * one scratch memory full, and while anything is kept nothing more is read. */
#ifndef KAPROXY_RELAY_H
#define KAPROXY_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buffer.h"
#include "stream.h"
#include "util.h"

/* Memory that the sessions of one loop read into, in turn. */
struct scratch {
    char *data;
    size_t size;
};

struct relay {
    uint64_t taken; /* bytes read */
    uint64_t moved; /* bytes written to the far side */
    struct buffer kept; /* bytes read but not written yet */
    bool from_ended;    /* EOF was read */
    bool sink;          /* what is read is thrown away: nobody wants it any more */
};

enum relay_result {
    RELAY_BLOCKED,     /* until one of the streams becomes ready */
    RELAY_MORE,        /* used up its share; there is more to do at once */
    RELAY_ENDED,       /* EOF was read, and everything before it is written */
    RELAY_READ_FAILED, /* errno says why, also below */
    RELAY_WRITE_FAILED,
    RELAY_NO_MEMORY
};

/* Moves what can be moved now, at most a fair share of some scratch fulls. */
enum relay_result relay_move(struct relay *relay, struct stream *from, struct stream *to,
                             struct scratch scratch);

/* Puts bytes in front of what will be read, behind what is kept already. 0, or -1 with ENOMEM. */
MUST_CHECK int relay_put(struct relay *relay, const void *data, size_t size);

/* True when bytes are held that were not written yet. */
static inline bool relay_keeps(const struct relay *relay)
{
    return buffer_length(&relay->kept) > 0;
}

void relay_clear(struct relay *relay);

#endif
