#include <assert.h>
#include <errno.h>
#include <event2/util.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "pool/pool_internal.h"

static const char *const state_names[CONN_STATES] = {"new",  "connecting", "busy",
                                                     "held", "idle",       "closed"};

/* Which transitions are legal: rows are "from". BUSY to BUSY is a release that goes straight to a
 * waiter. */
static const bool legal[CONN_STATES][CONN_STATES] = {
    /*                  NEW    CONN   BUSY   HELD   IDLE   CLOSED */
    [CONN_NEW] = {false, true, false, false, false, true},
    [CONN_CONNECTING] = {false, false, true, false, true, true},
    [CONN_BUSY] = {false, false, true, true, true, true},
    [CONN_HELD] = {false, false, true, false, false, true},
    [CONN_IDLE] = {false, false, true, false, false, true},
    [CONN_CLOSED] = {false, false, false, false, false, false},
};

static unsigned *pool_count(struct pool *pool, enum conn_state state)
{
    switch (state) {
    case CONN_CONNECTING:
        return &pool->stats.connecting;
    case CONN_BUSY:
        return &pool->stats.busy;
    case CONN_HELD:
        return &pool->stats.held;
    case CONN_IDLE:
        return &pool->stats.idle;
    case CONN_NEW:
    case CONN_CLOSED:
    case CONN_STATES:
        break;
    }
    return NULL;
}

static void drop_reservation(struct pool_conn *conn)
{
    conn->host->may_hold -= conn->may_hold;
    conn->may_hold = false;
}

/* Every change of a connection's state is made here: list, counts, debug line. */
static void set_state(struct pool_conn *conn, enum conn_state to, const char *why)
{
    struct pool *pool = conn->pool;
    struct pool_host *host = conn->host;
    enum conn_state from = conn->state;
    assert(legal[from][to]);

    unsigned *count = pool_count(pool, from);
    if (count != NULL) {
        TAILQ_REMOVE(&host->conns[from], conn, link);
        host->count[from]--;
        (*count)--;
    }
    drop_reservation(conn);
    if (from == CONN_IDLE) {
        TAILQ_REMOVE(&pool->idle, conn, lru);
        timer_clear(pool->loop, &conn->stay_timer);
    }
    conn->state = to;
    count = pool_count(pool, to);
    if (count != NULL) {
        TAILQ_INSERT_HEAD(&host->conns[to], conn, link);
        host->count[to]++;
        (*count)++;
    }
    if (to == CONN_IDLE)
        TAILQ_INSERT_TAIL(&pool->idle, conn, lru);

    if (log_enabled(LOG_LEVEL_DEBUG)) {
        char text[ENDPOINT_TEXT_MAX];
        log_debug("pool=%s endpoint=%s conn=%" PRIu64 " fd=%d %s -> %s (%s)", pool->name,
                  endpoint_format(&host->endpoint, text), conn->number, conn->stream.fd,
                  state_names[from], state_names[to], why);
    }
    host_update(host);
}

/* Something happened on an idle connection: unless the look finds nothing (a stale edge), it is
 * of no use any more [19]. */
static void on_idle_ready(struct stream_handler *handler, struct stream *stream)
{
    struct pool_conn *conn = container_of(handler, struct pool_conn, idle_handler);
    struct pool *pool = conn->pool;
    (void)stream;
    conn_usable(conn);
    pool_serve(pool);
}

static void on_stay_over(struct timer *timer)
{
    struct pool_conn *conn = container_of(timer, struct pool_conn, stay_timer);
    struct pool *pool = conn->pool;
    conn_close(conn, DISCARD_KEEP_ALIVE, false);
    pool_serve(pool);
}

/* A failed dial fails the oldest waiter of its host, and only that one. */
static void on_dial_failed(struct pool_conn *conn, const struct failure *failure)
{
    struct pool_host *host = conn->host;
    struct allocation *oldest = TAILQ_FIRST(&host->waiters);
    host_back_off(host);
    host_note_failure(host);
    if (oldest != NULL) {
        host_remove_waiter(host, oldest);
        pool_fail_as(oldest, failure);
    } else {
        host_warn_no_spare(host, failure);
    }
    conn_close(conn, DISCARD_DIAL_FAILED, false);
}

