/* SPDX-License-Identifier: ISC */
/* Numbers of a subject, by the descriptions of its metrics. */
#include <stdio.h>
#include <string.h>

#include "admin/status_internal.h"

static json_t *number(const struct metric *metric, uint64_t value)
{
    return metric->unit == METRIC_SECONDS ? status_seconds((int64_t)value) : status_count(value);
}

static json_t *histogram_value(struct build *build, const struct histogram *histogram)
{
    json_t *object = json_object();
    status_put(build, object, "count", status_count(histogram_count(histogram)));
    status_put(build, object, "sum", status_seconds((int64_t)counter_get(&histogram->sum)));
    return object;
}

static json_t *present(struct build *build, const struct metric *metric, const void *block,
                       unsigned index)
{
    const void *at = metric_at(metric, block, index);
    switch (metric->type) {
    case METRIC_COUNTER:
        return number(metric, counter_get(at));
    case METRIC_GAUGE:
        return number(metric, gauge_get(at));
    case METRIC_HISTOGRAM:
        return histogram_value(build, at);
    }
    return NULL;
}

static json_t *peak(struct build *build, const struct metric *metric, const void *block,
                    unsigned index)
{
    const struct gauge *gauge = metric_at(metric, block, index);
    (void)build;
    return number(metric, counter_get(&gauge->peak));
}

/* A value, or with a label an object of its values. */
static json_t *by_label(struct build *build, const struct metric *metric, const void *block,
                        json_t *(*get)(struct build *, const struct metric *, const void *,
                                       unsigned))
{
    if (metric->label == NULL)
        return get(build, metric, block, 0);
    json_t *object = json_object();
    for (unsigned i = 0; i < metric->count; i++)
        status_put(build, object, metric->value(i), get(build, metric, block, i));
    return object;
}

static const struct metric_block *block_of(const struct build *build, const struct subject *subject,
                                           size_t i)
{
    return &build->subjects->blocks[build->subjects->order[subject->first + i]];
}

/* With the prefix of its set, unless that only names the kind of subject. */
#define KEY_MAX 160
static const char *key_of(const struct subject *subject, const struct metric_set *set,
                          const struct metric *metric, char name[KEY_MAX])
{
    static const char *const own[] = {[SUBJECT_PROCESS] = "",
                                      [SUBJECT_LISTENER] = "listener_",
                                      [SUBJECT_HOST] = "upstream_",
                                      [SUBJECT_POOL] = "pool_",
                                      [SUBJECT_TLS] = "tls_"};
    bool is_own = strcmp(set->prefix, own[subject->kind]) == 0;
    snprintf(name, KEY_MAX, "%s%s", is_own ? "" : set->prefix, metric->name);
    return name;
}

/* Every metric of a subject, or its gauges alone, as `get` reads it. */
static json_t *put_all(struct build *build, const struct subject *subject, bool gauges_alone,
                       json_t *(*get)(struct build *, const struct metric *, const void *,
                                      unsigned))
{
    char name[KEY_MAX];
    json_t *object = json_object();
    for (size_t i = 0; subject != NULL && i < subject->count; i++) {
        const struct metric_block *block = block_of(build, subject, i);
        for (size_t j = 0; j < block->set->count; j++) {
            const struct metric *metric = &block->set->metrics[j];
            if (!gauges_alone || metric->type == METRIC_GAUGE)
                status_put(build, object, key_of(subject, block->set, metric, name),
                           by_label(build, metric, block->block, get));
        }
    }
    return object;
}

json_t *status_metrics(struct build *build, const struct subject *subject)
{
    return put_all(build, subject, false, present);
}

json_t *status_peaks(struct build *build, const struct subject *subject)
{
    return put_all(build, subject, true, peak);
}

/* For each counter and histogram, over all values of its label. */
json_t *status_rates(struct build *build, const struct subject *subject)
{
    const struct status_input *input = build->input;
    char name[KEY_MAX];
    json_t *object = json_object();
    for (size_t i = 0; subject != NULL && i < subject->count; i++) {
        const struct metric_block *block = block_of(build, subject, i);
        for (size_t j = 0; j < block->set->count; j++) {
            const struct metric *metric = &block->set->metrics[j];
            struct figure figure = {metric, block, build->subjects->order[subject->first + i]};
            if (metric->type == METRIC_GAUGE)
                continue;
            double rate = history_rate(input->history, &figure, -1, input->now);
            status_put(build, object, key_of(subject, block->set, metric, name), json_real(rate));
        }
    }
    return object;
}

json_t *status_quantiles(struct build *build, const struct subject *subject, const char *name)
{
    const struct status_input *input = build->input;
    struct figure figure = subjects_figure(build->subjects, subject, name);
    usec_t half, most;
    if (!history_quantile(input->history, &figure, 0.5, input->now, &half) ||
        !history_quantile(input->history, &figure, 0.99, input->now, &most))
        return json_null();
    json_t *object = json_object();
    status_put(build, object, "p50", status_seconds(half));
    status_put(build, object, "p99", status_seconds(most));
    return object;
}

json_t *status_reuse(struct build *build, const struct subject *subject)
{
    const struct status_input *input = build->input;
    struct figure figure = subjects_figure(build->subjects, subject, "upstream_grants");
    uint64_t all = history_count(input->history, &figure, -1, input->now);
    int none = figure_index(&figure, "none");
    if (all == 0 || none < 0)
        return json_null();
    uint64_t new = history_count(input->history, &figure, none, input->now);
    return json_real(1 - (double)new / (double)all);
}
