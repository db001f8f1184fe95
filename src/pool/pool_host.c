#include <assert.h>
#include <errno.h>
#include <event2/util.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/span.h"
#include "pool/pool_internal.h"

#define BACKOFF_MIN (1 * USEC_PER_SEC)
#define BACKOFF_MAX (30 * USEC_PER_SEC)

static int compare_hosts(const void *a, const void *b)
{
    return endpoint_compare(a, b);
}

static void on_retry(struct timer *timer)
{
    struct pool_host *host = container_of(timer, struct pool_host, retry_timer);
    struct pool *pool = host->pool;
    host_update(host);
    pool_serve(pool);
}

struct pool_host *host_find(const struct pool *pool, const struct endpoint *endpoint)
{
    void **found = tfind(endpoint, &pool->tree, compare_hosts);
    return found == NULL ? NULL : container_of(*found, struct pool_host, endpoint);
}

struct pool_host *host_get(struct pool *pool, const struct endpoint *endpoint)
{
    struct pool_host *host = host_find(pool, endpoint);
    if (host != NULL)
        return host;

    /* Room for every host that there is, so that no later step of a host can fail for memory. */
    if (heap_reserve(&pool->hungry, pool->host_count + 1) < 0)
        return NULL;
    host = calloc(1, sizeof(*host));
    if (host == NULL)
        return NULL;
    host->pool = pool;
    host->endpoint = *endpoint;
    host->retry_timer.fire = on_retry;
    host_begin_reports(host);
    TAILQ_INIT(&host->waiters);
    for (int state = 0; state < CONN_STATES; state++)
        TAILQ_INIT(&host->conns[state]);
    if (host_watch_name(host) < 0)
        goto err_host;
    if (tsearch(&host->endpoint, &pool->tree, compare_hosts) == NULL)
        goto err_name;
    TAILQ_INSERT_TAIL(&pool->hosts, host, hosts);
    pool->host_count++;
    host_update(host);
    return host;

err_name:
    host_unwatch_name(host);
err_host:
    free(host);
    errno = ENOMEM;
    return NULL;
}

void host_free(struct pool_host *host)
{
    struct pool *pool = host->pool;
    assert(host_is_empty(host));
    heap_remove(&pool->hungry, &host->hungry);
    timer_clear(pool->loop, &host->retry_timer);
    host_end_reports(host);
    host_unwatch_name(host);
    if (host->wants_spares)
        TAILQ_REMOVE(&pool->wanting, host, wanting);
    if (host->has_surplus)
        TAILQ_REMOVE(&pool->surplus, host, surplus);
    if (host->empty)
        TAILQ_REMOVE(&pool->empties, host, empties);
    TAILQ_REMOVE(&pool->hosts, host, hosts);
    tdelete(&host->endpoint, &pool->tree, compare_hosts);
    pool->host_count--;
    free(host);
}

void host_add_waiter(struct pool_host *host, struct allocation *allocation)
{
    allocation->state = ALLOCATION_WAITING;
    allocation->host = host;
    allocation->covered = false;
    allocation->held_up_at = 0;
    TAILQ_INSERT_TAIL(&host->waiters, allocation, link);
    TAILQ_INSERT_TAIL(&host->pool->waiters, allocation, arrival);
    host->waiting++;
    host->pool->stats.waiting++;
    host->pool->stats.queued++;
    if (host->uncovered == NULL)
        host->uncovered = allocation;
    host_update(host);
}

void host_remove_waiter(struct pool_host *host, struct allocation *allocation)
{
    if (host->uncovered == allocation)
        host->uncovered = TAILQ_NEXT(allocation, link);
    if (allocation->covered)
        host->covered--;
    else
        host->pool->stats.queued--;
    if (allocation->held_up_at != 0)
        host_note_wait_over(host, allocation);
    TAILQ_REMOVE(&host->waiters, allocation, link);
    TAILQ_REMOVE(&host->pool->waiters, allocation, arrival);
    host->waiting--;
    host->pool->stats.waiting--;
    allocation->host = NULL;
    timer_clear(host->pool->loop, &allocation->deadline);
    host_update(host);
}

struct allocation *host_waiter_for(const struct pool_host *host, const struct pool_conn *conn)
{
    struct allocation *waiter = TAILQ_FIRST(&host->waiters);
    if (conn->uses == 0)
        return waiter;
    /* A dial is under way for those that are passed over. */
    while (waiter != NULL && waiter->fresh && waiter->covered)
        waiter = TAILQ_NEXT(waiter, link);
    return waiter;
}

/* Marks the oldest min(dials, waiters) as covered. Each change of either moves the border by one.
 */
static void cover(struct pool_host *host)
{
    unsigned dials = host->count[CONN_CONNECTING];
    unsigned target = dials < host->waiting ? dials : host->waiting;
    while (host->covered < target) {
        host->uncovered->covered = true;
        host->uncovered = TAILQ_NEXT(host->uncovered, link);
        host->covered++;
        host->pool->stats.queued--;
    }
    while (host->covered > target) {
        host->uncovered = host->uncovered == NULL
                              ? TAILQ_LAST(&host->waiters, allocation_list)
                              : TAILQ_PREV(host->uncovered, allocation_list, link);
        host->uncovered->covered = false;
        host->covered--;
        host->pool->stats.queued++;
    }
}

