/* SPDX-License-Identifier: ISC */
/* Watched descriptors: what is reported, and what is not, when watches end in between. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/loop_probe.h"

/* More than the loop takes from the kernel at once. */
#define MANY 100

static void test_first_report_is_writable(void **state)
{
    struct probe a = probe_of(*state, "a");
    probe_open(&a);
    loop_iterate(a.loop, 0);
    assert_string_equal(story, "a");
    assert_int_equal(a.events, EPOLLOUT);
    loop_iterate(a.loop, 0);
    assert_string_equal(story, "a");
    probe_close(&a);
}

static void test_readiness_is_reported_once(void **state)
{
    struct probe a = probe_of(*state, "a");
    probe_open(&a);
    probe_settle(a.loop);
    probe_feed(&a);
    loop_iterate(a.loop, -1);
    assert_string_equal(story, "a");
    assert_true(a.events & EPOLLIN);
    loop_iterate(a.loop, 0); /* unread, but nothing is new */
    assert_string_equal(story, "a");
    probe_feed(&a);
    loop_iterate(a.loop, 0);
    assert_string_equal(story, "aa");
    probe_close(&a);
}

static void test_hangup_is_reported(void **state)
{
    struct probe a = probe_of(*state, "a");
    probe_open(&a);
    probe_settle(a.loop);
    assert_int_equal(shutdown(a.peer, SHUT_WR), 0);
    loop_iterate(a.loop, 0);
    assert_true(a.events & EPOLLRDHUP);
    assert_false(a.events & (EPOLLHUP | EPOLLERR));
    close(a.peer);
    loop_iterate(a.loop, 0);
    assert_true(a.events & EPOLLHUP);
    assert_string_equal(story, "aa");
    loop_unwatch(a.loop, &a.watch, a.fd, true);
    close(a.fd);
}

static void test_unwatched_descriptor_is_silent(void **state)
{
    struct probe a = probe_of(*state, "a");
    probe_open(&a);
    probe_settle(a.loop);
    loop_unwatch(a.loop, &a.watch, a.fd, false);
    probe_feed(&a);
    loop_iterate(a.loop, 0);
    assert_string_equal(story, "");
    probe_watch(&a);
    loop_iterate(a.loop, 0);
    assert_string_equal(story, "a");
    assert_true(a.events & EPOLLIN);
    probe_close(&a);
}

/* The watch may be gone by then, even if other processes have its descriptor. */
static void test_copy_of_a_closed_descriptor_is_silent(void **state)
{
    struct probe a = probe_of(*state, "a");
    probe_open(&a);
    probe_settle(a.loop);
    loop_expect_copies(a.loop, true);
    int copy = dup(a.fd);
    loop_unwatch(a.loop, &a.watch, a.fd, true);
    close(a.fd);
    probe_feed(&a);
    loop_iterate(a.loop, 0);
    assert_string_equal(story, "");
    loop_expect_copies(a.loop, false);
    close(copy);
    close(a.peer);
}

static void test_watched_for_other_events(void **state)
{
    struct probe a = probe_of(*state, "a");
    probe_open(&a);
    probe_feed(&a);
    probe_settle(a.loop);
    assert_int_equal(loop_rewatch(a.loop, &a.watch, a.fd, EPOLLIN | EPOLLET), 0);
    loop_iterate(a.loop, 0);
    assert_int_equal(a.events, EPOLLIN);
    loop_iterate(a.loop, 0);
    assert_string_equal(story, "a");
    assert_int_equal(loop_rewatch(a.loop, &a.watch, a.fd, EPOLLIN), 0); /* as long as it is */
    loop_iterate(a.loop, 0);
    loop_iterate(a.loop, 0);
    assert_string_equal(story, "aaa");
    loop_unwatch(a.loop, &a.watch, a.fd, false);
    assert_int_equal(loop_rewatch(a.loop, &a.watch, a.fd, EPOLLIN), -1);
    assert_int_equal(errno, ENOENT);
    probe_close(&a);
}

