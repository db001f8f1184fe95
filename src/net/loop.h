/* SPDX-License-Identifier: ISC */
/* One event loop: watched descriptors, a clock that is read once an iteration, timers, posted
 * tasks, and a mailbox for other threads.
 *
 * Sockets are watched in an epoll set of the loop's own: libevent reports an error as plain
 * readiness, so that a reader cannot know that it must read on to meet it, and takes an epoll_ctl
 * to forget a descriptor that is about to be closed anyway.
 *
 * Everything here belongs to the thread that runs the loop. Other threads post messages to its
 * mailbox, and do nothing else with it. Before it runs, and after, it may be in another thread's
 * hands. */
#ifndef KAPROXY_LOOP_H
#define KAPROXY_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/heap.h"
#include "base/util.h"

struct loop;
struct mailbox;

/* NULL with errno on failure. Timers, tasks and messages that are still there when the loop is
 * freed are forgotten, not run. */
struct loop *loop_new(void);
void loop_free(struct loop *loop);

/* What other threads post here runs on the loop's, as an event. */
struct mailbox *loop_mailbox(struct loop *loop);

/* Runs until loop_stop. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

/* One iteration: waits for at most max_wait (negative: as long as it takes), runs what is due. */
void loop_iterate(struct loop *loop, usec_t max_wait);

/* Monotonic time, read from the system once an iteration. */
usec_t loop_now(struct loop *loop);

/* Counts the iterations: what was seen in the present one is as new as anything the loop knows. */
uint64_t loop_iterations(const struct loop *loop);

/* A number that this loop has not given before, from 1 on: tells things apart in logs. */
uint64_t loop_number(struct loop *loop);

/* Test seam: moves the loop's clock ahead; due timers run in the next iteration. */
void loop_warp(struct loop *loop, usec_t by);

/* A watched descriptor, embedded in its owner, who sets `ready`. */
struct watch {
    void (*ready)(struct watch *watch, uint32_t events); /* EPOLLIN and its kin */
};

/* Reports readiness for these events of epoll_ctl(2)'s. 0, or -1 with errno. */
MUST_CHECK int loop_watch(struct loop *loop, struct watch *watch, int fd, uint32_t events);

/* Watches for other events from now on; those that hold already are reported again. 0, or -1 with
 * errno. */
MUST_CHECK int loop_rewatch(struct loop *loop, struct watch *watch, int fd, uint32_t events);

/* Ends a watch; events that were collected already are not reported. With `closing` the descriptor
 * is about to be closed by its only owner, which takes it out of the epoll set. */
void loop_unwatch(struct loop *loop, struct watch *watch, int fd, bool closing);

/* Another process is about to have copies of all our descriptors, for a moment (fork), or has them
 * no more: meanwhile it takes more than a close to get one out of the epoll set. */
void loop_expect_copies(struct loop *loop, bool copies);

/* A one-shot timer, embedded in its owner. The owner sets fire before loop_set_timer and clears the
 * timer before it dies. fire runs with the timer cleared already, and may set it again. */
struct timer {
    struct heap_node node;
    void (*fire)(struct timer *timer);
};

/* Sets or moves a timer to a time of loop_now's clock. 0, or -1 with ENOMEM (then it is clear). */
MUST_CHECK int loop_set_timer(struct loop *loop, struct timer *timer, usec_t when);
void loop_clear_timer(struct loop *loop, struct timer *timer);

static inline bool loop_timer_is_set(const struct timer *timer)
{
    return heap_contains(&timer->node);
}

TAILQ_HEAD(task_list, task);

/* Work to do soon, but not inside the present call. Tasks run in the order they were posted. */
struct task {
    TAILQ_ENTRY(task) link;
    struct task_list *list; /* where it is posted or queued; NULL: it is not */
    void (*run)(struct task *task);
};

/* Posting a task that is posted already changes nothing. A task runs in the same iteration, also
 * when a task posted it; but a chain of tasks goes on in the next iteration when it is long, so
 * that events have their chance. */
void loop_post(struct loop *loop, struct task *task);

/* Work that moves much, of which a task does one bounded piece whenever it runs, and queues itself
 * when there is more. Queued tasks run one after another, round robin, once all else that was due
 * has run: at most LOOP_PIECES of them in an iteration, and no further one after LOOP_SLICE. The
 * iteration after that does not wait. So nobody's bulk holds up somebody else's small exchange for
 * longer than one such slice. Queueing a task that is queued or posted already changes nothing. */
#define LOOP_PIECES 16
#define LOOP_SLICE  (1 * USEC_PER_MSEC)
void loop_queue(struct loop *loop, struct task *task);

/* Takes a task back that was posted or queued; one that was not is left alone. */
void loop_unpost(struct loop *loop, struct task *task);

#endif
