/* SPDX-License-Identifier: ISC */
/* Every session: its states, its allocation, its timer, its end. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "net/delivery.h"
#include "session/session_internal.h"

/* Sessions that a listener keeps for reuse: one is needed for every connection. */
#define FREE_LIST_MAX FREE_LIST(64)

/* Which transitions are legal: rows are "from". */
static const bool legal[SESSION_STATES][SESSION_STATES] = {
    /*                     READ   WAIT   RELAY  DRAIN  LINGER CLOSED */
    [SESSION_READING] = {false, true, true, true, true, true},
    [SESSION_WAITING] = {false, false, true, true, false, true},
    [SESSION_RELAYING] = {true, true, false, true, false, true},
    [SESSION_DRAINING] = {true, false, false, false, true, true},
    [SESSION_LINGERING] = {false, false, false, false, false, true},
    [SESSION_CLOSED] = {false, false, false, false, false, false},
};

const char *session_state_name(enum session_state state)
{
    static const char *const names[] = {"reading",  "waiting",   "relaying",
                                        "draining", "lingering", "closed"};
    return names[state];
}

void session_set_state(struct session *session, enum session_state to)
{
    enum session_state from = session->state;
    assert(legal[from][to]);
    session->state = to;
    log_debug("listener=%s client_fd=%d %s -> %s", session->context->config->name,
              session->client.fd, session_state_name(from), session_state_name(to));
}

/* Why a lease that a session still holds at its end is discarded. */
static enum pool_discard discard_reason(enum session_end end)
{
    switch (end) {
    case SESSION_CLIENT_LEFT:
    case SESSION_CLIENT_RESET:
        return DISCARD_CLIENT_ABORT;
    case SESSION_UPSTREAM_RESET:
        return DISCARD_UPSTREAM_ERROR;
    case SESSION_UPSTREAM_CLOSED:
        return DISCARD_UPSTREAM_CLOSED;
    case SESSION_BAD_RESPONSE:
        return DISCARD_PROTOCOL_ERROR;
    case SESSION_IDLE_TIMEOUT:
        return DISCARD_IDLE_TIMEOUT;
    case SESSION_SHUTDOWN:
        return DISCARD_SHUTDOWN;
    case SESSION_COMPLETE:
    case SESSION_BAD_REQUEST:
    case SESSION_ALLOC_FAILED:
    case SESSION_ERROR:
    case SESSION_END_COUNT:
        break;
    }
    return DISCARD_NOT_REUSABLE;
}

/* Keeps a session that has ended for the next client. */
static void set_aside(struct listener_context *context, struct session *session)
{
    if (context->free_session_count == FREE_LIST_MAX) {
        free(session);
        return;
    }
    TAILQ_INSERT_HEAD(&context->free_sessions, session, link);
    context->free_session_count++;
}

void session_finish(struct session *session, enum session_end end)
{
    struct listener_context *context = session->context;
    bool in_order = end == SESSION_COMPLETE;

    session_set_state(session, SESSION_CLOSED);
    if (pool_is_leased(&session->allocation))
        pool_discard(&session->allocation, discard_reason(end), !in_order);
    else if (session->is_paused)
        session_wait_leave(session);
    else
        pool_cancel(&session->allocation);
    loop_clear_timer(context->worker.loop, &session->timer);
    loop_unpost(context->worker.loop, &session->task);
    session_learn_process(session);
    if (in_order)
        stream_close(&session->client);
    else
        stream_reset(&session->client);
    session_log(session, end);
    session_clear_failure(session);
    session->protocol->destroy(session);
    if (context->drain_next == session)
        context->drain_next = TAILQ_NEXT(session, link);
    TAILQ_REMOVE(&context->sessions, session, link);
    set_aside(context, session);
    gauge_set_now(&context->counters->stats.sessions,
                  gauge_get(&context->counters->stats.sessions) - 1);
    context->ended(context);
}

