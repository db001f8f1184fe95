/* SPDX-License-Identifier: ISC */
/* Compares the core's counts with its lists, for tests. */
#include "pool/core_internal.h"

static unsigned count_reserved(const struct core_host *host)
{
    unsigned n = 0;
    const struct core_conn *conn;
    TAILQ_FOREACH (conn, &host->conns[CONN_BUSY], link)
        n += conn->may_hold;
    return n;
}

/* Which request a connection belongs to. One being peeked at may belong to none. */
static bool has_right_lease(const struct core_conn *conn)
{
    const struct core_request *lease = conn->lease;
    if (conn->state != CONN_BUSY && conn->state != CONN_HELD)
        return lease == NULL;
    if (lease == NULL)
        return conn->pending.kind == POOL_PEEK;
    return lease->conn == conn &&
           (lease->state == CORE_REQUEST_OFFERED) == (conn->pending.kind == POOL_PEEK);
}

static bool has_right_pending(const struct core_conn *conn)
{
    switch (conn->state) {
    case CONN_CONNECTING:
        return conn->pending.kind != POOL_CLOSE;
    case CONN_IDLE:
        return conn->pending.kind == POOL_NOTHING;
    case CONN_CLOSING:
        return conn->pending.kind == POOL_CLOSE;
    default:
        return conn->pending.kind == POOL_NOTHING || conn->pending.kind == POOL_PEEK;
    }
}

static unsigned count_conns(const struct core_host *host, enum core_conn_state state, bool *right)
{
    unsigned n = 0;
    const struct core_conn *conn;
    TAILQ_FOREACH (conn, &host->conns[state], link) {
        n++;
        *right &= conn->state == state && conn->host == host;
        *right &= has_right_lease(conn) && has_right_pending(conn);
        *right &= !conn->may_hold || state == CONN_BUSY;
        *right &= core_due_is_set(&conn->due) ==
                  (state == CONN_IDLE &&
                   conn->idle_until < conn->idle_since + host->core->limits.keep_alive);
    }
    return n;
}

/* The waiters of a host: counts, order, and which have a dial. */
static const char *check_waiters(const struct core_host *host)
{
    unsigned waiting = 0, have_dial = 0, choosing = 0;
    int64_t serial = 0;
    const struct core_request *waiter, *without_dial = NULL;
    TAILQ_FOREACH (waiter, &host->waiters, link) {
        waiting++;
        have_dial += waiter->has_dial;
        if (waiter->serial <= serial || waiter->state != CORE_REQUEST_WAITING)
            return "a waiter is out of order";
        if (!core_due_is_set(&waiter->due))
            return "a waiter without a deadline";
        if (without_dial == NULL && !waiter->has_dial)
            without_dial = waiter;
        if (without_dial != NULL && waiter->has_dial)
            return "a younger waiter has a dial before an older one";
        choosing += waiter->tag != NULL && !waiter->fresh;
        if (!waiter->fresh && waiter->tag == NULL && host->count[CONN_IDLE] > 0)
            return "a waiter next to an idle connection";
        serial = waiter->serial;
    }
    unsigned dials = core_host_is_open(host) ? core_host_dials(host) : 0;
    if (choosing != host->choosing || host->settles != (core_host_settler(host) != NULL))
        return "waiters that would settle for less are miscounted";
    if (waiting != host->waiting || have_dial != host->have_dial ||
        have_dial != (dials < waiting ? dials : waiting) || without_dial != host->without_dial)
        return "waiters are miscounted";
    return NULL;
}

/* A host that is down has no waiters; it is being tried, or will be as soon as it may. */
static const char *check_health(const struct core_host *host)
{
    const struct pool_core *core = host->core;
    unsigned fail_after = core->limits.fail_after;
    if (!host->down)
        return fail_after > 0 && host->failed >= fail_after ? "a host should be down" : NULL;
    if (host->waiting > 0 || host->wants_preconnected)
        return "a host that is down has a waiter, or needs preconnected connections";
    bool may_try = core->phase != POOL_SHUT && core_host_dials(host) == 0 &&
                   !core_due_is_set(&host->retry) && core_host_open(host) < host->most_open;
    return may_try == heap_contains(&host->needs_dial) ? NULL
                                                       : "a host that is down is not to be tried";
}

/* A host that is not open has no idle connections, and none is dialled for it. */
static const char *check_service(const struct core_host *host)
{
    if (core_host_is_open(host))
        return NULL;
    if (host->count[CONN_IDLE] > 0 || host->down || host->wants_preconnected ||
        core_due_is_set(&host->retry) || heap_contains(&host->needs_dial))
        return "a host that is paused or draining has or needs a connection";
    return host->service == SERVICE_DRAINING && host->waiting > 0 ? "a waiter of a host that drains"
                                                                  : NULL;
}