/* Up to 10 % less than max_age, so that many do not reconnect in step. */
static usec_t choose_max_age(const struct pool *pool)
{
    uint16_t random;
    evutil_secure_rng_get_bytes(&random, sizeof(random));
    return pool->limits.max_age - pool->limits.max_age / 10 * random / UINT16_MAX;
}

/* What came right behind the connection, perhaps its end, may have come in the event that told of
 * the connection, and no other one will tell. Whoever waits will find it by reading. */
static bool may_place(struct pool_conn *conn)
{
    return !conn->stream.readable || host_waiter_for(conn->host, conn) != NULL || conn_usable(conn);
}

static void on_dial_done(struct dial_handler *handler, const struct failure *failure)
{
    struct pool_conn *conn = container_of(handler, struct pool_conn, dial_handler);
    struct pool *pool = conn->pool;
    conn->dial = NULL;
    if (failure != NULL) {
        on_dial_failed(conn, failure);
    } else {
        host_note_connected(conn->host);
        conn->born = loop_now(pool->loop);
        conn->max_age = choose_max_age(pool);
        conn_check_address(conn);
        if (may_place(conn))
            pool_place(conn, FROM_NONE);
    }
    pool_serve(pool);
}

int conn_dial(struct pool_host *host, bool spare)
{
    struct pool *pool = host->pool;
    struct pool_conn *conn = calloc(1, sizeof(*conn));
    if (conn == NULL)
        return -1;
    conn->pool = pool;
    conn->host = host;
    conn->stream.fd = -1;
    conn->idle_handler.ready = on_idle_ready;
    conn->dial_handler.done = on_dial_done;
    conn->stay_timer.fire = on_stay_over;
    struct dial_options options = pool->dial_options;
    options.tls = host->tls;
    conn->dial = dial_start(pool->loop, pool->resolver, &host->endpoint, &options, &conn->stream,
                            &conn->dial_handler);
    if (conn->dial == NULL) {
        free(conn);
        return -1;
    }
    conn->number = loop_number(pool->loop);
    pool->stats.dials++;
    if (spare)
        pool->stats.spares++;
    set_state(conn, CONN_CONNECTING, spare ? "spare" : "waiter");
    return 0;
}

void conn_lease(struct pool_conn *conn, struct allocation *allocation, enum from_cache from_cache)
{
    host_proved(conn->host);
    conn->lease = allocation;
    conn->uses++;
    stream_set_handler(&conn->stream, NULL);
    allocation->conn = conn;
    allocation->stream = &conn->stream;
    allocation->from_cache = from_cache;
    allocation->reused = conn->uses > 1;
    set_state(conn, CONN_BUSY, from_cache_name(from_cache));
    pool_answer(allocation);
}

void pool_describe(const struct allocation *lease, struct conn_info *info)
{
    const struct pool_conn *conn = lease->conn;
    assert(lease->state == ALLOCATION_LEASED);
    *info = (struct conn_info){.number = conn->number,
                               .uses = conn->uses,
                               .address = conn->dial_handler.address,
                               .connect_time = conn->dial_handler.connect_time,
                               .handshake_time = conn->dial_handler.handshake_time};
}

bool conn_reserve_hold(struct pool_conn *conn)
{
    struct pool_host *host = conn->host;
    if (conn->state == CONN_HELD || conn->may_hold)
        return true;
    if (!pool_can_hold(host))
        return false;
    conn->may_hold = true;
    host->may_hold++;
    return true;
}

void conn_hold(struct pool_conn *conn)
{
    if (conn->state == CONN_HELD)
        return;
    assert(conn->may_hold);
    if (conn->may_hold) /* else a programming error, which must not exceed max_tunnels */
        set_state(conn, CONN_HELD, "its user may keep it");
}

bool conn_unhold(struct pool_conn *conn)
{
    drop_reservation(conn);
    if (conn->state != CONN_HELD)
        return true;
    if (host_open(conn->host) >= conn->pool->limits.max_per_host)
        return false;
    set_state(conn, CONN_BUSY, "it is as any other again");
    return true;
}

