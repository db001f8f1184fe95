#include "base/log.h"
#include "pool/pool_internal.h"

void conn_check_address(struct pool_conn *conn)
{
    struct name_watch *watch = &conn->host->watch;
    const union address *address = &conn->dial_handler.address;
    if (watch->name == NULL)
        return;
    enum address_state state = resolver_find_address(watch, address);
    conn->address_gone = state == ADDRESS_GONE;
    if (state == ADDRESS_MISSING)
        resolver_recheck(watch, address);
}

/* Looks at those in use; how many of them go to an address that is gone, newly so. */
static unsigned check_used(const struct pool_host *host, enum conn_state state)
{
    struct pool_conn *conn;
    unsigned gone = 0;
    TAILQ_FOREACH (conn, &host->conns[state], link) {
        bool known = conn->address_gone;
        conn_check_address(conn);
        gone += conn->address_gone && !known;
    }
    return gone;
}

/* Those in use are closed when they are released, those being dialled are looked at when they are
 * connected. */
static void on_name_task(struct task *task)
{
    struct pool_host *host = container_of(task, struct pool_host, name_task);
    struct pool *pool = host->pool;
    struct pool_conn *conn, *next;
    unsigned closed = 0;
    unsigned used = check_used(host, CONN_BUSY) + check_used(host, CONN_HELD);
    for (conn = TAILQ_FIRST(&host->conns[CONN_IDLE]); conn != NULL; conn = next) {
        next = TAILQ_NEXT(conn, link);
        conn_check_address(conn);
        if (conn->address_gone) {
            conn_close(conn, DISCARD_ADDRESS_GONE, false);
            closed++;
        }
    }
    if (closed + used > 0) {
        char text[ENDPOINT_TEXT_MAX];
        log_info("pool=%s endpoint=%s has other addresses now: %u idle connections to old ones "
                 "closed, %u are in use",
                 pool->name, endpoint_format(&host->endpoint, text), closed, used);
    }
    pool_serve(pool);
}

static void on_changed(struct name_watch *watch)
{
    struct pool_host *host = container_of(watch, struct pool_host, watch);
    loop_post(host->pool->loop, &host->name_task);
}

int host_watch_name(struct pool_host *host)
{
    union address address;
    host->watch.changed = on_changed;
    host->name_task.run = on_name_task;
    if (address_parse(&address, host->endpoint.addr))
        return 0;
    return resolver_watch(host->pool->resolver, &host->watch, host->endpoint.addr);
}

void host_unwatch_name(struct pool_host *host)
{
    loop_unpost(host->pool->loop, &host->name_task);
    resolver_unwatch(&host->watch);
}

void host_refresh_name(struct pool_host *host)
{
    if (host->watch.name != NULL)
        resolver_refresh(&host->watch);
}

void host_keep_name_fresh(struct pool_host *host)
{
    if (host->watch.name != NULL)
        resolver_keep_fresh(&host->watch, host->keeps_spares);
}
