/* SPDX-License-Identifier: ISC */
/* What is wrong now, or was in the last minute, in sentences for the engineer on call: what, where,
 * since when or how much, and which key governs it. Made from the numbers and the last snapshot
 * alone; no state is kept from one call to the next.
 *
 * Codes are stable, texts are not:
 *
 *   critical  loop_stalled         the loop does not answer
 *             upstream_down        by fail_after
 *             upstream_failing     no connection to it can be opened
 *             dns_failing          names are not resolved; a warning while old answers serve
 *             certificate_expired  the upstream's, or ours
 *             limit_reached        max_clients, or max_waiting: clients are rejected
 *             descriptors          accepting pauses for want of them
 *             log_failing          a log cannot be written
 *   warning   loop_lag             everything the loop does is late
 *             upstream_slow        exchanges take long, and clients wait for them
 *             clients_waiting      now (critical when clients fail because of it)
 *             waits_lately         in the last minute
 *             clients_stuck        nothing moves, and connections are held
 *             log_lines_lost       in the last minute
 *             reload_failed        and the previous configuration stays in effect
 *   notice    paused, draining, stopping
 *
 * Some are reported with a lower severity where they do less harm: an upstream that failed some
 * minutes ago and was not tried since, a log that lost lines long ago. */
#ifndef KAPROXY_PROBLEMS_H
#define KAPROXY_PROBLEMS_H

#include <stddef.h>

#include "admin/status_input.h"
#include "base/util.h"

enum severity { SEVERITY_CRITICAL, SEVERITY_WARNING, SEVERITY_NOTICE, SEVERITIES };
const char *severity_name(enum severity severity);

#define PROBLEM_TEXT_MAX 896

struct problem {
    enum severity severity;
    const char *code; /* static */
    /* Labels, borrowed; NULL: without that label. */
    const char *listener, *pool, *upstream, *tls;
    char text[PROBLEM_TEXT_MAX]; /* without a full stop at its end */
};

/* The most severe first; of the same severity, problems of the process, then of hosts, then of
 * listeners. */
struct problems {
    struct problem *list;
    size_t count;
};

/* 0, or -1 with ENOMEM: then the list is empty. */
MUST_CHECK int problems_find(struct problems *problems, const struct status_input *input);
void problems_clear(struct problems *problems);

#endif
