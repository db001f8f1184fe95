/* SPDX-License-Identifier: ISC */
/* What the system knows of this process, read from it at each call. Linux. */
#ifndef KAPROXY_PROCESS_FIGURES_H
#define KAPROXY_PROCESS_FIGURES_H

#include <stdint.h>

#include "base/util.h"

/* -1: not known, for instance because no descriptor is left to read it with. */
struct process_figures {
    usec_t cpu;       /* time that all threads have used */
    int64_t resident; /* memory, in bytes */
    int64_t open_fds; /* descriptors */
    int64_t max_fds;  /* the limit that is in effect */
};

void process_figures_read(struct process_figures *figures);

#endif
