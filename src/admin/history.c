/* SPDX-License-Identifier: ISC */
/* A ring of copies of all counters and histograms. */
#include "admin/history.h"

#include <stdlib.h>
#include <string.h>

struct history {
    struct subjects *subjects;
    size_t *starts;   /* for each block: where its cells are in a copy */
    size_t cells;     /* of one copy */
    uint64_t *copies; /* HISTORY_SAMPLES of them, one after the other */
    usec_t times[HISTORY_SAMPLES];
    unsigned count;  /* number of copies so far */
    unsigned newest; /* its place */
};

/* How many cells one of a metric's label values needs. Gauges need none. */
static size_t cells_of(const struct metric *metric)
{
    switch (metric->type) {
    case METRIC_COUNTER:
        return 1;
    case METRIC_HISTOGRAM:
        return HISTOGRAM_BUCKETS;
    case METRIC_GAUGE:
        break;
    }
    return 0;
}

static size_t cells_of_set(const struct metric_set *set)
{
    size_t cells = 0;
    for (size_t i = 0; i < set->count; i++)
        cells += cells_of(&set->metrics[i]) * set->metrics[i].count;
    return cells;
}

static uint64_t present(const struct metric *metric, const void *block, unsigned index,
                        unsigned cell)
{
    const void *at = metric_at(metric, block, index);
    if (metric->type == METRIC_HISTOGRAM)
        return counter_get(&((const struct histogram *)at)->buckets[cell]);
    return counter_get(at);
}

/* Without a copy. NULL with ENOMEM. */
static struct history *make(const struct metric_block *blocks, size_t count)
{
    struct history *history = calloc(1, sizeof(*history));
    if (history == NULL)
        return NULL;
    history->subjects = subjects_new(blocks, count);
    history->starts = calloc(count + 1, sizeof(*history->starts));
    if (history->subjects == NULL || history->starts == NULL)
        goto err;
    for (size_t i = 0; i < count; i++) {
        history->starts[i] = history->cells;
        history->cells += cells_of_set(blocks[i].set);
    }
    history->copies = calloc(HISTORY_SAMPLES, (history->cells + 1) * sizeof(*history->copies));
    if (history->copies == NULL)
        goto err;
    return history;

err:
    history_free(history);
    return NULL;
}

struct history *history_new(const struct metric_block *blocks, size_t count, usec_t now)
{
    struct history *history = make(blocks, count);
    if (history != NULL)
        history_restart(history, now);
    return history;
}

void history_restart(struct history *history, usec_t now)
{
    history->count = 0;
    history->newest = HISTORY_SAMPLES - 1;
    history_sample(history, now);
}

/* The block's position; the count of blocks: it is not among them. */
static size_t find_block(const struct subjects *subjects, const struct metric_block *block)
{
    size_t i = 0;
    while (i < subjects->block_count &&
           (subjects->blocks[i].block != block->block || subjects->blocks[i].set != block->set))
        i++;
    return i;
}

/* The old block that a new one continues, or NULL. One that is itself among the new ones is not
 * matched with another. */
static const struct metric_block *find_before(const struct subjects *old,
                                              const struct subjects *new,
                                              const struct metric_block *block)
{
    size_t same = find_block(old, block);
    if (same < old->block_count)
        return &old->blocks[same];
    for (size_t i = 0; i < old->block_count; i++) {
        const struct metric_block *before = &old->blocks[i];
        if (before->set == block->set && subjects_same_labels(&before->labels, &block->labels) &&
            find_block(new, before) == new->block_count)
            return before;
    }
    return NULL;
}

/* One number, in all copies: its increase since each of them is that of the old number. Both are
 * counted modulo 2^64. */
static void continue_cell(struct history *history, size_t at, const struct history *old,
                          size_t old_at, uint64_t ahead)
{
    for (size_t copy = 0; copy < HISTORY_SAMPLES; copy++)
        history->copies[copy * history->cells + at] =
            old->copies[copy * old->cells + old_at] + ahead;
}

static void begin_cell(struct history *history, size_t at, uint64_t value)
{
    for (size_t copy = 0; copy < HISTORY_SAMPLES; copy++)
        history->copies[copy * history->cells + at] = value;
}

static void continue_block(struct history *history, size_t index, const struct history *old)
{
    const struct metric_block *block = &history->subjects->blocks[index];
    const struct metric_block *before = find_before(old->subjects, history->subjects, block);
    size_t at = history->starts[index];
    size_t old_at = before == NULL ? 0 : old->starts[before - old->subjects->blocks];
    for (size_t i = 0; i < block->set->count; i++) {
        const struct metric *metric = &block->set->metrics[i];
        for (size_t n = 0; n < cells_of(metric) * metric->count; n++, at++, old_at++) {
            unsigned value = (unsigned)(n / cells_of(metric));
            unsigned cell = (unsigned)(n % cells_of(metric));
            uint64_t now = present(metric, block->block, value, cell);
            if (before == NULL)
                begin_cell(history, at, now);
            else if (before->block == block->block)
                continue_cell(history, at, old, old_at, 0);
            else
                continue_cell(history, at, old, old_at,
                              now - present(metric, before->block, value, cell));
        }
    }
}

