/* SPDX-License-Identifier: ISC */
/* What a start needs from the system before there is a worker: the user to become, the log files, a
 * share of the descriptors. A check (-t) calls the same functions without taking anything, so that
 * it reports what a start would, in the same words. For the time when there is one thread, except
 * where noted. */
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
    struct config_errors *findings; /* of a check; NULL: findings are logged */
};

/* Determines whom to become. The config is borrowed. 0, or -1 (logged). */
MUST_CHECK int start_init(struct start *start, const struct config *config);
void start_clear(struct start *start);

/* Opens both logs, with the privileges of the user to become: where a path leads must not depend on
 * root's, and it is this user that reopens files. Ensures that this user can write the pid file and
 * read what a reload reads. 0, or -1 (logged). */
MUST_CHECK int start_open_files(struct start *start);

/* Logs what is valid but hardly intended. */
void start_warn(const struct start *start);

/* The part of start_open_files and start_warn that a reload does, in any thread and without
 * changing user: prepares the logs, and reports what a check reports, in the same words. That
 * `user` is ignored is not reported, since we gave up root ourselves. NULL with a mistake. */
struct log_change *start_open_again(const struct config *config, struct config_errors *findings);

/* Raises the limit of descriptors as far as permitted. The number of clients that it leaves room
 * for, 0: not a single one (logged); and the number of pipes beyond them. */
unsigned start_share_descriptors(const struct start *start, unsigned *pipes);

/* The same for another configuration, within the current limit. Any thread, at any time; what would
 * be logged is a finding. 0: that is a mistake. */
unsigned start_share_again(const struct config *config, struct config_errors *findings,
                           unsigned *pipes);

/* Finds what would prevent a start here and now, and what it would warn of. Nothing is created, and
 * what another process has in use, such as a running kaproxy, is not a finding. 0, or -1 when a
 * start would fail: in findings, or logged. */
MUST_CHECK int start_check(const struct config *config, struct config_errors *findings);

#endif
