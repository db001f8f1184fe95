#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "pool/pool_internal.h"

/* The answer where there is no memory for one. */
static struct failure out_of_memory = {
    .function = "allocate", .number = ENOMEM, .text = "Cannot allocate memory"};

const char *from_cache_name(enum from_cache from_cache)
{
    static const char *const names[] = {
        [FROM_NONE] = "none", [FROM_IMMEDIATE] = "immediate", [FROM_DEFERRED] = "deferred"};
    return names[from_cache];
}

const char *pool_discard_name(enum pool_discard reason)
{
    static const char *const names[] = {
#define X(name, text) text,
        POOL_DISCARD_REASONS(X)
#undef X
    };
    return names[reason];
}

/* Answers are delivered from the loop, and only those that stood when the round began: a user who
 * asks again from inside an answer does not keep events waiting. */
static void deliver_answers(struct task *task)
{
    struct pool *pool = container_of(task, struct pool, answer_task);
    struct allocation *allocation;
    for (unsigned round = pool->posted; round > 0; round--) {
        allocation = TAILQ_FIRST(&pool->answers);
        if (allocation == NULL)
            break;
        TAILQ_REMOVE(&pool->answers, allocation, link);
        pool->posted--;
        struct failure *failure = allocation->failure;
        allocation->failure = NULL;
        if (failure != NULL) {
            allocation->state = ALLOCATION_ENDED;
            pool->stats.failures++;
        } else {
            allocation->state = ALLOCATION_LEASED;
            pool->stats.answers[allocation->from_cache]++;
        }
        allocation->answered(allocation, failure);
        if (failure != &out_of_memory)
            free(failure);
    }
    if (pool->posted > 0)
        loop_post(pool->loop, &pool->answer_task);
}

void pool_answer(struct allocation *allocation)
{
    struct pool *pool = allocation->pool;
    allocation->state = ALLOCATION_ANSWERED;
    TAILQ_INSERT_TAIL(&pool->answers, allocation, link);
    pool->posted++;
    loop_post(pool->loop, &pool->answer_task);
}

void pool_fail(struct allocation *allocation, const char *function, int number, const char *format,
               ...)
{
    struct failure *failure = malloc(sizeof(*failure));
    if (failure == NULL) {
        failure = &out_of_memory;
    } else {
        va_list args;
        va_start(args, format);
        failure->function = function;
        failure->number = number;
        failure->fault = TLS_FAULT_NONE;
        vsnprintf(failure->text, sizeof(failure->text), format, args);
        va_end(args);
    }
    allocation->failure = failure;
    pool_answer(allocation);
}

void pool_fail_as(struct allocation *allocation, const struct failure *failure)
{
    struct failure *copy = malloc(sizeof(*copy));
    if (copy != NULL)
        *copy = *failure;
    allocation->failure = copy != NULL ? copy : &out_of_memory;
    pool_answer(allocation);
}

/* Takes a posted answer back, before its owner saw it. */
static void withdraw_answer(struct allocation *allocation)
{
    struct pool *pool = allocation->pool;
    TAILQ_REMOVE(&pool->answers, allocation, link);
    pool->posted--;
    if (allocation->failure != &out_of_memory)
        free(allocation->failure);
    allocation->failure = NULL;
    allocation->state = ALLOCATION_ENDED;
}

/* Makes room for one more connection to this hungry host. At max_open the longest idle connection
 * goes, just one [12]; failing that, a dial for a spare. */
static bool make_room(struct pool *pool, const struct pool_host *host)
{
    struct pool_conn *victim;
    if (host_open(host) >= pool->limits.max_per_host) {
        victim = TAILQ_LAST(&host->conns[CONN_IDLE], conn_list);
    } else if (pool_open(pool) < pool->limits.max_open) {
        return true;
    } else if (!TAILQ_EMPTY(&pool->idle)) {
        victim = TAILQ_FIRST(&pool->idle);
    } else if (!TAILQ_EMPTY(&pool->surplus)) {
        victim = TAILQ_FIRST(&TAILQ_FIRST(&pool->surplus)->conns[CONN_CONNECTING]);
    } else {
        return false;
    }
    conn_close(victim, DISCARD_EVICTED, false);
    return true;
}

