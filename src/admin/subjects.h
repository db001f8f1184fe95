/* SPDX-License-Identifier: ISC */
/* The subjects of metric blocks: the process, a listener, a host; and how a number of one is found
 * by its name. Independent of the structs that the numbers are in.
 *
 * Made once for an array of blocks, which is borrowed and outlives it. */
#ifndef KAPROXY_SUBJECTS_H
#define KAPROXY_SUBJECTS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/metric.h"
#include "base/util.h"

enum subject_kind {
    SUBJECT_PROCESS,
    SUBJECT_LISTENER,
    SUBJECT_HOST, /* an upstream in a pool */
    SUBJECT_POOL,
    SUBJECT_TLS /* the TLS settings of an upstream, across pools */
};

/* Has at most one block of each metric set: blocks of the same set with the same labels belong to
 * different subjects, in order. */
struct subject {
    enum subject_kind kind;
    struct metric_labels labels;
    size_t first, count; /* its blocks: a range of subjects.order */
};

struct subjects {
    const struct metric_block *blocks;
    size_t block_count;
    struct subject *list; /* in the order of their first blocks */
    size_t count;
    size_t *order; /* the blocks' indices, grouped by subject */
};

/* NULL with ENOMEM. */
struct subjects *subjects_new(const struct metric_block *blocks, size_t count);
void subjects_free(struct subjects *subjects); /* NULL is harmless */

/* Are the labels the same, missing ones included? */
bool subjects_same_labels(const struct metric_labels *a, const struct metric_labels *b);

/* The first with these labels (NULL: without that label); NULL: none. */
const struct subject *subjects_find(const struct subjects *subjects,
                                    const struct metric_labels *labels);

/* A metric of a subject. */
struct figure {
    const struct metric *metric; /* NULL: no such metric */
    const struct metric_block *block;
    size_t block_index;
};

/* By the metric's name with its set's prefix: "upstream_waiting". What does not exist is 0
 * everywhere. A NULL subject has nothing. */
struct figure subjects_figure(const struct subjects *subjects, const struct subject *subject,
                              const char *name);

/* The index of a label's value; -1: no such value. NULL: without a label. */
int figure_index(const struct figure *figure, const char *value);

/* A counter's or gauge's current value, a histogram's count; of one of a label's values, or the sum
 * over all of them. */
uint64_t figure_total(const struct figure *figure);
uint64_t figure_of(const struct figure *figure, const char *value);

#endif
