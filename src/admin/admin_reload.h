/* SPDX-License-Identifier: ISC */
/* A reload of the configuration that a client requested: carried out by the control thread, which
 * reports the result. Several may be requested before the first one is answered. */
#ifndef KAPROXY_ADMIN_RELOAD_H
#define KAPROXY_ADMIN_RELOAD_H

#include <stdbool.h>
#include <sys/queue.h>

struct admin_reload {
    TAILQ_ENTRY(admin_reload) link; /* for whoever carries it out, until it is answered */
    char by[128];                   /* who requested it, for the log */

    /* The answer. */
    bool ok;
    /* Valid while done is called: what changed; or else the mistakes. One per line; the last one
     * may lack its newline. */
    const char *text;

    /* On the control thread, never from inside the call that requested it; may free it, and make
     * another request. */
    void (*done)(struct admin_reload *reload);
};

#endif
