/* SPDX-License-Identifier: ISC */
/* What the numbers were in the last minute: for rates, for counts, and for quantiles of times. No
 * counter is ever set back, so everybody who asks sees the same.
 *
 * Counters and histograms are copied every 5 s, 14 times, which is a bit more than a minute; what
 * was copied is compared with what is there at the moment of the question. The first copy is made
 * at the start: before the minute is over, answers are for the time since then.
 *
 * The memory is taken once: 14 * 8 bytes for each counter, and for each bucket of each histogram.
 * One host has about 90 of these: 10 KiB. For the thread that asks and copies alone. */
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
#define HISTORY_RECENT   (10 * USEC_PER_SEC) /* what rates are of */
#define HISTORY_MINUTE   (60 * USEC_PER_SEC) /* what counts and quantiles are of */

struct history;

/* The blocks are borrowed. NULL with ENOMEM. Times are the monotonic clock's. */
struct history *history_new(const struct metric_block *blocks, size_t count, usec_t now);
void history_free(struct history *history); /* NULL is harmless */

/* Of other blocks, with copies of the same times. A block that was in the old ones, or else one of
 * the same set and labels, goes on, whatever its numbers are now: what was added before is what was
 * added to the old one. Others begin here. Both histories' blocks are read; the old history stays
 * as it is. NULL with ENOMEM. */
struct history *history_continue(const struct history *old, const struct metric_block *blocks,
                                 size_t count);

/* Forgets its copies, and begins here. */
void history_restart(struct history *history, usec_t now);

/* To be called every HISTORY_INTERVAL. When it comes late, the spans become longer, and nothing is
 * wrong: rates are per second that passed. */
void history_sample(struct history *history, usec_t now);

/* The bytes that it has allocated for its copies. */
size_t history_size(const struct history *history);

/* Made with it, of the same blocks. */
const struct subjects *history_subjects(const struct history *history);

/* Of a counter, or of how often a histogram was added to: per second over the last 10 s, and how
 * many in the last minute. `index` is a label value's, or -1 for all of them. What is not there,
 * and gauges, are 0. */
double history_rate(const struct history *history, const struct figure *figure, int index,
                    usec_t now);
uint64_t history_count(const struct history *history, const struct figure *figure, int index,
                       usec_t now);

/* Of a histogram without a label: the time that a share (0.5: the median) of what happened in the
 * last minute did not exceed. False where nothing did.
 *
 * The buckets' limits are powers of two, and within one it is interpolated: the exact quantile is
 * in the same bucket, so that the answer is less than twice as large, and more than half, wherever
 * it is above 100 us. Beyond the last limit, 105 s, it is that limit. */
bool history_quantile(const struct history *history, const struct figure *figure, double share,
                      usec_t now, usec_t *time);

#endif
