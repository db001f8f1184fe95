/* SPDX-License-Identifier: ISC */
/* Judges by TCP_INFO how long after the last byte a FIN arrived. */
#include "net/departure.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

/* The kernel measures in ticks, which may be as few as 100 per second. */
#define GRAIN (20 * USEC_PER_MSEC)

enum departure departure_judge(const struct tcp_info *info, bool sent_since_read)
{
    usec_t data = (usec_t)info->tcpi_last_data_recv * USEC_PER_MSEC;
    usec_t fin = sent_since_read ? 0 : (usec_t)info->tcpi_last_ack_recv * USEC_PER_MSEC;
    if (info->tcpi_state == TCP_CLOSE)
        return DEPARTURE_RESET;
    if (info->tcpi_state != TCP_CLOSE_WAIT)
        return DEPARTURE_NONE;
    return data - fin >= DEPARTURE_HALF_CLOSE + GRAIN ? DEPARTURE_LEFT : DEPARTURE_HALF;
}

int departure_ask(int fd, bool sent_since_read, enum departure *departure)
{
    struct tcp_info info = {0};
    socklen_t length = sizeof(info);
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) < 0)
        return -1;
    *departure = departure_judge(&info, sent_since_read);
    return 0;
}
