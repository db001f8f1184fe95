/* SPDX-License-Identifier: ISC */
/* A reload of the configuration that somebody asked for: done by the control thread, which tells
 * what became of it. Several may be asked for before the first one is answered. */
#ifndef KAPROXY_ADMIN_RELOAD_H
#define KAPROXY_ADMIN_RELOAD_H

#include <stdbool.h>
#include <sys/queue.h>

struct admin_reload {
    TAILQ_ENTRY(admin_reload) link; /* for whoever carries it out, until it is answered */
    char by[128];                   /* who asked, for the log */

    /* The answer. */
    bool ok;
    /* Valid while done is called: what changed; or else the mistakes. A line each, of which the
     * last one may have no end. */
    const char *text;

    /* On the control thread, never from inside the call that asked; may free it, and ask again. */
    void (*done)(struct admin_reload *reload);
};

#endif
