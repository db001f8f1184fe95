/* SPDX-License-Identifier: ISC */
/* What the admin pages and systemd show of the configuration in effect. When there is no memory to
 * show a new configuration, the previous one stays on display, and the switch is retried until it
 * succeeds. For the control thread. */
#ifndef KAPROXY_DISPLAY_H
#define KAPROXY_DISPLAY_H

#include <event2/event_struct.h>
#include <stdbool.h>

#include "admin/admin.h"
#include "daemon/generation.h"
#include "daemon/supervision.h"
#include "daemon/worker.h"

struct display {
    struct worker *worker;
    struct admin *admin;
    struct supervision *supervision;
    const struct generation *generation; /* in effect */
    struct worker_view *view;            /* shown; NULL: none */
    struct worker_view *next;            /* cannot be shown yet; NULL: none */
    bool listens;                        /* at the addresses of the configuration in effect */
    bool late;                           /* the failure was logged */
    struct event retry;
};

/* All is borrowed, but the view, which becomes ours; this first one is shown by the owner. */
void display_init(struct display *display, struct event_base *base, struct worker *worker,
                  struct admin *admin, struct supervision *supervision, struct worker_view *view);

/* This configuration is in effect from now on; it is borrowed until the next one is. The view
 * becomes ours. */
void display_set(struct display *display, const struct generation *generation,
                 struct worker_view *view);

/* The configuration on display. */
const struct admin_view *display_get(const struct display *display);

/* Releases the views. Harmless when all is zero. */
void display_end(struct display *display);

#endif
