/* SPDX-License-Identifier: ISC */
/* Sockets that stay on this machine. */
#ifndef KAPROXY_LOOPBACK_H
#define KAPROXY_LOOPBACK_H

#include <stdbool.h>
#include <sys/socket.h>

/* 127.0.0.0/8 or ::1. */
bool loopback_is(const struct sockaddr *sa);

/* For a TCP socket that connects to this address or, listening on it, accepts: where the system's
 * congestion control is BBR and the address is the loopback's, another one is chosen. BBR paces
 * what is sent, with a timer of the kernel's for some ten KiB each; on the loopback there is no
 * path to be gentle with. A system that does not permit another one goes on as it is. errno stays.
 */
void loopback_unpace(int fd, const struct sockaddr *sa);

#endif