/* How long it may stay idle: keep_alive, or less where the upstream's hint says so. */
static usec_t conn_stay(const struct pool_conn *conn)
{
    usec_t keep_alive = conn->pool->limits.keep_alive;
    return conn->stay != 0 && conn->stay < keep_alive ? conn->stay : keep_alive;
}

/* Sets what ends this idle time: the pool's timer, or one of its own for a shorter stay. 0, or -1
 * with ENOMEM. */
static int start_stay(struct pool_conn *conn)
{
    struct pool *pool = conn->pool;
    if (conn_stay(conn) < pool->limits.keep_alive)
        return timer_set(pool->loop, &conn->stay_timer, conn->idle_since + conn->stay);
    if (timer_is_set(&pool->idle_timer))
        return 0;
    return timer_set(pool->loop, &pool->idle_timer, conn->idle_since + pool->limits.keep_alive);
}

void conn_park(struct pool_conn *conn)
{
    struct pool *pool = conn->pool;
    conn->idle_since = loop_now(pool->loop);
    conn->lease = NULL;
    if (pool->phase != POOL_OPEN || conn->address_gone) {
        conn_close(conn, conn->address_gone ? DISCARD_ADDRESS_GONE : DISCARD_SHUTDOWN, false);
        return;
    }
    stream_set_handler(&conn->stream, &conn->idle_handler);
    set_state(conn, CONN_IDLE, "nobody waits");
    if (start_stay(conn) < 0)
        conn_close(conn, DISCARD_KEEP_ALIVE, false);
}

bool conn_within_limits(struct pool_conn *conn)
{
    const struct pool_limits *limits = &conn->pool->limits;
    usec_t now = loop_now(conn->pool->loop);
    enum pool_discard reason;
    if (conn->max_age > 0 && now - conn->born >= conn->max_age)
        reason = DISCARD_MAX_AGE;
    else if (conn->address_gone)
        reason = DISCARD_ADDRESS_GONE;
    else if (limits->max_uses > 0 && conn->uses >= limits->max_uses)
        reason = DISCARD_MAX_USES;
    else if (conn->state == CONN_IDLE && now - conn->idle_since >= conn_stay(conn))
        reason = DISCARD_KEEP_ALIVE;
    else
        return true;
    conn_close(conn, reason, false);
    return false;
}

/* An upstream that ends what it has just accepted, as with TLS 1.3 one that does not like our
 * certificate, must not make us dial in circles, and not in silence. */
static void on_stillborn(const struct pool_conn *conn, enum pool_discard reason)
{
    struct failure failure = {.function = "tls"};
    const char *tls = stream_failure(&conn->stream);
    if (*tls == '\0') {
        failure.function = "read";
        tls = pool_discard_name(reason);
    }
    snprintf(failure.text, sizeof(failure.text), "%s", tls);
    if (conn->host->keeps_spares)
        host_warn_no_spare(conn->host, &failure);
    host_back_off(conn->host);
}

bool conn_usable(struct pool_conn *conn)
{
    enum pool_discard reason;
    switch (stream_look(&conn->stream)) {
    case LOOK_QUIET:
        return conn_within_limits(conn);
    case LOOK_DATA:
        if (conn->uses == 0 && conn->host->greets && !conn->stream.hangup)
            return conn_within_limits(conn);
        reason = DISCARD_UNREAD_DATA;
        break;
    case LOOK_EOF:
        reason = DISCARD_UPSTREAM_CLOSED;
        break;
    case LOOK_ERROR:
    default:
        reason = DISCARD_UPSTREAM_ERROR;
        break;
    }
    if (conn->uses == 0 && loop_now(conn->pool->loop) - conn->born < USEC_PER_SEC)
        on_stillborn(conn, reason);
    conn_close(conn, reason, reason == DISCARD_UNREAD_DATA);
    return false;
}

void conn_close(struct pool_conn *conn, enum pool_discard reason, bool reset)
{
    struct pool *pool = conn->pool;
    set_state(conn, CONN_CLOSED, pool_discard_name(reason));
    pool->stats.discards[reason]++;
    dial_cancel(conn->dial);
    if (reset)
        stream_reset(&conn->stream);
    else
        stream_close(&conn->stream);
    free(conn);
}
