/* SPDX-License-Identifier: ISC */
/* Stands in for systemd: a socket at which a service's messages arrive. What fails, fails the test.
 */
#ifndef KAPROXY_MANAGER_H
#define KAPROXY_MANAGER_H

#include <stdbool.h>

#define MANAGER_TEXT_MAX 1024

/* Does this build tell systemd anything? Without libsystemd there is nothing to be tried. */
bool manager_is_told(void);

/* Listens at a path, or at an abstract name if that begins with "@", and sets $NOTIFY_SOCKET.
 * Returns its descriptor, for manager_close. */
int manager_open(const char *name);
void manager_close(int manager, const char *name);

/* The next message, for which it waits. The barrier that comes with one is lifted. */
const char *manager_read(int manager, char text[MANAGER_TEXT_MAX]);

/* Is there no message? */
bool manager_is_empty(int manager);

#endif
