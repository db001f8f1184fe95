/* SPDX-License-Identifier: ISC */
/* Threads beside the main one. */
#ifndef KAPROXY_THREAD_H
#define KAPROXY_THREAD_H

#include <pthread.h>
#include <stddef.h>

#include "base/util.h"

/* Starts a thread of this name (15 characters at most), which is to be joined. It has all signals
 * blocked, as they are for the main thread, but for those that a fault of its own raises. 0, or -1
 * with errno. */
MUST_CHECK int thread_start(pthread_t *thread, const char *name, size_t stack_size,
                            void *(*run)(void *arg), void *arg);

#endif
