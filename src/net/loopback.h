/* SPDX-License-Identifier: ISC */
/* Sockets that stay on this machine. */
#ifndef KAPROXY_LOOPBACK_H
#define KAPROXY_LOOPBACK_H

#include <stdbool.h>
#include <sys/socket.h>

/* 127.0.0.0/8 or ::1. */
bool loopback_is(const struct sockaddr *sa);

/* For a TCP socket that connects to this address, or listens on it and accepts: if the system's
 * congestion control is BBR and the address is a loopback address, another one is chosen. BBR paces
 * what is sent, with a kernel timer for every ten KiB or so; on the loopback there is no path to
 * protect. If the system permits no other one, nothing changes. Preserves errno. */
void loopback_unpace(int fd, const struct sockaddr *sa);

#endif
