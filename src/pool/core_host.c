/* SPDX-License-Identifier: ISC */
/* A host in the pool's core: its waiters, which of them have a dial, what it needs. */
#include <errno.h>
#include <limits.h>
#include <search.h>

#include "pool/core_internal.h"

#define BACKOFF_MIN (1 * USEC_PER_SEC)
#define BACKOFF_MAX (30 * USEC_PER_SEC)

static int compare_hosts(const void *a, const void *b)
{
    return endpoint_compare(a, b);
}

struct core_host *core_host_find(const struct pool_core *core, const struct endpoint *endpoint)
{
    void **found = tfind(endpoint, &core->tree, compare_hosts);
    return found == NULL ? NULL : container_of(*found, struct core_host, endpoint);
}

void core_host_set_service(struct core_host *host, enum service service)
{
    host->service = service;
    gauge_set(&host->stats.paused, service == SERVICE_PAUSED);
    gauge_set(&host->stats.draining, service == SERVICE_DRAINING);
}

void core_host_set_limits(struct core_host *host)
{
    const struct pool_limits *limits = &host->core->limits;
    host->most_open = host->places < limits->max_per_host ? host->places : limits->max_per_host;
    host->most_held =
        host->held_places < limits->max_tunnels ? host->held_places : limits->max_tunnels;
    host->over = core_host_open(host) > host->most_open;
    host->listed = true; /* so that core_host_update handles it */
}

void core_host_set_preconnected(struct core_host *host)
{
    const struct pool_core *core = host->core;
    host->keeps_preconnected = host->wishes_preconnected && core->phase == POOL_OPEN &&
                               core->limits.min_idle > 0 && core_host_is_wanted(host);
    host->listed = true;
}

int core_host_add(struct pool_core *core, struct core_host *host)
{
    /* Room for every host, so that no later step of a host can fail for lack of memory. */
    if (heap_reserve(&core->needs_dial, core->host_count + 1) < 0 || core_add_member(core) < 0)
        return -1;
    if (tsearch(&host->endpoint, &core->tree, compare_hosts) == NULL) {
        core->members--;
        errno = ENOMEM;
        return -1;
    }
    host->core = core;
    host->places = core->new_places;
    host->held_places = UINT_MAX;
    core_host_set_limits(host);
    core_host_set_service(host, core->service);
    host->retry.kind = DUE_RETRY;
    TAILQ_INIT(&host->waiters);
    for (int state = 0; state < CONN_STATES; state++)
        TAILQ_INIT(&host->conns[state]);
    TAILQ_INSERT_TAIL(&core->hosts, host, hosts);
    core->host_count++;
    core_host_update(host);
    return 0;
}

void core_host_remove(struct core_host *host)
{
    struct pool_core *core = host->core;
    assert(core_host_is_empty(host));
    heap_remove(&core->needs_dial, &host->needs_dial);
    core_due_clear(core, &host->retry);
    core->down -= host->down;
    pool_stats_add(&core->gone, &host->stats);
    if (host->wants_preconnected)
        TAILQ_REMOVE(&core->wanting, host, wanting);
    if (host->has_excess)
        TAILQ_REMOVE(&core->excess, host, excess);
    assert(!host->settles); /* that needs a waiter */
    if (host->empty)
        TAILQ_REMOVE(&core->empties, host, empties);
    TAILQ_REMOVE(&core->hosts, host, hosts);
    tdelete(&host->endpoint, &core->tree, compare_hosts);
    core->host_count--;
    core->members--;
}

/* The peaks are not updated: a request that is refused at once is not a waiter, and one whose dial
 * is about to begin is not queued. The core's user knows which values last. */
static void count_waiters(struct core_host *host)
{
    gauge_set_now(&host->stats.waiting, host->waiting);
    gauge_set_now(&host->stats.queued, host->waiting - host->have_dial);
}

