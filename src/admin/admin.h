/* SPDX-License-Identifier: ISC */
/* The admin pages: HTTP for monitoring and for operators, by libevent's evhttp on the control
 * thread's base. kaproxy(8) has the paths under ADMIN PAGES.
 *
 * What it listens on, and what it shows, may change while it runs: admin_set_sockets,
 * admin_set_view. Connections are not touched by that. Without a socket it does nothing.
 *
 * There are at most CONFIG_ADMIN_CONNECTIONS connections; further ones wait in the backlog. Each is
 * closed ADMIN_AGE_MAX after it was accepted, or after the last answer on it was sent; while there
 * is no room for others already after ADMIN_AGE_CROWDED, unless an answer is under way. So nobody
 * keeps others out for long, whatever he sends, or does not read. Those who wait for a reload, at
 * most as many as may wait for commands, have as long as that takes, and then that time again.
 *
 * Numbers are read as they are. What the loop has to tell (snapshot.h) is asked for at most once
 * within ADMIN_SNAPSHOT_AGE, for all who want it; a loop that does not answer within
 * ADMIN_SNAPSHOT_WAIT is not waited for any longer: the last snapshot is shown, with its age. One
 * of another generation than the view's is never shown, nor are its strings read. Commands are
 * carried out one after the other. */
#ifndef KAPROXY_ADMIN_H
#define KAPROXY_ADMIN_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>

#include "admin/admin_ops.h"
#include "admin/admin_view.h"
#include "base/util.h"
#include "config/config.h"
#include "net/bound_socket.h"

#define ADMIN_AGE_MAX       (10 * USEC_PER_SEC)
#define ADMIN_AGE_CROWDED   USEC_PER_SEC
#define ADMIN_SNAPSHOT_AGE  USEC_PER_SEC
#define ADMIN_SNAPSHOT_WAIT USEC_PER_SEC

/* The loop is not alive when it owed an answer for that long: /livez, which may get us killed. */
#define ADMIN_LOOP_DEAD (10 * USEC_PER_SEC)

struct admin;

/* Serves nobody yet, and has no sockets. The base is borrowed. NULL with ENOMEM. */
struct admin *admin_new(struct event_base *base);

/* Serves from now on; ops and view are copied. 0, or -1 with errno. */
MUST_CHECK int admin_start(struct admin *admin, const struct admin_ops *ops,
                           const struct admin_view *view);

/* Accepts from these sockets, each of them given once, and from no others: at once, or when it is
 * started. Those that it had already are kept as they are, and what was accepted from one that goes
 * is served to its end. It has a reference of each, and closes none. 0, or -1 with errno: nothing
 * has changed. */
MUST_CHECK int admin_set_sockets(struct admin *admin, struct bound_socket *const *sockets,
                                 size_t count);

/* False: accepts nobody, and leaves clients in the backlog, until it is true again. Connections are
 * not touched. At the beginning it is true. */
void admin_accept(struct admin *admin, bool accept);

/* Shows another generation from now on; when it was started. What the last minute was like goes on
 * for what is there still: by the same block, or else by the same labels. The old view's blocks are
 * read once more, and nothing of it once this has returned. 0, or -1 with ENOMEM: the old view
 * stays. */
MUST_CHECK int admin_set_view(struct admin *admin, const struct admin_view *view);

/* Closes all connections, whether they have their answers or not. Nothing that was asked of the
 * loop, or to be reloaded, may be unanswered. NULL is harmless. */
void admin_free(struct admin *admin);

#endif
