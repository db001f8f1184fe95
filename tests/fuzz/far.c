/* SPDX-License-Identifier: ISC */
/* The far ends in the fuzz target: socketpairs, and records of everything that passed through
 * them. */
#include "far.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/loop.h"
#include "net/stream.h"

struct far_world far_world;

/* The linker substitutes these for the functions (--wrap): a reset cannot be seen through a
 * socketpair, and posted tasks show that the program is not quiescent. */
void __real_stream_close(struct stream *stream);
void __wrap_stream_close(struct stream *stream);
void __real_stream_reset(struct stream *stream);
void __wrap_stream_reset(struct stream *stream);
void __real_loop_post(struct loop *loop, struct task *task);
void __wrap_loop_post(struct loop *loop, struct task *task);
void __real_loop_queue(struct loop *loop, struct task *task);
void __wrap_loop_queue(struct loop *loop, struct task *task);

static struct far *find(struct far *fars, size_t count, int fd)
{
    while (count > 0)
        if (fars[--count].program_fd == fd)
            return &fars[count];
    return NULL;
}

void __wrap_stream_reset(struct stream *stream)
{
    struct far *client = find(far_world.clients, far_world.client_count, stream->fd);
    if (client != NULL && stream->fd >= 0)
        client->was_reset = true;
    __real_stream_reset(stream);
}

/* If bytes are unread the kernel sends a reset. */
void __wrap_stream_close(struct stream *stream)
{
    struct far *client = find(far_world.clients, far_world.client_count, stream->fd);
    int unread = 0, unreceived = 0;
    if (client != NULL && stream->fd >= 0 && ioctl(stream->fd, FIONREAD, &unread) == 0 &&
        ioctl(stream->fd, SIOCOUTQ, &unreceived) == 0)
        client->was_lost = unread > 0 && unreceived > 0;
    __real_stream_close(stream);
}

void __wrap_loop_post(struct loop *loop, struct task *task)
{
    far_world.activity++;
    __real_loop_post(loop, task);
}

void __wrap_loop_queue(struct loop *loop, struct task *task)
{
    far_world.activity++;
    __real_loop_queue(loop, task);
}

static void append(struct far_bytes *bytes, const char *data, size_t length)
{
    if (bytes->data == NULL || bytes->length + length > bytes->size) {
        bytes->size = 2 * (bytes->length + length) + 256;
        bytes->data = realloc(bytes->data, bytes->size);
        REQUIRE(bytes->data != NULL);
    }
    memcpy(bytes->data + bytes->length, data, length);
    bytes->length += length;
}

static void clear(struct far *far)
{
    if (far->fd >= 0)
        close(far->fd);
    free(far->tx.data);
    free(far->rx.data);
    free(far->pending.data);
    free(far->marks);
}

void far_reset_world(void)
{
    for (size_t i = 0; i < far_world.client_count; i++)
        clear(&far_world.clients[i]);
    for (size_t i = 0; i < far_world.upstream_count; i++)
        clear(&far_world.upstreams[i]);
    free(far_world.retries);
    memset(&far_world, 0, sizeof(far_world));
}

/* A descriptor's number is reused once the program has closed it. */
static void forget(struct far *fars, size_t count, int fd)
{
    for (size_t i = 0; i < count; i++)
        if (fars[i].program_fd == fd)
            fars[i].program_fd = -1;
}

static int open_pair(struct far *far)
{
    int pair[2], size = 4096;
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    for (int i = 0; i < 2 && far_world.small_buffers; i++)
        setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    forget(far_world.clients, far_world.client_count, pair[1]);
    forget(far_world.upstreams, far_world.upstream_count, pair[1]);
    *far = (struct far){.fd = pair[0], .program_fd = pair[1]};
    append(&far->tx, "", 0);
    append(&far->rx, "", 0);
    far_world.activity++;
    return pair[1];
}

int far_open_client(void)
{
    if (far_world.client_count == FAR_CLIENTS)
        return -1;
    return open_pair(&far_world.clients[far_world.client_count++]);
}

int far_open_upstream(void)
{
    if (far_world.upstream_count == FAR_UPSTREAMS)
        return -1;
    return open_pair(&far_world.upstreams[far_world.upstream_count++]);
}

/* Stores what the socket does not take. */
static void push(struct far *far)
{
    while (far->pending_sent < far->pending.length) {
        const char *data = far->pending.data + far->pending_sent;
        ssize_t n = send(far->fd, data, far->pending.length - far->pending_sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0)
            break;
        append(&far->tx, data, (size_t)n);
        far->pending_sent += (size_t)n;
        far_world.activity++;
    }
    far->pending.length = far->pending_sent = 0;
}

void far_send(struct far *far, const char *data, size_t length)
{
    if (far->fd < 0 || far->finished)
        return;
    append(&far->pending, data, length);
    push(far);
}

void far_finish(struct far *far)
{
    if (far->fd < 0 || far->finished)
        return;
    far->pending.length = far->pending_sent = 0;
    far->finished = true;
    shutdown(far->fd, SHUT_WR);
}

/* The number of bytes received so far, read or not. */
static void note(struct far *far, size_t came)
{
    if (came <= far->came)
        return;
    far->marks = realloc(far->marks, (far->mark_count + 1) * sizeof(*far->marks));
    REQUIRE(far->marks != NULL);
    far->marks[far->mark_count++] =
        (struct far_mark){far->came, far->tx.length, far_world.serial++};
    far->came = came;
}

void far_note_retry(size_t client)
{
    far_world.retries =
        realloc(far_world.retries, (far_world.retry_count + 1) * sizeof(*far_world.retries));
    REQUIRE(far_world.retries != NULL);
    far_world.retries[far_world.retry_count++] = (struct far_retry){client, far_world.serial++};
}

static void pull(struct far *far)
{
    static char data[65536];
    while (!far->paused && !far->ended) {
        ssize_t n = recv(far->fd, data, sizeof(data), 0);
        if (n < 0 && errno == EAGAIN)
            return;
        far_world.activity++;
        if (n <= 0) {
            far->ended = true;
            return;
        }
        note(far, far->rx.length + (size_t)n);
        append(&far->rx, data, (size_t)n);
        if (far >= far_world.upstreams && far < far_world.upstreams + FAR_UPSTREAMS)
            far_world.last_received = far;
    }
}

/* What the program sent and we do not read counts as received. */
void far_close(struct far *far)
{
    static char data[262144];
    if (far->fd < 0)
        return;
    ssize_t n = far->ended ? 0 : recv(far->fd, data, sizeof(data), MSG_PEEK);
    if (n > 0) {
        note(far, far->rx.length + (size_t)n);
        append(&far->rx, data, (size_t)n);
    }
    close(far->fd);
    far->fd = -1;
    far->finished = true;
}

static void pump(struct far *far)
{
    int unread;
    if (far->fd < 0)
        return;
    pull(far);
    if (far->paused && ioctl(far->fd, FIONREAD, &unread) == 0)
        note(far, far->rx.length + (size_t)unread);
    push(far);
}

void far_pump(void)
{
    for (size_t i = 0; i < far_world.client_count; i++)
        pump(&far_world.clients[i]);
    for (size_t i = 0; i < far_world.upstream_count; i++)
        pump(&far_world.upstreams[i]);
}
