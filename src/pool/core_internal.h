/* SPDX-License-Identifier: ISC */
/* Shared by the files of the pool's core; for them only. Lowest first:
 *
 *   core_host.c    a host: its waiters, which of them have a dial, what it needs
 *   core_conn.c    a connection: its transitions, its limits, its end
 *   core_serve.c   who gets what: connections to waiters, places to dials
 *   core_health.c  a host that is down
 *   core_service.c a host that is paused or draining; replacing connections
 *   core_reload.c  changed limits; hosts that the configuration no longer names
 *   pool_core.c    the events
 *   core_check.c   compares counts with lists, for tests */
#ifndef KAPROXY_CORE_INTERNAL_H
#define KAPROXY_CORE_INTERNAL_H

#include <assert.h>

#include "pool/pool_core.h"

#define CORE_NEVER INT64_MAX

/* Connections that count towards max_per_host. */
static inline unsigned core_host_open(const struct core_host *host)
{
    return host->count[CONN_CONNECTING] + host->to_dial + host->count[CONN_BUSY] +
           host->count[CONN_IDLE] + host->count[CONN_CLOSING] - host->closing_held;
}

/* How many of these will be left once those being closed are gone. */
static inline unsigned core_host_stay(const struct core_host *host)
{
    return core_host_open(host) - (host->count[CONN_CLOSING] - host->closing_held);
}

/* Connections that count towards max_tunnels. */
static inline unsigned core_host_tunnels(const struct core_host *host)
{
    return host->count[CONN_HELD] + host->may_hold + host->closing_held;
}

/* Nothing refers to it. */
static inline bool core_host_is_empty(const struct core_host *host)
{
    return core_host_open(host) + host->count[CONN_HELD] + host->closing_held + host->waiting +
               host->undelivered ==
           0;
}

/* Connections that count towards max_open. */
static inline unsigned core_open(const struct pool_core *core)
{
    return core->count[CONN_CONNECTING] + core->to_dial + core->count[CONN_BUSY] +
           core->count[CONN_HELD] + core->count[CONN_IDLE] + core->count[CONN_CLOSING];
}

static inline unsigned core_stay(const struct pool_core *core)
{
    return core_open(core) - core->count[CONN_CLOSING];
}

/* By how many the open connections exceed max_open. */
static inline unsigned core_overflow(const struct pool_core *core)
{
    return core->over ? core_open(core) - core->limits.max_open : 0;
}

static inline unsigned core_host_dials(const struct core_host *host)
{
    return host->count[CONN_CONNECTING] + host->to_dial;
}

static inline bool core_host_is_open(const struct core_host *host)
{
    return host->service == SERVICE_OPEN;
}

static inline bool core_host_is_wanted(const struct core_host *host)
{
    return !host->unwanted && !host->core->retired;
}

/* It stays even if nothing refers to it. */
static inline bool core_host_stays(const struct core_host *host)
{
    return host->retained || host->wishes_preconnected ||
           (!core_host_is_open(host) && host->core->phase != POOL_SHUT &&
            core_host_is_wanted(host));
}

/* Whether max_connecting leaves room for another dial. */
static inline bool core_host_may_dial(const struct core_host *host)
{
    return core_host_dials(host) < host->core->limits.max_connecting;
}

/* Dials that no waiter of the host needs. */
static inline unsigned core_host_excess(const struct core_host *host)
{
    return core_host_dials(host) - host->have_dial;
}

/* Puts an entry on the user's list, or changes it there. */
static inline void core_pending_set(struct pool_core *core, struct core_pending *pending,
                                    enum pool_action_kind kind)
{
    if (pending->kind == POOL_NOTHING)
        TAILQ_INSERT_TAIL(&core->pending, pending, link);
    pending->kind = kind;
}

static inline void core_pending_clear(struct pool_core *core, struct core_pending *pending)
{
    if (pending->kind == POOL_NOTHING)
        return;
    TAILQ_REMOVE(&core->pending, pending, link);
    pending->kind = POOL_NOTHING;
}

