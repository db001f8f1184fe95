/* SPDX-License-Identifier: ISC */
/* Durations, in buckets whose limits double from 100 us on. One writer, any reader. */
#ifndef KAPROXY_HISTOGRAM_H
#define KAPROXY_HISTOGRAM_H

#include "base/counter.h"
#include "base/util.h"

/* 100 us, 200 us ... 105 s; the last bucket holds anything longer. */
#define HISTOGRAM_LIMITS  21
#define HISTOGRAM_BUCKETS (HISTOGRAM_LIMITS + 1)

struct histogram {
    struct counter buckets[HISTOGRAM_BUCKETS]; /* not cumulative */
    struct counter sum;                        /* in microseconds */
};

/* Durations up to this limit are in this bucket or in one before it. The last bucket has none. */
static inline usec_t histogram_limit(unsigned bucket)
{
    return (usec_t)100 << bucket;
}

static inline unsigned histogram_bucket(usec_t time)
{
    if (time <= histogram_limit(0))
        return 0;
    unsigned bucket = 64 - (unsigned)__builtin_clzll((unsigned long long)(time - 1) / 100);
    return bucket < HISTOGRAM_LIMITS ? bucket : HISTOGRAM_LIMITS;
}

static inline uint64_t histogram_count(const struct histogram *histogram)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        count += counter_get(&histogram->buckets[i]);
    return count;
}

/* For the writer. A negative duration is taken as 0. */
static inline void histogram_add(struct histogram *histogram, usec_t time)
{
    counter_add(&histogram->buckets[histogram_bucket(time)], 1);
    if (time > 0)
        counter_add(&histogram->sum, (uint64_t)time);
}

#endif
