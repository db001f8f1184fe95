/* SPDX-License-Identifier: ISC */
/* A binary heap in an array of keys and nodes; each node knows its index. */
#include "base/heap.h"

#include <errno.h>
#include <stdlib.h>

/* The key is stored next to the pointer, so that sifting does not touch the nodes' owners. */
struct heap_slot {
    int64_t key;
    struct heap_node *node;
};

static void place(struct heap *heap, size_t position, struct heap_slot slot)
{
    heap->slots[position - 1] = slot;
    slot.node->position = position;
}

static void sift_up(struct heap *heap, size_t position, struct heap_slot slot)
{
    while (position > 1) {
        struct heap_slot parent = heap->slots[position / 2 - 1];
        if (parent.key <= slot.key)
            break;
        place(heap, position, parent);
        position /= 2;
    }
    place(heap, position, slot);
}

static void sift_down(struct heap *heap, size_t position, struct heap_slot slot)
{
    for (;;) {
        size_t child = position * 2;
        if (child > heap->count)
            break;
        if (child < heap->count && heap->slots[child].key < heap->slots[child - 1].key)
            child++;
        if (slot.key <= heap->slots[child - 1].key)
            break;
        place(heap, position, heap->slots[child - 1]);
        position = child;
    }
    place(heap, position, slot);
}

void heap_clear(struct heap *heap)
{
    free(heap->slots);
    *heap = (struct heap){0};
}

int heap_reserve(struct heap *heap, size_t count)
{
    if (count <= heap->size)
        return 0;
    size_t size = heap->size < 8 ? 16 : heap->size * 2;
    if (size < count)
        size = count;
    struct heap_slot *slots = reallocarray(heap->slots, size, sizeof(*slots));
    if (slots == NULL)
        return -1;
    heap->slots = slots;
    heap->size = size;
    return 0;
}

int heap_insert(struct heap *heap, struct heap_node *node, int64_t key)
{
    if (heap_reserve(heap, heap->count + 1) < 0)
        return -1;
    node->key = key;
    heap->count++;
    sift_up(heap, heap->count, (struct heap_slot){key, node});
    return 0;
}

void heap_remove(struct heap *heap, struct heap_node *node)
{
    size_t position = node->position;
    if (position == 0)
        return;
    node->position = 0;
    struct heap_slot last = heap->slots[heap->count - 1];
    heap->count--;
    if (last.node == node)
        return;
    if (position > 1 && last.key < heap->slots[position / 2 - 1].key)
        sift_up(heap, position, last);
    else
        sift_down(heap, position, last);
}

struct heap_node *heap_first(const struct heap *heap)
{
    return heap->count == 0 ? NULL : heap->slots[0].node;
}
