/* SPDX-License-Identifier: ISC */
/* Whether a TCP peer acknowledges what it is sent, according to the kernel (TCP_INFO).
 *
 * A peer that keeps its window closed acknowledges the kernel's probes and is alive, for as long as
 * it likes. A peer that acknowledges nothing is dead, or the network is. It makes no difference
 * whether the bytes were lost, could not leave this machine, or wait behind a window that is no
 * longer answered for. */
#ifndef KAPROXY_DELIVERY_H
#define KAPROXY_DELIVERY_H

#include "base/util.h"

struct tcp_info; /* from <linux/tcp.h>, which has more fields than <netinet/tcp.h> */

enum delivery {
    DELIVERY_DONE,    /* everything written is acknowledged */
    DELIVERY_PENDING, /* not everything, but the peer is alive as far as is known */
    DELIVERY_LOST     /* nothing was acknowledged for the whole limit */
};

/* What is known of the writes. */
struct delivery_ages {
    usec_t first; /* since the first one that may be unacknowledged */
    usec_t last;  /* since the last one, or less */
    usec_t limit;
    usec_t acknowledged; /* result: since the peer last acknowledged something */
};

/* Interprets the kernel's answer. */
enum delivery delivery_judge(const struct tcp_info *info, struct delivery_ages *ages);

/* Asks the kernel. DELIVERY_DONE for a socket that is not TCP, as nothing is known of it. */
enum delivery delivery_ask(int fd, struct delivery_ages *ages);

#endif
