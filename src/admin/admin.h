/* The admin server: what an operator sees of kaproxy, and has done while it runs, by HTTP. It is
 * libevent's evhttp, on the control thread: what it does takes nothing of the loop's time but for a
 * snapshot a second, and the commands themselves.
 *
 *   GET  /            the status page             /status    the same as JSON (?sessions=1)
 *        /metrics     for Prometheus              /livez, /readyz
 *   POST /pause, /resume, /reconnect, /drain (?pool= &host= &listener=), /log-level (?level=)
 *
 * At most CONFIG_ADMIN_CONNECTIONS clients are connected; others wait in the backlog. A connection
 * is closed ADMIN_TIME after it was accepted, or after its last answer began, whatever it does.
 *
 * Who may POST is the file's to say ([admin] control): over a unix socket its permissions decide,
 * and it is logged who asked. A POST must have the field "Kaproxy-Control: yes", which no form in a
 * browser can send; over TCP, what it says to be its Host must be an address or localhost, so that
 * no page can have a name of its own lead here. */
#ifndef KAPROXY_ADMIN_H
#define KAPROXY_ADMIN_H

#include <event2/event.h>

#include "admin/admin_ops.h"
#include "base/util.h"

#define ADMIN_TIME (10 * USEC_PER_SEC)

struct admin;

/* Binds and listens on all addresses of the configuration, and answers nobody yet. NULL on failure;
 * then it was logged. */
struct admin *admin_new(const struct config *config);

/* Answers from now on, on this base, with what the process is; both are borrowed until admin_free.
 * 0, or -1; then it was logged. */
MUST_CHECK int admin_start(struct admin *admin, struct event_base *base,
                           const struct admin_ops *ops);

/* Closes everything, and removes the files of unix sockets. What it has asked of the worker must
 * have been answered: after the worker's end. NULL is harmless. */
void admin_free(struct admin *admin);

#endif
