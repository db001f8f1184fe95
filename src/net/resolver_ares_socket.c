/* SPDX-License-Identifier: ISC */
/* The sockets of c-ares, whose incoming answers are checked for codes. */
#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "net/resolver_ares_internal.h"

/* RFC 1035 section 4.1.1 */
#define HEADER_SIZE  12
#define IS_RESPONSE  0x80 /* in byte 2 */
#define RCODE        0x0f /* in byte 3 */
#define RCODE_NOBODY 3    /* NXDOMAIN, which is not a failure */

/* If a server answers with a failure, c-ares continues with the next one, and in the end reports
 * only what any other problem would give: so the answers are inspected on their way to it. */
static void note_answer(const struct channel *channel, const unsigned char *packet, size_t length)
{
    char *name;
    long name_length;
    if (length <= HEADER_SIZE || (packet[2] & IS_RESPONSE) == 0)
        return;
    unsigned code = packet[3] & RCODE;
    if (code == 0 || code == RCODE_NOBODY ||
        ares_expand_name(packet + HEADER_SIZE, packet, (int)length, &name, &name_length) !=
            ARES_SUCCESS)
        return;
    size_t type = HEADER_SIZE + (size_t)name_length;
    if (type + 2 <= length)
        resolver_ares_requests_note_code(channel, name, packet[type] << 8 | packet[type + 1], code);
    ares_free_string(name);
}

static ares_socket_t on_socket(int domain, int type, int protocol, void *data)
{
    (void)data;
    return socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
}

static int on_close(ares_socket_t fd, void *data)
{
    (void)data;
    return close(fd);
}

static int on_connect(ares_socket_t fd, const struct sockaddr *address, ares_socklen_t length,
                      void *data)
{
    (void)data;
    return connect(fd, address, length);
}

static ares_ssize_t on_receive(ares_socket_t fd, void *buffer, size_t size, int flags,
                               struct sockaddr *address, ares_socklen_t *length, void *data)
{
    ssize_t n = recvfrom(fd, buffer, size, flags, address, length);
    int error = errno;
    if (n > 0)
        note_answer(data, buffer, (size_t)n);
    errno = error;
    return n;
}

static ares_ssize_t on_send(ares_socket_t fd, const struct iovec *parts, int count, void *data)
{
    (void)data;
    return writev(fd, parts, count);
}

void resolver_ares_channel_watch_answers(struct channel *channel)
{
    static const struct ares_socket_functions functions = {
        .asocket = on_socket,
        .aclose = on_close,
        .aconnect = on_connect,
        .arecvfrom = on_receive,
        .asendv = on_send,
    };
    ares_set_socket_functions(channel->ares, &functions, channel);
}
