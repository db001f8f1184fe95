/* SPDX-License-Identifier: ISC */
/* Carries out what the pool's core says, on the loop that owns the connections: dials, peeks,
 * closes, time. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/span.h"
#include "pool/pool_internal.h"

/* How far ahead the timer is set when nothing is due. */
#define FAR (24 * 3600 * USEC_PER_SEC)

static void log_move(const struct pool_conn *conn, enum core_conn_state from,
                     enum core_conn_state to, const char *why)
{
    static const char *const names[CONN_STATES] = {"new",  "connecting", "busy",  "held",
                                                   "idle", "closed",     "closed"};
    char text[ENDPOINT_TEXT_MAX];
    log_debug("pool=%s endpoint=%s conn=%" PRIu64 " fd=%d %s -> %s (%s)", conn->pool->name,
              endpoint_format(&conn->core.host->endpoint, text), conn->number, conn->stream.fd,
              names[from], names[to], why);
}

void pool_io_log_state_now(const struct pool_conn *conn, const char *why)
{
    log_move(conn, conn->core.was, conn->core.state, why);
}

enum pool_peek pool_io_peek(struct pool_conn *conn)
{
    switch (stream_peek(&conn->stream)) {
    case PEEK_QUIET:
        return stream_has_pending(&conn->stream) ? POOL_PEEK_PARTIAL : POOL_PEEK_QUIET;
    case PEEK_DATA:
        return conn->stream.hangup ? POOL_PEEK_DATA_END : POOL_PEEK_DATA;
    case PEEK_EOF:
        return POOL_PEEK_EOF;
    case PEEK_ERROR:
    default:
        return POOL_PEEK_ERROR;
    }
}

void pool_io_placed(struct pool_conn *conn, struct core_request *request)
{
    if (request == NULL) {
        if (conn->core.state == CONN_IDLE)
            pool_io_log_state(conn, "no waiter");
        return;
    }
    struct allocation *allocation = container_of(request, struct allocation, request);
    stream_set_handler(&conn->stream, NULL);
    allocation->stream = &conn->stream;
    allocation->from_cache = request->from_cache;
    allocation->reused = conn->core.uses > 1;
    if (log_enabled(LOG_LEVEL_DEBUG))
        pool_io_log_state(conn, pool_from_cache_name(request->from_cache));
    pool_grant_post(allocation);
}

/* Something happened on an idle connection: unless the peek finds nothing (a stale edge), it can no
 * longer be used [19]. */
static void on_idle_ready(struct stream_handler *handler, struct stream *stream)
{
    struct pool_conn *conn = container_of(handler, struct pool_conn, idle_handler);
    struct pool *pool = conn->pool;
    (void)stream;
    pool_core_idle_event(&conn->core, pool_io_peek(conn), loop_now(pool->loop));
    pool_io_run(pool);
}

/* Limits a dial that no waiter's time limits [38]. */
static void limit_dial(struct pool_conn *conn)
{
    dialer_limit(conn->dial, "timeout", conn->pool->core.limits.timeout);
}

/* The last failure took the host down, if it was not before. Its remaining dials are attempts from
 * now on [41]. */
static void note_down(struct pool_host *host, bool was_down)
{
    struct core_conn *conn;
    if (was_down || !host->core.down)
        return;
    pool_report_down(host);
    TAILQ_FOREACH (conn, &host->core.conns[CONN_CONNECTING], link) {
        dialer_last_try(pool_conn_of(conn)->dial);
        limit_dial(pool_conn_of(conn));
    }
}

static void on_dial_failed(struct pool_conn *conn, const struct failure *failure)
{
    struct pool_host *host = pool_host_of(conn->core.host);
    bool was_down = host->core.down, by_host = !dialer_failed_here(failure);
    struct core_request *request =
        pool_core_dial_failed(&conn->core, by_host, loop_now(conn->pool->loop));
    pool_report_failure(host, failure);
    note_down(host, was_down);
    if (request != NULL)
        pool_grant_fail_as(container_of(request, struct allocation, request), failure);
    else if (!host->core.down && host->core.service == SERVICE_OPEN) /* else that was reported */
        pool_report_not_preconnected(host, failure);
}

