/* SPDX-License-Identifier: ISC */
/* What the files of the pool's core share; for them alone. Lowest first:
 *
 *   core_host.c    a host: its waiters, which of them have a dial, what it wants
 *   core_conn.c    a connection: its transitions, its limits, its end
 *   core_serve.c   who gets what: connections to waiters, places to dials
 *   core_health.c  a host that is down
 *   core_service.c a host that is paused, or drains; new connections for old
 *   core_reload.c  other limits; hosts that the configuration does not name any more
 *   pool_core.c    the events
 *   core_check.c   counts against lists, for tests */
#ifndef KAPROXY_CORE_INTERNAL_H
#define KAPROXY_CORE_INTERNAL_H

#include <assert.h>

#include "pool/pool_core.h"

#define CORE_NEVER INT64_MAX

/* What counts under max_per_host. */
static inline unsigned core_host_open(const struct core_host *host)
{
    return host->count[CONN_CONNECTING] + host->to_dial + host->count[CONN_BUSY] +
           host->count[CONN_IDLE] + host->count[CONN_CLOSING] - host->closing_held;
}

/* What will be left of that once those that are being closed are. */
static inline unsigned core_host_stay(const struct core_host *host)
{
    return core_host_open(host) - (host->count[CONN_CLOSING] - host->closing_held);
}

/* What counts under max_tunnels. */
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

/* What counts under max_open. */
static inline unsigned core_open(const struct pool_core *core)
{
    return core->count[CONN_CONNECTING] + core->to_dial + core->count[CONN_BUSY] +
           core->count[CONN_HELD] + core->count[CONN_IDLE] + core->count[CONN_CLOSING];
}

static inline unsigned core_stay(const struct pool_core *core)
{
    return core_open(core) - core->count[CONN_CLOSING];
}

/* By how many what is open exceeds max_open. */
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

/* Though nothing refers to it. */
static inline bool core_host_stays(const struct core_host *host)
{
    return host->retained || host->wishes_preconnected ||
           (!core_host_is_open(host) && host->core->phase != POOL_SHUT &&
            core_host_is_wanted(host));
}

/* Whether max_connecting leaves room for one more dial. */
static inline bool core_host_may_dial(const struct core_host *host)
{
    return core_host_dials(host) < host->core->limits.max_connecting;
}

/* Dials that no waiter of the host needs. */
static inline unsigned core_host_excess(const struct core_host *host)
{
    return core_host_dials(host) - host->have_dial;
}

/* Puts something on the user's list, or changes what is there. */
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

/* Sets core->next_time to what is due first. */
static inline void core_find_next_time(struct pool_core *core)
{
    const struct heap_node *due = heap_first(&core->due);
    const struct core_conn *idle = TAILQ_FIRST(&core->idle);
    core->next_time = due == NULL ? CORE_NEVER : due->key;
    if (idle != NULL)
        core_note_time(core, idle->idle_since + core->limits.keep_alive);
}

/* Sets or moves what is due; there is room for every member. */
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
 * one and has no dial yet: then the connection's place is for it. */
struct core_request *core_host_waiter_for(const struct core_host *host,
                                          const struct core_conn *conn);
/* The oldest waiter without a dial that an idle connection of its host would serve as well, though
 * it wants a new one more; NULL: there is none, or nothing is idle. */
struct core_request *core_host_settler(const struct core_host *host);
/* Brings the waiters' dials and the core's lists of hosts up to date; to be called after every
 * change. */
void core_host_update(struct core_host *host);
/* A dial failed, or the upstream closed a new connection unused: wait before the next one that
 * nobody waits for. */
void core_host_back_off(struct core_host *host, usec_t now);
/* A connection proved useful: forget failures. */
void core_host_proved(struct core_host *host);

/* What its limits are, by the pool's and its places. */
void core_host_set_limits(struct core_host *host);
/* Whether it keeps preconnected connections. */
void core_host_set_preconnected(struct core_host *host);

/* Its service, which is counted. */
void core_host_set_service(struct core_host *host, enum service service);

/* core_conn.c */

