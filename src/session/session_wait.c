/* SPDX-License-Identifier: ISC */
/* Sessions that need a connection from the pool, and wait for the end of their listener's pause.
 * They are in the listener's queue then, and not in the pool's; their time limit is that of their
 * allocation, and since it is the same for all of a listener's, it ends first for the first one. */
#include <stdio.h>

#include "base/span.h"
#include "session/session_internal.h"

/* How many go to the pool in one batch. */
#define PIECE 64

static usec_t timeout_of(const struct listener_context *context)
{
    usec_t timeout = context->config->timeout;
    return timeout != 0 ? timeout : pool_get_limits(context->pool)->timeout;
}

static usec_t deadline_of(const struct session *session)
{
    return session->access.requested_at + timeout_of(session->context);
}

/* A listener's contexts share one count. */
static void count(struct listener_context *context, int change)
{
    struct gauge *waiting = &context->counters->stats.waiting;
    gauge_set(waiting, gauge_get(waiting) + (uint64_t)change);
}

static void add(struct session *session)
{
    struct listener_context *context = session->context;
    session->is_paused = true;
    TAILQ_INSERT_TAIL(&context->paused, session, pause_link);
    context->paused_count++;
    count(context, 1);
}

void session_wait_leave(struct session *session)
{
    struct listener_context *context = session->context;
    session->is_paused = false;
    TAILQ_REMOVE(&context->paused, session, pause_link);
    context->paused_count--;
    count(context, -1);
}

static void time_out(struct session *session)
{
    struct listener_context *context = session->context;
    struct failure failure = {.function = "queue", .number = ETIMEDOUT};
    char time[SPAN_TEXT_MAX];
    snprintf(failure.text, sizeof(failure.text),
             "no connection became free within %s (the listener is paused by the operator, "
             "%u waiting)",
             span_format(timeout_of(context), time), context->paused_count);
    session_wait_leave(session);
    session->moved_at = session_end_wait(session);
    session_fail_later(session, &failure);
}

/* False if there is no memory for a timer. */
static bool start_timer(struct listener_context *context)
{
    const struct session *first = TAILQ_FIRST(&context->paused);
    struct timer *timer = &context->pause_timer;
    if (first == NULL || (loop_timer_is_set(timer) && timer->node.key <= deadline_of(first)))
        return true;
    return loop_set_timer(context->worker.loop, timer, deadline_of(first)) == 0;
}

/* A session that would otherwise wait for ever. */
static void fail_all(struct listener_context *context)
{
    struct session *session;
    while ((session = TAILQ_FIRST(&context->paused)) != NULL) {
        session_wait_leave(session);
        session_fail_here(session, "allocate", ENOMEM);
    }
}

/* The first one may have left: then the timer is set again. */
static void on_deadline(struct timer *timer)
{
    struct listener_context *context = container_of(timer, struct listener_context, pause_timer);
    usec_t now = loop_now(context->worker.loop);
    struct session *first;
    while ((first = TAILQ_FIRST(&context->paused)) != NULL && deadline_of(first) <= now)
        time_out(first);
    if (!start_timer(context))
        fail_all(context);
}

void session_wait_join(struct session *session)
{
    struct listener_context *context = session->context;
    unsigned most = pool_get_limits(context->pool)->max_waiting;
    if (most != 0 && context->paused_count >= most) {
        struct failure failure = {.function = "allocate", .number = EAGAIN};
        snprintf(failure.text, sizeof(failure.text), "too many waiting (max_waiting = %u)", most);
        session_fail_later(session, &failure);
        return;
    }
    add(session);
    if (!start_timer(context)) {
        session_wait_leave(session);
        session_fail_here(session, "allocate", ENOMEM);
    }
}

/* Takes sessions that wait in the pool's queue out of it: they are older than those that are still
 * here, from an earlier pause. First all are found, since taking one of them out may cause another
 * one to be served. */
static void take_waiting(struct listener_context *context)
{
    struct allocation *waiting = NULL;
    struct session *session, *next;
    struct session_list younger;
    TAILQ_INIT(&younger);
    TAILQ_CONCAT(&younger, &context->paused, pause_link);
    while ((waiting = pool_next_waiting(context->pool_host, waiting)) != NULL) {
        session = session_of(waiting);
        if (session != NULL && session->context == context)
            add(session);
    }
    for (session = TAILQ_FIRST(&context->paused); session != NULL; session = next) {
        next = TAILQ_NEXT(session, pause_link);
        if (pool_is_waiting(&session->allocation))
            pool_cancel(&session->allocation);
        else
            session_wait_leave(session);
    }
    TAILQ_CONCAT(&context->paused, &younger, pause_link);
}

void listener_context_pause(struct listener_context *context)
{
    if (context->is_paused)
        return;
    context->is_paused = context->queues = true;
    gauge_set(&context->counters->stats.paused, 1);
    loop_unpost(context->worker.loop, &context->resume_task);
    take_waiting(context);
    if (!start_timer(context))
        fail_all(context);
}

/* Those that waited for the pause wait for the pool. */
static void on_resume(struct task *task)
{
    struct listener_context *context = container_of(task, struct listener_context, resume_task);
    struct session *session;
    for (int i = 0; i < PIECE && (session = TAILQ_FIRST(&context->paused)) != NULL; i++) {
        session_wait_leave(session);
        session->allocation.waited = loop_now(context->worker.loop) - session->access.requested_at;
        session_allocate(session);
    }
    context->queues = !TAILQ_EMPTY(&context->paused);
    if (context->queues)
        loop_queue(context->worker.loop, &context->resume_task);
}

void listener_context_resume(struct listener_context *context)
{
    if (!context->is_paused)
        return;
    context->is_paused = false;
    gauge_set(&context->counters->stats.paused, 0);
    loop_queue(context->worker.loop, &context->resume_task);
}

void session_wait_init(struct listener_context *context)
{
    TAILQ_INIT(&context->paused);
    context->pause_timer.fire = on_deadline;
    context->resume_task.run = on_resume;
}

void session_wait_clear(struct listener_context *context)
{
    loop_clear_timer(context->worker.loop, &context->pause_timer);
    loop_unpost(context->worker.loop, &context->resume_task);
}
