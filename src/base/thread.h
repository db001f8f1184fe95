/* SPDX-License-Identifier: ISC */
/* Threads besides the main one. */
#ifndef KAPROXY_THREAD_H
#define KAPROXY_THREAD_H

#include <pthread.h>
#include <stddef.h>

#include "base/util.h"

/* Starts a thread of this name (at most 15 characters), which must be joined. All signals are
 * blocked in it, as the main thread handles them, except those raised by its own faults. 0, or -1
 * with errno. */
MUST_CHECK int thread_start(pthread_t *thread, const char *name, size_t stack_size,
                            void *(*run)(void *arg), void *arg);

#endif