void session_fail_later(struct session *session, const struct failure *failure)
{
    session->failing = true;
    session_set_failure(session, failure);
    loop_post(session->context->worker.loop, &session->task);
}

void session_fail_here(struct session *session, const char *function, int number)
{
    struct failure failure = {.function = function, .number = number};
    snprintf(failure.text, sizeof(failure.text), "%s", strerror(number));
    session_fail_later(session, &failure);
}

int session_watch_client(struct session *session)
{
    if (stream_is_watched(&session->client))
        return 0;
    return stream_watch(&session->client, session->context->worker.loop);
}

void session_wake(struct session *session)
{
    loop_post(session->context->worker.loop, &session->task);
}

/* A session that moves less than that in a run is no longer bulk. */
#define LITTLE (16 * 1024)

void session_pause(struct session *session, uint64_t moved, bool more)
{
    if (more)
        loop_queue(session->context->worker.loop, &session->task);
    session->bulk = more || (session->bulk && moved >= LITTLE);
}

/* Short work is done at once. Bulk, and what is to run soon anyway, only takes its place in the
 * queue: the streams remember what became ready. */
static void run_or_queue(struct session *session)
{
    if (session->bulk || session->task.list != NULL)
        loop_queue(session->context->worker.loop, &session->task);
    else
        session->protocol->run(session);
}

static void on_client_ready(struct stream_handler *handler, struct stream *stream)
{
    (void)stream;
    run_or_queue(container_of(handler, struct session, client_handler));
}

static void on_upstream_ready(struct stream_handler *handler, struct stream *stream)
{
    (void)stream;
    run_or_queue(container_of(handler, struct session, upstream_handler));
}

static void on_task(struct task *task)
{
    struct session *session = container_of(task, struct session, task);
    if (session->failing) {
        session->failing = false;
        session->protocol->on_connection(session, session->access.failure);
    } else {
        session->protocol->run(session);
    }
}

