/* SPDX-License-Identifier: ISC */
/* Judges by TCP_INFO whether a peer is alive that acknowledges nothing. */
#include "net/delivery.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

/* The kernel measures in ticks, of which there may be no more than 100 a second. */
#define GRAIN (20 * USEC_PER_MSEC)

/* So many probes in a row are not answered by a peer that is dead: one can be on its way, and the
 * answers to two that follow each other closely can be a single one. */
#define PROBES_DEAD 3

/* Bytes on their way are none that a window keeps back; where a receiver has taken its window back
 * from them, they are repeated as probes that nobody counts, and that is no proof. Bytes that are
 * kept back have the kernel probe; so have those that it could not send. */
static bool is_proof(const struct tcp_info *info)
{
    return (info->tcpi_unacked > 0 && info->tcpi_snd_wnd > 0) || info->tcpi_probes >= PROBES_DEAD;
}

/* Is what is not acknowledged as old as the limit, all of it or, where that shows, the first? */
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
    /* A kernel before 5.4 does not tell of windows: they are open. */
    struct tcp_info info = {.tcpi_snd_wnd = 1};
    socklen_t length = sizeof(info);
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) < 0)
        return DELIVERY_DONE;
    return delivery_judge(&info, ages);
}