/* Something is due at that time. */
static inline void core_note_time(struct pool_core *core, usec_t when)
{
    if (when < core->next_time)
        core->next_time = when;
}

/* Sets core->next_time to the earliest due time. */
static inline void core_find_next_time(struct pool_core *core)
{
    const struct heap_node *due = heap_first(&core->due);
    const struct core_conn *idle = TAILQ_FIRST(&core->idle);
    core->next_time = due == NULL ? CORE_NEVER : due->key;
    if (idle != NULL)
        core_note_time(core, idle->idle_since + core->limits.keep_alive);
}

/* Sets or moves a due time; there is room for every member. */
static inline void core_due_set(struct pool_core *core, struct core_due *due, usec_t when)
{
    heap_remove(&core->due, &due->node);
    int done = heap_insert(&core->due, &due->node, when);
    assert(done == 0);
    (void)done;
    core_note_time(core, when);
}

static inline void core_due_clear(struct pool_core *core, struct core_due *due)
{
    heap_remove(&core->due, &due->node);
}

static inline bool core_due_is_set(const struct core_due *due)
{
    return heap_contains(&due->node);
}

/* One more member. 0, or -1 with ENOMEM. */
MUST_CHECK static inline int core_add_member(struct pool_core *core)
{
    if (core->members == core->due.size && heap_reserve(&core->due, core->members + 1) < 0)
        return -1;
    core->members++;
    return 0;
}

/* A number below 2^16 (splitmix64). */
static inline unsigned core_random(struct pool_core *core)
{
    uint64_t z = core->random += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (unsigned)(z >> 48);
}

/* core_host.c */

/* As pool_core_find_host, _add_host and _remove_host. */
struct core_host *core_host_find(const struct pool_core *core, const struct endpoint *endpoint);
MUST_CHECK int core_host_add(struct pool_core *core, struct core_host *host);
void core_host_remove(struct core_host *host);
void core_host_add_waiter(struct core_host *host, struct core_request *request);
void core_host_remove_waiter(struct core_request *request);
/* The oldest waiter that this connection can be given to, or NULL. It may be one that needs a fresh
 * connection and has no dial yet: then the connection's place is for it. */
struct core_request *core_host_waiter_for(const struct core_host *host,
                                          const struct core_conn *conn);
/* The oldest waiter without a dial for which an idle connection of its host would do, although it
 * prefers a new one; NULL: there is none, or nothing is idle. */
struct core_request *core_host_settler(const struct core_host *host);
/* Brings the waiters' dials and the core's lists of hosts up to date; to be called after every
 * change. */
void core_host_update(struct core_host *host);
/* A dial failed, or the upstream closed a new connection unused: pause before the next dial that no
 * waiter needs. */
void core_host_back_off(struct core_host *host, usec_t now);
/* A connection proved useful: forget failures. */
void core_host_proved(struct core_host *host);

/* Determines its limits from the pool's and its places. */
void core_host_set_limits(struct core_host *host);
/* Determines whether it keeps preconnected connections. */
void core_host_set_preconnected(struct core_host *host);

/* Sets its service, which is counted. */
void core_host_set_service(struct core_host *host, enum service service);

/* core_conn.c */

