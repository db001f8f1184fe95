/* SPDX-License-Identifier: ISC */
/* Shared by the files that make up a session; for them alone. */
#ifndef KAPROXY_SESSION_INTERNAL_H
#define KAPROXY_SESSION_INTERNAL_H

#include "session/protocol.h"

/* The session whose allocation this is; NULL: none. */
struct session *session_of(struct allocation *allocation);

/* Requests a connection from the pool, now that nothing prevents it. */
void session_allocate(struct session *session);

/* Has on_connection called with this failure in the next iteration, as if it came from the pool. */
void session_fail_later(struct session *session, const struct failure *failure);
/* The same for our own failure, with errno's text. */
void session_fail_here(struct session *session, const char *function, int number);

/* session_wait.c: the session, which is WAITING, begins to wait for the end of the pause, or ceases
 * to. */
void session_wait_join(struct session *session);
void session_wait_leave(struct session *session);
void session_wait_init(struct listener_context *context);
void session_wait_clear(struct listener_context *context);

#endif
