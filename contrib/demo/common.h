/* SPDX-License-Identifier: ISC */
/* What the parts of the demonstration share: sockets, times, errors. */
#ifndef KAPROXY_DEMO_COMMON_H
#define KAPROXY_DEMO_COMMON_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct sockaddr_in common_loopback(uint16_t port);

/* The port a socket is bound to; 0 with errno. */
uint16_t common_port(int fd);

/* Since a time of CLOCK_MONOTONIC, in ms. */
double common_elapsed_ms(const struct timespec *start);

void common_sort_times(double *times, size_t count);

/* The smallest of count > 0 sorted times that percent of them do not exceed. */
double common_percentile(const double *sorted, size_t count, size_t percent);

/* Prints what failed, with errno's text; returns 1, for an exit status. */
int common_fail(const char *what);

#endif
