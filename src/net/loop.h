/* SPDX-License-Identifier: ISC */
/* An event loop: watched descriptors, a clock read once per iteration, timers, posted tasks, and a
 * mailbox for other threads.
 *
 * Sockets are watched in an epoll set of the loop's own. libevent reports an error as plain
 * readiness, so that a reader cannot know that it must read on to see it, and needs an epoll_ctl to
 * forget a descriptor that is about to be closed anyway.
 *
 * Everything here belongs to the thread that runs the loop. Other threads post messages to its
 * mailbox, and do nothing else with it. Before it runs, and after, another thread may use it. */
#ifndef KAPROXY_LOOP_H
#define KAPROXY_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/heap.h"
#include "base/util.h"

struct loop;
struct mailbox;

/* NULL with errno on failure. Timers, tasks and messages that are left when the loop is freed are
 * dropped, not run. */
struct loop *loop_new(void);
void loop_free(struct loop *loop);

/* Messages that other threads post here run in the loop's thread, as an event. */
struct mailbox *loop_mailbox(struct loop *loop);

/* Runs until loop_stop. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

/* One iteration: waits for at most max_wait (negative: without limit), then runs what is due. */
void loop_iterate(struct loop *loop, usec_t max_wait);

/* Monotonic time, read from the system once per iteration. */
usec_t loop_now(struct loop *loop);

/* Counts the iterations: what was seen in the current one is as recent as anything the loop
 * knows. */
uint64_t loop_iterations(const struct loop *loop);

/* A number that this loop has not returned before, from 1 on: identifies things in logs. */
uint64_t loop_number(struct loop *loop);

/* For tests: moves the loop's clock forward; due timers run in the next iteration. */
void loop_warp(struct loop *loop, usec_t by);

/* A watched descriptor, embedded in its owner, which sets `ready`. */
struct watch {
    void (*ready)(struct watch *watch, uint32_t events); /* EPOLLIN etc. */
};

/* Reports readiness for these epoll_ctl(2) events. 0, or -1 with errno. */
MUST_CHECK int loop_watch(struct loop *loop, struct watch *watch, int fd, uint32_t events);

/* Changes the watched events; those that already hold are reported again. 0, or -1 with errno. */
MUST_CHECK int loop_rewatch(struct loop *loop, struct watch *watch, int fd, uint32_t events);

/* Ends a watch; events already collected are not reported. With `closing` the descriptor is about
 * to be closed by its only owner, which removes it from the epoll set. */
void loop_unwatch(struct loop *loop, struct watch *watch, int fd, bool closing);

/* Another process is about to have copies of all our descriptors for a moment (fork), or no longer
 * has them: meanwhile closing a descriptor is not enough to remove it from the epoll set. */
void loop_expect_copies(struct loop *loop, bool copies);

/* A one-shot timer, embedded in its owner. The owner sets fire before loop_set_timer and clears the
 * timer before it is freed itself. fire runs with the timer already cleared, and may set it
 * again. */
struct timer {
    struct heap_node node;
    void (*fire)(struct timer *timer);
};

/* Sets or moves a timer to a time on loop_now's clock. 0, or -1 with ENOMEM (it is then clear). */
MUST_CHECK int loop_set_timer(struct loop *loop, struct timer *timer, usec_t when);
void loop_clear_timer(struct loop *loop, struct timer *timer);

static inline bool loop_timer_is_set(const struct timer *timer)
{
    return heap_contains(&timer->node);
}

TAILQ_HEAD(task_list, task);

/* Work to do soon, but not within the current call. Tasks run in the order in which they were
 * posted. */
struct task {
    TAILQ_ENTRY(task) link;
    struct task_list *list; /* the list it is on; NULL: none */
    void (*run)(struct task *task);
};

/* Posting a task that is already posted changes nothing. A task runs in the same iteration, even if
 * it was posted by another task; but a long chain of tasks continues in the next iteration, so that
 * events get their turn. */
void loop_post(struct loop *loop, struct task *task);

/* Bulk work, of which a task does one bounded piece each time it runs, and queues itself if there
 * is more. Queued tasks run round robin, after everything else that was due: at most LOOP_PIECES of
 * them in an iteration, and no further one after LOOP_SLICE. The next iteration then does not wait.
 * So no bulk transfer delays another session's small exchange by more than one such slice. Queueing
 * a task that is already queued or posted changes nothing. */
#define LOOP_PIECES 16
#define LOOP_SLICE  (1 * USEC_PER_MSEC)
void loop_queue(struct loop *loop, struct task *task);

/* Withdraws a task that was posted or queued; otherwise does nothing. */
void loop_unpost(struct loop *loop, struct task *task);

#endif
