/* SPDX-License-Identifier: ISC */
/* Plays systemd's part: a socket at which a service's messages arrive. A failure fails the test. */
#ifndef KAPROXY_MANAGER_H
#define KAPROXY_MANAGER_H

#include <stdbool.h>

#define MANAGER_TEXT_MAX 1024

/* Does this build notify systemd? Without libsystemd there is nothing to test. */
bool manager_is_told(void);

/* Listens at a path, or at an abstract name if that begins with "@", and sets $NOTIFY_SOCKET.
 * Returns its descriptor, for manager_close. */
int manager_open(const char *name);
void manager_close(int manager, const char *name);

/* Waits for the next message. The barrier that comes with one is released. */
const char *manager_read(int manager, char text[MANAGER_TEXT_MAX]);

/* Is there no message? */
bool manager_is_empty(int manager);

#endif