void core_host_add_waiter(struct core_host *host, struct core_request *request)
{
    struct pool_core *core = host->core;
    const struct core_request *last = TAILQ_LAST(&host->waiters, core_request_list);
    if (last != NULL && last->serial > request->serial) /* others arrived during its peeks */
        request->serial = ++core->serial;
    request->state = CORE_REQUEST_WAITING;
    request->has_dial = false;
    request->due.kind = DUE_DEADLINE;
    core_due_set(core, &request->due, request->deadline);
    TAILQ_INSERT_TAIL(&host->waiters, request, link);
    TAILQ_INSERT_TAIL(&core->waiters, request, arrival);
    host->waiting++;
    host->choosing += request->tag != NULL && !request->fresh;
    count_waiters(host);
    core->waiting++;
    core->queued++;
    if (host->without_dial == NULL)
        host->without_dial = request;
    core_host_update(host);
}

void core_host_remove_waiter(struct core_request *request)
{
    struct core_host *host = request->host;
    struct pool_core *core = host->core;
    if (host->without_dial == request)
        host->without_dial = TAILQ_NEXT(request, link);
    if (request->has_dial)
        host->have_dial--;
    else
        core->queued--;
    TAILQ_REMOVE(&host->waiters, request, link);
    TAILQ_REMOVE(&core->waiters, request, arrival);
    host->waiting--;
    host->choosing -= request->tag != NULL && !request->fresh;
    core->waiting--;
    count_waiters(host);
    core_due_clear(core, &request->due);
    core->members--;
    core_host_update(host);
}

struct core_request *core_host_waiter_for(const struct core_host *host,
                                          const struct core_conn *conn)
{
    struct core_request *waiter = TAILQ_FIRST(&host->waiters);
    if (conn->uses == 0)
        return waiter;
    /* A dial is under way for those that are passed over. */
    while (waiter != NULL && waiter->fresh && waiter->has_dial)
        waiter = TAILQ_NEXT(waiter, link);
    return waiter;
}

struct core_request *core_host_settler(const struct core_host *host)
{
    struct core_request *waiter = host->without_dial;
    if (host->choosing == 0 || host->count[CONN_IDLE] == 0)
        return NULL;
    while (waiter != NULL && waiter->fresh)
        waiter = TAILQ_NEXT(waiter, link);
    return waiter;
}

/* Makes sure that the oldest min(dials, waiters) have a dial, if the host is open. Each change of
 * either moves the boundary by one. */
static void assign_dials(struct core_host *host)
{
    unsigned dials = core_host_dials(host);
    unsigned target = dials < host->waiting ? dials : host->waiting;
    if (!core_host_is_open(host))
        target = 0;
    while (host->have_dial < target) {
        host->without_dial->has_dial = true;
        host->without_dial = TAILQ_NEXT(host->without_dial, link);
        host->have_dial++;
        host->core->queued--;
    }
    while (host->have_dial > target) {
        host->without_dial = host->without_dial == NULL
                                 ? TAILQ_LAST(&host->waiters, core_request_list)
                                 : TAILQ_PREV(host->without_dial, core_request_list, link);
        host->without_dial->has_dial = false;
        host->have_dial--;
        host->core->queued++;
    }
    count_waiters(host);
}

/* A host that is down is tried when its pause has expired, whether or not there are requests
 * [41]. */
static bool is_to_be_tried(const struct core_host *host)
{
    return host->core->phase != POOL_SHUT && !core_due_is_set(&host->retry) &&
           core_host_dials(host) == 0 && core_host_open(host) < host->most_open;
}

/* A waiter without a dial can use a place if its host has room and may dial. A waiter that insists
 * on a fresh connection can also use the place of an idle one of its own host, unless one becomes
 * free anyway. A waiter for which an idle one would do as well does not insist after failed
 * dials. */
static bool needs_dial(const struct core_host *host)
{
    if (!core_host_is_open(host))
        return false;
    if (host->down)
        return is_to_be_tried(host);
    if (host->without_dial == NULL || !core_host_may_dial(host))
        return false;
    if (host->choosing > 0 && core_due_is_set(&host->retry) && core_host_settler(host) != NULL)
        return false;
    if (core_host_open(host) < host->most_open)
        return true;
    return host->without_dial->fresh && host->count[CONN_IDLE] > 0 &&
           host->count[CONN_CLOSING] == host->closing_held;
}

static bool wants_preconnected(const struct core_host *host)
{
    const struct pool_core *core = host->core;
    return host->keeps_preconnected && core->phase == POOL_OPEN && core_host_is_open(host) &&
           !host->down && !core_due_is_set(&host->retry) && host->without_dial == NULL &&
           core_host_may_dial(host) && core_host_open(host) < host->most_open &&
           host->count[CONN_IDLE] + core_host_excess(host) < core->limits.min_idle;
}

