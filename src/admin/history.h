/* SPDX-License-Identifier: ISC */
/* What the numbers were in the last minute: for rates, counts, and quantiles of times. No counter
 * is ever reset, so all readers see the same.
 *
 * Counters and histograms are copied every 5 s, and 14 copies are kept, slightly more than a
 * minute; they are compared with the current values at the time of the query. The first copy is
 * made at the start: until a minute has passed, results cover the time since then.
 *
 * The memory is allocated once: 14 * 8 bytes for each counter, and for each bucket of each
 * histogram. One host has about 90 of these: 10 KiB. Only for the thread that queries and
 * copies. */
#ifndef KAPROXY_HISTORY_H
#define KAPROXY_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "admin/subjects.h"
#include "base/metric.h"
#include "base/util.h"

#define HISTORY_INTERVAL (5 * USEC_PER_SEC)
#define HISTORY_SAMPLES  14
#define HISTORY_RECENT   (10 * USEC_PER_SEC) /* the window of rates */
#define HISTORY_MINUTE   (60 * USEC_PER_SEC) /* the window of counts and quantiles */

struct history;

/* The blocks are borrowed. NULL with ENOMEM. Times are of the monotonic clock. */
struct history *history_new(const struct metric_block *blocks, size_t count, usec_t now);
void history_free(struct history *history); /* NULL is harmless */

/* A history of other blocks, with copies of the same times. A block that was among the old ones, or
 * else one of the same set and labels, continues, whatever its numbers are now: its past increments
 * are those of the old block. Others begin here. Both histories' blocks are read; the old history
 * is unchanged. NULL with ENOMEM. */
struct history *history_continue(const struct history *old, const struct metric_block *blocks,
                                 size_t count);

/* Drops its copies, and begins here. */
void history_restart(struct history *history, usec_t now);

/* To be called every HISTORY_INTERVAL. A late call makes the windows longer, which is harmless:
 * rates are per second that passed. */
void history_sample(struct history *history, usec_t now);

/* The bytes allocated for its copies. */
size_t history_size(const struct history *history);

/* Made along with it, of the same blocks. */
const struct subjects *history_subjects(const struct history *history);

/* For a counter, or the count of a histogram: the rate per second over the last 10 s, and the
 * increase in the last minute. `index` is a label value's, or -1 for all of them. What does not
 * exist, and gauges, are 0. */
double history_rate(const struct history *history, const struct figure *figure, int index,
                    usec_t now);
uint64_t history_count(const struct history *history, const struct figure *figure, int index,
                       usec_t now);

/* For a histogram without a label: the time that a share (0.5: the median) of the events of the
 * last minute did not exceed. False if there were none.
 *
 * Bucket limits are powers of two, and within a bucket it is interpolated: the exact quantile is in
 * the same bucket, so the result is between half and twice the exact value wherever it is above 100
 * us. Beyond the last limit, 105 s, it is that limit. */
bool history_quantile(const struct history *history, const struct figure *figure, double share,
                      usec_t now, usec_t *time);

#endif
