/* SPDX-License-Identifier: ISC */
/* The epoll set, the clock, timers on one alarm, tasks, the queue of bulk work, the mailbox. */
#include "net/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "net/mailbox.h"

/* Events collected from the epoll set at once. */
#define BATCH 64

/* How many tasks may follow from one another in one iteration: accepted, allocated, granted. */
#define CHAIN 4

struct loop {
    bool stopped;
    uint64_t iterations;
    uint64_t number; /* last value returned by loop_number */
    usec_t now;      /* 0: not read yet */
    usec_t skew;     /* loop_warp */
    struct heap timers;
    int alarm; /* a timerfd: ends a wait */
    struct watch alarm_watch;
    usec_t alarm_at; /* 0: not set */
    struct mailbox mailbox;
    struct watch mailbox_watch;
    struct task_list tasks;
    struct task marker;     /* in tasks while run_tasks is running */
    struct task_list queue; /* loop_queue */
    int epoll;
    bool copies; /* another process may have copies of descriptors */
    struct epoll_event batch[BATCH];
    int batch_next, batch_end; /* part of the batch still to be reported */
};

/* The alarm only ends the wait; timers run at the end of each iteration. */
static void on_alarm(struct watch *watch, uint32_t events)
{
    struct loop *loop = container_of(watch, struct loop, alarm_watch);
    (void)events;
    loop->alarm_at = 0;
}

/* 0, or -1 with errno. Edge-triggered: it need not be read. */
static int add_alarm(struct loop *loop)
{
    loop->alarm = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    loop->alarm_watch.ready = on_alarm;
    if (loop->alarm < 0)
        return -1;
    if (loop_watch(loop, &loop->alarm_watch, loop->alarm, EPOLLIN | EPOLLET) == 0)
        return 0;
    close(loop->alarm);
    return -1;
}

static void on_mail(struct watch *watch, uint32_t events)
{
    struct loop *loop = container_of(watch, struct loop, mailbox_watch);
    (void)events;
    mailbox_run(&loop->mailbox);
}

/* 0, or -1 with errno. */
static int add_mailbox(struct loop *loop)
{
    loop->mailbox_watch.ready = on_mail;
    if (mailbox_init(&loop->mailbox) < 0)
        return -1;
    if (loop_watch(loop, &loop->mailbox_watch, mailbox_descriptor(&loop->mailbox), EPOLLIN) == 0)
        return 0;
    mailbox_clear(&loop->mailbox);
    return -1;
}

struct loop *loop_new(void)
{
    struct loop *loop = calloc(1, sizeof(*loop));
    if (loop == NULL)
        return NULL;
    TAILQ_INIT(&loop->tasks);
    TAILQ_INIT(&loop->queue);
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll < 0)
        goto err_loop;
    if (add_alarm(loop) < 0)
        goto err_epoll;
    if (add_mailbox(loop) < 0)
        goto err_alarm;
    return loop;

err_alarm:
    close(loop->alarm);
err_epoll:
    close(loop->epoll);
err_loop:
    free(loop);
    return NULL;
}

void loop_free(struct loop *loop)
{
    if (loop == NULL)
        return;
    close(loop->epoll);
    close(loop->alarm);
    mailbox_clear(&loop->mailbox);
    heap_clear(&loop->timers);
    free(loop);
}

struct mailbox *loop_mailbox(struct loop *loop)
{
    return &loop->mailbox;
}

static usec_t read_clock(const struct loop *loop)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * USEC_PER_SEC + ts.tv_nsec / 1000 + loop->skew;
}

usec_t loop_now(struct loop *loop)
{
    if (loop->now == 0)
        loop->now = read_clock(loop);
    return loop->now;
}

uint64_t loop_iterations(const struct loop *loop)
{
    return loop->iterations;
}

uint64_t loop_number(struct loop *loop)
{
    return ++loop->number;
}

void loop_warp(struct loop *loop, usec_t by)
{
    loop->skew += by;
    loop->now = 0;
    loop->alarm_at = 0;
}

static int control(struct loop *loop, int operation, struct watch *watch, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = watch};
    return epoll_ctl(loop->epoll, operation, fd, &event);
}

int loop_watch(struct loop *loop, struct watch *watch, int fd, uint32_t events)
{
    return control(loop, EPOLL_CTL_ADD, watch, fd, events);
}

int loop_rewatch(struct loop *loop, struct watch *watch, int fd, uint32_t events)
{
    return control(loop, EPOLL_CTL_MOD, watch, fd, events);
}

void loop_unwatch(struct loop *loop, struct watch *watch, int fd, bool closing)
{
    if (!closing || loop->copies)
        control(loop, EPOLL_CTL_DEL, watch, fd, 0);
    for (int i = loop->batch_next; i < loop->batch_end; i++) {
        if (loop->batch[i].data.ptr == watch)
            loop->batch[i].data.ptr = NULL;
    }
}

