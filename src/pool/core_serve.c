/* SPDX-License-Identifier: ISC */
/* Who gets what in the pool's core: connections go to waiters, places to dials. */
#include "pool/core_internal.h"

/* An unused connection is as good as a new one, and already there. The list is that of one host, at
 * most max_per_host long, and is only walked for requests with a tag: others get the first one, or
 * the first unused one. */
static struct core_conn *choose(const struct core_request *request)
{
    const struct pool_tag *tag = request->tag;
    struct core_conn *conn, *of_identity = NULL, *unused = NULL;
    TAILQ_FOREACH (conn, &request->host->conns[CONN_IDLE], link) {
        if (request->fresh && conn->uses > 0)
            continue;
        bool same = tag == NULL || pool_tag_is_of(&conn->tag, tag->identity);
        if (same && (tag == NULL || conn->tag.variant == tag->variant))
            return conn;
        if (same && of_identity == NULL)
            of_identity = conn;
        if (conn->uses == 0 && unused == NULL)
            unused = conn;
    }
    return of_identity != NULL ? of_identity : unused;
}

static void offer(struct core_conn *conn, struct core_request *request)
{
    request->state = CORE_REQUEST_OFFERED;
    request->conn = conn;
    conn->lease = request;
    core_conn_set_state(conn, CONN_BUSY);
    core_pending_set(conn->host->core, &conn->pending, POOL_PEEK);
}

bool core_serve_offer(struct core_request *request)
{
    struct core_conn *conn = choose(request);
    if (conn == NULL)
        return false;
    offer(conn, request);
    return true;
}

bool core_serve_settle(struct core_request *request)
{
    struct core_conn *longest = TAILQ_LAST(&request->host->conns[CONN_IDLE], core_conn_list);
    if (longest == NULL || request->fresh)
        return false;
    offer(longest, request);
    return true;
}

struct core_request *core_serve_grant(struct core_conn *conn, struct core_request *request,
                                      enum from_cache from_cache)
{
    if (conn->host->backoff != 0) {
        if (conn->host->down)
            core_health_useful(conn);
        core_host_proved(conn->host);
    }
    conn->lease = request;
    conn->uses++;
    conn->idle_until = CORE_NEVER;
    request->state = CORE_REQUEST_GRANTED;
    request->conn = conn;
    request->from_cache = from_cache;
    return request;
}

void core_serve_end(struct core_request *request, enum core_request_failure failure)
{
    request->state = CORE_REQUEST_GRANTED;
    request->conn = NULL;
    request->failure = failure;
    request->host->undelivered++; /* so that it stays until the owner is called */
    core_host_update(request->host);
}

void core_serve_fail(struct pool_core *core, struct core_request *request,
                     enum core_request_failure failure)
{
    core_serve_end(request, failure);
    core_pending_set(core, &request->pending, POOL_FAIL);
}

/* Whether fewer places are becoming free than there are hosts waiting for one. */
static bool may_evict(const struct pool_core *core)
{
    size_t needed = core->needs_dial.count + core_overflow(core);
    return core->count[CONN_CLOSING] + core->in_question < needed;
}

/* Is the place of this connection needed elsewhere? A host that needs a dial now is held up only by
 * max_open. An older waiter of another host gets the place: fairness takes precedence over reuse
 * [12]. */
static bool gives_way(const struct core_conn *conn, const struct core_request *waiter)
{
    const struct core_host *host = conn->host;
    const struct pool_core *core = host->core;
    if (waiter != NULL && waiter->fresh && conn->uses > 0)
        return true;
    if (core->needs_dial.count == 0 || !may_evict(core) || conn->state == CONN_CONNECTING)
        return false;
    const struct heap_node *needs = heap_first(&core->needs_dial);
    return needs != &host->needs_dial && core_open(core) >= core->limits.max_open &&
           (waiter == NULL || needs->key < waiter->serial);
}

/* Closes it if it is one too many. A dial that has a waiter is not: it was begun in time. */
static bool is_surplus(struct core_conn *conn, const struct core_request *waiter)
{
    enum pool_discard reason = core_conn_surplus(conn);
    if (reason == POOL_DISCARD_COUNT || (conn->state == CONN_CONNECTING && waiter != NULL))
        return false;
    core_conn_close(conn, reason, false);
    return true;
}

struct core_request *core_serve_place(struct core_conn *conn, usec_t now)
{
    struct core_host *host = conn->host;
    const struct pool_core *core = host->core;
    struct core_request *waiter = host->waiting == 0 ? NULL : core_host_waiter_for(host, conn);
    if (!core_host_is_open(host)) {
        core_conn_close(conn, DISCARD_PAUSED, false);
        return NULL;
    }
    if (!core_conn_has_place(conn)) {
        core_conn_close(conn, DISCARD_MAX_PER_HOST, false);
        return NULL;
    }
    if ((host->over || core->over) && is_surplus(conn, waiter))
        return NULL;
    if (gives_way(conn, waiter)) {
        core_conn_close(conn, DISCARD_EVICTED, false);
        return NULL;
    }
    if (waiter != NULL) {
        core_host_remove_waiter(waiter);
        core_conn_set_state(conn, CONN_BUSY);
        core_serve_grant(conn, waiter, conn->uses == 0 ? FROM_NONE : FROM_DEFERRED);
    } else {
        core_conn_park(conn, now);
    }
    if (host->has_excess)
        core_serve_trim(host);
    return waiter;
}

