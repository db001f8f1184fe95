/* SPDX-License-Identifier: ISC */
/* What the system knows about this process, read at each call. Linux. */
#ifndef KAPROXY_PROCESS_FIGURES_H
#define KAPROXY_PROCESS_FIGURES_H

#include <stdint.h>

#include "base/util.h"

/* -1: unknown, for instance because no descriptor is left to read it with. */
struct process_figures {
    usec_t cpu;       /* of all threads */
    int64_t resident; /* memory, in bytes */
    int64_t open_fds; /* descriptors */
    int64_t max_fds;  /* the limit in effect */
};

void process_figures_read(struct process_figures *figures);

#endif
