/* SPDX-License-Identifier: ISC */
/* The interface for the pool's users: each call reports an event to the core, and carries out what
 * follows. */
#include "pool/pool.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "pool/pool_internal.h"

struct pool *pool_new(struct loop *loop, struct resolver *resolver,
                      const struct pool_limits *limits)
{
    uint64_t random;
    struct pool *pool = calloc(1, sizeof(*pool));
    if (pool == NULL)
        return NULL;
    pool->loop = loop;
    pool->resolver = resolver;
    if (getentropy(&random, sizeof(random)) < 0)
        goto err;
    pool_core_init(&pool->core, limits, random);
    limits_stats_set(&pool->limits_stats, &pool->core.limits);
    pool_reload_init(pool);
    pool->grant_task.run = pool_grant_deliver;
    TAILQ_INIT(&pool->grants);
    if (pool_io_init(pool) < 0)
        goto err;
    return pool;

err:
    free(pool);
    return NULL;
}

void pool_free(struct pool *pool)
{
    if (pool == NULL)
        return;
    pool_shutdown(pool);
    struct allocation *allocation;
    while ((allocation = TAILQ_FIRST(&pool->grants)) != NULL)
        pool_cancel(allocation);
    struct core_host *host;
    TAILQ_FOREACH (host, &pool->core.hosts, hosts)
        pool_core_retain_host(host, false);
    pool_io_run(pool);
    pool_core_clear(&pool->core); /* asserts that no lease is left */
    pool_io_clear(pool);
    free(pool);
}

usec_t pool_unacked_timeout(const struct pool *pool)
{
    return pool->core.limits.unacked_timeout;
}

void pool_set_name(struct pool *pool, const char *name)
{
    snprintf(pool->name, sizeof(pool->name), "%s", name);
}

const char *pool_get_name(const struct pool *pool)
{
    return pool->name;
}

struct pool_host *pool_retain(struct pool *pool, const struct endpoint *endpoint,
                              struct tls_client *tls)
{
    struct pool_host *host = pool_io_get_host(pool, endpoint);
    if (host == NULL)
        return NULL;
    assert(host->retained == 0 || host->tls != NULL || tls == NULL);
    if (host->tls == NULL && tls != NULL)
        host->tls = tls_client_ref(tls);
    host->retained++;
    pool_core_retain_host(&host->core, true);
    pool_io_changed(pool);
    return host;
}

void pool_unretain(struct pool_host *host)
{
    assert(host->retained > 0);
    if (--host->retained > 0)
        return;
    pool_core_retain_host(&host->core, false);
    pool_io_run(host->pool);
}

struct tls_client *pool_get_tls(const struct pool_host *host)
{
    return host->tls;
}

unsigned pool_recoveries(const struct pool_host *host)
{
    return host->outage.recoveries;
}

/* 0: the pool's timeout; negative: none. */
static usec_t time_left(const struct allocation *allocation)
{
    if (allocation->waited == 0)
        return allocation->timeout;
    usec_t left = pool_timeout(allocation) - allocation->waited;
    return left > 0 ? left : -1;
}

/* Updates the peaks, which the core does not. */
static void wait_begins(struct allocation *allocation)
{
    struct host_stats *stats = &allocation->host->core.stats;
    gauge_set(&stats->waiting, gauge_get(&stats->waiting));
    gauge_set(&stats->queued, gauge_get(&stats->queued));
    if (!allocation->request.has_dial)
        pool_report_wait(allocation);
}

int pool_allocate(struct pool *pool, struct allocation *allocation)
{
    if (pool->core.phase == POOL_SHUT) {
        errno = ESHUTDOWN;
        return -1;
    }
    usec_t now = loop_now(pool->loop);
    allocation->pool = pool;
    allocation->asked_at = now - allocation->waited;
    allocation->held_up_at = 0;
    allocation->stream = NULL;
    allocation->failure = NULL;
    allocation->reused = false;
    struct pool_host *host = allocation->retained;
    if (host == NULL && (host = pool_io_get_host(pool, allocation->endpoint)) == NULL)
        return -1;
    if (allocation->timeout >= 0)
        pool_names_refresh(host);
    allocation->host = host;
    const struct core_wish wish = {
        .tag = allocation->tag, .timeout = time_left(allocation), .fresh = allocation->fresh};
    int result = pool_core_request(&host->core, &allocation->request, &wish, now);
    pool_io_run(pool);
    if (pool_is_waiting(allocation))
        wait_begins(allocation);
    return result;
}

void pool_cancel(struct allocation *allocation)
{
    struct core_request *request = &allocation->request;
    if (request->state == CORE_REQUEST_ENDED)
        return;
    if (request->state == CORE_REQUEST_GRANTED) {
        pool_grant_withdraw(allocation);
        if (request->conn != NULL)
            pool_io_watch_idle(pool_conn_of(request->conn));
    }
    if (allocation->held_up_at != 0)
        pool_report_wait_over(allocation);
    pool_core_cancel(&allocation->pool->core, request);
    pool_io_run(allocation->pool);
}

void pool_describe(const struct allocation *lease, struct conn_info *info)
{
    assert(pool_is_leased(lease));
    const struct pool_conn *conn = pool_conn_of(lease->request.conn);
    *info = (struct conn_info){.number = conn->number,
                               .uses = conn->core.uses,
                               .address = conn->dial_handler.address,
                               .connect_time = conn->dial_handler.connect_time,
                               .handshake_time = conn->dial_handler.handshake_time};
    info->dialled_at = conn->core.born - info->connect_time - info->handshake_time;
}

bool pool_has_waiters(const struct allocation *lease)
{
    assert(pool_is_leased(lease));
    return pool_core_has_waiters(lease->request.conn);
}