/* A waiter without a dial can use a slot when its host has room and may dial. One that insists on a
 * fresh connection can also use the place of an idle one of its own host. */
static bool is_hungry(const struct pool_host *host)
{
    if (host->uncovered == NULL || !host_may_dial(host))
        return false;
    if (host_open(host) < host->pool->limits.max_per_host)
        return true;
    return host->uncovered->fresh && host->count[CONN_IDLE] > 0;
}

/* Dials are not tied to waiters: the oldest one speaks for all whom a dial covers. */
void host_explain_timeout(const struct pool_host *host, const struct allocation *waiter,
                          struct failure *failure)
{
    usec_t timeout = allocation_timeout(waiter);
    char time[SPAN_TEXT_MAX];
    if (waiter->covered) {
        const struct pool_conn *oldest = TAILQ_LAST(&host->conns[CONN_CONNECTING], conn_list);
        dial_time_is_up(oldest->dial, "timeout", timeout, failure);
        return;
    }
    enum limit limit = host_limit(host);
    unsigned waiting =
        limit == LIMIT_MAX_OPEN ? host->pool->stats.queued : host->waiting - host->covered;
    failure->function = "queue";
    failure->number = ETIMEDOUT;
    failure->fault = TLS_FAULT_NONE;
    snprintf(failure->text, sizeof(failure->text),
             "no connection became free within %s (%s = %u, %u waiting)",
             span_format(timeout, time), limit_name(limit), limit_value(host->pool, limit),
             waiting);
}

static bool wants_spares(const struct pool_host *host)
{
    const struct pool *pool = host->pool;
    return host->keeps_spares && pool->phase == POOL_OPEN && !timer_is_set(&host->retry_timer) &&
           host->uncovered == NULL && host_may_dial(host) &&
           host_open(host) < pool->limits.max_per_host &&
           host->count[CONN_IDLE] + host_surplus(host) < pool->limits.min_idle;
}

void host_update(struct pool_host *host)
{
    struct pool *pool = host->pool;
    cover(host);

    bool hungry = is_hungry(host);
    if (heap_contains(&host->hungry) && (!hungry || host->hungry.key != host->uncovered->serial))
        heap_remove(&pool->hungry, &host->hungry);
    if (hungry && !heap_contains(&host->hungry)) {
        int done = heap_insert(&pool->hungry, &host->hungry, host->uncovered->serial);
        assert(done == 0); /* reserved in host_get */
        (void)done;
    }

    bool wants = wants_spares(host);
    if (wants && !host->wants_spares)
        TAILQ_INSERT_TAIL(&pool->wanting, host, wanting);
    else if (!wants && host->wants_spares)
        TAILQ_REMOVE(&pool->wanting, host, wanting);
    host->wants_spares = wants;

    bool surplus = host_surplus(host) > 0;
    if (surplus && !host->has_surplus)
        TAILQ_INSERT_TAIL(&pool->surplus, host, surplus);
    else if (!surplus && host->has_surplus)
        TAILQ_REMOVE(&pool->surplus, host, surplus);
    host->has_surplus = surplus;

    bool empty = host_is_empty(host) && !host->pinned && !host->keeps_spares;
    if (empty && !host->empty)
        TAILQ_INSERT_TAIL(&pool->empties, host, empties);
    else if (!empty && host->empty)
        TAILQ_REMOVE(&pool->empties, host, empties);
    host->empty = empty;
}

void host_trim(struct pool_host *host)
{
    const struct pool *pool = host->pool;
    unsigned keep = 0;
    if (host->keeps_spares && pool->phase == POOL_OPEN &&
        host->count[CONN_IDLE] < pool->limits.min_idle)
        keep = pool->limits.min_idle - host->count[CONN_IDLE];

    struct pool_conn *conn = TAILQ_FIRST(&host->conns[CONN_CONNECTING]);
    while (conn != NULL && host_surplus(host) > keep) {
        struct pool_conn *next = TAILQ_NEXT(conn, link);
        /* What is connected already finishes its handshake and becomes idle. */
        if (!dial_is_connected(conn->dial) || pool->phase == POOL_SHUT)
            conn_close(conn, DISCARD_DIAL_UNWANTED, false);
        conn = next;
    }
}

/* `span` times something between 0.75 and 1.25, so that many do not come back in step. */
static usec_t jitter(usec_t span)
{
    uint16_t random;
    evutil_secure_rng_get_bytes(&random, sizeof(random));
    return span * 3 / 4 + span * random / (2 * 65536);
}

void host_back_off(struct pool_host *host)
{
    if (!host->keeps_spares || timer_is_set(&host->retry_timer))
        return;
    host->backoff = host->backoff == 0 ? BACKOFF_MIN : host->backoff * 2;
    if (host->backoff > BACKOFF_MAX)
        host->backoff = BACKOFF_MAX;
    usec_t pause = jitter(host->backoff);
    if (pause > BACKOFF_MAX)
        pause = BACKOFF_MAX;
    if (timer_set(host->pool->loop, &host->retry_timer, loop_now(host->pool->loop) + pause) < 0)
        return;
    host_update(host);
}

void host_proved(struct pool_host *host)
{
    host->backoff = 0;
    if (!timer_is_set(&host->retry_timer))
        return;
    timer_clear(host->pool->loop, &host->retry_timer);
    host_update(host);
}
