/* One event loop: libevent's base, watched sockets, a clock that is read once a turn, timers and
 * posted tasks.
 *
 * Sockets that carry bytes are watched in an epoll set of the loop's own, which is one event of
 * libevent's: libevent reports an error as plain readiness, so that a reader cannot know that it
 * must read on to meet it, and takes an epoll_ctl to forget a descriptor that is about to be closed
 * anyway. Signals, listening sockets and c-ares are ordinary libevent events.
 *
 * Everything here belongs to the thread that runs the loop. */
#ifndef KAPROXY_LOOP_H
#define KAPROXY_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "heap.h"
#include "util.h"

struct event_base;
struct loop;

/* NULL with errno on failure. Timers and tasks that are still set when the loop is freed are
 * forgotten, not run. */
struct loop *loop_new(void);
void loop_free(struct loop *loop);

/* For signal events and libraries that bring events of their own. */
struct event_base *loop_base(struct loop *loop);

/* Runs until loop_stop. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

/* One turn: waits for at most max_wait (negative: as long as it takes), runs what is due. */
void loop_turn(struct loop *loop, usec_t max_wait);

/* Monotonic time, read from the system once a turn. */
usec_t loop_now(struct loop *loop);

/* Test seam: moves the loop's clock ahead; due timers run in the next turn. */
void loop_warp(struct loop *loop, usec_t by);

/* A watched descriptor, embedded in its owner, who sets `ready`. */
struct watch {
    void (*ready)(struct watch *watch, uint32_t events); /* EPOLLIN and its kin */
};

/* Reports readiness, edge-triggered, for reading, writing, hang-up and error. 0, or -1 with errno. */
MUST_CHECK int loop_watch(struct loop *loop, struct watch *watch, int fd);

/* Ends a watch; events that were collected already are not reported. With `closing` the descriptor
 * is about to be closed by its only owner, which takes it out of the epoll set. */
void loop_unwatch(struct loop *loop, struct watch *watch, int fd, bool closing);

/* A one-shot timer, embedded in its owner. The owner sets fire before timer_set and clears the
 * timer before it dies. fire runs with the timer cleared already, and may set it again. */
struct timer {
    struct heap_node node;
    void (*fire)(struct timer *timer);
};

/* Sets or moves a timer to a time of loop_now's clock. 0, or -1 with ENOMEM (then it is clear). */
MUST_CHECK int timer_set(struct loop *loop, struct timer *timer, usec_t when);
void timer_clear(struct loop *loop, struct timer *timer);

static inline bool timer_is_set(const struct timer *timer)
{
    return heap_contains(&timer->node);
}

/* Work to do soon, but not inside the present call. Tasks run in the order they were posted. */
struct task {
    TAILQ_ENTRY(task) link;
    bool posted;
    void (*run)(struct task *task);
};

/* Posting a task that is posted already changes nothing. A task posted by an event or a timer runs
 * in the same turn; one posted by a task in the next, after events had their chance. */
void loop_post(struct loop *loop, struct task *task);
void loop_unpost(struct loop *loop, struct task *task);

#endif