const struct pool_tag *pool_get_tag(const struct allocation *lease)
{
    assert(pool_is_leased(lease));
    return &lease->request.conn->tag;
}

void pool_set_tag(struct allocation *lease, const struct pool_tag *tag)
{
    assert(pool_is_leased(lease));
    pool_core_set_tag(&lease->request, tag);
}

void *pool_attached(const struct allocation *lease)
{
    assert(pool_is_leased(lease));
    return pool_conn_of(lease->request.conn)->attached;
}

void pool_attach(struct allocation *lease, void *attached, void (*free_attached)(void *))
{
    assert(pool_is_leased(lease));
    struct pool_conn *conn = pool_conn_of(lease->request.conn);
    pool_io_detach(conn);
    conn->attached = attached;
    conn->free_attached = free_attached;
}

bool pool_release(struct allocation *lease, enum pool_release release)
{
    struct pool *pool = lease->pool;
    struct core_conn *core = pool_core_leased(&lease->request);
    if (core == NULL)
        return true;
    struct pool_conn *conn = pool_conn_of(core);
    enum pool_peek peek = POOL_PEEK_DRAINED;
    if (release != RELEASE_DRAINED || pool_core_has_waiters(core) ||
        !stream_is_drained(&conn->stream) || stream_has_pending(&conn->stream))
        peek = pool_io_peek(conn);
    if (release == RELEASE_IF_QUIET && peek > POOL_PEEK_PARTIAL)
        return false;
    pool_names_refresh(pool_host_of(core->host));
    lease->stream = NULL;
    pool_io_watch_idle(conn);
    pool_io_placed(conn, pool_core_release(&lease->request, peek, loop_now(pool->loop)));
    pool_io_run(pool);
    return true;
}

void pool_discard(struct allocation *lease, enum pool_discard reason, bool reset)
{
    if (pool_core_leased(&lease->request) == NULL)
        return;
    lease->stream = NULL;
    pool_core_discard(&lease->request, reason, reset);
    pool_io_run(lease->pool);
}

void pool_discard_tagged(struct pool_host *host, const unsigned char identity[POOL_IDENTITY_SIZE],
                         enum pool_discard reason)
{
    pool_core_discard_tagged(&host->core, identity, reason);
    pool_io_run(host->pool);
}

bool pool_can_hold(const struct pool_host *host)
{
    return pool_core_can_hold(&host->core);
}

bool pool_reserve_hold(struct allocation *lease)
{
    assert(pool_is_leased(lease));
    bool reserved = pool_core_reserve_hold(&lease->request);
    pool_io_changed(lease->pool);
    return reserved;
}

void pool_hold(struct allocation *lease)
{
    assert(pool_is_leased(lease));
    const struct pool_conn *conn = pool_conn_of(lease->request.conn);
    bool moves = conn->core.state != CONN_HELD;
    pool_core_hold(&lease->request);
    if (moves)
        pool_io_log_state(conn, "held by its user");
    pool_io_run(lease->pool);
}

bool pool_unhold(struct allocation *lease)
{
    assert(pool_is_leased(lease));
    const struct pool_conn *conn = pool_conn_of(lease->request.conn);
    bool moves = conn->core.state == CONN_HELD;
    if (!pool_core_unhold(&lease->request))
        return false;
    if (moves)
        pool_io_log_state(conn, "no longer held");
    pool_io_changed(lease->pool);
    return true;
}

void pool_set_idle_hint(struct allocation *lease, usec_t idle_hint)
{
    assert(pool_is_leased(lease));
    pool_core_set_idle_hint(&lease->request, idle_hint);
}

int pool_keep_preconnected(struct pool *pool, const struct endpoint *endpoint)
{
    struct pool_host *host = pool_io_get_host(pool, endpoint);
    if (host == NULL)
        return -1;
    pool_set_preconnected(host, true);
    return 0;
}

void pool_set_preconnected(struct pool_host *host, bool keep)
{
    pool_core_set_preconnected(&host->core, keep);
    pool_names_keep_fresh(host);
    pool_io_run(host->pool);
}

void pool_expect_greeting(struct pool *pool, const struct endpoint *endpoint)
{
    struct core_host *host = pool_core_find_host(&pool->core, endpoint);
    if (host != NULL)
        pool_core_set_greeting(host, true);
}

void pool_set_greeting(struct pool_host *host, bool sends)
{
    pool_core_set_greeting(&host->core, sends);
}

static void enter_phase(struct pool *pool, enum pool_phase phase)
{
    struct core_host *host;
    pool_core_enter_phase(&pool->core, phase);
    TAILQ_FOREACH (host, &pool->core.hosts, hosts)
        pool_names_keep_fresh(pool_host_of(host));
    pool_io_run(pool);
}

void pool_drain(struct pool *pool)
{
    enter_phase(pool, POOL_DRAINING);
}

void pool_shutdown(struct pool *pool)
{
    enter_phase(pool, POOL_SHUT);
}

const struct pool_limits *pool_get_limits(const struct pool *pool)
{
    return &pool->core.limits;
}

const struct host_stats *pool_host_stats(const struct pool_host *host)
{
    return &host->core.stats;
}

const struct limits_stats *pool_limits_stats(const struct pool *pool)
{
    return &pool->limits_stats;
}

void pool_get_stats(const struct pool *pool, struct pool_stats *stats)
{
    pool_core_get_stats(&pool->core, stats);
}

const char *pool_check(const struct pool *pool)
{
    const char *wrong = pool_core_check(&pool->core);
    if (wrong == NULL)
        wrong = pool_core_check_served(&pool->core);
    struct core_host *host;
    TAILQ_FOREACH (host, &pool->core.hosts, hosts) {
        if (wrong == NULL)
            wrong = pool_report_check(pool_host_of(host));
    }
    return wrong;
}
