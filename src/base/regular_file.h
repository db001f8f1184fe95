/* SPDX-License-Identifier: ISC */
/* Files that are read more than once and must never block their reader: the configuration and what
 * it names. A pipe can be read only once, and a device or a FIFO may never end. Any thread. */
#ifndef KAPROXY_REGULAR_FILE_H
#define KAPROXY_REGULAR_FILE_H

#include "base/util.h"

/* Opens a file for reading, without blocking. A descriptor; or -1 with *mistake, a text that
 * remains valid, if it cannot be opened or is not a regular file. */
MUST_CHECK int regular_file_open(const char *path, const char **mistake);

/* NULL, or why it cannot be opened. */
const char *regular_file_check(const char *path);

#endif
