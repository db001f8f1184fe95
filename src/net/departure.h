/* SPDX-License-Identifier: ISC */
/* What it means that a TCP client has ended its direction, according to the kernel (TCP_INFO).
 *
 * A FIN looks the same whether a program has merely finished sending and waits for an answer, or is
 * gone. Programs that half-close do so right after their last byte; those that give up have waited
 * for a while. The kernel knows how late the FIN was: it records when data last arrived, which
 * excludes a FIN, and when an acknowledgement did, which a FIN carries. */
#ifndef KAPROXY_DEPARTURE_H
#define KAPROXY_DEPARTURE_H

#include <stdbool.h>

#include "base/util.h"

struct tcp_info; /* from <netinet/tcp.h> */

/* A FIN that follows the last byte this closely is a half-close. */
#define DEPARTURE_HALF_CLOSE (100 * USEC_PER_MSEC)

enum departure {
    DEPARTURE_NONE, /* not ended */
    DEPARTURE_HALF, /* only its direction, as far as is known */
    DEPARTURE_LEFT, /* and it had been silent for a while */
    DEPARTURE_RESET /* the connection is broken */
};

/* Interprets the kernel's answer. `sent_since_read`: something was sent to the client since its
 * last byte, so that the last acknowledgement may be for that; an end is then assumed to have just
 * arrived. */
enum departure departure_judge(const struct tcp_info *info, bool sent_since_read);

/* Asks the kernel. 0, or -1 with errno: the socket is not TCP. */
MUST_CHECK int departure_ask(int fd, bool sent_since_read, enum departure *departure);

#endif