static void serve_hungry(struct pool *pool)
{
    struct heap_node *node;
    while ((node = heap_first(&pool->hungry)) != NULL) {
        struct pool_host *host = container_of(node, struct pool_host, hungry);
        if (!make_room(pool, host))
            return;
        if (conn_dial(host, false) < 0) {
            int number = errno;
            struct allocation *waiter = host->uncovered;
            host_remove_waiter(host, waiter);
            pool_fail(waiter, "connect", number, "%s", strerror(number));
        }
    }
}

/* Spares take only what nobody waits for, and never push out another connection. */
static void serve_spares(struct pool *pool)
{
    struct pool_host *host;
    while (heap_first(&pool->hungry) == NULL && pool_open(pool) < pool->limits.max_open &&
           (host = TAILQ_FIRST(&pool->wanting)) != NULL) {
        if (conn_dial(host, true) < 0) {
            host_back_off(host);
            return;
        }
    }
}

void pool_serve(struct pool *pool)
{
    serve_hungry(pool);
    serve_spares(pool);
    struct pool_host *host;
    while ((host = TAILQ_FIRST(&pool->empties)) != NULL)
        host_free(host);
}

void pool_place(struct pool_conn *conn, enum from_cache from_cache)
{
    struct pool *pool = conn->pool;
    struct pool_host *host = conn->host;
    struct allocation *waiter = host_waiter_for(host, conn);
    const struct heap_node *hungry = heap_first(&pool->hungry);

    /* Who is hungry now is held up by max_open alone. An older waiter of another host gets the
     * slot: fairness goes before reuse [12]. */
    if (conn->state == CONN_BUSY && hungry != NULL && hungry != &host->hungry &&
        pool_open(pool) >= pool->limits.max_open &&
        (waiter == NULL || hungry->key < waiter->serial)) {
        conn_close(conn, DISCARD_EVICTED, false);
        return;
    }
    if (waiter != NULL && waiter->fresh && conn->uses > 0) {
        conn_close(conn, DISCARD_EVICTED, false);
        return;
    }
    if (waiter != NULL) {
        host_remove_waiter(host, waiter);
        conn_lease(conn, waiter, from_cache);
    } else {
        conn_park(conn);
    }
    host_trim(host);
}

static void on_idle_timer(struct timer *timer)
{
    struct pool *pool = container_of(timer, struct pool, idle_timer);
    usec_t now = loop_now(pool->loop);
    struct pool_conn *conn;
    while ((conn = TAILQ_FIRST(&pool->idle)) != NULL &&
           now - conn->idle_since >= pool->limits.keep_alive)
        conn_close(conn, DISCARD_KEEP_ALIVE, false);
    if (conn != NULL &&
        timer_set(pool->loop, timer, conn->idle_since + pool->limits.keep_alive) < 0)
        log_error("pool=%s no memory for the keep_alive timer", pool->name);
    pool_serve(pool);
}

