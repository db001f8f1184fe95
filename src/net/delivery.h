/* SPDX-License-Identifier: ISC */
/* Whether a TCP peer acknowledges what it is sent, as the kernel tells (TCP_INFO).
 *
 * A peer that keeps its window closed acknowledges the kernel's probes and is alive, for as long as
 * it likes. One that acknowledges nothing is dead, or the network between is; whether bytes were
 * lost on the way, could not leave this machine, or wait behind a window that nobody answers for
 * any more, is all the same. */
#ifndef KAPROXY_DELIVERY_H
#define KAPROXY_DELIVERY_H

#include "base/util.h"

struct tcp_info; /* of <linux/tcp.h>, which knows more of it than <netinet/tcp.h> */

enum delivery {
    DELIVERY_DONE,    /* all that was written is acknowledged */
    DELIVERY_PENDING, /* not all of it, but the peer is alive as far as can be seen */
    DELIVERY_LOST     /* nothing was acknowledged for the whole of the limit */
};

/* What is known of the writes. */
struct delivery_ages {
    usec_t first; /* since the first one that may not be acknowledged */
    usec_t last;  /* since the last one, or less */
    usec_t limit;
    usec_t acknowledged; /* the result's: since the peer acknowledged something */
};

/* What the kernel's answer means. */
enum delivery delivery_judge(const struct tcp_info *info, struct delivery_ages *ages);

/* Asks the kernel. Of a socket that is none of TCP's nothing is known: DELIVERY_DONE. */
enum delivery delivery_ask(int fd, struct delivery_ages *ages);

#endif
