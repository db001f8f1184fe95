/* SPDX-License-Identifier: ISC */
/* The event loop: clock, timers, tasks, messages of other threads, and the order of an iteration.
 */
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "net/mailbox.h"
#include "support/loop_probe.h"

static usec_t real_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * USEC_PER_SEC + ts.tv_nsec / 1000;
}

/* Clock */

static void sees_a_still_clock(struct probe *probe)
{
    usec_t now = loop_now(probe->loop), real = real_now();
    while (real_now() < real + 2 * USEC_PER_MSEC)
        ;
    assert_true(loop_now(probe->loop) == now);
    probe->seen = now;
}

static void test_clock_is_read_once_an_iteration(void **state)
{
    struct probe probe = probe_of(*state, "a");
    probe.then = sees_a_still_clock;
    loop_post(probe.loop, &probe.task);
    loop_iterate(probe.loop, 0);
    usec_t first = probe.seen;
    assert_true(first > 0);
    loop_post(probe.loop, &probe.task);
    loop_iterate(probe.loop, 0);
    assert_true(probe.seen >= first + 2 * USEC_PER_MSEC);
    assert_string_equal(story, "aa");
}

static void test_warp_moves_the_clock(void **state)
{
    struct loop *loop = *state;
    usec_t before = loop_now(loop);
    loop_warp(loop, HOUR);
    assert_in_range(loop_now(loop) - before, HOUR, HOUR + WAIT_MAX * USEC_PER_SEC);
}

/* Timers */

static void test_timers_fire_in_order_of_time(void **state)
{
    struct probe a = probe_of(*state, "a"), b = probe_of(*state, "b"), c = probe_of(*state, "c");
    probe_set(&b, 2 * HOUR);
    probe_set(&c, 3 * HOUR);
    probe_set(&a, HOUR);
    loop_iterate(a.loop, 0);
    assert_string_equal(story, "");
    loop_warp(a.loop, 2 * HOUR);
    loop_iterate(a.loop, 0);
    assert_string_equal(story, "ab");
    assert_true(loop_timer_is_set(&c.timer));
    loop_warp(a.loop, HOUR);
    loop_iterate(a.loop, 0);
    assert_string_equal(story, "abc");
}

static void test_wait_ends_with_the_first_timer(void **state)
{
    struct probe early = probe_of(*state, "a"), late = probe_of(*state, "b");
    probe_set(&late, HOUR);
    probe_set(&early, 20 * USEC_PER_MSEC);
    usec_t due = early.timer.node.key;
    while (story[0] == '\0')
        loop_iterate(early.loop, -1);
    assert_true(loop_now(early.loop) >= due);
    assert_string_equal(story, "a");
}

static void test_wait_ends_before_the_limit(void **state)
{
    struct probe a = probe_of(*state, "a");
    probe_set(&a, 10 * USEC_PER_MSEC);
    while (story[0] == '\0')
        loop_iterate(a.loop, HOUR);
    probe_set(&a, -1500 * USEC_PER_MSEC); /* due for a long time */
    loop_iterate(a.loop, HOUR);
    assert_string_equal(story, "aa");
}

static void test_timer_is_moved(void **state)
{
    struct probe a = probe_of(*state, "a");
    probe_set(&a, HOUR);
    probe_set(&a, 3 * HOUR);
    loop_warp(a.loop, 2 * HOUR);
    loop_iterate(a.loop, 0);
    assert_string_equal(story, "");
    probe_set(&a, 0);
    loop_iterate(a.loop, 0);
    assert_string_equal(story, "a");
}

static void test_cleared_timer_does_not_fire(void **state)
{
    struct probe a = probe_of(*state, "a");
    loop_clear_timer(a.loop, &a.timer);
    probe_set(&a, HOUR);
    loop_clear_timer(a.loop, &a.timer);
    assert_false(loop_timer_is_set(&a.timer));
    loop_warp(a.loop, 2 * HOUR);
    loop_iterate(a.loop, 0);
    assert_string_equal(story, "");
}

static void sets_itself_again(struct probe *probe)
{
    probe->then = NULL;
    probe_set(probe, HOUR);
}

static void test_timer_may_be_set_from_its_own_fire(void **state)
{
    struct probe a = probe_of(*state, "a");
    a.then = sets_itself_again;
    probe_set(&a, 0);
    loop_iterate(a.loop, 0);
    assert_string_equal(story, "a");
    loop_warp(a.loop, HOUR);
    loop_iterate(a.loop, 0);
    assert_string_equal(story, "aa");
}

static void clears_the_other(struct probe *probe)
{
    loop_clear_timer(probe->loop, &probe->other->timer);
    loop_unpost(probe->loop, &probe->other->task);
}

