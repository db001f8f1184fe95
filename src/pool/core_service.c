/* SPDX-License-Identifier: ISC */
/* The operator's control of a host, in the pool's core: it is paused or drained, or its connections
 * are replaced. */
#include "pool/core_internal.h"

void core_service_refuse(struct core_request *request)
{
    struct pool_core *core = request->host->core;
    core->members--;
    core_serve_fail(core, request, CORE_REQUEST_DRAINED);
}

static void refuse_waiters(struct core_host *host)
{
    struct core_request *waiter;
    while ((waiter = TAILQ_FIRST(&host->waiters)) != NULL) {
        core_host_remove_waiter(waiter);
        host->core->members++; /* as before: there is room */
        core_service_refuse(waiter);
    }
}

void pool_core_set_service(struct core_host *host, enum service service)
{
    if (service == host->service)
        return;
    core_host_set_service(host, service);
    if (service != SERVICE_OPEN) {
        core_health_forget(host);
        core_conn_close_idle(host, DISCARD_PAUSED);
    }
    if (service == SERVICE_DRAINING)
        refuse_waiters(host);
    core_host_update(host);
    core_serve_trim(host);
}

void pool_core_set_all_service(struct pool_core *core, enum service service)
{
    struct core_host *host;
    core->service = service;
    TAILQ_FOREACH (host, &core->hosts, hosts)
        pool_core_set_service(host, service);
}

void pool_core_reconnect(struct core_host *host)
{
    static const enum core_conn_state in_use[] = {CONN_CONNECTING, CONN_BUSY, CONN_HELD};
    struct core_conn *conn;
    for (size_t i = 0; i < ARRAY_LEN(in_use); i++) {
        TAILQ_FOREACH (conn, &host->conns[in_use[i]], link)
            conn->retired = true;
    }
    core_conn_close_idle(host, DISCARD_RECONNECT);
}
