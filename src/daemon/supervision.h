/* SPDX-License-Identifier: ISC */
/* What a serving process reports to systemd, from the control thread (notify.h): that it is ready,
 * that the loop which serves clients is alive, one line about its state, and that it stops.
 *
 * The watchdog: the loop is pinged at a third of systemd's interval, and WATCHDOG=1 is sent if it
 * has answered the previous ping. If the loop hangs nothing is sent, and systemd restarts us. */
#ifndef KAPROXY_SUPERVISION_H
#define KAPROXY_SUPERVISION_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/metric.h"
#include "base/util.h"
#include "daemon/worker.h"

/* The sources of the state line: clients, connections to upstreams, upstreams. */
struct supervision_state {
    uint64_t clients, connections, upstreams, down;
    bool stopping;
};

enum supervision_phase {
    SUPERVISION_SILENT, /* not ready yet, or another process is the service */
    SUPERVISION_READY,
    SUPERVISION_STOPPING
};

/* Embedded in its owner, zeroed at first. */
struct supervision {
    enum supervision_phase phase;
    struct worker *worker;
    const struct metric_block *blocks;
    size_t block_count;
    struct event watchdog, second;
    usec_t pinged_at;
    struct supervision_state told;
    usec_t told_at;
};

/* Creates the timers, if there is a listener. Sends nothing yet. The worker is borrowed until the
 * end. 0, or -1 with errno. */
MUST_CHECK int supervision_start(struct supervision *supervision, struct event_base *base,
                                 struct worker *worker);

/* READY=1: the worker has been started, and this process is the service's main process. From now on
 * the rest is sent too. */
void supervision_ready(struct supervision *supervision);

/* Sets the sources of the state line; initially there are none. Borrowed. */
void supervision_set_blocks(struct supervision *supervision, const struct metric_block *blocks,
                            size_t count);

/* RELOADING=1, and READY=1 when that is over; only after supervision_ready. */
void supervision_reloading(struct supervision *supervision, bool reloading);

/* STOPPING=1. Only the first time, and only after supervision_ready. */
void supervision_stopping(struct supervision *supervision);

/* Sends nothing more: another process is the service now, or it is the end. Harmless before the
 * start, and when repeated. */
void supervision_end(struct supervision *supervision);

/* The state according to those blocks. */
void supervision_read(struct supervision_state *state, const struct metric_block *blocks,
                      size_t count);

/* Is it worth a new line at once, rather than within ten seconds? */
bool supervision_differs(const struct supervision_state *a, const struct supervision_state *b);

#endif