static void test_timer_cleared_by_one_due_with_it(void **state)
{
    struct probe a = probe_of(*state, "a"), b = probe_of(*state, "b");
    a.then = clears_the_other;
    a.other = &b;
    probe_set(&a, HOUR);
    probe_set(&b, HOUR + 1);
    loop_warp(a.loop, 2 * HOUR);
    loop_iterate(a.loop, 0);
    assert_string_equal(story, "a");
}

static void test_cleared_timer_does_not_replace_another(void **state)
{
    struct probe a = probe_of(*state, "a"), b = probe_of(*state, "b"), io = probe_of(*state, "");
    probe_open(&io);
    probe_set(&a, 5 * USEC_PER_MSEC);
    loop_iterate(a.loop, -1); /* the socket is writable: no wait */
    loop_clear_timer(a.loop, &a.timer);
    probe_set(&b, 25 * USEC_PER_MSEC);
    usec_t due = b.timer.node.key;
    while (story[0] == '\0')
        loop_iterate(a.loop, -1);
    assert_true(loop_now(a.loop) >= due);
    assert_string_equal(story, "b");
    probe_close(&io);
}

static void test_warp_shortens_a_wait(void **state)
{
    struct probe a = probe_of(*state, "a");
    probe_set(&a, HOUR);
    loop_iterate(a.loop, USEC_PER_MSEC);
    loop_warp(a.loop, HOUR - 20 * USEC_PER_MSEC);
    while (story[0] == '\0')
        loop_iterate(a.loop, -1);
    assert_string_equal(story, "a");
}

static void test_iteration_waits_no_longer_than_allowed(void **state)
{
    struct probe a = probe_of(*state, "a");
    usec_t before = real_now();
    loop_iterate(a.loop, 0);
    loop_iterate(a.loop, 10 * USEC_PER_MSEC);
    probe_set(&a, HOUR);
    loop_iterate(a.loop, 0);
    loop_iterate(a.loop, 10 * USEC_PER_MSEC);
    usec_t waited = real_now() - before;
    assert_true(waited >= 12 * USEC_PER_MSEC); /* the kernel's coarse clock may cost some */
    assert_string_equal(story, "");
}

/* Tasks */

static void test_tasks_run_in_order_and_once(void **state)
{
    struct probe a = probe_of(*state, "a"), b = probe_of(*state, "b");
    loop_post(a.loop, &b.task);
    loop_post(a.loop, &a.task);
    loop_post(a.loop, &b.task);
    assert_string_equal(story, "");
    loop_iterate(a.loop, -1); /* work to do: no wait */
    assert_string_equal(story, "ba");
    loop_iterate(a.loop, 0);
    assert_string_equal(story, "ba");
}

static void test_unposted_task_does_not_run(void **state)
{
    struct probe a = probe_of(*state, "a"), b = probe_of(*state, "b");
    loop_unpost(a.loop, &a.task);
    loop_post(a.loop, &a.task);
    loop_post(a.loop, &b.task);
    loop_unpost(a.loop, &a.task);
    loop_iterate(a.loop, 0);
    assert_string_equal(story, "b");
}

static void test_task_unposts_one_behind_it(void **state)
{
    struct probe a = probe_of(*state, "a"), b = probe_of(*state, "b");
    a.then = clears_the_other;
    a.other = &b;
    loop_post(a.loop, &a.task);
    loop_post(a.loop, &b.task);
    loop_iterate(a.loop, 0);
    assert_string_equal(story, "a");
    loop_post(a.loop, &b.task);
    loop_iterate(a.loop, 0);
    assert_string_equal(story, "ab");
}

static void posts_the_other(struct probe *probe)
{
    loop_post(probe->loop, &probe->other->task);
}

static void test_task_of_a_timer_runs_in_the_same_iteration(void **state)
{
    struct probe timer = probe_of(*state, "t"), task = probe_of(*state, "a");
    timer.then = posts_the_other;
    timer.other = &task;
    probe_set(&timer, 0);
    loop_iterate(timer.loop, 0);
    assert_string_equal(story, "ta");
}

static void test_task_of_an_event_runs_in_the_same_iteration(void **state)
{
    struct probe io = probe_of(*state, "e"), task = probe_of(*state, "a");
    probe_open(&io);
    probe_settle(io.loop);
    io.then = posts_the_other;
    io.other = &task;
    probe_feed(&io);
    loop_iterate(io.loop, 0);
    assert_string_equal(story, "ea");
    probe_close(&io);
}