struct pool *pool_new(struct loop *loop, struct resolver *resolver,
                      const struct pool_limits *limits)
{
    struct pool *pool = calloc(1, sizeof(*pool));
    if (pool == NULL)
        return NULL;
    pool->loop = loop;
    pool->resolver = resolver;
    pool->name = "";
    pool->limits = *limits;
    if (pool->limits.max_per_host == 0)
        pool->limits.max_per_host = POOL_MAX_PER_HOST;
    if (pool->limits.max_connecting == 0)
        pool->limits.max_connecting = pool->limits.max_per_host;
    if (pool->limits.max_open == 0)
        pool->limits.max_open = POOL_MAX_OPEN;
    if (pool->limits.keep_alive == 0)
        pool->limits.keep_alive = POOL_KEEP_ALIVE;
    if (pool->limits.timeout == 0)
        pool->limits.timeout = POOL_TIMEOUT;
    pool->dial_options.connect_timeout = limits->connect_timeout;
    pool->dial_options.bind_address = &pool->limits.bind_address;
    pool->idle_timer.fire = on_idle_timer;
    pool->answer_task.run = deliver_answers;
    TAILQ_INIT(&pool->hosts);
    TAILQ_INIT(&pool->idle);
    TAILQ_INIT(&pool->wanting);
    TAILQ_INIT(&pool->surplus);
    TAILQ_INIT(&pool->empties);
    TAILQ_INIT(&pool->waiters);
    TAILQ_INIT(&pool->answers);
    return pool;
}

usec_t pool_unacked_timeout(const struct pool *pool)
{
    return pool->limits.unacked_timeout;
}

void pool_set_name(struct pool *pool, const char *name)
{
    pool->name = name;
}

static void on_deadline(struct timer *timer)
{
    struct allocation *allocation = container_of(timer, struct allocation, deadline);
    struct pool *pool = allocation->pool;
    struct pool_host *host = allocation->host;
    struct failure failure;
    host_explain_timeout(host, allocation, &failure);
    if (allocation->covered && allocation->held_up_at == 0)
        host_note_failure(host); /* its dial had all of the time */
    host_remove_waiter(host, allocation);
    host_trim(host);
    pool_fail_as(allocation, &failure);
    pool_serve(pool);
}

/* A quiet socket may have left a part of a TLS record in memory; nobody knows what it will be. Then
 * the connection is closed. (An idle one may wait for the rest: it can be a ticket.) */
static bool holds_nothing(struct pool_conn *conn)
{
    if (!stream_has_pending(&conn->stream))
        return true;
    conn_close(conn, DISCARD_UNREAD_DATA, true);
    return false;
}

/* The newest idle connection that this allocation can use, after a look at the socket [16, 18]. */
static struct pool_conn *find_idle(struct pool_host *host, const struct allocation *allocation)
{
    struct pool_conn *conn = TAILQ_FIRST(&host->conns[CONN_IDLE]);
    while (conn != NULL) {
        struct pool_conn *next = TAILQ_NEXT(conn, link);
        if ((!allocation->fresh || conn->uses == 0) && conn_usable(conn) && holds_nothing(conn))
            return conn;
        conn = next;
    }
    return NULL;
}

/* Puts an allocation into its host's queue and lets the pool do what it can. 0 or -1, ENOMEM. */
static int wait_in_queue(struct pool *pool, struct pool_host *host, struct allocation *allocation)
{
    usec_t until = loop_now(pool->loop) + allocation_timeout(allocation);
    allocation->deadline = (struct timer){.fire = on_deadline};
    if (timer_set(pool->loop, &allocation->deadline, until) < 0)
        return -1;
    host_add_waiter(host, allocation);
    pool_serve(pool);
    if (allocation->state != ALLOCATION_WAITING || allocation->covered)
        return 0;
    if (pool->limits.max_waiting != 0 && pool->stats.queued > pool->limits.max_waiting) {
        host_remove_waiter(host, allocation);
        pool_fail(allocation, "allocate", EAGAIN, "too many waiting (max_waiting = %u)",
                  pool->limits.max_waiting);
    } else {
        host_note_wait(host, allocation);
    }
    return 0;
}

