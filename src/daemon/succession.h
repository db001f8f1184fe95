/* SPDX-License-Identifier: ISC */
/* One process after another, from the control thread's point of view: the handover to a successor
 * (handover.h), and taking over from a predecessor (takeover.h), with all that take part in this
 * process: worker, admin pages, supervision, pid file. */
#ifndef KAPROXY_SUCCESSION_H
#define KAPROXY_SUCCESSION_H

#include <event2/event.h>
#include <stdbool.h>

#include "admin/admin.h"
#include "base/util.h"
#include "daemon/generation.h"
#include "daemon/inherited.h"
#include "daemon/program.h"
#include "daemon/supervision.h"
#include "daemon/worker.h"

struct succession;

/* All is borrowed until it is freed. */
struct succession_options {
    struct event_base *base;
    const struct program *program;
    struct inherited *inherited;          /* NULL: nothing was passed to us */
    struct generation *const *generation; /* whichever is in effect */
    struct worker *worker;
    struct admin *admin;
    struct supervision *supervision;
    void *arg;
    /* held: no reload may begin, because of a handover; not held: it may again, since that
     * failed. */
    void (*hold)(void *arg, bool held);
    /* Another process serves. */
    void (*left)(void *arg);
};

/* Before the worker is started. NULL on failure (logged). */
struct succession *succession_new(const struct succession_options *options);
/* At the end, when nothing is served any more: removes the pid file, if it is ours. NULL is
 * harmless. */
void succession_free(struct succession *succession);

/* The worker has been started, and serves as soon as a predecessor lets it. */
void succession_prepared(struct succession *succession);

/* It serves: this process is ready. That is reported and written to the pid file at once, or once
 * the predecessor has done its part. */
void succession_serving(struct succession *succession);

/* SIGUSR2. Refused, with a message, also while a predecessor drains: three processes cannot share
 * the pools' places. */
void succession_hand_over(struct succession *succession);

/* No handover begins while a reload is under way. */
void succession_hold(struct succession *succession, bool held);

/* This process is to stop: a handover under way is cancelled, unless the successor serves. */
void succession_stop(struct succession *succession);

#endif
