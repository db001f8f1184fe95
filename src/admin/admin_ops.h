/* What the admin pages need of the process, without knowing it: set by the daemon. All of it is
 * called on the control thread. */
#ifndef KAPROXY_ADMIN_OPS_H
#define KAPROXY_ADMIN_OPS_H

#include "admin/command.h"
#include "admin/snapshot.h"
#include "base/metric.h"
#include "config/config.h"

enum admin_life { ADMIN_SERVING, ADMIN_DRAINING, ADMIN_STOPPING };

struct admin_ops {
    void *arg;
    const struct config *config;
    int64_t started_at; /* microseconds of Unix time */
    /* All blocks: the process's, then listeners, then hosts, each in the order of the
     * configuration; valid as long as the worker. */
    const struct metric_block *blocks;
    size_t block_count;
    /* Asynchronous: `done` is called later, always. Only one of each at a time. */
    void (*snapshot)(void *arg, struct snapshot_request *request);
    void (*command)(void *arg, struct command *command);
    /* Asks whether the loop is alive, unless it owes the answer to that already; and for how long
     * it has, 0: it does not. */
    void (*ping)(void *arg);
    usec_t (*unanswered)(void *arg);
    /* DRAINING: all listeners are; STOPPING: a signal came. */
    enum admin_life (*life)(void *arg);
};

#endif
