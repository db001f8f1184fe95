/* SPDX-License-Identifier: ISC */
/* What it means that a TCP client has ended its direction, as the kernel tells (TCP_INFO).
 *
 * A FIN looks the same whether a program has only said all it has to say, and waits for an answer,
 * or is gone. Programs that half-close do so right behind their last byte, and those that give up
 * have waited for a while. The kernel knows how long the FIN was behind: it keeps the time when
 * bytes came last, which a FIN alone is not, and when an acknowledgement did, which a FIN carries.
 */
#ifndef KAPROXY_DEPARTURE_H
#define KAPROXY_DEPARTURE_H

#include <stdbool.h>

#include "base/util.h"

struct tcp_info; /* of <netinet/tcp.h> */

/* A FIN that comes so soon behind the last byte is a half-close. */
#define DEPARTURE_HALF_CLOSE (100 * USEC_PER_MSEC)

enum departure {
    DEPARTURE_NONE, /* it has not ended */
    DEPARTURE_HALF, /* its direction alone, as far as can be seen */
    DEPARTURE_LEFT, /* and it had said nothing more for a while */
    DEPARTURE_RESET /* the connection is broken */
};

/* What the kernel's answer means. `sent_since_read`: something was sent to the client since its
 * last byte, so that the last acknowledgement may be that of it; then an end counts as of now. */
enum departure departure_judge(const struct tcp_info *info, bool sent_since_read);

/* Asks the kernel. 0, or -1 with errno: the socket is none of TCP's. */
MUST_CHECK int departure_ask(int fd, bool sent_since_read, enum departure *departure);

#endif
