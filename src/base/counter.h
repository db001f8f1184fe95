/* SPDX-License-Identifier: ISC */
/* Numbers that one thread changes and any thread may read at any time: relaxed atomics without a
 * locked instruction, as each has a single writer. They order nothing else. */
#ifndef KAPROXY_COUNTER_H
#define KAPROXY_COUNTER_H

#include <stdatomic.h>
#include <stdint.h>

/* Never decreases. */
struct counter {
    _Atomic uint64_t value;
};

static inline uint64_t counter_get(const struct counter *counter)
{
    return atomic_load_explicit(&counter->value, memory_order_relaxed);
}

/* For the writer. */
static inline void counter_set(struct counter *counter, uint64_t value)
{
    atomic_store_explicit(&counter->value, value, memory_order_relaxed);
}

static inline void counter_add(struct counter *counter, uint64_t more)
{
    counter_set(counter, counter_get(counter) + more);
}

/* Rises and falls; `peak` is the maximum since the start. */
struct gauge {
    struct counter now, peak;
};

static inline uint64_t gauge_get(const struct gauge *gauge)
{
    return counter_get(&gauge->now);
}

/* For the writer. */
static inline void gauge_set(struct gauge *gauge, uint64_t value)
{
    counter_set(&gauge->now, value);
    if (counter_get(&gauge->peak) < value)
        counter_set(&gauge->peak, value);
}

/* Leaves the peak alone: for values not above the previous one, or that may not last. */
static inline void gauge_set_now(struct gauge *gauge, uint64_t value)
{
    counter_set(&gauge->now, value);
}

#endif
