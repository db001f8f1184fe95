/* SPDX-License-Identifier: ISC */
/* The events of the pool's core. */
#include "pool/pool_core.h"

#include <errno.h>
#include <limits.h>

#include "pool/core_internal.h"

void pool_core_init(struct pool_core *core, const struct pool_limits *limits, uint64_t random)
{
    *core = (struct pool_core){.random = random, .next_time = CORE_NEVER};
    core->limits = core_effective_limits(limits);
    core->new_places = UINT_MAX;
    TAILQ_INIT(&core->hosts);
    TAILQ_INIT(&core->idle);
    TAILQ_INIT(&core->wanting);
    TAILQ_INIT(&core->excess);
    TAILQ_INIT(&core->settling);
    TAILQ_INIT(&core->empties);
    TAILQ_INIT(&core->waiters);
    TAILQ_INIT(&core->pending);
}

void pool_core_clear(struct pool_core *core)
{
    assert(TAILQ_EMPTY(&core->hosts));
    heap_clear(&core->needs_dial);
    heap_clear(&core->due);
}

static void take(struct core_pending *pending, struct pool_action *action)
{
    action->kind = pending->kind;
    if (pending->kind == POOL_FAIL) {
        action->request = container_of(pending, struct core_request, pending);
        pending->kind = POOL_NOTHING;
    } else {
        action->conn = container_of(pending, struct core_conn, pending);
    }
}

bool pool_core_take(struct pool_core *core, struct pool_action *action)
{
    if (TAILQ_EMPTY(&core->pending) && core_serve_dial(core, action))
        return true;
    struct core_pending *pending = TAILQ_FIRST(&core->pending);
    if (pending == NULL)
        return false;
    TAILQ_REMOVE(&core->pending, pending, link);
    take(pending, action);
    return true;
}

enum pool_limit pool_core_limit(const struct core_host *host)
{
    if (core_host_open(host) >= host->most_open)
        return LIMIT_MAX_PER_HOST;
    return core_host_may_dial(host) ? LIMIT_MAX_OPEN : LIMIT_MAX_CONNECTING;
}

static void time_out(struct core_request *request)
{
    struct core_host *host = request->host;
    request->limit = pool_core_limit(host);
    request->paused = host->service == SERVICE_PAUSED;
    request->queued = request->limit == LIMIT_MAX_OPEN && !request->paused
                          ? host->core->queued
                          : host->waiting - host->have_dial;
    core_host_remove_waiter(request);
    core_serve_fail(host->core, request, CORE_REQUEST_TIMED_OUT);
}

static void run_due(struct core_due *due)
{
    switch (due->kind) {
    case DUE_DEADLINE:
        time_out(container_of(due, struct core_request, due));
        break;
    case DUE_IDLE_HINT:
        core_conn_close(container_of(due, struct core_conn, due), DISCARD_KEEP_ALIVE, false);
        break;
    case DUE_RETRY:
        core_host_update(container_of(due, struct core_host, retry));
        break;
    }
}

/* Waiters have left their dials. These are cancelled only after all the timeouts were reported, so
 * that each can make a dial overdue. */
static void trim_all(struct pool_core *core)
{
    struct core_host *host = TAILQ_FIRST(&core->excess), *next;
    for (; host != NULL; host = next) {
        next = TAILQ_NEXT(host, excess);
        core_serve_trim(host);
    }
}

void pool_core_tick(struct pool_core *core, usec_t now)
{
    struct heap_node *node;
    while ((node = heap_first(&core->due)) != NULL && node->key <= now) {
        heap_remove(&core->due, node);
        run_due(container_of(node, struct core_due, node));
    }
    trim_all(core);
    struct core_conn *conn;
    while ((conn = TAILQ_FIRST(&core->idle)) != NULL &&
           now - conn->idle_since >= core->limits.keep_alive)
        core_conn_close(conn, DISCARD_KEEP_ALIVE, false);
    core_find_next_time(core);
}

