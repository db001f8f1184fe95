/* SPDX-License-Identifier: ISC */
/* Sockets and descriptors of a unit test. A failure fails the test. */
#ifndef KAPROXY_SOCKETS_H
#define KAPROXY_SOCKETS_H

/* A TCP connection on loopback. `active` connected and blocks; `passive` was accepted and does
 * not. */
void sockets_connect(int *active, int *passive);

/* How many descriptors this process has open. */
int sockets_count(void);

#endif
