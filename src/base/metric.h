/* SPDX-License-Identifier: ISC */
/* What there is to count and to measure: every number that an operator can see is described here,
 * once, by the module that it is of; SIGUSR1's lines, /metrics, /status and what is made of these
 * go through the descriptions.
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
    size_t offset; /* in the block, of the first */
    /* One for each of a label's values, one behind the other; NULL: just one. */
    const char *label;
    unsigned count;                       /* of the values; 1 without a label */
    const char *(*value)(unsigned index); /* "keep_alive" */
    /* In SIGUSR1's lines: what comes before the value's name ("discard_", or ""), or is the name,
     * where there is no label. NULL, without a label: the metric's name. */
    const char *log;
    const char *log_sum; /* there, the sum of a label's values, by this name; NULL: it is not */
};

/* The metrics of one kind of block. */
struct metric_set {
    const char *prefix; /* of the names, behind kaproxy_: "upstream_", or "" */
    const struct metric *metrics;
    size_t count;
};

/* What a block is of: labels that all of its numbers have, in order of this list; NULL: not that
 * label. Borrowed, and bounded by the configuration. */
struct metric_labels {
    const char *listener, *pool, *upstream;
    /* The name of the first listener with these TLS settings: the same upstream may be spoken to
     * with several. */
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

/* Writes all of them to the log, one line or more for blocks that follow each other and have the
 * same labels. The peak of a gauge is there, as NAME_peak, while the gauge is below it. Before a
 * pool's own numbers are the sums over its upstreams, with the same names. */
void metric_log(const struct metric_block *blocks, size_t count);

#endif
