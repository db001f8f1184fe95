#include "relay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* How many scratch fulls one direction moves before others have their turn. */
#define SHARE 16

static int keep(struct relay *relay, const char *data, size_t size)
{
    relay->kept = malloc(size);
    if (relay->kept == NULL)
        return -1;
    memcpy(relay->kept, data, size);
    relay->kept_start = 0;
    relay->kept_end = size;
    return 0;
}

/* RELAY_MORE: nothing is kept any more. */
static enum relay_result write_kept(struct relay *relay, struct stream *to)
{
    while (relay->kept != NULL) {
        if (!to->writable)
            return RELAY_BLOCKED;
        ssize_t n = stream_write(to, relay->kept + relay->kept_start,
                                 relay->kept_end - relay->kept_start);
        if (n < 0)
            return errno == EAGAIN ? RELAY_BLOCKED : RELAY_WRITE_FAILED;
        relay->kept_start += (size_t)n;
        relay->moved += (uint64_t)n;
        if (relay->kept_start == relay->kept_end)
            relay_clear(relay);
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
    if (written < size && keep(relay, data + written, size - written) < 0)
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
        if (!from->readable || !to->writable)
            return RELAY_BLOCKED;
        ssize_t n = stream_read(from, scratch.data, scratch.size);
        if (n < 0)
            return errno == EAGAIN ? RELAY_BLOCKED : RELAY_READ_FAILED;
        if (n == 0) {
            relay->from_ended = true;
            return RELAY_ENDED;
        }
        relay->taken += (uint64_t)n;
        result = write_fresh(relay, to, scratch.data, (size_t)n);
        if (result != RELAY_MORE)
            return result;
    }
    return RELAY_MORE;
}

void relay_clear(struct relay *relay)
{
    free(relay->kept);
    relay->kept = NULL;
    relay->kept_start = relay->kept_end = 0;
}
