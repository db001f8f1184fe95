#include "loop.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

/* Events taken from the epoll set at once. */
#define BATCH 64

struct loop {
    struct event_base *base;
    bool stopped;
    usec_t now;  /* 0: to be read */
    usec_t skew; /* loop_warp */
    struct heap timers;
    struct event alarm; /* one libevent timer for all of ours */
    usec_t alarm_at;    /* 0: not set */
    TAILQ_HEAD(, task) tasks;
    struct task marker; /* in tasks while run_tasks is at work */
    int epoll;
    struct event sockets; /* the epoll set has something to report */
    struct epoll_event batch[BATCH];
    int batch_next, batch_end; /* of the batch, what is still to be reported */
};

/* The alarm only ends the wait; timers run at the end of each turn. */
static void on_alarm(evutil_socket_t fd, short what, void *arg)
{
    struct loop *loop = arg;
    (void)fd;
    (void)what;
    loop->alarm_at = 0;
}

static void on_sockets(evutil_socket_t fd, short what, void *arg)
{
    struct loop *loop = arg;
    (void)fd;
    (void)what;
    int n = epoll_wait(loop->epoll, loop->batch, BATCH, 0);
    loop->batch_end = n < 0 ? 0 : n;
    loop->batch_next = 0;
    while (loop->batch_next < loop->batch_end) {
        struct epoll_event *event = &loop->batch[loop->batch_next++];
        struct watch *watch = event->data.ptr;
        if (watch != NULL)
            watch->ready(watch, event->events);
    }
}

int loop_watch(struct loop *loop, struct watch *watch, int fd)
{
    struct epoll_event event = {
        .events = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLET,
        .data.ptr = watch,
    };
    return epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event);
}

void loop_unwatch(struct loop *loop, struct watch *watch, int fd, bool closing)
{
    if (!closing)
        epoll_ctl(loop->epoll, EPOLL_CTL_DEL, fd, NULL);
    for (int i = loop->batch_next; i < loop->batch_end; i++) {
        if (loop->batch[i].data.ptr == watch)
            loop->batch[i].data.ptr = NULL;
    }
}

struct loop *loop_new(void)
{
    struct loop *loop = calloc(1, sizeof(*loop));
    if (loop == NULL)
        return NULL;
    /* Nothing here is shared between threads, and the clock is ours. */
    struct event_config *config = event_config_new();
    if (config == NULL)
        goto err_loop;
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    loop->base = event_base_new_with_config(config);
    event_config_free(config);
    if (loop->base == NULL)
        goto err_loop;
    TAILQ_INIT(&loop->tasks);
    evtimer_assign(&loop->alarm, loop->base, on_alarm, loop);
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll < 0)
        goto err_base;
    event_assign(&loop->sockets, loop->base, loop->epoll, EV_READ | EV_PERSIST, on_sockets, loop);
    if (event_add(&loop->sockets, NULL) < 0)
        goto err_epoll;
    return loop;

err_epoll:
    close(loop->epoll);
err_base:
    event_base_free(loop->base);
err_loop:
    free(loop);
    return NULL;
}

void loop_free(struct loop *loop)
{
    if (loop == NULL)
        return;
    event_del(&loop->alarm);
    event_del(&loop->sockets);
    close(loop->epoll);
    event_base_free(loop->base);
    heap_clear(&loop->timers);
    free(loop);
}

struct event_base *loop_base(struct loop *loop)
{
    return loop->base;
}

usec_t loop_now(struct loop *loop)
{
    if (loop->now == 0) {
        struct timespec ts;
        clock_gettime(CLOCK_MONOTONIC, &ts);
        loop->now = ts.tv_sec * USEC_PER_SEC + ts.tv_nsec / 1000 + loop->skew;
    }
    return loop->now;
}

void loop_warp(struct loop *loop, usec_t by)
{
    loop->skew += by;
    loop->now = 0;
    if (loop->alarm_at != 0) {
        event_del(&loop->alarm);
        loop->alarm_at = 0;
    }
}

int timer_set(struct loop *loop, struct timer *timer, usec_t when)
{
    heap_remove(&loop->timers, &timer->node);
    return heap_insert(&loop->timers, &timer->node, when);
}

void timer_clear(struct loop *loop, struct timer *timer)
{
    heap_remove(&loop->timers, &timer->node);
}

void loop_post(struct loop *loop, struct task *task)
{
    if (task->posted)
        return;
    task->posted = true;
    TAILQ_INSERT_TAIL(&loop->tasks, task, link);
}

void loop_unpost(struct loop *loop, struct task *task)
{
    if (!task->posted)
        return;
    task->posted = false;
    TAILQ_REMOVE(&loop->tasks, task, link);
}

static void run_timers(struct loop *loop)
{
    struct heap_node *node;
    while ((node = heap_first(&loop->timers)) != NULL && node->key <= loop_now(loop)) {
        heap_remove(&loop->timers, node);
        struct timer *timer = container_of(node, struct timer, node);
        timer->fire(timer);
    }
}

static void run_task(struct loop *loop, struct task *task)
{
    loop_unpost(loop, task);
    task->run(task);
}

/* Runs the tasks that stand now. What they post themselves waits behind the marker for the next
 * turn, so that a task with more to do than one share does not keep events waiting. */
static void run_tasks(struct loop *loop)
{
    struct task *task;
    if (TAILQ_EMPTY(&loop->tasks))
        return;
    TAILQ_INSERT_TAIL(&loop->tasks, &loop->marker, link);
    while ((task = TAILQ_FIRST(&loop->tasks)) != &loop->marker)
        run_task(loop, task);
    TAILQ_REMOVE(&loop->tasks, task, link);
}

/* Sets the alarm so that the wait ends no later than the first timer, and no later than `limit`
 * (0: none). An alarm that is early does no harm; it is left alone, since most timers are cleared
 * long before they are due. */
static int arm_alarm(struct loop *loop, usec_t limit)
{
    struct heap_node *first = heap_first(&loop->timers);
    if (first != NULL && (limit == 0 || first->key < limit))
        limit = first->key;
    if (limit == 0 || (loop->alarm_at != 0 && loop->alarm_at <= limit))
        return 0;
    usec_t wait = limit - loop_now(loop);
    if (wait < 0)
        wait = 0;
    struct timeval tv = {.tv_sec = wait / USEC_PER_SEC, .tv_usec = wait % USEC_PER_SEC};
    if (evtimer_add(&loop->alarm, &tv) < 0)
        return -1;
    loop->alarm_at = limit;
    return 0;
}

void loop_turn(struct loop *loop, usec_t max_wait)
{
    int how = EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY;
    loop->now = 0; /* what the last turn took is not to be waited for once more */
    usec_t limit = max_wait > 0 ? loop_now(loop) + max_wait : 0;
    /* Without memory for the alarm the loop polls: busy, but alive. */
    if (max_wait == 0 || !TAILQ_EMPTY(&loop->tasks) || arm_alarm(loop, limit) < 0)
        how = EVLOOP_ONCE | EVLOOP_NONBLOCK;
    /* The first event of the turn that asks reads the clock anew. */
    loop->now = 0;
    event_base_loop(loop->base, how);
    run_timers(loop);
    run_tasks(loop);
}

void loop_run(struct loop *loop)
{
    loop->stopped = false;
    while (!loop->stopped)
        loop_turn(loop, -1);
}

void loop_stop(struct loop *loop)
{
    loop->stopped = true;
}
