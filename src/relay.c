#include "relay.h"

#include <errno.h>

/* How many scratch fulls one direction moves before others have their turn. */
#define SHARE 16

/* RELAY_MORE: nothing is kept any more. */
static enum relay_result write_kept(struct relay *relay, struct stream *to)
{
    if (relay->sink)
        buffer_clear(&relay->kept);
    while (relay_keeps(relay)) {
        if (!to->writable)
            return RELAY_BLOCKED;
        ssize_t n = stream_write(to, buffer_data(&relay->kept), buffer_length(&relay->kept));
        if (n < 0)
            return errno == EAGAIN ? RELAY_BLOCKED : RELAY_WRITE_FAILED;
        buffer_consume(&relay->kept, (size_t)n);
        relay->moved += (uint64_t)n;
    }
    return RELAY_MORE;
}

/* Writes what was read into scratch memory; what the stream does not take is kept. */
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

enum relay_result relay_move(struct relay *relay, struct stream *from, struct stream *to,
                             struct scratch scratch)
{
    for (int round = 0; round < SHARE; round++) {
        enum relay_result result = write_kept(relay, to);
        if (result != RELAY_MORE)
            return result;
        if (relay->from_ended)
            return RELAY_ENDED;
        if (!from->readable || (!to->writable && !relay->sink))
            return RELAY_BLOCKED;
        ssize_t n = stream_read(from, scratch.data, scratch.size);
        if (n < 0)
            return errno == EAGAIN ? RELAY_BLOCKED : RELAY_READ_FAILED;
        if (n == 0) {
            relay->from_ended = true;
            return RELAY_ENDED;
        }
        relay->taken += (uint64_t)n;
        if (relay->sink)
            continue;
        result = write_fresh(relay, to, scratch.data, (size_t)n);
        if (result != RELAY_MORE)
            return result;
    }
    return RELAY_MORE;
}

int relay_put(struct relay *relay, const void *data, size_t size)
{
    return buffer_append(&relay->kept, data, size);
}

void relay_clear(struct relay *relay)
{
    buffer_clear(&relay->kept);
}