void core_serve_trim(struct core_host *host)
{
    struct pool_core *core = host->core;
    unsigned keep = host->down && core->phase != POOL_SHUT;
    if (host->keeps_preconnected && core_host_is_open(host) && !host->down && !host->over &&
        !core->over && core->phase == POOL_OPEN && host->count[CONN_IDLE] < core->limits.min_idle)
        keep = core->limits.min_idle - host->count[CONN_IDLE];

    struct core_conn *conn = TAILQ_FIRST(&host->conns[CONN_CONNECTING]), *next;
    for (; conn != NULL && core_host_excess(host) > keep + host->in_question; conn = next) {
        next = TAILQ_NEXT(conn, link);
        if (conn->pending.kind != POOL_NOTHING)
            continue;
        if (core->phase == POOL_SHUT) {
            core_conn_close(conn, DISCARD_DIAL_UNWANTED, false);
        } else if (!conn->tcp_connected) { /* otherwise it finishes its handshake and becomes idle
                                            */
            core_pending_set(core, &conn->pending, POOL_CANCEL_DIAL);
            host->in_question++;
            core->in_question++;
        }
    }
}

/* The newest dial that no waiter needs, or NULL. */
static struct core_conn *excess_dial(const struct pool_core *core)
{
    struct core_host *host;
    struct core_conn *conn;
    TAILQ_FOREACH (host, &core->excess, excess) {
        TAILQ_FOREACH (conn, &host->conns[CONN_CONNECTING], link) {
            if (conn->pending.kind == POOL_NOTHING)
                return conn;
        }
    }
    return NULL;
}

struct core_conn *core_serve_victim(const struct core_host *host)
{
    const struct pool_core *core = host->core;
    if (core_host_open(host) >= host->most_open)
        return TAILQ_LAST(&host->conns[CONN_IDLE], core_conn_list);
    if (!may_evict(core))
        return NULL;
    return !TAILQ_EMPTY(&core->idle) ? TAILQ_FIRST(&core->idle) : excess_dial(core);
}

static bool is_place_free(const struct core_host *host)
{
    const struct pool_core *core = host->core;
    return core_host_open(host) < host->most_open && core_open(core) < core->limits.max_open;
}

/* At a full host: are as many of its connections being closed as it has waiters without a dial? */
static bool is_place_coming(const struct core_host *host)
{
    unsigned stay = core_host_stay(host);
    return core_host_may_dial(host) && stay + host->waiting - host->have_dial <= host->most_open &&
           !may_evict(host->core);
}

bool core_serve_has_place(const struct core_host *host)
{
    if (host->settles)
        return true;
    if (!core_host_is_open(host))
        return false;
    if (!heap_contains(&host->needs_dial))
        return is_place_coming(host);
    return is_place_free(host) || !may_evict(host->core) ||
           (!host->core->over && core_serve_victim(host) != NULL);
}

static bool dial(struct core_host *host, bool preconnect, struct pool_action *action)
{
    host->to_dial++;
    host->core->to_dial++;
    core_host_update(host);
    *action = (struct pool_action){.kind = POOL_DIAL, .preconnect = preconnect, .host = host};
    return true;
}

/* No dial can begin for the first host in core->needs_dial. Gives a waiter, for which none can
 * begin either, the idle connection of its host that has been unused longest [33]. False: there is
 * none. */
static bool settle(struct pool_core *core)
{
    struct core_host *host;
    TAILQ_FOREACH (host, &core->settling, settling) {
        if (heap_contains(&host->needs_dial) && is_place_free(host))
            continue; /* its dial is next, except for those that make room for themselves */
        struct core_request *request = core_host_settler(host);
        core_host_remove_waiter(request);
        core->members++; /* as before: there is room */
        return core_serve_settle(request);
    }
    return false;
}

bool core_serve_dial(struct pool_core *core, struct pool_action *action)
{
    struct heap_node *node = heap_first(&core->needs_dial);
    if (node != NULL && is_place_free(container_of(node, struct core_host, needs_dial)))
        return dial(container_of(node, struct core_host, needs_dial), false, action);
    if (settle(core))
        return false;
    if (node != NULL) {
        struct core_host *host = container_of(node, struct core_host, needs_dial);
        struct core_conn *victim = core_serve_victim(host);
        if (victim != NULL)
            core_conn_close(victim, DISCARD_EVICTED, false);
        return false;
    }
    /* Preconnected connections take only unneeded places, and never displace another connection. */
    struct core_host *host = TAILQ_FIRST(&core->wanting);
    if (host == NULL || core_open(core) >= core->limits.max_open)
        return false;
    return dial(host, true, action);
}
