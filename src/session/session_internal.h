/* SPDX-License-Identifier: ISC */
/* What the files that make up a session share; for them alone. */
#ifndef KAPROXY_SESSION_INTERNAL_H
#define KAPROXY_SESSION_INTERNAL_H

#include "session/protocol.h"

/* The session whose allocation this is; NULL: none is. */
struct session *session_of(struct allocation *allocation);

/* Asks the pool, now that nothing keeps it from that. */
void session_allocate(struct session *session);

/* on_connection is called with this failure in the next iteration, as if it came from the pool. */
void session_fail_later(struct session *session, const struct failure *failure);
/* The same for one of our own, with errno's text. */
void session_fail_here(struct session *session, const char *function, int number);

/* session_wait.c: the session, which is WAITING, waits for the end of the pause, or for it no
 * longer. */
void session_wait_join(struct session *session);
void session_wait_leave(struct session *session);
void session_wait_init(struct listener_context *context);
void session_wait_clear(struct listener_context *context);

#endif