struct history *history_continue(const struct history *old, const struct metric_block *blocks,
                                 size_t count)
{
    struct history *history = make(blocks, count);
    if (history == NULL)
        return NULL;
    history->count = old->count;
    history->newest = old->newest;
    memcpy(history->times, old->times, sizeof(history->times));
    for (size_t i = 0; i < count; i++)
        continue_block(history, i, old);
    return history;
}

void history_free(struct history *history)
{
    if (history == NULL)
        return;
    subjects_free(history->subjects);
    free(history->starts);
    free(history->copies);
    free(history);
}

const struct subjects *history_subjects(const struct history *history)
{
    return history->subjects;
}

size_t history_size(const struct history *history)
{
    return HISTORY_SAMPLES * (history->cells + 1) * sizeof(*history->copies);
}

static uint64_t *copy_block(uint64_t *to, const struct metric_block *block)
{
    for (size_t i = 0; i < block->set->count; i++) {
        const struct metric *metric = &block->set->metrics[i];
        size_t cells = cells_of(metric);
        for (unsigned index = 0; index < metric->count; index++) {
            for (unsigned cell = 0; cell < cells; cell++)
                *to++ = present(metric, block->block, index, cell);
        }
    }
    return to;
}

void history_sample(struct history *history, usec_t now)
{
    history->newest = (history->newest + 1) % HISTORY_SAMPLES;
    history->times[history->newest] = now;
    if (history->count < HISTORY_SAMPLES)
        history->count++;
    uint64_t *to = history->copies + history->newest * history->cells;
    for (size_t i = 0; i < history->subjects->block_count; i++)
        to = copy_block(to, &history->subjects->blocks[i]);
}

/* The youngest copy that is at least that old, or else the oldest one. */
static unsigned copy_before(const struct history *history, usec_t span, usec_t now)
{
    unsigned at = history->newest;
    for (unsigned i = 1; i < history->count && now - history->times[at] < span; i++)
        at = (at + HISTORY_SAMPLES - 1) % HISTORY_SAMPLES;
    return at;
}

/* The first cell of one of a figure's label values, in a copy. */
static const uint64_t *find_cells(const struct history *history, unsigned copy,
                                  const struct figure *figure, unsigned index)
{
    const struct metric_set *set = figure->block->set;
    const uint64_t *at = history->copies + copy * history->cells;
    at += history->starts[figure->block_index];
    for (const struct metric *metric = set->metrics; metric != figure->metric; metric++)
        at += cells_of(metric) * metric->count;
    return at + cells_of(figure->metric) * index;
}

/* The increase since that copy. */
static uint64_t added(const struct history *history, unsigned copy, const struct figure *figure,
                      int index)
{
    uint64_t sum = 0;
    if (figure->metric == NULL)
        return 0;
    for (unsigned i = 0; i < figure->metric->count; i++) {
        const uint64_t *cells = find_cells(history, copy, figure, i);
        for (unsigned cell = 0; cell < cells_of(figure->metric); cell++) {
            if (index < 0 || (unsigned)index == i)
                sum += present(figure->metric, figure->block->block, i, cell) - cells[cell];
        }
    }
    return sum;
}

/* Divides by at least one second, so that a single event at the start does not count as a
 * thousand. */
double history_rate(const struct history *history, const struct figure *figure, int index,
                    usec_t now)
{
    unsigned copy = copy_before(history, HISTORY_RECENT, now);
    usec_t span = now - history->times[copy];
    if (span < USEC_PER_SEC)
        span = USEC_PER_SEC;
    return (double)added(history, copy, figure, index) * USEC_PER_SEC / (double)span;
}

uint64_t history_count(const struct history *history, const struct figure *figure, int index,
                       usec_t now)
{
    return added(history, copy_before(history, HISTORY_MINUTE, now), figure, index);
}

/* Where in its bucket the rank is. */
static usec_t interpolate(unsigned bucket, double rank, uint64_t before, uint64_t in)
{
    usec_t low = bucket == 0 ? 0 : histogram_limit(bucket - 1);
    if (bucket == HISTOGRAM_LIMITS)
        return low;
    double part = (rank - (double)before) / (double)in;
    return low + (usec_t)((double)(histogram_limit(bucket) - low) * part + 0.5);
}

bool history_quantile(const struct history *history, const struct figure *figure, double share,
                      usec_t now, usec_t *time)
{
    uint64_t buckets[HISTOGRAM_BUCKETS], total = 0, before = 0;
    if (figure->metric == NULL || figure->metric->type != METRIC_HISTOGRAM)
        return false;
    unsigned copy = copy_before(history, HISTORY_MINUTE, now);
    const uint64_t *cells = find_cells(history, copy, figure, 0);
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        buckets[i] = present(figure->metric, figure->block->block, 0, i) - cells[i];
        total += buckets[i];
    }
    if (total == 0)
        return false;
    double rank = share * (double)total;
    unsigned last = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        if (buckets[i] == 0)
            continue;
        last = i;
        if ((double)(before + buckets[i]) >= rank)
            break;
        before += buckets[i];
    }
    *time = interpolate(last, rank, before, buckets[last]);
    return true;
}
