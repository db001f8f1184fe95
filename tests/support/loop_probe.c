/* SPDX-License-Identifier: ISC */
/* A loop with a timer, a task and a socket that record when they are called. */
#include "support/loop_probe.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/sockets.h"

char story[4096];

static void happened(struct probe *probe)
{
    assert_true(strlen(story) + strlen(probe->name) < sizeof(story));
    strcat(story, probe->name);
    if (probe->then != NULL)
        probe->then(probe);
}

static void on_fire(struct timer *timer)
{
    assert_false(loop_timer_is_set(timer));
    happened(container_of(timer, struct probe, timer));
}

static void on_run(struct task *task)
{
    assert_null(task->list);
    happened(container_of(task, struct probe, task));
}

static void on_ready(struct watch *watch, uint32_t events)
{
    struct probe *probe = container_of(watch, struct probe, watch);
    probe->events = events;
    happened(probe);
}

struct probe probe_of(struct loop *loop, const char *name)
{
    return (struct probe){.name = name,
                          .loop = loop,
                          .timer.fire = on_fire,
                          .task.run = on_run,
                          .watch.ready = on_ready,
                          .fd = -1,
                          .peer = -1};
}

void probe_set(struct probe *probe, usec_t in)
{
    assert_int_equal(loop_set_timer(probe->loop, &probe->timer, loop_now(probe->loop) + in), 0);
}

static void open_sockets(struct probe *probe)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    probe->fd = fds[0];
    probe->peer = fds[1];
}

void probe_watch(struct probe *probe)
{
    assert_int_equal(loop_watch(probe->loop, &probe->watch, probe->fd, PROBE_EVENTS), 0);
}

void probe_open(struct probe *probe)
{
    open_sockets(probe);
    probe_watch(probe);
}

void probe_close(struct probe *probe)
{
    loop_unwatch(probe->loop, &probe->watch, probe->fd, true);
    close(probe->fd);
    close(probe->peer);
}

void probe_feed(struct probe *probe)
{
    assert_int_equal(write(probe->peer, "x", 1), 1);
}

void probe_settle(struct loop *loop)
{
    for (int i = 0; i < 4; i++)
        loop_iterate(loop, 0);
    story[0] = '\0';
}

static int descriptors;

int probe_setup(void **state)
{
    alarm(WAIT_MAX);
    descriptors = sockets_count();
    story[0] = '\0';
    *state = loop_new();
    return *state == NULL ? -1 : 0;
}

int probe_teardown(void **state)
{
    loop_free(*state);
    return sockets_count() == descriptors ? 0 : -1;
}
