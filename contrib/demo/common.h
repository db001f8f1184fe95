/* What the parts of the demonstration share. */
#ifndef KAPROXY_DEMO_COMMON_H
#define KAPROXY_DEMO_COMMON_H

#include <netinet/in.h>
#include <stdint.h>

struct sockaddr_in common_loopback(uint16_t port);

/* The port that a socket is bound to; 0 with errno. */
uint16_t common_port(int fd);

/* Prints what has failed, with errno's text; 1, for an exit status. */
int common_fail(const char *what);

#endif
