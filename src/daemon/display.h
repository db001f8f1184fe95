/* SPDX-License-Identifier: ISC */
/* What can be seen of the configuration that is in effect: by the admin pages, which are at its
 * addresses, and by systemd. Where there is no memory to show another one, the one before it is
 * shown on, and that is tried again until it works. For the control thread. */
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
    struct worker_view *next;            /* the one that cannot be shown yet; NULL: none */
    bool listens;                        /* at the addresses of what is in effect */
    bool late;                           /* that it does not work was logged */
    struct event retry;
};

/* All is borrowed; the view is ours, and shown by the owner this once. */
void display_init(struct display *display, struct event_base *base, struct worker *worker,
                  struct admin *admin, struct supervision *supervision, struct worker_view *view);

/* From now on this is in effect, and borrowed until something else is. The view is ours. */
void display_set(struct display *display, const struct generation *generation,
                 struct worker_view *view);

/* What is shown. */
const struct admin_view *display_get(const struct display *display);

/* Lets go of the views. Harmless when all is zero. */
void display_end(struct display *display);

#endif
