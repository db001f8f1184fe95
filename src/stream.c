#include "stream.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

void stream_init(struct stream *stream, int fd)
{
    *stream = (struct stream){.fd = fd, .readable = true, .writable = true};
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
    if (stream->handler != NULL)
        stream->handler->ready(stream->handler, stream);
}

int stream_watch(struct stream *stream, struct loop *loop)
{
    if (stream->loop != NULL)
        return 0;
    stream->watch.ready = on_ready;
    if (loop_watch(loop, &stream->watch, stream->fd) < 0)
        return -1;
    stream->loop = loop;
    return 0;
}

static void unwatch(struct stream *stream, bool closing)
{
    if (stream->loop == NULL)
        return;
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

ssize_t stream_read(struct stream *stream, void *buffer, size_t size)
{
    ssize_t n;
    do
        n = recv(stream->fd, buffer, size, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EWOULDBLOCK)
        errno = EAGAIN;
    /* A short count means that the socket is drained, and later bytes raise a new edge; but an EOF
     * that came with these bytes does not (epoll(7), question 9). */
    bool short_count = n > 0 && (size_t)n < size && !stream->hangup && !stream->urgent;
    if (n < 0 || short_count)
        stream->readable = false;
    return n;
}

ssize_t stream_write(struct stream *stream, const void *data, size_t size)
{
    struct iovec part = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    return stream_writev(stream, &part, 1);
}

ssize_t stream_writev(struct stream *stream, const struct iovec *parts, int count)
{
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)parts,
                             .msg_iovlen = (size_t)count};
    size_t size = 0;
    for (int i = 0; i < count; i++)
        size += parts[i].iov_len;
    ssize_t n;
    do
        n = sendmsg(stream->fd, &message, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EWOULDBLOCK)
        errno = EAGAIN;
    if (n < 0 || (size_t)n < size)
        stream->writable = false;
    return n;
}

enum stream_look stream_look(struct stream *stream)
{
    char byte;
    ssize_t n;
    do
        n = recv(stream->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        return LOOK_DATA;
    if (n == 0)
        return LOOK_EOF;
    return errno == EAGAIN || errno == EWOULDBLOCK ? LOOK_QUIET : LOOK_ERROR;
}

int stream_error(struct stream *stream)
{
    int error = 0;
    socklen_t length = sizeof(error);
    if (getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
        return errno;
    return error;
}

int stream_end_write(struct stream *stream)
{
    return shutdown(stream->fd, SHUT_WR);
}

void stream_close(struct stream *stream)
{
    if (stream->fd < 0)
        return;
    unwatch(stream, true);
    close(stream->fd);
    stream->fd = -1;
}

void stream_reset(struct stream *stream)
{
    if (stream->fd < 0)
        return;
    struct linger hard = {.l_onoff = 1, .l_linger = 0};
    setsockopt(stream->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    stream_close(stream);
}
