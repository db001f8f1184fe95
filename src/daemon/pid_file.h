/* SPDX-License-Identifier: ISC */
/* The file with our process id, by which an init script finds us. It is written once everything is
 * ready, and atomically (under another name in the same directory, then renamed): waiting for it is
 * waiting for the start, and a stale file, or that of a predecessor, is replaced. With an empty
 * path there is no file, and the functions do nothing. */
#ifndef KAPROXY_PID_FILE_H
#define KAPROXY_PID_FILE_H

#include "base/util.h"

/* Whether the effective user could write and remove it: its directory must be writable, and an
 * existing file a regular one. Nothing is created. NULL, or the reason, as a static text. */
MUST_CHECK const char *pid_file_check(const char *path);

/* 0, or -1 (logged). */
int pid_file_write(const char *path);

/* At the end, unless it belongs to another process by now. */
void pid_file_remove(const char *path);

#endif
