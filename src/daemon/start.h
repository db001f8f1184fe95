/* SPDX-License-Identifier: ISC */
/* What a start takes of the system before there is a worker: the user to become, the log files, a
 * share of the descriptors. A check (-t) goes through the same functions, and takes nothing: so it
 * finds what a start would, and says it in the same words. For the time when there is one thread,
 * but for what says otherwise. */
#ifndef KAPROXY_START_H
#define KAPROXY_START_H

#include "base/log.h"
#include "base/util.h"
#include "config/config.h"
#include "config/config_errors.h"
#include "daemon/user.h"

struct start {
    const struct config *config;
    struct user user;
    struct config_errors *findings; /* of a check; NULL: what is found is logged */
};

/* Finds out who to become. The config is borrowed. 0, or -1: then it was logged. */
MUST_CHECK int start_init(struct start *start, const struct config *config);
void start_clear(struct start *start);

/* Opens both logs, with the rights of the user to become: what a path leads to must not depend on
 * root's, and it is that user who opens files again. Sees to it that this user can write the pid
 * file, and read what a reload reads. 0, or -1: then it was logged. */
MUST_CHECK int start_open_files(struct start *start);

/* Logs what is right as such and hardly meant so. */
void start_warn(const struct start *start);

/* What a reload does of start_open_files and start_warn, in any thread and as who we are: prepares
 * the logs, and finds what a check finds, in the same words. That `user` is ignored is no finding:
 * who had root has given it up. NULL with a mistake. */
struct log_change *start_open_again(const struct config *config, struct config_errors *findings);

/* Raises the limit of descriptors as far as we may. How many clients it allows, 0: not a single
 * one, and that was logged; and how many pipes beside them. */
unsigned start_share_descriptors(const struct start *start, unsigned *pipes);

/* The same for another configuration, within the limit that there is. Any thread, at any time: what
 * would be logged are findings. 0: that is a mistake. */
unsigned start_share_again(const struct config *config, struct config_errors *findings,
                           unsigned *pipes);

/* Finds what would keep a start from succeeding here and now, and what it would warn of. Nothing is
 * created, and what another process has in use, as one that runs already, is no finding. 0, or -1
 * when it would not succeed: found, or logged. */
MUST_CHECK int start_check(const struct config *config, struct config_errors *findings);

#endif