void loop_expect_copies(struct loop *loop, bool copies)
{
    loop->copies = copies;
}

int loop_set_timer(struct loop *loop, struct timer *timer, usec_t when)
{
    heap_remove(&loop->timers, &timer->node);
    return heap_insert(&loop->timers, &timer->node, when);
}

void loop_clear_timer(struct loop *loop, struct timer *timer)
{
    heap_remove(&loop->timers, &timer->node);
}

static void post(struct task_list *list, struct task *task)
{
    if (task->list != NULL)
        return;
    task->list = list;
    TAILQ_INSERT_TAIL(list, task, link);
}

void loop_post(struct loop *loop, struct task *task)
{
    post(&loop->tasks, task);
}

void loop_queue(struct loop *loop, struct task *task)
{
    post(&loop->queue, task);
}

void loop_unpost(struct loop *loop, struct task *task)
{
    (void)loop;
    if (task->list == NULL)
        return;
    TAILQ_REMOVE(task->list, task, link);
    task->list = NULL;
}

/* Sets the alarm so that a wait ends no later than the first timer. An earlier alarm does no harm
 * and is left as it is, since most timers are cleared long before they are due: so a wait needs no
 * kernel timer. 0, or -1 with errno. */
static int set_alarm(struct loop *loop)
{
    struct heap_node *first = heap_first(&loop->timers);
    if (first == NULL || (loop->alarm_at != 0 && loop->alarm_at <= first->key))
        return 0;
    usec_t wait = first->key - loop_now(loop);
    if (wait <= 0) /* 0 would disarm the alarm */
        wait = 1;
    const struct itimerspec when = {
        .it_value = {.tv_sec = wait / USEC_PER_SEC, .tv_nsec = wait % USEC_PER_SEC * 1000}};
    if (timerfd_settime(loop->alarm, 0, &when, NULL) < 0)
        return -1;
    loop->alarm_at = first->key;
    return 0;
}

/* How long the epoll set may wait, in milliseconds; -1: until something happens. */
static int wait_time(struct loop *loop, usec_t max_wait)
{
    if (!TAILQ_EMPTY(&loop->tasks) || !TAILQ_EMPTY(&loop->queue) || max_wait == 0)
        return 0;
    if (set_alarm(loop) < 0) /* cannot happen; the loop would continue, if busily */
        return 1;
    if (max_wait < 0)
        return -1;
    usec_t wait = (max_wait + USEC_PER_MSEC - 1) / USEC_PER_MSEC;
    return wait < INT32_MAX ? (int)wait : INT32_MAX;
}

static void run_events(struct loop *loop, int count)
{
    loop->batch_end = count < 0 ? 0 : count;
    loop->batch_next = 0;
    while (loop->batch_next < loop->batch_end) {
        struct epoll_event *event = &loop->batch[loop->batch_next++];
        struct watch *watch = event->data.ptr;
        if (watch != NULL)
            watch->ready(watch, event->events);
    }
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

/* Runs the tasks posted so far; those they post themselves are after the marker. */
static void run_posted(struct loop *loop)
{
    struct task *task;
    post(&loop->tasks, &loop->marker);
    while ((task = TAILQ_FIRST(&loop->tasks)) != &loop->marker) {
        loop_unpost(loop, task);
        task->run(task);
    }
    loop_unpost(loop, &loop->marker);
}

static void run_tasks(struct loop *loop)
{
    for (int i = 0; i < CHAIN && !TAILQ_EMPTY(&loop->tasks); i++)
        run_posted(loop);
}

static void run_queue(struct loop *loop)
{
    struct task *task = TAILQ_FIRST(&loop->queue);
    if (task == NULL)
        return;
    usec_t end = read_clock(loop) + LOOP_SLICE;
    for (int i = 0; i < LOOP_PIECES && task != NULL; i++) {
        loop_unpost(loop, task);
        task->run(task);
        task = read_clock(loop) < end ? TAILQ_FIRST(&loop->queue) : NULL;
    }
}

void loop_iterate(struct loop *loop, usec_t max_wait)
{
    loop->now = 0; /* what the last iteration consumed must not be waited for again */
    int wait = wait_time(loop, max_wait);
    int count = epoll_wait(loop->epoll, loop->batch, BATCH, wait);
    if (count < 0 && errno == EINTR) /* perhaps after a stop: events precede the timers */
        count = epoll_wait(loop->epoll, loop->batch, BATCH, 0);
    loop->iterations++;
    if (wait != 0)
        loop->now = 0; /* the first caller to ask reads the clock again */
    run_events(loop, count);
    run_timers(loop);
    run_tasks(loop);
    run_queue(loop);
}

void loop_run(struct loop *loop)
{
    loop->stopped = false;
    while (!loop->stopped)
        loop_iterate(loop, -1);
}

void loop_stop(struct loop *loop)
{
    loop->stopped = true;
}
