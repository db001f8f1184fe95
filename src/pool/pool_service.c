/* SPDX-License-Identifier: ISC */
/* What an operator sets for hosts, and sees of them. */
#include "pool/pool_internal.h"

static void note_resumption(struct pool_host *host, enum service service)
{
    if (host->core.service == SERVICE_PAUSED && service != SERVICE_PAUSED)
        host->resumed_at = unix_time();
}

void pool_set_service(struct pool *pool, struct pool_host *host, enum service service)
{
    struct core_host *each;
    TAILQ_FOREACH (each, &pool->core.hosts, hosts) {
        if (host == NULL || each == &host->core)
            note_resumption(pool_host_of(each), service);
    }
    if (host != NULL)
        pool_core_set_service(&host->core, service);
    else
        pool_core_set_all_service(&pool->core, service);
    pool_io_run(pool);
}

void pool_reconnect(struct pool *pool, struct pool_host *host)
{
    struct core_host *each;
    TAILQ_FOREACH (each, &pool->core.hosts, hosts) {
        if (host == NULL || each == &host->core)
            pool_core_reconnect(each);
    }
    pool_io_run(pool);
}

enum service pool_get_service(const struct pool_host *host)
{
    return host->core.service;
}

unsigned pool_leases(const struct pool_host *host)
{
    return host->core.count[CONN_BUSY] + host->core.count[CONN_HELD];
}

struct pool_host *pool_next_host(const struct pool *pool, const struct pool_host *after)
{
    struct core_host *next =
        after == NULL ? TAILQ_FIRST(&pool->core.hosts) : TAILQ_NEXT(&after->core, hosts);
    return next == NULL ? NULL : pool_host_of(next);
}

struct allocation *pool_next_waiting(const struct pool_host *host, const struct allocation *after)
{
    struct core_request *next =
        after == NULL ? TAILQ_FIRST(&host->core.waiters) : TAILQ_NEXT(&after->request, link);
    return next == NULL ? NULL : container_of(next, struct allocation, request);
}

static usec_t oldest_wait(const struct pool_host *host)
{
    const struct allocation *oldest = pool_next_waiting(host, NULL);
    return oldest == NULL ? 0 : loop_now(host->pool->loop) - oldest->asked_at;
}

void pool_view(const struct pool_host *host, struct pool_view *view)
{
    const struct outage *outage = &host->outage;
    *view = (struct pool_view){.endpoint = &host->core.endpoint,
                               .service = host->core.service,
                               .resumed_at = host->resumed_at,
                               .down = host->core.down,
                               .down_since = host->core.down ? outage->down_since : 0,
                               .last_error = &outage->last,
                               .last_error_at = outage->last_at,
                               .last_connected_at = outage->connected_at,
                               .oldest_wait = oldest_wait(host)};
}
