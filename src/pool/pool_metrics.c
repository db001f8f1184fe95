/* SPDX-License-Identifier: ISC */
/* Descriptions of a host's metrics, and of a pool's limits. */
#include <string.h>

#include "pool/pool_types.h"

enum pool_failed pool_failed_by(const char *function)
{
    enum pool_failed failed = 0;
    while (failed < FAILED_OTHER && strcmp(function, pool_failed_name(failed)) != 0)
        failed++;
    return failed;
}

const char *pool_failed_name(enum pool_failed failed)
{
    static const char *const names[] = {
#define X(name, text) text,
        POOL_FAILURES(X)
#undef X
    };
    return names[failed];
}

static const char *state_name(unsigned state)
{
    static const char *const names[HOST_CONNS] = {[HOST_CONNECTING] = "connecting",
                                                  [HOST_BUSY] = "busy",
                                                  [HOST_HELD] = "held",
                                                  [HOST_IDLE] = "idle",
                                                  [HOST_CLOSING] = "closing"};
    return names[state];
}

static const char *from_cache_name(unsigned from_cache)
{
    return pool_from_cache_name((enum from_cache)from_cache);
}

static const char *failed_name(unsigned failed)
{
    return pool_failed_name((enum pool_failed)failed);
}

static const char *discard_name(unsigned reason)
{
    return pool_discard_name((enum pool_discard)reason);
}

#define AT(field)          .offset = offsetof(struct host_stats, field), .count = 1
#define EACH(field, names) .offset = offsetof(struct host_stats, field), .value = names

static const struct metric of_host[] = {
    {.name = "connections",
     .help = "Connections to the upstream, by state; held: tunnels "
             "and connections dedicated to one client",
     .type = METRIC_GAUGE,
     EACH(conns, state_name),
     .label = "state",
     .count = HOST_CONNS,
     .log = ""},
    {.name = "waiting",
     .help = "Allocations waiting for a connection",
     .type = METRIC_GAUGE,
     AT(waiting)},
    {.name = "queued",
     .help = "Waiting allocations for which no dial is under way because of a limit",
     .type = METRIC_GAUGE,
     AT(queued)},
    {.name = "down",
     .help = "Whether the upstream is down, by fail_after",
     .type = METRIC_GAUGE,
     AT(down)},
    {.name = "paused",
     .help = "Whether the upstream is paused by the operator",
     .type = METRIC_GAUGE,
     AT(paused)},
    {.name = "draining",
     .help = "Whether the upstream is drained by the operator",
     .type = METRIC_GAUGE,
     AT(draining)},
    {.name = "grants",
     .help = "Connections granted; from_cache none: newly opened, immediate: "
             "was idle, deferred: released by another client",
     .type = METRIC_COUNTER,
     EACH(grants, from_cache_name),
     .label = "from_cache",
     .count = FROM_DEFERRED + 1,
     .log = ""},
    {.name = "failures",
     .help = "Allocations that failed, by the function that failed",
     .type = METRIC_COUNTER,
     EACH(failed, failed_name),
     .label = "function",
     .count = POOL_FAILED_COUNT,
     .log = "failed_",
     .log_sum = "failures"},
    {.name = "refused",
     .help = "Allocations that failed at once because the upstream was down",
     .type = METRIC_COUNTER,
     AT(refused)},
    {.name = "cancelled",
     .help = "Allocations cancelled, mostly because the client left",
     .type = METRIC_COUNTER,
     AT(cancelled)},
    {.name = "dials", .help = "Dials started", .type = METRIC_COUNTER, AT(dials)},
    {.name = "preconnects",
     .help = "Dials started ahead of any client, for min_idle",
     .type = METRIC_COUNTER,
     AT(preconnects),
     .log = "spares"},
    {.name = "dial_retries",
     .help = "Dials retried, by connect_retries",
     .type = METRIC_COUNTER,
     AT(retries)},
    {.name = "downs",
     .help = "How often the upstream went down, by fail_after",
     .type = METRIC_COUNTER,
     AT(downs)},
    {.name = "releases",
     .help = "Leases that ended with the connection released for reuse",
     .type = METRIC_COUNTER,
     AT(released),
     .log = "released"},
    {.name = "discards",
     .help = "Connections closed, by reason",
     .type = METRIC_COUNTER,
     EACH(discards, discard_name),
     .label = "reason",
     .count = POOL_DISCARD_COUNT,
     .log = "discard_"},
    {.name = "wait",
     .help = "How long allocations waited until they were granted or failed",
     .type = METRIC_HISTOGRAM,
     .unit = METRIC_SECONDS,
     AT(wait)},
    {.name = "connect",
     .help = "How long successful dials took, with their handshakes",
     .type = METRIC_HISTOGRAM,
     .unit = METRIC_SECONDS,
     AT(connect)},
};

const struct metric_set host_metrics = {
    .prefix = "upstream_", .metrics = of_host, .count = ARRAY_LEN(of_host)};

/* A pool's limits; 0: no limit. */

static const char *const limit_names[POOL_LIMITS_SHOWN] = {
    "max_per_host", "max_open", "max_connecting", "max_tunnels", "max_waiting", "min_idle"};

static const char *limit_name(unsigned limit)
{
    return limit_names[limit];
}

void limits_stats_set(struct limits_stats *stats, const struct pool_limits *limits)
{
    const unsigned values[POOL_LIMITS_SHOWN] = {limits->max_per_host,   limits->max_open,
                                                limits->max_connecting, limits->max_tunnels,
                                                limits->max_waiting,    limits->min_idle};
    for (unsigned i = 0; i < POOL_LIMITS_SHOWN; i++)
        gauge_set(&stats->limits[i], values[i]);
}

static const struct metric of_limits[] = {
    {.name = "limit",
     .help = "Limits in effect; max_waiting 0: no limit",
     .type = METRIC_GAUGE,
     .offset = offsetof(struct limits_stats, limits),
     .label = "limit",
     .count = POOL_LIMITS_SHOWN,
     .value = limit_name,
     .log = ""},
};

const struct metric_set limits_metrics = {
    .prefix = "pool_", .metrics = of_limits, .count = ARRAY_LEN(of_limits)};

/* Sums. */

void pool_stats_add(struct pool_stats *sums, const struct host_stats *stats)
{
    for (int i = 0; i <= FROM_DEFERRED; i++)
        sums->grants[i] += counter_get(&stats->grants[i]);
    for (int i = 0; i < POOL_FAILED_COUNT; i++)
        sums->failures += counter_get(&stats->failed[i]);
    for (int i = 0; i < POOL_DISCARD_COUNT; i++)
        sums->discards[i] += counter_get(&stats->discards[i]);
    sums->cancelled += counter_get(&stats->cancelled);
    sums->dials += counter_get(&stats->dials);
    sums->preconnects += counter_get(&stats->preconnects);
    sums->retries += counter_get(&stats->retries);
    sums->downs += counter_get(&stats->downs);
    sums->refused += counter_get(&stats->refused);
    sums->released += counter_get(&stats->released);
}