int pool_allocate(struct pool *pool, struct allocation *allocation)
{
    assert(allocation->state == ALLOCATION_ENDED);
    if (pool->phase == POOL_SHUT) {
        errno = ESHUTDOWN;
        return -1;
    }
    allocation->pool = pool;
    allocation->serial = ++pool->serial;
    allocation->host = NULL;
    allocation->conn = NULL;
    allocation->stream = NULL;
    allocation->failure = NULL;
    allocation->reused = false;
    if (allocation->timeout < 0) {
        pool_fail(allocation, "queue", ETIMEDOUT, "the time to wait was over before it began");
        return 0;
    }
    struct pool_host *host = allocation->pinned;
    if (host == NULL && (host = host_get(pool, allocation->endpoint)) == NULL)
        return -1;
    int result = 0;
    host_refresh_name(host);
    struct pool_conn *conn = find_idle(host, allocation);
    if (conn != NULL)
        conn_lease(conn, allocation, FROM_IMMEDIATE);
    else
        result = wait_in_queue(pool, host, allocation);
    pool_serve(pool);
    return result;
}

struct pool_host *pool_pin(struct pool *pool, const struct endpoint *endpoint,
                           struct tls_client *tls)
{
    struct pool_host *host = host_get(pool, endpoint);
    if (host != NULL) {
        assert(!host->pinned || host->tls == tls);
        host->pinned = true;
        host->tls = tls;
        host_update(host);
    }
    return host;
}

/* What was read to its end just now was looked at. Somebody who waits would use the connection at
 * once; an idle one is looked at again before it is handed out. */
static bool drained_or_usable(struct pool_conn *conn)
{
    if (stream_is_drained(&conn->stream) && host_waiter_for(conn->host, conn) == NULL)
        return conn_within_limits(conn);
    return conn_usable(conn);
}

/* A connection comes back: to a waiter, or idle, unless it is closed. */
static void take_back(struct pool_conn *conn, bool (*fit)(struct pool_conn *))
{
    conn->lease = NULL;
    stream_set_handler(&conn->stream, NULL);
    if (!fit(conn) || !holds_nothing(conn))
        return;
    if (conn_unhold(conn))
        pool_place(conn, conn->uses == 0 ? FROM_NONE : FROM_DEFERRED);
    else
        conn_close(conn, DISCARD_MAX_PER_HOST, false);
}

void pool_cancel(struct allocation *allocation)
{
    struct pool *pool = allocation->pool;
    if (allocation->state == ALLOCATION_WAITING) {
        struct pool_host *host = allocation->host;
        host_remove_waiter(host, allocation);
        host_trim(host);
        allocation->state = ALLOCATION_ENDED;
    } else if (allocation->state == ALLOCATION_ANSWERED) {
        struct pool_conn *conn = allocation->conn;
        allocation->conn = NULL;
        withdraw_answer(allocation);
        if (conn != NULL) {
            conn->uses--;
            take_back(conn, conn_usable);
        }
    } else {
        assert(allocation->state == ALLOCATION_ENDED);
        return;
    }
    pool->stats.cancelled++;
    pool_serve(pool);
}

/* Ends a lease on its user's side. NULL when there is none: a programming error [29], which must
 * not end up as somebody else's connection. */
static struct pool_conn *end_lease(struct allocation *lease)
{
    struct pool_conn *conn = lease->conn;
    bool leased = lease->state == ALLOCATION_LEASED && conn != NULL && conn->lease == lease;
    assert(leased);
    if (!leased)
        return NULL;
    lease->state = ALLOCATION_ENDED;
    lease->conn = NULL;
    lease->stream = NULL;
    return conn;
}

static void release(struct allocation *lease, bool (*fit)(struct pool_conn *))
{
    struct pool *pool = lease->pool;
    struct pool_conn *conn = end_lease(lease);
    if (conn == NULL)
        return;
    pool->stats.released++;
    host_refresh_name(conn->host);
    take_back(conn, fit);
    pool_serve(pool);
}

void pool_release(struct allocation *lease)
{
    release(lease, conn_usable);
}

void pool_release_drained(struct allocation *lease)
{
    release(lease, drained_or_usable);
}

bool pool_offer(struct allocation *lease)
{
    if (stream_look(lease->stream) != LOOK_QUIET)
        return false;
    release(lease, conn_within_limits);
    return true;
}

