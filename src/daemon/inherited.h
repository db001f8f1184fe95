/* SPDX-License-Identifier: ISC */
/* Sockets that our parent opened for us: systemd, or our predecessor in a handover. Both pass them
 * as in sd_listen_fds(3): LISTEN_FDS descriptors from 3 on, if LISTEN_PID is our process, with
 * names in LISTEN_FDNAMES. libsystemd is not needed for that.
 *
 * A predecessor passes two SOCK_SEQPACKET channels after them.
 * KAPROXY_HANDOVER="CONTROL:PLACES:i,j,k" has their descriptors, and the numbers, from 0, of the
 * sockets whose files kaproxy has to remove. The files belong to the predecessor until we serve.
 *
 * For the time when there is one thread. A NULL struct inherited means that nothing was passed, and
 * is harmless everywhere. */
#ifndef KAPROXY_INHERITED_H
#define KAPROXY_INHERITED_H

#include <stdbool.h>
#include <stdio.h>

#include "base/util.h"
#include "net/listen_address.h"

struct inherited;

/* The name of the sockets of [admin]; all other names are listeners'. */
#define INHERITED_ADMIN "admin"

/* Reads and unsets these variables. From now on no program that we start inherits the descriptors.
 * 0, or -1: each mistake was written to errors as a line, and the descriptors are unchanged. */
MUST_CHECK int inherited_take(struct inherited **inherited, FILE *errors);

/* Finds the socket for an address; it then belongs to the caller. Without a name: the one bound to
 * exactly this address; with a name: the next one with this FileDescriptorName. So ask for all
 * addresses without a name first. *is_ours: we have to remove a unix socket's file, once we serve.
 * A descriptor, or -1 if there is none. */
int inherited_find(struct inherited *inherited, const struct listen_address *address,
                   const char *name, bool *is_ours);

/* All of systemd's sockets must have been found: each that was not is a mistake, written to errors
 * as a line. Those of a predecessor are sockets it listened on and we do not. 0, or -1. */
MUST_CHECK int inherited_check_left(const struct inherited *inherited, FILE *errors);

/* Closes what was not found, and removes the files that are ours to remove. Only once we serve:
 * until then the predecessor may have to continue. */
void inherited_close_left(struct inherited *inherited);

/* The channels to the predecessor; -1: this is not a handover. The caller closes what it asked
 * for. */
int inherited_control_channel(struct inherited *inherited);
int inherited_places_channel(struct inherited *inherited);

/* Is there a predecessor that reads our mistakes, one per line, for its log? Ask before asking for
 * the control channel. */
bool inherited_has_predecessor(const struct inherited *inherited);
void inherited_tell(const struct inherited *inherited, const char *mistakes);

/* Closes what nobody has asked for, and removes no file. */
void inherited_free(struct inherited *inherited);

#endif
