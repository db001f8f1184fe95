/* A byte stream over a non-blocking socket, behind which TLS can stand.
 *
 * Readiness is edge-triggered and remembered: `readable` and `writable` are set by the loop and
 * cleared by the call that found nothing left to do. A user therefore reads until EAGAIN (or
 * stops, keeps the flag and comes back by itself); back-pressure costs no system call. */
#ifndef KAPROXY_STREAM_H
#define KAPROXY_STREAM_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "loop.h"
#include "util.h"

struct stream;

/* Who is told when a stream becomes readable or writable. One handler at a time; the pool, a
 * dial and a session pass a stream on by changing it. */
struct stream_handler {
    void (*ready)(struct stream_handler *handler, struct stream *stream);
};

struct stream {
    int fd; /* -1: closed */
    bool readable;
    bool writable;
    bool hangup; /* the peer ended its direction, or broke it: read on to the end */
    bool broken; /* an error waits: stream_error */
    bool urgent; /* urgent data came: counts are short at its mark */
    struct loop *loop; /* that watches it, or NULL */
    struct stream_handler *handler;
    struct watch watch;
};

/* What a look at the socket shows, without taking anything from it. */
enum stream_look { LOOK_QUIET, LOOK_DATA, LOOK_EOF, LOOK_ERROR };

/* Makes a stream of a connected (or connecting), non-blocking descriptor, which it then owns.
 * Nothing is watched yet; readable and writable start true: try, then watch. */
void stream_init(struct stream *stream, int fd);

/* Registers the descriptor for reading, writing and hang-up, edge-triggered, for as long as the
 * stream stays on this loop. 0, or -1 with errno. Watching twice is harmless. */
MUST_CHECK int stream_watch(struct stream *stream, struct loop *loop);

static inline bool stream_is_watched(const struct stream *stream)
{
    return stream->loop != NULL;
}

/* Takes it off the loop; it may then be moved in memory. */
void stream_unwatch(struct stream *stream);

void stream_set_handler(struct stream *stream, struct stream_handler *handler);

/* As recv and send: bytes, 0 for EOF (read), or -1 with errno; EAGAIN clears the readiness flag,
 * EINTR never shows. A short count clears it as well. */
MUST_CHECK ssize_t stream_read(struct stream *stream, void *buffer, size_t size);
MUST_CHECK ssize_t stream_write(struct stream *stream, const void *data, size_t size);
MUST_CHECK ssize_t stream_writev(struct stream *stream, const struct iovec *parts, int count);

/* One look with MSG_PEEK. With LOOK_ERROR errno tells which. */
enum stream_look stream_look(struct stream *stream);

/* The pending error of the socket (SO_ERROR), which this clears; 0 when there is none. */
int stream_error(struct stream *stream);

/* Ends our direction; the peer reads EOF after what was sent. 0 or -1 with errno. */
int stream_end_write(struct stream *stream);

/* Closes in order (FIN; the kernel sends RST instead where unread data waits). */
void stream_close(struct stream *stream);

/* Closes so that the peer sees a reset, and drops what was not sent yet. */
void stream_reset(struct stream *stream);

#endif
