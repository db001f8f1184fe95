/* SPDX-License-Identifier: ISC */
/* Calls that fail with ENOMEM when a test says so. */
#include "support/shortage.h"

#include <errno.h>
#include <stddef.h>
#include <sys/epoll.h>

static int epoll_ctl_in, calloc_in; /* calls until the one that fails; 0: none will */

int __real_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);

static int fails(int *in)
{
    if (*in == 0 || --*in > 0)
        return 0;
    errno = ENOMEM;
    return 1;
}

int __wrap_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
    return fails(&epoll_ctl_in) ? -1 : __real_epoll_ctl(epoll, operation, fd, event);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails(&calloc_in) ? NULL : __real_calloc(count, size);
}

void shortage_of_epoll_ctl(int nth)
{
    epoll_ctl_in = nth;
}

void shortage_of_calloc(int nth)
{
    calloc_in = nth;
}

int shortage_came(void)
{
    return epoll_ctl_in == 0 && calloc_in == 0;
}
