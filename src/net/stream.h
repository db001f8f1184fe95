/* SPDX-License-Identifier: ISC */
/* A byte stream over a non-blocking socket, plain or with TLS.
 *
 * Readiness is edge-triggered and remembered: `readable` and `writable` are set by the loop and
 * cleared by the call that found nothing left to do. A user therefore reads until EAGAIN (or stops,
 * keeps the flag and resumes on its own); back-pressure costs no system call. */
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

/* Called when a stream becomes readable or writable. There is one handler at a time; the pool, a
 * dial and a session hand a stream over by changing it. */
struct stream_handler {
    void (*ready)(struct stream_handler *handler, struct stream *stream);
};

struct stream {
    int fd; /* -1: closed */
    bool readable;
    bool writable;
    bool hangup; /* the peer ended its direction, or broke the connection: read on to the end */
    bool broken; /* an error is pending: stream_error */
    bool urgent; /* urgent data arrived: counts are short at its mark */
    bool local;  /* a unix socket: counts are short where descriptors were passed. For the owner to
                    set */
    bool watches_writable; /* events report when it becomes writable */
    bool read_paused;      /* no event reports that it becomes readable; it is */
    struct loop *loop;     /* the loop that watches it, or NULL */
    uint64_t drained;      /* loop_iterations when a read found nothing left */
    struct stream_handler *handler;
    struct watch watch;
    struct tls *tls;  /* NULL: plain */
    struct task wake; /* reports to the handler what TLS found and no event will report */
};

/* The result of peeking at the socket, which consumes nothing. */
enum stream_peek { PEEK_QUIET, PEEK_DATA, PEEK_EOF, PEEK_ERROR };

/* Makes a stream from a connected (or connecting), non-blocking descriptor, which it then owns.
 * Nothing is watched yet; readable and writable start as true: try first, then watch. */
void stream_init(struct stream *stream, int fd);

/* Registers the descriptor, edge-triggered, for as long as the stream stays on this loop: for
 * reading and hang-up, and for writing once it was found not writable. 0, or -1 with errno. May be
 * called again. */
MUST_CHECK int stream_watch(struct stream *stream, struct loop *loop);

static inline bool stream_is_watched(const struct stream *stream)
{
    return stream->loop != NULL;
}

/* Removes it from the loop; it may then be moved in memory. */
void stream_unwatch(struct stream *stream);

void stream_set_handler(struct stream *stream, struct stream_handler *handler);

/* Starts TLS on a connected stream. 0 or -1 with errno. */
MUST_CHECK int stream_start_tls(struct stream *stream, struct tls_client *client);

/* Continues the handshake; to be called whenever the stream becomes ready, until the handshake is
 * complete or has failed (stream_failure). Until then only calls that close the stream are
 * allowed. */
MUST_CHECK enum tls_result stream_handshake(struct stream *stream);

static inline bool stream_is_tls(const struct stream *stream)
{
    return stream->tls != NULL;
}

/* Why TLS has failed, for people; "" if it has not. Valid until the stream is closed. */
const char *stream_failure(const struct stream *stream);
enum tls_fault stream_fault(const struct stream *stream);

/* Like recv and send: bytes, 0 for EOF (read), or -1 with errno; EAGAIN clears the readiness flag,
 * and EINTR is never returned. A short count clears it too if it implies EAGAIN, and only then:
 * with TLS not if bytes may be waiting in memory, nor if a write stopped for another reason. With
 * TLS, EOF without close_notify is ECONNRESET, a truncation; see tls.h for the rest and for the
 * rules on writes after EAGAIN. */
MUST_CHECK ssize_t stream_read(struct stream *stream, void *buffer, size_t size);
MUST_CHECK ssize_t stream_write(struct stream *stream, const void *data, size_t size);
MUST_CHECK ssize_t stream_writev(struct stream *stream, const struct iovec *parts, int count);

/* For a stream that is readable but whose bytes must wait, since the other side does not accept the
 * previous ones: no event reports further bytes until the next read or peek. Ends and errors are
 * still reported. Has no effect with TLS, on a stream that is not watched, or on one that is not
 * readable. */
void stream_pause_read(struct stream *stream);

/* Did a read in this very iteration of the loop consume everything, with no end in sight? As good
 * as a peek that finds PEEK_QUIET, but free. With TLS nothing is waiting in memory either. */
bool stream_is_drained(const struct stream *stream);

/* One peek, with MSG_PEEK if the stream is plain; no bytes are consumed. With PEEK_ERROR errno has
 * the error. With TLS, PEEK_EOF is the end with or without close_notify. */
enum stream_peek stream_peek(struct stream *stream);

/* True while bytes are waiting in TLS's memory. After PEEK_QUIET: part of a record has arrived; or
 * the last write met a full socket even though it reported no bytes: TLS may keep a record of what
 * it was given, which the next write sends, whatever that is given. */
static inline bool stream_has_pending(const struct stream *stream)
{
    return stream->tls != NULL && (tls_has_pending(stream->tls) || tls_is_blocked(stream->tls));
}

/* The pending error of the socket (SO_ERROR), which this clears; 0 if there is none. */
int stream_error(struct stream *stream);

/* Does the peer's system have everything that was written, including an end? Then a reset can no
 * longer destroy it on its way. For a stream without TLS. */
bool stream_is_delivered(const struct stream *stream);

/* Ends our direction; the peer reads EOF after what was sent. With TLS it reads close_notify first.
 * That may have to wait until the socket accepts it, and the FIN with it; both then follow
 * automatically. Data from the peer can still be read. 0 or -1 with errno. */
int stream_end_write(struct stream *stream);

/* Like splice(2), for streams without TLS; only EAGAIN clears a readiness flag. A short count means
 * nothing: the pipe's slots may be used up (in), or a signal may have arrived (out), after which
 * the kernel does not report an event that was not requested. The program must ignore SIGPIPE.
 *
 * In: at most `most` bytes into an empty pipe. 0 may be an end or the mark of urgent data, which
 * stream_read distinguishes; ENOTSUP: this stream cannot be spliced for some reason, but can be
 * read. Out: what the pipe holds. */
MUST_CHECK ssize_t stream_splice_in(struct stream *stream, struct pipe *pipe, size_t most);
MUST_CHECK ssize_t stream_splice_out(struct stream *stream, struct pipe *pipe);

/* Closes in order: close_notify if the socket accepts it, then FIN (the kernel sends RST instead if
 * unread data is pending). */
void stream_close(struct stream *stream);

/* Closes so that the peer sees a reset, and drops unsent data. No close_notify. */
void stream_reset(struct stream *stream);

#endif
