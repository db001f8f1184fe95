/* SPDX-License-Identifier: ISC */
/* Recognizes loopback addresses, and chooses their congestion control. */
#include "net/loopback.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

bool loopback_is(const struct sockaddr *sa)
{
    switch (sa->sa_family) {
    case AF_INET: {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)sa;
        return ntohl(in->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    }
    case AF_INET6: {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)sa;
        return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
    }
    default:
        return false;
    }
}

void loopback_unpace(int fd, const struct sockaddr *sa)
{
    static const char paced[] = "bbr", other[] = "reno"; /* which every kernel has */
    char name[16];
    socklen_t length = sizeof(name);
    int error = errno;
    if (loopback_is(sa) && getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &length) == 0 &&
        strncmp(name, paced, strlen(paced)) == 0)
        setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, other, (socklen_t)strlen(other));
    errno = error;
}
