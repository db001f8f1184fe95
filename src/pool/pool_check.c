#include "pool/pool_internal.h"

static unsigned count_reserved(const struct pool_host *host)
{
    unsigned n = 0;
    const struct pool_conn *conn;
    TAILQ_FOREACH (conn, &host->conns[CONN_BUSY], link)
        n += conn->may_hold;
    return n;
}

static unsigned count_conns(const struct pool_host *host, enum conn_state state, bool *right)
{
    unsigned n = 0;
    const struct pool_conn *conn;
    TAILQ_FOREACH (conn, &host->conns[state], link) {
        n++;
        *right &= conn->state == state && conn->host == host;
        *right &= (conn->lease != NULL) == (state == CONN_BUSY || state == CONN_HELD);
        *right &= !conn->may_hold || state == CONN_BUSY;
        *right &= (conn->dial != NULL) == (state == CONN_CONNECTING);
    }
    return n;
}

/* The waiters of a host: counts, order, and which are covered. */
static const char *check_waiters(const struct pool_host *host)
{
    unsigned waiting = 0, covered = 0, held_up = 0;
    int64_t serial = 0;
    const struct allocation *waiter, *uncovered = NULL;
    TAILQ_FOREACH (waiter, &host->waiters, link) {
        waiting++;
        covered += waiter->covered;
        held_up += waiter->held_up_at != 0;
        if (waiter->serial <= serial || waiter->state != ALLOCATION_WAITING)
            return "a waiter is out of order";
        if (!timer_is_set(&waiter->deadline))
            return "a waiter without a deadline";
        if (uncovered == NULL && !waiter->covered)
            uncovered = waiter;
        if (uncovered != NULL && waiter->covered)
            return "a younger waiter is covered before an older one";
        if (!waiter->fresh && host->count[CONN_IDLE] > 0)
            return "a waiter beside an idle connection";
        serial = waiter->serial;
    }
    unsigned dials = host->count[CONN_CONNECTING];
    if (waiting != host->waiting || covered != host->covered ||
        covered != (dials < waiting ? dials : waiting) || uncovered != host->uncovered)
        return "waiters are miscounted";
    if (held_up != host->held_up.waiting)
        return "waiters that a limit holds up are miscounted";
    return NULL;
}

static const char *check_host(const struct pool_host *host)
{
    const struct pool *pool = host->pool;
    bool right = true;
    for (enum conn_state state = CONN_CONNECTING; state <= CONN_IDLE; state++) {
        if (count_conns(host, state, &right) != host->count[state])
            return "a host's count differs from its list";
    }
    if (!right)
        return "a connection stands in a wrong list";
    if (host_open(host) > pool->limits.max_per_host)
        return "max_per_host is exceeded";
    if (count_reserved(host) != host->may_hold)
        return "reservations are miscounted";
    if (host_tunnels(host) > pool->limits.max_tunnels)
        return "max_tunnels is exceeded";
    if (host->count[CONN_CONNECTING] > pool->limits.max_connecting)
        return "max_connecting is exceeded";
    if (heap_contains(&host->hungry) && pool_open(pool) < pool->limits.max_open)
        return "a waiter is held up although there is room";
    if (heap_contains(&host->hungry) && (!TAILQ_EMPTY(&pool->idle) || !TAILQ_EMPTY(&pool->surplus)))
        return "a waiter is held up by an idle connection or a spare";
    if (host_is_empty(host) && !host->pinned && !host->keeps_spares)
        return "an empty host was not freed";
    return check_waiters(host);
}

const char *pool_check(const struct pool *pool)
{
    unsigned count[CONN_STATES] = {0}, waiting = 0, covered = 0, idle = 0;
    size_t hosts = 0;
    const struct pool_host *host;
    TAILQ_FOREACH (host, &pool->hosts, hosts) {
        const char *wrong = check_host(host);
        if (wrong != NULL)
            return wrong;
        for (enum conn_state state = CONN_CONNECTING; state <= CONN_IDLE; state++)
            count[state] += host->count[state];
        waiting += host->waiting;
        covered += host->covered;
        hosts++;
    }
    usec_t since = 0;
    const struct pool_conn *conn;
    TAILQ_FOREACH (conn, &pool->idle, lru) {
        if (conn->idle_since < since)
            return "the idle list is out of order";
        since = conn->idle_since;
        idle++;
    }
    if (idle > 0 && pool->phase != POOL_OPEN)
        return "an idle connection after the shutdown";
    if (idle > 0 && !timer_is_set(&pool->idle_timer) &&
        !timer_is_set(&TAILQ_FIRST(&pool->idle)->stay_timer))
        return "idle connections without a keep_alive timer";
    if (count[CONN_BUSY] != pool->stats.busy || count[CONN_CONNECTING] != pool->stats.connecting ||
        count[CONN_HELD] != pool->stats.held || count[CONN_IDLE] != pool->stats.idle ||
        idle != pool->stats.idle)
        return "the pool's counts differ from its lists";
    if (waiting != pool->stats.waiting || waiting - covered != pool->stats.queued ||
        hosts != pool->host_count)
        return "the pool's waiters or hosts are miscounted";
    if (pool_open(pool) > pool->limits.max_open)
        return "max_open is exceeded";
    return NULL;
}
