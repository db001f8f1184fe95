/* SPDX-License-Identifier: ISC */
/* The file with our process id, by which an init script finds us. It is written once all is ready,
 * whole (under another name in the same directory, then renamed), so whoever waits for it waits for
 * the start, and a stale one, or that of a process we take over from, is replaced. An empty path is
 * no file, and what follows does nothing. */
#ifndef KAPROXY_PID_FILE_H
#define KAPROXY_PID_FILE_H

#include "base/util.h"

/* Whether the effective user could write and remove it: it may do so in its directory, and what is
 * there is a regular file, or nothing. Nothing is created. NULL, or why not, in a text that stays.
 */
MUST_CHECK const char *pid_file_check(const char *path);

/* 0, or -1: then it was logged. */
int pid_file_write(const char *path);

/* At the end, unless it is another process' by now. */
void pid_file_remove(const char *path);

#endif
