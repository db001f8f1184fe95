/* SPDX-License-Identifier: ISC */
/* Sockets that whoever started us has opened for us: systemd, or our predecessor in a handover.
 * Both pass them as sd_listen_fds(3) says: LISTEN_FDS descriptors from 3 on, if LISTEN_PID is our
 * process, with their names in LISTEN_FDNAMES. libsystemd is not needed for that.
 *
 * A predecessor passes two channels behind them, SOCK_SEQPACKET, and tells of these, and of which
 * sockets' files are for kaproxy to remove, in KAPROXY_HANDOVER="CONTROL:PLACES:i,j,k": two
 * descriptors, and numbers of sockets from 0 on. Its sockets' files are its own until we serve.
 *
 * For the time when there is one thread. NULL for a struct inherited means that nothing was passed,
 * and is harmless everywhere. */
#ifndef KAPROXY_INHERITED_H
#define KAPROXY_INHERITED_H

#include <stdbool.h>
#include <stdio.h>

#include "base/util.h"
#include "net/listen_address.h"

struct inherited;

/* The name of what [admin] listens on; all others are listeners' names. */
#define INHERITED_ADMIN "admin"

/* Reads these variables and unsets them. From then on no program that we start gets the
 * descriptors. 0, or -1: then each mistake was written to errors as a line, and the descriptors are
 * as they were. */
MUST_CHECK int inherited_take(struct inherited **inherited, FILE *errors);

/* Finds the socket for an address, which is the caller's from then on: without a name the one that
 * is bound to this very address, with a name the next one that has this FileDescriptorName. So all
 * addresses are to be asked for without a name first. *is_ours: a unix socket's file is for us to
 * remove, once we serve. A descriptor, or -1: there is none. */
int inherited_find(struct inherited *inherited, const struct listen_address *address,
                   const char *name, bool *is_ours);

/* Of systemd's sockets all must have been found: each that was not is a mistake, written to errors
 * as a line. A predecessor's belong to what it listened on and we do not. 0, or -1. */
MUST_CHECK int inherited_check_left(const struct inherited *inherited, FILE *errors);

/* Closes what was not found, and removes files that are ours to remove: once we serve, for until
 * then the predecessor may have to go on. */
void inherited_close_left(struct inherited *inherited);

/* The channels to the predecessor; -1: this is no handover. They are the caller's to close, if it
 * asked for them. */
int inherited_control_channel(struct inherited *inherited);
int inherited_places_channel(struct inherited *inherited);

/* Is there a predecessor? To be told why we end, for its log: a mistake in each line. Before the
 * control channel is asked for. */
bool inherited_has_predecessor(const struct inherited *inherited);
void inherited_tell(const struct inherited *inherited, const char *mistakes);

/* Closes what nobody has asked for, and removes no file. */
void inherited_free(struct inherited *inherited);

#endif
