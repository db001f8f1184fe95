/* SPDX-License-Identifier: ISC */
/* What the admin pages need from the process, without knowing it: set by the daemon, once. All of
 * it is called on the control thread. What a reload changes is in admin_view.h. */
#ifndef KAPROXY_ADMIN_OPS_H
#define KAPROXY_ADMIN_OPS_H

#include <stdint.h>

#include "admin/admin_reload.h"
#include "admin/command.h"
#include "admin/reload_stats.h"
#include "admin/snapshot.h"
#include "base/util.h"

enum admin_life { ADMIN_SERVING, ADMIN_DRAINING, ADMIN_STOPPING };

struct admin_ops {
    void *arg;
    int64_t started_at; /* microseconds of Unix time */
    /* Shown along with the view's blocks; NULL: none. */
    const struct reload_stats *reload_stats;
    /* Asynchronous: `done` is called later, always. Only one of each at a time. */
    void (*snapshot)(void *arg, struct snapshot_request *request);
    void (*command)(void *arg, struct command *command);
    /* The same, but any number at a time. */
    void (*reload)(void *arg, struct admin_reload *reload);
    /* Pings the loop, unless a ping is pending; and since when it is pending, 0: it is not. */
    void (*ping)(void *arg);
    usec_t (*unanswered)(void *arg);
    /* DRAINING: all listeners are; STOPPING: after a signal. */
    enum admin_life (*life)(void *arg);
};

#endif