static void test_task_of_a_task_runs_in_the_same_iteration(void **state)
{
    struct probe first = probe_of(*state, "1"), second = probe_of(*state, "2"),
                 third = probe_of(*state, "3");
    first.then = second.then = posts_the_other;
    first.other = &second;
    second.other = &third;
    loop_post(first.loop, &first.task);
    loop_iterate(first.loop, 0);
    assert_string_equal(story, "123");
}

/* An endless chain keeps neither events nor timers waiting. */
static void test_endless_tasks_leave_room(void **state)
{
    struct probe task = probe_of(*state, "a"), io = probe_of(*state, "e"),
                 timer = probe_of(*state, "t");
    probe_open(&io);
    probe_settle(io.loop);
    task.then = posts_the_other;
    task.other = &task;
    loop_post(task.loop, &task.task);
    loop_iterate(task.loop, 0);
    assert_string_equal(story, "aaaa");
    probe_feed(&io);
    probe_set(&timer, 0);
    loop_iterate(task.loop, -1);
    assert_string_equal(story, "aaaaetaaaa");
    loop_unpost(task.loop, &task.task);
    loop_iterate(task.loop, 0);
    assert_string_equal(story, "aaaaetaaaa");
    probe_close(&io);
}

static void queues_itself(struct probe *probe)
{
    loop_queue(probe->loop, &probe->task);
}

/* Users that move much get one piece after the other, in turn with each other, and after everything
 * else; and work that becomes due then does not wait. */
static void test_queue_is_round_robin_behind_all_else(void **state)
{
    struct probe a = probe_of(*state, "a"), b = probe_of(*state, "b"), c = probe_of(*state, "c"),
                 io = probe_of(*state, "e"), timer = probe_of(*state, "t"),
                 task = probe_of(*state, "x");
    probe_open(&io);
    probe_settle(io.loop);
    a.then = b.then = c.then = queues_itself;
    loop_queue(a.loop, &a.task);
    loop_queue(a.loop, &a.task); /* is queued already */
    loop_queue(a.loop, &b.task);
    loop_queue(a.loop, &c.task);
    loop_iterate(a.loop, -1);
    size_t ran = strlen(story); /* fewer where this program had to wait for the processor */
    assert_in_range(ran, 1, LOOP_PIECES);
    probe_feed(&io);
    probe_set(&timer, 0);
    loop_post(a.loop, &task.task);
    loop_iterate(a.loop, -1);
    assert_memory_equal(story + ran, "etx", 3);
    memmove(story + ran, story + ran + 3, strlen(story + ran + 3) + 1);
    assert_in_range(strlen(story), ran + 1, ran + LOOP_PIECES);
    for (size_t i = 0; story[i] != '\0'; i++)
        assert_int_equal(story[i], "abc"[i % 3]);
    story[0] = '\0';
    loop_unpost(a.loop, &a.task);
    loop_unpost(a.loop, &b.task);
    loop_unpost(a.loop, &c.task);
    loop_iterate(a.loop, 0);
    assert_string_equal(story, "");
    probe_close(&io);
}

/* What an event queues runs in the same iteration. */
static void queues_the_other(struct probe *probe)
{
    loop_queue(probe->loop, &probe->other->task);
}

static void test_queued_by_an_event(void **state)
{
    struct probe task = probe_of(*state, "a"), io = probe_of(*state, "e");
    probe_open(&io);
    probe_settle(io.loop);
    io.then = queues_the_other;
    io.other = &task;
    probe_feed(&io);
    loop_iterate(task.loop, -1);
    assert_string_equal(story, "ea");
    probe_close(&io);
}

static void takes_half_a_slice(struct probe *probe)
{
    loop_warp(probe->loop, LOOP_SLICE / 2);
    loop_queue(probe->loop, &probe->task);
}

/* Long pieces end the iteration before there are LOOP_PIECES of them. */
static void test_slice_is_limited(void **state)
{
    struct probe a = probe_of(*state, "a"), b = probe_of(*state, "b");
    a.then = b.then = takes_half_a_slice;
    loop_queue(a.loop, &a.task);
    loop_queue(a.loop, &b.task);
    loop_iterate(a.loop, 0);
    assert_in_range(strlen(story), 1, 2);
    loop_unpost(a.loop, &a.task);
    loop_unpost(a.loop, &b.task);
}

static void feeds_itself(struct probe *probe)
{
    probe_feed(probe);
}

