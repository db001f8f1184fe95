/* SPDX-License-Identifier: ISC */
/* The heap against a plain array: order, removal from the middle, memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>

#include "base/heap.h"

#define NODES 500

/* Replaces the C library's, so that memory can run out and calls can be counted. */
static bool memory_is_short;
static unsigned reallocations;

void *reallocarray(void *memory, size_t count, size_t size)
{
    if (memory_is_short) {
        errno = ENOMEM;
        return NULL;
    }
    reallocations++;
    return realloc(memory, count * size);
}

/* A heap, and next to it what should be in it. */
struct model {
    struct heap heap;
    struct heap_node nodes[NODES];
    bool in[NODES];
    size_t count;
};

static int setup(void **state)
{
    struct model *model = calloc(1, sizeof(*model));
    memory_is_short = false;
    *state = model;
    return model == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    struct model *model = *state;
    memory_is_short = false;
    heap_clear(&model->heap);
    free(model);
    return 0;
}

static void insert(struct model *model, size_t i, int64_t key)
{
    assert_int_equal(heap_insert(&model->heap, &model->nodes[i], key), 0);
    model->in[i] = true;
    model->count++;
}

static void take_out(struct model *model, size_t i)
{
    heap_remove(&model->heap, &model->nodes[i]);
    model->in[i] = false;
    model->count--;
}

/* Every node knows its place, no two share one, and no child is before its parent. */
static void check(const struct model *model)
{
    const struct heap_node *at[NODES + 1] = {NULL};
    assert_int_equal(model->heap.count, model->count);
    for (size_t i = 0; i < NODES; i++) {
        const struct heap_node *node = &model->nodes[i];
        assert_int_equal(heap_contains(node), model->in[i]);
        if (!model->in[i])
            continue;
        assert_in_range(node->position, 1, model->count);
        assert_null(at[node->position]);
        at[node->position] = node;
    }
    for (size_t position = 2; position <= model->count; position++)
        assert_true(at[position / 2]->key <= at[position]->key);
    assert_ptr_equal(heap_first(&model->heap), at[1]);
}

static void test_empty(void **state)
{
    struct model *model = *state;
    assert_null(heap_first(&model->heap));
    heap_remove(&model->heap, &model->nodes[0]);
    check(model);
    heap_clear(&model->heap);
    check(model);
}

static void test_cleared_heap_is_empty(void **state)
{
    struct model *model = *state;
    struct heap_node node = {0};
    assert_int_equal(heap_insert(&model->heap, &node, 1), 0);
    heap_clear(&model->heap);
    check(model);
    insert(model, 0, 2);
    check(model);
}

static void test_smallest_leaves_first(void **state)
{
    struct model *model = *state;
    static const int64_t keys[] = {5, INT64_MAX, -3, 5, 0, INT64_MIN, 7, -3};
    static const int64_t sorted[] = {INT64_MIN, -3, -3, 0, 5, 5, 7, INT64_MAX};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        insert(model, i, keys[i]);
        check(model);
    }
    for (size_t i = 0; i < ARRAY_LEN(sorted); i++) {
        struct heap_node *first = heap_first(&model->heap);
        assert_true(first->key == sorted[i]);
        take_out(model, (size_t)(first - model->nodes));
        check(model);
    }
    assert_null(heap_first(&model->heap));
}

/* The last node takes the place of one in another branch, where it is too small to stay. */
static void test_removal_may_move_a_node_up(void **state)
{
    struct model *model = *state;
    static const int64_t keys[] = {0, 100, 1, 101, 102, 2, 3, 103, 104, 105, 106, 4};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        insert(model, i, keys[i]);
    take_out(model, 7);
    check(model);
}

static void test_removing_twice_is_harmless(void **state)
{
    struct model *model = *state;
    for (size_t i = 0; i < 3; i++)
        insert(model, i, (int64_t)i);
    take_out(model, 1);
    heap_remove(&model->heap, &model->nodes[1]);
    check(model);
}

static void test_random_steps(void **state)
{
    struct model *model = *state;
    unsigned seed = 1;
    for (int step = 0; step < 20000; step++) {
        size_t i = (size_t)rand_r(&seed) % NODES;
        if (model->in[i])
            take_out(model, i);
        else
            insert(model, i, rand_r(&seed) % 100);
        if (step % 20 == 0)
            check(model);
    }
    check(model);
}

static void test_reserved_room_cannot_fail(void **state)
{
    struct model *model = *state;
    assert_int_equal(heap_reserve(&model->heap, NODES), 0);
    memory_is_short = true;
    assert_int_equal(heap_reserve(&model->heap, NODES), 0);
    for (size_t i = 0; i < NODES; i++)
        insert(model, i, (int64_t)(NODES - i));
    check(model);
}

static void test_no_memory(void **state)
{
    struct model *model = *state;
    size_t count = 0;
    insert(model, count++, 1);
    memory_is_short = true;
    while (heap_insert(&model->heap, &model->nodes[count], 0) == 0) {
        model->in[count++] = true;
        model->count++;
        assert_true(count < NODES);
    }
    assert_int_equal(errno, ENOMEM);
    check(model);
    assert_int_equal(heap_reserve(&model->heap, NODES), -1);
    assert_int_equal(errno, ENOMEM);
    memory_is_short = false;
    insert(model, count, 0);
    check(model);
}

static void test_room_grows_by_factors(void **state)
{
    struct model *model = *state;
    reallocations = 0;
    for (size_t i = 0; i < NODES; i++)
        insert(model, i, 0);
    assert_in_range(reallocations, 1, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_empty, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cleared_heap_is_empty, setup, teardown),
        cmocka_unit_test_setup_teardown(test_smallest_leaves_first, setup, teardown),
        cmocka_unit_test_setup_teardown(test_removal_may_move_a_node_up, setup, teardown),
        cmocka_unit_test_setup_teardown(test_removing_twice_is_harmless, setup, teardown),
        cmocka_unit_test_setup_teardown(test_random_steps, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reserved_room_cannot_fail, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_room_grows_by_factors, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
