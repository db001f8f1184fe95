/* SPDX-License-Identifier: ISC */
/* Files that are read more than once, and by whom nobody must be held up: the configuration and
 * what it names. A pipe can be read just once, and a device or a FIFO may never end. Any thread. */
#ifndef KAPROXY_REGULAR_FILE_H
#define KAPROXY_REGULAR_FILE_H

#include "base/util.h"

/* Opens a file to be read, and waits for nobody. A descriptor; or -1 with *mistake, in a text that
 * stays, when that cannot be done, or when it is no regular file. */
MUST_CHECK int regular_file_open(const char *path, const char **mistake);

/* NULL, or the mistake with which it cannot be opened. */
const char *regular_file_check(const char *path);

#endif
