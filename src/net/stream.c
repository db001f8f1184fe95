/* SPDX-License-Identifier: ISC */
/* Readiness, reads, writes, splices, peeks and closure of a socket, plain or with TLS. */
#include "net/stream.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static void tell(struct task *task)
{
    struct stream *stream = container_of(task, struct stream, wake);
    if (stream->handler != NULL)
        stream->handler->ready(stream->handler, stream);
}

void stream_init(struct stream *stream, int fd)
{
    *stream = (struct stream){.fd = fd, .readable = true, .writable = true, .wake.run = tell};
}

/* While working for one direction, TLS has done some of the other's work, for which there may be no
 * event any more. If the flag is already set, the stream's user resumes on its own. */
static void wake(struct stream *stream, bool *direction)
{
    if (*direction)
        return;
    *direction = true;
    if (stream->loop != NULL)
        loop_post(stream->loop, &stream->wake);
}

/* The FIN follows once close_notify is sent; earlier it would be a truncation. 0, or -1 with errno:
 * EAGAIN while close_notify is not sent. */
static int end_tls(struct stream *stream)
{
    if (tls_end_write(stream->tls) < 0)
        return -1;
    if (!tls_has_ended(stream->tls)) /* broken, and about to be closed */
        return 0;
    int muted = tls_mute(stream->tls);
    (void)muted; /* short of memory: the FIN is more important than TLS's own messages */
    return shutdown(stream->fd, SHUT_WR);
}

/* To be called after each TLS call. `was_busy`: tls_is_busy before it. */
static void after_tls(struct stream *stream, bool was_busy, bool *other)
{
    if (!was_busy || tls_is_busy(stream->tls))
        return;
    wake(stream, other);
    if (tls_is_ending(stream->tls))
        end_tls(stream);
}

/* An event has arrived on a socket with TLS. */
static void before_ready(struct stream *stream)
{
    if (tls_is_busy(stream->tls))
        stream->readable = stream->writable = true;
    if (stream->writable && tls_is_ending(stream->tls))
        end_tls(stream);
}