/* Every change of a connection's state: its lists and counts. */
void core_conn_set_state(struct core_conn *conn, enum core_conn_state to);
/* Ends it in any state, for this reason; the user must not have it in hand. */
void core_conn_close(struct core_conn *conn, enum pool_discard reason, bool reset);
void core_conn_close_idle(struct core_host *host, enum pool_discard reason);
/* Up to 10 % less than the pool's, so that many do not reconnect in step. */
void core_conn_choose_max_age(struct core_conn *conn);
/* Sets how long it may be idle, from idle_since on. */
void core_conn_limit_idle(struct core_conn *conn);
/* True when it may be used once more, after this peek; else it is to be closed. */
bool core_conn_is_fit(struct core_conn *conn, enum pool_peek peek, usec_t now);
/* Whether it counts under max_per_host, or finds room there: what is held may not. */
static inline bool core_conn_has_place(const struct core_conn *conn)
{
    return conn->state != CONN_HELD || core_host_open(conn->host) < conn->host->most_open;
}
/* As pool_core_reserve_hold, _hold and _unhold. */
MUST_CHECK bool core_conn_reserve_hold(struct core_conn *conn);
void core_conn_hold(struct core_conn *conn);
MUST_CHECK bool core_conn_unhold(struct core_conn *conn);
/* Why it is one too many, since a limit was lowered; POOL_DISCARD_COUNT: it is not [49]. */
enum pool_discard core_conn_surplus(const struct core_conn *conn);
/* Makes it idle, or closes it where the pool keeps nothing idle. */
void core_conn_park(struct core_conn *conn, usec_t now);

/* core_serve.c */

/* Offers the idle connection that this request wants most; false: there is none that it wants more
 * than a new one [16, 18, 33]. */
bool core_serve_offer(struct core_request *request);
/* The connection is the request's, which is returned; its owner is to be called. */
struct core_request *core_serve_grant(struct core_conn *conn, struct core_request *request,
                                      enum from_cache from_cache);
/* Offers the idle connection of its host that is the longest unused, whatever its tag [33, 40];
 * false: there is none, or the request is for a fresh one. */
bool core_serve_settle(struct core_request *request);
/* A connection is ready, dialled or released: to the oldest waiter, which is returned, or idle. */
struct core_request *core_serve_place(struct core_conn *conn, usec_t now);
/* The request will have no connection. */
void core_serve_fail(struct pool_core *core, struct core_request *request,
                     enum core_request_failure failure);
/* The same, without an action: its owner is called by whoever knows why. */
void core_serve_end(struct core_request *request, enum core_request_failure failure);
/* Ends dials, newest first, that nobody waits for, that are for no preconnected connection, and of
 * a host that is down all but one. */
void core_serve_trim(struct core_host *host);
/* Who goes for a dial of this host, where there is no place. At max_open the longest idle
 * connection, just one [12]; failing that, a dial for a preconnected one. NULL: nobody, or nobody
 * has to, since enough places come free anyway. */
struct core_conn *core_serve_victim(const struct core_host *host);
/* Whether a place for one more connection is free, or can be had. */
bool core_serve_has_place(const struct core_host *host);
/* One more dial, for a waiter or ahead of any, the first thing to be done, or nothing. What has to
 * go for it is put on the user's list. */
bool core_serve_dial(struct pool_core *core, struct pool_action *action);

/* core_service.c */

/* The request, which is no waiter, is for a host that drains [45]. */
void core_service_refuse(struct core_request *request);

/* core_reload.c */

/* With defaults for what is 0. */
struct pool_limits core_effective_limits(const struct pool_limits *limits);

/* Whether its pool has more open than max_open, after what is open has changed. */
static inline void core_update_over(struct pool_core *core)
{
    if (core->over)
        core->over = core_open(core) > core->limits.max_open;
}

/* core_health.c */

/* A dial failed by its host: if it is one too many in a row the host is down, and nobody waits for
 * it any more [39, 40]. */
void core_health_failed(struct core_host *host, usec_t now);
/* A dial succeeded: the host is not down [42]. */
void core_health_succeeded(struct core_host *host);
/* One that was used before is about to be granted, and its host is down. */
void core_health_useful(const struct core_conn *conn);
/* The host of this request, which is no waiter, is down: it gets what is idle, or fails [40]. */
void core_health_refuse(struct core_request *request);
/* Forgets how its dials have gone [44]. */
void core_health_forget(struct core_host *host);
/* fail_after has changed [51]. */
void core_health_limit(struct core_host *host);

#endif
