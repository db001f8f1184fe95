/* The admin pages: HTTP for monitoring and for operators, by libevent's evhttp on the control
 * thread's base. kaproxy(8) has the paths under ADMIN PAGES.
 *
 * There are at most CONFIG_ADMIN_CONNECTIONS connections; further ones wait in the backlog. Each is
 * closed ADMIN_AGE_MAX after it was accepted, or after the last answer on it was sent; while there
 * is no room for others already after ADMIN_AGE_CROWDED, unless an answer is under way. So nobody
 * keeps others out for long, whatever he sends, or does not read.
 *
 * Numbers are read as they are. What the loop has to tell (snapshot.h) is asked for at most once
 * within ADMIN_SNAPSHOT_AGE, for all who want it; a loop that does not answer within
 * ADMIN_SNAPSHOT_WAIT is not waited for any longer: the last snapshot is shown, with its age.
 * Commands are carried out one after the other. */
#ifndef KAPROXY_ADMIN_H
#define KAPROXY_ADMIN_H

#include <event2/event.h>

#include "admin/admin_ops.h"
#include "base/util.h"
#include "config/config.h"

#define ADMIN_AGE_MAX       (10 * USEC_PER_SEC)
#define ADMIN_AGE_CROWDED   USEC_PER_SEC
#define ADMIN_SNAPSHOT_AGE  USEC_PER_SEC
#define ADMIN_SNAPSHOT_WAIT USEC_PER_SEC

/* The loop is not alive when it owed an answer for that long: /livez, which may get us killed. */
#define ADMIN_LOOP_DEAD (10 * USEC_PER_SEC)

struct admin;

/* Binds all addresses of [admin], and serves nobody yet. Base and config are borrowed. NULL on
 * failure; then it was logged. */
struct admin *admin_new(struct event_base *base, const struct config *config);

/* Serves from now on; the ops are copied. 0, or -1 with errno. */
MUST_CHECK int admin_start(struct admin *admin, const struct admin_ops *ops);

/* Closes all connections, whether they have their answers or not, and removes the sockets' files.
 * Nothing that was asked of the loop may be unanswered. NULL is harmless. */
void admin_free(struct admin *admin);

#endif
