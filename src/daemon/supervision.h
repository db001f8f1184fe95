/* SPDX-License-Identifier: ISC */
/* What systemd hears of a process that serves, from the control thread (notify.h): that it is
 * ready, that the loop which carries clients is alive, one line about its state, and that it stops.
 *
 * The watchdog: at a third of systemd's interval the loop is pinged, and systemd hears WATCHDOG=1
 * if it has answered since the ping before. A loop that hangs is silent, and so systemd restarts
 * us. */
#ifndef KAPROXY_SUPERVISION_H
#define KAPROXY_SUPERVISION_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/metric.h"
#include "base/util.h"
#include "daemon/worker.h"

/* What the line is made of: of clients, connections to upstreams, upstreams. */
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

/* Makes the timers, where anybody listens. Says nothing yet. The worker is borrowed until the end.
 * 0, or -1 with errno. */
MUST_CHECK int supervision_start(struct supervision *supervision, struct event_base *base,
                                 struct worker *worker);

/* READY=1: the worker has been started, and this process is the service's main one. From now on the
 * rest is said too. */
void supervision_ready(struct supervision *supervision);

/* What the line is made of from now on; at first nothing. Borrowed. */
void supervision_set_blocks(struct supervision *supervision, const struct metric_block *blocks,
                            size_t count);

/* RELOADING=1, and READY=1 when that is over; only after supervision_ready. */
void supervision_reloading(struct supervision *supervision, bool reloading);

/* STOPPING=1. The first time only, and only after supervision_ready. */
void supervision_stopping(struct supervision *supervision);

/* Nothing more is said: another process is the service now, or it is the end. Harmless before the
 * start, and a second time. */
void supervision_end(struct supervision *supervision);

/* The state as those blocks have it. */
void supervision_read(struct supervision_state *state, const struct metric_block *blocks,
                      size_t count);

/* Is that worth a new line at once, and not with the next ten seconds? */
bool supervision_differs(const struct supervision_state *a, const struct supervision_state *b);

#endif