static void update_needs_dial(struct core_host *host)
{
    struct heap *heap = &host->core->needs_dial;
    bool needs = needs_dial(host);
    if (heap_contains(&host->needs_dial) &&
        (!needs || (!host->down && host->needs_dial.key != host->without_dial->serial)))
        heap_remove(heap, &host->needs_dial);
    if (needs && !heap_contains(&host->needs_dial)) {
        /* If it is down, the end of its pause is treated like a waiter that arrives now. */
        int64_t serial = host->down ? ++host->core->serial : host->without_dial->serial;
        int done = heap_insert(heap, &host->needs_dial, serial);
        assert(done == 0); /* reserved in core_host_add */
        (void)done;
    }
}

static void update_wanting(struct core_host *host)
{
    struct core_host_list *wanting = &host->core->wanting;
    bool wants = wants_preconnected(host);
    if (wants && !host->wants_preconnected)
        TAILQ_INSERT_TAIL(wanting, host, wanting);
    else if (!wants && host->wants_preconnected)
        TAILQ_REMOVE(wanting, host, wanting);
    host->wants_preconnected = wants;
}

static void update_excess(struct core_host *host)
{
    bool excess = core_host_excess(host) > host->down;
    if (excess && !host->has_excess)
        TAILQ_INSERT_TAIL(&host->core->excess, host, excess);
    else if (!excess && host->has_excess)
        TAILQ_REMOVE(&host->core->excess, host, excess);
    host->has_excess = excess;
}

static void update_settling(struct core_host *host)
{
    bool settles = core_host_settler(host) != NULL;
    if (settles && !host->settles)
        TAILQ_INSERT_TAIL(&host->core->settling, host, settling);
    else if (!settles && host->settles)
        TAILQ_REMOVE(&host->core->settling, host, settling);
    host->settles = settles;
}

static void update_empty(struct core_host *host)
{
    bool empty = core_host_is_empty(host) && !core_host_stays(host);
    if (empty && !host->empty)
        TAILQ_INSERT_TAIL(&host->core->empties, host, empties);
    else if (!empty && host->empty)
        TAILQ_REMOVE(&host->core->empties, host, empties);
    host->empty = empty;
}

/* Most changes are those of a host that only grants and takes back. */
void core_host_update(struct core_host *host)
{
    if (host->waiting + core_host_dials(host) == 0 && !host->keeps_preconnected && !host->listed &&
        (core_host_stays(host) || !core_host_is_empty(host)))
        return;
    if (host->over)
        host->over = core_host_open(host) > host->most_open;
    assign_dials(host);
    update_needs_dial(host);
    update_wanting(host);
    update_excess(host);
    update_settling(host);
    update_empty(host);
    host->listed = heap_contains(&host->needs_dial) || host->wants_preconnected ||
                   host->has_excess || host->settles || host->empty || host->down || host->over;
}

/* `span` times a factor between 0.75 and 1.25, so that many do not retry in step. */
static usec_t jitter(struct pool_core *core, usec_t span)
{
    return span * 3 / 4 + span * core_random(core) / (2 * 65536);
}

void core_host_back_off(struct core_host *host, usec_t now)
{
    struct pool_core *core = host->core;
    if ((!host->keeps_preconnected && !host->down) || !core_host_is_open(host) ||
        core_due_is_set(&host->retry))
        return;
    host->backoff = host->backoff == 0 ? BACKOFF_MIN : host->backoff * 2;
    if (host->backoff > BACKOFF_MAX)
        host->backoff = BACKOFF_MAX;
    usec_t pause = jitter(core, host->backoff);
    if (pause > BACKOFF_MAX)
        pause = BACKOFF_MAX;
    core_due_set(core, &host->retry, now + pause);
    core_host_update(host);
}

void core_host_proved(struct core_host *host)
{
    if (host->down) /* an old connection says nothing about new ones */
        return;
    host->backoff = 0;
    if (!core_due_is_set(&host->retry))
        return;
    core_due_clear(host->core, &host->retry);
    core_host_update(host);
}
