/* SPDX-License-Identifier: ISC */
/* Starts threads that do not handle signals. */
#include "base/thread.h"

#include <errno.h>
#include <signal.h>

/* All except those of faults: blocked, they would end the process too, but without a sanitizer's
 * report. */
static void fill_blocked(sigset_t *set)
{
    sigfillset(set);
    sigdelset(set, SIGBUS);
    sigdelset(set, SIGFPE);
    sigdelset(set, SIGILL);
    sigdelset(set, SIGSEGV);
}

int thread_start(pthread_t *thread, const char *name, size_t stack_size, void *(*run)(void *arg),
                 void *arg)
{
    pthread_attr_t attributes;
    sigset_t blocked, before;
    int error = pthread_attr_init(&attributes);
    if (error != 0)
        goto err;
    error = pthread_attr_setstacksize(&attributes, stack_size);
    fill_blocked(&blocked);
    pthread_sigmask(SIG_BLOCK, &blocked, &before); /* the thread inherits it */
    if (error == 0)
        error = pthread_create(thread, &attributes, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (error != 0)
        goto err;
    pthread_setname_np(*thread, name);
    return 0;

err:
    errno = error;
    return -1;
}
