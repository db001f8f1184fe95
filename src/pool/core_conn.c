/* SPDX-License-Identifier: ISC */
/* A connection in the pool's core: its transitions, its limits, its end. */
#include "pool/core_internal.h"

static_assert((int)CONN_BUSY - CONN_CONNECTING == HOST_BUSY &&
                  (int)CONN_CLOSING - CONN_CONNECTING == HOST_CLOSING,
              "states are counted in this order");

/* The legal transitions: rows are "from". BUSY to BUSY is a release that goes straight to a
 * waiter. */
static const bool legal[CONN_STATES][CONN_STATES] = {
    /*                  NEW    CONN   BUSY   HELD   IDLE   CLOSING CLOSED */
    [CONN_NEW] = {false, true, false, false, false, false, false},
    [CONN_CONNECTING] = {false, false, true, false, true, true, false},
    [CONN_BUSY] = {false, false, true, true, true, true, false},
    [CONN_HELD] = {false, false, true, false, true, true, false},
    [CONN_IDLE] = {false, false, true, false, false, true, false},
    [CONN_CLOSING] = {false, false, false, false, false, false, true},
};

static void drop_reservation(struct core_conn *conn)
{
    if (conn->may_hold)
        conn->host->may_hold--;
    conn->may_hold = false;
}

void core_conn_set_state(struct core_conn *conn, enum core_conn_state to)
{
    struct core_host *host = conn->host;
    struct pool_core *core = host->core;
    enum core_conn_state from = conn->state;
    assert(legal[from][to]);

    if (from != CONN_NEW) {
        TAILQ_REMOVE(&host->conns[from], conn, link);
        host->count[from]--;
        core->count[from]--;
        gauge_set_now(&host->stats.conns[from - CONN_CONNECTING], host->count[from]);
    }
    drop_reservation(conn);
    if (from == CONN_IDLE) {
        TAILQ_REMOVE(&core->idle, conn, lru);
        if (core_due_is_set(&conn->due))
            core_due_clear(core, &conn->due);
    }
    if (from == CONN_HELD)
        host->closing_held += to == CONN_CLOSING;
    else if (from == CONN_CLOSING)
        host->closing_held -= conn->was == CONN_HELD;
    conn->was = from;
    conn->state = to;
    if (to != CONN_CLOSED) {
        TAILQ_INSERT_HEAD(&host->conns[to], conn, link);
        host->count[to]++;
        core->count[to]++;
        gauge_set(&host->stats.conns[to - CONN_CONNECTING], host->count[to]);
    }
    if (to == CONN_IDLE)
        TAILQ_INSERT_TAIL(&core->idle, conn, lru);
    core_host_update(host);
}

void core_conn_close(struct core_conn *conn, enum pool_discard reason, bool reset)
{
    struct pool_core *core = conn->host->core;
    conn->lease = NULL;
    conn->reason = reason;
    conn->reset = reset;
    counter_add(&conn->host->stats.discards[reason], 1);
    core_pending_set(core, &conn->pending, POOL_CLOSE);
    core_conn_set_state(conn, CONN_CLOSING);
}

void core_conn_close_idle(struct core_host *host, enum pool_discard reason)
{
    struct core_conn *idle;
    while ((idle = TAILQ_FIRST(&host->conns[CONN_IDLE])) != NULL)
        core_conn_close(idle, reason, false);
}

bool core_conn_reserve_hold(struct core_conn *conn)
{
    struct core_host *host = conn->host;
    if (conn->state == CONN_HELD || conn->may_hold)
        return true;
    if (core_host_tunnels(host) >= host->most_held)
        return false;
    conn->may_hold = true;
    host->may_hold++;
    return true;
}

void core_conn_hold(struct core_conn *conn)
{
    if (conn->state == CONN_HELD)
        return;
    assert(conn->may_hold);
    if (conn->may_hold) /* otherwise a programming error, which must not exceed max_tunnels */
        core_conn_set_state(conn, CONN_HELD);
}

bool core_conn_unhold(struct core_conn *conn)
{
    drop_reservation(conn);
    if (!core_conn_has_place(conn))
        return false;
    if (conn->state == CONN_HELD)
        core_conn_set_state(conn, CONN_BUSY);
    return true;
}

/* An upstream that closes what it has just accepted, as one with TLS 1.3 that rejects our
 * certificate, must not make us dial in circles, let alone silently. */
static void note_end(struct core_conn *conn, usec_t now)
{
    conn->ended_unused = conn->uses == 0 && now - conn->born < USEC_PER_SEC;
    if (conn->ended_unused)
        core_host_back_off(conn->host, now);
}

/* The objection that follows from a peek that is not quiet; POOL_DISCARD_COUNT: none. What a
 * partial record will turn out to be is unknown; an idle connection may wait for the rest, as it
 * can be a ticket. */