/* The earlier of two times; 0 is never. */
static usec_t earlier(usec_t a, usec_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* When the timer is due, in the current state; 0: never. */
static usec_t timer_due(const struct session *session)
{
    usec_t due = session->quiet_max > 0 ? session->moved_at + session->quiet_max : 0;
    return earlier(earlier(due, session->limit_at), session->unacked_at);
}

int session_start_timer(struct session *session)
{
    usec_t due = timer_due(session);
    if (due == 0 || (loop_timer_is_set(&session->timer) && session->timer.node.key <= due))
        return 0;
    return loop_set_timer(session->context->worker.loop, &session->timer, due);
}

/* Is the connection dead? A session that waits that long for its upstream asks the kernel; shorter
 * waits cost nothing. If the upstream is alive it is asked again after that time has passed since
 * something was sent, and since something was acknowledged. */
static bool is_unacked(struct session *session)
{
    usec_t now = loop_now(session->context->worker.loop), due = session->unacked_at, quiet;
    if (due == 0 || due > now)
        return false;
    session->unacked_at = 0;
    if (!pool_is_leased(&session->allocation))
        return false;
    struct delivery_ages ages = {.last = now - session->moved_at,
                                 .limit = session->context->unacked_timeout};
    ages.first = now - due + ages.limit;
    switch (delivery_ask(session->allocation.stream->fd, &ages)) {
    case DELIVERY_DONE:
        break;
    case DELIVERY_PENDING:
        quiet = ages.last < ages.acknowledged ? ages.last : ages.acknowledged;
        session->unacked_at = now + ages.limit - (quiet < ages.limit ? quiet : 0);
        break;
    case DELIVERY_LOST:
        return true;
    }
    return false;
}

/* The timer is not moved with every byte: when it fires, it checks when the last one moved. While
 * the session waits, its allocation has its own time limit; while it is queued, there is something
 * to move. */
static void on_timer(struct timer *timer)
{
    struct session *session = container_of(timer, struct session, timer);
    struct loop *loop = session->context->worker.loop;
    if (session->state == SESSION_WAITING)
        session->moved_at = loop_now(loop);
    if (is_unacked(session)) {
        session->protocol->on_unacked(session);
        return;
    }
    usec_t due = timer_due(session);
    if (due == 0 || (due > loop_now(loop) && loop_set_timer(loop, timer, due) == 0))
        return;
    if (session->protocol->on_timeout != NULL)
        session->protocol->on_timeout(session);
    else
        session_finish(session, SESSION_IDLE_TIMEOUT);
}

static void on_granted(struct allocation *allocation, const struct failure *failure)
{
    struct session *session = container_of(allocation, struct session, allocation);
    struct access *access = &session->access;
    session->moved_at = session_end_wait(session);
    session->unacked_at = 0;
    if (failure != NULL) {
        session_set_failure(session, failure);
        session->protocol->on_connection(session, failure);
        return;
    }
    access->was_granted = true;
    access->from_cache = allocation->from_cache;
    session_note_conn(session);
    stream_set_handler(allocation->stream, &session->upstream_handler);
    session_set_state(session, SESSION_RELAYING);
    session->protocol->on_connection(session, NULL);
}

struct session *session_of(struct allocation *allocation)
{
    return allocation->on_connection == on_granted
               ? container_of(allocation, struct session, allocation)
               : NULL;
}

/* A grant already under way comes before anything from the client. */
static void watch_waiting_client(struct session *session)
{
    if (!session_is_waiting(session) || session->protocol->watches_late ||
        session_watch_client(session) == 0)
        return;
    int number = errno;
    if (session->is_paused)
        session_wait_leave(session);
    pool_cancel(&session->allocation);
    session_fail_here(session, "epoll_ctl", number);
}

void session_allocate(struct session *session)
{
    if (pool_allocate(session->context->pool, &session->allocation) < 0)
        session_fail_here(session, "allocate", errno);
    else
        watch_waiting_client(session);
}

void session_request_connection(struct session *session, bool fresh)
{
    if (session->state != SESSION_WAITING)
        session_set_state(session, SESSION_WAITING);
    session->access.requested_at = loop_now(session->context->worker.loop);
    session->allocation.fresh = fresh;
    session->allocation.waited = 0;
    if (!session->context->queues) {
        session_allocate(session);
        return;
    }
    session_wait_join(session);
    watch_waiting_client(session);
}

int session_start(struct listener_context *context, int fd, const union address *peer)
{
    const struct protocol *protocol = context->protocol;
    struct session *session = TAILQ_FIRST(&context->free_sessions);
    if (session != NULL) {
        TAILQ_REMOVE(&context->free_sessions, session, link);
        context->free_session_count--;
        memset(session, 0, protocol->session_size);
    } else if ((session = calloc(1, protocol->session_size)) == NULL) {
        return -1;
    }
    session->protocol = protocol;
    session->context = context;
    session->state = protocol->first_state;
    session->peer = *peer;
    if (peer->sa.sa_family == AF_UNIX)
        session->unix_peer.known = false;
    session->moved_at = session->access.started = loop_now(context->worker.loop);
    session->accepted_at = session->moved_at;
    session->quiet_max = context->config->idle_timeout;
    session->client_handler.ready = on_client_ready;
    session->upstream_handler.ready = on_upstream_ready;
    session->timer.fire = on_timer;
    session->task.run = on_task;
    session->allocation.endpoint = &context->config->upstream;
    session->allocation.retained = context->pool_host;
    session->allocation.timeout = context->config->timeout;
    session->allocation.on_connection = on_granted;
    stream_init(&session->client, fd);
    session->client.local = peer->sa.sa_family == AF_UNIX;
    stream_set_handler(&session->client, &session->client_handler);
    TAILQ_INSERT_TAIL(&context->sessions, session, link);
    counter_add(&context->counters->stats.accepted, 1);
    gauge_set(&context->counters->stats.sessions,
              gauge_get(&context->counters->stats.sessions) + 1);
    protocol->start(session);
    return 0;
}
