/* SPDX-License-Identifier: ISC */
/* An intrusive binary heap: the node with the smallest key is first.
 *
 * Nodes live in their owners; the heap holds an array of pointers to them. Equal keys leave in
 * no particular order. */
#ifndef KAPROXY_HEAP_H
#define KAPROXY_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"

struct heap_node {
    int64_t key;
    size_t position; /* 1-based index in the array; 0: in no heap */
};

struct heap {
    struct heap_slot *slots;
    size_t count;
    size_t size;
};

/* An all-zero struct heap is an empty heap. heap_clear frees the array, not the nodes. */
void heap_clear(struct heap *heap);

/* Makes room for `count` nodes in total, so that inserting them cannot fail. 0, or -1 with
 * ENOMEM. */
MUST_CHECK int heap_reserve(struct heap *heap, size_t count);

/* 0, or -1 with ENOMEM. O(log n); O(1) for a key not below the existing ones. */
MUST_CHECK int heap_insert(struct heap *heap, struct heap_node *node, int64_t key);

/* Removes a node; a node that is in no heap is left alone. O(log n). */
void heap_remove(struct heap *heap, struct heap_node *node);

/* The node with the smallest key, or NULL. O(1). */
struct heap_node *heap_first(const struct heap *heap);

static inline bool heap_contains(const struct heap_node *node)
{
    return node->position != 0;
}

#endif
