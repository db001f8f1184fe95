/* SPDX-License-Identifier: ISC */
/* Metrics as log lines. */
#include "base/metric.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

/* How long a line gets, except for the number that ends it. A message has room for more. */
#define LINE_ENOUGH 1400

/* A line being composed. */
struct line {
    struct metric_labels labels;
    size_t start; /* where its numbers begin */
    size_t length;
    char text[2048];
};

static void put(struct line *line, const char *format, ...) PRINTF(2, 3);
static void put(struct line *line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line->text + line->length, sizeof(line->text) - line->length, format, args);
    va_end(args);
    line->length += (size_t)n;
    if (line->length >= sizeof(line->text))
        line->length = sizeof(line->text) - 1;
}

static void put_label(struct line *line, const char *name, const char *value)
{
    if (value != NULL)
        put(line, " %s=%s", name, value);
}

static void begin(struct line *line, const struct metric_labels *labels)
{
    line->labels = *labels;
    line->length = 0;
    put(line, "stats");
    put_label(line, "listener", labels->listener);
    put_label(line, "pool", labels->pool);
    put_label(line, "upstream", labels->upstream);
    put_label(line, "tls", labels->tls);
    line->start = line->length;
}

static void end(struct line *line)
{
    if (line->length > line->start)
        log_notice("%s", line->text);
    line->length = line->start;
}

static bool is_same(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* A metric of one block, or the sum over several. */
struct number {
    uint64_t value; /* of a histogram: its count */
    uint64_t peak;
    uint64_t sum_ms;
};

static void add_number(struct number *number, const struct metric *metric, const void *at)
{
    const struct histogram *histogram = at;
    const struct gauge *gauge = at;
    switch (metric->type) {
    case METRIC_COUNTER:
        number->value += counter_get(at);
        break;
    case METRIC_GAUGE:
        number->value += gauge_get(gauge);
        number->peak = counter_get(&gauge->peak);
        break;
    case METRIC_HISTOGRAM:
        number->value += histogram_count(histogram);
        number->sum_ms += counter_get(&histogram->sum) / USEC_PER_MSEC;
        break;
    }
}

/* Blocks of an array for one line: all with the same labels; or all of a pool's upstreams, whose
 * peaks are not summed. */
struct selection {
    const struct metric_block *first;
    size_t count;
    const struct metric_set *set; /* only those of this set */
    const char *pool;             /* and of this pool; NULL: only the first one */
};

static bool is_selected(const struct selection *selection, const struct metric_block *block)
{
    return block->set == selection->set && block->labels.upstream != NULL &&
           is_same(block->labels.pool, selection->pool);
}

static struct number number_of(const struct selection *selection, const struct metric *metric,
                               unsigned index)
{
    struct number number = {0};
    if (selection->pool == NULL) {
        add_number(&number, metric, metric_at(metric, selection->first->block, index));
        return number;
    }
    for (size_t i = 0; i < selection->count; i++) {
        const struct metric_block *block = &selection->first[i];
        if (is_selected(selection, block))
            add_number(&number, metric, metric_at(metric, block->block, index));
    }
    number.peak = 0;
    return number;
}

static void put_number(struct line *line, const struct metric *metric, const char *suffix,
                       const struct number *number)
{
    const char *prefix = metric->log != NULL ? metric->log : metric->name;
    if (line->length > LINE_ENOUGH)
        end(line);
    put(line, " %s%s%s=%" PRIu64, prefix, suffix, metric->type == METRIC_HISTOGRAM ? "_count" : "",
        number->value);
    if (metric->type == METRIC_HISTOGRAM)
        put(line, " %s%s_sum_ms=%" PRIu64, prefix, suffix, number->sum_ms);
    if (metric->type == METRIC_GAUGE && number->peak > number->value)
        put(line, " %s%s_peak=%" PRIu64, prefix, suffix, number->peak);
}

static void put_metric(struct line *line, const struct metric *metric,
                       const struct selection *selection)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < metric->count; i++) {
        const struct number number = number_of(selection, metric, i);
        put_number(line, metric, metric->label != NULL ? metric->value(i) : "", &number);
        sum += number.value;
    }
    if (metric->log_sum != NULL)
        put(line, " %s=%" PRIu64, metric->log_sum, sum);
}

static void put_metrics(struct line *line, const struct selection *selection)
{
    for (size_t m = 0; m < selection->set->count; m++)
        put_metric(line, &selection->set->metrics[m], selection);
}

static bool have_same_labels(const struct metric_labels *a, const struct metric_labels *b)
{
    return is_same(a->listener, b->listener) && is_same(a->pool, b->pool) &&
           is_same(a->upstream, b->upstream) && is_same(a->tls, b->tls);
}

/* A pool's upstreams all have one set: the one of the first. */
static void put_sums(struct line *line, const struct metric_block *blocks, size_t count,
                     const char *pool)
{
    struct selection selection = {.first = blocks, .count = count, .pool = pool};
    for (size_t i = 0; i < count && selection.set == NULL; i++) {
        if (blocks[i].labels.upstream != NULL && is_same(blocks[i].labels.pool, pool))
            selection.set = blocks[i].set;
    }
    if (selection.set != NULL)
        put_metrics(line, &selection);
}

void metric_log(const struct metric_block *blocks, size_t count)
{
    struct line line = {.length = 0};
    for (size_t i = 0; i < count; i++) {
        const struct metric_block *block = &blocks[i];
        const struct metric_labels *labels = &block->labels;
        if (i == 0 || !have_same_labels(&line.labels, labels)) {
            end(&line);
            begin(&line, labels);
            if (labels->pool != NULL && labels->upstream == NULL)
                put_sums(&line, blocks, count, labels->pool);
        }
        put_metrics(&line, &(const struct selection){.first = block, .set = block->set});
    }
    end(&line);
}