void pool_discard(struct allocation *lease, enum pool_discard reason, bool reset)
{
    struct pool *pool = lease->pool;
    struct pool_conn *conn = end_lease(lease);
    if (conn == NULL)
        return;
    conn_close(conn, reason, reset);
    pool_serve(pool);
}

bool pool_can_hold(const struct pool_host *host)
{
    return host_tunnels(host) < host->pool->limits.max_tunnels;
}

bool pool_reserve_hold(struct allocation *lease)
{
    assert(lease->state == ALLOCATION_LEASED);
    return conn_reserve_hold(lease->conn);
}

void pool_hold(struct allocation *lease)
{
    assert(lease->state == ALLOCATION_LEASED);
    conn_hold(lease->conn);
    pool_serve(lease->pool);
}

bool pool_unhold(struct allocation *lease)
{
    assert(lease->state == ALLOCATION_LEASED);
    return conn_unhold(lease->conn);
}

void pool_set_stay(struct allocation *lease, usec_t stay)
{
    assert(lease->state == ALLOCATION_LEASED);
    lease->conn->stay = stay;
}

int pool_keep_spares(struct pool *pool, const struct endpoint *endpoint)
{
    struct pool_host *host = host_get(pool, endpoint);
    if (host == NULL)
        return -1;
    host->keeps_spares = pool->phase == POOL_OPEN && pool->limits.min_idle > 0;
    host_keep_name_fresh(host);
    host_update(host);
    pool_serve(pool);
    return 0;
}

void pool_expect_greeting(struct pool *pool, const struct endpoint *endpoint)
{
    struct pool_host *host = host_find(pool, endpoint);
    if (host != NULL)
        host->greets = true;
}

static void enter_phase(struct pool *pool, enum pool_phase phase)
{
    pool->phase = phase;
    struct pool_conn *conn;
    while ((conn = TAILQ_FIRST(&pool->idle)) != NULL)
        conn_close(conn, DISCARD_SHUTDOWN, false);
    struct pool_host *host;
    TAILQ_FOREACH (host, &pool->hosts, hosts) {
        host->keeps_spares = false;
        host_keep_name_fresh(host);
        host_update(host);
        host_trim(host);
    }
}

void pool_drain(struct pool *pool)
{
    if (pool->phase != POOL_OPEN)
        return;
    enter_phase(pool, POOL_DRAINING);
    pool_serve(pool);
}

void pool_shutdown(struct pool *pool)
{
    if (pool->phase == POOL_SHUT)
        return;
    struct allocation *waiter;
    while ((waiter = TAILQ_FIRST(&pool->waiters)) != NULL) {
        host_remove_waiter(waiter->host, waiter);
        pool_fail(waiter, "shutdown", ECANCELED, "the pool is shutting down");
    }
    enter_phase(pool, POOL_SHUT);
    pool_serve(pool);
}

void pool_free(struct pool *pool)
{
    if (pool == NULL)
        return;
    pool_shutdown(pool);
    struct allocation *allocation;
    while ((allocation = TAILQ_FIRST(&pool->answers)) != NULL) {
        struct pool_conn *conn = allocation->conn;
        allocation->conn = NULL;
        withdraw_answer(allocation);
        if (conn != NULL)
            conn_close(conn, DISCARD_SHUTDOWN, false);
    }
    struct pool_host *host;
    TAILQ_FOREACH (host, &pool->hosts, hosts) {
        host->pinned = false;
        host_update(host);
    }
    pool_serve(pool);
    assert(TAILQ_EMPTY(&pool->hosts)); /* a lease is left */
    timer_clear(pool->loop, &pool->idle_timer);
    loop_unpost(pool->loop, &pool->answer_task);
    heap_clear(&pool->hungry);
    free(pool);
}

const struct pool_limits *pool_get_limits(const struct pool *pool)
{
    return &pool->limits;
}

void pool_get_stats(const struct pool *pool, struct pool_stats *stats)
{
    *stats = pool->stats;
}
