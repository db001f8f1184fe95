/* SPDX-License-Identifier: ISC */
/* The consequences for a host's connections when the addresses of its name change. */
#include "base/log.h"
#include "pool/pool_internal.h"

void pool_names_check(struct pool_conn *conn)
{
    struct name_watch *watch = &pool_host_of(conn->core.host)->watch;
    const union address *address = &conn->dial_handler.address;
    if (watch->name == NULL)
        return;
    enum address_state state = resolver_find_address(watch, address);
    pool_core_set_address_gone(&conn->core, state == ADDRESS_GONE);
    if (state == ADDRESS_MISSING)
        resolver_recheck(watch, address);
}

/* Checks those in a state; returns how many of them go to an address that is now found to be
 * gone. */
static unsigned check_state(const struct pool_host *host, enum core_conn_state state)
{
    struct core_conn *conn, *next;
    unsigned gone = 0;
    for (conn = TAILQ_FIRST(&host->core.conns[state]); conn != NULL; conn = next) {
        next = TAILQ_NEXT(conn, link);
        bool known = conn->address_gone;
        pool_names_check(pool_conn_of(conn));
        gone += conn->address_gone && !known;
    }
    return gone;
}

void pool_names_check_all(struct pool_host *host)
{
    unsigned used = check_state(host, CONN_BUSY) + check_state(host, CONN_HELD);
    unsigned closed = check_state(host, CONN_IDLE);
    if (closed + used == 0)
        return;
    char text[ENDPOINT_TEXT_MAX];
    log_info("pool=%s endpoint=%s addresses have changed: %u idle connections to old ones "
             "closed, %u still in use",
             host->pool->name, endpoint_format(&host->core.endpoint, text), closed, used);
}

static void on_changed(struct name_watch *watch)
{
    struct pool_host *host = container_of(watch, struct pool_host, watch);
    loop_post(host->pool->loop, &host->name_task);
}

int pool_names_watch(struct pool_host *host)
{
    union address address;
    host->watch.changed = on_changed;
    if (address_parse(&address, host->core.endpoint.addr))
        return 0;
    return resolver_watch(host->pool->resolver, &host->watch, host->core.endpoint.addr);
}

void pool_names_unwatch(struct pool_host *host)
{
    loop_unpost(host->pool->loop, &host->name_task);
    resolver_unwatch(&host->watch);
}

void pool_names_refresh(struct pool_host *host)
{
    if (host->watch.name != NULL)
        resolver_refresh(&host->watch);
}

void pool_names_keep_fresh(struct pool_host *host)
{
    if (host->watch.name != NULL)
        resolver_keep_fresh(&host->watch, host->core.keeps_preconnected);
}