static enum pool_discard objection_of_peek(const struct core_conn *conn, enum pool_peek peek)
{
    switch (peek) {
    case POOL_PEEK_DATA:
        if (conn->uses == 0 && conn->host->sends_greeting)
            break;
        return DISCARD_UNREAD_DATA;
    case POOL_PEEK_DATA_END:
        return DISCARD_UNREAD_DATA;
    case POOL_PEEK_EOF:
        return DISCARD_UPSTREAM_CLOSED;
    case POOL_PEEK_ERROR:
        return DISCARD_UPSTREAM_ERROR;
    case POOL_PEEK_QUIET:
    case POOL_PEEK_DRAINED:
    case POOL_PEEK_PARTIAL:
        break;
    }
    return POOL_DISCARD_COUNT;
}

/* Objections other than those of a peek. */
static enum pool_discard objection_of_limits(const struct core_conn *conn, usec_t now)
{
    const struct pool_limits *limits = &conn->host->core->limits;
    if (!core_host_is_open(conn->host))
        return DISCARD_PAUSED;
    if (conn->retired)
        return DISCARD_RECONNECT;
    if (conn->max_age > 0 && now - conn->born >= conn->max_age)
        return DISCARD_MAX_AGE;
    if (conn->address_gone)
        return DISCARD_ADDRESS_GONE;
    if (limits->max_uses > 0 && conn->uses >= limits->max_uses)
        return DISCARD_MAX_USES;
    if (now >= conn->idle_until)
        return DISCARD_KEEP_ALIVE;
    return POOL_DISCARD_COUNT;
}

/* Any objection to using it again; POOL_DISCARD_COUNT: none. */
static enum pool_discard objection(struct core_conn *conn, enum pool_peek peek, usec_t now)
{
    if (peek <= POOL_PEEK_DRAINED)
        return objection_of_limits(conn, now);
    enum pool_discard reason = objection_of_peek(conn, peek);
    if (reason != POOL_DISCARD_COUNT) {
        note_end(conn, now);
        return reason;
    }
    reason = objection_of_limits(conn, now);
    bool may_wait = conn->state == CONN_IDLE || conn->state == CONN_CONNECTING;
    if (reason == POOL_DISCARD_COUNT && peek == POOL_PEEK_PARTIAL && !may_wait)
        return DISCARD_UNREAD_DATA;
    return reason;
}

bool core_conn_is_fit(struct core_conn *conn, enum pool_peek peek, usec_t now)
{
    enum pool_discard reason = objection(conn, peek, now);
    if (reason == POOL_DISCARD_COUNT)
        return true;
    core_conn_close(conn, reason, reason == DISCARD_UNREAD_DATA);
    return false;
}

enum pool_discard core_conn_surplus(const struct core_conn *conn)
{
    const struct core_host *host = conn->host;
    if (host->over && conn->state != CONN_HELD && core_host_stay(host) > host->most_open)
        return DISCARD_MAX_PER_HOST;
    if (host->core->over && core_stay(host->core) > host->core->limits.max_open)
        return DISCARD_MAX_OPEN;
    return POOL_DISCARD_COUNT;
}

static enum pool_discard park_objection(const struct core_conn *conn)
{
    if (conn->address_gone)
        return DISCARD_ADDRESS_GONE;
    if (conn->retired)
        return DISCARD_RECONNECT;
    return conn->host->core->phase != POOL_OPEN ? DISCARD_SHUTDOWN : DISCARD_RELOAD;
}

void core_conn_choose_max_age(struct core_conn *conn)
{
    struct pool_core *core = conn->host->core;
    usec_t most = core->limits.max_age;
    conn->max_age = most - most / 10 * core_random(core) / UINT16_MAX;
}

void core_conn_limit_idle(struct core_conn *conn)
{
    struct pool_core *core = conn->host->core;
    usec_t keep_alive = core->limits.keep_alive;
    bool hinted = conn->idle_hint != 0 && conn->idle_hint < keep_alive;
    conn->idle_until = conn->idle_since + (hinted ? conn->idle_hint : keep_alive);
    core_note_time(core, conn->idle_since + keep_alive);
    if (hinted)
        core_due_set(core, &conn->due, conn->idle_until);
    else if (core_due_is_set(&conn->due))
        core_due_clear(core, &conn->due);
}

void core_conn_park(struct core_conn *conn, usec_t now)
{
    const struct pool_core *core = conn->host->core;
    if (core->phase != POOL_OPEN || conn->address_gone || conn->retired ||
        !core_host_is_wanted(conn->host)) {
        core_conn_close(conn, park_objection(conn), false);
        return;
    }
    conn->lease = NULL;
    conn->idle_since = now;
    core_conn_set_state(conn, CONN_IDLE);
    core_conn_limit_idle(conn);
}
