/* SPDX-License-Identifier: ISC */
/* Judges by TCP_INFO whether a peer that acknowledges nothing is alive. */
#include "net/delivery.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

/* The kernel measures in ticks, which may be as few as 100 per second. */
#define GRAIN (20 * USEC_PER_MSEC)

/* A peer that leaves this many consecutive probes unanswered is dead: one probe may be under way,
 * and two in quick succession may be answered only once. */
#define PROBES_DEAD 3

/* Bytes in flight are not held back by a window. If the receiver has closed its window on them
 * since, they are repeated as uncounted probes, which prove nothing. For bytes that are held back,
 * the kernel sends probes, as for those that it could not send. */
static bool is_proof(const struct tcp_info *info)
{
    return (info->tcpi_unacked > 0 && info->tcpi_snd_wnd > 0) || info->tcpi_probes >= PROBES_DEAD;
}

/* Has everything unacknowledged reached the limit, or, if that can be determined, the first of
 * it? */
static bool is_old(const struct delivery_ages *ages)
{
    return ages->last >= ages->limit ||
           (ages->first >= ages->limit && ages->acknowledged >= ages->first + GRAIN);
}

enum delivery delivery_judge(const struct tcp_info *info, struct delivery_ages *ages)
{
    ages->acknowledged = (usec_t)info->tcpi_last_ack_recv * USEC_PER_MSEC;
    if (info->tcpi_unacked == 0 && info->tcpi_notsent_bytes == 0)
        return DELIVERY_DONE;
    if (ages->acknowledged + GRAIN < ages->limit || !is_old(ages))
        return DELIVERY_PENDING;
    return is_proof(info) ? DELIVERY_LOST : DELIVERY_PENDING;
}

enum delivery delivery_ask(int fd, struct delivery_ages *ages)
{
    /* A kernel before 5.4 does not report windows: assume that they are open. */
    struct tcp_info info = {.tcpi_snd_wnd = 1};
    socklen_t length = sizeof(info);
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) < 0)
        return DELIVERY_DONE;
    return delivery_judge(&info, ages);
}
