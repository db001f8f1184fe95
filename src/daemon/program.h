/* SPDX-License-Identifier: ISC */
/* What this program was started with, so that it can be started again in the same way. */
#ifndef KAPROXY_PROGRAM_H
#define KAPROXY_PROGRAM_H

#include <limits.h>
#include <signal.h>
#include <stdbool.h>

#include "base/util.h"

struct program {
    char path[PATH_MAX]; /* absolute; "": unknown */
    char *const *argv;   /* main's */
    char **environment; /* without what inherited.h reads, and without WATCHDOG_PID if that is us */
    bool has_watchdog;  /* it was */
    sigset_t mask;      /* signals that are blocked when it is started, */
    bool ignored[NSIG]; /* and those that were ignored */
};

/* Call it before anything of that changes, with the signal mask of the start. Does not use
 * /proc/self/exe, which after an upgrade is the deleted file. 0, or -1 with ENOMEM. */
MUST_CHECK int program_note(struct program *program, char *const *argv, const sigset_t *mask);
void program_clear(struct program *program);

#endif