void pool_core_enter_phase(struct pool_core *core, enum pool_phase phase)
{
    if (phase <= core->phase)
        return;
    core->phase = phase;
    struct core_request *waiter;
    while (phase == POOL_SHUT && (waiter = TAILQ_FIRST(&core->waiters)) != NULL) {
        core_host_remove_waiter(waiter);
        core_serve_fail(core, waiter, CORE_REQUEST_SHUTDOWN);
    }
    struct core_conn *conn;
    while ((conn = TAILQ_FIRST(&core->idle)) != NULL)
        core_conn_close(conn, DISCARD_SHUTDOWN, false);
    struct core_host *host;
    TAILQ_FOREACH (host, &core->hosts, hosts) {
        host->wishes_preconnected = false;
        core_host_set_preconnected(host);
        core_host_update(host);
        core_serve_trim(host);
    }
}

void pool_core_get_stats(const struct pool_core *core, struct pool_stats *stats)
{
    const struct core_host *host;
    *stats = core->gone;
    TAILQ_FOREACH (host, &core->hosts, hosts)
        pool_stats_add(stats, &host->stats);
    stats->busy = core->count[CONN_BUSY];
    stats->held = core->count[CONN_HELD];
    stats->connecting = core->count[CONN_CONNECTING];
    stats->idle = core->count[CONN_IDLE];
    stats->waiting = core->waiting;
    stats->queued = core->queued;
    stats->down = core->down;
}

struct core_host *pool_core_find_host(const struct pool_core *core, const struct endpoint *endpoint)
{
    return core_host_find(core, endpoint);
}

int pool_core_add_host(struct pool_core *core, struct core_host *host)
{
    return core_host_add(core, host);
}

void pool_core_remove_host(struct core_host *host)
{
    core_host_remove(host);
}

void pool_core_retain_host(struct core_host *host, bool retain)
{
    host->retained = retain;
    core_host_update(host);
}

void pool_core_set_preconnected(struct core_host *host, bool keep)
{
    host->wishes_preconnected = keep && host->core->phase == POOL_OPEN;
    core_host_set_preconnected(host);
    core_host_update(host);
    core_serve_trim(host);
}

void pool_core_set_greeting(struct core_host *host, bool sends)
{
    host->sends_greeting = sends;
}

/* Releases the place of a dial that was to begin. */
static void drop_to_dial(struct core_host *host)
{
    host->to_dial--;
    host->core->to_dial--;
}

int pool_core_dialling(struct core_host *host, struct core_conn *conn, bool preconnect)
{
    struct pool_core *core = host->core;
    if (core_add_member(core) < 0)
        return -1;
    conn->host = host;
    conn->idle_until = CORE_NEVER;
    conn->due.kind = DUE_IDLE_HINT;
    counter_add(&host->stats.dials, 1);
    if (preconnect)
        counter_add(&host->stats.preconnects, 1);
    drop_to_dial(host);
    core_conn_set_state(conn, CONN_CONNECTING);
    core_serve_trim(host); /* the waiter for it may have left */
    return 0;
}

/* A waiter fails by a dial; its owner is called by the user, who knows why. */
static void end_by_dial(struct core_request *waiter)
{
    core_host_remove_waiter(waiter);
    core_serve_end(waiter, CORE_REQUEST_DIAL);
}

struct core_request *pool_core_dial_refused(struct core_host *host, bool preconnect, usec_t now)
{
    drop_to_dial(host);
    core_update_over(host->core);
    core_host_update(host);
    struct core_request *waiter = host->without_dial;
    if (preconnect || host->down)
        core_host_back_off(host, now);
    if (preconnect || waiter == NULL || !core_host_is_open(host))
        return NULL;
    end_by_dial(waiter);
    core_serve_trim(host);
    return waiter;
}

/* The question whether to cancel a dial is answered. */
static void end_question(struct core_conn *conn)
{
    if (conn->pending.kind != POOL_CANCEL_DIAL)
        return;
    conn->host->in_question--;
    conn->host->core->in_question--;
}

void pool_core_dial_kept(struct core_conn *conn)
{
    end_question(conn);
    conn->pending.kind = POOL_NOTHING;
    conn->tcp_connected = true;
    core_serve_trim(conn->host);
}

/* The dial has ended, and with it the question whether to cancel it. */
static void end_dial(struct core_conn *conn)
{
    end_question(conn);
    core_pending_clear(conn->host->core, &conn->pending);
}

