/* SPDX-License-Identifier: ISC */
/* The scenarios' time: it passes only while nothing else happens, and then instantly. So the times
 * in a trace do not depend on when the machine lets the driver run.
 *
 * The loop reads one clock, waits in one epoll set, and has one alarm there; all of these are
 * wrapped. A wait that nothing ends within QUIET of real time is over: the far sides live in this
 * process too, and what it has sent to itself over loopback has long arrived. */
#include <errno.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>

#include "base/util.h"

#define QUIET 100 /* ms */

int __real_clock_gettime(clockid_t clock, struct timespec *time);
int __wrap_clock_gettime(clockid_t clock, struct timespec *time);
int __real_timerfd_settime(int fd, int flags, const struct itimerspec *new_value,
                           struct itimerspec *old_value);
int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *new_value,
                           struct itimerspec *old_value);
int __real_epoll_wait(int epoll, struct epoll_event *events, int count, int timeout);
int __wrap_epoll_wait(int epoll, struct epoll_event *events, int count, int timeout);

static usec_t now = 1000 * USEC_PER_SEC;
static struct {
    int fd;
    bool set;
    usec_t due;
} alarm_clock;

int __wrap_clock_gettime(clockid_t clock, struct timespec *time)
{
    if (clock != CLOCK_MONOTONIC)
        return __real_clock_gettime(clock, time);
    *time = (struct timespec){.tv_sec = now / USEC_PER_SEC, .tv_nsec = now % USEC_PER_SEC * 1000};
    return 0;
}

/* Only stores it. */
int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *new_value,
                           struct itimerspec *old_value)
{
    const struct timespec *in = &new_value->it_value;
    (void)flags;
    (void)old_value;
    alarm_clock.fd = fd;
    alarm_clock.set = true;
    alarm_clock.due = now + in->tv_sec * USEC_PER_SEC + (in->tv_nsec + 999) / 1000;
    return 0;
}

/* The alarm is due: the loop finds its event. */
static int ring(int epoll, struct epoll_event *events, int count)
{
    const struct itimerspec at_once = {.it_value = {.tv_nsec = 1}};
    now = alarm_clock.due;
    alarm_clock.set = false;
    if (__real_timerfd_settime(alarm_clock.fd, 0, &at_once, NULL) < 0)
        return -1;
    return __real_epoll_wait(epoll, events, count, -1);
}

int __wrap_epoll_wait(int epoll, struct epoll_event *events, int count, int timeout)
{
    int ready = __real_epoll_wait(epoll, events, count, timeout == 0 ? 0 : QUIET);
    if (ready != 0 || timeout == 0)
        return ready;
    usec_t end = now + timeout * USEC_PER_MSEC;
    if (alarm_clock.set && (timeout < 0 || alarm_clock.due <= end))
        return ring(epoll, events, count);
    if (timeout < 0)
        return __real_epoll_wait(epoll, events, count, -1);
    now = end;
    return 0;
}
