/* Metrics as lines of the log. */
#include "base/metric.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

/* What a line has at most, but for the number that it ends with. A message has room for more. */
#define LINE_ENOUGH 1400

/* A line that is put together. */
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

static void put_number(struct line *line, const struct metric *metric, const char *prefix,
                       const char *suffix, const void *at)
{
    const struct histogram *histogram = at;
    put(line, " %s%s%s=", prefix, suffix, metric->type == METRIC_HISTOGRAM ? "_count" : "");
    switch (metric->type) {
    case METRIC_COUNTER:
        put(line, "%" PRIu64, counter_get(at));
        break;
    case METRIC_GAUGE:
        put(line, "%" PRIu64, gauge_get(at));
        break;
    case METRIC_HISTOGRAM:
        put(line, "%" PRIu64 " %s%s_sum_ms=%" PRIu64, histogram_count(histogram), prefix, suffix,
            counter_get(&histogram->sum) / USEC_PER_MSEC);
        break;
    }
}

static void put_metric(struct line *line, const struct metric *metric, const void *block)
{
    for (unsigned i = 0; i < metric->count; i++) {
        if (line->length > LINE_ENOUGH) {
            line->text[line->length] = '\0';
            end(line);
        }
        const char *prefix = metric->log != NULL ? metric->log : metric->name;
        put_number(line, metric, prefix, metric->label != NULL ? metric->value(i) : "",
                   metric_at(metric, block, i));
    }
}

static bool is_same(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool have_same_labels(const struct metric_labels *a, const struct metric_labels *b)
{
    return is_same(a->listener, b->listener) && is_same(a->pool, b->pool) &&
           is_same(a->upstream, b->upstream) && is_same(a->tls, b->tls);
}

void metric_log(const struct metric_block *blocks, size_t count)
{
    struct line line = {.length = 0};
    for (size_t i = 0; i < count; i++) {
        const struct metric_block *block = &blocks[i];
        if (i == 0 || !have_same_labels(&line.labels, &block->labels)) {
            end(&line);
            begin(&line, &block->labels);
        }
        for (size_t m = 0; m < block->set->count; m++)
            put_metric(&line, &block->set->metrics[m], block->block);
    }
    end(&line);
}