static void on_connected(struct pool_conn *conn)
{
    const struct dial_handler *dial = &conn->dial_handler;
    histogram_add(&conn->core.host->stats.connect, dial->connect_time + dial->handshake_time);
    pool_report_connected(pool_host_of(conn->core.host));
    pool_names_check(conn);
    pool_io_watch_idle(conn);
    pool_io_placed(
        conn, pool_core_connected(&conn->core, conn->stream.readable, loop_now(conn->pool->loop)));
}

static void on_dial_done(struct dial_handler *handler, const struct failure *failure)
{
    struct pool_conn *conn = container_of(handler, struct pool_conn, dial_handler);
    struct pool *pool = conn->pool;
    conn->dial = NULL;
    pool_core_count_retries(conn->core.host, handler->retries);
    if (failure != NULL)
        on_dial_failed(conn, failure);
    else
        on_connected(conn);
    pool_io_run(pool);
}

/* 0, or -1 with ENOMEM. */
static int dial(struct pool_host *host, bool preconnect)
{
    struct pool *pool = host->pool;
    struct pool_conn *conn = calloc(1, sizeof(*conn));
    if (conn == NULL)
        return -1;
    conn->pool = pool;
    conn->stream.fd = -1;
    conn->idle_handler.ready = on_idle_ready;
    conn->dial_handler.done = on_dial_done;
    const struct pool_limits *limits = &pool->core.limits;
    conn->bind_address = limits->bind_address; /* these may change while it is under way */
    const struct dial_options options = {
        .connect_timeout = limits->connect_timeout,
        .connect_retries = host->core.down ? 0 : limits->connect_retries, /* tried anyway [41] */
        .bind_address = &conn->bind_address,
        .tls = host->tls};
    conn->dial = dialer_start(pool->loop, pool->resolver, &host->core.endpoint, &options,
                              &conn->stream, &conn->dial_handler);
    if (conn->dial == NULL)
        goto err_conn;
    conn->number = loop_number(pool->loop);
    if (pool_core_dialling(&host->core, &conn->core, preconnect) < 0)
        goto err_dial;
    if (preconnect || host->core.down)
        limit_dial(conn);
    pool_io_log_state(conn, host->core.down ? "down" : preconnect ? "spare" : "waiter");
    return 0;

err_dial:
    dialer_cancel(conn->dial);
err_conn:
    free(conn);
    return -1;
}

static void do_dial(struct pool *pool, const struct pool_action *action)
{
    if (dial(pool_host_of(action->host), action->preconnect) == 0)
        return;
    int number = errno;
    struct core_request *request =
        pool_core_dial_refused(action->host, action->preconnect, loop_now(pool->loop));
    if (request != NULL)
        pool_grant_fail(container_of(request, struct allocation, request), "connect", number, "%s",
                        strerror(number));
}

void pool_io_detach(struct pool_conn *conn)
{
    if (conn->attached != NULL)
        conn->free_attached(conn->attached);
    conn->attached = NULL;
}

static void end_conn(struct pool_conn *conn, bool reset)
{
    pool_io_detach(conn);
    if (conn->dial != NULL)
        pool_core_count_retries(conn->core.host, conn->dial_handler.retries);
    dialer_cancel(conn->dial);
    if (reset)
        stream_reset(&conn->stream);
    else
        stream_close(&conn->stream);
    pool_core_closed(&conn->core);
    free(conn);
}

static void do_cancel_dial(struct pool_conn *conn)
{
    if (dialer_is_connected(conn->dial)) {
        dialer_last_try(conn->dial);
        limit_dial(conn);
        pool_core_dial_kept(&conn->core);
        return;
    }
    if (log_enabled(LOG_LEVEL_DEBUG))
        log_move(conn, CONN_CONNECTING, CONN_CLOSING, pool_discard_name(DISCARD_DIAL_UNWANTED));
    end_conn(conn, false);
}

