/* SPDX-License-Identifier: ISC */
/* Small things for every file. */
#ifndef KAPROXY_UTIL_H
#define KAPROXY_UTIL_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

/* A time or a span in microseconds. A time is read from the loop's monotonic clock. */
typedef int64_t usec_t;

#define USEC_PER_MSEC INT64_C(1000)
#define USEC_PER_SEC  INT64_C(1000000)

/* The struct of TYPE whose MEMBER is at PTR. */
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define container_of_const(ptr, type, member)                                                      \
    ((const type *)(const void *)((const char *)(ptr)-offsetof(type, member)))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#define MUST_CHECK        __attribute__((warn_unused_result))
#define PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define ALWAYS_INLINE     inline __attribute__((always_inline))
#define COLD              __attribute__((cold))     /* seldom called: kept out of the way */
#define NOINLINE          __attribute__((noinline)) /* so that its fast caller is not slowed down */

/* Unix time in microseconds, for people: it may jump. No system call. */
static inline int64_t unix_time(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * USEC_PER_SEC + now.tv_nsec / 1000;
}

/* The clock of usec_t, in microseconds. No system call. */
static inline usec_t monotonic_time(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (usec_t)now.tv_sec * USEC_PER_SEC + now.tv_nsec / 1000;
}

/* strerror(3), with advice where the operator can act. Any thread may call either: glibc and musl
 * have a constant text for each number that errno can have. */
static inline const char *error_text(int number)
{
    return number == EMFILE ? "Too many open files: raise LimitNOFILE or lower max_open"
                            : strerror(number);
}

/* How many objects of a kind are kept for reuse. None under AddressSanitizer, so that it detects
 * uses after free. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FREE_LIST(count) 0
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define FREE_LIST(count) 0
#endif
#ifndef FREE_LIST
#define FREE_LIST(count) (count)
#endif

#endif
