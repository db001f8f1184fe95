/* SPDX-License-Identifier: ISC */
/* What another configuration changes in the pool's core: limits, which apply at once, and which
 * hosts it names. */
#include "pool/core_internal.h"

struct pool_limits core_effective_limits(const struct pool_limits *limits)
{
    struct pool_limits effective = *limits;
    if (effective.max_per_host == 0)
        effective.max_per_host = POOL_MAX_PER_HOST;
    if (effective.max_connecting == 0)
        effective.max_connecting = effective.max_per_host;
    if (effective.max_open == 0)
        effective.max_open = POOL_MAX_OPEN;
    if (effective.keep_alive == 0)
        effective.keep_alive = POOL_KEEP_ALIVE;
    if (effective.timeout == 0)
        effective.timeout = POOL_TIMEOUT;
    return effective;
}

/* Closes what is idle beyond max_per_host, the longest idle first [49]. */
static void close_surplus(struct core_host *host)
{
    struct core_conn *idle;
    while (host->over && core_host_stay(host) > host->most_open &&
           (idle = TAILQ_LAST(&host->conns[CONN_IDLE], core_conn_list)) != NULL)
        core_conn_close(idle, DISCARD_MAX_PER_HOST, false);
}

/* The same for max_open, across all hosts. */
static void close_all_surplus(struct pool_core *core)
{
    struct core_host *host;
    struct core_conn *idle;
    TAILQ_FOREACH (host, &core->hosts, hosts)
        close_surplus(host);
    core->over = core_open(core) > core->limits.max_open;
    while (core->over && core_stay(core) > core->limits.max_open &&
           (idle = TAILQ_FIRST(&core->idle)) != NULL)
        core_conn_close(idle, DISCARD_MAX_OPEN, false);
}

/* How long connections live [50]. Idle connections that have been idle too long, are too old, or
 * were used too often are closed at once. */
static void renew_idle(struct pool_core *core, usec_t now)
{
    struct core_conn *conn = TAILQ_FIRST(&core->idle), *next;
    for (; conn != NULL; conn = next) {
        next = TAILQ_NEXT(conn, lru);
        core_conn_limit_idle(conn);
        (void)core_conn_is_fit(conn, POOL_PEEK_QUIET, now);
    }
}

static void renew_ages(struct core_host *host)
{
    struct core_conn *conn;
    for (enum core_conn_state state = CONN_CONNECTING; state <= CONN_IDLE; state++) {
        TAILQ_FOREACH (conn, &host->conns[state], link)
            core_conn_choose_max_age(conn);
    }
}

static void update(struct core_host *host)
{
    core_host_set_preconnected(host);
    core_host_update(host);
    core_serve_trim(host);
}

static void renew_host(struct core_host *host, const struct pool_limits *old)
{
    const struct pool_limits *limits = &host->core->limits;
    core_host_set_limits(host);
    core_health_limit(host);
    if (limits->max_age != old->max_age)
        renew_ages(host);
    if (address_compare(&limits->bind_address, &old->bind_address) != 0)
        pool_core_reconnect(host);
}

void pool_core_set_limits(struct pool_core *core, const struct pool_limits *limits, usec_t now)
{
    struct pool_limits old = core->limits;
    struct core_host *host;
    core->limits = core_effective_limits(limits);
    core->relaxed |= core->limits.max_connecting < old.max_connecting ||
                     core->limits.max_tunnels < old.max_tunnels;
    TAILQ_FOREACH (host, &core->hosts, hosts)
        renew_host(host, &old);
    renew_idle(core, now);
    close_all_surplus(core);
    TAILQ_FOREACH (host, &core->hosts, hosts)
        update(host);
    core_find_next_time(core);
}

static void set_places(struct core_host *host)
{
    core_host_set_limits(host);
    close_surplus(host);
    core_host_update(host);
    core_serve_trim(host);
}

void pool_core_set_places(struct core_host *host, unsigned places)
{
    host->places = places;
    set_places(host);
}

void pool_core_set_new_places(struct pool_core *core, unsigned places)
{
    core->new_places = places;
}

void pool_core_set_held_places(struct core_host *host, unsigned places)
{
    host->core->relaxed |= places < host->held_places;
    host->held_places = places;
    set_places(host);
}

struct pool_places pool_core_view_places(const struct core_host *host)
{
    return (struct pool_places){.open = core_host_open(host),
                                .idle = host->count[CONN_IDLE],
                                .queued = host->waiting - host->have_dial,
                                .held = core_host_tunnels(host)};
}

/* Whether it is wanted has changed. */
static void renew_wanted(struct core_host *host)
{
    if (!core_host_is_wanted(host)) {
        host->wishes_preconnected = host->sends_greeting = false;
        core_conn_close_idle(host, DISCARD_RELOAD);
    }
    update(host);
}

void pool_core_set_wanted(struct core_host *host, bool wanted)
{
    host->unwanted = !wanted;
    renew_wanted(host);
}

void pool_core_set_retired(struct pool_core *core, bool retired)
{
    struct core_host *host;
    core->retired = retired;
    TAILQ_FOREACH (host, &core->hosts, hosts)
        renew_wanted(host);
}
