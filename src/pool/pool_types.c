/* SPDX-License-Identifier: ISC */
/* The names of reasons and limits, as used in logs and counters. */
#include "pool/pool_types.h"

const char *pool_from_cache_name(enum from_cache from_cache)
{
    static const char *const names[] = {
        [FROM_NONE] = "none", [FROM_IMMEDIATE] = "immediate", [FROM_DEFERRED] = "deferred"};
    return names[from_cache];
}

const char *pool_discard_name(enum pool_discard reason)
{
    static const char *const names[] = {
#define X(name, text) text,
        POOL_DISCARD_REASONS(X)
#undef X
    };
    return names[reason];
}

const char *pool_limit_name(enum pool_limit limit)
{
    static const char *const names[LIMIT_COUNT] = {[LIMIT_MAX_PER_HOST] = "max_per_host",
                                                   [LIMIT_MAX_CONNECTING] = "max_connecting",
                                                   [LIMIT_MAX_OPEN] = "max_open"};
    return names[limit];
}

unsigned pool_limit_value(const struct pool_limits *limits, enum pool_limit limit)
{
    const unsigned values[LIMIT_COUNT] = {[LIMIT_MAX_PER_HOST] = limits->max_per_host,
                                          [LIMIT_MAX_CONNECTING] = limits->max_connecting,
                                          [LIMIT_MAX_OPEN] = limits->max_open};
    return values[limit];
}
