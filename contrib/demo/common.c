/* What the parts of the demonstration share: sockets, options, failures. */
#include "common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

struct sockaddr_in common_loopback(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

uint16_t common_port(int fd)
{
    struct sockaddr_in address = {0};
    socklen_t length = sizeof(address);

    if (getsockname(fd, (struct sockaddr *)&address, &length) < 0)
        return 0;
    return ntohs(address.sin_port);
}

int common_fail(const char *what)
{
    fprintf(stderr, "demo: %s: %s\n", what, strerror(errno));
    return 1;
}
