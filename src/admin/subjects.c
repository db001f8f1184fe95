/* SPDX-License-Identifier: ISC */
/* Blocks grouped by their subjects, and metrics found by name. */
#include "admin/subjects.h"

#include <stdlib.h>
#include <string.h>

static bool is_same_label(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

bool subjects_same_labels(const struct metric_labels *a, const struct metric_labels *b)
{
    return is_same_label(a->listener, b->listener) && is_same_label(a->pool, b->pool) &&
           is_same_label(a->upstream, b->upstream) && is_same_label(a->tls, b->tls);
}

static enum subject_kind kind_of(const struct metric_labels *labels)
{
    if (labels->listener != NULL)
        return SUBJECT_LISTENER;
    if (labels->upstream != NULL)
        return labels->pool != NULL ? SUBJECT_HOST : SUBJECT_TLS;
    return labels->pool != NULL ? SUBJECT_POOL : SUBJECT_PROCESS;
}

/* `of` has the subject of each earlier block. */
static bool has_set(const struct subjects *subjects, const size_t *of, size_t block, size_t subject)
{
    for (size_t i = 0; i < block; i++) {
        if (of[i] == subject && subjects->blocks[i].set == subjects->blocks[block].set)
            return true;
    }
    return false;
}

static size_t place(struct subjects *subjects, const size_t *of, size_t block)
{
    const struct metric_labels *labels = &subjects->blocks[block].labels;
    for (size_t i = 0; i < subjects->count; i++) {
        if (subjects_same_labels(&subjects->list[i].labels, labels) &&
            !has_set(subjects, of, block, i))
            return i;
    }
    subjects->list[subjects->count] = (struct subject){.kind = kind_of(labels), .labels = *labels};
    return subjects->count++;
}

static void group(struct subjects *subjects, const size_t *of)
{
    size_t done = 0;
    for (size_t i = 0; i < subjects->count; i++) {
        subjects->list[i].first = done;
        for (size_t block = 0; block < subjects->block_count; block++) {
            if (of[block] == i)
                subjects->order[done++] = block;
        }
        subjects->list[i].count = done - subjects->list[i].first;
    }
}

struct subjects *subjects_new(const struct metric_block *blocks, size_t count)
{
    struct subjects *subjects = calloc(1, sizeof(*subjects));
    size_t *of = calloc(count + 1, sizeof(*of));
    if (subjects == NULL || of == NULL)
        goto err;
    subjects->blocks = blocks;
    subjects->block_count = count;
    subjects->list = calloc(count + 1, sizeof(*subjects->list));
    subjects->order = calloc(count + 1, sizeof(*subjects->order));
    if (subjects->list == NULL || subjects->order == NULL)
        goto err;
    for (size_t i = 0; i < count; i++)
        of[i] = place(subjects, of, i);
    group(subjects, of);
    free(of);
    return subjects;

err:
    free(of);
    subjects_free(subjects);
    return NULL;
}

void subjects_free(struct subjects *subjects)
{
    if (subjects == NULL)
        return;
    free(subjects->list);
    free(subjects->order);
    free(subjects);
}

const struct subject *subjects_find(const struct subjects *subjects,
                                    const struct metric_labels *labels)
{
    for (size_t i = 0; i < subjects->count; i++) {
        if (subjects_same_labels(&subjects->list[i].labels, labels))
            return &subjects->list[i];
    }
    return NULL;
}

/* After the set's prefix; NULL: it is of another set. */
static const char *skip_prefix(const struct metric_set *set, const char *name)
{
    size_t length = strlen(set->prefix);
    return strncmp(name, set->prefix, length) == 0 ? name + length : NULL;
}

struct figure subjects_figure(const struct subjects *subjects, const struct subject *subject,
                              const char *name)
{
    for (size_t i = 0; subject != NULL && i < subject->count; i++) {
        size_t index = subjects->order[subject->first + i];
        const struct metric_block *block = &subjects->blocks[index];
        const char *rest = skip_prefix(block->set, name);
        for (size_t j = 0; rest != NULL && j < block->set->count; j++) {
            if (strcmp(block->set->metrics[j].name, rest) == 0)
                return (struct figure){&block->set->metrics[j], block, index};
        }
    }
    return (struct figure){NULL, NULL, 0};
}

int figure_index(const struct figure *figure, const char *value)
{
    if (figure->metric == NULL || (figure->metric->label == NULL) != (value == NULL))
        return -1;
    for (unsigned i = 0; value != NULL && i < figure->metric->count; i++) {
        if (strcmp(figure->metric->value(i), value) == 0)
            return (int)i;
    }
    return value == NULL ? 0 : -1;
}

static uint64_t get(const struct figure *figure, unsigned index)
{
    const void *at = metric_at(figure->metric, figure->block->block, index);
    switch (figure->metric->type) {
    case METRIC_COUNTER:
        return counter_get(at);
    case METRIC_GAUGE:
        return gauge_get(at);
    case METRIC_HISTOGRAM:
        return histogram_count(at);
    }
    return 0;
}

uint64_t figure_total(const struct figure *figure)
{
    uint64_t total = 0;
    for (unsigned i = 0; figure->metric != NULL && i < figure->metric->count; i++)
        total += get(figure, i);
    return total;
}

uint64_t figure_of(const struct figure *figure, const char *value)
{
    int index = figure_index(figure, value);
    return index < 0 ? 0 : get(figure, (unsigned)index);
}
