/* SPDX-License-Identifier: ISC */
/* The results of reloads: numbers, with their descriptions, and the first mistake of the last one.
 * Changed by the control thread; the texts are for that thread alone. */
#ifndef KAPROXY_RELOAD_STATS_H
#define KAPROXY_RELOAD_STATS_H

#include <stdint.h>

#include "base/counter.h"
#include "base/metric.h"

enum reload_result { RELOAD_SUCCESS, RELOAD_FAILURE, RELOAD_RESULTS };

#define RELOAD_MISTAKE_MAX 512

struct reload_stats {
    struct gauge generation; /* of the configuration in effect */
    struct gauge last_successful;
    struct gauge last_success_at; /* microseconds of Unix time; the start counts as one */
    struct counter reloads[RELOAD_RESULTS];
    /* Of the last reload, if it failed. */
    int64_t failed_at;                /* microseconds of Unix time; 0: it did not */
    unsigned mistake_count;           /* lines */
    char mistake[RELOAD_MISTAKE_MAX]; /* the first line */
};

extern const struct metric_set reload_metrics;

/* The configuration of the start is in effect. Times are microseconds of Unix time. */
void reload_stats_start(struct reload_stats *stats, uint64_t generation, int64_t now);

/* A reload has ended: another generation is in effect, or still the same one, for these reasons,
 * one per line. */
void reload_stats_succeed(struct reload_stats *stats, uint64_t generation, int64_t now);
void reload_stats_fail(struct reload_stats *stats, const char *mistakes, int64_t now);

#endif