/* Nor do endless events keep tasks and timers waiting, whether the iteration may wait or not. */
static void test_endless_events_leave_room(void **state)
{
    struct probe io = probe_of(*state, "e"), task = probe_of(*state, "a"),
                 timer = probe_of(*state, "t");
    probe_open(&io);
    probe_settle(io.loop);
    io.then = feeds_itself;
    probe_feed(&io);
    for (int i = 0; i < 2; i++) {
        loop_post(io.loop, &task.task);
        probe_set(&timer, 0);
        loop_iterate(io.loop, -1);
        probe_set(&timer, 0);
        loop_iterate(io.loop, -1);
    }
    assert_string_equal(story, "etaetetaet");
    probe_close(&io);
}

/* Messages */

/* One that stops the loop, or posts a task of its own thread. */
struct letter {
    struct message message;
    struct loop *loop;
    struct probe *task; /* NULL: it stops */
};

static void on_letter(struct message *message)
{
    struct letter *letter = container_of(message, struct letter, message);
    strcat(story, "m");
    if (letter->task != NULL)
        loop_post(letter->loop, &letter->task->task);
    else
        loop_stop(letter->loop);
}

static void *post_letter(void *arg)
{
    struct letter *letter = arg;
    mailbox_post(loop_mailbox(letter->loop), &letter->message);
    return NULL;
}

/* Whatever it waits for. */
static void test_message_of_another_thread_ends_a_wait(void **state)
{
    struct letter letter = {.message.run = on_letter, .loop = *state};
    pthread_t thread;
    for (int i = 0; i < 20; i++) {
        story[0] = '\0';
        assert_int_equal(pthread_create(&thread, NULL, post_letter, &letter), 0);
        loop_run(*state);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_string_equal(story, "m");
    }
}

static void test_message_is_an_event(void **state)
{
    struct probe task = probe_of(*state, "a"), timer = probe_of(*state, "t");
    struct letter letter = {.message.run = on_letter, .loop = *state, .task = &task};
    probe_set(&timer, 0);
    post_letter(&letter);
    assert_string_equal(story, "");
    loop_iterate(*state, -1);
    assert_string_equal(story, "mta");
    loop_iterate(*state, 0); /* it is no longer due */
    assert_string_equal(story, "mta");
}

/* Running and stopping */

static void stops(struct probe *probe)
{
    loop_stop(probe->loop);
}

static void test_run_ends_with_stop(void **state)
{
    struct probe a = probe_of(*state, "a"), b = probe_of(*state, "b");
    b.then = stops;
    for (int i = 1; i <= 2; i++) {
        probe_set(&a, 0);
        probe_set(&b, 5 * USEC_PER_MSEC);
        loop_run(a.loop);
    }
    assert_string_equal(story, "abab");
}

static void test_free_forgets_timers_tasks_and_messages(void **state)
{
    struct probe a = probe_of(*state, "a");
    struct letter letter = {.message.run = on_letter, .loop = *state};
    probe_set(&a, 0);
    loop_post(a.loop, &a.task);
    post_letter(&letter);
    loop_free(a.loop);
    *state = NULL;
    assert_string_equal(story, "");
    loop_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PROBE_TEST(test_clock_is_read_once_an_iteration),
        PROBE_TEST(test_warp_moves_the_clock),
        PROBE_TEST(test_timers_fire_in_order_of_time),
        PROBE_TEST(test_wait_ends_with_the_first_timer),
        PROBE_TEST(test_wait_ends_before_the_limit),
        PROBE_TEST(test_timer_is_moved),
        PROBE_TEST(test_cleared_timer_does_not_fire),
        PROBE_TEST(test_timer_may_be_set_from_its_own_fire),
        PROBE_TEST(test_timer_cleared_by_one_due_with_it),
        PROBE_TEST(test_cleared_timer_does_not_replace_another),
        PROBE_TEST(test_warp_shortens_a_wait),
        PROBE_TEST(test_iteration_waits_no_longer_than_allowed),
        PROBE_TEST(test_tasks_run_in_order_and_once),
        PROBE_TEST(test_unposted_task_does_not_run),
        PROBE_TEST(test_task_unposts_one_behind_it),
        PROBE_TEST(test_task_of_a_timer_runs_in_the_same_iteration),
        PROBE_TEST(test_task_of_an_event_runs_in_the_same_iteration),
        PROBE_TEST(test_task_of_a_task_runs_in_the_same_iteration),
        PROBE_TEST(test_endless_tasks_leave_room),
        PROBE_TEST(test_queue_is_round_robin_behind_all_else),
        PROBE_TEST(test_queued_by_an_event),
        PROBE_TEST(test_slice_is_limited),
        PROBE_TEST(test_endless_events_leave_room),
        PROBE_TEST(test_message_of_another_thread_ends_a_wait),
        PROBE_TEST(test_message_is_an_event),
        PROBE_TEST(test_run_ends_with_stop),
        PROBE_TEST(test_free_forgets_timers_tasks_and_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
