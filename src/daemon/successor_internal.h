/* SPDX-License-Identifier: ISC */
/* Shared by the files successor*.c, and no others: what is prepared for the new processes, and what
 * these report.
 *
 * There are two: the successor, and an intermediate process, whose child it is. Once the successor
 * serves, the intermediate one ends, so that process 1 (or the subreaper) adopts the successor:
 * systemd only notices the end of its own children. */
#ifndef KAPROXY_SUCCESSOR_INTERNAL_H
#define KAPROXY_SUCCESSOR_INTERNAL_H

#include "daemon/successor.h"

enum report_what {
    REPORT_PID,      /* the successor's, reported by itself before anything else */
    REPORT_CLOSED,   /* the intermediate process has closed our descriptors */
    REPORT_FORK,     /* an error number: there is no successor */
    REPORT_PASS,     /* an error number: it could not pass on the descriptors, */
    REPORT_EXECUTE,  /* or not execute the program, and ends */
    REPORT_EXITED,   /* an exit status */
    REPORT_SIGNALLED /* a signal's number */
};

/* One message on the channel. */
struct report {
    enum report_what what;
    int value;
};

/* All that the new processes use. */
struct launch {
    const struct program *program;
    char **environment;
    char *listen_pid, *watchdog_pid; /* variables with room for digits; NULL: none */
    char *names, *fds, *handover;    /* variables */
    int *descriptors;                /* to become FIRST_FD and so on */
    int count;
    int channel; /* the new processes' end, for reports: SOCK_SEQPACKET */
};

#define FIRST_FD   3  /* SD_LISTEN_FDS_START */
#define PID_DIGITS 12 /* including the final 0 */

/* Everything but the channel. 0, or -1 with ENOMEM. */
MUST_CHECK int launch_init(struct launch *launch, const struct successor_options *options);
void launch_clear(struct launch *launch);

/* Starts the intermediate process, which starts the successor. Its pid, or -1 with errno. It ends
 * when the channel's other end is closed; a successor that has ended by then has been reaped, and
 * its pid is not reused before that. */
pid_t launch_start(struct launch *launch);

#endif