struct core_request *pool_core_dial_failed(struct core_conn *conn, bool by_host, usec_t now)
{
    struct core_host *host = conn->host;
    struct core_request *oldest = core_host_is_open(host) ? TAILQ_FIRST(&host->waiters) : NULL;
    core_host_back_off(host, now);
    if (conn->state == CONN_CLOSING)
        return NULL;
    end_dial(conn);
    if (oldest != NULL) {
        end_by_dial(oldest);
    }
    core_conn_close(conn, DISCARD_DIAL_FAILED, false);
    core_serve_trim(host);
    if (by_host && !conn->overdue)
        core_health_failed(host, now);
    return oldest;
}

void pool_core_dial_overdue(struct core_host *host, usec_t now)
{
    struct core_conn *conn;
    TAILQ_FOREACH_REVERSE(conn, &host->conns[CONN_CONNECTING], core_conn_list, link)
    {
        if (!conn->overdue)
            break;
    }
    if (conn == NULL)
        return;
    conn->overdue = true;
    core_health_failed(host, now);
}

/* What arrived right after the connection was made may be its end. A waiter will find that by
 * reading. */
struct core_request *pool_core_connected(struct core_conn *conn, bool readable, usec_t now)
{
    struct pool_core *core = conn->host->core;
    if (conn->state == CONN_CLOSING)
        return NULL;
    end_dial(conn);
    core_health_succeeded(conn->host);
    conn->born = now;
    core_conn_choose_max_age(conn);
    if (!readable || core_host_waiter_for(conn->host, conn) != NULL)
        return core_serve_place(conn, now);
    core_pending_set(core, &conn->pending, POOL_PEEK);
    return NULL;
}

/* The request waits, or fails if it must not. */
static void enqueue(struct core_request *request)
{
    struct core_host *host = request->host;
    struct pool_core *core = host->core;
    if (host->down && core->phase != POOL_SHUT) {
        core_health_refuse(request);
        return;
    }
    if (host->service == SERVICE_DRAINING && core->phase != POOL_SHUT) {
        core_service_refuse(request);
        return;
    }
    core_host_add_waiter(host, request);
    bool full = core->limits.max_waiting != 0 && core->queued > core->limits.max_waiting &&
                !request->has_dial && !core_serve_has_place(host);
    if (!full && core->phase != POOL_SHUT)
        return;
    core_host_remove_waiter(request);
    core_serve_fail(core, request, full ? CORE_REQUEST_TOO_MANY : CORE_REQUEST_SHUTDOWN);
}

static void offer_or_enqueue(struct core_request *request)
{
    request->conn = NULL;
    if (!core_serve_offer(request))
        enqueue(request);
}

struct core_request *pool_core_peeked(struct core_conn *conn, enum pool_peek peek, usec_t now)
{
    struct core_request *request = conn->lease;
    conn->pending.kind = POOL_NOTHING;
    if (!core_conn_is_fit(conn, peek, now)) {
        if (request != NULL)
            offer_or_enqueue(request);
        return NULL;
    }
    if (request == NULL)
        return core_serve_place(conn, now);
    conn->host->core->members--;
    return core_serve_grant(conn, request, FROM_IMMEDIATE);
}

void pool_core_idle_event(struct core_conn *conn, enum pool_peek peek, usec_t now)
{
    if (conn->state == CONN_IDLE)
        (void)core_conn_is_fit(conn, peek, now);
}

void pool_core_set_address_gone(struct core_conn *conn, bool gone)
{
    conn->address_gone = gone;
    if (gone && conn->state == CONN_IDLE)
        core_conn_close(conn, DISCARD_ADDRESS_GONE, false);
}

void pool_core_closed(struct core_conn *conn)
{
    struct pool_core *core = conn->host->core;
    if (conn->pending.kind == POOL_CANCEL_DIAL) {
        end_question(conn);
        counter_add(&conn->host->stats.discards[DISCARD_DIAL_UNWANTED], 1);
        core_conn_set_state(conn, CONN_CLOSING);
    }
    conn->pending.kind = POOL_NOTHING;
    core->members--;
    core_conn_set_state(conn, CONN_CLOSED);
    core_update_over(core);
}