/* A lowered limit may be exceeded, but not by idle connections [49]. */
static const char *check_limits(const struct core_host *host)
{
    const struct pool_core *core = host->core;
    const struct pool_limits *limits = &core->limits;
    unsigned idle = host->count[CONN_IDLE];
    if (host->most_open > limits->max_per_host || host->most_open > host->places ||
        host->most_held > limits->max_tunnels || host->most_held > host->held_places)
        return "a host's limits are not the pool's";
    if (host->over != (core_host_open(host) > host->most_open))
        return "max_per_host is exceeded";
    if (idle > 0 && core_host_stay(host) > host->most_open)
        return "an idle connection beyond max_per_host";
    if (!core->relaxed && core_host_tunnels(host) > host->most_held)
        return "max_tunnels is exceeded";
    if (!core->relaxed && core_host_dials(host) > limits->max_connecting)
        return "max_connecting is exceeded";
    if (!core_host_is_wanted(host) && (idle > 0 || host->keeps_preconnected))
        return "an idle connection to a host that is not wanted";
    return NULL;
}

static const char *check_host(const struct core_host *host)
{
    bool right = true;
    for (enum core_conn_state state = CONN_CONNECTING; state <= CONN_CLOSING; state++) {
        if (count_conns(host, state, &right) != host->count[state])
            return "a host's count differs from its list";
        if (gauge_get(&host->stats.conns[state - CONN_CONNECTING]) != host->count[state])
            return "a host's gauge differs from its count";
    }
    if (!right)
        return "a connection is in a wrong list";
    if (gauge_get(&host->stats.waiting) != host->waiting ||
        gauge_get(&host->stats.queued) != host->waiting - host->have_dial ||
        gauge_get(&host->stats.down) != host->down ||
        gauge_get(&host->stats.paused) != (host->service == SERVICE_PAUSED) ||
        gauge_get(&host->stats.draining) != (host->service == SERVICE_DRAINING))
        return "a host's gauges are wrong";
    const char *wrong = check_limits(host);
    if (wrong != NULL)
        return wrong;
    if (count_reserved(host) != host->may_hold)
        return "reservations are miscounted";
    if (core_host_is_empty(host) && !core_host_stays(host) && !host->empty)
        return "an empty host is not to be freed";
    wrong = check_health(host);
    if (wrong == NULL)
        wrong = check_service(host);
    return wrong != NULL ? wrong : check_waiters(host);
}

static const char *check_idle(const struct pool_core *core)
{
    usec_t since = 0;
    unsigned idle = 0;
    const struct core_conn *conn;
    TAILQ_FOREACH (conn, &core->idle, lru) {
        if (conn->idle_since < since)
            return "the idle list is out of order";
        since = conn->idle_since;
        idle++;
    }
    if (idle > 0 && core->phase != POOL_OPEN)
        return "an idle connection after the shutdown";
    if (idle != core->count[CONN_IDLE])
        return "idle connections are miscounted";
    return NULL;
}

const char *pool_core_check(const struct pool_core *core)
{
    unsigned count[CONN_STATES] = {0}, waiting = 0, have_dial = 0, to_dial = 0, in_question = 0;
    unsigned down = 0;
    size_t hosts = 0;
    const struct core_host *host;
    TAILQ_FOREACH (host, &core->hosts, hosts) {
        const char *wrong = check_host(host);
        if (wrong != NULL)
            return wrong;
        for (enum core_conn_state state = CONN_CONNECTING; state <= CONN_CLOSING; state++)
            count[state] += host->count[state];
        waiting += host->waiting;
        have_dial += host->have_dial;
        to_dial += host->to_dial;
        in_question += host->in_question;
        down += host->down;
        hosts++;
    }
    for (enum core_conn_state state = CONN_CONNECTING; state <= CONN_CLOSING; state++) {
        if (count[state] != core->count[state])
            return "the pool's counts differ from its lists";
    }
    if (waiting != core->waiting || waiting - have_dial != core->queued ||
        hosts != core->host_count || to_dial != core->to_dial || in_question != core->in_question ||
        down != core->down)
        return "the pool's waiters, hosts or dials are miscounted";
    if (core->over != (core_open(core) > core->limits.max_open))
        return "max_open is exceeded";
    if (core->count[CONN_IDLE] > 0 && core_stay(core) > core->limits.max_open)
        return "an idle connection beyond max_open";
    return check_idle(core);
}

const char *pool_core_check_served(const struct pool_core *core)
{
    struct heap_node *needs = heap_first(&core->needs_dial);
    if (!TAILQ_EMPTY(&core->pending))
        return "something is left to do";
    if (!TAILQ_EMPTY(&core->settling))
        return "a waiter without a dial next to an idle connection";
    if (needs == NULL)
        return TAILQ_EMPTY(&core->wanting) || core_open(core) >= core->limits.max_open
                   ? NULL
                   : "a preconnected connection is missing";
    const struct core_host *host = container_of(needs, struct core_host, needs_dial);
    if (core_open(core) < core->limits.max_open && core_host_open(host) < host->most_open)
        return "a waiter is held up although there is room";
    if (core_serve_victim(host) != NULL)
        return "a waiter is held up by an idle connection, or by a dial without a waiter";
    return NULL;
}
