/* SPDX-License-Identifier: ISC */
/* What this program was started with, for starting it again as it was. */
#ifndef KAPROXY_PROGRAM_H
#define KAPROXY_PROGRAM_H

#include <limits.h>
#include <signal.h>
#include <stdbool.h>

#include "base/util.h"

struct program {
    char path[PATH_MAX]; /* absolute; "": it is not known */
    char *const *argv;   /* main's */
    char **environment;  /* without what inherited.h reads, and WATCHDOG_PID if that is us */
    bool has_watchdog;   /* it was */
    sigset_t mask;       /* signals that are blocked when it is started, */
    bool ignored[NSIG];  /* and those that were ignored */
};

/* To be called before anything changes of it, with the mask that it is to begin with. Not by way of
 * /proc/self/exe: after an upgrade that is the deleted file. 0, or -1 with ENOMEM. */
MUST_CHECK int program_note(struct program *program, char *const *argv, const sigset_t *mask);
void program_clear(struct program *program);

#endif
