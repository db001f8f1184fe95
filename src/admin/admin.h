/* SPDX-License-Identifier: ISC */
/* The admin pages: HTTP for monitoring and for operators, by libevent's evhttp on the control
 * thread's base. kaproxy(8) lists the paths under ADMIN PAGES.
 *
 * What it listens on and what it shows may change while it runs: admin_set_sockets, admin_set_view.
 * Existing connections are not affected. Without a socket it does nothing.
 *
 * There are at most CONFIG_ADMIN_CONNECTIONS connections; further ones wait in the backlog. Each is
 * closed ADMIN_AGE_MAX after it was accepted, or after the last response on it was sent; when all
 * are taken, already after ADMIN_AGE_CROWDED, unless a response is under way. So no client keeps
 * others out for long, whatever it sends or does not read. Clients that wait for a reload, of which
 * there may be as many as may wait for commands, are kept for as long as it takes, and then for
 * that time again.
 *
 * Numbers are read directly. What only the loop can provide (snapshot.h) is requested at most once
 * within ADMIN_SNAPSHOT_AGE, for all clients that need it; if the loop does not answer within
 * ADMIN_SNAPSHOT_WAIT the last snapshot is shown, with its age. A snapshot of another generation
 * than the view's is never shown, nor are its strings read. Commands are carried out one after the
 * other. */
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

/* A loop that has not answered for that long is considered dead: /livez, after which we may be
 * killed. */
#define ADMIN_LOOP_DEAD (10 * USEC_PER_SEC)

struct admin;

/* Serves nobody yet, and has no sockets. The base is borrowed. NULL with ENOMEM. */
struct admin *admin_new(struct event_base *base);

/* Serves from now on; ops and view are copied. 0, or -1 with errno. */
MUST_CHECK int admin_start(struct admin *admin, const struct admin_ops *ops,
                           const struct admin_view *view);

/* Accepts from these sockets, each listed once, and from no others: at once, or when it is started.
 * Sockets that it already has stay as they are, and connections accepted from one that is removed
 * are served to their end. It holds a reference to each, and closes none. 0, or -1 with errno:
 * nothing has changed. */
MUST_CHECK int admin_set_sockets(struct admin *admin, struct bound_socket *const *sockets,
                                 size_t count);

/* False: stops accepting, and leaves clients in the backlog, until it is true again. Existing
 * connections are not affected. Initially true. */
void admin_accept(struct admin *admin, bool accept);

/* Shows another generation from now on; once started. The figures of the last minute continue for
 * what still exists: for the same block, or else for the same labels. The old view's blocks are
 * read once more, and nothing of it after this has returned. 0, or -1 with ENOMEM: the old view
 * stays. */
MUST_CHECK int admin_set_view(struct admin *admin, const struct admin_view *view);

/* Closes all connections, answered or not. No request to the loop, and no reload, may be pending.
 * NULL is harmless. */
void admin_free(struct admin *admin);

#endif