static void on_ready(struct watch *watch, uint32_t events)
{
    struct stream *stream = container_of(watch, struct stream, watch);
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        stream->hangup = true;
    if (events & EPOLLERR)
        stream->broken = true;
    if (events & EPOLLPRI)
        stream->urgent = true;
    if (events & (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        stream->readable = true;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        stream->writable = true;
    if (stream->tls != NULL)
        before_ready(stream);
    if (stream->handler != NULL)
        stream->handler->ready(stream->handler, stream);
}

/* Most streams never have to wait until they are writable: they are spared the initial event that
 * says so. With EPOLLPRI, arriving bytes cause an event too, whatever it then reports. */
static uint32_t wanted_events(const struct stream *stream)
{
    uint32_t read = stream->read_paused ? 0 : EPOLLIN | EPOLLPRI;
    uint32_t write = stream->watches_writable ? EPOLLOUT : 0;
    return read | write | EPOLLRDHUP | EPOLLET;
}

int stream_watch(struct stream *stream, struct loop *loop)
{
    if (stream->loop != NULL)
        return 0;
    stream->watch.ready = on_ready;
    stream->watches_writable = stream->watches_writable || !stream->writable;
    if (loop_watch(loop, &stream->watch, stream->fd, wanted_events(stream)) < 0)
        return -1;
    stream->loop = loop;
    return 0;
}

/* From now on events report when it is writable. If it already is, the first one follows at once.
 * 0, or -1 with errno. */
static int watch_writable(struct stream *stream)
{
    if (stream->watches_writable)
        return 0;
    stream->watches_writable = true;
    if (stream->loop == NULL)
        return 0;
    return loop_rewatch(stream->loop, &stream->watch, stream->fd, wanted_events(stream));
}

void stream_pause_read(struct stream *stream)
{
    if (!stream->readable || stream->read_paused || stream->loop == NULL || stream->tls != NULL)
        return;
    stream->read_paused = true;
    if (loop_rewatch(stream->loop, &stream->watch, stream->fd, wanted_events(stream)) < 0)
        stream->read_paused = false; /* it works either way */
}

/* Before a read or a peek. 0, or -1 with errno. */
static int resume_read(struct stream *stream)
{
    if (!stream->read_paused)
        return 0;
    stream->read_paused = false;
    return loop_rewatch(stream->loop, &stream->watch, stream->fd, wanted_events(stream));
}

static void unwatch(struct stream *stream, bool closing)
{
    if (stream->loop == NULL)
        return;
    stream->read_paused = false;
    loop_unpost(stream->loop, &stream->wake);
    loop_unwatch(stream->loop, &stream->watch, stream->fd, closing);
    stream->loop = NULL;
}

void stream_unwatch(struct stream *stream)
{
    unwatch(stream, false);
}

void stream_set_handler(struct stream *stream, struct stream_handler *handler)
{
    stream->handler = handler;
}

int stream_start_tls(struct stream *stream, struct tls_client *client)
{
    stream->tls = tls_new(client, stream->fd);
    if (stream->tls == NULL)
        return -1;
    return watch_writable(stream); /* TLS writes at any time, even in order to read */
}

enum tls_result stream_handshake(struct stream *stream)
{
    enum tls_result result = tls_handshake(stream->tls);
    if (result == TLS_DONE) /* bytes that followed closely are in memory */
        stream->readable = stream->writable = true;
    return result;
}

const char *stream_failure(const struct stream *stream)
{
    return stream->tls != NULL ? tls_failure(stream->tls) : "";
}

enum tls_fault stream_fault(const struct stream *stream)
{
    return stream->tls != NULL ? tls_fault(stream->tls) : TLS_FAULT_NONE;
}

/* The count does not show whether there is more: bytes may be waiting in memory, or the end after
 * them. */
static ssize_t read_tls(struct stream *stream, void *buffer, size_t size)
{
    bool busy = tls_is_busy(stream->tls);
    ssize_t n = tls_read(stream->tls, buffer, size);
    int error = errno;
    bool took_all = n > 0 && tls_is_drained(stream->tls) && !stream->hangup && !stream->urgent;
    if (n < 0 || took_all)
        stream->readable = false;
    if (took_all && stream->loop != NULL && !tls_has_pending(stream->tls))
        stream->drained = loop_iterations(stream->loop);
    after_tls(stream, busy, &stream->writable);
    errno = error;
    return n;
}

/* A peer on the same machine can pass descriptors along with its bytes (unix(7)). They are dropped,
 * but a read ends after the bytes they accompanied, even if more are available: *cut. */
static ssize_t receive_local(struct stream *stream, void *buffer, size_t size, bool *cut)
{
    struct iovec part = {.iov_base = buffer, .iov_len = size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    ssize_t n = recvmsg(stream->fd, &message, 0);
    *cut = n > 0 && (message.msg_flags & MSG_CTRUNC) != 0;
    return n;
}

ssize_t stream_read(struct stream *stream, void *buffer, size_t size)
{
    ssize_t n;
    bool cut = false;
    if (stream->tls != NULL)
        return read_tls(stream, buffer, size);
    if (resume_read(stream) < 0)
        return -1;
    do
        n = stream->local ? receive_local(stream, buffer, size, &cut)
                          : recv(stream->fd, buffer, size, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EWOULDBLOCK)
        errno = EAGAIN;
    /* A short count means that the socket is drained, and later bytes raise a new edge; but an EOF
     * that arrived with these bytes does not (epoll(7), question 9). */
    bool short_count = n > 0 && (size_t)n < size && !stream->hangup && !stream->urgent && !cut;
    if (n < 0 || short_count)
        stream->readable = false;
    if (short_count && stream->loop != NULL)
        stream->drained = loop_iterations(stream->loop);
    return n;
}

static size_t total_size(const struct iovec *parts, int count)
{
    size_t size = 0;
    for (int i = 0; i < count; i++)
        size += parts[i].iov_len;
    return size;
}

static ssize_t writev_tls(struct stream *stream, const struct iovec *parts, int count)
{
    bool busy = tls_is_busy(stream->tls);
    ssize_t n = tls_writev(stream->tls, parts, count);
    int error = errno;
    if (n < 0 || tls_is_blocked(stream->tls))
        stream->writable = false;
    after_tls(stream, busy, &stream->readable);
    errno = error;
    return n;
}

/* Nothing more can be written now: the socket is full, or broken by `error`. Returns the system
 * call's result. */
static ssize_t not_writable(struct stream *stream, ssize_t n, int error)
{
    stream->writable = false;
    if ((n >= 0 || error == EAGAIN) && watch_writable(stream) < 0)
        return -1;
    errno = error;
    return n;
}

/* Handles the result of send or sendmsg for `size` bytes. A short count is as good as EAGAIN here:
 * a non-blocking send checks for room before it checks for signals, and if it found none, it has
 * requested the event. */
static ssize_t after_write(struct stream *stream, ssize_t n, size_t size)
{
    if (n >= 0 && (size_t)n == size)
        return n;
    return not_writable(stream, n, n < 0 && errno == EWOULDBLOCK ? EAGAIN : errno);
}

ssize_t stream_write(struct stream *stream, const void *data, size_t size)
{
    struct iovec part = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    ssize_t n;
    if (stream->tls != NULL)
        return writev_tls(stream, &part, 1);
    do
        n = send(stream->fd, data, size, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return after_write(stream, n, size);
}

ssize_t stream_writev(struct stream *stream, const struct iovec *parts, int count)
{
    if (stream->tls != NULL)
        return writev_tls(stream, parts, count);
    if (count == 1)
        return stream_write(stream, parts->iov_base, parts->iov_len);
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)parts,
                             .msg_iovlen = (size_t)count};
    ssize_t n;
    do
        n = sendmsg(stream->fd, &message, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return after_write(stream, n, total_size(parts, count));
}

bool stream_is_drained(const struct stream *stream)
{
    return stream->loop != NULL && !stream->readable && !stream->hangup &&
           stream->drained == loop_iterations(stream->loop);
}

/* Bytes and ends that the peek took from the socket cause no further event. */
static enum stream_peek peek_tls(struct stream *stream)
{
    bool busy = tls_is_busy(stream->tls);
    int found = tls_peek(stream->tls);
    int error = errno;
    if (found == 0)
        stream->readable = false;
    else
        wake(stream, &stream->readable);
    after_tls(stream, busy, &stream->writable);
    errno = error;
    if (found >= 0)
        return found == 0 ? PEEK_QUIET : PEEK_DATA;
    return error == 0 ? PEEK_EOF : PEEK_ERROR;
}

enum stream_peek stream_peek(struct stream *stream)
{
    if (stream->tls != NULL)
        return peek_tls(stream);
    if (resume_read(stream) < 0)
        return PEEK_ERROR;
    char byte;
    ssize_t n;
    do
        n = recv(stream->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        return PEEK_DATA;
    if (n == 0)
        return PEEK_EOF;
    return errno == EAGAIN || errno == EWOULDBLOCK ? PEEK_QUIET : PEEK_ERROR;
}

int stream_error(struct stream *stream)
{
    int error = 0;
    socklen_t length = sizeof(error);
    if (getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
        return errno;
    return error;
}

bool stream_is_delivered(const struct stream *stream)
{
    int unsent = 0;
    return ioctl(stream->fd, SIOCOUTQ, &unsent) == 0 && unsent == 0;
}

int stream_end_write(struct stream *stream)
{
    if (stream->tls != NULL)
        return end_tls(stream) == 0 || errno == EAGAIN ? 0 : -1;
    return shutdown(stream->fd, SHUT_WR);
}

static void close_socket(struct stream *stream)
{
    unwatch(stream, true);
    close(stream->fd);
    stream->fd = -1;
    tls_free(stream->tls);
    stream->tls = NULL;
}

void stream_close(struct stream *stream)
{
    if (stream->fd < 0)
        return;
    if (stream->tls != NULL)
        tls_end_write(stream->tls);
    close_socket(stream);
}

void stream_reset(struct stream *stream)
{
    if (stream->fd < 0)
        return;
    struct linger hard = {.l_onoff = 1, .l_linger = 0};
    setsockopt(stream->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    close_socket(stream);
}

/* Errors of splice itself. A socket's errors are reported once, and a later read would not see
 * them. */
static bool is_unable(int error)
{
    return error == EINVAL || error == ENOSYS || error == EPERM || error == ENOMEM;
}

ssize_t stream_splice_in(struct stream *stream, struct pipe *pipe, size_t most)
{
    assert(stream->tls == NULL && pipe->held == 0);
    ssize_t n;
    if (resume_read(stream) < 0)
        return -1;
    do
        n = splice(stream->fd, NULL, pipe->in, NULL, most < pipe->size ? most : pipe->size,
                   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        pipe->held = (size_t)n;
    else if (n < 0 && is_unable(errno))
        errno = ENOTSUP;
    else if (n < 0) /* EAGAIN is the socket's: the pipe has room */
        stream->readable = false;
    return n;
}

ssize_t stream_splice_out(struct stream *stream, struct pipe *pipe)
{
    assert(stream->tls == NULL && pipe->held > 0);
    ssize_t n;
    do
        n = splice(pipe->out, NULL, stream->fd, NULL, pipe->held,
                   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return not_writable(stream, n, errno);
    pipe->held -= (size_t)n;
    return n;
}
