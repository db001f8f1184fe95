/* SPDX-License-Identifier: ISC */
/* Metrics. Every number that an operator can see is described once, by the module it belongs to.
 * The lines of SIGUSR1, /metrics, /status and everything derived from them use these descriptions.
 *
 * A block is a struct of counters, gauges and histograms: of one host, of one listener. A metric
 * says where in such a struct it is. */
#ifndef KAPROXY_METRIC_H
#define KAPROXY_METRIC_H

#include <stddef.h>

#include "base/counter.h"
#include "base/histogram.h"

enum metric_type {
    METRIC_COUNTER,  /* struct counter */
    METRIC_GAUGE,    /* struct gauge */
    METRIC_HISTOGRAM /* struct histogram: seconds, counted in microseconds */
};

enum metric_unit {
    METRIC_NUMBER,
    METRIC_BYTES,
    METRIC_SECONDS /* in memory: microseconds */
};

/* Strings are constant. */
struct metric {
    const char *name; /* without the prefix kaproxy_, the unit, and _total: "discards" */
    const char *help; /* one sentence, without its full stop */
    enum metric_type type;
    enum metric_unit unit;
    size_t offset; /* of the first one, in the block */
    /* One metric for each value of a label, stored consecutively; NULL: only one. */
    const char *label;
    unsigned count;                       /* number of values; 1 without a label */
    const char *(*value)(unsigned index); /* "keep_alive" */
    /* In SIGUSR1's lines: the prefix of the value's name ("discard_", or ""), or the name itself
     * without a label. NULL, without a label: the metric's name. */
    const char *log;
    const char *log_sum; /* there, the name of the sum over a label's values; NULL: no sum */
};

/* The metrics of one kind of block. */
struct metric_set {
    const char *prefix; /* of the names, after kaproxy_: "upstream_", or "" */
    const struct metric *metrics;
    size_t count;
};

/* What a block belongs to: labels that all its numbers have, in the order of this list; NULL: not
 * this label. Borrowed, and bounded by the configuration. */
struct metric_labels {
    const char *listener, *pool, *upstream;
    /* The name of the first listener with these TLS settings: one upstream may be used with
     * several. */
    const char *tls;
};

struct metric_block {
    const struct metric_set *set;
    const void *block; /* borrowed */
    struct metric_labels labels;
};

static inline const void *metric_at(const struct metric *metric, const void *block, unsigned index)
{
    static const size_t sizes[] = {[METRIC_COUNTER] = sizeof(struct counter),
                                   [METRIC_GAUGE] = sizeof(struct gauge),
                                   [METRIC_HISTOGRAM] = sizeof(struct histogram)};
    return (const char *)block + metric->offset + index * sizes[metric->type];
}

/* Writes all of them to the log, in one or more lines for consecutive blocks with the same labels.
 * A gauge's peak is written as NAME_peak while the gauge is below it. A pool's own numbers are
 * preceded by the sums over its upstreams, with the same names. */
void metric_log(const struct metric_block *blocks, size_t count);

#endif