int pool_core_request(struct core_host *host, struct core_request *request,
                      const struct core_wish *wish, usec_t now)
{
    struct pool_core *core = host->core;
    assert(request->state == CORE_REQUEST_ENDED);
    request->host = host;
    request->conn = NULL;
    request->tag = wish->tag;
    request->fresh = wish->fresh;
    request->has_dial = false;
    request->serial = ++core->serial;
    if (wish->timeout < 0) {
        core_serve_fail(core, request, CORE_REQUEST_TOO_LATE);
        return 0;
    }
    if (core_add_member(core) < 0)
        return -1;
    request->deadline = now + (wish->timeout != 0 ? wish->timeout : core->limits.timeout);
    offer_or_enqueue(request);
    return 0;
}

/* Its host may be empty without it. */
static void forget_failed(struct core_request *request)
{
    request->host->undelivered--;
    core_host_update(request->host);
}

void pool_core_failure_delivered(struct core_request *request, enum pool_failed failed)
{
    request->state = CORE_REQUEST_ENDED;
    counter_add(&request->host->stats.failed[failed], 1);
    forget_failed(request);
}

void pool_core_cancel(struct pool_core *core, struct core_request *request)
{
    struct core_conn *conn = request->conn;
    struct core_host *host = conn != NULL ? conn->host : request->host;
    switch (request->state) {
    case CORE_REQUEST_WAITING:
        core_host_remove_waiter(request);
        core_serve_trim(host);
        break;
    case CORE_REQUEST_OFFERED:
        conn->lease = NULL;
        core->members--;
        break;
    case CORE_REQUEST_GRANTED:
        core_pending_clear(core, &request->pending);
        if (conn == NULL) {
            forget_failed(request);
            break;
        }
        conn->lease = NULL;
        conn->uses--;
        core_pending_set(core, &conn->pending, POOL_PEEK);
        break;
    case CORE_REQUEST_LEASED:
        assert(request->state != CORE_REQUEST_LEASED);
        return;
    case CORE_REQUEST_ENDED:
        return;
    }
    request->conn = NULL;
    request->state = CORE_REQUEST_ENDED;
    counter_add(&host->stats.cancelled, 1);
}

struct core_conn *pool_core_leased(const struct core_request *lease)
{
    struct core_conn *conn = lease->conn;
    bool leased = lease->state == CORE_REQUEST_LEASED && conn != NULL && conn->lease == lease;
    assert(leased);
    return leased ? conn : NULL;
}

static struct core_conn *end_lease(struct core_request *lease)
{
    struct core_conn *conn = lease->conn;
    lease->state = CORE_REQUEST_ENDED;
    lease->conn = NULL;
    conn->lease = NULL;
    return conn;
}

struct core_request *pool_core_release(struct core_request *lease, enum pool_peek peek, usec_t now)
{
    struct core_conn *conn = end_lease(lease);
    struct pool_core *core = conn->host->core;
    counter_add(&conn->host->stats.released, 1);
    if (peek == POOL_PEEK_DRAINED && core_host_waiter_for(conn->host, conn) != NULL) {
        core_pending_set(core, &conn->pending, POOL_PEEK);
        return NULL;
    }
    return core_conn_is_fit(conn, peek, now) ? core_serve_place(conn, now) : NULL;
}

void pool_core_discard(struct core_request *lease, enum pool_discard reason, bool reset)
{
    core_conn_close(end_lease(lease), reason, reset);
}

bool pool_core_can_hold(const struct core_host *host)
{
    return core_host_tunnels(host) < host->most_held;
}

bool pool_core_reserve_hold(struct core_request *lease)
{
    return core_conn_reserve_hold(lease->conn);
}

void pool_core_hold(struct core_request *lease)
{
    core_conn_hold(lease->conn);
}

bool pool_core_unhold(struct core_request *lease)
{
    return core_conn_unhold(lease->conn);
}

void pool_core_set_idle_hint(struct core_request *lease, usec_t idle_hint)
{
    lease->conn->idle_hint = idle_hint;
}

void pool_core_set_tag(struct core_request *lease, const struct pool_tag *tag)
{
    lease->conn->tag = *tag;
}

void pool_core_discard_tagged(struct core_host *host,
                              const unsigned char identity[POOL_IDENTITY_SIZE],
                              enum pool_discard reason)
{
    struct core_conn *conn = TAILQ_FIRST(&host->conns[CONN_IDLE]), *next;
    for (; conn != NULL; conn = next) {
        next = TAILQ_NEXT(conn, link);
        if (pool_tag_is_of(&conn->tag, identity))
            core_conn_close(conn, reason, false);
    }
}