static void do_peek(struct pool_conn *conn)
{
    struct pool_host *host = pool_host_of(conn->core.host);
    bool was_down = host->core.down;
    struct core_request *request =
        pool_core_peeked(&conn->core, pool_io_peek(conn), loop_now(conn->pool->loop));
    if (was_down && !host->core.down)
        pool_report_up(host);
    pool_io_placed(conn, request);
}

/* Not silently: see core_conn.c. */
static void warn_ended_unused(struct pool_conn *conn)
{
    struct failure failure = {.function = "tls"};
    const char *tls = stream_failure(&conn->stream);
    if (*tls == '\0') {
        failure.function = "read";
        tls = pool_discard_name(conn->core.reason);
    }
    snprintf(failure.text, sizeof(failure.text), "%s", tls);
    pool_report_not_preconnected(pool_host_of(conn->core.host), &failure);
}

static void do_close(struct pool_conn *conn)
{
    if (conn->core.ended_unused && conn->core.host->keeps_preconnected)
        warn_ended_unused(conn);
    pool_io_log_state(conn, pool_discard_name(conn->core.reason));
    end_conn(conn, conn->core.reset);
}

/* Why a waiter was not served within its time [20]. Dials are not tied to waiters: the oldest one
 * speaks for all waiters that have one. */
static void explain_timeout(const struct allocation *allocation, struct failure *failure)
{
    const struct pool_limits *limits = &allocation->pool->core.limits;
    const struct core_request *request = &allocation->request;
    const struct core_conn_list *dials = &allocation->host->core.conns[CONN_CONNECTING];
    usec_t timeout = request->deadline - allocation->asked_at; /* the pool's may have changed */
    char time[SPAN_TEXT_MAX];
    if (request->has_dial && !TAILQ_EMPTY(dials)) {
        const struct pool_conn *oldest = pool_conn_of(TAILQ_LAST(dials, core_conn_list));
        dialer_time_is_up(oldest->dial, "timeout", timeout, failure);
        return;
    }
    *failure = (struct failure){.function = "queue", .number = ETIMEDOUT};
    if (request->paused) {
        snprintf(failure->text, sizeof(failure->text),
                 "no connection became free within %s (paused by the operator, %u waiting)",
                 span_format(timeout, time), request->queued);
        return;
    }
    snprintf(failure->text, sizeof(failure->text),
             "no connection became free within %s (%s = %u, %u waiting)",
             span_format(timeout, time), pool_limit_name(request->limit),
             pool_limit_value(limits, request->limit), request->queued);
}

/* One waiter after another could have a dial that never ends, each for all of its time. */
static void limit_oldest_dial(struct pool_host *host)
{
    struct core_conn *oldest = TAILQ_LAST(&host->core.conns[CONN_CONNECTING], core_conn_list);
    if (oldest != NULL)
        limit_dial(pool_conn_of(oldest));
}

static void do_time_out(struct allocation *allocation)
{
    struct failure failure;
    struct pool_host *host = allocation->host;
    bool was_down = host->core.down;
    explain_timeout(allocation, &failure);
    if (allocation->request.has_dial)
        limit_oldest_dial(host);
    if (allocation->request.has_dial && allocation->held_up_at == 0) {
        pool_core_dial_overdue(&host->core, loop_now(host->pool->loop));
        pool_report_failure(host, &failure);
    }
    note_down(host, was_down);
    pool_grant_fail_as(allocation, &failure);
}

static void do_refuse(struct allocation *allocation)
{
    struct failure failure;
    pool_report_refused(allocation->host, &failure);
    pool_grant_fail_as(allocation, &failure);
}

static void do_fail(struct allocation *allocation)
{
    switch (allocation->request.failure) {
    case CORE_REQUEST_TOO_LATE:
        pool_grant_fail(allocation, "queue", ETIMEDOUT,
                        "the time to wait had expired before it began");
        break;
    case CORE_REQUEST_TIMED_OUT:
        do_time_out(allocation);
        break;
    case CORE_REQUEST_TOO_MANY:
        pool_grant_fail(allocation, "allocate", EAGAIN, "too many waiting (max_waiting = %u)",
                        allocation->pool->core.limits.max_waiting);
        break;
    case CORE_REQUEST_DOWN:
        do_refuse(allocation);
        break;
    case CORE_REQUEST_DRAINED:
        pool_grant_fail(allocation, "allocate", ESHUTDOWN,
                        "the upstream is drained by the operator");
        break;
    case CORE_REQUEST_SHUTDOWN:
    case CORE_REQUEST_DIAL: /* not by an action */
        pool_grant_fail(allocation, "shutdown", ECANCELED, "the pool is shutting down");
        break;
    }
}

