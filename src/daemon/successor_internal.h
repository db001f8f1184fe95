/* SPDX-License-Identifier: ISC */
/* What the files successor*.c share, and nobody else: what is prepared for the new processes, and
 * what these report.
 *
 * There are two: the successor, and one between it and us, whose child it is. Once the successor
 * serves, the one in between ends, so that process 1 (or the subreaper) adopts the successor: only
 * of a child of its own does systemd notice the end. */
#ifndef KAPROXY_SUCCESSOR_INTERNAL_H
#define KAPROXY_SUCCESSOR_INTERNAL_H

#include "daemon/successor.h"

enum report_what {
    REPORT_PID,      /* the successor's, by itself, before anything else */
    REPORT_CLOSED,   /* the one in between has nothing of ours any more */
    REPORT_FORK,     /* an error number: there is no successor */
    REPORT_PASS,     /* an error number: it could not pass on the descriptors, */
    REPORT_EXECUTE,  /* or not become the program, and ends */
    REPORT_EXITED,   /* an exit status */
    REPORT_SIGNALLED /* a signal's number */
};

/* One message on the channel. */
struct report {
    enum report_what what;
    int value;
};

/* All that the new processes touch. */
struct launch {
    const struct program *program;
    char **environment;
    char *listen_pid, *watchdog_pid; /* variables with room for digits; NULL: none */
    char *names, *fds, *handover;    /* variables */
    int *descriptors;                /* to be FIRST_FD and so on */
    int count;
    int channel; /* the new processes' end, for reports: SOCK_SEQPACKET */
};

#define FIRST_FD   3  /* SD_LISTEN_FDS_START */
#define PID_DIGITS 12 /* with the final 0 */

/* All but the channel. 0, or -1 with ENOMEM. */
MUST_CHECK int launch_init(struct launch *launch, const struct successor_options *options);
void launch_clear(struct launch *launch);

/* Starts the process in between, and that the successor. The former's pid, or -1 with errno. It
 * ends when the channel's other end is closed; if the successor has ended by then it has been
 * waited for, and its pid is not another's before that. */
pid_t launch_start(struct launch *launch);

#endif
