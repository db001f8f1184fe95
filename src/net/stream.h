/* SPDX-License-Identifier: ISC */
/* A byte stream over a non-blocking socket, plain or with TLS.
 *
 * Readiness is edge-triggered and remembered: `readable` and `writable` are set by the loop and
 * cleared by the call that found nothing left to do. A user therefore reads until EAGAIN (or
 * stops, keeps the flag and comes back by itself); back-pressure costs no system call. */
#ifndef KAPROXY_STREAM_H
#define KAPROXY_STREAM_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/util.h"
#include "net/loop.h"
#include "net/pipes.h"
#include "tls/tls.h"

struct stream;

/* What is called when a stream becomes readable or writable. One handler at a time; the pool, a
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
    bool local;  /* a unix socket: counts are short where descriptors were passed. The owner's */
    bool watches_writable; /* events tell when it becomes writable */
    bool read_paused;      /* no event tells that it becomes readable; it is */
    struct loop *loop;     /* that watches it, or NULL */
    uint64_t drained;      /* loop_iterations when a read found that nothing is left */
    struct stream_handler *handler;
    struct watch watch;
    struct tls *tls;  /* NULL: plain */
    struct task wake; /* tells the handler what TLS found and no event will */
};

/* What a peek at the socket shows, without taking anything from it. */
enum stream_peek { PEEK_QUIET, PEEK_DATA, PEEK_EOF, PEEK_ERROR };

/* Makes a stream of a connected (or connecting), non-blocking descriptor, which it then owns.
 * Nothing is watched yet; readable and writable start true: try, then watch. */
void stream_init(struct stream *stream, int fd);

/* Registers the descriptor, edge-triggered, for as long as the stream stays on this loop: for
 * reading and hang-up, and once it was found not writable for writing too. 0, or -1 with errno.
 * Watching twice is harmless. */
MUST_CHECK int stream_watch(struct stream *stream, struct loop *loop);

static inline bool stream_is_watched(const struct stream *stream)
{
    return stream->loop != NULL;
}

/* Takes it off the loop; it may then be moved in memory. */
void stream_unwatch(struct stream *stream);

void stream_set_handler(struct stream *stream, struct stream_handler *handler);

/* Puts TLS on a connected stream. 0 or -1 with errno. */
MUST_CHECK int stream_start_tls(struct stream *stream, struct tls_client *client);

/* Goes on with the handshake; to be called again whenever the stream becomes ready, until it is
 * done or has failed (stream_failure). Before it is done nothing else but ending the stream may be
 * called. */
MUST_CHECK enum tls_result stream_handshake(struct stream *stream);

static inline bool stream_is_tls(const struct stream *stream)
{
    return stream->tls != NULL;
}

/* What TLS has against it, for people; "" for nothing. Valid until the stream is closed. */
const char *stream_failure(const struct stream *stream);
enum tls_fault stream_fault(const struct stream *stream);

/* As recv and send: bytes, 0 for EOF (read), or -1 with errno; EAGAIN clears the readiness flag,
 * EINTR never shows. A short count clears it as well where it stands for EAGAIN, and only there:
 * with TLS not when bytes may wait in memory, nor when a write stopped for another reason. With
 * TLS, EOF without close_notify is ECONNRESET, a truncation; see tls.h for the rest and for what a
 * write must keep to after EAGAIN. */
MUST_CHECK ssize_t stream_read(struct stream *stream, void *buffer, size_t size);
MUST_CHECK ssize_t stream_write(struct stream *stream, const void *data, size_t size);
MUST_CHECK ssize_t stream_writev(struct stream *stream, const struct iovec *parts, int count);

/* For a stream that is readable and whose bytes must wait, since the far side does not take those
 * before them: no event tells of more bytes until somebody reads or peeks. Ends and errors are
 * reported. Without effect with TLS, on a stream that is not watched, and on one that is not
 * readable.
 */
void stream_pause_read(struct stream *stream);

/* Did a read in this very iteration of the loop take all there was, with no end in sight? As good
 * as a peek that finds PEEK_QUIET, but for free. With TLS nothing waits in memory either. */
bool stream_is_drained(const struct stream *stream);

/* One peek, with MSG_PEEK where the stream is plain; no bytes are lost by it. With PEEK_ERROR errno
 * tells which. With TLS, PEEK_EOF is the end with close_notify or without. */
enum stream_peek stream_peek(struct stream *stream);

/* True while bytes wait in TLS's memory. After PEEK_QUIET: a part of a record has come; or the last
 * write met a full socket, though it reported no byte: TLS may keep a record of what it was given,
 * which the next write sends, whatever that is given. */
static inline bool stream_has_pending(const struct stream *stream)
{
    return stream->tls != NULL && (tls_has_pending(stream->tls) || tls_is_blocked(stream->tls));
}

/* The pending error of the socket (SO_ERROR), which this clears; 0 when there is none. */
int stream_error(struct stream *stream);

/* Does the peer's system have all that was written, an end included? Then no reset can destroy it
 * on its way. For a stream without TLS. */
bool stream_is_delivered(const struct stream *stream);

/* Ends our direction; the peer reads EOF after what was sent. With TLS it reads close_notify
 * before, which may have to wait until the socket takes it, and the FIN with it; both then follow
 * by themselves. What comes from the peer can still be read. 0 or -1 with errno. */
int stream_end_write(struct stream *stream);

/* As splice(2), for streams without TLS; EAGAIN alone clears a readiness flag. A short count tells
 * nothing: the pipe's slots may be used up (in), or a signal came (out), after which the kernel
 * does not report what it was not asked for. The program must ignore SIGPIPE.
 *
 * In: at most `most` bytes into an empty pipe. 0 may be an end or the mark of urgent data, and
 * stream_read knows; ENOTSUP: for some reason this stream cannot be spliced, but it can be read.
 * Out: what the pipe holds. */
MUST_CHECK ssize_t stream_splice_in(struct stream *stream, struct pipe *pipe, size_t most);
MUST_CHECK ssize_t stream_splice_out(struct stream *stream, struct pipe *pipe);

/* Closes in order: close_notify as far as the socket takes it, FIN (the kernel sends RST instead
 * where unread data waits). */
void stream_close(struct stream *stream);

/* Closes so that the peer sees a reset, and drops what was not sent yet. No close_notify. */
void stream_reset(struct stream *stream);

#endif