static void do_action(struct pool *pool, const struct pool_action *action)
{
    switch (action->kind) {
    case POOL_NOTHING:
        break;
    case POOL_DIAL:
        do_dial(pool, action);
        break;
    case POOL_CANCEL_DIAL:
        do_cancel_dial(pool_conn_of(action->conn));
        break;
    case POOL_PEEK:
        do_peek(pool_conn_of(action->conn));
        break;
    case POOL_CLOSE:
        do_close(pool_conn_of(action->conn));
        break;
    case POOL_FAIL:
        do_fail(container_of(action->request, struct allocation, request));
        break;
    }
}

static void free_host(struct core_host *core)
{
    struct pool_host *host = pool_host_of(core);
    pool_report_end(host);
    pool_names_unwatch(host);
    pool_core_remove_host(core);
    tls_client_unref(host->tls);
    pool_reload_note_gone(host->pool);
    free(host);
}

void pool_io_free_empty_hosts(struct pool *pool)
{
    struct core_host *host;
    while ((host = pool_core_empty_host(&pool->core)) != NULL)
        free_host(host);
}

static void set_timer(struct pool *pool, usec_t when)
{
    int done = loop_set_timer(pool->loop, &pool->timer, when);
    assert(done == 0);
    (void)done;
    pool->timer_at = when;
}

/* The timer is moved if something is due earlier, but not if it is due later: then it checks
 * again. */
void pool_io_run(struct pool *pool)
{
    struct pool_action action;
    while (pool_core_next(&pool->core, &action))
        do_action(pool, &action);
    pool_io_free_hosts(pool);
    usec_t next = pool_core_next_time(&pool->core);
    if (next < pool->timer_at)
        set_timer(pool, next);
    pool_io_changed(pool);
}

/* Sets the timer again first, while there is room for it. */
static void on_timer(struct timer *timer)
{
    struct pool *pool = container_of(timer, struct pool, timer);
    usec_t now = loop_now(pool->loop);
    set_timer(pool, now + FAR);
    pool_core_tick(&pool->core, now);
    pool_io_run(pool);
}

int pool_io_init(struct pool *pool)
{
    pool->timer.fire = on_timer;
    pool->timer_at = loop_now(pool->loop) + FAR;
    return loop_set_timer(pool->loop, &pool->timer, pool->timer_at);
}

void pool_io_clear(struct pool *pool)
{
    loop_clear_timer(pool->loop, &pool->timer);
    loop_unpost(pool->loop, &pool->grant_task);
    loop_unpost(pool->loop, &pool->gone_task);
}

static void on_name_task(struct task *task)
{
    struct pool_host *host = container_of(task, struct pool_host, name_task);
    struct pool *pool = host->pool;
    pool_names_check_all(host);
    pool_io_run(pool);
}

struct pool_host *pool_io_get_host(struct pool *pool, const struct endpoint *endpoint)
{
    struct core_host *found = pool_core_find_host(&pool->core, endpoint);
    if (found != NULL)
        return pool_host_of(found);
    struct pool_host *host = calloc(1, sizeof(*host));
    if (host == NULL)
        return NULL;
    host->pool = pool;
    host->core.endpoint = *endpoint;
    host->name_task.run = on_name_task;
    pool_report_begin(host);
    if (pool_names_watch(host) < 0)
        goto err_host;
    if (pool_core_add_host(&pool->core, &host->core) < 0)
        goto err_name;
    return host;

err_name:
    pool_names_unwatch(host);
err_host:
    free(host);
    errno = ENOMEM;
    return NULL;
}