static void test_what_cannot_be_watched(void **state)
{
    struct probe a = probe_of(*state, "a");
    assert_int_equal(loop_watch(a.loop, &a.watch, -1, EPOLLIN), -1);
    assert_int_equal(errno, EBADF);
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(loop_watch(a.loop, &a.watch, fd, EPOLLIN), -1);
    assert_int_equal(errno, EPERM);
    close(fd);
}

static void unwatches_the_other(struct probe *probe)
{
    loop_unwatch(probe->loop, &probe->other->watch, probe->other->fd, false);
}

static void closes_the_other(struct probe *probe)
{
    probe_close(probe->other);
}

static void watches_the_other_again(struct probe *probe)
{
    unwatches_the_other(probe);
    probe_watch(probe->other);
}

/* Two sockets become ready at the same time; whichever is called first deals with the other, which
 * is in the batch already. */
static void both_become_ready(struct probe *a, struct probe *b, void (*then)(struct probe *))
{
    probe_open(a);
    probe_open(b);
    probe_settle(a->loop);
    *a = (struct probe){.name = "x",
                        .loop = a->loop,
                        .watch = a->watch,
                        .fd = a->fd,
                        .peer = a->peer,
                        .then = then,
                        .other = b};
    b->name = "x";
    b->then = then;
    b->other = a;
    probe_feed(a);
    probe_feed(b);
    loop_iterate(a->loop, 0);
}

static void test_unwatched_in_the_same_batch(void **state)
{
    struct probe a = probe_of(*state, "a"), b = probe_of(*state, "b");
    both_become_ready(&a, &b, unwatches_the_other);
    loop_iterate(a.loop, 0);
    assert_string_equal(story, "x");
    probe_close(&a);
    probe_close(&b);
}

static void test_closed_in_the_same_batch(void **state)
{
    struct probe a = probe_of(*state, "a"), b = probe_of(*state, "b");
    both_become_ready(&a, &b, closes_the_other);
    loop_iterate(a.loop, 0);
    assert_string_equal(story, "x");
    probe_close(a.events != 0 ? &a : &b);
}

/* What was collected for the old watch is not reported to the new one; the kernel reports it
 * again. */
static void test_watched_again_in_the_same_batch(void **state)
{
    struct probe a = probe_of(*state, "a"), b = probe_of(*state, "b");
    both_become_ready(&a, &b, watches_the_other_again);
    assert_string_equal(story, "x");
    a.then = b.then = NULL;
    loop_iterate(a.loop, 0);
    assert_string_equal(story, "xx");
    assert_true(a.events & EPOLLIN);
    assert_true(b.events & EPOLLIN);
    probe_close(&a);
    probe_close(&b);
}

static void test_more_than_a_batch(void **state)
{
    static struct probe probes[MANY];
    for (size_t i = 0; i < MANY; i++) {
        probes[i] = probe_of(*state, "x");
        probe_open(&probes[i]);
    }
    probe_settle(*state);
    for (size_t i = 0; i < MANY; i++)
        probe_feed(&probes[i]);
    while (strlen(story) < MANY)
        loop_iterate(*state, -1);
    loop_iterate(*state, 0);
    assert_int_equal(strlen(story), MANY);
    for (size_t i = 0; i < MANY; i++) {
        assert_true(probes[i].events & EPOLLIN);
        probe_close(&probes[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PROBE_TEST(test_first_report_is_writable),
        PROBE_TEST(test_readiness_is_reported_once),
        PROBE_TEST(test_hangup_is_reported),
        PROBE_TEST(test_unwatched_descriptor_is_silent),
        PROBE_TEST(test_copy_of_a_closed_descriptor_is_silent),
        PROBE_TEST(test_watched_for_other_events),
        PROBE_TEST(test_what_cannot_be_watched),
        PROBE_TEST(test_unwatched_in_the_same_batch),
        PROBE_TEST(test_closed_in_the_same_batch),
        PROBE_TEST(test_watched_again_in_the_same_batch),
        PROBE_TEST(test_more_than_a_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
