/* SPDX-License-Identifier: ISC */
/* Health in the pool's core: a host that is down is tried by one dial at a time. */
#include "pool/core_internal.h"

void core_health_refuse(struct core_request *request)
{
    struct pool_core *core = request->host->core;
    if (core_serve_settle(request))
        return;
    core->members--;
    counter_add(&request->host->stats.refused, 1);
    core_serve_fail(core, request, CORE_REQUEST_DOWN);
}

static void refuse_waiters(struct core_host *host)
{
    struct core_request *waiter;
    while ((waiter = TAILQ_FIRST(&host->waiters)) != NULL) {
        core_host_remove_waiter(waiter);
        host->core->members++; /* as before: there is room */
        core_health_refuse(waiter);
    }
}

void core_health_failed(struct core_host *host, usec_t now)
{
    struct pool_core *core = host->core;
    if (core->limits.fail_after == 0 || !core_host_is_open(host) || host->down ||
        ++host->failed < core->limits.fail_after)
        return;
    host->down = true;
    host->listed = true; /* so that core_host_update handles it from now on */
    core->down++;
    gauge_set(&host->stats.down, 1);
    counter_add(&host->stats.downs, 1);
    core_host_back_off(host, now);
    refuse_waiters(host);
    core_host_update(host);
    core_serve_trim(host);
}

void core_health_forget(struct core_host *host)
{
    host->failed = 0;
    host->backoff = 0;
    host->core->down -= host->down;
    host->down = false;
    gauge_set(&host->stats.down, 0);
    core_due_clear(host->core, &host->retry);
}

void core_health_limit(struct core_host *host)
{
    unsigned most = host->core->limits.fail_after;
    if (most == 0 && host->down)
        core_health_forget(host);
    if (!host->down && host->failed >= most)
        host->failed = most == 0 ? 0 : most - 1;
}

/* The backoff remains until a connection proves useful: if dials succeed only occasionally, the
 * pauses keep growing. */
void core_health_succeeded(struct core_host *host)
{
    host->failed = 0;
    if (!host->down)
        return;
    host->down = false;
    host->core->down--;
    gauge_set(&host->stats.down, 0);
    core_due_clear(host->core, &host->retry);
    core_host_update(host);
}

void core_health_useful(const struct core_conn *conn)
{
    struct core_host *host = conn->host;
    unsigned usable = host->count[CONN_BUSY] + host->count[CONN_IDLE];
    if (conn->uses > 0 && usable >= host->most_open && !core_due_is_set(&host->retry))
        core_health_succeeded(host);
}