/* Makes every change of a connection's state, with its lists and counts. */
void core_conn_set_state(struct core_conn *conn, enum core_conn_state to);
/* Ends it in any state, for this reason; the user must not be working on it. */
void core_conn_close(struct core_conn *conn, enum pool_discard reason, bool reset);
void core_conn_close_idle(struct core_host *host, enum pool_discard reason);
/* Up to 10 % less than the pool's, so that many connections do not reconnect in step. */
void core_conn_choose_max_age(struct core_conn *conn);
/* Sets how long it may be idle, from idle_since on. */
void core_conn_limit_idle(struct core_conn *conn);
/* True if it may be used again, after this peek; otherwise it is to be closed. */
bool core_conn_is_fit(struct core_conn *conn, enum pool_peek peek, usec_t now);
/* Whether it counts towards max_per_host, or finds room there: a held one may not. */
static inline bool core_conn_has_place(const struct core_conn *conn)
{
    return conn->state != CONN_HELD || core_host_open(conn->host) < conn->host->most_open;
}
/* As pool_core_reserve_hold, _hold and _unhold. */
MUST_CHECK bool core_conn_reserve_hold(struct core_conn *conn);
void core_conn_hold(struct core_conn *conn);
MUST_CHECK bool core_conn_unhold(struct core_conn *conn);
/* Why it is one too many after a limit was lowered; POOL_DISCARD_COUNT: it is not [49]. */
enum pool_discard core_conn_surplus(const struct core_conn *conn);
/* Makes it idle, or closes it if the pool keeps no idle connections. */
void core_conn_park(struct core_conn *conn, usec_t now);

/* core_serve.c */

/* Offers the idle connection that suits this request best; false: there is none that it prefers to
 * a new one [16, 18, 33]. */
bool core_serve_offer(struct core_request *request);
/* Gives the connection to the request, which is returned; its owner is to be called. */
struct core_request *core_serve_grant(struct core_conn *conn, struct core_request *request,
                                      enum from_cache from_cache);
/* Offers the idle connection of its host that has been unused longest, whatever its tag [33, 40];
 * false: there is none, or the request is for a fresh one. */
bool core_serve_settle(struct core_request *request);
/* A connection is ready, dialled or released: it goes to the oldest waiter, which is returned, or
 * becomes idle. */
struct core_request *core_serve_place(struct core_conn *conn, usec_t now);
/* The request will not get a connection. */
void core_serve_fail(struct pool_core *core, struct core_request *request,
                     enum core_request_failure failure);
/* The same, without an action: its owner is called by the code that knows why. */
void core_serve_end(struct core_request *request, enum core_request_failure failure);
/* Ends dials, newest first, that no waiter needs and that are not for a preconnected connection;
 * for a host that is down, all but one. */
void core_serve_trim(struct core_host *host);
/* What must give way to a dial of this host if there is no place. At max_open this is a single
 * connection, the one that has been idle longest [12]; failing that, a dial for a preconnected one.
 * NULL: nothing can, or nothing has to, since enough places become free anyway. */
struct core_conn *core_serve_victim(const struct core_host *host);
/* Whether a place for another connection is free or can be made. */
bool core_serve_has_place(const struct core_host *host);
/* The next dial, for a waiter or ahead of any, as an action; false: none now. What must give way to
 * it is put on the user's list. */
bool core_serve_dial(struct pool_core *core, struct pool_action *action);

/* core_service.c */

/* The request, which is not a waiter, is for a draining host [45]. */
void core_service_refuse(struct core_request *request);

/* core_reload.c */

/* Replaces 0 by the defaults. */
struct pool_limits core_effective_limits(const struct pool_limits *limits);

/* Whether its pool has more than max_open open, after the number of open connections has
 * changed. */
static inline void core_update_over(struct pool_core *core)
{
    if (core->over)
        core->over = core_open(core) > core->limits.max_open;
}

/* core_health.c */

/* A dial failed because of its host: if that is one too many in a row, the host is down, and
 * nothing waits for it any more [39, 40]. */
void core_health_failed(struct core_host *host, usec_t now);
/* A dial succeeded: the host is not down [42]. */
void core_health_succeeded(struct core_host *host);
/* A connection that was used before is about to be granted, and its host is down. */
void core_health_useful(const struct core_conn *conn);
/* The host of this request, which is not a waiter, is down: it gets an idle connection, or fails
 * [40]. */
void core_health_refuse(struct core_request *request);
/* Forgets the results of its dials [44]. */
void core_health_forget(struct core_host *host);
/* fail_after has changed [51]. */
void core_health_limit(struct core_host *host);

#endif
